//! The network of the recurrent policy: one LSTM layer and a head, its forward pass over a batch of episodes and the
//! gradients, by the kernels of the engine.
//!
//! It is small and called for every proposal, so it is written out here: as a compiled program, most of its time went into
//! starting operations.

use std::ops::Range;

use nas_core::Rng;
use nas_nn::kernel;
use rand::RngExt as _;

use super::{Update, masked_softmax};
use crate::environment::Episode;

/// Units of the LSTM.
pub(super) const UNITS: usize = 32;
const GATES: usize = 4 * UNITS;

/// Weights: a row of gates for every token that can be read (the start, and each option of each slot), the recurrence,
/// the gates' biases, and a row of the head with a bias for every option of every slot.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) weights: Vec<f32>,
    pub(super) gradient: Vec<f32>,
    options: usize,
    /// Where the options of each slot begin.
    first: Vec<usize>,
    tape: Tape,
}

/// What a forward pass leaves for the backward one. Rows are step after step, in each an episode after the other.
#[derive(Debug, Clone, Default)]
struct Tape {
    /// Activated gates, cells and outputs.
    gates: Vec<f32>,
    c: Vec<f32>,
    h: Vec<f32>,
    /// By choice, an episode's after the other's: where its probabilities begin, and its entropy.
    choices: Vec<(usize, f64)>,
    /// The probability of every option of every choice, and its logarithm (zero where masked).
    p: Vec<f64>,
    log_p: Vec<f64>,
    logits: Vec<f64>,
    softmax: Vec<f64>,
    dgates: Vec<f32>,
    dh: Vec<f32>,
    dc: Vec<f32>,
}

impl Network {
    /// For slots with these numbers of options: the weights of the input uniform between ±½, of the recurrence and its
    /// biases between ±1/√units, the head zero.
    pub(super) fn new(arity: &[usize], rng: &mut Rng) -> Self {
        let mut options = 0;
        let first = arity
            .iter()
            .map(|arity| {
                options += arity;
                options - arity
            })
            .collect();
        let mut network = Network { weights: Vec::new(), gradient: Vec::new(), options, first, tape: Tape::default() };
        network.weights = vec![0.0; Self::weights(options)];
        network.gradient = vec![0.0; network.weights.len()];
        let (inputs, end) = (network.hidden().start, network.bias().end);
        let bound = (UNITS as f32).sqrt().recip();
        for (i, weight) in network.weights[..end].iter_mut().enumerate() {
            let bound = if i < inputs { 0.5 } else { bound };
            *weight = rng.random_range(-bound..bound);
        }
        network
    }

    /// How many weights there are for so many options of all slots together.
    pub(super) fn weights(options: usize) -> usize {
        (options + 1 + UNITS + 1) * GATES + options * (UNITS + 1)
    }

    /// How many tokens can be read.
    fn tokens(&self) -> usize {
        self.options + 1
    }

    fn input(token: usize) -> Range<usize> {
        token * GATES..(token + 1) * GATES
    }

    fn hidden(&self) -> Range<usize> {
        let start = self.tokens() * GATES;
        start..start + UNITS * GATES
    }

    fn bias(&self) -> Range<usize> {
        let start = self.hidden().end;
        start..start + GATES
    }

    fn head(&self, option: usize) -> Range<usize> {
        let start = self.bias().end + option * UNITS;
        start..start + UNITS
    }

    fn head_bias(&self, options: Range<usize>) -> Range<usize> {
        let start = self.head(self.options).start;
        start + options.start..start + options.end
    }

    /// The token of a choice; that of the start is 0.
    pub(super) fn token(&self, slot: usize, option: usize) -> usize {
        1 + self.first[slot] + option
    }

    /// Multiplies the head by `factor`.
    pub(super) fn soften(&mut self, factor: f32) {
        let head = self.bias().end;
        kernel::scale(factor, &mut self.weights[head..]);
    }

