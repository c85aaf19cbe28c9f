//! Who chooses what to try next: propose, observe, repeat.

mod evolution;
mod random;
mod unseen;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::{Proposal, Trial};

pub use evolution::Evolution;
pub use random::RandomSearch;
pub use unseen::Unseen;

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

/// Chooses what to try next.
///
/// A strategy is a function of its seed and of the sequence of calls made to it: no clock, no thread-local generator.
/// A study replays its stored trials through these two calls to resume exactly where it stopped.
pub trait Strategy: Send {
    /// The name it is stored under: `random`, `evolution`, `reinforce`.
    fn name(&self) -> &'static str;

    /// Up to `n` architectures to try next; fewer, or none, when the space is exhausted. An architecture that was
    /// proposed before is never proposed again.
    ///
    /// # Errors
    /// When the strategy cannot go on, for example because its policy is no longer finite.
    fn propose(&mut self, n: usize) -> Result<Vec<Proposal>, Error>;

    /// Learns from finished trials, given in trial order, each once.
    ///
    /// # Errors
    /// When the strategy cannot go on.
    fn observe(&mut self, finished: &[Trial]) -> Result<Diagnostics, Error>;

    /// Why nothing more is to be expected, once the strategy has settled.
    fn converged(&self) -> Option<String> {
        None
    }
}
