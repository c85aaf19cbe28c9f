//! Sums and dot products of slices and of the planes of a channel.
//!
//! They run in one fixed order (16 lanes of `f32` over blocks of 1,024 elements, lanes by halving, blocks in `f64`), without
//! fused multiply-add: the same on every instruction set, with an error that does not grow with the length.

use super::simd::dispatch;
use super::vector::{Job, Vector, launch};

/// The lanes of a sum, whatever the vectors have.
const LANES: usize = 16;
/// Elements whose sum is carried in `f32`.
const BLOCK: usize = 1024;

/// `count` runs of `len` elements, `apart` from each other.
#[derive(Clone, Copy)]
pub(super) struct Runs {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) apart: usize,
    pub(super) len: usize,
}

impl Runs {
    #[track_caller]
    fn check(self, len: usize) {
        let end = self.first + self.count.saturating_sub(1) * self.apart + self.len;
        assert!(self.count == 0 || self.len == 0 || end <= len, "a sum beyond its slice of {len} elements");
    }

    fn all(x: &[f32]) -> Runs {
        Runs { first: 0, count: 1, apart: 0, len: x.len() }
    }
}

/// Σ xᵢ.
pub fn sum(x: &[f32]) -> f32 {
    sum_runs(x, Runs::all(x)) as f32
}

/// Calls `f` with the number and the sum of every `len` elements of `x`, each as [`sum`] adds them.
pub(super) fn sum_planes(x: &[f32], len: usize, mut f: impl FnMut(usize, f32)) {
    if len > BLOCK || len == 0 {
        return x.chunks_exact(len.max(1)).enumerate().for_each(|(i, plane)| f(i, sum(plane)));
    }
    // Short ones without the cost of a launch each.
    dispatch(
        #[inline(always)]
        || {
            for (i, plane) in x.chunks_exact(len).enumerate() {
                let mut lanes = [0.0_f32; LANES];
                let whole = plane.chunks_exact(LANES);
                for (lane, x) in lanes.iter_mut().zip(whole.remainder()) {
                    *lane = *x;
                }
                let rest = lanes;
                lanes = [0.0; LANES];
                for chunk in whole {
                    for l in 0..LANES {
                        lanes[l] += chunk[l];
                    }
                }
                for l in 0..LANES {
                    lanes[l] += rest[l];
                }
                for half in [8, 4, 2, 1] {
                    for l in 0..half {
                        lanes[l] += lanes[l + half];
                    }
                }
                f(i, lanes[0]);
            }
        },
    );
}

/// Σ xᵢ².
pub fn sum_squares(x: &[f32]) -> f64 {
    dot_runs(x, 0.0, x, 0.0, Runs::all(x))
}

/// Σ aᵢ bᵢ.
///
/// # Panics
/// When the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "a dot product of slices of different lengths");
    dot_runs(a, 0.0, b, 0.0, Runs::all(a)) as f32
}

/// Σ x over the runs.
pub(super) fn sum_runs(x: &[f32], runs: Runs) -> f64 {
    runs.check(x.len());
    // SAFETY: the runs lie inside `x`.
    unsafe { launch(Fold { a: x.as_ptr(), b: x.as_ptr(), runs, f: Plain }) }
}

/// Σ (a − p) (b − q) over the runs, which lie at the same places in both.
pub(super) fn dot_runs(a: &[f32], p: f32, b: &[f32], q: f32, runs: Runs) -> f64 {
    runs.check(a.len().min(b.len()));
    // SAFETY: the runs lie inside both.
    unsafe { launch(Fold { a: a.as_ptr(), b: b.as_ptr(), runs, f: Product(p, q) }) }
}

/// A term of a sum.
trait Term: Copy {
    /// The term of one pair of vectors.
    ///
    /// # Safety
    ///
    /// The instruction set of `V`.
    unsafe fn of<V: Vector>(self, a: V, b: V) -> V;
}

#[derive(Clone, Copy)]
struct Plain;

impl Term for Plain {
    #[inline(always)]
    unsafe fn of<V: Vector>(self, a: V, _: V) -> V {
        a
    }
}

#[derive(Clone, Copy)]
struct Product(f32, f32);

impl Term for Product {
    #[inline(always)]
    unsafe fn of<V: Vector>(self, a: V, b: V) -> V {
        // SAFETY: passed on to the caller.
        unsafe { a.sub(V::splat(self.0)).mul(b.sub(V::splat(self.1))) }
    }
}

