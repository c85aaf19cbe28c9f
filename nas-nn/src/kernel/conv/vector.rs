//! Vectors of 4, 8 and 16 lanes behind one trait, and the jump into code compiled for them.

use super::super::simd::{Simd, current};

/// A vector of `f32`. Every method needs the instruction set of the type; [`launch`] is the only way in.
pub(super) trait Vector: Copy {
    /// Elements.
    const LANES: usize;
    /// How many sums a loop may keep in registers beside its operands.
    const SUMS: usize;
    /// The same for the sums of a [`Tiles`](super::tile::Tiles) tile: with 12 of 16 registers the compiler spills.
    const TILE: usize;
    /// All lanes `v`.
    unsafe fn splat(v: f32) -> Self;
    /// The lanes at `p`, which need not be aligned.
    unsafe fn load(p: *const f32) -> Self;
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// The sum of the lanes.
    unsafe fn sum(self) -> f32;
    /// Writes the lanes whose bit is set in `mask` side by side to `p`, or adds them to what is there.
    unsafe fn store_lanes(self, mask: u32, p: *mut f32, add: bool);

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
    /// Does it.
    ///
    /// # Safety
    /// The vector's instruction set must be present, and the job's pointers valid for what its geometry reads and writes.
    unsafe fn run<V: Vector>(&self);
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
pub(super) unsafe fn launch(job: &impl Job) {
    // SAFETY: `current` returns only sets this processor has; the rest is the caller's.
    unsafe {
        match current() {
            Simd::Portable => job.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => x86::avx2(job),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => x86::avx512(job),
            #[cfg(not(target_arch = "x86_64"))]
            _ => job.run::<Portable>(),
        }
    }
}

/// `to[j · strides[0] + i · strides[1]] = from[j, i]` for a dense matrix `from`, or `+=` with `add`.
pub(super) fn spread(from: &[f32], [rows, columns]: [usize; 2], to: &mut [f32], strides: [usize; 2], add: bool) {
    struct Spread<'a>(&'a [f32], usize, *mut f32, [usize; 2], bool);
    impl Job for Spread<'_> {
        #[inline(always)]
        unsafe fn run<V: Vector>(&self) {
            let Spread(from, columns, to, strides, add) = *self;
            for (j, row) in from.chunks_exact(columns).enumerate() {
                // SAFETY: passed on to the caller.
                unsafe { V::spread(row.as_ptr(), to.add(j * strides[0]), strides[1], columns, add) }
            }
        }
    }
    assert!(rows > 0 && columns > 0 && from.len() == rows * columns, "not a matrix of {rows} x {columns}");
    assert!((rows - 1) * strides[0] + (columns - 1) * strides[1] < to.len(), "elements spread beyond their plane");
    // SAFETY: the last element lies inside `to`.
    unsafe { launch(&Spread(from, columns, to.as_mut_ptr(), strides, add)) }
}

/// Four lanes, which every 128-bit unit holds; without fused multiply-add, which would be a library call on plain x86-64.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy)]
struct Portable([f32; 4]);

#[cfg(not(target_arch = "x86_64"))]
impl Vector for Portable {
    const LANES: usize = 4;
    const SUMS: usize = 12;
    const TILE: usize = 8;

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Portable([v; 4])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for four elements at `p`.
        Portable(unsafe { p.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Portable(std::array::from_fn(|l| c.0[l] + self.0[l] * b.0[l]))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self.0[0] + self.0[2]) + (self.0[1] + self.0[3])
    }

    #[inline(always)]
    unsafe fn store_lanes(self, mask: u32, p: *mut f32, add: bool) {
        // SAFETY: the caller vouches for as many elements at `p` as `mask` has bits.
        unsafe { store_each(&self.0, mask, p, add) }
    }
}

