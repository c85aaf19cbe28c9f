//! Random small graphs over all operations, for `cargo xtask bench --peers --check`: what they are, what they are fed, and what
//! our engine finds. `benches/peers/check.py` rebuilds them in PyTorch from the same description.
//!
//! Graph `number` has the operation `number` of the table in it (counted round and round), behind and before others drawn at
//! random, and ends in a loss: with more graphs than [`operations`], each of them occurs. A graph whose gradients vanish, as all
//! do behind a ReLU of negative numbers, checks nothing and is drawn again.

mod elementwise;
mod loss;
mod matrix;
mod sequence;
mod sketch;
mod spatial;

use std::collections::BTreeMap;

use nas_nn::{Feed, Graph, Params, Program, Rng};
use rand_chacha::rand_core::SeedableRng as _;
use serde::Serialize;

use crate::Error;
use sketch::Sketch;
pub use sketch::{Input, Step};

/// Gradients that are all smaller have vanished.
const VANISHED: f32 = 1e-3;

/// Values that an operation is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axes {
    /// Of one axis or more, without the batch.
    Any,
    AtLeast(usize),
    Exactly(usize),
    /// None: it makes a value of class numbers.
    Start,
}

impl Axes {
    fn include(self, rank: usize) -> bool {
        match self {
            Axes::Any => rank >= 1,
            Axes::AtLeast(least) => rank >= least,
            Axes::Exactly(exactly) => rank == exactly,
            Axes::Start => false,
        }
    }
}

/// How a graph is continued by an operation with settings drawn at random.
#[derive(Clone, Copy)]
struct Operation {
    /// The method of [`nas_nn::Var`].
    name: &'static str,
    on: Axes,
    /// The value behind it, or nothing when it does not fit.
    add: for<'g> fn(&mut Sketch<'g>, usize) -> Option<usize>,
}

/// The operations between a value and another.
fn inner() -> impl Iterator<Item = &'static Operation> {
    [elementwise::ALL, matrix::ALL, spatial::ALL, sequence::ALL].into_iter().flatten()
}

/// The names of all operations, losses last.
pub fn operations() -> impl Iterator<Item = &'static str> {
    inner().chain(loss::ALL).map(|operation| operation.name)
}

/// A graph, what it is fed, and what our engine finds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// Its number.
    pub number: usize,
    /// How many were drawn before it whose gradients vanish.
    attempt: u64,
    /// The operation it was made for.
    pub target: &'static str,
    /// Examples.
    pub batch: usize,
    /// Its operations in order, and where values come from.
    pub steps: Vec<Step>,
    /// What is fed.
    pub inputs: Vec<Input>,
    /// Its trained values with our gradients.
    pub parameters: Vec<Trained>,
    /// What dropout kept, 1 or 0 an element, by the number of its result.
    masks: BTreeMap<usize, Vec<u8>>,
    /// The number of the value before the loss.
    output: usize,
    /// The number of the loss.
    loss: usize,
    /// What we find.
    pub found: Found,
}

/// A parameter and its gradient.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trained {
    path: String,
    dims: Vec<usize>,
    values: Vec<f32>,
    /// d loss / d values.
    pub gradient: Vec<f32>,
}

/// Results beside the gradients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The loss in training.
    pub loss: f32,
    /// The value before the loss in evaluation, after the running statistics were updated once.
    pub output: Vec<f32>,
}

/// Graph `number` of `seed`, run by our engine.
///
/// # Errors
/// When the engine refuses the graph, which is a mistake in it or here.
pub fn case(seed: u64, number: usize) -> Result<Case, Error> {
    let mut attempt = 0;
    loop {
        let case = attempted(seed, number, attempt)?;
        let gradients = case.parameters.iter().flat_map(|trained| &trained.gradient);
        if gradients.map(|g| g.abs()).fold(0.0, f32::max) >= VANISHED {
            return Ok(case);
        }
        attempt += 1;
    }
}

