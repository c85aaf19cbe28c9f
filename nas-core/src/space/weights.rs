//! Draws by exact chances: whole numbers of any size, at the price of one 64-bit number a draw.
//!
//! The first 64 bits of a real number drawn from 0 to 1 tell where it lies among the sums of weights, unless they are just
//! those of such a sum. Only then, once in 2⁶⁴ for every border, the rest of the number is drawn too. No chance is rounded.

use num_bigint::BigUint;
use rand::Rng as _;

use super::sample::below;
use crate::Rng;

/// Weights and what draws by them need.
#[derive(Debug)]
pub(super) struct Weights {
    weights: Vec<BigUint>,
    thresholds: Vec<u64>,
}

impl Weights {
    /// Of `weights`, of which one at least is not zero.
    pub(super) fn new(weights: Vec<BigUint>) -> Self {
        let thresholds = thresholds(&weights, &weights.iter().sum());
        Weights { weights, thresholds }
    }

    /// An index, as likely as its weight.
    pub(super) fn draw(&self, rng: &mut Rng) -> usize {
        draw(&self.thresholds, &self.weights, rng)
    }
}

/// For each of `weights` the first 64 bits of the share that it and those before it have of their sum `total`.
pub(super) fn thresholds(weights: &[BigUint], total: &BigUint) -> Vec<u64> {
    // With one weight, or none above zero, nothing is drawn.
    if weights.len() == 1 || *total == BigUint::ZERO {
        return vec![u64::MAX; weights.len()];
    }
    let mut sum = BigUint::ZERO;
    weights
        .iter()
        .map(|weight| {
            sum += weight;
            // The whole has 65 bits: a draw of the largest number settles it exactly, too.
            u64::try_from((&sum << 64_u32) / total).unwrap_or(u64::MAX)
        })
        .collect()
}

/// An index of `weights`, as likely as its weight; `thresholds` are [`thresholds`] of them.
#[inline]
pub(super) fn draw(thresholds: &[u64], weights: &[BigUint], rng: &mut Rng) -> usize {
    place(rng.next_u64(), thresholds, weights, rng)
}

/// The index where a number with the first 64 bits `lead` lies.
#[inline]
fn place(lead: u64, thresholds: &[u64], weights: &[BigUint], rng: &mut Rng) -> usize {
    let index = thresholds.partition_point(|&threshold| threshold < lead);
    if thresholds[index] > lead { index } else { at_border(lead, weights, rng) }
}

/// As [`place`], when `lead` are the first bits of a border as well: draws the rest.
#[cold]
fn at_border(lead: u64, weights: &[BigUint], rng: &mut Rng) -> usize {
    let total: BigUint = weights.iter().sum();
    let number = &total * lead + below(&total, rng);
    let mut sum = BigUint::ZERO;
    let ends = weights.iter().position(|weight| {
        sum += weight;
        number < &sum << 64_u32
    });
    ends.expect("the number is below the sum of all weights")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, Seed};

    #[track_caller]
    fn check_places(weights: &[u64], places: &[(u64, usize)]) {
        let weights: Vec<BigUint> = weights.iter().map(|&weight| weight.into()).collect();
        let thresholds = thresholds(&weights, &weights.iter().sum());
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        for &(lead, index) in places {
            assert_eq!(place(lead, &thresholds, &weights, &mut rng), index, "{lead} of {weights:?}");
        }
    }

    #[test]
    fn where_numbers_lie() {
        let half = 1 << 63;
        // A half in binary ends in zeros: what begins with its bits lies on or above it.
        check_places(&[1, 1], &[(0, 0), (half - 1, 0), (half, 1), (u64::MAX, 1)]);
        check_places(&[0, 1, 0, 1, 0], &[(0, 1), (half - 1, 1), (half, 3), (u64::MAX, 3)]);
        check_places(&[5], &[(0, 0), (u64::MAX, 0)]);
    }

    /// Two weights whose border lies within the numbers that begin with the same 64 bits, three quarters up.
    #[test]
    fn the_border_is_exact() {
        let unit = BigUint::from(1_u32) << 66_u32;
        let first = BigUint::from(7_u32);
        let weights = [first.clone(), &unit - first];
        let thresholds = thresholds(&weights, &unit);
        // 7 · 2⁶⁴ / 2⁶⁶ = 1 + 3/4.
        assert_eq!(thresholds[0], 1);
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        let first = (0..4000).filter(|_| place(1, &thresholds, &weights, &mut rng) == 0).count();
        assert!((2900..3100).contains(&first), "{first} of 4000, and 3000 are expected"); // 3.6 standard deviations
        assert_eq!((place(0, &thresholds, &weights, &mut rng), place(2, &thresholds, &weights, &mut rng)), (0, 1));
    }

    #[test]
    fn drawn_as_often_as_they_weigh() {
        let huge = BigUint::from(3_u32).pow(200);
        let weights = Weights::new(vec![huge.clone(), BigUint::ZERO, &huge * 2_u32, huge]);
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        let mut counts = [0; 4];
        (0..8000).for_each(|_| counts[weights.draw(&mut rng)] += 1);
        for (count, expected) in counts.into_iter().zip([2000, 0, 4000, 2000_i32]) {
            assert!((count - expected).abs() <= expected / 20, "{counts:?}");
        }
    }
}
