//! Optimizer updates over flat parameter slices, one pass each.

use super::crew::by_range;
use super::simd::dispatch;
use super::sum::sum_squares;

/// Hyper-parameters of one SGD update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Momentum, 0 for none.
    pub momentum: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// Shrink the parameters by `lr · weight_decay` instead of adding the penalty to the gradient.
    pub decoupled: bool,
    /// Look ahead by the momentum (Nesterov), as PyTorch writes it.
    pub nesterov: bool,
}

/// g ← g + λp, v ← μv + g, p ← p − η(g + μv) with Nesterov or p − ηv without; `v` starts at zero. Decoupled decay takes
/// ηλp from p instead of adding λp to g. Without momentum `v` may be empty.
///
/// # Panics
/// When the lengths differ.
pub fn sgd(step: Sgd, p: &mut [f32], g: &[f32], v: &mut [f32]) {
    let Sgd { lr, momentum, weight_decay, decoupled, nesterov } = step;
    let plain = momentum == 0.0 && v.is_empty();
    assert!(
        p.len() == g.len() && (plain || p.len() == v.len()),
        "parameters, gradients and velocities differ in length"
    );
    let (penalty, keep) = decay(lr, weight_decay, decoupled);
    if plain {
        return by_range([p], [g], |[p], [g]| {
            dispatch(
                #[inline(always)]
                || {
                    for (p, &g) in p.iter_mut().zip(g) {
                        *p = *p * keep - lr * (g + penalty * *p);
                    }
                },
            );
        });
    }
    // With these, one formula serves both: p -= lr (a g + b v).
    let (a, b) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
    by_range([p, v], [g], |[p, v], [g]| {
        dispatch(
            #[inline(always)]
            || {
                for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
                    let g = g + penalty * *p;
                    *v = momentum * *v + g;
                    *p = *p * keep - lr * (a * g + b * *v);
                }
            },
        );
    });
}

/// What weight decay adds to the gradient for each unit of a parameter, and the share of the parameter that it leaves.
fn decay(lr: f32, weight_decay: f32, decoupled: bool) -> (f32, f32) {
    if decoupled { (0.0, 1.0 - lr * weight_decay) } else { (weight_decay, 1.0) }
}

/// Hyper-parameters of one Adam update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean of the gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// Added to the root of the latter.
    pub epsilon: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// AdamW: shrink the parameters by `lr · weight_decay` instead of adding the penalty to the gradient.
    pub decoupled: bool,
    /// The number of this update, from 1: it corrects the bias of the means.
    pub step: u64,
}

/// m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← p − η m̂ / (√v̂ + ε) (Kingma and Ba, 2015; Loshchilov and Hutter, 2019);
/// `m` and `v` start at zero.
///
/// # Panics
/// When the lengths differ or `step` is 0.
pub fn adam(step: Adam, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    assert!(p.len() == g.len() && p.len() == m.len() && p.len() == v.len(), "parameters and moments differ in length");
    assert!(step.step > 0, "the first update of Adam is number 1");
    let Adam { lr, beta1, beta2, epsilon, weight_decay, decoupled, .. } = step;
    let rate = (f64::from(lr) / bias(beta1, step.step)) as f32;
    let inv_root = (1.0 / bias(beta2, step.step).sqrt()) as f32;
    let (penalty, keep) = decay(lr, weight_decay, decoupled);
    by_range([p, m, v], [g], |[p, m, v], [g]| {
        dispatch(
            #[inline(always)]
            || {
                for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                    let g = g + penalty * *p;
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * (g * g);
                    *p = *p * keep - rate * *m / (v.sqrt() * inv_root + epsilon);
                }
            },
        );
    });
}

/// The share of a moving mean that its `step` values have, the rest being its start at zero: 1 − βᵗ.
fn bias(beta: f32, step: u64) -> f64 {
    1.0 - f64::from(beta).powf(step as f64)
}

/// Hyper-parameters of one RMSprop update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean of the squared gradients.
    pub alpha: f32,
    /// Added to its root.
    pub epsilon: f32,
    /// Momentum, 0 for none.
    pub momentum: f32,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f32,
}

