//! 2-D convolution of [batch, channels, height, width] tensors: forward, input gradient, weight gradient.
//!
//! All three passes are direct: one image at a time is packed with a border of zeros (`lattice`), so that it stays in the
//! cache, and vectors run over its pixels (`tile`, `weight`). That serves any number of channels, kernel, stride, padding,
//! dilation and groups by one table of taps.

mod lattice;
mod tile;
mod vector;
mod weight;

use lattice::{Axis, Class, Lattice, Span, max_spans, pack, write_spans};
use tile::{MAX_BLOCK, Tiles, blocks};
use vector::{lanes, spread, sums};
use weight::Weights;

/// The geometry of a 2-D convolution; its weights are [filters, channels / groups, kernel height, kernel width].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Examples.
    pub batch: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Channels of the output.
    pub filters: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps of the kernel, down and across.
    pub stride: [usize; 2],
    /// Zeros around the input: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Distances of the kernel's elements, down and across.
    pub dilation: [usize; 2],
    /// Groups of channels that see only each other; `channels` of them are a depthwise convolution.
    pub groups: usize,
}

impl Conv2d {
    /// Height and width of the output; 0 where the kernel does not fit.
    pub fn output(&self) -> [usize; 2] {
        let [top, left, bottom, right] = self.padding;
        let size = |n: usize, k: usize, s: usize, d: usize| {
            let reach = d * k.saturating_sub(1) + 1;
            if n < reach || s == 0 { 0 } else { (n - reach) / s + 1 }
        };
        [
            size(self.height + top + bottom, self.kernel[0], self.stride[0], self.dilation[0]),
            size(self.width + left + right, self.kernel[1], self.stride[1], self.dilation[1]),
        ]
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.channels * self.height * self.width
    }

