//! Never the same twice: what was proposed, and how to find what was not.

use std::collections::HashSet;

use crate::error::Error;
use crate::space::BigUint;
use crate::{Architecture, Rng, SearchSpace};

/// Uniform draws before a finite space is searched in order, or an infinite one given up.
const DRAWS: u32 = 1_000;
const DRAWS_IF_INFINITE: u32 = 1_000_000;

/// The architectures of a space that were proposed already, by their canonical text.
#[derive(Debug, Clone)]
pub struct Unseen {
    space: SearchSpace,
    seen: HashSet<String>,
}

impl Unseen {
    /// Nothing seen yet.
    pub fn new(space: SearchSpace) -> Self {
        Unseen { space, seen: HashSet::new() }
    }

    /// The space.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// Whether `architecture` was seen.
    pub fn contains(&self, architecture: &Architecture) -> bool {
        self.seen.contains(&architecture.to_string())
    }

    /// Takes note of an architecture of the space; `true` when it is new.
    pub fn insert(&mut self, architecture: &Architecture) -> bool {
        self.seen.insert(architecture.to_string())
    }

    /// Whether every architecture of a finite space was seen.
    pub fn is_exhausted(&self) -> bool {
        self.space.cardinality().finite().is_some_and(|count| BigUint::from(self.seen.len()) >= *count)
    }

    /// An architecture that was not seen, and now is; none when the space is exhausted.
    ///
    /// It is drawn uniformly from those left. Only when fewer than about one in a thousand is left, the first after a
    /// random place may be taken instead.
    ///
    /// # Errors
    /// When a million draws from an infinite space were all seen: its continuous range has hardly any numbers.
    pub fn draw(&mut self, rng: &mut Rng) -> Result<Option<Architecture>, Error> {
        if self.is_exhausted() {
            return Ok(None);
        }
        let count = self.space.cardinality().finite().cloned();
        for _ in 0..if count.is_some() { DRAWS } else { DRAWS_IF_INFINITE } {
            let architecture = self.space.sample(rng);
            if self.insert(&architecture) {
                return Ok(Some(architecture));
            }
        }
        let Some(count) = count else {
            let space = self.space.name();
            return Err(Error::Strategy(format!("{DRAWS_IF_INFINITE} draws from \"{space}\" gave nothing new")));
        };
        // Of any run longer than what was seen, one is new.
        let mut rank = crate::space::below(&count, rng);
        loop {
            let architecture = self.space.nth(&rank).expect("ranks stay below the count");
            if self.insert(&architecture) {
                return Ok(Some(architecture));
            }
            rank = (rank + 1_u32) % &count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::testing;
    use crate::{Purpose, Seed};

    #[test]
    fn the_last_one_is_found() {
        let space = testing::cell(&["none", "skip", "conv", "pool"]);
        let mut unseen = Unseen::new(space.clone());
        let last = space.nth(&1234_u32.into()).unwrap();
        for architecture in space.enumerate().filter(|a| *a != last) {
            assert!(unseen.insert(&architecture));
        }
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        assert!(!unseen.is_exhausted() && !unseen.contains(&last));
        assert_eq!(unseen.draw(&mut rng).unwrap(), Some(last));
        assert_eq!(unseen.draw(&mut rng).unwrap(), None);
    }

    #[test]
    fn a_range_of_hardly_any_numbers() {
        let space = SearchSpace::builder("s").float("x", 1e300..=1.1e300).choice("a", ["p", "q"]).build().unwrap();
        let mut unseen = Unseen::new(space);
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        assert!((0..100).all(|_| unseen.draw(&mut rng).unwrap().is_some()));
    }
}
