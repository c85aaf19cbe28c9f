//! The three passes by direct kernels on packed images.
//!
//! A *unit* is what is packed together. Alone, an image lies in planes whose rows are `pitch` apart, and a vector runs over
//! consecutive pixels; it may lose lanes to the gaps between rows. As many images as a vector has lanes are interleaved
//! where that loses less: then every pixel is a whole vector, at the price of transposing. The kernels see no difference
//! but the tables of positions.

use super::super::vector::{lanes, spread, sums};
use super::Conv2d;
use super::ahead::{following, part};
use super::lattice::{Axis, Class, Lattice, Span, count_spans, max_spans, write_spans, write_unit_spans};
use super::pack::{deinterleave, interleave, pack, write_places};
use super::scratch::{Scratch, WASTE};
use super::tile::{MAX_BLOCK, Tiles, blocks};
use super::weight::Weights;

/// Floats of the second-level cache that packed images may fill.
const CACHE: usize = 176 * 1024;

/// How many images are packed together with vectors of `lanes`: 1 or `lanes`.
fn unit(geo: &Conv2d, axes: [Axis; 2], lanes: usize) -> usize {
    let [oh, ow] = geo.output();
    let lattice = Lattice::of_input(axes);
    if unit_size(geo, axes, lanes) > CACHE * 3 / 2 {
        return 1;
    }
    // Vector operations per output and filter, by measurement: packing costs about 2 (plain) and 8 (transposed) per element
    // moved where a multiply-add costs 1 (two start each cycle).
    let moved = (geo.channels + geo.filters) as f64 / (geo.depth() * geo.filters) as f64;
    let spans = count_spans(oh, ow, lattice.pitch, lanes);
    let alone = (spans * lanes) as f64 / (oh * ow) as f64 * (1.0 + 2.0 * moved);
    let together = geo.batch.next_multiple_of(lanes) as f64 / geo.batch as f64 * (1.0 + 8.0 * moved);
    if together < alone { lanes } else { 1 }
}

/// Packed elements of the inputs and output gradients of one unit.
fn unit_size(geo: &Conv2d, axes: [Axis; 2], unit: usize) -> usize {
    let lattice = Lattice::of_input(axes);
    lattice.image(geo.channels, unit) + geo.filters * Lattice::of_gradient(&lattice, axes, unit).plane * unit
}

/// How many units the weight gradient sums over at once: they share the cache with those that are fetched ahead.
fn units_together(geo: &Conv2d, axes: [Axis; 2], unit: usize) -> usize {
    let [oh, ow] = geo.output();
    let plain = (geo.channels * geo.height * geo.width + geo.filters * oh * ow) * unit;
    ((CACHE + CACHE / 4) / (unit_size(geo, axes, unit) + plain)).clamp(1, geo.batch.div_ceil(unit))
}

/// Elements of scratch that each pass may use, on any instruction set.
pub(super) fn scratch(geo: &Conv2d) -> usize {
    let axes = Axis::of(geo);
    let [oh, ow] = geo.output();
    let [input_plane, output_plane] = [geo.height * geo.width, oh * ow];
    let lattice = Lattice::of_input(axes);
    let (output, _) = Lattice::of_output(axes);
    let class_spans: usize = classes(axes).map(|[y, x]| max_spans(y.count, x.count)).sum();
    let class_plane = classes(axes).map(|[y, x]| y.count * x.count).max().unwrap_or(0);
    let taps = geo.filters / geo.groups * geo.kernel[0] * geo.kernel[1];
    let need = |lanes: usize| {
        let unit = unit(geo, axes, lanes);
        // Interleaved images need a table of places, one span per position, and planes to compute in.
        let (places, spans, staged) = if unit == 1 {
            (0, max_spans(oh, ow), 0)
        } else {
            (input_plane, output_plane, MAX_BLOCK * output_plane * unit)
        };
        let forward = geo.depth() + 3 * spans + geo.weight_len() + places + staged + lattice.image(geo.channels, unit);
        let starts = oh * lattice.pitch.max(ow) / lanes + 16;
        let weight = geo.depth()
            + starts.max(output_plane)
            + places.max(output_plane) * 2
            + units_together(geo, axes, unit) * unit_size(geo, axes, unit);
        let (spans, staged) = if unit == 1 { (class_spans, class_plane) } else { (input_plane, input_plane * unit) };
        let backward = geo.stride[0] * geo.stride[1] * PLAN
            + taps
            + 3 * spans
            + geo.weight_len()
            + output_plane
            + MAX_BLOCK * staged
            + output.image(geo.filters, unit);
        forward.max(weight).max(backward)
    };
    [4, 8, 16].map(need).into_iter().max().expect("three instruction sets") + WASTE
}

