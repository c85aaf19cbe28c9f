//! Maximum and average pooling of [batch, channels, height, width] tensors.
//!
//! With stride 1 a small plane is copied with its border and pooled as one long row (`flat`); windows of 2×2 that halve an
//! image have loops of their own (`halve`); otherwise each tap of the window walks along the rows (`rows`).

mod adaptive;
mod flat;
mod halve;
mod rows;

use std::ops::Range;

pub use adaptive::{AdaptivePool2d, adaptive_avg_pool2d_backward, adaptive_avg_pool2d_forward};
use flat::Flat;

use super::simd::dispatch;
use super::sum::sum_planes;

/// The geometry of a 2-D pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Examples.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps of the window, down and across.
    pub stride: [usize; 2],
    /// Padding at the top, left, bottom and right: never the maximum, never counted in an average.
    pub padding: [usize; 4],
}

impl Pool2d {
    /// Height and width of the output; 0 where no window fits.
    pub fn output(&self) -> [usize; 2] {
        let [top, left, bottom, right] = self.padding;
        let size = |n: usize, k: usize, s: usize| if n < k || s == 0 { 0 } else { (n - k) / s + 1 };
        [
            size(self.height + top + bottom, self.kernel[0], self.stride[0]),
            size(self.width + left + right, self.kernel[1], self.stride[1]),
        ]
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.channels * self.height * self.width
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        let [h, w] = self.output();
        self.batch * self.channels * h * w
    }

    #[track_caller]
    fn check(&self, inputs: &[usize], outputs: &[usize]) {
        let [top, left, bottom, right] = self.padding;
        assert!(
            top.max(bottom) < self.kernel[0] && left.max(right) < self.kernel[1] && self.stride.iter().all(|&s| s > 0),
            "windows of padding only, or no stride: {self:?}"
        );
        assert!(inputs.iter().all(|&n| n == self.input_len()), "inputs of {inputs:?} elements for {self:?}");
        assert!(outputs.iter().all(|&n| n == self.output_len()), "outputs of {outputs:?} elements for {self:?}");
    }

    fn input_size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// The outputs of an axis whose element under tap `k` is not padding, and the first one's element.
    fn valid(&self, axis: usize, k: usize) -> (Range<usize>, usize) {
        let (stride, before, out) = (self.stride[axis], self.padding[axis], self.output()[axis]);
        let first = before.saturating_sub(k).div_ceil(stride).min(out);
        let end = (self.input_size()[axis] + before).saturating_sub(k).div_ceil(stride).clamp(first, out);
        (first..end, if first < end { first * stride + k - before } else { 0 })
    }

    /// How many elements of the window at output `o` of an axis lie in the input.
    fn covered(&self, axis: usize, o: usize) -> usize {
        let (size, before) = (self.input_size()[axis], self.padding[axis]);
        let start = o * self.stride[axis];
        (start + self.kernel[axis]).min(size + before) - start.max(before)
    }

    /// The outputs of an axis whose window lies wholly inside the input.
    fn inner(&self, axis: usize) -> Range<usize> {
        let (size, before, out) = (self.input_size()[axis], self.padding[axis], self.output()[axis]);
        let first = before.div_ceil(self.stride[axis]).min(out);
        let end = (size + before).checked_sub(self.kernel[axis]).map_or(0, |n| n / self.stride[axis] + 1);
        first..end.clamp(first, out)
    }
}

/// `y` = the maximum of each window, `tap` = which element of the window it was (`ky · kernel width + kx`, the first of
/// equals, kept for the backward pass; −1 if all are −∞, which then get no gradient). NaN counts as the largest.
///
/// # Panics
/// When a slice does not fit the geometry, or a window could be padding only.
pub fn max_pool2d_forward(geo: &Pool2d, x: &[f32], y: &mut [f32], tap: &mut [f32]) {
    geo.check(&[x.len()], &[y.len(), tap.len()]);
    if y.is_empty() {
        return;
    }
    if let Some(flat) = Flat::of_input(geo) {
        return flat.max(x, y, tap);
    }
    if halve::serves(geo) {
        return halve::max(geo, x, y, tap);
    }
    y.fill(f32::NEG_INFINITY);
    tap.fill(-1.0);
    rows::max(geo, x, y, tap);
}

