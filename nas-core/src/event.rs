//! What happens in a study, for those who listen: progress bars, logs, dashboards. Listeners can change nothing.

use crate::strategy::Diagnostics;
use crate::{Metrics, Trial};

/// Something that happened in a study.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A trial was stored and its evaluation began.
    Started {
        /// The trial.
        trial: &'a Trial,
    },
    /// An epoch of a running trial is done.
    Epoch {
        /// The trial's number.
        trial: u64,
        /// The epoch, from 1.
        epoch: u32,
        /// How many there will be.
        epochs: u32,
        /// What was measured.
        metrics: &'a Metrics,
    },
    /// A trial was finished and stored. Finished trials arrive in the order they end, not in trial order.
    Finished {
        /// The trial, complete or failed.
        trial: &'a Trial,
    },
    /// The strategy observed a trial; these arrive in trial order.
    Observed {
        /// The trial.
        trial: &'a Trial,
        /// Whether its reward is the best so far.
        best: bool,
        /// What the strategy says of itself.
        diagnostics: &'a Diagnostics,
    },
    /// No further trial will be started, apart from those already proposed. Heard again when another reason comes
    /// before the study has stopped: an interruption while the last trials run.
    Stopping {
        /// Why, as a clause: `60 s are over`.
        reason: &'a StopReason,
    },
}

/// Why a study stopped.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StopReason {
    /// The number of trials asked for exists.
    Trials(u64),
    /// The time given is over.
    Time(std::time::Duration),
    /// The strategy has converged; its own words.
    Converged(String),
    /// The strategy has nothing left to propose.
    Exhausted,
    /// Somebody asked it to stop.
    Interrupted,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StopReason::Trials(n) => write!(f, "all {n} trials are done"),
            StopReason::Time(time) => write!(f, "the {} s are over", time.as_secs_f64()),
            StopReason::Converged(why) => write!(f, "the search has converged: {why}"),
            StopReason::Exhausted => f.write_str("every architecture of the space was tried"),
            StopReason::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// Listens to a study. Called from several threads.
pub trait Observer: Sync {
    /// Hears of `event`.
    fn event(&self, event: &Event<'_>);
}

/// Nobody listens.
impl Observer for () {
    fn event(&self, _: &Event<'_>) {}
}
