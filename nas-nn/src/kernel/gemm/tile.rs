//! The inner loop of a matrix product: tiles of sums that stay in registers while the depth passes by.

use super::super::vector::{Job, Vector};

/// What the sums of the first block of the depth are added to.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// Nothing: the output is not read.
    Zero,
    /// The output.
    Output,
    /// An element for each column, from here.
    Bias(*const f32),
}

impl Start {
    /// The same for the columns from `j` on.
    #[inline(always)]
    pub(super) fn at(self, j: usize) -> Start {
        match self {
            Start::Bias(p) => Start::Bias(p.wrapping_add(j)),
            start => start,
        }
    }
}

/// A strip of the output, as wide as a few vectors: `c = start + a · b` for a block of the depth.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub(super) depth: usize,
    /// The left matrix, whose elements are read one at a time.
    pub(super) a: *const f32,
    /// From one row of a tile to the next, from one step of the depth to the next, and from one tile to the next.
    pub(super) a_strides: [usize; 3],
    /// The right matrix: rows of vectors.
    pub(super) b: *const f32,
    pub(super) b_stride: usize,
    pub(super) c: *mut f32,
    /// From one row to the next, and from one vector of a row to the next.
    pub(super) c_strides: [usize; 2],
    /// Elements of the last vector of a row.
    pub(super) last: usize,
    /// Whether the right matrix has zeros there up to a whole vector.
    pub(super) padded: bool,
    pub(super) start: Start,
}

/// `tiles` tiles of `M` rows and `N` vectors below each other. `BY_ROWS`: the left matrix has its depth side by side, else a
/// tile's rows. `MASKED`: the last vector of the right matrix is not whole.
struct Tiles<const M: usize, const N: usize, const BY_ROWS: bool, const MASKED: bool> {
    strip: Strip,
    tiles: usize,
}

impl<const M: usize, const N: usize, const BY_ROWS: bool, const MASKED: bool> Job for Tiles<M, N, BY_ROWS, MASKED> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Strip { depth, mut a, a_strides, b, b_stride, mut c, c_strides, last, start, .. } = self.strip;
        let elements = |v: usize| if v == N - 1 { last } else { V::LANES };
        let (row, step) = if BY_ROWS { (a_strides[0], 1) } else { (1, a_strides[1]) };
        for _ in 0..self.tiles {
            // SAFETY: the caller vouches for the elements of all three matrices; masks keep to the last vector's.
            unsafe {
                let mut sums = [[V::splat(0.0); N]; M];
                let (mut left, mut right) = (a, b);
                for _ in 0..depth {
                    let mut vectors = [V::splat(0.0); N];
                    for v in 0..N {
                        let n = if MASKED { elements(v) } else { V::LANES };
                        vectors[v] = load::<V>(right.add(v * V::LANES), n);
                    }
                    for r in 0..M {
                        let x = V::splat(*left.add(r * row));
                        for v in 0..N {
                            sums[r][v] = x.mul_add(vectors[v], sums[r][v]);
                        }
                    }
                    left = left.wrapping_add(step);
                    right = right.wrapping_add(b_stride);
                }
                match start {
                    Start::Zero => {}
                    Start::Output => {
                        for r in 0..M {
                            for v in 0..N {
                                let from = c.add(r * c_strides[0] + v * c_strides[1]);
                                sums[r][v] = sums[r][v].add(load::<V>(from, elements(v)));
                            }
                        }
                    }
                    Start::Bias(bias) => {
                        for v in 0..N {
                            let bias = load::<V>(bias.add(v * V::LANES), elements(v));
                            for r in 0..M {
                                sums[r][v] = sums[r][v].add(bias);
                            }
                        }
                    }
                }
                for r in 0..M {
                    for v in 0..N {
                        let to = c.add(r * c_strides[0] + v * c_strides[1]);
                        if elements(v) == V::LANES {
                            sums[r][v].store(to);
                        } else {
                            sums[r][v].store_first(to, last);
                        }
                    }
                }
            }
            a = a.wrapping_add(a_strides[2]);
            c = c.wrapping_add(M * c_strides[0]);
        }
    }
}

/// The first `n` elements at `p`, at most a vector, and zeros.
///
/// # Safety
/// The instruction set of `V`, and `n` elements at `p`.
#[inline(always)]
unsafe fn load<V: Vector>(p: *const f32, n: usize) -> V {
    // SAFETY: passed on to the caller.
    unsafe { if n == V::LANES { V::load(p) } else { V::load_first(p, n) } }
}

