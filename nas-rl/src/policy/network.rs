//! Policies by a network: what all of them share. A network turns the choices before a step into logits; here these become
//! probabilities and losses, and what was read of a prefix is remembered.

use std::ops::Range;

use nas_core::Rng;
use nas_core::space::KeyMap;
use nas_core::strategy::State;
use nas_nn::optim::{Adam, Optimizer as _, clip_norm};

use super::{Policy, Update, masked_softmax};
use crate::environment::Episode;

/// Floats that remembered prefixes may take: 4 MB.
const REMEMBERED: usize = 1 << 20;

/// A network over the steps of an episode, in single precision. A step knows the choices before it and its own slot.
///
/// Its weights are kept outside: a list of numbers, of which it says what they mean.
pub trait Network: Send {
    /// The name of the policy.
    fn name(&self) -> &'static str;

    /// What it reads.
    fn vocabulary(&self) -> &Vocabulary;

    /// The weights to begin with; those of the [`head`](Self::head) are zero.
    fn initial(&self, rng: &mut Rng) -> Vec<f32>;

    /// The weights that all logits are proportional to.
    fn head(&self) -> Range<usize>;

    /// How many numbers are to be remembered of a step.
    fn width(&self) -> usize;

    /// Writes what is to be remembered of the step after `prefix` to `row`, and appends the logits of its slot to `logits`.
    fn read(&mut self, weights: &[f32], prefix: &Prefix<'_>, row: &mut [f32], logits: &mut Vec<f64>);

    /// Writes the logits of all steps of a batch.
    fn forward(&mut self, weights: &[f32], batch: &Batch<'_>, logits: &mut [f64]);

    /// Adds the gradient by the weights to `gradient`, from that by the logits of the batch that was read last by
    /// [`forward`](Self::forward).
    fn backward(&mut self, weights: &[f32], batch: &Batch<'_>, dlogits: &[f64], gradient: &mut [f32]);
}

/// Where the options of all slots stand in one list, each of which is a token that a network can read; token 0 stands before
/// the first choice.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    first: Vec<usize>,
}

impl Vocabulary {
    /// Of slots with these numbers of options.
    pub(super) fn new(arity: &[usize]) -> Self {
        let mut first = vec![0];
        first.extend(arity.iter().scan(0, |end, arity| {
            *end += arity;
            Some(*end)
        }));
        Vocabulary { first }
    }

    /// The number of slots.
    pub(super) fn slots(&self) -> usize {
        self.first.len() - 1
    }

    /// The options of all slots together.
    pub(super) fn options(&self) -> usize {
        self.first[self.slots()]
    }

    /// How many tokens can be read.
    pub(super) fn tokens(&self) -> usize {
        self.options() + 1
    }

    /// The options of `slot`.
    pub(super) fn of(&self, slot: usize) -> Range<usize> {
        self.first[slot]..self.first[slot + 1]
    }

    /// The token of a choice.
    pub(super) fn token(&self, slot: usize, option: usize) -> usize {
        1 + self.first[slot] + option
    }

    /// The token that stands before step `t` of `episode`.
    pub(super) fn before(&self, episode: &Episode, t: usize) -> usize {
        t.checked_sub(1).map_or(0, |before| {
            let choice = episode.choice(before);
            self.token(choice.slot, choice.option)
        })
    }
}

/// What has been read of an episode that is under way.
#[derive(Debug)]
pub struct Prefix<'a> {
    rows: &'a [f32],
    width: usize,
    steps: &'a [(usize, usize)],
    /// The token before the step.
    pub(super) token: usize,
    /// The slot to choose an option of.
    pub(super) slot: usize,
}

impl<'a> Prefix<'a> {
    /// How many steps are before this one.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// What is remembered of an earlier step.
    pub(super) fn row(&self, t: usize) -> &'a [f32] {
        &self.rows[self.steps[t].0 * self.width..][..self.width]
    }

    /// The earlier step of a slot.
    pub(super) fn step(&self, slot: usize) -> Option<usize> {
        self.steps.binary_search_by_key(&slot, |&(_, slot)| slot).ok()
    }

    /// The slots of the earlier steps, ascending.
    pub(super) fn slots(&self) -> impl ExactSizeIterator<Item = usize> {
        self.steps.iter().map(|&(_, slot)| slot)
    }
}

/// Episodes that are read together, and where their steps and options stand in lists of those of all.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The episodes.
    pub(super) episodes: &'a [&'a Episode],
    first: &'a [usize],
    options: &'a [usize],
}

