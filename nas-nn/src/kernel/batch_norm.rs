//! Batch normalisation of [batch, channels, inner] tensors, together with what follows it: a sum and an activation.
//!
//! A channel is worked on as a whole, because its planes fit in the second-level cache: what a second pass reads is still
//! there. Sums run in one fixed order (32 lanes over blocks of 1,024 elements, blocks in `f64`), without fused
//! multiply-add, so they are the same on every instruction set.

use std::ops::Range;

use super::crew::{Disjoint, ranges};
use super::norm::Channels;
use super::vector::{Job, Vector, launch};

/// The lanes of a sum, whatever the vectors have.
const LANES: usize = 32;
/// So many of the smallest vectors.
const MAX_VECTORS: usize = LANES / 4;
/// Elements whose sum is carried in `f32`.
const BLOCK: usize = 1024;

/// What [`batch_norm_forward`] reads and writes.
#[derive(Debug)]
pub struct BatchNormForward<'a> {
    /// The shape of `x`, `residual` and `y`.
    pub shape: Channels,
    /// Added to the variance.
    pub epsilon: f32,
    /// The input.
    pub x: &'a [f32],
    /// A factor for each channel.
    pub gamma: &'a [f32],
    /// A term for each channel.
    pub beta: &'a [f32],
    /// Added to the normalised input before the activation.
    pub residual: Option<&'a [f32]>,
    /// The mean of each channel is written here.
    pub mean: &'a mut [f32],
    /// Its biased variance is written here.
    pub variance: &'a mut [f32],
    /// The output.
    pub y: &'a mut [f32],
}

/// What [`batch_norm_backward`] reads and writes.
#[derive(Debug)]
pub struct BatchNormBackward<'a> {
    /// The shape of `x`, `y`, `dy` and the gradients.
    pub shape: Channels,
    /// Added to the variance.
    pub epsilon: f32,
    /// The input.
    pub x: &'a [f32],
    /// A factor for each channel.
    pub gamma: &'a [f32],
    /// A term for each channel.
    pub beta: &'a [f32],
    /// The mean of each channel.
    pub mean: &'a [f32],
    /// Its biased variance.
    pub variance: &'a [f32],
    /// The output, where the activation's derivative is a function of it; otherwise it is a function of the normalised input.
    pub y: Option<&'a [f32]>,
    /// The gradient by the output.
    pub dy: &'a [f32],
    /// The gradient by the input and whether it is added to what is there.
    pub dx: Option<(&'a mut [f32], bool)>,
    /// The gradient by the residual and whether it is added to what is there.
    pub dresidual: Option<(&'a mut [f32], bool)>,
    /// The gradient by `gamma` is added here.
    pub dgamma: &'a mut [f32],
    /// The gradient by `beta` is added here.
    pub dbeta: &'a mut [f32],
}

/// Two sums side by side.
struct Sums<V> {
    lanes: [[V; MAX_VECTORS]; 2],
    carried: usize,
    total: [f64; 2],
}

impl<V: Vector> Sums<V> {
    /// # Safety
    /// The instruction set of `V`.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: passed on to the caller.
        let zero = unsafe { V::splat(0.0) };
        Sums { lanes: [[zero; MAX_VECTORS]; 2], carried: 0, total: [0.0; 2] }
    }

    /// Adds both terms of every pair of elements.
    ///
    /// # Safety
    /// The instruction set of `V`.
    #[inline(always)]
    unsafe fn add(&mut self, a: &[f32], b: &[f32], terms: impl Fn(V, V) -> [V; 2]) {
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            let n = a.len().min(b.len());
            let whole = n / LANES * LANES;
            let [mut first, mut second] = self.lanes;
            // SAFETY: whole vectors below `n`, then only the elements that exist.
            unsafe {
                for at in (0..whole).step_by(LANES) {
                    for i in 0..LANES / V::LANES {
                        let at = at + i * V::LANES;
                        let [x, y] = terms(V::load(a.as_ptr().add(at)), V::load(b.as_ptr().add(at)));
                        first[i] = first[i].add(x);
                        second[i] = second[i].add(y);
                    }
                }
                for i in 0..LANES / V::LANES {
                    let at = whole + i * V::LANES;
                    if at < n {
                        let here = (n - at).min(V::LANES);
                        let load = |from: &[f32]| V::load_first(from.as_ptr().add(at), here);
                        let [x, y] = terms(load(a), load(b));
                        first[i] = first[i].add(x.keep_first(here));
                        second[i] = second[i].add(y.keep_first(here));
                    }
                }
                self.lanes = [first, second];
                self.carried += n;
                if self.carried >= BLOCK {
                    self.carry();
                }
            }
        }
    }

    /// # Safety
    /// The instruction set of `V`.
    #[inline(always)]
    unsafe fn carry(&mut self) {
        for (vectors, total) in self.lanes.iter().zip(&mut self.total) {
            let mut lanes = [0.0_f32; LANES];
            for (lanes, vector) in lanes.chunks_exact_mut(V::LANES).zip(vectors) {
                // SAFETY: a chunk is one vector.
                unsafe { vector.store(lanes.as_mut_ptr()) }
            }
            let mut half = LANES / 2;
            while half > 0 {
                for l in 0..half {
                    lanes[l] += lanes[l + half];
                }
                half /= 2;
            }
            *total += f64::from(lanes[0]);
        }
        // SAFETY: passed on to the caller.
        self.lanes = [[unsafe { V::splat(0.0) }; MAX_VECTORS]; 2];
        self.carried = 0;
    }
}

