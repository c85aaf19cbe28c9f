//! A recurrent policy: each decision knows the ones before it (Zoph & Le, 2017).

use nas_core::Rng;
use nas_core::space::KeyMap;
use nas_core::strategy::State;
use nas_nn::optim::{Adam, Optimizer as _, clip_norm};

use super::recurrent::{Network, UNITS};
use super::{Policy, Update, masked_softmax};
use crate::environment::{Environment, Episode};

/// Floats that remembered prefixes may take: 4 MB.
const REMEMBERED: usize = 1 << 20;
/// What is remembered of a prefix: h and c.
const WIDTH: usize = 2 * UNITS;

/// An LSTM of 32 units over the open slots. It reads the choice before, and its head, zero at the start so that the policy
/// begins exactly even, has a logit for every option of every slot.
///
/// What it remembers after a prefix is computed once an update, however many episodes begin with it.
pub struct Lstm {
    network: Network,
    adam: Adam,
    memory: Memory,
    /// The row of the prefix that is being walked along, and the choice to read after it.
    at: usize,
    token: Option<usize>,
    logits: Vec<f64>,
}

/// What the network remembers after prefixes that were read.
#[derive(Default)]
struct Memory {
    rows: Vec<f32>,
    /// The row after a row and a token, both in one key.
    next: KeyMap<usize>,
}

impl Lstm {
    /// For the slots of `environment`, drawn from `rng`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f64, rng: &mut Rng) -> Self {
        Lstm {
            network: Network::new(environment.arity(), rng),
            adam: Adam::new(learning_rate as f32),
            memory: Memory::default(),
            at: 0,
            token: None,
            logits: Vec::new(),
        }
    }

    /// How many weights it has for slots with these numbers of options.
    pub fn weights(arity: &[usize]) -> usize {
        Network::weights(arity.iter().sum())
    }

    /// Reads `token` after the prefix `before`, if that was not done already; the row of what is then remembered.
    fn read(&mut self, before: Option<usize>, token: usize) -> usize {
        let key = (before.map_or(0, |before| before as u128 + 1) << 64) | token as u128;
        if let Some(&row) = self.memory.next.get(&key) {
            return row;
        }
        let rows = &mut self.memory.rows;
        let start = rows.len();
        match before {
            Some(before) => rows.extend_from_within(before * WIDTH..(before + 1) * WIDTH),
            None => rows.resize(start + WIDTH, 0.0),
        }
        let (h, c) = rows[start..].split_at_mut(UNITS);
        self.network.read(token, h, c);
        let row = start / WIDTH;
        self.memory.next.insert(key, row);
        row
    }

    fn forget(&mut self) {
        self.memory.rows.clear();
        self.memory.next.clear();
    }
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
        self.token = None;
    }

    fn probabilities(&mut self, slot: usize, mask: &[bool], out: &mut Vec<f64>) {
        if let Some(token) = self.token.take() {
            self.at = self.read(Some(self.at), token);
        }
        let h = &self.memory.rows[self.at * WIDTH..][..UNITS];
        self.network.logits(slot, mask.len(), h, &mut self.logits);
        masked_softmax(&self.logits, mask, out);
    }

    fn follow(&mut self, slot: usize, option: usize) {
        self.token = Some(self.network.token(slot, option));
    }

    fn log_probs(&mut self, batch: &[&Episode], out: &mut Vec<f64>) {
        self.network.forward(batch, out);
    }

    fn gradient(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64) -> Update {
        self.network.forward(batch, &mut Vec::new());
        self.network.backward(batch, advantages, ent_coef)
    }

    fn step(&mut self, mut update: Update, max_grad_norm: f64) -> Update {
        self.forget();
        clip_norm(&mut self.network.gradient, max_grad_norm as f32);
        update.skipped = !update.grad_norm.is_finite();
        if !update.skipped {
            self.adam.step(&mut self.network.weights, &self.network.gradient);
        }
        update
    }

    fn last_gradient(&self) -> Vec<f64> {
        self.network.gradient.iter().copied().map(f64::from).collect()
    }

    fn parameters(&self) -> Vec<f64> {
        self.network.weights.iter().copied().map(f64::from).collect()
    }

    fn set_parameters(&mut self, parameters: &[f64]) {
        self.forget();
        let weights = &mut self.network.weights;
        assert_eq!(weights.len(), parameters.len(), "as many parameters as the policy has");
        weights.iter_mut().zip(parameters).for_each(|(weight, &x)| *weight = x as f32);
    }

    fn state(&mut self, state: &mut State) {
        state.fixed("weights", &mut self.network.weights);
        state.field("adam", &mut self.adam);
        self.forget();
    }

    fn soften(&mut self, factor: f64) {
        self.forget();
        self.network.soften(factor as f32);
    }
}
