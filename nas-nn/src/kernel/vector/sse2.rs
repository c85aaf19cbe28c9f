//! Four lanes of SSE2.

use std::arch::x86_64::*;

use super::{Job, Vector, store_each};

/// Four lanes of SSE2, which x86-64 always has; the compiler does not find these instructions for arrays.
#[derive(Clone, Copy)]
pub(super) struct Xmm(__m128);

impl Vector for Xmm {
    const LANES: usize = 4;
    const SUMS: usize = 12;
    const TILE: usize = 8;

    #[inline(never)]
    unsafe fn enter<J: Job>(job: J) -> J::Output {
        // SAFETY: passed on to the caller.
        unsafe { job.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe { Xmm(_mm_set1_ps(v)) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe { Xmm(_mm_loadu_ps(p)) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe { _mm_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe { Xmm(_mm_add_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe { Xmm(_mm_sub_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe { Xmm(_mm_mul_ps(self.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn larger(self, number: Self, best: Self, tap: Self) -> (Self, Self) {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe {
            let better = _mm_or_ps(_mm_cmpgt_ps(self.0, best.0), _mm_cmpunord_ps(self.0, self.0));
            let choose = |new, old| _mm_or_ps(_mm_and_ps(better, new), _mm_andnot_ps(better, old));
            (Xmm(choose(self.0, best.0)), Xmm(choose(number.0, tap.0)))
        }
    }

    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> Self {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe { Xmm(_mm_and_ps(_mm_cmpeq_ps(a.0, b.0), self.0)) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe { Xmm(_mm_add_ps(_mm_mul_ps(self.0, b.0), c.0)) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
        unsafe {
            let x = _mm_add_ps(self.0, _mm_movehl_ps(self.0, self.0));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }
    }

    #[inline(always)]
    unsafe fn store_lanes(self, mask: u32, p: *mut f32, add: bool) {
        // SAFETY: the trait's contract: SSE2 is part of x86-64, and the pointers are valid for the lanes.
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
