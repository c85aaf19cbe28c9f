//! What an agent learns from: episodes and what they were worth.

use serde::{Deserialize, Serialize};

use crate::environment::Episode;

/// A finished episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The number of its trial.
    pub number: u64,
    /// What was chosen, and how.
    pub episode: Episode,
    /// What it was worth; nothing when it failed.
    pub reward: Option<f64>,
    /// Who drew it.
    pub drawn: Drawn,
}

/// Who drew an episode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Drawn {
    /// The agent's policy.
    Policy {
        /// ln π of the episode when it was drawn.
        #[serde(with = "nas_core::strategy::bits")]
        log_prob: f64,
        /// How often the policy was updated since.
        age: u64,
    },
    /// Something else, which drew it with a probability whose logarithm is `log_prob`.
    Elsewhere {
        /// ln μ.
        #[serde(with = "nas_core::strategy::bits")]
        log_prob: f64,
    },
}
