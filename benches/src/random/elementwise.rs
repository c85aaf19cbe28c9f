//! Operations element by element, and those that draw masks.

use nas_nn::op::Activation;
use serde_json::json;

use super::{Axes, Operation, Sketch};

macro_rules! unary {
    ($name:ident) => {
        Operation {
            name: stringify!($name),
            on: Axes::Any,
            add: |s, x| Some(s.unary(stringify!($name), x, |v| v.$name())),
        }
    };
}

pub(super) const ALL: &[Operation] = &[
    unary!(identity),
    unary!(relu),
    unary!(relu6),
    unary!(softplus),
    unary!(sigmoid),
    unary!(hard_sigmoid),
    unary!(tanh),
    unary!(silu),
    unary!(hard_swish),
    unary!(gelu),
    unary!(gelu_tanh),
    Operation { name: "leaky_relu", on: Axes::Any, add: leaky_relu },
    Operation { name: "elu", on: Axes::Any, add: elu },
    Operation { name: "activation", on: Axes::Any, add: activation },
    Operation { name: "exp", on: Axes::Any, add: exp },
    Operation { name: "ln", on: Axes::Any, add: ln },
    Operation { name: "scale", on: Axes::Any, add: scale },
    Operation { name: "zeros_like", on: Axes::Any, add: zeros_like },
    Operation { name: "add", on: Axes::Any, add: |s, x| Some(binary(s, x, "add")) },
    Operation { name: "sub", on: Axes::Any, add: |s, x| Some(binary(s, x, "sub")) },
    Operation { name: "mul", on: Axes::Any, add: |s, x| Some(binary(s, x, "mul")) },
    Operation { name: "dropout", on: Axes::Any, add: dropout },
    Operation { name: "drop_path", on: Axes::Any, add: drop_path },
];

fn leaky_relu(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let slope = s.number(0.01, 0.3);
    Some(s.op("leaky_relu", &[x], json!({ "slope": slope }), |v| v[0].leaky_relu(slope)))
}

fn elu(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let alpha = s.number(0.5, 1.5);
    Some(s.op("elu", &[x], json!({ "alpha": alpha }), |v| v[0].elu(alpha)))
}

/// An activation by its name, as a search space has it.
fn activation(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let activation = Activation::ALL[s.below(Activation::ALL.len())];
    let y = s.op("activation", &[x], json!({ "name": activation.to_string() }), |v| v[0].activation(activation));
    // Nothing comes back through a zero.
    Some(if activation == Activation::Zero { sum(s, x, y) } else { y })
}

/// Of numbers that are not large, lest the next exponential overflows.
fn exp(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let x = s.unary("tanh", x, |v| v.tanh());
    Some(s.unary("exp", x, |v| v.exp()))
}

/// Of positive numbers.
fn ln(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let x = s.unary("sigmoid", x, |v| v.sigmoid());
    Some(s.unary("ln", x, |v| v.ln()))
}

fn scale(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let factor = s.number(-1.5, 1.5);
    Some(s.op("scale", &[x], json!({ "factor": factor }), |v| v[0].scale(factor)))
}

fn zeros_like(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let zeros = s.unary("zeros_like", x, |v| v.zeros_like());
    Some(sum(s, x, zeros))
}

fn sum(s: &mut Sketch<'_>, x: usize, y: usize) -> usize {
    s.op("add", &[x, y], json!({}), |v| v[0] + v[1])
}

/// A sum, difference or product with a value of the same sizes, of fewer axes, or with axes of one, on either side.
fn binary(s: &mut Sketch<'_>, x: usize, op: &'static str) -> usize {
    let dims = s.dims(x);
    let other = match s.below(4) {
        0 => s.beside(x, &dims),
        1 => {
            let from = s.below(dims.len());
            s.parameter(&dims[from..])
        }
        kind => {
            let dims: Vec<usize> = dims.iter().map(|&n| if s.coin() { n } else { 1 }).collect();
            if kind == 2 { s.fresh(&dims) } else { s.parameter(&dims) }
        }
    };
    let pair = if s.coin() { [x, other] } else { [other, x] };
    s.op(op, &pair, json!({}), |v| match op {
        "add" => v[0] + v[1],
        "sub" => v[0] - v[1],
        _ => v[0] * v[1],
    })
}

/// Of numbers that are nowhere zero, so that the zeros of the result are the mask.
fn dropout(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let x = s.unary("sigmoid", x, |v| v.sigmoid());
    let rate = s.number(0.1, 0.6);
    let y = s.op("dropout", &[x], json!({ "rate": rate }), |v| v[0].dropout(rate));
    s.masked.push(y);
    Some(y)
}

/// The same.
fn drop_path(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let x = s.unary("sigmoid", x, |v| v.sigmoid());
    let rate = s.number(0.1, 0.6);
    let y = s.op("drop_path", &[x], json!({ "rate": rate }), |v| v[0].drop_path(rate));
    s.masked.push(y);
    Some(y)
}
