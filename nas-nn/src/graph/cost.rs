//! What a graph costs, known before anything runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Graph, Kind, Shape};

/// What a network costs, read off its graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Trainable numbers.
    pub parameters: u64,
    /// Multiply-adds to process one example forwards. An op that multiplies nothing (a sum, a maximum) counts none.
    pub madds: u64,
}

impl Graph {
    /// Parameters and multiply-adds of everything in the graph. What training it takes in memory depends on the batch:
    /// [`Plan::bytes`](crate::Plan::bytes).
    pub fn cost(&self) -> Cost {
        let parameters = self.parameters().iter().map(|p| p.dims.iter().product::<usize>() as u64).sum();
        let madds = self.with_nodes(|nodes| {
            let madds = nodes.iter().map(|node| match &node.kind {
                Kind::Op(op) => {
                    let shapes: Vec<_> = node.inputs.iter().map(|id| &nodes[id.index()].shape).collect();
                    op.madds(&shapes, &node.shape)
                }
                _ => 0,
            });
            madds.sum()
        });
        Cost { parameters, madds }
    }
}

/// A stretch of a graph: the ops under one outermost scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The scope: `stem`, `stage0`.
    pub path: String,
    /// What it costs.
    pub cost: Cost,
    /// The shape of its last value.
    pub shape: Shape,
    /// Its ops in order.
    pub ops: Vec<String>,
}

impl Graph {
    /// The graph by its outermost scopes, in order; ops outside of all scopes are parts of their own.
    /// Parameters that several ops read (tied weights) count once, for the first.
    pub fn parts(&self) -> Vec<Part> {
        self.with_nodes(|nodes| {
            let mut parts: Vec<Part> = Vec::new();
            let mut counted = vec![false; nodes.len()];
            for node in nodes {
                let Kind::Op(op) = &node.kind else { continue };
                let path = node.path.split('.').next().unwrap_or_default();
                if parts.last().is_none_or(|part| part.path != path) {
                    let cost = Cost::default();
                    parts.push(Part { path: path.to_owned(), cost, shape: node.shape.clone(), ops: Vec::new() });
                }
                let part = parts.last_mut().expect("just pushed");
                let shapes: Vec<_> = node.inputs.iter().map(|id| &nodes[id.index()].shape).collect();
                part.cost.madds += op.madds(&shapes, &node.shape);
                for id in &node.inputs {
                    let input = &nodes[id.index()];
                    let known = std::mem::replace(&mut counted[id.index()], true);
                    if let (Kind::Parameter(_), false) = (&input.kind, known) {
                        part.cost.parameters += input.shape.len() as u64;
                    }
                }
                part.shape = node.shape.clone();
                part.ops.push(op.name().to_owned());
            }
            parts
        })
    }
}

/// For people: `24.1k parameters, 1.2M multiply-adds`.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} parameters, {} multiply-adds", short(self.parameters), short(self.madds))
    }
}

/// `n` with three digits and a unit: 950, 24.1k, 1.20M.
fn short(n: u64) -> String {
    let x = n as f64;
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1}k", x / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2}M", x / 1e6),
        _ => format!("{:.2}G", x / 1e9),
    }
}
