//! REINFORCE (Williams, 1992), as a controller for architecture search (Zoph & Le, 2017).

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Rng};

use super::{Action, Agent, EntropyControl, Figures, Plan, drawn, episodes, importance, spread, variance};
use crate::advantage::{Rewards, Shaping};
use crate::environment::Environment;
use crate::policy::{self, Policy};
use crate::rollout::Finished;
use crate::value::ValueFunction;

/// REINFORCE with a value function and an entropy bonus:
///
/// ∇J = E\[ρ Σₜ (r − V(sₜ)) ∇ log π(aₜ | sₜ)\] + β ∇H
///
/// where r is the reward by its rank among all seen, V(sₜ) what was to be expected after the choices before t, and H the
/// entropy of all steps. Episodes that the present policy did not draw weigh ρ = min(1, π / μ), the truncated importance
/// weight of V-trace (Espeholt et al., 2018), so that the even draws of a study are not lost to its policy.
///
/// Published settings with raw rewards and a learning rate of 0.01 or below stay near random search for the first hundreds of
/// trials; ranks, a large learning rate and no repeats are worth more than the choice of the algorithm.
pub struct Reinforce {
    name: &'static str,
    policy: Box<dyn Policy>,
    value: Box<dyn ValueFunction>,
    rewards: Rewards,
    /// How trials are collected.
    pub plan: Plan,
    /// β, the weight of the entropy; default 0.01, fixed.
    pub entropy: EntropyControl,
    /// The largest norm of the policy's gradient; default 10, which only strays meet.
    pub max_grad_norm: f64,
    /// The probability that a choice is replaced by an even draw; default 0.05.
    pub noise: f64,
    figures: Figures,
}

impl Reinforce {
    /// REINFORCE called `name` on `policy` and `value`, with rewards shaped by `shaping`.
    pub fn new(name: &'static str, policy: Box<dyn Policy>, value: Box<dyn ValueFunction>, shaping: Shaping) -> Self {
        Reinforce {
            name,
            policy,
            value,
            rewards: Rewards::new(shaping),
            plan: Plan::default(),
            entropy: EntropyControl::fixed(0.01),
            max_grad_norm: 10.0,
            noise: 0.05,
            figures: Figures::default(),
        }
    }
}

impl Agent for Reinforce {
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

        // One of each for every choice of every episode.
        let mut values = Vec::new();
        self.value.predict(&batch, &shaped, &mut values);
        let mut advantages = Vec::with_capacity(values.len());
        let mut weighted = Vec::with_capacity(values.len());
        let mut left = &values[..];
        for ((episode, r), rho) in batch.iter().zip(&shaped).zip(&rho) {
            let (own, others) = left.split_at(episode.len());
            advantages.extend(own.iter().map(|v| r - v));
            weighted.extend(own.iter().map(|v| rho * (r - v)));
            left = others;
        }
        let update = self.policy.update(&batch, &weighted, self.entropy.ent_coef, self.max_grad_norm);
        self.value.update(&batch, &shaped);

