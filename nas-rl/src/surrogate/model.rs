//! The surrogate of a search: what was observed and what is on its way, as a Gaussian process that ranks candidates.

use nas_core::strategy::State;
use nas_core::{Diagnostics, Observed, Tokens};
use serde::{Deserialize, Serialize};

use super::source::Source;
use super::{Features, GaussianProcess, log_expected_improvement, normal_scores};
use crate::statistics::spearman;

/// Observations after which length scale and noise are chosen anew.
const TUNE_EVERY: usize = 20;
/// Between so many observations the correlation with a source is chosen anew each time: before, they say nothing of it.
const CORRELATED_FROM: usize = 3;
const CORRELATED_TO: usize = 40;
/// The latest observations whose predictions are held against what came.
const JUDGED: usize = 50;
/// Fewer say nothing.
const JUDGED_FROM: usize = 20;
/// Below this rank correlation predictions are no guide.
const TRUSTED: f64 = 0.2;
/// Observations that the process may hold. When it is full the best quarter and the latest half stay.
const CAPACITY: usize = 1024;
/// The most pending proposals in the process; beyond, the newer half of them stays. Without a bound the cost of a proposal grew
/// with the square of the number of workers.
const FANTASIES: usize = 256;
/// The share of the pending proposals, and of the observations, whose results are learned together: one that comes out of
/// order costs as much as appending all fantasies anew, and so do many.
const LATE: usize = 32;
const FEW: usize = 4;

/// A Gaussian process over the architectures of a space, kept up to date trial by trial.
///
/// Rewards count by their rank among all that were observed; a failure is worse than every reward. Architectures whose
/// trial still runs lower the variance around them: all of them up to 256, of more the newest 128 to 256. With 64 and more
/// of them results are learned several at a time, one for every 32. Every 20 observations length scale and noise are chosen anew. When it
/// holds 1024 observations, the best 256 and the latest 512 stay.
#[derive(Debug, Clone)]
pub struct Surrogate {
    features: Features,
    process: GaussianProcess,
    /// Everything observed, in order; minus infinity for failures.
    rewards: Vec<f64>,
    /// Which observations the first points of the process are, ascending.
    held: Vec<usize>,
    capacity: usize,
    /// What was proposed and is not observed, with the mean and deviation predicted. The newest are the last points of the
    /// process.
    pending: Vec<(Tokens, [f64; 2])>,
    /// What was observed and is not learned yet.
    arrived: Vec<Arrived>,
    /// The best score.
    best: f64,
    source: Option<Source>,
    correlation: Option<f64>,
    judged: Option<Judged>,
    vectors: Vec<f32>,
    means: Vec<f32>,
    variances: Vec<f32>,
}

/// What was predicted of a proposal and what came of it, as normal scores.
#[derive(Debug, Clone, Copy)]
struct Judged {
    mean: f64,
    deviation: f64,
    obtained: f64,
}

/// An observation.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Arrived {
    tokens: Tokens,
    /// Minus infinity for a failure.
    #[serde(with = "nas_core::strategy::bits")]
    reward: f64,
    /// What was predicted, if it was pending, and whether it had been for longest.
    predicted: Option<[f64; 2]>,
    oldest: bool,
}

impl Surrogate {
    /// Of vectors by `features`, with nothing observed.
    pub fn new(features: Features) -> Self {
        Surrogate {
            process: GaussianProcess::new(features.dimensions()),
            features,
            rewards: Vec::new(),
            held: Vec::new(),
            capacity: CAPACITY,
            pending: Vec::new(),
            arrived: Vec::new(),
            best: 0.0,
            source: None,
            correlation: None,
            judged: None,
            vectors: Vec::new(),
            means: Vec::new(),
            variances: Vec::new(),
        }
    }

