//! What both policies share: logits in, the REINFORCE loss, its gradient and Adam.

use nas_nn::optim::{Adam, Optimizer as _, clip_norm};
use nas_nn::{Feed, Graph, Params, Program, Var};

use super::{Update, Weighted};
use crate::environment::Choice;

/// The most episodes in one pass; larger batches are summed up from several.
const BATCH: usize = 16;

/// For step t of an episode: its row, the first column of its slot, and the token of the choice before it.
pub(super) type Place<'a> = dyn Fn(&[Choice], usize) -> (usize, usize, usize) + 'a;

/// Rows of logits, one a step, as wide as needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Parameters with a compiled loss.
pub(super) struct Learner {
    pub(super) params: Params,
    program: Program,
    adam: Adam,
    shape: Rows,
    inputs: Inputs,
}

/// Buffers that are fed, one stretch an episode.
struct Inputs {
    mask: Vec<f32>,
    action: Vec<f32>,
    open: Vec<f32>,
    share: Vec<f32>,
    advantage: Vec<f32>,
    tokens: Vec<f32>,
    state: Vec<f32>,
}

/// The mask, [rows, columns], of what may be chosen at every step.
pub(super) fn mask_input(graph: &Graph, shape: Rows) -> Var<'_> {
    graph.input("mask", &[shape.rows, shape.columns])
}

/// Adds the loss of REINFORCE to a graph with `logits` [rows, columns], masked already: the loss, its policy part and the
/// mean entropy of an open step.
///
/// Loss = −mean Σₜ Aₜ log π(aₜ) − β mean Hₜ, where the steps t are the open ones. Inputs: `action` (the column chosen in each
/// row), `open` (1 for open rows), `share` (1 / open rows, for open rows),
/// `advantage` (of each row), `ent_coef`.
pub(super) fn loss<'g>(graph: &'g Graph, logits: Var<'g>, shape: Rows) -> (Var<'g>, [Var<'g>; 2]) {
    let action = graph.classes("action", shape.columns, &[shape.rows]);
    let open = graph.input("open", &[shape.rows]);
    let share = graph.input("share", &[shape.rows]);
    let advantage = graph.input("advantage", &[shape.rows]);
    let ent_coef = graph.input("ent_coef", &[]);
    let log_p = logits.log_softmax();
    let entropy = ((log_p.exp() * log_p).sum_axis(1) * share).sum_axis(0).scale(-1.0);
    let policy = (advantage * open * log_p.gather(action)).sum_axis(0).scale(-1.0);
    ((policy - ent_coef * entropy).mean(), [policy.mean(), entropy.mean()])
}

impl Learner {
    /// `graph` with its `loss` and the outputs of [`loss`]; `width` numbers of state an episode, if it has a state.
    pub(super) fn new(
        graph: &Graph,
        params: Params,
        loss: Var<'_>,
        outputs: &[Var<'_>; 2],
        shape: Rows,
        width: usize,
        learning_rate: f32,
    ) -> Self {
        let program = Program::train(graph, loss, outputs, BATCH).expect("the policy's graph is sound");
        let (cells, rows) = (BATCH * shape.rows * shape.columns, BATCH * shape.rows);
        let inputs = Inputs {
            mask: vec![0.0; cells],
            action: vec![0.0; rows],
            open: vec![0.0; rows],
            share: vec![0.0; rows],
            advantage: vec![0.0; rows],
            tokens: vec![0.0; rows],
            state: vec![0.0; BATCH * width],
        };
        Learner { params, program, adam: Adam::new(learning_rate), shape, inputs }
    }

    /// The gradient of the loss over `batch`.
    pub(super) fn gradient(&mut self, batch: &[Weighted<'_>], ent_coef: f32, place: &Place<'_>) -> (Vec<f32>, Update) {
        let mut gradient = vec![0.0; self.params.len()];
        let (mut policy_loss, mut entropy) = (0.0, 0.0);
        for part in batch.chunks(BATCH) {
            self.write(part, place);
            let n = part.len();
            let coefficients = [ent_coef; BATCH];
            let Rows { rows, columns } = self.shape;
            let inputs = &self.inputs;
            let feed = Feed::new(n)
                .with("mask", &inputs.mask[..n * rows * columns])
                .with("action", &inputs.action[..n * rows])
                .with("open", &inputs.open[..n * rows])
                .with("share", &inputs.share[..n * rows])
                .with("advantage", &inputs.advantage[..n * rows])
                .with("ent_coef", &coefficients[..n])
                .with("tokens", &inputs.tokens[..n * rows])
                .with("state", &inputs.state[..n * (inputs.state.len() / BATCH)]);
            self.program.gradients(&feed, &mut self.params).expect("episodes fit the policy's graph");
            let share = n as f64 / batch.len() as f64;
            for (sum, g) in gradient.iter_mut().zip(self.program.grads()) {
                *sum += share as f32 * g;
            }
            policy_loss += share * f64::from(self.program.output(0)[0]);
            entropy += share * f64::from(self.program.output(1)[0]);
        }
        let grad_norm = clip_norm(&mut gradient, f32::INFINITY);
        (gradient, Update { policy_loss, entropy, grad_norm: f64::from(grad_norm), skipped: false })
    }

    /// One step of Adam along `gradient`.
    pub(super) fn step(&mut self, mut gradient: Vec<f32>, mut update: Update, max_grad_norm: f32) -> Update {
        clip_norm(&mut gradient, max_grad_norm);
        let (before, adam) = (self.params.clone(), self.adam.clone());
        if gradient.iter().all(|g| g.is_finite()) {
            self.adam.step(self.params.values_mut(), &gradient);
        }
        update.skipped = !gradient.iter().all(|g| g.is_finite()) || !self.params.is_finite();
        if update.skipped {
            (self.params, self.adam) = (before, adam);
        }
        update
    }

    fn write(&mut self, part: &[Weighted<'_>], place: &Place<'_>) {
        let Rows { rows, columns } = self.shape;
        let inputs = &mut self.inputs;
        // A closed row is even over everything and weighs nothing.
        inputs.mask.fill(1.0);
        for buffer in
            [&mut inputs.action, &mut inputs.advantage, &mut inputs.open, &mut inputs.share, &mut inputs.tokens]
        {
            buffer.fill(0.0);
        }
        for (i, weighted) in part.iter().enumerate() {
            let choices = &weighted.episode.choices;
            for (t, choice) in choices.iter().enumerate() {
                let (row, column, token) = place(choices, t);
                let row = i * rows + row;
                let mask = &mut inputs.mask[row * columns..][..columns];
                mask.fill(0.0);
                for (cell, &open) in mask[column..].iter_mut().zip(&choice.mask) {
                    *cell = f32::from(u8::from(open));
                }
                inputs.action[row] = (column + choice.option) as f32;
                inputs.advantage[row] = weighted.advantages[t];
                inputs.open[row] = 1.0;
                inputs.share[row] = 1.0 / choices.len() as f32;
                inputs.tokens[row] = token as f32;
            }
        }
    }
}
