//! Search spaces, architectures, objectives, trials, studies, strategies and storage.

pub mod architecture;
mod error;
mod evaluator;
mod event;
mod metrics;
mod objective;
mod seed;
pub mod space;
pub mod storage;
pub mod strategy;
mod study;
mod trial;

pub use architecture::{Architecture, Value};
pub use error::{ArchitectureError, Error, SpaceError};
pub use evaluator::{Evaluator, Reporter};
pub use event::{Event, Observer, StopReason};
pub use metrics::Metrics;
pub use objective::{Direction, Objective};
pub use seed::{Purpose, Rng, Seed};
pub use space::SearchSpace;
#[cfg(feature = "sqlite")]
pub use storage::SqliteStorage;
pub use storage::{MemoryStorage, Storage, StudyRecord};
pub use strategy::{Diagnostics, Strategy};
pub use study::{Budget, Outcome, Study};
pub use trial::{Failure, Origin, Proposal, Trial, TrialState};