    /// Elements of the weights.
    pub fn weight_len(&self) -> usize {
        self.filters * (self.channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        let [h, w] = self.output();
        self.batch * self.filters * h * w
    }

    /// Multiply-adds of one pass.
    pub fn multiply_adds(&self) -> u64 {
        let per_output = self.channels / self.groups * self.kernel[0] * self.kernel[1];
        self.output_len() as u64 * per_output as u64
    }

    /// Weights that one output element uses.
    fn depth(&self) -> usize {
        self.channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    #[track_caller]
    fn check(&self, x: usize, w: usize, y: usize, scratch: usize) {
        let groups = self.groups;
        let divides = groups > 0 && self.channels.is_multiple_of(groups) && self.filters.is_multiple_of(groups);
        assert!(divides, "groups do not divide channels and filters: {self:?}");
        assert!(
            self.kernel.iter().chain(&self.stride).chain(&self.dilation).all(|&n| n > 0),
            "kernel, stride and dilation start at 1: {self:?}"
        );
        assert_eq!(x, self.input_len(), "elements of the input of {self:?}");
        assert_eq!(w, self.weight_len(), "elements of the weights of {self:?}");
        assert_eq!(y, self.output_len(), "elements of the output of {self:?}");
        assert!(scratch >= conv2d_scratch(self), "scratch of {scratch} elements for {self:?}");
    }
}

/// Elements of scratch that each of the three passes may use.
pub fn conv2d_scratch(geo: &Conv2d) -> usize {
    if geo.input_len() == 0 || geo.output_len() == 0 {
        return 0;
    }
    let axes = Axis::of(geo);
    let [oh, ow] = geo.output();
    let input = Lattice::of_input(axes);
    let forward = geo.depth() + 3 * max_spans(oh, ow) + geo.weight_len() + input.image(geo.channels);
    let weight = geo.depth() + group_images(geo, axes) * weight_image(geo, axes);
    let (output, _) = Lattice::of_output(axes);
    let (mut spans, mut plane) = (0, 0);
    for [y, x] in classes(axes) {
        spans += max_spans(y.count, x.count);
        plane = plane.max(y.count * x.count);
    }
    let taps = geo.filters / geo.groups * geo.kernel[0] * geo.kernel[1];
    let tables = geo.stride[0] * geo.stride[1] + taps + 3 * spans;
    let backward = tables + geo.weight_len() + output.image(geo.filters) + MAX_BLOCK * plane;
    forward.max(weight).max(backward) + 2 * ALIGNMENT
}

/// Packed images start on a cache line.
const ALIGNMENT: usize = 16;

/// `y = x ⋆ w`. What `scratch` holds before does not matter.
///
/// # Panics
/// When a slice does not fit the geometry or groups do not divide the channels and filters.
pub fn conv2d_forward(geo: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    geo.check(x.len(), w.len(), y.len(), scratch.len());
    if x.is_empty() || y.is_empty() {
        return y.fill(0.0);
    }
    let (axes, depth, [oh, ow]) = (Axis::of(geo), geo.depth(), geo.output());
    let lattice = Lattice::of_input(axes);
    let mut scratch = Scratch(scratch);
    let image = scratch.image(lattice.image(geo.channels));
    let taps = scratch.indices(depth);
    write_input_taps(geo, axes, &lattice, taps);
    let spans = scratch.spans(max_spans(oh, ow));
    let spans = write_spans(spans, oh, ow, lattice.pitch, lanes());
    let weights = scratch.floats(w.len());
    let per_group = geo.filters / geo.groups;
    for g in 0..geo.groups {
        for (f, size) in blocks(per_group, sums()) {
            let first = (g * per_group + f) * depth;
            for (k, block) in weights[first..first + size * depth].chunks_exact_mut(size).enumerate() {
                for (j, weight) in block.iter_mut().enumerate() {
                    *weight = w[first + j * depth + k];
                }
            }
        }
    }
    let plane = oh * ow;
    let images = x.chunks_exact(geo.channels * geo.height * geo.width);
    for (x, y) in images.zip(y.chunks_exact_mut(geo.filters * plane)) {
        pack(x, [geo.height, geo.width], image, &lattice, Some(axes), [0, 0]);
        for g in 0..geo.groups {
            let x = &image[g * (geo.channels / geo.groups) * lattice.channel()..];
            for (f, size) in blocks(per_group, sums()) {
                let f = g * per_group + f;
                let w = &weights[f * depth..(f + size) * depth];
                let y = &mut y[f * plane..(f + size) * plane];
                Tiles { x, taps, w, spans, y, plane, add: false }.run(size);
            }
        }
    }
}

/// `dx` = the gradient with respect to `x`, added to what is there with `accumulate`.
///
/// Input element i uses the outputs (i + before − t · dilation) / stride of the taps t where that is whole: for a stride
/// s the input falls into classes an axis, each of which is a convolution of stride 1 with its own taps.
///
/// # Panics
/// As [`conv2d_forward`].
pub fn conv2d_backward_input(
    geo: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    geo.check(dx.len(), w.len(), dy.len(), scratch.len());
    let axes = Axis::of(geo);
    let every_residue_has_taps = axes.iter().all(|axis| axis.residues().count() == axis.stride);
    if dy.is_empty() || dx.is_empty() || !every_residue_has_taps {
        if !accumulate {
            dx.fill(0.0);
        }
        if dy.is_empty() || dx.is_empty() {
            return;
        }
    }
    let (lattice, origin) = Lattice::of_output(axes);
    let (filters, channels) = (geo.filters / geo.groups, geo.channels / geo.groups);
    let mut scratch = Scratch(scratch);
    let image = scratch.image(lattice.image(geo.filters));
    let plans = scratch.indices(geo.stride[0] * geo.stride[1]);
    let taps = scratch.indices(filters * geo.kernel[0] * geo.kernel[1]);
    let spans = scratch.spans(classes(axes).map(|[y, x]| max_spans(y.count, x.count)).sum());
    let weights = scratch.floats(w.len());
    let staging = scratch.0;
    write_class_tables(geo, axes, &lattice, origin, w, plans, taps, spans, weights);
    let (plans, taps, spans, weights) = (&*plans, &*taps, &*spans, &*weights);
    let plane = geo.height * geo.width;
    let [oh, ow] = geo.output();
    let direct = geo.stride == [1, 1];
    let images = dy.chunks_exact(geo.filters * oh * ow);
    for (dy, dx) in images.zip(dx.chunks_exact_mut(geo.channels * plane)) {
        pack(dy, [oh, ow], image, &lattice, None, origin);
        let (mut taps, mut spans, mut weights) = (taps, spans, weights);
        for ([cy, cx], &count) in classes(axes).zip(plans) {
            let depth = filters * axes[0].taps(cy).count() * axes[1].taps(cx).count();
            let (tap_table, span_table) = (&taps[..depth], &spans[..count as usize]);
            let class_plane = cy.count * cx.count;
            for g in 0..geo.groups {
                let x = &image[g * filters * lattice.plane..];
                for (c, size) in blocks(channels, sums()) {
                    let (block, rest) = weights.split_at(size * depth);
                    weights = rest;
                    let dx = &mut dx[(g * channels + c) * plane..][..size * plane];
                    let (y, add) = if direct { (&mut *dx, accumulate) } else { (&mut *staging, false) };
                    let y = &mut y[..size * class_plane];
                    Tiles { x, taps: tap_table, w: block, spans: span_table, y, plane: class_plane, add }.run(size);
                    if !direct {
                        unstage(geo, [cy, cx], staging, dx, accumulate);
                    }
                }
            }
            (taps, spans) = (&taps[depth..], &spans[count as usize..]);
        }
    }
}

/// `dw` = the gradient with respect to `w`, added to what is there with `accumulate`.
///
/// # Panics
/// As [`conv2d_forward`].
pub fn conv2d_backward_weight(
    geo: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    geo.check(x.len(), dw.len(), dy.len(), scratch.len());
    if x.is_empty() || dy.is_empty() {
        if !accumulate {
            dw.fill(0.0);
        }
        return;
    }
    let (axes, depth, [oh, ow]) = (Axis::of(geo), geo.depth(), geo.output());
    let lattice = Lattice::of_input(axes);
    let gradient = Lattice::of_gradient(&lattice, axes);
    let (x_image, dy_image) = (lattice.image(geo.channels), geo.filters * gradient.plane);
    let together = group_images(geo, axes);
    let mut scratch = Scratch(scratch);
    let packed_x = scratch.image(together * x_image);
    let packed_dy = scratch.image(together * dy_image);
    let taps = scratch.indices(depth);
    write_input_taps(geo, axes, &lattice, taps);
    let (filters, channels) = (geo.filters / geo.groups, geo.channels / geo.groups);
    let input_image = geo.channels * geo.height * geo.width;
    let output_image = geo.filters * oh * ow;
    let mut first = !accumulate;
    for (x, dy) in x.chunks(together * input_image).zip(dy.chunks(together * output_image)) {
        for (x, packed) in x.chunks_exact(input_image).zip(packed_x.chunks_exact_mut(x_image)) {
            pack(x, [geo.height, geo.width], packed, &lattice, Some(axes), [0, 0]);
        }
        for (dy, packed) in dy.chunks_exact(output_image).zip(packed_dy.chunks_exact_mut(dy_image)) {
            pack(dy, [oh, ow], packed, &gradient, None, [0, 0]);
        }
        for (g, dw) in dw.chunks_exact_mut(filters * depth).enumerate() {
            Weights {
                x: &packed_x[g * channels * lattice.channel()..],
                x_image,
                taps,
                dy: &packed_dy[g * filters * gradient.plane..],
                dy_image,
                dy_plane: gradient.plane,
                images: dy.len() / output_image,
                filters,
                dw,
                first,
            }
            .run();
        }
        first = false;
    }
}

/// How many packed images the weight gradient sums over at once: as many as leave half of a second-level cache free.
fn group_images(geo: &Conv2d, axes: [Axis; 2]) -> usize {
    const CACHE: usize = 32 * 1024;
    (CACHE / weight_image(geo, axes)).clamp(1, geo.batch)
}

/// Packed elements of an image and its output gradient.
fn weight_image(geo: &Conv2d, axes: [Axis; 2]) -> usize {
    let lattice = Lattice::of_input(axes);
    lattice.image(geo.channels) + geo.filters * Lattice::of_gradient(&lattice, axes).plane
}

/// The classes of input elements that some output uses: down and across.
fn classes([y, x]: [Axis; 2]) -> impl Iterator<Item = [Class; 2]> {
    let used = |axis: Axis| axis.residues().map(move |r| axis.class(r)).filter(|class| class.count > 0);
    used(y).flat_map(move |cy| used(x).map(move |cx| [cy, cx]))
}

/// Where the taps of one group's window lie, relative to the output's position, in the order of the weights.
fn write_input_taps(geo: &Conv2d, [y, x]: [Axis; 2], lattice: &Lattice, taps: &mut [u32]) {
    let (of_channel, per_channel) = (lattice.channel(), geo.kernel[0] * geo.kernel[1]);
    for (c, taps) in taps.chunks_exact_mut(per_channel).enumerate() {
        for (t, tap) in taps.iter_mut().enumerate() {
            let (ky, kx) = (t / geo.kernel[1], t % geo.kernel[1]);
            let phase = y.phase(y.residue(ky)) * lattice.phases[1] + x.phase(x.residue(kx));
            let at = phase * lattice.plane + y.shift(ky) * lattice.pitch + x.shift(kx);
            *tap = (c * of_channel + at) as u32;
        }
    }
}

/// The tables of the input gradient, one class after another: number of spans, taps, spans, weights
/// [groups][blocks of channels][filters · taps][block].
#[allow(clippy::too_many_arguments)]
fn write_class_tables(
    geo: &Conv2d,
    axes: [Axis; 2],
    lattice: &Lattice,
    origin: [isize; 2],
    w: &[f32],
    counts: &mut [u32],
    taps: &mut [u32],
    mut spans: &mut [Span],
    weights: &mut [f32],
) {
    let (filters, channels) = (geo.filters / geo.groups, geo.channels / geo.groups);
    let per_channel = geo.kernel[0] * geo.kernel[1];
    let (mut next_tap, mut next_weight) = (taps.iter_mut(), weights.iter_mut());
    for ([cy, cx], count) in classes(axes).zip(counts) {
        let window = || axes[0].taps(cy).flat_map(|ky| axes[1].taps(cx).map(move |kx| (ky, kx)));
        for f in 0..filters {
            for ((ky, kx), tap) in window().zip(&mut next_tap) {
                let row = cy.first as isize - axes[0].shift(ky) as isize - origin[0];
                let column = cx.first as isize - axes[1].shift(kx) as isize - origin[1];
                *tap = (f * lattice.plane) as u32 + (row * lattice.pitch as isize + column) as u32;
            }
        }
        let n = write_spans(spans, cy.count, cx.count, lattice.pitch, lanes()).len();
        *count = n as u32;
        spans = &mut spans[n..];
        for g in 0..geo.groups {
            for (c, size) in blocks(channels, sums()) {
                for f in 0..filters {
                    for (ky, kx) in window() {
                        for (c, weight) in (c..c + size).zip(&mut next_weight) {
                            let kernel = (g * filters + f) * channels + c;
                            *weight = w[kernel * per_channel + ky * geo.kernel[1] + kx];
                        }
                    }
                }
            }
        }
    }
}

/// Moves the gradients of one class from their dense planes to their places in `dx`.
fn unstage(geo: &Conv2d, [cy, cx]: [Class; 2], staging: &[f32], dx: &mut [f32], add: bool) {
    let place =
        |class: Class, axis: usize, i: usize| geo.stride[axis] * (class.first + i) + class.residue - geo.padding[axis];
    let rows = cy.count;
    for (i, row) in staging.chunks_exact(cx.count).take(dx.len() / (geo.height * geo.width) * rows).enumerate() {
        let y = i / rows * geo.height + place(cy, 0, i % rows);
        spread(row, &mut dx[y * geo.width + place(cx, 1, 0)..], geo.stride[1], add);
    }
}

/// Scratch memory, given out from the front.
struct Scratch<'a>(&'a mut [f32]);

impl<'a> Scratch<'a> {
    fn floats(&mut self, n: usize) -> &'a mut [f32] {
        let (taken, rest) = std::mem::take(&mut self.0).split_at_mut(n);
        self.0 = rest;
        taken
    }

