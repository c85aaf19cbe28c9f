//! Policy and elite edits propose, a Gaussian process decides: the agent for budgets of tens to thousands of trials.

use nas_core::space::KeySet;
use nas_core::strategy::{State, Unseen};
use nas_core::{Diagnostics, Error, Observed, Origin, Proposal, Purpose, Rng, SearchSpace, Seed, Strategy, Tokens};
use rand::RngExt as _;

use super::Figures;
use super::queue::Queue;
use super::warm::{begin, best};
use crate::environment::Environment;
use crate::policy::{self, Independent, Policy as _};
use crate::surrogate::{Features, Surrogate};

/// Priority-queue training whose proposals a surrogate filters by expected improvement.
///
/// A proposal is the best of a pool: samples of the policy of [`Pqt`](super::Pqt), independent logits fitted to the best five
/// architectures after every trial, and edits of those, in which one decision is drawn again by that policy. What was tried
/// or is on its way is dropped; filling the pool up with even draws made it worse on NAS-Bench-201. The [`Surrogate`] ranks
/// it, and where it is empty the proposal is an even draw. The first ten proposals are even draws. While the surrogate's
/// predictions of the last 50 rewards are no guide, samples of the policy are proposed as they come.
///
/// Proposals that are on their way count as fantasies, so that batches spread out. The variants replace one part each, to
/// show what it is worth: [`elite_mutation`](Self::elite_mutation) the policy, [`one_hot`](Self::one_hot) the features.
#[derive(Debug, Clone)]
pub struct PqtSurrogate {
    /// Even draws before the first pool; default 10.
    pub starts: u64,
    /// Samples of the policy in a pool; default 64.
    pub policy_samples: usize,
    /// Edits of elites in a pool; default 64.
    pub elite_edits: usize,
    /// How many of the best are imitated and edited, at least 1; default 5.
    pub queue_size: usize,
    /// Steps of Adam, at a learning rate of 0.1, after each trial; default 5. With none there is no policy.
    pub update_epochs: usize,
    /// β, the weight of the policy's entropy; default 0.1.
    pub ent_coef: f64,
    /// The probability that a sample's choice is replaced by an even draw; default 0.1.
    pub noise: f64,
    name: &'static str,
    environment: Environment,
    policy: Independent,
    queue: Queue,
    figures: Figures,
    surrogate: Surrogate,
    unseen: Unseen,
    seed: Seed,
    proposed: u64,
    pool: Pool,
    /// The best of the study that it was warm-started from, with their numbers there.
    known: Vec<(Tokens, u64)>,
}

/// The best of a source that are in every pool.
const KNOWN: usize = 100;
/// Updates of the policy by the best of a source.
const WARM_UPDATES: usize = 10;
/// The largest norm of the policy's gradient, which only strays meet.
const MAX_GRAD_NORM: f64 = 10.0;

/// The candidates of a proposal.
#[derive(Debug, Clone, Default)]
struct Pool {
    candidates: Vec<Tokens>,
    origins: Vec<Origin>,
    keys: KeySet,
    /// Of the last pool: how many were drawn, and how many of them had been tried.
    drawn: usize,
    repeats: usize,
}

impl Pool {
    fn clear(&mut self) {
        self.candidates.clear();
        self.origins.clear();
        self.keys.clear();
        (self.drawn, self.repeats) = (0, 0);
    }

    /// Takes a candidate that is new.
    fn offer(&mut self, unseen: &Unseen, tokens: Tokens, origin: Origin) {
        self.drawn += 1;
        if unseen.contains(&tokens) {
            self.repeats += 1;
        } else if self.keys.insert(unseen.space().key(&tokens)) {
            self.candidates.push(tokens);
            self.origins.push(origin);
        }
    }
}

impl PqtSurrogate {
    /// `pqt-surrogate` in `space`, by streams of `seed`, one for each proposal.
    pub fn new(space: SearchSpace, seed: Seed) -> Self {
        let features = Features::new(&space);
        Self::with_features("pqt-surrogate", space, seed, features)
    }

    /// `elite-mutation-gp`: without a policy. The pool is 128 elites with one decision drawn again evenly, and nothing learns
    /// but the surrogate.
    pub fn elite_mutation(space: SearchSpace, seed: Seed) -> Self {
        let features = Features::new(&space);
        let mut search = Self::with_features("elite-mutation-gp", space, seed, features);
        (search.policy_samples, search.elite_edits) = (0, 128);
        search.update_epochs = 0;
        search
    }

