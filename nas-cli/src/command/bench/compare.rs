//! Agents side by side: the regret of many searches with paired seeds.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nas_core::Seed;
use nas_core::benchmark::{Limit, Table, Trace};
use rayon::prelude::*;

use super::contest::{self, Contest, Problem};
use super::curves;
use super::summary::Summary;
use crate::cli;
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crate::output::{self, Output};

/// Who is compared if nobody is named.
const AGENTS: [&str; 8] =
    ["random", "reinforce", "evolution", "local-search", "tpe", "pqt", "elite-mutation-gp", "pqt-surrogate"];
/// The one that the others are tested against if nobody is named.
const REFERENCE: &str = "evolution";
const SEEDS: u64 = 500;
const SEEDS_PLANTED: u64 = 100;

/// What all searches of one agent took.
struct Pace {
    evaluations: u64,
    busy: Duration,
}

/// Runs every agent on every task of a table and prints how they did.
pub(super) fn run(args: &cli::Compare, output: Output) -> Result<()> {
    let table = table(args)?;
    let contests = contest::of_table(args, &table)?;
    let shuffled = if args.shuffled { ", figures shuffled" } else { "" };
    let head = |seeds| format!("{}, {seeds} searches each{shuffled}", table.about().title);
    compare(args, &contests, args.seeds.unwrap_or(SEEDS), head, output)
}

/// The same on planted landscapes.
pub(super) fn planted(args: &cli::Compare, output: Output) -> Result<()> {
    let contests = contest::of_landscapes(args)?;
    let head = |seeds| format!("Planted landscapes, {seeds} of each kind; regret from 0, the best, to 1, the worst");
    compare(args, &contests, args.seeds.unwrap_or(SEEDS_PLANTED), head, output)
}

