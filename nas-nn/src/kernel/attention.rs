//! The rows of attention scores: softmax over the keys that a query may see, and its gradient.

use super::math::exp;
use super::vector::{Job, Vector, launch};

/// Turns each row of `columns` scores into softmax(scale · scores) over its first `seen(row)` elements and zeros; the
/// logarithm of the sum of the exponentials goes to `log_sums`. A row that sees nothing becomes zeros.
///
/// # Panics
/// When the slices are not as many rows.
pub fn attention_softmax(
    columns: usize,
    scale: f32,
    scores: &mut [f32],
    log_sums: &mut [f32],
    seen: impl Fn(usize) -> usize,
) {
    assert_eq!(scores.len(), columns * log_sums.len(), "{} rows of {columns}", log_sums.len());
    // SAFETY: the job holds slices, which it indexes safely.
    unsafe { launch(Softmax { columns, scale, scores, log_sums, seen }) }
}

struct Softmax<'a, S> {
    columns: usize,
    scale: f32,
    scores: &'a mut [f32],
    log_sums: &'a mut [f32],
    seen: S,
}

impl<S: Fn(usize) -> usize> Job for Softmax<'_, S> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let rows = self.scores.chunks_exact_mut(self.columns.max(1)).zip(self.log_sums);
        for (r, (row, log_sum)) in rows.enumerate() {
            let n = (self.seen)(r).min(row.len());
            let (row, hidden) = row.split_at_mut(n);
            hidden.fill(0.0);
            if n == 0 {
                *log_sum = 0.0;
                continue;
            }
            // SAFETY: passed on to the caller.
            let max = unsafe { maximum::<V>(row) };
            let scale = self.scale;
            for x in &mut *row {
                *x = exp((*x - max) * scale);
            }
            // SAFETY: as above.
            let total = unsafe { sum_of::<V>(row, row, false) };
            let share = 1.0 / total;
            for x in row {
                *x *= share;
            }
            *log_sum = max * scale + total.ln();
        }
    }
}

/// The same rows again from the scores and the `log_sums` that [`attention_softmax`] wrote.
///
/// # Panics
/// When the slices are not as many rows.
pub fn attention_softmax_again(
    columns: usize,
    scale: f32,
    scores: &mut [f32],
    log_sums: &[f32],
    seen: impl Fn(usize) -> usize,
) {
    assert_eq!(scores.len(), columns * log_sums.len(), "{} rows of {columns}", log_sums.len());
    super::simd::dispatch(
        #[inline(always)]
        || {
            for (r, (row, log_sum)) in scores.chunks_exact_mut(columns.max(1)).zip(log_sums).enumerate() {
                let (row, hidden) = row.split_at_mut(seen(r).min(columns));
                hidden.fill(0.0);
                for x in row {
                    *x = exp(*x * scale - log_sum);
                }
            }
        },
    );
}

/// `gradient` by the softmax `y` of each row becomes the gradient by the scores: scale · y ⊙ (gradient − Σ gradient ⊙ y).
///
/// # Panics
/// When the slices are not as many rows of `columns`.
pub fn attention_softmax_backward(columns: usize, scale: f32, y: &[f32], gradient: &mut [f32]) {
    assert!(y.len() == gradient.len() && y.len().is_multiple_of(columns.max(1)), "not rows of {columns}");
    // SAFETY: the job holds slices, which it indexes safely.
    unsafe { launch(Backward { columns, scale, y, gradient }) }
}

struct Backward<'a> {
    columns: usize,
    scale: f32,
    y: &'a [f32],
    gradient: &'a mut [f32],
}

impl Job for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let rows = self.y.chunks_exact(self.columns.max(1)).zip(self.gradient.chunks_exact_mut(self.columns.max(1)));
        for (y, gradient) in rows {
            // SAFETY: passed on to the caller.
            let inner = unsafe { sum_of::<V>(y, gradient, true) };
            for (g, &y) in gradient.iter_mut().zip(y) {
                *g = self.scale * y * (*g - inner);
            }
        }
    }
}

