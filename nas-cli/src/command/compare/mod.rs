//! `nas compare`: equal searches by several agents on the user's own data, and what that says of them.

mod plan;
mod report;
mod searches;
mod verdict;

use std::path::Path;

use super::{external, search};
use crate::cli;
use crate::config::{self, DEFAULT_AGENT, Source, Work};
use crate::error::{Error, Kind, Result};
use crate::output::{self, Output};
use crate::study_folder::StudyFolder;
use crate::{limits, log};

use plan::Plan;
use report::Report;
use searches::Runner;

/// Six pairs are the fewest in which the exact test can find something.
const SEEDS: u64 = 6;
/// Ten trials by chance, with which every agent begins, and twice as many that it chose: a minute a search on two cores.
const TRIALS: u64 = 30;
/// The agent that shows what chance does.
const CHANCE: &str = "random";

/// Begins a comparison or continues one, to its end, and prints what came of it.
pub(crate) fn run(args: cli::Comparison, output: Output) -> Result<()> {
    match args.data.as_deref().filter(|path| Plan::is_at(path)) {
        Some(folder) => again(folder, &args, output),
        None => begin(args, output),
    }
}

/// Begins one.
fn begin(args: cli::Comparison, output: Output) -> Result<()> {
    if let Some(folder) = args.study.as_deref().filter(|path| Plan::is_at(path)) {
        let message = format!("{} is a comparison already", folder.display());
        return Err(Error::new(Kind::Study, message).next(format!("continue it with `{}`", Plan::command(folder))));
    }
    let mut settings = config::merge(args.settings, args.config.as_deref())?;
    let workers = search::Workers::new(args.jobs, args.threads)?;
    let trials = if args.time.is_none() { Some(args.trials.unwrap_or(TRIALS)) } else { args.trials };
    let limits = search::limits(trials, args.time)?;
    let final_seeds = settings.final_seeds.take().unwrap_or(0);
    let first_seed = settings.seed.unwrap_or(0);
    let agents = if args.agents.is_empty() {
        vec![settings.agent.clone().unwrap_or_else(|| DEFAULT_AGENT.to_owned()), CHANCE.to_owned()]
    } else if settings.agent.is_some() {
        return Err(Error::usage("--agents names all that are compared; leave --agent out"));
    } else {
        args.agents
    };
    let reference = args.reference.unwrap_or_else(|| {
        let usual = agents.iter().find(|agent| *agent == CHANCE).or(agents.first());
        usual.cloned().unwrap_or_default()
    });
    if settings.warm_start.is_some() {
        let message = "a comparison begins cold: not every agent can begin with another study";
        return Err(
            Error::usage(message).next("leave --warm-start out; `nas bench --warm-from` measures what it is worth")
        );
    }
    let (work, space, objective, early_stopping, data, name) = if args.program.evaluator.is_some() {
        let external::Measured { program, space, objective, early_stopping } =
            external::measured(&settings, &args.program, limits)?;
        let name = space.name().to_owned();
        (Work::Program(program), space, objective, early_stopping, None, name)
    } else {
        let source = Source::of(args.data.as_deref(), args.demo, &args.columns)?;
        let search::Networks { config, space, data, early_stopping } =
            search::networks(source, settings, limits, workers)?;
        let name = config.source.name();
        let objective = config.task.objective();
        (Work::Networks(Box::new(config)), space, objective, early_stopping, Some(data), name)
    };
    let seeds = args.seeds.unwrap_or(SEEDS);
    let jobs = workers.jobs;
    let plan = Plan { agents, reference, seeds, first_seed, final_seeds, jobs, space, objective, early_stopping, work };
    plan.check()?;
    check_marks(&plan, &args.at)?;

    let folder = StudyFolder::create(args.study.as_deref(), &format!("compare-{name}"))?;
    plan.keep(folder.path())?;
    let runner = Runner { plan: &plan, folder: folder.path(), data: data.as_ref(), workers, output, talks: !args.csv };
    finish(&runner, &args.at, args.csv)
}

/// Continues one, with more agents or seeds if that is asked for.
fn again(folder: &Path, args: &cli::Comparison, output: Output) -> Result<()> {
    if let Some(flag) = decided(args) {
        let message = format!("{} is a comparison, and {flag} was decided when it began", folder.display());
        return Err(
            Error::usage(message).next("give --agents, --seeds, --final-seeds, --reference, --at, --jobs or --threads")
        );
    }
    let mut plan = Plan::read(folder)?;
    let stored = plan.clone();
    let workers = search::Workers::new(args.jobs.or(Some(plan.jobs)), args.threads)?;
    if workers.jobs != plan.jobs && plan.limits().time.is_some() {
        let message = format!("--jobs is {}; its searches have a time and train {} at once", workers.jobs, plan.jobs);
        return Err(Error::usage(message).next("leave --jobs out"));
    }
    let more = args.agents.iter().filter(|agent| !stored.agents.contains(agent));
    plan.agents.extend(more.cloned());
    plan.reference = args.reference.clone().unwrap_or(plan.reference);
    if let Some(seeds) = args.seeds {
        if seeds < plan.seeds {
            return Err(Error::usage(format!("--seeds is {seeds} and the comparison has {} already", plan.seeds)));
        }
        plan.seeds = seeds;
    }
    plan.final_seeds = args.settings.final_seeds.unwrap_or(plan.final_seeds);
    plan.check()?;
    check_marks(&plan, &args.at)?;
    let data = match &plan.work {
        Work::Networks(config) => Some(config.source.open_again(&config.data_hash)?),
        Work::Program(_) => None,
    };
    if plan != stored {
        plan.keep(folder)?;
    }
    let runner = Runner { plan: &plan, folder, data: data.as_ref(), workers, output, talks: !args.csv };
    finish(&runner, &args.at, args.csv)
}

