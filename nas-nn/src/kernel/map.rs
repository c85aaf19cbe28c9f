//! Element-by-element loops over slices: a plain closure, vectorised for the processor at hand.
//!
//! Closures must be cheap to inline (the functions of `kernel::math` are). The loops use no fused multiply-add, so their
//! results are the same on every instruction set.

use super::simd::dispatch;

/// `y = f(x)`.
pub fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    same_length(&[x.len()], y.len());
    dispatch(
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = f(x);
            }
        },
    );
}

/// `y += f(x)`.
pub fn map_add(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    same_length(&[x.len()], y.len());
    dispatch(
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y += f(x);
            }
        },
    );
}

/// `y = f(y)`.
pub fn map_in_place(y: &mut [f32], f: impl Fn(f32) -> f32) {
    dispatch(
        #[inline(always)]
        || {
            for y in y {
                *y = f(*y);
            }
        },
    );
}

/// `y = f(a, b)`.
pub fn zip(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    same_length(&[a.len(), b.len()], y.len());
    dispatch(
        #[inline(always)]
        || {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = f(a, b);
            }
        },
    );
}

/// `y += f(a, b)`.
pub fn zip_add(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    same_length(&[a.len(), b.len()], y.len());
    dispatch(
        #[inline(always)]
        || {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y += f(a, b);
            }
        },
    );
}

/// `Σ f(a, b)`, in one fixed order: 16 lanes of `f32` over blocks of 1,024 elements, lanes and blocks in `f64`.
pub fn zip_sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    const LANES: usize = 16;
    const BLOCK: usize = 1024;
    same_length(&[a.len()], b.len());
    dispatch(
        #[inline(always)]
        || {
            let mut total = 0.0;
            for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
                let mut lanes = [0.0_f32; LANES];
                let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
                for (a, b) in a.iter().zip(b) {
                    for l in 0..LANES {
                        lanes[l] += f(a[l], b[l]);
                    }
                }
                for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
                    *lane += f(a, b);
                }
                total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
            }
            total
        },
    )
}

/// `y += alpha * x`.
pub fn axpy(alpha: f32, x: &[f32], y: &mut [f32]) {
    map_add(x, y, |x| alpha * x);
}

/// `y *= alpha`.
pub fn scale(alpha: f32, y: &mut [f32]) {
    map_in_place(y, |y| alpha * y);
}

#[track_caller]
fn same_length(inputs: &[usize], output: usize) {
    assert!(inputs.iter().all(|&n| n == output), "inputs of {inputs:?} elements for an output of {output}");
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::values;
    use super::*;

    #[test]
    fn every_loop_on_every_set() {
        for n in [0, 1, 7, 16, 100, 1031] {
            let (a, b, start) = (values(n, 1), values(n, 2), values(n, 3));
            on_every_simd(|simd| {
                let run = |f: &dyn Fn(&mut [f32]), expected: &dyn Fn(usize) -> f32| {
                    let mut y = start.clone();
                    f(&mut y);
                    let expected: Vec<f32> = (0..n).map(expected).collect();
                    assert_eq!(y, expected, "{simd}");
                };
                run(&|y| map(&a, y, |a| a * a), &|i| a[i] * a[i]);
                run(&|y| map_add(&a, y, |a| a * a), &|i| start[i] + a[i] * a[i]);
                run(&|y| map_in_place(y, |y| y * y), &|i| start[i] * start[i]);
                run(&|y| zip(&a, &b, y, |a, b| a - b), &|i| a[i] - b[i]);
                run(&|y| zip_add(&a, &b, y, |a, b| a * b), &|i| start[i] + a[i] * b[i]);
                run(&|y| axpy(0.3, &a, y), &|i| start[i] + 0.3 * a[i]);
                run(&|y| scale(0.3, y), &|i| 0.3 * start[i]);
            });
        }
    }

    #[test]
    fn sums_of_a_function() {
        for n in [0, 1, 15, 16, 1024, 5000] {
            let (a, b) = (values(n, 1), values(n, 2));
            let exact: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b) + 1.0).sum();
            let first = zip_sum(&a, &b, |a, b| a * b + 1.0);
            on_every_simd(|simd| {
                let found = zip_sum(&a, &b, |a, b| a * b + 1.0);
                assert!((found - exact).abs() <= 1e-6 * n as f64, "{simd}: {found} not {exact}");
                assert_eq!(found.to_bits(), first.to_bits(), "{simd}: another order");
            });
        }
    }

    #[test]
    #[should_panic(expected = "inputs of [2, 3] elements for an output of 2")]
    fn lengths_are_checked() {
        zip(&[0.0; 2], &[0.0; 3], &mut [0.0; 2], |a, _| a);
    }
}
