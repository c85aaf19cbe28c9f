//! Optimizer updates over flat parameter slices, one pass each.

use super::simd::dispatch;

/// Hyper-parameters of one SGD update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Momentum, 0 for none.
    pub momentum: f32,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f32,
    /// Look ahead by the momentum (Nesterov), as PyTorch writes it.
    pub nesterov: bool,
}

/// g ← g + λp, v ← μv + g, p ← p − η(g + μv) with Nesterov or p − ηv without; `v` starts at zero.
///
/// # Panics
/// When the lengths differ.
pub fn sgd(step: Sgd, p: &mut [f32], g: &[f32], v: &mut [f32]) {
    assert!(p.len() == g.len() && p.len() == v.len(), "parameters, gradients and velocities differ in length");
    let Sgd { lr, momentum, weight_decay, nesterov } = step;
    // With these, one formula serves both: p -= lr (a g + b v).
    let (a, b) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
    dispatch(
        #[inline(always)]
        || {
            for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
                let g = g + weight_decay * *p;
                *v = momentum * *v + g;
                *p -= lr * (a * g + b * *v);
            }
        },
    );
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
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(step.step as f64);
    let rate = (f64::from(lr) / correction(beta1)) as f32;
    let inv_root = (1.0 / correction(beta2).sqrt()) as f32;
    let (penalty, keep) = if decoupled { (0.0, 1.0 - lr * weight_decay) } else { (weight_decay, 1.0) };
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
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    #[test]
    fn sgd_by_hand() {
        on_every_simd(|_| {
            let step = Sgd { lr: 0.1, momentum: 0.5, weight_decay: 0.1, nesterov: true };
            let (mut p, mut v) = ([1.0], [2.0]);
            sgd(step, &mut p, &[3.0], &mut v);
            // g = 3.1, v = 1 + 3.1 = 4.1, p = 1 - 0.1 (3.1 + 2.05)
            assert_close(&[p[0], v[0]], &[0.485, 4.1], 1e-6);
            let (mut p, mut v) = ([1.0], [2.0]);
            sgd(Sgd { nesterov: false, ..step }, &mut p, &[3.0], &mut v);
            assert_close(&[p[0], v[0]], &[0.59, 4.1], 1e-6);
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
}
