//! Regularized evolution: tournaments in a population that forgets its oldest.

use std::collections::VecDeque;

use rand::seq::index;

use super::{Diagnostics, Strategy, Unseen};
use crate::error::Error;
use crate::{Architecture, Origin, Proposal, Purpose, Rng, SearchSpace, Seed, Trial};

/// Tournaments whose winner's mutation may turn out a repeat before mutations are chained.
const TOURNAMENTS: u32 = 32;
/// Mutations in a row away from the last winner before a proposal is drawn at random.
const CHAIN: u32 = 32;

/// Regularized evolution (Real, Aggarwal, Huang and Le, 2019).
///
/// The population is the last `population` finished trials: the oldest dies, not the worst. A proposal is the best of
/// `tournament` members, drawn without replacement, with one decision changed. Until `population` architectures have
/// been proposed they are drawn at random. No architecture is proposed twice: repeats cost another tournament, later
/// further mutations. Failed trials count as worse than every complete one.
///
/// The defaults, 20 and 15, were the best of several on the NAS-Bench-201 table at 50 to 300 trials; the paper's 100 and
/// 25 spend a small budget on the first population.
#[derive(Debug, Clone)]
pub struct Evolution {
    unseen: Unseen,
    seed: Seed,
    population: usize,
    tournament: usize,
    members: VecDeque<Member>,
    proposed: u64,
}

#[derive(Debug, Clone)]
struct Member {
    trial: u64,
    architecture: Architecture,
    /// Minus infinity for failed trials.
    reward: f64,
}

impl Evolution {
    /// Evolution in `space` by streams of `seed`, one for each proposal, with a population of 20 and tournaments of 15.
    pub fn new(space: SearchSpace, seed: Seed) -> Self {
        Evolution {
            unseen: Unseen::new(space),
            seed,
            population: 20,
            tournament: 15,
            members: VecDeque::new(),
            proposed: 0,
        }
    }

    /// The same with a population of `size`, at least 1.
    #[must_use]
    pub fn with_population(mut self, size: usize) -> Self {
        self.population = size.max(1);
        self
    }

    /// The same with tournaments of `size` members, at least 1; of the whole population when it is smaller.
    #[must_use]
    pub fn with_tournament(mut self, size: usize) -> Self {
        self.tournament = size.max(1);
        self
    }

    /// The best of some members; of equals the one drawn first.
    fn winner(&self, rng: &mut Rng) -> &Member {
        let size = self.tournament.min(self.members.len());
        let drawn = index::sample(rng, self.members.len(), size);
        let members = drawn.iter().map(|i| &self.members[i]);
        members.reduce(|best, next| if next.reward > best.reward { next } else { best }).expect("the population lives")
    }

    /// A new mutation of some winner, unless chance has only found repeats.
    fn offspring(&self, rng: &mut Rng) -> Option<Proposal> {
        let space = self.unseen.space();
        let new = |architecture: &Architecture| !self.unseen.contains(architecture);
        let proposal = |architecture, parent| Proposal { architecture, origin: Origin::Mutation { parent } };
        for _ in 0..TOURNAMENTS {
            let parent = self.winner(rng);
            let child = space.mutate(&parent.architecture, rng);
            if new(&child) {
                return Some(proposal(child, parent.trial));
            }
        }
        let parent = self.winner(rng);
        let mut child = parent.architecture.clone();
        for _ in 0..CHAIN {
            child = space.mutate(&child, rng);
            if new(&child) {
                return Some(proposal(child, parent.trial));
            }
        }
        None
    }
}

