//! Vectors of 4, 8 and 16 lanes behind one trait, and the jump into code compiled for them.

#[cfg(not(target_arch = "x86_64"))]
mod array;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod sse2;

#[cfg(not(target_arch = "x86_64"))]
use array::Portable;
#[cfg(target_arch = "x86_64")]
use sse2::Xmm as Portable;

use super::simd::{Simd, current};

/// A vector of `f32`. Every method needs the instruction set of the type; [`launch`] is the only way in.
pub(super) trait Vector: Copy {
    /// Elements.
    const LANES: usize;
    /// How many sums a loop may keep in registers beside its operands.
    const SUMS: usize;
    /// The same for the sums of a convolution tile: with 12 of 16 registers the compiler spills.
    const TILE: usize;
    /// All lanes `v`.
    unsafe fn splat(v: f32) -> Self;
    /// The lanes at `p`, which need not be aligned.
    unsafe fn load(p: *const f32) -> Self;
    /// Writes the lanes to `p`, which need not be aligned.
    unsafe fn store(self, p: *mut f32);
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// `self - b`.
    unsafe fn sub(self, b: Self) -> Self;
    /// `self * b`.
    unsafe fn mul(self, b: Self) -> Self;
    /// Where a lane is larger than `best` or NaN, it becomes `best` and `number` becomes `tap`.
    unsafe fn take_larger(self, number: Self, best: &mut Self, tap: &mut Self);
    /// The lanes where `a` equals `b`, zero elsewhere.
    unsafe fn where_equal(self, a: Self, b: Self) -> Self;
    /// `self * b + c`, fused where the instruction set can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// The sum of the lanes.
    unsafe fn sum(self) -> f32;
    /// Writes the lanes whose bit is set in `mask` side by side to `p`, or adds them to what is there.
    unsafe fn store_lanes(self, mask: u32, p: *mut f32, add: bool);

    /// The first `n` elements at `p`, at most `LANES`, and zeros.
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        let mut lanes = [0.0; 4];
        // SAFETY: the caller vouches for `n` elements; a set without a method of its own has four lanes.
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n.min(4));
            Self::load(lanes.as_ptr())
        }
    }

    /// The first `n` lanes, at most `LANES`, and zeros.
    #[inline(always)]
    unsafe fn keep_first(self, n: usize) -> Self {
        let mut lanes = [0.0; 4];
        // SAFETY: as above.
        unsafe {
            self.store(lanes.as_mut_ptr());
            Self::load_first(lanes.as_ptr(), n)
        }
    }

    /// Writes the first `n` lanes, at most `LANES`.
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        let mut lanes = [0.0; 4];
        // SAFETY: as above.
        unsafe {
            self.store(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n.min(4));
        }
    }

    /// The sums of the lanes of four vectors.
    #[inline(always)]
    unsafe fn sum4(v: [Self; 4]) -> [f32; 4] {
        // SAFETY: passed on to the caller.
        unsafe { [v[0].sum(), v[1].sum(), v[2].sum(), v[3].sum()] }
    }

    /// Makes one vector of the i-th elements of `images` images (zero in the other lanes) for each of `n` elements, at most
    /// `LANES` of both, and stores it at `to + places[i]`; not where that is [`NOWHERE`].
    #[inline(always)]
    unsafe fn interleave(from: *const f32, apart: usize, images: usize, n: usize, to: *mut f32, places: *const u32) {
        // SAFETY: the caller vouches for all addresses.
        unsafe {
            for i in (0..n).filter(|&i| *places.add(i) != NOWHERE) {
                for lane in 0..Self::LANES {
                    let v = if lane < images { *from.add(lane * apart + i) } else { 0.0 };
                    *to.add(*places.add(i) as usize + lane) = v;
                }
            }
        }
    }

    /// The inverse, from `n` consecutive vectors; writes or adds to the elements of the images.
    #[inline(always)]
    unsafe fn deinterleave(from: *const f32, n: usize, to: *mut f32, apart: usize, images: usize, add: bool) {
        // SAFETY: the caller vouches for all addresses.
        unsafe {
            for lane in 0..images {
                for i in 0..n {
                    let (v, place) = (*from.add(i * Self::LANES + lane), to.add(lane * apart + i));
                    *place = if add { *place + v } else { v };
                }
            }
        }
    }

    /// Copies `n` elements that lie `stride` apart to consecutive places.
    #[inline(always)]
    unsafe fn gather(from: *const f32, stride: usize, to: *mut f32, n: usize) {
        // SAFETY: the caller vouches for both ranges.
        unsafe {
            if stride == 1 {
                std::ptr::copy_nonoverlapping(from, to, n);
            } else {
                for i in 0..n {
                    *to.add(i) = *from.add(i * stride);
                }
            }
        }
    }

    /// Writes `n` consecutive elements to places `stride` apart, or adds them to what is there.
    #[inline(always)]
    unsafe fn spread(from: *const f32, to: *mut f32, stride: usize, n: usize, add: bool) {
        // SAFETY: the caller vouches for both ranges.
        unsafe {
            for i in 0..n {
                let place = to.add(i * stride);
                *place = if add { *place + *from.add(i) } else { *from.add(i) };
            }
        }
    }
}

