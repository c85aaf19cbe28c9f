//! A policy over the partial architecture as a graph: decisions are nodes, and what is decided sends messages to what is to
//! be decided next.

use std::ops::Range;

use nas_core::{Rng, SearchSpace};
use nas_nn::kernel;

use super::layers::{Head, add, uniform};
use super::network::{Batch, Network, Networked, Prefix, Vocabulary};
use crate::environment::Environment;
use crate::surrogate::cells;

/// Numbers of a node.
const UNITS: usize = 32;
/// Relations that depend on the space: into the node that an edge of a cell leaves, into the node that it enters, out of
/// the node that it leaves, and the decisions that a condition looks at.
const GIVEN: usize = 4;
/// All relations: the decision just before, all decisions before, and the given ones.
const RELATIONS: usize = 2 + GIVEN;
const MESSAGES: usize = RELATIONS * UNITS;
/// What is remembered of a step: the state of the decision before it, the sum of the states of all, and its query.
const WIDTH: usize = 3 * UNITS;

/// Message passing over what was decided so far, each node once and in the order of the decisions, as graphs without cycles
/// are encoded by D-VAE (Zhang, Jiang, Cui, Garnett and Chen, 2019).
///
/// The query of a step is q = tanh(p + Σᵣ Wᵣ mᵣ), where p belongs to its slot and mᵣ is the mean state of the earlier
/// decisions in relation r to it: the one before, all, those whose edges of a cell meet its own (three ways), those its
/// condition looks at. The head makes q logits, all zero at the start so that the policy begins exactly even; once chosen,
/// the decision's state is tanh(U q + e), where e belongs to the option. Closed decisions send nothing.
pub type Graph = Networked<GraphNetwork>;

impl Graph {
    /// For the slots of `environment`, drawn from `rng`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f64, rng: &mut Rng) -> Self {
        let network = GraphNetwork::new(environment.arity(), neighbours(environment.space()));
        Networked::start(network, learning_rate, rng)
    }

    /// How many weights it has for slots with these numbers of options.
    pub fn weights(arity: &[usize]) -> usize {
        GraphNetwork::new(arity, Vec::new()).head.range().end
    }
}

/// The earlier slots in each given relation to a slot.
type Neighbours = [Vec<usize>; GIVEN];

/// The network of [`Graph`]. Its weights: e of every option, p of every slot, U, all Wᵣ one below the other, the head.
#[derive(Debug)]
pub struct GraphNetwork {
    vocabulary: Vocabulary,
    neighbours: Vec<Neighbours>,
    head: Head,
    tape: Tape,
}

/// What a forward pass leaves for the backward one. Rows are step after step, in each an episode after the other.
#[derive(Debug, Default)]
struct Tape {
    /// The step of every slot of every episode.
    steps: Vec<Option<usize>>,
    messages: Vec<f32>,
    queries: Vec<f32>,
    states: Vec<f32>,
    /// Of each episode: the sum of its states, and later that of the gradients by their mean.
    sums: Vec<f32>,
    dmessages: Vec<f32>,
    dqueries: Vec<f32>,
    dstates: Vec<f32>,
}

/// The neighbours of every slot.
fn neighbours(space: &SearchSpace) -> Vec<Neighbours> {
    let mut all: Vec<Neighbours> = (0..space.slots().len()).map(|_| Neighbours::default()).collect();
    for cell in cells(space) {
        for edge in &cell.edges {
            for other in cell.edges.iter().filter(|other| other.slot < edge.slot) {
                let related = [other.to == edge.from, other.to == edge.to, other.from == edge.from];
                let relations = all[edge.slot].iter_mut().zip(related).filter(|(_, related)| *related);
                relations.for_each(|(slots, _)| slots.push(other.slot));
            }
        }
    }
    for (slot, neighbours) in all.iter_mut().enumerate() {
        neighbours[GIVEN - 1] = space.opened_by(slot);
        for slots in neighbours {
            slots.sort_unstable();
            slots.dedup();
        }
    }
    all
}

/// A part of a row of messages.
fn part(relation: usize) -> Range<usize> {
    relation * UNITS..(relation + 1) * UNITS
}

