//! The sums of depthwise convolutions, over sheets.

use super::super::super::vector::Vector;

/// A kernel element: where it reads in the sheets, and which weight it has.
#[derive(Clone, Copy, Default)]
pub(super) struct Tap {
    pub(super) place: u32,
    pub(super) weight: u32,
}

/// y[q] = Σ over taps of w[weight] · sheets[place + q], for q below `n`, or added to `y`; of several planes.
pub(super) struct Outputs<'a> {
    pub(super) sheets: *const f32,
    /// Floats between the sheets of two planes.
    pub(super) apart: usize,
    pub(super) taps: &'a [Tap],
    pub(super) w: *const f32,
    pub(super) n: usize,
    pub(super) y: *mut f32,
    /// Floats between two planes.
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) add: bool,
}

impl Outputs<'_> {
    /// # Safety
    /// The instruction set of `V`; sheets and planes that the numbers describe, with a vector of floats behind the sheets.
    #[inline(always)]
    pub(super) unsafe fn run<V: Vector>(&self) {
        let mut image = 0;
        // SAFETY: passed on to the caller; the images of a block exist.
        unsafe {
            while self.images - image >= 8 {
                self.planes::<V, 8>(image);
                image += 8;
            }
            while self.images - image >= 4 {
                self.planes::<V, 4>(image);
                image += 4;
            }
            while self.images - image >= 2 {
                self.planes::<V, 2>(image);
                image += 2;
            }
            while image < self.images {
                self.planes::<V, 1>(image);
                image += 1;
            }
        }
    }

    /// # Safety
    /// As [`Outputs::run`], with `G` images from `image` on.
    #[inline(always)]
    unsafe fn planes<V: Vector, const G: usize>(&self, image: usize) {
        let mut at = 0;
        // SAFETY: passed on to the caller; the last vector of a block begins below `n`.
        unsafe {
            if G * 16 <= V::TILE {
                while at + 15 * V::LANES < self.n {
                    self.tile::<V, G, 16>(image, at);
                    at += 16 * V::LANES;
                }
            }
            if G * 8 <= 8 {
                while at + 7 * V::LANES < self.n {
                    self.tile::<V, G, 8>(image, at);
                    at += 8 * V::LANES;
                }
            }
            if G * 4 <= 8 {
                while at + 3 * V::LANES < self.n {
                    self.tile::<V, G, 4>(image, at);
                    at += 4 * V::LANES;
                }
            }
            if G * 2 <= 8 {
                while at + V::LANES < self.n {
                    self.tile::<V, G, 2>(image, at);
                    at += 2 * V::LANES;
                }
            }
            while at < self.n {
                self.tile::<V, G, 1>(image, at);
                at += V::LANES;
            }
        }
    }

    /// `P` vectors from output `at` on, the last of which may be cut, of `G` planes.
    ///
    /// # Safety
    /// As [`Outputs::planes`], with the last vector's first output below `n`.
    #[inline(always)]
    unsafe fn tile<V: Vector, const G: usize, const P: usize>(&self, image: usize, at: usize) {
        // SAFETY: passed on to the caller. Wrapping arithmetic, because the development profile checks every other kind.
        unsafe {
            let mut sums = [[V::splat(0.0); P]; G];
            let mut from = [self.sheets; G];
            for g in 0..G {
                from[g] = self.sheets.add((image + g) * self.apart + at);
            }
            for tap in self.taps {
                let weight = V::splat(*self.w.wrapping_add(tap.weight as usize));
                for g in 0..G {
                    let from = from[g].wrapping_add(tap.place as usize);
                    for p in 0..P {
                        sums[g][p] = V::load(from.wrapping_add(p.wrapping_mul(V::LANES))).mul_add(weight, sums[g][p]);
                    }
                }
            }
            for g in 0..G {
                for p in 0..P {
                    let start = at + p * V::LANES;
                    let (to, here) = (self.y.add((image + g) * self.image + start), self.n - start);
                    let sum = sums[g][p];
                    if here >= V::LANES {
                        (if self.add { V::load(to).add(sum) } else { sum }).store(to);
                    } else {
                        let sum = if self.add { V::load_first(to, here).add(sum) } else { sum };
                        sum.store_first(to, here);
                    }
                }
            }
        }
    }
}

