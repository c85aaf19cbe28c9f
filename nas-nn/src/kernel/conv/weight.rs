//! The direct kernel of the weight gradient: a tile of weights held in registers as vectors over positions, summed over
//! the positions of several images.

use std::cell::Cell;

use super::super::vector::{Job, Vector, lanes, launch};
use super::ahead::Ahead;

/// dw[f][k] += Σ over images and positions q of dy[f][q] · x[q + taps[k]], for all filters and taps of a group.
pub(super) struct Weights<'a> {
    /// Packed images, `x_image` apart; the group's first channel is at 0.
    pub(super) x: &'a [f32],
    pub(super) x_image: usize,
    pub(super) taps: &'a [u32],
    /// Where each vector of positions starts in a packed plane.
    pub(super) starts: &'a [u32],
    /// Output gradients, one vector for each of `starts`, images `dy_image` apart.
    pub(super) dy: &'a [f32],
    pub(super) dy_image: usize,
    pub(super) images: usize,
    pub(super) filters: usize,
    /// [filters][taps].
    pub(super) dw: &'a mut [f32],
    /// Write instead of adding.
    pub(super) first: bool,
    /// What is fetched into the cache on the way, because it is read next.
    pub(super) ahead: [&'a [f32]; 2],
}

impl Weights<'_> {
    pub(super) fn run(self) {
        assert!(self.dw.len() == self.filters * self.taps.len() && self.images > 0);
        let furthest = |table: &[u32]| table.iter().max().map_or(0, |&at| at as usize);
        let last = (self.images - 1) * self.x_image;
        let reach = last + furthest(self.taps) + furthest(self.starts) + lanes();
        assert!(reach <= self.x.len(), "weight gradient beyond its images");
        let dy_plane = self.starts.len() * lanes();
        let last = (self.images - 1) * self.dy_image;
        assert!(last + self.filters * dy_plane <= self.dy.len(), "weight gradient beyond its gradients");
        // Tiles of four filters and six taps or more, image by image: what is over is fetched before the last ones.
        let tiles = self.filters.div_ceil(4) * self.taps.len().div_ceil(9) * self.images;
        let ahead = Cell::new(self.ahead.map(|data| Ahead::over(data, tiles)));
        let job = Raw { dw: self.dw.as_mut_ptr(), of: &self, ahead };
        // SAFETY: the assertions place every position of every plane inside x and dy, and every weight inside dw.
        unsafe { launch(job) }
    }
}

struct Raw<'a> {
    of: &'a Weights<'a>,
    dw: *mut f32,
    ahead: Cell<[Ahead<'a>; 2]>,
}

impl Job for Raw<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let n = self.of.filters;
        let mut f = 0;
        // SAFETY: passed on to the caller; filters f.. of the block exist.
        unsafe {
            while n - f >= 4 {
                self.block::<V, 4>(f);
                f += 4;
            }
            while n - f >= 2 {
                self.block::<V, 2>(f);
                f += 2;
            }
            if n > f {
                self.block::<V, 1>(f);
            }
        }
    }
}

impl Raw<'_> {
    /// The gradients of `F` filters from filter `f` on, all taps.
    ///
    /// # Safety
    ///
    /// The instruction set of `V`; taps and planes that stay inside `x`, `dy` and `dw`.
    #[inline(always)]
    unsafe fn block<V: Vector, const F: usize>(&self, f: usize) {
        let n = self.of.taps.len();
        let mut k = 0;
        // SAFETY: passed on to the caller; taps k.. of the tile exist.
        unsafe {
            while F * 9 <= V::SUMS && n - k >= 9 {
                self.tile::<V, F, 9>(f, k);
                k += 9;
            }
            while F >= 4 && F * 6 <= V::SUMS && n - k >= 6 {
                self.tile::<V, F, 6>(f, k);
                k += 6;
            }
            while n - k >= 3 {
                self.tile::<V, F, 3>(f, k);
                k += 3;
            }
            while n - k >= 1 {
                self.tile::<V, F, 1>(f, k);
                k += 1;
            }
        }
    }

    /// The gradients of `F` filters by `K` taps, summed over all images in registers.
    ///
    /// # Safety
    ///
    /// The instruction set of `V`; taps and planes that stay inside `x`, `dy` and `dw`.
    #[inline(always)]
    unsafe fn tile<V: Vector, const F: usize, const K: usize>(&self, f: usize, k: usize) {
        let of = self.of;
        // SAFETY: the caller vouches that the block lies inside; `Weights::run` checked the rest.
        unsafe {
            let dy_plane = of.starts.len() * V::LANES;
            let mut sums = [[V::splat(0.0); K]; F];
            for image in 0..of.images {
                self.ahead.set(self.ahead.get().map(|ahead| ahead.fetch(1)));
                let dy = of.dy.as_ptr().add(image * of.dy_image + f * dy_plane);
                let x = of.x.as_ptr().add(image * of.x_image);
                let (mut gradients, mut from) = ([dy; F], [x; K]);
                for j in 0..F {
                    gradients[j] = dy.add(j * dy_plane);
                }
                for t in 0..K {
                    from[t] = x.add(of.taps[k + t] as usize);
                }
                // Wrapping arithmetic, because the development profile checks every other kind in this loop.
                let mut at = 0usize;
                for &start in of.starts {
                    let mut pixels = [V::splat(0.0); K];
                    for t in 0..K {
                        pixels[t] = V::load(from[t].wrapping_add(start as usize));
                    }
                    for j in 0..F {
                        let g = V::load(gradients[j].wrapping_add(at));
                        for t in 0..K {
                            sums[j][t] = pixels[t].mul_add(g, sums[j][t]);
                        }
                    }
                    at = at.wrapping_add(V::LANES);
                }
            }
            let add = |j: usize, t: usize, sum: f32| {
                let place = self.dw.add((f + j) * of.taps.len() + k + t);
                *place = if of.first { sum } else { *place + sum };
            };
            for t in 0..K {
                if F == 4 {
                    let four = V::sum4([sums[0][t], sums[1 % F][t], sums[2 % F][t], sums[3 % F][t]]);
                    for j in 0..F {
                        add(j, t, four[j]);
                    }
                } else {
                    for j in 0..F {
                        add(j, t, sums[j][t].sum());
                    }
                }
            }
        }
    }
}
