//! Normalisation of rows: layer norm, root-mean-square norm, and group norm as rows of groups.

use super::vector::{Job, Vector, launch};

/// What both passes of a row normalisation share.
///
/// Row r is scaled by the `columns` factors of pattern r mod (patterns); layer norms have one pattern, group norms one for
/// each group.
#[derive(Debug, Clone, Copy)]
pub struct RowNorm<'a> {
    /// Elements of a row.
    pub columns: usize,
    /// Added to the variance, or to the mean square.
    pub epsilon: f32,
    /// Whether the mean is taken off; without, the row is divided by its root mean square.
    pub centred: bool,
    /// Factors, whole patterns.
    pub gamma: &'a [f32],
}

impl RowNorm<'_> {
    fn check(&self, x: usize, others: &[usize], mean: usize, scale: usize) {
        let n = self.columns;
        assert!(
            n > 0 && x.is_multiple_of(n) && self.gamma.len().is_multiple_of(n) && !self.gamma.is_empty(),
            "rows of {n}"
        );
        assert!(others.iter().all(|&len| len == x), "tensors of {others:?} elements beside {x}");
        let means = if self.centred { x / n } else { 0 };
        assert!(scale == x / n && mean == means, "{mean} means and {scale} factors for {} rows", x / n);
    }
}

/// `y = gamma (x − mean) / √(variance + epsilon) + beta` row by row; what was subtracted and the factor 1 / √… of each row go
/// to `mean`, which is empty when no mean is taken off, and `scale`. `beta` is as long as gamma, or empty.
///
/// # Panics
/// When the slices do not fit each other.
pub fn row_norm_forward(
    norm: &RowNorm<'_>,
    x: &[f32],
    beta: &[f32],
    mean: &mut [f32],
    scale: &mut [f32],
    y: &mut [f32],
) {
    norm.check(x.len(), &[y.len()], mean.len(), scale.len());
    assert!(beta.is_empty() || beta.len() == norm.gamma.len(), "as many terms as factors");
    // SAFETY: the job holds slices, which it indexes safely.
    unsafe { launch(Forward { norm: *norm, x, beta, mean, scale, y }) }
}

struct Forward<'a> {
    norm: RowNorm<'a>,
    x: &'a [f32],
    beta: &'a [f32],
    mean: &'a mut [f32],
    scale: &'a mut [f32],
    y: &'a mut [f32],
}

impl Job for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let RowNorm { columns, epsilon, centred, gamma } = self.norm;
        let patterns = gamma.len() / columns;
        for (r, (x, y)) in self.x.chunks_exact(columns).zip(self.y.chunks_exact_mut(columns)).enumerate() {
            let n = columns as f32;
            // SAFETY: passed on to the caller.
            let sum = if centred { unsafe { fold::<V>(x, x, 0.0, false) } } else { 0.0 };
            let m = sum / n;
            // SAFETY: as above.
            let variance = unsafe { fold::<V>(x, x, m, true) } / n;
            let scale = 1.0 / (variance + epsilon).sqrt();
            self.scale[r] = scale;
            if centred {
                self.mean[r] = m;
            }
            let at = r % patterns * columns;
            let gamma = &gamma[at..at + columns];
            if self.beta.is_empty() {
                for ((y, x), g) in y.iter_mut().zip(x).zip(gamma) {
                    *y = (x - m) * scale * g;
                }
            } else {
                for (((y, x), g), b) in y.iter_mut().zip(x).zip(gamma).zip(&self.beta[at..at + columns]) {
                    *y = (x - m) * scale * g + b;
                }
            }
        }
    }
}

/// The gradients of [`row_norm_forward`], with `mean` and `scale` as it wrote them: `dx` is written, or added to if so asked,
/// and `dgamma` and `dbeta` (as long as gamma, or empty) are added to.
///
/// With x̂ = (x − mean) scale and g = dy gamma: dgamma = Σ dy x̂, dbeta = Σ dy, and in each row of n
/// dx = scale (g − Σ g / n − x̂ Σ g x̂ / n), without the middle term when the mean is not taken off.
///
/// # Panics
/// When the slices do not fit each other.
#[allow(clippy::too_many_arguments)]
pub fn row_norm_backward(
    norm: &RowNorm<'_>,
    x: &[f32],
    mean: &[f32],
    scale: &[f32],
    dy: &[f32],
    dx: Option<(&mut [f32], bool)>,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    norm.check(x.len(), &[dy.len(), dx.as_ref().map_or(dy.len(), |(dx, _)| dx.len())], mean.len(), scale.len());
    let fits = |len: usize| len == 0 || len == norm.gamma.len();
    assert!(fits(dgamma.len()) && fits(dbeta.len()), "as many gradients as factors");
    // SAFETY: the job holds slices, which it indexes safely.
    unsafe { launch(Backward { norm: *norm, x, mean, scale, dy, dx, dgamma, dbeta }) }
}

