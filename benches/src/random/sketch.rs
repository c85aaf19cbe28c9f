//! A graph under construction that remembers every operation with its settings, for the other engine to rebuild.

use nas_nn::{Graph, Init, Rng, Var};
use rand::RngExt as _;
use serde::Serialize;
use serde_json::{Value, json};

/// One operation, or the origin of a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The method of [`Var`], or `input` or `parameter`.
    pub op: &'static str,
    /// The values it reads, by number.
    inputs: Vec<usize>,
    /// Its settings.
    with: Value,
    /// The parameters it made, in the order of their creation.
    parameters: Vec<String>,
    /// The numbers of its results.
    outputs: Vec<usize>,
}

/// An input and the values that are fed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its sizes, without the batch.
    dims: Vec<usize>,
    /// Whether its values are class numbers.
    classes: bool,
    /// A batch, the last axis fastest.
    pub values: Vec<f32>,
}

/// A graph under construction. A value is named by its number.
pub(super) struct Sketch<'g> {
    graph: &'g Graph,
    pub(super) batch: usize,
    pub(super) rng: Rng,
    pub(super) values: Vec<Var<'g>>,
    pub(super) steps: Vec<Step>,
    pub(super) inputs: Vec<Input>,
    /// Results of dropout, whose masks the other engine has to be told.
    pub(super) masked: Vec<usize>,
}

impl<'g> Sketch<'g> {
    pub(super) fn new(graph: &'g Graph, batch: usize, rng: Rng) -> Self {
        let (values, steps, inputs, masked) = Default::default();
        Sketch { graph, batch, rng, values, steps, inputs, masked }
    }

    /// The sizes of a value, without the batch.
    pub(super) fn dims(&self, x: usize) -> Vec<usize> {
        self.values[x].shape().dims().to_vec()
    }

    pub(super) fn last(&self, x: usize) -> usize {
        *self.dims(x).last().expect("values of a sketch have an axis")
    }

    /// A whole number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.rng.random_range(0..limit)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        self.rng.random_range(least..=most)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.rng.random()
    }

    pub(super) fn number(&mut self, least: f32, most: f32) -> f32 {
        self.rng.random_range(least..most)
    }

    /// The size of an axis: few numbers, or more than a vector register holds.
    pub(super) fn width(&mut self) -> usize {
        [2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 33][self.below(11)]
    }

    /// Adds the operation `op` with one result.
    pub(super) fn op(
        &mut self,
        op: &'static str,
        inputs: &[usize],
        with: Value,
        build: impl FnOnce(&[Var<'g>]) -> Var<'g>,
    ) -> usize {
        self.ops(op, inputs, with, |v| vec![build(v)])[0]
    }

    /// Adds the operation `op` with several results.
    pub(super) fn ops(
        &mut self,
        op: &'static str,
        inputs: &[usize],
        with: Value,
        build: impl FnOnce(&[Var<'g>]) -> Vec<Var<'g>>,
    ) -> Vec<usize> {
        let known = self.graph.parameters().len();
        let read: Vec<Var<'g>> = inputs.iter().map(|&i| self.values[i]).collect();
        let results = build(&read);
        let parameters = self.graph.parameters().into_iter().skip(known).map(|p| p.path).collect();
        let outputs: Vec<usize> = (self.values.len()..).take(results.len()).collect();
        self.values.extend(results);
        self.steps.push(Step { op, inputs: inputs.to_vec(), with, parameters, outputs: outputs.clone() });
        outputs
    }

    /// Adds an operation without settings on one value.
    pub(super) fn unary(&mut self, op: &'static str, x: usize, build: fn(Var<'g>) -> Var<'g>) -> usize {
        self.op(op, &[x], json!({}), |v| build(v[0]))
    }

    /// A fed value; `draw` makes its numbers.
    pub(super) fn input(&mut self, dims: &[usize], mut draw: impl FnMut(&mut Rng) -> f32) -> usize {
        let values = (0..self.batch * dims.iter().product::<usize>()).map(|_| draw(&mut self.rng)).collect();
        let name = self.fed(dims, false, values);
        let var = self.graph.input(&name, dims);
        self.op("input", &[], json!({ "name": name }), |_| var)
    }

    /// A fed value of class numbers below `classes`, from `least` on.
    pub(super) fn classes(&mut self, dims: &[usize], classes: usize, least: usize) -> usize {
        let count = self.batch * dims.iter().product::<usize>();
        let values = (0..count).map(|_| self.between(least, classes - 1) as f32).collect();
        let name = self.fed(dims, true, values);
        let var = self.graph.classes(&name, classes, dims);
        self.op("input", &[], json!({ "name": name }), |_| var)
    }

    /// One length up to `steps` for each example, `least` or more.
    pub(super) fn lengths(&mut self, steps: usize, least: usize) -> usize {
        self.classes(&[], steps + 1, least)
    }

    fn fed(&mut self, dims: &[usize], classes: bool, values: Vec<f32>) -> String {
        let name = format!("input{}", self.inputs.len());
        self.inputs.push(Input { name: name.clone(), dims: dims.to_vec(), classes, values });
        name
    }

    /// A trained value.
    pub(super) fn parameter(&mut self, dims: &[usize]) -> usize {
        let path = format!("parameter{}", self.values.len());
        let var = self.graph.parameter(&path, dims, Init::Normal { std: 0.5 });
        self.op("parameter", &[], json!({ "path": path }), |_| var)
    }

    /// A value that depends on what is fed and on a parameter, so that gradients reach it.
    pub(super) fn fresh(&mut self, dims: &[usize]) -> usize {
        let fed = self.input(dims, |rng| rng.random_range(-1.5..1.5));
        let trained = self.parameter(dims);
        self.op("add", &[fed, trained], json!({}), |v| v[0] + v[1])
    }

    /// A value of these sizes for every example, beside `x`: an earlier one, or a fresh one.
    pub(super) fn beside(&mut self, x: usize, dims: &[usize]) -> usize {
        let fits = |&v: &usize| {
            let shape = self.values[v].shape();
            v != x && shape.is_batched() && shape.dims() == dims && !self.is_fed(v)
        };
        let known: Vec<usize> = (0..self.values.len()).filter(fits).collect();
        if known.is_empty() || self.coin() { self.fresh(dims) } else { known[self.below(known.len())] }
    }

    fn is_fed(&self, value: usize) -> bool {
        self.steps.iter().any(|step| step.op == "input" && step.outputs.contains(&value))
    }
}
