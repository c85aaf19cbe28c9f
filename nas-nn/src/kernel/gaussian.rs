//! The loops of a Gaussian process that is asked about many candidates at once.

use super::math::exp;
use super::simd::dispatch;

/// Covariances of the squared exponential kernel from inner products: `y[i][j] = exp(falloff · |aᵢ − bⱼ|²)` with
/// `|aᵢ − bⱼ|² = rows[i] − 2 y[i][j] + columns[j]`, where `rows` and `columns` are the squared lengths. `falloff` is −1 / 2l².
///
/// # Panics
/// When `y` is no matrix of so many rows and columns.
pub fn squared_exponential(falloff: f32, rows: &[f32], columns: &[f32], y: &mut [f32]) {
    assert_eq!(y.len(), rows.len() * columns.len(), "covariances of {} by {} points", rows.len(), columns.len());
    if columns.is_empty() {
        return;
    }
    dispatch(
        #[inline(always)]
        move || {
            for (y, &row) in y.chunks_exact_mut(columns.len()).zip(rows) {
                for (y, &column) in y.iter_mut().zip(columns) {
                    let square = row - 2.0 * *y + column;
                    // Of equal points rounding may leave less than nothing.
                    *y = exp(falloff * if square > 0.0 { square } else { 0.0 });
                }
            }
        },
    );
}

/// What the rows of a matrix `v` say of each column: `mean[j] += Σᵢ weights[i] v[i][j]`, `variance[j] −= Σᵢ v[i][j]²`.
///
/// # Panics
/// When `v` has not a row for every weight, or means and variances are not as many as its columns.
pub fn column_moments(weights: &[f32], v: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    assert_eq!(v.len(), weights.len() * mean.len(), "a row of {} columns for {} weights", mean.len(), weights.len());
    assert_eq!(mean.len(), variance.len(), "means and variances");
    if mean.is_empty() {
        return;
    }
    dispatch(
        #[inline(always)]
        move || {
            for (row, &weight) in v.chunks_exact(mean.len()).zip(weights) {
                for ((v, mean), variance) in row.iter().zip(mean.iter_mut()).zip(variance.iter_mut()) {
                    *mean += weight * v;
                    *variance -= v * v;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    #[test]
    fn covariances_on_every_set() {
        let d = 3;
        for (m, n) in [(1, 1), (5, 33), (4, 0), (0, 4), (7, 128)] {
            let (a, b) = (values(m * d, 1), values(n * d, 2));
            let squares =
                |x: &[f32]| -> Vec<f32> { x.chunks_exact(d).map(|x| x.iter().map(|x| x * x).sum()).collect() };
            let (mut products, mut expected) = (Vec::new(), Vec::new());
            for a in a.chunks_exact(d) {
                for b in b.chunks_exact(d) {
                    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
                    products.push(pairs().map(|(a, b)| a * b).sum::<f64>() as f32);
                    expected.push((-0.7 * pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>()).exp() as f32);
                }
            }
            on_every_simd(|_| {
                let mut y = products.clone();
                squared_exponential(-0.7, &squares(&a), &squares(&b), &mut y);
                assert_close(&y, &expected, 1e-5);
            });
        }
    }

    #[test]
    fn equal_points_have_covariance_one() {
        let mut y = [0.1 * 0.1 + 1e-7_f32];
        squared_exponential(-50.0, &[0.1 * 0.1], &[0.1 * 0.1], &mut y);
        assert_eq!(y, [1.0]);
    }

    #[test]
    fn moments_on_every_set() {
        for (m, n) in [(1, 1), (6, 35), (0, 4), (3, 0)] {
            let (v, weights) = (values(m * n, 1), values(m, 2));
            let (mean, variance) = (values(n, 3), values(n, 4));
            let column = |j: usize| (0..m).map(move |i| i * n + j);
            let sum = |j, f: &dyn Fn(usize) -> f64| column(j).map(f).sum::<f64>();
            let means: Vec<f32> = (0..n)
                .map(|j| (f64::from(mean[j]) + sum(j, &|at| f64::from(weights[at / n]) * f64::from(v[at]))) as f32)
                .collect();
            let variances: Vec<f32> =
                (0..n).map(|j| (f64::from(variance[j]) - sum(j, &|at| f64::from(v[at]).powi(2))) as f32).collect();
            on_every_simd(|_| {
                let (mut mean, mut variance) = (mean.clone(), variance.clone());
                column_moments(&weights, &v, &mut mean, &mut variance);
                assert_close(&mean, &means, 1e-5);
                assert_close(&variance, &variances, 1e-5);
            });
        }
    }
}