struct Backward<'a> {
    norm: RowNorm<'a>,
    x: &'a [f32],
    mean: &'a [f32],
    scale: &'a [f32],
    dy: &'a [f32],
    dx: Option<(&'a mut [f32], bool)>,
    dgamma: &'a mut [f32],
    dbeta: &'a mut [f32],
}

impl Job for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let RowNorm { columns, centred, gamma, .. } = self.norm;
        let (patterns, n) = (gamma.len() / columns, columns as f32);
        let mut dx = self.dx;
        for (r, (x, dy)) in self.x.chunks_exact(columns).zip(self.dy.chunks_exact(columns)).enumerate() {
            let (m, scale) = (if centred { self.mean[r] } else { 0.0 }, self.scale[r]);
            let at = r % patterns * columns;
            let pattern = at..at + columns;
            if !self.dgamma.is_empty() {
                for ((sum, dy), x) in self.dgamma[pattern.clone()].iter_mut().zip(dy).zip(x) {
                    *sum += dy * ((x - m) * scale);
                }
            }
            if !self.dbeta.is_empty() {
                for (sum, dy) in self.dbeta[pattern.clone()].iter_mut().zip(dy) {
                    *sum += dy;
                }
            }
            let Some((dx, add)) = &mut dx else { continue };
            let gamma = &gamma[pattern];
            // SAFETY: passed on to the caller.
            let [sum, product] = unsafe { moments::<V>(dy, gamma, x, m) };
            let average = if centred { sum / n } else { 0.0 };
            let slant = product * scale * scale / n;
            let dx = &mut dx[r * columns..(r + 1) * columns];
            let values = dy.iter().zip(gamma).zip(x);
            if *add {
                for (dx, ((dy, g), x)) in dx.iter_mut().zip(values) {
                    *dx += scale * (dy * g - average - (x - m) * slant);
                }
            } else {
                for (dx, ((dy, g), x)) in dx.iter_mut().zip(values) {
                    *dx = scale * (dy * g - average - (x - m) * slant);
                }
            }
        }
    }
}

/// Σ (a − shift), or Σ (a − shift) (b − shift) with `product`.
///
/// # Safety
/// The instruction set of `V`.
#[inline(always)]
unsafe fn fold<V: Vector>(a: &[f32], b: &[f32], shift: f32, product: bool) -> f32 {
    // SAFETY: vectors start below the end and load only what exists.
    unsafe {
        let (mut sum, from) = (V::splat(0.0), V::splat(shift));
        for at in (0..a.len()).step_by(V::LANES) {
            let n = (a.len() - at).min(V::LANES);
            let load = |x: &[f32]| {
                let p = x.as_ptr().add(at);
                if n == V::LANES { V::load(p) } else { V::load_first(p, n) }
            };
            let x = load(a).sub(from);
            let term = if product { x.mul(load(b).sub(from)) } else { x };
            sum = sum.add(if n == V::LANES { term } else { term.keep_first(n) });
        }
        sum.sum()
    }
}

