//! Stochastic gradient descent with momentum.

use super::span::{by_decay, each_live};
use super::{Optimizer, Owner, Rows, Span, ready};
use crate::kernel;

/// Stochastic gradient descent with (Nesterov) momentum and weight decay.
///
/// g ← ∇ + λ p; v ← μ v + g; p ← p − η (g + μ v), or p ← p − η v without Nesterov (Sutskever et al., 2013, as in PyTorch).
/// Decoupled, the decay leaves g alone and takes η λ p from p (SGDW; Loshchilov & Hutter, 2019, algorithm 1).
///
/// Remembers one number a parameter, none without momentum.
#[derive(Debug, Clone)]
pub struct Sgd {
    /// η.
    pub learning_rate: f32,
    /// μ; default 0.9.
    pub momentum: f32,
    /// Whether to look ahead; default yes.
    pub nesterov: bool,
    /// λ; default 0.
    pub weight_decay: f32,
    /// Whether the decay acts on the parameters themselves (SGDW) or through the gradient; default the latter.
    pub decoupled: bool,
    /// Whether tensors of less than two axes (biases, gains of norms) do not decay; default no.
    pub decay_only_matrices: bool,
    velocity: Vec<f32>,
    owner: Owner,
}

impl Sgd {
    /// Nesterov momentum 0.9 and no weight decay.
    pub fn new(learning_rate: f32) -> Self {
        Sgd {
            learning_rate,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.0,
            decoupled: false,
            decay_only_matrices: false,
            velocity: Vec::new(),
            owner: Owner::default(),
        }
    }

    /// SGDW: Nesterov momentum 0.9 and decoupled weight decay.
    pub fn sgdw(learning_rate: f32, weight_decay: f32) -> Self {
        Sgd { weight_decay, decoupled: true, ..Self::new(learning_rate) }
    }

    /// The same with weight decay for tensors of two axes and more only.
    #[must_use]
    pub fn decay_only_matrices(self) -> Self {
        Sgd { decay_only_matrices: true, ..self }
    }
}

impl Optimizer for Sgd {
    fn update(&mut self, values: &mut [f32], grads: &[f32], tensors: &[Span]) {
        self.update_rows(values, grads, tensors, &[]);
    }

    /// Without momentum and decay rows without a gradient stay as they are, so they are passed over.
    fn update_rows(&mut self, values: &mut [f32], grads: &[f32], tensors: &[Span], tables: &[Rows]) {
        let Sgd { learning_rate: lr, momentum, nesterov, weight_decay, decoupled, decay_only_matrices, .. } = *self;
        if momentum == 0.0 {
            self.velocity.clear();
        } else {
            ready(&mut self.velocity, values.len());
        }
        assert_eq!(values.len(), grads.len(), "parameters and gradients differ in length");
        by_decay(tensors, values.len(), weight_decay, decay_only_matrices, |at, weight_decay| {
            let step = kernel::Sgd { lr, momentum, weight_decay, decoupled, nesterov };
            let tables = if momentum == 0.0 && weight_decay == 0.0 { tables } else { &[] };
            each_live(at, tables, |at| {
                let velocity = self.velocity.get_mut(at.clone()).unwrap_or_default();
                kernel::sgd(step, &mut values[at.clone()], &grads[at], velocity);
            });
        });
    }

    /// Without momentum there is no state.
    fn owner(&mut self) -> Option<&mut Owner> {
        (self.momentum != 0.0).then_some(&mut self.owner)
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
        let mut sgd = Sgd { weight_decay: 0.1, ..Sgd::new(0.5) };
        sgd.step(&mut p, &[0.2]);
        // g = 0.3, v = 0.3, p = 1 − 0.5 (0.3 + 0.27).
        assert_abs_diff_eq!(p[0], 0.715, epsilon = 1e-6);
        sgd.step(&mut p, &[-0.1]);
        // g = −0.0285, v = 0.2415, p = 0.715 − 0.5 (−0.0285 + 0.21735).
        assert_abs_diff_eq!(p[0], 0.620_575, epsilon = 1e-6);
    }

    #[test]
    fn two_steps_without_looking_ahead_by_hand() {
        let (mut p, mut sgd) = ([1.0], Sgd { nesterov: false, ..Sgd::new(0.5) });
        sgd.step(&mut p, &[0.2]);
        assert_abs_diff_eq!(p[0], 0.9, epsilon = 1e-6);
        sgd.step(&mut p, &[-0.1]);
        // v = 0.9 · 0.2 − 0.1 = 0.08.
        assert_abs_diff_eq!(p[0], 0.86, epsilon = 1e-6);
        sgd.set_learning_rate(0.0);
        sgd.step(&mut p, &[7.0]);
        assert_abs_diff_eq!(p[0], 0.86, epsilon = 1e-6);
    }

    /// PyTorch's rule, with the decay of the two papers.
    #[track_caller]
    fn check_rule(sgd: Sgd) {
        let (mu, nesterov) = (f64::from(sgd.momentum), sgd.nesterov);
        let (decoupled, only_matrices) = (sgd.decoupled, sgd.decay_only_matrices);
        let lambda = f64::from(sgd.weight_decay);
        check(sgd, |_, rate, matrix, p, g, [v, _]| {
            let lambda = if matrix || !only_matrices { lambda } else { 0.0 };
            let g = if decoupled { g } else { g + lambda * p };
            *v = mu * *v + g;
            let p = if decoupled { p - rate * lambda * p } else { p };
            p - rate * if nesterov { g + mu * *v } else { *v }
        });
    }

    #[test]
    fn five_steps() {
        for nesterov in [false, true] {
            for momentum in [0.0, 0.8] {
                let sgd = Sgd { nesterov, momentum, weight_decay: 0.3, ..Sgd::new(1.0) };
                check_rule(sgd.clone());
                check_rule(sgd.decay_only_matrices());
                let sgd = Sgd { nesterov, momentum, ..Sgd::sgdw(1.0, 0.3) };
                check_rule(sgd.clone());
                check_rule(sgd.decay_only_matrices());
            }
        }
    }

    #[test]
    fn without_momentum_nothing_is_remembered() {
        let (mut sgd, mut p) = (Sgd { momentum: 0.0, ..Sgd::new(0.5) }, [1.0]);
        sgd.step(&mut p, &[1.0]);
        assert_eq!((p, sgd.velocity.capacity()), ([0.5], 0));
        // A momentum set later begins at rest.
        sgd.momentum = 0.5;
        sgd.step(&mut p, &[0.2]);
        // v = 0.2, p = 0.5 − 0.5 (0.2 + 0.1).
        assert_abs_diff_eq!(p[0], 0.35, epsilon = 1e-6);
    }

    #[test]
    #[should_panic(expected = "another number of parameters")]
    fn other_parameters_are_refused() {
        let mut sgd = Sgd::new(0.5);
        sgd.step(&mut [1.0], &[1.0]);
        sgd.step(&mut [1.0, 2.0], &[1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "parameters and gradients differ in length")]
    fn too_many_gradients_are_refused() {
        Sgd::new(0.5).step(&mut [1.0], &[1.0, 2.0]);
    }
}
