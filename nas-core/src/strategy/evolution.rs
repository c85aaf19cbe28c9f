//! Regularized evolution: tournaments in a population that forgets its oldest.

use std::collections::VecDeque;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::{Diagnostics, Observed, Proposal, State, Strategy, Unseen};
use crate::error::Error;
use crate::{Origin, Purpose, Rng, SearchSpace, Seed, Tokens};

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
/// The defaults, 20 and 15, were the best of several on the NAS-Bench-201 table at 50 to 300 trials. The published
/// settings, to the letter, draw tournaments with replacement and pay for repeats: 100 and 25
/// ([`published_100_25`](Self::published_100_25)) spend a small budget on the first population, 10 and 3
/// ([`published_10_3`](Self::published_10_3)) select too little.
#[derive(Debug, Clone)]
pub struct Evolution {
    name: &'static str,
    unseen: Unseen,
    seed: Seed,
    population: usize,
    tournament: usize,
    published: bool,
    by_node: bool,
    members: VecDeque<Member>,
    proposed: u64,
    /// The numbers of the members, to draw from.
    order: Vec<usize>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Member {
    trial: u64,
    tokens: Tokens,
    /// Minus infinity for failed trials.
    #[serde(with = "super::bits")]
    reward: f64,
}

impl Evolution {
    /// Evolution in `space` by streams of `seed`, one for each proposal, with a population of 20 and tournaments of 15.
    pub fn new(space: SearchSpace, seed: Seed) -> Self {
        Evolution {
            name: "evolution",
            unseen: Unseen::new(space),
            seed,
            population: 20,
            tournament: 15,
            published: false,
            by_node: false,
            members: VecDeque::new(),
            proposed: 0,
            order: Vec::new(),
        }
    }

    /// `evolution-large`, for thousands of trials in spaces of tens of decisions: a population of 50 and tournaments of 40, the
    /// best of eight settings on planted landscapes of 20 decisions.
    pub fn large(space: SearchSpace, seed: Seed) -> Self {
        let evolution = Evolution::new(space, seed).with_population(50).with_tournament(40);
        Evolution { name: "evolution-large", ..evolution }
    }

    /// `evolution-p10-s3`, the setting of NATS-Bench (Dong et al., 2021): population 10, tournaments of 3 with
    /// replacement, repeats are paid for. Where the space declares a cell, the authors' mutation first draws one of its
    /// nodes and then an edge into it, so that edges into early nodes change most.
    pub fn published_10_3(space: SearchSpace, seed: Seed) -> Self {
        let evolution = Evolution::new(space, seed).with_population(10).with_tournament(3);
        Evolution { name: "evolution-p10-s3", published: true, by_node: true, ..evolution }
    }

    /// `evolution-p100-s25`, the setting of Real et al. (2019): population 100, tournaments of 25 with replacement,
    /// repeats are paid for.
    pub fn published_100_25(space: SearchSpace, seed: Seed) -> Self {
        let evolution = Evolution::new(space, seed).with_population(100).with_tournament(25);
        Evolution { name: "evolution-p100-s25", published: true, ..evolution }
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
    fn winner(&mut self, rng: &mut Rng) -> usize {
        let count = self.members.len();
        let better = |best: usize, next: usize| {
            if self.members[next].reward > self.members[best].reward { next } else { best }
        };
        if self.published {
            let first = rng.random_range(0..count);
            return (1..self.tournament).fold(first, |best, _| better(best, rng.random_range(0..count)));
        }
        // The first steps of a shuffle; what order the last one left makes no difference to it.
        if self.order.len() != count {
            self.order = (0..count).collect();
        }
        let mut best = None;
        for i in 0..self.tournament.min(count) {
            self.order.swap(i, rng.random_range(i..count));
            best = Some(best.map_or(self.order[i], |best| better(best, self.order[i])));
        }
        best.expect("the population lives")
    }

    fn child(&self, tokens: Tokens, parent: usize) -> Proposal {
        Proposal { tokens, origin: Origin::Mutation { parent: self.members[parent].trial } }
    }

    /// `tokens` with one decision changed.
    fn mutated(&self, tokens: &Tokens, rng: &mut Rng) -> Tokens {
        let space = self.unseen.space();
        let [cell] = space.cells() else { return space.mutate_tokens(tokens, rng) };
        if !self.by_node || !space.is_free() {
            return space.mutate_tokens(tokens, rng);
        }
        let node = loop {
            let node = rng.random_range(1..cell.nodes);
            if cell.edges.iter().any(|edge| edge.to == node) {
                break node;
            }
        };
        let into = || cell.edges.iter().filter(|edge| edge.to == node);
        let edge = into().nth(rng.random_range(0..into().count())).expect("one of those counted");
        let options = space.slots()[edge.slot].options.len() as u16;
        let mut child = tokens.clone();
        if options > 1 {
            let other = rng.random_range(0..options - 1);
            child.set(edge.slot, other + u16::from(other >= tokens[edge.slot]));
        }
        child
    }

    /// A new mutation of some winner, unless chance has only found repeats.
    fn offspring(&mut self, rng: &mut Rng) -> Option<Proposal> {
        for _ in 0..TOURNAMENTS {
            let parent = self.winner(rng);
            let child = self.mutated(&self.members[parent].tokens, rng);
            if self.unseen.insert(&child) || self.published {
                return Some(self.child(child, parent));
            }
        }
        let parent = self.winner(rng);
        let mut child = self.members[parent].tokens.clone();
        for _ in 0..CHAIN {
            child = self.unseen.space().mutate_tokens(&child, rng);
            if self.unseen.insert(&child) {
                return Some(self.child(child, parent));
            }
        }
        None
    }
}

impl Strategy for Evolution {
    fn name(&self) -> &'static str {
        self.name
    }

