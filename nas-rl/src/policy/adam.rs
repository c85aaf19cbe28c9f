//! Adam for a table of logits, in double precision and plain loops.

use serde::{Deserialize, Serialize};

/// Adam (Kingma & Ba, 2015, algorithm 1): m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; p ← p − η m̂ / (√v̂ + ε), with
/// m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ), β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Adam {
    /// η.
    pub(super) learning_rate: f64,
    mean: Vec<f64>,
    square: Vec<f64>,
    /// β₁ᵗ and β₂ᵗ.
    powers: [f64; 2],
}

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

impl Adam {
    pub(super) fn new(learning_rate: f64, parameters: usize) -> Self {
        Adam { learning_rate, mean: vec![0.0; parameters], square: vec![0.0; parameters], powers: [1.0; 2] }
    }

    pub(super) fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        self.powers = [self.powers[0] * BETAS[0], self.powers[1] * BETAS[1]];
        let [mean_scale, square_scale] = self.powers.map(|power| 1.0 / (1.0 - power));
        let rate = self.learning_rate * mean_scale;
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((p, &g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *m = BETAS[0] * *m + (1.0 - BETAS[0]) * g;
            *v = BETAS[1] * *v + (1.0 - BETAS[1]) * g * g;
            *p -= rate * *m / ((*v * square_scale).sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let mut adam = Adam::new(0.1, 2);
        let mut p = [1.0, -1.0];
        // The first step is the learning rate along the sign, whatever the size of the gradient.
        adam.step(&mut p, &[3.0, -0.01]);
        assert!((p[0] - 0.9).abs() < 1e-8 && (p[1] + 0.9).abs() < 1e-6, "{p:?}");
        adam.step(&mut p, &[1.0, 0.0]);
        let (m, v) = ((0.9 * 0.3 + 0.1) / 0.19, (0.999 * 0.009 + 0.001) / (1.0 - 0.999_f64.powi(2)));
        assert!((p[0] - (0.9 - 0.1 * m / v.sqrt())).abs() < 1e-8, "{p:?}");
    }
}
