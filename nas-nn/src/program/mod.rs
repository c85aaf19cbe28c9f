//! The program: a graph compiled for one batch size, run thousands of times without allocating.

mod arena;
mod feed;
mod fuse;
mod limits;
mod parts;
mod pass_on;
mod place;
mod plan;
mod profile;
mod recycle;
mod rows;
mod step;
mod table;
mod work;

use std::time::Instant;

use rand_chacha::rand_core::SeedableRng as _;
use smallvec::SmallVec;

use crate::Rng;
use crate::error::{FeedError, GraphError};
use crate::graph::{Graph, Var};
use crate::kernel::{Crew, crew};
use crate::op::{Backward, Forward, Grad, Mode, Update};
use crate::optim::{Optimizer, Rows, Span};
use crate::params::Params;

pub use feed::Feed;
pub use plan::Plan;
pub use profile::{Measured, Pass, Profile};
pub use table::{Held, Row, Table};
pub use work::Rates;

use arena::{Parts, cut};
pub(crate) use plan::root_of;
use profile::Clocks;
pub(crate) use step::Step;
use step::{GradPlace, Place};

/// A [`Graph`] compiled for one batch size.
///
/// It owns one arena that was planned from the lifetimes of all values over forward and backward; a step allocates nothing.
/// A smaller batch may be fed at any time.
///
/// ```
/// use nas_nn::{Feed, Graph, Params, Program, optim::Sgd};
/// use rand_chacha::rand_core::SeedableRng;
///
/// let graph = Graph::new();
/// let x = graph.input("x", &[2]);
/// let y = graph.class("y", 2);
/// let loss = x.linear(8).relu().linear(2).cross_entropy(y);
///
/// let mut params = Params::init(&graph, &mut nas_nn::Rng::seed_from_u64(1));
/// let mut program = Program::train(&graph, loss, &[], 4)?;
/// let mut sgd = Sgd::new(0.5);
/// let (xs, ys) = ([0., 0., 0., 1., 1., 0., 1., 1.], [0., 1., 1., 0.]);
/// let feed = Feed::new(4).with("x", &xs).with("y", &ys);
/// let first = program.step(&feed, &mut params, &mut sgd)?;
/// let last = (0..200).map(|_| program.step(&feed, &mut params, &mut sgd).unwrap()).last().unwrap();
/// assert!(last < 0.1 && last < first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Program {
    plan: Plan,
    arena: Vec<f32>,
    /// Gradients of all parameters, laid out as [`Params::values`].
    grads: Vec<f32>,
    /// The rows of large tables that `grads` is not zero at.
    rows: Vec<Rows>,
    rng: Rng,
    /// Examples in the last batch.
    batch: usize,
    clocks: Option<Clocks>,
    /// Where the tensors stand, since the first update.
    spans: Vec<Span>,
    /// Examples in the gradients, 0 after an update.
    examples: usize,
    /// The threads that share the work, if there are several.
    crew: Option<Crew>,
    /// The working memory of parts that run at once.
    spare: Vec<f32>,
    /// The gradients of earlier batches while those of the next are computed; empty without [`Program::accumulate`].
    earlier: Vec<f32>,
}

