//! The controller: an agent as a strategy of a study.

use std::collections::VecDeque;

use nas_core::space::KeyMap;
use nas_core::strategy::{State, Unseen};
use nas_core::{Diagnostics, Error, Observed, Origin, Proposal, Purpose, SearchSpace, Seed, Strategy};

use crate::agent::{Agent, Plan};
use crate::environment::Environment;
use crate::policy::{self, Sampled};
use crate::rollout::{Drawn, Finished};

/// How often a policy may repeat itself before an even draw takes its place.
const REPEATS: u32 = 50;
/// A policy has collapsed when, of ten draws for every option of the space, fewer than this share are new …
const FRESH: f64 = 0.1;
/// … and then its logits are multiplied by this.
const SOFTER: f64 = 0.5;

/// Batches grow with the trials that are under way, so that no draw is much older than so many updates: with a hundred workers
/// and batches of five, PPO learned next to nothing.
const OLDEST: usize = 5;

/// A study has settled when the entropy, as a share of an even policy's, is below this (a policy that may not repeat itself
/// does not collapse: on published tables it levels off at 0.2 to 0.45) …
const SETTLED_ENTROPY: f64 = 0.6;
/// … has stayed within this …
const SETTLED_SPREAD: f64 = 0.05;
/// … for this many updates, and the best reward has not changed for as many trials as those learned from.
const SETTLED_UPDATES: usize = 10;

/// An agent as a [`Strategy`].
///
/// As the agent's [`Plan`] says, the first trials and some after are drawn evenly from the space; the others by the agent.
/// No architecture is proposed twice, unless the plan pays for repeats; an agent that hardly finds anything new is made more
/// even again. The agent is updated after every batch of trials, which grows with the number of trials under way, and learns
/// from the even draws too, by their importance, and from its own that come late. Everything follows from the seed and the order of the calls, so a study is resumed by
/// replaying it.
pub struct Controller<A: Agent> {
    agent: A,
    plan: Plan,
    environment: Environment,
    unseen: Unseen,
    seed: Seed,
    proposed: u64,
    observed: u64,
    /// What the agent drew and has not seen the reward of, by key, with the number of updates before.
    pending: KeyMap<(Sampled, u64)>,
    rollout: Vec<Finished>,
    updates: u64,
    draws: u64,
    repeats: u64,
    /// Draws and new ones since the last look at how many are new.
    recent: (u64, u64),
    restarts: u64,
    best: Option<(f64, u64)>,
    /// The entropy before each of the last updates, as a share of an even policy's.
    entropies: VecDeque<f64>,
    /// Whether the last observation was followed by an update.
    updated: bool,
}

impl<A: Agent> Controller<A> {
    /// A controller of `agent` on `space`.
    pub fn new(agent: A, space: SearchSpace, seed: Seed) -> Self {
        Controller {
            plan: agent.plan(),
            agent,
            environment: Environment::new(space.clone()),
            unseen: Unseen::new(space),
            seed,
            proposed: 0,
            observed: 0,
            pending: KeyMap::default(),
            rollout: Vec::new(),
            updates: 0,
            draws: 0,
            repeats: 0,
            recent: (0, 0),
            restarts: 0,
            best: None,
            entropies: VecDeque::new(),
            updated: false,
        }
    }

    /// The agent.
    pub fn agent(&mut self) -> &mut A {
        &mut self.agent
    }

    fn next(&mut self) -> Result<Option<Proposal>, Error> {
        let number = self.proposed;
        let mut rng = self.seed.stream(Purpose::Propose, number);
        let Plan { warmup, control, repeats, .. } = self.plan;
        let even = number < warmup || control.is_some_and(|control| number % control == control - 1);
        if !even && (repeats || !self.unseen.is_exhausted()) {
            for _ in 0..REPEATS {
                let action = self.agent.act(&self.environment, &mut rng)?;
                let tokens = action.sampled.episode.tokens();
                let new = self.unseen.insert(tokens);
                self.draws += 1;
                self.repeats += u64::from(!new);
                self.look(new);
                if new || repeats {
                    let origin = action.origin.unwrap_or(Origin::Policy { updates: self.updates });
                    let (tokens, key) = (tokens.clone(), self.unseen.space().key(tokens));
                    self.pending.insert(key, (action.sampled, self.updates));
                    return Ok(Some(Proposal { tokens, origin }));
                }
            }
        }
        let drawn = if repeats && self.unseen.is_exhausted() {
            Some(self.unseen.space().sample_tokens(&mut rng))
        } else {
            self.unseen.draw(&mut rng)?
        };
        Ok(drawn.map(|tokens| Proposal { tokens, origin: Origin::Random }))
    }

