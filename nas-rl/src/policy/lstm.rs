//! A recurrent policy: each decision knows the ones before it (Zoph & Le, 2017).

use nas_core::Rng;
use nas_core::space::KeyMap;
use nas_nn::{Feed, Graph, Init, Params, Program, Var};

use super::learner::{self, Learner, Rows};
use super::{Policy, Update, masked_softmax};
use crate::environment::{Environment, Episode};

/// Units of the LSTM.
const UNITS: usize = 32;
/// Width of the embedding of a choice.
const EMBEDDING: usize = 16;
/// Floats that remembered prefixes may take: 4 MB.
const REMEMBERED: usize = 1 << 20;

/// An LSTM over the open slots. It reads the choice before, and its head, zero at the start so that the policy begins
/// exactly even, has a logit for every option of every slot.
///
/// What it remembers after a prefix is computed once an update, however many episodes begin with it.
pub struct Lstm {
    learner: Learner,
    /// One step of the recurrence, forward only: what it remembers after one more token.
    step: Program,
    memory: Memory,
    /// The prefix that is being walked along, and its choices.
    at: usize,
    token: usize,
    /// The first column of every slot.
    first: Vec<usize>,
    columns: usize,
    logits: Vec<f64>,
}

/// What the network remembers after prefixes that were read: h, c and a logit for every column, one row each. The first
/// is that before the first token.
#[derive(Default)]
struct Memory {
    rows: Vec<f32>,
    /// The row after a row and a token, both in one key.
    next: KeyMap<usize>,
}

impl Lstm {
    /// For the slots of `environment`, drawn from `rng`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f64, rng: &mut Rng) -> Self {
        let mut first = Vec::new();
        let mut columns = 0;
        for &arity in environment.arity() {
            first.push(columns);
            columns += arity;
        }
        let shape = Rows { rows: first.len(), columns };
        let graph = Graph::new();
        let mask = learner::mask_input(&graph, shape);
        let heads = learner::heads(&graph, unrolled(&graph, shape).masked(mask), shape);
        let token = embed(graph.classes("token", columns + 1, &[]), columns);
        let state = (graph.input("h", &[UNITS]), graph.input("c", &[UNITS]));
        let ((h, c), logits) = cell(token, state, columns);
        let params = Params::init(&graph, rng);
        let step = Program::eval(&graph, &[h, c, logits], 1).expect("the policy's graph is sound");
        let learner = Learner::new(&graph, params, &heads, shape, UNITS, learning_rate as f32);
        Lstm { learner, step, memory: Memory::default(), at: 0, token: 0, first, columns, logits: Vec::new() }
    }

    /// Reads `token` after the prefix `before`, if that was not done already; the row of what is then remembered.
    fn read(&mut self, before: Option<usize>, token: usize) -> usize {
        let width = 2 * UNITS + self.columns;
        let key = (before.map_or(0, |before| before as u128 + 1) << 64) | token as u128;
        if let Some(&row) = self.memory.next.get(&key) {
            return row;
        }
        let start = [0.0; UNITS];
        let state = before.map(|before| &self.memory.rows[before * width..][..2 * UNITS]);
        let (h, c) = state.map_or((&start[..], &start[..]), |state| state.split_at(UNITS));
        let token = [token as f32];
        self.step
            .run(&Feed::new(1).with("token", &token).with("h", h).with("c", c), &self.learner.params)
            .expect("a prefix fits the policy's graph");
        let row = self.memory.rows.len() / width;
        (0..3).for_each(|i| self.memory.rows.extend_from_slice(self.step.output(i)));
        self.memory.next.insert(key, row);
        row
    }

    fn forget(&mut self) {
        self.memory.rows.clear();
        self.memory.next.clear();
    }
}

/// For [`Learner`]: rows are steps, columns all options of all slots.
fn place(first: &[usize]) -> impl Fn(&Episode, usize) -> (usize, usize, usize) {
    move |episode, t| {
        let before = t.checked_sub(1).map(|before| episode.choice(before));
        (t, first[episode.choice(t).slot], before.map_or(0, |choice| 1 + first[choice.slot] + choice.option))
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

    fn begin(&mut self) {
        if self.memory.rows.len() > REMEMBERED {
            self.forget();
        }
        self.at = self.read(None, 0);
        self.token = 0;
    }

    fn probabilities(&mut self, slot: usize, mask: &[bool], out: &mut Vec<f64>) {
        if self.token > 0 {
            self.at = self.read(Some(self.at), self.token);
            self.token = 0;
        }
        let logits = &self.memory.rows[self.at * (2 * UNITS + self.columns)..][2 * UNITS + self.first[slot]..];
        self.logits.clear();
        self.logits.extend(logits[..mask.len()].iter().copied().map(f64::from));
        masked_softmax(&self.logits, mask, out);
    }

    fn follow(&mut self, slot: usize, option: usize) {
        self.token = 1 + self.first[slot] + option;
    }

    fn log_probs(&mut self, batch: &[&Episode], out: &mut Vec<f64>) {
        self.learner.log_probs(batch, &place(&self.first), out);
    }

    fn gradient(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64) -> Update {
        self.learner.gradient(batch, advantages, ent_coef, &place(&self.first))
    }

    fn step(&mut self, update: Update, max_grad_norm: f64) -> Update {
        self.forget();
        self.learner.step(update, max_grad_norm)
    }

    fn last_gradient(&self) -> Vec<f64> {
        self.learner.last_gradient()
    }

    fn parameters(&self) -> Vec<f64> {
        self.learner.params.values().iter().copied().map(f64::from).collect()
    }

    fn set_parameters(&mut self, parameters: &[f64]) {
        self.forget();
        let values = self.learner.params.values_mut();
        assert_eq!(values.len(), parameters.len(), "as many parameters as the policy has");
        values.iter_mut().zip(parameters).for_each(|(value, &x)| *value = x as f32);
    }

    fn soften(&mut self, factor: f64) {
        self.forget();
        let paths: Vec<String> = self.learner.params.tensors().map(|tensor| tensor.path.to_owned()).collect();
        for path in paths.iter().filter(|path| path.starts_with("head")) {
            let values = self.learner.params.get_mut(path).expect("the path was just listed");
            values.iter_mut().for_each(|x| *x *= factor as f32);
        }
    }
}
