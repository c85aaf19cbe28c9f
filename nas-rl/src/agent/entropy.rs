//! The weight of the entropy: fixed, or steered towards a target.

/// β, the weight of the entropy in an agent's objective.
///
/// With a target H\* it is a dual variable: after each update β ← β · exp(rate · (H\* − H)), where H is the policy's entropy
/// as a share of an even one's. Below the target β grows, above it shrinks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntropyControl {
    /// β.
    pub ent_coef: f64,
    /// H\*, from 0 to 1; default none: β stays.
    pub target: Option<f64>,
    /// How fast β follows; default 0.05.
    pub rate: f64,
}

/// β stays between these when a target moves it, so that it neither dies nor drowns the reward.
const LIMITS: [f64; 2] = [1e-3, 10.0];

impl EntropyControl {
    /// A fixed weight.
    pub fn fixed(ent_coef: f64) -> Self {
        EntropyControl { ent_coef, target: None, rate: 0.05 }
    }

    /// A weight that begins at `ent_coef` and follows the target.
    pub fn towards(target: f64, ent_coef: f64) -> Self {
        EntropyControl { ent_coef, target: Some(target), rate: 0.05 }
    }

    /// Follows the target, after an update found the entropy to be that share of an even policy's; without a share, or with one
    /// that is no number, nothing moves.
    pub fn adapt(&mut self, share: Option<f64>) {
        if let (Some(target), Some(share)) = (self.target, share.filter(|share| share.is_finite())) {
            let moved = self.ent_coef * (self.rate * (target - share)).exp();
            self.ent_coef = moved.clamp(LIMITS[0], LIMITS[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_target_and_nothing_else() {
        let mut fixed = EntropyControl::fixed(0.1);
        fixed.adapt(Some(0.0));
        assert_eq!(fixed.ent_coef, 0.1);
        let mut control = EntropyControl::towards(0.3, 0.1);
        control.adapt(Some(0.1));
        assert!((control.ent_coef - 0.1 * (0.05_f64 * 0.2).exp()).abs() < 1e-12);
        control.adapt(Some(f64::NAN));
        (0..100_000).for_each(|_| control.adapt(Some(1.0)));
        assert_eq!(control.ent_coef, 1e-3);
        (0..100_000).for_each(|_| control.adapt(Some(0.0)));
        assert_eq!(control.ent_coef, 10.0);
    }
}