fn attempted(seed: u64, number: usize, attempt: u64) -> Result<Case, Error> {
    let graph = Graph::new();
    let Drawn { sketch, output, loss, target, mut params } = draw(&graph, seed, number, attempt)?;
    let masked: Vec<_> = sketch.masked.iter().map(|&value| sketch.values[value]).collect();
    let mut program = Program::train(&graph, sketch.values[loss], &masked, sketch.batch)?;
    program.set_rng(Rng::seed_from_u64(seed));
    let before: Vec<(String, Vec<usize>, Vec<f32>)> = params
        .tensors()
        .take(graph.parameters().len())
        .map(|tensor| (tensor.path.to_owned(), tensor.dims.to_vec(), tensor.values.to_vec()))
        .collect();
    let found_loss = program.gradients(&feed(&sketch), &mut params)?;
    let kept = |i: usize| program.output(i).iter().map(|&y| u8::from(y != 0.0)).collect();
    let masks = sketch.masked.iter().enumerate().map(|(i, &value)| (value, kept(i))).collect();
    let trained = |(path, dims, values): (String, Vec<usize>, Vec<f32>)| {
        let gradient = program.grad(&path).expect("every parameter has a gradient").to_vec();
        Trained { path, dims, values, gradient }
    };
    let parameters = before.into_iter().map(trained).collect();

    let mut evaluation = Program::eval(&graph, &[sketch.values[output]], sketch.batch)?;
    evaluation.run(&feed(&sketch), &params)?;
    let found = Found { loss: found_loss, output: evaluation.output(0).to_vec() };
    let Sketch { batch, steps, inputs, .. } = sketch;
    Ok(Case { number, attempt, target, batch, steps, inputs, parameters, masks, output, loss, found })
}

fn feed<'a>(sketch: &'a Sketch<'_>) -> Feed<'a> {
    sketch.inputs.iter().fold(Feed::new(sketch.batch), |feed, input| feed.with(&input.name, &input.values))
}

/// A graph with its parameters.
struct Drawn<'g> {
    sketch: Sketch<'g>,
    output: usize,
    loss: usize,
    target: &'static str,
    params: Params,
}

/// Draws graph `number` of `seed` into the empty `graph`, for the `attempt`-th time.
fn draw(graph: &Graph, seed: u64, number: usize, attempt: u64) -> Result<Drawn<'_>, Error> {
    let mut rng = Rng::seed_from_u64(seed);
    rng.set_stream((attempt << 32) + number as u64);
    let all: Vec<&'static Operation> = inner().chain(loss::ALL).collect();
    let place = number % all.len();
    let target = all[place];
    let is_loss = place >= all.len() - loss::ALL.len();

    let mut sketch = Sketch::new(graph, 0, rng);
    sketch.batch = sketch.between(3, 7);
    // Operations in all, with the loss.
    let depth = sketch.between(2, 8);
    let before = if is_loss { depth - 1 } else { sketch.between(0, depth - 2) };
    let mut x = match target.on {
        Axes::Start => (target.add)(&mut sketch, 0).expect("it needs no value"),
        axes => start(&mut sketch, axes),
    };
    for _ in 0..before {
        // The target has to fit the value it will meet.
        x = further(&mut sketch, x, |rank| target.on == Axes::Start || target.on.include(rank));
    }
    if !is_loss && target.on != Axes::Start {
        x = forced(&mut sketch, x, target);
        for _ in 0..depth - 2 - before {
            x = further(&mut sketch, x, |_| true);
        }
    }
    let output = x;
    let end = if is_loss { *target } else { loss::ALL[sketch.below(loss::ALL.len())] };
    let loss = (end.add)(&mut sketch, x).expect("a loss fits every value");
    graph.check()?;

    let mut params = Params::init(graph, &mut sketch.rng);
    for value in params.values_mut() {
        // Scales of one and shifts of zero hide mistakes.
        *value += sketch.number(-0.3, 0.3);
    }
    Ok(Drawn { sketch, output, loss, target: target.name, params })
}

/// A first value that suits: a sum of what is fed and a parameter, or what embedded tokens make.
fn start(s: &mut Sketch<'_>, axes: Axes) -> usize {
    let rank = match axes {
        Axes::Exactly(rank) => rank,
        Axes::AtLeast(least) => s.between(least, 3),
        _ => s.between(1, 3),
    };
    let dims: Vec<usize> = match rank {
        1 => vec![s.width()],
        2 => vec![s.between(2, 6), s.width()],
        _ => vec![s.between(1, 6), s.between(3, 8), s.between(3, 8)],
    };
    s.fresh(&dims)
}