impl Batch<'_> {
    /// The place of an episode's first step, and of one beyond the last.
    pub(super) fn first(&self, episode: usize) -> usize {
        self.first[episode]
    }

    /// The options of a step by its place.
    pub(super) fn options(&self, place: usize) -> Range<usize> {
        self.options[place]..self.options[place + 1]
    }

    /// All steps together.
    pub(super) fn len(&self) -> usize {
        self.options.len() - 1
    }

    /// The most steps of an episode.
    pub(super) fn longest(&self) -> usize {
        self.episodes.iter().map(|episode| episode.len()).max().unwrap_or(0)
    }
}

/// A [`Policy`] by a [`Network`], updated by Adam.
///
/// What a network says of a prefix is worked out once an update, however many episodes begin with it, and what it says of a
/// batch once for its probabilities and its gradient.
#[derive(Debug)]
pub struct Networked<N> {
    pub(super) network: N,
    weights: Vec<f32>,
    gradient: Vec<f32>,
    adam: Adam,
    memory: Memory,
    /// The rows that were walked over, each with its slot, and the token to read after them; none once it was read.
    at: Vec<(usize, usize)>,
    token: Option<usize>,
    tape: Tape,
}

/// What is remembered of prefixes.
#[derive(Debug, Default)]
struct Memory {
    rows: Vec<f32>,
    /// The logits of each row's slot.
    logits: Vec<f64>,
    ends: Vec<usize>,
    /// The row after a row and a token, both in one key.
    next: KeyMap<usize>,
}

/// A batch, and what was worked out for it.
#[derive(Debug, Default)]
struct Tape {
    /// Whose figures these are; none after the weights have changed.
    episodes: Vec<Episode>,
    first: Vec<usize>,
    options: Vec<usize>,
    logits: Vec<f64>,
    /// The probability of every option of every step, and its logarithm (zero where masked).
    p: Vec<f64>,
    log_p: Vec<f64>,
    entropy: Vec<f64>,
    softmax: Vec<f64>,
    dlogits: Vec<f64>,
}

impl Memory {
    /// Reads `token` after `steps`, if that was not done already; the row of what is then remembered.
    fn read<N: Network>(
        &mut self,
        network: &mut N,
        weights: &[f32],
        steps: &[(usize, usize)],
        token: usize,
        slot: usize,
    ) -> usize {
        let before = steps.last().map_or(0, |&(row, _)| row as u128 + 1);
        let key = before << 64 | token as u128;
        if let Some(&row) = self.next.get(&key) {
            return row;
        }
        let (row, width) = (self.ends.len(), network.width());
        self.rows.resize((row + 1) * width, 0.0);
        let (rows, new) = self.rows.split_at_mut(row * width);
        network.read(weights, &Prefix { rows, width, steps, token, slot }, new, &mut self.logits);
        self.ends.push(self.logits.len());
        self.next.insert(key, row);
        row
    }

    /// The logits of a row's slot.
    fn logits(&self, row: usize) -> &[f64] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.logits[start..self.ends[row]]
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.logits.clear();
        self.ends.clear();
        self.next.clear();
    }
}

impl<N: Network> Networked<N> {
    /// A policy by `network`, its weights drawn from `rng`, updated by Adam with `learning_rate`.
    pub(super) fn start(network: N, learning_rate: f64, rng: &mut Rng) -> Self {
        let weights = network.initial(rng);
        Networked {
            gradient: vec![0.0; weights.len()],
            weights,
            network,
            adam: Adam::new(learning_rate as f32),
            memory: Memory::default(),
            at: Vec::new(),
            token: Some(0),
            tape: Tape::default(),
        }
    }

    /// What is known of a prefix and a batch is not true of other weights.
    fn forget(&mut self) {
        self.memory.clear();
        self.at.clear();
        self.token = Some(0);
        self.tape.episodes.clear();
    }