impl Program {
    /// A program that computes `loss`, its gradients, and `outputs`, for batches of up to `batch` examples.
    ///
    /// # Errors
    /// The graph's first mistake, or a loss that is no single number.
    pub fn train(graph: &Graph, loss: Var<'_>, outputs: &[Var<'_>], batch: usize) -> Result<Self, GraphError> {
        Ok(Self::new(Plan::train(graph, loss, outputs, batch)?))
    }

    /// A program that computes `outputs` without training, for batches of up to `batch` examples.
    ///
    /// # Errors
    /// The graph's first mistake.
    pub fn eval(graph: &Graph, outputs: &[Var<'_>], batch: usize) -> Result<Self, GraphError> {
        Ok(Self::new(Plan::eval(graph, outputs, batch)?))
    }

    /// Allocates what `plan` needs.
    pub fn new(plan: Plan) -> Self {
        let arena = recycle::take(plan.floats());
        // In tests it holds what spoils every result, so that nothing is read before it is written.
        #[cfg(test)]
        let arena = vec![f32::NAN; arena.len()];
        let grads = vec![0.0; if plan.mode() == Mode::Train { plan.layout().len() } else { 0 }];
        Program {
            rows: rows::none(plan.tables()),
            plan,
            arena,
            grads,
            rng: Rng::seed_from_u64(0),
            batch: 0,
            clocks: None,
            spans: Vec::new(),
            examples: 0,
            crew: None,
            spare: Vec::new(),
            earlier: Vec::new(),
        }
    }

    /// The plan it was made from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Draws from `rng` from now on: dropout masks.
    pub fn set_rng(&mut self, rng: Rng) {
        self.rng = rng;
    }

    /// Shares the work of every step among `threads` threads, this one included; 1 at first. The results are the same bits
    /// for any number.
    ///
    /// For a program that runs where cores are idle. Of many programs, one a core is faster: nothing is shared or waited
    /// for. Every further thread takes working memory beside [`Plan::bytes`].
    ///
    /// # Errors
    /// When there is no thread or the system starts no more; the program goes on as before then.
    pub fn set_threads(&mut self, threads: usize) -> std::io::Result<()> {
        let crew = Crew::new(threads)?;
        let spare = self.plan.forward_steps().flat_map(|step| step.spare(self.plan.batch(), threads)).max();
        self.spare = vec![0.0; if threads > 1 { spare.unwrap_or(0) } else { 0 }];
        self.crew = (threads > 1).then_some(crew);
        Ok(())
    }

    /// The number of threads that share the work.
    pub fn threads(&self) -> usize {
        self.crew.as_ref().map_or(1, Crew::threads)
    }

    /// Runs `f` with the crew at hand.
    fn lead<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let Some(mut crew) = self.crew.take() else { return f(self) };
        let result = crew.lead(|| f(self));
        self.crew = Some(crew);
        result
    }

    /// One training step: forward, backward, update. The loss before the update.
    ///
    /// # Errors
    /// What was fed does not fit; nothing is changed then.
    pub fn step(
        &mut self,
        feed: &Feed<'_>,
        params: &mut Params,
        optimizer: &mut dyn Optimizer,
    ) -> Result<f32, FeedError> {
        let loss = self.gradients(feed, params)?;
        self.update(params, optimizer)?;
        Ok(loss)
    }

    /// Shortens the gradients to the norm `limit` if they are longer; their norm before.
    ///
    /// # Panics
    /// When `limit` is negative or NaN.
    pub fn clip(&mut self, limit: f32) -> f32 {
        crate::optim::clip_norm_of(&mut self.grads, &self.rows, limit)
    }

    /// Brings every gradient into [−`limit`, `limit`]; the largest magnitude before. Gradients that are not finite stay.
    ///
    /// # Panics
    /// When `limit` is negative or NaN.
    pub fn clip_value(&mut self, limit: f32) -> f32 {
        crate::optim::clip_value_of(&mut self.grads, &self.rows, limit)
    }

    /// Updates `params` by the gradients of the last [`Program::gradients`], or of all [`Program::accumulate`] since the
    /// last update.
    ///
    /// # Errors
    /// The parameters are of another graph; nothing is changed then.
    ///
    /// # Panics
    /// When the program was compiled by [`Program::eval`].
    pub fn update(&mut self, params: &mut Params, optimizer: &mut dyn Optimizer) -> Result<(), FeedError> {
        assert!(self.plan.mode() == Mode::Train, "only a training program has gradients");
        if params.layout() != self.plan.layout() {
            return Err(FeedError::Parameters);
        }
        if self.spans.is_empty() {
            self.spans = Span::of(params);
        }
        self.lead(|program| optimizer.update_rows(&mut params.values, &program.grads, &program.spans, &program.rows));
        self.examples = 0;
        Ok(())
    }

    /// Forward and backward: the loss. [`Program::grads`] holds the gradients after. Running statistics are updated.
    ///
    /// # Errors
    /// What was fed does not fit; nothing is changed then.
    ///
    /// # Panics
    /// When the program was compiled by [`Program::eval`].
    pub fn gradients(&mut self, feed: &Feed<'_>, params: &mut Params) -> Result<f32, FeedError> {
        let inputs = self.check(feed, params)?;
        rows::clear(&mut self.rows, &mut self.grads);
        Ok(self.pass(&inputs, feed.batch(), params))
    }

    /// Forward and backward over gradients that are zero at the rows of tables: the loss.
    fn pass(&mut self, inputs: &[&[f32]], batch: usize, params: &mut Params) -> f32 {
        let loss = self.plan.loss().expect("only a training program has gradients");
        rows::note(self.plan.tables(), &mut self.rows, inputs);
        self.lead(|program| {
            program.forward(inputs, batch, &params.values, States::Train(&mut params.states));
            program.backward(inputs, batch, params);
        });
        self.examples = batch;
        self.arena[loss.start]
    }

    /// [`Program::gradients`] of a further part of a batch that is too large to be fed at once: the loss of this part.
    /// [`Program::grads`] holds the mean over the examples of all parts since the last update, as if they had been fed
    /// together; [`Program::gradients`] begins anew. Parts may differ in size.
    ///
    /// That mean is the large batch's gradient when the loss is a mean over examples and no operation mixes them (batch
    /// norm does). Costs a second buffer of gradients.
    ///
    /// # Errors
    /// What was fed does not fit; nothing is changed then.
    ///
    /// # Panics
    /// When the program was compiled by [`Program::eval`].
    pub fn accumulate(&mut self, feed: &Feed<'_>, params: &mut Params) -> Result<f32, FeedError> {
        let before = self.examples;
        if before == 0 {
            return self.gradients(feed, params);
        }
        let inputs = self.check(feed, params)?;
        self.earlier.resize(self.grads.len(), 0.0);
        std::mem::swap(&mut self.earlier, &mut self.grads);
        for table in self.plan.tables() {
            self.grads[table.range.clone()].fill(0.0);
        }
        let loss = self.pass(&inputs, feed.batch(), params);
        self.examples = before + feed.batch();
        let share = feed.batch() as f32 / self.examples as f32;
        crate::kernel::approach(share, &self.grads, &mut self.earlier);
        std::mem::swap(&mut self.earlier, &mut self.grads);
        Ok(loss)
    }

    /// Forward only; [`Program::output`] holds the results after. A training program uses batch statistics here but
    /// leaves the running ones alone.
    ///
    /// # Errors
    /// What was fed does not fit.
    pub fn run(&mut self, feed: &Feed<'_>, params: &Params) -> Result<(), FeedError> {
        let inputs = self.check(feed, params)?;
        self.lead(|program| program.forward(&inputs, feed.batch(), &params.values, States::Keep(&params.states)));
        Ok(())
    }

    /// The value of the `i`-th output in the last batch, examples first.
    pub fn output(&self, i: usize) -> &[f32] {
        let (region, shape) = self.plan.output(i);
        &self.arena[region.start..][..shape.elements(self.batch)]
    }

    /// The gradients of all parameters after [`Program::gradients`], laid out as [`Params::values`].
    pub fn grads(&self) -> &[f32] {
        &self.grads
    }

    /// The gradient of the parameter at `path`.
    pub fn grad(&self, path: &str) -> Option<&[f32]> {
        let (range, _) = self.plan.layout().find(path)?;
        self.grads.get(range)
    }

    /// Measures every operation of the runs from now on, for [`Program::profile`]; costs two looks at the clock each.
    /// Operations and bytes are counted for whole batches, so smaller ones make the rates too high.
    pub fn start_profile(&mut self) {
        self.clocks = Some(Clocks::new(self.plan.forward_steps().count()));
    }

    /// Where the time went since [`Program::start_profile`]; nothing before that.
    pub fn profile(&self) -> Option<Profile> {
        let clocks = self.clocks.as_ref()?;
        Some(Profile::new(clocks, self.plan.forward_steps(), self.plan.backward_order(), self.plan.batch()))
    }

    /// Seconds of the fastest forward pass of each step since [`Program::start_profile`], in order; nothing before that.
    pub(crate) fn fastest_steps(&self) -> Option<Vec<f64>> {
        self.clocks.as_ref().map(Clocks::least)
    }

    fn check<'f>(&self, feed: &Feed<'f>, params: &Params) -> Result<SmallVec<[&'f [f32]; 8]>, FeedError> {
        if params.values.len() != self.plan.layout().len() || params.layout() != self.plan.layout() {
            return Err(FeedError::Parameters);
        }
        feed.resolve(self.plan.inputs(), self.plan.batch())
    }

    fn forward(&mut self, inputs: &[&[f32]], batch: usize, values: &[f32], mut states: States<'_>) {
        self.batch = batch;
        let (mode, planned, threads) = (self.plan.mode(), self.plan.batch(), crew::threads());
        if let Some(clocks) = &mut self.clocks {
            clocks.count(Pass::Forward);
        }
        for (number, step) in self.plan.forward_steps().enumerate() {
            let begin = self.clocks.as_ref().map(|_| Instant::now());
            let mut parts = cut(&mut self.arena, &step.forward.cuts);
            let output = parts.take(step.forward.output, step.shape.elements(batch));
            let saved = parts.take(step.forward.saved, step.saved.floats(batch));
            let scratch = parts.take(step.forward.scratch, step.forward.scratch_floats);
            let parts = parts.share();
            let inputs = values_of(step, |_| true, &step.forward.inputs, &parts, inputs, values, batch);
            let inputs = inputs.into_iter().map(|x| x.expect("every input was asked for")).collect();
            let mut update = None;
            if matches!(states, States::Train(_)) && !step.states.is_empty() {
                update = Some(step.states.clone());
            }
            let saved_again: &[f32] = {
                let at = Forward {
                    batch,
                    mode,
                    shapes: &step.shapes,
                    shape: &step.shape,
                    inputs,
                    output,
                    saved: &mut *saved,
                    scratch,
                    states: &states.get()[step.states.clone()],
                    rng: (!step.by_example).then_some(&mut self.rng),
                };
                let [size, _] = step.part_sizes(batch, planned, threads);
                if size < batch {
                    parts::forward(&*step.op, at, size, &mut self.spare);
                } else {
                    step.op.forward(at);
                }
                saved
            };
            if let (Some(range), States::Train(states)) = (update, &mut states) {
                let states = &mut states[range];
                step.op.update(Update { batch, shapes: &step.shapes, saved: saved_again, states });
            }
            if let (Some(clocks), Some(begin)) = (&mut self.clocks, begin) {
                clocks.add(Pass::Forward, number, begin);
            }
        }
    }

    fn backward(&mut self, inputs: &[&[f32]], batch: usize, params: &Params) {
        let loss_grad = self.plan.loss_grad();
        if loss_grad.len == 0 {
            // No parameter reaches the loss: all gradients are zero.
            return;
        }
        self.arena[loss_grad.start] = 1.0;
        let (planned, threads) = (self.plan.batch(), crew::threads());
        if let Some(clocks) = &mut self.clocks {
            clocks.count(Pass::Backward);
        }
        for (number, step) in self.plan.backward_steps() {
            let begin = self.clocks.as_ref().map(|_| Instant::now());
            let back = step.backward.as_ref().expect("backward steps have a backward plan");
            let mut parts = cut(&mut self.arena, &back.cuts);
            let mut param_parts = cut(&mut self.grads, &back.param_cuts);
            let scratch = parts.take(back.scratch, back.scratch_floats);
            let grads = back.grads.iter().zip(&step.shapes).map(|(grad, shape)| {
                grad.as_ref().map(|grad| match grad.place {
                    GradPlace::Arena(part) => Grad::new(parts.take(Some(part), shape.elements(batch)), grad.fresh),
                    GradPlace::Param(part) => {
                        Grad::new(param_parts.take(Some(part), shape.elements(batch)), grad.fresh)
                    }
                })
            });
            let grads: SmallVec<[Option<Grad<'_>>; 8]> = grads.collect();
            let parts = parts.share();
            let keeps = step.op.keeps();
            let values = values_of(step, |i| keeps.input(i), &back.inputs, &parts, inputs, &params.values, batch);
            let at = Backward {
                batch,
                shapes: &step.shapes,
                shape: &step.shape,
                grad: parts.get(back.grad, step.shape.elements(batch)),
                saved: parts.get(back.saved, step.saved.floats(batch)),
                scratch,
                inputs: values,
                output: keeps.output().then(|| parts.get(back.output, step.shape.elements(batch))),
                grads,
            };
            let [_, size] = step.part_sizes(batch, planned, threads);
            if size < batch {
                parts::backward(&*step.op, at, size, back.sums, &mut self.spare);
            } else {
                step.op.backward(at);
            }
            if let (Some(clocks), Some(begin)) = (&mut self.clocks, begin) {
                clocks.add(Pass::Backward, number, begin);
            }
        }
    }
}

