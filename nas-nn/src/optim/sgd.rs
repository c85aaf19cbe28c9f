//! Stochastic gradient descent with momentum.

use super::Optimizer;

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
        let (momentum, ahead) = (self.momentum, if self.nesterov { self.momentum } else { 1.0 });
        for ((p, g), v) in values.iter_mut().zip(grads).zip(&mut self.velocity) {
            let g_ = *g + self.weight_decay * *p;
            *v = momentum * *v + g_;
            let step = if self.nesterov { g_ + ahead * *v } else { *v };
            *p -= self.learning_rate * step;
        }
    }

    fn set_learning_rate(&mut self, learning_rate: f32) {
        self.learning_rate = learning_rate;
    }
}