    /// Works out the probabilities of a batch, unless they are known.
    fn forward(&mut self, batch: &[&Episode]) {
        let Tape { episodes, first, options, logits, p, log_p, entropy, softmax, .. } = &mut self.tape;
        if !batch.is_empty() && episodes.len() == batch.len() && episodes.iter().zip(batch).all(|(a, b)| a == *b) {
            return;
        }
        episodes.clear();
        episodes.extend(batch.iter().map(|&episode| episode.clone()));
        first.clear();
        options.clear();
        let mut end = 0;
        for episode in batch {
            first.push(options.len());
            for choice in episode.choices() {
                options.push(end);
                end += choice.mask.len();
            }
        }
        first.push(options.len());
        options.push(end);
        for list in [&mut *logits, &mut *p, &mut *log_p] {
            list.resize(end, 0.0);
        }
        let batch = Batch { episodes: batch, first, options };
        self.network.forward(&self.weights, &batch, logits);
        entropy.clear();
        for (place, choice) in batch.episodes.iter().flat_map(|episode| episode.choices()).enumerate() {
            let at = batch.options(place);
            let normaliser = masked_softmax(&logits[at.clone()], choice.mask, softmax);
            let mut sum = 0.0;
            for ((i, &p_k), &open) in at.zip(&*softmax).zip(choice.mask) {
                (p[i], log_p[i]) = (p_k, if open { logits[i] - normaliser } else { 0.0 });
                sum -= p_k * log_p[i];
            }
            entropy.push(sum);
        }
    }
}

impl<N: Network> Policy for Networked<N> {
    fn name(&self) -> &'static str {
        self.network.name()
    }

    fn begin(&mut self) {
        if self.memory.rows.len() > REMEMBERED {
            self.memory.clear();
        }
        self.at.clear();
        self.token = Some(0);
    }

    fn probabilities(&mut self, slot: usize, mask: &[bool], out: &mut Vec<f64>) {
        if let Some(token) = self.token.take() {
            let Networked { network, weights, memory, at, .. } = self;
            let row = memory.read(network, weights, at, token, slot);
            at.push((row, slot));
        }
        let (row, _) = self.at[self.at.len() - 1];
        masked_softmax(self.memory.logits(row), mask, out);
    }

    fn follow(&mut self, slot: usize, option: usize) {
        self.token = Some(self.network.vocabulary().token(slot, option));
    }

    fn log_probs(&mut self, batch: &[&Episode], out: &mut Vec<f64>) {
        self.forward(batch);
        let mut options = self.tape.options.iter();
        for choice in batch.iter().flat_map(|episode| episode.choices()) {
            let start = options.next().expect("the tape has every step");
            out.push(self.tape.log_p[start + choice.option]);
        }
    }

    fn gradient(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64) -> Update {
        self.forward(batch);
        let Tape { first, options, p, log_p, entropy, dlogits, .. } = &mut self.tape;
        let batch = Batch { episodes: batch, first, options };
        let share = 1.0 / batch.episodes.len().max(1) as f64;
        let mut update = Update::default();
        dlogits.clear();
        // ∂(−A log π(a)) / ∂lₖ = A (pₖ − 1[k = a]) and ∂(−H) / ∂lₖ = pₖ (ln pₖ + H); nothing where masked.
        for (place, choice) in batch.episodes.iter().flat_map(|episode| episode.choices()).enumerate() {
            let (start, advantage, entropy) = (options[place], advantages[place], entropy[place]);
            update.policy_loss -= share * advantage * log_p[start + choice.option];
            update.entropy += entropy;
            dlogits.extend(batch.options(place).map(|i| share * p[i] * (advantage + ent_coef * (log_p[i] + entropy))));
            dlogits[start + choice.option] -= share * advantage;
        }
        update.entropy /= batch.len().max(1) as f64;
        self.gradient.fill(0.0);
        self.network.backward(&self.weights, &batch, dlogits, &mut self.gradient);
        update.grad_norm = nas_nn::kernel::sum_squares(&self.gradient).sqrt();
        update
    }

    fn step(&mut self, mut update: Update, max_grad_norm: f64) -> Update {
        self.forget();
        clip_norm(&mut self.gradient, max_grad_norm as f32);
        update.skipped = !update.grad_norm.is_finite();
        if !update.skipped {
            self.adam.step(&mut self.weights, &self.gradient);
        }
        update
    }

    fn last_gradient(&self) -> Vec<f64> {
        self.gradient.iter().copied().map(f64::from).collect()
    }

    fn parameters(&self) -> Vec<f64> {
        self.weights.iter().copied().map(f64::from).collect()
    }

    fn set_parameters(&mut self, parameters: &[f64]) {
        self.forget();
        assert_eq!(self.weights.len(), parameters.len(), "as many parameters as the policy has");
        self.weights.iter_mut().zip(parameters).for_each(|(weight, &x)| *weight = x as f32);
    }

    fn state(&mut self, state: &mut State) {
        state.fixed("weights", &mut self.weights);
        state.field("adam", &mut self.adam);
        self.forget();
    }

    fn soften(&mut self, factor: f64) {
        self.forget();
        let head = self.network.head();
        nas_nn::kernel::scale(factor as f32, &mut self.weights[head]);
    }
}
