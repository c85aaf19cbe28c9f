//! Depthwise convolutions of planes up to 32 wide: every filter sees one channel, so there is no product to gain from. A
//! plane is copied to a fixed pitch (`sheet`), and vectors run over its pixels (`tile`).

mod sheet;
mod tile;

use super::super::vector::{Job, Vector, lanes, launch};
use super::Conv2d;
use super::scratch::{Scratch, WASTE};
use sheet::{Sheet, Taps, mask_count};
use tile::{Plane, Rows, TOTAL};

/// The pitches that code is compiled for.
const PITCHES: [usize; 3] = [8, 16, 32];
/// The highest and widest kernel.
const MAX_KERNEL: usize = 16;
/// Planes copied together, so that writing them has ended when they are read; fewer where they would fill the first-level
/// cache.
const TOGETHER: usize = 8;
/// Floats of that cache for copies.
const CACHE: usize = 6 * 1024;

/// Whether the geometry is such a convolution, of stride 1 or 2 and without windows of padding only. Planes of 4×4 and less
/// gain nothing.
pub(super) fn serves(geo: &Conv2d) -> bool {
    let [kh, kw] = geo.kernel;
    let [top, left, bottom, right] = geo.padding;
    let padding = top.max(bottom) < kh && left.max(right) < kw;
    let kernel = kh > 1 && kw > 1 && kh.max(kw) <= MAX_KERNEL;
    let steps = geo.dilation == [1, 1] && (geo.stride == [1, 1] || geo.stride == [2, 2]);
    let size = geo.width.min(geo.output()[1]) > 4 && longest_row(geo) <= 32;
    geo.groups == geo.channels && geo.channels > 1 && kernel && padding && steps && size
}

/// The longest row of outputs, phases and input classes.
fn longest_row(geo: &Conv2d) -> usize {
    geo.output()[1].max(geo.width.div_ceil(geo.stride[1]))
}

/// The pitch of sheets.
fn pitch(geo: &Conv2d) -> usize {
    PITCHES.into_iter().find(|&pitch| pitch >= longest_row(geo)).expect("`serves` asks for rows that fit")
}

/// The rows that vectors read for `rows` of outputs: whole vectors, and the taps of a phase.
fn with_taps(geo: &Conv2d, rows: usize) -> usize {
    rows.next_multiple_of((16 / pitch(geo)).max(1)) + geo.kernel[0].div_ceil(geo.stride[0])
}

/// The layout of the input: for outputs and for the weight gradient.
fn sheet_of_input(geo: &Conv2d) -> Sheet {
    let before = [geo.padding[0], geo.padding[1]];
    // All rows of a phase exist, also those that no window reads.
    let rows = with_taps(geo, geo.output()[0].max((geo.height + geo.padding[0]).div_ceil(geo.stride[0])));
    Sheet::new([geo.height, geo.width], before, geo.stride[0], pitch(geo), 0, rows)
}

/// The layout of the output gradient, for the input gradient: with rows of zeros for the taps of every class.
fn sheet_of_output(geo: &Conv2d) -> Sheet {
    let rows = with_taps(geo, geo.output()[0].max(geo.height.div_ceil(geo.stride[0])));
    Sheet::new(geo.output(), [0, 0], 1, pitch(geo), geo.kernel[0], 2 * geo.kernel[0] + rows)
}

/// How many planes are copied together.
fn together(sheet: &Sheet) -> usize {
    (CACHE / sheet.len).clamp(1, TOGETHER)
}

/// Elements of scratch that each pass may use, on any instruction set.
pub(super) fn scratch(geo: &Conv2d) -> usize {
    let (input, output) = (sheet_of_input(geo), sheet_of_output(geo));
    let masks = 4 * mask_count(pitch(geo), geo.kernel[1]);
    let weights = (geo.filters / geo.channels * geo.depth() * TOTAL).max(geo.weight_len());
    let staged = geo.height.next_multiple_of(16) * pitch(geo) + 16;
    (together(&input) * input.len).max(together(&output) * output.len + staged) + masks + weights + WASTE
}

/// The elements of a plane of x and of y, and the filters of a channel.
fn sizes(geo: &Conv2d) -> (usize, usize, usize) {
    (geo.height * geo.width, geo.output().iter().product(), geo.filters / geo.channels)
}

