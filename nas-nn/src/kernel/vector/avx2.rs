//! Eight lanes of AVX2 with fused multiply-add.

use std::arch::x86_64::*;

use super::{Job, NOWHERE, Vector, store_each};

/// Runs `job` in code compiled for AVX2.
///
/// # Safety
///
/// The processor has AVX2, FMA and POPCNT.
#[target_feature(enable = "avx2,fma,popcnt")]
pub(super) unsafe fn enter<J: Job>(job: J) -> J::Output {
    // SAFETY: passed on to the caller.
    unsafe { job.run::<Ymm>() }
}

/// The mask of the first `n` lanes of eight.
///
/// # Safety
///
/// The processor has AVX2.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

/// The lanes of eight whose bit is set in `mask`.
///
/// # Safety
///
/// The processor has AVX2.
#[inline(always)]
unsafe fn lanes(mask: u32) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask as i32), bits), bits)
    }
}

/// Transposes a square of vectors.
///
/// # Safety
///
/// The processor has AVX2.
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

#[derive(Clone, Copy)]
struct Ymm(__m256);

impl Vector for Ymm {
    const LANES: usize = 8;
    const SUMS: usize = 12;
    const TILE: usize = 8;

    #[inline(always)]
    unsafe fn enter<J: Job>(job: J) -> J::Output {
        // SAFETY: passed on to the caller.
        unsafe { enter(job) }
    }

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_set1_ps(v)) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_loadu_ps(p)) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_maskload_ps(p, first(n))) }
    }

    #[inline(always)]
    unsafe fn load_lanes(p: *const f32, mask: u32) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes of the mask.
        unsafe { Ymm(_mm256_maskload_ps(p, lanes(mask))) }
    }

    #[inline(always)]
    unsafe fn keep_first(self, n: usize) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_and_ps(self.0, _mm256_castsi256_ps(first(n)))) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { _mm256_maskstore_ps(p, first(n), self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_add_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_sub_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_mul_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn larger(self, number: Self, best: Self, tap: Self) -> (Self, Self) {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe {
            let larger = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, best.0);
            let better = _mm256_or_ps(larger, _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
            let choose = |new, old| _mm256_blendv_ps(old, new, better);
            (Ymm(choose(self.0, best.0)), Ymm(choose(number.0, tap.0)))
        }
    }

    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0), self.0)) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe { Ymm(_mm256_fmadd_ps(self.0, b.0, c.0)) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe {
            let x = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }
    }

    #[inline(always)]
    unsafe fn sum4(v: [Self; 4]) -> [f32; 4] {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe {
            let x = _mm256_hadd_ps(_mm256_hadd_ps(v[0].0, v[1].0), _mm256_hadd_ps(v[2].0, v[3].0));
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            std::mem::transmute::<__m128, [f32; 4]>(x)
        }
    }

    #[inline(always)]
    unsafe fn interleave(from: *const f32, apart: usize, images: usize, n: usize, to: *mut f32, places: *const u32) {
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe {
            let mask = first(n);
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
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
        unsafe {
            let mask = first(n);
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
        // SAFETY: the trait's contract: AVX2 and FMA are there, and the pointers are valid for the lanes.
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