/// y = x ⋆ w.
pub(super) fn forward(geo: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    let (axes, depth, [oh, ow]) = (Axis::of(geo), geo.depth(), geo.output());
    let unit = unit(geo, axes, lanes());
    let (lattice, size, plane) = (Lattice::of_input(axes), [geo.height, geo.width], oh * ow);
    let per_group = geo.filters / geo.groups;

    let mut scratch = Scratch(scratch);
    let image = scratch.image(lattice.image(geo.channels, unit));
    let taps = scratch.indices(depth);
    write_input_taps(geo, axes, &lattice, unit, taps);
    let weights = scratch.floats(w.len());
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
    let (spans, places): (&[Span], &[u32]) = if unit == 1 {
        (write_spans(scratch.spans(max_spans(oh, ow)), oh, ow, lattice.pitch, lanes()), &[])
    } else {
        let places = scratch.indices(geo.height * geo.width);
        write_places(places, size, &lattice, Some(axes), [0, 0], unit);
        let spans = scratch.spans(plane);
        (write_unit_spans(spans, [oh, ow], lattice.pitch, unit, |y, x| y * ow + x), places)
    };
    let staging = scratch.0;

    let (input_image, output_image) = (geo.channels * geo.height * geo.width, geo.filters * plane);
    let runs = geo.groups * blocks(per_group, sums()).count();
    let mut ahead = following(x, unit * input_image, x.len() + y.len());
    for (x, y) in x.chunks(unit * input_image).zip(y.chunks_mut(unit * output_image)) {
        let (next, mut run) = (ahead.next().unwrap_or_default(), 0);
        if unit == 1 {
            pack(x, size, image, &lattice, Some(axes), [0, 0]);
        } else {
            interleave(x, input_image, places, image, lattice.channel() * unit);
        }
        let count = x.len() / input_image;
        for g in 0..geo.groups {
            let x = &image[g * (geo.channels / geo.groups) * lattice.channel() * unit..];
            for (f, size) in blocks(per_group, sums()) {
                let f = g * per_group + f;
                let w = &weights[f * depth..(f + size) * depth];
                let y = &mut y[f * plane..];
                let ahead = part(next, run, runs);
                run += 1;
                if unit == 1 {
                    Tiles { x, taps, w, spans, y: &mut y[..size * plane], plane, add: false, ahead }.run(size);
                } else {
                    let planes = &mut staging[..size * plane * unit];
                    Tiles { x, taps, w, spans, y: planes, plane: plane * unit, add: false, ahead }.run(size);
                    deinterleave(planes, y, output_image, count, false);
                }
            }
        }
    }
}

