//! A search on a table: any strategy, without training, thousands of times a second.

use std::sync::atomic::{AtomicBool, Ordering};

use super::about::Task;
use super::error::BenchmarkError;
use super::table::Table;
use crate::strategy::Observed;
use crate::{Error, Strategy};

/// What a strategy is rewarded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reward {
    /// The task's objective itself, so that only the strategy is measured: protocol A.
    Objective,
    /// The task's signal, a cheaper and other figure, as in a real search: protocol B.
    Signal,
}

/// When a simulated search ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// After that many evaluations.
    Queries(usize),
    /// When the table's clock passes that many seconds; the evaluation that crosses the limit counts, as in the published
    /// tables.
    Seconds(f64),
}

/// A task of a table, ready for searches.
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use nas_core::Seed;
/// use nas_core::benchmark::{Limit, Reward, Simulation, Table};
/// use nas_core::strategy::Evolution;
///
/// let table = Table::nas_bench_201();
/// let simulation = Simulation::new(&table, table.task("cifar10")?, Reward::Objective)?;
/// let mut evolution = Evolution::new(table.space().clone(), Seed::new(1));
/// let trace = simulation.run(&mut evolution, Limit::Queries(300), &AtomicBool::new(false))?;
/// assert_eq!(trace.len(), 300);
/// assert!(trace.regret(300) < 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Simulation<'a> {
    table: &'a Table,
    /// What a strategy is told, row by row, more being better; NaN when missing.
    rewards: Vec<f64>,
    /// How far the row's reported figure is from the best of the table, zero or above; NaN when missing.
    regrets: Vec<f64>,
    /// The regret of a search that has found nothing yet.
    worst: f64,
    /// The best reported figure.
    best: f64,
    sign: f64,
    seconds: Option<Vec<f64>>,
}

/// A search, evaluation by evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Regret of the best architecture so far, by reward, after each evaluation.
    regrets: Vec<f64>,
    /// Seconds of the table's clock after each evaluation; empty without a clock.
    seconds: Vec<f64>,
    /// Regret before the first evaluation.
    worst: f64,
}

impl Trace {
    /// Of a search that has not begun, with that regret.
    pub(super) fn new(worst: f64) -> Self {
        Trace { regrets: Vec::new(), seconds: Vec::new(), worst }
    }

    /// Notes the regret after another evaluation.
    pub(super) fn push(&mut self, regret: f64) {
        self.regrets.push(regret);
    }

    /// How many evaluations there were.
    pub fn len(&self) -> usize {
        self.regrets.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.regrets.is_empty()
    }

    /// The regret after that many evaluations, in the objective's unit: how far the architecture that a search would return
    /// is from the best of the table. Of a shorter search, that at its end.
    pub fn regret(&self, queries: usize) -> f64 {
        match queries.min(self.regrets.len()) {
            0 => self.worst,
            n => self.regrets[n - 1],
        }
    }

    /// The regret when the table's clock passes `seconds`; the evaluation under way then counts.
    pub fn regret_at(&self, seconds: f64) -> f64 {
        let before = self.seconds.partition_point(|&end| end < seconds);
        self.regret(before + 1)
    }

    /// How many evaluations it took to come within `distance` of the best figure and stay there; none if it did not.
    pub fn queries_to(&self, distance: f64) -> Option<usize> {
        let outside = self.regrets.iter().rposition(|&regret| regret > distance);
        let first = outside.map_or(0, |last| last + 1);
        (first < self.regrets.len()).then_some(first + 1)
    }

    /// Seconds of the table's clock that all evaluations took; none without a clock, or where it lacks the time of one.
    pub fn elapsed(&self) -> Option<f64> {
        self.seconds.last().copied()
    }
}

impl<'a> Simulation<'a> {
    /// Searches of `task` with that reward, judged by the task's objective.
    ///
    /// # Errors
    /// When the task has no signal and one is asked for, a metric is missing or has no direction, or every figure is missing.
    pub fn new(table: &'a Table, task: &Task, reward: Reward) -> Result<Self, BenchmarkError> {
        let rewarding = match (reward, &task.signal) {
            (Reward::Objective, _) => &task.objective,
            (Reward::Signal, Some(signal)) => signal,
            (Reward::Signal, None) => {
                let why = format!("the task \"{}\" has no cheaper signal to search by", task.name);
                return Err(BenchmarkError::Lacks { table: table.about().name.clone(), why });
            }
        };
        let signal = table.metric(rewarding)?;
        let sign = signal.sign();
        let rewards = signal.values().iter().map(|value| sign * value).collect();
        let mut simulation = Simulation {
            table,
            rewards,
            regrets: Vec::new(),
            worst: 0.0,
            best: 0.0,
            sign: 1.0,
            seconds: table.seconds(task)?,
        };
        simulation.judge_by(&task.objective)?;
        Ok(simulation)
    }