/// `y = activation(gamma (x − mean) / √(variance + epsilon) + beta + residual)` with the batch's own mean and biased variance
/// of each channel (Ioffe & Szegedy, 2015), which are written to `mean` and `variance`.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn batch_norm_forward(at: BatchNormForward<'_>, activation: impl Fn(f32) -> f32 + Sync) {
    let shape = at.shape;
    shape.check(
        &[at.x.len(), at.y.len(), at.residual.map_or(at.x.len(), <[f32]>::len)],
        &[at.gamma.len(), at.beta.len(), at.mean.len(), at.variance.len()],
    );
    if !shape.is_empty() {
        let BatchNormForward { epsilon, x, gamma, beta, residual, mean, variance, y, .. } = at;
        let [mean, variance, y] = [mean, variance, y].map(Disjoint::new);
        ranges(shape.channels, shape.batch * shape.inner, |channels| {
            let job = ForwardJob {
                channels,
                shape,
                epsilon,
                x,
                gamma,
                beta,
                residual,
                mean: &mean,
                variance: &variance,
                y: &y,
                activation: &activation,
            };
            // SAFETY: no other job has these channels, of which alone it writes.
            unsafe { launch(job) }
        });
    }
}

/// [`BatchNormForward`] for some of the channels.
struct ForwardJob<'a, F> {
    channels: Range<usize>,
    shape: Channels,
    epsilon: f32,
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    residual: Option<&'a [f32]>,
    mean: &'a Disjoint<'a>,
    variance: &'a Disjoint<'a>,
    y: &'a Disjoint<'a>,
    activation: &'a F,
}

impl<F: Fn(f32) -> f32> Job for ForwardJob<'_, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let ForwardJob { channels, shape, epsilon, x, gamma, beta, residual, mean, variance, y, activation } = self;
        for c in channels {
            // Sums of distances from the mean of a few elements: around zero they would cancel in the variance.
            let n = shape.per_channel();
            let first = &x[c * shape.inner..][..shape.inner.min(32)];
            let origin = first.iter().sum::<f32>() / first.len() as f32;
            // SAFETY: passed on to the caller.
            let [sum, squares] = unsafe {
                let (mut sums, from) = (Sums::<V>::new(), V::splat(origin));
                for plane in shape.planes(c) {
                    sums.add(
                        &x[plane.clone()],
                        &x[plane],
                        #[inline(always)]
                        |x, _| {
                            let distance = x.sub(from);
                            [distance, distance.mul(distance)]
                        },
                    );
                }
                sums.carry();
                sums.total
            };
            let (shift, v) = (sum / n, ((squares - sum * sum / n) / n).max(0.0));
            let m = (f64::from(origin) + shift) as f32;
            // SAFETY: the caller vouches for these channels.
            unsafe { (mean.at(c..c + 1)[0], variance.at(c..c + 1)[0]) = (m, v as f32) }
            let scale = (f64::from(gamma[c]) / (v + f64::from(epsilon)).sqrt()) as f32;
            let b = beta[c];
            for plane in shape.planes(c) {
                // SAFETY: as above.
                let y = unsafe { y.at(plane.clone()) };
                let pairs = y.iter_mut().zip(&x[plane.clone()]);
                if let Some(residual) = residual {
                    for ((y, &x), &r) in pairs.zip(&residual[plane]) {
                        *y = activation((x - m) * scale + b + r);
                    }
                } else {
                    for (y, &x) in pairs {
                        *y = activation((x - m) * scale + b);
                    }
                }
            }
        }
    }
}

