//! Fetching what is read next into the cache while registers are busy.
//!
//! A layer's images do not stay in the cache between its passes. Packing one waits for memory; fetched line by line while
//! the image before it is multiplied, it is there when it is packed.

use super::super::vector::prefetch;

/// Floats of a cache line.
const LINE: usize = 16;

/// Floats still to fetch, a few lines at every part of some other work.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    rest: &'a [f32],
    /// Floats for each part of the work.
    each: usize,
}

impl<'a> Ahead<'a> {
    /// Fetches `data` over `parts` parts of some work.
    pub(super) fn over(data: &'a [f32], parts: usize) -> Self {
        Ahead { rest: data, each: data.len().div_ceil(parts.max(1)).next_multiple_of(LINE) }
    }

    /// Fetches what falls to the next `parts` parts; what is left.
    #[inline(always)]
    pub(super) fn fetch(self, parts: usize) -> Self {
        let (now, rest) = self.rest.split_at(self.rest.len().min(self.each.wrapping_mul(parts)));
        for line in now.chunks(LINE) {
            prefetch(line.as_ptr());
        }
        Ahead { rest, ..self }
    }
}

/// Floats that stay in the second-level cache between two passes: nothing needs to be fetched then.
const CACHED: usize = 96 * 1024;

/// What follows each part of `part` floats of `data`, for a pass that reads and writes `floats` in all; nothing when they
/// stay in the cache anyway.
pub(super) fn following(data: &[f32], part: usize, floats: usize) -> std::slice::Chunks<'_, f32> {
    let data = if floats > CACHED { data.get(part..).unwrap_or_default() } else { &[] };
    data.chunks(part)
}

/// Part `i` of `n` nearly equal ones of `data`; nothing of nothing.
pub(super) fn part(data: &[f32], i: usize, n: usize) -> &[f32] {
    let each = data.len().div_ceil(n.max(1)).next_multiple_of(LINE);
    let from = (i * each).min(data.len());
    &data[from..(from + each).min(data.len())]
}
