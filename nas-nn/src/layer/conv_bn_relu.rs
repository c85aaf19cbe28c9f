//! Convolution, batch normalisation and ReLU, in either order.

use crate::graph::Var;
use crate::op::Conv2d;

/// Convolution, batch normalisation, ReLU; the image keeps its size.
///
/// ```
/// use nas_nn::{Graph, layer::conv_bn_relu};
///
/// let graph = Graph::new();
/// let y = conv_bn_relu(graph.input("image", &[3, 8, 8]), 16, 3);
/// assert_eq!(y.shape().dims(), [16, 8, 8]);
/// assert_eq!(graph.parameters()[0].path, "conv_bn_relu.conv2d.weight");
/// ```
pub fn conv_bn_relu(x: Var<'_>, filters: usize, kernel: usize) -> Var<'_> {
    x.scope("conv_bn_relu", |x| x.conv2d(filters, kernel).batch_norm().relu())
}

/// ReLU, convolution, batch normalisation: the brick of NAS-Bench-201's cells.
pub fn relu_conv_bn(x: Var<'_>, filters: usize, kernel: usize, stride: usize) -> Var<'_> {
    x.scope("relu_conv_bn", |x| x.relu().conv(Conv2d::new(filters, kernel).stride(stride)).batch_norm())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gradcheck;

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 4, 4]], |v| conv_bn_relu(v[0], 3, 3));
        gradcheck(&[&[2, 5, 5]], |v| relu_conv_bn(v[0], 2, 3, 2));
    }
}