    /// The same searches, judged by another metric: how a search on one data set does on another.
    ///
    /// # Errors
    /// When there is no such metric, it has no direction, or all its figures are missing.
    pub fn judged_by(mut self, metric: &str) -> Result<Self, BenchmarkError> {
        self.judge_by(metric)?;
        Ok(self)
    }

    fn judge_by(&mut self, metric: &str) -> Result<(), BenchmarkError> {
        let objective = self.table.metric(metric)?;
        let table = self.table.about().name.clone();
        let none = |why: &str| BenchmarkError::Lacks { table, why: format!("\"{metric}\" {why}") };
        let (_, best) = match objective.best() {
            _ if objective.info().direction.is_none() => return Err(none("is no aim: it has no direction")),
            None => return Err(none("has no figure at all")),
            Some(best) => best,
        };
        self.sign = objective.sign();
        self.best = best;
        self.regrets = objective.values().iter().map(|value| self.sign * (best - value)).collect();
        self.worst = self.regrets.iter().copied().filter(|regret| !regret.is_nan()).fold(0.0, f64::max);
        Ok(())
    }

    /// The table.
    pub fn table(&self) -> &'a Table {
        self.table
    }

    /// The best figure that a search can be judged with.
    pub fn best(&self) -> f64 {
        self.best
    }

    /// The figure with that regret.
    pub fn figure(&self, regret: f64) -> f64 {
        self.best - self.sign * regret
    }

    /// Whether the table says what evaluations take.
    pub fn has_clock(&self) -> bool {
        self.seconds.is_some()
    }

    pub(super) fn reward(&self, row: usize) -> Option<f64> {
        Some(self.rewards[row]).filter(|reward| !reward.is_nan())
    }

    /// The regret of a row; that of the worst one where the figure is missing.
    pub(super) fn regret(&self, row: usize) -> f64 {
        let regret = self.regrets[row];
        if regret.is_nan() { self.worst } else { regret }
    }

    pub(super) fn worst(&self) -> f64 {
        self.worst
    }

    /// What evaluating a row takes; nothing for architectures that the table does not have.
    pub(super) fn seconds(&self, row: Option<usize>) -> Option<f64> {
        let seconds = self.seconds.as_ref()?;
        Some(row.map_or(0.0, |row| seconds[row]))
    }

    /// One search by `strategy` until the limit, the space is exhausted, or `stop` is set. Every proposal is paid for, a
    /// repeated one too. What the table does not have is a failed trial.
    ///
    /// # Errors
    /// When the strategy cannot go on, or the limit is a time and the table has no clock or a time of it is missing.
    pub fn run(&self, strategy: &mut dyn Strategy, limit: Limit, stop: &AtomicBool) -> Result<Trace, Error> {
        let mut trace = Trace::new(self.worst);
        let mut best: Option<f64> = None;
        let (mut regret, mut clock, mut is_timed) = (self.worst, 0.0, true);
        let no_clock =
            || Error::Budget(format!("the table \"{}\" does not say what this takes", self.table.about().name));
        for number in 0.. {
            let over = match limit {
                Limit::Queries(queries) => trace.len() >= queries,
                Limit::Seconds(seconds) => clock >= seconds,
            };
            if over || stop.load(Ordering::Relaxed) {
                break;
            }
            let Some(proposal) = strategy.propose()? else { break };
            let row = self.table.row(&proposal.tokens);
            let reward = row.and_then(|row| self.reward(row));
            if let (Some(row), Some(reward)) = (row, reward)
                && best.is_none_or(|best| reward > best)
            {
                best = Some(reward);
                regret = self.regret(row);
            }
            match self.seconds(row).filter(|seconds| !seconds.is_nan()) {
                Some(seconds) => {
                    clock += seconds;
                    trace.seconds.extend(is_timed.then_some(clock));
                }
                None if matches!(limit, Limit::Seconds(_)) => return Err(no_clock()),
                // Of a search that is counted, the time is then not known.
                None => {
                    is_timed = false;
                    trace.seconds.clear();
                }
            }
            trace.push(regret);
            let (tokens, origin) = (proposal.tokens, proposal.origin);
            strategy.observe(&Observed { number, tokens, reward, origin })?;
            // Free evaluations, of architectures that are not there, must not go on for ever.
            if number > 100 * self.table.rows() as u64 {
                break;
            }
        }
        Ok(trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{Evolution, RandomSearch};
    use crate::{Seed, benchmark};

    fn random(table: &Table, seed: u64) -> RandomSearch {
        RandomSearch::new(table.space().clone(), Seed::new(seed))
    }

    fn off() -> AtomicBool {
        AtomicBool::new(false)
    }

    #[test]
    fn the_regret_is_that_of_the_best_so_far() {
        let table = Table::nas_bench_201();
        let simulation = Simulation::new(&table, table.task("cifar10").unwrap(), Reward::Objective).unwrap();
        let trace = simulation.run(&mut random(&table, 3), Limit::Queries(200), &off()).unwrap();
        let accuracy = table.metric("cifar10_test_200").unwrap();
        let (mut again, mut best) = (random(&table, 3), 0.0_f64);
        for n in 1..=200 {
            let tokens = again.propose().unwrap().unwrap().tokens;
            best = best.max(accuracy.get(table.row(&tokens).unwrap()).unwrap());
            assert_eq!(trace.regret(n), 94.3733 - best);
            assert_eq!(simulation.figure(trace.regret(n)), 94.3733 - (94.3733 - best));
        }
        assert_eq!(trace.regret(0), 94.3733 - accuracy.values().iter().copied().fold(f64::MAX, f64::min));
        assert_eq!(trace.regret(900), trace.regret(200));
    }

    #[test]
    fn exhausting_the_table_ends_at_the_best() {
        let table = Table::nas_bench_201();
        let simulation = Simulation::new(&table, table.task("cifar100").unwrap(), Reward::Objective).unwrap();
        let trace = simulation.run(&mut random(&table, 1), Limit::Queries(1 << 20), &off()).unwrap();
        assert_eq!((trace.len(), trace.regret(15_625)), (15_625, 0.0));
        assert!(trace.queries_to(0.0).unwrap() <= trace.len());
        let stopped = simulation.run(&mut random(&table, 1), Limit::Queries(9), &AtomicBool::new(true)).unwrap();
        assert!(stopped.is_empty() && stopped.elapsed().is_none());
    }

    #[test]
    fn the_evaluation_that_crosses_the_limit_counts() {
        let table = Table::nas_bench_201();
        let simulation = Simulation::new(&table, table.task("cifar10").unwrap(), Reward::Signal).unwrap();
        let trace = simulation.run(&mut random(&table, 1), Limit::Seconds(2_000.0), &off()).unwrap();
        let n = trace.len();
        assert!(trace.elapsed().unwrap() >= 2_000.0 && trace.seconds[n - 2] < 2_000.0);
        assert_eq!(trace.regret_at(2_000.0), trace.regret(n));
        assert_eq!(trace.regret_at(trace.seconds[4]), trace.regret(5));
        assert_eq!(trace.regret_at(trace.seconds[4] + 1e-6), trace.regret(6));
        assert_eq!(trace.regret_at(0.0), trace.regret(1));
    }

    #[test]
    fn a_signal_can_lead_away_from_the_best() {
        let trace = Trace { regrets: vec![3.0, 0.05, 0.5, 0.08, 0.02], seconds: Vec::new(), worst: 9.0 };
        assert_eq!(trace.queries_to(0.1), Some(4));
        assert_eq!(trace.queries_to(0.01), None);
        assert_eq!(trace.queries_to(5.0), Some(1));
    }

    #[test]
    fn another_data_set_can_judge() {
        let table = Table::nas_bench_201();
        let task = table.task("cifar10").unwrap();
        let own = Simulation::new(&table, task, Reward::Signal).unwrap();
        let other = own.clone().judged_by("cifar100_test_200").unwrap();
        let run =
            |simulation: &Simulation<'_>| simulation.run(&mut random(&table, 1), Limit::Queries(50), &off()).unwrap();
        assert_eq!(run(&own).seconds, run(&other).seconds);
        assert_eq!(other.best(), 73.5133);
        let error = own.judged_by("index").unwrap_err().to_string();
        assert!(error.contains("\"index\" is no aim"));
    }

    #[test]
    fn rows_that_lack_are_failed_trials() {
        // Of 125 architectures two have figures, of which one lacks its own.
        let space = crate::space::testing::cube();
        let about = benchmark::About {
            name: "sparse".to_owned(),
            title: String::new(),
            source: String::new(),
            licence: String::new(),
            tasks: vec![Task { name: "t".to_owned(), objective: "x".to_owned(), signal: None, clock: Vec::new() }],
        };
        let info = benchmark::MetricInfo::new("x", Some(crate::Direction::Minimize), "", benchmark::Provenance::Mean);
        let table =
            Table::new(about, space, &[7, 99, 120], Vec::new(), vec![(info, vec![2.0, f64::NAN, 5.0])]).unwrap();
        let task = table.task("t").unwrap();
        let simulation = Simulation::new(&table, task, Reward::Objective).unwrap();
        let mut evolution = Evolution::new(table.space().clone(), Seed::new(1));
        let trace = simulation.run(&mut evolution, Limit::Queries(125), &off()).unwrap();
        assert_eq!((trace.len(), trace.regret(0), trace.regret(125)), (125, 3.0, 0.0));
        assert!(simulation.run(&mut evolution, Limit::Seconds(1.0), &off()).is_ok_and(|trace| trace.is_empty()));
        let timed = simulation.run(&mut random(&table, 1), Limit::Seconds(1.0), &off());
        assert!(matches!(timed, Err(Error::Budget(_))));
        assert!(Simulation::new(&table, task, Reward::Signal).is_err());
    }

    #[test]
    fn a_search_that_is_counted_needs_no_time() {
        let space = crate::space::testing::cube();
        let clock = vec![benchmark::Charge { metric: "s".to_owned(), factor: 1.0 }];
        let about = benchmark::About {
            name: "untimed".to_owned(),
            title: String::new(),
            source: String::new(),
            licence: String::new(),
            tasks: vec![Task { name: "t".to_owned(), objective: "x".to_owned(), signal: None, clock }],
        };
        let info = |name: &str, direction| benchmark::MetricInfo::new(name, direction, "", benchmark::Provenance::Mean);
        let figures: Vec<f64> = (0..125).map(f64::from).collect();
        let mut seconds = vec![1.0; 125];
        seconds[60] = f64::NAN;
        let metrics = vec![(info("x", Some(crate::Direction::Maximize)), figures), (info("s", None), seconds)];
        let ranks: Vec<u64> = (0..125).collect();
        let table = Table::new(about, space, &ranks, Vec::new(), metrics).unwrap();
        let simulation = Simulation::new(&table, table.task("t").unwrap(), Reward::Objective).unwrap();
        let run = |limit| simulation.run(&mut random(&table, 1), limit, &off());
        let all = run(Limit::Queries(125)).unwrap();
        assert_eq!((all.len(), all.regret(125), all.elapsed()), (125, 0.0, None));
        let before = run(Limit::Queries(1)).unwrap();
        assert_eq!(before.elapsed(), Some(1.0));
        assert!(matches!(run(Limit::Seconds(1_000.0)), Err(Error::Budget(_))));
    }

    /// NATS-Bench (TPAMI 2021), table 4: the accuracy of random search after 20,000 s on CIFAR-10, 40,000 s on CIFAR-100 and
    /// 120,000 s on ImageNet16-120 is 93.86, 71.55 and 45.28, each a mean of 500 runs.
    #[test]
    fn published_random_search() {
        check_published(|table, seed| Box::new(random(table, seed)), [93.86, 71.55, 45.28]);
    }

    /// The same table's regularized evolution: 94.02, 72.23 and 45.77.
    #[test]
    fn published_evolution() {
        let evolution = |table: &Table, seed| -> Box<dyn Strategy> {
            Box::new(Evolution::published_10_3(table.space().clone(), Seed::new(seed)))
        };
        check_published(evolution, [94.02, 72.23, 45.77]);
    }

    #[track_caller]
    fn check_published(strategy: impl Fn(&Table, u64) -> Box<dyn Strategy>, published: [f64; 3]) {
        const RUNS: u64 = 500;
        let table = Table::nas_bench_201();
        let tasks = [("cifar10", 20_000.0), ("cifar100", 40_000.0), ("imagenet16-120", 120_000.0)];
        for ((name, seconds), published) in tasks.into_iter().zip(published) {
            let simulation = Simulation::new(&table, table.task(name).unwrap(), Reward::Signal).unwrap();
            let figures = (0..RUNS).map(|seed| {
                let mut strategy = strategy(&table, 70_000 + seed);
                let trace = simulation.run(&mut *strategy, Limit::Seconds(seconds), &off()).unwrap();
                simulation.figure(trace.regret_at(seconds))
            });
            let mean = figures.sum::<f64>() / RUNS as f64;
            assert!((mean - published).abs() < 0.1, "{name}: {mean:.3}, published {published}");
        }
    }
}
