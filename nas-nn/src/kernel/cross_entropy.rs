//! Cross-entropy of rows of logits with class numbers, without a buffer of probabilities.

use super::math::exp;
use super::reduce::{finite_shift, maximum};
use super::simd::dispatch;

/// What rows of logits are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// The class number of each row.
    pub labels: &'a [f32],
    /// A weight for each class, all 1 when there are none.
    pub weights: Option<&'a [f32]>,
    /// A factor for each row, all 1 when there are none; rows of factor 0 are not looked at.
    pub mask: Option<&'a [f32]>,
    /// The part of the target that is spread over all classes, 0 to 1.
    pub smoothing: f32,
}

impl Targets<'_> {
    #[inline(always)]
    fn mask(&self, row: usize) -> f32 {
        self.mask.map_or(1.0, |mask| mask[row])
    }

    #[inline(always)]
    fn weight(&self, class: usize) -> f32 {
        self.weights.map_or(1.0, |weights| weights[class])
    }

    #[track_caller]
    fn check(&self, columns: usize, x: usize) {
        assert_eq!(x, columns * self.labels.len(), "the logits are not {} rows of {columns}", self.labels.len());
        assert!(self.weights.is_none_or(|w| w.len() == columns), "not one weight for each of {columns} classes");
        assert!(self.mask.is_none_or(|m| m.len() == self.labels.len()), "not one factor for each row");
    }
}

/// The sum over the rows `r` of `mask · ((1 − s) wʸ (−ln pʸ) + s/C Σ wᶜ (−ln pᶜ))`, and the sum of `mask · wʸ` by which it
/// is divided for a mean. `stats` gets the largest logit and ln Σ exp(x − largest) of each row, or is empty.
///
/// # Panics
/// When the lengths do not fit, or a label is no class.
pub fn cross_entropy_forward(columns: usize, x: &[f32], targets: Targets<'_>, stats: &mut [f32]) -> [f64; 2] {
    targets.check(columns, x.len());
    assert!(stats.is_empty() || stats.len() == 2 * targets.labels.len(), "not two numbers a row");
    dispatch(
        #[inline(always)]
        || {
            let smoothing = f64::from(targets.smoothing);
            let all = targets.weights.map_or(columns as f64, |w| w.iter().map(|&w| f64::from(w)).sum());
            let (mut total, mut counted) = (0.0, 0.0);
            let mut stats = stats.as_chunks_mut::<2>().0.iter_mut();
            for (b, block) in x.chunks(ROWS * columns).enumerate() {
                let count = block.len() / columns;
                let first = b * ROWS;
                let mut sums = [Sums::default(); ROWS];
                if columns <= SHORT {
                    short_rows(columns, block, &mut sums);
                } else {
                    for (r, (row, sums)) in block.chunks_exact(columns).zip(&mut sums).enumerate() {
                        if targets.mask(first + r) != 0.0 {
                            *sums = long_row(row, smoothing > 0.0);
                        }
                    }
                }
                for (r, (row, sums)) in block.chunks_exact(columns).zip(&sums[..count]).enumerate() {
                    let mask = f64::from(targets.mask(first + r));
                    let log_sum = if mask == 0.0 { 0.0 } else { sums.exponentials.ln() };
                    if let Some(stat) = stats.next() {
                        *stat = [sums.max, log_sum as f32];
                    }
                    if mask == 0.0 {
                        continue;
                    }
                    let class = targets.labels[first + r] as usize;
                    let weight = f64::from(targets.weight(class));
                    let mut loss = (1.0 - smoothing) * weight * (log_sum - f64::from(row[class] - sums.max));
                    if smoothing > 0.0 {
                        let shifted = match targets.weights {
                            None => sums.shifted,
                            Some(w) => w.iter().zip(row).map(|(&w, &x)| f64::from(w) * f64::from(x - sums.max)).sum(),
                        };
                        loss += smoothing / columns as f64 * (all * log_sum - shifted);
                    }
                    total += mask * loss;
                    counted += mask * weight;
                }
            }
            [total, counted]
        },
    )
}

