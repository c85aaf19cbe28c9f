//! REINFORCE (Williams, 1992), as a controller for architecture search (Zoph & Le, 2017).

use nas_core::{ArchitectureError, Diagnostics, Rng};

use super::Agent;
use crate::advantage::{Rewards, Shaping};
use crate::environment::{Environment, Episode};
use crate::policy::{self, Policy, Weighted};
use crate::rollout::{Drawn, Finished, Rollout};
use crate::value::ValueFunction;

/// REINFORCE with a value function and an entropy bonus:
///
/// ∇J = E[ρ Σₜ (r − V(sₜ)) ∇ log π(aₜ | sₜ)] + β ∇H
///
/// where r is the reward by its rank among all seen, V(sₜ) what was to be expected after the choices before t, and H the mean
/// entropy of a step. Episodes that the policy did not draw itself weigh ρ = min(1, π / μ), the truncated importance weight
/// of V-trace (Espeholt et al., 2018), so that the even draws of a study are not lost to its policy.
///
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

    /// ρ = min(1, π / μ); one for what the policy drew.
    fn importance(&mut self, finished: &Finished) -> f64 {
        match finished.drawn {
            Drawn::Policy => 1.0,
            Drawn::Elsewhere { log_prob } => {
                (policy::log_prob(&mut *self.policy, &finished.episode) - log_prob).exp().min(1.0)
            }
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
        let finished = &rollout.finished;
        let mut diagnostics = Diagnostics::default();
        if finished.is_empty() {
            return diagnostics;
        }
        finished.iter().for_each(|f| self.rewards.push(f.reward));
        let shaped: Vec<f64> = finished.iter().map(|f| self.rewards.shape(f.reward)).collect();

        // One of each for every choice of every episode.
        let (mut batch, mut returns, mut values, mut advantages) = (vec![], vec![], vec![], vec![]);
        for (f, &r) in finished.iter().zip(&shaped) {
            let rho = self.importance(f);
            let expected = self.value.predict(&f.episode);
            let weighted = expected.iter().map(|v| (rho * (r - v)) as f32).collect();
            batch.push(Weighted { episode: &f.episode, advantages: weighted });
            returns.extend(expected.iter().map(|_| r));
            advantages.extend(expected.iter().map(|v| r - v));
            values.extend(expected);
        }
        let update = self.policy.update(&batch, self.ent_coef, self.max_grad_norm);
        self.updates += 1;
        self.skipped += u64::from(update.skipped);
        let targets: Vec<_> = finished.iter().map(|f| &f.episode).zip(shaped).collect();
        let value_loss = self.value.update(&targets);

        diagnostics.set("policy_loss", update.policy_loss);
        diagnostics.set("value_loss", value_loss);
        diagnostics.set("entropy", update.entropy);
        diagnostics.set("grad_norm", update.grad_norm);
        diagnostics.set("advantage_std", variance(&advantages).sqrt());
        diagnostics.set("baseline", mean(&values));
        diagnostics.set("explained_variance", 1.0 - variance(&advantages) / variance(&returns));
        diagnostics.set("reward_mean", mean(&finished.iter().filter_map(|f| f.reward).collect::<Vec<f64>>()));
        diagnostics.set("updates", self.updates as f64);
        diagnostics.set("skipped_updates", self.skipped as f64);
        // The mean of no reward, the variance explained where there is none: such figures do not exist.
        diagnostics.0.retain(|_, figure| figure.is_finite());
        diagnostics
    }
}

/// The mean; NaN of nothing.
fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// The mean squared distance from the mean.
fn variance(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};
    use rand::RngExt as _;

    use super::*;
    use crate::policy::Independent;
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
                rollout.finished.push(Finished { episode, reward, drawn: Drawn::Policy });
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

    /// The norm of the first gradient, from one episode drawn by `drawn`.
    fn first_gradient(environment: &Environment, drawn: Drawn) -> f64 {
        let policy = Box::new(Independent::new(environment, 0.2));
        let mut agent = Reinforce::new("test", policy, Box::new(MovingBaseline::default()), Shaping::Raw);
        agent.ent_coef = 0.0;
        let episode = environment.episode(|_, _, mask| mask.iter().position(|&open| open).unwrap()).unwrap();
        let finished = vec![Finished { episode, reward: Some(2.0), drawn }];
        agent.update(&Rollout { finished }).get("grad_norm").unwrap()
    }

    #[test]
    fn what_others_drew_weighs_by_its_truncated_importance() {
        let environment = Environment::new(cube(2, 3));
        let own = first_gradient(&environment, Drawn::Policy);
        for (mu, rho) in [(1.0, 1.0 / 9.0), (0.5, 2.0 / 9.0), (1.0 / 9.0, 1.0), (0.01, 1.0)] {
            let log_prob = f64::ln(mu);
            let weighted = first_gradient(&environment, Drawn::Elsewhere { log_prob });
            assert!((weighted / own - rho).abs() < 1e-6, "{weighted} {own} {rho}");
        }
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
                let finished = vec![Finished { episode, reward: rewards[i % 6], drawn: Drawn::Policy }];
                let said = agent.update(&Rollout { finished });
                assert!(agent.policy().parameters().iter().all(|x| x.is_finite()), "{said:?}");
            }
        }
    }
}
