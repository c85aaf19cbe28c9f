//! Value functions: what reward is to be expected, so that only what is better makes a choice likelier.

use nas_core::Rng;
use nas_nn::optim::{Adam, Optimizer as _};
use nas_nn::{Feed, Graph, Params, Program};

use crate::environment::{Environment, Episode};

/// Predicts the (shaped) reward of an episode.
pub trait ValueFunction: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The reward expected of `episode`.
    fn predict(&mut self, episode: &Episode) -> f64;

    /// Learns from episodes and their rewards, all finite; the mean squared error before.
    fn update(&mut self, batch: &[(&Episode, f64)]) -> f64;
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

impl ValueFunction for MovingBaseline {
    fn name(&self) -> &'static str {
        "moving-baseline"
    }

    fn predict(&mut self, _: &Episode) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }

    fn update(&mut self, batch: &[(&Episode, f64)]) -> f64 {
        let mut error = 0.0;
        for &(episode, reward) in batch {
            error += (reward - self.predict(episode)).powi(2);
        }
        for &(_, reward) in batch {
            self.sum = DECAY * self.sum + (1.0 - DECAY) * reward;
            self.weight = DECAY * self.weight + (1.0 - DECAY);
        }
        error / batch.len().max(1) as f64
    }
}

/// The most episodes the critic learns from at once.
const BATCH: usize = 16;
/// Hidden units of the critic.
const HIDDEN: usize = 32;
/// Updates for each batch.
const STEPS: usize = 4;

/// A learned critic: a small network on the choices, one number for each option of each slot.
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
            eval: Program::eval(&graph, &[value], 1).expect(sound),
            adam: Adam::new(learning_rate),
            first,
            x: vec![0.0; BATCH * width],
            y: vec![0.0; BATCH],
        }
    }

    fn width(&self) -> usize {
        self.first[self.first.len() - 1]
    }

    /// Writes the choices of an episode as row `i`.
    fn write(&mut self, i: usize, episode: &Episode) {
        let width = self.width();
        let row = &mut self.x[i * width..][..width];
        row.fill(0.0);
        for choice in &episode.choices {
            row[self.first[choice.slot] + choice.option] = 1.0;
        }
    }
}

impl ValueFunction for Critic {
    fn name(&self) -> &'static str {
        "critic"
    }

    fn predict(&mut self, episode: &Episode) -> f64 {
        self.write(0, episode);
        let feed = Feed::new(1).with("choices", &self.x[..self.width()]);
        self.eval.run(&feed, &self.params).expect("an episode fits the critic");
        f64::from(self.eval.output(0)[0])
    }

    fn update(&mut self, batch: &[(&Episode, f64)]) -> f64 {
        let errors = batch.iter().map(|&(episode, reward)| (reward - self.predict(episode)).powi(2));
        let error = errors.sum::<f64>() / batch.len().max(1) as f64;
        for _ in 0..STEPS {
            for part in batch.chunks(BATCH) {
                for (i, &(episode, reward)) in part.iter().enumerate() {
                    self.write(i, episode);
                    self.y[i] = reward as f32;
                }
                let n = part.len();
                let feed = Feed::new(n).with("choices", &self.x[..n * self.width()]).with("reward", &self.y[..n]);
                self.train.gradients(&feed, &mut self.params).expect("episodes fit the critic");
                let before = self.params.clone();
                self.adam.step(self.params.values_mut(), self.train.grads());
                if !self.params.is_finite() {
                    self.params = before;
                }
            }
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::testing::cube;

    #[test]
    fn the_moving_baseline_by_hand() {
        let environment = Environment::new(cube(1, 2));
        let episode = environment.episode(|_, _, _| 0).unwrap();
        let mut baseline = MovingBaseline::default();
        assert_eq!(baseline.predict(&episode), 0.0);
        assert_eq!(baseline.update(&[(&episode, 2.0)]), 4.0);
        // Corrected for its start, the mean of one reward is that reward.
        assert!((baseline.predict(&episode) - 2.0).abs() < 1e-12);
        baseline.update(&[(&episode, 4.0)]);
        assert!((baseline.predict(&episode) - (0.09 * 2.0 + 0.1 * 4.0) / 0.19).abs() < 1e-12);
    }

    #[test]
    fn the_critic_learns_what_a_choice_is_worth() {
        let environment = Environment::new(cube(3, 3));
        let episodes: Vec<Episode> = environment.space().enumerate().map(|a| environment.replay(&a).unwrap()).collect();
        let worth = |e: &Episode| e.choices.iter().map(|c| c.option as f64).sum::<f64>() / 3.0 - 1.0;
        let mut critic = Critic::new(&environment, 0.01, &mut Seed::new(1).stream(Purpose::Test, 0));
        let batch: Vec<(&Episode, f64)> = episodes.iter().map(|e| (e, worth(e))).collect();
        let first = critic.update(&batch);
        let last = (0..100).map(|_| critic.update(&batch)).last().unwrap();
        assert!(last < 0.01 && last < first, "{first} {last}");
    }
}
