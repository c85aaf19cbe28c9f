//! What agents are compared on: a task of a table, or planted landscapes.

use std::sync::atomic::AtomicBool;

use nas_core::benchmark::{Limit, Planted, Reward, Simulation, Table, Task, Trace};
use nas_core::{SearchSpace, Seed, Strategy};

use crate::cli;
use crate::error::{Error, Result};

/// How long a search on a table goes on, and one on a landscape, if nothing is said.
const BUDGET: Limit = Limit::Queries(200);
const BUDGET_PLANTED: Limit = Limit::Queries(1_000);
/// How near to the best is there, in points and as a share.
const TARGET: f64 = 0.1;
const TARGET_PLANTED: f64 = 0.01;

/// A problem with its budget.
pub(super) struct Contest<'a> {
    pub(super) name: String,
    pub(super) problem: Problem<'a>,
    pub(super) limit: Limit,
    /// When the regret is told.
    pub(super) marks: Vec<f64>,
    /// The regret's unit; of a landscape none.
    pub(super) unit: String,
    /// The regret that counts as there.
    pub(super) target: f64,
}

/// What is searched.
pub(super) enum Problem<'a> {
    /// A task of a table, the same for every seed.
    Table(&'a Task, Simulation<'a>),
    /// A landscape of its own for every seed, with that many proposals on their way.
    Planted(&'a Planted, usize),
}

impl Problem<'_> {
    pub(super) fn space(&self) -> &SearchSpace {
        match self {
            Problem::Table(_, simulation) => simulation.table().space(),
            Problem::Planted(planted, _) => planted.space(),
        }
    }

    /// The objective of that regret; of landscapes the share of the way from the worst to the best.
    pub(super) fn figure(&self, regret: f64) -> f64 {
        match self {
            Problem::Table(_, simulation) => simulation.figure(regret),
            Problem::Planted(..) => 1.0 - regret,
        }
    }

    /// One search.
    pub(super) fn run(
        &self,
        strategy: &mut dyn Strategy,
        limit: Limit,
        seed: Seed,
        stop: &AtomicBool,
    ) -> Result<Trace> {
        Ok(match (self, limit) {
            (Problem::Table(_, simulation), _) => simulation.run(strategy, limit, stop)?,
            (Problem::Planted(planted, workers), Limit::Queries(evaluations)) => {
                planted.landscape(seed).run(strategy, evaluations, *workers, stop)?
            }
            (Problem::Planted(..), Limit::Seconds(_)) => return Err(no_clock()),
        })
    }
}

/// The tasks of the table that were asked for, each with its budget.
pub(super) fn of_table<'a>(args: &cli::Compare, table: &'a Table) -> Result<Vec<Contest<'a>>> {
    let tasks: Vec<&Task> = if args.datasets.is_empty() {
        table.about().tasks.iter().collect()
    } else {
        args.datasets.iter().map(|name| table.task(name)).collect::<std::result::Result<_, _>>()?
    };
    let limits = limits(args, tasks.len(), BUDGET)?;
    let contest = |(task, limit): (&'a Task, Limit)| {
        let timed = matches!(limit, Limit::Seconds(_));
        let reward = if args.signal || timed { Reward::Signal } else { Reward::Objective };
        if timed && task.clock.is_empty() {
            let name = &table.about().name;
            let why = format!("the table \"{name}\" has no clock; give a budget of evaluations such as 200q");
            return Err(Error::usage(why));
        }
        let simulation = Simulation::new(table, task, reward)?;
        let unit = table.metric(&task.objective)?.info().unit.clone();
        let marks = marks(args, limit)?;
        let target = args.target.unwrap_or(TARGET);
        Ok(Contest { name: task.name.clone(), problem: Problem::Table(task, simulation), limit, marks, unit, target })
    };
    tasks.into_iter().zip(limits).map(contest).collect()
}

/// The landscapes that were asked for, each with every number of workers.
pub(super) fn of_landscapes(args: &cli::Compare) -> Result<Vec<Contest<'_>>> {
    if args.workers.contains(&0) {
        return Err(Error::usage("--workers must be at least 1"));
    }
    let workers = if args.workers.is_empty() { &[1][..] } else { &args.workers };
    let limits = limits(args, args.planted.len(), BUDGET_PLANTED)?;
    let mut contests = Vec::with_capacity(limits.len() * workers.len());
    for (planted, limit) in args.planted.iter().zip(limits) {
        if matches!(limit, Limit::Seconds(_)) {
            return Err(no_clock());
        }
        for &workers in workers {
            contests.push(Contest {
                name: if workers == 1 { planted.to_string() } else { format!("{planted} with {workers} workers") },
                problem: Problem::Planted(planted, workers),
                limit,
                marks: marks(args, limit)?,
                unit: String::new(),
                target: args.target.unwrap_or(TARGET_PLANTED),
            });
        }
    }
    Ok(contests)
}

fn no_clock() -> Error {
    Error::usage("planted landscapes have no clock; give a budget of evaluations such as 1000q")
}

/// A budget for each of so many problems.
fn limits(args: &cli::Compare, problems: usize, usual: Limit) -> Result<Vec<Limit>> {
    match args.budget.as_slice() {
        [] => Ok(vec![usual; problems]),
        [limit] => Ok(vec![*limit; problems]),
        limits if limits.len() == problems => Ok(limits.to_vec()),
        limits => {
            let why = format!("{} budgets for {problems} tasks; give one, or one for each", limits.len());
            Err(Error::usage(why))
        }
    }
}

/// When the regret is told: at the times asked for, or four times evenly.
fn marks(args: &cli::Compare, limit: Limit) -> Result<Vec<f64>> {
    let (end, timed) = match limit {
        Limit::Queries(queries) => (queries as f64, false),
        Limit::Seconds(seconds) => (seconds, true),
    };
    let marks = if args.at.is_empty() {
        let quarter = |part: f64| if timed { end * part } else { (end * part).ceil() };
        [0.25, 0.5, 0.75, 1.0].map(quarter).to_vec()
    } else {
        args.at.clone()
    };
    match marks.iter().find(|&&at| !(at > 0.0 && at <= end)) {
        Some(at) => Err(Error::usage(format!("--at {at} is not within the budget of {end}"))),
        None => Ok(marks),
    }
}
