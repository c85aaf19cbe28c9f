//! A recurrent policy: each decision knows the ones before it (Zoph & Le, 2017; Pham et al., 2018).
//!
//! Its network is small and called for every proposal, so its passes are written out with the kernels of the engine: as a
//! compiled program, most of its time went into starting operations.

use std::ops::Range;

use nas_core::Rng;
use nas_nn::kernel;

use super::anchors::{Anchor, anchors};
use super::layers::{Head, add, dot, uniform};
use super::network::{Batch, Network, Networked, Prefix, Vocabulary};
use crate::environment::{Environment, Episode};

/// Units of the LSTM.
const UNITS: usize = 32;
const GATES: usize = 4 * UNITS;
/// Units of the attention: of an anchor and of a query; both are computed in one product.
const DEPTH: usize = 16;
const BOTH: usize = 2 * DEPTH;
/// What is remembered of a step: h, c and, with anchors, what later steps compare themselves with.
const WIDTH: usize = 2 * UNITS + DEPTH;

/// An LSTM of 32 units over the open slots. It reads the choice before, and its head, zero at the start so that the policy
/// begins exactly even, has a logit for every option of every slot.
///
/// Where a choice stands on an edge of a cell and can remove it, anchor-point attention adds to what the head says: the
/// logit of removing the edge is lower by
///
/// u = v · tanh(Wₐ hⱼ + W_q h)
///
/// where h is the state of the present step and hⱼ that of the node which the edge leaves (Zoph & Le, 2017, § 3.3); v is zero
/// at the start.
pub type Lstm = Networked<LstmNetwork>;

impl Lstm {
    /// For the slots of `environment`, drawn from `rng`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f64, rng: &mut Rng) -> Self {
        let network = LstmNetwork::new(environment.arity(), anchors(environment.space()));
        Networked::start(network, learning_rate, rng)
    }

    /// How many weights it has, with anchors, for slots with these numbers of options.
    pub fn weights(arity: &[usize]) -> usize {
        let options: usize = arity.iter().sum();
        (options + 1 + UNITS + 1) * GATES + UNITS * BOTH + Head::len(UNITS, options) + DEPTH
    }
}

/// The network of [`Lstm`]. Its weights: a row of gates for every token, the recurrence, the gates' biases, with anchors Wₐ
/// beside W_q, the head, and with anchors v.
#[derive(Debug)]
pub struct LstmNetwork {
    vocabulary: Vocabulary,
    anchors: Vec<Vec<Anchor>>,
    /// Whether any slot has an anchor.
    attends: bool,
    head: Head,
    tape: Tape,
}

/// What a forward pass leaves for the backward one. Rows are step after step, in each an episode after the other.
#[derive(Debug, Default)]
struct Tape {
    /// Activated gates, cells and outputs.
    gates: Vec<f32>,
    c: Vec<f32>,
    h: Vec<f32>,
    /// Wₐ h and W_q h.
    both: Vec<f32>,
    dboth: Vec<f32>,
    dgates: Vec<f32>,
    dh: Vec<f32>,
    dc: Vec<f32>,
}

impl LstmNetwork {
    fn new(arity: &[usize], anchors: Vec<Vec<Anchor>>) -> Self {
        let vocabulary = Vocabulary::new(arity);
        let attends = anchors.iter().any(|slot| !slot.is_empty());
        let body = (vocabulary.tokens() + UNITS + 1) * GATES + if attends { UNITS * BOTH } else { 0 };
        let head = Head::new(body, UNITS, vocabulary.options());
        LstmNetwork { vocabulary, anchors, attends, head, tape: Tape::default() }
    }

    fn input(token: usize) -> Range<usize> {
        token * GATES..(token + 1) * GATES
    }

    fn hidden(&self) -> Range<usize> {
        let start = self.vocabulary.tokens() * GATES;
        start..start + UNITS * GATES
    }

    fn bias(&self) -> Range<usize> {
        let start = self.hidden().end;
        start..start + GATES
    }

    fn attention(&self) -> Range<usize> {
        self.bias().end..self.head.range().start
    }

    /// v.
    fn scores(&self) -> Range<usize> {
        let start = self.head.range().end;
        start..start + if self.attends { DEPTH } else { 0 }
    }

    /// What attention says of an anchor and a query.
    fn score(&self, weights: &[f32], anchor: &[f32], query: &[f32]) -> f32 {
        let mut z = [0.0; DEPTH];
        kernel::zip(anchor, query, &mut z, |a, q| kernel::tanh(a + q));
        dot(&z, &weights[self.scores()])
    }

    /// The place of the step that an anchor of step `t` refers to.
    fn referred(anchor: &Anchor, episode: &Episode, t: usize) -> usize {
        (0..t).find(|&earlier| episode.choice(earlier).slot >= anchor.from).unwrap_or(t)
    }
}

