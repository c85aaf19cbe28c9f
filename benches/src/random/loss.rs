//! Losses: from a value to one number.

use nas_nn::op::CrossEntropy;
use rand::RngExt as _;
use serde_json::json;

use super::{Axes, Operation, Sketch};

pub(super) const ALL: &[Operation] = &[
    Operation { name: "sum", on: Axes::Any, add: |s, x| Some(weighted(s, x, "sum")) },
    Operation { name: "mean", on: Axes::Any, add: |s, x| Some(weighted(s, x, "mean")) },
    Operation { name: "cross_entropy", on: Axes::Any, add: cross_entropy },
    Operation { name: "cross_entropy_smooth", on: Axes::Any, add: cross_entropy_smooth },
    Operation { name: "cross_entropy_with", on: Axes::Any, add: cross_entropy_with },
    Operation { name: "cross_entropy_masked", on: Axes::Any, add: cross_entropy_masked },
    Operation { name: "binary_cross_entropy", on: Axes::Any, add: binary_cross_entropy },
    Operation { name: "binary_cross_entropy_weighted", on: Axes::Any, add: binary_cross_entropy_weighted },
    Operation { name: "mse", on: Axes::Any, add: mse },
    Operation { name: "huber", on: Axes::Any, add: huber },
    Operation { name: "l1", on: Axes::Any, add: l1 },
];

/// Every number with a factor of its own: an even gradient hides mistakes, and most norms take it away.
fn weighted(s: &mut Sketch<'_>, x: usize, op: &'static str) -> usize {
    let dims = s.dims(x);
    let weights = s.input(&dims, |rng| rng.random_range(-1.0..1.0));
    let x = s.op("mul", &[x, weights], json!({}), |v| v[0] * v[1]);
    s.op(op, &[x], json!({}), |v| if op == "sum" { v[0].sum() } else { v[0].mean() })
}

/// Logits of two classes or more.
fn logits(s: &mut Sketch<'_>, x: usize) -> usize {
    if s.last(x) > 1 {
        return x;
    }
    let classes = s.width();
    s.op("linear", &[x], json!({}), |v| v[0].linear(classes))
}

/// Class numbers for the rows of logits.
fn labels(s: &mut Sketch<'_>, logits: usize) -> usize {
    let dims = s.dims(logits);
    let (&classes, rest) = dims.split_last().expect("values of a sketch have an axis");
    s.classes(rest, classes, 0)
}

fn cross_entropy(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let x = logits(s, x);
    let labels = labels(s, x);
    Some(s.op("cross_entropy", &[x, labels], json!({}), |v| v[0].cross_entropy(v[1])))
}

fn cross_entropy_smooth(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let x = logits(s, x);
    let (labels, smoothing) = (labels(s, x), s.number(0.05, 0.4));
    let with = json!({ "smoothing": smoothing });
    Some(s.op("cross_entropy_smooth", &[x, labels], with, |v| v[0].cross_entropy_smooth(v[1], smoothing)))
}

/// Smoothing, or none, and a weight for every class.
fn settings(s: &mut Sketch<'_>, x: usize) -> CrossEntropy {
    let smoothing = if s.coin() { 0.0 } else { s.number(0.05, 0.4) };
    let weights = (0..s.last(x)).map(|_| s.number(0.2, 2.0)).collect();
    CrossEntropy { smoothing, weights: Some(weights) }
}

fn cross_entropy_with(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let x = logits(s, x);
    let (labels, settings) = (labels(s, x), settings(s, x));
    let with = json!({ "smoothing": settings.smoothing, "weights": settings.weights });
    Some(s.op("cross_entropy_with", &[x, labels], with, |v| v[0].cross_entropy_with(v[1], settings)))
}

fn cross_entropy_masked(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let x = logits(s, x);
    let (labels, settings) = (labels(s, x), settings(s, x));
    let rows = s.dims(labels);
    let mask = s.classes(&rows, 2, 0);
    let with = json!({ "smoothing": settings.smoothing, "weights": settings.weights });
    let inputs = [x, labels, mask];
    Some(s.op("cross_entropy_masked", &inputs, with, |v| v[0].cross_entropy_masked(v[1], v[2], settings)))
}

/// Targets from 0 to 1.
fn shares(s: &mut Sketch<'_>, x: usize) -> usize {
    let dims = s.dims(x);
    s.input(&dims, |rng| rng.random_range(0.0..1.0))
}

fn binary_cross_entropy(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let targets = shares(s, x);
    Some(s.op("binary_cross_entropy", &[x, targets], json!({}), |v| v[0].binary_cross_entropy(v[1])))
}

fn binary_cross_entropy_weighted(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let (targets, positive) = (shares(s, x), s.number(0.5, 4.0));
    let with = json!({ "positive": positive });
    let name = "binary_cross_entropy_weighted";
    Some(s.op(name, &[x, targets], with, |v| v[0].binary_cross_entropy_weighted(v[1], positive)))
}

/// Numbers to come near to.
fn targets(s: &mut Sketch<'_>, x: usize) -> usize {
    let dims = s.dims(x);
    s.input(&dims, |rng| rng.random_range(-2.0..2.0))
}

fn mse(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let targets = targets(s, x);
    Some(s.op("mse", &[x, targets], json!({}), |v| v[0].mse(v[1])))
}

fn huber(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let (targets, delta) = (targets(s, x), s.number(0.3, 2.0));
    Some(s.op("huber", &[x, targets], json!({ "delta": delta }), |v| v[0].huber(v[1], delta)))
}

fn l1(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let targets = targets(s, x);
    Some(s.op("l1", &[x, targets], json!({}), |v| v[0].l1(v[1])))
}
