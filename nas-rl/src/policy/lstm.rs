//! A recurrent policy: each decision knows the ones before it (Zoph & Le, 2017).

use nas_core::Rng;
use nas_nn::{Feed, Graph, Init, Params, Program, Var};

use super::learner::{self, Learner, Rows};
use super::{Policy, Update, Weighted, masked_softmax};
use crate::environment::{Choice, Environment};

/// Units of the LSTM.
const UNITS: usize = 32;
/// Width of the embedding of a choice.
const EMBEDDING: usize = 16;

/// An LSTM over the open slots. It reads the choice before, and its head, zero at the start so that the policy begins
/// exactly even, has a logit for every option of every slot.
pub struct Lstm {
    learner: Learner,
    /// Forward only, for one episode.
    sampler: Program,
    tokens: Vec<f32>,
    /// The first column of every slot.
    first: Vec<usize>,
    columns: usize,
}

impl Lstm {
    /// For the slots of `environment`, drawn from `rng`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f32, rng: &mut Rng) -> Self {
        let mut first = Vec::new();
        let mut columns = 0;
        for &arity in environment.arity() {
            first.push(columns);
            columns += arity;
        }
        let shape = Rows { rows: first.len(), columns };
        let graph = Graph::new();
        let logits = logits(&graph, shape);
        let mask = learner::mask_input(&graph, shape);
        let (loss, outputs) = learner::loss(&graph, logits.masked(mask), shape);
        let params = Params::init(&graph, rng);
        let sampler = Program::eval(&graph, &[logits], 1).expect("the policy's graph is sound");
        let learner = Learner::new(&graph, params, loss, &outputs, shape, UNITS, learning_rate);
        Lstm { learner, sampler, tokens: vec![0.0; shape.rows], first, columns }
    }
}

/// The logits of all steps, [rows, columns], from `tokens`: 0 at the start, 1 + the column of the choice before after that.
fn logits(graph: &Graph, shape: Rows) -> Var<'_> {
    let tokens = graph.classes("tokens", shape.columns + 1, &[shape.rows]);
    let embedded = tokens.embedding(shape.columns + 1, EMBEDDING);
    let mut state = (graph.input("state", &[UNITS]), graph.input("state", &[UNITS]));
    let mut rows = Vec::new();
    for t in 0..shape.rows {
        let x = embedded.slice(0, t, t + 1).reshape(&[EMBEDDING]);
        let (h, c) = state;
        let mut next = None;
        let _ = x.shared("policy", |x| {
            let (h, c) = x.lstm_cell((h, c), UNITS);
            next = Some((h, c));
            h
        });
        state = next.expect("the cell was built");
        let row = state.0.at(tokens).shared("head", |h| h.linear_with(shape.columns, Init::ZEROS, true));
        rows.push(row.reshape(&[1, shape.columns]));
    }
    rows[0].concat(&rows[1..], 0)
}

impl Policy for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn distribution(&mut self, prefix: &[Choice], slot: usize, mask: &[bool]) -> Vec<f64> {
        self.tokens.fill(0.0);
        for (t, choice) in prefix.iter().enumerate().filter(|(t, _)| t + 1 < self.first.len()) {
            self.tokens[t + 1] = (1 + self.first[choice.slot] + choice.option) as f32;
        }
        let feed = Feed::new(1).with("tokens", &self.tokens).with("state", &[0.0; UNITS]);
        self.sampler.run(&feed, &self.learner.params).expect("a prefix fits the policy's graph");
        let row = &self.sampler.output(0)[prefix.len() * self.columns + self.first[slot]..];
        masked_softmax(row[..mask.len()].iter().copied(), mask)
    }

    fn gradient(&mut self, batch: &[Weighted<'_>], ent_coef: f32) -> (Vec<f32>, Update) {
        let first = &self.first;
        let place = |choices: &[Choice], t: usize| {
            let token = match t.checked_sub(1).map(|before| &choices[before]) {
                Some(choice) => 1 + first[choice.slot] + choice.option,
                None => 0,
            };
            (t, first[choices[t].slot], token)
        };
        self.learner.gradient(batch, ent_coef, &place)
    }

    fn update(&mut self, batch: &[Weighted<'_>], ent_coef: f32, max_grad_norm: f32) -> Update {
        let (gradient, update) = self.gradient(batch, ent_coef);
        self.learner.step(gradient, update, max_grad_norm)
    }

    fn parameters(&self) -> &[f32] {
        self.learner.params.values()
    }

    fn parameters_mut(&mut self) -> &mut [f32] {
        self.learner.params.values_mut()
    }
}
