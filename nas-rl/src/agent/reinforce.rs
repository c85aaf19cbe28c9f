//! REINFORCE (Williams, 1992), as a controller for architecture search (Zoph & Le, 2017).

use nas_core::{ArchitectureError, Diagnostics, Rng};

use super::Agent;
use crate::advantage::{Rewards, Shaping};
use crate::environment::{Environment, Episode};
use crate::policy::{self, Policy, Weighted};
use crate::rollout::Rollout;
use crate::value::ValueFunction;

/// REINFORCE with a value function and an entropy bonus:
///
/// ∇J = E[(r − b) ∇ log π(a)] + β ∇H
///
/// where r is the reward by its rank among all seen, b what the value function expected, and H the mean entropy of a step.
/// Published settings with raw rewards and a learning rate of 0.01 or below stay near random search for the first hundreds of
/// trials; ranks, a large learning rate and no repeats are worth more than the choice of the algorithm.
pub struct Reinforce {
    name: &'static str,
    policy: Box<dyn Policy>,
    value: Box<dyn ValueFunction>,
    rewards: Rewards,
    /// β, the weight of the entropy; default 0.01.
    pub ent_coef: f32,
    /// The largest norm of the policy's gradient; default 10, which only strays meet.
    pub max_grad_norm: f32,
    /// The probability that a choice is replaced by an even draw; default 0.05.
    pub noise: f64,
    updates: u64,
    skipped: u64,
}

impl Reinforce {
    /// REINFORCE called `name` on `policy` and `value`, with rewards shaped by `shaping`.
    pub fn new(name: &'static str, policy: Box<dyn Policy>, value: Box<dyn ValueFunction>, shaping: Shaping) -> Self {
        let rewards = Rewards::new(shaping);
        Reinforce {
            name,
            policy,
            value,
            rewards,
            ent_coef: 0.01,
            max_grad_norm: 10.0,
            noise: 0.05,
            updates: 0,
            skipped: 0,
        }
    }

    /// The policy.
    pub fn policy(&mut self) -> &mut dyn Policy {
        &mut *self.policy
    }
}

impl Agent for Reinforce {
    fn name(&self) -> &'static str {
        self.name
    }

    fn act(&mut self, environment: &Environment, rng: &mut Rng) -> Result<Episode, ArchitectureError> {
        policy::sample(&mut *self.policy, environment, self.noise, rng)
    }

    fn update(&mut self, rollout: &Rollout) -> Diagnostics {
        for finished in &rollout.finished {
            self.rewards.push(finished.reward);
        }
        let shaped: Vec<f64> = rollout.finished.iter().map(|f| self.rewards.shape(f.reward)).collect();
        let expected: Vec<f64> = rollout.finished.iter().map(|f| self.value.predict(&f.episode)).collect();

        let mut batch = Vec::new();
        for ((finished, reward), baseline) in rollout.finished.iter().zip(&shaped).zip(&expected) {
            if finished.on_policy {
                let advantage = (reward - baseline) as f32;
                batch.push(Weighted { episode: &finished.episode, advantage });
            }
        }
        let mut diagnostics = Diagnostics::default();
        if !batch.is_empty() {
            let update = self.policy.update(&batch, self.ent_coef, self.max_grad_norm);
            self.updates += 1;
            self.skipped += u64::from(update.skipped);
            diagnostics.set("policy_loss", update.policy_loss);
            diagnostics.set("entropy", update.entropy);
            diagnostics.set("grad_norm", update.grad_norm);
            let advantages: Vec<f64> = batch.iter().map(|w| f64::from(w.advantage)).collect();
            diagnostics.set("advantage_std", variance(&advantages).sqrt());
        }

        let targets: Vec<_> = rollout.finished.iter().map(|f| &f.episode).zip(shaped.iter().copied()).collect();
        diagnostics.set("value_loss", self.value.update(&targets));
        let left: Vec<f64> = shaped.iter().zip(&expected).map(|(r, b)| r - b).collect();
        let all = variance(&shaped);
        if all > 0.0 {
            diagnostics.set("explained_variance", 1.0 - variance(&left) / all);
        }
        let rewards: Vec<f64> = rollout.finished.iter().filter_map(|f| f.reward).collect();
        if !rewards.is_empty() {
            diagnostics.set("reward_mean", rewards.iter().sum::<f64>() / rewards.len() as f64);
        }
        diagnostics.set("updates", self.updates as f64);
        diagnostics.set("skipped_updates", self.skipped as f64);
        diagnostics
    }
}

/// The mean squared distance from the mean.
fn variance(x: &[f64]) -> f64 {
    let n = x.len().max(1) as f64;
    let mean = x.iter().sum::<f64>() / n;
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};
    use rand::RngExt as _;

    use super::*;
    use crate::policy::Independent;
    use crate::rollout::Finished;
    use crate::testing::cube;
    use crate::value::MovingBaseline;

    /// Rewards of 0.4 for the first of five arms and 0.3 for the others, plus noise; repeats are allowed.
    fn bandit(seed: u64) -> f64 {
        let environment = Environment::new(cube(1, 5));
        let policy = Box::new(Independent::new(&environment, 0.2));
        let mut agent = Reinforce::new("test", policy, Box::new(MovingBaseline::default()), Shaping::Rank);
        (agent.noise, agent.ent_coef) = (0.0, 0.0);
        let mut rng = Seed::new(seed).stream(Purpose::Test, 0);
        for _ in 0..60 {
            let mut rollout = Rollout::default();
            for _ in 0..5 {
                let episode = agent.act(&environment, &mut rng).unwrap();
                let mean = if episode.choices[0].option == 0 { 0.4 } else { 0.3 };
                let reward = Some(mean + rng.random_range(-0.05..0.05));
                rollout.finished.push(Finished { episode, reward, on_policy: true });
            }
            agent.update(&rollout);
        }
        agent.policy().distribution(&[], 0, &[true; 5])[0]
    }

    #[test]
    fn a_bandit_is_learned_within_300_pulls() {
        let learned = (0..100).filter(|&seed| bandit(seed) > 0.95).count();
        assert!(learned >= 95, "{learned} of 100 seeds");
    }

    #[test]
    fn rewards_that_are_no_numbers_never_poison_the_policy() {
        let environment = Environment::new(cube(2, 3));
        for shaping in [Shaping::Rank, Shaping::Raw] {
            let policy = Box::new(Independent::new(&environment, 0.2));
            let mut agent = Reinforce::new("test", policy, Box::new(MovingBaseline::default()), shaping);
            let mut rng = Seed::new(1).stream(Purpose::Test, 0);
            let rewards = [Some(f64::NAN), None, Some(f64::INFINITY), Some(1e300), Some(-1e300), Some(0.5)];
            for i in 0..60 {
                let episode = agent.act(&environment, &mut rng).unwrap();
                let finished = vec![Finished { episode, reward: rewards[i % 6], on_policy: true }];
                let said = agent.update(&Rollout { finished });
                assert!(agent.policy().parameters().iter().all(|x| x.is_finite()), "{said:?}");
            }
        }
    }
}
