//! Products of matrices, reductions, and operations that move or cut values.

use nas_nn::Init;
use serde_json::json;

use super::{Axes, Operation, Sketch};

/// Values beyond this many numbers an example are not made larger.
const LARGE: usize = 300;

pub(super) const ALL: &[Operation] = &[
    Operation { name: "linear", on: Axes::Any, add: linear },
    Operation { name: "linear_no_bias", on: Axes::Any, add: linear_no_bias },
    Operation { name: "linear_with", on: Axes::Any, add: linear_with },
    Operation { name: "linear_tied", on: Axes::Any, add: linear_tied },
    Operation { name: "matmul", on: Axes::Any, add: matmul },
    Operation { name: "batched_matmul", on: Axes::AtLeast(2), add: batched_matmul },
    Operation { name: "batched_matmul_transposed", on: Axes::AtLeast(2), add: batched_matmul_transposed },
    Operation { name: "factorization_machine", on: Axes::AtLeast(2), add: factorization_machine },
    Operation { name: "dot_interaction", on: Axes::AtLeast(2), add: dot_interaction },
    Operation { name: "softmax", on: Axes::Any, add: softmax },
    Operation { name: "log_softmax", on: Axes::Any, add: log_softmax },
    Operation { name: "masked", on: Axes::Any, add: masked },
    Operation { name: "gather", on: Axes::AtLeast(2), add: gather },
    Operation { name: "sum_axis", on: Axes::AtLeast(2), add: sum_axis },
    Operation { name: "mean_axis", on: Axes::AtLeast(2), add: mean_axis },
    Operation { name: "batch_sum", on: Axes::Any, add: batch_sum },
    Operation { name: "batch_mean", on: Axes::Any, add: batch_mean },
    Operation { name: "permute", on: Axes::AtLeast(2), add: permute },
    Operation { name: "transpose", on: Axes::AtLeast(2), add: |s, x| Some(s.unary("transpose", x, |v| v.transpose())) },
    Operation { name: "reshape", on: Axes::Any, add: reshape },
    Operation { name: "flatten", on: Axes::AtLeast(2), add: |s, x| Some(s.unary("flatten", x, |v| v.flatten())) },
    Operation { name: "slice", on: Axes::Any, add: slice },
    Operation { name: "split", on: Axes::Any, add: split },
    Operation { name: "concat", on: Axes::Any, add: concat },
];

fn linear(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let units = s.width();
    Some(s.op("linear", &[x], json!({}), |v| v[0].linear(units)))
}

fn linear_no_bias(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let units = s.width();
    Some(s.op("linear_no_bias", &[x], json!({}), |v| v[0].linear_no_bias(units)))
}

fn linear_with(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let (units, bias) = (s.width(), s.coin());
    Some(s.op("linear_with", &[x], json!({}), |v| v[0].linear_with(units, Init::Normal { std: 0.3 }, bias)))
}

/// Of a matrix that stands transposed.
fn linear_tied(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let dims = [s.width(), s.last(x)];
    let table = s.parameter(&dims);
    Some(s.op("linear_tied", &[x, table], json!({}), |v| v[0].linear_tied(v[1])))
}

fn matmul(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let dims = [s.last(x), s.width()];
    let weight = s.parameter(&dims);
    Some(s.op("matmul", &[x, weight], json!({}), |v| v[0].matmul(v[1])))
}

fn batched_matmul(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let mut dims = s.dims(x);
    let rank = dims.len();
    dims[rank - 2] = dims[rank - 1];
    dims[rank - 1] = s.between(1, 6);
    let other = s.beside(x, &dims);
    Some(s.op("batched_matmul", &[x, other], json!({}), |v| v[0].batched_matmul(v[1])))
}

fn batched_matmul_transposed(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let mut dims = s.dims(x);
    let rank = dims.len();
    dims[rank - 2] = s.between(1, 6);
    let other = s.beside(x, &dims);
    let name = "batched_matmul_transposed";
    Some(s.op(name, &[x, other], json!({}), |v| v[0].batched_matmul_transposed(v[1])))
}

fn factorization_machine(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let y = s.unary("factorization_machine", x, |v| v.factorization_machine());
    // A single number becomes an axis, which later operations need.
    Some(if s.dims(y).is_empty() { s.op("reshape", &[y], json!({ "dims": [1] }), |v| v[0].reshape(&[1])) } else { y })
}

fn dot_interaction(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let dims = s.dims(x);
    (dims[dims.len() - 2] > 1).then(|| s.unary("dot_interaction", x, |v| v.dot_interaction()))
}

