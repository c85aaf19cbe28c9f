//! REINFORCE to the letter of NATS-Bench, the published baseline.

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Rng};

use super::{Action, Agent, Figures, Plan, drawn};
use crate::advantage::{Rewards, Shaping};
use crate::environment::Environment;
use crate::policy::{self, Independent, Policy};
use crate::rollout::Finished;
use crate::value::{MovingBaseline, ValueFunction as _};

/// REINFORCE as the benchmarks NAS-Bench-201 (Dong and Yang, 2020) and NATS-Bench (Dong, Liu, Musial and Gabrys, 2021)
/// publish it, for comparison with their tables:
///
/// b ← 0.9 b + 0.1 r, then θ ← Adam(−(r − b) ∇ log π(a))
///
/// one trial at a time, on independent logits drawn from 10⁻³ · N(0, 1), with Adam at 0.01, the raw reward, no entropy, no noise
/// and no refusal of repeats, which are paid for. The reward is in its own baseline: the first advantage is zero and all
/// are shortened.
///
/// At a few hundred trials it is hardly better than random search; see [`Reinforce`](super::Reinforce) for what helps.
pub struct ReinforceNats {
    policy: Box<dyn Policy>,
    baseline: MovingBaseline,
    rewards: Rewards,
    figures: Figures,
}

impl ReinforceNats {
    /// For the slots of `environment`, logits drawn from `rng`.
    pub fn new(environment: &Environment, rng: &mut Rng) -> Self {
        ReinforceNats {
            policy: Box::new(Independent::new(environment, 0.01).with_normal_logits(1e-3, rng)),
            baseline: MovingBaseline::default(),
            rewards: Rewards::new(Shaping::Raw),
            figures: Figures::default(),
        }
    }
}

impl Agent for ReinforceNats {
    fn name(&self) -> &'static str {
        "reinforce-nats"
    }

    fn plan(&self) -> Plan {
        Plan { batch: 1, warmup: 0, control: None, repeats: true }
    }

    fn act(&mut self, environment: &Environment, rng: &mut Rng) -> Result<Action, ArchitectureError> {
        policy::sample(&mut *self.policy, environment, 0.0, rng).map(drawn)
    }

    fn update(&mut self, finished: &[Finished]) {
        for Finished { episode, reward, .. } in finished {
            self.rewards.push(*reward);
            let reward = self.rewards.shape(*reward);
            self.baseline.push(reward);
            let advantage = reward - self.baseline.value();
            let update = self.policy.update(&[episode], &vec![advantage; episode.len()], 0.0, f64::INFINITY);
            self.figures.begin();
            self.figures.updated(&update, &[episode]);
            self.figures.set("baseline", self.baseline.value());
            self.figures.set("reward_mean", reward);
        }
    }

    fn state(&mut self, state: &mut State) {
        state.part("policy", |state| self.policy.state(state));
        state.part("baseline", |state| self.baseline.state(state));
        state.part("rewards", |state| self.rewards.state(state));
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
    use crate::testing::{cube, episodes, finished};

    #[test]
    fn two_steps_by_hand() {
        let environment = Environment::new(cube(1, 2));
        let mut agent = ReinforceNats::new(&environment, &mut Seed::new(1).stream(Purpose::Policy, 0));
        let start = agent.policy().parameters();
        assert!(start.iter().all(|x| *x != 0.0 && x.abs() < 1e-2), "{start:?}");
        let all = episodes(&environment);
        let told =
            |i: usize, reward| [finished(policy::Sampled { episode: all[i].clone(), log_prob: 0.0 }, Some(reward))];
        agent.update(&told(0, 50.0));
        // The reward is its own baseline.
        assert_eq!(agent.policy().parameters(), start);
        agent.update(&told(1, 90.0));
        let baseline = (0.09 * 50.0 + 0.1 * 90.0) / 0.19;
        assert!((agent.baseline.value() - baseline).abs() < 1e-9);
        let p0 = 1.0 / (1.0 + (start[1] - start[0]).exp());
        let gradient = agent.policy().last_gradient();
        assert!((gradient[0] - (90.0 - baseline) * p0).abs() < 1e-9, "{gradient:?}");
        // Adam's second step after a gradient of zero.
        let step = 0.01 * (0.1 / 0.19) / (0.001_f64 / (1.0 - 0.999_f64.powi(2))).sqrt();
        assert!((agent.policy().parameters()[0] - (start[0] - step)).abs() < 1e-9);
    }
}