/// A random operation on `x` whose result has a rank that is `wanted`.
fn further(s: &mut Sketch<'_>, x: usize, wanted: impl Fn(usize) -> bool) -> usize {
    let rank = s.dims(x).len();
    let fitting: Vec<&'static Operation> = inner().filter(|operation| operation.on.include(rank)).collect();
    // Results that are not wanted stay in the graph without a use, as they may in a searched one.
    loop {
        let operation = fitting[s.below(fitting.len())];
        match (operation.add)(s, x) {
            Some(y) if wanted(s.dims(y).len()) => return y,
            _ => {}
        }
    }
}

/// The operation `target` on `x`, or, where its settings do not fit, on a larger value beside it.
fn forced(s: &mut Sketch<'_>, mut x: usize, target: &Operation) -> usize {
    loop {
        for _ in 0..8 {
            if let Some(y) = (target.add)(s, x) {
                return y;
            }
        }
        x = start(s, target.on);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SEED: u64 = 1;
    const GRAPHS: usize = 200;

    #[test]
    fn every_operation_occurs_in_finite_graphs() {
        let mut met = BTreeSet::new();
        for number in 0..GRAPHS {
            let case = case(SEED, number).unwrap_or_else(|error| panic!("graph {number}: {error}"));
            met.extend(case.steps.iter().map(|step| step.op));
            assert!(case.steps.iter().any(|step| step.op == case.target), "graph {number} lacks {}", case.target);
            let Found { loss, output } = &case.found;
            assert!(loss.is_finite() && output.iter().all(|y| y.is_finite()), "graph {number}: {loss}");
            let finite = |trained: &Trained| trained.gradient.iter().all(|g| g.is_finite());
            assert!(case.parameters.iter().all(finite), "a gradient of graph {number} is not finite");
        }
        let missing: Vec<&str> = operations().filter(|name| !met.contains(name)).collect();
        assert!(missing.is_empty(), "never drawn: {missing:?}");
    }

    #[test]
    fn names_are_unique_and_fit_into_the_graphs() {
        let names: BTreeSet<&str> = operations().collect();
        assert_eq!(names.len(), operations().count());
        assert!(names.len() <= GRAPHS / 2, "each should occur twice at least");
    }

    #[test]
    fn the_seed_and_the_number_decide() {
        let [first, again] = [0, 0].map(|_| case(SEED, 30).unwrap());
        assert_eq!(first, again);
        assert_ne!(first.inputs, case(SEED + 1, 30).unwrap().inputs);
    }

    /// Operations whose derivative jumps somewhere: a difference quotient across a jump says nothing.
    const JUMPING: [&str; 13] = [
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "hard_sigmoid",
        "hard_swish",
        "activation",
        // Where a whole row is masked, numbers beside 10⁹ are lost in the rounding.
        "masked",
        "max_pool1d",
        "max_pool1d_with",
        "max_pool2d",
        "max_pool2d_with",
        "l1",
    ];

    /// The gradient against the difference quotient along it, which is its norm.
    #[test]
    fn gradients_are_those_of_the_loss() {
        let mut checked = 0;
        for number in 0..GRAPHS {
            let (graph, attempt) = (Graph::new(), case(SEED, number).unwrap().attempt);
            let Drawn { sketch, loss, params, .. } = draw(&graph, SEED, number, attempt).unwrap();
            if sketch.steps.iter().any(|step| JUMPING.contains(&step.op)) {
                continue;
            }
            let mut program = Program::train(&graph, sketch.values[loss], &[], sketch.batch).unwrap();
            let mut at = |params: &Params| {
                program.set_rng(Rng::seed_from_u64(SEED));
                let loss = program.gradients(&feed(&sketch), &mut params.clone()).unwrap();
                (f64::from(loss), program.grads().to_vec())
            };
            let (height, gradient) = at(&params);
            let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let mut quotient = |share: f64| {
                let step = share * height.abs().max(0.1) / norm;
                let [above, below] = [step, -step].map(|step| {
                    let mut moved = params.clone();
                    for (value, &g) in moved.values_mut().iter_mut().zip(&gradient) {
                        *value += (step * f64::from(g) / norm) as f32;
                    }
                    at(&moved).0
                });
                (above - below) / (2.0 * step)
            };
            // The loss has seven digits: long steps bend, short ones are lost in the rounding.
            let quotients = [5e-3, 1e-3, 2e-4].map(&mut quotient);
            let near = |quotient: &f64| (quotient - norm).abs() < 0.02 * norm;
            assert!(quotients.iter().any(near), "graph {number}: {norm}, but the quotients are {quotients:?}");
            checked += 1;
        }
        assert!(checked >= 30, "only {checked} graphs are smooth");
    }
}
