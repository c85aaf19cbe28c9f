//! Local search: the first better neighbour, again and again, and a new start where there is none.

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::{Diagnostics, Observed, Proposal, State, Strategy, Unseen};
use crate::error::Error;
use crate::space::KeySet;
use crate::{Origin, Purpose, SearchSpace, Seed, Tokens};

/// Local search by first improvement (White, Nolen and Savani, 2021).
///
/// It begins with ten random architectures and climbs from the best of them: it tries the architectures one decision
/// away from the present one in random order, those not seen yet, and moves to the first that is better. Where none is,
/// it starts again at a random architecture, whatever that is worth. Nothing is proposed twice. Failed trials count as
/// worse than every complete one.
///
/// When proposals are asked for before all of a neighbourhood is known, and none of it is left to try, they are random
/// starts; the best of those observed when the climb ends is the next.
#[derive(Debug, Clone)]
pub struct LocalSearch {
    unseen: Unseen,
    seed: Seed,
    /// How many random architectures come first; default 10, at least 1.
    pub starts: u64,
    proposed: u64,
    /// Random starts that were observed.
    started: u64,
    /// Where the climb is.
    centre: Option<Point>,
    /// Neighbours of the centre that are left to try.
    neighbours: Vec<Tokens>,
    /// The best start that was observed since the climb began.
    start: Option<Point>,
    climb: u64,
    /// Keys of the neighbours that were proposed and not observed yet.
    pending: KeySet,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Point {
    trial: u64,
    tokens: Tokens,
    /// Minus infinity for failed trials.
    #[serde(with = "super::bits")]
    reward: f64,
}

impl LocalSearch {
    /// Local search in `space` by streams of `seed`, one for each proposal.
    pub fn new(space: SearchSpace, seed: Seed) -> Self {
        LocalSearch {
            unseen: Unseen::new(space),
            seed,
            starts: 10,
            proposed: 0,
            started: 0,
            centre: None,
            neighbours: Vec::new(),
            start: None,
            climb: 0,
            pending: KeySet::default(),
        }
    }

    fn move_to(&mut self, point: Point) {
        self.neighbours = self.unseen.space().neighbour_tokens(&point.tokens);
        self.centre = Some(point);
    }

    /// Whether every neighbour of the centre was tried and observed.
    fn is_over(&mut self) -> bool {
        while self.neighbours.last().is_some_and(|tokens| self.unseen.contains(tokens)) {
            self.neighbours.pop();
        }
        self.neighbours.is_empty() && self.pending.is_empty()
    }
}

impl Strategy for LocalSearch {
    fn name(&self) -> &'static str {
        "local-search"
    }

    fn propose(&mut self) -> Result<Option<Proposal>, Error> {
        let mut rng = self.seed.stream(Purpose::Propose, self.proposed);
        if let Some(centre) = &self.centre {
            let parent = centre.trial;
            while !self.neighbours.is_empty() {
                let tokens = self.neighbours.swap_remove(rng.random_range(0..self.neighbours.len()));
                if self.unseen.insert(&tokens) {
                    self.pending.insert(self.unseen.space().key(&tokens));
                    self.proposed += 1;
                    return Ok(Some(Proposal { tokens, origin: Origin::Mutation { parent } }));
                }
            }
        }
        let Some(tokens) = self.unseen.draw(&mut rng)? else { return Ok(None) };
        self.proposed += 1;
        Ok(Some(Proposal { tokens, origin: Origin::Random }))
    }

    fn state(&mut self, state: &mut State) {
        self.unseen.state(state);
        state.field("seed", &mut self.seed);
        state.field("proposed", &mut self.proposed);
        state.field("started", &mut self.started);
        state.field("centre", &mut self.centre);
        state.field("neighbours", &mut self.neighbours);
        state.field("start", &mut self.start);
        state.field("climb", &mut self.climb);
        state.keys("pending", &mut self.pending);
    }

