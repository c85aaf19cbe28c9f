//! What policies that are networks share: logits in, the loss, its gradient and Adam.

use nas_nn::optim::{Adam, Optimizer as _, clip_norm};
use nas_nn::{Feed, Graph, Params, Program, Var};

use super::Update;
use crate::environment::Episode;

/// The most episodes in one pass; larger batches are summed up from several.
const BATCH: usize = 16;

/// For step t of an episode: its row, the first column of its slot, and the token of the choice before it.
pub(super) type Place<'a> = dyn Fn(&Episode, usize) -> (usize, usize, usize) + 'a;

/// Rows of logits, one a step, as wide as needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Parameters with a compiled loss.
pub(super) struct Learner {
    pub(super) params: Params,
    train: Program,
    /// ln π of the option chosen in every row, forward only.
    score: Program,
    adam: Adam,
    gradient: Vec<f32>,
    shape: Rows,
    inputs: Inputs,
}

/// Buffers that are fed, one stretch an episode.
struct Inputs {
    mask: Vec<f32>,
    action: Vec<f32>,
    open: Vec<f32>,
    advantage: Vec<f32>,
    tokens: Vec<f32>,
    state: Vec<f32>,
}

/// The outputs of a graph of a policy.
pub(super) struct Heads<'g> {
    loss: Var<'g>,
    policy: Var<'g>,
    entropy: Var<'g>,
    chosen: Var<'g>,
}

/// The mask, [rows, columns], of what may be chosen at every step.
pub(super) fn mask_input(graph: &Graph, shape: Rows) -> Var<'_> {
    graph.input("mask", &[shape.rows, shape.columns])
}

/// Adds the loss of a policy gradient to a graph with `logits` [rows, columns], masked already.
///
/// Loss = −mean Σₜ Aₜ log π(aₜ) − β mean Σₜ Hₜ, where the steps t are the open ones. Inputs: `action` (the column chosen in
/// each row), `open` (1 for open rows), `advantage` (of each row), `ent_coef`.
pub(super) fn heads<'g>(graph: &'g Graph, logits: Var<'g>, shape: Rows) -> Heads<'g> {
    let action = graph.classes("action", shape.columns, &[shape.rows]);
    let open = graph.input("open", &[shape.rows]);
    let advantage = graph.input("advantage", &[shape.rows]);
    let ent_coef = graph.input("ent_coef", &[]);
    let log_p = logits.log_softmax();
    let entropy = ((log_p.exp() * log_p).sum_axis(1) * open).sum_axis(0).scale(-1.0);
    let chosen = log_p.gather(action);
    let policy = (advantage * open * chosen).sum_axis(0).scale(-1.0);
    Heads { loss: (policy - ent_coef * entropy).mean(), policy: policy.mean(), entropy: entropy.mean(), chosen }
}

impl Learner {
    /// `graph` with its `heads`; `width` numbers of state an episode.
    pub(super) fn new(
        graph: &Graph,
        params: Params,
        heads: &Heads<'_>,
        shape: Rows,
        width: usize,
        learning_rate: f32,
    ) -> Self {
        let sound = "the policy's graph is sound";
        let train = Program::train(graph, heads.loss, &[heads.policy, heads.entropy], BATCH).expect(sound);
        let score = Program::eval(graph, &[heads.chosen], BATCH).expect(sound);
        let (cells, rows) = (BATCH * shape.rows * shape.columns, BATCH * shape.rows);
        let inputs = Inputs {
            mask: vec![0.0; cells],
            action: vec![0.0; rows],
            open: vec![0.0; rows],
            advantage: vec![0.0; rows],
            tokens: vec![0.0; rows],
            state: vec![0.0; BATCH * width],
        };
        let gradient = vec![0.0; params.len()];
        Learner { params, train, score, adam: Adam::new(learning_rate), gradient, shape, inputs }
    }