        let figures = &mut self.figures;
        figures.begin();
        figures.updated(&update, &batch);
        self.entropy.adapt(figures.entropy());
        figures.set("ent_coef", self.entropy.ent_coef);
        figures.set("advantage_std", variance(&advantages).sqrt());
        figures.expected(&values, &spread(&batch, shaped.into_iter()));
        figures.learned_from(finished);
    }

    fn state(&mut self, state: &mut State) {
        state.part("policy", |state| self.policy.state(state));
        state.part("value", |state| self.value.state(state));
        state.part("rewards", |state| self.rewards.state(state));
        state.field("ent_coef", &mut self.entropy.ent_coef);
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
    use nas_core::{Purpose, Seed};
    use rand::RngExt as _;

    use super::*;
    use crate::environment::Episode;
    use crate::policy::{Graph, Independent, Lstm, Transformer};
    use crate::rollout::Drawn;
    use crate::testing::{cube, episodes, finished, first_open};
    use crate::value::{LeaveOneOut, MovingBaseline};

    /// Rewards of 0.4 for the first of five arms and 0.3 for the others, plus noise; repeats are allowed.
    fn bandit(seed: u64, value: Box<dyn ValueFunction>, policy: &str) -> f64 {
        let environment = Environment::new(cube(1, 5));
        let mut rng = Seed::new(seed).stream(Purpose::Policy, 0);
        let policy: Box<dyn Policy> = match policy {
            "lstm" => Box::new(Lstm::new(&environment, 0.02, &mut rng)),
            "transformer" => Box::new(Transformer::new(&environment, 0.005, &mut rng)),
            "graph" => Box::new(Graph::new(&environment, 0.02, &mut rng)),
            _ => Box::new(Independent::new(&environment, 0.2)),
        };
        let mut agent = Reinforce::new("test", policy, value, Shaping::Rank);
        (agent.noise, agent.entropy.ent_coef) = (0.0, 0.0);
        let mut rng = Seed::new(seed).stream(Purpose::Test, 0);
        for _ in 0..60 {
            let mut batch = Vec::new();
            for _ in 0..5 {
                let sampled = agent.act(&environment, &mut rng).unwrap().sampled;
                let mean = if sampled.episode.choice(0).option == 0 { 0.4 } else { 0.3 };
                batch.push(finished(sampled, Some(mean + rng.random_range(-0.05..0.05))));
            }
            agent.update(&batch);
        }
        let mut p = Vec::new();
        agent.policy().probabilities(0, &[true; 5], &mut p);
        p[0]
    }

    #[test]
    fn a_bandit_is_learned_within_300_pulls() {
        for policy in ["independent", "lstm", "transformer", "graph"] {
            let moving = |seed| bandit(seed, Box::new(MovingBaseline::default()), policy);
            let learned = (0..100).filter(|&seed| moving(seed) > 0.95).count();
            assert!(learned >= 95, "{policy}: {learned} of 100 seeds");
        }
        let learned = (0..100).filter(|&seed| bandit(seed, Box::new(LeaveOneOut), "independent") > 0.95).count();
        assert!(learned >= 95, "leave-one-out: {learned} of 100 seeds");
    }

    /// The norm of the first gradient, from one episode drawn by `drawn`.
    fn first_gradient(environment: &Environment, drawn: Drawn) -> f64 {
        let policy = Box::new(Independent::new(environment, 0.2));
        let mut agent = Reinforce::new("test", policy, Box::new(MovingBaseline::default()), Shaping::Raw);
        agent.entropy.ent_coef = 0.0;
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        let episode = environment.episode(&mut rng, |_, mask, _| first_open(mask)).unwrap();
        agent.update(&[Finished { number: 0, episode, reward: Some(2.0), drawn }]);
        agent.figures().diagnostics().get("grad_norm").unwrap()
    }

    #[test]
    fn what_others_drew_weighs_by_its_truncated_importance() {
        let environment = Environment::new(cube(2, 3));
        let own = first_gradient(&environment, Drawn::Policy { log_prob: -9.0, age: 0 });
        for (mu, rho) in [(1.0, 1.0 / 9.0), (0.5, 2.0 / 9.0), (1.0 / 9.0, 1.0), (0.01, 1.0)] {
            let log_prob = f64::ln(mu);
            let late = [3, 30].map(|age| Drawn::Policy { log_prob, age });
            for drawn in [Drawn::Elsewhere { log_prob }, late[0], late[1]] {
                let weighted = first_gradient(&environment, drawn);
                assert!((weighted / own - rho).abs() < 1e-6, "{weighted} {own} {rho}");
            }
        }
    }

    #[test]
    fn a_late_batch_points_uphill() {
        let environment = Environment::new(cube(3, 4));
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        let mut logits = |spread: f64| -> Vec<f64> { (0..12).map(|_| rng.random_range(-spread..spread)).collect() };
        let (before, moved) = (logits(0.5), logits(1.0));
        let now: Vec<f64> = before.iter().zip(moved).map(|(a, b)| a + b).collect();
        let policy = |logits: &[f64]| {
            let mut policy = Box::new(Independent::new(&environment, 0.2));
            policy.set_parameters(logits);
            policy
        };
        let worth =
            |episode: &Episode| -> f64 { episode.choices().map(|c| c.option as f64 * (c.slot + 1) as f64 - 3.0).sum() };

        // ∇J at the present policy, over all architectures.
        let mut exact = policy(&now);
        let all = episodes(&environment);
        let weight = |e: &Episode| all.len() as f64 * policy::log_prob(&mut *policy(&now), e).exp() * worth(e);
        let weights: Vec<f64> = all.iter().flat_map(|e| std::iter::repeat_n(weight(e), e.len())).collect();
        exact.gradient(&all.iter().collect::<Vec<_>>(), &weights, 0.0);

        // What was drawn before the policy had moved.
        let value = Box::new(MovingBaseline::default());
        let mut agent = Reinforce::new("test", policy(&now), value, Shaping::Raw);
        (agent.entropy.ent_coef, agent.max_grad_norm) = (0.0, f64::INFINITY);
        let mut drawer = policy(&before);
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        let batch: Vec<Finished> = (0..500)
            .map(|_| {
                let sampled = policy::sample(&mut *drawer, &environment, 0.0, &mut rng).unwrap();
                let drawn = Drawn::Policy { log_prob: sampled.log_prob, age: 12 };
                Finished { number: 0, reward: Some(worth(&sampled.episode)), episode: sampled.episode, drawn }
            })
            .collect();
        agent.update(&batch);

        let (g, exact) = (agent.policy().last_gradient(), exact.last_gradient());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = dot(&g, &exact) / (dot(&g, &g) * dot(&exact, &exact)).sqrt();
        assert!(cosine > 0.5, "{cosine}");
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
                let sampled = agent.act(&environment, &mut rng).unwrap().sampled;
                agent.update(&[finished(sampled, rewards[i % 6])]);
                assert!(
                    agent.policy().parameters().iter().all(|x| x.is_finite()),
                    "{:?}",
                    agent.figures().diagnostics()
                );
            }
        }
    }

    #[test]
    fn an_entropy_target_keeps_the_policy_open() {
        let environment = Environment::new(cube(2, 5));
        let entropy = |control: EntropyControl| {
            let policy = Box::new(Independent::new(&environment, 0.2));
            let mut agent = Reinforce::new("test", policy, Box::new(MovingBaseline::default()), Shaping::Rank);
            (agent.noise, agent.entropy) = (0.0, control);
            let mut rng = Seed::new(1).stream(Purpose::Test, 0);
            for _ in 0..400 {
                let mut act = || agent.act(&environment, &mut rng).unwrap().sampled;
                let batch = [act(), act(), act(), act(), act()].map(|sampled| {
                    let reward = sampled.episode.choices().map(|choice| choice.option as f64).sum();
                    finished(sampled, Some(reward))
                });
                agent.update(&batch);
            }
            agent.figures().entropy().unwrap()
        };
        let (open, closed) = (entropy(EntropyControl::towards(0.3, 0.01)), entropy(EntropyControl::fixed(0.0)));
        assert!(closed < 0.05 && (0.15..0.5).contains(&open), "{closed} {open}");
    }
}
