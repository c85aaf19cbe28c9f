//! Stochastic gradient descent with momentum.

use super::Optimizer;
use crate::kernel;

/// Stochastic gradient descent with (Nesterov) momentum and weight decay.
///
/// g ← ∇ + λ p; v ← μ v + g; p ← p − η (g + μ v), or p ← p − η v without Nesterov (Sutskever et al., 2013, as in PyTorch).
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
    velocity: Vec<f32>,
}

impl Sgd {
    /// Nesterov momentum 0.9 and no weight decay.
    pub fn new(learning_rate: f32) -> Self {
        Sgd { learning_rate, momentum: 0.9, nesterov: true, weight_decay: 0.0, velocity: Vec::new() }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, values: &mut [f32], grads: &[f32]) {
        self.velocity.resize(values.len(), 0.0);
        let Sgd { learning_rate: lr, momentum, nesterov, weight_decay, .. } = *self;
        kernel::sgd(kernel::Sgd { lr, momentum, weight_decay, nesterov }, values, grads, &mut self.velocity);
    }

    fn set_learning_rate(&mut self, learning_rate: f32) {
        self.learning_rate = learning_rate;
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

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
}
