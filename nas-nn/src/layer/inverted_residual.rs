//! The inverted residual of mobile networks.

use super::squeeze_excite;
use crate::graph::Var;
use crate::op::{Activation, Conv2d};

/// The settings of an inverted residual; [`inverted_residual`] applies it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvertedResidual {
    /// Channels of the output.
    pub filters: usize,
    /// Side of the depthwise kernel; odd, so that the image keeps its size at stride 1.
    pub kernel: usize,
    /// Steps of the depthwise kernel.
    pub stride: usize,
    /// Channels inside for each channel of the input; with 1 there is no convolution that widens.
    pub expand: usize,
    /// The reduction of squeeze and excitation behind the depthwise convolution, usually 4; none: without.
    pub squeeze_excite: Option<usize>,
    /// The activation of all but the last convolution, which has none.
    pub activation: Activation,
}

/// A 1×1 convolution to `expand` times the channels, a depthwise convolution, squeeze and excitation, a 1×1 convolution to
/// `filters` (MobileNetV2, Sandler et al., 2018; with squeeze and excitation as in MnasNet, Tan et al., 2019), each convolution
/// with batch normalisation; plus the input where shapes allow: at stride 1 with as many channels.
///
/// ```
/// use nas_nn::Graph;
/// use nas_nn::layer::{InvertedResidual, inverted_residual};
/// use nas_nn::op::Activation;
///
/// let graph = Graph::new();
/// let block = InvertedResidual {
///     filters: 24,
///     kernel: 5,
///     stride: 2,
///     expand: 3,
///     squeeze_excite: Some(4),
///     activation: Activation::HardSwish,
/// };
/// let y = inverted_residual(graph.input("image", &[16, 8, 8]), block);
/// assert_eq!(y.shape().dims(), [24, 4, 4]);
/// ```
pub fn inverted_residual(x: Var<'_>, block: InvertedResidual) -> Var<'_> {
    if x.is_poisoned() {
        return x;
    }
    let InvertedResidual { filters, kernel, stride, expand, activation, .. } = block;
    if x.shape().dims().len() != 3 || kernel % 2 == 0 || expand == 0 {
        let message = format!(
            "needs [channels, height, width], an odd kernel and an expansion from 1, got {}, {kernel} and {expand}",
            x.shape()
        );
        return x.mistake("inverted_residual", message);
    }
    let channels = x.dim(0);
    let wide = channels.saturating_mul(expand);
    let y = x.scope("inverted_residual", |x| {
        let x = if expand == 1 { x } else { x.conv2d(wide, 1).batch_norm().activation(activation) };
        let x = x.conv(Conv2d::new(wide, kernel).stride(stride).groups(wide)).batch_norm().activation(activation);
        let x = block.squeeze_excite.map_or(x, |reduction| squeeze_excite(x, reduction));
        x.conv2d(filters, 1).batch_norm()
    });
    if stride == 1 && filters == channels { x + y } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;
    use crate::testing::gradcheck;

    const BLOCK: InvertedResidual = InvertedResidual {
        filters: 2,
        kernel: 3,
        stride: 1,
        expand: 1,
        squeeze_excite: None,
        activation: Activation::Silu,
    };

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3, 3]], |v| inverted_residual(v[0], BLOCK));
        let wide = InvertedResidual { filters: 3, stride: 2, expand: 3, squeeze_excite: Some(4), ..BLOCK };
        gradcheck(&[&[2, 4, 5]], |v| inverted_residual(v[0], wide));
    }

    #[test]
    fn parameters_by_hand() {
        let count = |block: InvertedResidual| {
            let graph = Graph::new();
            inverted_residual(graph.input("x", &[2, 4, 4]), block);
            graph.check().unwrap();
            graph.cost().parameters
        };
        // Depthwise 9 · 2 and its norm 4, 1×1 2 · 2 and its norm 4.
        assert_eq!(count(BLOCK), 18 + 4 + 4 + 4);
        // 1×1 2 · 6 and 12, depthwise 25 · 6 and 12, squeeze 6 · 2 + 2, excite 2 · 6 + 6, 1×1 6 · 2 and 4.
        let wide = InvertedResidual { expand: 3, kernel: 5, squeeze_excite: Some(4), ..BLOCK };
        assert_eq!(count(wide), 24 + 162 + 14 + 18 + 16);
    }

    #[test]
    fn even_kernels_are_refused() {
        let graph = Graph::new();
        inverted_residual(graph.input("x", &[2, 4, 4]), InvertedResidual { kernel: 4, ..BLOCK });
        let message = graph.check().unwrap_err().to_string();
        assert!(message.contains("an odd kernel"), "{message}");
    }
}