    /// The number of observations.
    pub fn len(&self) -> usize {
        self.rewards.len() + self.arrived.len()
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The process.
    pub fn process(&self) -> &GaussianProcess {
        &self.process
    }

    /// Spearman's correlation of the last 50 rewards with what the model, without each, predicts of it; none before 20
    /// observations.
    pub fn rank_correlation(&self) -> Option<f64> {
        self.correlation
    }

    /// Whether its ranking of candidates is worth following: not while the rank correlation is below 0.2.
    pub fn is_trusted(&self) -> bool {
        self.correlation.is_none_or(|correlation| correlation >= TRUSTED)
    }

    /// The index of the candidate with the largest expected improvement, the first of equals; none of none.
    pub fn choose(&mut self, candidates: &[Tokens]) -> Option<usize> {
        self.predict(candidates);
        let mut chosen: Option<(usize, f64)> = None;
        for (i, (&mean, &variance)) in self.means.iter().zip(&self.variances).enumerate() {
            let gain = log_expected_improvement(mean.into(), variance.into(), self.best);
            if chosen.is_none_or(|(_, best)| gain > best) {
                chosen = Some((i, gain));
            }
        }
        chosen.map(|(i, _)| i)
    }

    fn predict(&mut self, candidates: &[Tokens]) {
        let dimensions = self.features.dimensions();
        self.vectors.resize(candidates.len() * dimensions, 0.0);
        for (i, tokens) in candidates.iter().enumerate() {
            self.features.write(tokens, &mut self.vectors[i * dimensions..(i + 1) * dimensions]);
        }
        self.means.resize(candidates.len(), 0.0);
        self.variances.resize(candidates.len(), 0.0);
        self.process.posterior(&self.vectors, &mut self.means, &mut self.variances);
    }

    /// Begins with the trials of another study of the same space, whose rewards count by their rank among themselves; nothing
    /// is observed yet. How much they say of this study is worked out anew after every observation, later every 20.
    pub fn warm_start(&mut self, trials: &[Observed]) {
        let source = Source::new(&self.features, trials);
        self.process = source.process(&self.features);
        self.best = source.targets().iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.source = Some(source);
    }

    /// Takes note that `tokens` are on their way.
    pub fn propose(&mut self, tokens: &Tokens) {
        self.predict(std::slice::from_ref(tokens));
        let predicted = [self.means[0].into(), f64::from(self.variances[0]).sqrt()];
        self.pending.push((tokens.clone(), predicted));
        if self.fantasies() < FANTASIES {
            self.process.append(&self.vectors);
        } else {
            self.process.truncate(self.process.others() + self.held.len());
            self.append_pending(FANTASIES / 2);
        }
    }

    /// Takes what came of `tokens`; no reward, or one that is no number, is a failure. They need not have been proposed, nor
    /// come in the order of proposals.
    pub fn observe(&mut self, tokens: &Tokens, reward: Option<f64>) {
        let place = self.pending.iter().position(|(waiting, _)| waiting == tokens);
        self.arrived.push(Arrived {
            tokens: tokens.clone(),
            reward: reward.filter(|reward| !reward.is_nan()).unwrap_or(f64::NEG_INFINITY),
            predicted: place.map(|place| self.pending.remove(place).1),
            oldest: place == Some(0),
        });
        if self.arrived.len() >= (self.pending.len() / LATE).min(1 + self.rewards.len() / FEW) {
            self.learn();
        }
    }

    /// Learns what has arrived.
    fn learn(&mut self) {
        let arrived = std::mem::take(&mut self.arrived);
        let (known, count) = (self.rewards.len(), self.rewards.len() + arrived.len());
        let all_are_there = self.fantasies() == self.pending.len() + arrived.len();
        if !all_are_there || !arrived.iter().all(|arrived| arrived.oldest) {
            self.process.truncate(self.process.others() + self.held.len());
            arrived.iter().for_each(|arrived| self.append(&arrived.tokens));
            self.append_pending(FANTASIES);
        }
        self.held.extend(known..count);
        self.rewards.extend(arrived.iter().map(|arrived| arrived.reward));
        if self.held.len() >= self.capacity {
            self.forget();
        }
        let mut scores = normal_scores(&self.rewards);
        if let Some(source) = &mut self.source {
            arrived.iter().for_each(|arrived| source.observe(&self.features, &arrived.tokens));
            source.scale(&mut scores);
        }
        let targets: Vec<f64> = self.held.iter().map(|&number| scores[number]).collect();
        self.best = targets.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let others = self.source.as_ref().map_or(&[][..], Source::targets);
        self.process.set_targets(&[others, &targets].concat());
        let tunes = known / TUNE_EVERY != count / TUNE_EVERY;
        if self.source.is_some() && (tunes || (CORRELATED_FROM..=CORRELATED_TO).contains(&count)) {
            self.process.tune_correlation();
        }
        if tunes {
            self.process.tune();
        }
        let obtained = scores[scores.len() - 1];
        let predicted = arrived.last().and_then(|arrived| arrived.predicted);
        self.judged = predicted.map(|[mean, deviation]| Judged { mean, deviation, obtained });
        let judged = targets.len().min(JUDGED);
        if judged >= JUDGED_FROM {
            let from = targets.len() - judged;
            let predicted: Vec<f64> = self.process.leave_one_out().skip(self.process.others() + from).collect();
            self.correlation = Some(spearman(&predicted, &targets[from..]));
        }
    }

    /// The number of points without a target.
    fn fantasies(&self) -> usize {
        self.process.len() - self.process.others() - self.held.len()
    }

    fn append(&mut self, tokens: &Tokens) {
        let mut vector = vec![0.0; self.features.dimensions()];
        self.features.write(tokens, &mut vector);
        self.process.append(&vector);
    }

    /// Appends the newest that are pending, at most so many.
    fn append_pending(&mut self, most: usize) {
        for i in self.pending.len().saturating_sub(most)..self.pending.len() {
            self.append(&self.pending[i].0.clone());
        }
    }

    /// Keeps the best observations and the latest.
    fn forget(&mut self) {
        let mut order: Vec<usize> = (0..self.held.len()).collect();
        order.sort_by(|&a, &b| self.rewards[self.held[b]].total_cmp(&self.rewards[self.held[a]]));
        order.truncate(self.capacity / 4);
        order.extend(self.held.len() - self.capacity / 2..self.held.len());
        order.sort_unstable();
        order.dedup();
        let vectors: Vec<f32> =
            order.iter().flat_map(|&place| self.process.point(self.process.others() + place)).copied().collect();
        self.held = order.into_iter().map(|place| self.held[place]).collect();
        self.process.truncate(self.process.others());
        vectors.chunks_exact(self.features.dimensions()).for_each(|vector| self.process.append(vector));
        self.append_pending(FANTASIES);
    }

    /// Shows its state.
    pub fn state(&mut self, state: &mut State) {
        state.part("process", |state| self.process.state(state));
        state.bits("rewards", &mut self.rewards);
        state.field("held", &mut self.held);
        state.field("pending", &mut self.pending);
        state.field("arrived", &mut self.arrived);
        state.field("best", &mut self.best);
        // Of equal rewards it is no number.
        let mut correlation: Vec<f64> = self.correlation.into_iter().collect();
        state.bits("correlation", &mut correlation);
        if state.writes() {
            self.correlation = correlation.first().copied();
            self.judged = None;
        }
        let mut source = self.source.take();
        let mut warm = source.is_some();
        state.field("warm", &mut warm);
        if state.writes() {
            source = warm.then(|| source.unwrap_or_else(|| Source::empty(&self.features)));
        }
        if let Some(source) = &mut source {
            state.part("source", |state| source.state(state));
        }
        self.source = source;
    }

    /// Sets its figures: `surrogate_rank_correlation` of the last 50, `surrogate_trusted` (1 or 0), `length_scale`,
    /// `surrogate_noise`, after a warm start `source_correlation`, and of the last proposal `predicted`,
    /// `predicted_deviation` and `obtained`, as normal scores.
    pub fn report(&self, diagnostics: &mut Diagnostics) {
        if let Some(correlation) = self.correlation {
            diagnostics.set("surrogate_rank_correlation", correlation);
        }
        diagnostics.set("surrogate_trusted", f64::from(u8::from(self.is_trusted())));
        diagnostics.set("length_scale", self.process.length_scale());
        diagnostics.set("surrogate_noise", self.process.noise());
        if self.source.is_some() {
            diagnostics.set("source_correlation", self.process.correlation());
        }
        if let Some(Judged { mean, deviation, obtained }) = self.judged {
            diagnostics.set("predicted", mean);
            diagnostics.set("predicted_deviation", deviation);
            diagnostics.set("obtained", obtained);
        }
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, SearchSpace, Seed};

    use super::*;
    use crate::testing::cube;

    fn worth(tokens: &Tokens) -> f64 {
        tokens.iter().zip(1..).map(|(&token, weight)| f64::from(token * weight)).sum()
    }

    fn drawn(space: &SearchSpace, n: usize) -> Vec<Tokens> {
        let mut rng = Seed::new(6).stream(Purpose::Test, 0);
        (0..n).map(|_| space.sample_tokens(&mut rng)).collect()
    }

    #[test]
    fn predictions_do_not_depend_on_the_order_of_proposals() {
        let space = cube(6, 4);
        let (tokens, asked) = (drawn(&space, 40), drawn(&space, 60)[40..].to_vec());
        let mut straight = Surrogate::new(Features::new(&space));
        let mut tangled = straight.clone();
        tokens[..35].iter().for_each(|tokens| straight.observe(tokens, Some(worth(tokens))));
        tokens[35..].iter().for_each(|tokens| straight.propose(tokens));
        // All proposed at once but one, and observed from the last of those that are observed.
        tokens.iter().skip(1).for_each(|tokens| tangled.propose(tokens));
        tokens[..35].iter().rev().for_each(|tokens| tangled.observe(tokens, Some(worth(tokens))));
        assert_eq!((straight.len(), tangled.len()), (35, 35));
        straight.predict(&asked);
        tangled.predict(&asked);
        for (a, b) in straight.means.iter().zip(&tangled.means).chain(straight.variances.iter().zip(&tangled.variances))
        {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn of_many_pending_proposals_the_newest_count_and_results_are_learned_together() {
        let space = cube(8, 5);
        let mut surrogate = Surrogate::new(Features::new(&space));
        let tokens = drawn(&space, 1600);
        for tokens in &tokens[..1000] {
            surrogate.propose(tokens);
            assert!(surrogate.fantasies() <= FANTASIES && surrogate.pending.len() >= surrogate.fantasies());
        }
        let (features, oldest) = (Features::new(&space), 1000 - surrogate.fantasies());
        for (i, tokens) in tokens[oldest..1000].iter().enumerate() {
            let mut vector = vec![0.0; features.dimensions()];
            features.write(tokens, &mut vector);
            assert_eq!(surrogate.process.point(i), vector, "the newest");
        }
        // Results come in no order while others are proposed.
        let mut lessons = 0;
        for i in 0..600 {
            let known = surrogate.rewards.len();
            let result = &tokens[i * 7 % 1000];
            surrogate.observe(result, Some(worth(result)));
            lessons += usize::from(surrogate.rewards.len() > known);
            surrogate.propose(&tokens[1000 + i]);
            assert!(surrogate.fantasies() <= FANTASIES && surrogate.arrived.len() < 1000 / LATE);
            assert_eq!((surrogate.len(), surrogate.pending.len()), (i + 1, 1000));
        }
        assert!((20..60).contains(&lessons), "{lessons}");
        assert!(surrogate.rank_correlation().unwrap() > 0.5);
    }

    #[test]
    fn the_best_and_the_latest_stay() {
        let space = cube(6, 4);
        let mut surrogate = Surrogate::new(Features::new(&space));
        surrogate.capacity = 32;
        let tokens = drawn(&space, 100);
        for tokens in &tokens {
            surrogate.propose(tokens);
            surrogate.observe(tokens, Some(worth(tokens)));
            assert!(surrogate.held.len() < 32 && surrogate.process().len() == surrogate.held.len());
        }
        assert_eq!(surrogate.len(), 100);
        let rewards: Vec<f64> = tokens.iter().map(worth).collect();
        let best = (0..100).max_by(|&a, &b| rewards[a].total_cmp(&rewards[b]).then(b.cmp(&a))).unwrap();
        assert!(surrogate.held.contains(&best) && (90..100).all(|latest| surrogate.held.contains(&latest)));
        assert!(surrogate.rank_correlation().unwrap() > 0.6);
    }

    #[test]
    fn the_most_promising_is_chosen() {
        let space = cube(6, 4);
        let mut surrogate = Surrogate::new(Features::new(&space));
        assert_eq!(surrogate.choose(&[]), None);
        for tokens in &drawn(&space, 60) {
            surrogate.observe(tokens, Some(worth(tokens)));
        }
        let candidates = [[0_u16; 6], [3; 6], [1; 6]].map(|tokens| Tokens::from(&tokens[..]));
        assert_eq!(surrogate.choose(&candidates), Some(1));
        let mut figures = Diagnostics::default();
        surrogate.propose(&candidates[1]);
        surrogate.observe(&candidates[1], Some(worth(&candidates[1])));
        surrogate.report(&mut figures);
        assert!(figures.get("predicted").unwrap() > 1.0 && figures.get("obtained").unwrap() > 2.0, "{figures:?}");
    }

    #[test]
    fn failures_are_the_worst() {
        let space = cube(6, 4);
        let mut surrogate = Surrogate::new(Features::new(&space));
        for tokens in &drawn(&space, 60) {
            surrogate.observe(tokens, (tokens[0] > 0).then(|| worth(tokens)));
        }
        let candidates = [[0_u16, 3, 3, 3, 3, 3], [1, 3, 3, 3, 3, 3]].map(|tokens| Tokens::from(&tokens[..]));
        surrogate.predict(&candidates);
        assert!(surrogate.means[0] < surrogate.means[1], "{:?}", surrogate.means);
    }
}
