//! The sums of depthwise convolutions, vectors along a [`Walk`].

use super::super::super::vector::Vector;
use super::walk::{Reads, Walk};

/// What the vectors of one plane are made of.
pub(super) struct Plane<'a, 'w> {
    pub(super) walk: &'a Walk<'w>,
    /// The plane that is read.
    pub(super) from: *const f32,
    /// The plane of the walk's targets.
    pub(super) to: *mut f32,
}

/// The kinds of [`Reads`] as constants.
pub(super) const ALL: u8 = Reads::All as u8;
pub(super) const EVEN: u8 = Reads::Even as u8;
pub(super) const TWICE: u8 = Reads::Twice as u8;

/// What a vector reads at `at`.
///
/// # Safety
/// The instruction set of `V`, and elements where the masks say so.
#[inline(always)]
unsafe fn read<V: Vector, const KIND: u8>(walk: &Walk<'_>, at: *const f32, row: [u32; 2], column: [u32; 2]) -> V {
    // SAFETY: passed on to the caller.
    unsafe {
        match KIND {
            ALL => V::load_lanes(at, row[0] & column[0]),
            EVEN => V::load_even([at, at.wrapping_add(walk.half)], [row[0] & column[0], row[1] & column[1]]),
            _ => V::load_twice(at, row[0] & column[0]),
        }
    }
}

impl Plane<'_, '_> {
    /// The plane's sums over taps (u, t) of weight · source, written or added to the targets. Weight number i is
    /// `w[i · step]`, or a vector of 16 floats with [`Reads::Twice`].
    ///
    /// # Safety
    /// The instruction set of `V`, the walk's planes and weights.
    #[inline(always)]
    pub(super) unsafe fn outputs<V: Vector, const KIND: u8>(&self, w: *const f32, step: isize, add: bool) {
        let walk = self.walk;
        // SAFETY: passed on to the caller; groups of a tile exist.
        unsafe {
            for piece in 0..walk.pieces {
                let mut group = 0;
                if KIND == ALL && walk.rows == 1 {
                    match walk.taps[0] {
                        3 => group = self.bands::<V, 3, 8>(piece, group, w, step, add),
                        5 => group = self.bands::<V, 5, 4>(piece, group, w, step, add),
                        7 => group = self.bands::<V, 7, 8>(piece, group, w, step, add),
                        _ => {}
                    }
                }
                while walk.groups - group >= 8 {
                    self.tile::<V, KIND, 8>(piece, group, w, step, add);
                    group += 8;
                }
                while walk.groups - group >= 4 {
                    self.tile::<V, KIND, 4>(piece, group, w, step, add);
                    group += 4;
                }
                while walk.groups - group >= 2 {
                    self.tile::<V, KIND, 2>(piece, group, w, step, add);
                    group += 2;
                }
                while group < walk.groups {
                    self.tile::<V, KIND, 1>(piece, group, w, step, add);
                    group += 1;
                }
            }
        }
    }

    /// Tiles of `R` groups as long as there are so many, of one row each and kernels of `K` rows; the groups done.
    ///
    /// # Safety
    /// As [`Plane::outputs`].
    #[inline(always)]
    unsafe fn bands<V: Vector, const K: usize, const R: usize>(
        &self,
        piece: usize,
        mut group: usize,
        w: *const f32,
        step: isize,
        add: bool,
    ) -> usize {
        const { assert!(R + 1 >= K) }
        let walk = self.walk;
        while walk.groups - group >= R {
            // SAFETY: passed on to the caller. A row is loaded once for all the outputs it has a part in: row s of the band
            // is what output s − u reads in tap u.
            unsafe {
                let mut sums = [V::splat(0.0); R];
                let start = self.start(piece, group);
                let across = walk.across.as_ptr().add(piece * walk.taps[1]);
                for t in 0..walk.taps[1] {
                    let mut weights = [V::splat(0.0); K];
                    for u in 0..K {
                        let i = u.wrapping_mul(walk.taps[1]).wrapping_add(t) as isize;
                        weights[u] = V::splat(*w.wrapping_offset(i.wrapping_mul(step)));
                    }
                    let column = *across.wrapping_add(t);
                    for s in 0..R {
                        let row = *walk.down.as_ptr().wrapping_add(group.wrapping_add(s));
                        let at = start.wrapping_add(s.wrapping_mul(walk.next_row).wrapping_add(t));
                        let x = read::<V, ALL>(walk, at, row, column);
                        for u in 0..K {
                            if u <= s {
                                sums[s - u] = x.mul_add(weights[u], sums[s - u]);
                            }
                        }
                    }
                    for s in 1..K {
                        let last = (K - 1).wrapping_mul(walk.groups).wrapping_add(group).wrapping_add(R - K + s);
                        let row = *walk.down.as_ptr().wrapping_add(last);
                        let down = (R - 1 + s).wrapping_mul(walk.next_row);
                        let x = read::<V, ALL>(walk, start.wrapping_add(down.wrapping_add(t)), row, column);
                        for u in s..K {
                            let of = R - 1 + s - u;
                            if of < R {
                                sums[of] = x.mul_add(weights[u], sums[of]);
                            }
                        }
                    }
                }
                for i in 0..R {
                    self.write::<V, ALL>(piece, group + i, sums[i], add);
                }
            }
            group += R;
        }
        group
    }

