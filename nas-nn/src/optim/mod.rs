//! Optimizers, schedules and clipping.

mod adam;
mod clip;
mod schedule;
mod sgd;

pub use adam::Adam;
pub use clip::clip_norm;
pub use schedule::Schedule;
pub use sgd::Sgd;

/// Changes parameters by their gradients.
pub trait Optimizer: Send {
    /// One update of `values` by `grads`. Both are laid out as [`Params::values`](crate::Params::values), the same at
    /// every call.
    fn step(&mut self, values: &mut [f32], grads: &[f32]);

    /// The learning rate of the updates that follow.
    fn set_learning_rate(&mut self, learning_rate: f32);
}