    fn observe(&mut self, observed: &Observed) -> Result<(), Error> {
        let Observed { number: trial, tokens, .. } = observed;
        let reward = observed.reward.unwrap_or(f64::NEG_INFINITY);
        let point = || Point { trial: *trial, tokens: tokens.clone(), reward };
        self.unseen.insert(tokens);
        if self.pending.remove(&self.unseen.space().key(tokens)) {
            if self.centre.as_ref().is_some_and(|centre| reward > centre.reward) {
                self.move_to(point());
            }
        } else {
            self.started += 1;
            if self.start.as_ref().is_none_or(|best| reward > best.reward) {
                self.start = Some(point());
            }
        }
        if self.started >= self.starts
            && self.is_over()
            && let Some(start) = self.start.take()
        {
            self.climb += 1;
            self.move_to(start);
        }
        Ok(())
    }

    /// The figures are `centre`, the reward from which it climbs, and `climbs`.
    fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        if let Some(centre) = &self.centre {
            diagnostics.set("climbs", self.climb as f64);
            if centre.reward.is_finite() {
                diagnostics.set("centre", centre.reward);
            }
        }
        diagnostics
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::{ask, run, tell};
    use super::*;
    use crate::space::testing;

    /// The letters' places: one top at `e` in all three, which every step up leads to.
    fn slope(text: &str) -> Option<f64> {
        Some(text.split(',').map(|pair| f64::from(pair.as_bytes()[pair.len() - 1])).sum())
    }

    #[test]
    fn exhausts_a_space_exactly_with_any_lag() {
        let space = testing::cube();
        for lag in [1, 4, 40, 200] {
            let mut search = LocalSearch::new(space.clone(), Seed::new(1));
            let all = run(&mut search, &space, 200, lag, slope);
            let distinct: BTreeSet<_> = all.iter().map(|proposal| &proposal.tokens).collect();
            assert_eq!((all.len(), distinct.len()), (125, 125), "lag {lag}");
        }
    }

    #[test]
    fn moves_to_the_first_that_is_better_and_starts_again_at_the_top() {
        let space = testing::cube();
        let mut search = LocalSearch::new(space.clone(), Seed::new(3));
        let first = ask(&mut search, 10);
        assert!(first.iter().all(|proposal| proposal.origin == Origin::Random));
        for (number, proposal) in (0..).zip(&first) {
            tell(&mut search, number, proposal, Some(if number == 6 { 5.0 } else { 1.0 }));
        }
        let near = |a: &Tokens, b: &Tokens| a.iter().zip(b.iter()).filter(|(a, b)| a != b).count() == 1;
        let worse = search.propose().unwrap().unwrap();
        assert_eq!(worse.origin, Origin::Mutation { parent: 6 });
        assert!(near(&worse.tokens, &first[6].tokens));
        tell(&mut search, 10, &worse, Some(4.0));
        let better = search.propose().unwrap().unwrap();
        assert_eq!(better.origin, Origin::Mutation { parent: 6 });
        tell(&mut search, 11, &better, Some(6.0));
        let mut number = 12;
        loop {
            let next = search.propose().unwrap().unwrap();
            if next.origin == Origin::Random {
                break;
            }
            assert_eq!(next.origin, Origin::Mutation { parent: 11 });
            assert!(near(&next.tokens, &better.tokens));
            tell(&mut search, number, &next, None);
            number += 1;
        }
        // Twelve neighbours, of which some had been seen.
        assert!((12 + 6..=12 + 11).contains(&number), "{number}");
        assert_eq!(search.diagnostics().get("centre"), Some(6.0));
    }

    #[test]
    fn climbs_with_proposals_on_their_way() {
        let space = testing::cube();
        for lag in [1, 4, 8] {
            let mut reached = Vec::new();
            for seed in 0..20 {
                let mut search = LocalSearch::new(space.clone(), Seed::new(seed));
                let all = run(&mut search, &space, 125, lag, slope);
                let top = |p: &Proposal| p.tokens[..] == [4, 4, 4];
                reached.push(all.iter().position(top).unwrap());
            }
            let mean = reached.iter().sum::<usize>() as f64 / 20.0;
            // By chance it would be 62.
            assert!(mean < 40.0, "lag {lag}: {mean}");
        }
    }

    #[test]
    fn failures_only() {
        let space = testing::conditional();
        let mut search = LocalSearch::new(space.clone(), Seed::new(3));
        assert_eq!(run(&mut search, &space, 1000, 3, |_| None).len(), 148);
    }
}