/// Runs what is missing and prints what all of it says.
fn finish(runner: &Runner<'_>, at: &[u64], csv: bool) -> Result<()> {
    let Runner { plan, folder, output, talks, .. } = *runner;
    log::to(folder)?;
    if talks {
        header(plan, folder, output);
    }
    let searches = runner.run()?;
    let report = Report::new(plan, &plan.reference, &searches, at)?;
    if csv {
        return report.csv();
    }
    report.show(output);
    let command = Plan::command(folder);
    let mut next = Vec::new();
    if let Some(lacking) = report.lacking() {
        next.push(format!("{command} --seeds {}", plan.seeds + lacking));
    }
    if plan.networks().is_some() && plan.final_seeds == 0 {
        next.push(format!("{command} --final-seeds 1"));
    }
    next.push(format!("nas studies {}", output::typed(folder)));
    output.line(format!("\nNext:\n  {}", next.join("\n  ")));
    Ok(())
}

/// Refuses numbers of trials that a search does not reach, as far as its length is known before it is run.
fn check_marks(plan: &Plan, at: &[u64]) -> Result<()> {
    let (end, length) = match plan.limits().trials {
        Some(trials) => (trials, format!("; a search has {trials} trials")),
        None => (u64::MAX, String::new()),
    };
    match at.iter().find(|&&at| at == 0 || at > end) {
        Some(at) => Err(Error::usage(format!("--at {at} is not within a search{length}"))),
        None => Ok(()),
    }
}

/// A flag that decides the searches, if one is given.
fn decided(args: &cli::Comparison) -> Option<&'static str> {
    let cli::Settings {
        space,
        agent,
        seed,
        epochs,
        early_stopping,
        final_epochs,
        final_seeds: _,
        validation,
        inherit,
        limits: cli::Limits { max_params, max_madds, max_memory },
        warm_start,
    } = &args.settings;
    let cli::Program { evaluator, metric, minimize, trial_time } = &args.program;
    let given = [
        (args.demo.is_some(), "--demo"),
        (args.trials.is_some(), "--trials"),
        (args.time.is_some(), "--time"),
        (args.study.is_some(), "--study"),
        (args.config.is_some(), "--config"),
        (space.is_some(), "--space"),
        (agent.is_some(), "--agent"),
        (seed.is_some(), "--seed"),
        (epochs.is_some(), "--epochs"),
        (early_stopping.is_some(), "--early-stopping"),
        (final_epochs.is_some(), "--final-epochs"),
        (validation.is_some(), "--validation"),
        (max_params.is_some(), "--max-params"),
        (max_madds.is_some(), "--max-madds"),
        (max_memory.is_some(), "--max-memory"),
        (*inherit, "--inherit"),
        (warm_start.is_some(), "--warm-start"),
        (evaluator.is_some(), "--evaluator"),
        (metric.is_some(), "--metric"),
        (*minimize, "--minimize"),
        (trial_time.is_some(), "--trial-time"),
    ];
    given.into_iter().find(|(is_given, _)| *is_given).map(|(_, flag)| flag)
}

fn header(plan: &Plan, folder: &Path, output: Output) {
    output.json(&serde_json::json!({"event": "plan", "folder": folder, "plan": plan}));
    match &plan.work {
        Work::Networks(config) => output.line(format!("data      {}", config.task)),
        Work::Program(program) => output.line(format!("program   {}", program.evaluator.join(" "))),
    }
    let limits = plan.limits();
    let budget: Vec<String> = (limits.trials.map(|n| format!("{n} trials")).into_iter())
        .chain(limits.time.map(|t| output::seconds(t.as_secs_f64())))
        .collect();
    let epochs =
        plan.networks().map_or_else(String::new, |config| format!(", {} epochs a trial", config.search.epochs));
    let after = limits::after(&plan.space);
    output.line(format!("space     {}: {} architectures{after}", plan.space.name(), plan.space.cardinality()));
    output.line(format!("agents    {}", plan.agents.join(", ")));
    let (first, last) = (plan.seed(0).value(), plan.seed(plan.seeds - 1).value());
    let count = plan.seeds * plan.agents.len() as u64;
    output.line(format!("searches  {count}: seeds {first} to {last}, {} each{epochs}", budget.join(" or ")));
    output.line(format!("folder    {}\n", folder.display()));
}