/// Of rows of several numbers: the share of one alone is always the whole.
fn softmax(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    (s.last(x) > 1).then(|| s.unary("softmax", x, |v| v.softmax()))
}

fn log_softmax(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    (s.last(x) > 1).then(|| s.unary("log_softmax", x, |v| v.log_softmax()))
}

/// Masked logits are softmaxed: what is left of 10⁹ says nothing.
fn masked(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let dims = s.dims(x);
    if dims[dims.len() - 1] < 2 {
        return None;
    }
    let mask = s.classes(&dims, 2, 0);
    let y = s.op("masked", &[x, mask], json!({}), |v| v[0].masked(v[1]));
    Some(s.unary("softmax", y, |v| v.softmax()))
}

fn gather(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let dims = s.dims(x);
    let (&classes, rest) = dims.split_last()?;
    let index = s.classes(rest, classes, 0);
    Some(s.op("gather", &[x, index], json!({}), |v| v[0].gather(v[1])))
}

fn sum_axis(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let axis = any_axis(s, x);
    Some(s.op("sum_axis", &[x], json!({ "axis": axis }), |v| v[0].sum_axis(axis)))
}

fn mean_axis(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let axis = any_axis(s, x);
    Some(s.op("mean_axis", &[x], json!({ "axis": axis }), |v| v[0].mean_axis(axis)))
}

/// A value of the batch as a whole meets every example again.
fn batch_sum(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let sum = s.unary("batch_sum", x, |v| v.batch_sum());
    let sum = s.unary("tanh", sum, |v| v.tanh());
    Some(s.op("mul", &[x, sum], json!({}), |v| v[0] * v[1]))
}

fn batch_mean(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let mean = s.unary("batch_mean", x, |v| v.batch_mean());
    Some(s.op("sub", &[x, mean], json!({}), |v| v[0] - v[1]))
}

fn permute(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let mut axes: Vec<usize> = (0..s.dims(x).len()).collect();
    for i in (1..axes.len()).rev() {
        let j = s.between(0, i);
        axes.swap(i, j);
    }
    Some(s.op("permute", &[x], json!({ "axes": axes }), |v| v[0].permute(&axes)))
}

/// Two axes become one, or one becomes two.
fn reshape(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let mut dims = s.dims(x);
    let axis = s.below(dims.len());
    let size = dims[axis];
    match (2..size).find(|part| size.is_multiple_of(*part)) {
        Some(part) if dims.len() < 3 => {
            dims[axis] /= part;
            dims.insert(axis, part);
        }
        _ if dims.len() > 1 => {
            let next = if axis + 1 < dims.len() { axis } else { axis - 1 };
            dims[next] *= dims.remove(next + 1);
        }
        _ => dims.insert(0, 1),
    }
    Some(s.op("reshape", &[x], json!({ "dims": dims }), |v| v[0].reshape(&dims)))
}

fn slice(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let axis = any_axis(s, x);
    let size = s.dims(x)[axis];
    let start = s.below(size);
    let end = s.between(start + 1, size);
    Some(s.op("slice", &[x], json!({ "axis": axis, "start": start, "end": end }), |v| v[0].slice(axis, start, end)))
}

/// All parts, put together again the other way round.
fn split(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let axis = any_axis(s, x);
    let size = s.dims(x)[axis];
    if size < 2 {
        return None;
    }
    let first = s.between(1, size - 1);
    let mut sizes = vec![first];
    if size - first > 1 && s.coin() {
        sizes.push(1);
    }
    sizes.push(size - sizes.iter().sum::<usize>());
    let mut parts = s.ops("split", &[x], json!({ "axis": axis, "sizes": sizes }), |v| v[0].split(axis, &sizes));
    parts.reverse();
    Some(s.op("concat", &parts, json!({ "axis": axis }), |v| v[0].concat(&v[1..], axis)))
}

fn concat(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let mut dims = s.dims(x);
    let axis = any_axis(s, x);
    dims[axis] = s.between(1, 4);
    if s.dims(x).iter().product::<usize>() > LARGE {
        return None;
    }
    let others = [s.beside(x, &dims), x];
    let count = s.between(1, 2);
    let inputs: Vec<usize> = std::iter::once(x).chain(others).take(1 + count).collect();
    Some(s.op("concat", &inputs, json!({ "axis": axis }), |v| v[0].concat(&v[1..], axis)))
}

fn any_axis(s: &mut Sketch<'_>, x: usize) -> usize {
    let rank = s.dims(x).len();
    s.below(rank)
}
