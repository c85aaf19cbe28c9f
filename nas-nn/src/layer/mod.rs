//! Layers: functions from `Var` to `Var`, a brick a file.

mod conv_bn_relu;

pub use conv_bn_relu::{conv_bn_relu, relu_conv_bn};
