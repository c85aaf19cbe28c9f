//! 2-D convolution of [batch, channels, height, width] tensors: forward, input gradient, weight gradient.
//!
//! Products of 1×1 kernels are matrix products (`pointwise`), and small planes whose filters see one channel each have sums of
//! their own (`depthwise`). All else is direct (`direct`): images are packed with a border of zeros (`lattice`, `pack`), few
//! enough at a time to stay in the cache, and vectors run over the pixels of one or, when it is small, over the same pixel of
//! several (`tile`, `weight`). One table of taps serves any number of channels, kernel, stride, padding, dilation and groups.

mod ahead;
mod depthwise;
mod direct;
mod lattice;
mod pack;
mod pointwise;
mod scratch;
mod tile;
mod weight;

/// The geometry of a 2-D convolution; its weights are [filters, channels / groups, kernel height, kernel width].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Examples.
    pub batch: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Channels of the output.
    pub filters: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps of the kernel, down and across.
    pub stride: [usize; 2],
    /// Zeros around the input: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Distances of the kernel's elements, down and across.
    pub dilation: [usize; 2],
    /// Groups of channels that see only each other; `channels` of them are a depthwise convolution.
    pub groups: usize,
}

impl Conv2d {
    /// Height and width of the output; 0 where the kernel does not fit.
    pub fn output(&self) -> [usize; 2] {
        let [top, left, bottom, right] = self.padding;
        let size = |n: usize, k: usize, s: usize, d: usize| {
            let reach = d * k.saturating_sub(1) + 1;
            if n < reach || s == 0 { 0 } else { (n - reach) / s + 1 }
        };
        [
            size(self.height + top + bottom, self.kernel[0], self.stride[0], self.dilation[0]),
            size(self.width + left + right, self.kernel[1], self.stride[1], self.dilation[1]),
        ]
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.channels * self.height * self.width
    }