/// The rows of the largest tile.
pub(super) const fn high<V: Vector>() -> usize {
    match (V::SUMS, V::LANES) {
        (24.., _) => 8,
        (_, 8) => 6,
        // Without fused multiply-add a product needs a register of its own.
        _ => 4,
    }
}

/// The most vectors in a row of a tile, for a product of `rows` rows: few rows keep the unit busy by long ones.
pub(super) fn wide<V: Vector>(rows: usize) -> usize {
    match (rows, V::SUMS) {
        (1, _) | (2, 24..) => 6,
        (2, _) | (3, 24..) => 4,
        (3, _) | (_, 24..) => 3,
        // Four rows of three make the compiler spill, which leaves sixteen registers to six rows of two.
        _ => 2,
    }
}

impl Strip {
    /// `rows` rows of `vectors` vectors, no more than `wide` allows.
    ///
    /// # Safety
    /// The instruction set of `V`, and matrices with these elements, the output apart from the others.
    #[inline(always)]
    pub(super) unsafe fn run<V: Vector>(self, rows: usize, vectors: usize) {
        let high = high::<V>();
        let mut done = 0;
        // SAFETY: passed on to the caller; the tiles lie inside the strip.
        unsafe {
            if high == 8 && rows >= 8 {
                let tiles = rows / 8;
                match vectors {
                    1 => self.tiles::<V, 8, 1>(0, tiles),
                    2 => self.tiles::<V, 8, 2>(0, tiles),
                    _ => self.tiles::<V, 8, 3>(0, tiles),
                }
                done = 8 * tiles;
            }
            if high == 6 {
                let mut tiles = rows / 6;
                // One or two rows of their own are slow: 6 + 1 is 4 + 3, and 6 + 5 is 4 + 4 + 3. A packed tile stays whole.
                if tiles > 0 && matches!(rows % 6, 1 | 2 | 5) && self.a_strides[2] == 6 * self.a_strides[0] {
                    tiles -= 1;
                }
                match vectors {
                    1 => self.tiles::<V, 6, 1>(0, tiles),
                    _ => self.tiles::<V, 6, 2>(0, tiles),
                }
                done = 6 * tiles;
            }
            if rows - done >= 4 {
                let tiles = (rows - done) / 4;
                match vectors {
                    1 => self.tiles::<V, 4, 1>(done, tiles),
                    2 => self.tiles::<V, 4, 2>(done, tiles),
                    _ => self.tiles::<V, 4, 3>(done, tiles),
                }
                done += 4 * tiles;
            }
            match rows - done {
                3 => self.few::<V, 3>(done, vectors),
                2 => self.few::<V, 2>(done, vectors),
                1 => self.few::<V, 1>(done, vectors),
                _ => {}
            }
        }
    }

    /// A tile of one to three rows at row `i`.
    ///
    /// # Safety
    /// As for `run`.
    #[inline(always)]
    unsafe fn few<V: Vector, const M: usize>(self, i: usize, vectors: usize) {
        // SAFETY: passed on to the caller.
        unsafe {
            match vectors {
                1 => self.tiles::<V, M, 1>(i, 1),
                2 => self.tiles::<V, M, 2>(i, 1),
                3 => self.tiles::<V, M, 3>(i, 1),
                4 => self.tiles::<V, M, 4>(i, 1),
                5 => self.tiles::<V, M, 5>(i, 1),
                _ => self.tiles::<V, M, 6>(i, 1),
            }
        }
    }

    /// Tiles of one form from row `i` on.
    ///
    /// # Safety
    /// As for `run`.
    #[inline(always)]
    unsafe fn tiles<V: Vector, const M: usize, const N: usize>(self, i: usize, tiles: usize) {
        let (high, [row, step, tile]) = (high::<V>(), self.a_strides);
        let mut strip = self;
        strip.a = self.a.wrapping_add(i / high * tile + i % high * row);
        strip.c = self.c.wrapping_add(i * self.c_strides[0]);
        if M < high {
            strip.a_strides[2] = M * row;
        }
        let masked = self.last < V::LANES && !self.padded;
        // SAFETY: passed on to the caller.
        unsafe {
            match (step == 1, masked) {
                (true, false) => V::enter(Tiles::<M, N, true, false> { strip, tiles }),
                (true, true) => V::enter(Tiles::<M, N, true, true> { strip, tiles }),
                (false, false) => V::enter(Tiles::<M, N, false, false> { strip, tiles }),
                (false, true) => V::enter(Tiles::<M, N, false, true> { strip, tiles }),
            }
        }
    }
}