/// dx from dy. Input element i uses the outputs (i + before − t · dilation) / stride of the taps t where that is whole: for
/// a stride s the input falls into s classes an axis, each of which is a convolution of stride 1 with its own taps.
pub(super) fn backward_input(
    geo: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    let axes = Axis::of(geo);
    let unit = unit(geo, axes, lanes());
    let (lattice, origin) = Lattice::of_output(axes);
    let (filters, channels) = (geo.filters / geo.groups, geo.channels / geo.groups);
    let ([oh, ow], plane) = (geo.output(), geo.height * geo.width);
    // Elements that no window reads, because the stride skips them, belong to no class.
    let all_used = axes.iter().all(|axis| axis.residues().count() == axis.stride);
    if !all_used && !accumulate {
        dx.fill(0.0);
    }
    if classes(axes).next().is_none() {
        return;
    }

    let mut scratch = Scratch(scratch);
    let image = scratch.image(lattice.image(geo.filters, unit));
    let plans = scratch.indices(geo.stride[0] * geo.stride[1] * PLAN);
    let taps = scratch.indices(filters * geo.kernel[0] * geo.kernel[1]);
    let span_room = classes(axes).map(|[y, x]| if unit == 1 { max_spans(y.count, x.count) } else { y.count * x.count });
    let spans = scratch.spans(span_room.sum());
    let weights = scratch.floats(w.len());
    let places = scratch.indices(if unit == 1 { 0 } else { oh * ow });
    if unit > 1 {
        write_places(places, [oh, ow], &lattice, None, origin, unit);
    }
    let staging = scratch.0;
    write_class_taps(geo, axes, &lattice, origin, unit, taps);
    let plans = write_class_plans(geo, axes, &lattice, unit, plans, spans);
    write_class_weights(geo, axes, w, weights);
    let (taps, spans, weights) = (&*taps, &*spans, &*weights);

    let (input_image, output_image) = (geo.channels * plane, geo.filters * oh * ow);
    let runs = geo.groups * blocks(channels, sums()).count() * plans.len();
    let mut ahead = following(dy, unit * output_image, dx.len() + dy.len());
    for (dy, dx) in dy.chunks(unit * output_image).zip(dx.chunks_mut(unit * input_image)) {
        let (next, mut run) = (ahead.next().unwrap_or_default(), 0);
        if unit == 1 {
            pack(dy, [oh, ow], image, &lattice, None, origin);
        } else {
            interleave(dy, output_image, places, image, lattice.plane * unit);
        }
        let count = dy.len() / output_image;
        for g in 0..geo.groups {
            let x = &image[g * filters * lattice.plane * unit..];
            for (c, size) in blocks(channels, sums()) {
                let dx = &mut dx[(g * channels + c) * plane..];
                if unit > 1 && !all_used {
                    staging[..size * plane * unit].fill(0.0);
                }
                let (mut taps, mut spans, mut of_class) = (taps, spans, 0);
                for &[depth, n, rows, columns, corner] in plans {
                    let depth = depth as usize;
                    let w = &weights[of_class + (g * channels + c) * depth..][..size * depth];
                    let (taps_here, spans_here);
                    (taps_here, taps) = taps.split_at(depth);
                    (spans_here, spans) = spans.split_at(n as usize);
                    of_class += geo.channels * depth;
                    let (y, plane, add) = if unit > 1 {
                        (&mut staging[..size * plane * unit], plane * unit, false)
                    } else if geo.stride == [1, 1] {
                        (&mut dx[..size * plane], plane, accumulate)
                    } else {
                        let plane = (rows * columns) as usize;
                        (&mut staging[..size * plane], plane, false)
                    };
                    let ahead = part(next, run, runs);
                    run += 1;
                    Tiles { x, taps: taps_here, w, spans: spans_here, y, plane, add, ahead }.run(size);
                    if unit == 1 && geo.stride != [1, 1] {
                        let class = [rows, columns, corner].map(|n| n as usize);
                        unstage(geo, class, &staging[..size * plane], dx, accumulate);
                    }
                }
                if unit > 1 {
                    deinterleave(&staging[..size * plane * unit], dx, input_image, count, accumulate);
                }
            }
        }
    }
}