/// The gradient of [`max_pool2d_forward`] goes to the element that was the maximum: `dx` is overwritten, or added to with
/// `accumulate`.
///
/// # Panics
/// When a slice does not fit the geometry.
pub fn max_pool2d_backward(geo: &Pool2d, tap: &[f32], dy: &[f32], dx: &mut [f32], accumulate: bool) {
    geo.check(&[dx.len()], &[dy.len(), tap.len()]);
    if halve::serves(geo) {
        return halve::max_backward(geo, tap, dy, dx, accumulate);
    }
    if !accumulate {
        dx.fill(0.0);
    }
    if dy.is_empty() {
        return;
    }
    if let Some(flat) = Flat::of_output(geo) {
        return flat.max_backward(tap, dy, dx);
    }
    rows::max_backward(geo, tap, dy, dx);
}

/// `y` = the average of each window's elements that are not padding.
///
/// # Panics
/// When a slice does not fit the geometry, or a window could be padding only.
pub fn avg_pool2d_forward(geo: &Pool2d, x: &[f32], y: &mut [f32]) {
    geo.check(&[x.len()], &[y.len()]);
    if y.is_empty() {
        return;
    }
    if let Some(flat) = Flat::of_input(geo) {
        return flat.average(geo, x, y);
    }
    if halve::serves(geo) {
        return halve::average(geo, x, y);
    }
    y.fill(0.0);
    rows::sum(geo, x, y);
    scale_by_count(geo, y);
}

/// Divides each output by the number of its window's elements that are not padding.
fn scale_by_count(geo: &Pool2d, y: &mut [f32]) {
    let ([oh, ow], inner) = (geo.output(), geo.inner(1));
    dispatch(
        #[inline(always)]
        || {
            for oy in 0..oh {
                let rows = geo.covered(0, oy);
                let share = 1.0 / (rows * geo.kernel[1]) as f32;
                for row in y.chunks_exact_mut(ow).skip(oy).step_by(oh) {
                    for y in &mut row[inner.clone()] {
                        *y *= share;
                    }
                }
                for ox in (0..inner.start).chain(inner.end..ow) {
                    let share = 1.0 / (rows * geo.covered(1, ox)) as f32;
                    for y in y[oy * ow + ox..].iter_mut().step_by(oh * ow) {
                        *y *= share;
                    }
                }
            }
        },
    );
}

/// The gradient of [`avg_pool2d_forward`]: `dx` is overwritten, or added to with `accumulate`.
///
/// # Panics
/// When a slice does not fit the geometry.
pub fn avg_pool2d_backward(geo: &Pool2d, dy: &[f32], dx: &mut [f32], accumulate: bool) {
    geo.check(&[dx.len()], &[dy.len()]);
    if halve::serves(geo) {
        return halve::average_backward(geo, dy, dx, accumulate);
    }
    if dy.is_empty() {
        if !accumulate {
            dx.fill(0.0);
        }
        return;
    }
    if let Some(flat) = Flat::of_output(geo) {
        return flat.average_backward(geo, dy, dx, accumulate);
    }
    if !accumulate {
        dx.fill(0.0);
    }
    rows::average_backward(geo, dy, dx);
}

/// `y[i]` = the average of the i-th `inner` elements of `x`: global average pooling with `inner` = height · width.
///
/// # Panics
/// When `x` is not `y.len()` planes.
pub fn global_avg_pool_forward(inner: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), inner * y.len(), "the input is not {} planes of {inner}", y.len());
    sum_planes(x, inner, |plane, total| y[plane] = total / inner as f32);
}

