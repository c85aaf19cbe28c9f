//! Few paired differences: Student's t with its interval, the exact sign-flip test, and how many pairs show a difference.

/// Differences up to which the sign-flip distribution is counted exactly.
const EXACT: usize = 40;

/// What Student's t says of the mean of paired differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedT {
    /// How many differences there are.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample deviation, divisor n − 1.
    pub deviation: f64,
    /// Half the width of the interval around the mean.
    pub half_width: f64,
    /// The probability of a mean so far from zero, on either side, if the true one is zero. NaN when all differences are
    /// equal, but for rounding: without a spread t says nothing.
    pub two_sided: f64,
}

impl PairedT {
    /// Of `differences`, with an interval that covers the true mean with probability `level` (usually 0.95) when the
    /// differences are normal (Student, 1908). None of fewer than two.
    pub fn new(differences: &[f64], level: f64) -> Option<Self> {
        let n = differences.len();
        if n < 2 {
            return None;
        }
        let (mean, error) = (super::mean(differences), super::standard_error(differences));
        let largest = differences.iter().fold(0.0, |largest, d| d.abs().max(largest));
        let error = if error > 1e-9 * largest { error } else { 0.0 };
        let freedom = n as f64 - 1.0;
        let half_width = student_quantile((1.0 + level) / 2.0, freedom) * error;
        let two_sided = if error > 0.0 { 2.0 * student_tail((mean / error).abs(), freedom) } else { f64::NAN };
        Some(PairedT { n, mean, deviation: error * (n as f64).sqrt(), half_width, two_sided })
    }
}

/// The two-sided sign-flip test of paired `differences` (Fisher, 1935): the share of all choices of their signs whose sum is
/// at least as far from zero. It assumes of the differences only that plus is as likely as minus if nothing is favoured.
///
/// With n differences it is never below 2 / 2ⁿ: five cannot be significant at 5 %, six can. Up to 40 differences all choices
/// are counted, beyond that the sum is taken as normal.
pub fn sign_flip(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    // Sums of the same numbers in another order differ in their last bits.
    let equal = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    if observed <= equal {
        return 1.0;
    }
    if differences.len() > EXACT {
        let deviation = differences.iter().map(|d| d * d).sum::<f64>().sqrt();
        return libm::erfc(observed / deviation * std::f64::consts::FRAC_1_SQRT_2);
    }
    // Sums of both halves, sorted: for a rising sum of the left, those of the right that suffice reach further down.
    let (left, right) = differences.split_at(differences.len() / 2);
    let (left, right) = (signed_sums(left), signed_sums(right));
    let (mut from, mut count) = (right.len(), 0_u64);
    for sum in &left {
        while from > 0 && sum + right[from - 1] >= observed - equal {
            from -= 1;
        }
        count += (right.len() - from) as u64;
    }
    (2.0 * count as f64 / (left.len() as f64 * right.len() as f64)).min(1.0)
}

/// The sums of `x` with all choices of signs, in order.
fn signed_sums(x: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for x in x {
        sums = sums.iter().flat_map(|sum| [sum + x, sum - x]).collect();
    }
    sums.sort_by(f64::total_cmp);
    sums
}

/// How many pairs show a true `difference` with probability `power` (usually 0.8) when single differences have that sample
/// `deviation`: the least n for which t's quantiles at level and power fit between zero and the difference, at a two-sided
/// test of level 1 − `level`. None when there is no difference to show.
pub fn pairs_needed(deviation: f64, difference: f64, level: f64, power: f64) -> Option<u64> {
    let ratio = deviation / difference.abs();
    if !ratio.is_finite() {
        return None;
    }
    let fits = |n: u64| {
        let freedom = n as f64 - 1.0;
        let quantiles = student_quantile((1.0 + level) / 2.0, freedom) + student_quantile(power, freedom);
        quantiles * ratio <= (n as f64).sqrt()
    };
    // Quantiles fall and the root rises: what fits once fits for ever.
    let mut high = 2;
    while !fits(high) {
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        *if fits(middle) { &mut high } else { &mut low } = middle;
    }
    Some(high)
}