    /// `R` groups from `group` on.
    ///
    /// # Safety
    /// As [`Plane::outputs`].
    #[inline(always)]
    unsafe fn tile<V: Vector, const KIND: u8, const R: usize>(
        &self,
        piece: usize,
        group: usize,
        w: *const f32,
        step: isize,
        add: bool,
    ) {
        let walk = self.walk;
        // SAFETY: passed on to the caller. Wrapping arithmetic, because the development profile checks every other kind.
        unsafe {
            let mut sums = [V::splat(0.0); R];
            let mut start = self.start(piece, group);
            let mut down = walk.down.as_ptr().wrapping_add(group);
            let across = walk.across.as_ptr().wrapping_add(piece * walk.taps[1]);
            let mut number = 0_isize;
            for _ in 0..walk.taps[0] {
                for t in 0..walk.taps[1] {
                    let weight = if KIND == TWICE {
                        V::load(w.wrapping_offset(number.wrapping_mul(16)))
                    } else {
                        V::splat(*w.wrapping_offset(number.wrapping_mul(step)))
                    };
                    number = number.wrapping_add(1);
                    let (column, mut at) = (*across.wrapping_add(t), start.wrapping_add(t));
                    for i in 0..R {
                        let x = read::<V, KIND>(walk, at, *down.wrapping_add(i), column);
                        sums[i] = x.mul_add(weight, sums[i]);
                        at = at.wrapping_add(walk.next_group);
                    }
                }
                start = start.wrapping_add(walk.next_row);
                down = down.wrapping_add(walk.groups);
            }
            for i in 0..R {
                self.write::<V, KIND>(piece, group + i, sums[i], add);
            }
        }
    }

    /// Where a vector reads in its first tap.
    #[inline(always)]
    fn start(&self, piece: usize, group: usize) -> *const f32 {
        let walk = self.walk;
        let place = piece.wrapping_mul(walk.next_piece).wrapping_add(group.wrapping_mul(walk.next_group));
        self.from.wrapping_offset(walk.start).wrapping_add(place)
    }

    /// Where a vector's first output lies.
    #[inline(always)]
    fn target(&self, piece: usize, group: usize) -> *mut f32 {
        let walk = self.walk;
        let place = piece.wrapping_mul(walk.to_piece).wrapping_add(group.wrapping_mul(walk.to_group));
        self.to.wrapping_add(walk.to.wrapping_add(place))
    }

    /// Writes a vector of outputs or adds it.
    ///
    /// # Safety
    /// As [`Plane::outputs`].
    #[inline(always)]
    unsafe fn write<V: Vector, const KIND: u8>(&self, piece: usize, group: usize, sum: V, add: bool) {
        let walk = self.walk;
        let to = self.target(piece, group);
        // SAFETY: passed on to the caller; the masks are of outputs that exist.
        unsafe {
            let lanes = *walk.group_lanes.as_ptr().wrapping_add(group) & *walk.piece_lanes.as_ptr().wrapping_add(piece);
            if KIND == TWICE && walk.rows > 1 {
                for row in 0..walk.rows {
                    let of_row = lanes & ((1 << walk.apart) - 1) << (row * walk.apart);
                    sum.store_lanes(of_row, to.wrapping_add(row * walk.to_row), add);
                }
            } else if KIND == EVEN {
                sum.store_lanes(lanes, to, add);
            } else {
                // The first ones.
                let n = lanes.count_ones() as usize;
                let sum = if add { V::load_first(to, n).add(sum) } else { sum };
                if n == V::LANES { sum.store(to) } else { sum.store_first(to, n) }
            }
        }
    }

