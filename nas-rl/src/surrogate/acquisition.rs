//! What a candidate is worth: expected improvement over the best so far, on rewards turned into normal scores.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use crate::statistics::ranks;

/// Below this many deviations under the best, improvement is taken from a continued fraction: the sum of its two terms
/// loses one digit for each factor of ten between them.
const DIRECT: f64 = -5.0;

/// The expected improvement `E[max(y − best, 0)]` of `y` distributed normally with `mean` and `variance`
/// (Močkus, 1975): `s (u Φ(u) + φ(u))` with `u = (mean − best) / s`. Never negative.
pub fn expected_improvement(mean: f64, variance: f64, best: f64) -> f64 {
    log_expected_improvement(mean, variance, best).exp()
}

/// The logarithm of [`expected_improvement`], which orders candidates also where that itself is too small for a number
/// (Ament et al., 2023); minus infinity when improvement is impossible.
pub fn log_expected_improvement(mean: f64, variance: f64, best: f64) -> f64 {
    let s = variance.max(0.0).sqrt();
    if s == 0.0 {
        return (mean - best).max(0.0).ln();
    }
    let u = (mean - best) / s;
    let log_density = -0.5 * (u * u + TAU.ln());
    let log_gain =
        if u > DIRECT { (libm::exp(log_density) + u * cumulative(u)).ln() } else { log_density + log_gain_of_tail(-u) };
    log_gain + s.ln()
}

/// Φ: the probability that a standard normal number is below `x`.
fn cumulative(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// `ln (1 − t Q(t) / φ(t))` with Q the upper tail of the standard normal, for large `t`.
///
/// With `H₋₁ = φ`, `H₀ = Q` and `Hₙ` the integral of `Hₙ₋₁` from `t` up, `(n + 1) Hₙ₊₁ = Hₙ₋₁ − t Hₙ`; so the ratios
/// `rₙ = Hₙ / Hₙ₋₁` are `1 / (t + (n + 1) rₙ₊₁)`, and what is wanted is `r₀ r₁`: nothing cancels.
fn log_gain_of_tail(t: f64) -> f64 {
    let ratio = |from: u32| (from..32).rev().fold(0.0, |ratio, n| 1.0 / (t + f64::from(n + 1) * ratio));
    let r1 = ratio(1);
    (r1 / (t + r1)).ln()
}

/// The rewards as normal scores `Φ⁻¹((rank − ½) / n)`: their order, in the shape that a Gaussian process expects. Ties share
/// a score; NaN is no reward.
pub fn normal_scores(rewards: &[f64]) -> Vec<f64> {
    let n = rewards.len() as f64;
    let mut scores = ranks(rewards);
    scores.iter_mut().for_each(|rank| *rank = quantile((*rank - 0.5) / n));
    scores
}

/// Φ⁻¹ of a probability between 0 and 1, exclusively (Wichura, 1988, algorithm AS 241, to 16 digits).
fn quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&CENTRE.0, r) / polynomial(&CENTRE.1, r);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let ((above, below), r) = if r <= 5.0 { (&FLANK, r - 1.6) } else { (&TAIL, r - 5.0) };
    (polynomial(above, r) / polynomial(below, r)).copysign(q)
}

fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// Numerator and denominator.
type Rational = ([f64; 8], [f64; 8]);

