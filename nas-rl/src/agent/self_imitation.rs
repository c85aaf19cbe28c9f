//! Self-imitation learning (Oh, Guo, Singh and Lee, 2018).

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Purpose, Rng, Seed};
use rand::RngExt as _;

use super::{Action, Agent, EntropyControl, Figures, Plan, drawn, episodes, importance, spread};
use crate::advantage::{Rewards, Shaping};
use crate::environment::{Environment, Episode};
use crate::policy::{self, Policy};
use crate::rollout::Finished;
use crate::value::{MovingBaseline, ValueFunction as _};

/// REINFORCE that also imitates its own past: after the step on a batch come some on episodes from a buffer, as far as they
/// were better than what is now to be expected:
///
/// ∇J = E\[ρ (r − b) ∇ log π(a)\] + c E_buffer\[(r − b)₊ ∇ log π(a)\] + β ∇H
///
/// Rewards are ranks among all seen, so an episode that has been overtaken is imitated no more. Episodes are drawn from the
/// buffer in proportion to ((r − b)₊)^α. [`Pqt`](super::Pqt) is its harder version.
pub struct SelfImitation {
    name: &'static str,
    policy: Box<dyn Policy>,
    seed: Seed,
    baseline: MovingBaseline,
    rewards: Rewards,
    /// How trials are collected; default: five at a time.
    pub plan: Plan,
    /// M, steps on the buffer after each batch; default 4.
    pub sil_updates: usize,
    /// Episodes drawn for each of them; default 16.
    pub sil_batch: usize,
    /// c, the weight of the imitation; default 1.
    pub sil_coef: f64,
    /// α, how much better episodes are preferred; default 0.6.
    pub sil_alpha: f64,
    /// The most episodes in the buffer, the oldest go; default 1000.
    pub buffer_size: usize,
    /// β, the weight of the entropy of all steps; default 0.01, fixed.
    pub entropy: EntropyControl,
    /// The largest norm of the policy's gradient; default 10.
    pub max_grad_norm: f64,
    /// The probability that a choice is replaced by an even draw; default 0.05.
    pub noise: f64,
    buffer: Vec<(Episode, f64)>,
    /// Where the next episode goes once the buffer is full.
    oldest: usize,
    figures: Figures,
}

impl SelfImitation {
    /// Self-imitation called `name` of `policy`, which draws from its buffer by streams of `seed`.
    pub fn new(name: &'static str, policy: Box<dyn Policy>, seed: Seed) -> Self {
        SelfImitation {
            name,
            policy,
            seed,
            baseline: MovingBaseline::default(),
            rewards: Rewards::new(Shaping::Rank),
            plan: Plan { batch: 5, warmup: 0, control: None, repeats: false },
            sil_updates: 4,
            sil_batch: 16,
            sil_coef: 1.0,
            sil_alpha: 0.6,
            buffer_size: 1000,
            entropy: EntropyControl::fixed(0.01),
            max_grad_norm: 10.0,
            noise: 0.05,
            buffer: Vec::new(),
            oldest: 0,
            figures: Figures::default(),
        }
    }

    fn remember(&mut self, episode: &Episode, reward: f64) {
        let entry = (episode.clone(), reward);
        if self.buffer.len() < self.buffer_size.max(1) {
            self.buffer.push(entry);
        } else {
            self.buffer[self.oldest] = entry;
            self.oldest = (self.oldest + 1) % self.buffer.len();
        }
    }

    /// One step on what was better than expected; the share of the buffer that was.
    fn imitate(&mut self, baseline: f64, rng: &mut Rng) -> f64 {
        let gains: Vec<f64> =
            self.buffer.iter().map(|(_, reward)| (self.rewards.shape(Some(*reward)) - baseline).max(0.0)).collect();
        let mut ends = 0.0;
        let weights: Vec<f64> = gains
            .iter()
            .map(|gain| {
                ends += gain.powf(self.sil_alpha);
                ends
            })
            .collect();
        let better = gains.iter().filter(|gain| **gain > 0.0).count() as f64 / gains.len().max(1) as f64;
        if ends > 0.0 {
            let draw = |_| {
                let at = rng.random::<f64>() * ends;
                weights.partition_point(|end| *end <= at).min(weights.len() - 1)
            };
            let drawn: Vec<usize> = (0..self.sil_batch).map(draw).collect();
            let batch: Vec<&Episode> = drawn.iter().map(|&i| &self.buffer[i].0).collect();
            let advantages = spread(&batch, drawn.iter().map(|&i| self.sil_coef * gains[i]));
            let update = self.policy.update(&batch, &advantages, self.entropy.ent_coef, self.max_grad_norm);
            self.figures.count(&update);
        }
        better
    }
}