/// dw from x and dy.
pub(super) fn backward_weight(
    geo: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    let (axes, depth, [oh, ow]) = (Axis::of(geo), geo.depth(), geo.output());
    let unit = unit(geo, axes, lanes());
    let (lattice, size) = (Lattice::of_input(axes), [geo.height, geo.width]);
    let gradient = Lattice::of_gradient(&lattice, axes, unit);
    let (x_image, dy_image) = (lattice.image(geo.channels, unit), geo.filters * gradient.plane * unit);
    let together = units_together(geo, axes, unit);

    let mut scratch = Scratch(scratch);
    let packed_x = scratch.image(together * x_image);
    let packed_dy = scratch.image(together * dy_image);
    let taps = scratch.indices(depth);
    write_input_taps(geo, axes, &lattice, unit, taps);
    let starts = scratch.indices(gradient.plane * unit / lanes());
    let (mut x_places, mut dy_places): (&mut [u32], &mut [u32]) = (&mut [], &mut []);
    if unit == 1 {
        for (i, start) in starts.iter_mut().enumerate() {
            *start = (i * lanes()) as u32;
        }
    } else {
        for (i, start) in starts.iter_mut().enumerate() {
            *start = ((i / ow * lattice.pitch + i % ow) * unit) as u32;
        }
        x_places = scratch.indices(geo.height * geo.width);
        write_places(x_places, size, &lattice, Some(axes), [0, 0], unit);
        dy_places = scratch.indices(oh * ow);
        write_places(dy_places, [oh, ow], &gradient, None, [0, 0], unit);
    }

    let (filters, channels) = (geo.filters / geo.groups, geo.channels / geo.groups);
    let (input_image, output_image) = (geo.channels * geo.height * geo.width, geo.filters * oh * ow);
    let mut first = !accumulate;
    let (x_part, dy_part) = (together * unit * input_image, together * unit * output_image);
    let both = x.len() + dy.len();
    let mut ahead = following(x, x_part, both).zip(following(dy, dy_part, both));
    for (x, dy) in x.chunks(x_part).zip(dy.chunks(dy_part)) {
        let next = ahead.next().unwrap_or_default();
        for (x, packed) in x.chunks(unit * input_image).zip(packed_x.chunks_exact_mut(x_image)) {
            if unit == 1 {
                pack(x, size, packed, &lattice, Some(axes), [0, 0]);
            } else {
                interleave(x, input_image, x_places, packed, lattice.channel() * unit);
            }
        }
        for (dy, packed) in dy.chunks(unit * output_image).zip(packed_dy.chunks_exact_mut(dy_image)) {
            if unit == 1 {
                pack(dy, [oh, ow], packed, &gradient, None, [0, 0]);
            } else {
                interleave(dy, output_image, dy_places, packed, gradient.plane * unit);
            }
        }
        for (g, dw) in dw.chunks_exact_mut(filters * depth).enumerate() {
            Weights {
                x: &packed_x[g * channels * lattice.channel() * unit..],
                x_image,
                taps,
                starts,
                dy: &packed_dy[g * filters * gradient.plane * unit..],
                dy_image,
                images: dy.len().div_ceil(unit * output_image),
                filters,
                dw,
                first,
                ahead: [next.0, next.1].map(|data| part(data, g, geo.groups)),
            }
            .run();
        }
        first = false;
    }
}

/// The classes of input elements that some output uses: down and across.
fn classes([y, x]: [Axis; 2]) -> impl Iterator<Item = [Class; 2]> {
    let used = |axis: Axis| axis.residues().map(move |r| axis.class(r)).filter(|class| class.count > 0);
    used(y).flat_map(move |cy| used(x).map(move |cx| [cy, cx]))
}

/// The kernel elements that the inputs of a class see.
fn window([y, x]: [Axis; 2], [cy, cx]: [Class; 2]) -> impl Iterator<Item = (usize, usize)> {
    y.taps(cy).flat_map(move |ky| x.taps(cx).map(move |kx| (ky, kx)))
}

/// Where element `i` of a class lies on its axis.
fn place(axis: Axis, class: Class, i: usize) -> usize {
    axis.stride * (class.first + i) + class.residue - axis.before
}

