//! Fusion: operations that follow each other become one that goes over memory once.
//!
//! A pass works on the planner's copy of the nodes; the graph, its parameters and its costs stay as they were built. A node that was
//! fused into a later one is no longer reached and drops out. Rules are tried in the order of the nodes, so chains grow:
//!
//! * the same activation of the same value is computed once;
//! * batch norm, then a sum with a value like it, then an activation: `activation(batch_norm(x) + residual)`; the sum and
//!   the activation may each be missing.

use std::any::Any;
use std::sync::Arc;

use super::plan::root_of;
use crate::graph::{Kind, Node, NodeId};
use crate::op::Op;
use crate::op::activation::Activation;
use crate::op::add::Add;
use crate::op::batch_norm::BatchNorm;

/// Fuses what can be fused. `kept` are nodes whose own value somebody wants.
pub(super) fn fuse(nodes: &mut [Node], kept: &[usize]) {
    share(nodes);
    let mut uses = vec![0_usize; nodes.len()];
    for x in nodes.iter().flat_map(|node| &node.inputs) {
        uses[x.index()] += 1;
    }
    for &node in kept {
        uses[node] += 1;
    }
    for i in 0..nodes.len() {
        if let Some(node) = activated(nodes, &uses, i).or_else(|| added(nodes, &uses, i)) {
            nodes[i] = node;
        }
    }
}

/// Lets everything that reads an activation read the first one like it of the same value: branches that each start with a ReLU.
fn share(nodes: &mut [Node]) {
    let mut first: Vec<(usize, Activation, usize)> = Vec::new();
    let mut instead: Vec<Option<usize>> = vec![None; nodes.len()];
    for i in 0..nodes.len() {
        // A view stays with its memory: what reads it may read the twin as well.
        let is_view = matches!(&nodes[i].kind, Kind::Op(op) if op.is_view());
        for k in 0..if is_view { 0 } else { nodes[i].inputs.len() } {
            let Some(twin) = instead[nodes[i].inputs[k].index()] else { continue };
            // An operation has one gradient for one memory, so it never reads a memory twice.
            let alone = nodes[i].inputs.iter().all(|x| root_of(nodes, x.index()) != twin);
            if alone {
                nodes[i].inputs[k] = NodeId::new(twin);
            }
        }
        if let Some(activation) = as_op::<Activation>(nodes, i) {
            let input = nodes[i].inputs[0].index();
            match first.iter().find(|(x, f, _)| *x == input && *f == activation) {
                Some(&(.., twin)) => instead[i] = Some(twin),
                None => first.push((input, activation, i)),
            }
        }
    }
}

/// The operation of node `i`, if it is a `T`.
fn as_op<T: Op + Copy>(nodes: &[Node], i: usize) -> Option<T> {
    match &nodes[i].kind {
        Kind::Op(op) => (&**op as &dyn Any).downcast_ref::<T>().copied(),
        _ => None,
    }
}

/// An activation of a normalisation that nothing else reads.
fn activated(nodes: &[Node], uses: &[usize], i: usize) -> Option<Node> {
    let activation = as_op::<Activation>(nodes, i)?;
    let input = nodes[i].inputs[0].index();
    let norm = as_op::<BatchNorm>(nodes, input).filter(|_| uses[input] == 1)?;
    Some(replaced(nodes, i, input, norm.then(activation)?, None))
}

/// A sum of two values of one shape, one of them a plain normalisation that nothing else reads. If both are, the later one
/// takes in the earlier.
fn added(nodes: &[Node], uses: &[usize], i: usize) -> Option<Node> {
    as_op::<Add>(nodes, i)?;
    let terms = [nodes[i].inputs[0].index(), nodes[i].inputs[1].index()];
    let mut choices = [(terms[0], 1), (terms[1], 0)];
    choices.sort_unstable_by_key(|&(term, _)| std::cmp::Reverse(term));
    choices.into_iter().find_map(|(term, other)| {
        let norm = as_op::<BatchNorm>(nodes, term)?;
        let plain = !norm.residual && norm.activation.is_none() && uses[term] == 1;
        let alike = nodes[terms[other]].shape == nodes[i].shape && nodes[term].shape == nodes[i].shape;
        // One operation has one gradient for one memory.
        let apart = root_of(nodes, nodes[term].inputs[0].index()) != root_of(nodes, terms[other]);
        // The residual must be there before the normalisation runs; it runs where the sum stood.
        (plain && alike && apart)
            .then(|| replaced(nodes, i, term, BatchNorm { residual: true, ..norm }, Some(terms[other])))
    })
}

