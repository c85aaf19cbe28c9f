//! The tree-structured Parzen estimator: what good trials chose more often than the others.

use super::{Diagnostics, Observed, Pending, Proposal, State, Strategy, Unseen};
use crate::error::Error;
use crate::space::Walk;
use crate::{ArchitectureError, Origin, Purpose, Rng, SearchSpace, Seed, Tokens};
use rand::RngExt as _;

/// Weight of the even distribution among the trials that a density is made of.
const PRIOR: f64 = 1.0;
/// Draws of the good density, in multiples of `candidates`, before a proposal is drawn evenly instead.
const ROUNDS: usize = 4;

/// The tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kégl, 2011).
///
/// The best part `gamma` of the trials makes a density `l` of every slot's options, the others a density `g`. A proposal
/// is drawn from `l`, slot by slot, as the one of `candidates` with the largest `Π l / g`, to which the expected improvement
/// rises. A density counts only the trials in which its slot was open, and one even trial. Where options are numbers, a
/// trial counts for its neighbours too, by a normal curve as wide as a fifth of the range over the fifth root of the number
/// of trials. What is on its way counts among the others, failures too. Nothing is proposed twice.
#[derive(Debug, Clone)]
pub struct Tpe {
    /// The part of the trials that is good; default 0.1, and at least one trial.
    pub gamma: f64,
    /// Even draws before the first density; default 20.
    pub starts: u64,
    /// Draws from `l` for a proposal; default 24.
    pub candidates: usize,
    unseen: Unseen,
    seed: Seed,
    proposed: u64,
    /// Trials, the best first; failures are worth minus infinity.
    trials: Vec<(f64, Tokens)>,
    pending: Pending,
    /// By slot and option, ln of both densities.
    good: Vec<Vec<f64>>,
    others: Vec<Vec<f64>>,
    ratio: f64,
}

impl Tpe {
    /// The estimator on `space`, by streams of `seed`, one for each proposal.
    pub fn new(space: SearchSpace, seed: Seed) -> Self {
        let tables: Vec<Vec<f64>> = space.slots().iter().map(|slot| vec![0.0; slot.options.len()]).collect();
        Tpe {
            gamma: 0.1,
            starts: 20,
            candidates: 24,
            unseen: Unseen::new(space),
            seed,
            proposed: 0,
            trials: Vec::new(),
            pending: Pending::default(),
            good: tables.clone(),
            others: tables,
            ratio: 0.0,
        }
    }

    /// Makes both densities of the trials.
    fn estimate(&mut self) {
        let space = self.unseen.space();
        let good = ((self.gamma * self.trials.len() as f64).ceil() as usize).clamp(1, self.trials.len());
        let (best, others) = self.trials.split_at(good);
        for slot in 0..space.slots().len() {
            let tokens = best.iter().map(|(_, tokens)| tokens[slot]);
            density(space, slot, tokens, &mut self.good[slot]);
            let tokens = others.iter().map(|(_, tokens)| tokens[slot]);
            density(space, slot, tokens.chain(self.pending.iter().map(|tokens| tokens[slot])), &mut self.others[slot]);
        }
    }

    /// A draw from the good density with `ln Π l / g`.
    fn draw(&self, walk: &mut Walk<'_>, rng: &mut Rng) -> Result<(f64, Tokens), ArchitectureError> {
        walk.reset();
        let mut score = 0.0;
        while let Some(slot) = walk.slot_index() {
            let open = || walk.mask().iter().zip(&self.good[slot]).enumerate().filter(|(_, (open, _))| **open);
            let total: f64 = open().map(|(_, (_, log))| log.exp()).sum();
            let mut left = rng.random::<f64>() * total;
            let mut option = None;
            for (i, (_, log)) in open() {
                option = Some(i);
                left -= log.exp();
                if left < 0.0 {
                    break;
                }
            }
            let option = option.expect("a mask leaves something open");
            score += self.good[slot][option] - self.others[slot][option];
            walk.choose_within(option, rng)?;
        }
        Ok((score, walk.tokens().clone()))
    }

