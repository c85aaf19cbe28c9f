//! Four lanes as an array, for processors without a file of their own.

use super::{Job, Vector, store_each};

/// Four lanes, which every 128-bit unit holds; without fused multiply-add, which would be a library call on plain x86-64.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 4]);

impl Vector for Portable {
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
        Portable([v; 4])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for four elements at `p`.
        Portable(unsafe { p.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for four elements at `p`.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Portable(std::array::from_fn(|l| self.0[l] + b.0[l]))
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        Portable(std::array::from_fn(|l| self.0[l] - b.0[l]))
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        Portable(std::array::from_fn(|l| self.0[l] * b.0[l]))
    }

    #[inline(always)]
    unsafe fn larger(self, number: Self, best: Self, tap: Self) -> (Self, Self) {
        let better = |l: usize| self.0[l] > best.0[l] || self.0[l].is_nan();
        let choose =
            |new: Self, old: Self| Portable(std::array::from_fn(|l| if better(l) { new.0[l] } else { old.0[l] }));
        (choose(self, best), choose(number, tap))
    }

    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> Self {
        Portable(std::array::from_fn(|l| if a.0[l] == b.0[l] { self.0[l] } else { 0.0 }))
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
