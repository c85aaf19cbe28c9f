//! Where the time of a program goes: measured seconds, FLOP/s and bytes/s of every operation.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::step::Step;
use super::work::Work;

/// The pass of a step that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Values.
    Forward,
    /// Gradients.
    Backward,
}

/// Clocks beside the steps of a running program.
#[derive(Debug)]
pub(super) struct Clocks {
    forward: Vec<Duration>,
    /// The fastest forward pass of each step.
    least: Vec<Duration>,
    backward: Vec<Duration>,
    forwards: u32,
    backwards: u32,
}

impl Clocks {
    pub(super) fn new(steps: usize) -> Self {
        Clocks {
            forward: vec![Duration::ZERO; steps],
            least: vec![Duration::MAX; steps],
            backward: vec![Duration::ZERO; steps],
            forwards: 0,
            backwards: 0,
        }
    }

    /// Notes that a pass begins.
    pub(super) fn count(&mut self, pass: Pass) {
        match pass {
            Pass::Forward => self.forwards += 1,
            Pass::Backward => self.backwards += 1,
        }
    }

    pub(super) fn add(&mut self, pass: Pass, step: usize, begin: Instant) {
        let elapsed = begin.elapsed();
        if pass == Pass::Forward {
            self.forward[step] += elapsed;
            self.least[step] = self.least[step].min(elapsed);
        } else {
            self.backward[step] += elapsed;
        }
    }

    /// Seconds of the fastest forward pass of each step.
    pub(super) fn least(&self) -> Vec<f64> {
        self.least.iter().map(Duration::as_secs_f64).collect()
    }
}

/// One operation of a [`Profile`], in one pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// The operation: `conv2d`.
    pub op: &'static str,
    /// Its path in the graph: `stage0.cell.edge1.conv2d`.
    pub path: String,
    /// Values or gradients.
    pub pass: Pass,
    /// Mean seconds of one run.
    pub seconds: f64,
    /// Floating-point operations of one run, two for a multiply-add.
    pub flops: f64,
    /// Bytes read and written in one run, each value once.
    pub bytes: f64,
}

/// Where the time of a program's runs went, operation by operation, in the order they ran.
///
/// Printed, it is a table by kind of operation, the costliest first; `{:#}` adds a line for every operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// Every operation and pass.
    pub operations: Vec<Measured>,
}

impl Profile {
    pub(super) fn new<'a>(
        clocks: &Clocks,
        steps: impl Iterator<Item = &'a Step>,
        order: &[usize],
        batch: usize,
    ) -> Self {
        let steps: Vec<&Step> = steps.collect();
        let mut operations = Vec::new();
        let mean = |clock: Duration, runs: u32| clock.as_secs_f64() / f64::from(runs.max(1));
        for (i, step) in steps.iter().enumerate() {
            operations.push(step.measured(Pass::Forward, mean(clocks.forward[i], clocks.forwards), batch));
        }
        if clocks.backwards > 0 {
            for &i in order {
                operations.push(steps[i].measured(Pass::Backward, mean(clocks.backward[i], clocks.backwards), batch));
            }
        }
        Profile { operations }
    }

    /// Mean seconds of one run of everything.
    pub fn seconds(&self) -> f64 {
        self.operations.iter().map(|m| m.seconds).sum()
    }
}

impl Step {
    fn measured(&self, pass: Pass, seconds: f64, batch: usize) -> Measured {
        let Work { flops, bytes } = self.work(pass, batch);
        Measured { op: self.op.name(), path: self.path.clone(), pass, seconds, flops, bytes }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.seconds().max(f64::MIN_POSITIVE);
        let line = |f: &mut fmt::Formatter<'_>, name: &str, count: usize, [seconds, flops, bytes]: [f64; 3]| {
            let time = seconds.max(f64::MIN_POSITIVE);
            writeln!(
                f,
                "{name:<44} {count:>4} {:>9.3} {:>6.1} {:>8.1} {:>8.1}",
                1e3 * seconds,
                100.0 * seconds / total,
                flops / time / 1e9,
                bytes / time / 1e9
            )
        };
        let head = |f: &mut fmt::Formatter<'_>, name: &str| {
            writeln!(f, "{name:<44} {:>4} {:>9} {:>6} {:>8} {:>8}", "n", "ms", "%", "GFLOP/s", "GB/s")
        };
        let mut kinds: BTreeMap<(&str, Pass), (usize, [f64; 3])> = BTreeMap::new();
        for m in &self.operations {
            let (count, sums) = kinds.entry((m.op, m.pass)).or_default();
            *count += 1;
            for (sum, x) in sums.iter_mut().zip([m.seconds, m.flops, m.bytes]) {
                *sum += x;
            }
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by(|a, b| b.1.1[0].total_cmp(&a.1.1[0]));
        head(f, "operation")?;
        for ((op, pass), (count, sums)) in kinds {
            line(f, &format!("{op} {}", pass.name()), count, sums)?;
        }
        let sum = |x: fn(&Measured) -> f64| self.operations.iter().map(x).sum::<f64>();
        line(f, "all", self.operations.len(), [sum(|m| m.seconds), sum(|m| m.flops), sum(|m| m.bytes)])?;
        if f.alternate() {
            writeln!(f)?;
            head(f, "path")?;
            for m in &self.operations {
                line(f, &format!("{} {}", m.path, m.pass.name()), 1, [m.seconds, m.flops, m.bytes])?;
            }
        }
        Ok(())
    }
}

impl Pass {
    fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
        }
    }
}
