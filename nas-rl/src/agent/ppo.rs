//! Proximal policy optimization (Schulman, Wolski, Dhariwal, Radford and Klimov, 2017).

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Error, Observed, Rng};

use super::{Action, Agent, EntropyControl, Figures, Plan, Queue, drawn, episodes, importance, spread, variance, warm};
use crate::advantage::{Rewards, Shaping, gae};
use crate::environment::{Environment, Episode};
use crate::policy::{self, Policy};
use crate::rollout::Finished;
use crate::value::ValueFunction;

/// Over what the ratio of new to old probabilities is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ratio {
    /// The whole episode: it has one reward.
    Sequence,
    /// Each choice, with its own advantage.
    Token,
}

/// Proximal policy optimization: several steps on one batch, as long as they stay near the policy that began:
///
/// J = E\[ρ min(r A, clip(r, 1 − ε, 1 + ε) A)\] + β H
///
/// where r = π(a) / π_old(a), of a whole episode or of each choice, and A are generalised advantage estimates from a value
/// function and one reward at the end. Episodes that the policy which begins the update did not draw weigh
/// ρ = min(1, π_old / μ).
///
/// With a queue it is the hybrid for large budgets: λ times the loss of priority queue training on the best max(5, n/50)
/// episodes of n is added, and β falls linearly to a third within [`ent_decay`](Self::ent_decay) trials. The queue alone
/// stalls at a local optimum after some hundreds of trials, the policy gradient alone is slow to begin.
pub struct Ppo {
    name: &'static str,
    policy: Box<dyn Policy>,
    value: Box<dyn ValueFunction>,
    rewards: Rewards,
    /// How trials are collected; default: five at a time.
    pub plan: Plan,
    /// Over what the ratio is taken; default the sequence.
    pub ratio: Ratio,
    /// ε; default 0.2.
    pub clip_coef: f64,
    /// Steps on each batch; default 4.
    pub update_epochs: usize,
    /// No further step on a batch when KL(π_old ‖ π) is estimated above this; default 0.5, far above what is usual elsewhere:
    /// with batches of five the first step alone goes beyond 0.05, and stopping there cost a third of the regret at 100
    /// trials on the NAS-Bench-201 table. None: never.
    pub target_kl: Option<f64>,
    /// β, the weight of the entropy of all steps; default 0.01, fixed.
    pub entropy: EntropyControl,
    /// γ; default 1: there is one reward, at the end.
    pub gamma: f64,
    /// λ of the advantage estimates; default 1.
    pub gae_lambda: f64,
    /// The largest norm of the policy's gradient; default 10.
    pub max_grad_norm: f64,
    /// The probability that a choice is replaced by an even draw; default 0.
    pub noise: f64,
    /// λ, the weight of the loss on the queue; default 0: plain PPO.
    pub queue_coef: f64,
    /// Trials within which β falls to a third when there is a queue; default 1000.
    pub ent_decay: u64,
    queue: Queue,
    trials: u64,
    figures: Figures,
}

/// Which steps of an update count, and what the new probabilities say of it.
struct Proximal {
    /// Aₜ times the ratio where its gradient is not cut off, otherwise zero; one for each choice.
    weights: Vec<f64>,
    /// The share of ratios whose gradient is cut off.
    clip_fraction: f64,
    /// The mean of (r − 1) − ln r: an estimate of KL(π_old ‖ π) that is never negative (Schulman, 2020).
    approx_kl: f64,
}

impl Ppo {
    /// Proximal policy optimization called `name` of `policy` with `value`, on rewards shaped by `shaping`.
    pub fn new(name: &'static str, policy: Box<dyn Policy>, value: Box<dyn ValueFunction>, shaping: Shaping) -> Self {
        Ppo {
            name,
            policy,
            value,
            rewards: Rewards::new(shaping),
            plan: Plan { batch: 5, warmup: 0, control: None, repeats: false },
            ratio: Ratio::Sequence,
            clip_coef: 0.2,
            update_epochs: 4,
            target_kl: Some(0.5),
            entropy: EntropyControl::fixed(0.01),
            gamma: 1.0,
            gae_lambda: 1.0,
            max_grad_norm: 10.0,
            noise: 0.0,
            queue_coef: 0.0,
            ent_decay: 1000,
            queue: Queue::new(5),
            trials: 0,
            figures: Figures::default(),
        }
    }

