//! The controller: an agent as a strategy of a study.

use nas_core::strategy::Unseen;
use nas_core::{Diagnostics, Error, Observed, Origin, Proposal, Purpose, SearchSpace, Seed, Strategy};

use crate::agent::Agent;
use crate::environment::{Choice, Environment, Episode};
use crate::rollout::{Drawn, Finished, Rollout};

/// Trials drawn evenly before the policy is asked.
const WARMUP: u64 = 10;
/// Of this many trials one is drawn evenly, so that a study can always tell whether its policy is better than chance.
const CONTROL: u64 = 10;
/// Trials an update learns from.
const BATCH: usize = 5;
/// How often a policy may repeat itself before an even draw takes its place.
const REPEATS: u32 = 50;

/// A study has settled when the entropy, as a share of an even policy's, is below this (a policy that may not repeat itself
/// does not collapse: on published tables it levels off at 0.2 to 0.45) …
const SETTLED_ENTROPY: f64 = 0.6;
/// … has stayed within this …
const SETTLED_SPREAD: f64 = 0.05;
/// … for this many updates, and the best reward has not changed for as many trials as those learned from.
const SETTLED_UPDATES: usize = 10;

/// An agent as a [`Strategy`].
///
/// The first ten trials and every tenth after are drawn evenly from the space; the others by the agent's policy. No
/// architecture is proposed twice. The agent is updated after every fifth trial, and learns from the even draws too, by
/// their importance. Everything follows from the seed and the order of the calls, so a study is resumed by replaying it.
pub struct Controller<A: Agent> {
    agent: A,
    environment: Environment,
    unseen: Unseen,
    seed: Seed,
    proposed: u64,
    observed: u64,
    rollout: Rollout,
    updates: u64,
    draws: u64,
    repeats: u64,
    best: Option<(f64, u64)>,
    /// The entropy before each update, as a share of an even policy's.
    entropies: Vec<f64>,
    /// The figures of the update after the last observation, if there was one.
    said: Option<Diagnostics>,
}

impl<A: Agent> Controller<A> {
    /// A controller of `agent` on `space`.
    pub fn new(agent: A, space: SearchSpace, seed: Seed) -> Self {
        Controller {
            agent,
            environment: Environment::new(space.clone()),
            unseen: Unseen::new(space),
            seed,
            proposed: 0,
            observed: 0,
            rollout: Rollout::default(),
            updates: 0,
            draws: 0,
            repeats: 0,
            best: None,
            entropies: Vec::new(),
            said: None,
        }
    }

    /// The agent.
    pub fn agent(&mut self) -> &mut A {
        &mut self.agent
    }

    fn next(&mut self) -> Result<Option<Proposal>, Error> {
        let number = self.proposed;
        let mut rng = self.seed.stream(Purpose::Propose, number);
        let even = number < WARMUP || number % CONTROL == CONTROL - 1;
        if !even && !self.unseen.is_exhausted() {
            for _ in 0..REPEATS {
                let episode = self.agent.act(&self.environment, &mut rng)?;
                self.draws += 1;
                if self.unseen.insert(&episode.tokens) {
                    let origin = Origin::Policy { updates: self.updates };
                    return Ok(Some(Proposal { tokens: episode.tokens, origin }));
                }
                self.repeats += 1;
            }
        }
        let drawn = self.unseen.draw(&mut rng)?;
        Ok(drawn.map(|tokens| Proposal { tokens, origin: Origin::Random }))
    }

    fn update(&mut self) -> Diagnostics {
        let rollout = std::mem::take(&mut self.rollout);
        let mut diagnostics = self.agent.update(&rollout);
        self.updates += 1;
        let even = rollout.finished.iter().map(|f| even_entropy(&f.episode)).sum::<f64>();
        let even = even / rollout.finished.len().max(1) as f64;
        if let Some(entropy) = diagnostics.get("entropy").filter(|_| even > 0.0) {
            self.entropies.push(entropy / even);
            diagnostics.set("entropy_normalised", entropy / even);
        }
        diagnostics.set("repeats", self.repeats as f64 / self.draws.max(1) as f64);
        diagnostics
    }
}

/// The mean entropy of the steps of `episode` if every open option were as likely.
fn even_entropy(episode: &Episode) -> f64 {
    episode.choices.iter().map(Choice::even_entropy).sum::<f64>() / episode.choices.len().max(1) as f64
}

impl<A: Agent> Strategy for Controller<A> {
    fn name(&self) -> &'static str {
        self.agent.name()
    }

    fn propose(&mut self) -> Result<Option<Proposal>, Error> {
        let proposal = self.next()?;
        self.proposed += u64::from(proposal.is_some());
        Ok(proposal)
    }

    fn observe(&mut self, observed: &Observed) -> Result<(), Error> {
        self.said = None;
        let episode = self.environment.replay(&observed.tokens)?;
        self.unseen.insert(&observed.tokens);
        let reward = observed.reward.filter(|r| r.is_finite());
        let drawn = match observed.origin {
            Origin::Policy { .. } => Drawn::Policy,
            Origin::Random => Drawn::Elsewhere { log_prob: self.environment.even_log_prob(&episode) },
            // Somebody's decision, not a draw.
            Origin::Mutation { .. } | Origin::Given => Drawn::Elsewhere { log_prob: 0.0 },
        };
        self.rollout.finished.push(Finished { episode, reward, drawn });
        self.observed += 1;
        if let Some(reward) = reward
            && self.best.is_none_or(|(best, _)| reward > best)
        {
            self.best = Some((reward, self.observed));
        }
        if self.rollout.finished.len() >= BATCH {
            self.said = Some(self.update());
        }
        Ok(())
    }

    fn diagnostics(&self) -> Diagnostics {
        self.said.clone().unwrap_or_default()
    }

    fn converged(&self) -> Option<String> {
        let (_, since) = self.best?;
        let still = self.observed - since;
        let last = &self.entropies[self.entropies.len().checked_sub(SETTLED_UPDATES)?..];
        let (least, most) = last.iter().fold((f64::MAX, 0.0_f64), |(a, b), &h| (a.min(h), b.max(h)));
        if most > SETTLED_ENTROPY || most - least > SETTLED_SPREAD || still < (SETTLED_UPDATES * BATCH) as u64 {
            return None;
        }
        let share = 100.0 * last[last.len() - 1];
        Some(format!(
            "the policy's entropy has settled at {share:.0} % of an even one and the best reward has not changed for {still} trials"
        ))
    }
}