    /// The best new one of several draws.
    fn choose(&mut self, rng: &mut Rng) -> Result<Option<Tokens>, Error> {
        self.estimate();
        let space = self.unseen.space().clone();
        let mut walk = space.walk();
        let mut best: Option<(f64, Tokens)> = None;
        for _ in 0..ROUNDS {
            for _ in 0..self.candidates {
                let (score, tokens) = match self.draw(&mut walk, rng) {
                    Err(ArchitectureError::Limits { .. }) => continue,
                    drawn => drawn?,
                };
                if best.as_ref().is_none_or(|(best, _)| score > *best) && !self.unseen.contains(&tokens) {
                    best = Some((score, tokens));
                }
            }
            if best.is_some() {
                break;
            }
        }
        self.ratio = best.as_ref().map_or(0.0, |(score, _)| *score);
        Ok(best.map(|(_, tokens)| tokens))
    }
}

/// ln of the density of `slot`'s options in the trials that chose these tokens, closed ones left out, and one even trial.
fn density(space: &SearchSpace, slot: usize, tokens: impl Iterator<Item = u16>, out: &mut [f64]) {
    out.fill(0.0);
    let mut count = 0.0_f64;
    for token in tokens.filter(|&token| token != Tokens::CLOSED) {
        out[space.option(slot, token)] += 1.0;
        count += 1.0;
    }
    if space.is_ordered(slot) {
        smooth(out, 0.2 * out.len() as f64 * count.max(1.0).powf(-0.2));
    }
    let even = PRIOR / out.len() as f64;
    out.iter_mut().for_each(|trials| *trials = ((*trials + even) / (PRIOR + count)).ln());
}

/// Spreads the trials at each place over its neighbours, by a normal curve of that width which ends with the range.
fn smooth(trials: &mut [f64], width: f64) {
    let chosen = trials.to_vec();
    trials.fill(0.0);
    let curve = |off: usize| (-0.5 * (off as f64 / width).powi(2)).exp();
    for (centre, &count) in chosen.iter().enumerate().filter(|(_, count)| **count > 0.0) {
        let total: f64 = (0..chosen.len()).map(|i| curve(i.abs_diff(centre))).sum();
        for (i, trials) in trials.iter_mut().enumerate() {
            *trials += count * curve(i.abs_diff(centre)) / total;
        }
    }
}

