//! Depthwise convolutions: every filter sees one channel, so there is no product to gain from. Planes are read as they lie,
//! with vectors over the pixels of one row or several (`walk`), and as few loads as registers allow (`tile`).

mod tile;
mod walk;

use super::super::vector::{Job, Vector, lanes, launch};
use super::Conv2d;
use super::scratch::Scratch;
use tile::{ALL, EVEN, Images, Plane, TOTAL, TWICE};
use walk::{Walk, tables};

/// The highest and widest kernel.
const MAX_KERNEL: usize = 16;
/// Images that share the weights made for an input gradient of stride 2.
const IMAGES: usize = 8;
/// Vectors whose products are summed in one go.
const VECTORS: usize = 1024;

/// Whether the geometry is such a convolution, of stride 1 or 2.
pub(super) fn serves(geo: &Conv2d) -> bool {
    let steps = geo.dilation == [1, 1] && (geo.stride == [1, 1] || geo.stride == [2, 2]);
    geo.groups == geo.channels && geo.channels > 1 && steps && geo.kernel.iter().all(|&k| k <= MAX_KERNEL)
}

/// Elements of scratch that each pass may use, on any instruction set.
pub(super) fn scratch(geo: &Conv2d) -> usize {
    let [height, width] = geo.kernel;
    let totals = geo.filters / geo.channels * geo.depth() * TOTAL;
    let weights = height * (width / 2 + 2) * TOTAL;
    (tables(geo, geo.output()) + totals).max(2 * tables(geo, [geo.height, geo.width]) + weights)
}

/// The elements of a plane of x and of y, and the filters of a channel.
fn sizes(geo: &Conv2d) -> (usize, usize, usize) {
    (geo.height * geo.width, geo.output().iter().product(), geo.filters / geo.channels)
}

/// How outputs read the input.
fn walk_of_input<'a>(geo: &Conv2d, scratch: &mut Scratch<'a>) -> Walk<'a> {
    let before = [geo.padding[0] as isize, geo.padding[1] as isize];
    let walk = if geo.stride == [1, 1] { Walk::all } else { Walk::even };
    walk([geo.height, geo.width], geo.output(), before, geo.kernel, lanes(), scratch)
}

/// y = x ⋆ w.
pub(super) fn forward(geo: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    let walk = walk_of_input(geo, &mut Scratch(scratch));
    // SAFETY: `Conv2d::check` found x, w and y to have the sizes of the geometry.
    unsafe { launch(Forward { geo, walk, x: x.as_ptr(), w: w.as_ptr(), y: y.as_mut_ptr() }) }
}

struct Forward<'a> {
    geo: &'a Conv2d,
    walk: Walk<'a>,
    x: *const f32,
    w: *const f32,
    y: *mut f32,
}

impl Job for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Forward { geo, ref walk, x, w, y } = self;
        let (input, output, filters) = sizes(geo);
        for plane in 0..geo.batch * geo.filters {
            // SAFETY: passed on to the caller; the plane, its channel and its filter exist.
            unsafe {
                let (from, to) = (x.add(plane / filters * input), y.add(plane * output));
                let (plane, w) = (Plane { walk, from, to }, w.add(plane % geo.filters * geo.depth()));
                if geo.stride == [1, 1] {
                    plane.outputs::<V, ALL>(w, 1, false);
                } else {
                    plane.outputs::<V, EVEN>(w, 1, false);
                }
            }
        }
    }
}

/// dx from dy. With stride 1 it is a convolution by the reversed kernel.
pub(super) fn backward_input(
    geo: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    let (w, dy, dx, mut scratch) = (w.as_ptr(), dy.as_ptr(), dx.as_mut_ptr(), Scratch(scratch));
    // SAFETY: `Conv2d::check` found w, dy and dx to have the sizes of the geometry.
    unsafe {
        if geo.stride == [1, 1] {
            let before = [0, 1].map(|axis| geo.kernel[axis] as isize - 1 - geo.padding[axis] as isize);
            let size = [geo.height, geo.width];
            let walk = Walk::all(geo.output(), size, before, geo.kernel, lanes(), &mut scratch);
            launch(BackwardInput { geo, walk, w, dy, dx, accumulate });
        } else {
            let columns = Columns::of(geo);
            let halves = [0, 1].map(|parity| Half::of(geo, &columns, parity, &mut scratch));
            launch(BackwardInputTwice { geo, columns, halves, w, dy, dx, accumulate });
        }
    }
}

struct BackwardInput<'a> {
    geo: &'a Conv2d,
    walk: Walk<'a>,
    w: *const f32,
    dy: *const f32,
    dx: *mut f32,
    accumulate: bool,
}

impl Job for BackwardInput<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let BackwardInput { geo, ref walk, w, dy, dx, accumulate } = self;
        let ((input, output, filters), depth) = (sizes(geo), geo.depth());
        for plane in 0..geo.batch * geo.filters {
            // SAFETY: passed on to the caller; the plane, its channel and its filter exist.
            unsafe {
                let (from, to) = (dy.add(plane * output), dx.add(plane / filters * input));
                let last = w.add(plane % geo.filters * depth + depth - 1);
                Plane { walk, from, to }.outputs::<V, ALL>(last, -1, accumulate || plane % filters > 0);
            }
        }
    }
}

/// The columns of taps of an input gradient of stride 2: in column `t` of them, input column 2 n + p meets output column
/// n + t through kernel column p + padding − 2 t, if there is one.
struct Columns {
    first: isize,
    count: usize,
}

