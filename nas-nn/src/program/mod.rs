//! The program: a graph compiled for one batch size, run thousands of times without allocating.

mod arena;
mod feed;
mod fuse;
mod limits;
mod list;
mod parts;
mod pass;
mod pass_on;
mod place;
mod plan;
mod profile;
mod recycle;
mod rows;
mod step;
mod table;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand_chacha::rand_core::SeedableRng as _;

use crate::Rng;
use crate::error::{FeedError, GraphError};
use crate::graph::{Graph, Var};
use crate::kernel::Crew;
use crate::op::Mode;
use crate::optim::{Optimizer, Rows, Span};
use crate::params::Params;

pub use feed::Feed;
pub use plan::Plan;
pub use profile::{Measured, Pass, Profile};
pub use table::{Held, Row, Table};
pub use work::Rates;

use arena::Parts;
pub(crate) use list::Grads;
use list::Rooms;
use pass::States;
pub(crate) use plan::root_of;
use profile::Clocks;
pub(crate) use step::Step;

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
    /// The memory of long lists.
    rooms: Box<Rooms>,
    /// That of what was fed.
    fed: Vec<&'static [f32]>,
}

impl Program {
    /// A program that computes `loss`, its gradients, and `outputs`, for batches of up to `batch` examples.
    ///
    /// # Errors
    /// The graph's first mistake, a loss that is no single number, or more memory than the system gives.
    pub fn train(graph: &Graph, loss: Var<'_>, outputs: &[Var<'_>], batch: usize) -> Result<Self, GraphError> {
        Self::try_new(Plan::train(graph, loss, outputs, batch)?)
    }

    /// A program that computes `outputs` without training, for batches of up to `batch` examples.
    ///
    /// # Errors
    /// The graph's first mistake, or more memory than the system gives.
    pub fn eval(graph: &Graph, outputs: &[Var<'_>], batch: usize) -> Result<Self, GraphError> {
        Self::try_new(Plan::eval(graph, outputs, batch)?)
    }

    /// Allocates what `plan` needs.
    ///
    /// # Panics
    /// When the system does not give that much memory; [`Program::try_new`] says so.
    pub fn new(plan: Plan) -> Self {
        Self::try_new(plan).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Allocates what `plan` needs.
    ///
    /// # Errors
    /// When the system does not give that much memory.
    pub fn try_new(plan: Plan) -> Result<Self, GraphError> {
        if !recycle::is_given(plan.bytes()) {
            return Err(GraphError::Memory { batch: plan.batch(), bytes: plan.bytes() });
        }
        let arena = recycle::take(plan.floats());
        // In tests it holds what spoils every result, so that nothing is read before it is written.
        #[cfg(test)]
        let arena = vec![f32::NAN; arena.len()];
        let grads = vec![0.0; if plan.mode() == Mode::Train { plan.layout().len() } else { 0 }];
        Ok(Program {
            rows: rows::none(plan.tables()),
            rooms: Rooms::new(plan.longest_list()),
            fed: Vec::new(),
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
        })
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
        let batch = self.plan.batch();
        let spare = self.plan.forward_steps().flat_map(|step| step.spare(batch, threads)).max();
        let parts = self.plan.forward_steps().flat_map(|step| step.most_parts(batch, threads)).max();
        self.rooms.in_parts.reserve(if threads > 1 { parts.unwrap_or(1) } else { 1 }, self.plan.longest_list());
        self.spare = vec![0.0; if threads > 1 { spare.unwrap_or(0) } else { 0 }];
        self.crew = (threads > 1).then_some(crew);
        Ok(())
    }

    /// The number of threads that share the work.
    pub fn threads(&self) -> usize {
        self.crew.as_ref().map_or(1, Crew::threads)
    }

    /// Runs `f` with the crew at hand. After a panic the crew is still there, and the next gradients begin anew.
    fn lead<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let mut crew = self.crew.take();
        let result = catch_unwind(AssertUnwindSafe(|| match &mut crew {
            Some(crew) => crew.lead(|| f(self)),
            None => f(self),
        }));
        self.crew = crew;
        result.unwrap_or_else(|panic| {
            self.examples = 0;
            self.grads.fill(0.0);
            self.earlier.clear();
            self.rows.iter_mut().for_each(|table| table.rows.clear());
            resume_unwind(panic)
        })
    }

    /// One training step: forward, backward, update. The loss before the update.
    ///
    /// # Errors
    /// What was fed does not fit, or the optimizer has the state of another network; nothing is changed then.
    ///
    /// # Panics
    /// When the program was compiled by [`Program::eval`].
    pub fn step(
        &mut self,
        feed: &Feed<'_>,
        params: &mut Params,
        optimizer: &mut dyn Optimizer,
    ) -> Result<f32, FeedError> {
        // Before the running statistics change.
        self.check_owner(optimizer)?;
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
    /// The parameters are of another graph, or the optimizer has the state of another; nothing is changed then.
    ///
    /// # Panics
    /// When the program was compiled by [`Program::eval`].
    pub fn update(&mut self, params: &mut Params, optimizer: &mut dyn Optimizer) -> Result<(), FeedError> {
        assert!(self.plan.mode() == Mode::Train, "only a training program has gradients");
        self.check(params)?;
        self.check_owner(optimizer)?;
        if let Some(owner) = optimizer.owner() {
            owner.claim(self.plan.layout());
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
        self.check(params)?;
        self.fed(feed, |program, inputs| {
            rows::clear(&mut program.rows, &mut program.grads);
            program.pass(inputs, feed.batch(), params)
        })
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
        self.check(params)?;
        self.fed(feed, |program, inputs| {
            program.earlier.resize(program.grads.len(), 0.0);
            std::mem::swap(&mut program.earlier, &mut program.grads);
            for table in program.plan.tables() {
                program.grads[table.range.clone()].fill(0.0);
            }
            let loss = program.pass(inputs, feed.batch(), params);
            program.examples = before + feed.batch();
            let share = feed.batch() as f32 / program.examples as f32;
            crate::kernel::approach(share, &program.grads, &mut program.earlier);
            std::mem::swap(&mut program.earlier, &mut program.grads);
            loss
        })
    }

    /// Forward only; [`Program::output`] holds the results after. A training program uses batch statistics here but
    /// leaves the running ones alone.
    ///
    /// # Errors
    /// What was fed does not fit.
    pub fn run(&mut self, feed: &Feed<'_>, params: &Params) -> Result<(), FeedError> {
        self.check(params)?;
        self.fed(feed, |program, inputs| {
            program.lead(|program| program.forward(inputs, feed.batch(), &params.values, States::Keep(&params.states)));
        })
    }

    /// The value of the `i`-th output, from 0, in the last batch, examples first; empty before the first.
    ///
    /// # Panics
    /// When the program was compiled with fewer outputs.
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

    fn check(&self, params: &Params) -> Result<(), FeedError> {
        self.plan.layout().check(params.layout()).map_err(FeedError::Parameters)
    }

    fn check_owner(&self, optimizer: &mut dyn Optimizer) -> Result<(), FeedError> {
        optimizer.owner().map_or(Ok(()), |owner| owner.check(self.plan.layout()))
    }

    /// Runs `f` with what is fed, checked and in the order of the graph's inputs.
    fn fed<R>(&mut self, feed: &Feed<'_>, f: impl FnOnce(&mut Self, &[&[f32]]) -> R) -> Result<R, FeedError> {
        let mut room = std::mem::take(&mut self.fed);
        let result = feed.resolve(self.plan.inputs(), self.plan.batch(), &mut room).map(|inputs| f(self, &inputs));
        self.fed = room;
        result
    }
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
        assert_eq!(
            error.to_string(),
            "the parameters belong to another graph: expected 2 tensors of 3 numbers, got 2 of 6; the first difference: \
             expected \"linear.weight\" [2, 1], got \"linear.weight\" [2, 2]"
        );
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
