//! Published benchmarks of architecture search as tables: what was measured of every architecture, looked up in nanoseconds.
//!
//! A [`Table`] holds the space, its metrics and its tasks with the rule for what an evaluation takes.
//! [`Table::nas_bench_201`] is part of the library; others are made by [`import`] or [`CsvImport`] and kept in one compact,
//! checksummed file. A table is an [`Evaluator`](crate::Evaluator) too, through [`TableEvaluator`]. Where tables end, at spaces
//! of tens of decisions and searches of thousands of evaluations, [`Planted`] landscapes have a best that is known too.

mod about;
mod column;
mod error;
mod evaluator;
mod file;
mod import;
pub mod nasbench101;
mod planted;
mod simulation;
mod table;
mod workers;

pub use about::{About, Charge, MetricInfo, Provenance, Task};
pub use error::BenchmarkError;
pub use evaluator::TableEvaluator;
pub use import::{CsvImport, import};
pub use planted::{Landscape, Planted};
pub use simulation::{Limit, Reward, Simulation, Trace};
pub use table::{Metric, Table};
pub use workers::{Race, Schedule};
