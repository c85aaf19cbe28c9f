//! How long a study may run, and what came of it.

use std::time::Duration;

use crate::Trial;
use crate::error::Error;
use crate::event::StopReason;

/// How long a study may run. Without a limit it runs until it converges, is exhausted or is interrupted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// How many trials the study may have in all, those of earlier runs included.
    pub trials: Option<u64>,
    /// How long this run may start trials; those running then are finished.
    pub time: Option<Duration>,
}

impl Budget {
    /// That many trials in all.
    pub const fn trials(trials: u64) -> Self {
        Budget { trials: Some(trials), time: None }
    }

    /// That much time for this run.
    pub const fn time(time: Duration) -> Self {
        Budget { trials: None, time: Some(time) }
    }

    /// # Errors
    /// [`Error::Budget`] when nothing could be tried.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.trials == Some(0) {
            return Err(Error::Budget("a budget of 0 trials tries nothing; give at least 1".to_owned()));
        }
        if self.time == Some(Duration::ZERO) {
            return Err(Error::Budget("a budget of 0 s tries nothing; give more time".to_owned()));
        }
        Ok(())
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why it stopped.
    pub reason: StopReason,
    /// How many trials the study has now.
    pub trials: u64,
    /// How many of them are complete.
    pub complete: u64,
    /// How many of them failed. The rest were interrupted, and are run again on resume.
    pub failed: u64,
    /// The complete trial with the highest reward, if there is one.
    pub best: Option<Trial>,
    /// How long this run took.
    pub elapsed: Duration,
}