    /// The same with a queue of the best episodes, ten trials at a time.
    #[must_use]
    pub fn with_queue(self) -> Self {
        Ppo { queue_coef: 1.0, plan: Plan { batch: 10, ..self.plan }, ..self }
    }

    /// What the clipped objective makes of probabilities that have moved from `old` to `new`.
    fn proximal(&self, batch: &[&Episode], advantages: &[f64], old: &[f64], new: &[f64]) -> Proximal {
        let (mut weights, mut clipped, mut kl, mut ratios, mut at) = (Vec::with_capacity(old.len()), 0, 0.0, 0, 0);
        let mut weigh = |log_ratio: f64, advantages: &[f64]| {
            let ratio = log_ratio.exp();
            // The choices of a sequence share its advantage.
            let up = advantages[0] > 0.0;
            let cut = if up { ratio > 1.0 + self.clip_coef } else { ratio < 1.0 - self.clip_coef };
            weights.extend(advantages.iter().map(|a| if cut { 0.0 } else { ratio * a }));
            clipped += usize::from(cut);
            kl += ratio - 1.0 - log_ratio;
            ratios += 1;
        };
        for episode in batch {
            let range = at..at + episode.len();
            at = range.end;
            match self.ratio {
                Ratio::Token => range.for_each(|t| weigh(new[t] - old[t], &advantages[t..=t])),
                Ratio::Sequence if episode.is_empty() => {}
                Ratio::Sequence => {
                    let sum = |x: &[f64]| x[range.clone()].iter().sum::<f64>();
                    weigh(sum(new) - sum(old), &advantages[range.clone()]);
                }
            }
        }
        let count = f64::from(ratios.max(1));
        Proximal { weights, clip_fraction: clipped as f64 / count, approx_kl: kl / count }
    }
}

