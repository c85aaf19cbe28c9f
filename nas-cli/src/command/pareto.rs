//! `nas pareto`: the trials that no other beats in every goal, and the hypervolume they dominate.

use nas_core::objective::{hypervolume, pareto_front};
use nas_core::{Direction, Objective, Trial, TrialState};
use nas_nn::evaluator::LATENCY;
use nas_nn::family::{self, Family};

use crate::calibration;
use crate::cli;
use crate::config::{Config, Work};
use crate::error::{Error, Kind, Result};
use crate::output::{self, Output};
use crate::progress;
use crate::study_folder::StudyFolder;

/// Figures that are best left small, whatever the study is for.
const COSTS: [&str; 2] = ["parameters", LATENCY];

/// A metric and which way it is better.
#[derive(Debug, serde::Serialize)]
struct Goal {
    metric: String,
    direction: Direction,
}

/// Prints the Pareto front of a study, running or not.
pub(crate) fn run(args: &cli::Pareto, output: Output) -> Result<()> {
    let (record, work, mut trials) = StudyFolder::new(&args.study).read()?;
    if let Work::Networks(config) = &work {
        add_latency(&mut trials, &*family::of(&record.space)?, config)?;
    }
    let complete: Vec<&Trial> = trials.iter().filter(|trial| trial.metrics().is_some()).collect();
    if complete.is_empty() {
        let message = format!("no trial of {} is complete yet", args.study.display());
        return Err(Error::new(Kind::Study, message).next(format!("nas status {}", output::typed(&args.study))));
    }
    let goals = goals(&args.goals, &record.objective, &complete)?;
    let directions: Vec<Direction> = goals.iter().map(|goal| goal.direction).collect();
    let values = |trial: &Trial| -> Option<Vec<f64>> {
        goals.iter().map(|goal| trial.metric(&goal.metric).filter(|x| x.is_finite())).collect()
    };
    let (known, points): (Vec<&Trial>, Vec<Vec<f64>>) =
        complete.iter().filter_map(|trial| Some((*trial, values(trial)?))).unzip();
    if points.is_empty() {
        let names: Vec<&str> = goals.iter().map(|goal| goal.metric.as_str()).collect();
        return Err(Error::usage(format!("no trial has all of {}", names.join(", "))));
    }
    let extreme = |k: usize, worst: bool| {
        let signed = points.iter().map(|point| directions[k].signed(point[k]));
        directions[k].signed(signed.fold(f64::NAN, if worst { f64::min } else { f64::max }))
    };
    let reference = match args.reference.as_slice() {
        [] => (0..goals.len()).map(|k| extreme(k, true)).collect(),
        given if given.len() == goals.len() && given.iter().all(|x| x.is_finite()) => given.to_vec(),
        given => {
            let message =
                format!("--reference has {} values; it needs a number for each of {} goals", given.len(), goals.len());
            return Err(Error::usage(message));
        }
    };
    let mut front = pareto_front(&points, &directions);
    front.sort_by(|&a, &b| directions[0].signed(points[b][0]).total_cmp(&directions[0].signed(points[a][0])));
    let volume = hypervolume(&points, &directions, &reference);
    let sides = (0..goals.len()).map(|k| directions[k].signed(extreme(k, false)) - directions[k].signed(reference[k]));
    let whole: f64 = sides.map(|side| side.max(0.0)).product();
    let share = (whole > 0.0).then_some(volume / whole);

    if args.csv {
        return csv(&goals, &front, &known, &points);
    }
    let trials: Vec<&Trial> = front.iter().map(|&i| known[i]).collect();
    output.json(&serde_json::json!({
        "goals": goals, "front": trials, "reference": reference, "hypervolume": volume, "share": share,
    }));
    let rows = front.iter().map(|&i| {
        let figures = points[i].iter().map(|&x| figure(x));
        let last = [known[i].origin.to_string(), progress::describe(known[i])];
        std::iter::once(known[i].number.to_string()).chain(figures).chain(last).collect()
    });
    let names = goals.iter().map(|goal| goal.metric.as_str());
    let header: Vec<&str> = std::iter::once("trial").chain(names).chain(["chosen by", "architecture"]).collect();
    let right: Vec<usize> = (0..=goals.len()).collect();
    output.answer(output::table(&header, &right, rows.collect()));
    let better = |goal: &Goal| if goal.direction == Direction::Maximize { "more" } else { "less" };
    let better: Vec<String> = goals.iter().map(|goal| format!("{} {}", better(goal), goal.metric)).collect();
    let at: Vec<String> = reference.iter().map(|&x| figure(x)).collect();
    let share = share.map_or_else(String::new, |share| {
        format!(", {:.1} % of the box between there and the best of each", 100.0 * share)
    });
    output.answer(format!(
        "\n{} of {} trials; better is {}.\nHypervolume {volume:.4} from the reference ({}){share}.",
        front.len(),
        points.len(),
        better.join(", "),
        at.join(", ")
    ));
    Ok(())
}