/// Writes the messages to a step after `steps` others: from the state before it, the sum of all, and those of neighbours.
fn gather<'a>(
    messages: &mut [f32],
    steps: usize,
    [before, sum]: [&[f32]; 2],
    neighbours: &Neighbours,
    state: impl Fn(usize) -> Option<&'a [f32]>,
) {
    messages.fill(0.0);
    if steps == 0 {
        return;
    }
    messages[part(0)].copy_from_slice(before);
    add(1.0 / steps as f32, sum, &mut messages[part(1)]);
    for (relation, slots) in neighbours.iter().enumerate() {
        let states = || slots.iter().filter_map(|&slot| state(slot));
        let share = 1.0 / states().count() as f32;
        states().for_each(|state| add(share, state, &mut messages[part(2 + relation)]));
    }
}

fn tanh_in_place(x: &mut [f32]) {
    kernel::map_in_place(x, kernel::tanh);
}

/// `dz = dy (1 − y²)` for y = tanh z.
fn through_tanh(dy: &mut [f32], y: &[f32]) {
    dy.iter_mut().zip(y).for_each(|(d, y)| *d *= 1.0 - y * y);
}

impl GraphNetwork {
    fn new(arity: &[usize], neighbours: Vec<Neighbours>) -> Self {
        let vocabulary = Vocabulary::new(arity);
        let start = (vocabulary.options() + vocabulary.slots() + UNITS + MESSAGES) * UNITS;
        let head = Head::new(start, UNITS, vocabulary.options());
        GraphNetwork { vocabulary, neighbours, head, tape: Tape::default() }
    }

    /// e, by the token of the choice.
    fn embedding(token: usize) -> Range<usize> {
        (token - 1) * UNITS..token * UNITS
    }

    /// p.
    fn position(&self, slot: usize) -> Range<usize> {
        let start = (self.vocabulary.options() + slot) * UNITS;
        start..start + UNITS
    }

    /// U.
    fn choose(&self) -> Range<usize> {
        let start = self.position(self.vocabulary.slots()).start;
        start..start + UNITS * UNITS
    }

    /// All Wᵣ.
    fn receive(&self) -> Range<usize> {
        self.choose().end..self.head.range().start
    }

    /// For rows of queries, whose chosen options' e stand in `states`, the states.
    fn choose_rows(&self, weights: &[f32], queries: &[f32], states: &mut [f32]) {
        let (n, u) = (states.len() / UNITS, &weights[self.choose()]);
        kernel::gemm([n, UNITS, UNITS], queries, [UNITS, 1], u, [UNITS, 1], 1.0, states, [UNITS, 1]);
        tanh_in_place(states);
    }

    /// For rows of messages to slots, whose p stand in `queries`, the queries.
    fn receive_rows(&self, weights: &[f32], messages: &[f32], queries: &mut [f32]) {
        let (n, w) = (queries.len() / UNITS, &weights[self.receive()]);
        kernel::gemm([n, UNITS, MESSAGES], messages, [MESSAGES, 1], w, [UNITS, 1], 1.0, queries, [UNITS, 1]);
        tanh_in_place(queries);
    }
}

impl Network for GraphNetwork {
    fn name(&self) -> &'static str {
        "graph"
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// e and p uniform between ±½, matrices between ±1/√inputs.
    fn initial(&self, rng: &mut Rng) -> Vec<f32> {
        let mut weights: Vec<f32> = uniform(0.5, rng).take(self.choose().start).collect();
        for (matrix, inputs) in [(self.choose(), UNITS), (self.receive(), MESSAGES)] {
            weights.extend(uniform((inputs as f32).sqrt().recip(), rng).take(matrix.len()));
        }
        weights.resize(self.head.range().end, 0.0);
        weights
    }