/// The gradient of [`global_avg_pool_forward`]: `dx` is overwritten, or added to with `accumulate`.
///
/// # Panics
/// When `dx` is not `dy.len()` planes.
pub fn global_avg_pool_backward(inner: usize, dy: &[f32], dx: &mut [f32], accumulate: bool) {
    assert_eq!(dx.len(), inner * dy.len(), "the input is not {} planes of {inner}", dy.len());
    let share = 1.0 / inner as f32;
    dispatch(
        #[inline(always)]
        || {
            for (dx, &dy) in dx.chunks_exact_mut(inner.max(1)).zip(dy) {
                if accumulate {
                    dx.iter_mut().for_each(|dx| *dx += dy * share);
                } else {
                    dx.fill(dy * share);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    fn geometries() -> impl Strategy<Value = Pool2d> {
        let axis = || (1usize..5, 1usize..4, 0usize..4, 0usize..4, 1usize..40);
        (1usize..3, 1usize..4, axis(), axis()).prop_map(|(batch, channels, y, x)| Pool2d {
            batch,
            channels,
            height: y.4.max(y.0),
            width: x.4.max(x.0),
            kernel: [y.0, x.0],
            stride: [y.1, x.1],
            padding: [y.2 % y.0, x.2 % x.0, y.3 % y.0, x.3 % x.0],
        })
    }

    /// The input elements of each output's window, in order, with their numbers in the window.
    fn windows(geo: &Pool2d) -> Vec<Vec<(usize, usize)>> {
        let [oh, ow] = geo.output();
        let mut all = Vec::new();
        for plane in 0..geo.batch * geo.channels {
            for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                let mut window = Vec::new();
                for (ky, kx) in (0..geo.kernel[0]).flat_map(|y| (0..geo.kernel[1]).map(move |x| (y, x))) {
                    let y = (oy * geo.stride[0] + ky) as isize - geo.padding[0] as isize;
                    let x = (ox * geo.stride[1] + kx) as isize - geo.padding[1] as isize;
                    if y >= 0 && x >= 0 && (y as usize) < geo.height && (x as usize) < geo.width {
                        let at = (plane * geo.height + y as usize) * geo.width + x as usize;
                        window.push((at, ky * geo.kernel[1] + kx));
                    }
                }
                all.push(window);
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn pooling_is_the_definition(geo in geometries()) {
            // Halves make ties common, as after a ReLU.
            let x: Vec<f32> = values(geo.input_len(), 1).iter().map(|x| (x * 4.0).round() / 2.0).collect();
            let (dy, start) = (values(geo.output_len(), 2), values(geo.input_len(), 3));
            let windows = windows(&geo);
            let (mut max, mut avg) = (Vec::new(), Vec::new());
            let (mut max_dx, mut avg_dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            for (window, dy) in windows.iter().zip(&dy) {
                let mut best = window[0].0;
                for &(at, _) in window {
                    if x[at] > x[best] { best = at }
                    avg_dx[at] += dy / window.len() as f32;
                }
                max.push(x[best]);
                max_dx[best] += dy;
                avg.push(window.iter().map(|&(at, _)| x[at]).sum::<f32>() / window.len() as f32);
            }
            on_every_simd(|_| {
                let (mut y, mut tap) = (vec![f32::NAN; dy.len()], vec![f32::NAN; dy.len()]);
                max_pool2d_forward(&geo, &x, &mut y, &mut tap);
                assert_eq!(&y, &max);
                let (mut dx, mut sum) = (vec![f32::NAN; x.len()], start.clone());
                max_pool2d_backward(&geo, &tap, &dy, &mut dx, false);
                max_pool2d_backward(&geo, &tap, &dy, &mut sum, true);
                assert_close(&dx, &max_dx, 1e-5);
                let plus = |dx: &[f32]| dx.iter().zip(&start).map(|(a, b)| a + b).collect::<Vec<f32>>();
                assert_close(&sum, &plus(&max_dx), 1e-5);
                avg_pool2d_forward(&geo, &x, &mut y);
                assert_close(&y, &avg, 1e-5);
                let mut sum = start.clone();
                avg_pool2d_backward(&geo, &dy, &mut dx, false);
                avg_pool2d_backward(&geo, &dy, &mut sum, true);
                assert_close(&dx, &avg_dx, 1e-5);
                assert_close(&sum, &plus(&avg_dx), 1e-5);
            });
        }
    }

    #[test]
    fn nan_is_kept_and_minus_infinity_has_no_gradient() {
        let geo =
            Pool2d { batch: 1, channels: 1, height: 1, width: 4, kernel: [1, 2], stride: [1, 2], padding: [0; 4] };
        let (mut y, mut tap, mut dx) = ([0.0; 2], [0.0; 2], [0.0; 4]);
        max_pool2d_forward(&geo, &[f32::NAN, 1.0, f32::NEG_INFINITY, f32::NEG_INFINITY], &mut y, &mut tap);
        assert!(y[0].is_nan() && y[1] == f32::NEG_INFINITY);
        max_pool2d_backward(&geo, &tap, &[1.0, 2.0], &mut dx, false);
        assert_eq!((tap, dx), ([0.0, -1.0], [1.0, 0.0, 0.0, 0.0]));
    }

    #[test]
    fn global_average() {
        let mut y = [0.0; 2];
        global_avg_pool_forward(3, &[1.0, 2.0, 3.0, 4.0, 5.0, 9.0], &mut y);
        assert_eq!(y, [2.0, 6.0]);
        let mut dx = [1.0; 6];
        global_avg_pool_backward(3, &[3.0, 6.0], &mut dx, true);
        assert_eq!(dx, [2.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
        global_avg_pool_backward(3, &[3.0, 6.0], &mut dx, false);
        assert_eq!(dx, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }
}