#[cfg(target_arch = "x86_64")]
use x86::Xmm as Portable;

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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Job, NOWHERE, Vector, store_each};

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(job: &impl Job) {
        // SAFETY: passed on to the caller.
        unsafe { job.run::<Ymm>() }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn avx512(job: &impl Job) {
        // SAFETY: passed on to the caller.
        unsafe { job.run::<Zmm>() }
    }

    /// The mask of the first `n` lanes of eight.
    #[inline(always)]
    unsafe fn first8(n: usize) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    #[inline(always)]
    unsafe fn transpose8(r: [__m256; 8]) -> [__m256; 8] {
        // SAFETY: the caller has AVX2; the rest is arithmetic on values.
        unsafe {
            let (mut a, mut b, mut c) = (r, r, r);
            for i in 0..4 {
                a[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                a[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for i in [0, 4] {
                for j in 0..2 {
                    b[i + 2 * j] = _mm256_shuffle_ps::<0x44>(a[i + j], a[i + j + 2]);
                    b[i + 2 * j + 1] = _mm256_shuffle_ps::<0xEE>(a[i + j], a[i + j + 2]);
                }
            }
            for i in 0..4 {
                c[i] = _mm256_permute2f128_ps::<0x20>(b[i], b[i + 4]);
                c[i + 4] = _mm256_permute2f128_ps::<0x31>(b[i], b[i + 4]);
            }
            c
        }
    }

    #[inline(always)]
    unsafe fn transpose16(r: [__m512; 16]) -> [__m512; 16] {
        // SAFETY: the caller has AVX-512; the rest is arithmetic on values.
        unsafe {
            let (mut a, mut b, mut c, mut d) = (r, r, r, r);
            for i in 0..8 {
                a[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                a[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            // After this, lane group g of b[i + j] holds column 4 g + j of rows i to i + 3.
            for i in [0, 4, 8, 12] {
                for j in 0..2 {
                    b[i + 2 * j] = _mm512_shuffle_ps::<0x44>(a[i + j], a[i + j + 2]);
                    b[i + 2 * j + 1] = _mm512_shuffle_ps::<0xEE>(a[i + j], a[i + j + 2]);
                }
            }
            for j in 0..4 {
                for i in [0, 8] {
                    c[i + j] = _mm512_shuffle_f32x4::<0x88>(b[i + j], b[i + j + 4]);
                    c[i + j + 4] = _mm512_shuffle_f32x4::<0xDD>(b[i + j], b[i + j + 4]);
                }
            }
            for j in 0..4 {
                d[j] = _mm512_shuffle_f32x4::<0x88>(c[j], c[j + 8]);
                d[j + 8] = _mm512_shuffle_f32x4::<0xDD>(c[j], c[j + 8]);
                d[j + 4] = _mm512_shuffle_f32x4::<0x88>(c[j + 4], c[j + 12]);
                d[j + 12] = _mm512_shuffle_f32x4::<0xDD>(c[j + 4], c[j + 12]);
            }
            d
        }
    }

    /// Four lanes of SSE2, which x86-64 always has; the compiler does not find these instructions for arrays.
    #[derive(Clone, Copy)]
    pub(super) struct Xmm(__m128);

    // SAFETY of every block: the trait's contract; SSE2 is part of the target and pointers are valid.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Vector for Xmm {
        const LANES: usize = 4;
        const SUMS: usize = 12;
        const TILE: usize = 8;

        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            Xmm(_mm_set1_ps(v))
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { Xmm(_mm_loadu_ps(p)) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            Xmm(_mm_add_ps(_mm_mul_ps(self.0, b.0), c.0))
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            let x = _mm_add_ps(self.0, _mm_movehl_ps(self.0, self.0));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }

        #[inline(always)]
        unsafe fn store_lanes(self, mask: u32, p: *mut f32, add: bool) {
            unsafe {
                if mask == 0xF {
                    let v = if add { _mm_add_ps(_mm_loadu_ps(p), self.0) } else { self.0 };
                    _mm_storeu_ps(p, v);
                } else {
                    let mut lanes = [0.0; 4];
                    _mm_storeu_ps(lanes.as_mut_ptr(), self.0);
                    store_each(&lanes, mask, p, add);
                }
            }
        }
    }

    #[derive(Clone, Copy)]
    struct Ymm(__m256);

    // SAFETY of every block: the trait's contract, AVX2 and FMA present and pointers valid.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Vector for Ymm {
        const LANES: usize = 8;
        const SUMS: usize = 12;
        const TILE: usize = 8;

        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            unsafe { Ymm(_mm256_set1_ps(v)) }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { Ymm(_mm256_loadu_ps(p)) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            unsafe { Ymm(_mm256_fmadd_ps(self.0, b.0, c.0)) }
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let x = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
                _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
            }
        }

        #[inline(always)]
        unsafe fn sum4(v: [Self; 4]) -> [f32; 4] {
            unsafe {
                let x = _mm256_hadd_ps(_mm256_hadd_ps(v[0].0, v[1].0), _mm256_hadd_ps(v[2].0, v[3].0));
                let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
                std::mem::transmute::<__m128, [f32; 4]>(x)
            }
        }

        #[inline(always)]
        unsafe fn interleave(
            from: *const f32,
            apart: usize,
            images: usize,
            n: usize,
            to: *mut f32,
            places: *const u32,
        ) {
            unsafe {
                let mask = first8(n);
                let mut rows = [_mm256_setzero_ps(); 8];
                for lane in 0..images {
                    rows[lane] = _mm256_maskload_ps(from.add(lane * apart), mask);
                }
                let columns = transpose8(rows);
                for i in 0..n {
                    let place = *places.add(i);
                    if place != NOWHERE {
                        _mm256_storeu_ps(to.add(place as usize), columns[i]);
                    }
                }
            }
        }

        #[inline(always)]
        unsafe fn deinterleave(from: *const f32, n: usize, to: *mut f32, apart: usize, images: usize, add: bool) {
            unsafe {
                let mask = first8(n);
                let mut columns = [_mm256_setzero_ps(); 8];
                for i in 0..n {
                    columns[i] = _mm256_loadu_ps(from.add(8 * i));
                }
                let rows = transpose8(columns);
                for lane in 0..images {
                    let place = to.add(lane * apart);
                    let v = if add { _mm256_add_ps(rows[lane], _mm256_maskload_ps(place, mask)) } else { rows[lane] };
                    _mm256_maskstore_ps(place, mask, v);
                }
            }
        }

        #[inline(always)]
        unsafe fn store_lanes(self, mask: u32, p: *mut f32, add: bool) {
            unsafe {
                if mask == 0xFF {
                    let v = if add { _mm256_add_ps(_mm256_loadu_ps(p), self.0) } else { self.0 };
                    _mm256_storeu_ps(p, v);
                } else {
                    let mut lanes = [0.0; 8];
                    _mm256_storeu_ps(lanes.as_mut_ptr(), self.0);
                    store_each(&lanes, mask, p, add);
                }
            }
        }
    }

    #[derive(Clone, Copy)]
    struct Zmm(__m512);

    /// The mask of the first `n` lanes.
    #[inline(always)]
    fn first(n: usize) -> __mmask16 {
        if n >= 16 { 0xFFFF } else { (1 << n) - 1 }
    }

    // SAFETY of every block: the trait's contract, AVX-512 present and pointers valid.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Vector for Zmm {
        const LANES: usize = 16;
        const SUMS: usize = 24;
        const TILE: usize = 24;

        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            unsafe { Zmm(_mm512_set1_ps(v)) }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { Zmm(_mm512_loadu_ps(p)) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            unsafe { Zmm(_mm512_fmadd_ps(self.0, b.0, c.0)) }
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self.0) }
        }

        #[inline(always)]
        unsafe fn sum4(v: [Self; 4]) -> [f32; 4] {
            unsafe {
                let pair = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (x, y) = (pair(v[0].0, v[1].0), pair(v[2].0, v[3].0));
                let (x, y) = (_mm512_castps_pd(x), _mm512_castps_pd(y));
                let x = _mm512_add_ps(
                    _mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)),
                );
                let x = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
                let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
                std::mem::transmute::<__m128, [f32; 4]>(x)
            }
        }

        #[inline(always)]
        unsafe fn interleave(
            from: *const f32,
            apart: usize,
            images: usize,
            n: usize,
            to: *mut f32,
            places: *const u32,
        ) {
            unsafe {
                let mask = first(n);
                let mut rows = [_mm512_setzero_ps(); 16];
                for lane in 0..images {
                    rows[lane] = _mm512_maskz_loadu_ps(mask, from.add(lane * apart));
                }
                let columns = transpose16(rows);
                for i in 0..n {
                    let place = *places.add(i);
                    if place != NOWHERE {
                        _mm512_storeu_ps(to.add(place as usize), columns[i]);
                    }
                }
            }
        }

        #[inline(always)]
        unsafe fn deinterleave(from: *const f32, n: usize, to: *mut f32, apart: usize, images: usize, add: bool) {
            unsafe {
                let mask = first(n);
                let mut columns = [_mm512_setzero_ps(); 16];
                for i in 0..n {
                    columns[i] = _mm512_loadu_ps(from.add(16 * i));
                }
                let rows = transpose16(columns);
                for lane in 0..images {
                    let place = to.add(lane * apart);
                    let v = rows[lane];
                    let v = if add { _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, place)) } else { v };
                    _mm512_mask_storeu_ps(place, mask, v);
                }
            }
        }

        #[inline(always)]
        unsafe fn store_lanes(self, mask: u32, p: *mut f32, add: bool) {
            unsafe {
                // Compressing to memory is slow on some processors: compress in the register, store the first lanes.
                let (v, lanes) = if mask == 0xFFFF {
                    (self.0, 0xFFFF)
                } else {
                    (_mm512_maskz_compress_ps(mask as __mmask16, self.0), first(mask.count_ones() as usize))
                };
                let v = if add { _mm512_add_ps(v, _mm512_maskz_loadu_ps(lanes, p)) } else { v };
                _mm512_mask_storeu_ps(p, lanes, v);
            }
        }

        #[inline(always)]
        unsafe fn gather(from: *const f32, stride: usize, to: *mut f32, n: usize) {
            unsafe {
                let mut i = 0;
                while i < n {
                    let lanes = first(n - i);
                    let v = match stride {
                        1 => _mm512_maskz_loadu_ps(lanes, from.add(i)),
                        2 => {
                            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                            let span = 2 * (n - i) - 1;
                            let low = _mm512_maskz_loadu_ps(first(span), from.add(2 * i));
                            let rest = span.saturating_sub(16);
                            let high = _mm512_maskz_loadu_ps(first(rest), from.wrapping_add(2 * i + 16));
                            _mm512_permutex2var_ps(low, even, high)
                        }
                        _ => {
                            for i in i..n {
                                *to.add(i) = *from.add(i * stride);
                            }
                            return;
                        }
                    };
                    _mm512_mask_storeu_ps(to.add(i), lanes, v);
                    i += 16;
                }
            }
        }

        #[inline(always)]
        unsafe fn spread(from: *const f32, to: *mut f32, stride: usize, n: usize, add: bool) {
            unsafe {
                if stride != 2 {
                    for i in 0..n {
                        let place = to.add(i * stride);
                        *place = if add { *place + *from.add(i) } else { *from.add(i) };
                    }
                    return;
                }
                let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
                let mut i = 0;
                while i < n {
                    // Eight elements go to the even ones of sixteen places.
                    let here = (n - i).min(8);
                    let lanes = first(2 * here) & 0x5555;
                    let v = _mm512_maskz_loadu_ps(first(here), from.add(i));
                    let v = _mm512_permutexvar_ps(twice, v);
                    let place = to.add(2 * i);
                    let v = if add { _mm512_add_ps(v, _mm512_maskz_loadu_ps(lanes, place)) } else { v };
                    _mm512_mask_storeu_ps(place, lanes, v);
                    i += 8;
                }
            }
        }
    }
}
