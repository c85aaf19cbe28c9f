//! Who measures an architecture, and how it reports while it does.

mod process;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::early_stopping::Bars;
use crate::event::{Event, Observer};
use crate::{Failure, Metrics, Objective, Trial};

pub use process::ProcessEvaluator;

/// Measures architectures: usually by training a network.
///
/// It is called from several threads at once, and everything it returns must follow from the trial alone
/// (architecture and seed), so that a study is the same for any number of threads.
pub trait Evaluator: Sync {
    /// The metrics of `trial`, or why there are none. A panic is caught and becomes [`Failure::Panicked`].
    fn evaluate(&self, trial: &Trial, report: &mut Reporter<'_>) -> Result<Metrics, Failure>;
}

/// How an evaluator tells the study of its progress and hears that it should stop.
pub struct Reporter<'a> {
    trial: u64,
    observer: &'a dyn Observer,
    /// The user's wish to stop, and the study's own when it cannot go on.
    stop: [&'a AtomicBool; 2],
    judge: Option<Judge<'a>>,
}

/// What decides whether a trial goes on.
struct Judge<'a> {
    bars: &'a Bars,
    objective: &'a Objective,
    /// By epoch, in order.
    rewards: Vec<(u32, f64)>,
    /// The epoch it was stopped after.
    stopped: Option<u32>,
}

impl<'a> Reporter<'a> {
    /// A reporter for the trial with that number.
    pub fn new(trial: u64, observer: &'a dyn Observer, stop: &'a AtomicBool) -> Self {
        Reporter { trial, observer, stop: [stop, stop], judge: None }
    }

    /// A reporter that gives up when either flag is set.
    pub(crate) fn with_flags(trial: u64, observer: &'a dyn Observer, stop: [&'a AtomicBool; 2]) -> Self {
        Reporter { trial, observer, stop, judge: None }
    }

    /// The same for a trial that may be stopped early.
    pub(crate) fn judged(self, bars: &'a Bars, objective: &'a Objective) -> Self {
        Reporter { judge: Some(Judge { bars, objective, rewards: Vec::new(), stopped: None }), ..self }
    }

    /// The rewards at the rungs, and the epoch after which the trial was stopped.
    pub(crate) fn judgement(self) -> (Vec<(u32, f64)>, Option<u32>) {
        self.judge.map_or_else(Default::default, |judge| (judge.rewards, judge.stopped))
    }

    /// Tells that `epoch` (from 1) of `epochs` is done, with what was measured in it.
    pub fn epoch(&mut self, epoch: u32, epochs: u32, metrics: &Metrics) {
        self.observer.event(&Event::Epoch { trial: self.trial, epoch, epochs, metrics });
    }

    /// Whether the trial may be stopped early.
    pub fn is_judged(&self) -> bool {
        self.judge.is_some()
    }

    /// Whether the trial is judged after that epoch (from 1): then measure it as if it were the last, and ask
    /// [`Reporter::goes_on`]. Never so in a study without [`EarlyStopping`](crate::EarlyStopping). Do not ask after the last epoch.
    pub fn is_rung(&self, epoch: u32) -> bool {
        self.judge.as_ref().is_some_and(|judge| judge.bars.is_rung(epoch))
    }

    /// Whether a trial with these metrics after `epoch` epochs is worth the others; if not, return them as its result.
    ///
    /// # Errors
    /// The [`Failure`] to return when the objective finds no reward in the metrics.
    pub fn goes_on(&mut self, epoch: u32, metrics: &Metrics) -> Result<bool, Failure> {
        let Some(judge) = &mut self.judge else { return Ok(true) };
        judge.rewards.push((epoch, judge.objective.reward(metrics)?));
        let goes_on = judge.bars.goes_on(epoch, &judge.rewards);
        if !goes_on {
            judge.stopped = Some(epoch);
        }
        Ok(goes_on)
    }

    /// Whether to give up now with [`Failure::Interrupted`]. Ask often: once a batch.
    pub fn interrupted(&self) -> bool {
        self.stop.iter().any(|flag| flag.load(Ordering::Relaxed))
    }
}
