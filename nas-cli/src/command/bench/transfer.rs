//! `nas bench --warm-from`: what a search gains when it begins with a search on another task of the table.

use nas_core::benchmark::{Limit, Reward, Simulation, Task, Trace};
use nas_core::{Error as CoreError, Observed, Origin, Proposal, Purpose, Seed, Strategy, Tokens};

use super::compare;
use super::contest::{self, Contest};
use super::summary::Summary;
use crate::cli;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::output::Output;

/// Who is compared if nobody is named.
const AGENTS: [&str; 3] = ["pqt", "elite-mutation-gp", "pqt-surrogate"];
const SEEDS: u64 = 100;
const BUDGET: Limit = Limit::Queries(50);
const MARKS: [f64; 4] = [5.0, 10.0, 20.0, 50.0];

/// Runs every agent cold, warm-started, and trying again what was best on the source, and prints them side by side.
pub(super) fn run(args: &cli::Compare, output: Output) -> Result<()> {
    let table = compare::table(args)?;
    let mut args = args.clone();
    if args.budget.is_empty() {
        args.budget = vec![BUDGET];
        if args.at.is_empty() {
            args.at = MARKS.to_vec();
        }
    }
    let args = &args;
    if args.budget.iter().any(|limit| matches!(limit, Limit::Seconds(_))) {
        return Err(Error::usage("--warm-from counts evaluations; give a budget such as 50q"));
    }
    let contests = contest::of_table(args, &table)?;
    let sources: Vec<&Task> = if args.warm_from.iter().any(|name| name == "all") {
        table.about().tasks.iter().collect()
    } else {
        args.warm_from.iter().map(|name| table.task(name)).collect::<std::result::Result<_, _>>()?
    };
    let agents = compare::agents(args, &contests, &AGENTS)?;
    for agent in &agents {
        nas_rl::check_warm_start(agent).map_err(|e| Error::usage(e.to_string()))?;
    }
    let seeds = args.seeds.unwrap_or(SEEDS);
    if seeds == 0 || args.warm_trials == 0 {
        return Err(Error::usage("--seeds and --warm-trials must be at least 1"));
    }
    let pairs: Vec<(&Task, &Contest<'_>)> = sources
        .iter()
        .flat_map(|source| contests.iter().map(move |contest| (*source, contest)))
        .filter(|(source, contest)| source.name != contest.name)
        .collect();
    if pairs.is_empty() {
        return Err(Error::usage("--warm-from names no other task than those that are searched"));
    }
    let reward = if args.signal { Reward::Signal } else { Reward::Objective };
    let sources: Vec<(&Task, Simulation<'_>)> =
        sources.into_iter().map(|task| Ok((task, Simulation::new(&table, task, reward)?))).collect::<Result<_>>()?;

    let seed_of = |job: usize| Seed::new(args.seed.wrapping_add(job as u64 % seeds));
    let fresh =
        |agent: &str, seed| nas_rl::strategy(agent, table.space(), seed).map_err(|e| Error::usage(e.to_string()));
    let each = agents.len() * seeds as usize;
    let stop = interrupt::flag();
    let cold: Vec<Trace> = compare::in_parallel(args.jobs, contests.len() * each, output, |job| {
        let Contest { problem, limit, .. } = &contests[job / each];
        let mut strategy = fresh(&agents[job % each / seeds as usize], seed_of(job))?;
        problem.run(&mut *strategy, *limit, seed_of(job), stop)
    })?;
    // A job is a search on a source and, with what it found, two on every other task.
    let warm: Vec<Vec<[Trace; 2]>> = compare::in_parallel(args.jobs, sources.len() * each, output, |job| {
        let (source, simulation) = &sources[job / each];
        let (agent, seed) = (&agents[job % each / seeds as usize], seed_of(job));
        let mut recorder = Recorder { strategy: fresh(agent, seed.derive(Purpose::Policy, 1))?, trials: Vec::new() };
        simulation.run(&mut recorder, Limit::Queries(args.warm_trials), stop)?;
        let trials = recorder.trials;
        let others = pairs.iter().filter(|(other, _)| other.name == source.name);
        let search = |(_, contest): &(&Task, &Contest<'_>)| -> Result<[Trace; 2]> {
            let Contest { problem, limit, .. } = contest;
            let mut strategy = fresh(agent, seed)?;
            strategy.warm_start(&trials)?;
            let warm = problem.run(&mut *strategy, *limit, seed, stop)?;
            Ok([warm, problem.run(&mut Again::new(&trials), *limit, seed, stop)?])
        };
        others.map(search).collect()
    })?;

    let title = &table.about().title;
    let mut all = Vec::new();
    if !args.csv {
        output.answer(format!("{title}, {seeds} searches each, after {} trials on another task", args.warm_trials));
    }
    for (source, contest) in &pairs {
        let name = format!("{} to {}", source.name, contest.name);
        let place = contests.iter().position(|other| std::ptr::eq(other, *contest)).expect("it is one of them");
        let from = sources.iter().position(|(other, _)| other.name == source.name).expect("it is one of them");
        let target = pairs.iter().filter(|(other, _)| other.name == source.name);
        let among = target.clone().position(|(_, other)| std::ptr::eq(*other, *contest)).expect("it is one of them");
        let mut summaries = Vec::new();
        for (i, agent) in agents.iter().enumerate() {
            let own = |start: usize| start * each + i * seeds as usize..start * each + (i + 1) * seeds as usize;
            let cold = &cold[own(place)];
            let [warm, again] = [0, 1].map(|kind| -> Vec<Trace> {
                warm[own(from)].iter().map(|traces| traces[among][kind].clone()).collect()
            });
            let rows = [("", cold, None), (" warm", &warm[..], Some(cold)), (" again", &again[..], Some(cold))];
            summaries.extend(rows.map(|(kind, traces, against)| {
                let row = format!("{agent}{kind}");
                Summary { task: name.clone(), ..Summary::new(contest, &row, traces, against) }
            }));
        }
        if !args.csv {
            summaries.iter().for_each(|summary| output.json(summary));
            compare::text(args, &name, contest, &summaries, Some("cold"), output);
        }
        all.extend(summaries);
    }
    if args.csv {
        return compare::csv(&all);
    }
    output.line("\nagain: the best of the source, one after the other, without learning anything");
    output.line(
        "+ less regret than the same agent cold, - more, = no evidence: paired Wilcoxon test at each of the times, p < 0.01",
    );
    Ok(())
}

/// Keeps what a strategy observes.
struct Recorder {
    strategy: Box<dyn Strategy>,
    trials: Vec<Observed>,
}

impl Strategy for Recorder {
    fn name(&self) -> &'static str {
        self.strategy.name()
    }

    fn propose(&mut self) -> std::result::Result<Option<Proposal>, CoreError> {
        self.strategy.propose()
    }

    fn observe(&mut self, observed: &Observed) -> std::result::Result<(), CoreError> {
        self.trials.push(observed.clone());
        self.strategy.observe(observed)
    }
}

/// Tries the best of a source again, each once: what a warm start is worth without an agent.
struct Again {
    /// The best last.
    left: Vec<(Tokens, u64)>,
}

impl Again {
    fn new(trials: &[Observed]) -> Self {
        let complete = trials.iter().filter_map(|trial| Some((trial.reward?, trial)));
        let mut complete: Vec<(f64, &Observed)> = complete.collect();
        complete.sort_by(|a, b| a.0.total_cmp(&b.0));
        Again { left: complete.into_iter().map(|(_, trial)| (trial.tokens.clone(), trial.number)).collect() }
    }
}

impl Strategy for Again {
    fn name(&self) -> &'static str {
        "again"
    }

    fn propose(&mut self) -> std::result::Result<Option<Proposal>, CoreError> {
        let next = self.left.pop();
        Ok(next.map(|(tokens, trial)| Proposal { tokens, origin: Origin::Source { trial } }))
    }

    fn observe(&mut self, _: &Observed) -> std::result::Result<(), CoreError> {
        Ok(())
    }
}