impl Strategy for Evolution {
    fn name(&self) -> &'static str {
        "evolution"
    }

    fn propose(&mut self, n: usize) -> Result<Vec<Proposal>, Error> {
        let mut proposals = Vec::new();
        while proposals.len() < n && !self.unseen.is_exhausted() {
            let mut rng = self.seed.stream(Purpose::Propose, self.proposed);
            let grown = self.proposed >= self.population as u64 && !self.members.is_empty();
            let offspring = if grown { self.offspring(&mut rng) } else { None };
            let proposal = match offspring {
                Some(proposal) => {
                    self.unseen.insert(&proposal.architecture);
                    proposal
                }
                None => match self.unseen.draw(&mut rng)? {
                    Some(architecture) => Proposal { architecture, origin: Origin::Random },
                    None => break,
                },
            };
            self.proposed += 1;
            proposals.push(proposal);
        }
        Ok(proposals)
    }

    /// The figures are `population_best` and `population_mean`, of the rewards of complete members.
    fn observe(&mut self, finished: &[Trial]) -> Result<Diagnostics, Error> {
        for trial in finished.iter().filter(|trial| trial.is_finished()) {
            let reward = trial.reward().unwrap_or(f64::NEG_INFINITY);
            self.members.push_back(Member { trial: trial.number, architecture: trial.architecture.clone(), reward });
            if self.members.len() > self.population {
                self.members.pop_front();
            }
        }
        let mut diagnostics = Diagnostics::default();
        let rewards: Vec<f64> = self.members.iter().map(|m| m.reward).filter(|reward| reward.is_finite()).collect();
        if let Some(best) = rewards.iter().copied().reduce(f64::max) {
            diagnostics.set("population_best", best);
            diagnostics.set("population_mean", rewards.iter().sum::<f64>() / rewards.len() as f64);
        }
        Ok(diagnostics)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::space::testing;
    use crate::trial::{Failure, TrialState};
    use crate::{Metrics, strategy::RandomSearch};

    fn trial(number: u64, proposal: &Proposal, reward: Option<f64>) -> Trial {
        let state = match reward {
            Some(reward) => TrialState::Complete { metrics: Metrics::new(), reward },
            None => TrialState::Failed { failure: Failure::TimedOut { seconds: 1 } },
        };
        let (architecture, origin) = (proposal.architecture.clone(), proposal.origin);
        Trial { number, architecture, origin, seed: Seed::new(0), state, seconds: 0.0 }
    }

    /// The convolutions in a cell: a reward that one change at a time can climb.
    fn convolutions(architecture: &Architecture) -> f64 {
        architecture.iter().filter(|(_, value)| value.to_string() == "conv").count() as f64
    }

    /// The best reward of `trials`, one proposal after the other.
    fn search(strategy: &mut dyn Strategy, trials: u64) -> f64 {
        let mut best = f64::NEG_INFINITY;
        for number in 0..trials {
            let Some(proposal) = strategy.propose(1).unwrap().pop() else { break };
            let reward = convolutions(&proposal.architecture);
            best = best.max(reward);
            strategy.observe(&[trial(number, &proposal, Some(reward))]).unwrap();
        }
        best
    }

    #[test]
    fn exhausts_a_space_exactly() {
        let mut evolution = Evolution::new(testing::cube(), Seed::new(1));
        let mut seen = BTreeSet::new();
        for number in 0..125 {
            let proposals = evolution.propose(1).unwrap();
            assert_eq!(proposals.len(), 1, "after {number}");
            assert!(seen.insert(proposals[0].architecture.to_string()));
            evolution.observe(&[trial(number, &proposals[0], Some(number as f64))]).unwrap();
        }
        assert!(evolution.propose(1).unwrap().is_empty());
    }

    #[test]
    fn climbs_where_random_search_does_not() {
        let space = testing::cell(&["none", "skip", "conv", "pool", "wide"]);
        let means = [0, 1].map(|strategy| {
            let best = |seed| match strategy {
                0 => search(&mut Evolution::new(space.clone(), Seed::new(seed)), 80),
                _ => search(&mut RandomSearch::new(space.clone(), Seed::new(seed)), 80),
            };
            (0..10).map(best).sum::<f64>() / 10.0
        });
        assert!(means[0] > means[1] + 1.0, "{means:?}");
    }

    #[test]
    fn starts_at_random_and_then_mutates() {
        let mut evolution = Evolution::new(testing::cube(), Seed::new(3)).with_population(4).with_tournament(9);
        let first = evolution.propose(4).unwrap();
        assert!(first.iter().all(|proposal| proposal.origin == Origin::Random));
        // Before anything is observed there is nobody to mutate.
        assert_eq!(evolution.propose(1).unwrap()[0].origin, Origin::Random);
        let rewards = [Some(0.1), None, Some(0.9), Some(0.5)];
        let finished: Vec<Trial> = (0..).zip(&first).map(|(n, p)| trial(n, p, rewards[n as usize])).collect();
        let diagnostics = evolution.observe(&finished).unwrap();
        assert_eq!(diagnostics.get("population_best"), Some(0.9));
        assert_eq!(diagnostics.get("population_mean"), Some(0.5));
        // A tournament of everybody is won by the best, which the failed trial is not.
        let child = evolution.propose(1).unwrap().remove(0);
        assert_eq!(child.origin, Origin::Mutation { parent: 2 });
        let differences = child.architecture.iter().zip(first[2].architecture.iter()).filter(|(a, b)| a != b);
        assert_eq!(differences.count(), 1);
    }

    #[test]
    fn the_oldest_dies() {
        let mut evolution = Evolution::new(testing::cube(), Seed::new(3)).with_population(2).with_tournament(2);
        let first = evolution.propose(3).unwrap();
        for (number, reward) in [(0, 0.9), (1, 0.1), (2, 0.2)] {
            evolution.observe(&[trial(number, &first[number as usize], Some(reward))]).unwrap();
        }
        assert_eq!(evolution.propose(1).unwrap()[0].origin, Origin::Mutation { parent: 2 });
    }

    #[test]
    fn failures_only() {
        let mut evolution = Evolution::new(testing::cube(), Seed::new(3)).with_population(2);
        for number in 0..10 {
            let proposal = evolution.propose(1).unwrap().remove(0);
            let diagnostics = evolution.observe(&[trial(number, &proposal, None)]).unwrap();
            assert_eq!(diagnostics, Diagnostics::default());
        }
    }

    #[test]
    fn same_seed_same_proposals() {
        let propose = |seed| {
            let mut evolution = Evolution::new(testing::cube(), Seed::new(seed)).with_population(5);
            let mut all = Vec::new();
            for number in 0..30 {
                let proposal = evolution.propose(1).unwrap().remove(0);
                evolution.observe(&[trial(number, &proposal, Some((number % 7) as f64))]).unwrap();
                all.push(proposal);
            }
            all
        };
        assert_eq!(propose(1), propose(1));
        assert_ne!(propose(1), propose(2));
    }
}
