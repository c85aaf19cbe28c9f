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

/// `y = f(a, b, c)`.
pub fn zip3(a: &[f32], b: &[f32], c: &[f32], y: &mut [f32], f: impl Fn(f32, f32, f32) -> f32) {
    same_length(&[a.len(), b.len(), c.len()], y.len());
    dispatch(
        #[inline(always)]
        || {
            for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
                *y = f(a, b, c);
            }
        },
    );
}

/// `y += f(a, b, c)`.
pub fn zip3_add(a: &[f32], b: &[f32], c: &[f32], y: &mut [f32], f: impl Fn(f32, f32, f32) -> f32) {
    same_length(&[a.len(), b.len(), c.len()], y.len());
    dispatch(
        #[inline(always)]
        || {
            for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
                *y += f(a, b, c);
            }
        },
    );
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
            let (a, b, c, start) = (values(n, 1), values(n, 2), values(n, 3), values(n, 4));
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
                run(&|y| zip3(&a, &b, &c, y, |a, b, c| a * b - c), &|i| a[i] * b[i] - c[i]);
                run(&|y| zip3_add(&a, &b, &c, y, |a, b, c| a * b - c), &|i| start[i] + (a[i] * b[i] - c[i]));
                run(&|y| axpy(0.3, &a, y), &|i| start[i] + 0.3 * a[i]);
                run(&|y| scale(0.3, y), &|i| 0.3 * start[i]);
            });
        }
    }

    #[test]
    #[should_panic(expected = "inputs of [2, 3] elements for an output of 2")]
    fn lengths_are_checked() {
        zip(&[0.0; 2], &[0.0; 3], &mut [0.0; 2], |a, _| a);
    }
}
