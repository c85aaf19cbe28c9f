//! Value functions: what reward is to be expected, so that only what goes better makes a choice likelier.
//!
//! A value belongs to a state, the choices made so far, and never to the choice that comes next: subtracting it then leaves
//! the expected gradient of the policy as it is.

mod calibration;

use nas_core::Rng;
use nas_core::strategy::State;
use nas_nn::optim::{Adam, Optimizer as _};
use nas_nn::{Feed, Graph, Params, Program};

use crate::environment::{Environment, Episode};

pub(crate) use calibration::Calibration;
pub use calibration::Reliability;

/// Predicts the (shaped) reward that an episode will end with.
pub trait ValueFunction: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Writes V(s) of every state of every episode of `batch` to `out`: the reward expected before each of its choices, in
    /// order. `rewards` are what the episodes ended with, for baselines that compare within a batch; no episode's value may
    /// depend on its own.
    fn predict(&mut self, batch: &[&Episode], rewards: &[f64], out: &mut Vec<f64>);

    /// Learns from episodes and their rewards, all finite.
    fn update(&mut self, batch: &[&Episode], rewards: &[f64]);

    /// Shows `state` all that updates change, for a snapshot of the search.
    fn state(&mut self, state: &mut State) {
        state.unsupported(&format!("the value function \"{}\"", self.name()));
    }
}

/// Nothing is expected: rewards that lie around zero already, such as ranks, are their own advantages.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBaseline;

impl ValueFunction for NoBaseline {
    fn name(&self) -> &'static str {
        "none"
    }

    fn predict(&mut self, batch: &[&Episode], _: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.resize(batch.iter().map(|episode| episode.len()).sum(), 0.0);
    }

    fn update(&mut self, _: &[&Episode], _: &[f64]) {}

    fn state(&mut self, _: &mut State) {}
}

/// A moving average of the rewards seen, the same for all episodes: b ← 0.9 b + 0.1 r, corrected for its start at zero.
///
/// It is updated after the advantages of a batch were computed, so that no episode is in its own baseline.
#[derive(Debug, Clone, Default)]
pub struct MovingBaseline {
    sum: f64,
    weight: f64,
}

/// The weight of the past.
const DECAY: f64 = 0.9;

impl MovingBaseline {
    /// b; 0 before anything was seen.
    pub fn value(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }

    /// Takes note of a reward.
    pub fn push(&mut self, reward: f64) {
        self.sum = DECAY * self.sum + (1.0 - DECAY) * reward;
        self.weight = DECAY * self.weight + (1.0 - DECAY);
    }
}

impl ValueFunction for MovingBaseline {
    fn name(&self) -> &'static str {
        "moving-baseline"
    }

    fn predict(&mut self, batch: &[&Episode], _: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.resize(batch.iter().map(|episode| episode.len()).sum(), self.value());
    }

    fn update(&mut self, _: &[&Episode], rewards: &[f64]) {
        rewards.iter().for_each(|&reward| self.push(reward));
    }

    fn state(&mut self, state: &mut State) {
        state.field("sum", &mut self.sum);
        state.field("weight", &mut self.weight);
    }
}

/// The mean reward of the other episodes of the batch (Kool, van Hoof and Welling, 2019); of an only one zero.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeaveOneOut;

impl ValueFunction for LeaveOneOut {
    fn name(&self) -> &'static str {
        "leave-one-out"
    }

    fn predict(&mut self, batch: &[&Episode], rewards: &[f64], out: &mut Vec<f64>) {
        let sum: f64 = rewards.iter().sum();
        let others = rewards.len().saturating_sub(1).max(1) as f64;
        out.clear();
        for (episode, reward) in batch.iter().zip(rewards) {
            let value = if rewards.len() > 1 { (sum - reward) / others } else { 0.0 };
            out.resize(out.len() + episode.len(), value);
        }
    }

    fn update(&mut self, _: &[&Episode], _: &[f64]) {}

    fn state(&mut self, _: &mut State) {}
}

/// The most states the critic sees at once.
const BATCH: usize = 64;
/// Hidden units of the critic.
const HIDDEN: usize = 32;
/// Updates for each batch.
const STEPS: usize = 4;

/// A learned critic: a small network on the choices made so far, one number for each option of each slot.
pub struct Critic {
    params: Params,
    train: Program,
    eval: Program,
    adam: Adam,
    first: Vec<usize>,
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Critic {
    /// For the slots of `environment`, drawn from `rng`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f32, rng: &mut Rng) -> Self {
        let mut first = vec![0];
        for &arity in environment.arity() {
            first.push(first[first.len() - 1] + arity);
        }
        let width = first[first.len() - 1];
        let graph = Graph::new();
        let value = graph.input("choices", &[width]).linear(HIDDEN).tanh().linear(1).reshape(&[]);
        let loss = value.mse(graph.input("reward", &[]));
        let params = Params::init(&graph, rng);
        let sound = "the critic's graph is sound";
        Critic {
            params,
            train: Program::train(&graph, loss, &[], BATCH).expect(sound),
            eval: Program::eval(&graph, &[value], BATCH).expect(sound),
            adam: Adam::new(learning_rate),
            first,
            x: vec![0.0; BATCH * width],
            y: vec![0.0; BATCH],
        }
    }

    fn width(&self) -> usize {
        self.first[self.first.len() - 1]
    }

    /// Writes the state after the first `t` choices of `episode` as row `i`.
    fn write(&mut self, i: usize, episode: &Episode, t: usize) {
        let width = self.width();
        let row = &mut self.x[i * width..][..width];
        row.fill(0.0);
        for choice in episode.choices().take(t) {
            row[self.first[choice.slot] + choice.option] = 1.0;
        }
    }
}

