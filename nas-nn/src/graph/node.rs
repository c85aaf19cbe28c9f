//! Nodes of a graph.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Shape;
use crate::op::Op;

/// The place of a node in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

impl NodeId {
    pub(crate) fn new(index: usize) -> Self {
        NodeId(u32::try_from(index).expect("a graph has fewer than 2^32 nodes"))
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a node's value comes from.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Fed at every step. `classes`: whole numbers below that.
    Input { name: String, classes: Option<usize> },
    /// The parameter with that index.
    Parameter(usize),
    /// Always the same.
    Constant(Arc<[f32]>),
    /// Computed.
    Op(Arc<dyn Op>),
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) inputs: SmallVec<[NodeId; 4]>,
    pub(crate) shape: Shape,
    /// The states the op reads and changes, by index.
    pub(crate) states: Range<usize>,
    pub(crate) path: String,
    /// The paths of nodes that fusion took in.
    pub(crate) fused: Vec<String>,
}

impl Node {
    pub(crate) fn name(&self) -> &str {
        match &self.kind {
            Kind::Input { .. } => "input",
            Kind::Parameter(_) => "parameter",
            Kind::Constant(_) => "constant",
            Kind::Op(op) => op.name(),
        }
    }
}
