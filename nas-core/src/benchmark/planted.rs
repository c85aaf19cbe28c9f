//! Planted landscapes: spaces of any length whose best architecture is known, searched thousands of times a second.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt as _;

use super::error::BenchmarkError;
use super::simulation::Trace;
use crate::strategy::Observed;
use crate::{Error, Purpose, SearchSpace, Seed, Strategy, Tokens};

/// The weight of the pairs if nothing is said.
const RHO: f64 = 0.5;
/// The most decisions and options: beyond them the pairs take gigabytes.
const LENGTH: usize = 1_000;
const OPTIONS: usize = 100;

/// A conditional landscape repeats itself after so many decisions: two free ones, a gate, and two branches …
const BLOCK: usize = 9;
/// … of which this is where the first begins …
const BRANCHES: usize = 3;
/// … and this how many decisions each has.
const BRANCH: usize = 3;
/// The decision of a block that opens one of the branches.
const GATE: usize = BRANCHES - 1;

/// A kind of landscape: a chain of decisions with as many options each,
///
/// f(x) = Σ aₜ(xₜ) + ρ Σ bₜ(xₜ, xₜ₊₁), with every a and b drawn from N(0, 1),
///
/// so that no decision can be judged without its neighbours, and the best and the worst architecture are found by dynamic
/// programming. Every seed is another [`Landscape`].
///
/// In a conditional one the third of every nine decisions is a gate: its options 0, 2, … open the next three decisions, the
/// others the three after those. The chain runs through the open decisions, so whoever changes a gate has to find three
/// values anew.
///
/// It is written as `20x5` (decisions and options), `20x5:0.3` (ρ, otherwise 0.5) or `20x5:0.5:conditional`.
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use nas_core::Seed;
/// use nas_core::benchmark::Planted;
/// use nas_core::strategy::LocalSearch;
///
/// let planted: Planted = "20x5".parse()?;
/// let landscape = planted.landscape(Seed::new(1));
/// let mut search = LocalSearch::new(planted.space().clone(), Seed::new(1));
/// let trace = landscape.run(&mut search, 2_000, 1, &AtomicBool::new(false))?;
/// assert!(trace.regret(2_000) < 0.05);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Planted {
    length: usize,
    options: usize,
    rho: f64,
    conditional: bool,
    space: SearchSpace,
}

/// A [`Planted`] landscape drawn with one seed.
#[derive(Debug, Clone)]
pub struct Landscape<'a> {
    planted: &'a Planted,
    /// aₜ(x), slot by slot.
    single: Vec<f64>,
    /// Of every slot the pairs with those that may follow it.
    pairs: Vec<Vec<Pair>>,
    best: f64,
    worst: f64,
}

/// ρ b(x, y) of a decision and the one that follows it.
#[derive(Debug, Clone)]
struct Pair {
    to: usize,
    values: Vec<f64>,
}

impl Planted {
    /// Landscapes of `length` decisions with `options` options each and pairs of weight `rho`.
    ///
    /// # Errors
    /// When there are no decisions, fewer than two options, more than 1,000 decisions or 100 options, or ρ is negative or
    /// not finite.
    pub fn new(length: usize, options: usize, rho: f64, conditional: bool) -> Result<Planted, BenchmarkError> {
        let wrong = |why: String| BenchmarkError::Planted { text: name(length, options, rho, conditional), why };
        if !(1..=LENGTH).contains(&length) || !(2..=OPTIONS).contains(&options) {
            return Err(wrong(format!("there can be 1 to {LENGTH} decisions with 2 to {OPTIONS} options")));
        }
        if !(rho >= 0.0 && rho.is_finite()) {
            return Err(wrong("the weight of the pairs is a number from 0".to_owned()));
        }
        let names: Vec<String> = (0..options).map(|option| format!("o{option}")).collect();
        let mut builder = SearchSpace::builder("planted");
        for slot in 0..length {
            builder = builder.choice(&format!("d{slot}"), names.iter().map(String::as_str));
            if conditional && slot % BLOCK >= BRANCHES {
                let (gate, branch) = (slot - slot % BLOCK + GATE, (slot % BLOCK - BRANCHES) / BRANCH);
                let opens = names.iter().enumerate().filter(|(option, _)| option % 2 == branch);
                builder = builder.when(&format!("d{gate}"), opens.map(|(_, name)| name.as_str()));
            }
        }
        Ok(Planted { length, options, rho, conditional, space: builder.build()? })
    }

