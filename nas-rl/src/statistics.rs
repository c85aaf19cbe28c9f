//! Statistics of runs: means with their errors, bootstrap intervals, paired tests, rank correlations.
//!
//! Nothing here may be NaN among its inputs; comparisons order NaN above every number.

mod paired;

use nas_core::Rng;
use rand::RngExt as _;

pub use paired::{PairedT, pairs_needed, sign_flip, student_quantile};

/// Differences up to which the signed-rank distribution is counted exactly.
const EXACT: usize = 50;

/// The mean; NaN of nothing.
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// The middle value, or the mean of the two in the middle; NaN of nothing.
pub fn median(x: &[f64]) -> f64 {
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, 0.5)
}

/// The standard error of the mean: `s / √n` with the sample's deviation `s` (divisor n − 1); NaN of fewer than two.
pub fn standard_error(x: &[f64]) -> f64 {
    let (n, mean) = (x.len() as f64, mean(x));
    let squares: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
    if x.len() < 2 { f64::NAN } else { (squares / (n - 1.0) / n).sqrt() }
}

/// The value below which a part `q` (from 0 to 1) of the values lies, interpolated between neighbours; NaN of nothing.
pub fn quantile(x: &[f64], q: f64) -> f64 {
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

fn quantile_of_sorted(x: &[f64], q: f64) -> f64 {
    let Some(last) = x.len().checked_sub(1) else { return f64::NAN };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    x[below] + (x[above] - x[below]) * (at - below as f64)
}

/// The percentile bootstrap interval of `statistic` (Efron, 1979): the middle part `level` (usually 0.95) of its values on
/// `resamples` (10,000 are plenty) samples drawn from `x` with replacement. NaN of nothing.
pub fn bootstrap_interval(
    x: &[f64],
    statistic: impl Fn(&[f64]) -> f64,
    level: f64,
    resamples: usize,
    rng: &mut Rng,
) -> [f64; 2] {
    if x.is_empty() {
        return [f64::NAN; 2];
    }
    let mut sample = vec![0.0; x.len()];
    let mut values: Vec<f64> = (0..resamples)
        .map(|_| {
            sample.fill_with(|| x[rng.random_range(0..x.len())]);
            statistic(&sample)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    [(1.0 - level) / 2.0, (1.0 + level) / 2.0].map(|q| quantile_of_sorted(&values, q))
}

/// The ranks of the values, from 1; equal values share the mean of theirs.
pub fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut ranks = vec![0.0; x.len()];
    let mut smaller = 0;
    for equal in order.chunk_by(|&a, &b| x[a] == x[b]) {
        let rank = smaller as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        smaller += equal.len();
    }
    ranks
}

/// What the signed-rank test says of paired differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignedRank {
    /// The sum of the ranks of positive differences.
    pub positive: f64,
    /// The sum of the ranks of negative differences.
    pub negative: f64,
    /// Differences that are not zero: the others say nothing and are left out.
    pub n: usize,
    /// The probability of sums as uneven as these if no side were favoured.
    pub two_sided: f64,
    /// The probability of a positive sum so large if no side were favoured: small when differences are above zero.
    pub greater: f64,
    /// The probability of a positive sum so small if no side were favoured: small when differences are below zero.
    pub less: f64,
}

/// Wilcoxon's signed-rank test of paired `differences` (Wilcoxon, 1945).
///
/// Up to 50 differences the probabilities are counted exactly, ties included; beyond that they come from the normal
/// approximation with its variance corrected for ties.
pub fn wilcoxon_signed_rank(differences: &[f64]) -> SignedRank {
    let differences: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    let magnitudes: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    let ranks = ranks(&magnitudes);
    let (mut positive, mut negative) = (0.0, 0.0);
    for (d, rank) in differences.iter().zip(&ranks) {
        *if *d > 0.0 { &mut positive } else { &mut negative } += rank;
    }
    let [less, greater] =
        if ranks.len() <= EXACT { exact_tails(&ranks, positive) } else { normal_tails(&ranks, positive) };
    SignedRank { positive, negative, n: ranks.len(), two_sided: (2.0 * less.min(greater)).min(1.0), greater, less }
}

/// The probabilities of a sum of ranks at most and at least `sum`, when each rank is in it or not with equal chances.
fn exact_tails(ranks: &[f64], sum: f64) -> [f64; 2] {
    // Ranks shared by two are halves: doubled, all are whole.
    let doubled: Vec<usize> = ranks.iter().map(|rank| (2.0 * rank) as usize).collect();
    let mut chance = vec![0.0; doubled.iter().sum::<usize>() + 1];
    chance[0] = 1.0;
    for rank in doubled {
        for total in (0..chance.len()).rev() {
            let with = if total >= rank { chance[total - rank] } else { 0.0 };
            chance[total] = 0.5 * (chance[total] + with);
        }
    }
    let at = (2.0 * sum) as usize;
    [chance[..=at].iter().sum::<f64>().min(1.0), chance[at..].iter().sum::<f64>().min(1.0)]
}

/// The same by a normal distribution of the sum's mean and variance; ties make the variance Σ rank² / 4 smaller.
fn normal_tails(ranks: &[f64], sum: f64) -> [f64; 2] {
    let expected = ranks.iter().sum::<f64>() / 2.0;
    let deviation = (ranks.iter().map(|rank| rank * rank).sum::<f64>() / 4.0).sqrt();
    let z = (sum - expected) / deviation;
    [-z, z].map(|z| 0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2))
}

