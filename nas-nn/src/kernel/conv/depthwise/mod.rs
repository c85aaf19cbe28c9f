//! Depthwise convolutions: every filter sees one channel. There is no product to gain from, so that what counts is to move
//! each plane once, with vectors full: see `sheets` for how it lies and `tile` for the sums.

mod sheets;
mod tile;

use super::super::vector::{Job, Vector, lanes, launch};
use super::Conv2d;
use super::lattice::{Axis, Class};
use super::scratch::{Scratch, WASTE};
use sheets::{Sheets, first_rows};
use tile::{Outputs, Products, TOTAL, Tap};

/// The highest and widest kernel.
const MAX_KERNEL: usize = 16;
/// The largest step.
const MAX_STRIDE: usize = 4;
/// Floats behind the sheets that a vector may touch.
const SLACK: usize = 16;

/// Whether the geometry is such a convolution. A kernel of one row gains nothing from sheets.
pub(super) fn serves(geo: &Conv2d) -> bool {
    let kernels = (2..=MAX_KERNEL).contains(&geo.kernel[0]) && geo.kernel[1] <= MAX_KERNEL;
    geo.groups == geo.channels && geo.channels > 1 && kernels && geo.stride.iter().all(|&s| s <= MAX_STRIDE)
}

/// Elements of scratch that each pass may use, on any instruction set.
pub(super) fn scratch(geo: &Conv2d) -> usize {
    let axes = Axis::of(geo);
    let need = |lanes: usize| {
        let input = Sheets::of_input(axes, geo.batch, lanes);
        let gradient = Sheets::of_gradient(axes, geo.batch, lanes);
        let totals = geo.filters / geo.channels * geo.depth() * TOTAL;
        let staged = gradient.group * gradient.strip * axes[1].input;
        (input.group * input.len + totals).max(gradient.group * gradient.len + staged)
    };
    [4, 8, 16].map(need).into_iter().max().expect("three instruction sets") + SLACK + WASTE
}

/// The elements of a plane of x and of y, and the filters of a channel.
fn sizes(geo: &Conv2d) -> (usize, usize, usize) {
    (geo.height * geo.width, geo.output().iter().product(), geo.filters / geo.channels)
}

/// y = x ⋆ w.
pub(super) fn forward(geo: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    let axes = Axis::of(geo);
    let sheets = Sheets::of_input(axes, geo.batch, lanes());
    let room = Scratch(scratch).image(sheets.group * sheets.len + SLACK);
    let mut taps = [Tap::default(); MAX_KERNEL * MAX_KERNEL];
    let taps = &mut taps[..geo.depth()];
    for (k, tap) in taps.iter_mut().enumerate() {
        let sheet = sheets.columns()[k % geo.kernel[1]];
        *tap = Tap {
            place: (sheet.start + row(axes[0], &sheets, k / geo.kernel[1]) * sheet.width) as u32,
            weight: k as u32,
        };
    }
    let job = Forward { geo, sheets, taps, x: x.as_ptr(), w: w.as_ptr(), y: y.as_mut_ptr(), room: room.as_mut_ptr() };
    // SAFETY: `Conv2d::check` found x, w and y to have the sizes of the geometry, and `room` holds the sheets of a group.
    unsafe { launch(job) }
}

/// The row of a sheet that the first output meets in kernel row `t`.
fn row(y: Axis, sheets: &Sheets, t: usize) -> usize {
    y.phase(y.residue(t)) * sheets.rows + y.shift(t)
}

struct Forward<'a> {
    geo: &'a Conv2d,
    sheets: Sheets,
    taps: &'a [Tap],
    x: *const f32,
    w: *const f32,
    y: *mut f32,
    room: *mut f32,
}

impl Job for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Forward { geo, sheets, taps, x, w, y, room } = self;
        let ((input, output, filters), width) = (sizes(geo), geo.output()[1]);
        for image in (0..geo.batch).step_by(sheets.group) {
            let images = sheets.group.min(geo.batch - image);
            for c in 0..geo.channels {
                for (first, rows) in sheets.strips() {
                    // SAFETY: passed on to the caller; images, channels and rows exist.
                    unsafe {
                        for i in 0..images {
                            let plane = ((image + i) * geo.channels + c) * input;
                            sheets.fill::<V>(first, x.add(plane), room.add(i * sheets.len));
                        }
                        for f in c * filters..(c + 1) * filters {
                            Outputs {
                                sheets: room,
                                apart: sheets.len,
                                taps,
                                w: w.add(f * taps.len()),
                                n: rows * width,
                                y: y.add((image * geo.filters + f) * output + first * width),
                                image: geo.filters * output,
                                images,
                                add: false,
                            }
                            .run::<V>();
                        }
                    }
                }
            }
        }
    }
}