fn compare(
    args: &cli::Compare,
    contests: &[Contest<'_>],
    seeds: u64,
    head: impl Fn(u64) -> String,
    output: Output,
) -> Result<()> {
    let agents = agents(args, contests, &AGENTS)?;
    if seeds == 0 {
        return Err(Error::usage("--seeds must be at least 1"));
    }
    let reference = reference(args, &agents)?;
    if let Some(file) = args.svg.as_deref().filter(|file| file.exists()) {
        return Err(Error::new(Kind::Io, format!("{} exists already and is not overwritten", file.display())));
    }
    let started = Instant::now();
    let (traces, paces) = searches(args, contests, &agents, seeds, output)?;

    let pairs: Vec<(usize, usize)> = (0..contests.len()).flat_map(|c| (0..agents.len()).map(move |a| (c, a))).collect();
    let of = |c: usize, a: usize| &traces[c * agents.len() + a][..];
    let summaries: Vec<Summary> = pairs
        .par_iter()
        .map(|&(c, a)| {
            let against = reference.filter(|&reference| reference != a).map(|reference| of(c, reference));
            Summary::new(&contests[c], &agents[a], of(c, a), against)
        })
        .collect();

    if args.csv {
        csv(&summaries)?;
    } else {
        output.answer(head(seeds));
        for (contest, summaries) in contests.iter().zip(summaries.chunks(agents.len())) {
            summaries.iter().for_each(|summary| output.json(summary));
            text(args, &contest.name, contest, summaries, reference.map(|i| agents[i].as_str()), output);
        }
        if let Some(reference) = reference.map(|i| &agents[i]) {
            output.line(format!(
                "\n+ less regret than {reference}, - more, = no evidence: paired Wilcoxon test at each of the times, p < 0.01"
            ));
        }
        rates(&agents, &paces, started.elapsed(), output);
    }
    if let Some(file) = &args.svg {
        curves::write(file, contests, &agents, &of)?;
        if !args.csv {
            output.line(format!("curves in {}", file.display()));
        }
    }
    Ok(())
}

/// The table that was asked for.
pub(super) fn table(args: &cli::Compare) -> Result<Table> {
    let table = super::open(args.table.as_deref())?;
    Ok(if args.shuffled { table.shuffled(Seed::new(args.seed)) } else { table })
}

/// The agents that were asked for, or the usual ones.
pub(super) fn agents(args: &cli::Compare, contests: &[Contest<'_>], usual: &[&str]) -> Result<Vec<String>> {
    let agents: Vec<String> =
        if args.agents.is_empty() { usual.iter().map(|&name| name.to_owned()).collect() } else { args.agents.clone() };
    for (i, agent) in agents.iter().enumerate() {
        for contest in contests {
            let strategy = nas_rl::strategy(agent, contest.problem.space(), Seed::new(0));
            strategy.map_err(|e| Error::usage(e.to_string()))?;
        }
        if agents[..i].contains(agent) {
            return Err(Error::usage(format!("the agent \"{agent}\" is named twice")));
        }
    }
    Ok(agents)
}

/// Which of the agents the others are tested against: the one that was asked for, or the usual one if it takes part.
fn reference(args: &cli::Compare, agents: &[String]) -> Result<Option<usize>> {
    let place = |name: &str| agents.iter().position(|agent| agent == name);
    match &args.reference {
        None => Ok(place(REFERENCE)),
        Some(name) => place(name).map(Some).ok_or_else(|| {
            let agents = agents.join(", ");
            Error::usage(format!("--reference {name} is none of the agents compared: {agents}"))
        }),
    }
}

/// Runs `jobs` in parallel and returns their results in order.
pub(super) fn in_parallel<T: Send>(
    threads: Option<usize>,
    jobs: usize,
    output: Output,
    run: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if threads == Some(0) {
        return Err(Error::usage("--jobs must be at least 1"));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build()
        .map_err(|e| Error::new(Kind::Other, format!("starting threads: {e}")))?;
    let bar = ProgressBar::with_draw_target(Some(jobs as u64), ProgressDrawTarget::stderr());
    if !output.shows_progress() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:32} {pos} of {len} searches, {eta} left");
    bar.set_style(style.expect("the template is constant"));
    let stop = interrupt::flag();
    let results = pool.install(|| {
        (0..jobs)
            .into_par_iter()
            .map(|job| {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::new(
                        Kind::Interrupted,
                        "interrupted; nothing is printed of a comparison in part",
                    ));
                }
                let result = run(job);
                bar.inc(1);
                result
            })
            .collect::<Result<Vec<T>>>()
    });
    bar.finish_and_clear();
    if stop.load(Ordering::Relaxed) {
        return Err(Error::new(Kind::Interrupted, "interrupted; nothing is printed of a comparison in part"));
    }
    results
}