/// Predicts latencies by today's calibration, if there is one, for a study that began without.
fn add_latency(trials: &mut [Trial], family: &dyn Family, config: &Config) -> Result<()> {
    if config.calibration.is_some() {
        return Ok(());
    }
    let Some(calibration) = calibration::usable()? else { return Ok(()) };
    for trial in trials {
        if let TrialState::Complete { metrics, .. } = &mut trial.state {
            let latency = calibration.predict(family, &trial.architecture, &config.task)?;
            metrics.set(LATENCY, latency.milliseconds());
        }
    }
    Ok(())
}

/// The goals asked for, or the usual ones.
fn goals(asked: &[(String, Option<Direction>)], objective: &Objective, complete: &[&Trial]) -> Result<Vec<Goal>> {
    let has = |name: &str| complete.iter().any(|trial| trial.metric(name).is_some());
    let usual = |name: &str| match name {
        name if name == objective.metric => objective.direction,
        "accuracy" => Direction::Maximize,
        _ => Direction::Minimize,
    };
    let mut known: Vec<&str> =
        complete.iter().filter_map(|t| t.metrics()).flat_map(|m| m.iter().map(|(n, _)| n)).collect();
    known.sort_unstable();
    known.dedup();
    let mut goals: Vec<Goal> = Vec::new();
    for (name, direction) in asked {
        if goals.iter().any(|goal| goal.metric == *name) {
            return Err(Error::usage(format!("the goal \"{name}\" is named twice")));
        }
        if !has(name) {
            let message = format!("no trial has the metric \"{name}\"; metrics: {}", known.join(", "));
            let error = Error::usage(message);
            return Err(if name == LATENCY {
                error.next("latencies are predicted after `nas calibrate`")
            } else {
                error
            });
        }
        goals.push(Goal { metric: name.clone(), direction: direction.unwrap_or_else(|| usual(name)) });
    }
    if asked.is_empty() {
        let names = std::iter::once(objective.metric.as_str()).chain(COSTS.into_iter().filter(|name| has(name)));
        goals.extend(names.map(|name| Goal { metric: name.to_owned(), direction: usual(name) }));
    }
    if goals.len() < 2 {
        let message = format!("a front needs two goals, and there is one: {}", goals[0].metric);
        return Err(Error::usage(message).next(format!("name them with --goals; metrics: {}", known.join(", "))));
    }
    Ok(goals)
}

/// A figure for people: counts in short, the rest with four digits behind the point.
fn figure(x: f64) -> String {
    if x.fract() == 0.0 { output::short(x) } else { format!("{x:.4}") }
}

fn csv(goals: &[Goal], front: &[usize], trials: &[&Trial], points: &[Vec<f64>]) -> Result<()> {
    let mut csv = csv::Writer::from_writer(std::io::stdout());
    let names = goals.iter().map(|goal| goal.metric.clone());
    let header = std::iter::once("trial".to_owned()).chain(names).chain(["architecture".to_owned()]);
    let mut result = csv.write_record(header.collect::<Vec<_>>());
    for &i in front {
        let figures = points[i].iter().map(f64::to_string);
        let record = std::iter::once(trials[i].number.to_string()).chain(figures);
        let record: Vec<String> = record.chain([trials[i].architecture.to_string()]).collect();
        result = result.and_then(|()| csv.write_record(&record));
    }
    match result.map_err(std::io::Error::from).and_then(|()| csv.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::new(Kind::Io, format!("writing CSV: {e}"))),
        _ => Ok(()),
    }
}