impl Columns {
    fn of(geo: &Conv2d) -> Columns {
        let before = geo.padding[1] as isize;
        // (p + padding − t) / 2 of the last and the first kernel column, with the p that makes it whole.
        let of = |t: isize| (before - t + 1).div_euclid(2);
        let first = of(geo.kernel[1] as isize - 1);
        Columns { first, count: (of(0) - first + 1) as usize }
    }
}

/// The input rows of one parity: 2 m + parity meets output row m + (parity + padding − t) / 2 through kernel row t.
struct Half<'a> {
    walk: Walk<'a>,
    /// The last kernel row of that parity; the others lie 2 apart.
    last: usize,
    /// A vector for each tap of the walk: the weights of the two parities of columns, alternating.
    weights: &'a mut [f32],
}

impl<'a> Half<'a> {
    fn of(geo: &Conv2d, columns: &Columns, parity: usize, scratch: &mut Scratch<'a>) -> Half<'a> {
        let first = (parity + geo.padding[0]) % 2;
        let rows = geo.kernel[0].saturating_sub(first).div_ceil(2);
        let last = (first + 2 * rows).saturating_sub(2);
        let row = (parity as isize + geo.padding[0] as isize - last as isize).div_euclid(2);
        let (size, taps) = ([geo.height, geo.width], [rows, columns.count]);
        let walk = Walk::twice(geo.output(), size, parity, [row, columns.first], taps, lanes(), scratch);
        Half { walk, last, weights: scratch.floats(rows * columns.count * TOTAL) }
    }

    /// Makes the weights of a filter.
    #[inline(always)]
    fn write_weights(&mut self, geo: &Conv2d, columns: &Columns, w: &[f32]) {
        let [_, width] = geo.kernel;
        for (i, to) in self.weights.chunks_exact_mut(TOTAL).enumerate() {
            let (row, t) = (self.last - 2 * (i / columns.count), columns.first + (i % columns.count) as isize);
            let weight = [0, 1].map(|parity| {
                let column = usize::try_from(parity + geo.padding[1] as isize - 2 * t);
                column.ok().filter(|&c| c < width).map_or(0.0, |column| w[row * width + column])
            });
            for pair in to.as_chunks_mut::<2>().0 {
                *pair = weight;
            }
        }
    }
}

struct BackwardInputTwice<'a> {
    geo: &'a Conv2d,
    columns: Columns,
    halves: [Half<'a>; 2],
    w: *const f32,
    dy: *const f32,
    dx: *mut f32,
    accumulate: bool,
}

impl Job for BackwardInputTwice<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let BackwardInputTwice { geo, columns, mut halves, w, dy, dx, accumulate } = self;
        let ((input, output, filters), depth) = (sizes(geo), geo.depth());
        for image in (0..geo.batch).step_by(IMAGES) {
            for f in 0..geo.filters {
                // SAFETY: passed on to the caller; images, filters and channels exist.
                unsafe {
                    let w = std::slice::from_raw_parts(w.add(f * depth), depth);
                    halves.iter_mut().for_each(
                        #[inline(always)]
                        |half| half.write_weights(geo, &columns, w),
                    );
                    for image in image..geo.batch.min(image + IMAGES) {
                        let from = dy.add((image * geo.filters + f) * output);
                        let to = dx.add((image * geo.channels + f / filters) * input);
                        for half in &halves {
                            let (plane, add) = (Plane { walk: &half.walk, from, to }, accumulate || f % filters > 0);
                            plane.outputs::<V, TWICE>(half.weights.as_ptr(), 0, add);
                        }
                    }
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
    let mut scratch = Scratch(scratch);
    let walk = walk_of_input(geo, &mut scratch);
    let totals = scratch.floats(geo.filters / geo.channels * geo.depth() * TOTAL);
    let job = BackwardWeight { geo, walk, x: x.as_ptr(), dy: dy.as_ptr(), dw, accumulate, totals };
    // SAFETY: `Conv2d::check` found x and dy to have the sizes of the geometry.
    unsafe { launch(job) }
}

struct BackwardWeight<'a> {
    geo: &'a Conv2d,
    walk: Walk<'a>,
    x: *const f32,
    dy: *const f32,
    dw: &'a mut [f32],
    accumulate: bool,
    totals: &'a mut [f32],
}

impl Job for BackwardWeight<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let BackwardWeight { geo, ref walk, x, dy, dw, accumulate, totals } = self;
        let ((input, output, filters), depth) = (sizes(geo), geo.depth());
        let together = (VECTORS / (walk.groups * walk.pieces)).clamp(1, geo.batch);
        for (c, dw) in dw.chunks_exact_mut(filters * depth).enumerate() {
            totals.fill(0.0);
            for first in (0..geo.batch).step_by(together) {
                let count = together.min(geo.batch - first);
                let images = Images { count, from: geo.channels * input, to: geo.filters * output };
                for (f, totals) in totals.chunks_exact_mut(depth * TOTAL).enumerate() {
                    // SAFETY: passed on to the caller; images, the channel and its filters exist. Targets are only read.
                    unsafe {
                        let from = x.add((first * geo.channels + c) * input);
                        let to = dy.add((first * geo.filters + c * filters + f) * output).cast_mut();
                        let plane = Plane { walk, from, to };
                        if geo.stride == [1, 1] {
                            plane.products::<V, ALL>(&images, totals.as_mut_ptr());
                        } else {
                            plane.products::<V, EVEN>(&images, totals.as_mut_ptr());
                        }
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