/// `dx = scale · d(the sum of cross_entropy_forward)/dx` (`+=` with `accumulate`), from the logits and the `stats` of the
/// forward pass.
///
/// Of a row with target t, which holds (1 − s) wʸ at y and s/C wᶜ everywhere: mask · (p Σ t − t).
///
/// # Panics
/// When the lengths do not fit, or a label is no class.
pub fn cross_entropy_backward(
    columns: usize,
    scale: f32,
    x: &[f32],
    targets: Targets<'_>,
    stats: &[f32],
    dx: &mut [f32],
    accumulate: bool,
) {
    targets.check(columns, x.len());
    assert_eq!(x.len(), dx.len(), "the gradient's length is not the logits'");
    assert_eq!(stats.len(), 2 * targets.labels.len(), "not two numbers a row");
    dispatch(
        #[inline(always)]
        || {
            let even = targets.smoothing / columns as f32;
            let all = targets.weights.map_or(columns as f32, |w| w.iter().sum());
            let rows = x.chunks_exact(columns).zip(dx.chunks_exact_mut(columns));
            let rows = rows.zip(targets.labels).zip(stats.as_chunks::<2>().0).enumerate();
            for (r, (((row, dx), &label), &[max, log_sum])) in rows {
                if !accumulate {
                    dx.fill(0.0);
                }
                let factor = scale * targets.mask(r);
                if targets.mask(r) == 0.0 {
                    continue;
                }
                let class = label as usize;
                let certain = (1.0 - targets.smoothing) * targets.weight(class);
                let whole = certain + even * all;
                match targets.weights {
                    Some(weights) if even > 0.0 => {
                        for ((dx, &x), &w) in dx.iter_mut().zip(row).zip(weights) {
                            *dx += factor * (whole * exp((x - max) - log_sum) - even * w);
                        }
                    }
                    _ => {
                        for (dx, &x) in dx.iter_mut().zip(row) {
                            *dx += factor * (whole * exp((x - max) - log_sum) - even);
                        }
                    }
                }
                dx[class] -= factor * certain;
            }
        },
    );
}

/// Rows that are looked at together.
const ROWS: usize = 16;
/// The longest row whose numbers stand in lanes beside those of other rows.
const SHORT: usize = 32;

/// What the loss of a row is made of.
#[derive(Clone, Copy, Default)]
struct Sums {
    max: f32,
    /// Σ exp(x − max).
    exponentials: f64,
    /// Σ (x − max).
    shifted: f64,
}

/// Short rows side by side, one a lane: sums across a row of ten would be most of the work. The last row stands in the lanes
/// that a block does not fill.
#[inline(always)]
fn short_rows(columns: usize, block: &[f32], sums: &mut [Sums; ROWS]) {
    let mut tile = [[0.0_f32; ROWS]; SHORT];
    let tile = &mut tile[..columns];
    let count = block.len() / columns;
    for r in 0..ROWS {
        let row = &block[r.min(count - 1) * columns..][..columns];
        for (lanes, &x) in tile.iter_mut().zip(row) {
            lanes[r] = x;
        }
    }
    let mut max = [f32::NEG_INFINITY; ROWS];
    for lanes in &*tile {
        for l in 0..ROWS {
            // NaN wins and stays.
            max[l] = if lanes[l] <= max[l] || max[l].is_nan() { max[l] } else { lanes[l] };
        }
    }
    let max = max.map(finite_shift);
    let (mut exponentials, mut shifted) = ([0.0_f32; ROWS], [0.0_f32; ROWS]);
    for lanes in &*tile {
        for l in 0..ROWS {
            let x = lanes[l] - max[l];
            exponentials[l] += exp(x);
            shifted[l] += x;
        }
    }
    for l in 0..ROWS {
        sums[l] = Sums { max: max[l], exponentials: f64::from(exponentials[l]), shifted: f64::from(shifted[l]) };
    }
}

#[inline(always)]
fn long_row(row: &[f32], shifted: bool) -> Sums {
    let max = finite_shift(maximum(row));
    let shifted = if shifted { fold(row, |x| x - max) } else { 0.0 };
    Sums { max, exponentials: fold(row, |x| exp(x - max)), shifted }
}

