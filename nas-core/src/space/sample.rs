//! Uniform draws: below a bound of any size, and from a space.

use num_bigint::BigUint;
use rand::{Rng as _, RngExt as _};
use smallvec::SmallVec;

use super::domain::Domain;
use super::{Inner, SearchSpace, Tokens};
use crate::{Architecture, Rng};

/// Nodes held in place while an architecture is drawn or changed: spaces of more decisions allocate.
pub(super) const NODES: usize = 64;

/// A number from 0 to below `bound`, each equally likely.
pub(crate) fn below(bound: &BigUint, rng: &mut Rng) -> BigUint {
    let bits = bound.bits();
    let words = usize::try_from(bits.div_ceil(32)).expect("the bound is in memory");
    let spare = words as u64 * 32 - bits;
    // At least half of the numbers of that many bits are below the bound.
    loop {
        let mut digits: Vec<u32> = (0..words).map(|_| rng.next_u32()).collect();
        if let Some(top) = digits.last_mut() {
            *top >>= spare;
        }
        let number = BigUint::new(digits);
        if number < *bound {
            return number;
        }
    }
}

impl SearchSpace {
    /// An architecture drawn uniformly from all of them, whatever conditions, repeats and requirements there are.
    ///
    /// A continuous number weighs as much as 16 options and is then drawn uniformly on its scale. Under
    /// [limits](Self::limited) it is one of those that keep to them.
    ///
    /// ```
    /// use nas_core::{Purpose, SearchSpace, Seed};
    ///
    /// let space = SearchSpace::builder("s").repeat("layers", 1..=3, |layer| layer.choice("op", ["a", "b"])).build()?;
    /// let architecture = space.sample(&mut Seed::new(1).stream(Purpose::Test, 0));
    /// assert!(space.validate(&architecture).is_ok());
    /// # Ok::<(), nas_core::SpaceError>(())
    /// ```
    pub fn sample(&self, rng: &mut Rng) -> Architecture {
        let tokens = self.sample_tokens(rng);
        self.encode(&self.picks(&tokens))
    }

    /// As [`sample`](Self::sample), in tokens: without counting, and without allocating while slots and decisions fit in
    /// place.
    pub fn sample_tokens(&self, rng: &mut Rng) -> Tokens {
        match self.guard() {
            None => self.draw(rng),
            Some(guard) => guard.sample(self, rng),
        }
    }

    /// As [`sample_tokens`](Self::sample_tokens), whatever the limits are.
    pub(super) fn draw(&self, rng: &mut Rng) -> Tokens {
        if self.inner.layout.is_free() {
            return self.inner.layout.radices().iter().map(|&radix| rng.random_range(0..radix) as u16).collect();
        }
        let Inner { program, diagram, layout, .. } = &*self.inner;
        let mut at: SmallVec<[u32; NODES]> = SmallVec::from_slice(diagram.start());
        let mut tokens = Tokens::closed(layout.radices().len());
        for variable in 0..program.variables.len() {
            let node = diagram.node(at[variable]);
            let branch = if node.open {
                let branch = diagram.draw(node, rng);
                self.inner.draw_within(variable, diagram.options(node, variable, branch), &mut tokens, rng);
                branch
            } else {
                diagram.closed(node)
            };
            diagram.go(variable, branch, &mut at);
        }
        tokens
    }
}

impl Inner {
    /// Sets the tokens of an open variable to one of the options, or of all its values, each as likely.
    pub(super) fn draw_within(&self, variable: usize, options: Option<&[usize]>, tokens: &mut Tokens, rng: &mut Rng) {
        let Inner { program, diagram, layout, .. } = self;
        let slots = layout.slots(variable);
        if let Domain::Subset { min, .. } = program.variables[variable].domain {
            // Every option in turn, as likely as members are missing among those left.
            let mut missing = (min + diagram.draw_size(variable, rng)) as u32;
            let left = (1..=slots.len() as u32).rev();
            for (token, left) in tokens.slots_mut(slots).iter_mut().zip(left) {
                *token = (missing == left || missing > 0 && rng.random_range(0..left) < missing).into();
                missing -= u32::from(*token);
            }
            return;
        }
        let mut number = |count: u32| if count > 1 { rng.random_range(0..count) } else { 0 };
        let token = match options {
            Some(options) => options[number(options.len() as u32) as usize] as u16,
            None => number(layout.radices()[slots.start]) as u16,
        };
        tokens.set(slots.start, token);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::space::testing;
    use crate::{Purpose, Seed};

    #[test]
    fn draws_below_a_bound() {
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        for bound in [1_u64, 2, 3, 1 << 32, u64::MAX] {
            for _ in 0..100 {
                assert!(below(&bound.into(), &mut rng) < bound.into());
            }
        }
        let huge = BigUint::from(3_u32).pow(500);
        assert!((0..50).any(|_| below(&huge, &mut rng) > &huge / 2_u32));
    }

    /// 95 % of honest tests with `cells` cells lie below this (Wilson and Hilferty); seeds are fixed, so is the outcome.
    fn chi_square_limit(cells: usize) -> f64 {
        let k = (cells - 1) as f64;
        let z = 1.645; // the 95 % point of the normal distribution
        k * (1.0 - 2.0 / (9.0 * k) + z * (2.0 / (9.0 * k)).sqrt()).powi(3)
    }

    #[track_caller]
    fn check_uniform(space: &SearchSpace) {
        let all: Vec<_> = space.enumerate().collect();
        let draws = 200 * all.len();
        let mut rng = Seed::new(11).stream(Purpose::Test, 1);
        let mut counts: BTreeMap<String, u32> = all.iter().map(|a| (a.to_string(), 0)).collect();
        for _ in 0..draws {
            *counts.get_mut(&space.sample(&mut rng).to_string()).unwrap() += 1;
        }
        let statistic: f64 = counts.values().map(|&n| (f64::from(n) - 200.0).powi(2) / 200.0).sum();
        let limit = chi_square_limit(all.len());
        assert!(statistic < limit, "{statistic} of {} architectures, limit {limit}", all.len());
    }

    #[test]
    fn uniform_over_conditions_repeats_and_subsets() {
        check_uniform(&testing::conditional());
    }

    #[test]
    fn uniform_over_live_cells() {
        check_uniform(&testing::cell(&["none", "skip"]));
    }

    #[test]
    fn continuous_numbers_fill_their_range() {
        let space = SearchSpace::builder("s").float("lr", 1e-4..=1.0).log().build().unwrap();
        let mut rng = Seed::new(5).stream(Purpose::Test, 0);
        let draws: Vec<f64> = (0..400).map(|_| space.sample(&mut rng).float("lr").unwrap()).collect();
        assert!(draws.iter().all(|x| (1e-4..=1.0).contains(x)));
        let below_middle = draws.iter().filter(|&&x| x < 1e-2).count(); // the middle of the logarithmic scale
        assert!((160..=240).contains(&below_middle), "{below_middle}");
    }
}
