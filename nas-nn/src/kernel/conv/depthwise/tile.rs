//! The sums of depthwise convolutions, over sheets. Pitch `P`, step `S` and the number of columns of taps `C` are constants,
//! so that most addresses are too; `C` is 0 for any number.

use super::super::super::vector::Vector;
use super::sheet::{Sheet, Taps};

/// A sheet that is filled, and what is read of it.
pub(super) struct Plane<'a> {
    pub(super) layout: &'a Sheet,
    pub(super) taps: &'a Taps<'a>,
    pub(super) sheet: *const f32,
}

/// From a vector of outputs to the next below it: a row, or the rows that it covers.
const fn below<V: Vector, const P: usize>() -> usize {
    if P > V::LANES { P } else { V::LANES }
}

/// Rows that a vector covers.
const fn rows<V: Vector, const P: usize>() -> usize {
    if P > V::LANES { 1 } else { V::LANES / P }
}

/// Vectors of a plane, down and across.
#[inline(always)]
fn vectors<V: Vector, const P: usize>(taps: &Taps<'_>) -> [usize; 2] {
    let across = if P > V::LANES { taps.columns.div_ceil(V::LANES) } else { 1 };
    [taps.rows.div_ceil(rows::<V, P>()), across]
}

impl Plane<'_> {
    /// Calls `put` with the place of every vector of outputs, as (row, column), and Σ over taps of weight · element.
    ///
    /// # Safety
    /// The instruction set of `V`; a filled sheet of pitch `P` and step `S`, `C` columns of taps, and a weight for each tap.
    #[inline(always)]
    pub(super) unsafe fn outputs<V: Vector, const P: usize, const S: usize, const C: usize>(
        &self,
        w: *const f32,
        mut put: impl FnMut(usize, usize, V),
    ) {
        let [down, across] = vectors::<V, P>(self.taps);
        for piece in 0..across {
            let mut at = 0;
            // SAFETY: passed on to the caller; vectors of a tile exist.
            unsafe {
                while down - at >= 8 {
                    self.tile::<V, P, S, C, 8>(piece, at, w, &mut put);
                    at += 8;
                }
                while down - at >= 4 {
                    self.tile::<V, P, S, C, 4>(piece, at, w, &mut put);
                    at += 4;
                }
                while down - at >= 2 {
                    self.tile::<V, P, S, C, 2>(piece, at, w, &mut put);
                    at += 2;
                }
                while at < down {
                    self.tile::<V, P, S, C, 1>(piece, at, w, &mut put);
                    at += 1;
                }
            }
        }
    }

    /// Writes the outputs of step 1 to rows that are the pitch apart, whole vectors.
    ///
    /// # Safety
    /// As [`Plane::outputs`], and room for them.
    #[inline(always)]
    pub(super) unsafe fn stage<V: Vector, const P: usize, const C: usize>(&self, w: *const f32, to: *mut f32) {
        // SAFETY: passed on to the caller.
        unsafe {
            self.outputs::<V, P, 1, C>(
                w,
                #[inline(always)]
                |row, column, sum| sum.store(to.wrapping_add(row.wrapping_mul(P).wrapping_add(column))),
            );
        }
    }

    /// `R` vectors below each other, from number `at` on.
    ///
    /// # Safety
    /// As [`Plane::outputs`].
    #[inline(always)]
    unsafe fn tile<V: Vector, const P: usize, const S: usize, const C: usize, const R: usize>(
        &self,
        piece: usize,
        at: usize,
        w: *const f32,
        put: &mut impl FnMut(usize, usize, V),
    ) {
        let columns = if C == 0 { self.taps.size[1] } else { C };
        // SAFETY: passed on to the caller. Wrapping arithmetic, because the development profile checks every other kind.
        unsafe {
            let masks = self.taps.masks.as_ptr().wrapping_add(piece.wrapping_mul(columns));
            let mut sums = [V::splat(0.0); R];
            for phase in 0..S {
                let mut from = self.row::<V, P, S>(piece, at, phase);
                let mut w = w.wrapping_add(phase.wrapping_mul(columns));
                for _ in 0..self.taps.size[0].wrapping_add(S - 1).wrapping_sub(phase) / S {
                    for t in 0..columns {
                        let (weight, mask) = (V::splat(*w.wrapping_add(t)), *masks.wrapping_add(t));
                        let from = from[t % S].wrapping_add(t / S);
                        for i in 0..R {
                            let x = V::load_lanes(from.wrapping_add(i * below::<V, P>()), mask);
                            sums[i] = x.mul_add(weight, sums[i]);
                        }
                    }
                    for from in &mut from {
                        *from = from.wrapping_add(P);
                    }
                    w = w.wrapping_add(S.wrapping_mul(columns));
                }
            }
            for i in 0..R {
                let row = at.wrapping_add(i).wrapping_mul(rows::<V, P>());
                put(row, piece.wrapping_mul(V::LANES), sums[i]);
            }
        }
    }

    /// Where a vector reads in the first row of taps of a phase of rows, in each phase of columns.
    #[inline(always)]
    fn row<V: Vector, const P: usize, const S: usize>(&self, piece: usize, at: usize, phase: usize) -> [*const f32; S] {
        let place = at.wrapping_mul(below::<V, P>()).wrapping_add(piece.wrapping_mul(V::LANES));
        let mut from = [self.sheet; S];
        for x in 0..S {
            let place = phase.wrapping_mul(S).wrapping_add(x).wrapping_mul(self.layout.phase).wrapping_add(place);
            from[x] = self.sheet.wrapping_add(place).wrapping_offset(self.taps.start[x]);
        }
        from
    }

    /// totals[u, t] += Σ over the vectors of several planes of gradient · element, the gradient of vector (row, column) of
    /// plane i being `gradient(i, row, column)`; a total is a vector of [`TOTAL`] floats. Sheets are `layout.len` apart.
    ///
    /// # Safety
    /// As [`Plane::outputs`], with so many sheets, and the totals.
    #[inline(always)]
    pub(super) unsafe fn products<V: Vector, const P: usize, const S: usize, const C: usize>(
        &self,
        planes: usize,
        gradient: impl Fn(usize, usize, usize) -> V,
        totals: *mut f32,
    ) {
        let (mut row, [rows, columns]) = (0, self.taps.size);
        // SAFETY: passed on to the caller; rows and columns of a block exist.
        unsafe {
            match C {
                5 if V::SUMS >= 24 => {
                    // Five rows fit, but the compiler would move sums to memory.
                    while rows - row >= 3 {
                        self.block::<V, P, S, 3, 5>(planes, &gradient, totals, row, 0);
                        row += 3;
                    }
                    while rows - row >= 2 {
                        self.block::<V, P, S, 2, 5>(planes, &gradient, totals, row, 0);
                        row += 2;
                    }
                }
                3 => {
                    while rows - row >= 3 {
                        self.block::<V, P, S, 3, 3>(planes, &gradient, totals, row, 0);
                        row += 3;
                    }
                }
                _ => {}
            }
            while row < rows {
                let mut column = 0;
                while columns - column >= 5 {
                    self.block::<V, P, S, 1, 5>(planes, &gradient, totals, row, column);
                    column += 5;
                }
                while column < columns {
                    self.block::<V, P, S, 1, 1>(planes, &gradient, totals, row, column);
                    column += 1;
                }
                row += 1;
            }
        }
    }

    /// `R` rows by `C` columns of taps.
    ///
    /// # Safety
    /// As [`Plane::products`].
    #[inline(always)]
    unsafe fn block<V: Vector, const P: usize, const S: usize, const R: usize, const C: usize>(
        &self,
        planes: usize,
        gradient: &impl Fn(usize, usize, usize) -> V,
        totals: *mut f32,
        row: usize,
        column: usize,
    ) {
        let ([down, across], columns) = (vectors::<V, P>(self.taps), self.taps.size[1]);
        // SAFETY: passed on to the caller. Wrapping arithmetic, because the development profile checks every other kind.
        unsafe {
            let mut sums = [[V::splat(0.0); C]; R];
            for plane in 0..planes {
                for piece in 0..across {
                    let mut masks = [0; C];
                    for t in 0..C {
                        masks[t] = self.taps.masks[piece * columns + column + t];
                    }
                    // Where the taps of each row read, in each phase of columns.
                    let mut from = [[self.sheet; S]; R];
                    for u in 0..R {
                        let down = row.wrapping_add(u);
                        let first = self.row::<V, P, S>(piece, 0, down % S);
                        for x in 0..S {
                            let place = plane.wrapping_mul(self.layout.len).wrapping_add(down / S * P);
                            from[u][x] = first[column.wrapping_add(x) % S].wrapping_add(place);
                            from[u][x] = from[u][x].wrapping_add(column.wrapping_add(x) / S);
                        }
                    }
                    let mut place = 0_usize;
                    for at in 0..down {
                        let d = gradient(plane, at.wrapping_mul(rows::<V, P>()), piece.wrapping_mul(V::LANES));
                        for u in 0..R {
                            for t in 0..C {
                                let x = V::load_lanes(from[u][t % S].wrapping_add(place.wrapping_add(t / S)), masks[t]);
                                sums[u][t] = x.mul_add(d, sums[u][t]);
                            }
                        }
                        place = place.wrapping_add(below::<V, P>());
                    }
                }
            }
            for u in 0..R {
                for t in 0..C {
                    let total = totals.add(((row + u) * columns + column + t) * TOTAL);
                    V::load(total).add(sums[u][t]).store(total);
                }
            }
        }
    }
}

