//! Random search: uniform draws without repeats, the baseline of every other strategy.

use super::{Diagnostics, Strategy, Unseen};
use crate::error::Error;
use crate::{Origin, Proposal, Purpose, SearchSpace, Seed, Trial};

/// Uniform draws from a space, none twice, until it is exhausted.
///
/// ```
/// use nas_core::strategy::{RandomSearch, Strategy};
/// use nas_core::{SearchSpace, Seed};
///
/// let space = SearchSpace::builder("s").choice("op", ["conv", "pool", "skip"]).build()?;
/// let mut random = RandomSearch::new(space, Seed::new(1));
/// assert_eq!(random.propose(2)?.len(), 2);
/// assert_eq!(random.propose(2)?.len(), 1);
/// # Ok::<(), nas_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RandomSearch {
    unseen: Unseen,
    seed: Seed,
    proposed: u64,
}

impl RandomSearch {
    /// Draws from `space` by streams of `seed`, one for each proposal.
    pub fn new(space: SearchSpace, seed: Seed) -> Self {
        RandomSearch { unseen: Unseen::new(space), seed, proposed: 0 }
    }
}

impl Strategy for RandomSearch {
    fn name(&self) -> &'static str {
        "random"
    }

    fn propose(&mut self, n: usize) -> Result<Vec<Proposal>, Error> {
        let mut proposals = Vec::new();
        while proposals.len() < n {
            let mut rng = self.seed.stream(Purpose::Propose, self.proposed);
            let Some(architecture) = self.unseen.draw(&mut rng)? else { break };
            self.proposed += 1;
            proposals.push(Proposal { architecture, origin: Origin::Random });
        }
        Ok(proposals)
    }

    /// Learns nothing.
    fn observe(&mut self, _finished: &[Trial]) -> Result<Diagnostics, Error> {
        Ok(Diagnostics::default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::space::testing;

    #[test]
    fn exhausts_a_space_exactly() {
        let mut random = RandomSearch::new(testing::cube(), Seed::new(1));
        let proposals = random.propose(1000).unwrap();
        assert_eq!(proposals.len(), 125);
        let distinct: BTreeSet<String> = proposals.iter().map(|p| p.architecture.to_string()).collect();
        assert_eq!(distinct.len(), 125);
        assert!(random.propose(1).unwrap().is_empty());
    }

    #[test]
    fn the_sequence_does_not_depend_on_how_it_is_asked_for() {
        let propose = |sizes: &[usize], seed| {
            let mut random = RandomSearch::new(testing::cube(), Seed::new(seed));
            sizes.iter().flat_map(|&n| random.propose(n).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(propose(&[6], 1), propose(&[1, 2, 3], 1));
        assert_ne!(propose(&[6], 1), propose(&[6], 2));
    }
}