/// All searches, by task, then agent, then seed; and by agent what they took.
fn searches(
    args: &cli::Compare,
    contests: &[Contest<'_>],
    agents: &[String],
    seeds: u64,
    output: Output,
) -> Result<(Vec<Vec<Trace>>, Vec<Pace>)> {
    let per_task = agents.len() * seeds as usize;
    let stop = interrupt::flag();
    let results = in_parallel(args.jobs, contests.len() * per_task, output, |job| {
        let contest = &contests[job / per_task];
        let agent = &agents[job % per_task / seeds as usize];
        let seed = Seed::new(args.seed.wrapping_add(job as u64 % seeds));
        let started = Instant::now();
        let mut strategy =
            nas_rl::strategy(agent, contest.problem.space(), seed).map_err(|e| Error::usage(e.to_string()))?;
        let trace = contest.problem.run(&mut *strategy, contest.limit, seed, stop)?;
        Ok((trace, started.elapsed()))
    })?;
    let mut paces: Vec<Pace> = agents.iter().map(|_| Pace { evaluations: 0, busy: Duration::ZERO }).collect();
    let mut traces: Vec<Vec<Trace>> = Vec::with_capacity(contests.len() * agents.len());
    for (job, (trace, time)) in results.into_iter().enumerate() {
        if job % seeds as usize == 0 {
            traces.push(Vec::with_capacity(seeds as usize));
        }
        let pace = &mut paces[job % per_task / seeds as usize];
        pace.evaluations += trace.len() as u64;
        pace.busy += time;
        traces.last_mut().expect("one was pushed for the first seed").push(trace);
    }
    Ok((traces, paces))
}

/// A table of one task, under that name.
pub(super) fn text(
    args: &cli::Compare,
    name: &str,
    contest: &Contest<'_>,
    summaries: &[Summary],
    reference: Option<&str>,
    output: Output,
) {
    let Contest { problem, limit, unit, target, .. } = contest;
    let timed = matches!(limit, Limit::Seconds(_));
    let (objective, aim, digits) = match problem {
        Problem::Table(task, simulation) => {
            let reward = match &task.signal {
                Some(signal) if timed || args.signal => signal,
                _ => &task.objective,
            };
            (&task.objective[..], format!("; best {}, reward {reward}", simulation.best()), 3)
        }
        Problem::Planted(..) => ("", String::new(), 4),
    };
    output.answer(format!(
        "\n{name}: mean regret{} [95 % interval] after that many {}{aim}",
        if unit.is_empty() { String::new() } else { format!(" in {unit}") },
        if timed { "simulated seconds" } else { "evaluations" },
    ));
    let mut header = vec!["agent".to_owned()];
    header.extend(contest.marks.iter().map(|at| at.to_string()));
    header.push(format!("median at {}", contest.marks.last().expect("there is a mark")));
    if timed {
        header.extend([objective.to_owned(), "evaluations".to_owned()]);
    } else {
        header.push(format!("to {target}"));
        header.push("reached".to_owned());
    }
    if let Some(reference) = reference {
        header.push(format!("vs {reference}"));
    }
    let rows = summaries.iter().map(|summary| {
        let mut row = vec![summary.agent.clone()];
        row.extend(
            summary.marks.iter().map(|m| format!("{:.digits$} [{:.digits$} {:.digits$}]", m.mean, m.low, m.high)),
        );
        let last = summary.marks.last().expect("there is a mark");
        row.push(format!("{:.digits$}", last.median));
        if timed {
            row.extend([format!("{:.2}", last.figure), format!("{:.0}", summary.evaluations)]);
        } else {
            row.push(summary.median_to_target.map_or_else(|| "-".to_owned(), |n| format!("{n:.0}")));
            row.push(format!("{:.0} %", 100.0 * summary.reached));
        }
        if reference.is_some() {
            row.push(summary.verdict());
        }
        row
    });
    let right: Vec<usize> = (1..header.len() - usize::from(reference.is_some())).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    output.answer(output::table(&header, &right, rows.collect()));
}

/// How fast the agents were: the one part of the output that is not the same every time.
fn rates(agents: &[String], paces: &[Pace], elapsed: Duration, output: Output) {
    let rate = |pace: &Pace| pace.evaluations as f64 / pace.busy.as_secs_f64().max(1e-9);
    for (agent, pace) in agents.iter().zip(paces) {
        output.json(&serde_json::json!({"agent": agent, "evaluations_per_second": rate(pace).round()}));
    }
    let rows = agents.iter().zip(paces).map(|(agent, pace)| vec![agent.clone(), output::short(rate(pace))]);
    let table = output::table(&["agent", "evaluations a second on one core"], &[1], rows.collect());
    output.line(format!("\n{table}\n{} in all", output::seconds(elapsed.as_secs_f64())));
}

/// A line for every task, agent and time.
pub(super) fn csv(summaries: &[Summary]) -> Result<()> {
    let mut csv = csv::Writer::from_writer(std::io::stdout());
    let header = ["task", "agent", "seeds", "at", "mean", "median", "low", "high", "figure", "difference", "p"];
    let mut result = csv.write_record(header);
    for summary in summaries {
        for mark in &summary.marks {
            let number = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
            let numbers = [mark.at, mark.mean, mark.median, mark.low, mark.high, mark.figure].map(|x| x.to_string());
            let mut record = vec![summary.task.clone(), summary.agent.clone(), summary.seeds.to_string()];
            record.extend(numbers);
            record.extend([number(mark.difference), number(mark.p)]);
            result = result.and_then(|()| csv.write_record(&record));
        }
    }
    match result.map_err(std::io::Error::from).and_then(|()| csv.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::new(Kind::Io, format!("writing CSV: {e}"))),
        _ => Ok(()),
    }
}