/// Floats of a total.
pub(super) const TOTAL: usize = 16;

/// The rows of a plane outside of sheets, for vectors of sheets of pitch `P`.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Rows {
    /// Which lanes of the vector at (row, column) are of the plane: how many, where they lie side by side, else the mask of
    /// those of the rows that it covers.
    #[inline(always)]
    fn lanes<V: Vector, const P: usize>(self, row: usize, column: usize) -> Result<usize, u32> {
        if P > V::LANES {
            return Ok(self.width.wrapping_sub(column).min(V::LANES));
        }
        let count = self.height.wrapping_sub(row).min(rows::<V, P>());
        if self.width == P || rows::<V, P>() == 1 {
            return Ok(count.wrapping_mul(self.width));
        }
        let mut mask = 0;
        for i in 0..rows::<V, P>() {
            mask |= if i < count { ((1 << self.width) - 1) << (i * P) } else { 0 };
        }
        Err(mask)
    }

    /// Writes a vector or adds it to the plane.
    ///
    /// # Safety
    /// The instruction set of `V`, and the plane.
    #[inline(always)]
    pub(super) unsafe fn write<V: Vector, const P: usize>(
        self,
        plane: *mut f32,
        row: usize,
        column: usize,
        v: V,
        add: bool,
    ) {
        let to = plane.wrapping_add(row.wrapping_mul(self.width).wrapping_add(column));
        // SAFETY: passed on to the caller; only elements of the plane.
        unsafe {
            match self.lanes::<V, P>(row, column) {
                Ok(n) if n == V::LANES => (if add { V::load(to).add(v) } else { v }).store(to),
                Ok(n) => (if add { V::load_first(to, n).add(v) } else { v }).store_first(to, n),
                Err(mask) => v.store_lanes(mask, to, add),
            }
        }
    }

    /// Reads a vector of the plane, zeros elsewhere.
    ///
    /// # Safety
    /// The instruction set of `V`, and the plane.
    #[inline(always)]
    pub(super) unsafe fn read<V: Vector, const P: usize>(self, plane: *const f32, row: usize, column: usize) -> V {
        let from = plane.wrapping_add(row.wrapping_mul(self.width).wrapping_add(column));
        // SAFETY: passed on to the caller; only elements of the plane.
        unsafe {
            match self.lanes::<V, P>(row, column) {
                Ok(n) if n == V::LANES => V::load(from),
                Ok(n) => V::load_first(from, n),
                Err(mask) => {
                    let mut all = V::splat(0.0);
                    for i in 0..rows::<V, P>() {
                        let of_row = mask & (((1 << self.width) - 1) << (i * P));
                        let from = from.wrapping_add(i * self.width).wrapping_sub(i * P);
                        all = all.add(V::load_lanes(from, of_row));
                    }
                    all
                }
            }
        }
    }
}