/// The place of an element that nothing reads.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Work that is compiled for every vector. `run` must be `#[inline(always)]`.
pub(super) trait Job {
    /// What it gives.
    type Output;

    /// Does it.
    ///
    /// # Safety
    /// The vector's instruction set must be present, and the job's pointers valid for what its geometry reads and writes.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Lanes of the vectors that [`launch`] uses now on this thread.
pub(super) fn lanes() -> usize {
    match current() {
        Simd::Portable => Portable::LANES,
        Simd::Avx2 => 8,
        Simd::Avx512 => 16,
    }
}

/// How many sums a loop may keep in registers now on this thread.
pub(super) fn sums() -> usize {
    if current() == Simd::Avx512 { 24 } else { 12 }
}

/// Runs `job` on the vectors of this thread's instruction set.
///
/// # Safety
/// The job's pointers must be valid for what its geometry reads and writes.
pub(super) unsafe fn launch<J: Job>(job: J) -> J::Output {
    // SAFETY: `current` returns only sets this processor has; the rest is the caller's.
    unsafe {
        match current() {
            Simd::Portable => job.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => avx2::enter(job),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => avx512::enter(job),
            #[cfg(not(target_arch = "x86_64"))]
            _ => job.run::<Portable>(),
        }
    }
}

/// `to[j · strides[0] + i · strides[1]] = from[j, i]` for a dense matrix `from`, or `+=` with `add`.
pub(super) fn spread(from: &[f32], [rows, columns]: [usize; 2], to: &mut [f32], strides: [usize; 2], add: bool) {
    struct Spread<'a>(&'a [f32], usize, *mut f32, [usize; 2], bool);
    impl Job for Spread<'_> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let Spread(from, columns, to, strides, add) = self;
            for (j, row) in from.chunks_exact(columns).enumerate() {
                // SAFETY: passed on to the caller.
                unsafe { V::spread(row.as_ptr(), to.add(j * strides[0]), strides[1], columns, add) }
            }
        }
    }
    assert!(rows > 0 && columns > 0 && from.len() == rows * columns, "not a matrix of {rows} x {columns}");
    assert!((rows - 1) * strides[0] + (columns - 1) * strides[1] < to.len(), "elements spread beyond their plane");
    // SAFETY: the last element lies inside `to`.
    unsafe { launch(Spread(from, columns, to.as_mut_ptr(), strides, add)) }
}

/// `store_lanes` where the instruction set has no compression.
#[inline(always)]
unsafe fn store_each(lanes: &[f32], mask: u32, mut p: *mut f32, add: bool) {
    for (l, &v) in lanes.iter().enumerate() {
        if mask >> l & 1 == 1 {
            // SAFETY: the caller vouches for as many elements at `p` as `mask` has bits.
            unsafe {
                *p = if add { *p + v } else { v };
                p = p.add(1);
            }
        }
    }
}
