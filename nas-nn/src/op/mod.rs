//! Operations, one a file: shape rule, formula, derivative, cost and gradient test on one screen.
//!
//! An op says *what* it computes. Where buffers live, what is kept for the backward pass, which gradients are wanted and
//! how they add up is decided once, by the [program](crate::Program).

pub(crate) mod activation;
mod adaptive_avg_pool2d;
pub(crate) mod add;
mod attention;
pub(crate) mod batch_norm;
mod batched_matmul;
mod binary_cross_entropy;
mod broadcast;
mod concat;
mod conv1d;
mod conv2d;
mod copy;
mod cross_entropy;
mod dot_interaction;
mod drop_path;
mod dropout;
mod embedding;
mod exp;
mod factorization_machine;
mod gather;
mod global_avg_pool;
mod group_norm;
mod gru;
mod huber;
mod l1;
mod layer_norm;
mod linear;
mod ln;
mod lstm;
mod lstm_cell;
mod mse;
mod mul;
mod permute;
mod pool1d;
mod pool2d;
mod reshape;
mod reverse;
mod rotary;
mod sequence;
mod slice;
mod softmax;
mod split;
mod sum;
mod zeros;

use crate::graph::Shape;
use crate::program::Grads;

pub use activation::{Activation, UnknownActivation};
pub use attention::Attention;
pub use conv1d::Conv1d;
pub use conv2d::Conv2d;
pub use cross_entropy::CrossEntropy;
pub use gru::Gru;
pub use lstm::Lstm;

/// Whether a program trains or only evaluates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, dropout, values kept for gradients.
    Train,
    /// Running statistics, no dropout.
    Eval,
}

/// What an op's backward pass reads again: the planner keeps just that alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps {
    /// A bit for every input.
    inputs: u8,
    output: bool,
}

impl Keeps {
    /// Nothing: the derivative needs only the gradient.
    pub const NOTHING: Keeps = Keeps { inputs: 0, output: false };
    /// The output.
    pub const OUTPUT: Keeps = Keeps { inputs: 0, output: true };

    /// The inputs with these numbers.
    pub const fn inputs(which: &[usize]) -> Keeps {
        let mut bits = 0;
        let mut i = 0;
        while i < which.len() {
            bits |= 1 << which[i];
            i += 1;
        }
        Keeps { inputs: bits, output: false }
    }

    /// The same and the output.
    pub const fn and_output(self) -> Keeps {
        Keeps { output: true, ..self }
    }

    pub(crate) fn input(self, i: usize) -> bool {
        i < 8 && self.inputs & (1 << i) != 0
    }

    pub(crate) fn output(self) -> bool {
        self.output
    }
}

/// A number of floats: some for every example, some once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Floats for every example.
    pub per_example: usize,
    /// Floats that exist once.
    pub once: usize,
}

impl Space {
    /// No memory.
    pub const NONE: Space = Space { per_example: 0, once: 0 };

    /// `n` floats, once.
    pub const fn once(n: usize) -> Space {
        Space { per_example: 0, once: n }
    }

    /// `n` floats for every example.
    pub const fn per_example(n: usize) -> Space {
        Space { per_example: n, once: 0 }
    }

    pub(crate) fn floats(self, batch: usize) -> usize {
        self.per_example * batch + self.once
    }
}

/// An operation: what it computes, its derivative and what it costs.
pub trait Op: std::any::Any + std::fmt::Debug + Send + Sync {
    /// The name shown and used in paths: `conv2d`.
    fn name(&self) -> &'static str;

    /// The shape of the output, or what does not fit, with the numbers.
    ///
    /// # Errors
    /// A clause that continues "op: …".
    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String>;

    /// Multiply-adds for one example.
    fn madds(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }

    /// The settings beside the shapes that choose which loops it runs, for people: `3x3`, `4 heads`. Predicted latencies are learned
    /// for each apart.
    fn variant(&self) -> String {
        String::new()
    }

    /// What the backward pass reads again.
    fn keeps(&self) -> Keeps {
        Keeps::NOTHING
    }

    /// Memory that the training forward pass fills for the backward pass: masks, statistics.
    fn saved(&self, _inputs: &[&Shape], _output: &Shape) -> Space {
        Space::NONE
    }

    /// Floats of working memory for either pass of training at that batch size.
    fn scratch(&self, _inputs: &[&Shape], _output: &Shape, _batch: usize) -> usize {
        0
    }

    /// Floats of working memory in evaluation, which has no backward pass but saves nothing either; as in training unless
    /// the op says otherwise.
    fn scratch_eval(&self, inputs: &[&Shape], output: &Shape, batch: usize) -> usize {
        self.scratch(inputs, output, batch)
    }

    /// Whether the output is the input's memory under another shape; then neither pass is ever called.
    fn is_view(&self) -> bool {
        false
    }