/// totals[ky, kx] += Σ over q below `n` of dy[q] · sheets[columns[kx] + rows[ky] + q], of several planes; a total is a vector
/// of 16 floats, of which the first `LANES` are used.
pub(super) struct Products<'a> {
    pub(super) sheets: *const f32,
    /// Floats between the sheets of two planes.
    pub(super) apart: usize,
    pub(super) columns: &'a [u32],
    pub(super) rows: &'a [u32],
    pub(super) n: usize,
    pub(super) dy: *const f32,
    /// Floats between two planes.
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) totals: *mut f32,
}

/// Floats of a total.
pub(super) const TOTAL: usize = 16;

impl Products<'_> {
    /// # Safety
    /// The instruction set of `V`; sheets, planes and totals that the numbers describe, with a vector of finite floats behind
    /// the sheets.
    #[inline(always)]
    pub(super) unsafe fn run<V: Vector>(&self) {
        let mut row = 0;
        // SAFETY: passed on to the caller; the rows of a block exist.
        unsafe {
            while V::SUMS >= 24 && self.rows.len() - row >= 5 {
                self.columns::<V, 5>(row);
                row += 5;
            }
            while self.rows.len() - row >= 3 {
                self.columns::<V, 3>(row);
                row += 3;
            }
            while self.rows.len() - row >= 2 {
                self.columns::<V, 2>(row);
                row += 2;
            }
            while row < self.rows.len() {
                self.columns::<V, 1>(row);
                row += 1;
            }
        }
    }

    /// # Safety
    /// As [`Products::run`], with `R` rows from `row` on.
    #[inline(always)]
    unsafe fn columns<V: Vector, const R: usize>(&self, row: usize) {
        let (mut column, n) = (0, self.columns.len());
        // SAFETY: passed on to the caller; the columns of a block exist.
        unsafe {
            if R * 5 <= V::SUMS + 1 {
                while n - column >= 5 {
                    self.block::<V, R, 5>(row, column);
                    column += 5;
                }
            }
            while n - column >= 3 {
                self.block::<V, R, 3>(row, column);
                column += 3;
            }
            while n - column >= 2 {
                self.block::<V, R, 2>(row, column);
                column += 2;
            }
            while column < n {
                self.block::<V, R, 1>(row, column);
                column += 1;
            }
        }
    }

    /// # Safety
    /// As [`Products::columns`], with `C` columns from `column` on.
    #[inline(always)]
    unsafe fn block<V: Vector, const R: usize, const C: usize>(&self, row: usize, column: usize) {
        // SAFETY: passed on to the caller. Wrapping arithmetic, because the development profile checks every other kind.
        unsafe {
            let mut sums = [[V::splat(0.0); C]; R];
            for image in 0..self.images {
                let dy = self.dy.add(image * self.image);
                let sheets = self.sheets.add(image * self.apart);
                let (mut from, mut down) = ([sheets; C], [0_usize; R]);
                for c in 0..C {
                    from[c] = sheets.add(self.columns[column + c] as usize);
                }
                for r in 0..R {
                    down[r] = self.rows[row + r] as usize;
                }
                let mut at = 0_usize;
                while at < self.n {
                    let here = self.n.wrapping_sub(at);
                    let d = dy.wrapping_add(at);
                    let d = if here >= V::LANES { V::load(d) } else { V::load_first(d, here) };
                    for r in 0..R {
                        let at = down[r].wrapping_add(at);
                        for c in 0..C {
                            sums[r][c] = V::load(from[c].wrapping_add(at)).mul_add(d, sums[r][c]);
                        }
                    }
                    at = at.wrapping_add(V::LANES);
                }
            }
            for r in 0..R {
                for c in 0..C {
                    let total = self.totals.add(((row + r) * self.columns.len() + column + c) * TOTAL);
                    V::load(total).add(sums[r][c]).store(total);
                }
            }
        }
    }
}