    fn propose(&mut self) -> Result<Option<Proposal>, Error> {
        if self.unseen.is_exhausted() && !self.published {
            return Ok(None);
        }
        let mut rng = self.seed.stream(Purpose::Propose, self.proposed);
        let grown = self.proposed >= self.population as u64 && !self.members.is_empty();
        let offspring = if grown { self.offspring(&mut rng) } else { None };
        let proposal = match offspring {
            Some(proposal) => proposal,
            None => {
                let random = |tokens| Proposal { tokens, origin: Origin::Random };
                let drawn = if self.published {
                    Some(self.unseen.space().sample_tokens(&mut rng))
                } else {
                    self.unseen.draw(&mut rng)?
                };
                let Some(proposal) = drawn.map(random) else { return Ok(None) };
                proposal
            }
        };
        self.proposed += 1;
        Ok(Some(proposal))
    }

    fn state(&mut self, state: &mut State) {
        self.unseen.state(state);
        state.field("seed", &mut self.seed);
        state.field("proposed", &mut self.proposed);
        state.field("members", &mut self.members);
        state.field("order", &mut self.order);
    }

    fn observe(&mut self, observed: &Observed) -> Result<(), Error> {
        self.unseen.insert(&observed.tokens);
        let (trial, tokens) = (observed.number, observed.tokens.clone());
        self.members.push_back(Member { trial, tokens, reward: observed.reward.unwrap_or(f64::NEG_INFINITY) });
        if self.members.len() > self.population {
            self.members.pop_front();
        }
        Ok(())
    }

    /// The figures are `population_best` and `population_mean`, of the rewards of complete members.
    fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        let rewards: Vec<f64> = self.members.iter().map(|m| m.reward).filter(|reward| reward.is_finite()).collect();
        if let Some(best) = rewards.iter().copied().reduce(f64::max) {
            diagnostics.set("population_best", best);
            diagnostics.set("population_mean", rewards.iter().sum::<f64>() / rewards.len() as f64);
        }
        diagnostics
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::RandomSearch;
    use super::super::testing::{ask, run, tell};
    use super::*;
    use crate::space::testing;

    /// The convolutions in a cell: a reward that one change at a time can climb.
    fn convolutions(text: &str) -> Option<f64> {
        Some(text.split(',').filter(|pair| pair.ends_with("=conv")).count() as f64)
    }

    /// The best reward of 80 trials.
    fn best(strategy: &mut dyn Strategy, space: &SearchSpace) -> f64 {
        let all = run(strategy, space, 80, 1, convolutions);
        let reward = |p: &Proposal| convolutions(&space.architecture(&p.tokens).unwrap().to_string()).unwrap();
        all.iter().map(reward).fold(f64::NEG_INFINITY, f64::max)
    }