    /// Makes the policy more even when it hardly draws anything new.
    fn look(&mut self, new: bool) {
        self.recent.0 += 1;
        self.recent.1 += u64::from(new);
        let window = 10 * self.environment.arity().iter().sum::<usize>() as u64;
        if self.recent.0 < window || self.plan.repeats {
            return;
        }
        if (self.recent.1 as f64) < FRESH * window as f64 {
            self.agent.policy().soften(SOFTER);
            self.restarts += 1;
        }
        self.recent = (0, 0);
    }

    /// The trial as an episode, with who drew it.
    fn finished(&mut self, observed: &Observed) -> Result<Finished, Error> {
        let pending = self.pending.remove(&self.unseen.space().key(&observed.tokens));
        let (episode, drawn) = match (pending, observed.origin) {
            (Some((sampled, updates)), Origin::Policy { .. }) => {
                let age = self.updates - updates;
                (sampled.episode, Drawn::Policy { log_prob: sampled.log_prob, age })
            }
            (pending, origin) => {
                let known = pending.map(|(sampled, _)| sampled.episode);
                let episode = known.map_or_else(|| self.environment.replay(&observed.tokens), Ok)?;
                let drawn = match origin {
                    Origin::Policy { .. } => {
                        let log_prob = policy::log_prob(self.agent.policy(), &episode);
                        Drawn::Policy { log_prob, age: 0 }
                    }
                    Origin::Random => Drawn::Elsewhere { log_prob: self.environment.even_log_prob(&episode) },
                    // Somebody's decision, not a draw.
                    Origin::Mutation { .. } | Origin::Source { .. } | Origin::Given => {
                        Drawn::Elsewhere { log_prob: 0.0 }
                    }
                };
                (episode, drawn)
            }
        };
        let reward = observed.reward.filter(|r| r.is_finite());
        Ok(Finished { number: observed.number, episode, reward, drawn })
    }