    /// The space.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// The landscape of that seed.
    pub fn landscape(&self, seed: Seed) -> Landscape<'_> {
        let Planted { length, options, rho, .. } = *self;
        let mut rng = seed.stream(Purpose::Test, 0);
        let mut normals = |count: usize, scale: f64| -> Vec<f64> {
            let normal = |_| {
                // Box and Muller; 1 − u is never 0.
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
                scale * radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
            };
            (0..count).map(normal).collect()
        };
        let single = normals(length * options, 1.0);
        let pairs = (0..length).map(|from| {
            let mut next: Vec<usize> = (0..2).filter_map(|option| self.next(from, option)).collect();
            next.dedup();
            next.into_iter().map(|to| Pair { to, values: normals(options * options, rho) }).collect()
        });
        let pairs = pairs.collect();
        let mut landscape = Landscape { planted: self, single, pairs, best: 0.0, worst: 0.0 };
        landscape.best = landscape.extreme(1.0);
        landscape.worst = landscape.extreme(-1.0);
        landscape
    }

    /// The next open slot after `option` was chosen in an open one.
    fn next(&self, slot: usize, option: usize) -> Option<usize> {
        let ahead = match slot % BLOCK {
            GATE if self.conditional => 1 + option % 2 * BRANCH,
            // The end of the first branch.
            at if self.conditional && at + 1 == BRANCHES + BRANCH => 1 + BRANCH,
            _ => 1,
        };
        Some(slot + ahead).filter(|&next| next < self.length)
    }
}

fn name(length: usize, options: usize, rho: f64, conditional: bool) -> String {
    format!("{length}x{options}:{rho}{}", if conditional { ":conditional" } else { "" })
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.length, self.options, self.rho, self.conditional))
    }
}

impl FromStr for Planted {
    type Err = BenchmarkError;

    fn from_str(text: &str) -> Result<Planted, BenchmarkError> {
        let wrong = || {
            let why = "write decisions x options, such as 20x5, 20x5:0.3 or 20x5:0.5:conditional".to_owned();
            BenchmarkError::Planted { text: text.to_owned(), why }
        };
        let mut parts = text.split(':');
        let (length, options) = parts.next().and_then(|size| size.split_once('x')).ok_or_else(wrong)?;
        let rest: Vec<&str> = parts.collect();
        let (rho, conditional) = match rest[..] {
            [] => (None, false),
            ["conditional"] => (None, true),
            [rho] => (Some(rho), false),
            [rho, "conditional"] => (Some(rho), true),
            _ => return Err(wrong()),
        };
        let rho = rho.map_or(Ok(RHO), |rho| rho.parse().map_err(|_| wrong()))?;
        let size = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        Planted::new(size(length)?, size(options)?, rho, conditional)
    }
}