const CENTRE: Rational = (
    [
        3.3871328727963665,
        1.3314166789178438e2,
        1.9715909503065513e3,
        1.373169376550946e4,
        4.592195393154987e4,
        67265.7709270087,
        3.343057558358813e4,
        2.5090809287301227e3,
    ],
    [
        1.0,
        4.231333070160091e1,
        6.871870074920579e2,
        5.394196021424751e3,
        2.1213794301586597e4,
        3.930789580009271e4,
        2.8729085735721943e4,
        5.226495278852854e3,
    ],
);
const FLANK: Rational = (
    [
        1.4234371107496835,
        4.630337846156546,
        5.769497221460691,
        3.6478483247632045,
        1.2704582524523684,
        2.417807251774506e-1,
        2.2723844989269184e-2,
        7.745450142783414e-4,
    ],
    [
        1.0,
        2.053191626637759,
        1.6763848301838038,
        6.897673349851e-1,
        1.4810397642748008e-1,
        1.5198666563616457e-2,
        5.475938084995345e-4,
        1.0507500716444169e-9,
    ],
);
const TAIL: Rational = (
    [
        6.657904643501103,
        5.463784911164114,
        1.7848265399172913,
        2.9656057182850487e-1,
        2.6532189526576124e-2,
        1.2426609473880784e-3,
        2.7115555687434876e-5,
        2.0103343992922881e-7,
    ],
    [
        1.0,
        5.99832206555888e-1,
        1.369298809227358e-1,
        1.4875361290850615e-2,
        7.868691311456133e-4,
        1.8463183175100548e-5,
        1.421511758316446e-7,
        2.0442631033899397e-15,
    ],
);

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use nas_core::{Purpose, Seed};
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn quantiles_are_the_inverse_of_probabilities() {
        for p in [1e-300, 1e-20, 1e-11, 1e-4, 0.02, 0.074, 0.3, 0.5, 0.8, 0.93, 0.99, 1.0 - 1e-9] {
            assert_relative_eq!(cumulative(quantile(p)), p, max_relative = 1e-12);
        }
        assert_abs_diff_eq!(quantile(0.975), 1.959963984540054, epsilon = 1e-14);
    }

    #[test]
    fn scores_are_symmetric_and_share_ties() {
        let scores = normal_scores(&[5.0, 1.0, 3.0, 3.0]);
        assert_abs_diff_eq!(scores[0], 1.1503493803760079, epsilon = 1e-12); // Φ⁻¹(7 / 8)
        assert_abs_diff_eq!(scores[0] + scores[1], 0.0, epsilon = 1e-12);
        assert_eq!(scores[2..], [0.0, 0.0]);
    }

    #[test]
    fn improvement_equals_monte_carlo() {
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        for (mean, variance, best) in [(0.0, 1.0, 0.0), (0.3, 0.25, 0.5), (-1.0, 2.0, 0.4), (1.0, 0.01, 0.2)] {
            let draws = 200_000;
            let gains = (0..draws).map(|_| {
                let y: f64 = mean + f64::sqrt(variance) * quantile(rng.random_range(1e-12..1.0));
                (y - best).max(0.0)
            });
            let sampled = gains.sum::<f64>() / f64::from(draws);
            assert_abs_diff_eq!(expected_improvement(mean, variance, best), sampled, epsilon = 0.004);
        }
    }

    #[test]
    fn improvement_is_never_negative_and_never_loses_its_order() {
        let mut last = f64::NEG_INFINITY;
        for step in -4000..=100 {
            let log = log_expected_improvement(f64::from(step) * 0.01, 1.0, 0.0);
            assert!(log > last && log.exp() >= 0.0, "{step}: {log} after {last}");
            last = log;
        }
        // Both branches at their border, and the first term of the asymptotic series: φ(t) / t².
        let direct = (libm::exp(-12.5 - 0.5 * TAU.ln()) - 5.0 * cumulative(-5.0)).ln();
        assert_abs_diff_eq!(log_expected_improvement(-5.0, 1.0, 0.0), direct, epsilon = 1e-9);
        let (t, far) = (1e4_f64, log_expected_improvement(-1e4, 1.0, 0.0));
        assert_abs_diff_eq!(far, -0.5 * (t * t + TAU.ln()) - 2.0 * t.ln(), epsilon = 1e-7);
    }

    #[test]
    fn improvement_without_doubt() {
        assert_eq!(expected_improvement(1.5, 0.0, 1.0), 0.5);
        assert_eq!(expected_improvement(0.5, 0.0, 1.0), 0.0);
    }
}
