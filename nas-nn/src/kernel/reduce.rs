//! Work on the rows of matrices: softmax, bias sums.

use super::math::exp;
use super::simd::dispatch;
use super::sum::{dot, sum, sum_planes};

/// The largest element, NaN if there is one, −∞ of none.
pub fn max(x: &[f32]) -> f32 {
    dispatch(
        #[inline(always)]
        || maximum(x),
    )
}

#[inline(always)]
pub(super) fn maximum(x: &[f32]) -> f32 {
    const LANES: usize = 16;
    let larger = |best: f32, x: f32| if x > best || x.is_nan() { x } else { best };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] = larger(lanes[l], chunk[l]);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |best, &x| larger(best, x))
}

/// `y = softmax(x)` over each row of `columns` elements.
///
/// # Panics
/// When the lengths differ or are no multiple of `columns`.
pub fn row_softmax(columns: usize, x: &[f32], y: &mut [f32]) {
    check_rows(columns, x.len(), y.len());
    dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
                let max = finite_shift(maximum(x));
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = exp(x - max);
                }
                let scale = 1.0 / sum(y);
                for y in y {
                    *y *= scale;
                }
            }
        },
    );
}

/// `y = log softmax(x)` over each row of `columns` elements.
///
/// # Panics
/// When the lengths differ or are no multiple of `columns`.
pub fn row_log_softmax(columns: usize, x: &[f32], y: &mut [f32]) {
    check_rows(columns, x.len(), y.len());
    dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
                let max = finite_shift(maximum(x));
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = exp(x - max);
                }
                let log_sum = sum(y).ln();
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - max) - log_sum;
                }
            }
        },
    );
}

/// A masked row may be all −∞; subtracting that would make NaN of the −∞ beside it, so it is not subtracted.
#[inline(always)]
pub(super) fn finite_shift(max: f32) -> f32 {
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

/// `dx += y ⊙ (dy − Σ dy ⊙ y)` row by row: the gradient through `y = softmax(x)`.
///
/// # Panics
/// When the lengths differ or are no multiple of `columns`.
pub fn row_softmax_backward_add(columns: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    check_rows(columns, y.len(), dx.len());
    assert_eq!(y.len(), dy.len(), "the gradient's length is not the output's");
    dispatch(
        #[inline(always)]
        || {
            let rows = y.chunks_exact(columns).zip(dy.chunks_exact(columns)).zip(dx.chunks_exact_mut(columns));
            for ((y, dy), dx) in rows {
                let inner = dot(y, dy);
                for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
                    *dx += y * (dy - inner);
                }
            }
        },
    );
}

/// `dx += dy − exp(y) Σ dy` row by row: the gradient through `y = log softmax(x)`.
///
/// # Panics
/// When the lengths differ or are no multiple of `columns`.
pub fn row_log_softmax_backward_add(columns: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    check_rows(columns, y.len(), dx.len());
    assert_eq!(y.len(), dy.len(), "the gradient's length is not the output's");
    dispatch(
        #[inline(always)]
        || {
            let rows = y.chunks_exact(columns).zip(dy.chunks_exact(columns)).zip(dx.chunks_exact_mut(columns));
            for ((y, dy), dx) in rows {
                let total = sum(dy);
                for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
                    *dx += dy - exp(y) * total;
                }
            }
        },
    );
}

/// `y[r] = Σ_c x[r, c]` (`+=` with `accumulate`) for rows of `columns` elements.
///
/// # Panics
/// When `x` is not `y.len()` rows.
pub fn row_sums(columns: usize, x: &[f32], y: &mut [f32], accumulate: bool) {
    assert_eq!(x.len(), columns * y.len(), "the matrix is not {} rows of {columns}", y.len());
    sum_planes(x, columns, |row, total| y[row] = if accumulate { y[row] + total } else { total });
}

