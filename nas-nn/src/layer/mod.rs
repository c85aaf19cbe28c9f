//! Layers: functions from `Var` to `Var`, a brick a file.

mod conv_bn_relu;
mod cross;
mod inverted_residual;
mod learned_positions;
mod minimal_gated_unit;
mod squeeze_excite;

pub use conv_bn_relu::{conv_bn_relu, relu_conv_bn};
pub use cross::cross;
pub use inverted_residual::{InvertedResidual, inverted_residual};
pub use learned_positions::learned_positions;
pub use minimal_gated_unit::minimal_gated_unit;
pub use squeeze_excite::squeeze_excite;