    /// Zeros that start on a cache line.
    fn image(&mut self, n: usize) -> &'a mut [f32] {
        let skip = self.0.as_ptr().align_offset(4 * ALIGNMENT).min(ALIGNMENT);
        self.floats(skip);
        let image = self.floats(n);
        image.fill(0.0);
        image
    }

    fn indices(&mut self, n: usize) -> &'a mut [u32] {
        let floats = self.floats(n);
        // SAFETY: u32 and f32 have the same size and alignment, and every bit pattern is a value of both.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), n) }
    }

    fn spans(&mut self, n: usize) -> &'a mut [Span] {
        const { assert!(size_of::<Span>() == 12 && align_of::<Span>() == 4) }
        let floats = self.floats(3 * n);
        // SAFETY: a span is three u32, see above.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), n) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    fn check(geo: &Conv2d) {
        let (x, w) = (values(geo.input_len(), 1), values(geo.weight_len(), 2));
        let (dy, start) = (values(geo.output_len(), 3), values(geo.input_len().max(geo.weight_len()), 4));
        let mut y = vec![0.0f64; dy.len()];
        let (mut dx, mut dw) = (vec![0.0f64; x.len()], vec![0.0f64; w.len()]);
        plain(geo, |xi, wi, yi| {
            y[yi] += f64::from(x[xi]) * f64::from(w[wi]);
            dx[xi] += f64::from(dy[yi]) * f64::from(w[wi]);
            dw[wi] += f64::from(dy[yi]) * f64::from(x[xi]);
        });
        let single = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let (y, dx, dw) = (single(&y), single(&dx), single(&dw));
        let plus = |x: &[f32]| x.iter().zip(&start).map(|(a, b)| a + b).collect::<Vec<f32>>();
        on_every_simd(|_| {
            // NaN in the scratch and outputs shows what is read before it is written.
            let scratch = || vec![f32::NAN; conv2d_scratch(geo)];
            let mut out = vec![f32::NAN; y.len()];
            conv2d_forward(geo, &x, &w, &mut out, &mut scratch());
            assert_close(&out, &y, 2e-5);
            let mut out = vec![f32::NAN; x.len()];
            conv2d_backward_input(geo, &w, &dy, &mut out, false, &mut scratch());
            assert_close(&out, &dx, 2e-5);
            let mut out = start[..x.len()].to_vec();
            conv2d_backward_input(geo, &w, &dy, &mut out, true, &mut scratch());
            assert_close(&out, &plus(&dx), 2e-5);
            let mut out = vec![f32::NAN; w.len()];
            conv2d_backward_weight(geo, &x, &dy, &mut out, false, &mut scratch());
            assert_close(&out, &dw, 1e-4);
            let mut out = start[..w.len()].to_vec();
            conv2d_backward_weight(geo, &x, &dy, &mut out, true, &mut scratch());
            assert_close(&out, &plus(&dw), 1e-4);
        });
    }

    fn square(batch: usize, [channels, filters]: [usize; 2], size: usize, kernel: usize, stride: usize) -> Conv2d {
        Conv2d {
            batch,
            channels,
            height: size,
            width: size,
            filters,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 4],
            dilation: [1; 2],
            groups: 1,
        }
    }

    #[test]
    fn usual_layers() {
        for size in [28, 14, 7, 9, 32, 16, 8, 4] {
            for stride in [1, 2] {
                check(&square(2, [3, 16], size, 3, stride));
                check(&square(2, [16, 24], size, 3, stride));
                check(&square(1, [8, 12], size, 5, stride));
                check(&square(2, [24, 8], size, 1, stride));
                check(&Conv2d { groups: 10, ..square(2, [10, 10], size, 3, stride) });
                check(&Conv2d { groups: 4, ..square(2, [8, 16], size, 5, stride) });
            }
            check(&Conv2d { dilation: [2; 2], padding: [2; 4], ..square(1, [8, 8], size, 3, 1) });
        }
    }

    #[test]
    fn many_images() {
        check(&square(40, [8, 8], 16, 3, 1));
        check(&square(33, [16, 10], 7, 3, 2));
    }

    #[test]
    fn nothing_fits() {
        check(&Conv2d { padding: [0; 4], ..square(2, [2, 3], 2, 3, 1) });
        check(&square(0, [2, 3], 5, 3, 1));
    }

    fn geometries() -> impl Strategy<Value = Conv2d> {
        // Size, kernel, stride, padding before and after, dilation.
        let axis = || (1usize..22, 1usize..5, 1usize..4, 0usize..5, 0usize..5, 1usize..4);
        (1usize..4, 1usize..4, 1usize..5, 1usize..12, axis(), axis()).prop_map(
            |(batch, groups, channels, filters, y, x)| Conv2d {
                batch,
                channels: groups * channels,
                height: y.0,
                width: x.0,
                filters: groups * filters,
                kernel: [y.1, x.1],
                stride: [y.2, x.2],
                padding: [y.3, x.3, y.4, x.4],
                dilation: [y.5, x.5],
                groups,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn every_geometry(geo in geometries()) {
            check(&geo);
        }
    }

    #[test]
    #[should_panic(expected = "scratch of 0 elements")]
    fn scratch_is_checked() {
        let geo = square(1, [1, 1], 3, 3, 1);
        conv2d_forward(&geo, &[0.0; 9], &[0.0; 9], &mut [0.0; 9], &mut []);
    }

    /// Calls `f` with the indices of input, weight and output of every multiply-add: the definition.
    fn plain(geo: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
        let [oh, ow] = geo.output();
        let [kh, kw] = geo.kernel;
        let (per_group, filters) = (geo.channels / geo.groups, geo.filters / geo.groups);
        for b in 0..geo.batch {
            for o in 0..geo.filters {
                for oy in 0..oh {
                    for ox in 0..ow {
                        for c in 0..per_group {
                            for ky in 0..kh {
                                for kx in 0..kw {
                                    let y = (oy * geo.stride[0] + ky * geo.dilation[0]).wrapping_sub(geo.padding[0]);
                                    let x = (ox * geo.stride[1] + kx * geo.dilation[1]).wrapping_sub(geo.padding[1]);
                                    if y < geo.height && x < geo.width {
                                        let channel = b * geo.channels + o / filters * per_group + c;
                                        f(
                                            (channel * geo.height + y) * geo.width + x,
                                            ((o * per_group + c) * kh + ky) * kw + kx,
                                            ((b * geo.filters + o) * oh + oy) * ow + ox,
                                        );
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
