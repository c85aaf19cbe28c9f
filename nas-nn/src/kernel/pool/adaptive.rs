//! Average pooling to a given size: windows that together cover the plane, of unequal size where it does not divide.

use std::ops::Range;

use super::super::simd::dispatch;

/// The geometry of an adaptive 2-D pooling: the size of the output is given, and the windows follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptivePool2d {
    /// Planes: batch · channels.
    pub planes: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
}

impl AdaptivePool2d {
    /// The input elements of an axis under output `o`: from ⌊o n / m⌋ to ⌈(o + 1) n / m⌉, as PyTorch has them.
    #[inline(always)]
    fn window(&self, axis: usize, o: usize) -> Range<usize> {
        let (n, m) = (self.input[axis], self.output[axis]);
        o * n / m..((o + 1) * n).div_ceil(m)
    }

    #[track_caller]
    fn check(&self, x: usize, y: usize, scratch: usize) {
        let [size, out] = [self.input, self.output].map(|[h, w]| h * w);
        assert!(size > 0 && out > 0, "no elements: {self:?}");
        assert!(x == self.planes * size && y == self.planes * out, "{x} and {y} elements for {self:?}");
        assert!(scratch >= self.input[1], "scratch of {scratch} elements for {self:?}");
    }
}

/// `y` = the average of each window. `scratch` is a row of the input and may hold anything.
///
/// # Panics
/// When a slice does not fit the geometry, or a plane is empty.
pub fn adaptive_avg_pool2d_forward(geo: &AdaptivePool2d, x: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    geo.check(x.len(), y.len(), scratch.len());
    let ([height, width], [oh, ow]) = (geo.input, geo.output);
    let row = &mut scratch[..width];
    dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(height * width).zip(y.chunks_exact_mut(oh * ow)) {
                for (oy, y) in y.chunks_exact_mut(ow).enumerate() {
                    // The sums of the columns first: neighbours share them.
                    let rows = geo.window(0, oy);
                    let count = rows.len();
                    let mut lines = x[rows.start * width..rows.end * width].chunks_exact(width);
                    row.copy_from_slice(lines.next().expect("a window has a row"));
                    for line in lines {
                        for (sum, x) in row.iter_mut().zip(line) {
                            *sum += x;
                        }
                    }
                    for (ox, y) in y.iter_mut().enumerate() {
                        let columns = geo.window(1, ox);
                        let size = (count * columns.len()) as f32;
                        *y = row[columns].iter().sum::<f32>() / size;
                    }
                }
            }
        },
    );
}

/// The gradient of [`adaptive_avg_pool2d_forward`]: `dx` is overwritten, or added to with `accumulate`. `scratch` is a row of
/// the input and may hold anything.
///
/// # Panics
/// When a slice does not fit the geometry, or a plane is empty.
pub fn adaptive_avg_pool2d_backward(
    geo: &AdaptivePool2d,
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    geo.check(dx.len(), dy.len(), scratch.len());
    let ([height, width], [oh, ow]) = (geo.input, geo.output);
    let row = &mut scratch[..width];
    dispatch(
        #[inline(always)]
        || {
            if !accumulate {
                dx.fill(0.0);
            }
            for (dy, dx) in dy.chunks_exact(oh * ow).zip(dx.chunks_exact_mut(height * width)) {
                for (oy, dy) in dy.chunks_exact(ow).enumerate() {
                    // Every row of these windows gets the same.
                    let rows = geo.window(0, oy);
                    row.fill(0.0);
                    for (ox, dy) in dy.iter().enumerate() {
                        let columns = geo.window(1, ox);
                        let share = dy / (rows.len() * columns.len()) as f32;
                        for sum in &mut row[columns] {
                            *sum += share;
                        }
                    }
                    for line in dx[rows.start * width..rows.end * width].chunks_exact_mut(width) {
                        for (dx, sum) in line.iter_mut().zip(row.iter()) {
                            *dx += sum;
                        }
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::simd::on_every_simd;
    use super::super::super::testing::{assert_close, values};
    use super::*;

    fn check(geo: &AdaptivePool2d) {
        let ([height, width], [oh, ow]) = (geo.input, geo.output);
        let (x, dy) = (values(geo.planes * height * width, 1), values(geo.planes * oh * ow, 2));
        let start = values(x.len(), 3);
        // Windows by their definition in real numbers.
        let bounds = |o: usize, n: usize, m: usize| {
            let at = |o: usize| o as f64 * n as f64 / m as f64;
            ((at(o) + 1e-9).floor() as usize, (at(o + 1) - 1e-9).ceil() as usize)
        };
        let (mut y, mut dx) = (Vec::new(), vec![0.0; x.len()]);
        for plane in 0..geo.planes {
            for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                let ((top, bottom), (left, right)) = (bounds(oy, height, oh), bounds(ox, width, ow));
                let places = (top..bottom).flat_map(|i| (left..right).map(move |j| (plane * height + i) * width + j));
                let places: Vec<usize> = places.collect();
                let n = places.len() as f64;
                for &at in &places {
                    dx[at] += f64::from(dy[y.len()]) / n;
                }
                y.push(places.iter().map(|&at| f64::from(x[at])).sum::<f64>() / n);
            }
        }
        let [y, dx] = [&y, &dx].map(|v| v.iter().map(|&v| v as f32).collect::<Vec<f32>>());
        let sum: Vec<f32> = start.iter().zip(&dx).map(|(s, d)| s + d).collect();
        on_every_simd(|_| {
            let mut scratch = vec![f32::NAN; width];
            let mut found = vec![f32::NAN; y.len()];
            adaptive_avg_pool2d_forward(geo, &x, &mut found, &mut scratch);
            assert_close(&found, &y, 1e-6);
            let (mut gradient, mut added) = (vec![f32::NAN; x.len()], start.clone());
            adaptive_avg_pool2d_backward(geo, &dy, &mut gradient, false, &mut scratch);
            adaptive_avg_pool2d_backward(geo, &dy, &mut added, true, &mut scratch);
            assert_close(&gradient, &dx, 2e-6);
            assert_close(&added, &sum, 2e-6);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn pooling_is_the_definition(
            planes in 0_usize..4, height in 1_usize..20, width in 1_usize..40, oh in 1_usize..9, ow in 1_usize..9,
        ) {
            check(&AdaptivePool2d { planes, input: [height, width], output: [oh, ow] });
        }
    }

    #[test]
    #[should_panic(expected = "no elements")]
    fn empty_planes_are_refused() {
        let geo = AdaptivePool2d { planes: 1, input: [0, 3], output: [1, 1] };
        adaptive_avg_pool2d_forward(&geo, &[], &mut [0.0], &mut [0.0; 3]);
    }
}
