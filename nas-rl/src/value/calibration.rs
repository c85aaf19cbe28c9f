//! Whether a value function can be believed: what it predicted against what came.

use std::collections::VecDeque;

use nas_core::Diagnostics;
use serde::{Deserialize, Serialize};

/// States that are looked back on.
const STATES: usize = 1000;
/// Bins of a reliability table.
const BINS: usize = 5;
/// Fewer states a bin say nothing.
const FEWEST: usize = 8;

/// The last 1000 predictions, each made before its reward was learned from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Calibration(VecDeque<[f64; 2]>);

impl Calibration {
    /// Takes note of what was predicted of states and what came of them.
    pub(crate) fn push(&mut self, values: &[f64], returns: &[f64]) {
        for (&value, &reward) in values.iter().zip(returns).filter(|(v, r)| v.is_finite() && r.is_finite()) {
            if self.0.len() == STATES {
                self.0.pop_front();
            }
            self.0.push_back([value, reward]);
        }
    }

    /// What they come to; nothing while there are few.
    pub(crate) fn reliability(&self) -> Option<Reliability> {
        let n = self.0.len();
        if n < FEWEST * BINS {
            return None;
        }
        let mut pairs: Vec<[f64; 2]> = self.0.iter().copied().collect();
        // By prediction; the sort is stable, so equal ones keep their order in time.
        pairs.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let means = |pairs: &[[f64; 2]]| [0, 1].map(|i| pairs.iter().map(|p| p[i]).sum::<f64>() / pairs.len() as f64);
        let [predicted, obtained] = means(&pairs);
        let moment = |i: usize, j: usize| {
            let centred = |p: &[f64; 2], i: usize| p[i] - [predicted, obtained][i];
            pairs.iter().map(|p| centred(p, i) * centred(p, j)).sum::<f64>()
        };
        let correlation = moment(0, 1) / (moment(0, 0) * moment(1, 1)).sqrt();
        Some(Reliability {
            states: n,
            bias: predicted - obtained,
            correlation: Some(correlation).filter(|c| c.is_finite()),
            bins: (0..BINS).map(|i| means(&pairs[i * n / BINS..(i + 1) * n / BINS])).collect(),
        })
    }
}

/// How the predictions of a value function compare with the rewards that came, both shaped (a rank lies between −1 and 1).
///
/// [`Reinforce`](crate::agent::Reinforce), [`A2c`](crate::agent::A2c) and [`Ppo`](crate::agent::Ppo) say it among their
/// diagnostics, of the last 1000 states (prefixes of architectures), each predicted before its own reward was learned from.
#[derive(Debug, Clone, PartialEq)]
pub struct Reliability {
    /// States looked back on.
    pub states: usize,
    /// The mean prediction less the mean reward: above zero where too much is expected.
    pub bias: f64,
    /// The correlation of prediction and reward; none where either never changed.
    pub correlation: Option<f64>,
    /// Fifths of the states, from the lowest prediction to the highest: the mean prediction and the mean reward of each. They
    /// are equal where the function is calibrated.
    pub bins: Vec<[f64; 2]>,
}

impl Reliability {
    /// What all its figures are called, before the rest of their name.
    pub const PREFIX: &'static str = "calibration_";

    /// Adds its figures to `diagnostics`.
    pub fn write(&self, diagnostics: &mut Diagnostics) {
        let mut set = |name: &str, figure: f64| diagnostics.set(&format!("{}{name}", Self::PREFIX), figure);
        set("states", self.states as f64);
        set("bias", self.bias);
        self.correlation.into_iter().for_each(|correlation| set("correlation", correlation));
        for (i, [predicted, obtained]) in self.bins.iter().enumerate() {
            set(&format!("{}_predicted", i + 1), *predicted);
            set(&format!("{}_obtained", i + 1), *obtained);
        }
    }

    /// What [`write`](Self::write) wrote; none where it did not.
    pub fn read(diagnostics: &Diagnostics) -> Option<Self> {
        let get = |name: &str| diagnostics.get(&format!("{}{name}", Self::PREFIX));
        let bin = |i: usize| Some([get(&format!("{i}_predicted"))?, get(&format!("{i}_obtained"))?]);
        Some(Reliability {
            states: get("states")? as usize,
            bias: get("bias")?,
            correlation: get("correlation"),
            bins: (1..).map_while(bin).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: impl Iterator<Item = (f64, f64)>) -> Option<Reliability> {
        let mut calibration = Calibration::default();
        pairs.for_each(|(value, reward)| calibration.push(&[value], &[reward]));
        calibration.reliability()
    }

    #[test]
    fn by_hand() {
        // Predictions 0, 1, …, 99; rewards are half as large and 3 more.
        let reliability = of((0..100).rev().map(|i| (f64::from(i), 3.0 + 0.5 * f64::from(i)))).unwrap();
        assert_eq!((reliability.states, reliability.bins.len()), (100, 5));
        assert!((reliability.bias - (49.5 - 27.75)).abs() < 1e-12);
        assert!((reliability.correlation.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(reliability.bins[0], [9.5, 7.75]);
        assert_eq!(reliability.bins[4], [89.5, 47.75]);
    }

    #[test]
    fn a_constant_has_no_correlation_and_few_states_say_nothing() {
        let reliability = of((0..50).map(|i| (0.25, f64::from(i % 2)))).unwrap();
        assert_eq!((reliability.correlation, reliability.bias), (None, -0.25));
        assert_eq!(of((0..39).map(|i| (f64::from(i), 1.0))), None);
        assert_eq!(of((0..90).map(|_| (f64::NAN, 1.0))), None);
    }

    #[test]
    fn only_the_last_states_count() {
        let reliability = of((0..5000).map(|i| (f64::from(i), 0.0))).unwrap();
        assert_eq!((reliability.states, reliability.bins[0][0]), (1000, 4099.5));
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let mut diagnostics = Diagnostics::default();
        assert_eq!(Reliability::read(&diagnostics), None);
        for reliability in [of((0..60).map(|i| (f64::from(i), 0.0))), of((0..60).map(|i| (1.0, f64::from(i % 7))))] {
            let reliability = reliability.unwrap();
            let mut diagnostics = Diagnostics::default();
            reliability.write(&mut diagnostics);
            assert_eq!(Reliability::read(&diagnostics), Some(reliability));
        }
        diagnostics.set("calibration_states", 1.0);
        assert_eq!(Reliability::read(&diagnostics), None);
    }
}