    fn update(&mut self) {
        self.agent.update(&self.rollout);
        self.rollout.clear();
        self.updates += 1;
        if let Some(entropy) = self.agent.figures().entropy() {
            if self.entropies.len() == SETTLED_UPDATES {
                self.entropies.pop_front();
            }
            self.entropies.push_back(entropy);
        }
    }
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
        self.updated = false;
        if observed.tokens.len() != self.environment.arity().len() {
            self.environment.replay(&observed.tokens)?;
        }
        let finished = self.finished(observed)?;
        self.unseen.insert(&observed.tokens);
        self.observed += 1;
        if let Some(reward) = finished.reward
            && self.best.is_none_or(|(best, _)| reward > best)
        {
            self.best = Some((reward, self.observed));
        }
        self.rollout.push(finished);
        let late = if self.agent.is_on_policy() { self.pending.len() / OLDEST } else { 0 };
        if self.rollout.len() >= self.plan.batch.max(late) {
            self.update();
            self.updated = true;
        }
        Ok(())
    }

    /// There are no even draws at the beginning then. An agent whose plan pays for repeats is as published, and refuses.
    fn warm_start(&mut self, source: &[Observed]) -> Result<(), Error> {
        if self.plan.repeats {
            return Err(Error::Cold { strategy: self.name().to_owned() });
        }
        self.agent.warm_start(&self.environment, source)?;
        self.plan.warmup = 0;
        Ok(())
    }

    fn state(&mut self, state: &mut State) {
        self.unseen.state(state);
        state.part("agent", |state| self.agent.state(state));
        state.field("seed", &mut self.seed);
        state.field("warmup", &mut self.plan.warmup);
        state.field("proposed", &mut self.proposed);
        state.field("observed", &mut self.observed);
        state.field("rollout", &mut self.rollout);
        state.field("updates", &mut self.updates);
        state.field("draws", &mut self.draws);
        state.field("repeats", &mut self.repeats);
        state.field("recent", &mut self.recent);
        state.field("restarts", &mut self.restarts);
        state.field("best", &mut self.best);
        state.field("entropies", &mut self.entropies);
        let mut pending: Vec<(Sampled, u64)> = self.pending.values().cloned().collect();
        pending.sort_by(|a, b| a.0.episode.tokens().cmp(b.0.episode.tokens()));
        state.field("pending", &mut pending);
        if state.writes() {
            let key = |sampled: &Sampled| self.unseen.space().key(sampled.episode.tokens());
            self.pending = pending.into_iter().map(|entry| (key(&entry.0), entry)).collect();
            self.updated = false;
        }
    }

    /// The agent's figures; `entropy_normalised`, the entropy as a share of an even policy's; `repeats`, the share of draws that
    /// had been proposed before; `restarts`.
    fn diagnostics(&self) -> Diagnostics {
        if !self.updated {
            return Diagnostics::default();
        }
        let mut diagnostics = self.agent.figures().diagnostics();
        if let Some(entropy) = self.agent.figures().entropy() {
            diagnostics.set("entropy_normalised", entropy);
        }
        diagnostics.set("repeats", self.repeats as f64 / self.draws.max(1) as f64);
        diagnostics.set("restarts", self.restarts as f64);
        diagnostics
    }

    /// Estimated from episodes drawn from the policy, always the same draws.
    fn probabilities(&mut self) -> Option<Vec<Vec<f64>>> {
        let mut rng = self.seed.stream(Purpose::Policy, u64::MAX);
        policy::marginals(self.agent.policy(), &self.environment, &mut rng).ok()
    }

    fn converged(&self) -> Option<String> {
        let (_, since) = self.best?;
        let still = self.observed - since;
        let last = self.entropies.back().filter(|_| self.entropies.len() == SETTLED_UPDATES)?;
        let (least, most) = self.entropies.iter().fold((f64::MAX, 0.0_f64), |(a, b), &h| (a.min(h), b.max(h)));
        let trials = (SETTLED_UPDATES * self.plan.batch.max(5)) as u64;
        if most > SETTLED_ENTROPY || most - least > SETTLED_SPREAD || still < trials {
            return None;
        }
        let share = 100.0 * last;
        Some(format!(
            "the policy's entropy has settled at {share:.0} % of an even one and the best reward has not changed for {still} trials"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advantage::Shaping;
    use crate::agent::Reinforce;
    use crate::policy::Independent;
    use crate::testing::{cube, tell};
    use crate::value::NoBaseline;

    fn controller(repeats: bool) -> Controller<Reinforce> {
        let space = cube(2, 5);
        let policy = Box::new(Independent::new(&Environment::new(space.clone()), 0.2));
        let mut agent = Reinforce::new("test", policy, Box::new(NoBaseline), Shaping::Rank);
        (agent.plan.repeats, agent.noise) = (repeats, 0.0);
        Controller::new(agent, space, Seed::new(1))
    }

    /// A policy that all but always draws the first option.
    fn collapse(controller: &mut Controller<Reinforce>) {
        let sharp: Vec<f64> = (0..10).map(|i| if i % 5 == 0 { 40.0 } else { 0.0 }).collect();
        controller.agent().policy().set_parameters(&sharp);
    }

    #[test]
    fn a_collapsed_policy_is_made_more_even() {
        let mut strict = controller(false);
        collapse(&mut strict);
        for number in 0..20 {
            let proposal = strict.propose().unwrap().unwrap();
            tell(&mut strict, number, proposal, None);
        }
        assert!(strict.restarts > 0 && strict.agent().policy().parameters()[0] < 21.0);
        let mut generous = controller(true);
        collapse(&mut generous);
        for number in 0..200 {
            let proposal = generous.propose().unwrap().unwrap();
            tell(&mut generous, number, proposal, None);
        }
        assert_eq!(generous.restarts, 0);
    }

    #[test]
    fn batches_grow_with_the_trials_under_way() {
        let updates = |workers: usize| {
            let mut controller = Controller::new(
                Reinforce::new(
                    "test",
                    Box::new(Independent::new(&Environment::new(cube(6, 5)), 0.2)),
                    Box::new(NoBaseline),
                    Shaping::Rank,
                ),
                cube(6, 5),
                Seed::new(1),
            );
            let mut waiting = VecDeque::new();
            for number in 0..400 {
                while waiting.len() < workers {
                    waiting.push_back(controller.propose().unwrap().unwrap());
                }
                let proposal = waiting.pop_front().unwrap();
                tell(&mut controller, number, proposal, Some(1.0));
            }
            controller.updates
        };
        assert_eq!((updates(1), updates(10)), (80, 80), "batches of five");
        // A tenth of the hundred under way are control draws, which the agent did not make.
        assert!((20..26).contains(&updates(100)), "{}", updates(100));
    }

    #[test]
    fn late_trials_weigh_by_how_the_policy_has_changed() {
        let mut controller = controller(false);
        let asked: Vec<Proposal> = std::iter::from_fn(|| controller.propose().unwrap()).take(25).collect();
        let mut ages = Vec::new();
        for (number, Proposal { tokens, origin }) in (0..).zip(asked) {
            let observed = Observed { number, tokens, reward: Some(number as f64), origin };
            controller.observe(&observed).unwrap();
            if let Some(Finished { drawn: Drawn::Policy { age, log_prob }, .. }) = controller.rollout.last() {
                assert!((log_prob + 2.0 * 5_f64.ln()).abs() < 1e-12, "it was even when it drew");
                ages.push(*age);
            }
        }
        assert!(ages.starts_with(&[2]) && ages.ends_with(&[4]) && ages.is_sorted(), "{ages:?}");
        assert!(controller.pending.is_empty());
    }
}