/// The largest element; NaN if there is one.
///
/// # Safety
/// The instruction set of `V`.
#[inline(always)]
unsafe fn maximum<V: Vector>(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let whole = x.len() / V::LANES * V::LANES;
    // SAFETY: whole vectors below the end of `x`; no vector has more than 16 lanes.
    unsafe {
        let (zero, mut best) = (V::splat(0.0), V::splat(f32::NEG_INFINITY));
        for at in (0..whole).step_by(V::LANES) {
            best = V::load(x.as_ptr().add(at)).larger(zero, best, zero).0;
        }
        best.store(lanes.as_mut_ptr());
    }
    let larger = |best: f32, &x: &f32| if x > best || x.is_nan() { x } else { best };
    lanes.iter().chain(&x[whole..]).fold(f32::NEG_INFINITY, larger)
}

/// Σ aᵢ, or Σ aᵢ bᵢ as a `product`.
///
/// # Safety
/// The instruction set of `V`.
#[inline(always)]
unsafe fn sum_of<V: Vector>(a: &[f32], b: &[f32], product: bool) -> f32 {
    // SAFETY: vectors start below the end and load only what exists.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..a.len()).step_by(V::LANES) {
            let n = (a.len() - at).min(V::LANES);
            let (a, b) = (a.as_ptr().add(at), b.as_ptr().add(at));
            let load = |p: *const f32| if n == V::LANES { V::load(p) } else { V::load_first(p, n) };
            sum = if product { load(a).mul_add(load(b), sum) } else { sum.add(load(a)) };
        }
        sum.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    #[test]
    fn rows_are_softmax_over_what_they_see() {
        for columns in [1, 5, 16, 33, 100] {
            let rows = 7;
            let scores: Vec<f32> = values(rows * columns, 1).iter().map(|x| 40.0 * x).collect();
            let upstream = values(rows * columns, 2);
            let seen = |r: usize| (r * columns / 5).min(columns);
            let scale = 0.3;
            let (mut expected, mut expected_grad) = (vec![0.0; scores.len()], vec![0.0; scores.len()]);
            let mut log_sums = vec![0.0; rows];
            for r in 0..rows {
                let row = r * columns..r * columns + seen(r);
                let total: f64 = scores[row.clone()].iter().map(|&x| f64::from(scale * x).exp()).sum();
                let mut inner = 0.0;
                for i in row.clone() {
                    let p = f64::from(scale * scores[i]).exp() / total;
                    expected[i] = p as f32;
                    inner += p * f64::from(upstream[i]);
                }
                for i in row.clone() {
                    let p = f64::from(expected[i]);
                    expected_grad[i] = (f64::from(scale) * p * (f64::from(upstream[i]) - inner)) as f32;
                }
                log_sums[r] = if row.is_empty() { 0.0 } else { total.ln() as f32 };
            }
            on_every_simd(|_| {
                let (mut p, mut sums) = (scores.clone(), vec![f32::NAN; rows]);
                attention_softmax(columns, scale, &mut p, &mut sums, seen);
                assert_close(&p, &expected, 1e-5);
                assert_close(&sums, &log_sums, 1e-5);
                let mut again = scores.clone();
                attention_softmax_again(columns, scale, &mut again, &sums, seen);
                assert_close(&again, &expected, 1e-5);
                let mut gradient = upstream.clone();
                attention_softmax_backward(columns, scale, &p, &mut gradient);
                assert_close(&gradient, &expected_grad, 1e-5);
            });
        }
    }

    #[test]
    fn large_scores_and_nan() {
        on_every_simd(|_| {
            let mut row = [3e38, -3e38, 0.0];
            attention_softmax(3, 1.0, &mut row, &mut [0.0], |_| 3);
            assert_eq!(row, [1.0, 0.0, 0.0]);
            let mut row = [1.0, f32::NAN, 0.0];
            attention_softmax(3, 1.0, &mut row, &mut [0.0], |_| 3);
            assert!(row.iter().all(|x| x.is_nan()));
        });
    }
}