/// Σ f(x) in a fixed order: 16 lanes of `f32` over blocks of 1,024 elements, lanes by halving and blocks in `f64`.
#[inline(always)]
fn fold(x: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    const LANES: usize = 16;
    let mut total = 0.0;
    for block in x.chunks(1024) {
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = block.as_chunks::<LANES>();
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] += f(chunk[l]);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane += f(x);
        }
        let mut lanes = lanes.map(f64::from);
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        total += lanes[0];
    }
    total
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    /// The same sums and gradients in f64, from the definition.
    fn exact(columns: usize, x: &[f32], targets: Targets<'_>) -> ([f64; 2], Vec<f64>) {
        let (mut total, mut counted, mut dx) = (0.0, 0.0, Vec::new());
        for (r, row) in x.chunks(columns).enumerate() {
            let class = targets.labels[r] as usize;
            let mask = f64::from(targets.mask(r));
            let log_sum = row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
            let smoothing = f64::from(targets.smoothing);
            let target = |c: usize| {
                let certain = if c == class { 1.0 - smoothing } else { 0.0 };
                f64::from(targets.weight(c)) * (certain + smoothing / columns as f64)
            };
            let all: f64 = (0..columns).map(target).sum();
            for (c, &x) in row.iter().enumerate() {
                total += mask * target(c) * (log_sum - f64::from(x));
                dx.push(mask * (all * (f64::from(x) - log_sum).exp() - target(c)));
            }
            counted += mask * f64::from(targets.weight(class));
        }
        ([total, counted], dx)
    }

    #[test]
    fn sums_and_gradients() {
        for (rows, columns) in [(5, 1), (21, 2), (16, 10), (17, 16), (5, 32), (5, 33), (5, 37), (5, 1500)] {
            let x: Vec<f32> = values(rows * columns, 1).iter().map(|x| 8.0 * x).collect();
            let labels: Vec<f32> = (0..rows).map(|r| (7 * r % columns) as f32).collect();
            let weights: Vec<f32> = values(columns, 2).iter().map(|w| 1.5 + w).collect();
            let mask: Vec<f32> = (0..rows).map(|r| [1.0, 0.0, 1.0, 1.0, 0.0][r % 5]).collect();
            for (weights, mask, smoothing) in [
                (None, None, 0.0),
                (None, None, 0.2),
                (Some(&weights[..]), None, 0.0),
                (Some(&weights[..]), Some(&mask[..]), 0.3),
                (None, Some(&mask[..]), 0.1),
            ] {
                let targets = Targets { labels: &labels, weights, mask, smoothing };
                let (sums, gradient) = exact(columns, &x, targets);
                on_every_simd(|simd| {
                    let mut stats = vec![f32::NAN; 2 * rows];
                    let found = cross_entropy_forward(columns, &x, targets, &mut stats);
                    assert_eq!(found, cross_entropy_forward(columns, &x, targets, &mut []));
                    for (found, expected) in found.iter().zip(sums) {
                        assert!(
                            (found - expected).abs() <= 3e-6 * expected.abs().max(1.0),
                            "{simd}: {found} {expected}"
                        );
                    }
                    let expected: Vec<f32> = gradient.iter().map(|g| (0.5 * g) as f32).collect();
                    let mut dx = vec![f32::NAN; x.len()];
                    cross_entropy_backward(columns, 0.5, &x, targets, &stats, &mut dx, false);
                    assert_close(&dx, &expected, 2e-6);
                    let more: Vec<f32> = expected.iter().map(|g| g + 3.0).collect();
                    dx.fill(3.0);
                    cross_entropy_backward(columns, 0.5, &x, targets, &stats, &mut dx, true);
                    assert_close(&dx, &more, 2e-6);
                });
            }
        }
    }

    #[test]
    fn logits_that_are_not_finite() {
        let targets = Targets { labels: &[0.0, 1.0], weights: None, mask: Some(&[0.0, 1.0]), smoothing: 0.0 };
        let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 4.0];
        let (mut stats, mut dx) = ([f32::NAN; 4], [f32::NAN; 4]);
        assert_eq!(cross_entropy_forward(2, &x, targets, &mut stats), [0.0, 1.0], "a masked row is not looked at");
        cross_entropy_backward(2, 1.0, &x, targets, &stats, &mut dx, false);
        assert_eq!(dx, [0.0; 4]);
        let targets = Targets { mask: None, ..targets };
        assert!(
            cross_entropy_forward(2, &x, targets, &mut stats)[0].is_nan(),
            "a diverged network must not look healthy"
        );
    }
}
