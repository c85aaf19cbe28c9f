//! Convolutions that are matrix products: 1×1 kernels with stride 1 and no padding.

use super::super::gemm::gemm;
use super::Conv2d;

/// Whether the geometry is such a product, and wide enough for one to pay.
pub(super) fn serves(geo: &Conv2d) -> bool {
    let wide = geo.channels.min(geo.filters) >= 4 * geo.groups;
    wide && geo.kernel == [1, 1] && geo.stride == [1, 1] && geo.padding == [0; 4]
}

/// The channels, filters and pixels of one group.
fn sizes(geo: &Conv2d) -> (usize, usize, usize) {
    (geo.channels / geo.groups, geo.filters / geo.groups, geo.height * geo.width)
}

/// y = w · x for each image and group.
pub(super) fn forward(geo: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32]) {
    let (c, f, pixels) = sizes(geo);
    for (i, (x, y)) in x.chunks_exact(c * pixels).zip(y.chunks_exact_mut(f * pixels)).enumerate() {
        let w = &w[i % geo.groups * f * c..][..f * c];
        gemm([f, pixels, c], w, [c, 1], x, [pixels, 1], 0.0, y, [pixels, 1]);
    }
}

/// dx = wᵀ · dy for each image and group.
pub(super) fn backward_input(geo: &Conv2d, w: &[f32], dy: &[f32], dx: &mut [f32], accumulate: bool) {
    let (c, f, pixels) = sizes(geo);
    let beta = if accumulate { 1.0 } else { 0.0 };
    for (i, (dy, dx)) in dy.chunks_exact(f * pixels).zip(dx.chunks_exact_mut(c * pixels)).enumerate() {
        let w = &w[i % geo.groups * f * c..][..f * c];
        gemm([c, pixels, f], w, [1, c], dy, [pixels, 1], beta, dx, [pixels, 1]);
    }
}

/// dw = Σ dy · xᵀ over the images of each group.
pub(super) fn backward_weight(geo: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32], accumulate: bool) {
    let (c, f, pixels) = sizes(geo);
    for (i, (x, dy)) in x.chunks_exact(c * pixels).zip(dy.chunks_exact(f * pixels)).enumerate() {
        let beta = if accumulate || i >= geo.groups { 1.0 } else { 0.0 };
        let dw = &mut dw[i % geo.groups * f * c..][..f * c];
        gemm([f, c, pixels], dy, [pixels, 1], x, [1, pixels], beta, dw, [c, 1]);
    }
}