impl Landscape<'_> {
    /// What an architecture is worth.
    ///
    /// # Panics
    /// When the tokens are none of the space's.
    pub fn value(&self, tokens: &Tokens) -> f64 {
        let options = self.planted.options;
        let (mut value, mut before) = (0.0, None::<(usize, usize)>);
        for (slot, token) in tokens.open() {
            let token = usize::from(token);
            value += self.single[slot * options + token];
            if let Some((from, last)) = before {
                let pair = self.pairs[from].iter().find(|pair| pair.to == slot).expect("it may follow");
                value += pair.values[last * options + token];
            }
            before = Some((slot, token));
        }
        value
    }

    /// The value of the best architecture.
    pub fn best(&self) -> f64 {
        self.best
    }

    /// The value of the worst architecture.
    pub fn worst(&self) -> f64 {
        self.worst
    }

    /// The most that an architecture is worth; with `sign` −1 the least. From the last slot to the first: what the slots from
    /// there on add at most, for every option.
    fn extreme(&self, sign: f64) -> f64 {
        let Planted { length, options, .. } = *self.planted;
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
        let mut ahead = vec![0.0; length * options];
        for slot in (0..length).rev() {
            for option in 0..options {
                let rest = self.planted.next(slot, option).map_or(0.0, |next| {
                    let pair = self.pairs[slot].iter().find(|pair| pair.to == next).expect("it may follow");
                    let with = |o: usize| sign * pair.values[option * options + o] + ahead[next * options + o];
                    most(&mut (0..options).map(with))
                });
                ahead[slot * options + option] = sign * self.single[slot * options + option] + rest;
            }
        }
        sign * most(&mut ahead[..options].iter().copied())
    }

    /// One search by `strategy` until that many evaluations are finished, the space is exhausted, or `stop` is set. `workers`
    /// proposals are always on their way, and the oldest is told first: a strategy hears of each after `workers` − 1 others.
    /// Regrets are shares of the distance from the worst architecture to the best.
    ///
    /// # Errors
    /// When the strategy cannot go on, or there is no worker.
    pub fn run(
        &self,
        strategy: &mut dyn Strategy,
        evaluations: usize,
        workers: usize,
        stop: &AtomicBool,
    ) -> Result<Trace, Error> {
        if workers == 0 {
            return Err(Error::Budget("a search needs at least one worker".to_owned()));
        }
        let (mut best, mut proposed) = (self.worst, 0);
        let mut trace = Trace::new(1.0);
        let mut waiting: VecDeque<Observed> = VecDeque::new();
        while !stop.load(Ordering::Relaxed) {
            while waiting.len() < workers && proposed < evaluations {
                let Some(proposal) = strategy.propose()? else { break };
                let reward = Some(self.value(&proposal.tokens));
                let (tokens, origin, number) = (proposal.tokens, proposal.origin, proposed as u64);
                waiting.push_back(Observed { number, tokens, reward, origin });
                proposed += 1;
            }
            let Some(observed) = waiting.pop_front() else { break };
            best = observed.reward.map_or(best, |reward| reward.max(best));
            // The sum of the best architecture may round otherwise than the way it was found by.
            trace.push(((self.best - best) / (self.best - self.worst)).max(0.0));
            strategy.observe(&observed)?;
        }
        Ok(trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{Evolution, RandomSearch};

    fn off() -> AtomicBool {
        AtomicBool::new(false)
    }

    #[track_caller]
    fn check_extremes(text: &str) {
        let planted: Planted = text.parse().unwrap();
        for seed in 0..5 {
            let landscape = planted.landscape(Seed::new(seed));
            let all = planted.space().enumerate();
            let values: Vec<f64> = all.map(|a| landscape.value(&planted.space().tokens(&a).unwrap())).collect();
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
            assert!((most - landscape.best()).abs() < 1e-12 && (least - landscape.worst()).abs() < 1e-12, "{text}");
        }
    }

    #[test]
    fn the_extremes_are_what_trying_everything_finds() {
        ["4x3", "1x2", "5x4:0", "10x2:2"].into_iter().for_each(check_extremes);
        ["3x3:conditional", "5x3:0.3:conditional", "9x3:conditional", "11x2:1:conditional"]
            .into_iter()
            .for_each(check_extremes);
    }

    #[test]
    fn a_gate_opens_one_of_two_branches() {
        let planted: Planted = "11x4:conditional".parse().unwrap();
        for number in 0..50 {
            let tokens = planted.space().sample_tokens(&mut Seed::new(1).stream(Purpose::Test, number));
            let open: Vec<usize> = tokens.open().map(|(slot, _)| slot).collect();
            let expected =
                if tokens[2].is_multiple_of(2) { [0, 1, 2, 3, 4, 5, 9, 10] } else { [0, 1, 2, 6, 7, 8, 9, 10] };
            assert_eq!(open, expected);
        }
        assert!((planted.space().cardinality().finite().unwrap()) == &4_u32.pow(8).into());
    }

    #[test]
    fn another_seed_is_another_landscape() {
        let planted: Planted = "6x4".parse().unwrap();
        let best = |seed| planted.landscape(Seed::new(seed)).best();
        assert_eq!(best(1), best(1));
        assert_ne!(best(1), best(2));
    }

    #[test]
    fn without_pairs_the_best_is_the_sum_of_the_best() {
        let planted: Planted = "8x5:0".parse().unwrap();
        let landscape = planted.landscape(Seed::new(3));
        let tops = landscape.single.chunks(5).map(|a| a.iter().copied().fold(f64::MIN, f64::max));
        assert!((landscape.best() - tops.sum::<f64>()).abs() < 1e-12);
    }

    #[test]
    fn a_search_ends_at_the_best_and_workers_only_delay_what_is_heard() {
        let planted: Planted = "5x3".parse().unwrap();
        let landscape = planted.landscape(Seed::new(1));
        let random = || RandomSearch::new(planted.space().clone(), Seed::new(1));
        let all = landscape.run(&mut random(), 1_000, 1, &off()).unwrap();
        assert_eq!((all.len(), all.regret(0)), (243, 1.0));
        assert!(all.regret(243) < 1e-12);
        // Random search does not listen.
        assert_eq!(all, landscape.run(&mut random(), 1_000, 10, &off()).unwrap());
        let evolution = |workers| {
            let mut evolution = Evolution::new(planted.space().clone(), Seed::new(1));
            landscape.run(&mut evolution, 120, workers, &off()).unwrap()
        };
        assert_ne!(evolution(1), evolution(10));
        assert_eq!(evolution(10).len(), 120);
        assert!(landscape.run(&mut random(), 10, 0, &off()).is_err());
        assert!(landscape.run(&mut random(), 10, 1, &AtomicBool::new(true)).unwrap().is_empty());
    }

    #[test]
    fn texts_go_there_and_back() {
        for (text, shown) in [
            ("20x5", "20x5:0.5"),
            ("10x4:0.3", "10x4:0.3"),
            ("20x5:conditional", "20x5:0.5:conditional"),
            ("40x5:1:conditional", "40x5:1:conditional"),
        ] {
            let planted: Planted = text.parse().unwrap();
            assert_eq!(planted.to_string(), shown);
            assert_eq!(shown.parse::<Planted>().unwrap().to_string(), shown);
        }
        for wrong in ["", "20", "x", "0x5", "5x1", "5x5:-1", "5x5:nan", "5x5:1:no", "9999x5", "5x5:1:conditional:1"] {
            assert!(matches!(wrong.parse::<Planted>(), Err(BenchmarkError::Planted { .. })), "{wrong}");
        }
    }
}
