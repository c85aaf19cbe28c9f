//! Advantage actor-critic (Mnih et al., 2016), synchronous.

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Rng};

use super::{Action, Agent, EntropyControl, Figures, Plan, drawn, episodes, importance, spread, variance};
use crate::advantage::{Rewards, Shaping, gae};
use crate::environment::Environment;
use crate::policy::{self, Policy};
use crate::rollout::Finished;
use crate::value::ValueFunction;

/// Advantage actor-critic: one step for each batch, with advantages from a critic of partial architectures:
///
/// ∇J = E\[ρ Σₜ Aₜ ∇ log π(aₜ | sₜ)\] + β ∇H
///
/// with generalised advantage estimates Aₜ (γ = λ = 1: the reward less V(sₜ)). The critic is a
/// network of its own, so its loss needs no weight beside the policy's.
pub struct A2c {
    name: &'static str,
    policy: Box<dyn Policy>,
    value: Box<dyn ValueFunction>,
    rewards: Rewards,
    /// How trials are collected; default: ten at a time.
    pub plan: Plan,
    /// β, the weight of the entropy of all steps; default 0.01, fixed.
    pub entropy: EntropyControl,
    /// γ; default 1: there is one reward, at the end.
    pub gamma: f64,
    /// λ of the advantage estimates; default 1.
    pub gae_lambda: f64,
    /// Whether advantages are divided by their standard deviation over the batch; default no.
    pub norm_adv: bool,
    /// The largest norm of the policy's gradient; default 10.
    pub max_grad_norm: f64,
    figures: Figures,
}

impl A2c {
    /// Advantage actor-critic called `name` of `policy` with `value`, on rewards shaped by `shaping`.
    pub fn new(name: &'static str, policy: Box<dyn Policy>, value: Box<dyn ValueFunction>, shaping: Shaping) -> Self {
        A2c {
            name,
            policy,
            value,
            rewards: Rewards::new(shaping),
            plan: Plan { batch: 10, warmup: 0, control: None, repeats: false },
            entropy: EntropyControl::fixed(0.01),
            gamma: 1.0,
            gae_lambda: 1.0,
            norm_adv: false,
            max_grad_norm: 10.0,
            figures: Figures::default(),
        }
    }
}

impl Agent for A2c {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self) -> Plan {
        self.plan
    }

    fn act(&mut self, environment: &Environment, rng: &mut Rng) -> Result<Action, ArchitectureError> {
        policy::sample(&mut *self.policy, environment, 0.0, rng).map(drawn)
    }

    fn update(&mut self, finished: &[Finished]) {
        let batch = episodes(finished);
        finished.iter().for_each(|f| self.rewards.push(f.reward));
        let shaped: Vec<f64> = finished.iter().map(|f| self.rewards.shape(f.reward)).collect();

        let (mut values, mut advantages) = (Vec::new(), Vec::new());
        self.value.predict(&batch, &shaped, &mut values);
        let mut left = &values[..];
        for (episode, &r) in batch.iter().zip(&shaped) {
            let (own, others) = left.split_at(episode.len());
            gae(own, r, self.gamma, self.gae_lambda, &mut advantages);
            left = others;
        }
        let deviation = variance(&advantages).sqrt();
        let scale = if self.norm_adv && deviation > 0.0 { 1.0 / deviation } else { 1.0 };
        let rho = spread(&batch, importance(&mut *self.policy, finished).into_iter());
        let weighted: Vec<f64> = advantages.iter().zip(rho).map(|(a, rho)| scale * rho * a).collect();
        let update = self.policy.update(&batch, &weighted, self.entropy.ent_coef, self.max_grad_norm);
        self.value.update(&batch, &shaped);

        let returns = spread(&batch, shaped.iter().copied());
        let figures = &mut self.figures;
        figures.begin();
        figures.updated(&update, &batch);
        self.entropy.adapt(figures.entropy());
        figures.set("ent_coef", self.entropy.ent_coef);
        figures.set("advantage_std", deviation);
        figures.expected(&values, &returns);
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

    use super::*;
    use crate::policy::Independent;
    use crate::testing::{cube, finished};
    use crate::value::{Critic, NoBaseline};

    #[test]
    fn learns_which_of_two_choices_matters() {
        let environment = Environment::new(cube(2, 4));
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        let critic = Box::new(Critic::new(&environment, 0.01, &mut rng));
        let mut agent = A2c::new("test", Box::new(Independent::new(&environment, 0.1)), critic, Shaping::Rank);
        for _ in 0..60 {
            let batch: Vec<Finished> = (0..10)
                .map(|_| {
                    let sampled = agent.act(&environment, &mut rng).unwrap().sampled;
                    let reward = if sampled.episode.choice(1).option == 3 { 1.0 } else { 0.0 };
                    finished(sampled, Some(reward))
                })
                .collect();
            agent.update(&batch);
        }
        let mut p = Vec::new();
        agent.policy().probabilities(1, &[true; 4], &mut p);
        assert!(p[3] > 0.9, "{p:?}");
        assert!(agent.figures().diagnostics().get("explained_variance").is_none_or(|share| share <= 1.0));
    }

    #[test]
    fn normalised_advantages_do_not_see_the_scale_of_rewards() {
        let environment = Environment::new(cube(2, 4));
        let gradient = |scale: f64| {
            let policy = Box::new(Independent::new(&environment, 0.1));
            let mut agent = A2c::new("test", policy, Box::new(NoBaseline), Shaping::Raw);
            (agent.norm_adv, agent.max_grad_norm) = (true, f64::INFINITY);
            let mut rng = Seed::new(1).stream(Purpose::Test, 0);
            let batch = [1.0, -2.0, 0.5].map(|reward| {
                let sampled = agent.act(&environment, &mut rng).unwrap().sampled;
                finished(sampled, Some(scale * reward))
            });
            agent.update(&batch);
            agent.policy().last_gradient()
        };
        assert!(gradient(1.0).iter().zip(gradient(1000.0)).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