    /// Elements of the weights.
    pub fn weight_len(&self) -> usize {
        self.filters * (self.channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        let [h, w] = self.output();
        self.batch * self.filters * h * w
    }

    /// Multiply-adds of one pass.
    pub fn multiply_adds(&self) -> u64 {
        let per_output = self.channels / self.groups * self.kernel[0] * self.kernel[1];
        self.output_len() as u64 * per_output as u64
    }

    /// Weights that one output element uses.
    fn depth(&self) -> usize {
        self.channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    #[track_caller]
    fn check(&self, x: usize, w: usize, y: usize, scratch: usize) {
        let groups = self.groups;
        let divides = groups > 0 && self.channels.is_multiple_of(groups) && self.filters.is_multiple_of(groups);
        assert!(divides, "groups do not divide channels and filters: {self:?}");
        assert!(
            self.kernel.iter().chain(&self.stride).chain(&self.dilation).all(|&n| n > 0),
            "kernel, stride and dilation start at 1: {self:?}"
        );
        assert_eq!(x, self.input_len(), "elements of the input of {self:?}");
        assert_eq!(w, self.weight_len(), "elements of the weights of {self:?}");
        assert_eq!(y, self.output_len(), "elements of the output of {self:?}");
        assert!(scratch >= conv2d_scratch(self), "scratch of {scratch} elements for {self:?}");
    }
}

/// Elements of scratch that each of the three passes may use.
pub fn conv2d_scratch(geo: &Conv2d) -> usize {
    if geo.input_len() == 0 || geo.output_len() == 0 || pointwise::serves(geo) {
        0
    } else if depthwise::serves(geo) {
        depthwise::scratch(geo)
    } else {
        direct::scratch(geo)
    }
}

/// `y = x ⋆ w`. What `scratch` holds before does not matter.
///
/// # Panics
/// When a slice does not fit the geometry or groups do not divide the channels and filters.
pub fn conv2d_forward(geo: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    geo.check(x.len(), w.len(), y.len(), scratch.len());
    if x.is_empty() || y.is_empty() {
        y.fill(0.0);
    } else if pointwise::serves(geo) {
        pointwise::forward(geo, x, w, y);
    } else if depthwise::serves(geo) {
        depthwise::forward(geo, x, w, y, scratch);
    } else {
        direct::forward(geo, x, w, y, scratch);
    }
}

/// `dx` = the gradient with respect to `x`, added to what is there with `accumulate`.
///
/// # Panics
/// As [`conv2d_forward`].
pub fn conv2d_backward_input(
    geo: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    geo.check(dx.len(), w.len(), dy.len(), scratch.len());
    if dx.is_empty() || dy.is_empty() {
        if !accumulate {
            dx.fill(0.0);
        }
    } else if pointwise::serves(geo) {
        pointwise::backward_input(geo, w, dy, dx, accumulate);
    } else if depthwise::serves(geo) {
        depthwise::backward_input(geo, w, dy, dx, accumulate, scratch);
    } else {
        direct::backward_input(geo, w, dy, dx, accumulate, scratch);
    }
}

/// `dw` = the gradient with respect to `w`, added to what is there with `accumulate`.
///
/// # Panics
/// As [`conv2d_forward`].
pub fn conv2d_backward_weight(
    geo: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    geo.check(x.len(), dw.len(), dy.len(), scratch.len());
    if x.is_empty() || dy.is_empty() {
        if !accumulate {
            dw.fill(0.0);
        }
    } else if pointwise::serves(geo) {
        pointwise::backward_weight(geo, x, dy, dw, accumulate);
    } else if depthwise::serves(geo) {
        depthwise::backward_weight(geo, x, dy, dw, accumulate, scratch);
    } else {
        direct::backward_weight(geo, x, dy, dw, accumulate, scratch);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    fn check(geo: &Conv2d) {
        let (x, w) = (values(geo.input_len(), 1), values(geo.weight_len(), 2));
        let (dy, start) = (values(geo.output_len(), 3), values(geo.input_len().max(geo.weight_len()), 4));
        let mut y = vec![0.0f64; dy.len()];
        let (mut dx, mut dw) = (vec![0.0f64; x.len()], vec![0.0f64; w.len()]);
        plain(geo, |xi, wi, yi| {
            y[yi] += f64::from(x[xi]) * f64::from(w[wi]);
            dx[xi] += f64::from(dy[yi]) * f64::from(w[wi]);
            dw[wi] += f64::from(dy[yi]) * f64::from(x[xi]);
        });
        let single = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let (y, dx, dw) = (single(&y), single(&dx), single(&dw));
        let plus = |x: &[f32]| x.iter().zip(&start).map(|(a, b)| a + b).collect::<Vec<f32>>();
        on_every_simd(|_| {
            // NaN in the scratch and outputs shows what is read before it is written.
            let scratch = || vec![f32::NAN; conv2d_scratch(geo)];
            let mut out = vec![f32::NAN; y.len()];
            conv2d_forward(geo, &x, &w, &mut out, &mut scratch());
            assert_close(&out, &y, 2e-5);
            let mut out = vec![f32::NAN; x.len()];
            conv2d_backward_input(geo, &w, &dy, &mut out, false, &mut scratch());
            assert_close(&out, &dx, 2e-5);
            let mut out = start[..x.len()].to_vec();
            conv2d_backward_input(geo, &w, &dy, &mut out, true, &mut scratch());
            assert_close(&out, &plus(&dx), 2e-5);
            let mut out = vec![f32::NAN; w.len()];
            conv2d_backward_weight(geo, &x, &dy, &mut out, false, &mut scratch());
            assert_close(&out, &dw, 1e-4);
            let mut out = start[..w.len()].to_vec();
            conv2d_backward_weight(geo, &x, &dy, &mut out, true, &mut scratch());
            assert_close(&out, &plus(&dw), 1e-4);
        });
    }

    fn square(batch: usize, [channels, filters]: [usize; 2], size: usize, kernel: usize, stride: usize) -> Conv2d {
        Conv2d {
            batch,
            channels,
            height: size,
            width: size,
            filters,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 4],
            dilation: [1; 2],
            groups: 1,
        }
    }

    #[test]
    fn usual_layers() {
        for size in [28, 14, 7, 9, 32, 16, 8, 4] {
            for stride in [1, 2] {
                check(&square(2, [3, 16], size, 3, stride));
                check(&square(2, [16, 24], size, 3, stride));
                check(&square(1, [8, 12], size, 5, stride));
                check(&square(2, [24, 8], size, 1, stride));
                check(&Conv2d { groups: 10, ..square(2, [10, 10], size, 3, stride) });
                check(&Conv2d { groups: 4, ..square(2, [8, 16], size, 5, stride) });
            }
            check(&Conv2d { dilation: [2; 2], padding: [2; 4], ..square(1, [8, 8], size, 3, 1) });
        }
    }

    #[test]
    fn many_images() {
        check(&square(40, [8, 8], 16, 3, 1));
        for stride in [1, 2, 3] {
            check(&square(33, [16, 10], 7, 3, stride));
            check(&square(16, [32, 32], 4, 3, stride));
            check(&square(16, [9, 9], 7, 1, stride));
            check(&Conv2d { groups: 2, ..square(17, [32, 32], 7, 5, stride) });
        }
    }

    #[test]
    fn depthwise() {
        let depthwise = |batch, channels, size, kernel, stride| Conv2d {
            groups: channels,
            ..square(batch, [channels; 2], size, kernel, stride)
        };
        for size in [2, 4, 7, 8, 9, 16, 20, 33] {
            for kernel in [2, 3, 5, 7] {
                for stride in [1, 2] {
                    check(&depthwise(3, 2, size, kernel, stride));
                }
            }
            check(&depthwise(17, 3, size, 3, 1));
            check(&Conv2d { filters: 9, ..depthwise(9, 3, size, 5, 2) });
            check(&Conv2d { kernel: [3, 5], padding: [1, 0, 2, 4], ..depthwise(2, 3, size, 3, 1) });
            check(&Conv2d { stride: [1, 3], dilation: [2, 1], padding: [5; 4], ..depthwise(2, 3, size, 3, 1) });
        }
        for stride in [1, 2] {
            for width in 5..=32 {
                check(&Conv2d { width, ..depthwise(3, 2, 6, 3, stride) });
            }
            // As much padding as a window allows, none, and on one side only.
            for padding in [[4; 4], [0; 4], [4, 0, 0, 4], [0, 3, 4, 0]] {
                check(&Conv2d { padding, ..depthwise(2, 2, 11, 5, stride) });
            }
            check(&depthwise(2, 2, 12, 9, stride));
        }
        // Wider than that, and more padding: for other kernels.
        check(&depthwise(1, 2, 60, 7, 1));
        check(&depthwise(2, 2, 75, 5, 2));
        check(&Conv2d { width: 700, filters: 4, ..depthwise(2, 2, 6, 3, 1) });
        check(&Conv2d { width: 1, kernel: [3, 9], padding: [1, 8, 1, 8], ..depthwise(2, 3, 7, 3, 2) });
        check(&Conv2d { height: 1, padding: [2; 4], ..depthwise(2, 3, 13, 3, 2) });
        check(&Conv2d { height: 3, width: 2500, padding: [9; 4], ..depthwise(1, 2, 1, 3, 2) });
    }

    #[test]
    fn nothing_fits() {
        check(&Conv2d { padding: [0; 4], ..square(2, [2, 3], 2, 3, 1) });
        check(&square(0, [2, 3], 5, 3, 1));
    }

    fn geometries() -> impl Strategy<Value = Conv2d> {
        // Size, kernel, stride, padding before and after, dilation.
        let axis = || (1usize..22, 1usize..5, 1usize..4, 0usize..5, 0usize..5, 1usize..4);
        (prop_oneof![1usize..4, 14usize..18], 1usize..4, 1usize..5, 1usize..12, axis(), axis()).prop_map(
            |(batch, groups, channels, filters, y, x)| Conv2d {
                batch,
                channels: groups * channels,
                height: y.0,
                width: x.0,
                filters: groups * filters,
                kernel: [y.1, x.1],
                stride: [y.2, x.2],
                padding: [y.3, x.3, y.4, x.4],
                dilation: [y.5, x.5],
                groups,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn every_geometry(geo in geometries()) {
            check(&geo);
        }
    }

    #[test]
    #[should_panic(expected = "scratch of 0 elements")]
    fn scratch_is_checked() {
        let geo = square(1, [1, 1], 3, 3, 1);
        conv2d_forward(&geo, &[0.0; 9], &[0.0; 9], &mut [0.0; 9], &mut []);
    }

    /// Calls `f` with the indices of input, weight and output of every multiply-add: the definition.
    fn plain(geo: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
        let [oh, ow] = geo.output();
        let [kh, kw] = geo.kernel;
        let (per_group, filters) = (geo.channels / geo.groups, geo.filters / geo.groups);
        for b in 0..geo.batch {
            for o in 0..geo.filters {
                for oy in 0..oh {
                    for ox in 0..ow {
                        for c in 0..per_group {
                            for ky in 0..kh {
                                for kx in 0..kw {
                                    let y = (oy * geo.stride[0] + ky * geo.dilation[0]).wrapping_sub(geo.padding[0]);
                                    let x = (ox * geo.stride[1] + kx * geo.dilation[1]).wrapping_sub(geo.padding[1]);
                                    if y < geo.height && x < geo.width {
                                        let channel = b * geo.channels + o / filters * per_group + c;
                                        f(
                                            (channel * geo.height + y) * geo.width + x,
                                            ((o * per_group + c) * kh + ky) * kw + kx,
                                            ((b * geo.filters + o) * oh + oy) * ow + ox,
                                        );
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
