//! Who measures an architecture, and how it reports while it does.

mod process;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::{Event, Observer};
use crate::{Failure, Metrics, Trial};

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
}

impl<'a> Reporter<'a> {
    /// A reporter for the trial with that number.
    pub fn new(trial: u64, observer: &'a dyn Observer, stop: &'a AtomicBool) -> Self {
        Reporter { trial, observer, stop: [stop, stop] }
    }

    /// A reporter that gives up when either flag is set.
    pub(crate) fn with_flags(trial: u64, observer: &'a dyn Observer, stop: [&'a AtomicBool; 2]) -> Self {
        Reporter { trial, observer, stop }
    }

    /// Tells that `epoch` (from 1) of `epochs` is done, with what was measured in it.
    pub fn epoch(&mut self, epoch: u32, epochs: u32, metrics: &Metrics) {
        self.observer.event(&Event::Epoch { trial: self.trial, epoch, epochs, metrics });
    }

    /// Whether to give up now with [`Failure::Interrupted`]. Ask often: once a batch.
    pub fn interrupted(&self) -> bool {
        self.stop.iter().any(|flag| flag.load(Ordering::Relaxed))
    }
}
