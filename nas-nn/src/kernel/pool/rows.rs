//! Pooling of any stride and size: each tap of the window walks along the rows of output it has.

use std::ops::Range;

use super::super::vector::{Job, Vector, launch};
use super::Pool2d;

/// Takes into `y` and `tap` what is larger in the windows of `x`.
pub(super) fn max(geo: &Pool2d, x: &[f32], y: &mut [f32], tap: &mut [f32]) {
    run(geo, Max { x: x.as_ptr(), y: y.as_mut_ptr(), tap: tap.as_mut_ptr() });
}

/// Adds to `dx` each output's gradient at its tap.
pub(super) fn max_backward(geo: &Pool2d, tap: &[f32], dy: &[f32], dx: &mut [f32]) {
    run(geo, MaxBackward { tap: tap.as_ptr(), dy: dy.as_ptr(), dx: dx.as_mut_ptr() });
}

/// Adds the sum of each window to `y`.
pub(super) fn sum(geo: &Pool2d, x: &[f32], y: &mut [f32]) {
    run(geo, Sum { x: x.as_ptr(), y: y.as_mut_ptr() });
}

/// Adds to `dx` the share of each output that used it.
pub(super) fn average_backward(geo: &Pool2d, dy: &[f32], dx: &mut [f32]) {
    run(geo, Shares { dy: dy.as_ptr(), dx: dx.as_mut_ptr(), inner: geo.inner(1) });
}

/// A row of outputs under one tap.
struct Row {
    tap: usize,
    /// The first input's place, and the distance to the next.
    input: usize,
    stride: usize,
    /// The first output's place, its row and column.
    output: usize,
    oy: usize,
    ox: usize,
    len: usize,
}

/// What is done with it.
trait Visit {
    /// Does the work of one row of windows.
    ///
    /// # Safety
    ///
    /// The instruction set of `V`, and a row inside the geometry.
    unsafe fn visit<V: Vector>(&self, geo: &Pool2d, row: &Row);
}

/// The slices behind `visit` must be the input and output of `geo`.
fn run(geo: &Pool2d, visit: impl Visit) {
    // SAFETY: rows and columns are those that `Pool2d::valid` places inside input and output.
    unsafe { launch(Walk { geo, visit }) }
}

struct Walk<'a, T> {
    geo: &'a Pool2d,
    visit: T,
}

impl<T: Visit> Job for Walk<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geo = self.geo;
        let [oh, ow] = geo.output();
        let planes = geo.batch * geo.channels;
        // As many planes at a time as the first-level cache holds.
        let group = (4096 / (geo.height * geo.width)).max(1);
        for start in (0..planes).step_by(group) {
            for ky in 0..geo.kernel[0] {
                let (rows, y) = geo.valid(0, ky);
                for kx in 0..geo.kernel[1] {
                    let (columns, x) = geo.valid(1, kx);
                    if columns.is_empty() {
                        continue;
                    }
                    for plane in start..(start + group).min(planes) {
                        for (i, oy) in rows.clone().enumerate() {
                            let row = Row {
                                tap: ky * geo.kernel[1] + kx,
                                input: (plane * geo.height + y + i * geo.stride[0]) * geo.width + x,
                                stride: geo.stride[1],
                                output: (plane * oh + oy) * ow + columns.start,
                                oy,
                                ox: columns.start,
                                len: columns.len(),
                            };
                            // SAFETY: passed on to the caller.
                            unsafe { self.visit.visit::<V>(geo, &row) }
                        }
                    }
                }
            }
        }
    }
}

struct Max {
    x: *const f32,
    y: *mut f32,
    tap: *mut f32,
}

impl Visit for Max {
    #[inline(always)]
    unsafe fn visit<V: Vector>(&self, _: &Pool2d, row: &Row) {
        // SAFETY: passed on to the caller.
        unsafe {
            let number = V::splat(row.tap as f32);
            for i in (0..row.len).step_by(V::LANES) {
                let n = (row.len - i).min(V::LANES);
                let (y, tap) = (self.y.add(row.output + i), self.tap.add(row.output + i));
                let x = V::load_strided(self.x.add(row.input + i * row.stride), row.stride, n);
                let (best, at) = x.larger(number, V::load_first(y, n), V::load_first(tap, n));
                best.store_first(y, n);
                at.store_first(tap, n);
            }
        }
    }
}

struct MaxBackward {
    tap: *const f32,
    dy: *const f32,
    dx: *mut f32,
}

impl Visit for MaxBackward {
    #[inline(always)]
    unsafe fn visit<V: Vector>(&self, _: &Pool2d, row: &Row) {
        // SAFETY: passed on to the caller.
        unsafe {
            let number = V::splat(row.tap as f32);
            for i in (0..row.len).step_by(V::LANES) {
                let n = (row.len - i).min(V::LANES);
                let tap = V::load_first(self.tap.add(row.output + i), n);
                let dy = V::load_first(self.dy.add(row.output + i), n).where_equal(tap, number);
                add_strided(dy, self.dx.add(row.input + i * row.stride), row.stride, n);
            }
        }
    }
}

struct Sum {
    x: *const f32,
    y: *mut f32,
}

impl Visit for Sum {
    #[inline(always)]
    unsafe fn visit<V: Vector>(&self, _: &Pool2d, row: &Row) {
        // SAFETY: passed on to the caller.
        unsafe {
            for i in (0..row.len).step_by(V::LANES) {
                let n = (row.len - i).min(V::LANES);
                let y = self.y.add(row.output + i);
                let x = V::load_strided(self.x.add(row.input + i * row.stride), row.stride, n);
                V::load_first(y, n).add(x).store_first(y, n);
            }
        }
    }
}

struct Shares {
    dy: *const f32,
    dx: *mut f32,
    /// The output columns whose window is not cut by the border.
    inner: Range<usize>,
}

impl Visit for Shares {
    #[inline(always)]
    unsafe fn visit<V: Vector>(&self, geo: &Pool2d, row: &Row) {
        let end = row.ox + row.len;
        let middle = self.inner.start.clamp(row.ox, end)..self.inner.end.clamp(row.ox, end);
        let rows = geo.covered(0, row.oy);
        // SAFETY: passed on to the caller.
        unsafe {
            for ox in (row.ox..middle.start).chain(middle.end.max(middle.start)..end) {
                let share = 1.0 / (rows * geo.covered(1, ox)) as f32;
                let dx = self.dx.add(row.input + (ox - row.ox) * row.stride);
                *dx += *self.dy.add(row.output + ox - row.ox) * share;
            }
            let share = V::splat(1.0 / (rows * geo.kernel[1]) as f32);
            for ox in middle.clone().step_by(V::LANES) {
                let (i, n) = (ox - row.ox, (middle.end - ox).min(V::LANES));
                let dy = V::load_first(self.dy.add(row.output + i), n).mul(share);
                add_strided(dy, self.dx.add(row.input + i * row.stride), row.stride, n);
            }
        }
    }
}

/// Adds the first `n` lanes to elements that lie `stride` apart.
///
/// # Safety
///
/// The instruction set of `V`; `n` elements at `to`, `stride` apart.
#[inline(always)]
unsafe fn add_strided<V: Vector>(v: V, to: *mut f32, stride: usize, n: usize) {
    let mut lanes = [0.0; 16];
    // SAFETY: the caller vouches for the elements; no vector has more than 16 lanes.
    unsafe {
        if stride == 1 {
            return v.add(V::load_first(to, n)).store_first(to, n);
        }
        v.store(lanes.as_mut_ptr());
        V::spread(lanes.as_ptr(), to, stride, n, true);
    }
}
