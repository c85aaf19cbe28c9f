//! Gradients against central differences: the test of every op.

use rand::RngExt as _;
use rand_chacha::rand_core::SeedableRng as _;

use crate::graph::{Graph, Shape, Var};
use crate::op::{Backward, Forward, Op};
use crate::{Feed, Init, Params, Program, Rng};

/// The batch of the checks.
pub(crate) const BATCH: usize = 3;

/// A fixed value whose first axis becomes the batch, so that inputs can be parameters and have gradients.
#[derive(Debug)]
struct Unstack;

impl Op for Unstack {
    fn name(&self) -> &'static str {
        "unstack"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        Ok(Shape::batched(&x[0].dims()[1..]))
    }

    fn is_view(&self) -> bool {
        true
    }

    fn forward(&self, _: Forward<'_>) {}

    fn backward(&self, _: Backward<'_>) {}
}

/// Checks the gradients of `op` by all its inputs, with an example's sizes in `dims`, and by all parameters it creates.
#[track_caller]
pub(crate) fn gradcheck(dims: &[&[usize]], op: impl for<'g> Fn(&[Var<'g>]) -> Var<'g>) {
    gradcheck_fed(dims, &[], op);
}

/// The same with inputs of class numbers after the others: (classes, sizes, values for the batch).
#[track_caller]
pub(crate) fn gradcheck_fed(
    dims: &[&[usize]],
    classes: &[(usize, &[usize], &[f32])],
    op: impl for<'g> Fn(&[Var<'g>]) -> Var<'g>,
) {
    let graph = Graph::new();
    let mut inputs = Vec::new();
    for (i, dims) in dims.iter().enumerate() {
        let all: Vec<usize> = std::iter::once(BATCH).chain(dims.iter().copied()).collect();
        inputs.push(graph.parameter(&format!("input{i}"), &all, Init::Normal { std: 1.0 }).apply(Unstack, &[]));
    }
    let names: Vec<String> = (0..classes.len()).map(|i| format!("class{i}")).collect();
    for (name, (classes, dims, _)) in names.iter().zip(classes) {
        inputs.push(graph.classes(name, *classes, dims));
    }
    let y = op(&inputs);
    // Unequal weights: a symmetric gradient from above hides mistakes.
    let shape = y.shape();
    let weights = if shape.is_batched() {
        graph.input("weights", shape.dims())
    } else {
        let values: Vec<f32> = (0..shape.len()).map(weight).collect();
        graph.constant(shape.dims(), &values)
    };
    let loss = (y * weights).sum();
    graph.check().unwrap();

    let mut rng = Rng::seed_from_u64(17);
    let mut params = Params::init(&graph, &mut rng);
    for x in params.values_mut() {
        // Away from the kinks at zero, and never two equal values, where a maximum has one.
        *x += 0.1_f32.copysign(*x) + rng.random_range(0.0..1e-2);
    }
    let values: Vec<f32> = (0..BATCH * shape.len()).map(weight).collect();
    let mut feed = Feed::new(BATCH).with("weights", &values);
    for (name, (.., values)) in names.iter().zip(classes) {
        feed = feed.with(name, values);
    }

    let mut program = Program::train(&graph, loss, &[y], BATCH).unwrap();
    let mut once = || {
        program.set_rng(Rng::seed_from_u64(3));
        program.gradients(&feed, &mut params.clone()).unwrap();
        program.grads().to_vec()
    };
    let grads = once();
    assert_eq!(grads, once(), "two runs differ: something is read that was not written");

    let mut total = |params: &Params| {
        program.set_rng(Rng::seed_from_u64(3));
        program.run(&feed, params).unwrap();
        let y = program.output(0);
        y.iter().enumerate().map(|(i, &y)| f64::from(y) * f64::from(weight(i))).sum::<f64>()
    };
    let largest = grads.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
    assert!(largest > 0.0 || grads.is_empty(), "all gradients are zero");
    let h = 5e-3_f32;
    for (i, &gradient) in grads.iter().enumerate() {
        let x = params.values[i];
        params.values[i] = x + h;
        let (up, above) = (params.values[i], total(&params));
        params.values[i] = x - h;
        let (down, below) = (params.values[i], total(&params));
        params.values[i] = x;
        let expected = ((above - below) / f64::from(up - down)) as f32;
        let error = (gradient - expected).abs();
        assert!(
            error <= 2e-3 * largest.max(1.0) + 1e-2 * expected.abs(),
            "gradient {i} is {} and the difference quotient {expected}; graph:\n{graph:?}",
            gradient
        );
    }
}

/// What is fed as [`HOLE`].
pub(crate) const HOLE: f32 = 2e9;

/// The same numbers with NaN where [`HOLE`] was fed: what an op before may make, but nobody can feed.
pub(crate) fn with_holes(x: Var<'_>) -> Var<'_> {
    let limit = x.graph().constant(&[], &[HOLE / 2.0]);
    x + (limit - x).ln().scale(0.0)
}

fn weight(i: usize) -> f32 {
    [0.7, -1.3, 0.4, 1.9, -0.6, 1.1, -0.2][i % 7] + 0.01 * (i % 13) as f32
}
