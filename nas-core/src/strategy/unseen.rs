//! Never the same twice: what was proposed, and how to find what was not.

use rand::RngExt as _;

use super::State;
use crate::error::Error;
use crate::space::{BigUint, KeySet, Walk};
use crate::{Rng, SearchSpace, Tokens};

/// Uniform draws before a finite space is searched in order, or an infinite one given up.
const DRAWS: u32 = 1_000;
const DRAWS_IF_INFINITE: u32 = 1_000_000;
/// Draws before a space under limits is searched in order.
const DRAWS_IF_LIMITED: u32 = 64;

/// The architectures of a space that were proposed already, by their keys.
#[derive(Debug, Clone)]
pub struct Unseen {
    space: SearchSpace,
    seen: KeySet,
    /// How many there can be, if they are finite and can be counted.
    count: Option<u128>,
}

impl Unseen {
    /// Nothing seen yet.
    pub fn new(space: SearchSpace) -> Self {
        let finite = || space.cardinality().finite().and_then(|count| u128::try_from(count).ok());
        // The tokens of a continuous number are finite, too. Keys that stand for several architectures are not counted, nor
        // are architectures under limits.
        let count = space.free_count().or_else(finite).filter(|_| !space.merges() && !space.is_limited());
        Unseen { space, seen: KeySet::default(), count }
    }

    /// The space.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// Whether `tokens` were seen.
    pub fn contains(&self, tokens: &Tokens) -> bool {
        self.seen.contains(&self.space.key(tokens))
    }

    /// Takes note of tokens of the space; `true` when they are new.
    pub fn insert(&mut self, tokens: &Tokens) -> bool {
        self.seen.insert(self.space.key(tokens))
    }

    /// How many were seen.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Whether every architecture of a finite space was seen.
    pub fn is_exhausted(&self) -> bool {
        self.count.is_some_and(|count| self.seen.len() as u128 >= count)
    }

    /// Tokens that were not seen, and now are; none when the space is exhausted.
    ///
    /// They are drawn uniformly from those left. Only when fewer than about one in a thousand is left, the first after a
    /// random place may be taken instead. Under limits the draws are as even as those of [`SearchSpace::limited`], and the
    /// space is exhausted when no walk leads to anything new.
    ///
    /// # Errors
    /// When a million draws from a space that cannot be counted were all seen.
    pub fn draw(&mut self, rng: &mut Rng) -> Result<Option<Tokens>, Error> {
        if self.is_exhausted() {
            return Ok(None);
        }
        let limited = self.space.is_limited();
        let draws = match self.count {
            _ if limited => DRAWS_IF_LIMITED,
            Some(_) => DRAWS,
            None => DRAWS_IF_INFINITE,
        };
        for _ in 0..draws {
            let tokens = self.space.sample_tokens(rng);
            if self.insert(&tokens) {
                return Ok(Some(tokens));
            }
        }
        if limited {
            let found = self.search(rng);
            found.iter().for_each(|tokens| _ = self.insert(tokens));
            return Ok(found);
        }
        let Some(count) = self.count.map(BigUint::from) else {
            let space = self.space.name();
            return Err(Error::Strategy(format!("{DRAWS_IF_INFINITE} draws from \"{space}\" gave nothing new")));
        };
        // Of any run longer than what was seen, one is new.
        let mut rank = crate::space::below(&count, rng);
        loop {
            let tokens = self.nth(&rank)?;
            if self.insert(&tokens) {
                return Ok(Some(tokens));
            }
            rank = (rank + 1_u32) % &count;
        }
    }

    /// The first end of a walk that was not seen, options in random order; of a continuous number one value of each bin.
    fn search(&self, rng: &mut Rng) -> Option<Tokens> {
        let untried = |walk: &Walk<'_>| -> Vec<usize> { (0..walk.mask().len()).filter(|&i| walk.mask()[i]).collect() };
        let walk = self.space.walk();
        let mut turns = vec![(untried(&walk), walk)];
        while let Some((options, walk)) = turns.last_mut() {
            if options.is_empty() {
                turns.pop();
                continue;
            }
            let option = options.swap_remove(rng.random_range(0..options.len()));
            let mut on = walk.clone();
            if on.choose_within(option, rng).is_err() {
                continue;
            }
            if on.slot_index().is_some() {
                turns.push((untried(&on), on));
            } else if !self.contains(on.tokens()) {
                return Some(on.tokens().clone());
            }
        }
        None
    }

    /// Shows its state.
    pub fn state(&mut self, state: &mut State) {
        state.space(&self.space);
        state.keys("seen", &mut self.seen);
    }

    fn nth(&self, rank: &BigUint) -> Result<Tokens, Error> {
        if self.space.is_free() {
            let key = u128::try_from(rank).expect("a rank is below the count");
            return Ok(self.space.tokens_of_key(key).expect("every key of a free space is an architecture's"));
        }
        let architecture = self.space.nth(rank).expect("ranks stay below the count");
        Ok(self.space.tokens(&architecture)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::testing;
    use crate::{Purpose, Seed};

    #[test]
    fn the_last_one_is_found() {
        for space in [testing::cell(&["none", "skip", "conv", "pool"]), testing::cube()] {
            let mut unseen = Unseen::new(space.clone());
            let all: Vec<Tokens> = space.enumerate().map(|a| space.tokens(&a).unwrap()).collect();
            let last = all.len() / 3;
            for tokens in all.iter().filter(|tokens| **tokens != all[last]) {
                assert!(unseen.insert(tokens));
            }
            let mut rng = Seed::new(1).stream(Purpose::Test, 0);
            assert!(!unseen.is_exhausted() && !unseen.contains(&all[last]));
            assert_eq!(unseen.draw(&mut rng).unwrap().as_ref(), Some(&all[last]));
            assert_eq!(unseen.draw(&mut rng).unwrap(), None);
        }
    }

    #[test]
    fn every_step_of_a_continuous_number_is_found() {
        let space = SearchSpace::builder("s").float("x", 0.0..=1.0).build().unwrap();
        let mut unseen = Unseen::new(space);
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        let drawn = std::iter::from_fn(|| unseen.draw(&mut rng).unwrap()).count();
        assert_eq!(drawn, 65_521);
    }
}