/// `y[c] = Σ_r x[r, c]` (`+=` with `accumulate`): the gradient of a bias that was added to every row.
///
/// # Panics
/// When `x` is not whole rows of `y.len()`.
pub fn column_sums(x: &[f32], y: &mut [f32], accumulate: bool) {
    if !accumulate {
        y.fill(0.0);
    }
    if y.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(y.len()), "{} elements are not whole rows of {}", x.len(), y.len());
    dispatch(
        #[inline(always)]
        || {
            for row in x.chunks_exact(y.len()) {
                for (y, &x) in y.iter_mut().zip(row) {
                    *y += x;
                }
            }
        },
    );
}

#[track_caller]
fn check_rows(columns: usize, x: usize, y: usize) {
    assert_eq!(x, y, "input and output have different lengths");
    assert!(columns > 0 && x.is_multiple_of(columns), "{x} elements are not whole rows of {columns}");
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    #[test]
    fn maxima() {
        let mut x = values(100, 3);
        x[61] = 2.0;
        assert_eq!(max(&x), 2.0);
        assert_eq!(max(&x[..5]), x[..5].iter().copied().fold(f32::MIN, f32::max));
        x[17] = f32::NAN;
        assert!(max(&x).is_nan());
        assert_eq!(max(&[]), f32::NEG_INFINITY);
    }

    #[test]
    fn softmax_forward_and_backward() {
        for columns in [1, 3, 10, 16, 37] {
            let x: Vec<f32> = values(columns * 4, 1).iter().map(|x| x * 20.0).collect();
            let g = values(columns * 4, 2);
            on_every_simd(|_| {
                let (mut y, mut log_y) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                row_softmax(columns, &x, &mut y);
                row_log_softmax(columns, &x, &mut log_y);
                let start = values(x.len(), 5);
                let (mut dx, mut log_dx) = (start.clone(), start.clone());
                row_softmax_backward_add(columns, &y, &g, &mut dx);
                row_log_softmax_backward_add(columns, &log_y, &g, &mut log_dx);
                for r in 0..4 {
                    let row = r * columns..(r + 1) * columns;
                    let exps: Vec<f64> = x[row.clone()].iter().map(|&x| f64::from(x).exp()).collect();
                    let total: f64 = exps.iter().sum();
                    let p: Vec<f64> = exps.iter().map(|e| e / total).collect();
                    let inner: f64 = p.iter().zip(&g[row.clone()]).map(|(p, &g)| p * f64::from(g)).sum();
                    let g_total: f64 = g[row.clone()].iter().map(|&g| f64::from(g)).sum();
                    for (c, i) in row.enumerate() {
                        let g = f64::from(g[i]);
                        let expected = [p[c], p[c].ln(), p[c] * (g - inner), g - p[c] * g_total].map(|e| e as f32);
                        let actual = [y[i], log_y[i], dx[i] - start[i], log_dx[i] - start[i]];
                        assert_close(&actual, &expected, 3e-6);
                    }
                }
            });
        }
    }

    #[test]
    fn masked_softmax() {
        let mut y = [0.0; 3];
        row_softmax(3, &[f32::NEG_INFINITY, 1.0, 1.0], &mut y);
        assert_eq!(y, [0.0, 0.5, 0.5]);
        row_log_softmax(3, &[f32::NEG_INFINITY, 1000.0, f32::NEG_INFINITY], &mut y);
        assert_eq!(y, [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY]);
    }

    #[test]
    fn rows_and_columns() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let (mut rows, mut columns) = ([10.0; 2], [10.0; 3]);
        row_sums(3, &x, &mut rows, false);
        column_sums(&x, &mut columns, false);
        assert_eq!((rows, columns), ([6.0, 15.0], [5.0, 7.0, 9.0]));
        row_sums(3, &x, &mut rows, true);
        column_sums(&x, &mut columns, true);
        assert_eq!((rows, columns), ([12.0, 30.0], [10.0, 14.0, 18.0]));
    }
}
