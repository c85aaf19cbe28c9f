//! A step of a program: one op with everything that was decided about it.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::arena::{Cuts, Part, Region};
use super::profile::Pass;
use crate::graph::Shape;
use crate::op::{Op, Space};

/// One op of the program.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) path: String,
    pub(crate) op: Arc<dyn Op>,
    pub(crate) shapes: SmallVec<[Shape; 4]>,
    pub(crate) shape: Shape,
    pub(crate) states: Range<usize>,
    pub(crate) saved: Space,
    /// Whether it may run in parts of the batch.
    pub(crate) by_example: bool,
    /// Seconds that the forward pass of a whole batch is expected to take.
    pub(crate) seconds: f64,
    pub(crate) forward: ForwardPlan,
    pub(crate) backward: Option<BackwardPlan>,
    /// The paths of nodes that were fused into this one.
    pub(crate) fused: Vec<String>,
    /// Output, gradient, what is saved, working memory of forward and backward, each from one pass to another or to the end.
    pub(crate) memory: [Option<Memory>; 5],
}

/// A region with the step and pass that use it first and last; nothing when it stays.
pub(crate) type Memory = (Region, (usize, Pass), Option<(usize, Pass)>);

impl Step {
    /// The trainable numbers it reads.
    pub(crate) fn parameters(&self) -> usize {
        let parameters = self.forward.inputs.iter().filter_map(|place| match place {
            Place::Param(range) => Some(range.len()),
            _ => None,
        });
        parameters.sum()
    }

    /// The most items of a list that it makes: operands, or stretches of memory.
    pub(super) fn longest_list(&self) -> usize {
        let backward = self.backward.as_ref().map_or(0, |back| back.cuts.len().max(back.param_cuts.len()));
        self.shapes.len().max(self.forward.cuts.len()).max(backward)
    }
}

#[derive(Debug)]
pub(crate) struct ForwardPlan {
    pub(crate) cuts: Cuts,
    pub(crate) inputs: SmallVec<[Place; 4]>,
    pub(crate) output: Part,
    pub(crate) saved: Part,
    pub(crate) scratch: Part,
    pub(crate) scratch_floats: usize,
}

#[derive(Debug)]
pub(crate) struct BackwardPlan {
    pub(crate) cuts: Cuts,
    pub(crate) param_cuts: Cuts,
    pub(crate) inputs: SmallVec<[Place; 4]>,
    pub(crate) output: Part,
    pub(crate) grad: Part,
    pub(crate) saved: Part,
    pub(crate) scratch: Part,
    pub(crate) scratch_floats: usize,
    pub(crate) grads: SmallVec<[Option<GradTarget>; 4]>,
    /// Seconds that a whole batch is expected to take.
    pub(crate) seconds: f64,
    /// Examples in a part, where gradients are sums over parts.
    pub(crate) part: Option<usize>,
    /// Floats of all those gradients together.
    pub(crate) sums: usize,
}

/// Where a value is read from.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Feed(usize),
    Param(Range<usize>),
    Constant(Arc<[f32]>),
    Arena(Part),
}

/// Where a gradient is written.
#[derive(Debug)]
pub(crate) struct GradTarget {
    pub(crate) place: GradPlace,
    /// Whether this is the first gradient to arrive there in a step.
    pub(crate) fresh: bool,
}

#[derive(Debug)]
pub(crate) enum GradPlace {
    Arena(u16),
    Param(u16),
}
