//! The law of a kind of step: what one does, and what each part of that costs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measure::MeasuredStep;
use crate::graph::Shape;
use crate::program::Step;

/// Numbers that say how much a step does.
const PARTS: usize = 7;

/// Numbers that a vector register holds; that of another processor makes another price.
const LANES: usize = 16;

/// Rounds of the descent; some hundred are enough, and it takes no time.
const ROUNDS: usize = 5000;

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    /// The operation.
    pub(super) op: &'static str,
    /// The operation and its variant.
    pub(super) kind: String,
    /// It is called once; multiply-adds; bytes of parameters; bytes of inputs and output; rows, vectors in them; operands.
    parts: [f64; PARTS],
}

impl Work {
    /// That of a forward pass over `batch` examples.
    pub(super) fn of(step: &Step, batch: usize) -> Self {
        let (op, variant) = (step.op.name(), step.op.variant());
        let kind = if variant.is_empty() { op.to_owned() } else { format!("{op} {variant}") };
        let shapes: Vec<&Shape> = step.shapes.iter().collect();
        let madds = step.shape.copies(batch) as f64 * step.op.madds(&shapes, &step.shape) as f64;
        let bytes = |batched: bool| {
            let floats = step.shapes.iter().filter(|x| x.is_batched() == batched).map(|x| x.elements(batch) as f64);
            4.0 * floats.sum::<f64>()
        };
        let moved = bytes(true) + 4.0 * step.shape.elements(batch) as f64;
        // Some operations walk along their input, some along their output.
        let loops = step.shapes.first().into_iter().chain([&step.shape]).map(|x| loops(x, batch));
        let [rows, vectors] = loops.reduce(|a, b| [a[0].max(b[0]), a[1].max(b[1])]).unwrap_or([0.0; 2]);
        let operands = step.shapes.len() as f64;
        Work { op, kind, parts: [1.0, madds, bytes(false), moved, rows, vectors, operands] }
    }
}

/// Rows along the last axis, and vectors in all of them.
fn loops(x: &Shape, batch: usize) -> [f64; 2] {
    let last = x.dims().last().copied().unwrap_or(1).max(1);
    let rows = x.elements(batch) / last;
    [rows as f64, (rows * last.div_ceil(LANES)) as f64]
}

/// How long steps of one kind take: a price in seconds for every part of what one does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Law {
    /// Groups of like steps that it is fitted to.
    steps: usize,
    /// Seconds for a call, a multiply-add, a byte of parameters, a byte of inputs and output, a row, 16 numbers of a row, an operand.
    /// None is negative, so that steps larger than those measured take longer.
    seconds: [f64; PARTS],
}

impl Law {
    /// Seconds of a step.
    pub(super) fn seconds(&self, work: &Work) -> f64 {
        self.seconds.iter().zip(&work.parts).map(|(price, part)| price * part).sum()
    }

    /// The prices p ≥ 0 with the least Σ (p·parts / seconds − 1)² over groups of steps that do the same in one network. A step takes a
    /// little longer in a large network, whose values and code do not stay in a cache: so groups are not joined across networks.
    pub(super) fn fitted(groups: &[Group]) -> Self {
        // A clock that stood still tells nothing.
        let rows = groups.iter().filter(|group| group.seconds > 0.0);
        let rows: Vec<[f64; PARTS]> = rows.map(|group| group.parts.map(|part| part / group.seconds)).collect();
        Law { steps: rows.len(), seconds: least_squares(&rows) }
    }
}

/// Steps that do the same in one network, with their mean seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    parts: [f64; PARTS],
    seconds: f64,
}

impl Group {
    /// The groups of some steps of one network.
    pub(super) fn of<'a>(steps: impl Iterator<Item = &'a MeasuredStep>) -> Vec<Self> {
        let mut sums: BTreeMap<[u64; PARTS], (f64, f64)> = BTreeMap::new();
        for step in steps {
            let (count, seconds) = sums.entry(step.work.parts.map(f64::to_bits)).or_default();
            *count += 1.0;
            *seconds += step.seconds;
        }
        let groups = sums.into_iter();
        groups.map(|(parts, (n, sum))| Group { parts: parts.map(f64::from_bits), seconds: sum / n }).collect()
    }
}

/// The x ≥ 0 with the least Σ (x·row − 1)², by coordinate descent, which finds it since the problem is convex.
fn least_squares<const N: usize>(rows: &[[f64; N]]) -> [f64; N] {
    // Columns differ by ten orders of magnitude; scaled, the descent is even.
    let scale: [f64; N] = std::array::from_fn(|j| rows.iter().map(|row| row[j]).fold(f64::MIN_POSITIVE, f64::max));
    let (mut squares, mut sums) = ([[0.0; N]; N], [0.0; N]);
    for row in rows {
        let row: [f64; N] = std::array::from_fn(|j| row[j] / scale[j]);
        for (j, x) in row.iter().enumerate() {
            sums[j] += x;
            for (square, y) in squares[j].iter_mut().zip(&row) {
                *square += x * y;
            }
        }
    }
    let mut x = [0.0; N];
    for _ in 0..ROUNDS {
        for j in 0..N {
            if squares[j][j] > 0.0 {
                let all: f64 = squares[j].iter().zip(&x).map(|(a, x)| a * x).sum();
                x[j] = f64::max(x[j] + (sums[j] - all) / squares[j][j], 0.0);
            }
        }
    }
    std::array::from_fn(|j| x[j] / scale[j])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_that_explain_everything_are_found() {
        let prices = [2e-7, 0.0, 3e-11];
        let rows: Vec<[f64; 3]> = (1..40_u32)
            .map(|i| {
                let parts = [1.0, f64::from(i * 7919 % 31), f64::from(i * i) * 1e3];
                let seconds: f64 = prices.iter().zip(&parts).map(|(price, part)| price * part).sum();
                parts.map(|part| part / seconds)
            })
            .collect();
        let found = least_squares(&rows);
        for (found, price) in found.iter().zip(prices) {
            assert!((found - price).abs() <= 1e-4 * price + 1e-12, "{found} and {price}");
        }
    }

    #[test]
    fn no_price_is_negative() {
        // The second part makes steps faster, which no price may say.
        let rows: Vec<[f64; 2]> = (1..9_u32).map(|i| [1.0, f64::from(i)].map(|part| part * f64::from(i))).collect();
        let [call, part] = least_squares(&rows);
        assert!(call > 0.0 && part == 0.0, "{call}, {part}");
        assert_eq!(least_squares::<2>(&[]), [0.0; 2]);
    }
}
