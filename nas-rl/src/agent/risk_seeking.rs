//! Risk-seeking policy gradient (Petersen et al., 2021).

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Rng};

use super::{Action, Agent, EntropyControl, Figures, Plan, drawn, episodes, importance, spread};
use crate::advantage::{Rewards, Shaping};
use crate::environment::Environment;
use crate::policy::{self, Policy};
use crate::rollout::Finished;

/// Risk-seeking policy gradient: not the mean reward is raised but that of the best, because a search keeps only its best:
///
/// ∇J = (1/ε) E\[ρ (r − q)₊ ∇ log π(a)\] + β ∇H
///
/// where q is the 1 − ε quantile of the batch's rewards, so that the worse 1 − ε teach nothing. It wants large batches, and
/// with them few updates: at some hundreds of trials it trails [`Ppo`](super::Ppo).
pub struct RiskSeeking {
    name: &'static str,
    policy: Box<dyn Policy>,
    rewards: Rewards,
    /// How trials are collected; default: twenty at a time.
    pub plan: Plan,
    /// ε, the share of a batch that counts as its best; default 0.1, at least one episode.
    pub epsilon: f64,
    /// Steps on each batch; default 3.
    pub update_epochs: usize,
    /// β, the weight of the entropy of all steps; default 0.01, fixed.
    pub entropy: EntropyControl,
    /// The largest norm of the policy's gradient; default 10.
    pub max_grad_norm: f64,
    figures: Figures,
}

impl RiskSeeking {
    /// A risk-seeking policy gradient called `name` of `policy`, on rewards shaped by `shaping`.
    pub fn new(name: &'static str, policy: Box<dyn Policy>, shaping: Shaping) -> Self {
        RiskSeeking {
            name,
            policy,
            rewards: Rewards::new(shaping),
            plan: Plan { batch: 20, warmup: 0, control: None, repeats: false },
            epsilon: 0.1,
            update_epochs: 3,
            entropy: EntropyControl::fixed(0.01),
            max_grad_norm: 10.0,
            figures: Figures::default(),
        }
    }
}

/// The reward that all but the best share `epsilon`, and at least one, do not exceed; of an only one the lowest number.
fn quantile(rewards: &[f64], epsilon: f64) -> f64 {
    let mut sorted = rewards.to_vec();
    sorted.sort_by(f64::total_cmp);
    let best = ((epsilon * rewards.len() as f64).round() as usize).clamp(1, rewards.len().max(1));
    match sorted.len().checked_sub(best + 1) {
        Some(at) => sorted[at],
        None => -1.0,
    }
}

impl Agent for RiskSeeking {
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
        let threshold = quantile(&shaped, self.epsilon);
        let rho = importance(&mut *self.policy, finished);
        let weights = shaped.iter().zip(rho).map(|(r, rho)| rho * (r - threshold).max(0.0) / self.epsilon);
        let weights = spread(&batch, weights);

        let figures = &mut self.figures;
        figures.begin();
        for _ in 0..self.update_epochs {
            let update = self.policy.update(&batch, &weights, self.entropy.ent_coef, self.max_grad_norm);
            figures.updated(&update, &batch);
        }
        self.entropy.adapt(figures.entropy());
        figures.set("ent_coef", self.entropy.ent_coef);
        figures.set("threshold", threshold);
        figures.learned_from(finished);
    }

    fn state(&mut self, state: &mut State) {
        state.part("policy", |state| self.policy.state(state));
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

    #[test]
    fn quantiles_by_hand() {
        let ten = [0.3, 0.9, 0.1, 0.5, 0.8, 0.2, 0.7, 0.4, 0.6, 0.0];
        assert_eq!(quantile(&ten, 0.1), 0.8);
        assert_eq!(quantile(&ten, 0.3), 0.6);
        assert_eq!(quantile(&ten[..2], 0.1), 0.3);
        assert_eq!(quantile(&ten[..1], 0.1), -1.0);
    }

    #[test]
    fn prefers_the_arm_with_the_best_rewards_to_the_better_one() {
        // Arm 0 gives 0.5 always; arm 1 gives 1 once in four times, otherwise 0: a worse mean, a better best.
        let environment = Environment::new(cube(1, 2));
        let mut agent = RiskSeeking::new("test", Box::new(Independent::new(&environment, 0.1)), Shaping::Raw);
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        let mut risky = 0;
        for _ in 0..60 {
            let mut draw = || {
                let sampled = agent.act(&environment, &mut rng).unwrap().sampled;
                let reward = match sampled.episode.choice(0).option {
                    0 => 0.5,
                    _ => {
                        risky += 1;
                        if risky % 4 == 0 { 1.0 } else { 0.0 }
                    }
                };
                finished(sampled, Some(reward))
            };
            let batch: Vec<Finished> = (0..20).map(|_| draw()).collect();
            agent.update(&batch);
        }
        let mut p = Vec::new();
        agent.policy().probabilities(0, &[true; 2], &mut p);
        assert!(p[1] > 0.8, "{p:?}");
    }
}