    #[test]
    fn exhausts_a_space_exactly_with_any_lag() {
        let space = testing::cube();
        for lag in [1, 4, 40] {
            let mut evolution = Evolution::new(space.clone(), Seed::new(1));
            let all = run(&mut evolution, &space, 200, lag, |text| Some(text.len() as f64));
            let distinct: BTreeSet<_> = all.iter().map(|proposal| &proposal.tokens).collect();
            assert_eq!((all.len(), distinct.len()), (125, 125), "lag {lag}");
            assert_eq!(evolution.propose().unwrap(), None);
        }
    }

    #[test]
    fn climbs_where_random_search_does_not() {
        let space = testing::cell(&["none", "skip", "conv", "pool", "wide"]);
        let mean = |make: &dyn Fn(Seed) -> Box<dyn Strategy>| {
            (0..10).map(|seed| best(&mut *make(Seed::new(seed)), &space)).sum::<f64>() / 10.0
        };
        let evolved = mean(&|seed| Box::new(Evolution::new(space.clone(), seed)));
        let published = mean(&|seed| Box::new(Evolution::published_10_3(space.clone(), seed)));
        let random = mean(&|seed| Box::new(RandomSearch::new(space.clone(), seed)));
        assert!(evolved > random + 1.0 && published > random + 0.5, "{evolved} {published} {random}");
    }

    #[test]
    fn starts_at_random_and_then_mutates() {
        let mut evolution = Evolution::new(testing::cube(), Seed::new(3)).with_population(4).with_tournament(9);
        let first = ask(&mut evolution, 4);
        assert!(first.iter().all(|proposal| proposal.origin == Origin::Random));
        // Before anything is observed there is nobody to mutate.
        assert_eq!(ask(&mut evolution, 1)[0].origin, Origin::Random);
        for (number, (proposal, reward)) in (0..).zip(first.iter().zip([Some(0.1), None, Some(0.9), Some(0.5)])) {
            tell(&mut evolution, number, proposal, reward);
        }
        let diagnostics = evolution.diagnostics();
        assert_eq!(diagnostics.get("population_best"), Some(0.9));
        assert_eq!(diagnostics.get("population_mean"), Some(0.5));
        // A tournament of everybody is won by the best, which the failed trial is not.
        let child = ask(&mut evolution, 1).remove(0);
        assert_eq!(child.origin, Origin::Mutation { parent: 2 });
        let differences = child.tokens.iter().zip(first[2].tokens.iter()).filter(|(a, b)| a != b);
        assert_eq!(differences.count(), 1);
    }

    #[test]
    fn the_oldest_dies() {
        let mut evolution = Evolution::new(testing::cube(), Seed::new(3)).with_population(2).with_tournament(2);
        let first = ask(&mut evolution, 3);
        for (number, reward) in [(0, 0.9), (1, 0.1), (2, 0.2)] {
            tell(&mut evolution, number, &first[number as usize], Some(reward));
        }
        assert_eq!(ask(&mut evolution, 1)[0].origin, Origin::Mutation { parent: 2 });
    }

    #[test]
    fn published_settings_pay_for_repeats() {
        let space = SearchSpace::builder("s").choice("a", ["x", "y"]).choice("b", ["x", "y"]).build().unwrap();
        let mut evolution = Evolution::published_10_3(space.clone(), Seed::new(1));
        assert_eq!(evolution.name(), "evolution-p10-s3");
        let all = run(&mut evolution, &space, 50, 1, |text| Some(text.matches('x').count() as f64));
        assert_eq!(all.len(), 50);
        assert_eq!(all.iter().filter(|proposal| proposal.origin == Origin::Random).count(), 10);
    }

    #[test]
    fn failures_only() {
        let space = testing::cube();
        let mut evolution = Evolution::new(space.clone(), Seed::new(3)).with_population(2);
        assert_eq!(run(&mut evolution, &space, 10, 1, |_| None).len(), 10);
        assert_eq!(evolution.diagnostics(), Diagnostics::default());
    }

    #[test]
    fn same_seed_same_proposals() {
        let space = testing::conditional();
        let propose = |seed| {
            let mut evolution = Evolution::new(space.clone(), Seed::new(seed)).with_population(5);
            run(&mut evolution, &space, 30, 2, |text| Some((text.len() % 7) as f64))
        };
        assert_eq!(propose(1), propose(1));
        assert_ne!(propose(1), propose(2));
    }
}