    /// `pqt-surrogate-one-hot`: vectors with every option as a 1 among zeros, whatever it means.
    pub fn one_hot(space: SearchSpace, seed: Seed) -> Self {
        let features = Features::one_hot(&space);
        Self::with_features("pqt-surrogate-one-hot", space, seed, features)
    }

    fn with_features(name: &'static str, space: SearchSpace, seed: Seed, features: Features) -> Self {
        let environment = Environment::new(space.clone());
        PqtSurrogate {
            starts: 10,
            policy_samples: 64,
            elite_edits: 64,
            queue_size: 5,
            update_epochs: 5,
            ent_coef: 0.1,
            noise: 0.1,
            name,
            policy: Independent::new(&environment, 0.1),
            environment,
            queue: Queue::new(5),
            figures: Figures::default(),
            surrogate: Surrogate::new(features),
            unseen: Unseen::new(space),
            seed,
            proposed: 0,
            pool: Pool::default(),
            known: Vec::new(),
        }
    }

    /// The model that ranks candidates.
    pub fn surrogate(&self) -> &Surrogate {
        &self.surrogate
    }

    /// Draws the candidates that are new.
    fn fill_pool(&mut self, rng: &mut Rng) -> Result<(), Error> {
        self.pool.clear();
        let trusted = self.surrogate.is_trusted();
        for _ in 0..self.policy_samples {
            let sampled = policy::sample(&mut self.policy, &self.environment, self.noise, rng)?;
            let tokens = sampled.episode.tokens().clone();
            self.pool.offer(&self.unseen, tokens, Origin::Policy { updates: self.figures.updates() });
            if !trusted && !self.pool.candidates.is_empty() {
                return Ok(());
            }
        }
        for _ in 0..self.elite_edits {
            let elites = self.queue.entries();
            let elite = &elites[rng.random_range(0..elites.len())];
            let edited = policy::edit(&mut self.policy, &self.environment, &elite.episode, rng)?;
            self.pool.offer(&self.unseen, edited.episode.tokens().clone(), elite.edited());
        }
        for (tokens, trial) in &self.known {
            self.pool.offer(&self.unseen, tokens.clone(), Origin::Source { trial: *trial });
        }
        Ok(())
    }
}