/// A pass, compiled for a pitch `P`, a step `S` and `C` columns of taps (0: any).
trait Pass {
    /// Does it.
    ///
    /// # Safety
    /// The instruction set of `V`, and pointers valid for the geometry.
    unsafe fn run<V: Vector, const P: usize, const S: usize, const C: usize>(self);
}

/// A pass with its constants.
struct With<T, const P: usize, const S: usize, const C: usize>(T);

impl<T: Pass, const P: usize, const S: usize, const C: usize> Job for With<T, P, S, C> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: passed on to the caller.
        unsafe { self.0.run::<V, P, S, C>() }
    }
}

/// Runs a pass with the constants of its geometry.
///
/// # Safety
/// Pointers valid for the geometry.
unsafe fn start<T: Pass>(geo: &Conv2d, pass: T) {
    // SAFETY: passed on to the caller.
    unsafe {
        match pitch(geo) {
            8 => start_with::<T, 8>(geo, pass),
            16 => start_with::<T, 16>(geo, pass),
            _ => start_with::<T, 32>(geo, pass),
        }
    }
}

/// Runs a pass with the other constants of its geometry.
///
/// # Safety
/// As [`start`].
unsafe fn start_with<T: Pass, const P: usize>(geo: &Conv2d, pass: T) {
    // SAFETY: passed on to the caller.
    unsafe {
        match (geo.stride[0], geo.kernel[1]) {
            (1, 3) => launch(With::<T, P, 1, 3>(pass)),
            (1, 5) => launch(With::<T, P, 1, 5>(pass)),
            (1, _) => launch(With::<T, P, 1, 0>(pass)),
            (_, 3) => launch(With::<T, P, 2, 3>(pass)),
            (_, 5) => launch(With::<T, P, 2, 5>(pass)),
            _ => launch(With::<T, P, 2, 0>(pass)),
        }
    }
}

/// y = x ⋆ w.
pub(super) fn forward(geo: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    let (mut scratch, sheet) = (Scratch(scratch), sheet_of_input(geo));
    let room = scratch.image(together(&sheet) * sheet.len);
    let taps = Taps::new(&sheet, geo.kernel, geo.output(), [0, 0], lanes(), &mut scratch);
    let pass = Forward { geo, sheet, taps, room, x: x.as_ptr(), w: w.as_ptr(), y: y.as_mut_ptr() };
    // SAFETY: `Conv2d::check` found x, w and y to have the sizes of the geometry, and the room holds the copies.
    unsafe { start(geo, pass) }
}

struct Forward<'a> {
    geo: &'a Conv2d,
    sheet: Sheet,
    taps: Taps<'a>,
    room: &'a mut [f32],
    x: *const f32,
    w: *const f32,
    y: *mut f32,
}

impl Pass for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const P: usize, const S: usize, const C: usize>(self) {
        let Forward { geo, sheet, taps, room, x, w, y } = self;
        let ((input, output, filters), depth) = (sizes(geo), geo.depth());
        let (rows, room) = (Rows { height: taps.rows, width: taps.columns }, room.as_mut_ptr());
        let (together, planes, mut c) = (together(&sheet), geo.batch * geo.channels, 0);
        for first in (0..planes).step_by(together) {
            let count = together.min(planes - first);
            // SAFETY: passed on to the caller; planes, channels and filters exist, and the room holds so many copies.
            unsafe {
                for i in 0..count {
                    sheet.fill::<V>(x.add((first + i) * input), room.add(i * sheet.len));
                }
                for i in 0..count {
                    let plane = Plane { layout: &sheet, taps: &taps, sheet: room.add(i * sheet.len) };
                    for f in 0..filters {
                        let y = y.add(((first + i) * filters + f) * output);
                        plane.outputs::<V, P, S, C>(
                            w.add((c * filters + f) * depth),
                            #[inline(always)]
                            |row, column, sum| rows.write::<V, P>(y, row, column, sum, false),
                        );
                    }
                    c = if c + 1 == geo.channels { 0 } else { c + 1 };
                }
            }
        }
    }
}

