//! Many workers on one search: what they gain in time, by discrete events on the table's clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::simulation::Simulation;
use crate::strategy::Observed;
use crate::{Error, Strategy};

/// When a worker gets its next architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// As soon as it is free; the strategy has seen what was finished by then.
    Asynchronous,
    /// When all workers are free: they wait for the slowest.
    Synchronous,
}

/// How a search with several workers went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Race {
    /// Seconds of the table's clock until the search came within the distance asked for; none if it did not.
    pub seconds: Option<f64>,
    /// Evaluations that were finished by then, or in all.
    pub evaluations: usize,
    /// Regret at the end.
    pub regret: f64,
    /// How many results the strategy learned on average between proposing an architecture and hearing of it: the policy's lag.
    pub lag: f64,
    /// The share of the workers' time, up to the end, in which they evaluated.
    pub busy: f64,
}

/// An evaluation under way: it ends at a time; of equal times the earlier proposal comes first.
#[derive(PartialEq)]
struct Running {
    end: f64,
    number: u64,
    row: Option<usize>,
    /// Results that the strategy knew when it proposed this.
    known: u64,
    observed: Observed,
}

impl Eq for Running {}

impl Ord for Running {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.end.total_cmp(&other.end).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Running {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Simulation<'_> {
    /// A search by `strategy` with `workers`, until it is within `distance` of the best figure or `evaluations` were made.
    /// Proposing and learning take no time.
    ///
    /// # Errors
    /// When the strategy cannot go on, there is no worker, or the table does not say what evaluations take.
    pub fn race(
        &self,
        strategy: &mut dyn Strategy,
        workers: usize,
        schedule: Schedule,
        distance: f64,
        evaluations: usize,
    ) -> Result<Race, Error> {
        if workers == 0 {
            return Err(Error::Budget("a search needs at least one worker".to_owned()));
        }
        let mut running: BinaryHeap<Reverse<Running>> = BinaryHeap::new();
        let (mut proposed, mut known, mut lags, mut work) = (0_u64, 0_u64, 0_u64, 0.0);
        let mut clock = 0.0;
        let (mut best, mut regret): (Option<f64>, f64) = (None, self.worst());
        let mut exhausted = false;
        loop {
            // Everyone who may start does.
            let free =
                if schedule == Schedule::Synchronous && !running.is_empty() { 0 } else { workers - running.len() };
            for _ in 0..free {
                if exhausted || proposed as usize >= evaluations {
                    break;
                }
                let Some(proposal) = strategy.propose()? else {
                    exhausted = true;
                    break;
                };
                let row = self.table().row(&proposal.tokens);
                let seconds = self.seconds(row).filter(|seconds| seconds.is_finite()).ok_or_else(|| {
                    Error::Budget(format!("the table \"{}\" does not say what this takes", self.table().about().name))
                })?;
                work += seconds;
                let reward = row.and_then(|row| self.reward(row));
                let (tokens, origin, number) = (proposal.tokens, proposal.origin, proposed);
                let observed = Observed { number, tokens, reward, origin };
                running.push(Reverse(Running { end: clock + seconds, number, row, known, observed }));
                proposed += 1;
            }
            // One result, or in lockstep all of them, in the order they were proposed.
            let mut finished: Vec<Running> = match schedule {
                Schedule::Asynchronous => running.pop().into_iter().map(|Reverse(one)| one).collect(),
                Schedule::Synchronous => running.drain().map(|Reverse(one)| one).collect(),
            };
            if finished.is_empty() {
                break;
            }
            finished.sort_by_key(|one| one.number);
            clock = finished.iter().map(|one| one.end).fold(clock, f64::max);
            // In lockstep the target may be met before the slowest is done.
            let mut reached: Option<f64> = None;
            for one in finished {
                strategy.observe(&one.observed)?;
                lags += known - one.known;
                known += 1;
                if let (Some(row), Some(reward)) = (one.row, one.observed.reward)
                    && best.is_none_or(|best| reward > best)
                {
                    best = Some(reward);
                    regret = self.regret(row);
                    reached = (regret <= distance).then_some(one.end);
                }
            }
            if let Some(end) = reached {
                let left: f64 = running.iter().map(|Reverse(one)| one.end - end).sum();
                let busy = (work - left) / (workers as f64 * clock);
                let lag = lags as f64 / known as f64;
                return Ok(Race { seconds: Some(end), evaluations: known as usize, regret, lag, busy });
            }
        }
        let busy = if clock > 0.0 { work / (workers as f64 * clock) } else { 0.0 };
        let lag = lags as f64 / known.max(1) as f64;
        Ok(Race { seconds: None, evaluations: known as usize, regret, lag, busy })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::Seed;
    use crate::benchmark::{Limit, Reward, Table};
    use crate::strategy::{Evolution, RandomSearch};

    fn race(workers: usize, schedule: Schedule, distance: f64, evaluations: usize) -> Race {
        let table = Table::nas_bench_201();
        let simulation = Simulation::new(&table, table.task("cifar10").unwrap(), Reward::Objective).unwrap();
        let mut evolution = Evolution::new(table.space().clone(), Seed::new(5));
        simulation.race(&mut evolution, workers, schedule, distance, evaluations).unwrap()
    }

    #[test]
    fn one_worker_is_the_plain_search() {
        let table = Table::nas_bench_201();
        let simulation = Simulation::new(&table, table.task("cifar10").unwrap(), Reward::Objective).unwrap();
        let mut evolution = Evolution::new(table.space().clone(), Seed::new(5));
        let trace = simulation.run(&mut evolution, Limit::Queries(400), &AtomicBool::new(false)).unwrap();
        let needed = trace.queries_to(0.3).unwrap();
        for schedule in [Schedule::Asynchronous, Schedule::Synchronous] {
            let one = race(1, schedule, 0.3, 400);
            assert_eq!((one.evaluations, one.lag), (needed, 0.0));
            assert!((one.busy - 1.0).abs() < 1e-9);
            assert_eq!(one.regret, trace.regret(needed));
        }
    }

    #[test]
    fn workers_save_time_and_cost_lag() {
        let [one, ten] = [1, 10].map(|workers| race(workers, Schedule::Asynchronous, -1.0, 300));
        // No target: all evaluations are made, ten at a time.
        assert_eq!((one.seconds, one.evaluations, ten.evaluations), (None, 300, 300));
        assert!(ten.lag > 8.0 && ten.lag < 10.0, "{}", ten.lag);
        assert!(ten.busy > 0.9);
        let lockstep = race(10, Schedule::Synchronous, -1.0, 300);
        // In a batch the first hears of itself after none, the last after nine others.
        assert_eq!(lockstep.lag, 4.5);
        assert!(lockstep.busy < ten.busy, "{} {}", lockstep.busy, ten.busy);
    }

    #[test]
    fn more_workers_than_architectures() {
        let table = Table::nas_bench_201();
        let simulation = Simulation::new(&table, table.task("cifar10").unwrap(), Reward::Objective).unwrap();
        let mut random = RandomSearch::new(table.space().clone(), Seed::new(1));
        let all = simulation.race(&mut random, 20_000, Schedule::Asynchronous, -1.0, usize::MAX).unwrap();
        assert_eq!((all.evaluations, all.regret), (15_625, 0.0));
        let mut random = RandomSearch::new(table.space().clone(), Seed::new(1));
        assert!(simulation.race(&mut random, 0, Schedule::Asynchronous, 0.0, 10).is_err());
    }
}
