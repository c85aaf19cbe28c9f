//! What is known from another study of the same space, and how its scale becomes this one's.

use nas_core::strategy::State;
use nas_core::{Observed, Tokens};

use super::{Features, GaussianProcess, normal_scores};

/// Trials of the source that are kept at most, half of them its best and the others spread over the rest: the cost of a
/// prediction grows with their square.
const KEPT: usize = 256;

/// The trials of another study as a Gaussian process, and what it predicts of this study's.
///
/// Normal scores say nothing across studies: this one's first trials are among the best there are, and the middle of them is
/// not the middle of the source's. So this study's scores are stretched to the mean and deviation that the source predicts of
/// the trials they belong to, and only their order is this study's own.
#[derive(Debug, Clone)]
pub(super) struct Source {
    process: GaussianProcess,
    targets: Vec<f64>,
    /// Of every observation the mean and the variance that the source predicts, the noise included.
    expected: Vec<[f64; 2]>,
}

impl Source {
    /// Of the finished trials of a study.
    pub(super) fn new(features: &Features, trials: &[Observed]) -> Self {
        let reward = |trial: &Observed| trial.reward.filter(|reward| !reward.is_nan()).unwrap_or(f64::NEG_INFINITY);
        let rewards: Vec<f64> = trials.iter().map(reward).collect();
        let scores = normal_scores(&rewards);
        let mut process = GaussianProcess::new(features.dimensions());
        let mut targets = Vec::new();
        for i in kept(&rewards) {
            process.append(&vector(features, &trials[i].tokens));
            targets.push(scores[i]);
        }
        process.set_targets(&targets);
        process.tune();
        Source { process, targets, expected: Vec::new() }
    }

    /// Of no trial.
    pub(super) fn empty(features: &Features) -> Self {
        let process = GaussianProcess::new(features.dimensions());
        Source { process, targets: Vec::new(), expected: Vec::new() }
    }

    /// Shows its state.
    pub(super) fn state(&mut self, state: &mut State) {
        state.part("process", |state| self.process.state(state));
        state.field("targets", &mut self.targets);
        state.field("expected", &mut self.expected);
    }

    /// Its targets, as normal scores among themselves.
    pub(super) fn targets(&self) -> &[f64] {
        &self.targets
    }

    /// A process of this study that begins with the source's points.
    pub(super) fn process(&self, features: &Features) -> GaussianProcess {
        let (length_scale, noise) = (self.process.length_scale(), self.process.noise());
        let mut process = GaussianProcess::new(features.dimensions()).with_scale(length_scale, noise);
        (0..self.process.len()).for_each(|i| process.append_other(self.process.point(i)));
        process.set_targets(&self.targets);
        process
    }

    /// Takes note of an observation.
    pub(super) fn observe(&mut self, features: &Features, tokens: &Tokens) {
        let (mut mean, mut variance) = ([0.0], [0.0]);
        self.process.posterior(&vector(features, tokens), &mut mean, &mut variance);
        self.expected.push([mean[0].into(), f64::from(variance[0]) + self.process.noise()]);
    }

    /// The normal scores of all observations on the source's scale.
    pub(super) fn scale(&self, scores: &mut [f64]) {
        let n = self.expected.len().max(1) as f64;
        let mean = self.expected.iter().map(|[mean, _]| mean).sum::<f64>() / n;
        let spread = self.expected.iter().map(|[m, variance]| (m - mean).powi(2) + variance).sum::<f64>() / n;
        let deviation = spread.sqrt();
        scores.iter_mut().for_each(|score| *score = mean + deviation * *score);
    }
}

fn vector(features: &Features, tokens: &Tokens) -> Vec<f32> {
    let mut vector = vec![0.0; features.dimensions()];
    features.write(tokens, &mut vector);
    vector
}

/// Which trials are kept, ascending.
fn kept(rewards: &[f64]) -> Vec<usize> {
    let n = rewards.len();
    let mut order: Vec<usize> = (0..n).collect();
    if n > KEPT {
        order.sort_by(|&a, &b| rewards[b].total_cmp(&rewards[a]).then(a.cmp(&b)));
        let (best, rest) = order.split_at(KEPT / 2);
        let spread = (0..KEPT / 2).map(|i| rest[i * rest.len() / (KEPT / 2)]);
        order = best.iter().copied().chain(spread).collect();
        order.sort_unstable();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_trials_the_best_and_some_others_are_kept() {
        let rewards: Vec<f64> = (0..1000).map(|i| f64::from(i % 500)).collect();
        let kept = kept(&rewards);
        assert_eq!(kept.len(), KEPT);
        assert!(kept.is_sorted_by(|a, b| a < b));
        let best = |from: usize| (from + 436..from + 500).all(|i| kept.contains(&i));
        assert!(best(0) && best(500) && kept.iter().any(|&i| rewards[i] < 20.0));
        assert_eq!(super::kept(&rewards[..10]), (0..10).collect::<Vec<usize>>());
    }
}