    /// The gradient of the loss over `batch`, kept for [`step`](Self::step).
    pub(super) fn gradient(
        &mut self,
        batch: &[&Episode],
        advantages: &[f64],
        ent_coef: f64,
        place: &Place<'_>,
    ) -> Update {
        self.gradient.fill(0.0);
        let mut update = Update::default();
        let (mut left, mut steps) = (advantages, 0);
        for part in batch.chunks(BATCH) {
            let (n, open) = (part.len(), part.iter().map(|episode| episode.len()).sum::<usize>());
            self.write(part, &left[..open], place);
            left = &left[open..];
            steps += open;
            let coefficients = [ent_coef as f32; BATCH];
            let feed = self.inputs.feed(n, self.shape).with("advantage", &self.inputs.advantage[..n * self.shape.rows]);
            let feed = feed.with("ent_coef", &coefficients[..n]);
            self.train.gradients(&feed, &mut self.params).expect("episodes fit the policy's graph");
            let share = n as f64 / batch.len() as f64;
            for (sum, g) in self.gradient.iter_mut().zip(self.train.grads()) {
                *sum += share as f32 * g;
            }
            update.policy_loss += share * f64::from(self.train.output(0)[0]);
            update.entropy += n as f64 * f64::from(self.train.output(1)[0]);
        }
        update.entropy /= steps.max(1) as f64;
        update.grad_norm = f64::from(clip_norm(&mut self.gradient, f32::INFINITY));
        update
    }

    /// ln π of every choice of `batch`, appended to `out`.
    pub(super) fn log_probs(&mut self, batch: &[&Episode], place: &Place<'_>, out: &mut Vec<f64>) {
        for part in batch.chunks(BATCH) {
            self.write(part, &[], place);
            let feed = self.inputs.feed(part.len(), self.shape);
            self.score.run(&feed, &self.params).expect("episodes fit the policy's graph");
            let rows = self.score.output(0).chunks_exact(self.shape.rows);
            for (episode, row) in part.iter().zip(rows) {
                out.extend((0..episode.len()).map(|t| f64::from(row[place(episode, t).0])));
            }
        }
    }

    /// One step of Adam along the last gradient.
    pub(super) fn step(&mut self, mut update: Update, max_grad_norm: f64) -> Update {
        clip_norm(&mut self.gradient, max_grad_norm as f32);
        update.skipped = !self.gradient.iter().all(|g| g.is_finite());
        if !update.skipped {
            self.adam.step(self.params.values_mut(), &self.gradient);
        }
        update
    }

    pub(super) fn last_gradient(&self) -> Vec<f64> {
        self.gradient.iter().copied().map(f64::from).collect()
    }

    fn write(&mut self, part: &[&Episode], advantages: &[f64], place: &Place<'_>) {
        let Rows { rows, columns } = self.shape;
        let inputs = &mut self.inputs;
        let filled = part.len() * rows;
        // A closed row is even over everything and weighs nothing.
        inputs.mask[..filled * columns].fill(1.0);
        for buffer in [&mut inputs.action, &mut inputs.advantage, &mut inputs.open, &mut inputs.tokens] {
            buffer[..filled].fill(0.0);
        }
        let mut advantages = advantages.iter();
        for (i, episode) in part.iter().enumerate() {
            for (t, choice) in episode.choices().enumerate() {
                let (row, column, token) = place(episode, t);
                let row = i * rows + row;
                let mask = &mut inputs.mask[row * columns..][..columns];
                mask.fill(0.0);
                for (cell, &open) in mask[column..].iter_mut().zip(choice.mask) {
                    *cell = f32::from(u8::from(open));
                }
                inputs.action[row] = (column + choice.option) as f32;
                inputs.advantage[row] = advantages.next().map_or(0.0, |&advantage| advantage as f32);
                inputs.open[row] = 1.0;
                inputs.tokens[row] = token as f32;
            }
        }
    }
}

impl Inputs {
    /// What both programs read.
    fn feed(&self, n: usize, shape: Rows) -> Feed<'_> {
        let Rows { rows, columns } = shape;
        Feed::new(n)
            .with("mask", &self.mask[..n * rows * columns])
            .with("action", &self.action[..n * rows])
            .with("open", &self.open[..n * rows])
            .with("tokens", &self.tokens[..n * rows])
            .with("state", &self.state[..n * (self.state.len() / BATCH)])
    }
}
