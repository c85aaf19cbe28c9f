//! LAMB: Adam whose step is as long as each tensor deserves.

use super::{Optimizer, Owner, Span, ready};
use crate::kernel;

/// LAMB (You et al., 2020, algorithm 2), for large batches.
///
/// m ← β₁ m + (1 − β₁) ∇; v ← β₂ v + (1 − β₂) ∇²; r = m̂ / (√v̂ + ε) + λ p; for each tensor p ← p − η (‖p‖ / ‖r‖) r, with
/// φ the identity. Where a norm is zero the ratio is 1, as in the authors' code.
///
/// Remembers two numbers a parameter. Two passes over memory: the first finds the norms.
#[derive(Debug, Clone)]
pub struct Lamb {
    /// η.
    pub learning_rate: f32,
    /// β₁; default 0.9.
    pub beta1: f32,
    /// β₂; default 0.999.
    pub beta2: f32,
    /// ε; default 1e-6.
    pub epsilon: f32,
    /// λ; default 0.01.
    pub weight_decay: f32,
    /// Whether tensors of less than two axes (biases, gains of norms) do not decay; default no.
    pub decay_only_matrices: bool,
    step: u64,
    mean: Vec<f32>,
    square: Vec<f32>,
    owner: Owner,
}

impl Lamb {
    /// LAMB with the paper's settings.
    pub fn new(learning_rate: f32) -> Self {
        Lamb {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-6,
            weight_decay: 0.01,
            decay_only_matrices: false,
            step: 0,
            mean: Vec::new(),
            square: Vec::new(),
            owner: Owner::default(),
        }
    }

    /// The same with weight decay for tensors of two axes and more only.
    #[must_use]
    pub fn decay_only_matrices(self) -> Self {
        Lamb { decay_only_matrices: true, ..self }
    }
}

impl Optimizer for Lamb {
    fn update(&mut self, values: &mut [f32], grads: &[f32], tensors: &[Span]) {
        assert_eq!(values.len(), grads.len(), "parameters and gradients differ in length");
        Span::check(tensors, values.len());
        ready(&mut self.mean, values.len());
        ready(&mut self.square, values.len());
        self.step += 1;
        let Lamb { learning_rate: lr, beta1, beta2, epsilon, step, .. } = *self;
        for Span { range, rank } in tensors {
            let at = range.clone();
            let weight_decay = if *rank >= 2 || !self.decay_only_matrices { self.weight_decay } else { 0.0 };
            let settings = kernel::Lamb { lr, beta1, beta2, epsilon, weight_decay, step };
            let (mean, square) = (&mut self.mean[at.clone()], &mut self.square[at.clone()]);
            kernel::lamb(settings, &mut values[at.clone()], &grads[at], mean, square);
        }
    }

    fn owner(&mut self) -> Option<&mut Owner> {
        Some(&mut self.owner)
    }

    fn set_learning_rate(&mut self, learning_rate: f32) {
        self.learning_rate = learning_rate;
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::super::testing::check_tensors;
    use super::*;

    #[test]
    fn a_step_by_hand() {
        // The first step of Adam is the sign of the gradient: r = (1, −1), ‖p‖ / ‖r‖ = 5 / √2.
        let mut p = [3.0, 4.0];
        Lamb { weight_decay: 0.0, ..Lamb::new(0.1) }.step(&mut p, &[2.0, -7.0]);
        let step = 0.1 * 5.0 / 2.0f32.sqrt();
        assert_abs_diff_eq!(p[0], 3.0 - step, epsilon = 1e-5);
        assert_abs_diff_eq!(p[1], 4.0 + step, epsilon = 1e-5);
    }

    /// The paper's algorithm.
    #[track_caller]
    fn check_rule(lamb: Lamb) {
        let only_matrices = lamb.decay_only_matrices;
        let (lambda, epsilon) = (f64::from(lamb.weight_decay), f64::from(lamb.epsilon));
        check_tensors(lamb, |t, rate, tensor| {
            let lambda = if tensor.matrix || !only_matrices { lambda } else { 0.0 };
            let mut r = Vec::new();
            for ((p, g), [m, v]) in tensor.p.iter().zip(&tensor.g).zip(&mut tensor.memory) {
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let (m, v) = (*m / (1.0 - 0.9f64.powi(t)), *v / (1.0 - 0.999f64.powi(t)));
                r.push(m / (v.sqrt() + epsilon) + lambda * p);
            }
            let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let ratio = norm(&tensor.p) / norm(&r);
            tensor.p.iter_mut().zip(&r).for_each(|(p, r)| *p -= rate * ratio * r);
        });
    }

    #[test]
    fn five_steps() {
        check_rule(Lamb { epsilon: 1e-3, ..Lamb::new(1.0) });
        let lamb = Lamb { epsilon: 1e-3, weight_decay: 0.3, ..Lamb::new(1.0) };
        check_rule(lamb.clone());
        check_rule(lamb.decay_only_matrices());
    }

    #[test]
    fn a_tensor_of_zeros_moves_off() {
        let mut p = [0.0; 3];
        Lamb::new(0.1).step(&mut p, &[1.0, -2.0, 0.0]);
        assert_abs_diff_eq!(p[0], -0.1, epsilon = 1e-5);
        assert_abs_diff_eq!(p[1], 0.1, epsilon = 1e-5);
        assert_eq!(p[2], 0.0);
    }
}
