//! Learning-rate schedules.

/// How the learning rate changes over a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    highest: f32,
    warmup: f32,
    cosine: bool,
}

impl Schedule {
    /// Always the same.
    pub fn constant(learning_rate: f32) -> Self {
        Schedule { highest: learning_rate, warmup: 0.0, cosine: false }
    }

    /// A linear rise over the share `warmup` of all steps (0 to 1), then a cosine to zero (Loshchilov & Hutter, 2017, eq. 5).
    pub fn cosine(highest: f32, warmup: f32) -> Self {
        Schedule { highest, warmup: warmup.clamp(0.0, 1.0), cosine: true }
    }

    /// The learning rate of step `step`, from 0, of `steps`.
    pub fn learning_rate(&self, step: usize, steps: usize) -> f32 {
        let (t, all) = (step as f32, steps.max(1) as f32);
        let rise = self.warmup * all;
        if t < rise {
            return self.highest * (t + 1.0) / (rise + 1.0);
        }
        if !self.cosine {
            return self.highest;
        }
        let done = ((t - rise) / (all - rise).max(1.0)).min(1.0);
        0.5 * self.highest * (1.0 + (std::f32::consts::PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn a_cosine_ends_near_zero() {
        let schedule = Schedule::cosine(0.4, 0.0);
        assert_eq!(schedule.learning_rate(0, 100), 0.4);
        assert_abs_diff_eq!(schedule.learning_rate(50, 100), 0.2, epsilon = 1e-6);
        assert!(schedule.learning_rate(99, 100) < 1e-3 && schedule.learning_rate(200, 100) < 1e-6);
    }

    #[test]
    fn a_warm_up_rises_from_above_zero_to_the_highest() {
        let schedule = Schedule::cosine(1.0, 0.1);
        let rates: Vec<f32> = (0..=10).map(|t| schedule.learning_rate(t, 100)).collect();
        assert!(rates[0] > 0.0 && rates.windows(2).all(|w| w[0] < w[1]), "{rates:?}");
        assert_eq!(rates[10], 1.0);
        assert_abs_diff_eq!(schedule.learning_rate(55, 100), 0.5, epsilon = 1e-6);
        assert!(schedule.learning_rate(99, 100) < 1e-3);
    }

    #[test]
    fn a_constant_is_the_same_at_both_ends() {
        let schedule = Schedule::constant(0.3);
        assert_eq!([0, 7, 8, 9].map(|t| schedule.learning_rate(t, 9)), [0.3; 4]);
    }

    #[test]
    fn short_trainings_have_finite_rates() {
        for (warmup, steps) in [(0.0, 0), (0.0, 1), (1.0, 1), (0.5, 2), (1.0, 3)] {
            for step in 0..=steps {
                let rate = Schedule::cosine(0.4, warmup).learning_rate(step, steps);
                assert!((0.0..=0.4).contains(&rate), "{rate} at {step} of {steps}, warm-up {warmup}");
            }
        }
    }
}
