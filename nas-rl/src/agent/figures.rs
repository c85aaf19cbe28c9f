//! What an agent says of itself: a few named numbers, put into a map only when somebody asks.

use nas_core::Diagnostics;
use nas_core::strategy::State;

use crate::policy::Update;
use crate::rollout::Finished;
use crate::statistics::mean;
use crate::value::Calibration;

/// Named figures of the last update, and how all predictions so far compare with what came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    named: Vec<(&'static str, f64)>,
    calibration: Calibration,
}

impl Figures {
    /// Makes room for those of the next update.
    pub(crate) fn clear(&mut self) {
        self.named.clear();
    }

    /// Takes note of a figure, unless it does not exist: the mean of no reward, the variance explained where there is none.
    pub(crate) fn set(&mut self, name: &'static str, figure: f64) {
        if figure.is_finite() {
            self.named.push((name, figure));
        }
    }

    /// What an update of the policy did.
    pub(crate) fn updated(&mut self, update: &Update) {
        self.set("policy_loss", update.policy_loss);
        self.set("entropy", update.entropy);
        self.set("grad_norm", update.grad_norm);
    }

    /// How the `values` expected before every choice compare with what came.
    pub(crate) fn expected(&mut self, values: &[f64], returns: &[f64]) {
        self.calibration.push(values, returns);
        let errors: Vec<f64> = returns.iter().zip(values).map(|(r, v)| r - v).collect();
        self.set("value_loss", mean(&errors.iter().map(|e| e * e).collect::<Vec<f64>>()));
        self.set("explained_variance", 1.0 - variance(&errors) / variance(returns));
        self.set("baseline", mean(values));
    }

    /// What was learned from, and how many updates there were and were left out.
    pub(crate) fn counted(&mut self, finished: &[Finished], updates: u64, skipped: u64) {
        self.set("reward_mean", mean(&finished.iter().filter_map(|f| f.reward).collect::<Vec<f64>>()));
        self.set("updates", updates as f64);
        self.set("skipped_updates", skipped as f64);
    }

    /// What is looked back on; the figures of an update come with the next one.
    pub(crate) fn state(&mut self, state: &mut State) {
        state.field("calibration", &mut self.calibration);
    }

    pub(crate) fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        self.named.iter().for_each(|&(name, figure)| diagnostics.set(name, figure));
        self.calibration.reliability().into_iter().for_each(|reliability| reliability.write(&mut diagnostics));
        diagnostics
    }
}

/// The mean squared distance from the mean.
pub(crate) fn variance(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64
}
