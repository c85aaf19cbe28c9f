//! Latency here: what inference takes on this machine, measured once and predicted from then on.
//!
//! A network's latency is the sum over the steps of its compiled [`Program`](crate::Program), after fusion. Steps of one kind (the operation,
//! and those of its settings that choose the loops it runs: `conv2d 3x3`) take time by one law, a sum of what they do: multiply-adds,
//! bytes, rows, and being called at all, each at a price that is fitted to measured steps of random networks ([`Calibration::measure`]).
//!
//! A step has the same price in every program. So a program of many thousands of steps, an unrolled recurrent cell, which outgrows the
//! caches, takes longer than predicted, by half in the worst case seen; nine in ten networks of every other family were within 17 %.
//!
//! ```no_run
//! use nas_nn::family::{CnnCell, Family as _};
//! use nas_nn::latency::{self, Calibration};
//!
//! let (calibration, _) = Calibration::measure(1, &mut |_, _| true)?;
//! let (task, architecture) = (CnnCell.usual_task(), CnnCell.default_architecture());
//! let predicted = calibration.predict(&CnnCell, &architecture, &task)?.seconds;
//! let measured = latency::measure(&CnnCell, &architecture, &task, 1)?;
//! println!("{predicted} s, measured {measured} s, usually off by {}", calibration.accuracy.median);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod draw;
mod file;
mod law;
mod measure;

use std::collections::BTreeMap;

use nas_core::Architecture;
use serde::{Deserialize, Serialize};

use crate::family::{self, Family, FamilyError, Task};
use crate::graph::Graph;
use crate::kernel;
use crate::program::Plan;

pub use file::CalibrationError;
pub use law::Law;
pub use measure::measure;

use law::{Group, Work};
use measure::{Measured, MeasuredStep};

/// Networks whose steps the laws are fitted to.
const FITTED: usize = 240;
/// Networks that the laws are checked on.
const CHECKED: usize = 50;
/// The kind of all steps together, for kinds that were never measured.
const ANY: &str = "any";

/// How long each kind of step takes on the machine it was measured on, by one thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The version of this form: 1.
    pub version: u32,
    /// The processor, as it calls itself.
    pub processor: String,
    /// The kernels it ran: `avx512`, `avx2` or `portable`.
    pub kernels: String,
    /// Examples in a batch, all of which a latency is for.
    pub batch: usize,
    /// The law of each kind of step; `any` is that of kinds which are not among them.
    pub laws: BTreeMap<String, Law>,
    /// How good its predictions were on networks that it had not seen.
    pub accuracy: Accuracy,
    /// A hash of all the rest.
    pub checksum: String,
}

const VERSION: u32 = 1;

/// How far predicted latencies were from measured ones, as shares of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// How many networks that were.
    pub networks: usize,
    /// Half of the networks were nearer.
    pub median: f64,
    /// Nine in ten of the networks were nearer.
    pub p90: f64,
    /// No network was farther off.
    pub worst: f64,
}

/// A network that a calibration was checked on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Its family.
    pub family: &'static str,
    /// Seconds predicted.
    pub predicted: f64,
    /// Seconds measured, the fastest of many runs.
    pub measured: f64,
}

impl Check {
    /// The distance of the prediction as a share of what was measured.
    pub fn error(&self) -> f64 {
        (self.predicted / self.measured - 1.0).abs()
    }
}

/// A predicted latency.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Seconds for a batch.
    pub seconds: f64,
    /// Kinds of steps that were never measured: their time is that of steps like them, and rough.
    pub unmeasured: Vec<String>,
}

impl Prediction {
    /// Milliseconds for a batch.
    pub fn milliseconds(&self) -> f64 {
        1e3 * self.seconds
    }
}