impl Network for LstmNetwork {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Uniform: of the input between ±½, of the recurrence, its biases and the attention between ±1/√units.
    fn initial(&self, rng: &mut Rng) -> Vec<f32> {
        let mut weights: Vec<f32> = uniform(0.5, rng).take(self.hidden().start).collect();
        weights.extend(uniform((UNITS as f32).sqrt().recip(), rng).take(self.attention().end - self.hidden().start));
        weights.resize(self.scores().end, 0.0);
        weights
    }

    fn head(&self) -> Range<usize> {
        self.head.range().start..self.scores().end
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn read(&mut self, weights: &[f32], prefix: &Prefix<'_>, row: &mut [f32], logits: &mut Vec<f64>) {
        let mut gates = [0.0; GATES];
        gates.copy_from_slice(&weights[Self::input(prefix.token)]);
        let (h, rest) = row.split_at_mut(UNITS);
        let (c, anchor) = rest.split_at_mut(UNITS);
        if let Some(before) = prefix.len().checked_sub(1).map(|t| prefix.row(t)) {
            let hidden = &weights[self.hidden()];
            kernel::gemm([1, GATES, UNITS], before, [UNITS, 1], hidden, [GATES, 1], 1.0, &mut gates, [GATES, 1]);
            c.copy_from_slice(&before[UNITS..2 * UNITS]);
        } else {
            c.fill(0.0);
        }
        kernel::lstm_row(&mut gates, &weights[self.bias()], c, h);
        let start = logits.len();
        logits.extend(self.head.logits(weights, &self.vocabulary, prefix.slot, h));
        if !self.attends {
            return;
        }
        let mut both = [0.0; BOTH];
        let attention = &weights[self.attention()];
        kernel::gemm([1, BOTH, UNITS], h, [UNITS, 1], attention, [BOTH, 1], 0.0, &mut both, [BOTH, 1]);
        anchor.copy_from_slice(&both[..DEPTH]);
        for refers in &self.anchors[prefix.slot] {
            let earlier = prefix.slots().position(|slot| slot >= refers.from);
            let at = earlier.map_or(&*anchor, |t| &prefix.row(t)[2 * UNITS..]);
            logits[start + refers.option] += f64::from(refers.sign * self.score(weights, at, &both[DEPTH..]));
        }
    }

    fn forward(&mut self, weights: &[f32], batch: &Batch<'_>, logits: &mut [f64]) {
        let mut tape = std::mem::take(&mut self.tape);
        let (n, steps) = (batch.episodes.len(), batch.longest());
        tape.start(n, steps);
        for t in 0..steps {
            let (h_before, h) = tape.h.split_at_mut(t * n * UNITS);
            let (c_before, c) = tape.c.split_at_mut(t * n * UNITS);
            let gates = &mut tape.gates[t * n * GATES..(t + 1) * n * GATES];
            if t == 0 {
                gates.fill(0.0);
            } else {
                let (before, hidden) = (&h_before[(t - 1) * n * UNITS..], &weights[self.hidden()]);
                kernel::gemm([n, GATES, UNITS], before, [UNITS, 1], hidden, [GATES, 1], 0.0, gates, [GATES, 1]);
            }
            for (e, episode) in batch.episodes.iter().enumerate() {
                let row = e * UNITS..(e + 1) * UNITS;
                let gates = &mut gates[e * GATES..(e + 1) * GATES];
                let (h, c) = (&mut h[row.clone()], &mut c[row.clone()]);
                if t >= episode.len() {
                    gates.fill(0.0);
                    h.fill(0.0);
                    c.fill(0.0);
                    continue;
                }
                kernel::axpy(1.0, &weights[Self::input(self.vocabulary.before(episode, t))], gates);
                match t {
                    0 => c.fill(0.0),
                    _ => c.copy_from_slice(&c_before[(t - 1) * n * UNITS..][row]),
                }
                kernel::lstm_row(gates, &weights[self.bias()], c, h);
                let slot = episode.choice(t).slot;
                let out = &mut logits[batch.options(batch.first(e) + t)];
                out.iter_mut().zip(self.head.logits(weights, &self.vocabulary, slot, h)).for_each(|(y, x)| *y = x);
            }
        }
        if self.attends {
            let (rows, attention) = (steps * n, &weights[self.attention()]);
            kernel::gemm(
                [rows, BOTH, UNITS],
                &tape.h,
                [UNITS, 1],
                attention,
                [BOTH, 1],
                0.0,
                &mut tape.both,
                [BOTH, 1],
            );
            for (e, episode) in batch.episodes.iter().enumerate() {
                for (t, choice) in episode.choices().enumerate() {
                    for refers in &self.anchors[choice.slot] {
                        let (at, query) = tape.compared(Self::referred(refers, episode, t) * n + e, t * n + e);
                        let score = refers.sign * self.score(weights, at, query);
                        logits[batch.options(batch.first(e) + t)][refers.option] += f64::from(score);
                    }
                }
            }
        }
        self.tape = tape;
    }

    fn backward(&mut self, weights: &[f32], batch: &Batch<'_>, dlogits: &[f64], gradient: &mut [f32]) {
        let mut tape = std::mem::take(&mut self.tape);
        let (n, steps) = (batch.episodes.len(), batch.longest());
        tape.dboth.fill(0.0);
        tape.dh.fill(0.0);
        tape.dc.fill(0.0);
        for t in (0..steps).rev() {
            for (e, episode) in batch.episodes.iter().enumerate().filter(|(_, episode)| t < episode.len()) {
                let (row, slot) = ((t * n + e) * UNITS, episode.choice(t).slot);
                let dlogits = &dlogits[batch.options(batch.first(e) + t)];
                let (h, dh) = (&tape.h[row..row + UNITS], &mut tape.dh[e * UNITS..][..UNITS]);
                self.head.backward(weights, &self.vocabulary, slot, dlogits, h, dh, gradient);
                for refers in &self.anchors[slot] {
                    let d = refers.sign * dlogits[refers.option] as f32;
                    let rows = (Self::referred(refers, episode, t) * n + e, t * n + e);
                    tape.attend_backward(&weights[self.scores()], rows, d, &mut gradient[self.scores()]);
                }
            }
            if self.attends {
                // Later steps have said what they want of this one as an anchor.
                let (dboth, attention) = (&tape.dboth[t * n * BOTH..][..n * BOTH], &weights[self.attention()]);
                kernel::gemm([n, UNITS, BOTH], dboth, [BOTH, 1], attention, [1, BOTH], 1.0, &mut tape.dh, [UNITS, 1]);
            }
            for (e, episode) in batch.episodes.iter().enumerate() {
                let row = (t * n + e) * UNITS;
                let dgates = &mut tape.dgates[(t * n + e) * GATES..][..GATES];
                if t >= episode.len() {
                    dgates.fill(0.0);
                    continue;
                }
                let (dh, dc) = (&tape.dh[e * UNITS..][..UNITS], &mut tape.dc[e * UNITS..][..UNITS]);
                let before = t.checked_sub(1).map(|before| &tape.c[(before * n + e) * UNITS..][..UNITS]);
                let (gates, c) = (&tape.gates[(t * n + e) * GATES..][..GATES], &tape.c[row..row + UNITS]);
                kernel::lstm_row_backward(gates, before, c, dh, dc, dgates);
                kernel::axpy(1.0, dgates, &mut gradient[Self::input(self.vocabulary.before(episode, t))]);
            }
            if t > 0 {
                // Back through the recurrence: by the transpose of its weights.
                let (dgates, hidden) = (&tape.dgates[t * n * GATES..][..n * GATES], &weights[self.hidden()]);
                kernel::gemm([n, UNITS, GATES], dgates, [GATES, 1], hidden, [1, GATES], 0.0, &mut tape.dh, [UNITS, 1]);
            }
        }
        if steps > 1 {
            let (rows, later) = ((steps - 1) * n, &tape.dgates[n * GATES..]);
            let to = &mut gradient[self.hidden()];
            kernel::gemm([UNITS, GATES, rows], &tape.h, [1, UNITS], later, [GATES, 1], 1.0, to, [GATES, 1]);
        }
        if self.attends {
            let to = &mut gradient[self.attention()];
            kernel::gemm([UNITS, BOTH, steps * n], &tape.h, [1, UNITS], &tape.dboth, [BOTH, 1], 1.0, to, [BOTH, 1]);
        }
        kernel::column_sums(&tape.dgates[..steps * n * GATES], &mut gradient[self.bias()], true);
        self.tape = tape;
    }
}

impl Tape {
    /// Makes room for `steps` steps of `n` episodes.
    fn start(&mut self, n: usize, steps: usize) {
        let rows = steps * n;
        for (buffer, width) in [
            (&mut self.gates, GATES),
            (&mut self.dgates, GATES),
            (&mut self.c, UNITS),
            (&mut self.h, UNITS),
            (&mut self.both, BOTH),
            (&mut self.dboth, BOTH),
        ] {
            buffer.resize(rows * width, 0.0);
        }
        self.dh.resize(n * UNITS, 0.0);
        self.dc.resize(n * UNITS, 0.0);
    }

    /// What the attention compares: an anchor and a query, by their rows.
    fn compared(&self, anchor: usize, query: usize) -> (&[f32], &[f32]) {
        (&self.both[anchor * BOTH..][..DEPTH], &self.both[query * BOTH + DEPTH..][..DEPTH])
    }

    /// With z = tanh(a + q) and u = v · z: dv = z du, da = dq = du v (1 − z²).
    fn attend_backward(&mut self, v: &[f32], (anchor, query): (usize, usize), du: f32, dv: &mut [f32]) {
        let mut z = [0.0; DEPTH];
        let (a, q) = self.compared(anchor, query);
        kernel::zip(a, q, &mut z, |a, q| kernel::tanh(a + q));
        add(du, &z, dv);
        for (i, (z, v)) in z.iter().zip(v).enumerate() {
            let d = du * v * (1.0 - z * z);
            self.dboth[anchor * BOTH + i] += d;
            self.dboth[query * BOTH + DEPTH + i] += d;
        }
    }
}
