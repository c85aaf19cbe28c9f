//! Random search: uniform draws without repeats, the baseline of every other strategy.

use super::{Observed, Proposal, State, Strategy, Unseen};
use crate::error::Error;
use crate::{Origin, Purpose, SearchSpace, Seed};

/// Uniform draws from a space, none twice, until it is exhausted.
///
/// ```
/// use nas_core::strategy::{RandomSearch, Strategy};
/// use nas_core::{SearchSpace, Seed};
///
/// let space = SearchSpace::builder("s").choice("op", ["conv", "pool", "skip"]).build()?;
/// let mut random = RandomSearch::new(space, Seed::new(1));
/// for _ in 0..3 {
///     assert!(random.propose()?.is_some());
/// }
/// assert_eq!(random.propose()?, None);
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

    fn propose(&mut self) -> Result<Option<Proposal>, Error> {
        let mut rng = self.seed.stream(Purpose::Propose, self.proposed);
        let Some(tokens) = self.unseen.draw(&mut rng)? else { return Ok(None) };
        self.proposed += 1;
        Ok(Some(Proposal { tokens, origin: Origin::Random }))
    }

    fn state(&mut self, state: &mut State) {
        self.unseen.state(state);
        state.field("seed", &mut self.seed);
        state.field("proposed", &mut self.proposed);
    }

    /// Learns nothing but not to propose it.
    fn observe(&mut self, observed: &Observed) -> Result<(), Error> {
        self.unseen.insert(&observed.tokens);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::{ask, tell};
    use super::*;
    use crate::space::testing;

    #[test]
    fn exhausts_a_space_exactly() {
        let mut random = RandomSearch::new(testing::cube(), Seed::new(1));
        let distinct: BTreeSet<_> = ask(&mut random, 1000).into_iter().map(|proposal| proposal.tokens).collect();
        assert_eq!(distinct.len(), 125);
        assert_eq!(random.propose().unwrap(), None);
    }

    #[test]
    fn the_seed_decides() {
        let propose = |seed| ask(&mut RandomSearch::new(testing::cube(), Seed::new(seed)), 6);
        assert_eq!(propose(1), propose(1));
        assert_ne!(propose(1), propose(2));
    }

    #[test]
    fn what_others_tried_is_not_proposed() {
        let space = testing::cube();
        let mut random = RandomSearch::new(space.clone(), Seed::new(1));
        let given = Proposal { tokens: space.tokens_of_key(77).unwrap(), origin: Origin::Given };
        tell(&mut random, 0, &given, None);
        let rest = ask(&mut random, 1000);
        assert_eq!(rest.len(), 124);
        assert!(rest.iter().all(|proposal| proposal.tokens != given.tokens));
    }
}
