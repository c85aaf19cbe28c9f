//! Batch normalisation and other work per channel of [batch, channels, inner] tensors.

use super::simd::dispatch;
use super::sum::{Runs, dot_runs, sum_runs};

/// The shape of a tensor with channels: [batch, channels, inner], where `inner` is height · width (1 after a linear layer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Examples.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Elements of one channel of one example, contiguous.
    pub inner: usize,
}

impl Channels {
    /// Elements of the whole tensor.
    pub fn len(&self) -> usize {
        self.batch * self.channels * self.inner
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the planes of channel `c` lie, example by example.
    #[inline(always)]
    fn planes(self, c: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (0..self.batch).map(move |b| {
            let start = (b * self.channels + c) * self.inner;
            start..start + self.inner
        })
    }

    /// The same planes, for sums.
    fn runs(self, c: usize) -> Runs {
        Runs { first: c * self.inner, count: self.batch, apart: self.channels * self.inner, len: self.inner }
    }

    #[track_caller]
    fn check(&self, tensors: &[usize], vectors: &[usize]) {
        assert!(tensors.iter().all(|&n| n == self.len()), "tensors of {tensors:?} elements for {self:?}");
        assert!(vectors.iter().all(|&n| n == self.channels), "channel vectors of {vectors:?} elements for {self:?}");
    }

    fn per_channel(&self) -> f64 {
        (self.batch * self.inner) as f64
    }
}

/// `y = gamma (x − mean) / √(variance + epsilon) + beta` with the batch's own mean and biased variance of each channel,
/// which are written to `mean` and `variance`.
///
/// # Panics
/// When a slice does not fit `shape`.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_forward(
    shape: &Channels,
    epsilon: f32,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
    y: &mut [f32],
) {
    shape.check(&[x.len(), y.len()], &[gamma.len(), beta.len(), mean.len(), variance.len()]);
    if shape.is_empty() {
        return;
    }
    dispatch(
        #[inline(always)]
        || {
            for c in 0..shape.channels {
                // Two passes: the sum of squares minus the square of the sum would cancel.
                let m = (sum_runs(x, shape.runs(c)) / shape.per_channel()) as f32;
                mean[c] = m;
                let v = dot_runs(x, m, x, m, shape.runs(c)) / shape.per_channel();
                variance[c] = v as f32;
                let scale = (f64::from(gamma[c]) / (v + f64::from(epsilon)).sqrt()) as f32;
                let b = beta[c];
                for plane in shape.planes(c) {
                    for (y, &x) in y[plane.clone()].iter_mut().zip(&x[plane]) {
                        *y = (x - m) * scale + b;
                    }
                }
            }
        },
    );
}

/// The gradients of [`batch_norm_forward`], with `mean` and `variance` as it wrote them.
///
/// With x̂ = (x − mean) r, r = 1 / √(variance + epsilon), N = batch · inner and sums over a channel:
/// dβ = Σ dy, dγ = Σ dy x̂, dx = γ r (dy − dβ / N − x̂ dγ / N).
/// `accumulate` adds to `dx`, `dgamma` and `dbeta` instead of overwriting them; `dx` may be left out.
///
/// # Panics
/// When a slice does not fit `shape`.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_backward(
    shape: &Channels,
    epsilon: f32,
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    dy: &[f32],
    mut dx: Option<&mut [f32]>,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    accumulate: Accumulate,
) {
    shape.check(&[x.len(), dy.len()], &[gamma.len(), mean.len(), variance.len(), dgamma.len(), dbeta.len()]);
    if let Some(dx) = &dx {
        shape.check(&[dx.len()], &[]);
    }
    dispatch(
        #[inline(always)]
        || {
            for c in 0..shape.channels {
                let m = mean[c];
                let r = 1.0 / (f64::from(variance[c]) + f64::from(epsilon)).sqrt();
                let sum_dy = sum_runs(dy, shape.runs(c));
                let sum_dy_x = dot_runs(dy, 0.0, x, m, shape.runs(c));
                let (db, dg) = (sum_dy as f32, (sum_dy_x * r) as f32);
                dbeta[c] = if accumulate.parameters { dbeta[c] + db } else { db };
                dgamma[c] = if accumulate.parameters { dgamma[c] + dg } else { dg };
                let Some(dx) = dx.as_deref_mut() else { continue };
                let scale = (f64::from(gamma[c]) * r) as f32;
                let average = (sum_dy / shape.per_channel()) as f32;
                let slope = (sum_dy_x * r * r / shape.per_channel()) as f32;
                for plane in shape.planes(c) {
                    let inputs = dy[plane.clone()].iter().zip(&x[plane.clone()]);
                    if accumulate.input {
                        for (dx, (&dy, &x)) in dx[plane].iter_mut().zip(inputs) {
                            *dx += scale * (dy - average - (x - m) * slope);
                        }
                    } else {
                        for (dx, (&dy, &x)) in dx[plane].iter_mut().zip(inputs) {
                            *dx = scale * (dy - average - (x - m) * slope);
                        }
                    }
                }
            }
        },
    );
}