impl Agent for Ppo {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self) -> Plan {
        self.plan
    }

    fn act(&mut self, environment: &Environment, rng: &mut Rng) -> Result<Action, ArchitectureError> {
        policy::sample(&mut *self.policy, environment, self.noise, rng).map(drawn)
    }

    /// The queue, if it counts, holds the source's best until it has its own.
    fn warm_start(&mut self, environment: &Environment, source: &[Observed]) -> Result<(), Error> {
        let mut queue = Queue::new(warm::IMITATED);
        warm::start(&mut queue, &mut *self.policy, environment, source)?;
        if self.queue_coef > 0.0 {
            self.queue = queue;
        }
        Ok(())
    }

    fn update(&mut self, finished: &[Finished]) {
        let batch = episodes(finished);
        finished.iter().for_each(|f| self.rewards.push(f.reward));
        let shaped: Vec<f64> = finished.iter().map(|f| self.rewards.shape(f.reward)).collect();
        let rho = importance(&mut *self.policy, finished);
        self.trials += finished.len() as u64;

        let (mut values, mut advantages) = (Vec::new(), Vec::new());
        self.value.predict(&batch, &shaped, &mut values);
        let mut left = &values[..];
        for ((episode, &r), rho) in batch.iter().zip(&shaped).zip(&rho) {
            let (own, others) = left.split_at(episode.len());
            let start = advantages.len();
            match self.ratio {
                Ratio::Token => gae(own, r, self.gamma, self.gae_lambda, &mut advantages),
                Ratio::Sequence => advantages.extend(own.first().map(|v| r - v).into_iter().cycle().take(own.len())),
            }
            advantages[start..].iter_mut().for_each(|a| *a *= rho);
            left = others;
        }

        let mut ent_coef = self.entropy.ent_coef;
        if self.queue_coef > 0.0 {
            self.queue.resize((self.trials / 50).max(5) as usize);
            finished.iter().for_each(|f| {
                self.queue.push(f.number, &f.episode, f.reward.unwrap_or(f64::NEG_INFINITY));
            });
            ent_coef *= 1.0 - 2.0 / 3.0 * (self.trials as f64 / self.ent_decay.max(1) as f64).min(1.0);
        }
        // The queue's episodes follow the batch's; the gradient's mean is over both.
        let mut all = batch.clone();
        all.extend(self.queue.entries().iter().map(|entry| &entry.episode));
        let queued = all.len() - batch.len();
        let scale = all.len() as f64 / batch.len().max(1) as f64;
        let pull = self.queue_coef * all.len() as f64 / queued.max(1) as f64;

        let (mut old, mut new) = (Vec::new(), Vec::new());
        self.policy.log_probs(&batch, &mut old);
        new.extend_from_slice(&old);
        self.figures.begin();
        let mut last = None;
        for epoch in 0..self.update_epochs {
            if epoch > 0 {
                new.clear();
                self.policy.log_probs(&batch, &mut new);
            }
            let mut proximal = self.proximal(&batch, &advantages, &old, &new);
            let stop = self.target_kl.is_some_and(|target| proximal.approx_kl > target);
            let mut weights = std::mem::take(&mut proximal.weights);
            last = Some(proximal);
            if stop {
                break;
            }
            weights.iter_mut().for_each(|w| *w *= scale);
            weights.extend(spread(&all[batch.len()..], std::iter::repeat(pull)));
            let update = self.policy.update(&all, &weights, ent_coef, self.max_grad_norm);
            self.figures.updated(&update, &all);
        }
        self.value.update(&batch, &shaped);

        let figures = &mut self.figures;
        if let Some(last) = last {
            self.entropy.adapt(figures.entropy());
            figures.set("approx_kl", last.approx_kl);
            figures.set("clip_fraction", last.clip_fraction);
        }
        let returns = spread(&batch, shaped.iter().copied());
        figures.expected(&values, &returns);
        figures.set("advantage_std", variance(&advantages).sqrt());
        figures.set("ent_coef", ent_coef);
        figures.learned_from(finished);
    }

    fn state(&mut self, state: &mut State) {
        state.part("policy", |state| self.policy.state(state));
        state.part("value", |state| self.value.state(state));
        state.part("rewards", |state| self.rewards.state(state));
        state.field("ent_coef", &mut self.entropy.ent_coef);
        state.part("queue", |state| self.queue.state(state));
        state.field("trials", &mut self.trials);
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
    use crate::agent::Reinforce;
    use crate::policy::{Independent, Sampled};
    use crate::testing::{cube, episodes as all_episodes, finished};
    use crate::value::{MovingBaseline, NoBaseline};

    fn policy(environment: &Environment) -> Box<dyn Policy> {
        let mut policy = Independent::new(environment, 0.1);
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        let parameters: Vec<f64> = policy.parameters().iter().map(|_| rng.random_range(-0.5..0.5)).collect();
        policy.set_parameters(&parameters);
        Box::new(policy)
    }

    fn ppo(environment: &Environment) -> Ppo {
        Ppo::new("test", policy(environment), Box::new(MovingBaseline::default()), Shaping::Raw)
    }

    fn batch(environment: &Environment) -> Vec<Finished> {
        let all = all_episodes(environment);
        let told = [0, 3, 7, 7, 11].into_iter().zip([0.3, -0.5, 0.9, 0.1, -0.2]);
        let sampled = |i: usize| Sampled { episode: all[i].clone(), log_prob: 0.0 };
        told.map(|(i, reward)| finished(sampled(i), Some(reward))).collect()
    }

    #[test]
    fn the_first_step_is_that_of_reinforce() {
        let environment = Environment::new(cube(3, 5));
        for ratio in [Ratio::Sequence, Ratio::Token] {
            let mut ppo = ppo(&environment);
            (ppo.update_epochs, ppo.ratio) = (1, ratio);
            let value = Box::new(MovingBaseline::default());
            let mut reinforce = Reinforce::new("test", policy(&environment), value, Shaping::Raw);
            let told = batch(&environment);
            ppo.update(&told);
            reinforce.update(&told);
            let (one, other) = (ppo.policy().last_gradient(), reinforce.policy().last_gradient());
            assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-12), "{one:?} {other:?}");
            assert_eq!(ppo.figures().diagnostics().get("approx_kl"), Some(0.0));
            assert_eq!(ppo.figures().diagnostics().get("clip_fraction"), Some(0.0));
        }
    }

    #[test]
    fn the_gradient_is_cut_off_only_on_the_wrong_side() {
        let environment = Environment::new(cube(1, 5));
        let ppo = ppo(&environment);
        let all = all_episodes(&environment);
        let weight = |advantage: f64, ratio: f64| {
            let proximal = ppo.proximal(&[&all[0]], &[advantage], &[-1.0], &[-1.0 + ratio.ln()]);
            assert!(proximal.approx_kl >= 0.0);
            (proximal.weights[0], proximal.clip_fraction)
        };
        let near = |(weight, clipped): (f64, f64), w: f64, c: f64| (weight - w).abs() < 1e-12 && clipped == c;
        assert!(near(weight(2.0, 1.3), 0.0, 1.0) && near(weight(-2.0, 1.3), -2.6, 0.0));
        assert!(near(weight(2.0, 0.7), 1.4, 0.0) && near(weight(-2.0, 0.7), 0.0, 1.0));
        assert!(near(weight(2.0, 1.1), 2.2, 0.0) && near(weight(-2.0, 0.9), -1.8, 0.0));
    }

    #[test]
    fn the_divergence_is_estimated_without_bias() {
        let environment = Environment::new(cube(2, 4));
        let all = all_episodes(&environment);
        let ppo = ppo(&environment);
        let (mut old, mut new) = (policy(&environment), policy(&environment));
        new.soften(0.6);
        let scores = |policy: &mut dyn Policy| {
            let mut out = Vec::new();
            policy.log_probs(&all.iter().collect::<Vec<_>>(), &mut out);
            out
        };
        let (old, new) = (scores(&mut *old), scores(&mut *new));
        let (mut exact, mut estimated) = (0.0, 0.0);
        for (i, episode) in all.iter().enumerate() {
            let (old, new) = (&old[2 * i..2 * i + 2], &new[2 * i..2 * i + 2]);
            let (log_old, log_new) = (old[0] + old[1], new[0] + new[1]);
            exact += log_old.exp() * (log_old - log_new);
            estimated += log_old.exp() * ppo.proximal(&[episode], &[0.0, 0.0], old, new).approx_kl;
        }
        assert!(exact > 0.0 && (exact - estimated).abs() < 1e-12, "{exact} {estimated}");
    }

    #[test]
    fn steps_end_when_the_policy_has_moved_too_far() {
        let environment = Environment::new(cube(3, 5));
        let moved = |target_kl| {
            let mut ppo = ppo(&environment);
            (ppo.update_epochs, ppo.target_kl) = (50, target_kl);
            ppo.clip_coef = 10.0;
            ppo.update(&batch(&environment));
            ppo.figures().diagnostics().get("approx_kl").unwrap()
        };
        let (stopped, unstopped) = (moved(Some(0.05)), moved(None));
        assert!(stopped > 0.05 && unstopped > 2.0 * stopped, "{stopped} {unstopped}");
    }

    #[test]
    fn the_queue_adds_its_own_gradient() {
        let environment = Environment::new(cube(3, 5));
        let gradient = |queue: bool| {
            let agent = Ppo::new("test", policy(&environment), Box::new(NoBaseline), Shaping::Raw);
            let mut agent = if queue { agent.with_queue() } else { agent };
            (agent.update_epochs, agent.entropy.ent_coef, agent.max_grad_norm) = (1, 0.0, f64::INFINITY);
            agent.update(&batch(&environment));
            agent.policy().last_gradient()
        };
        let (with, without) = (gradient(true), gradient(false));
        // Four different episodes, so all of them are queued.
        let told = batch(&environment);
        let queued: Vec<&Episode> = [0, 1, 2, 4].iter().map(|&i| &told[i].episode).collect();
        let mut alone = policy(&environment);
        alone.gradient(&queued, &[1.0; 12], 0.0);
        for ((with, without), queue) in with.iter().zip(without).zip(alone.last_gradient()) {
            assert!((with - without - queue).abs() < 1e-12);
        }
    }
}