/// Spearman's rank correlation: Pearson's correlation of the ranks. Zero when one side is all equal, which orders nothing.
///
/// # Panics
/// When the lengths differ.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "rank correlation of lists of different lengths");
    let (a, b) = (ranks(a), ranks(b));
    let centre = (a.len() as f64 + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - centre) * (y - centre)).sum::<f64>();
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    if scale > 0.0 { (product(&a, &b) / scale).clamp(-1.0, 1.0) } else { 0.0 }
}

/// Kendall's τ-b: pairs in the same order less pairs in opposite order, over the geometric mean of the pairs that either
/// side orders (Kendall, 1945), in time n log n (Knight, 1966). Zero when one side is all equal.
///
/// # Panics
/// When the lengths differ.
pub fn kendall(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "rank correlation of lists of different lengths");
    let mut pairs: Vec<(f64, f64)> = a.iter().copied().zip(b.iter().copied()).collect();
    pairs.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.total_cmp(&y.1)));
    let all = count_pairs(pairs.len());
    let tied_a: f64 = pairs.chunk_by(|x, y| x.0 == y.0).map(|equal| count_pairs(equal.len())).sum();
    let tied_both: f64 = pairs.chunk_by(|x, y| x == y).map(|equal| count_pairs(equal.len())).sum();
    let mut by_b: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let opposite = sort_and_count(&mut by_b, &mut vec![0.0; pairs.len()]);
    let tied_b: f64 = by_b.chunk_by(|x, y| x == y).map(|equal| count_pairs(equal.len())).sum();
    let scale = ((all - tied_a) * (all - tied_b)).sqrt();
    let same_less_opposite = all - tied_a - tied_b + tied_both - 2.0 * opposite;
    if scale > 0.0 { (same_less_opposite / scale).clamp(-1.0, 1.0) } else { 0.0 }
}

fn count_pairs(n: usize) -> f64 {
    n as f64 * (n as f64 - 1.0) / 2.0
}