/// The input elements whose indices have one remainder by the stride on each axis: they meet the same kernel elements, so
/// that their gradient is a convolution of stride 1 over the output gradient.
#[derive(Clone, Copy)]
struct Class<'a> {
    taps: Taps<'a>,
    /// Where its weights begin among those of a filter.
    weights: usize,
    /// Its first element in a plane of the input.
    first: usize,
}

/// The kernel elements of an axis that inputs of remainder `r` meet, the last first, and the output that the first of these
/// inputs meets in the first of them.
fn kernel_of(geo: &Conv2d, axis: usize, r: usize) -> (impl Iterator<Item = usize> + Clone, isize) {
    let (step, before) = (geo.stride[axis], geo.padding[axis]);
    let taps = (0..geo.kernel[axis]).rev().filter(move |t| (r + before) % step == t % step);
    let last = taps.clone().next().expect("`serves` asks for kernels no smaller than strides");
    (taps, ((r + before) as isize - last as isize) / step as isize)
}

/// dx from dy.
pub(super) fn backward_input(
    geo: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    let (mut scratch, sheet, step) = (Scratch(scratch), sheet_of_output(geo), geo.stride[0]);
    let room = scratch.image(together(&sheet) * sheet.len);
    let weights = scratch.floats(w.len());
    let mut used = 0;
    // With stride 1 there is but the first.
    let classes = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|[ry, rx]| {
        if ry.max(rx) >= step {
            return None;
        }
        let ((down, top), (across, left)) = (kernel_of(geo, 0, ry), kernel_of(geo, 1, rx));
        let size = [down.clone().count(), across.clone().count()];
        for (w, weights) in w.chunks_exact(geo.depth()).zip(weights.chunks_exact_mut(geo.depth())) {
            let places = down.clone().flat_map(|u| across.clone().map(move |t| u * geo.kernel[1] + t));
            for (weight, place) in weights[used..].iter_mut().zip(places) {
                *weight = w[place];
            }
        }
        let inputs = [(geo.height - ry).div_ceil(step), (geo.width - rx).div_ceil(step)];
        let taps = Taps::new(&sheet, size, inputs, [top, left], lanes(), &mut scratch);
        used += size[0] * size[1];
        Some(Class { taps, weights: used - size[0] * size[1], first: ry * geo.width + rx })
    });
    let (staging, dy, dx) = (scratch.0, dy.as_ptr(), dx.as_mut_ptr());
    let pass = BackwardInput { geo, sheet, classes, room, weights, staging, dy, dx, accumulate };
    // SAFETY: `Conv2d::check` found w, dy and dx to have the sizes of the geometry, the room holds the copies, and the
    // staging memory the largest class.
    unsafe { start(geo, pass) }
}

struct BackwardInput<'a> {
    geo: &'a Conv2d,
    sheet: Sheet,
    classes: [Option<Class<'a>>; 4],
    room: &'a mut [f32],
    /// Of each filter, class by class.
    weights: &'a [f32],
    staging: &'a mut [f32],
    dy: *const f32,
    dx: *mut f32,
    accumulate: bool,
}

impl Pass for BackwardInput<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const P: usize, const S: usize, const C: usize>(self) {
        let BackwardInput { geo, sheet, classes, room, weights, staging, dy, dx, accumulate } = self;
        let ((input, output, filters), depth) = (sizes(geo), geo.depth());
        let (room, staging, planes) = (room.as_mut_ptr(), staging.as_mut_ptr(), geo.batch * geo.filters);
        let rows = Rows { height: geo.height, width: geo.width };
        let (together, mut f) = (together(&sheet), 0);
        for first in (0..planes).step_by(together) {
            let count = together.min(planes - first);
            // SAFETY: passed on to the caller; planes and filters exist, and the room holds so many copies.
            unsafe {
                for i in 0..count {
                    sheet.fill::<V>(dy.add((first + i) * output), room.add(i * sheet.len));
                }
                for i in 0..count {
                    let channel = if filters == 1 { first + i } else { (first + i) / filters };
                    let (dx, add) = (dx.add(channel * input), accumulate || (filters > 1 && f % filters > 0));
                    for class in classes.iter().flatten() {
                        let plane = Plane { layout: &sheet, taps: &class.taps, sheet: room.add(i * sheet.len) };
                        let w = weights.as_ptr().add(f * depth + class.weights);
                        if S == 1 {
                            plane.outputs::<V, P, 1, C>(
                                w,
                                #[inline(always)]
                                |row, column, sum| rows.write::<V, P>(dx, row, column, sum, add),
                            );
                        } else {
                            class.gradient::<V, P>(&plane, w, staging, dx.add(class.first), geo.width, add);
                        }
                    }
                    f = if f + 1 == geo.filters { 0 } else { f + 1 };
                }
            }
        }
    }
}

