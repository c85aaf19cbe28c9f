//! How much work a step is: operations, bytes, and the time that a core is expected to take for them.

use std::time::Instant;

use serde::Serialize;
use smallvec::SmallVec;

use super::profile::Pass;
use super::step::Step;
use crate::graph::Shape;
use crate::kernel;
use crate::op::{Op, Space};

/// The work of one pass of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Work {
    /// Floating-point operations, two for a multiply-add.
    pub(crate) flops: f64,
    /// Bytes read and written, each value once.
    pub(crate) bytes: f64,
}

/// What a core does in a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes read or written.
    pub bytes: f64,
}

impl Rates {
    /// A middling core of the present: 100 GFLOP/s, 10 GB/s. What is decided by it does not depend on the machine, as
    /// results must not.
    pub const TYPICAL: Rates = Rates { flops: 1e11, bytes: 1e10 };

    /// What this core does now, the best of a few short runs: a matrix product out of the second-level cache, and the sum
    /// of two arrays that fit in none. Takes some 50 ms.
    pub fn measured() -> Self {
        let best = |runs: usize, f: &mut dyn FnMut()| {
            let seconds = |begin: Instant| begin.elapsed().as_secs_f64();
            let times = (0..runs).map(|_| {
                let begin = Instant::now();
                f();
                seconds(begin)
            });
            times.fold(f64::INFINITY, f64::min).max(1e-9)
        };
        let n = 256;
        let (a, b, mut c) = (vec![1.0; n * n], vec![0.5; n * n], vec![0.0; n * n]);
        let product = best(10, &mut || kernel::gemm([n; 3], &a, [n, 1], &b, [n, 1], 0.0, &mut c, [n, 1]));
        let len = 4 << 20;
        let (x, y, mut z) = (vec![1.0; len], vec![2.0; len], vec![0.0; len]);
        let sum = best(4, &mut || kernel::zip(&x, &y, &mut z, |x, y| x + y));
        std::hint::black_box((&c, &z));
        Rates { flops: 2.0 * (n * n * n) as f64 / product, bytes: 12.0 * len as f64 / sum }
    }
}

/// An op with everything that decides how much it does.
#[derive(Clone, Copy)]
pub(crate) struct Worker<'a> {
    pub(crate) op: &'a dyn Op,
    pub(crate) shapes: &'a [&'a Shape],
    pub(crate) shape: &'a Shape,
    pub(crate) saved: Space,
    pub(crate) batch: usize,
}

impl Worker<'_> {
    fn flops(&self) -> f64 {
        2.0 * self.shape.copies(self.batch) as f64 * self.op.madds(self.shapes, self.shape) as f64
    }

    /// The numbers of those inputs that `which` chooses.
    fn floats(&self, which: impl Fn(usize) -> bool) -> f64 {
        let chosen = self.shapes.iter().enumerate().filter(|(i, _)| which(*i));
        chosen.map(|(_, shape)| shape.elements(self.batch) as f64).sum()
    }

    fn own_floats(&self) -> f64 {
        (self.shape.elements(self.batch) + self.saved.floats(self.batch)) as f64
    }

    /// Reads all inputs, writes the output and what is saved.
    pub(crate) fn forward(&self) -> Work {
        Work { flops: self.flops(), bytes: 4.0 * (self.floats(|_| true) + self.own_floats()) }
    }

    /// Reads the gradient, what was saved and kept; writes the gradients that are wanted, each at the cost of the values.
    pub(crate) fn backward(&self, wanted: impl Fn(usize) -> bool) -> Work {
        let keeps = self.op.keeps();
        let gradients = (0..self.shapes.len()).filter(|&i| wanted(i)).count().min(2) as f64;
        let output = if keeps.output() { self.shape.elements(self.batch) as f64 } else { 0.0 };
        let moved = self.floats(|i| keeps.input(i)) + self.floats(wanted) + output + self.own_floats();
        Work { flops: gradients * self.flops(), bytes: 4.0 * moved }
    }
}

impl Work {
    /// Seconds by the roofline: whatever of both takes longer.
    pub(crate) fn seconds(&self, rates: Rates) -> f64 {
        (self.flops / rates.flops).max(self.bytes / rates.bytes)
    }
}

impl Step {
    /// The work of either pass over `batch` examples.
    pub(super) fn work(&self, pass: Pass, batch: usize) -> Work {
        let shapes: SmallVec<[&Shape; 4]> = self.shapes.iter().collect();
        let worker = Worker { op: &*self.op, shapes: &shapes, shape: &self.shape, saved: self.saved, batch };
        match (pass, &self.backward) {
            (Pass::Forward, _) => worker.forward(),
            (Pass::Backward, Some(back)) => worker.backward(|i| back.grads[i].is_some()),
            (Pass::Backward, None) => Work::default(),
        }
    }
}
