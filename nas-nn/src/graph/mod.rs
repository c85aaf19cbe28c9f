//! The graph: a network as a plain value, built before anything runs.
//!
//! Nodes stand in the order of their creation, which is a topological order. A mistake in a shape is remembered at its
//! node and returned once, by [`Graph::check`] or by compiling, so that building a network reads as mathematics.

mod cost;
mod node;
mod shape;
mod var;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::GraphError;
use crate::init::Init;
use crate::op::Op;

pub use cost::{Cost, Part};
pub(crate) use shape::LARGEST;
pub use shape::Shape;
pub use var::Var;

pub(crate) use node::{Kind, Node, NodeId};

/// A network, or any computation, as nodes that stand for values.
///
/// ```
/// use nas_nn::Graph;
///
/// let graph = Graph::new();
/// let image = graph.input("image", &[1, 8, 8]);
/// let label = graph.class("label", 10);
/// let logits = image.conv2d(16, 3).batch_norm().relu().max_pool2d(2).global_avg_pool().linear(10);
/// let loss = logits.cross_entropy(label);
/// assert_eq!(loss.shape().to_string(), "[]");
/// assert_eq!(graph.cost().parameters, 16 * 9 + 2 * 16 + 16 * 10 + 10);
/// ```
#[derive(Default)]
pub struct Graph {
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    nodes: Vec<Node>,
    parameters: Vec<Parameter>,
    states: Vec<State>,
    scopes: Vec<String>,
    /// How often a name was given in a scope, by full path.
    names: BTreeMap<String, usize>,
    error: Option<GraphError>,
}

/// A trainable tensor of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its path: `cell.2.conv.weight`.
    pub path: String,
    /// Its sizes.
    pub dims: Vec<usize>,
    /// How it is initialised.
    pub init: Init,
    node: NodeId,
}

/// A tensor that training changes without a gradient: running statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Its path: `stem.norm.running_mean`.
    pub path: String,
    /// Its sizes.
    pub dims: Vec<usize>,
    /// The value it starts with.
    pub initial: f32,
}

