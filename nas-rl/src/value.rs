//! Value functions: what reward is to be expected, so that only what goes better makes a choice likelier.
//!
//! A value belongs to a state, the choices made so far, and never to the choice that comes next: subtracting it then leaves
//! the expected gradient of the policy as it is.

use nas_core::Rng;
use nas_nn::optim::{Adam, Optimizer as _};
use nas_nn::{Feed, Graph, Params, Program};

use crate::environment::{Choice, Environment, Episode};

/// Predicts the (shaped) reward that an episode will end with.
pub trait ValueFunction: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// V(s) of every state of `episode`: the reward expected before each of its choices.
    fn predict(&mut self, episode: &Episode) -> Vec<f64>;

    /// Learns from episodes and their rewards, all finite; the mean squared error over all states before.
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

    fn predict(&mut self, episode: &Episode) -> Vec<f64> {
        let value = if self.weight > 0.0 { self.sum / self.weight } else { 0.0 };
        vec![value; episode.choices.len()]
    }

    fn update(&mut self, batch: &[(&Episode, f64)]) -> f64 {
        let error = squared_error(self, batch);
        for &(_, reward) in batch {
            self.sum = DECAY * self.sum + (1.0 - DECAY) * reward;
            self.weight = DECAY * self.weight + (1.0 - DECAY);
        }
        error
    }
}

/// The mean of (r − V(s))² over all states of all episodes.
fn squared_error(value: &mut dyn ValueFunction, batch: &[(&Episode, f64)]) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for &(episode, reward) in batch {
        let values = value.predict(episode);
        sum += values.iter().map(|v| (reward - v).powi(2)).sum::<f64>();
        count += values.len();
    }
    sum / count.max(1) as f64
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

    /// Writes the state after `choices` as row `i`.
    fn write(&mut self, i: usize, choices: &[Choice]) {
        let width = self.width();
        let row = &mut self.x[i * width..][..width];
        row.fill(0.0);
        for choice in choices {
            row[self.first[choice.slot] + choice.option] = 1.0;
        }
    }
}

impl ValueFunction for Critic {
    fn name(&self) -> &'static str {
        "critic"
    }

    fn predict(&mut self, episode: &Episode) -> Vec<f64> {
        let mut values = Vec::new();
        let states: Vec<&[Choice]> = (0..episode.choices.len()).map(|t| &episode.choices[..t]).collect();
        for part in states.chunks(BATCH) {
            part.iter().enumerate().for_each(|(i, choices)| self.write(i, choices));
            let feed = Feed::new(part.len()).with("choices", &self.x[..part.len() * self.width()]);
            self.eval.run(&feed, &self.params).expect("an episode fits the critic");
            values.extend(self.eval.output(0)[..part.len()].iter().copied().map(f64::from));
        }
        values
    }

    fn update(&mut self, batch: &[(&Episode, f64)]) -> f64 {
        let error = squared_error(self, batch);
        let states = batch.iter().flat_map(|(e, reward)| (0..e.choices.len()).map(|t| (&e.choices[..t], *reward)));
        let states: Vec<(&[Choice], f64)> = states.collect();
        for _ in 0..STEPS {
            let mut gradient = vec![0.0; self.params.len()];
            for part in states.chunks(BATCH) {
                for (i, &(choices, reward)) in part.iter().enumerate() {
                    self.write(i, choices);
                    self.y[i] = reward as f32;
                }
                let n = part.len();
                let feed = Feed::new(n).with("choices", &self.x[..n * self.width()]).with("reward", &self.y[..n]);
                self.train.gradients(&feed, &mut self.params).expect("episodes fit the critic");
                let share = n as f32 / states.len() as f32;
                gradient.iter_mut().zip(self.train.grads()).for_each(|(sum, g)| *sum += share * g);
            }
            let before = (self.params.clone(), self.adam.clone());
            self.adam.step(self.params.values_mut(), &gradient);
            if !self.params.is_finite() {
                (self.params, self.adam) = before;
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
        assert_eq!(baseline.predict(&episode), [0.0]);
        assert_eq!(baseline.update(&[(&episode, 2.0)]), 4.0);
        // Corrected for its start, the mean of one reward is that reward.
        assert!((baseline.predict(&episode)[0] - 2.0).abs() < 1e-12);
        baseline.update(&[(&episode, 4.0)]);
        assert!((baseline.predict(&episode)[0] - (0.09 * 2.0 + 0.1 * 4.0) / 0.19).abs() < 1e-12);
    }

    #[test]
    fn the_critic_learns_what_a_choice_is_worth() {
        let environment = Environment::new(cube(3, 3));
        let episodes: Vec<Episode> = crate::testing::episodes(&environment);
        let worth = |e: &Episode| e.choices.iter().map(|c| c.option as f64).sum::<f64>() / 3.0 - 1.0;
        let mut critic = Critic::new(&environment, 0.01, &mut Seed::new(1).stream(Purpose::Test, 0));
        let batch: Vec<(&Episode, f64)> = episodes.iter().map(|e| (e, worth(e))).collect();
        let first = critic.update(&batch);
        let last = (0..100).map(|_| critic.update(&batch)).last().unwrap();
        // Over all architectures, the value of a state is its choices so far and the even choice of the rest.
        for episode in &episodes {
            let values = critic.predict(episode);
            for (t, v) in values.iter().enumerate() {
                let expected = episode.choices[..t].iter().map(|c| c.option as f64 - 1.0).sum::<f64>() / 3.0;
                assert!((v - expected).abs() < 0.1, "{v}, {expected} after {:?}", &episode.choices[..t]);
            }
        }
        // What is left is the variance of the choices to come: 3, 2 or 1 of them, each of variance 2/27.
        let unexplained = (3.0 + 2.0 + 1.0) / 3.0 * 2.0 / 27.0;
        assert!((last - unexplained).abs() < 0.02 && last < first, "{first} {last} {unexplained}");
    }
}