/// Which gradients are added to what is there already, and which overwrite it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accumulate {
    /// Add to the gradient of the input.
    pub input: bool,
    /// Add to the gradients of the parameters.
    pub parameters: bool,
}

/// `y = scale[c] x + shift[c]`: batch normalisation with fixed statistics.
///
/// # Panics
/// When a slice does not fit `shape`.
pub fn channel_affine(shape: &Channels, x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
    shape.check(&[x.len(), y.len()], &[scale.len(), shift.len()]);
    dispatch(
        #[inline(always)]
        || {
            for c in 0..shape.channels {
                let (a, b) = (scale[c], shift[c]);
                for plane in shape.planes(c) {
                    for (y, &x) in y[plane.clone()].iter_mut().zip(&x[plane]) {
                        *y = a * x + b;
                    }
                }
            }
        },
    );
}

/// `y += bias[c]`.
///
/// # Panics
/// When a slice does not fit `shape`.
pub fn add_to_channels(shape: &Channels, bias: &[f32], y: &mut [f32]) {
    shape.check(&[y.len()], &[bias.len()]);
    dispatch(
        #[inline(always)]
        || {
            for (c, &b) in bias.iter().enumerate() {
                for plane in shape.planes(c) {
                    for y in &mut y[plane] {
                        *y += b;
                    }
                }
            }
        },
    );
}