/// g ← g + λp, v ← αv + (1 − α)g², b ← μb + g / (√v + ε), p ← p − ηb; `v` and `b` start at zero. Without momentum `b` may
/// be empty.
///
/// # Panics
/// When the lengths differ.
pub fn rms_prop(step: RmsProp, p: &mut [f32], g: &[f32], v: &mut [f32], b: &mut [f32]) {
    let RmsProp { lr, alpha, epsilon, momentum, weight_decay } = step;
    let plain = momentum == 0.0 && b.is_empty();
    assert!(
        p.len() == g.len() && p.len() == v.len() && (plain || p.len() == b.len()),
        "parameters, gradients, squares and velocities differ in length"
    );
    if plain {
        return dispatch(
            #[inline(always)]
            || {
                for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
                    let g = g + weight_decay * *p;
                    *v = alpha * *v + (1.0 - alpha) * (g * g);
                    *p -= lr * (g / (v.sqrt() + epsilon));
                }
            },
        );
    }
    dispatch(
        #[inline(always)]
        || {
            for (((p, &g), v), b) in p.iter_mut().zip(g).zip(v).zip(b) {
                let g = g + weight_decay * *p;
                *v = alpha * *v + (1.0 - alpha) * (g * g);
                *b = momentum * *b + g / (v.sqrt() + epsilon);
                *p -= lr * *b;
            }
        },
    );
}

/// Hyper-parameters of one LAMB update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamb {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean of the gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// Added to the root of the latter.
    pub epsilon: f32,
    /// Weight decay, part of the direction whose length is normalised.
    pub weight_decay: f32,
    /// The number of this update, from 1: it corrects the bias of the means.
    pub step: u64,
}

/// One tensor: m and v as in [`adam`], r = m̂ / (√v̂ + ε) + λp, p ← p − η (‖p‖ / ‖r‖) r (You et al., 2020, algorithm 2); the
/// ratio, which is 1 when a norm is zero.
///
/// The sums of the norms have one order, the same on every instruction set. The second pass computes r again rather than
/// keeping it.
///
/// # Panics
/// When the lengths differ or `step` is 0.
pub fn lamb(step: Lamb, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) -> f32 {
    const BLOCK: usize = 1024;
    assert!(p.len() == g.len() && p.len() == m.len() && p.len() == v.len(), "parameters and moments differ in length");
    assert!(step.step > 0, "the first update of LAMB is number 1");
    let Lamb { lr, beta1, beta2, epsilon, weight_decay, .. } = step;
    let inv_bias = (1.0 / bias(beta1, step.step)) as f32;
    let inv_root = (1.0 / bias(beta2, step.step).sqrt()) as f32;
    let direction = Direction { inv_bias, inv_root, epsilon, weight_decay };
    let (mut r, mut r_squares) = ([0.0; BLOCK], 0.0);
    let blocks = p.chunks(BLOCK).zip(g.chunks(BLOCK)).zip(m.chunks_mut(BLOCK)).zip(v.chunks_mut(BLOCK));
    for (((p, g), m), v) in blocks {
        let r = &mut r[..p.len()];
        dispatch(
            #[inline(always)]
            || {
                for ((((r, &p), &g), m), v) in r.iter_mut().zip(p).zip(g).zip(m).zip(v) {
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * (g * g);
                    *r = direction.of(p, *m, *v);
                }
            },
        );
        r_squares += sum_squares(r);
    }
    let (p_norm, r_norm) = (sum_squares(p).sqrt(), r_squares.sqrt());
    let ratio = if p_norm == 0.0 || r_norm == 0.0 { 1.0 } else { (p_norm / r_norm) as f32 };
    let rate = lr * ratio;
    dispatch(
        #[inline(always)]
        || {
            for ((p, &m), &v) in p.iter_mut().zip(&*m).zip(&*v) {
                *p -= rate * direction.of(*p, m, v);
            }
        },
    );
    ratio
}

/// r of LAMB. Not a closure: used twice it need not be inlined, and what is not inlined is not vectorised.
#[derive(Clone, Copy)]
struct Direction {
    inv_bias: f32,
    inv_root: f32,
    epsilon: f32,
    weight_decay: f32,
}

impl Direction {
    #[inline(always)]
    fn of(self, p: f32, m: f32, v: f32) -> f32 {
        m * self.inv_bias / (v.sqrt() * self.inv_root + self.epsilon) + self.weight_decay * p
    }
}

/// `y += share · (x − y)`: the way from `y` to `x` by `share`. A mean moves so, of weights or of gradients.
///
/// # Panics
/// When the lengths differ.
pub fn approach(share: f32, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "a mean and what moves it differ in length");
    dispatch(
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y += share * (x - *y);
            }
        },
    );
}

