//! A table of logits: every decision on its own.

use nas_nn::{Graph, Init, Params};

use super::learner::{self, Learner, Rows};
use super::{Policy, Update, Weighted, masked_softmax};
use crate::environment::{Choice, Environment};

/// Independent logits `θ[slot][option]`, zero at the start: exactly even (the policy of TuNAS, Bender et al., 2020).
pub struct Independent {
    learner: Learner,
    columns: usize,
}

impl Independent {
    /// For the slots of `environment`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f32) -> Self {
        let arity = environment.arity();
        let shape = Rows { rows: arity.len(), columns: arity.iter().copied().max().unwrap_or(1) };
        let graph = Graph::new();
        let mask = learner::mask_input(&graph, shape);
        let logits = graph.parameter("logits", &[shape.rows, shape.columns], Init::ZEROS).masked(mask);
        let (loss, outputs) = learner::loss(&graph, logits, shape);
        let mut no_draws = nas_core::Seed::new(0).stream(nas_core::Purpose::Policy, 0);
        let params = Params::init(&graph, &mut no_draws);
        let learner = Learner::new(&graph, params, loss, &outputs, shape, 0, learning_rate);
        Independent { learner, columns: shape.columns }
    }
}

/// A slot's row is its own, and nothing is remembered.
fn place(choices: &[Choice], t: usize) -> (usize, usize, usize) {
    (choices[t].slot, 0, 0)
}

impl Policy for Independent {
    fn name(&self) -> &'static str {
        "independent"
    }

    fn distribution(&mut self, _: &[Choice], slot: usize, mask: &[bool]) -> Vec<f64> {
        let row = &self.learner.params.values()[slot * self.columns..];
        masked_softmax(row[..mask.len()].iter().copied(), mask)
    }

    fn gradient(&mut self, batch: &[Weighted<'_>], ent_coef: f32) -> (Vec<f32>, Update) {
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
