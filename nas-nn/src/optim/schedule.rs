//! Learning-rate schedules.

/// How the learning rate changes over a training.
///
/// ```
/// use nas_nn::optim::Schedule;
///
/// // A tenth of the rate after every 30 of 90 steps, behind a rise over the first tenth.
/// let schedule = Schedule::step(0.1, 30, 0.1).with_warmup(0.1);
/// assert_eq!(schedule.learning_rate(9, 90), 0.1);
/// assert_eq!(schedule.learning_rate(9 + 29, 90), 0.1);
/// assert!((schedule.learning_rate(9 + 30, 90) - 0.01).abs() < 1e-8);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    highest: f32,
    /// The share of all steps that the rise in front of the curve takes.
    warmup: f32,
    curve: Curve,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Curve {
    Constant,
    Cosine,
    OneCycle,
    Step { every: usize, factor: f32 },
}

impl Schedule {
    /// Always the same.
    pub fn constant(learning_rate: f32) -> Self {
        Schedule { highest: learning_rate, warmup: 0.0, curve: Curve::Constant }
    }

    /// A linear rise over the share `warmup` of all steps (0 to 1), then a cosine to zero (Loshchilov & Hutter, 2017, eq. 5).
    pub fn cosine(highest: f32, warmup: f32) -> Self {
        Schedule { highest, warmup: 0.0, curve: Curve::Cosine }.with_warmup(warmup)
    }

    /// One cycle (Smith, 2018) as in PyTorch: from `highest` / 25 along half a cosine to `highest` over 30 % of the steps,
    /// then along another to `highest` / 250,000 at the last step. The momentum stays.
    pub fn one_cycle(highest: f32) -> Self {
        Schedule { highest, warmup: 0.0, curve: Curve::OneCycle }
    }

    /// `first`, multiplied by `factor` after every `every` steps; 0 steps count as 1.
    pub fn step(first: f32, every: usize, factor: f32) -> Self {
        Schedule { highest: first, warmup: 0.0, curve: Curve::Step { every: every.max(1), factor } }
    }

    /// The same behind a linear rise from near zero to its first value, over the share `share` of all steps (0 to 1). It
    /// runs over the rest of the steps.
    #[must_use]
    pub fn with_warmup(self, share: f32) -> Self {
        Schedule { warmup: share.clamp(0.0, 1.0), ..self }
    }

    /// The learning rate of step `step`, from 0, of `steps`.
    pub fn learning_rate(&self, step: usize, steps: usize) -> f32 {
        let (t, all) = (step as f32, steps.max(1) as f32);
        let rise = self.warmup * all;
        if t < rise {
            return self.curve(0.0, all - rise) * (t + 1.0) / (rise + 1.0);
        }
        self.curve(t - rise, all - rise)
    }

    /// The value at `t` of `all`, which need not be whole behind a rise.
    fn curve(&self, t: f32, all: f32) -> f32 {
        match self.curve {
            Curve::Constant => self.highest,
            Curve::Cosine => half_cosine(self.highest, 0.0, t / all.max(1.0)),
            Curve::OneCycle => {
                // PyTorch's phases end at steps, the first of which is 0.
                let (top, last) = (0.3 * all - 1.0, all - 1.0);
                let first = self.highest / 25.0;
                if t < top {
                    half_cosine(first, self.highest, t / top)
                } else {
                    half_cosine(self.highest, first / 1e4, (t - top) / (last - top))
                }
            }
            // Counted from the step nearest to the end of the rise, which has a rounding error of its own.
            Curve::Step { every, factor } => self.highest * factor.powi((t.round() as usize / every) as i32),
        }
    }
}

