//! Vectors of 4, 8 and 16 lanes behind one trait, and the jump into code compiled for them.

#[cfg(any(test, not(target_arch = "x86_64")))]
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

/// Asks for the cache line of `p`, which need not be valid, to be brought into the second-level cache.
#[inline(always)]
pub(super) fn prefetch(p: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and it never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// A vector of `f32`.
///
/// # Safety
///
/// Every method needs the instruction set of the type, and pointers that are valid for the lanes it reads or writes;
/// [`launch`] is the only way in.
pub(super) trait Vector: Copy {
    /// Elements.
    const LANES: usize;
    /// How many sums a loop may keep in registers beside its operands.
    const SUMS: usize;
    /// The same for the sums of a convolution tile: with 12 of 16 registers the compiler spills.
    const TILE: usize;
    /// Runs `job` as a function of its own: loops with many sums get all registers, and are compiled once.
    unsafe fn enter<J: Job>(job: J) -> J::Output;
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
    /// The larger one of each lane and `best`, NaN counting as largest, and beside it `number` or `tap`.
    unsafe fn larger(self, number: Self, best: Self, tap: Self) -> (Self, Self);
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

    /// `n` elements, at least 1 and at most `LANES`, that lie `stride` apart, and zeros.
    #[inline(always)]
    unsafe fn load_strided(p: *const f32, stride: usize, n: usize) -> Self {
        let mut lanes = [0.0; 8];
        // SAFETY: the caller vouches for the elements; a set without a method of its own has at most eight lanes.
        unsafe {
            for (i, lane) in lanes[..n].iter_mut().enumerate() {
                *lane = *p.add(i * stride);
            }
            Self::load(lanes.as_ptr())
        }
    }

    /// The lanes at `p` whose bit is set in `mask`, which alone are read, and zeros.
    #[inline(always)]
    unsafe fn load_lanes(p: *const f32, mask: u32) -> Self {
        let mut lanes = [0.0; 4];
        // SAFETY: the caller vouches for the elements of the mask; a set without a method of its own has four lanes.
        unsafe {
            if mask & 0xF == 0xF {
                return Self::load(p);
            }
            for (i, lane) in lanes.iter_mut().enumerate().filter(|&(i, _)| mask >> i & 1 == 1) {
                *lane = *p.add(i);
            }
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
///
/// # Safety
///
/// As many elements at `p` as `mask` has bits among the lanes.
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

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    /// Compares every method with its meaning, lane by lane.
    struct Check;

    impl Job for Check {
        type Output = ();

        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let n = V::LANES;
            let [a, b, c] = [1, 2, 3].map(|seed| values(3 * n, seed));
            let each = |f: &dyn Fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
            // SAFETY: every range lies inside the vectors of 3 · LANES elements.
            unsafe {
                let lanes = |v: V| {
                    let mut out = vec![0.0; n];
                    v.store(out.as_mut_ptr());
                    out
                };
                let (x, y, z) = (V::load(a.as_ptr()), V::load(b.as_ptr()), V::load(c.as_ptr()));
                assert_eq!(lanes(V::splat(2.5)), vec![2.5; n]);
                assert_eq!(lanes(x.add(y)), each(&|i| a[i] + b[i]));
                assert_eq!(lanes(x.sub(y)), each(&|i| a[i] - b[i]));
                assert_eq!(lanes(x.mul(y)), each(&|i| a[i] * b[i]));
                assert_close(&lanes(x.mul_add(y, z)), &each(&|i| a[i] * b[i] + c[i]), 1e-6);
                assert_close(&[x.sum()], &[a[..n].iter().sum()], 1e-5);
                assert_close(&V::sum4([x, y, z, x]), &[x, y, z, x].map(|v| v.sum()), 1e-5);
                let (best, at) = x.larger(V::splat(7.0), y, z);
                assert_eq!(lanes(best), each(&|i| a[i].max(b[i])));
                assert_eq!(lanes(at), each(&|i| if a[i] > b[i] { 7.0 } else { c[i] }));
                assert!(lanes(V::splat(f32::NAN).larger(x, y, z).0).iter().all(|x| x.is_nan()));
                assert_eq!(lanes(x.where_equal(y, y)), each(&|i| a[i]));
                assert_eq!(lanes(x.where_equal(y, z)), vec![0.0; n]);
                for k in 1..=n {
                    let first = each(&|i| if i < k { a[i] } else { 0.0 });
                    assert_eq!(lanes(V::load_first(a.as_ptr(), k)), first);
                    assert_eq!(lanes(x.keep_first(k)), first);
                    let mut out = b.clone();
                    x.store_first(out.as_mut_ptr(), k);
                    assert_eq!((&out[..k], &out[k..]), (&a[..k], &b[k..]));
                    for stride in 1..=3 {
                        let strided = each(&|i| if i < k { a[i * stride] } else { 0.0 });
                        assert_eq!(lanes(V::load_strided(a.as_ptr(), stride, k)), strided);
                        let mut out = b.clone();
                        V::gather(a.as_ptr(), stride, out.as_mut_ptr(), k);
                        assert_eq!((&out[..k], &out[k..]), (&strided[..k], &b[k..]));
                        let (mut out, mut sum) = (b.clone(), b.clone());
                        V::spread(a.as_ptr(), out.as_mut_ptr(), stride, k, false);
                        V::spread(a.as_ptr(), sum.as_mut_ptr(), stride, k, true);
                        for i in 0..3 * n {
                            let from = (i % stride == 0 && i / stride < k).then(|| a[i / stride]);
                            assert_eq!(out[i], from.unwrap_or(b[i]));
                            assert_eq!(sum[i], b[i] + from.unwrap_or(0.0));
                        }
                    }
                }
                for mask in [0, 1, 0b110, 0b1010, 0xFFFF, 0b1011_0111_0101_1101] {
                    let lane = |x: &[f32], i: usize| if mask >> i & 1 == 1 { x[i] } else { 0.0 };
                    assert_eq!(lanes(V::load_lanes(a.as_ptr(), mask)), each(&|i| lane(&a, i)));
                }
                for mask in [0, 1, 0b1010, (1 << n) - 1, 0b1011_0111_0101_1101 & ((1 << n) - 1)] {
                    let picked: Vec<f32> = (0..n).filter(|i| mask >> i & 1 == 1).map(|i| a[i]).collect();
                    let (mut out, mut sum) = (b.clone(), b.clone());
                    x.store_lanes(mask, out.as_mut_ptr(), false);
                    x.store_lanes(mask, sum.as_mut_ptr(), true);
                    let k = picked.len();
                    assert_eq!((&out[..k], &out[k..]), (&picked[..], &b[k..]));
                    assert!((0..3 * n).all(|i| sum[i] == b[i] + picked.get(i).unwrap_or(&0.0)));
                }
            }
        }
    }

    #[test]
    fn every_method_on_every_set() {
        on_every_simd(|_| {
            // SAFETY: the job holds no pointers.
            unsafe { launch(Check) }
        });
        // SAFETY: arrays need no instruction set.
        unsafe { Check.run::<array::Portable>() }
    }

    /// Elements of images become vectors with one image a lane, and come back.
    struct Transpose;

    impl Job for Transpose {
        type Output = ();

        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let lanes = V::LANES;
            for images in 1..=lanes {
                for n in 1..=lanes {
                    let (apart, x) = (n + 3, values(lanes * (n + 3), 1));
                    let places: Vec<u32> = (0..n).map(|i| ((n - 1 - i) * lanes) as u32).collect();
                    let (mut packed, mut back) = (vec![f32::NAN; n * lanes], values(x.len(), 2));
                    // SAFETY: the vectors have the sizes that these arguments need.
                    unsafe {
                        V::interleave(x.as_ptr(), apart, images, n, packed.as_mut_ptr(), places.as_ptr());
                        for (i, &place) in places.iter().enumerate() {
                            for lane in 0..lanes {
                                let expected = if lane < images { x[lane * apart + i] } else { 0.0 };
                                assert_eq!(packed[place as usize + lane], expected);
                            }
                        }
                        let start = back.clone();
                        V::deinterleave(packed.as_ptr(), n, back.as_mut_ptr(), apart, images, true);
                        for (at, &y) in back.iter().enumerate() {
                            let (lane, i) = (at / apart, at % apart);
                            let moved = lane < images && i < n;
                            let sum = if moved { start[at] + x[lane * apart + n - 1 - i] } else { start[at] };
                            assert_eq!(y, sum);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn transposition_on_every_set() {
        on_every_simd(|_| {
            // SAFETY: the job holds no pointers.
            unsafe { launch(Transpose) }
        });
        // SAFETY: arrays need no instruction set.
        unsafe { Transpose.run::<array::Portable>() }
    }
}
