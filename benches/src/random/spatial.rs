//! Convolutions, pooling and normalisations.

use nas_nn::op::{Conv1d, Conv2d};
use serde_json::json;

use super::{Axes, Operation, Sketch};

pub(super) const ALL: &[Operation] = &[
    Operation { name: "conv", on: Axes::Exactly(3), add: conv },
    Operation { name: "conv2d", on: Axes::Exactly(3), add: conv2d },
    Operation { name: "conv1d", on: Axes::Exactly(2), add: conv1d },
    Operation { name: "max_pool2d", on: Axes::Exactly(3), add: max_pool2d },
    Operation { name: "max_pool2d_with", on: Axes::Exactly(3), add: max_pool2d_with },
    Operation { name: "avg_pool2d", on: Axes::Exactly(3), add: avg_pool2d },
    Operation { name: "adaptive_avg_pool2d", on: Axes::Exactly(3), add: adaptive_avg_pool2d },
    Operation {
        name: "global_avg_pool",
        on: Axes::Exactly(3),
        add: |s, x| Some(s.unary("global_avg_pool", x, |v| v.global_avg_pool())),
    },
    Operation { name: "max_pool1d", on: Axes::Exactly(2), add: max_pool1d },
    Operation { name: "max_pool1d_with", on: Axes::Exactly(2), add: max_pool1d_with },
    Operation { name: "avg_pool1d", on: Axes::Exactly(2), add: avg_pool1d },
    Operation { name: "batch_norm", on: Axes::Any, add: |s, x| Some(s.unary("batch_norm", x, |v| v.batch_norm())) },
    Operation { name: "layer_norm", on: Axes::Any, add: layer_norm },
    Operation { name: "rms_norm", on: Axes::Any, add: |s, x| Some(s.unary("rms_norm", x, |v| v.rms_norm())) },
    Operation { name: "group_norm", on: Axes::Any, add: group_norm },
];

/// Groups that divide both numbers: one, one for each input, or something between.
fn groups(s: &mut Sketch<'_>, channels: usize) -> usize {
    let divisors: Vec<usize> = (1..=channels).filter(|n| channels.is_multiple_of(*n)).collect();
    divisors[s.below(divisors.len())]
}

/// Filters for that many groups; of one group as many as any axis has.
fn filters(s: &mut Sketch<'_>, groups: usize) -> usize {
    if groups == 1 { s.width() } else { groups * s.between(1, if groups > 8 { 1 } else { 3 }) }
}

/// Every setting: kernels of any shape, strides, uneven padding, dilation, groups up to depthwise, bias.
fn conv(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let &[channels, height, width] = &s.dims(x)[..] else { return None };
    let groups = groups(s, channels);
    let filters = filters(s, groups);
    let kernel = if s.coin() { [3, 3] } else { [s.between(1, 4), s.between(1, 4)] };
    let (stride, dilation, bias) = (s.between(1, 2), s.between(1, 2), s.coin());
    let padding = if s.coin() { [1; 4] } else { [0; 4].map(|_| s.below(3)) };
    let [top, left, bottom, right] = padding;
    let reach = kernel.map(|k| dilation * (k - 1) + 1);
    if height + top + bottom < reach[0] || width + left + right < reach[1] {
        return None;
    }
    let conv = Conv2d::new(filters, 1).kernel(kernel[0], kernel[1]).stride(stride).dilation(dilation);
    let conv = conv.padding(padding).groups(groups).bias(bias);
    let with = json!({ "stride": stride, "dilation": dilation, "padding": padding, "groups": groups });
    Some(s.op("conv", &[x], with, |v| v[0].conv(conv)))
}

fn conv2d(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let (filters, kernel) = (s.width(), 1 + 2 * s.below(3));
    Some(s.op("conv2d", &[x], json!({}), |v| v[0].conv2d(filters, kernel)))
}