    /// Reads a token after what is remembered in `h` and `c`, and remembers it there.
    pub(super) fn read(&self, token: usize, h: &mut [f32], c: &mut [f32]) {
        let mut gates = [0.0; GATES];
        gates.copy_from_slice(&self.weights[Self::input(token)]);
        let hidden = &self.weights[self.hidden()];
        kernel::gemm([1, GATES, UNITS], h, [UNITS, 1], hidden, [GATES, 1], 1.0, &mut gates, [GATES, 1]);
        kernel::lstm_row(&mut gates, &self.weights[self.bias()], c, h);
    }

    /// Writes the logits of the options of a slot after what is remembered in `h`.
    pub(super) fn logits(&self, slot: usize, options: usize, h: &[f32], out: &mut Vec<f64>) {
        let first = self.first[slot];
        let bias = &self.weights[self.head_bias(first..first + options)];
        let rows = &self.weights[self.head(first).start..self.head(first + options).start];
        out.clear();
        out.extend(rows.chunks_exact(UNITS).zip(bias).map(|(row, bias)| f64::from(dot(row, h) + bias)));
    }

    /// Runs over a batch, and appends ln π of every choice to `out`.
    pub(super) fn forward(&mut self, batch: &[&Episode], out: &mut Vec<f64>) {
        let mut tape = std::mem::take(&mut self.tape);
        let (n, steps) = (batch.len(), batch.iter().map(|episode| episode.len()).max().unwrap_or(0));
        tape.start(batch, steps);
        for t in 0..steps {
            let (h_before, h) = tape.h.split_at_mut(t * n * UNITS);
            let (c_before, c) = tape.c.split_at_mut(t * n * UNITS);
            let gates = &mut tape.gates[t * n * GATES..(t + 1) * n * GATES];
            if t == 0 {
                gates.fill(0.0);
            } else {
                let (before, hidden) = (&h_before[(t - 1) * n * UNITS..], &self.weights[self.hidden()]);
                kernel::gemm([n, GATES, UNITS], before, [UNITS, 1], hidden, [GATES, 1], 0.0, gates, [GATES, 1]);
            }
            let mut base = 0;
            for (e, episode) in batch.iter().enumerate() {
                let (row, own) = (e * UNITS..(e + 1) * UNITS, base + t);
                base += episode.len();
                let gates = &mut gates[e * GATES..(e + 1) * GATES];
                let (h, c) = (&mut h[row.clone()], &mut c[row.clone()]);
                if t >= episode.len() {
                    gates.fill(0.0);
                    h.fill(0.0);
                    c.fill(0.0);
                    continue;
                }
                kernel::axpy(1.0, &self.weights[Self::input(self.read_before(episode, t))], gates);
                match t {
                    0 => c.fill(0.0),
                    _ => c.copy_from_slice(&c_before[(t - 1) * n * UNITS..][row]),
                }
                kernel::lstm_row(gates, &self.weights[self.bias()], c, h);
                let choice = episode.choice(t);
                self.logits(choice.slot, choice.mask.len(), h, &mut tape.logits);
                let normaliser = masked_softmax(&tape.logits, choice.mask, &mut tape.softmax);
                let start = tape.choices[own].0;
                let mut entropy = 0.0;
                for (k, (&p, &open)) in tape.softmax.iter().zip(choice.mask).enumerate() {
                    let log_p = if open { tape.logits[k] - normaliser } else { 0.0 };
                    (tape.p[start + k], tape.log_p[start + k]) = (p, log_p);
                    entropy -= p * log_p;
                }
                tape.choices[own].1 = entropy;
            }
        }
        let mut own = tape.choices.iter();
        for choice in batch.iter().flat_map(|episode| episode.choices()) {
            let (start, _) = own.next().expect("the tape has every choice");
            out.push(tape.log_p[start + choice.option]);
        }
        self.tape = tape;
    }

    /// The token that stands before choice `t`.
    fn read_before(&self, episode: &Episode, t: usize) -> usize {
        t.checked_sub(1).map_or(0, |before| {
            let choice = episode.choice(before);
            self.token(choice.slot, choice.option)
        })
    }