impl Calibration {
    /// Measures this machine: the steps of random networks of every family, in batches of `batch` examples, by this thread alone. Takes some
    /// ten seconds, best while the machine does little else: every time is the fastest of many. `progress` hears how many networks of
    /// how many are measured, and whether to go on is its answer. The networks that the predictions were checked on come with it.
    ///
    /// # Errors
    /// [`CalibrationError::Interrupted`] when `progress` said no; when a family cannot build its own networks.
    pub fn measure(
        batch: usize,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<(Self, Vec<Check>), CalibrationError> {
        let mut all = Vec::new();
        for drawn in draw::networks(FITTED + CHECKED) {
            if !progress(all.len(), FITTED + CHECKED) {
                return Err(CalibrationError::Interrupted);
            }
            all.push(Measured::of(&*drawn.family, &drawn.architecture, &drawn.task, batch)?);
        }
        let (fitted, checked) = all.split_at(FITTED);
        let mut calibration = Calibration {
            version: VERSION,
            processor: processor(),
            kernels: kernels(),
            batch,
            laws: laws(fitted),
            accuracy: Accuracy { networks: 0, median: 0.0, p90: 0.0, worst: 0.0 },
            checksum: String::new(),
        };
        let checks = checked.iter().map(|network| Check {
            family: network.family,
            predicted: calibration.sum(network.steps.iter().map(|step| &step.work)).seconds,
            measured: network.seconds,
        });
        let checks: Vec<Check> = checks.collect();
        calibration.accuracy = Accuracy::of(&checks);
        calibration.checksum = calibration.hash();
        Ok((calibration, checks))
    }

    /// The latency of the network that `architecture` describes.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn predict(
        &self,
        family: &dyn Family,
        architecture: &Architecture,
        task: &Task,
    ) -> Result<Prediction, FamilyError> {
        let graph = Graph::new();
        let answer = family::model(&graph, family, architecture, task, 0.0)?.answer;
        Ok(self.predict_plan(&Plan::eval(&graph, &[answer], self.batch)?))
    }

    /// The latency of one forward pass of a program by that plan, on one thread.
    pub fn predict_plan(&self, plan: &Plan) -> Prediction {
        let works: Vec<Work> = plan.forward_steps().map(|step| Work::of(step, plan.batch())).collect();
        self.sum(works.iter())
    }

    fn sum<'a>(&self, works: impl Iterator<Item = &'a Work>) -> Prediction {
        let mut prediction = Prediction { seconds: 0.0, unmeasured: Vec::new() };
        for work in works {
            let law = self.laws.get(&work.kind).or_else(|| {
                if !prediction.unmeasured.contains(&work.kind) {
                    prediction.unmeasured.push(work.kind.clone());
                }
                self.laws.get(work.op).or_else(|| self.laws.get(ANY))
            });
            prediction.seconds += law.map_or(0.0, |law| law.seconds(work));
        }
        prediction
    }

    /// Whether it was measured on a machine like this one.
    ///
    /// # Errors
    /// [`CalibrationError::Elsewhere`] when the processor or its kernels are others.
    pub fn check_machine(&self) -> Result<(), CalibrationError> {
        let (here, there) = ([processor(), kernels()], [self.processor.clone(), self.kernels.clone()]);
        if here == there {
            return Ok(());
        }
        Err(CalibrationError::Elsewhere { here: here.join(", "), there: there.join(", ") })
    }
}

impl Accuracy {
    /// Of these networks; all zero without any.
    pub fn of(checks: &[Check]) -> Self {
        let mut errors: Vec<f64> = checks.iter().map(Check::error).collect();
        errors.sort_by(f64::total_cmp);
        let last = errors.len().saturating_sub(1) as f64;
        let at = |share: f64| errors.get((share * last).ceil() as usize).copied().unwrap_or(0.0);
        Accuracy { networks: checks.len(), median: at(0.5), p90: at(0.9), worst: at(1.0) }
    }
}

/// The law of every kind, of every operation whatever its settings, and of all steps together.
fn laws(networks: &[Measured]) -> BTreeMap<String, Law> {
    let mut groups: BTreeMap<&str, Vec<Group>> = BTreeMap::new();
    for network in networks {
        let mut steps: BTreeMap<&str, Vec<&MeasuredStep>> = BTreeMap::new();
        for step in &network.steps {
            let (kind, op) = (step.work.kind.as_str(), step.work.op);
            for name in [Some(kind), (op != kind).then_some(op), Some(ANY)].into_iter().flatten() {
                steps.entry(name).or_default().push(step);
            }
        }
        for (kind, steps) in steps {
            groups.entry(kind).or_default().extend(Group::of(steps.into_iter()));
        }
    }
    groups.into_iter().map(|(kind, groups)| (kind.to_owned(), Law::fitted(&groups))).collect()
}

/// What the processor calls itself, or its architecture where it does not say.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The kernels that run on this thread.
fn kernels() -> String {
    kernel::simd().map_or_else(|_| kernel::Simd::best().to_string(), |simd| simd.to_string())
}

#[cfg(test)]
mod tests;