impl Class<'_> {
    /// The gradients of a class of stride 2, from its first element `dx` on: written or added.
    ///
    /// # Safety
    /// The instruction set of `V`, a filled plane with its weights, memory for the class, and `dx`.
    #[inline(always)]
    unsafe fn gradient<V: Vector, const P: usize>(
        &self,
        plane: &Plane<'_>,
        w: *const f32,
        staging: *mut f32,
        dx: *mut f32,
        width: usize,
        add: bool,
    ) {
        let Taps { size, rows, columns, .. } = self.taps;
        // SAFETY: passed on to the caller; every class has a column, because `serves` asks for more than four.
        unsafe {
            match size[1] {
                1 => plane.stage::<V, P, 1>(w, staging),
                2 => plane.stage::<V, P, 2>(w, staging),
                3 => plane.stage::<V, P, 3>(w, staging),
                _ => plane.stage::<V, P, 0>(w, staging),
            }
            for row in 0..rows {
                V::spread(staging.add(row * P), dx.add(2 * row * width), 2, columns, add);
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
    let (mut scratch, sheet) = (Scratch(scratch), sheet_of_input(geo));
    let room = scratch.image(together(&sheet) * sheet.len);
    let totals = scratch.floats(geo.filters / geo.channels * geo.depth() * TOTAL);
    let taps = Taps::new(&sheet, geo.kernel, geo.output(), [0, 0], lanes(), &mut scratch);
    let pass = BackwardWeight { geo, sheet, taps, room, totals, x: x.as_ptr(), dy: dy.as_ptr(), dw, accumulate };
    // SAFETY: `Conv2d::check` found x and dy to have the sizes of the geometry, and the room holds the copies.
    unsafe { start(geo, pass) }
}

struct BackwardWeight<'a> {
    geo: &'a Conv2d,
    sheet: Sheet,
    taps: Taps<'a>,
    room: &'a mut [f32],
    totals: &'a mut [f32],
    x: *const f32,
    dy: *const f32,
    dw: &'a mut [f32],
    accumulate: bool,
}

impl Pass for BackwardWeight<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const P: usize, const S: usize, const C: usize>(self) {
        let BackwardWeight { geo, sheet, taps, room, totals, x, dy, dw, accumulate } = self;
        let ((input, output, filters), depth) = (sizes(geo), geo.depth());
        let (rows, room) = (Rows { height: taps.rows, width: taps.columns }, room.as_mut_ptr());
        let together = together(&sheet);
        for (c, dw) in dw.chunks_exact_mut(filters * depth).enumerate() {
            totals.fill(0.0);
            for first in (0..geo.batch).step_by(together) {
                let count = together.min(geo.batch - first);
                // SAFETY: passed on to the caller; images, the channel and its filters exist, and the room holds so many
                // copies.
                unsafe {
                    for i in 0..count {
                        sheet.fill::<V>(x.add(((first + i) * geo.channels + c) * input), room.add(i * sheet.len));
                    }
                    let plane = Plane { layout: &sheet, taps: &taps, sheet: room };
                    for (f, totals) in totals.chunks_exact_mut(depth * TOTAL).enumerate() {
                        let dy = dy.add((first * geo.filters + c * filters + f) * output);
                        plane.products::<V, P, S, C>(
                            count,
                            #[inline(always)]
                            |i, row, column| {
                                let dy = dy.wrapping_add(i.wrapping_mul(geo.filters.wrapping_mul(output)));
                                rows.read::<V, P>(dy, row, column)
                            },
                            totals.as_mut_ptr(),
                        );
                    }
                }
            }
            for (dw, total) in dw.iter_mut().zip(totals.chunks_exact(TOTAL)) {
                // SAFETY: a total has room for a vector.
                let sum = unsafe { V::load(total.as_ptr()).sum() };
                *dw = if accumulate { *dw + sum } else { sum };
            }
        }
    }
}
