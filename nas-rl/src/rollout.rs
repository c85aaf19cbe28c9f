//! What an agent learns from: episodes and what they were worth.

use crate::environment::Episode;

/// A finished episode.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// What was chosen, and how.
    pub episode: Episode,
    /// What it was worth; nothing when it failed.
    pub reward: Option<f64>,
    /// Whether the agent's policy drew it; others teach the value function and the ranking, not the policy.
    pub on_policy: bool,
}

/// The episodes since the last update, in trial order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rollout {
    /// The episodes.
    pub finished: Vec<Finished>,
}
