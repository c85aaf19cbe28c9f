//! Layers: functions from `Var` to `Var`, a brick a file.

mod conv_bn_relu;
mod cross;
mod learned_positions;

pub use conv_bn_relu::{conv_bn_relu, relu_conv_bn};
pub use cross::cross;
pub use learned_positions::learned_positions;
