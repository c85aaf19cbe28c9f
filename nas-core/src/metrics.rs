//! What was measured of a trained network.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Named figures of one trial: `accuracy`, `loss`, `parameters`, `madds`, `memory`, …
///
/// Only what the seed decides belongs here; durations are kept apart, in [`Trial::seconds`](crate::Trial::seconds).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics {
    values: BTreeMap<String, f64>,
}

impl Metrics {
    /// No figures yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same figures and one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.set(name, value);
        self
    }

    /// The same figures and all of `others`, which win where both have one.
    #[must_use]
    pub fn and(mut self, others: &Metrics) -> Self {
        for (name, value) in others.iter() {
            self.set(name, value);
        }
        self
    }

    /// Sets a figure.
    pub fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    /// The figure called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    /// All figures in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|(name, value)| (name.as_str(), *value))
    }
}