/// The value below which Student's t with `freedom` degrees (above zero) lies with probability `p`, between 0 and 1.
pub fn student_quantile(p: f64, freedom: f64) -> f64 {
    if p < 0.5 {
        return -student_quantile(1.0 - p, freedom);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while student_tail(high, freedom) > 1.0 - p && high < f64::MAX / 2.0 {
        high *= 2.0;
    }
    // Until neighbours: at most a few dozen halvings.
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        *if student_tail(middle, freedom) > 1.0 - p { &mut low } else { &mut high } = middle;
    }
}

/// The probability that Student's t with `freedom` degrees lies above `t`, zero or more: ½ I(ν/2, ½) at ν / (ν + t²).
fn student_tail(t: f64, freedom: f64) -> f64 {
    // With more degrees the quantiles change by less than a millionth, and the gamma functions cancel.
    let freedom = freedom.min(1e6);
    let square = t * t;
    // The complement is computed from the small side of each: neither loses digits.
    0.5 * incomplete_beta(freedom / (freedom + square), square / (freedom + square), freedom / 2.0, 0.5)
}

/// The regularised incomplete beta function I(a, b) at `x`, with `y` = 1 − x.
fn incomplete_beta(x: f64, y: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || y <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    // The fraction converges fast on one side.
    if x > (a + 1.0) / (a + b + 2.0) { 1.0 - beta_fraction(y, x, b, a) } else { beta_fraction(x, y, a, b) }
}