/// Where a [`Var`] gives names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScopeId(usize);

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        let graph = Self::default();
        graph.inner.borrow_mut().scopes.push(String::new());
        graph
    }

    /// An input of real numbers, `dims` for each example.
    ///
    /// The same name is the same input; of another shape or kind it is remembered as the graph's error.
    pub fn input(&self, name: &str, dims: &[usize]) -> Var<'_> {
        self.input_of(name, None, dims)
    }

    /// An input that is one of `classes` classes for each example: 0, 1, … as a number.
    pub fn class(&self, name: &str, classes: usize) -> Var<'_> {
        self.classes(name, classes, &[])
    }

    /// An input of `dims` class numbers for each example, each below `classes`: tokens, actions.
    ///
    /// No class, or more than 2²⁴, which is as far as single precision counts, is remembered as the graph's error.
    pub fn classes(&self, name: &str, classes: usize, dims: &[usize]) -> Var<'_> {
        if classes == 0 || classes > 1 << f32::MANTISSA_DIGITS {
            return self.refuse(name, format!("an input of {classes} classes; 1 to 16777216 can be told apart"));
        }
        self.input_of(name, Some(classes), dims)
    }

    /// What one name is fed with cannot fit two inputs that differ.
    fn input_of(&self, name: &str, classes: Option<usize>, dims: &[usize]) -> Var<'_> {
        let shape = Shape::batched(dims);
        let numbers = |classes: Option<usize>| classes.map_or("numbers".to_owned(), |n| format!("{n} classes"));
        let differs = self.with_nodes(|nodes| {
            let same = |node: &&Node| matches!(&node.kind, Kind::Input { name: known, .. } if known == name);
            let first = nodes.iter().find(same)?;
            let Kind::Input { classes: known, .. } = first.kind else { return None };
            let fits = known == classes && first.shape == shape;
            (!fits).then(|| format!("{} of {}", first.shape, numbers(known)))
        });
        if let Some(known) = differs {
            let message = format!("the input is {known} and cannot be {shape} of {} too", numbers(classes));
            return self.refuse(name, message);
        }
        self.leaf(Kind::Input { name: name.to_owned(), classes }, shape, name)
    }

    /// A constant that exists once.
    ///
    /// An empty value list, or one that does not fit `dims`, is remembered as the graph's error.
    pub fn constant(&self, dims: &[usize], values: &[f32]) -> Var<'_> {
        let shape = Shape::fixed(dims);
        if values.is_empty() || shape.len() != values.len() {
            let message = format!("{} values were given for the shape {shape}", values.len());
            return self.poisoned("constant", ScopeId(0), message);
        }
        self.leaf(Kind::Constant(values.into()), shape, "constant")
    }

    /// The trainable tensor at `path`; the same path is the same tensor, which is how weights are shared.
    pub fn parameter(&self, path: &str, dims: &[usize], init: Init) -> Var<'_> {
        self.parameter_in(ScopeId(0), path, dims, init)
    }

    pub(crate) fn parameter_in(&self, scope: ScopeId, name: &str, dims: &[usize], init: Init) -> Var<'_> {
        let path = self.path(scope, name);
        let found = self.inner.borrow().parameters.iter().find(|p| p.path == path).map(|p| (p.node, p.dims.clone()));
        if let Some((node, known)) = found {
            if known != dims {
                let message = format!("the parameter \"{path}\" is {known:?} and cannot be shared as {dims:?}");
                return self.poisoned("parameter", scope, message);
            }
            return Var::new(self, node, scope);
        }
        if self.inner.borrow().states.iter().any(|state| state.path == path) {
            return self.refuse(&path, "a state of that path is there and would not be told apart from it".to_owned());
        }
        let index = self.inner.borrow().parameters.len();
        let var = self.leaf(Kind::Parameter(index), Shape::fixed(dims), &path);
        if var.is_poisoned() {
            return Var::poisoned(self, scope);
        }
        let parameter = Parameter { path, dims: dims.to_vec(), init, node: var.id() };
        self.inner.borrow_mut().parameters.push(parameter);
        Var::new(self, var.id(), scope)
    }

    /// `count` states called `name` in `scope`: the number of the first one. The same path is the same state.
    pub(crate) fn states_in(&self, scope: ScopeId, states: &[(&str, usize, f32)]) -> usize {
        let first_path = self.path(scope, states[0].0);
        if let Some(found) = self.inner.borrow().states.iter().position(|s| s.path == first_path) {
            return found;
        }
        let paths: Vec<String> = states.iter().map(|(name, ..)| self.path(scope, name)).collect();
        let taken = |path: &&String| self.inner.borrow().parameters.iter().any(|p| p.path == **path);
        if let Some(path) = paths.iter().find(taken) {
            self.refuse(path, "a parameter of that path is there and would not be told apart from a state".to_owned());
        }
        let mut inner = self.inner.borrow_mut();
        let first = inner.states.len();
        for (path, &(_, len, initial)) in paths.into_iter().zip(states) {
            inner.states.push(State { path, dims: vec![len], initial });
        }
        first
    }

    /// All trainable tensors in order of creation.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.inner.borrow().parameters.clone()
    }

    /// All states in order of creation.
    pub fn states(&self) -> Vec<State> {
        self.inner.borrow().states.clone()
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.inner.borrow().nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every node fits.
    ///
    /// # Errors
    /// The first mistake made while building: the op, its path and the shapes.
    pub fn check(&self) -> Result<(), GraphError> {
        self.inner.borrow().error.clone().map_or(Ok(()), Err)
    }

    /// Adds a node computed by `op` from `inputs`, in the scope of the first.
    pub(crate) fn apply<'g>(
        &'g self,
        op: impl Op + 'static,
        inputs: &[Var<'g>],
        states: std::ops::Range<usize>,
    ) -> Var<'g> {
        let scope = inputs[0].scope_id();
        let name = op.name();
        if inputs.iter().any(|v| !std::ptr::eq(v.graph(), self)) {
            return self.poisoned(name, scope, "its inputs are of different graphs".to_owned());
        }
        if inputs.iter().any(|v| v.is_poisoned()) {
            return Var::poisoned(self, scope);
        }
        let mut ids: SmallVec<[NodeId; 4]> = SmallVec::new();
        for input in inputs {
            // Backward hands out one gradient a distinct input, so memory used twice by one op enters it by a copy.
            let root = |id: NodeId| self.with_nodes(|nodes| crate::program::root_of(nodes, id.index()));
            let twice = ids.iter().any(|&id| root(id) == root(input.id()));
            ids.push(if twice { input.copy().id() } else { input.id() });
        }
        let shapes: SmallVec<[Shape; 4]> =
            ids.iter().map(|&id| self.inner.borrow().nodes[id.index()].shape.clone()).collect();
        let borrowed: SmallVec<[&Shape; 4]> = shapes.iter().collect();
        match op.shape(&borrowed) {
            Ok(shape) if !shape.is_sane() => {
                self.poisoned(name, scope, format!("its output {shape} is absurdly large"))
            }
            Ok(shape) => {
                let path = self.op_path(scope, name);
                let node = Node { kind: Kind::Op(Arc::new(op)), inputs: ids, shape, states, path, fused: Vec::new() };
                Var::new(self, self.push(node), scope)
            }
            Err(message) => self.poisoned(name, scope, message),
        }
    }

    fn leaf(&self, kind: Kind, shape: Shape, path: &str) -> Var<'_> {
        if !shape.is_sane() {
            return self.refuse(path, format!("{shape} is absurdly large"));
        }
        let node =
            Node { kind, inputs: SmallVec::new(), shape, states: 0..0, path: path.to_owned(), fused: Vec::new() };
        Var::new(self, self.push(node), ScopeId(0))
    }

    fn push(&self, node: Node) -> NodeId {
        let mut inner = self.inner.borrow_mut();
        let id = NodeId::new(inner.nodes.len());
        inner.nodes.push(node);
        id
    }

    fn poisoned(&self, op: &'static str, scope: ScopeId, message: String) -> Var<'_> {
        let path = self.op_path(scope, op);
        self.refuse(&path, message);
        Var::poisoned(self, scope)
    }

    /// Remembers the mistake at `path`.
    fn refuse(&self, path: &str, message: String) -> Var<'_> {
        self.inner.borrow_mut().error.get_or_insert(GraphError::Shape { path: path.to_owned(), message });
        Var::poisoned(self, ScopeId(0))
    }

    /// The path of an op: its scope, if that was opened for it, or its name inside the scope.
    fn op_path(&self, scope: ScopeId, name: &str) -> String {
        let inner = self.inner.borrow();
        let own = inner.scopes[scope.0].rsplit('.').next().unwrap_or_default();
        // `relu_2` was, `relu_conv_bn` was not.
        let is_number = |rest: &str| rest.chars().all(|c| c == '_' || c.is_ascii_digit());
        let opened_for_it = own.strip_prefix(name).is_some_and(is_number);
        if opened_for_it { inner.scopes[scope.0].clone() } else { self.path(scope, name) }
    }

    fn path(&self, scope: ScopeId, name: &str) -> String {
        let inner = self.inner.borrow();
        let scope = &inner.scopes[scope.0];
        if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
    }

    /// A new scope inside `parent`. A name given before gets a number, unless it is shared.
    fn open(&self, parent: ScopeId, name: &str, shared: bool) -> ScopeId {
        let path = self.path(parent, name);
        let mut inner = self.inner.borrow_mut();
        let path = if shared {
            let inside = format!("{path}.");
            inner.names.retain(|known, _| !known.starts_with(&inside));
            path
        } else {
            let mut count = inner.names.get(&path).map_or(1, |count| count + 1);
            // A numbered name may have been given by itself: two scopes under it would share weights unasked.
            let numbered = |count: usize| if count == 1 { path.clone() } else { format!("{path}_{count}") };
            while inner.names.contains_key(&numbered(count)) {
                count += 1;
            }
            let given = numbered(count);
            inner.names.insert(path, count);
            given
        };
        // Given from now on, by whatever way.
        inner.names.entry(path.clone()).or_insert(1);
        inner.scopes.push(path);
        ScopeId(inner.scopes.len() - 1)
    }

    pub(crate) fn with_nodes<R>(&self, read: impl FnOnce(&[Node]) -> R) -> R {
        read(&self.inner.borrow().nodes)
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.with_nodes(|nodes| {
            for (i, node) in nodes.iter().enumerate() {
                let inputs: Vec<String> = node.inputs.iter().map(|id| format!("%{}", id.index())).collect();
                writeln!(f, "%{i} = {}({}) {} {}", node.name(), inputs.join(", "), node.shape, node.path)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_name_parameters() {
        let graph = Graph::new();
        let x = graph.input("x", &[4]);
        let y = x.scope("head", |x| x.linear(3)).scope("head", |x| x.linear(2));
        y.linear(1);
        let paths: Vec<String> = graph.parameters().into_iter().map(|p| p.path).collect();
        let expected = ["head.linear.weight", "head.linear.bias", "head_2.linear.weight", "head_2.linear.bias"];
        assert_eq!(paths[..4], expected);
        assert_eq!(paths[4..], ["linear.weight", "linear.bias"]);
    }

    #[test]
    fn shared_scopes_share_parameters() {
        let graph = Graph::new();
        let x = graph.input("x", &[4]);
        let _ = x.shared("cell", |x| x.linear(4).linear(4)).shared("cell", |x| x.linear(4).linear(4));
        let paths: Vec<String> = graph.parameters().into_iter().map(|p| p.path).collect();
        let expected = ["cell.linear.weight", "cell.linear.bias", "cell.linear_2.weight", "cell.linear_2.bias"];
        assert_eq!(paths, expected);
    }

    /// The paths of a graph of layers without bias, built by `build` from an input of four values.
    #[track_caller]
    fn check_paths(build: impl for<'g> FnOnce(Var<'g>) -> Var<'g>, expected: &[&str]) {
        let graph = Graph::new();
        let _ = build(graph.input("x", &[4]));
        graph.check().unwrap();
        let paths: Vec<String> = graph.parameters().into_iter().map(|p| p.path).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn an_op_has_a_path_of_its_own() {
        let graph = Graph::new();
        let x = graph.input("x", &[4]);
        let _ = x.scope("relu_linear", |x| x.relu().linear(3)).linear(2).linear(1);
        let text = format!("{graph:?}");
        let paths: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next_back()).collect();
        for path in ["relu_linear.relu", "relu_linear.linear", "linear", "linear_2"] {
            assert!(paths.contains(&path), "{path} is none of {paths:?}");
        }
        assert!(!paths.contains(&"relu_linear"), "{paths:?}");
    }

    fn layer(x: Var<'_>) -> Var<'_> {
        x * x.parameter("w", &[4], Init::ONES)
    }

    fn named<'g>(x: Var<'g>, names: &[&str]) -> Var<'g> {
        names.iter().fold(x, |x, name| x.scope(name, layer))
    }

    #[test]
    fn a_numbered_name_is_given_once() {
        check_paths(|x| named(x, &["a", "a", "a_2"]), &["a.w", "a_2.w", "a_2_2.w"]);
        check_paths(|x| named(x, &["a_2", "a", "a", "a"]), &["a_2.w", "a.w", "a_3.w", "a_4.w"]);
    }

    #[test]
    fn the_name_of_a_shared_scope_is_given() {
        check_paths(|x| x.shared("a", layer).scope("a", layer).shared("a", layer), &["a.w", "a_2.w"]);
        check_paths(|x| x.scope("a", layer).shared("a", layer).scope("a", layer), &["a.w", "a_2.w"]);
    }

    #[test]
    fn the_first_mistake_is_kept() {
        let graph = Graph::new();
        let x = graph.input("x", &[4]);
        x.scope("stem", |x| x.conv2d(8, 3)).linear(2).relu();
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "stem.conv2d: needs an image [channels, height, width], got [N, 4]");
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let graph = Graph::new();
        graph.input("x", &[usize::MAX, 2]);
        assert!(graph.check().is_err());
        let graph = Graph::new();
        let _ = graph.input("x", &[1 << 20, 8, 8]).conv2d(1 << 22, 3).batch_norm().relu();
        assert!(graph.check().unwrap_err().to_string().contains("absurdly large"));
    }
}