impl Strategy for Tpe {
    fn name(&self) -> &'static str {
        "tpe"
    }

    fn propose(&mut self) -> Result<Option<Proposal>, Error> {
        if self.unseen.is_exhausted() {
            return Ok(None);
        }
        let mut rng = self.seed.stream(Purpose::Propose, self.proposed);
        let learned = self.proposed >= self.starts && !self.trials.is_empty();
        let chosen = if learned { self.choose(&mut rng)? } else { None };
        let proposal = match chosen {
            Some(tokens) => {
                self.unseen.insert(&tokens);
                Proposal { tokens, origin: Origin::Policy { updates: self.trials.len() as u64 } }
            }
            None => match self.unseen.draw(&mut rng)? {
                Some(tokens) => Proposal { tokens, origin: Origin::Random },
                None => return Ok(None),
            },
        };
        self.pending.push(proposal.tokens.clone());
        self.proposed += 1;
        Ok(Some(proposal))
    }

    fn state(&mut self, state: &mut State) {
        self.unseen.state(state);
        state.field("seed", &mut self.seed);
        state.field("proposed", &mut self.proposed);
        state.field("pending", &mut self.pending);
        // Both densities are made anew from the trials for every proposal.
        let (mut rewards, mut tokens): (Vec<f64>, Vec<Tokens>) = self.trials.iter().cloned().unzip();
        state.bits("rewards", &mut rewards);
        state.field("trials", &mut tokens);
        if state.writes() {
            self.trials = rewards.into_iter().zip(tokens).collect();
        }
    }

    fn observe(&mut self, observed: &Observed) -> Result<(), Error> {
        self.unseen.insert(&observed.tokens);
        self.pending.remove(&observed.tokens);
        let reward = observed.reward.filter(|reward| !reward.is_nan()).unwrap_or(f64::NEG_INFINITY);
        let place = self.trials.partition_point(|(other, _)| *other >= reward);
        self.trials.insert(place, (reward, observed.tokens.clone()));
        Ok(())
    }

    /// The figure is `log_density_ratio`, of the last proposal that was no even draw.
    fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        if self.proposed > self.starts {
            diagnostics.set("log_density_ratio", self.ratio);
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

    /// The letters' places: the top is `e` in all three.
    fn slope(text: &str) -> Option<f64> {
        Some(text.split(',').map(|pair| f64::from(pair.as_bytes()[pair.len() - 1])).sum())
    }

    #[test]
    fn exhausts_a_space_exactly_with_any_lag() {
        for space in [testing::cube(), testing::conditional()] {
            let count: usize = space.cardinality().to_string().parse().unwrap();
            for lag in [1, 7, 40] {
                let mut tpe = Tpe::new(space.clone(), Seed::new(1));
                let all = run(&mut tpe, &space, 1000, lag, |text| (text.len() % 3 > 0).then_some(text.len() as f64));
                let distinct: BTreeSet<_> = all.iter().map(|proposal| &proposal.tokens).collect();
                assert_eq!((all.len(), distinct.len()), (count, count), "lag {lag}");
            }
        }
    }

    #[test]
    fn proposes_what_good_trials_chose() {
        let space = testing::cube();
        let mut places = Vec::new();
        for seed in 0..20 {
            let mut tpe = Tpe::new(space.clone(), Seed::new(seed));
            let all = run(&mut tpe, &space, 125, 1, slope);
            places.push(all.iter().position(|proposal| proposal.tokens[..] == [4, 4, 4]).unwrap());
        }
        let mean = places.iter().sum::<usize>() as f64 / 20.0;
        // By chance it would be 62.
        assert!(mean < 35.0, "{mean}");
    }

    #[test]
    fn densities_by_hand() {
        let space = SearchSpace::builder("s")
            .choice("op", ["a", "b", "c", "d"])
            .integer("n", 1..=10)
            .when("op", ["a", "b"])
            .build()
            .unwrap();
        let mut out = vec![0.0; 4];
        density(&space, 0, [0, 0, 2].into_iter(), &mut out);
        let expected = [2.25, 0.25, 1.25, 0.25].map(|weight: f64| (weight / 4.0).ln());
        out.iter().zip(expected).for_each(|(got, right)| assert!((got - right).abs() < 1e-12));
        let mut out = vec![0.0; 10];
        density(&space, 1, [6, Tokens::CLOSED, 6].into_iter(), &mut out);
        let total: f64 = out.iter().map(|log| log.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
        assert!(out[6] > out[5] && out[5] > out[4] && (out[5] - out[7]).abs() < 1e-12);
        density(&space, 1, std::iter::empty(), &mut out);
        assert!(out.iter().all(|log| (log.exp() - 0.1).abs() < 1e-12));
    }

    #[test]
    fn what_is_on_its_way_is_avoided() {
        let space = testing::cube();
        let mut tpe = Tpe::new(space, Seed::new(2));
        for (number, proposal) in (0..).zip(ask(&mut tpe, 20)) {
            tell(&mut tpe, number, &proposal, Some(f64::from(proposal.tokens[0])));
        }
        tpe.estimate();
        let before = tpe.others.clone();
        let next = tpe.propose().unwrap().unwrap();
        tpe.estimate();
        let slot = 0;
        let option = usize::from(next.tokens[slot]);
        assert!(tpe.others[slot][option] > before[slot][option]);
    }
}