/// The gradients of [`batch_norm_forward`] with an activation whose derivative is `slope`, as a function of the output where
/// [`BatchNormBackward::y`] is given, else of the activation's input (there must be no residual then).
///
/// With d = dy · slope, x̂ = (x − mean) r, r = 1 / √(variance + epsilon), N = batch · inner and sums over a channel:
/// dβ = Σ d, dγ = Σ d x̂, dx = γ r (d − dβ / N − x̂ dγ / N), and d is the residual's gradient.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn batch_norm_backward(at: BatchNormBackward<'_>, slope: impl Fn(f32) -> f32 + Sync) {
    let vectors = [at.gamma.len(), at.beta.len(), at.mean.len(), at.variance.len(), at.dgamma.len(), at.dbeta.len()];
    at.shape.check(&[at.x.len(), at.dy.len(), at.y.map_or(at.x.len(), <[f32]>::len)], &vectors);
    for (gradient, _) in at.dx.iter().chain(&at.dresidual) {
        at.shape.check(&[gradient.len()], &[]);
    }
    let BatchNormBackward { shape, epsilon, x, gamma, beta, mean, variance, y, dy, dx, dresidual, dgamma, dbeta } = at;
    let shared = |(gradient, add)| (Disjoint::new(gradient), add);
    let (dx, dresidual) = (dx.map(shared), dresidual.map(shared));
    let [dgamma, dbeta] = [dgamma, dbeta].map(Disjoint::new);
    ranges(shape.channels, shape.batch * shape.inner, |channels| {
        let job = BackwardJob {
            channels,
            shape,
            epsilon,
            x,
            gamma,
            beta,
            mean,
            variance,
            y,
            dy,
            dx: dx.as_ref(),
            dresidual: dresidual.as_ref(),
            dgamma: &dgamma,
            dbeta: &dbeta,
            slope: &slope,
        };
        // SAFETY: no other job has these channels, of which alone it writes.
        unsafe { launch(job) }
    });
}

/// [`BatchNormBackward`] for some of the channels.
struct BackwardJob<'a, F> {
    channels: Range<usize>,
    shape: Channels,
    epsilon: f32,
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    mean: &'a [f32],
    variance: &'a [f32],
    y: Option<&'a [f32]>,
    dy: &'a [f32],
    dx: Option<&'a (Disjoint<'a>, bool)>,
    dresidual: Option<&'a (Disjoint<'a>, bool)>,
    dgamma: &'a Disjoint<'a>,
    dbeta: &'a Disjoint<'a>,
    slope: &'a F,
}

