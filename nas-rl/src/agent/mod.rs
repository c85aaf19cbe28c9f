//! Agents: policy, value function and update, one algorithm a file.

mod a2c;
mod entropy;
mod figures;
mod ppo;
mod pqt;
mod pqt_surrogate;
mod queue;
mod reinforce;
mod reinforce_nats;
mod risk_seeking;
mod self_imitation;
mod warm;

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Error, Observed, Origin, Rng};

use crate::environment::{Environment, Episode};
use crate::policy::{Policy, Sampled};
use crate::rollout::{Drawn, Finished};

pub use a2c::A2c;
pub use entropy::EntropyControl;
pub use figures::Figures;
pub(crate) use figures::variance;
pub use ppo::{Ppo, Ratio};
pub use pqt::Pqt;
pub use pqt_surrogate::PqtSurrogate;
pub use queue::{Entry, Queue};
pub use reinforce::Reinforce;
pub use reinforce_nats::ReinforceNats;
pub use risk_seeking::RiskSeeking;
pub use self_imitation::SelfImitation;

/// How a controller collects trials for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Trials that an update learns from; default 5.
    pub batch: usize,
    /// Trials drawn evenly before the policy is asked; default 10.
    pub warmup: u64,
    /// One trial in this many is drawn evenly, so that a study can always tell whether its policy is better than chance;
    /// default 10, none: no such trial.
    pub control: Option<u64>,
    /// Whether an architecture may be proposed again and is then paid for, as published settings do; default no.
    pub repeats: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { batch: 5, warmup: 10, control: Some(10), repeats: false }
    }
}

/// What an agent wants to see tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The episode, and ln π of it.
    pub sampled: Sampled,
    /// Where it comes from, if it is no plain draw from the policy.
    pub origin: Option<Origin>,
}

/// Acts, and learns from what came of it.
pub trait Agent: Send {
    /// The name it is stored under.
    fn name(&self) -> &'static str;

    /// How trials are collected for it.
    fn plan(&self) -> Plan {
        Plan::default()
    }

    /// Whether an update asks who drew its episodes, so that late ones are worth less: then batches grow with the number of
    /// trials under way.
    fn is_on_policy(&self) -> bool {
        true
    }

    /// An episode by its policy.
    ///
    /// # Errors
    /// Never for a policy that keeps to the masks.
    fn act(&mut self, environment: &Environment, rng: &mut Rng) -> Result<Action, ArchitectureError>;

    /// One update from finished episodes, in trial order.
    fn update(&mut self, finished: &[Finished]);

    /// Begins with what another study of the same space found: its finished trials, of which at least one is complete. The
    /// policy is fitted to the best of them; a value function begins fresh, since rewards of both are never compared.
    ///
    /// # Errors
    /// When a trial is none of the space's or none is complete; then nothing has changed.
    fn warm_start(&mut self, environment: &Environment, source: &[Observed]) -> Result<(), Error> {
        warm::start(&mut Queue::new(warm::IMITATED), self.policy(), environment, source)
    }

    /// Shows `state` all that updates change: policy, value function, queue, counters.
    fn state(&mut self, state: &mut State) {
        state.unsupported(&format!("the agent \"{}\"", self.name()));
    }

    /// What the last update did, and how many there were.
    fn figures(&self) -> &Figures;

    /// The policy.
    fn policy(&mut self) -> &mut dyn Policy;
}

/// A plain draw from the policy.
fn drawn(sampled: Sampled) -> Action {
    Action { sampled, origin: None }
}

/// The episodes of `finished`.
fn episodes(finished: &[Finished]) -> Vec<&Episode> {
    finished.iter().map(|finished| &finished.episode).collect()
}

/// `values`, one for each episode, for each of its choices.
fn spread(batch: &[&Episode], values: impl Iterator<Item = f64>) -> Vec<f64> {
    batch.iter().zip(values).flat_map(|(episode, value)| std::iter::repeat_n(value, episode.len())).collect()
}

/// ρ = min(1, π / μ) of every episode, the truncated importance weight of V-trace (Espeholt et al., 2018): 1 for what the
/// present policy drew. However old a draw is, it counts: with a hundred workers all are old, and an agent that left those
/// out learned nothing.
fn importance(policy: &mut dyn Policy, finished: &[Finished]) -> Vec<f64> {
    let mut log_probs = Vec::new();
    let mut weight = |finished: &Finished, log_mu: f64| {
        log_probs.clear();
        policy.log_probs(&[&finished.episode], &mut log_probs);
        (log_probs.iter().sum::<f64>() - log_mu).exp().min(1.0)
    };
    let weights = finished.iter().map(|finished| match finished.drawn {
        Drawn::Policy { age: 0, .. } => 1.0,
        Drawn::Policy { log_prob, .. } | Drawn::Elsewhere { log_prob } => weight(finished, log_prob),
    });
    weights.collect()
}