    fn head(&self) -> Range<usize> {
        self.head.range()
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn read(&mut self, weights: &[f32], prefix: &Prefix<'_>, row: &mut [f32], logits: &mut Vec<f64>) {
        let (state, rest) = row.split_at_mut(UNITS);
        let (sum, query) = rest.split_at_mut(UNITS);
        if let Some(before) = prefix.len().checked_sub(1).map(|t| prefix.row(t)) {
            state.copy_from_slice(&weights[Self::embedding(prefix.token)]);
            self.choose_rows(weights, &before[2 * UNITS..], state);
            sum.copy_from_slice(&before[UNITS..2 * UNITS]);
            add(1.0, state, sum);
        }
        let (state, sum) = (&*state, &*sum);
        let of = |slot: usize| {
            let t = prefix.step(slot)?;
            Some(if t + 1 == prefix.len() { state } else { &prefix.row(t + 1)[..UNITS] })
        };
        let mut messages = [0.0; MESSAGES];
        gather(&mut messages, prefix.len(), [state, sum], &self.neighbours[prefix.slot], of);
        query.copy_from_slice(&weights[self.position(prefix.slot)]);
        self.receive_rows(weights, &messages, query);
        logits.extend(self.head.logits(weights, &self.vocabulary, prefix.slot, query));
    }

    fn forward(&mut self, weights: &[f32], batch: &Batch<'_>, logits: &mut [f64]) {
        let mut tape = std::mem::take(&mut self.tape);
        let (n, slots) = (batch.episodes.len(), self.vocabulary.slots());
        tape.start(batch, slots);
        for t in 0..batch.longest() {
            let rows = t * n * UNITS..(t + 1) * n * UNITS;
            let (known, states) = tape.states.split_at_mut(rows.start);
            let (queries, states) = (&mut tape.queries[rows.clone()], &mut states[..n * UNITS]);
            for (e, episode) in batch.episodes.iter().enumerate() {
                let own = e * UNITS..(e + 1) * UNITS;
                let messages = &mut tape.messages[(t * n + e) * MESSAGES..][..MESSAGES];
                if t >= episode.len() {
                    messages.fill(0.0);
                    queries[own].fill(0.0);
                    continue;
                }
                let state = |t: usize| &known[(t * n + e) * UNITS..][..UNITS];
                let sum = &mut tape.sums[own.clone()];
                let before = t.checked_sub(1).map(state).unwrap_or_default();
                add(1.0, before, sum);
                let slot = episode.choice(t).slot;
                let of = |slot: usize| tape.steps[e * slots + slot].filter(|&step| step < t).map(state);
                gather(messages, t, [before, sum], &self.neighbours[slot], of);
                queries[own].copy_from_slice(&weights[self.position(slot)]);
            }
            self.receive_rows(weights, &tape.messages[t * n * MESSAGES..][..n * MESSAGES], queries);
            for (e, episode) in batch.episodes.iter().enumerate() {
                let own = e * UNITS..(e + 1) * UNITS;
                if t >= episode.len() {
                    states[own].fill(0.0);
                    continue;
                }
                let choice = episode.choice(t);
                let said = self.head.logits(weights, &self.vocabulary, choice.slot, &queries[own.clone()]);
                let to = &mut logits[batch.options(batch.first(e) + t)];
                to.iter_mut().zip(said).for_each(|(logit, x)| *logit = x);
                let token = self.vocabulary.token(choice.slot, choice.option);
                states[own].copy_from_slice(&weights[Self::embedding(token)]);
            }
            self.choose_rows(weights, queries, states);
        }
        self.tape = tape;
    }

    fn backward(&mut self, weights: &[f32], batch: &Batch<'_>, dlogits: &[f64], gradient: &mut [f32]) {
        let mut tape = std::mem::take(&mut self.tape);
        let Tape { steps, messages, queries, states, sums, dmessages, dqueries, dstates } = &mut tape;
        let (n, slots, longest) = (batch.episodes.len(), self.vocabulary.slots(), batch.longest());
        sums.fill(0.0);
        dqueries.fill(0.0);
        dstates.fill(0.0);
        let (u, w) = (&weights[self.choose()], &weights[self.receive()]);
        for t in (0..longest).rev() {
            let rows = t * n * UNITS..(t + 1) * n * UNITS;
            // All that follows has said what it wants of these states.
            let (dstates_before, dstates) = dstates.split_at_mut(rows.start);
            let dstates = &mut dstates[..n * UNITS];
            through_tanh(dstates, &states[rows.clone()]);
            let dqueries = &mut dqueries[rows.clone()];
            kernel::gemm([n, UNITS, UNITS], dstates, [UNITS, 1], u, [1, UNITS], 0.0, dqueries, [UNITS, 1]);
            for (e, episode) in batch.episodes.iter().enumerate().filter(|(_, episode)| t < episode.len()) {
                let (choice, own) = (episode.choice(t), e * UNITS..(e + 1) * UNITS);
                let token = self.vocabulary.token(choice.slot, choice.option);
                add(1.0, &dstates[own.clone()], &mut gradient[Self::embedding(token)]);
                let d = &dlogits[batch.options(batch.first(e) + t)];
                let (query, dquery) = (&queries[rows.clone()][own.clone()], &mut dqueries[own.clone()]);
                self.head.backward(weights, &self.vocabulary, choice.slot, d, query, dquery, gradient);
                through_tanh(dquery, query);
                add(1.0, dquery, &mut gradient[self.position(choice.slot)]);
            }
            if t == 0 {
                break;
            }
            let dmessages = &mut dmessages[t * n * MESSAGES..][..n * MESSAGES];
            kernel::gemm([n, MESSAGES, UNITS], dqueries, [UNITS, 1], w, [1, UNITS], 0.0, dmessages, [MESSAGES, 1]);
            for (e, episode) in batch.episodes.iter().enumerate().filter(|(_, episode)| t < episode.len()) {
                let dmessages = &dmessages[e * MESSAGES..][..MESSAGES];
                let place = |step: usize| (step * n + e) * UNITS..(step * n + e + 1) * UNITS;
                let sum = &mut sums[e * UNITS..][..UNITS];
                add(1.0 / t as f32, &dmessages[part(1)], sum);
                let before = &mut dstates_before[place(t - 1)];
                add(1.0, &dmessages[part(0)], before);
                add(1.0, sum, before);
                for (relation, neighbours) in self.neighbours[episode.choice(t).slot].iter().enumerate() {
                    let known =
                        || neighbours.iter().filter_map(|slot| steps[e * slots + slot].filter(|&step| step < t));
                    let share = 1.0 / known().count() as f32;
                    known()
                        .for_each(|step| add(share, &dmessages[part(2 + relation)], &mut dstates_before[place(step)]));
                }
            }
        }
        let rows = longest * n;
        let to = &mut gradient[self.choose()];
        kernel::gemm([UNITS, UNITS, rows], queries, [1, UNITS], dstates, [UNITS, 1], 1.0, to, [UNITS, 1]);
        let to = &mut gradient[self.receive()];
        kernel::gemm([MESSAGES, UNITS, rows], messages, [1, MESSAGES], dqueries, [UNITS, 1], 1.0, to, [UNITS, 1]);
        self.tape = tape;
    }
}

impl Tape {
    /// Makes room for a batch, and takes note of where its slots are.
    fn start(&mut self, batch: &Batch<'_>, slots: usize) {
        let n = batch.episodes.len();
        let rows = batch.longest() * n;
        self.steps.clear();
        self.steps.resize(n * slots, None);
        for (e, episode) in batch.episodes.iter().enumerate() {
            for (t, choice) in episode.choices().enumerate() {
                self.steps[e * slots + choice.slot] = Some(t);
            }
        }
        for (buffer, width) in [
            (&mut self.messages, MESSAGES),
            (&mut self.dmessages, MESSAGES),
            (&mut self.queries, UNITS),
            (&mut self.dqueries, UNITS),
            (&mut self.states, UNITS),
            (&mut self.dstates, UNITS),
        ] {
            buffer.resize(rows * width, 0.0);
        }
        self.sums.clear();
        self.sums.resize(n * UNITS, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{benchmark_cell, conditional, cube};

    #[test]
    fn neighbours_of_a_cell_and_of_a_condition() {
        // The edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3.
        let cell = neighbours(&benchmark_cell());
        assert_eq!(cell[0], Neighbours::default());
        assert_eq!(cell[2], [vec![0], vec![1], vec![], vec![]]);
        assert_eq!(cell[5], [vec![1, 2], vec![3, 4], vec![], vec![]]);
        assert_eq!(cell[3], [vec![], vec![], vec![0, 1], vec![]]);
        // `kind` opens `depth`; a, b and c are a cell of three nodes.
        let conditional = neighbours(&conditional());
        assert_eq!(conditional[1], [vec![], vec![], vec![], vec![0]]);
        assert_eq!(conditional[3], [vec![2], vec![], vec![], vec![]]);
        assert_eq!(conditional[4], [vec![], vec![3], vec![2], vec![]]);
        assert!(neighbours(&cube(3, 5)).iter().all(|slot| *slot == Neighbours::default()));
    }
}
