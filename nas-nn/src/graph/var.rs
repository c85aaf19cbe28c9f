//! A value of a graph; every op is a method on it.

use super::{Graph, NodeId, ScopeId, Shape};
use crate::init::Init;
use crate::op::Op;

/// A value of a [`Graph`].
///
/// Ops and layers are functions from `Var` to `Var`; parameters are created by the ops that use them, under the scope the
/// `Var` stands in.
#[derive(Clone, Copy)]
pub struct Var<'g> {
    graph: &'g Graph,
    /// Nothing when a mistake was made on the way here; the graph holds it.
    node: Option<NodeId>,
    scope: ScopeId,
}

impl<'g> Var<'g> {
    pub(crate) fn new(graph: &'g Graph, node: NodeId, scope: ScopeId) -> Self {
        Var { graph, node: Some(node), scope }
    }

    pub(crate) fn poisoned(graph: &'g Graph, scope: ScopeId) -> Self {
        Var { graph, node: None, scope }
    }

    pub(crate) fn is_poisoned(self) -> bool {
        self.node.is_none()
    }

    pub(crate) fn node(self) -> Option<NodeId> {
        self.node
    }

    /// The node, of a value known to be sound.
    pub(crate) fn id(self) -> NodeId {
        self.node.expect("only sound values are asked for their node")
    }

    pub(crate) fn scope_id(self) -> ScopeId {
        self.scope
    }

    /// The graph it belongs to.
    pub fn graph(self) -> &'g Graph {
        self.graph
    }

    /// Its shape; empty and fixed when a mistake was made before.
    pub fn shape(self) -> Shape {
        match self.node {
            Some(id) => self.graph.with_nodes(|nodes| nodes[id.index()].shape.clone()),
            None => Shape::fixed(&[]),
        }
    }

    /// The size of axis `axis`, without the batch; 0 when there is none, which the op that needs it reports.
    pub fn dim(self, axis: usize) -> usize {
        self.shape().dims().get(axis).copied().unwrap_or(0)
    }

    /// What `layer` makes of this value, its parameters named under `name`. The result stands outside again.
    ///
    /// A name used before in this scope gets a number: `block`, `block_2`, …
    #[must_use]
    pub fn scope(self, name: &str, layer: impl FnOnce(Var<'g>) -> Var<'g>) -> Var<'g> {
        self.within(name, false, layer)
    }

    /// What `layer` makes of this value, with the parameters of the first layer that was called `name` here: weights are
    /// shared by meeting the same path twice.
    #[must_use]
    pub fn shared(self, name: &str, layer: impl FnOnce(Var<'g>) -> Var<'g>) -> Var<'g> {
        self.within(name, true, layer)
    }

    fn within(self, name: &str, shared: bool, layer: impl FnOnce(Var<'g>) -> Var<'g>) -> Var<'g> {
        let scope = self.graph.open(self.scope, name, shared);
        let inside = layer(Var { scope, ..self });
        if !std::ptr::eq(self.graph, inside.graph) {
            return self.mistake("scope", "what stands in it is of a different graph".to_owned());
        }
        Var { scope: self.scope, ..inside }
    }

    /// How many classes its numbers count, if it is an input of class numbers.
    pub(crate) fn classes(self) -> Option<usize> {
        let node = self.node?;
        self.graph.with_nodes(|nodes| match nodes[node.index()].kind {
            super::Kind::Input { classes, .. } => classes,
            _ => None,
        })
    }

    /// What it counts or holds, for messages: `9 classes`, `[N, 3] of other numbers`.
    pub(crate) fn numbers(self) -> String {
        match self.classes() {
            Some(classes) => format!("{classes} classes"),
            None => format!("{} of other numbers", self.shape()),
        }
    }

    /// The same value, naming parameters where `other` does, a value of the same graph.
    #[must_use]
    pub fn at(self, other: Var<'g>) -> Var<'g> {
        if !std::ptr::eq(self.graph, other.graph) {
            return self.mistake("at", "the place is of a different graph".to_owned());
        }
        Var { scope: other.scope, ..self }
    }

    /// The trainable tensor called `name` in the scope this value stands in.
    pub fn parameter(self, name: &str, dims: &[usize], init: Init) -> Var<'g> {
        self.graph.parameter_in(self.scope, name, dims, init)
    }

    /// The value of an op on this value and `others`.
    pub(crate) fn apply(self, op: impl Op + 'static, others: &[Var<'g>]) -> Var<'g> {
        self.apply_with_states(op, others, 0..0)
    }

    pub(crate) fn apply_with_states(
        self,
        op: impl Op + 'static,
        others: &[Var<'g>],
        states: std::ops::Range<usize>,
    ) -> Var<'g> {
        let inputs: smallvec::SmallVec<[Var<'g>; 4]> = std::iter::once(self).chain(others.iter().copied()).collect();
        self.graph.apply(op, &inputs, states)
    }

    /// `states` (name, length, initial value) in the scope this value stands in.
    pub(crate) fn states(self, states: &[(&str, usize, f32)]) -> std::ops::Range<usize> {
        let first = self.graph.states_in(self.scope, states);
        first..first + states.len()
    }

    /// Remembers a mistake that no op can find by itself.
    pub(crate) fn mistake(self, op: &'static str, message: String) -> Var<'g> {
        self.graph.poisoned(op, self.scope, message)
    }
}

impl std::fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.node {
            Some(id) => write!(f, "%{} {}", id.index(), self.shape()),
            None => f.write_str("mistake"),
        }
    }
}