/// Running statistics: changed by training, read by everything else.
enum States<'a> {
    Train(&'a mut [Vec<f32>]),
    Keep(&'a [Vec<f32>]),
}

impl States<'_> {
    fn get(&self) -> &[Vec<f32>] {
        match self {
            States::Train(states) => states,
            States::Keep(states) => states,
        }
    }
}

/// The values of the inputs that `wanted` names, from wherever they stand.
fn values_of<'a>(
    step: &'a Step,
    wanted: impl Fn(usize) -> bool,
    places: &'a [Place],
    parts: &arena::Shared<'a>,
    inputs: &[&'a [f32]],
    values: &'a [f32],
    batch: usize,
) -> SmallVec<[Option<&'a [f32]>; 8]> {
    let value = |(i, (place, shape)): (usize, (&'a Place, &crate::Shape))| {
        wanted(i).then(|| match place {
            Place::Feed(input) => inputs[*input],
            Place::Param(range) => &values[range.clone()],
            Place::Constant(constant) => &constant[..],
            Place::Arena(part) => parts.get(*part, shape.elements(batch)),
        })
    };
    places.iter().zip(&step.shapes).enumerate().map(value).collect()
}

impl Drop for Program {
    fn drop(&mut self) {
        recycle::give(std::mem::take(&mut self.arena));
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("plan", &self.plan).finish_non_exhaustive()
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Program>();
    let _ = is_send::<Parts<'static>>;
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_no_parameter_reaches_has_no_gradient() {
        let graph = Graph::new();
        let loss = graph.input("x", &[2]).linear(3).zeros_like().sum();
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::train(&graph, loss, &[], 2).unwrap();
        assert_eq!(program.gradients(&Feed::new(2).with("x", &[1.0; 4]), &mut params), Ok(0.0));
        assert!(program.grads().iter().all(|&g| g == 0.0));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_changes_nothing() {
        let graph = Graph::new();
        let loss = graph.input("x", &[2]).linear(1).sum();
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::train(&graph, loss, &[], 2).unwrap();
        let before = params.clone();
        let x = [1.0; 6];
        for (feed, expected) in [
            (Feed::new(3).with("x", &x), "a batch of 3 examples was fed to a program compiled for 1 to 2"),
            (Feed::new(0).with("x", &x[..0]), "a batch of 0 examples was fed to a program compiled for 1 to 2"),
            (Feed::new(2).with("x", &x), "the input \"x\" needs 4 values for this batch, got 6"),
            (Feed::new(2).with("y", &x), "the input \"x\" was not fed"),
        ] {
            assert_eq!(program.gradients(&feed, &mut params).unwrap_err().to_string(), expected);
        }
        let other = Graph::new();
        let _ = other.input("x", &[2]).linear(2);
        let mut foreign = Params::init(&other, &mut Rng::seed_from_u64(0));
        let error = program.gradients(&Feed::new(2).with("x", &x[..4]), &mut foreign).unwrap_err();
        assert_eq!(error, FeedError::Parameters);
        assert_eq!(params, before);
        assert!(Program::train(&graph, other.input("z", &[]).sum(), &[], 2).is_err());
        assert!(Program::train(&graph, loss, &[], 0).is_err());
    }

    #[test]
    fn parts_of_a_batch_have_its_gradients() {
        let graph = Graph::new();
        let x = graph.input("x", &[2]);
        // A parameter that the loss does not see has no gradient in either buffer.
        let hidden = x.linear(5) + x.linear(5).zeros_like() + graph.class("word", 4).embedding(4, 5);
        let loss = hidden.tanh().linear(3).cross_entropy(graph.class("y", 3));
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::train(&graph, loss, &[], 12).unwrap();
        let x: Vec<f32> = (0..24).map(|i| (i * 7 % 11) as f32 / 5.0 - 1.0).collect();
        let classes = |count: usize| -> Vec<f32> { (0..12).map(|i| (i * 5 / 3 % count) as f32).collect() };
        let (words, y) = (classes(4), classes(3));
        let part = |from: usize, to: usize| {
            let feed = Feed::new(to - from).with("x", &x[2 * from..2 * to]);
            feed.with("word", &words[from..to]).with("y", &y[from..to])
        };
        let whole_loss = program.gradients(&part(0, 12), &mut params).unwrap();
        let whole = program.grads().to_vec();
        assert!(whole.iter().filter(|&&g| g != 0.0).count() > 40);
        let bad = Feed::new(2).with("x", &x[..3]);
        let mut sgd = crate::optim::Sgd::new(0.0);
        for start_by_accumulating in [false, true, true] {
            let mut loss = 0.0;
            for (from, to) in [(0, 5), (5, 6), (6, 12)] {
                let begins = from == 0 && !start_by_accumulating;
                let feed = part(from, to);
                let part_loss =
                    if begins { program.gradients(&feed, &mut params) } else { program.accumulate(&feed, &mut params) };
                loss += part_loss.unwrap() * (to - from) as f32 / 12.0;
                // A mistake in between costs nothing.
                assert!(program.accumulate(&bad, &mut params).is_err());
            }
            assert!((loss - whole_loss).abs() < 1e-6, "{loss} and {whole_loss}");
            for (found, expected) in program.grads().iter().zip(&whole) {
                assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
            }
            program.update(&mut params, &mut sgd).unwrap();
        }
        // After an update nothing is left of what was accumulated.
        program.accumulate(&part(0, 5), &mut params).unwrap();
        let first = program.grads().to_vec();
        program.gradients(&part(0, 5), &mut params).unwrap();
        assert_eq!(program.grads(), first);
    }

    #[test]
    fn clipping_by_value_reaches_the_update() {
        let graph = Graph::new();
        let loss = graph.input("x", &[2]).linear_no_bias(1).sum();
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let before = params.values().to_vec();
        let mut program = Program::train(&graph, loss, &[], 1).unwrap();
        program.gradients(&Feed::new(1).with("x", &[-8.0, 0.25]), &mut params).unwrap();
        assert_eq!(program.clip_value(0.5), 8.0);
        let mut sgd = crate::optim::Sgd::new(1.0);
        sgd.momentum = 0.0;
        program.update(&mut params, &mut sgd).unwrap();
        assert_eq!(params.values(), [before[0] + 0.5, before[1] - 0.25]);
    }
}