impl<F: Fn(f32) -> f32> Job for BackwardJob<'_, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let BackwardJob { channels, shape, epsilon, x, gamma, beta, mean, variance, y, dy, .. } = self;
        let BackwardJob { dx, dresidual, dgamma, dbeta, slope, .. } = self;
        let mut buffer = [0.0; BLOCK];
        for c in channels {
            let (m, b) = (mean[c], beta[c]);
            let r = 1.0 / (f64::from(variance[c]) + f64::from(epsilon)).sqrt();
            let scale = (f64::from(gamma[c]) * r) as f32;
            // The activation's derivative is a function of the output, or of what can be recomputed from the input.
            let (of, p, q, b) = y.map_or((x, m, scale, b), |y| (y, 0.0, 1.0, 0.0));
            // SAFETY: passed on to the caller.
            let [sum_d, sum_d_x] = unsafe {
                let (mut sums, from) = (Sums::<V>::new(), V::splat(m));
                for plane in shape.planes(c) {
                    for start in plane.clone().step_by(BLOCK) {
                        let block = start..(start + BLOCK).min(plane.end);
                        let d = &mut buffer[..block.len()];
                        for ((d, &dy), &v) in d.iter_mut().zip(&dy[block.clone()]).zip(&of[block.clone()]) {
                            *d = dy * slope((v - p) * q + b);
                        }
                        sums.add(
                            d,
                            &x[block],
                            #[inline(always)]
                            |d, x| [d, d.mul(x.sub(from))],
                        );
                    }
                }
                sums.carry();
                sums.total
            };
            // SAFETY: the caller vouches for these channels.
            unsafe {
                dbeta.at(c..c + 1)[0] += sum_d as f32;
                dgamma.at(c..c + 1)[0] += (sum_d_x * r) as f32;
            }
            let average = (sum_d / shape.per_channel()) as f32;
            let slant = (sum_d_x * r * r / shape.per_channel()) as f32;
            for plane in shape.planes(c) {
                let gradient = dy[plane.clone()].iter().zip(&of[plane.clone()]);
                if let Some((dresidual, add)) = dresidual {
                    // SAFETY: as above.
                    let dresidual = unsafe { dresidual.at(plane.clone()) };
                    for (dr, (&dy, &v)) in dresidual.iter_mut().zip(gradient.clone()) {
                        let d = dy * slope((v - p) * q + b);
                        *dr = if *add { *dr + d } else { d };
                    }
                }
                if let Some((dx, add)) = dx {
                    // SAFETY: as above.
                    let dx = unsafe { dx.at(plane.clone()) };
                    for ((dx, (&dy, &v)), &x) in dx.iter_mut().zip(gradient).zip(&x[plane]) {
                        let d = dy * slope((v - p) * q + b);
                        let d = scale * (d - average - (x - m) * slant);
                        *dx = if *add { *dx + d } else { d };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::super::{relu, relu_derivative, silu, silu_derivative};
    use super::*;

    const EPSILON: f32 = 1e-3;

    /// A case: the tensors, and what follows the normalisation.
    struct Case {
        shape: Channels,
        x: Vec<f32>,
        gamma: Vec<f32>,
        beta: Vec<f32>,
        residual: Option<Vec<f32>>,
        activation: fn(f64) -> f64,
    }

    impl Case {
        /// The definition, in f64: (y, mean, variance).
        fn forward(&self) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
            let (s, x) = (&self.shape, &self.x);
            let (mut y, mut mean, mut variance) = (vec![0.0; s.len()], vec![], vec![]);
            for c in 0..s.channels {
                let all: Vec<f64> = s.planes(c).flatten().map(|i| f64::from(x[i])).collect();
                let m = all.iter().sum::<f64>() / all.len() as f64;
                let v = all.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / all.len() as f64;
                for i in s.planes(c).flatten() {
                    let scale = f64::from(self.gamma[c]) / (v + f64::from(EPSILON)).sqrt();
                    let r = self.residual.as_ref().map_or(0.0, |r| f64::from(r[i]));
                    y[i] = (self.activation)((f64::from(x[i]) - m) * scale + f64::from(self.beta[c]) + r);
                }
                mean.push(m);
                variance.push(v);
            }
            (y, mean, variance)
        }
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

    fn case(shape: Channels, residual: bool, activation: fn(f64) -> f64) -> Case {
        Case {
            shape,
            x: values(shape.len(), 1),
            gamma: values(shape.channels, 2),
            beta: values(shape.channels, 3),
            residual: residual.then(|| values(shape.len(), 7)),
            activation,
        }
    }

    /// Runs the kernel on `case`: y, mean, variance.
    fn run(case: &Case, activation: impl Fn(f32) -> f32 + Sync) -> [Vec<f32>; 3] {
        let shape = case.shape;
        let (mut y, mut m, mut v) =
            (vec![f32::NAN; shape.len()], vec![f32::NAN; shape.channels], vec![f32::NAN; shape.channels]);
        let at = BatchNormForward {
            shape,
            epsilon: EPSILON,
            x: &case.x,
            gamma: &case.gamma,
            beta: &case.beta,
            residual: case.residual.as_deref(),
            mean: &mut m,
            variance: &mut v,
            y: &mut y,
        };
        batch_norm_forward(at, activation);
        [y, m, v]
    }

    #[test]
    fn forward_is_the_definition() {
        for shape in shapes() {
            for residual in [false, true] {
                let mut case = case(shape, residual, |x| x);
                // A mean far from zero is where a variance around zero fails.
                case.x.iter_mut().for_each(|x| *x += 300.0);
                let (y, mean, variance) = case.forward();
                on_every_simd(|_| {
                    let [out, m, v] = run(&case, |x| x);
                    assert_close(&m, &to_f32(&mean), 1e-6);
                    assert_close(&v, &to_f32(&variance), 1e-5);
                    assert_close(&out, &to_f32(&y), 2e-4);
                });
                case.activation = |x| x.max(0.0);
                let y = to_f32(&case.forward().0);
                on_every_simd(|_| assert_close(&run(&case, relu)[0], &y, 2e-4));
            }
        }
    }

    #[test]
    fn an_odd_first_element_does_not_spoil_the_variance() {
        let mut case = case(Channels { batch: 8, channels: 1, inner: 256 }, false, |x| x);
        case.x[0] = 1e4;
        let (_, _, variance) = case.forward();
        on_every_simd(|_| assert_close(&run(&case, |x| x)[2], &to_f32(&variance), 1e-5));
    }

    type Slope = fn(f32) -> f32;

    /// d(Σ w y) by the definition's central differences, with every kind of what may follow.
    #[test]
    fn backward_is_the_derivative() {
        let silu64: fn(f64) -> f64 = |x| x / (1.0 + (-x).exp());
        type Follows = (bool, bool, fn(f64) -> f64, Slope, Slope);
        let follows: [Follows; 5] = [
            (false, false, |x| x, |x| x, |_| 1.0),
            (true, false, |x| x, |x| x, |_| 1.0),
            (false, false, |x| x.max(0.0), relu, relu_derivative),
            (true, true, |x| x.max(0.0), relu, relu_derivative),
            (false, false, silu64, silu, silu_derivative),
        ];
        for shape in shapes() {
            for (residual, from_output, activation, single, slope) in follows {
                check_backward(&mut case(shape, residual, activation), from_output, single, slope);
            }
        }
    }

    fn check_backward(case: &mut Case, from_output: bool, activation: Slope, slope: Slope) {
        let (s, w) = (case.shape, values(case.shape.len(), 4));
        let [y, mean, variance] = run(case, activation);
        let gradients = |add: bool, start: f32| {
            let (mut dx, mut dr) = (vec![start; s.len()], vec![start; s.len()]);
            let (mut dgamma, mut dbeta) = (vec![0.5; s.channels], vec![0.5; s.channels]);
            let at = BatchNormBackward {
                shape: s,
                epsilon: EPSILON,
                x: &case.x,
                gamma: &case.gamma,
                beta: &case.beta,
                mean: &mean,
                variance: &variance,
                y: from_output.then_some(&y[..]),
                dy: &w,
                dx: Some((&mut dx, add)),
                dresidual: case.residual.is_some().then_some((&mut dr, add)),
                dgamma: &mut dgamma,
                dbeta: &mut dbeta,
            };
            batch_norm_backward(at, slope);
            let sums = [dgamma, dbeta].map(|g| g.iter().map(|g| g - 0.5).collect::<Vec<f32>>());
            let [dgamma, dbeta] = sums;
            [dx, dr, dgamma, dbeta]
        };
        let written = std::cell::RefCell::new(Vec::new());
        on_every_simd(|_| {
            let (fresh, added) = (gradients(false, f32::NAN), gradients(true, 0.0));
            for i in [0, 2, 3] {
                assert_close(&fresh[i], &added[i], 1e-6);
            }
            written.borrow_mut().push(fresh);
        });
        let results = written.into_inner();

        let loss = |case: &Case| -> f64 { case.forward().0.iter().zip(&w).map(|(y, &w)| y * f64::from(w)).sum() };
        let h = 1.0 / 8192.0;
        let mut quotient = |value: fn(&mut Case) -> &mut Vec<f32>, i: usize| {
            let x = value(case)[i];
            value(case)[i] = x + h;
            let up = (f64::from(value(case)[i]), loss(case));
            value(case)[i] = x - h;
            let down = (f64::from(value(case)[i]), loss(case));
            value(case)[i] = x;
            (up.1 - down.1) / (up.0 - down.0)
        };
        let near = |found: f32, expected: f64, what: &str| {
            // A kink of the activation may lie within the step.
            let error = (f64::from(found) - expected).abs();
            assert!(error < 6e-3 * expected.abs().max(1.0), "{s:?} {what}: {found} and {expected}");
        };
        for i in (0..s.len()).step_by(s.len().div_ceil(12)) {
            let expected = quotient(|case| &mut case.x, i);
            results.iter().for_each(|g| near(g[0][i], expected, "dx"));
        }
        for c in 0..s.channels {
            let expected = quotient(|case| &mut case.gamma, c);
            results.iter().for_each(|g| near(g[2][c], expected, "dgamma"));
            let expected = quotient(|case| &mut case.beta, c);
            results.iter().for_each(|g| near(g[3][c], expected, "dbeta"));
        }
        if case.residual.is_some() {
            for i in (0..s.len()).step_by(s.len().div_ceil(12)) {
                let slope = if from_output { slope(y[i]) } else { 1.0 };
                results.iter().for_each(|g| near(g[1][i], f64::from(w[i] * slope), "dresidual"));
            }
        }
    }
}
