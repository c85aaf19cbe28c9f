//! Where a study is kept.

mod memory;
#[cfg(feature = "sqlite")]
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
pub(crate) mod testing;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::strategy::{Diagnostics, WarmStart};
use crate::{EarlyStopping, Objective, SearchSpace, Seed, Trial};

pub use memory::MemoryStorage;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStorage;

/// What a study is: everything that decides its trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyRecord {
    /// The space searched.
    pub space: SearchSpace,
    /// The goal.
    pub objective: Objective,
    /// The seed of every draw.
    pub seed: Seed,
    /// The strategy's name.
    pub strategy: String,
    /// How many trials may be proposed ahead of the last one observed, from 1; part of the study, not of the machine.
    /// Usually [`StudyRecord::LAG`].
    pub lag: usize,
    /// The rule by which trials are stopped early, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// The trials of another study that the strategy begins with; usually none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<WarmStart>,
    /// Whatever the application needs to go on: data set, epochs, limits. JSON.
    pub configuration: serde_json::Value,
}

impl StudyRecord {
    /// The usual [`lag`](StudyRecord::lag): keeps four cores busy, and a policy is at most three trials behind.
    pub const LAG: usize = 4;
}

/// Keeps one study. Every call is durable when it returns.
pub trait Storage: Send + Sync {
    /// Where the study is kept, for messages.
    fn path(&self) -> &Path;

    /// Stores a new study.
    ///
    /// # Errors
    /// When there is one already, or it cannot be written.
    fn create(&self, study: &StudyRecord) -> Result<(), Error>;

    /// The study, if one was created.
    ///
    /// # Errors
    /// When it cannot be read.
    fn study(&self) -> Result<Option<StudyRecord>, Error>;

    /// Stores a trial, replacing the one with the same number.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put(&self, trial: &Trial) -> Result<(), Error>;

    /// All trials by number, from 0 without a gap.
    ///
    /// # Errors
    /// When they cannot be read.
    fn trials(&self) -> Result<Vec<Trial>, Error>;

    /// Stores what the strategy said after it observed the trial with that number.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put_diagnostics(&self, trial: u64, diagnostics: &Diagnostics) -> Result<(), Error>;

    /// What the strategy said, by the number of the trial it had observed.
    ///
    /// # Errors
    /// When it cannot be read.
    fn diagnostics(&self) -> Result<Vec<(u64, Diagnostics)>, Error>;
}