impl Strategy for PqtSurrogate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn propose(&mut self) -> Result<Option<Proposal>, Error> {
        let mut rng = self.seed.stream(Purpose::Propose, self.proposed);
        self.pool.clear();
        if self.unseen.is_exhausted() {
            return Ok(None);
        }
        if self.proposed >= self.starts && !self.queue.entries().is_empty() {
            self.fill_pool(&mut rng)?;
        }
        let chosen = if self.surrogate.is_trusted() { self.surrogate.choose(&self.pool.candidates) } else { Some(0) };
        let chosen = chosen.filter(|&chosen| chosen < self.pool.candidates.len());
        let proposal = match chosen {
            Some(chosen) => {
                let (tokens, origin) = (self.pool.candidates[chosen].clone(), self.pool.origins[chosen]);
                self.unseen.insert(&tokens);
                Proposal { tokens, origin }
            }
            None => match self.unseen.draw(&mut rng)? {
                Some(tokens) => Proposal { tokens, origin: Origin::Random },
                None => return Ok(None),
            },
        };
        self.surrogate.propose(&proposal.tokens);
        self.proposed += 1;
        Ok(Some(proposal))
    }

    fn observe(&mut self, observed: &Observed) -> Result<(), Error> {
        self.unseen.insert(&observed.tokens);
        self.surrogate.observe(&observed.tokens, observed.reward);
        let episode = self.environment.replay(&observed.tokens)?;
        self.queue.resize(self.queue_size.max(1));
        self.queue.push(observed.number, &episode, observed.reward.unwrap_or(f64::NAN));
        if self.update_epochs > 0 && !self.queue.entries().is_empty() {
            let figures = &mut self.figures;
            figures.begin();
            self.queue.fit(&mut self.policy, self.update_epochs, self.ent_coef, MAX_GRAD_NORM, figures);
        }
        Ok(())
    }

    /// The policy is fitted to the source's best, which the queue holds until it has its own; the surrogate takes the source as
    /// another task; and the source's best are in every pool. There are no even draws at the beginning, unless the source has
    /// fewer complete trials than they are.
    fn warm_start(&mut self, source: &[Observed]) -> Result<(), Error> {
        let best = best(source, &self.environment)?;
        self.queue.resize(self.queue_size.max(1));
        begin(&mut self.queue, &best);
        for _ in 0..WARM_UPDATES {
            let figures = &mut Figures::default();
            self.queue.fit(&mut self.policy, self.update_epochs, self.ent_coef, MAX_GRAD_NORM, figures);
        }
        self.surrogate.warm_start(source);
        self.starts = self.starts.saturating_sub(best.len() as u64);
        self.known = best.iter().take(KNOWN).map(|(trial, _)| (trial.tokens.clone(), trial.number)).collect();
        Ok(())
    }

    fn state(&mut self, state: &mut State) {
        self.unseen.state(state);
        state.part("policy", |state| self.policy.state(state));
        state.part("queue", |state| self.queue.state(state));
        state.part("surrogate", |state| self.surrogate.state(state));
        state.field("seed", &mut self.seed);
        state.field("starts", &mut self.starts);
        state.field("proposed", &mut self.proposed);
        state.part("figures", |state| self.figures.state(state));
        state.field("known", &mut self.known);
        if state.writes() {
            self.pool.clear();
        }
    }

    /// The figures of [`Surrogate::report`]; of the policy `policy_loss`, `entropy`, `entropy_normalised` (as a share of an even
    /// one's), `grad_norm` and `updates`; `repeats`, the share of the last pool that had been tried.
    fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = self.figures.diagnostics();
        if let Some(share) = self.figures.entropy() {
            diagnostics.set("entropy_normalised", share);
        }
        if self.pool.drawn > 0 {
            diagnostics.set("repeats", self.pool.repeats as f64 / self.pool.drawn as f64);
        }
        self.surrogate.report(&mut diagnostics);
        diagnostics
    }

    fn probabilities(&mut self) -> Option<Vec<Vec<f64>>> {
        if self.update_epochs == 0 {
            return None;
        }
        let mut rng = self.seed.stream(Purpose::Policy, u64::MAX);
        policy::marginals(&mut self.policy, &self.environment, &mut rng).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nas_core::Architecture;

    use super::*;
    use crate::testing::{benchmark_cell, conditional, cube, run, tell};

    #[test]
    fn probabilities_follow_the_best() {
        let space = cube(3, 4);
        let mut search = PqtSurrogate::new(space.clone(), Seed::new(2));
        let even = search.probabilities().unwrap();
        assert!(even.iter().flatten().all(|p| (p - 0.25).abs() < 1e-12));
        for number in 0..30 {
            let proposal = search.propose().unwrap().unwrap();
            let reward = distinct_tops(&space.architecture(&proposal.tokens).unwrap());
            tell(&mut search, number, proposal, Some(reward));
        }
        let learned = search.probabilities().unwrap();
        assert!(learned.iter().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-9));
        assert!(learned[0][2] > 0.5, "{learned:?}");
        assert!(PqtSurrogate::elite_mutation(space, Seed::new(2)).probabilities().is_none());
    }

    fn every_variant(space: &SearchSpace, seed: u64) -> [PqtSurrogate; 3] {
        let (space, seed) = (|| space.clone(), Seed::new(seed));
        [
            PqtSurrogate::new(space(), seed),
            PqtSurrogate::elite_mutation(space(), seed),
            PqtSurrogate::one_hot(space(), seed),
        ]
    }

    /// How many decisions are the ones wanted, every one worth less than the one before.
    fn distinct_tops(architecture: &Architecture) -> f64 {
        let decisions = architecture.iter().zip(0..);
        decisions.map(|((_, value), i)| if value.to_string() == "o2" { 0.9_f64.powi(i) } else { 0.0 }).sum()
    }

    #[test]
    fn exhausts_a_space_exactly() {
        for space in [cube(3, 4), conditional()] {
            let count: usize = space.cardinality().to_string().parse().unwrap();
            for mut search in every_variant(&space, 1) {
                let all = run(&mut search, &space, 1000, |_| Some(1.0));
                let distinct: BTreeSet<String> =
                    all.iter().map(|(architecture, ..)| architecture.to_string()).collect();
                assert_eq!((all.len(), distinct.len()), (count, count), "{}", search.name());
            }
        }
    }

    #[test]
    fn finds_the_best_of_many_with_few() {
        // 4⁸ = 65,536 architectures.
        let space = cube(8, 4);
        for seed in 0..3 {
            for mut search in every_variant(&space, seed) {
                let all = run(&mut search, &space, 100, |a| Some(distinct_tops(a)));
                let top: f64 = (0..8).map(|i| 0.9_f64.powi(i)).sum();
                let best = all.iter().filter_map(|(.., reward)| *reward).fold(0.0, f64::max);
                assert!(best > 0.99 * top, "{}: {best} of {top}", search.name());
            }
        }
    }

    #[test]
    fn a_copy_goes_on_the_same_and_the_seed_decides() {
        let space = benchmark_cell();
        let reward = |a: &Architecture| Some(a.to_string().matches("3x3").count() as f64);
        let mut search = PqtSurrogate::new(space.clone(), Seed::new(4));
        let mut again = PqtSurrogate::new(space.clone(), Seed::new(4));
        assert_eq!(run(&mut search, &space, 40, reward), run(&mut again, &space, 40, reward));
        let mut copy = search.clone();
        let rest = run(&mut search, &space, 30, reward);
        assert_eq!(rest, run(&mut copy, &space, 30, reward));
        assert_ne!(rest, run(&mut PqtSurrogate::new(space.clone(), Seed::new(5)), &space, 30, reward));
    }

    #[test]
    fn batches_spread_out_and_come_back_in_any_order() {
        let space = cube(6, 4);
        let mut search = PqtSurrogate::new(space.clone(), Seed::new(1));
        let mut number = 0;
        let (mut first, mut last) = (0.0, 0.0);
        for round in 0..12 {
            let batch: Vec<Proposal> = (0..8).map(|_| search.propose().unwrap().unwrap()).collect();
            let distinct: BTreeSet<Tokens> = batch.iter().map(|proposal| proposal.tokens.clone()).collect();
            assert_eq!(distinct.len(), 8);
            let mut mean = 0.0;
            for i in [5, 0, 7, 1, 2, 6, 4, 3] {
                let reward = distinct_tops(&space.architecture(&batch[i].tokens).unwrap());
                mean += reward / 8.0;
                tell(&mut search, number, batch[i].clone(), Some(reward));
                number += 1;
            }
            if round == 0 {
                first = mean;
            }
            last = mean;
        }
        assert!(last > first + 1.0, "{first} became {last}");
        assert_eq!(search.surrogate().len(), 96);
    }

    #[test]
    fn trust_is_withdrawn_where_nothing_can_be_learned() {
        let space = cube(6, 5);
        let mut search = PqtSurrogate::new(space.clone(), Seed::new(3));
        let mut rng = Seed::new(8).stream(Purpose::Test, 0);
        let mut distrusted = 0;
        for number in 0..150 {
            let proposal = search.propose().unwrap().unwrap();
            let said = tell(&mut search, number, proposal, Some(rng.random()));
            distrusted += u32::from(said.get("surrogate_trusted") == Some(0.0));
        }
        assert!(distrusted > 90, "{distrusted} of 150");
        let mut search = PqtSurrogate::new(space.clone(), Seed::new(3));
        run(&mut search, &space, 60, |a| Some(distinct_tops(a)));
        assert!(search.surrogate().is_trusted() && search.surrogate().rank_correlation().unwrap() > 0.5);
    }

    #[test]
    fn failures_and_given_trials_are_data() {
        let space = conditional();
        for mut search in every_variant(&space, 2) {
            let tokens = space.tokens(&space.nth(&3_u32.into()).unwrap()).unwrap();
            search
                .observe(&Observed { number: 0, tokens: tokens.clone(), reward: Some(5.0), origin: Origin::Given })
                .unwrap();
            for number in 1..25 {
                let proposal = search.propose().unwrap().unwrap();
                assert_ne!(proposal.tokens, tokens);
                let reward = [None, Some(f64::NAN), Some(1e300), Some(0.5)][number as usize % 4];
                let said = tell(&mut search, number, proposal, reward);
                assert!(said.0.values().all(|figure| figure.is_finite()), "{said:?}");
            }
        }
    }
}