struct Fold<T> {
    a: *const f32,
    b: *const f32,
    runs: Runs,
    f: T,
}

impl<T: Term> Job for Fold<T> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f64 {
        // SAFETY: the caller vouches for the runs; of a vector that is not full only existing elements are loaded.
        unsafe {
            let vectors = LANES / V::LANES;
            let mut sums = [V::splat(0.0); 4];
            let (mut carried, mut total) = (0, 0.0);
            for i in 0..self.runs.count {
                let first = self.runs.first + i * self.runs.apart;
                let mut done = 0;
                while done < self.runs.len {
                    let n = (self.runs.len - done).min(BLOCK);
                    let (a, b) = (self.a.add(first + done), self.b.add(first + done));
                    let whole = n / LANES * LANES;
                    for at in (0..whole).step_by(LANES) {
                        for i in 0..vectors {
                            let at = at + i * V::LANES;
                            sums[i] = sums[i].add(self.f.of(V::load(a.add(at)), V::load(b.add(at))));
                        }
                    }
                    for i in 0..vectors {
                        let at = whole + i * V::LANES;
                        if at < n {
                            let here = (n - at).min(V::LANES);
                            let term = self.f.of(V::load_first(a.add(at), here), V::load_first(b.add(at), here));
                            sums[i] = sums[i].add(term.keep_first(here));
                        }
                    }
                    (done, carried) = (done + n, carried + n);
                    if carried >= BLOCK {
                        total += add_lanes(&sums);
                        (sums, carried) = ([V::splat(0.0); 4], 0);
                    }
                }
            }
            total + add_lanes(&sums)
        }
    }
}

/// The sum of the lanes by halving.
///
/// # Safety
///
/// The instruction set of `V`.
#[inline(always)]
unsafe fn add_lanes<V: Vector>(sums: &[V; 4]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (i, lanes) in lanes.chunks_exact_mut(V::LANES).enumerate() {
        // SAFETY: a chunk is one vector.
        unsafe { sums[i].store(lanes.as_mut_ptr()) }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    f64::from(lanes[0])
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Simd, on_every_simd, with_simd};
    use super::super::testing::values;
    use super::*;

    #[test]
    fn sums_are_accurate_and_the_same_everywhere() {
        for n in [0, 1, 15, 16, 17, 1023, 1024, 5000, 100_001] {
            let (a, b) = (values(n, 1), values(n, 2));
            let exact: f64 = a.iter().map(|&a| f64::from(a)).sum();
            let exact_dot: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let exact_squares: f64 = a.iter().map(|&a| f64::from(a) * f64::from(a)).sum();
            let mut seen = Vec::new();
            on_every_simd(|_| {
                assert!((f64::from(sum(&a)) - exact).abs() < 1e-5 * (1.0 + (n as f64).sqrt()), "{n}");
                assert!((f64::from(dot(&a, &b)) - exact_dot).abs() < 1e-5 * (1.0 + (n as f64).sqrt()), "{n}");
                sum_planes(&a, n, |_, total| assert_eq!(total.to_bits(), sum(&a).to_bits()));
                assert!((sum_squares(&a) - exact_squares).abs() <= 1e-6 * exact_squares, "{n}");
            });
            for simd in Simd::ALL.into_iter().filter(|simd| simd.is_available()) {
                seen.push(with_simd(simd, || (sum(&a).to_bits(), dot(&a, &b).to_bits())));
            }
            assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{n}: {seen:?}");
        }
        // A plain f32 sum would stop growing at 2^24.
        assert_eq!(sum(&vec![1.0; 20_000_003]), 20_000_004.0f32.min(20_000_003.0));
    }

    #[test]
    fn runs_are_summed_one_after_another() {
        let x = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0, 5.0];
        let runs = Runs { first: 0, count: 2, apart: 3, len: 2 };
        on_every_simd(|_| {
            assert_eq!(sum_runs(&x, runs), 10.0);
            assert_eq!(dot_runs(&x, 1.0, &x, 2.0, runs), 0.0 + 0.0 + 2.0 + 6.0);
        });
    }

    #[test]
    #[should_panic(expected = "a sum beyond its slice of 3 elements")]
    fn runs_are_checked() {
        sum_runs(&[0.0; 3], Runs { first: 1, count: 2, apart: 1, len: 2 });
    }
}