/// The same by its continued fraction, with the method of Lentz.
fn beta_fraction(x: f64, y: f64, a: f64, b: f64) -> f64 {
    let front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * x.ln() + b * y.ln();
    let nonzero = |x: f64| if x.abs() < 1e-300 { 1e-300 } else { x };
    let (mut c, mut d) = (1.0, 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / nonzero(1.0 + term * d);
            c = nonzero(1.0 + term / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front.exp() * fraction / a
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};

    use super::*;

    /// The usual table, and the closed forms of one and two degrees.
    #[test]
    fn quantiles_of_student() {
        for (freedom, p, expected) in [
            (1.0, 0.975, 12.706_205),
            (2.0, 0.975, 4.302_653),
            (3.0, 0.975, 3.182_446),
            (5.0, 0.975, 2.570_582),
            (5.0, 0.8, 0.919_544),
            (9.0, 0.995, 3.249_836),
            (30.0, 0.975, 2.042_272),
            (1e7, 0.975, 1.959_964),
        ] {
            assert_abs_diff_eq!(student_quantile(p, freedom), expected, epsilon = 1e-5);
            assert_abs_diff_eq!(student_quantile(1.0 - p, freedom), -expected, epsilon = 1e-5);
        }
        for p in [0.5, 0.6, 0.99, 0.99999] {
            let (one, q) = ((std::f64::consts::PI * (p - 0.5)).tan(), 2.0 * p - 1.0);
            assert_relative_eq!(student_quantile(p, 1.0), one, epsilon = 1e-9, max_relative = 1e-9);
            let two = q * (2.0 / (1.0 - q * q)).sqrt();
            assert_relative_eq!(student_quantile(p, 2.0), two, epsilon = 1e-9, max_relative = 1e-9);
        }
    }

    /// Darwin's fifteen pairs of maize, in eighths of an inch (Fisher, 1935): t is 2.148, its probability 4.97 %; of all
    /// 32,768 choices of signs, 1,726 give a sum at least as large or as small, 5.27 %.
    #[test]
    fn darwins_maize() {
        let maize = [6.0, 8.0, 14.0, 16.0, 23.0, 24.0, 28.0, 29.0, 41.0, -48.0, 49.0, 56.0, 60.0, -67.0, 75.0];
        let t = PairedT::new(&maize, 0.95).unwrap();
        assert_abs_diff_eq!(t.mean, 314.0 / 15.0, epsilon = 1e-12);
        assert_abs_diff_eq!(t.mean / (t.deviation / 15_f64.sqrt()), 2.148, epsilon = 5e-4);
        assert_abs_diff_eq!(t.two_sided, 0.0497, epsilon = 5e-5);
        assert!(t.half_width < t.mean && t.mean - t.half_width < 0.1);
        assert_abs_diff_eq!(sign_flip(&maize), 1726.0 / 32768.0, epsilon = 1e-12);
    }

    #[test]
    fn three_pairs_by_hand() {
        // Mean 2, deviation 1: t = 2√3; P(|T| > t) = 1 − t / √(t² + 2) with two degrees.
        let t = PairedT::new(&[1.0, 2.0, 3.0], 0.95).unwrap();
        assert_abs_diff_eq!(t.half_width, 4.302_653 / 3_f64.sqrt(), epsilon = 1e-6);
        assert_abs_diff_eq!(t.two_sided, 1.0 - (12.0_f64 / 14.0).sqrt(), epsilon = 1e-12);
        // Sums of ±1 ±2 ±3: only 6 and −6 are as far.
        assert_eq!(sign_flip(&[1.0, 2.0, 3.0]), 0.25);
        // And of ±1 ±2 −3: 0 twice, the rest as far as 0.
        assert_eq!(sign_flip(&[1.0, 2.0, -3.0]), 1.0);
        // ±1 ±1 ±4 at 4: 6, 4, 4 and their opposites.
        assert_eq!(sign_flip(&[1.0, -1.0, 4.0]), 0.75);
    }

    #[test]
    fn differences_without_a_spread() {
        let t = PairedT::new(&[0.5; 4], 0.95).unwrap();
        assert_eq!((t.mean, t.half_width), (0.5, 0.0));
        assert!(t.two_sided.is_nan());
        assert_eq!(sign_flip(&[0.5; 4]), 0.125);
        assert_eq!((sign_flip(&[0.0; 4]), sign_flip(&[])), (1.0, 1.0));
        assert_eq!(PairedT::new(&[1.0], 0.95), None);
        let rounded = PairedT::new(&[0.81 - 0.8, 0.82 - 0.81, 0.83 - 0.82], 0.95).unwrap();
        assert!(rounded.two_sided.is_nan() && rounded.deviation == 0.0);
    }

    #[test]
    fn both_ways_to_the_sign_flip_agree() {
        let differences: Vec<f64> = (0..EXACT).map(|i| ((i * 7) % 11) as f64 - 3.5).collect();
        let exact = sign_flip(&differences);
        let deviation = differences.iter().map(|d| d * d).sum::<f64>().sqrt();
        let normal = libm::erfc(differences.iter().sum::<f64>() / deviation * std::f64::consts::FRAC_1_SQRT_2);
        assert_abs_diff_eq!(exact, normal, epsilon = 0.01);
        let more: Vec<f64> = differences.iter().chain(&[0.0]).copied().collect();
        assert_abs_diff_eq!(sign_flip(&more), normal, epsilon = 1e-12);
    }

    #[test]
    fn pairs_that_show_a_difference() {
        // Tables of the paired t-test's power: a difference of one deviation needs 10 pairs, of half of one 34.
        assert_eq!(pairs_needed(1.0, 1.0, 0.95, 0.8), Some(10));
        assert_eq!(pairs_needed(1.0, -0.5, 0.95, 0.8), Some(34));
        assert_eq!(pairs_needed(0.0, 0.1, 0.95, 0.8), Some(2));
        assert_eq!((pairs_needed(1.0, 0.0, 0.95, 0.8), pairs_needed(0.0, 0.0, 0.95, 0.8)), (None, None));
        assert!(pairs_needed(1.0, 1e-9, 0.95, 0.8).is_some_and(|n| n > 1 << 60));
    }
}
