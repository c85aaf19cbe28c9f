//! Numerical kernels on plain `f32` slices: matrix products, convolutions, pooling, normalisation, element-by-element
//! loops, reductions, optimizer updates.
//!
//! Every function is safe, checks lengths, starts no thread (large products and updates leave parts to the [`Crew`] that the
//! calling thread leads, if it leads one), allocates nothing (matrix products grow a
//! buffer of the thread the first time) and gives the same result for the same arguments on the same processor. Tensors are contiguous, batch first,
//! NCHW. Loops are compiled for several instruction sets and chosen at run time ([`Simd`]; `NAS_SIMD` overrides). This is
//! the only place of the project with `unsafe` code.
#![allow(unsafe_code, reason = "vector intrinsics and unchecked inner loops live here, behind safe functions")]
#![allow(clippy::needless_range_loop, reason = "tiles of registers read best by index, several arrays at a time")]

mod attention;
mod batch_norm;
mod check;
mod conv;
pub(crate) mod crew;
mod cross_entropy;
mod gaussian;
mod gemm;
mod interaction;
mod map;
mod math;
mod norm;
mod optimizer;
mod permute;
mod pool;
mod product;
mod recurrent;
mod reduce;
mod rotary;
mod row_norm;
mod simd;
mod sum;
#[cfg(test)]
mod testing;
mod vector;

pub use attention::{attention_softmax, attention_softmax_again, attention_softmax_backward};
pub use batch_norm::{BatchNormBackward, BatchNormForward, batch_norm_backward, batch_norm_forward};
pub use check::{find_non_class, find_non_finite};
pub use conv::{Conv2d, conv2d_backward_input, conv2d_backward_weight, conv2d_forward, conv2d_scratch};
pub use crew::Crew;
pub use cross_entropy::{Targets, cross_entropy_backward, cross_entropy_forward};
pub use gaussian::{column_moments, squared_exponential};
pub use interaction::{
    dot_interaction_backward, dot_interaction_forward, dot_interaction_scratch, factorization_machine_backward,
    factorization_machine_forward,
};
pub use map::{axpy, map, map_add, map_in_place, scale, zip, zip_add, zip_sum};
pub use math::{
    elu, erf, exp, exp_m1, gelu, gelu_derivative, gelu_tanh, gelu_tanh_derivative, hard_sigmoid, hard_swish,
    hard_swish_derivative, leaky_relu, leaky_relu_derivative, relu, relu_derivative, relu6, relu6_derivative, sigmoid,
    silu, silu_derivative, softplus, tanh,
};
pub use norm::{Channels, add_to_channels, channel_affine, channel_sums};
pub use optimizer::{Adam, Lamb, RmsProp, Sgd, adam, approach, lamb, max_magnitude, rms_prop, sgd};
pub use permute::permute;
pub use pool::{
    AdaptivePool2d, Pool2d, adaptive_avg_pool2d_backward, adaptive_avg_pool2d_forward, avg_pool2d_backward,
    avg_pool2d_forward, global_avg_pool_backward, global_avg_pool_forward, max_pool2d_backward, max_pool2d_forward,
};
pub use product::{gemm, gemm_bias};
pub use recurrent::{gru_row, gru_row_backward, lstm_row, lstm_row_backward};
pub use reduce::{
    column_sums, max, row_log_softmax, row_log_softmax_backward_add, row_softmax, row_softmax_backward_add, row_sums,
};
pub use rotary::{Rotary, rotate};
pub use row_norm::{RowNorm, row_norm_backward, row_norm_forward};
pub use simd::{Simd, simd, with_simd};
pub use sum::{dot, sum, sum_squares};
