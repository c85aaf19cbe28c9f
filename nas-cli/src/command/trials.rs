//! `nas trials`: every trial of a study, as a table, JSON lines or CSV.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use nas_core::{STOPPED_AT, Trial, TrialState};
use nas_nn::evaluator::LATENCY;

use crate::cli::{self, Sort};
use crate::error::{Error, Kind, Result};
use crate::output::{self, Output};
use crate::progress;
use crate::study_folder::StudyFolder;

/// Lists the trials.
pub(crate) fn run(args: &cli::Trials, output: Output) -> Result<()> {
    let (record, _, mut trials) = StudyFolder::new(&args.study).read()?;
    let metric = record.objective.metric.as_str();
    let by = |name: &'static str| {
        move |a: &Trial, b: &Trial| -> Ordering {
            let figure = |t: &Trial| t.metric(name).unwrap_or(f64::INFINITY);
            figure(a).total_cmp(&figure(b))
        }
    };
    match args.sort {
        Sort::Number => {}
        Sort::Reward => trials.sort_by(|a, b| {
            let reward = |t: &Trial| t.reward().unwrap_or(f64::NEG_INFINITY);
            reward(b).total_cmp(&reward(a))
        }),
        Sort::Parameters => trials.sort_by(by("parameters")),
        Sort::Madds => trials.sort_by(by("madds")),
        Sort::Latency => trials.sort_by(by(LATENCY)),
    }
    if args.csv {
        return csv(&trials);
    }
    if trials.is_empty() {
        output.answer("The study has no trial yet.");
    }
    for trial in &trials {
        output.json(trial);
    }
    let has_latency = trials.iter().any(|trial| trial.metric(LATENCY).is_some());
    let rows = trials.iter().map(|trial| {
        let figure = |name: &str| trial.metric(name).map_or_else(|| "-".to_owned(), output::short);
        let state = match &trial.state {
            TrialState::Running => "open".to_owned(),
            TrialState::Complete { metrics, reward } => {
                let stopped = metrics.get(STOPPED_AT).map_or_else(String::new, |epoch| format!(" after {epoch}"));
                format!("{:.4}{stopped}", metrics.get(metric).unwrap_or(*reward))
            }
            TrialState::Failed { failure } => failure.to_string(),
        };
        let latency = || trial.metric(LATENCY).map_or_else(|| "-".to_owned(), |ms| output::latency(1e-3 * ms));
        let mut cells = vec![trial.number.to_string(), state, figure("parameters"), figure("madds")];
        cells.extend(has_latency.then(latency));
        cells.extend([format!("{:.1}", trial.seconds), trial.origin.to_string(), progress::describe(trial)]);
        cells
    });
    let mut header = vec!["trial", metric, "parameters", "madds"];
    header.extend(has_latency.then_some("latency"));
    header.extend(["seconds", "chosen by", "architecture"]);
    if !trials.is_empty() {
        let right: Vec<usize> = (0..header.len() - 2).collect();
        output.answer(output::table(&header, &right, rows.collect()));
    }
    Ok(())
}

/// CSV with a column for every decision and metric that any trial has.
fn csv(trials: &[Trial]) -> Result<()> {
    let decisions: BTreeSet<&str> = trials.iter().flat_map(|t| t.architecture.iter().map(|(path, _)| path)).collect();
    let metrics: BTreeSet<&str> =
        trials.iter().filter_map(Trial::metrics).flat_map(|m| m.iter().map(|(n, _)| n)).collect();
    let mut csv = csv::Writer::from_writer(std::io::stdout());
    let fixed = ["trial", "state", "reward", "seconds", "origin", "seed", "failure"];
    let mut write = |record: Vec<String>| csv.write_record(&record);
    let mut result = write(fixed.iter().chain(&decisions).chain(&metrics).map(|&s| s.to_owned()).collect());
    for trial in trials {
        let (state, failure) = match &trial.state {
            TrialState::Running => ("open", String::new()),
            TrialState::Complete { .. } => ("complete", String::new()),
            TrialState::Failed { failure } => ("failed", failure.to_string()),
        };
        let number = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
        let mut record = vec![
            trial.number.to_string(),
            state.to_owned(),
            number(trial.reward()),
            trial.seconds.to_string(),
            trial.origin.to_string(),
            trial.seed.value().to_string(),
            failure,
        ];
        record
            .extend(decisions.iter().map(|d| trial.architecture.get(d).map_or_else(String::new, ToString::to_string)));
        record.extend(metrics.iter().map(|m| number(trial.metric(m))));
        result = result.and_then(|()| write(record));
    }
    let result = result.map_err(std::io::Error::from).and_then(|()| csv.flush());
    match result {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::new(Kind::Io, format!("writing CSV: {e}"))),
        _ => Ok(()),
    }
}
