//! The direct kernel of the forward and input-gradient passes: vectors of output positions times a few filters, held in
//! registers over all taps.

use std::cell::Cell;

use super::super::vector::{Job, Vector, launch};
use super::ahead::Ahead;
use super::lattice::Span;

/// The filters that one block of [`Tiles`] may hold, the largest first.
const BLOCKS: [usize; 4] = [8, 4, 2, 1];

/// The largest of them.
pub(super) const MAX_BLOCK: usize = BLOCKS[0];

/// Splits `n` filters into blocks the registers hold: (first filter, how many).
pub(super) fn blocks(n: usize, sums: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let size = BLOCKS.into_iter().find(|&b| b * 3 <= sums && b <= n - start)?;
        start += size;
        Some((start - size, size))
    })
}

/// y[j][outputs of the spans] = Σ_k w[k][j] · x[span + taps[k]] for a block of filters j.
pub(super) struct Tiles<'a> {
    pub(super) x: &'a [f32],
    pub(super) taps: &'a [u32],
    /// [taps][block].
    pub(super) w: &'a [f32],
    pub(super) spans: &'a [Span],
    /// One plane per filter of the block.
    pub(super) y: &'a mut [f32],
    pub(super) plane: usize,
    pub(super) add: bool,
    /// What is fetched into the cache on the way, because it is read next.
    pub(super) ahead: &'a [f32],
}

impl Tiles<'_> {
    /// Computes a block of `block` filters, one of the sizes that [`blocks`] gives.
    pub(super) fn run(self, block: usize) {
        let reach = self.taps.iter().max().map_or(0, |&tap| tap as usize)
            + self.spans.last().map_or(0, |span| span.start as usize)
            + 16;
        assert!(reach <= self.x.len() && self.taps.len() * block == self.w.len(), "a tile beyond its image");
        let outputs = self.spans.last().map_or(0, |span| (span.output + span.mask.count_ones()) as usize);
        assert!(outputs <= self.plane && self.plane * block <= self.y.len(), "a tile beyond its output");
        let job = Raw {
            x: self.x.as_ptr(),
            taps: self.taps,
            w: self.w.as_ptr(),
            spans: self.spans,
            y: self.y.as_mut_ptr(),
            plane: self.plane,
            add: self.add,
            ahead: Cell::new(Ahead::over(self.ahead, self.spans.len())),
        };
        // SAFETY: reads stay below `reach`, because spans are in ascending order, and writes below `outputs` of each plane.
        unsafe {
            match block {
                8 => launch(Block::<8>(job)),
                4 => launch(Block::<4>(job)),
                2 => launch(Block::<2>(job)),
                1 => launch(Block::<1>(job)),
                _ => unreachable!("blocks() makes no other size"),
            }
        }
    }
}

struct Raw<'a> {
    x: *const f32,
    taps: &'a [u32],
    w: *const f32,
    spans: &'a [Span],
    y: *mut f32,
    plane: usize,
    add: bool,
    ahead: Cell<Ahead<'a>>,
}

struct Block<'a, const F: usize>(Raw<'a>);

impl<const F: usize> Job for Block<'_, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut spans = self.0.spans;
        // SAFETY: passed on to the caller; each tile takes the next spans.
        unsafe {
            if F * 12 <= V::TILE {
                spans = self.tiles::<V, 12>(spans);
            }
            if F * 6 <= V::TILE {
                spans = self.tiles::<V, 6>(spans);
            }
            if F * 3 <= V::TILE {
                // 3 + 1 would leave a tile too small to hide the latency of its sums: 2 + 2.
                while spans.len() >= 3 && spans.len() != 4 {
                    self.tile::<V, 3>(&spans[..3]);
                    spans = &spans[3..];
                }
            }
            spans = self.tiles::<V, 2>(spans);
            self.tiles::<V, 1>(spans);
        }
    }
}

impl<const F: usize> Block<'_, F> {
    /// Computes tiles of `P` spans as long as there are so many; the spans left.
    ///
    /// # Safety
    ///
    /// The instruction set of `V`; spans, taps and weights that stay inside `x` and `y`.
    #[inline(always)]
    unsafe fn tiles<'s, V: Vector, const P: usize>(&self, mut spans: &'s [Span]) -> &'s [Span] {
        while spans.len() >= P {
            // SAFETY: passed on to the caller.
            unsafe { self.tile::<V, P>(&spans[..P]) };
            spans = &spans[P..];
        }
        spans
    }

    /// Computes one tile: `P` spans of pixels of a block of filters.
    ///
    /// # Safety
    ///
    /// The instruction set of `V`; spans, taps and weights that stay inside `x` and `y`.
    #[inline(always)]
    unsafe fn tile<V: Vector, const P: usize>(&self, spans: &[Span]) {
        let Raw { x, taps, mut w, y, plane, add, .. } = self.0;
        self.0.ahead.set(self.0.ahead.get().fetch(P));
        // SAFETY: the caller vouches for the tables; `spans` has P elements.
        unsafe {
            let mut from = [x; P];
            for p in 0..P {
                from[p] = x.add(spans[p].start as usize);
            }
            let mut sums = [[V::splat(0.0); P]; F];
            for &tap in taps {
                let mut pixels = [V::splat(0.0); P];
                for p in 0..P {
                    pixels[p] = V::load(from[p].wrapping_add(tap as usize));
                }
                for f in 0..F {
                    let weight = V::splat(*w.wrapping_add(f));
                    for p in 0..P {
                        sums[f][p] = pixels[p].mul_add(weight, sums[f][p]);
                    }
                }
                w = w.wrapping_add(F);
            }
            for f in 0..F {
                for p in 0..P {
                    sums[f][p].store_lanes(spans[p].mask, y.add(f * plane + spans[p].output as usize), add);
                }
            }
        }
    }
}