/// The input elements of a class (see [`Class`]): a convolution of stride 1 over the output gradient with taps of its own.
#[derive(Clone, Copy, Default)]
struct Part {
    /// How many of the taps.
    taps: usize,
    rows: usize,
    width: usize,
    /// Its first element in the plane, down and across.
    first: [usize; 2],
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
    let axes @ [y, x] = Axis::of(geo);
    // Elements that no window reads, because the stride skips them, belong to no class.
    if !accumulate && axes.iter().any(|axis| axis.residues().count() < axis.stride) {
        dx.fill(0.0);
    }
    let sheets = Sheets::of_gradient(axes, geo.batch, lanes());
    let mut scratch = Scratch(scratch);
    let room = scratch.image(sheets.group * sheets.len + SLACK);
    let mut taps = [Tap::default(); MAX_KERNEL * MAX_KERNEL];
    let mut parts = [Part::default(); MAX_STRIDE * MAX_STRIDE];
    let (mut used, mut count, low) = (0, 0, first_rows(y).0);
    let classes = |axis: Axis| axis.residues().map(move |r| axis.class(r)).filter(|class| class.count > 0);
    for (cy, cx) in classes(y).flat_map(|cy| classes(x).map(move |cx| (cy, cx))) {
        let start = used;
        for (ky, kx) in y.taps(cy).flat_map(|ky| x.taps(cx).map(move |kx| (ky, kx))) {
            let row = (cy.first as isize - y.shift(ky) as isize - low) as usize;
            let sheet = sheets.columns()[kx];
            taps[used] =
                Tap { place: (sheet.start + row * sheet.width) as u32, weight: (ky * geo.kernel[1] + kx) as u32 };
            used += 1;
        }
        let first = [(y, cy), (x, cx)].map(|(axis, class)| first_place(axis, class));
        parts[count] = Part { taps: used - start, rows: cy.count, width: cx.count, first };
        count += 1;
    }
    let job = BackwardInput {
        geo,
        sheets,
        taps: &taps[..used],
        parts: &parts[..count],
        w: w.as_ptr(),
        dy: dy.as_ptr(),
        dx: dx.as_mut_ptr(),
        accumulate,
        room: room.as_mut_ptr(),
        staging: scratch.0.as_mut_ptr(),
    };
    // SAFETY: `Conv2d::check` found w, dy and dx to have the sizes of the geometry, and the scratch to hold the sheets of a
    // group and a part of its planes.
    unsafe { launch(job) }
}

/// Where the first element of a class lies on its axis.
fn first_place(axis: Axis, class: Class) -> usize {
    axis.stride * class.first + class.residue - axis.before
}

struct BackwardInput<'a> {
    geo: &'a Conv2d,
    sheets: Sheets,
    taps: &'a [Tap],
    parts: &'a [Part],
    w: *const f32,
    dy: *const f32,
    dx: *mut f32,
    accumulate: bool,
    room: *mut f32,
    staging: *mut f32,
}

impl Job for BackwardInput<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (geo, sheets) = (self.geo, &self.sheets);
        let (input, output, filters) = sizes(geo);
        for image in (0..geo.batch).step_by(sheets.group) {
            let images = sheets.group.min(geo.batch - image);
            for f in 0..geo.filters {
                let add = self.accumulate || f % filters > 0;
                for (first, _) in sheets.strips() {
                    // SAFETY: passed on to the caller; images, filters and rows exist.
                    unsafe {
                        for i in 0..images {
                            let plane = ((image + i) * geo.filters + f) * output;
                            sheets.fill::<V>(first, self.dy.add(plane), self.room.add(i * sheets.len));
                        }
                        let dx = self.dx.add((image * geo.channels + f / filters) * input);
                        self.strip::<V>(self.w.add(f * geo.depth()), dx, first, images, add);
                    }
                }
            }
        }
    }
}