/// Σ dy g and Σ dy g (x − m).
///
/// # Safety
/// The instruction set of `V`, and slices of one length.
#[inline(always)]
unsafe fn moments<V: Vector>(dy: &[f32], g: &[f32], x: &[f32], m: f32) -> [f32; 2] {
    debug_assert!(dy.len() == g.len() && g.len() == x.len());
    // SAFETY: vectors start below the end and load only what exists; beyond it dy is zero.
    unsafe {
        let (mut sums, from) = ([V::splat(0.0); 2], V::splat(m));
        for at in (0..dy.len()).step_by(V::LANES) {
            let n = (dy.len() - at).min(V::LANES);
            let load = |x: &[f32]| {
                let p = x.as_ptr().add(at);
                if n == V::LANES { V::load(p) } else { V::load_first(p, n) }
            };
            let term = load(dy).mul(load(g));
            sums[0] = sums[0].add(term);
            sums[1] = term.mul_add(load(x).sub(from), sums[1]);
        }
        sums.map(|sum| sum.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    const EPSILON: f32 = 1e-3;

    /// The definition in f64.
    fn forward(columns: usize, centred: bool, x: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<f64> {
        let rows = x.chunks_exact(columns).enumerate();
        let row = |(r, x): (usize, &[f32])| {
            let n = columns as f64;
            let m = if centred { x.iter().map(|&x| f64::from(x)).sum::<f64>() / n } else { 0.0 };
            let v = x.iter().map(|&x| (f64::from(x) - m).powi(2)).sum::<f64>() / n;
            let at = r % (gamma.len() / columns) * columns;
            let of = |i: usize| (f64::from(x[i]) - m) / (v + f64::from(EPSILON)).sqrt() * f64::from(gamma[at + i]);
            (0..columns).map(|i| of(i) + beta.get(at + i).map_or(0.0, |&b| f64::from(b))).collect::<Vec<f64>>()
        };
        rows.flat_map(row).collect()
    }

    #[test]
    fn rows_and_their_gradients_are_the_definition() {
        for (columns, rows, patterns) in [(1, 4, 1), (7, 6, 1), (16, 3, 1), (33, 6, 3), (100, 4, 2)] {
            for centred in [true, false] {
                let (mut x, dy) = (values(rows * columns, 1), values(rows * columns, 4));
                let mut gamma = values(patterns * columns, 2);
                let beta = if centred { values(patterns * columns, 3) } else { Vec::new() };
                let expected: Vec<f32> =
                    forward(columns, centred, &x, &gamma, &beta).iter().map(|&y| y as f32).collect();
                let found = std::cell::RefCell::new(Vec::new());
                on_every_simd(|_| {
                    let norm = RowNorm { columns, epsilon: EPSILON, centred, gamma: &gamma };
                    let mut mean = vec![0.0; if centred { rows } else { 0 }];
                    let (mut scale, mut y) = (vec![0.0; rows], vec![f32::NAN; x.len()]);
                    row_norm_forward(&norm, &x, &beta, &mut mean, &mut scale, &mut y);
                    assert_close(&y, &expected, 2e-5);
                    let (mut dx, mut sum) = (vec![f32::NAN; x.len()], vec![1.0; x.len()]);
                    let (mut dgamma, mut dbeta) = (vec![0.0; gamma.len()], vec![0.0; beta.len()]);
                    row_norm_backward(&norm, &x, &mean, &scale, &dy, Some((&mut dx, false)), &mut dgamma, &mut dbeta);
                    row_norm_backward(&norm, &x, &mean, &scale, &dy, Some((&mut sum, true)), &mut [], &mut []);
                    assert_close(&sum, &dx.iter().map(|d| d + 1.0).collect::<Vec<f32>>(), 1e-5);
                    found.borrow_mut().push((dx, dgamma, dbeta));
                });
                let loss = |x: &[f32], gamma: &[f32]| -> f64 {
                    let y = forward(columns, centred, x, gamma, &beta);
                    y.iter().zip(&dy).map(|(y, &d)| y * f64::from(d)).sum()
                };
                let h = 1.0 / 1024.0;
                for i in 0..x.len() {
                    let old = x[i];
                    x[i] = old + h;
                    let (up, above) = (x[i], loss(&x, &gamma));
                    x[i] = old - h;
                    let (down, below) = (x[i], loss(&x, &gamma));
                    x[i] = old;
                    let slope = ((above - below) / f64::from(up - down)) as f32;
                    for (dx, ..) in found.borrow().iter() {
                        assert!((dx[i] - slope).abs() < 2e-3 * slope.abs().max(1.0), "{columns} {centred} dx[{i}]");
                    }
                }
                for i in 0..gamma.len() {
                    let old = gamma[i];
                    gamma[i] = old + 1.0;
                    let above = loss(&x, &gamma);
                    gamma[i] = old - 1.0;
                    let below = loss(&x, &gamma);
                    gamma[i] = old;
                    let terms =
                        (0..rows).filter(|r| r % patterns == i / columns).map(|r| dy[r * columns + i % columns]);
                    let bias: f32 = terms.sum();
                    for (_, dgamma, dbeta) in found.borrow().iter() {
                        assert_close(&[dgamma[i]], &[((above - below) / 2.0) as f32], 1e-4);
                        if centred {
                            assert_close(&[dbeta[i]], &[bias], 1e-5);
                        }
                    }
                }
            }
        }
    }
}
