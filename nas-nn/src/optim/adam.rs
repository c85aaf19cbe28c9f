//! Adam and AdamW.

use serde::{Deserialize, Serialize};

use super::span::{by_decay, each_live};
use super::{Optimizer, Owner, Rows, Span, ready};
use crate::kernel;

/// Adam (Kingma & Ba, 2015, algorithm 1), or AdamW with decoupled weight decay (Loshchilov & Hutter, 2019, algorithm 2).
///
/// g ← ∇ + λ p; m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; p ← p − η m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ) and
/// v̂ = v / (1 − β₂ᵗ). AdamW leaves g alone and takes η λ p from p (the schedule multiplies both terms, as in PyTorch).
///
/// Remembers two numbers a parameter, and is written with them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Adam {
    /// η.
    pub learning_rate: f32,
    /// β₁; default 0.9.
    pub beta1: f32,
    /// β₂; default 0.999.
    pub beta2: f32,
    /// ε; default 1e-8.
    pub epsilon: f32,
    /// λ; default 0.
    pub weight_decay: f32,
    /// Whether the decay acts on the parameters themselves (AdamW) or through the gradient.
    pub decoupled: bool,
    /// Whether tensors of less than two axes (biases, gains of norms) do not decay; default no.
    pub decay_only_matrices: bool,
    /// Whether the rows of a large embedding table that a batch does not name keep their values and moments, as in
    /// TensorFlow's LazyAdam and PyTorch's SparseAdam; default no. A step then costs the rows named and not the table, but it
    /// is another algorithm: Adam moves every row by what it remembers of it. Decay reaches the rows named only.
    pub lazy: bool,
    step: u64,
    mean: Vec<f32>,
    square: Vec<f32>,
    #[serde(default, skip_serializing_if = "Owner::is_none")]
    owner: Owner,
}

impl Adam {
    /// Adam without weight decay.
    pub fn new(learning_rate: f32) -> Self {
        Adam {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            decay_only_matrices: false,
            lazy: false,
            step: 0,
            mean: Vec::new(),
            square: Vec::new(),
            owner: Owner::default(),
        }
    }

    /// AdamW.
    pub fn adamw(learning_rate: f32, weight_decay: f32) -> Self {
        Adam { weight_decay, decoupled: true, ..Self::new(learning_rate) }
    }

    /// The same with weight decay for tensors of two axes and more only.
    #[must_use]
    pub fn decay_only_matrices(self) -> Self {
        Adam { decay_only_matrices: true, ..self }
    }
}

impl Optimizer for Adam {
    fn update(&mut self, values: &mut [f32], grads: &[f32], tensors: &[Span]) {
        self.update_rows(values, grads, tensors, &[]);
    }

    fn update_rows(&mut self, values: &mut [f32], grads: &[f32], tensors: &[Span], tables: &[Rows]) {
        let tables = if self.lazy { tables } else { &[] };
        assert_eq!(values.len(), grads.len(), "parameters and gradients differ in length");
        ready(&mut self.mean, values.len());
        ready(&mut self.square, values.len());
        self.step += 1;
        let Adam { learning_rate: lr, beta1, beta2, epsilon, weight_decay, decoupled, step, .. } = *self;
        by_decay(tensors, values.len(), weight_decay, self.decay_only_matrices, |at, weight_decay| {
            let settings = kernel::Adam { lr, beta1, beta2, epsilon, weight_decay, decoupled, step };
            each_live(at, tables, |at| {
                let (mean, square) = (&mut self.mean[at.clone()], &mut self.square[at.clone()]);
                kernel::adam(settings, &mut values[at.clone()], &grads[at], mean, square);
            });
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
        let mut p = [1.0];
        let mut adam = Adam::new(0.1);
        adam.step(&mut p, &[2.0]);
        // The first step is η in the direction of the gradient.
        assert_abs_diff_eq!(p[0], 0.9, epsilon = 1e-6);
        adam.step(&mut p, &[1.0]);
        // m̂ = (0.9·0.2 + 0.1) / 0.19, v̂ = (0.999·0.004 + 0.001) / 0.001999.
        let (m, v) = (0.28 / 0.19_f64, 0.004_996 / 0.001_999_f64);
        assert_abs_diff_eq!(f64::from(p[0]), 0.9 - 0.1 * m / v.sqrt(), epsilon = 1e-5);
    }

    #[test]
    fn two_steps_with_decay_by_hand() {
        let (mut p, mut adam) = ([1.0], Adam::adamw(0.1, 0.5));
        adam.step(&mut p, &[2.0]);
        // 1 · (1 − 0.05) − 0.1.
        assert_abs_diff_eq!(p[0], 0.85, epsilon = 1e-6);
        adam.step(&mut p, &[1.0]);
        let (m, v) = (0.28 / 0.19_f64, 0.004_996 / 0.001_999_f64);
        assert_abs_diff_eq!(f64::from(p[0]), 0.85 * 0.95 - 0.1 * m / v.sqrt(), epsilon = 1e-5);

        let (mut p, mut adam) = ([1.0], Adam { weight_decay: 0.5, ..Adam::new(0.1) });
        adam.step(&mut p, &[2.0]);
        assert_abs_diff_eq!(p[0], 0.9, epsilon = 1e-6);
        adam.step(&mut p, &[1.0]);
        // The decay enters the moments: the gradients are 2.5 and 1.45.
        let m = (0.9 * 0.25 + 0.145) / 0.19_f64;
        let v = (0.999 * 0.006_25 + 0.002_102_5) / 0.001_999_f64;
        assert_abs_diff_eq!(f64::from(p[0]), 0.9 - 0.1 * m / v.sqrt(), epsilon = 1e-5);
    }

    #[test]
    fn decay_by_hand() {
        let (mut coupled, mut decoupled) = ([1.0], [1.0]);
        Adam { weight_decay: 0.5, ..Adam::new(0.1) }.step(&mut coupled, &[0.0]);
        Adam::adamw(0.1, 0.5).step(&mut decoupled, &[0.0]);
        assert_abs_diff_eq!(coupled[0], 0.9, epsilon = 1e-6);
        assert_abs_diff_eq!(decoupled[0], 0.95, epsilon = 1e-6);
    }

    /// The algorithms of the two papers.
    #[track_caller]
    fn check_rule(adam: Adam) {
        let (decoupled, only_matrices) = (adam.decoupled, adam.decay_only_matrices);
        let (lambda, epsilon) = (f64::from(adam.weight_decay), f64::from(adam.epsilon));
        check(adam, |t, rate, matrix, p, g, [m, v]| {
            let lambda = if matrix || !only_matrices { lambda } else { 0.0 };
            let g = if decoupled { g } else { g + lambda * p };
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            let (m, v) = (*m / (1.0 - 0.9f64.powi(t)), *v / (1.0 - 0.999f64.powi(t)));
            let p = if decoupled { p - rate * lambda * p } else { p };
            p - rate * m / (v.sqrt() + epsilon)
        });
    }

    #[test]
    fn five_steps() {
        // An ε that shows: inside the root or before the correction it would be another number.
        let adam = Adam { epsilon: 1e-3, ..Adam::new(1.0) };
        check_rule(adam.clone());
        for decoupled in [false, true] {
            let adam = Adam { weight_decay: 0.3, decoupled, ..adam.clone() };
            check_rule(adam.clone());
            check_rule(adam.decay_only_matrices());
        }
    }
}