/// Sorts `x` by merging, `spare` being as long, and counts how many pairs stood in the wrong order.
fn sort_and_count(x: &mut [f64], spare: &mut [f64]) -> f64 {
    let n = x.len();
    if n < 2 {
        return 0.0;
    }
    let (left, right) = x.split_at_mut(n / 2);
    let (spare_left, spare_right) = spare.split_at_mut(n / 2);
    let mut wrong = sort_and_count(left, spare_left) + sort_and_count(right, spare_right);
    let (mut i, mut j) = (0, 0);
    for place in spare.iter_mut() {
        if j == right.len() || i < left.len() && left[i] <= right[j] {
            *place = left[i];
            i += 1;
        } else {
            *place = right[j];
            j += 1;
            wrong += (left.len() - i) as f64;
        }
    }
    x.copy_from_slice(spare);
    wrong
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use nas_core::{Purpose, Seed};

    use super::*;

    #[test]
    fn of_few() {
        assert!(mean(&[]).is_nan() && median(&[]).is_nan() && standard_error(&[1.0]).is_nan());
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.9), 4.6);
        assert_abs_diff_eq!(standard_error(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 0.7559289460184544);
    }

    #[test]
    fn ranks_share_ties() {
        assert_eq!(ranks(&[10.0, 20.0, 10.0, 5.0, 20.0, 20.0]), [2.5, 5.0, 2.5, 1.0, 5.0, 5.0]);
        assert!(ranks(&[]).is_empty());
    }

    #[test]
    fn bootstrap_covers_the_mean_as_often_as_it_says() {
        let mut covered = 0;
        for number in 0..400 {
            let mut rng = Seed::new(1).stream(Purpose::Test, number);
            let x: Vec<f64> = (0..60).map(|_| rng.random::<f64>()).collect();
            let [low, high] = bootstrap_interval(&x, mean, 0.9, 300, &mut rng);
            covered += usize::from(low <= 0.5 && 0.5 <= high);
        }
        assert!((340..=380).contains(&covered), "{covered} of 400 intervals of 90 %");
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        assert_eq!(bootstrap_interval(&[2.0; 5], median, 0.95, 100, &mut rng), [2.0, 2.0]);
    }

    /// Nine patients before and after (Hollander and Wolfe, 1973, p. 29).
    #[test]
    #[allow(clippy::approx_constant, reason = "a measurement")]
    fn signed_ranks_of_nine_patients() {
        let before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
        let after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
        let differences: Vec<f64> = before.iter().zip(after).map(|(b, a)| b - a).collect();
        let test = wilcoxon_signed_rank(&differences);
        assert_eq!((test.positive, test.negative, test.n), (40.0, 5.0, 9));
        assert_abs_diff_eq!(test.greater, 10.0 / 512.0, epsilon = 1e-12);
        assert_abs_diff_eq!(test.two_sided, 20.0 / 512.0, epsilon = 1e-12);
    }

    /// Darwin's fifteen pairs of maize, in eighths of an inch (Fisher, 1935).
    #[test]
    fn signed_ranks_of_darwins_maize() {
        let maize = [6.0, 8.0, 14.0, 16.0, 23.0, 24.0, 28.0, 29.0, 41.0, -48.0, 49.0, 56.0, 60.0, -67.0, 75.0];
        let test = wilcoxon_signed_rank(&maize);
        assert_eq!(test.negative, 24.0);
        assert_abs_diff_eq!(test.two_sided, 0.041259765625, epsilon = 1e-12);
        let [_, greater] = normal_tails(&ranks(&maize.map(f64::abs)), test.positive);
        assert_abs_diff_eq!(2.0 * greater, 0.04088813291185591, epsilon = 1e-12);
    }

    /// Every assignment of signs, counted one by one.
    #[test]
    fn signed_ranks_with_ties_and_zeros() {
        let differences = [1.0, -1.0, 2.0, 2.0, 0.0, 3.0, -2.0, 5.0, 5.0];
        let test = wilcoxon_signed_rank(&differences);
        let ranks = ranks(&[1.0, 1.0, 2.0, 2.0, 3.0, 2.0, 5.0, 5.0]);
        let sums = (0..256_u32).map(|signs| (0..8).filter(|i| signs >> i & 1 == 1).map(|i| ranks[i]).sum::<f64>());
        let at_least = sums.filter(|&sum| sum >= test.positive).count();
        assert_eq!(test.n, 8);
        assert_abs_diff_eq!(test.greater, at_least as f64 / 256.0, epsilon = 1e-12);
        assert_eq!(wilcoxon_signed_rank(&[0.0, 0.0]).two_sided, 1.0);
    }

    #[test]
    fn both_ways_to_the_tails_agree() {
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        let magnitudes: Vec<f64> = (0..EXACT).map(|_| (rng.random::<f64>() * 30.0).floor()).collect();
        let ranks = ranks(&magnitudes);
        for sum in [350.0, 500.5, 637.5, 800.0] {
            let (exact, normal) = (exact_tails(&ranks, sum), normal_tails(&ranks, sum));
            assert_abs_diff_eq!(exact[0], normal[0], epsilon = 0.005);
            assert_abs_diff_eq!(exact[1], normal[1], epsilon = 0.005);
        }
    }

    /// Lightness of tuna and its rating by a panel (Hollander and Wolfe, 1973, p. 187): τ is 16 / 36.
    #[test]
    fn correlations_of_tuna() {
        let lightness = [44.4, 45.9, 41.9, 53.3, 44.7, 44.1, 50.7, 45.2, 60.1];
        let rating = [2.6, 3.1, 2.5, 5.0, 3.6, 4.0, 5.2, 2.8, 3.8];
        assert_abs_diff_eq!(kendall(&lightness, &rating), 16.0 / 36.0, epsilon = 1e-12);
        assert_abs_diff_eq!(spearman(&lightness, &rating), 0.6, epsilon = 1e-12);
    }

    #[test]
    fn correlations_with_ties() {
        let (a, b) = ([12.0, 2.0, 1.0, 12.0, 2.0], [1.0, 4.0, 7.0, 1.0, 0.0]);
        assert_abs_diff_eq!(kendall(&a, &b), -0.47140452079103173, epsilon = 1e-12);
        assert_eq!((kendall(&a, &[1.0; 5]), spearman(&a, &[1.0; 5])), (0.0, 0.0));
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        let mut draw = |levels: f64| (0..200).map(|_| (rng.random::<f64>() * levels).floor()).collect::<Vec<_>>();
        let (a, b) = (draw(9.0), draw(30.0));
        let (mut s, mut order_a, mut order_b) = (0.0, 0.0, 0.0);
        for i in 0..200 {
            for j in 0..i {
                let (x, y): (f64, f64) = (a[i] - a[j], b[i] - b[j]);
                s += if x * y > 0.0 {
                    1.0
                } else if x * y < 0.0 {
                    -1.0
                } else {
                    0.0
                };
                order_a += f64::from(u8::from(x != 0.0));
                order_b += f64::from(u8::from(y != 0.0));
            }
        }
        assert_abs_diff_eq!(kendall(&a, &b), s / f64::sqrt(order_a * order_b), epsilon = 1e-12);
    }
}