/// The largest |xᵢ|, 0 of none; NaN when one is NaN.
pub fn max_magnitude(x: &[f32]) -> f32 {
    // Without the sign, floats are in the order of their bits, NaN above infinity: integers have a plain maximum.
    let largest = dispatch(
        #[inline(always)]
        || x.iter().fold(0, |largest: i32, x| largest.max((x.to_bits() & 0x7FFF_FFFF) as i32)),
    );
    f32::from_bits(largest as u32)
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    #[test]
    fn sgd_by_hand() {
        on_every_simd(|_| {
            let step = Sgd { lr: 0.1, momentum: 0.5, weight_decay: 0.1, decoupled: false, nesterov: true };
            let (mut p, mut v) = ([1.0], [2.0]);
            sgd(step, &mut p, &[3.0], &mut v);
            // g = 3.1, v = 1 + 3.1 = 4.1, p = 1 - 0.1 (3.1 + 2.05)
            assert_close(&[p[0], v[0]], &[0.485, 4.1], 1e-6);
            let (mut p, mut v) = ([1.0], [2.0]);
            sgd(Sgd { nesterov: false, ..step }, &mut p, &[3.0], &mut v);
            assert_close(&[p[0], v[0]], &[0.59, 4.1], 1e-6);
            let (mut p, mut v) = ([1.0], [2.0]);
            sgd(Sgd { decoupled: true, ..step }, &mut p, &[3.0], &mut v);
            // v = 1 + 3, p = 0.99 - 0.1 (3 + 2)
            assert_close(&[p[0], v[0]], &[0.49, 4.0], 1e-6);
        });
    }

    #[test]
    fn adam_is_the_formula() {
        for decoupled in [false, true] {
            for n in [1, 37] {
                let (start, grads) = (values(n, 1), [values(n, 2), values(n, 3), values(n, 4)]);
                let (b1, b2, lr, eps, wd) = (0.9f64, 0.999f64, 0.01f64, 1e-8f64, 0.05f64);
                let expected: Vec<f32> = (0..n)
                    .map(|i| {
                        let (mut p, mut m, mut v) = (f64::from(start[i]), 0.0, 0.0);
                        for (t, g) in (1..).zip(&grads) {
                            let mut g = f64::from(g[i]);
                            if decoupled {
                                p -= lr * wd * p
                            } else {
                                g += wd * p
                            }
                            m = b1 * m + (1.0 - b1) * g;
                            v = b2 * v + (1.0 - b2) * g * g;
                            p -= lr * (m / (1.0 - b1.powi(t))) / ((v / (1.0 - b2.powi(t))).sqrt() + eps);
                        }
                        p as f32
                    })
                    .collect();
                on_every_simd(|_| {
                    let (mut p, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
                    for (t, g) in (1..).zip(&grads) {
                        let step = Adam {
                            lr: lr as f32,
                            beta1: b1 as f32,
                            beta2: b2 as f32,
                            epsilon: eps as f32,
                            weight_decay: wd as f32,
                            decoupled,
                            step: t,
                        };
                        adam(step, &mut p, g, &mut m, &mut v);
                    }
                    assert_close(&p, &expected, 2e-6);
                });
            }
        }
    }

    #[test]
    fn without_momentum_no_velocity_is_needed() {
        let (start, g, square) = (values(37, 1), values(37, 2), vec![0.5; 37]);
        for decoupled in [false, true] {
            on_every_simd(|simd| {
                let step = Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.1, decoupled, nesterov: false };
                let (mut with, mut without) = (start.clone(), start.clone());
                sgd(step, &mut with, &g, &mut [7.0; 37]);
                sgd(step, &mut without, &g, &mut []);
                assert_eq!(with, without, "{simd}");
            });
        }
        on_every_simd(|simd| {
            let step = RmsProp { lr: 0.1, alpha: 0.9, epsilon: 1e-3, momentum: 0.0, weight_decay: 0.1 };
            let (mut with, mut without) = (start.clone(), start.clone());
            rms_prop(step, &mut with, &g, &mut square.clone(), &mut [7.0; 37]);
            rms_prop(step, &mut without, &g, &mut square.clone(), &mut []);
            assert_eq!(with, without, "{simd}");
        });
    }

    #[test]
    #[should_panic(expected = "differ in length")]
    fn momentum_needs_its_velocity() {
        let step = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, decoupled: false, nesterov: false };
        sgd(step, &mut [0.0; 2], &[0.0; 2], &mut []);
    }

    #[test]
    fn rms_prop_is_the_formula() {
        for n in [1, 37] {
            let (start, grads) = (values(n, 1), [values(n, 2), values(n, 3), values(n, 4)]);
            let expected: Vec<f32> = (0..n)
                .map(|i| {
                    let (mut p, mut v, mut b) = (f64::from(start[i]), 0.0, 0.0);
                    for g in &grads {
                        let g = f64::from(g[i]) + 0.05 * p;
                        v = 0.9 * v + 0.1 * g * g;
                        b = 0.8 * b + g / (v.sqrt() + 1e-3);
                        p -= 0.01 * b;
                    }
                    p as f32
                })
                .collect();
            on_every_simd(|_| {
                let step = RmsProp { lr: 0.01, alpha: 0.9, epsilon: 1e-3, momentum: 0.8, weight_decay: 0.05 };
                let (mut p, mut v, mut b) = (start.clone(), vec![0.0; n], vec![0.0; n]);
                grads.iter().for_each(|g| rms_prop(step, &mut p, g, &mut v, &mut b));
                assert_close(&p, &expected, 2e-6);
            });
        }
    }

    #[test]
    fn lamb_is_the_formula_and_the_same_everywhere() {
        // A rest shorter than the lanes, whole blocks, and a block with a rest.
        for n in [1, 37, 2048, 2500] {
            let (start, g) = (values(n, 1), values(n, 2));
            let (mut m, mut v) = (values(n, 3), values(n, 4));
            v.iter_mut().for_each(|v| *v = v.abs());
            m.iter_mut().for_each(|m| *m *= 0.1);
            let r: Vec<f64> = (0..n)
                .map(|i| {
                    let [p, g, m, v] = [start[i], g[i], m[i], v[i]].map(f64::from);
                    let (m, v) = (0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g);
                    (m / (1.0 - 0.9f64.powi(3))) / ((v / (1.0 - 0.99f64.powi(3))).sqrt() + 1e-3) + 0.05 * p
                })
                .collect();
            let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
            let ratio = norm(&mut start.iter().map(|&p| f64::from(p))) / norm(&mut r.iter().copied());
            let expected: Vec<f32> =
                start.iter().zip(&r).map(|(&p, r)| (f64::from(p) - 0.01 * ratio * r) as f32).collect();
            let step = Lamb { lr: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-3, weight_decay: 0.05, step: 3 };
            let run = || {
                let (mut p, mut m, mut v) = (start.clone(), m.clone(), v.clone());
                let ratio = lamb(step, &mut p, &g, &mut m, &mut v);
                (p, ratio)
            };
            let first = run();
            on_every_simd(|simd| {
                let (p, found) = run();
                assert!((f64::from(found) - ratio).abs() <= 2e-6 * ratio, "{simd}, {n}: {found} not {ratio}");
                assert_close(&p, &expected, 2e-6);
                assert_eq!((p, found), first, "{simd}, {n}: another order");
            });
        }
    }

    #[test]
    fn lamb_steps_plainly_where_a_norm_is_zero() {
        let step = Lamb { lr: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 0.0, weight_decay: 0.0, step: 1 };
        let mut p = [0.0, 0.0];
        assert_eq!(lamb(step, &mut p, &[3.0, -2.0], &mut [0.0; 2], &mut [0.0; 2]), 1.0);
        assert_close(&p, &[-0.1, 0.1], 1e-6);
        let (mut p, step) = ([2.0], Lamb { epsilon: 1e-6, ..step });
        assert_eq!(lamb(step, &mut p, &[0.0], &mut [0.0], &mut [0.0]), 1.0);
        assert_eq!(p, [2.0]);
    }

    #[test]
    fn a_mean_moves_by_its_share() {
        for n in [0, 1, 37] {
            let (x, y) = (values(n, 1), values(n, 2));
            let expected: Vec<f32> = (0..n).map(|i| y[i] + 0.3 * (x[i] - y[i])).collect();
            on_every_simd(|_| {
                let mut moved = y.clone();
                approach(0.3, &x, &mut moved);
                assert_eq!(moved, expected);
            });
        }
    }

    #[test]
    fn the_largest_magnitude() {
        for n in [1, 16, 37, 1000] {
            let mut x = values(n, 1);
            let expected = x.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
            on_every_simd(|_| assert_eq!(max_magnitude(&x), expected));
            x[n / 2] = -2.5;
            on_every_simd(|_| assert_eq!(max_magnitude(&x), 2.5));
            x[n - 1] = f32::NEG_INFINITY;
            on_every_simd(|_| assert_eq!(max_magnitude(&x), f32::INFINITY));
            x[0] = f32::NAN;
            on_every_simd(|_| assert!(max_magnitude(&x).is_nan()));
        }
        assert_eq!(max_magnitude(&[]), 0.0);
    }
}
