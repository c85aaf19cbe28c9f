//! Optimizers, schedules, clipping and the moving mean of weights.

mod adam;
mod algorithm;
mod clip;
mod ema;
mod lamb;
mod owner;
mod rms_prop;
mod schedule;
mod sgd;
mod span;
#[cfg(test)]
mod testing;

pub use adam::Adam;
pub use algorithm::{Algorithm, Settings, UnknownAlgorithm};
pub use clip::{clip_norm, clip_value};
pub(crate) use clip::{clip_norm_of, clip_value_of};
pub use ema::Ema;
pub use lamb::Lamb;
pub use owner::Owner;
pub use rms_prop::RmsProp;
pub use schedule::Schedule;
pub use sgd::Sgd;
pub use span::{Rows, Span};

/// Changes parameters by their gradients.
///
/// What an optimizer remembers (velocities, moments) is laid out as the parameters; it is made at the first update, and
/// no later one allocates. A clone goes on as the original would.
pub trait Optimizer: Send {
    /// One update of `values` by `grads`. Both are laid out as [`Params::values`](crate::Params::values), the same at
    /// every call; `tensors` ([`Span::of`]) says which tensor stands where.
    ///
    /// # Panics
    /// When `values` and `grads` differ in length, between each other or from the last update, or `tensors` do not
    /// follow each other from the first value to the last.
    fn update(&mut self, values: &mut [f32], grads: &[f32], tensors: &[Span]);

    /// The same where only these rows of `tables` have a gradient. An algorithm that would leave the others as they are walks
    /// just these; the others walk all, unless asked to be lazy.
    ///
    /// # Panics
    /// As [`Optimizer::update`], or when a table reaches beyond the values.
    fn update_rows(&mut self, values: &mut [f32], grads: &[f32], tensors: &[Span], tables: &[Rows]) {
        let _ = tables;
        self.update(values, grads, tensors);
    }

    /// One update of `values` by `grads` as one vector: the rules that look at tensors see no matrix and one norm.
    ///
    /// # Panics
    /// When the lengths differ, between each other or from the last update.
    fn step(&mut self, values: &mut [f32], grads: &[f32]) {
        let whole = Span { range: 0..values.len(), rank: 1 };
        self.update(values, grads, &[whole]);
    }

    /// Whose state it has: a [`Program`](crate::Program) updates no other network with it. Nothing for an optimizer that
    /// remembers nothing, as by default.
    fn owner(&mut self) -> Option<&mut Owner> {
        None
    }

    /// The learning rate of the updates that follow.
    fn set_learning_rate(&mut self, learning_rate: f32);
}

/// Makes `state` of `len` zeros at the first update.
///
/// # Panics
/// When a later one has another length.
fn ready(state: &mut Vec<f32>, len: usize) {
    if state.is_empty() {
        state.resize(len, 0.0);
    }
    assert_eq!(state.len(), len, "the optimizer remembers another number of parameters");
}