    /// The gradient of −mean Σₜ Aₜ log π(aₜ) − β mean Σₜ Hₜ over the batch of the last [`forward`](Self::forward), into
    /// `gradient`.
    pub(super) fn backward(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64) -> Update {
        let mut tape = std::mem::take(&mut self.tape);
        let mut gradient = std::mem::take(&mut self.gradient);
        gradient.fill(0.0);
        let (n, steps) = (batch.len(), batch.iter().map(|episode| episode.len()).max().unwrap_or(0));
        let share = 1.0 / n.max(1) as f64;
        let mut update = Update::default();
        for t in (0..steps).rev() {
            let mut base = 0;
            for (e, episode) in batch.iter().enumerate() {
                let (row, own) = ((t * n + e) * UNITS, base + t);
                base += episode.len();
                let dgates = &mut tape.dgates[(t * n + e) * GATES..][..GATES];
                if t >= episode.len() {
                    dgates.fill(0.0);
                    continue;
                }
                let (h, c) = (&tape.h[row..row + UNITS], &tape.c[row..row + UNITS]);
                let (dh, dc) = (&mut tape.dh[e * UNITS..][..UNITS], &mut tape.dc[e * UNITS..][..UNITS]);
                let (choice, (start, entropy)) = (episode.choice(t), tape.choices[own]);
                let (advantage, first) = (advantages[own], self.first[choice.slot]);
                update.policy_loss -= share * advantage * tape.log_p[start + choice.option];
                update.entropy += entropy;
                for (k, &open) in choice.mask.iter().enumerate() {
                    if !open {
                        continue;
                    }
                    let (p, log_p) = (tape.p[start + k], tape.log_p[start + k]);
                    let mut d = p * (advantage + ent_coef * (log_p + entropy));
                    if k == choice.option {
                        d -= advantage;
                    }
                    let d = (share * d) as f32;
                    add(d, h, &mut gradient[self.head(first + k)]);
                    add(d, &self.weights[self.head(first + k)], dh);
                    gradient[self.head_bias(first + k..first + k + 1).start] += d;
                }
                let before = t.checked_sub(1).map(|before| &tape.c[(before * n + e) * UNITS..][..UNITS]);
                kernel::lstm_row_backward(&tape.gates[(t * n + e) * GATES..][..GATES], before, c, dh, dc, dgates);
                kernel::axpy(1.0, dgates, &mut gradient[Self::input(self.read_before(episode, t))]);
            }
            if t > 0 {
                // Back through the recurrence: by the transpose of its weights.
                let (dgates, hidden) = (&tape.dgates[t * n * GATES..][..n * GATES], &self.weights[self.hidden()]);
                kernel::gemm([n, UNITS, GATES], dgates, [GATES, 1], hidden, [1, GATES], 0.0, &mut tape.dh, [UNITS, 1]);
            }
        }
        if steps > 1 {
            let (rows, later) = ((steps - 1) * n, &tape.dgates[n * GATES..]);
            let to = &mut gradient[self.hidden()];
            kernel::gemm([UNITS, GATES, rows], &tape.h, [1, UNITS], later, [GATES, 1], 0.0, to, [GATES, 1]);
        }
        kernel::column_sums(&tape.dgates[..steps * n * GATES], &mut gradient[self.bias()], false);
        update.entropy /= tape.choices.len().max(1) as f64;
        update.grad_norm = kernel::sum_squares(&gradient).sqrt();
        (self.tape, self.gradient) = (tape, gradient);
        update
    }
}

impl Tape {
    /// Makes room for a batch.
    fn start(&mut self, batch: &[&Episode], steps: usize) {
        let rows = steps * batch.len();
        for (buffer, width) in
            [(&mut self.gates, GATES), (&mut self.dgates, GATES), (&mut self.c, UNITS), (&mut self.h, UNITS)]
        {
            buffer.resize(rows * width, 0.0);
        }
        for buffer in [&mut self.dh, &mut self.dc] {
            buffer.clear();
            buffer.resize(batch.len() * UNITS, 0.0);
        }
        self.choices.clear();
        let mut options = 0;
        for choice in batch.iter().flat_map(|episode| episode.choices()) {
            self.choices.push((options, 0.0));
            options += choice.mask.len();
        }
        self.p.resize(options, 0.0);
        self.log_p.resize(options, 0.0);
    }
}

/// The inner product of rows of a few units, in a fixed order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// `y += a x`.
fn add(a: f32, x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}
