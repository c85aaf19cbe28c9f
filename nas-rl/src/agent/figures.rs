//! What an agent says of itself: a few named numbers, put into a map only when somebody asks.

use nas_core::Diagnostics;
use nas_core::strategy::State;

use crate::environment::Episode;
use crate::policy::Update;
use crate::rollout::Finished;
use crate::statistics::mean;
use crate::value::Calibration;

/// The figures of an agent: named ones of the last update, how many updates there were, and how all predictions so far compare
/// with what came.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    named: Vec<(&'static str, f64)>,
    /// Whether the update has made a step.
    stepped: bool,
    updates: u64,
    skipped: u64,
    entropy: Option<f64>,
    calibration: Calibration,
}

impl Figures {
    /// Begins another update: its figures take the place of the last one's.
    pub fn begin(&mut self) {
        self.named.clear();
        self.stepped = false;
        self.updates += 1;
    }

    /// Takes note of a figure, unless it does not exist: the mean of no reward, the variance explained where there is none.
    pub fn set(&mut self, name: &'static str, figure: f64) {
        if figure.is_finite() {
            self.named.push((name, figure));
        }
    }

    /// Takes note of a step of the policy on `batch`. Of several in one update the first shows the policy as it was: its
    /// `policy_loss`, `entropy` and `grad_norm` stand for all.
    pub fn updated(&mut self, step: &Update, batch: &[&Episode]) {
        self.count(step);
        if !std::mem::replace(&mut self.stepped, true) {
            self.set("policy_loss", step.policy_loss);
            self.set("entropy", step.entropy);
            self.set("grad_norm", step.grad_norm);
            self.entropy = normalised(step.entropy, batch);
        }
    }

    /// Takes note of a step whose figures do not stand for the update.
    pub fn count(&mut self, step: &Update) {
        self.skipped += u64::from(step.skipped);
    }

    /// The number of updates.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The policy's entropy at the last update, as a share of an even policy's; none before it and where nothing can be chosen.
    pub fn entropy(&self) -> Option<f64> {
        self.entropy
    }

    /// Takes note of how the `values` expected before every choice compare with what came.
    pub fn expected(&mut self, values: &[f64], returns: &[f64]) {
        self.calibration.push(values, returns);
        let errors: Vec<f64> = returns.iter().zip(values).map(|(r, v)| r - v).collect();
        self.set("value_loss", mean(&errors.iter().map(|e| e * e).collect::<Vec<f64>>()));
        self.set("explained_variance", 1.0 - variance(&errors) / variance(returns));
        self.set("baseline", mean(values));
    }

    /// The mean of the rewards that were learned from.
    pub fn learned_from(&mut self, finished: &[Finished]) {
        self.set("reward_mean", mean(&finished.iter().filter_map(|f| f.reward).collect::<Vec<f64>>()));
    }

    /// Shows what is looked back on; the figures of an update come with the next one.
    pub fn state(&mut self, state: &mut State) {
        state.field("updates", &mut self.updates);
        state.field("skipped", &mut self.skipped);
        state.field("entropy", &mut self.entropy);
        state.field("calibration", &mut self.calibration);
    }

    /// All of them by name; `updates` and `skipped_updates`, steps left out because something was not finite, among them.
    pub fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        self.named.iter().for_each(|&(name, figure)| diagnostics.set(name, figure));
        if !self.named.is_empty() {
            diagnostics.set("updates", self.updates as f64);
            diagnostics.set("skipped_updates", self.skipped as f64);
        }
        self.calibration.reliability().into_iter().for_each(|reliability| reliability.write(&mut diagnostics));
        diagnostics
    }
}

/// The mean entropy of a step as a share of an even policy's; none where nothing can be chosen.
fn normalised(entropy: f64, batch: &[&Episode]) -> Option<f64> {
    let even: f64 = batch.iter().map(|episode| episode.even_entropy()).sum();
    let steps: usize = batch.iter().map(|episode| episode.len()).sum();
    (even > 0.0).then(|| entropy * steps as f64 / even).filter(|share| share.is_finite())
}

/// The mean squared distance from the mean.
pub(crate) fn variance(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64
}
