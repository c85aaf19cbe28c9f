//! Sixteen lanes of AVX-512.

use std::arch::x86_64::*;

use super::{Job, NOWHERE, Vector};

/// Runs `job` in code compiled for AVX-512.
///
/// # Safety
///
/// The processor has AVX-512 (F, BW, DQ, VL), AVX2, FMA and POPCNT.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt")]
pub(super) unsafe fn enter<J: Job>(job: J) -> J::Output {
    // SAFETY: passed on to the caller.
    unsafe { job.run::<Zmm>() }
}

/// Transposes a square of vectors.
///
/// # Safety
///
/// The processor has AVX-512 F.
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

#[derive(Clone, Copy)]
struct Zmm(__m512);

/// The mask of the first `n` lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    if n >= 16 { 0xFFFF } else { (1 << n) - 1 }
}

impl Vector for Zmm {
    const LANES: usize = 16;
    const SUMS: usize = 24;
    const TILE: usize = 24;

    #[inline(always)]
    unsafe fn enter<J: Job>(job: J) -> J::Output {
        // SAFETY: passed on to the caller.
        unsafe { enter(job) }
    }

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_set1_ps(v)) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_loadu_ps(p)) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_maskz_loadu_ps(first(n), p)) }
    }

    #[inline(always)]
    unsafe fn load_strided(p: *const f32, stride: usize, n: usize) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe {
            match stride {
                1 => Self::load_first(p, n),
                2 => {
                    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                    let span = 2 * n - 1;
                    let low = _mm512_maskz_loadu_ps(first(span), p);
                    let high = _mm512_maskz_loadu_ps(first(span.saturating_sub(16)), p.wrapping_add(16));
                    Zmm(_mm512_permutex2var_ps(low, even, high))
                }
                _ => {
                    let mut lanes = [0.0; 16];
                    for (i, lane) in lanes[..n].iter_mut().enumerate() {
                        *lane = *p.add(i * stride);
                    }
                    Self::load(lanes.as_ptr())
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn load_lanes(p: *const f32, mask: u32) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes of the mask.
        unsafe { Zmm(_mm512_maskz_loadu_ps(mask as __mmask16, p)) }
    }

    #[inline(always)]
    unsafe fn keep_first(self, n: usize) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_maskz_mov_ps(first(n), self.0)) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { _mm512_mask_storeu_ps(p, first(n), self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_add_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_sub_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_mul_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn larger(self, number: Self, best: Self, tap: Self) -> (Self, Self) {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe {
            let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, best.0);
            let better = larger | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let choose = |new, old| _mm512_mask_mov_ps(old, better, new);
            (Zmm(choose(self.0, best.0)), Zmm(choose(number.0, tap.0)))
        }
    }

    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a.0, b.0), self.0)) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { Zmm(_mm512_fmadd_ps(self.0, b.0, c.0)) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }

    #[inline(always)]
    unsafe fn sum4(v: [Self; 4]) -> [f32; 4] {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe {
            let pair = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (x, y) = (pair(v[0].0, v[1].0), pair(v[2].0, v[3].0));
            let (x, y) = (_mm512_castps_pd(x), _mm512_castps_pd(y));
            let x =
                _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
            let x = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            std::mem::transmute::<__m128, [f32; 4]>(x)
        }
    }

    #[inline(always)]
    unsafe fn interleave(from: *const f32, apart: usize, images: usize, n: usize, to: *mut f32, places: *const u32) {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
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
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
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
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
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
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
        unsafe {
            for i in (0..n).step_by(16) {
                let here = (n - i).min(16);
                Self::load_strided(from.add(i * stride), stride, here).store_first(to.add(i), here);
            }
        }
    }

    #[inline(always)]
    unsafe fn spread(from: *const f32, to: *mut f32, stride: usize, n: usize, add: bool) {
        // SAFETY: the trait's contract: AVX-512 is there, and the pointers are valid for the lanes.
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
