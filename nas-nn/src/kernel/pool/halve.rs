//! Pooling that halves an image: windows of 2×2 that neither overlap nor reach into padding. Safe loops over pairs, which
//! the compiler vectorises for every instruction set.

use super::super::simd::dispatch;
use super::Pool2d;

/// Whether the geometry is such a pooling.
pub(super) fn serves(geo: &Pool2d) -> bool {
    geo.kernel == [2, 2] && geo.stride == [2, 2] && geo.padding == [0; 4]
}

/// The larger of `best` and `x` with the number of its place; NaN counts as largest, the first of equals wins.
#[inline(always)]
fn larger((best, place): (f32, f32), x: f32, number: f32) -> (f32, f32) {
    let wins = (x > best) | (x.is_nan() & !best.is_nan());
    (if wins { x } else { best }, if wins { number } else { place })
}

/// Calls `f` with the two rows of windows and the row of outputs, as places in the input and the output.
#[inline(always)]
fn rows(geo: &Pool2d, mut f: impl FnMut(usize, usize, usize)) {
    let [oh, ow] = geo.output();
    for plane in 0..geo.batch * geo.channels {
        for row in 0..oh {
            let top = (plane * geo.height + 2 * row) * geo.width;
            f(top, top + geo.width, (plane * oh + row) * ow);
        }
    }
}

/// `y` and `tap` of [`max_pool2d_forward`](super::max_pool2d_forward).
pub(super) fn max(geo: &Pool2d, x: &[f32], y: &mut [f32], tap: &mut [f32]) {
    let ow = geo.output()[1];
    dispatch(
        #[inline(always)]
        || {
            rows(geo, |top, bottom, out| {
                let pairs = x[top..top + 2 * ow].chunks_exact(2).zip(x[bottom..bottom + 2 * ow].chunks_exact(2));
                let outputs = y[out..out + ow].iter_mut().zip(&mut tap[out..out + ow]);
                for ((a, b), (y, tap)) in pairs.zip(outputs) {
                    let mut best = (f32::NEG_INFINITY, -1.0);
                    best = larger(best, a[0], 0.0);
                    best = larger(best, a[1], 1.0);
                    best = larger(best, b[0], 2.0);
                    best = larger(best, b[1], 3.0);
                    (*y, *tap) = best;
                }
            });
        },
    );
}

/// `y` = the average of each window.
pub(super) fn average(geo: &Pool2d, x: &[f32], y: &mut [f32]) {
    let ow = geo.output()[1];
    dispatch(
        #[inline(always)]
        || {
            rows(geo, |top, bottom, out| {
                let pairs = x[top..top + 2 * ow].chunks_exact(2).zip(x[bottom..bottom + 2 * ow].chunks_exact(2));
                for ((a, b), y) in pairs.zip(&mut y[out..out + ow]) {
                    *y = ((a[0] + a[1]) + (b[0] + b[1])) * 0.25;
                }
            });
        },
    );
}

/// The gradient of each window's pair of places in a row, `of(gradient, tap, first place)`, written to `dx` or added to it.
#[inline(always)]
fn backward(geo: &Pool2d, dy: &[f32], tap: &[f32], dx: &mut [f32], add: bool, of: impl Fn(f32, f32, f32) -> [f32; 2]) {
    let ow = geo.output()[1];
    if !add && (!geo.height.is_multiple_of(2) || !geo.width.is_multiple_of(2)) {
        // The last row or column belongs to no window.
        dx.fill(0.0);
    }
    rows(geo, |top, bottom, out| {
        for (start, first) in [(top, 0.0), (bottom, 2.0)] {
            let outputs = dy[out..out + ow].iter().zip(&tap[out..out + ow]);
            for (dx, (&dy, &tap)) in dx[start..start + 2 * ow].chunks_exact_mut(2).zip(outputs) {
                let [a, b] = of(dy, tap, first);
                dx[0] = if add { dx[0] + a } else { a };
                dx[1] = if add { dx[1] + b } else { b };
            }
        }
    });
}

/// The gradient of [`max`]: each output's goes to its place.
pub(super) fn max_backward(geo: &Pool2d, tap: &[f32], dy: &[f32], dx: &mut [f32], add: bool) {
    dispatch(
        #[inline(always)]
        || {
            backward(geo, dy, tap, dx, add, |dy, tap, first| {
                // A mask of bits, because a choice would become a jump that is taken at random.
                let mask = |place: f32| u32::from(tap == place).wrapping_neg();
                [first, first + 1.0].map(|place| f32::from_bits(dy.to_bits() & mask(place)))
            });
        },
    );
}

/// The gradient of [`average`]: a quarter of each output's to each of its places.
pub(super) fn average_backward(geo: &Pool2d, dy: &[f32], dx: &mut [f32], add: bool) {
    dispatch(
        #[inline(always)]
        || backward(geo, dy, dy, dx, add, |dy, _, _| [0.25 * dy; 2]),
    );
}