    /// Whether the output depends smoothly on input `i`; class numbers are not.
    fn differentiates(&self, _input: usize) -> bool {
        true
    }

    /// Whether every example's output, saved memory and gradients follow from that example alone, and from values that
    /// exist once, and nothing is drawn at random. Then several threads may each work on some of the examples; what
    /// exists once gets the sum of the parts' gradients.
    fn by_example(&self) -> bool {
        false
    }

    /// The input whose class numbers name the rows of input `i`, a table, that alone are read; nothing when more of it may be.
    /// The gradient of a large table is then kept by rows.
    fn names_rows(&self, _input: usize) -> Option<usize> {
        None
    }

    /// Whether the gradient by input `i` is just the gradient by the output, as for the terms of a sum. The planner may then
    /// let it stand where it is, and `backward` finds nobody who wants it.
    fn passes_gradient(&self, _input: usize, _inputs: &[&Shape], _output: &Shape) -> bool {
        false
    }

    /// Writes all of the output.
    fn forward(&self, at: Forward<'_>);

    /// Adds to the gradients of the inputs.
    fn backward(&self, at: Backward<'_>);

    /// Updates the op's states after a training forward pass. Only called for ops that have states.
    fn update(&self, _at: Update<'_>) {}
}

/// Everything an update of states sees.
pub struct Update<'a> {
    /// The number of examples.
    pub batch: usize,
    /// The shapes of the inputs.
    pub shapes: &'a [Shape],
    /// What the forward pass saved.
    pub saved: &'a [f32],
    /// The states.
    pub states: &'a mut [Vec<f32>],
}

/// Everything a forward pass sees.
pub struct Forward<'a> {
    /// The number of examples.
    pub batch: usize,
    /// Train or eval.
    pub mode: Mode,
    /// The shapes of the inputs.
    pub shapes: &'a [Shape],
    /// The shape of the output.
    pub shape: &'a Shape,
    /// The values of the inputs.
    pub inputs: &'a [&'a [f32]],
    /// To be written completely; holds anything before.
    pub output: &'a mut [f32],
    /// To be written in [`Mode::Train`], empty otherwise. `per_example` floats come first, for all examples.
    pub saved: &'a mut [f32],
    /// Working memory that holds anything.
    pub scratch: &'a mut [f32],
    /// The op's states: running statistics.
    pub states: &'a [Vec<f32>],
    /// The stream of this program's random draws; nothing for an op that works [by example](Op::by_example).
    pub rng: Option<&'a mut crate::Rng>,
}

/// Everything a backward pass sees.
pub struct Backward<'a> {
    /// The number of examples.
    pub batch: usize,
    /// The shapes of the inputs.
    pub shapes: &'a [Shape],
    /// The shape of the output.
    pub shape: &'a Shape,
    /// The gradient of the loss by the output.
    pub grad: &'a [f32],
    /// What the forward pass saved.
    pub saved: &'a [f32],
    /// Working memory that holds anything.
    pub scratch: &'a mut [f32],
    pub(crate) inputs: &'a [Option<&'a [f32]>],
    pub(crate) output: Option<&'a [f32]>,
    pub(crate) grads: Grads<'a>,
}

impl<'a> Backward<'a> {
    /// The value of input `i`, which [`Op::keeps`] must list.
    pub fn input(&self, i: usize) -> &'a [f32] {
        self.inputs[i].expect("an op reads in backward only what it keeps")
    }

    /// The value of the output, which [`Op::keeps`] must list.
    pub fn output(&self) -> &'a [f32] {
        self.output.expect("an op reads in backward only what it keeps")
    }

    /// Where the gradient by input `i` goes, once; nothing when nobody wants it.
    pub fn grad_input(&mut self, i: usize) -> Option<Grad<'a>> {
        self.grads[i].take()
    }
}

/// Where the gradient by one input goes.
pub struct Grad<'a> {
    values: &'a mut [f32],
    fresh: bool,
}

impl<'a> Grad<'a> {
    pub(crate) fn new(values: &'a mut [f32], fresh: bool) -> Self {
        Grad { values, fresh }
    }

    /// The buffer and whether to add to what it holds; if not, everything must be written.
    pub fn parts(self) -> (&'a mut [f32], bool) {
        (self.values, !self.fresh)
    }

    /// The same for a while.
    pub(crate) fn again(&mut self) -> Grad<'_> {
        Grad { values: &mut *self.values, fresh: self.fresh }
    }

    /// The first `len` numbers; the rest stays.
    pub(crate) fn front(&mut self, len: usize) -> Grad<'a> {
        let (front, rest) = std::mem::take(&mut self.values).split_at_mut(len);
        self.values = rest;
        Grad { values: front, fresh: self.fresh }
    }

    /// The buffer, holding zeros or the sum so far: add to it.
    pub fn sum(self) -> &'a mut [f32] {
        if self.fresh {
            self.values.fill(0.0);
        }
        self.values
    }
}
