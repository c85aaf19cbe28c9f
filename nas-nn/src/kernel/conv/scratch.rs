//! Scratch memory, given out piece by piece.

use super::lattice::Span;

/// Floats of a cache line.
const LINE: usize = 16;

/// Floats that two pieces on cache lines may waste.
pub(super) const WASTE: usize = 2 * LINE;

/// What is left of the scratch memory.
pub(super) struct Scratch<'a>(pub(super) &'a mut [f32]);

impl<'a> Scratch<'a> {
    pub(super) fn floats(&mut self, n: usize) -> &'a mut [f32] {
        let (taken, rest) = std::mem::take(&mut self.0).split_at_mut(n);
        self.0 = rest;
        taken
    }

    /// Zeros that start on a cache line.
    pub(super) fn image(&mut self, n: usize) -> &'a mut [f32] {
        let skip = self.0.as_ptr().align_offset(4 * LINE).min(LINE);
        self.floats(skip);
        let image = self.floats(n);
        image.fill(0.0);
        image
    }

    pub(super) fn indices(&mut self, n: usize) -> &'a mut [u32] {
        let floats = self.floats(n);
        // SAFETY: u32 and f32 have the same size and alignment, and every bit pattern is a value of both.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), n) }
    }

    pub(super) fn spans(&mut self, n: usize) -> &'a mut [Span] {
        const { assert!(size_of::<Span>() == 12 && align_of::<Span>() == 4) }
        let floats = self.floats(3 * n);
        // SAFETY: a span is three u32, see above.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), n) }
    }
}