impl Agent for SelfImitation {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self) -> Plan {
        self.plan
    }

    fn act(&mut self, environment: &Environment, rng: &mut Rng) -> Result<Action, ArchitectureError> {
        policy::sample(&mut *self.policy, environment, self.noise, rng).map(drawn)
    }

    fn update(&mut self, finished: &[Finished]) {
        let batch = episodes(finished);
        finished.iter().for_each(|f| self.rewards.push(f.reward));
        let shaped: Vec<f64> = finished.iter().map(|f| self.rewards.shape(f.reward)).collect();
        let rho = importance(&mut *self.policy, finished);
        let expected = self.baseline.value();
        let advantages = spread(&batch, shaped.iter().zip(rho).map(|(r, rho)| rho * (r - expected)));
        let update = self.policy.update(&batch, &advantages, self.entropy.ent_coef, self.max_grad_norm);
        self.figures.begin();
        self.figures.updated(&update, &batch);
        shaped.iter().for_each(|&r| self.baseline.push(r));
        for Finished { episode, reward, .. } in finished {
            if let Some(reward) = reward.filter(|reward| reward.is_finite()) {
                self.remember(episode, reward);
            }
        }
        let mut rng = self.seed.stream(Purpose::Policy, self.figures.updates());
        let mut better = 0.0;
        for _ in 0..self.sil_updates {
            better = self.imitate(expected, &mut rng);
        }

        let figures = &mut self.figures;
        self.entropy.adapt(figures.entropy());
        figures.set("ent_coef", self.entropy.ent_coef);
        figures.set("baseline", expected);
        figures.set("imitated", better);
        figures.learned_from(finished);
    }

    fn state(&mut self, state: &mut State) {
        state.part("policy", |state| self.policy.state(state));
        state.part("baseline", |state| self.baseline.state(state));
        state.part("rewards", |state| self.rewards.state(state));
        state.field("ent_coef", &mut self.entropy.ent_coef);
        state.field("seed", &mut self.seed);
        state.field("buffer", &mut self.buffer);
        state.field("oldest", &mut self.oldest);
        state.part("figures", |state| self.figures.state(state));
    }

    fn figures(&self) -> &Figures {
        &self.figures
    }

    fn policy(&mut self) -> &mut dyn Policy {
        &mut *self.policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Independent;
    use crate::testing::{cube, episodes as all_episodes, finished};

    fn agent(environment: &Environment) -> SelfImitation {
        SelfImitation::new("test", Box::new(Independent::new(environment, 0.1)), Seed::new(1))
    }

    fn told(episode: &Episode, reward: f64) -> Finished {
        finished(policy::Sampled { episode: episode.clone(), log_prob: 0.0 }, Some(reward))
    }

    #[test]
    fn one_success_is_imitated_while_it_is_the_best() {
        let environment = Environment::new(cube(1, 5));
        let all = all_episodes(&environment);
        let probability = |imitating: bool| {
            let mut agent = agent(&environment);
            agent.sil_updates = if imitating { 4 } else { 0 };
            agent.update(&[told(&all[0], 1.0)]);
            for _ in 0..10 {
                agent.update(&[1, 2, 3, 4].map(|i| told(&all[i], 0.0)));
            }
            let mut p = Vec::new();
            agent.policy().probabilities(0, &[true; 5], &mut p);
            p[0]
        };
        let (with, without) = (probability(true), probability(false));
        assert!(with > without + 0.1, "{with} {without}");
    }

    #[test]
    fn the_buffer_forgets_its_oldest() {
        let environment = Environment::new(cube(1, 5));
        let all = all_episodes(&environment);
        let mut agent = agent(&environment);
        agent.buffer_size = 3;
        for (i, episode) in all.iter().enumerate() {
            agent.update(&[told(episode, i as f64)]);
        }
        let mut rewards: Vec<f64> = agent.buffer.iter().map(|(_, reward)| *reward).collect();
        rewards.sort_by(f64::total_cmp);
        assert_eq!(rewards, [2.0, 3.0, 4.0]);
    }
}
