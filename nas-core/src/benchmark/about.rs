//! What a table says of itself: its figures, where they come from, and the tasks that can be searched on it.

use serde::{Deserialize, Serialize};

use crate::Direction;

/// Where a table comes from and what can be searched on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The name it is called by: `nas-bench-201`.
    pub name: String,
    /// What it is, in a line.
    pub title: String,
    /// Who published it, and through whose hands it came.
    pub source: String,
    /// The licence of the figures.
    pub licence: String,
    /// The searches that it can simulate; at least one.
    pub tasks: Vec<Task>,
}

/// A search that a table can simulate: usually a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The name it is called by: `cifar10`.
    pub name: String,
    /// The metric that a search is judged by, and, without a [`signal`](Self::signal), also rewarded with.
    pub objective: String,
    /// The cheaper metric that a realistic search is rewarded with, if the table has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What one evaluation of the signal takes, in seconds: the sum of metrics, each times a factor. Empty when the table
    /// has no times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock: Vec<Charge>,
}

/// A part of what an evaluation takes: seconds = metric × factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charge {
    /// The metric, in seconds.
    pub metric: String,
    /// How often it is charged.
    pub factor: f64,
}

/// What a column of figures is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricInfo {
    /// The name it is called by: `cifar10_test_200`.
    pub name: String,
    /// Which way it is better, if it is an aim at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Its unit, empty for a plain number: `%`, `s`, `ms`, `M`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What a figure of it stands for.
    pub kind: Provenance,
    /// Anything else a reader must know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// How the figures of a metric came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Provenance {
    /// Follows from the architecture: a count, an index.
    Exact,
    /// The average of all runs that were made.
    Mean,
    /// One run, so it is noisy.
    OneRun,
    /// Measured on a device, so it is noisy.
    Measured,
    /// Measured for some rows and modelled for the others.
    Modelled,
    /// The source does not say.
    Unstated,
}

impl MetricInfo {
    /// A metric without a note.
    pub fn new(name: &str, direction: Option<Direction>, unit: &str, kind: Provenance) -> Self {
        MetricInfo { name: name.to_owned(), direction, unit: unit.to_owned(), kind, note: String::new() }
    }

    /// The same metric with a note.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }
}