impl ValueFunction for Critic {
    fn name(&self) -> &'static str {
        "critic"
    }

    fn state(&mut self, state: &mut State) {
        let mut values = self.params.values().to_vec();
        state.fixed("values", &mut values);
        if state.writes() {
            self.params.values_mut().copy_from_slice(&values);
        }
        state.field("adam", &mut self.adam);
    }

    fn predict(&mut self, batch: &[&Episode], _: &[f64], out: &mut Vec<f64>) {
        out.clear();
        let states: Vec<(&Episode, usize)> = batch.iter().flat_map(|e| (0..e.len()).map(|t| (*e, t))).collect();
        for part in states.chunks(BATCH) {
            part.iter().enumerate().for_each(|(i, &(episode, t))| self.write(i, episode, t));
            let feed = Feed::new(part.len()).with("choices", &self.x[..part.len() * self.width()]);
            self.eval.run(&feed, &self.params).expect("an episode fits the critic");
            out.extend(self.eval.output(0)[..part.len()].iter().copied().map(f64::from));
        }
    }

    fn update(&mut self, batch: &[&Episode], rewards: &[f64]) {
        let states = batch.iter().zip(rewards).flat_map(|(e, &reward)| (0..e.len()).map(move |t| (*e, t, reward)));
        let states: Vec<(&Episode, usize, f64)> = states.collect();
        for _ in 0..STEPS {
            let mut gradient = vec![0.0; self.params.len()];
            for part in states.chunks(BATCH) {
                for (i, &(episode, t, reward)) in part.iter().enumerate() {
                    self.write(i, episode, t);
                    self.y[i] = reward as f32;
                }
                let n = part.len();
                let feed = Feed::new(n).with("choices", &self.x[..n * self.width()]).with("reward", &self.y[..n]);
                self.train.gradients(&feed, &mut self.params).expect("episodes fit the critic");
                let share = n as f32 / states.len() as f32;
                gradient.iter_mut().zip(self.train.grads()).for_each(|(sum, g)| *sum += share * g);
            }
            // A reward too large for single precision teaches nothing.
            if gradient.iter().all(|g| g.is_finite()) {
                self.adam.step(self.params.values_mut(), &gradient);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::testing::{cube, episodes};

    fn predict(value: &mut dyn ValueFunction, batch: &[&Episode], rewards: &[f64]) -> Vec<f64> {
        let mut out = vec![f64::NAN];
        value.predict(batch, rewards, &mut out);
        out
    }

    #[test]
    fn the_moving_baseline_by_hand() {
        let environment = Environment::new(cube(1, 2));
        let episode = &episodes(&environment)[0];
        let mut baseline = MovingBaseline::default();
        assert_eq!(predict(&mut baseline, &[episode], &[]), [0.0]);
        baseline.update(&[episode], &[2.0]);
        // Corrected for its start, the mean of one reward is that reward.
        assert!((predict(&mut baseline, &[episode], &[])[0] - 2.0).abs() < 1e-12);
        baseline.update(&[episode], &[4.0]);
        assert!((baseline.value() - (0.09 * 2.0 + 0.1 * 4.0) / 0.19).abs() < 1e-12);
    }

    #[test]
    fn the_others_mean_by_hand() {
        let environment = Environment::new(cube(2, 2));
        let all = episodes(&environment);
        let batch = [&all[0], &all[1], &all[2]];
        assert_eq!(predict(&mut LeaveOneOut, &batch, &[1.0, 2.0, 6.0]), [4.0, 4.0, 3.5, 3.5, 1.5, 1.5]);
        assert_eq!(predict(&mut LeaveOneOut, &batch[..1], &[5.0]), [0.0, 0.0]);
        assert_eq!(predict(&mut NoBaseline, &batch[..1], &[5.0]), [0.0, 0.0]);
    }

    #[test]
    fn the_critic_learns_what_a_choice_is_worth() {
        let environment = Environment::new(cube(3, 3));
        let all = episodes(&environment);
        let batch: Vec<&Episode> = all.iter().collect();
        let worth = |e: &&Episode| e.choices().map(|c| c.option as f64).sum::<f64>() / 3.0 - 1.0;
        let rewards: Vec<f64> = batch.iter().map(worth).collect();
        let mut critic = Critic::new(&environment, 0.01, &mut Seed::new(1).stream(Purpose::Test, 0));
        let error = |critic: &mut Critic| {
            let values = predict(critic, &batch, &[]);
            let errors = values.chunks_exact(3).zip(&rewards).flat_map(|(v, r)| v.iter().map(move |v| (r - v).powi(2)));
            errors.sum::<f64>() / values.len() as f64
        };
        let first = error(&mut critic);
        (0..100).for_each(|_| critic.update(&batch, &rewards));
        let last = error(&mut critic);
        // Over all architectures, the value of a state is its choices so far and the even choice of the rest.
        for episode in &all {
            for (t, v) in predict(&mut critic, &[episode], &[]).iter().enumerate() {
                let expected = episode.choices().take(t).map(|c| c.option as f64 - 1.0).sum::<f64>() / 3.0;
                assert!((v - expected).abs() < 0.1, "{v}, {expected} after {t} of {episode:?}");
            }
        }
        // What is left is the variance of the choices to come: 3, 2 or 1 of them, each of variance 2/27.
        let unexplained = (3.0 + 2.0 + 1.0) / 3.0 * 2.0 / 27.0;
        assert!((last - unexplained).abs() < 0.02 && last < first, "{first} {last} {unexplained}");
    }
}
