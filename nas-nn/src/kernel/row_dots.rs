//! Products with a matrix that is stored transposed, for few rows: every element is the dot product of two rows.
//!
//! A general product packs the transposed matrix at every call, which for the few rows of a recurrent step costs more than the
//! product. Here both rows are read as they lie: a tile of dot products is held in registers and summed across at the end.

use super::vector::{Job, Vector, launch};

/// More rows than this pay for packing.
pub(super) const MAX_ROWS: usize = 256;
/// Shorter rows do not pay for the sums across.
const MIN_LENGTH: usize = 96;

/// Whether the product of m rows with n rows of length k is served here.
pub(super) fn serves([m, n, k]: [usize; 3]) -> bool {
    m <= MAX_ROWS && n >= 4 && k >= MIN_LENGTH
}

/// `c[i][j] = beta c[i][j] + Σ_l a[i][l] b[j][l]`; rows are so far apart as the strides say, elements beside each other.
#[derive(Clone, Copy)]
pub(super) struct RowDots {
    pub(super) size: [usize; 3],
    pub(super) a: *const f32,
    pub(super) a_stride: usize,
    pub(super) b: *const f32,
    pub(super) b_stride: usize,
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    pub(super) beta: f32,
}

impl RowDots {
    /// Computes it.
    ///
    /// # Safety
    /// All rows exist, and `c` is not part of `a` or `b`.
    pub(super) unsafe fn run(self) {
        // SAFETY: passed on to the caller.
        unsafe { launch(self) }
    }

    /// Rows `i..i + M` by rows `j..j + N`.
    ///
    /// # Safety
    /// The instruction set of `V`, and rows that exist.
    #[inline(always)]
    unsafe fn tile<V: Vector, const M: usize, const N: usize>(self, i: usize, j: usize) {
        let length = self.size[2];
        // SAFETY: the caller vouches for the rows; vectors start below their end and load only what exists.
        unsafe {
            let mut sums = [[V::splat(0.0); M]; N];
            let mut at = 0;
            while at < length {
                let n = length - at;
                let mut left = [V::splat(0.0); M];
                for r in 0..M {
                    left[r] = load::<V>(self.a.add((i + r) * self.a_stride + at), n);
                }
                for r in 0..N {
                    let right = load::<V>(self.b.add((j + r) * self.b_stride + at), n);
                    for l in 0..M {
                        sums[r][l] = left[l].mul_add(right, sums[r][l]);
                    }
                }
                at = at.wrapping_add(V::LANES);
            }
            for (r, sums) in sums.iter().enumerate() {
                let totals = if M == 4 {
                    V::sum4([sums[0], sums[1 % M], sums[2 % M], sums[3 % M]])
                } else {
                    [sums[0].sum(), 0.0, 0.0, 0.0]
                };
                for (row, total) in totals[..M].iter().enumerate() {
                    let c = self.c.add((i + row) * self.c_stride + j + r);
                    *c = if self.beta == 0.0 { *total } else { self.beta * *c + total };
                }
            }
        }
    }

    /// Rows `j..j + N` by all rows of `a`.
    ///
    /// # Safety
    /// As for `tile`.
    #[inline(always)]
    unsafe fn column<V: Vector, const N: usize>(self, j: usize) {
        let m = self.size[0];
        // SAFETY: passed on to the caller.
        unsafe {
            for i in (0..m / 4 * 4).step_by(4) {
                self.tile::<V, 4, N>(i, j);
            }
            for i in m / 4 * 4..m {
                self.tile::<V, 1, N>(i, j);
            }
        }
    }
}

/// A vector of the first of `n` elements, zeros where there are none.
///
/// # Safety
/// The instruction set of `V`, and `n` elements at `p`.
#[inline(always)]
unsafe fn load<V: Vector>(p: *const f32, n: usize) -> V {
    // SAFETY: passed on to the caller.
    unsafe { if n >= V::LANES { V::load(p) } else { V::load_first(p, n) } }
}

impl Job for RowDots {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let n = self.size[1];
        let mut j = 0;
        // SAFETY: passed on to the caller; rows j.. exist.
        unsafe {
            while V::SUMS >= 24 && n - j >= 6 {
                self.column::<V, 6>(j);
                j += 6;
            }
            while n - j >= 2 {
                self.column::<V, 2>(j);
                j += 2;
            }
            if j < n {
                self.column::<V, 1>(j);
            }
        }
    }
}