/// Node `i` as `norm` with what node `from` read, and a residual.
fn replaced(nodes: &[Node], i: usize, from: usize, norm: BatchNorm, residual: Option<usize>) -> Node {
    let mut inputs = nodes[from].inputs.clone();
    inputs.extend(residual.map(NodeId::new));
    let (shape, states) = (nodes[i].shape.clone(), nodes[from].states.clone());
    let (path, mut fused) = (nodes[from].path.clone(), nodes[from].fused.clone());
    fused.push(nodes[i].path.clone());
    Node { kind: Kind::Op(Arc::new(norm)), inputs, shape, states, path, fused }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;
    use crate::{Graph, Plan, Var};

    /// The operations of a training plan for `build`, in order.
    fn steps(build: impl for<'g> Fn(Var<'g>) -> Var<'g>) -> Vec<&'static str> {
        let graph = Graph::new();
        let loss = build(graph.input("x", &[3, 4, 4])).sum();
        let plan = Plan::train(&graph, loss, &[], 2).unwrap();
        plan.forward_steps().map(|step| step.op.name()).collect()
    }

    fn norm_act(x: Var<'_>) -> Var<'_> {
        x.batch_norm().silu()
    }

    fn norm_add(x: Var<'_>) -> Var<'_> {
        x.tanh() + x.batch_norm()
    }

    fn two_norms(x: Var<'_>) -> Var<'_> {
        (x.batch_norm() + x.tanh().batch_norm()).relu()
    }

    fn residual_block(x: Var<'_>) -> Var<'_> {
        let y = x.relu();
        (y.conv2d(3, 3).batch_norm() + y).relu6()
    }

    #[test]
    fn chains_become_one_operation() {
        assert_eq!(steps(norm_act), ["batch_norm+act", "sum"]);
        assert_eq!(steps(norm_add), ["tanh", "batch_norm+add", "sum"]);
        assert_eq!(steps(two_norms), ["batch_norm", "tanh", "batch_norm+add+act", "sum"]);
        assert_eq!(steps(residual_block), ["relu", "conv2d", "batch_norm+add+act", "sum"]);
    }

    #[test]
    fn what_others_read_or_no_rule_knows_stays() {
        assert_eq!(steps(|x| x.batch_norm().gelu()), ["batch_norm", "gelu", "sum"]);
        fn twice(x: Var<'_>) -> Var<'_> {
            let y = x.batch_norm();
            y.relu() + y
        }
        assert_eq!(steps(twice), ["batch_norm", "relu", "add", "sum"]);
        // The residual is the very memory that is normalised.
        assert_eq!(steps(|x| x.batch_norm() + x), ["batch_norm", "add", "sum"]);
        let graph = Graph::new();
        let norm = graph.input("x", &[3, 4, 4]).batch_norm();
        let plan = Plan::train(&graph, norm.relu().sum(), &[norm], 2).unwrap();
        assert_eq!(plan.forward_steps().count(), 3, "an output keeps its own value");
    }

    #[test]
    fn the_same_activation_is_computed_once() {
        fn branches(x: Var<'_>) -> Var<'_> {
            let y = x.conv2d(3, 3);
            y.relu().conv2d(3, 3) + y.relu().conv2d(3, 1) + y.relu6().conv2d(3, 1)
        }
        let expected = ["conv2d", "relu", "conv2d", "conv2d", "add", "relu6", "conv2d", "add", "sum"];
        assert_eq!(steps(branches), expected);
        gradcheck(&[&[2, 3, 3]], |v| v[0].tanh() * v[0].tanh() + v[0].tanh());
        gradcheck(&[&[2, 4, 4]], |v| v[0].sigmoid().conv2d(2, 3) + v[0].sigmoid());
        // Twins under another shape, on either side.
        gradcheck(&[&[2, 2]], |v| v[0].tanh() * v[0].tanh().reshape(&[4]).reshape(&[2, 2]));
        gradcheck(&[&[2, 2]], |v| v[0].tanh().reshape(&[4]).reshape(&[2, 2]) * v[0].tanh());
    }

    #[test]
    fn gradients() {
        let dims: &[&[usize]] = &[&[3, 4, 4]];
        gradcheck(dims, |v| norm_act(v[0]));
        gradcheck(dims, |v| norm_add(v[0]));
        gradcheck(dims, |v| two_norms(v[0]));
        gradcheck(dims, |v| residual_block(v[0]));
    }
}