impl BackwardInput<'_> {
    /// The rows from `first` on of every part of the planes at `dx`.
    ///
    /// # Safety
    /// The instruction set of `V`, filled sheets, and `images` planes from `dx` on.
    #[inline(always)]
    unsafe fn strip<V: Vector>(&self, w: *const f32, dx: *mut f32, first: usize, images: usize, add: bool) {
        let (geo, sheets) = (self.geo, &self.sheets);
        let image = geo.channels * geo.height * geo.width;
        let dense = geo.stride == [1, 1];
        let mut taps = self.taps;
        for part in self.parts {
            let here;
            (here, taps) = taps.split_at(part.taps);
            let rows = part.rows.min(first + sheets.strip).saturating_sub(first);
            let n = rows * part.width;
            // SAFETY: passed on to the caller; rows below `part.rows` exist, and the staging memory holds a strip of a part.
            unsafe {
                let (y, apart) = if dense { (dx.add(first * part.width), image) } else { (self.staging, n) };
                let (sheets, between) = (self.room, sheets.len);
                let add_here = add && dense;
                Outputs { sheets, apart: between, taps: here, w, n, y, image: apart, images, add: add_here }.run::<V>();
                if dense {
                    continue;
                }
                let [down, across] = geo.stride;
                for (i, row) in (0..images).flat_map(|i| (0..rows).map(move |row| (i, row))) {
                    let place = (part.first[0] + (first + row) * down) * geo.width + part.first[1];
                    let from = self.staging.add(i * n + row * part.width);
                    V::spread(from, dx.add(i * image + place), across, part.width, add);
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
    let axes = Axis::of(geo);
    let sheets = Sheets::of_input(axes, geo.batch, lanes());
    let mut scratch = Scratch(scratch);
    let room = scratch.image(sheets.group * sheets.len + SLACK);
    let (mut columns, mut rows) = ([0; MAX_KERNEL], [0; MAX_KERNEL]);
    for (place, sheet) in columns.iter_mut().zip(sheets.columns()) {
        *place = sheet.start as u32;
    }
    for (t, place) in rows.iter_mut().enumerate().take(geo.kernel[0]) {
        *place = (row(axes[0], &sheets, t) * geo.output()[1]) as u32;
    }
    let totals = scratch.floats(geo.filters / geo.channels * geo.depth() * TOTAL);
    let job = BackwardWeight {
        geo,
        sheets,
        columns: &columns[..geo.kernel[1]],
        rows: &rows[..geo.kernel[0]],
        x: x.as_ptr(),
        dy: dy.as_ptr(),
        dw,
        accumulate,
        room: room.as_mut_ptr(),
        totals,
    };
    // SAFETY: `Conv2d::check` found x and dy to have the sizes of the geometry, and `room` holds the sheets of a group.
    unsafe { launch(job) }
}

struct BackwardWeight<'a> {
    geo: &'a Conv2d,
    sheets: Sheets,
    columns: &'a [u32],
    rows: &'a [u32],
    x: *const f32,
    dy: *const f32,
    dw: &'a mut [f32],
    accumulate: bool,
    room: *mut f32,
    totals: &'a mut [f32],
}

impl Job for BackwardWeight<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let BackwardWeight { geo, sheets, columns, rows, x, dy, dw, accumulate, room, totals } = self;
        let ((input, output, filters), width, depth) = (sizes(geo), geo.output()[1], geo.depth());
        for (c, dw) in dw.chunks_exact_mut(filters * depth).enumerate() {
            totals.fill(0.0);
            for image in (0..geo.batch).step_by(sheets.group) {
                let images = sheets.group.min(geo.batch - image);
                for (first, strip) in sheets.strips() {
                    // SAFETY: passed on to the caller; images, channels, filters and rows exist.
                    unsafe {
                        for i in 0..images {
                            let plane = ((image + i) * geo.channels + c) * input;
                            sheets.fill::<V>(first, x.add(plane), room.add(i * sheets.len));
                        }
                        for (f, totals) in totals.chunks_exact_mut(depth * TOTAL).enumerate() {
                            Products {
                                sheets: room,
                                apart: sheets.len,
                                columns,
                                rows,
                                n: strip * width,
                                dy: dy.add((image * geo.filters + c * filters + f) * output + first * width),
                                image: geo.filters * output,
                                images,
                                totals: totals.as_mut_ptr(),
                            }
                            .run::<V>();
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
