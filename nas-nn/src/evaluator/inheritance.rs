//! Weights that a child inherits: it starts from the parameters that it shares with its nearest evaluated relative (Real et al., 2017, §3.4;
//! ENAS shares one set among all).
//!
//! A child that starts trained looks better after few epochs, and the more so the longer its line of ancestors was trained: rewards then
//! compare lines, not only architectures. Networks that are trained in the end never inherit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nas_core::{Architecture, Failure};

use crate::family::{self, Family, Task};
use crate::graph::Graph;
use crate::params::Params;

/// The parameters of evaluated children, in a folder.
#[derive(Debug)]
pub struct Inheritance {
    folder: PathBuf,
    /// A trial knows those that are at least so much older.
    lag: u64,
    /// The architectures whose parameters are in the folder, by trial.
    evaluated: Mutex<BTreeMap<u64, Architecture>>,
}

/// What a child inherited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Inherited {
    /// The trial of the relative.
    pub(crate) from: u64,
    /// The share of the child's parameters.
    pub(crate) share: f64,
}

impl Inheritance {
    /// Parameters in `folder`, which exists, of the trials `evaluated` so far. Trial *n* inherits from trials up to *n* − `lag`, those that
    /// had been observed when it was proposed: so it does not depend on which of two trials that run side by side ends first.
    pub fn new(folder: &Path, lag: usize, evaluated: impl IntoIterator<Item = (u64, Architecture)>) -> Self {
        Inheritance {
            folder: folder.to_owned(),
            lag: lag as u64,
            evaluated: Mutex::new(evaluated.into_iter().collect()),
        }
    }

    fn file(&self, trial: u64) -> PathBuf {
        self.folder.join(format!("{trial}.safetensors"))
    }

    /// The trial that trial `number` with `architecture` inherits from: that which shares most of the decisions that either has; the latest
    /// of several.
    fn relative(&self, number: u64, architecture: &Architecture) -> Option<(u64, Architecture)> {
        let evaluated = self.evaluated.lock().expect("nobody panics with it");
        let known = evaluated.range(..number.checked_sub(self.lag)? + 1);
        let likeness = |other: &Architecture| {
            let common = architecture.iter().filter(|(path, value)| other.get(path) == Some(value)).count();
            common as f64 / (architecture.len() + other.len() - common).max(1) as f64
        };
        let best = known.map(|(trial, other)| (likeness(other), trial, other));
        let (_, trial, other) = best.max_by(|(a, m, _), (b, n, _)| a.total_cmp(b).then(m.cmp(n)))?;
        Some((*trial, other.clone()))
    }

    /// Copies into `params`, freshly drawn for `architecture`, the tensors that its nearest relative has at the same paths and with the same
    /// sizes. None if there is no relative yet.
    pub(crate) fn inherit(
        &self,
        number: u64,
        architecture: &Architecture,
        family: &dyn Family,
        task: &Task,
        params: &mut Params,
    ) -> Result<Option<Inherited>, Failure> {
        let Some((from, relative)) = self.relative(number, architecture) else { return Ok(None) };
        let lost = |why: String| Failure::Other { message: format!("the parameters of trial {from}: {why}") };
        let graph = Graph::new();
        family::model(&graph, family, &relative, task, 0.0).map_err(|e| lost(e.to_string()))?;
        let old = Params::load(&graph, &self.file(from)).map_err(|e| lost(e.to_string()))?;
        let shared: Vec<_> =
            old.tensors().filter(|t| params.get(t.path).is_some_and(|own| own.dims == t.dims)).collect();
        for tensor in &shared {
            params.set(tensor.path, tensor.dims, tensor.values).map_err(|e| lost(e.to_string()))?;
        }
        let trained = |path: &str| graph.parameters().iter().any(|p| p.path == path);
        let count: usize = shared.iter().filter(|t| trained(t.path)).map(|t| t.values.len()).sum();
        Ok(Some(Inherited { from, share: count as f64 / params.len().max(1) as f64 }))
    }

    /// Keeps the parameters of a trained child.
    pub(crate) fn keep(&self, number: u64, architecture: &Architecture, params: &Params) -> Result<(), Failure> {
        let file = self.file(number);
        let failed = |why: String| Failure::Other { message: format!("keeping its parameters: {why}") };
        // A trial that was interrupted behind this line runs again, with the same result.
        if file.exists() {
            std::fs::remove_file(&file).map_err(|e| failed(e.to_string()))?;
        }
        params.save(&file).map_err(|e| failed(e.to_string()))?;
        self.evaluated.lock().expect("nobody panics with it").insert(number, architecture.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::family::CnnCell;

    const TASK: Task = Task::Image { channels: 1, height: 8, width: 8, classes: 3 };

    fn fresh(architecture: &Architecture, seed: u64) -> Params {
        let graph = Graph::new();
        family::model(&graph, &CnnCell, architecture, &TASK, 0.0).unwrap();
        Params::init(&graph, &mut Seed::new(seed).stream(Purpose::Init, 0))
    }

    fn default(operation: &str) -> Architecture {
        CnnCell.default_architecture().with("cell.op_0_1", operation.into())
    }

    #[test]
    fn the_nearest_that_was_observed_passes_on_what_fits() {
        let folder = tempfile::tempdir().unwrap();
        let inheritance = Inheritance::new(folder.path(), 2, []);
        let (near, far) = (default("conv1x1"), default("none").with("cell.op_1_2", "none".into()));
        for (trial, architecture) in [(0, &near), (1, &far), (2, &near)] {
            inheritance.keep(trial, architecture, &fresh(architecture, trial)).unwrap();
        }
        let inherit = |number: u64, architecture: &Architecture| {
            let mut params = fresh(architecture, 9);
            (inheritance.inherit(number, architecture, &CnnCell, &TASK, &mut params).unwrap(), params)
        };
        assert_eq!(inherit(1, &near).0, None, "nothing was observed yet");
        assert_eq!(inherit(3, &near).0.map(|i| i.from), Some(0), "trial 2 runs beside it");
        let (inherited, params) = inherit(4, &near);
        assert_eq!(inherited, Some(Inherited { from: 2, share: 1.0 }));
        assert_eq!(params.values(), fresh(&near, 2).values());
        assert_eq!(inherit(3, &far).0.map(|i| i.from), Some(1));

        let wider = default("conv3x3");
        let (inherited, params) = inherit(4, &wider);
        let share = inherited.unwrap().share;
        assert!(share > 0.1 && share < 1.0, "{share}");
        let [own, drawn, old] = [&params, &fresh(&wider, 9), &fresh(&near, 2)]
            .map(|p| p.get("head.linear.weight").unwrap().values.to_vec());
        assert!(own == old && own != drawn);
    }

    #[test]
    fn a_lost_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let inheritance = Inheritance::new(folder.path(), 1, [(0, default("skip"))]);
        let mut params = fresh(&default("skip"), 0);
        let error = inheritance.inherit(1, &default("skip"), &CnnCell, &TASK, &mut params).unwrap_err();
        assert!(error.to_string().contains("the parameters of trial 0"), "{error}");
    }
}