/// Where the taps of one group's window lie, relative to the output's position, in the order of the weights.
fn write_input_taps(geo: &Conv2d, [y, x]: [Axis; 2], lattice: &Lattice, unit: usize, taps: &mut [u32]) {
    let (of_channel, per_channel) = (lattice.channel(), geo.kernel[0] * geo.kernel[1]);
    for t in 0..per_channel {
        let (ky, kx) = (t / geo.kernel[1], t % geo.kernel[1]);
        let phase = y.phase(y.residue(ky)) * lattice.phases[1] + x.phase(x.residue(kx));
        let at = phase * lattice.plane + y.shift(ky) * lattice.pitch + x.shift(kx);
        for (c, tap) in taps[t..].iter_mut().step_by(per_channel).enumerate() {
            *tap = (unit * (c * of_channel + at)) as u32;
        }
    }
}

/// Where, class by class, the taps of one group's filters lie in packed output gradients.
fn write_class_taps(
    geo: &Conv2d,
    axes: [Axis; 2],
    lattice: &Lattice,
    origin: [isize; 2],
    unit: usize,
    taps: &mut [u32],
) {
    let mut taps = taps.iter_mut();
    for class in classes(axes) {
        let [cy, cx] = class;
        for f in 0..geo.filters / geo.groups {
            for ((ky, kx), tap) in window(axes, class).zip(&mut taps) {
                let row = cy.first as isize - axes[0].shift(ky) as isize - origin[0];
                let column = cx.first as isize - axes[1].shift(kx) as isize - origin[1];
                *tap = (unit * f * lattice.plane) as u32 + (row * lattice.pitch as isize + column) as u32 * unit as u32;
            }
        }
    }
}

/// Numbers of a class of input elements: its taps over one group's filters, its spans, its rows and columns, and the place of
/// its first element in a plane.
const PLAN: usize = 5;

/// The plans and positions of the classes: alone an image's classes are dense planes, interleaved ones go to their places.
fn write_class_plans<'s>(
    geo: &Conv2d,
    axes: [Axis; 2],
    lattice: &Lattice,
    unit: usize,
    plans: &'s mut [u32],
    mut spans: &mut [Span],
) -> &'s [[u32; PLAN]] {
    let (plans, _) = plans.as_chunks_mut::<PLAN>();
    let mut used = 0;
    for (class, plan) in classes(axes).zip(&mut *plans) {
        let [cy, cx] = class;
        let n = if unit == 1 {
            write_spans(spans, cy.count, cx.count, lattice.pitch, lanes()).len()
        } else {
            let output = |y, x| place(axes[0], cy, y) * geo.width + place(axes[1], cx, x);
            write_unit_spans(spans, [cy.count, cx.count], lattice.pitch, unit, output).len()
        };
        spans = &mut spans[n..];
        let depth = geo.filters / geo.groups * window(axes, class).count();
        let corner = place(axes[0], cy, 0) * geo.width + place(axes[1], cx, 0);
        *plan = [depth, n, cy.count, cx.count, corner].map(|n| n as u32);
        used += 1;
    }
    &plans[..used]
}

/// The weights as the classes read them: [classes][groups][blocks of channels][filters · taps][block].
fn write_class_weights(geo: &Conv2d, axes: [Axis; 2], w: &[f32], weights: &mut [f32]) {
    let (filters, channels) = (geo.filters / geo.groups, geo.channels / geo.groups);
    let per_channel = geo.kernel[0] * geo.kernel[1];
    let mut weights = weights.iter_mut();
    for class in classes(axes) {
        for g in 0..geo.groups {
            for (c, size) in blocks(channels, sums()) {
                for f in 0..filters {
                    for (ky, kx) in window(axes, class) {
                        for (c, weight) in (c..c + size).zip(&mut weights) {
                            let kernel = (g * filters + f) * channels + c;
                            *weight = w[kernel * per_channel + ky * geo.kernel[1] + kx];
                        }
                    }
                }
            }
        }
    }
}

/// Moves the dense planes of one class to their places in `dx`.
fn unstage(geo: &Conv2d, [rows, columns, corner]: [usize; 3], planes: &[f32], dx: &mut [f32], add: bool) {
    for (plane, dx) in planes.chunks_exact(rows * columns).zip(dx.chunks_mut(geo.height * geo.width)) {
        spread(plane, [rows, columns], &mut dx[corner..], [geo.stride[0] * geo.width, geo.stride[1]], add);
    }
}