    /// The vector of targets, zeros where there are none.
    ///
    /// # Safety
    /// As [`Plane::outputs`].
    #[inline(always)]
    unsafe fn targets<V: Vector, const KIND: u8>(&self, piece: usize, group: usize) -> V {
        let walk = self.walk;
        let at = self.target(piece, group);
        // SAFETY: passed on to the caller; the masks are of outputs that exist.
        unsafe {
            let lanes = *walk.group_lanes.as_ptr().wrapping_add(group) & *walk.piece_lanes.as_ptr().wrapping_add(piece);
            if KIND == EVEN && walk.rows > 1 && walk.apart != walk.to_row {
                // The second row begins in the middle of the vector.
                let first = lanes & ((1 << walk.apart) - 1);
                let second = at.wrapping_add(walk.to_row).wrapping_sub(walk.apart);
                V::load_lanes(at, first).add(V::load_lanes(second, lanes & !first))
            } else {
                V::load_lanes(at, lanes)
            }
        }
    }

    /// totals[u, t] += Σ over the outputs of several planes of target · source; a total is a vector of [`TOTAL`] floats.
    ///
    /// # Safety
    /// The instruction set of `V`; the walk's planes, `images` of them with so many floats between, and the totals.
    #[inline(always)]
    pub(super) unsafe fn products<V: Vector, const KIND: u8>(&self, images: &Images, totals: *mut f32) {
        let [rows, columns] = self.walk.taps;
        let mut row = 0;
        // SAFETY: passed on to the caller; rows and columns of a block exist.
        unsafe {
            while V::SUMS >= 24 && rows - row >= 5 && columns >= 5 {
                self.columns::<V, KIND, 5>(images, totals, row);
                row += 5;
            }
            while rows - row >= 3 {
                self.columns::<V, KIND, 3>(images, totals, row);
                row += 3;
            }
            while row < rows {
                self.columns::<V, KIND, 1>(images, totals, row);
                row += 1;
            }
        }
    }

    /// # Safety
    /// As [`Plane::products`], with `R` rows of taps from `row` on.
    #[inline(always)]
    unsafe fn columns<V: Vector, const KIND: u8, const R: usize>(&self, images: &Images, totals: *mut f32, row: usize) {
        let (mut column, columns) = (0, self.walk.taps[1]);
        // SAFETY: passed on to the caller; the columns of a block exist.
        unsafe {
            if R * 5 <= V::SUMS + 1 {
                while columns - column >= 5 {
                    self.block::<V, KIND, R, 5>(images, totals, row, column);
                    column += 5;
                }
            }
            while columns - column >= 3 {
                self.block::<V, KIND, R, 3>(images, totals, row, column);
                column += 3;
            }
            while column < columns {
                self.block::<V, KIND, R, 1>(images, totals, row, column);
                column += 1;
            }
        }
    }

    /// # Safety
    /// As [`Plane::columns`], with `C` columns of taps from `column` on.
    #[inline(always)]
    unsafe fn block<V: Vector, const KIND: u8, const R: usize, const C: usize>(
        &self,
        images: &Images,
        totals: *mut f32,
        row: usize,
        column: usize,
    ) {
        let walk = self.walk;
        // SAFETY: passed on to the caller. Wrapping arithmetic, because the development profile checks every other kind.
        unsafe {
            let mut sums = [[V::splat(0.0); C]; R];
            for image in 0..images.count {
                let plane = Plane {
                    walk,
                    from: self.from.wrapping_add(image.wrapping_mul(images.from)),
                    to: self.to.wrapping_add(image.wrapping_mul(images.to)),
                };
                for piece in 0..walk.pieces {
                    let mut across = [[0; 2]; C];
                    for c in 0..C {
                        across[c] = walk.across[piece * walk.taps[1] + column + c];
                    }
                    for group in 0..walk.groups {
                        let d = plane.targets::<V, KIND>(piece, group);
                        let mut at = plane.start(piece, group).wrapping_add(column);
                        at = at.wrapping_add(row.wrapping_mul(walk.next_row));
                        let mut down = walk.down.as_ptr().wrapping_add(row.wrapping_mul(walk.groups));
                        down = down.wrapping_add(group);
                        for r in 0..R {
                            let masks = *down;
                            for c in 0..C {
                                let x = read::<V, KIND>(walk, at.wrapping_add(c), masks, across[c]);
                                sums[r][c] = x.mul_add(d, sums[r][c]);
                            }
                            at = at.wrapping_add(walk.next_row);
                            down = down.wrapping_add(walk.groups);
                        }
                    }
                }
            }
            for r in 0..R {
                for c in 0..C {
                    let total = totals.add(((row + r) * walk.taps[1] + column + c) * TOTAL);
                    V::load(total).add(sums[r][c]).store(total);
                }
            }
        }
    }
}

/// Planes of several images.
pub(super) struct Images {
    pub(super) count: usize,
    /// Floats from one plane to the next: of the source, of the targets.
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Floats of a total.
pub(super) const TOTAL: usize = 16;