/// From `start` at 0 to `end` at 1 and beyond.
fn half_cosine(start: f32, end: f32, done: f32) -> f32 {
    end + 0.5 * (start - end) * (1.0 + (std::f32::consts::PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};

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

    /// `torch.optim.lr_scheduler.OneCycleLR` by its definition, in `f64`: phases that end at steps 0.3 n − 1 and n − 1.
    fn one_cycle(t: usize, steps: usize, highest: f64) -> f64 {
        let (t, top, last) = (t as f64, 0.3 * steps as f64 - 1.0, steps as f64 - 1.0);
        let (start, end, share) = if t <= top {
            (highest / 25.0, highest, t / top)
        } else {
            (highest, highest / 25.0 / 1e4, (t - top) / (last - top))
        };
        end + (start - end) / 2.0 * ((std::f64::consts::PI * share).cos() + 1.0)
    }

    #[test]
    fn one_cycle_is_the_definition() {
        let schedule = Schedule::one_cycle(0.5);
        for steps in [20, 33, 1000] {
            for t in 0..steps {
                let found = f64::from(schedule.learning_rate(t, steps));
                assert_abs_diff_eq!(found, one_cycle(t, steps, 0.5), epsilon = 1e-6);
            }
        }
        // The landmarks by hand.
        assert_relative_eq!(schedule.learning_rate(0, 20), 0.02, max_relative = 1e-6);
        assert_relative_eq!(schedule.learning_rate(5, 20), 0.5, max_relative = 1e-6);
        assert_relative_eq!(schedule.learning_rate(19, 20), 2e-6, max_relative = 1e-3);
        assert_eq!(schedule.learning_rate(30, 20), schedule.learning_rate(19, 20));
    }

    #[test]
    fn steps_divide_the_rate() {
        let schedule = Schedule::step(1.0, 10, 0.5);
        for (t, expected) in [(0, 1.0), (9, 1.0), (10, 0.5), (19, 0.5), (20, 0.25), (45, 0.0625)] {
            assert_eq!(schedule.learning_rate(t, 50), expected, "{t}");
        }
        assert_eq!(Schedule::step(1.0, 0, 0.5).learning_rate(3, 50), 0.125);
    }

    #[test]
    fn steps_count_from_the_end_of_the_rise() {
        for rise in 1..100 {
            // Shares that are no sum of powers of two: the rise ends near a whole step, on either side.
            let schedule = Schedule::step(1.0, 10, 0.5).with_warmup(rise as f32 / 1000.0);
            let rates: Vec<f32> = (0..1000).map(|t| schedule.learning_rate(t, 1000)).collect();
            let full = rates.iter().filter(|&&rate| rate == 1.0).count();
            let half = rates.iter().filter(|&&rate| rate == 0.5).count();
            assert!((9..=11).contains(&full) && half >= 10, "{rise}: {full} and {half}");
            assert_eq!(rates[rise + 1..rise + 10], [1.0; 9], "{rise}");
            assert_eq!(rates[rise + 10], 0.5, "{rise}");
        }
    }

    #[test]
    fn a_warm_up_stands_in_front_of_any() {
        let curves = [
            Schedule::constant(0.4),
            Schedule::cosine(0.4, 0.0),
            Schedule::one_cycle(0.4),
            Schedule::step(0.4, 7, 0.5),
        ];
        for curve in curves {
            let schedule = curve.with_warmup(0.25);
            for t in 0..100 {
                let found = schedule.learning_rate(t, 100);
                // 25 steps of rise to the first value, then the curve over 75 steps.
                let expected = if t < 25 {
                    curve.learning_rate(0, 75) * (t + 1) as f32 / 26.0
                } else {
                    curve.learning_rate(t - 25, 75)
                };
                assert_relative_eq!(found, expected, max_relative = 1e-5);
            }
        }
    }

    #[test]
    fn short_trainings_have_finite_rates() {
        for (warmup, steps) in [(0.0, 0), (0.0, 1), (1.0, 1), (0.5, 2), (1.0, 3), (0.1, 3), (0.0, 4), (0.9, 10)] {
            for step in 0..=steps {
                for schedule in [Schedule::cosine(0.4, 0.0), Schedule::one_cycle(0.4), Schedule::step(0.4, 1, 0.1)] {
                    let rate = schedule.with_warmup(warmup).learning_rate(step, steps);
                    assert!((0.0..=0.4).contains(&rate), "{schedule:?}: {rate} at {step} of {steps}, {warmup}");
                }
            }
        }
    }
}
