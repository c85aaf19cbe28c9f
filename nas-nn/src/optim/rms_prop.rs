//! RMSprop.

use super::span::by_decay;
use super::{Optimizer, Owner, Span, ready};
use crate::kernel;

/// RMSprop (Hinton, 2012, lecture 6e of "Neural networks for machine learning"), as in PyTorch.
///
/// g ← ∇ + λ p; v ← α v + (1 − α) g²; b ← μ b + g / (√v + ε); p ← p − η b.
///
/// Remembers one number a parameter, two with momentum.
#[derive(Debug, Clone)]
pub struct RmsProp {
    /// η.
    pub learning_rate: f32,
    /// α; default 0.99 as in PyTorch, the lecture has 0.9.
    pub alpha: f32,
    /// ε; default 1e-8.
    pub epsilon: f32,
    /// μ; default 0.
    pub momentum: f32,
    /// λ; default 0.
    pub weight_decay: f32,
    /// Whether tensors of less than two axes (biases, gains of norms) do not decay; default no.
    pub decay_only_matrices: bool,
    square: Vec<f32>,
    velocity: Vec<f32>,
    owner: Owner,
}

impl RmsProp {
    /// RMSprop without momentum and weight decay.
    pub fn new(learning_rate: f32) -> Self {
        RmsProp {
            learning_rate,
            alpha: 0.99,
            epsilon: 1e-8,
            momentum: 0.0,
            weight_decay: 0.0,
            decay_only_matrices: false,
            square: Vec::new(),
            velocity: Vec::new(),
            owner: Owner::default(),
        }
    }

    /// The same with weight decay for tensors of two axes and more only.
    #[must_use]
    pub fn decay_only_matrices(self) -> Self {
        RmsProp { decay_only_matrices: true, ..self }
    }
}

impl Optimizer for RmsProp {
    fn update(&mut self, values: &mut [f32], grads: &[f32], tensors: &[Span]) {
        let RmsProp { learning_rate: lr, alpha, epsilon, momentum, weight_decay, .. } = *self;
        assert_eq!(values.len(), grads.len(), "parameters and gradients differ in length");
        ready(&mut self.square, values.len());
        if momentum == 0.0 {
            self.velocity.clear();
        } else {
            ready(&mut self.velocity, values.len());
        }
        by_decay(tensors, values.len(), weight_decay, self.decay_only_matrices, |at, weight_decay| {
            let step = kernel::RmsProp { lr, alpha, epsilon, momentum, weight_decay };
            let velocity = self.velocity.get_mut(at.clone()).unwrap_or_default();
            kernel::rms_prop(step, &mut values[at.clone()], &grads[at.clone()], &mut self.square[at], velocity);
        });
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

    use super::super::testing::check;
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let (mut p, mut rms) = ([1.0], RmsProp { alpha: 0.75, momentum: 0.5, ..RmsProp::new(0.1) });
        rms.step(&mut p, &[2.0]);
        // v = 1, b = 2.
        assert_abs_diff_eq!(p[0], 0.8, epsilon = 1e-6);
        rms.step(&mut p, &[-1.0]);
        // v = 0.75 + 0.25 = 1, b = 1 − 1 = 0.
        assert_abs_diff_eq!(p[0], 0.8, epsilon = 1e-6);
    }

    /// PyTorch's rule.
    #[track_caller]
    fn check_rule(rms: RmsProp) {
        let only_matrices = rms.decay_only_matrices;
        let [alpha, mu, lambda, epsilon] = [rms.alpha, rms.momentum, rms.weight_decay, rms.epsilon].map(f64::from);
        check(rms, |_, rate, matrix, p, g, [v, b]| {
            let g = if matrix || !only_matrices { g + lambda * p } else { g };
            *v = alpha * *v + (1.0 - alpha) * g * g;
            *b = mu * *b + g / (v.sqrt() + epsilon);
            p - rate * *b
        });
    }

    #[test]
    fn five_steps() {
        for momentum in [0.0, 0.8] {
            // An ε that shows: inside the root it would be another number.
            let rms = RmsProp { momentum, epsilon: 1e-3, ..RmsProp::new(1.0) };
            check_rule(rms.clone());
            check_rule(RmsProp { weight_decay: 0.3, alpha: 0.9, ..rms.clone() });
            check_rule(RmsProp { weight_decay: 0.3, ..rms }.decay_only_matrices());
        }
    }

    #[test]
    fn without_momentum_one_number_is_remembered() {
        let mut rms = RmsProp::new(0.1);
        rms.step(&mut [1.0, 2.0], &[1.0, 2.0]);
        assert_eq!((rms.square.len(), rms.velocity.capacity()), (2, 0));
    }
}
