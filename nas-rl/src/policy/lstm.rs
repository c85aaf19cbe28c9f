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
    /// One step of the recurrence, forward only: what it remembers after one more token.
    step: Program,
    /// The choices read since the last update, (slot, option), and what was remembered after the start and each of them.
    read: Vec<(usize, usize)>,
    memories: Vec<Memory>,
    /// The first column of every slot.
    first: Vec<usize>,
}

/// What the network remembers after a token, and what it would choose.
struct Memory {
    h: Vec<f32>,
    c: Vec<f32>,
    /// One for every column.
    logits: Vec<f32>,
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
        let mask = learner::mask_input(&graph, shape);
        let (loss, outputs) = learner::loss(&graph, unrolled(&graph, shape).masked(mask), shape);
        let token = embed(graph.classes("token", columns + 1, &[]), columns);
        let state = (graph.input("h", &[UNITS]), graph.input("c", &[UNITS]));
        let ((h, c), logits) = cell(token, state, columns);
        let params = Params::init(&graph, rng);
        let step = Program::eval(&graph, &[h, c, logits], 1).expect("the policy's graph is sound");
        let learner = Learner::new(&graph, params, loss, &outputs, shape, UNITS, learning_rate);
        Lstm { learner, step, read: Vec::new(), memories: Vec::new(), first }
    }

    /// 0 at the start, 1 + the column of the choice before after that.
    fn token(first: &[usize], before: Option<&Choice>) -> usize {
        before.map_or(0, |choice| 1 + first[choice.slot] + choice.option)
    }

    /// What is remembered after `prefix`; only choices not read before are computed.
    fn remember(&mut self, prefix: &[Choice]) -> &Memory {
        let known = self.read.iter().zip(prefix).take_while(|&(&read, choice)| read == (choice.slot, choice.option));
        let known = known.count();
        self.read.truncate(known);
        self.memories.truncate(known + 1);
        while self.memories.len() <= prefix.len() {
            let before = self.memories.len().checked_sub(1).map(|t| &prefix[t]);
            let token = [Self::token(&self.first, before) as f32];
            let start = [0.0; UNITS];
            let (h, c) = self.memories.last().map_or((&start[..], &start[..]), |memory| (&memory.h, &memory.c));
            self.step
                .run(&Feed::new(1).with("token", &token).with("h", h).with("c", c), &self.learner.params)
                .expect("a prefix fits the policy's graph");
            let [h, c, logits] = [0, 1, 2].map(|i| self.step.output(i).to_vec());
            self.memories.push(Memory { h, c, logits });
            self.read.extend(before.map(|choice| (choice.slot, choice.option)));
        }
        &self.memories[prefix.len()]
    }

    fn forget(&mut self) {
        self.read.clear();
        self.memories.clear();
    }
}

/// The logits of all steps, [rows, columns], from their `tokens` and a `state` of zeros.
fn unrolled(graph: &Graph, shape: Rows) -> Var<'_> {
    let embedded = embed(graph.classes("tokens", shape.columns + 1, &[shape.rows]), shape.columns);
    let mut state = (graph.input("state", &[UNITS]), graph.input("state", &[UNITS]));
    let mut rows = Vec::new();
    for t in 0..shape.rows {
        let (next, logits) = cell(embedded.slice(0, t, t + 1).reshape(&[EMBEDDING]), state, shape.columns);
        state = next;
        rows.push(logits.reshape(&[1, shape.columns]));
    }
    rows[0].concat(&rows[1..], 0)
}

/// The vectors of `tokens`.
fn embed(tokens: Var<'_>, columns: usize) -> Var<'_> {
    tokens.shared("choice", |tokens| tokens.embedding(columns + 1, EMBEDDING))
}

/// One step: the next state and its logits.
fn cell<'g>(x: Var<'g>, state: (Var<'g>, Var<'g>), columns: usize) -> ((Var<'g>, Var<'g>), Var<'g>) {
    let mut next = state;
    let h = x.shared("recurrence", |x| {
        next = x.lstm_cell(state, UNITS);
        next.0
    });
    (next, h.shared("head", |h| h.linear_with(columns, Init::ZEROS, true)))
}

impl Policy for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn distribution(&mut self, prefix: &[Choice], slot: usize, mask: &[bool]) -> Vec<f64> {
        let first = self.first[slot];
        let logits = &self.remember(prefix).logits[first..];
        masked_softmax(logits[..mask.len()].iter().copied(), mask)
    }

    fn gradient(&mut self, batch: &[Weighted<'_>], ent_coef: f32) -> (Vec<f32>, Update) {
        let first = &self.first;
        let place = |choices: &[Choice], t: usize| {
            (t, first[choices[t].slot], Self::token(first, t.checked_sub(1).map(|before| &choices[before])))
        };
        self.learner.gradient(batch, ent_coef, &place)
    }

    fn update(&mut self, batch: &[Weighted<'_>], ent_coef: f32, max_grad_norm: f32) -> Update {
        let (gradient, update) = self.gradient(batch, ent_coef);
        self.forget();
        self.learner.step(gradient, update, max_grad_norm)
    }

    fn parameters(&self) -> &[f32] {
        self.learner.params.values()
    }

    fn parameters_mut(&mut self) -> &mut [f32] {
        self.forget();
        self.learner.params.values_mut()
    }
}
