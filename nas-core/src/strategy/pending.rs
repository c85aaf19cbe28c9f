//! What was proposed and not observed yet.

use serde::{Deserialize, Serialize};

use crate::Tokens;

/// Proposals on their way: a strategy that is asked for several at once counts on them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pending {
    tokens: Vec<Tokens>,
}

impl Pending {
    /// Takes note of a proposal.
    pub fn push(&mut self, tokens: Tokens) {
        self.tokens.push(tokens);
    }

    /// Takes note that `tokens` were observed; `false` when they were not waited for.
    pub fn remove(&mut self, tokens: &Tokens) -> bool {
        // The oldest comes back first, as a rule.
        let at = self.tokens.iter().position(|waiting| waiting == tokens);
        at.map(|at| self.tokens.remove(at)).is_some()
    }

    /// The proposals, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Tokens> {
        self.tokens.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proposal_is_waited_for_once() {
        let [a, b] = [Tokens::from(&[1_u16][..]), Tokens::from(&[2_u16][..])];
        let mut pending = Pending::default();
        pending.push(a.clone());
        pending.push(b.clone());
        pending.push(a.clone());
        assert!(pending.remove(&a));
        assert_eq!(pending.iter().collect::<Vec<_>>(), [&b, &a]);
        assert!(pending.remove(&a) && !pending.remove(&a) && pending.remove(&b));
        assert!(pending.is_empty());
    }
}
