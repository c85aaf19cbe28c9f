//! Copies of blocks of matrices in the order in which a product reads them, and of its sums in the order of the output.

use std::cell::Cell;

use super::super::vector::Vector;

/// Aligned as a cache line, so that no vector of a packed block lies across two.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read through a pointer")] [f32; 16]);

thread_local! {
    static BUFFER: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with the thread's buffer of at least `len` elements, which grows when it must.
#[inline(always)]
pub(super) fn with_buffer<R>(len: usize, f: impl FnOnce(*mut f32) -> R) -> R {
    if len == 0 {
        return f(std::ptr::dangling_mut::<Line>().cast());
    }
    let mut buffer = BUFFER.take();
    let lines = len.div_ceil(16);
    if buffer.len() < lines {
        buffer.reserve_exact(lines - buffer.len());
        buffer.resize(lines, Line([0.0; 16]));
    }
    let result = f(buffer.as_mut_ptr().cast());
    BUFFER.set(buffer);
    result
}

/// Writes `depth` rows of `columns` elements, filled up with zeros to whole vectors, side by side.
///
/// # Safety
/// The instruction set of `V`, the elements of `from` (`strides` from one row to the next and from one column to the next), and
/// as many whole vectors at `to`.
#[inline(always)]
pub(super) unsafe fn right<V: Vector>(
    from: *const f32,
    strides: [usize; 2],
    [depth, columns]: [usize; 2],
    to: *mut f32,
) {
    let vectors = columns.div_ceil(V::LANES);
    let width = vectors * V::LANES;
    // SAFETY: the caller vouches for both ranges; what is read or written beyond `columns` is masked or lies in whole vectors.
    unsafe {
        match strides {
            [row, 1] => {
                let last = columns - (vectors - 1) * V::LANES;
                for l in 0..depth {
                    let (from, to) = (from.add(l * row), to.add(l * width));
                    for v in 0..vectors - 1 {
                        V::load(from.add(v * V::LANES)).store(to.add(v * V::LANES));
                    }
                    let v = (vectors - 1) * V::LANES;
                    let rest = if last == V::LANES { V::load(from.add(v)) } else { V::load_first(from.add(v), last) };
                    rest.store(to.add(v));
                }
            }
            [1, column] => {
                let mut places = [0; 16];
                for (i, place) in places.iter_mut().enumerate() {
                    *place = (i * width) as u32;
                }
                for v in 0..vectors {
                    let (j, to) = (v * V::LANES, to.add(v * V::LANES));
                    let lanes = (columns - j).min(V::LANES);
                    let from = from.add(j * column);
                    let mut l = 0;
                    if lanes == V::LANES {
                        while depth - l >= V::LANES {
                            V::interleave(from.add(l), column, V::LANES, V::LANES, to.add(l * width), places.as_ptr());
                            l += V::LANES;
                        }
                    }
                    while l < depth {
                        let n = (depth - l).min(V::LANES);
                        V::interleave(from.add(l), column, lanes, n, to.add(l * width), places.as_ptr());
                        l += n;
                    }
                }
            }
            [row, column] => {
                for l in 0..depth {
                    for j in 0..width {
                        *to.add(l * width + j) = if j < columns { *from.add(l * row + j * column) } else { 0.0 };
                    }
                }
            }
        }
    }
}

/// Writes tiles of `high` rows one after the other, each with its rows side by side for each step of the depth.
///
/// # Safety
/// The elements of `from` (`strides` from one row to the next and from one step of the depth to the next), and room for whole
/// tiles at `to`.
#[inline(always)]
pub(super) unsafe fn left(from: *const f32, strides: [usize; 2], [rows, depth]: [usize; 2], high: usize, to: *mut f32) {
    for i in 0..rows {
        for l in 0..depth {
            // SAFETY: the caller vouches for both elements.
            unsafe {
                *to.add(i / high * high * depth + l * high + i % high) = *from.add(i * strides[0] + l * strides[1])
            }
        }
    }
}

/// Writes `rows` by `columns` sums to `c`, or adds them to it. They lie as vectors of a row's elements, all rows of the first
/// vector before those of the next.
///
/// # Safety
/// The instruction set of `V`, the vectors at `from`, and distinct elements of `c` (`strides` from one row to the next and from
/// one column to the next).
#[inline(always)]
pub(super) unsafe fn output<V: Vector>(
    from: *const f32,
    [rows, columns]: [usize; 2],
    c: *mut f32,
    strides: [usize; 2],
    add: bool,
) {
    // SAFETY: the caller vouches for both ranges.
    unsafe {
        for v in 0..columns.div_ceil(V::LANES) {
            let (from, j) = (from.add(v * rows * V::LANES), v * V::LANES);
            let (lanes, c) = ((columns - j).min(V::LANES), c.add(j * strides[1]));
            if strides[0] == 1 {
                for i in (0..rows).step_by(V::LANES) {
                    let n = (rows - i).min(V::LANES);
                    V::deinterleave(from.add(i * V::LANES), n, c.add(i), strides[1], lanes, add);
                }
            } else {
                for i in 0..rows {
                    for lane in 0..lanes {
                        let (sum, to) = (*from.add(i * V::LANES + lane), c.add(i * strides[0] + lane * strides[1]));
                        *to = if add { *to + sum } else { sum };
                    }
                }
            }
        }
    }
}
