//! Search spaces, architectures, objectives, trials, studies, strategies and storage for neural architecture search.
//!
//! A [`SearchSpace`] is a tree of named decisions; an [`Architecture`] is one option for every open one. A [`Strategy`]
//! proposes architectures and observes what came of them, an [`Evaluator`] measures one, and a [`Study`] is the loop and its
//! record: it stores a trial before its work begins, runs several at once, catches panics, and shows finished trials to the
//! strategy in trial order, so that the same seed gives the same study for any number of threads and after any death.
//!
//! This crate never sees a tensor: whatever can be measured can be searched.
//!
//! ```
//! use std::sync::{Arc, atomic::AtomicBool};
//!
//! use nas_core::strategy::RandomSearch;
//! use nas_core::{
//!     Budget, Evaluator, Failure, MemoryStorage, Metrics, Objective, Reporter, SearchSpace, Seed, Study, StudyRecord, Trial,
//! };
//!
//! struct Area;
//!
//! impl Evaluator for Area {
//!     fn evaluate(&self, trial: &Trial, _: &mut Reporter<'_>) -> Result<Metrics, Failure> {
//!         let side = |name| trial.architecture.integer(name).map_err(|e| Failure::Other { message: e.to_string() });
//!         Ok(Metrics::new().with("area", (side("width")? * side("height")?) as f64))
//!     }
//! }
//!
//! let space = SearchSpace::builder("box").integer("width", 1..=9).integer("height", 1..=9).build()?;
//! let record = StudyRecord {
//!     space: space.clone(),
//!     objective: Objective::maximize("area"),
//!     seed: Seed::new(1),
//!     strategy: "random".to_owned(),
//!     lag: StudyRecord::LAG,
//!     early_stopping: None,
//!     warm_start: None,
//!     configuration: serde_json::Value::Null,
//! };
//! let strategy = Box::new(RandomSearch::new(space, record.seed));
//! let mut study = Study::create(record, strategy, Arc::new(MemoryStorage::new()))?;
//! study.run(&Area, &Budget::trials(81), 2, &(), &AtomicBool::new(false))?;
//! assert_eq!(study.best().and_then(Trial::reward), Some(81.0));
//! # Ok::<(), nas_core::Error>(())
//! ```
//!
//! Features: `sqlite` (default) keeps a study in one SQLite file that others can query.

pub mod architecture;
pub mod benchmark;
mod early_stopping;
mod error;
mod evaluator;
mod event;
mod metrics;
pub mod objective;
mod seed;
pub mod space;
pub mod storage;
pub mod strategy;
mod study;
mod trial;

pub use architecture::{Architecture, Value};
pub use early_stopping::{EarlyStopping, STOPPED_AT};
pub use error::{ArchitectureError, Error, SpaceError};
pub use evaluator::{Evaluator, ProcessEvaluator, Reporter};
pub use event::{Event, Observer, StopReason};
pub use metrics::Metrics;
pub use objective::{Direction, Objective};
pub use seed::{Purpose, Rng, Seed};
pub use space::{SearchSpace, Tokens};
#[cfg(feature = "sqlite")]
pub use storage::SqliteStorage;
pub use storage::{MemoryStorage, Storage, StudyRecord};
pub use strategy::{Diagnostics, Observed, Proposal, Strategy, WarmStart};
pub use study::{Budget, Outcome, Study};
pub use trial::{Failure, Origin, Trial, TrialState};
