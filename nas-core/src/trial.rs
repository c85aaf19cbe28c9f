//! One architecture, tried: its record from proposal to reward.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Architecture, Metrics, Seed};

/// Who chose an architecture, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Origin {
    /// Drawn uniformly from the space.
    Random,
    /// Sampled from a learned policy after `updates` of it.
    Policy {
        /// How often the policy had been updated.
        updates: u64,
    },
    /// An earlier trial with one decision changed.
    Mutation {
        /// The number of that trial.
        parent: u64,
    },
    /// Taken from the study that this one was warm-started from, as it was or with one decision changed.
    Source {
        /// The number that the trial has there.
        trial: u64,
    },
    /// Given by the user.
    Given,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Random => f.write_str("random"),
            Origin::Policy { updates } => write!(f, "policy (update {updates})"),
            Origin::Mutation { parent } => write!(f, "mutation of {parent}"),
            Origin::Source { trial } => write!(f, "trial {trial} of the source"),
            Origin::Given => f.write_str("given"),
        }
    }
}

/// Why a trial has no metrics. A failed trial is data: the study goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Failure {
    /// The loss stopped being a finite number.
    #[error("diverged: the loss was {loss} in epoch {epoch}")]
    Diverged {
        /// The epoch, from 1.
        epoch: u32,
        /// The loss as text (`NaN`, `inf`), which JSON numbers cannot hold.
        loss: String,
    },
    /// Training would need more memory than is allowed; known before anything was allocated.
    #[error("would not fit: training needs {needed} bytes and the limit is {limit}")]
    OutOfMemory {
        /// Bytes the program would hold.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The code that trains it panicked.
    #[error("panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// It ran longer than it may.
    #[error("ran out of time after {seconds} s")]
    TimedOut {
        /// The limit in seconds.
        seconds: u64,
    },
    /// The architecture describes no network that can be built for this task.
    #[error("cannot be built: {message}")]
    Infeasible {
        /// What does not fit, with the numbers.
        message: String,
    },
    /// Anything else that went wrong while it was evaluated.
    #[error("{message}")]
    Other {
        /// What happened.
        message: String,
    },
    /// The study was asked to stop. Never stored: the trial stays running and is run again on resume.
    #[error("interrupted")]
    Interrupted,
}

/// Where a trial stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TrialState {
    /// Proposed and stored; being evaluated, or it was when the process died.
    Running,
    /// Evaluated.
    Complete {
        /// What was measured.
        metrics: Metrics,
        /// The objective's reward for it, finite.
        reward: f64,
    },
    /// Evaluated without a result.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// One architecture, tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its place in the study, from 0.
    pub number: u64,
    /// What was built.
    pub architecture: Architecture,
    /// Who chose it.
    pub origin: Origin,
    /// The seed of every draw made while evaluating it.
    pub seed: Seed,
    /// Where it stands.
    #[serde(flatten)]
    pub state: TrialState,
    /// How long the evaluation took; zero while running. The one field that is not decided by the seed.
    pub seconds: f64,
}

impl Trial {
    /// The reward of a complete trial.
    pub fn reward(&self) -> Option<f64> {
        match &self.state {
            TrialState::Complete { reward, .. } => Some(*reward),
            _ => None,
        }
    }

    /// The metrics of a complete trial.
    pub fn metrics(&self) -> Option<&Metrics> {
        match &self.state {
            TrialState::Complete { metrics, .. } => Some(metrics),
            _ => None,
        }
    }

    /// The figure `name` of a complete trial.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics().and_then(|metrics| metrics.get(name))
    }

    /// Whether it is complete or failed.
    pub fn is_finished(&self) -> bool {
        !matches!(self.state, TrialState::Running)
    }
}
