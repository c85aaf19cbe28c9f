//! `nas bench --workers`: what a search gains from many workers, and what their lag costs it.

use nas_core::Seed;
use nas_core::benchmark::{Limit, Race, Schedule, Simulation};
use nas_rl::statistics::{mean, quantile};

use super::compare;
use super::contest::{self, Contest, Problem};
use crate::cli;
use crate::error::{Error, Result};
use crate::output::{self, Output};

const AGENTS: [&str; 3] = ["random", "evolution", "reinforce"];
const SEEDS: u64 = 20;
/// Evaluations after which a search that is not there is given up, or this many a worker.
const EVALUATIONS: usize = 2_000;
const EVALUATIONS_OF_A_WORKER: usize = 5;

/// Races every agent with every number of workers, in lockstep and without, and prints how long they took.
pub(super) fn run(args: &cli::Compare, output: Output) -> Result<()> {
    let table = compare::table(args)?;
    let contests = contest::of_table(args, &table)?;
    let agents = compare::agents(args, &contests, &AGENTS)?;
    let seeds = args.seeds.unwrap_or(SEEDS);
    if seeds == 0 || args.workers.contains(&0) {
        return Err(Error::usage("--seeds and --workers must be at least 1"));
    }
    if !args.at.is_empty() || args.svg.is_some() || args.reference.is_some() {
        let message = "--workers tells when a target is reached: --at, --svg and --reference go with --planted only";
        return Err(Error::usage(message));
    }
    if args.budget.iter().any(|limit| matches!(limit, Limit::Seconds(_))) {
        return Err(Error::usage("--workers gives a search up after so many evaluations; give a budget such as 2000q"));
    }
    let simulations: Vec<(&Contest<'_>, &Simulation<'_>)> = contests
        .iter()
        .filter_map(|contest| match &contest.problem {
            Problem::Table(_, simulation) => Some((contest, simulation)),
            Problem::Planted(..) => None,
        })
        .collect();
    if simulations.iter().any(|(_, simulation)| !simulation.has_clock()) {
        return Err(Error::usage(format!("the table \"{}\" does not say what evaluations take", table.about().name)));
    }
    let kinds: Vec<((&Contest<'_>, &Simulation<'_>), &str, usize, Schedule)> = simulations
        .into_iter()
        .flat_map(|contest| agents.iter().map(move |agent| (contest, agent.as_str())))
        .flat_map(|(contest, agent)| args.workers.iter().map(move |&workers| (contest, agent, workers)))
        .flat_map(|(contest, agent, workers)| {
            [Schedule::Asynchronous, Schedule::Synchronous].map(|schedule| (contest, agent, workers, schedule))
        })
        .collect();
    let races = compare::in_parallel(args.jobs, kinds.len() * seeds as usize, output, |job| {
        let ((contest, simulation), agent, workers, schedule) = kinds[job / seeds as usize];
        let seed = Seed::new(args.seed.wrapping_add(job as u64 % seeds));
        let mut strategy = nas_rl::strategy(agent, table.space(), seed).map_err(|e| Error::usage(e.to_string()))?;
        let most = match (args.budget.is_empty(), contest.limit) {
            (false, Limit::Queries(queries)) => queries,
            _ => EVALUATIONS.max(EVALUATIONS_OF_A_WORKER * workers),
        };
        Ok(simulation.race(&mut *strategy, workers, schedule, contest.target, most)?)
    })?;

    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut lines = Vec::new();
    for (((contest, _), agent, workers, schedule), races) in kinds.iter().zip(races.chunks(seeds as usize)) {
        let schedule = match schedule {
            Schedule::Asynchronous => "at once",
            Schedule::Synchronous => "lockstep",
        };
        let of = |figure: fn(&Race) -> f64| races.iter().map(figure).collect::<Vec<f64>>();
        let seconds = of(|race| race.seconds.unwrap_or(f64::INFINITY));
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|q| known(&seconds, q));
        let reached = seconds.iter().filter(|s| s.is_finite()).count() as f64 / seeds as f64;
        let evaluations = mean(&of(|race| race.evaluations as f64));
        let (lag, busy) = (mean(&of(|race| race.lag)), mean(&of(|race| race.busy)));
        let line = serde_json::json!({
            "task": contest.name, "agent": agent, "workers": workers, "schedule": schedule, "seeds": seeds,
            "reached": reached, "seconds": middle, "seconds_low": low, "seconds_high": high,
            "evaluations": evaluations, "lag": lag, "busy": busy,
        });
        lines.push(line);
        let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), output::seconds);
        rows.push(vec![
            contest.name.clone(),
            (*agent).to_owned(),
            workers.to_string(),
            schedule.to_owned(),
            time(middle),
            format!("{} .. {}", time(low), time(high)),
            format!("{:.0} %", 100.0 * reached),
            format!("{evaluations:.0}"),
            format!("{lag:.1}"),
            format!("{:.0} %", 100.0 * busy),
        ]);
    }
    if args.csv {
        return csv(&lines);
    }
    lines.iter().for_each(|line| output.json(line));
    let (unit, target) = contests.first().map(|contest| (contest.unit.as_str(), contest.target)).unwrap_or_default();
    output.answer(format!(
        "{}: time by its clock to within {target} {unit} of the best, median and middle half of {seeds} searches",
        table.about().name,
    ));
    let header =
        ["task", "agent", "workers", "schedule", "time", "middle half", "reached", "evaluations", "lag", "busy"];
    output.answer(output::table(&header, &[2, 4, 5, 6, 7, 8, 9], rows));
    output.line(
        "lag: results learned between proposing an architecture and hearing of it; busy: share of the workers' time",
    );
    Ok(())
}

/// The quantile; none when it is of a search that did not get there.
fn known(seconds: &[f64], q: f64) -> Option<f64> {
    Some(quantile(seconds, q)).filter(|x| x.is_finite())
}

fn csv(lines: &[serde_json::Value]) -> Result<()> {
    let mut csv = csv::Writer::from_writer(std::io::stdout());
    let mut result = Ok(());
    for (i, line) in lines.iter().enumerate() {
        let fields = line.as_object().expect("a line is an object");
        if i == 0 {
            result = result.and_then(|()| csv.write_record(fields.keys()));
        }
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        };
        result = result.and_then(|()| csv.write_record(fields.values().map(text)));
    }
    match result.map_err(std::io::Error::from).and_then(|()| csv.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(crate::error::Kind::Io, format!("writing CSV: {e}")))
        }
        _ => Ok(()),
    }
}
