//! Priority queue training (Abolafia, Norouzi, Shen, Zhao and Le, 2018).

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Error, Observed, Rng};
use rand::RngExt as _;

use super::queue::{Entry, Queue};
use super::{Action, Agent, Figures, Plan, drawn, warm};
use crate::environment::Environment;
use crate::policy::{self, Policy};
use crate::rollout::Finished;

/// Priority queue training: after each trial the policy is fitted to the best episodes seen, each once, without a baseline
/// and without regard to how good they are:
///
/// L = −(1/|Q|) Σ_{a ∈ Q} log π(a) − β H
///
/// A part of the proposals are not drawn from the policy but edits of the queue. Its exploration is these, the entropy and the
/// noise; without any it would copy its queue. Who drew an episode makes no difference to the loss, so late trials need no
/// correction.
///
/// A short queue is fast and stays at a local optimum; so it begins with three and grows with the trials. Edits and a long
/// warm-up, which keeps the first queue from being copied, were worth most at 100 trials on the NAS-Bench-201 table.
pub struct Pqt {
    name: &'static str,
    policy: Box<dyn Policy>,
    /// How trials are collected; default: one at a time after twenty even draws.
    pub plan: Plan,
    /// |Q| at first; default 3.
    pub queue_size: usize,
    /// One more place in the queue for so many trials, once that makes more of them; default 30.
    pub queue_growth: u64,
    /// Steps of the optimizer after each trial; default 10.
    pub update_epochs: usize,
    /// β, the weight of the entropy of all steps; default 0.1.
    pub ent_coef: f64,
    /// The probability that a choice is replaced by an even draw; default 0.02.
    pub noise: f64,
    /// The share of proposals that are a queued episode with one choice changed; default 0.4.
    pub elite_edits: f64,
    /// The largest norm of the policy's gradient; default 10.
    pub max_grad_norm: f64,
    queue: Queue,
    trials: u64,
    figures: Figures,
}

impl Pqt {
    /// Priority queue training called `name` of `policy`; independent logits want a learning rate of 0.2.
    pub fn new(name: &'static str, policy: Box<dyn Policy>) -> Self {
        Pqt {
            name,
            policy,
            plan: Plan { batch: 1, warmup: 20, control: None, repeats: false },
            queue_size: 3,
            queue_growth: 30,
            update_epochs: 10,
            ent_coef: 0.1,
            noise: 0.02,
            elite_edits: 0.4,
            max_grad_norm: 10.0,
            queue: Queue::new(3),
            trials: 0,
            figures: Figures::default(),
        }
    }

    /// The queue.
    pub fn queue(&self) -> &[Entry] {
        self.queue.entries()
    }
}

impl Agent for Pqt {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self) -> Plan {
        self.plan
    }

    fn is_on_policy(&self) -> bool {
        false
    }

    fn act(&mut self, environment: &Environment, rng: &mut Rng) -> Result<Action, ArchitectureError> {
        let elites = self.queue.entries();
        if self.elite_edits > 0.0 && !elites.is_empty() && rng.random::<f64>() < self.elite_edits {
            let elite = &elites[rng.random_range(0..elites.len())];
            let sampled = policy::edit(&mut *self.policy, environment, &elite.episode, rng)?;
            return Ok(Action { sampled, origin: Some(elite.edited()) });
        }
        policy::sample(&mut *self.policy, environment, self.noise, rng).map(drawn)
    }

    /// The queue, too, holds the source's best until it has its own.
    fn warm_start(&mut self, environment: &Environment, source: &[Observed]) -> Result<(), Error> {
        self.queue.resize(self.queue_size.max(1));
        warm::start(&mut self.queue, &mut *self.policy, environment, source)
    }

    fn update(&mut self, finished: &[Finished]) {
        self.trials += finished.len() as u64;
        let grown = (self.trials / self.queue_growth.max(1)) as usize;
        self.queue.resize(self.queue_size.max(grown).max(1));
        for Finished { number, episode, reward, .. } in finished {
            self.queue.push(*number, episode, reward.unwrap_or(f64::NEG_INFINITY));
        }
        let figures = &mut self.figures;
        figures.begin();
        self.queue.fit(&mut *self.policy, self.update_epochs, self.ent_coef, self.max_grad_norm, figures);
        if let [best, ..] = self.queue.entries() {
            figures.set("queue_best", best.reward);
        }
        if let [.., worst] = self.queue.entries() {
            figures.set("queue_worst", worst.reward);
        }
    }

    fn state(&mut self, state: &mut State) {
        state.part("policy", |state| self.policy.state(state));
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

    use super::*;
    use crate::policy::Independent;
    use crate::testing::{cube, finished};

    #[test]
    fn copies_its_queue_as_far_as_the_entropy_lets_it() {
        let environment = Environment::new(cube(1, 5));
        let mut agent = Pqt::new("test", Box::new(Independent::new(&environment, 0.1)));
        (agent.queue_size, agent.queue_growth, agent.ent_coef) = (1, 1000, 0.5);
        (agent.noise, agent.elite_edits) = (0.1, 0.0);
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        for _ in 0..200 {
            let sampled = agent.act(&environment, &mut rng).unwrap().sampled;
            let reward = if sampled.episode.choice(0).option == 2 { 1.0 } else { 0.0 };
            agent.update(&[finished(sampled, Some(reward))]);
        }
        let mut p = Vec::new();
        agent.policy().probabilities(0, &[true; 5], &mut p);
        // At the optimum of log p₂ + β H: 1 − p₂ − β p₂ (ln p₂ + H) = 0.
        let h: f64 = -p.iter().map(|p| p * p.ln()).sum::<f64>();
        assert!((1.0 - p[2] - 0.5 * p[2] * (p[2].ln() + h)).abs() < 1e-3, "{p:?}");
        assert!((0.5..0.95).contains(&p[2]), "{p:?}");
        assert_eq!(agent.queue().len(), 1);
    }

    #[test]
    fn the_queue_grows_with_the_trials() {
        let environment = Environment::new(cube(5, 4));
        let mut agent = Pqt::new("test", Box::new(Independent::new(&environment, 0.2)));
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        let mut lengths = Vec::new();
        for number in 0..250 {
            let sampled = agent.act(&environment, &mut rng).unwrap().sampled;
            agent.update(&[finished(sampled, Some(f64::from(number)))]);
            lengths.push(agent.queue().len());
        }
        assert_eq!((lengths[50], lengths[119], lengths[240]), (3, 4, 8));
    }

    #[test]
    fn failures_teach_nothing() {
        let environment = Environment::new(cube(2, 3));
        let mut agent = Pqt::new("test", Box::new(Independent::new(&environment, 0.2)));
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        for reward in [None, Some(f64::NAN)] {
            let sampled = agent.act(&environment, &mut rng).unwrap().sampled;
            agent.update(&[finished(sampled, reward)]);
        }
        assert_eq!((agent.policy().parameters(), agent.queue().len()), (vec![0.0; 6], 0));
    }
}
