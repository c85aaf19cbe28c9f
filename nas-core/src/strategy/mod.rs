//! Who chooses what to try next: propose, observe, repeat.

mod evolution;
mod local_search;
mod pending;
mod random;
mod snapshot;
#[cfg(test)]
mod testing;
mod tpe;
mod unseen;
mod warm_start;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::{Origin, Tokens};

pub use evolution::Evolution;
pub use local_search::LocalSearch;
pub use pending::Pending;
pub use random::RandomSearch;
pub use snapshot::{Snapshot, SnapshotError, State, bits};
pub use tpe::Tpe;
pub use unseen::Unseen;
pub use warm_start::{SourceTrial, WarmStart};

/// What a strategy says of itself after an observation, under the field's names: `entropy`, `policy_loss`, …
///
/// Empty when nothing was updated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics(pub BTreeMap<String, f64>);

impl Diagnostics {
    /// The figure called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Sets a figure.
    pub fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }
}

/// An architecture that a strategy wants to see tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What to build; [`SearchSpace::architecture`](crate::SearchSpace::architecture) says it in words.
    pub tokens: Tokens,
    /// Who chose it.
    pub origin: Origin,
}

/// What came of a trial, as a strategy is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The trial's number.
    pub number: u64,
    /// What was tried: the tokens proposed, or the nearest to what a user gave.
    pub tokens: Tokens,
    /// What it was worth; nothing when it failed.
    pub reward: Option<f64>,
    /// Who chose it.
    pub origin: Origin,
}

/// Chooses what to try next.
///
/// A strategy is a function of its seed and of the sequence of calls made to it: no clock, no thread-local generator.
/// A study replays its stored trials through these two calls to resume exactly where it stopped.
///
/// Any number of proposals may be made before the first is observed, and they may be observed in any order: what was
/// proposed and not yet observed, a strategy keeps in mind itself ([`Pending`]). Trials that it did not propose may be
/// shown to it too. Neither call allocates for what is only said: figures are asked for by
/// [`diagnostics`](Self::diagnostics).
///
/// ```
/// use nas_core::strategy::{Evolution, Observed, Strategy as _};
/// use nas_core::{SearchSpace, Seed};
///
/// let space = SearchSpace::builder("s").choice("op", ["conv", "pool", "skip"]).integer("width", 1..=64).build()?;
/// let mut evolution = Evolution::new(space.clone(), Seed::new(1));
/// let mut best = 0.0_f64;
/// for number in 0..100 {
///     let Some(proposal) = evolution.propose()? else { break };
///     let architecture = space.architecture(&proposal.tokens)?;
///     let reward = architecture.float("width")? - f64::from(u8::from(architecture.choice("op")? == "skip"));
///     best = best.max(reward);
///     let (tokens, origin) = (proposal.tokens, proposal.origin);
///     evolution.observe(&Observed { number, tokens, reward: Some(reward), origin })?;
/// }
/// assert_eq!(best, 64.0);
/// # Ok::<(), nas_core::Error>(())
/// ```
pub trait Strategy: Send {
    /// The name it is stored under: `random`, `evolution`, `reinforce`.
    fn name(&self) -> &'static str;

    /// An architecture to try next; none when the space is exhausted. What was proposed or observed before is never
    /// proposed again, except by strategies that say so.
    ///
    /// # Errors
    /// When the strategy cannot go on, for example because its policy is no longer finite.
    fn propose(&mut self) -> Result<Option<Proposal>, Error>;

    /// Learns from a finished trial. A study shows its trials in trial order, each once.
    ///
    /// # Errors
    /// When the strategy cannot go on.
    fn observe(&mut self, observed: &Observed) -> Result<(), Error>;

    /// Begins with what another study of the same space found: `source` are its finished trials in their order, with the
    /// numbers and rewards that they have there. To be called once, before anything else. What was tried there may be
    /// proposed, and rewards of both are never compared by their size.
    ///
    /// # Errors
    /// [`Error::Cold`] by every strategy that learns nothing which it could begin with, [`Error::WarmStart`] when no trial is
    /// complete, [`Error::Architecture`] when one is none of the space's; then nothing has changed.
    fn warm_start(&mut self, source: &[Observed]) -> Result<(), Error> {
        let _ = source;
        Err(Error::Cold { strategy: self.name().to_owned() })
    }

    /// Shows `state` everything that calls change, for a [`Snapshot`]; a strategy that does not keep to it has none.
    fn state(&mut self, state: &mut State) {
        state.unsupported(&format!("the strategy \"{}\"", self.name()));
    }

    /// What the last observation changed; empty when nothing was updated.
    fn diagnostics(&self) -> Diagnostics {
        Diagnostics::default()
    }

    /// How likely it now is to choose each option, slot by slot as [`SearchSpace::slots`](crate::SearchSpace::slots) lists
    /// them; a slot's figures add up to the probability that it is open. Nothing when it has no policy. Asking changes
    /// nothing.
    fn probabilities(&mut self) -> Option<Vec<Vec<f64>>> {
        None
    }

    /// Why nothing more is to be expected, once the strategy has settled.
    fn converged(&self) -> Option<String> {
        None
    }
}