fn conv1d(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let &[channels, length] = &s.dims(x)[..] else { return None };
    let groups = groups(s, channels);
    let filters = filters(s, groups);
    let (kernel, stride, dilation) = (s.between(1, 4), s.between(1, 2), s.between(1, 2));
    let (padding, bias) = ([s.below(3), s.below(3)], s.coin());
    if length + padding[0] + padding[1] < dilation * (kernel - 1) + 1 {
        return None;
    }
    let conv = Conv1d::new(filters, kernel).stride(stride).dilation(dilation).padding(padding);
    let conv = conv.groups(groups).bias(bias);
    let with = json!({ "stride": stride, "dilation": dilation, "padding": padding, "groups": groups });
    Some(s.op("conv1d", &[x], with, |v| v[0].conv1d(conv)))
}

/// A kernel of 2 or more that fits into `size`.
fn window(s: &mut Sketch<'_>, size: usize) -> Option<usize> {
    (size >= 2).then(|| s.between(2, size.min(3)))
}

fn smallest(s: &Sketch<'_>, x: usize) -> usize {
    let dims = s.dims(x);
    dims[1..].iter().copied().min().unwrap_or(0)
}

fn max_pool2d(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let smallest = smallest(s, x);
    let kernel = window(s, smallest)?;
    Some(s.op("max_pool2d", &[x], json!({ "kernel": kernel }), |v| v[0].max_pool2d(kernel)))
}

/// Kernel, stride and padding of windows that may overlap and reach over the border.
fn windows(s: &mut Sketch<'_>, x: usize) -> Option<[usize; 3]> {
    let smallest = smallest(s, x);
    let kernel = window(s, smallest)?;
    Some([kernel, s.between(1, 3), s.between(0, kernel / 2)])
}

fn max_pool2d_with(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let [kernel, stride, padding] = windows(s, x)?;
    let with = json!({ "kernel": kernel, "stride": stride, "padding": padding });
    Some(s.op("max_pool2d_with", &[x], with, |v| v[0].max_pool2d_with(kernel, stride, padding)))
}

fn avg_pool2d(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let [kernel, stride, padding] = windows(s, x)?;
    let with = json!({ "kernel": kernel, "stride": stride, "padding": padding });
    Some(s.op("avg_pool2d", &[x], with, |v| v[0].avg_pool2d(kernel, stride, padding)))
}

fn adaptive_avg_pool2d(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let (height, width) = (s.between(1, 4), s.between(1, 4));
    let with = json!({ "size": [height, width] });
    Some(s.op("adaptive_avg_pool2d", &[x], with, |v| v[0].adaptive_avg_pool2d(height, width)))
}

fn max_pool1d(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let length = s.last(x);
    let kernel = window(s, length)?;
    Some(s.op("max_pool1d", &[x], json!({ "kernel": kernel }), |v| v[0].max_pool1d(kernel)))
}

fn max_pool1d_with(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let [kernel, stride, padding] = windows(s, x)?;
    let with = json!({ "kernel": kernel, "stride": stride, "padding": padding });
    Some(s.op("max_pool1d_with", &[x], with, |v| v[0].max_pool1d_with(kernel, stride, padding)))
}

fn avg_pool1d(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let [kernel, stride, padding] = windows(s, x)?;
    let with = json!({ "kernel": kernel, "stride": stride, "padding": padding });
    Some(s.op("avg_pool1d", &[x], with, |v| v[0].avg_pool1d(kernel, stride, padding)))
}

/// Of rows of several numbers: one alone is always normalised to zero.
fn layer_norm(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    (s.last(x) > 2).then(|| s.unary("layer_norm", x, |v| v.layer_norm()))
}

fn group_norm(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let dims = s.dims(x);
    let groups = groups(s, dims[0]);
    (dims.iter().product::<usize>() / groups > 2)
        .then(|| s.op("group_norm", &[x], json!({ "groups": groups }), |v| v[0].group_norm(groups)))
}