/// `y[c] = Σ x` over batch and inner (`+=` with `accumulate`): the gradient of a channel bias.
///
/// # Panics
/// When a slice does not fit `shape`.
pub fn channel_sums(shape: &Channels, x: &[f32], y: &mut [f32], accumulate: bool) {
    shape.check(&[x.len()], &[y.len()]);
    for (c, y) in y.iter_mut().enumerate() {
        let total = sum_runs(x, shape.runs(c)) as f32;
        *y = if accumulate { *y + total } else { total };
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    const EPSILON: f32 = 1e-3;

    /// The definition, in f64: (y, mean, variance).
    fn forward(s: &Channels, x: &[f32], gamma: &[f32], beta: &[f32]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (mut y, mut mean, mut variance) = (vec![0.0; s.len()], vec![], vec![]);
        for c in 0..s.channels {
            let all: Vec<f64> = s.planes(c).flatten().map(|i| f64::from(x[i])).collect();
            let m = all.iter().sum::<f64>() / all.len() as f64;
            let v = all.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / all.len() as f64;
            for i in s.planes(c).flatten() {
                let scale = f64::from(gamma[c]) / (v + f64::from(EPSILON)).sqrt();
                y[i] = (f64::from(x[i]) - m) * scale + f64::from(beta[c]);
            }
            mean.push(m);
            variance.push(v);
        }
        (y, mean, variance)
    }

    fn to_f32(x: &[f64]) -> Vec<f32> {
        x.iter().map(|&x| x as f32).collect()
    }

    fn shapes() -> [Channels; 4] {
        [(3, 2, 1), (4, 3, 49), (2, 5, 64), (3, 1, 1100)].map(|(batch, channels, inner)| Channels {
            batch,
            channels,
            inner,
        })
    }

    #[test]
    fn forward_is_the_definition() {
        for s in shapes() {
            // A mean far from zero is where a one-pass variance fails.
            let x: Vec<f32> = values(s.len(), 1).iter().map(|x| x + 300.0).collect();
            let (gamma, beta) = (values(s.channels, 2), values(s.channels, 3));
            let (y, mean, variance) = forward(&s, &x, &gamma, &beta);
            on_every_simd(|_| {
                let mut out = vec![f32::NAN; s.len()];
                let (mut m, mut v) = (vec![0.0; s.channels], vec![0.0; s.channels]);
                batch_norm_forward(&s, EPSILON, &x, &gamma, &beta, &mut m, &mut v, &mut out);
                assert_close(&m, &to_f32(&mean), 1e-6);
                assert_close(&v, &to_f32(&variance), 1e-5);
                assert_close(&out, &to_f32(&y), 2e-4);
            });
        }
    }

    /// d(Σ w y)/dx by the definition's central differences.
    #[test]
    fn backward_is_the_derivative() {
        for s in shapes() {
            let (x, gamma, beta, w) =
                (values(s.len(), 1), values(s.channels, 2), values(s.channels, 3), values(s.len(), 4));
            let loss = |x: &[f32], gamma: &[f32], beta: &[f32]| -> f64 {
                forward(&s, x, gamma, beta).0.iter().zip(&w).map(|(y, &w)| y * f64::from(w)).sum()
            };
            let (_, mean, variance) = forward(&s, &x, &gamma, &beta);
            let (mean, variance) = (to_f32(&mean), to_f32(&variance));
            on_every_simd(|_| {
                let (start, start_c) = (values(s.len(), 5), values(s.channels, 6));
                let (mut dx, mut dg, mut db) = (start.clone(), start_c.clone(), start_c.clone());
                let both = Accumulate { input: true, parameters: true };
                batch_norm_backward(
                    &s,
                    EPSILON,
                    &x,
                    &gamma,
                    &mean,
                    &variance,
                    &w,
                    Some(&mut dx),
                    &mut dg,
                    &mut db,
                    both,
                );
                let (mut dx2, mut dg2, mut db2) = (vec![f32::NAN; s.len()], start_c.clone(), start_c.clone());
                let none = Accumulate::default();
                batch_norm_backward(
                    &s,
                    EPSILON,
                    &x,
                    &gamma,
                    &mean,
                    &variance,
                    &w,
                    Some(&mut dx2),
                    &mut dg2,
                    &mut db2,
                    none,
                );
                let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f32>>();
                assert_close(&dx, &sum(&dx2, &start), 1e-6);
                assert_close(&dg, &sum(&dg2, &start_c), 1e-6);
                assert_close(&db, &sum(&db2, &start_c), 1e-6);
                let h = 1.0 / 512.0; // exact in f32
                for i in (0..s.len()).step_by(s.len().div_ceil(20)) {
                    let shifted = |h: f32| {
                        let mut x = x.clone();
                        x[i] += h;
                        (f64::from(x[i]), loss(&x, &gamma, &beta))
                    };
                    let ((hi, up), (lo, down)) = (shifted(h), shifted(-h));
                    let numeric = (up - down) / (hi - lo);
                    assert!((f64::from(dx2[i]) - numeric).abs() < 2e-3 * numeric.abs().max(1.0), "{s:?} dx {i}");
                }
                for c in 0..s.channels {
                    let shifted = |h: f32, in_gamma: bool| {
                        let (mut gamma, mut beta) = (gamma.clone(), beta.clone());
                        if in_gamma {
                            gamma[c] += h
                        } else {
                            beta[c] += h
                        }
                        loss(&x, &gamma, &beta)
                    };
                    let dgamma = (shifted(1.0, true) - shifted(-1.0, true)) / 2.0;
                    let dbeta = (shifted(1.0, false) - shifted(-1.0, false)) / 2.0;
                    assert_close(&[dg2[c], db2[c]], &[dgamma as f32, dbeta as f32], 1e-4);
                }
            });
        }
    }

    #[test]
    fn channel_helpers() {
        let s = Channels { batch: 2, channels: 2, inner: 2 };
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let mut y = [0.0; 8];
        channel_affine(&s, &x, &[2.0, -1.0], &[0.0, 10.0], &mut y);
        assert_eq!(y, [2.0, 4.0, 7.0, 6.0, 10.0, 12.0, 3.0, 2.0]);
        let mut sums = [100.0; 2];
        channel_sums(&s, &x, &mut sums, false);
        assert_eq!(sums, [14.0, 22.0]);
        channel_sums(&s, &x, &mut sums, true);
        assert_eq!(sums, [28.0, 44.0]);
        add_to_channels(&s, &[1.0, 2.0], &mut y);
        assert_eq!(y, [3.0, 5.0, 9.0, 8.0, 11.0, 13.0, 5.0, 4.0]);
    }
}
