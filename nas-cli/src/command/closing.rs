//! The end of a search: the winner and its controls, trained to the full and scored once on an untouched test part.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;

use nas_core::{Architecture, Direction, Failure, Metrics, Objective, Origin, Purpose, StudyRecord, Trial, TrialState};
use nas_nn::data::TrainTest;
use nas_nn::family::{self, Family, Task};
use nas_nn::latency;
use nas_nn::network::Network;
use nas_nn::program::Profile;
use nas_nn::train::{Listener, Recipe, TrainOptions};
use rayon::prelude::*;
use serde::Serialize;

use super::search::Workers;
use crate::config::{Config, Source};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crate::output::{self, Output};
use crate::statistics::{Difference, Summary, Unit};
use crate::study_folder::{self, StudyFolder};

/// How many random trials of the study are trained to the full as a control.
const RANDOM_CONTROLS: usize = 3;

/// One training to the full.
struct Job {
    row: usize,
    architecture: Architecture,
    /// The number of the seed: 0, 1, …
    seed: u64,
    /// Where the network is saved as soon as it is trained, unless it stands there already.
    save: Option<PathBuf>,
}

/// One row of the closing table.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// What the objective's metric is on the test part, one a training.
    test_scores: Vec<f64>,
    parameters: f64,
    madds: f64,
    /// The mean of its networks, measured and predicted in milliseconds; in studies with a calibration.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<[f64; 2]>,
}

/// Trains the winner, the hand-made default and some random trials to the full, saves the winner, prints the table.
pub(crate) fn close(
    trials: &[Trial],
    record: &StudyRecord,
    config: &Config,
    data: &TrainTest,
    workers: Workers,
    folder: &StudyFolder,
    output: Output,
) -> Result<()> {
    let Some(winner) = study_folder::best(trials) else {
        let failures: Vec<String> = trials.iter().filter_map(failure).take(3).collect();
        let message = format!("no trial succeeded, so there is no winner ({})", failures.join("; "));
        let advice = match least_memory(trials) {
            Some(needed) => {
                format!("the smallest of them needs --max-memory {needed}; this study allows {}", config.max_memory)
            }
            None => format!("see {}", output::typed(&folder.path().join("study.log"))),
        };
        return Err(Error::new(Kind::Other, message).next(advice));
    };
    let family = family::of(&record.space)?;
    let random: Vec<&Trial> = trials
        .iter()
        .filter(|t| t.origin == Origin::Random && t.reward().is_some() && t.number != winner.number)
        .take(RANDOM_CONTROLS)
        .collect();

    let mut names = vec![format!("winner (trial {})", winner.number), "hand-made default".to_owned()];
    let seeds = u64::from(config.final_seeds);
    let mut todo: Vec<Job> = Vec::new();
    for (row, architecture) in [winner.architecture.clone(), family.default_architecture()].into_iter().enumerate() {
        todo.extend((0..seeds).map(|seed| Job { row, architecture: architecture.clone(), seed, save: None }));
    }
    let model = folder.models().join(format!("winner-{}", winner.number));
    let weights = model.with_extension("safetensors");
    todo[0].save = Some(model);
    if !random.is_empty() {
        names.push(format!("random trials ({} networks)", random.len()));
        todo.extend(random.iter().map(|t| Job { row: 2, architecture: t.architecture.clone(), seed: 0, save: None }));
    }
    let example = config.task.example();
    output.line(format!(
        "Training to the full: {} epochs on all {} training {example}s, {} networks; scored once on {} test {example}s.",
        config.final_recipe.epochs,
        data.train.len(),
        todo.len(),
        data.test.len()
    ));
    let trained = train_all(
        &todo,
        &family,
        config,
        &config.final_recipe,
        record.seed,
        data,
        How { workers, profile: false, output },
    );
    let trained = trained.map_err(|e| match e.code() {
        130 => Error::new(Kind::Interrupted, "interrupted in the final training; every trial is saved")
            .next(format!("train the best one with `nas train {} best`", output::typed(folder.path()))),
        _ => e,
    })?;

    let mut rows: Vec<Row> = names
        .into_iter()
        .map(|name| Row { name, test_scores: Vec::new(), parameters: 0.0, madds: 0.0, latency_ms: None })
        .collect();
    let mut failures = Vec::new();
    for (job, trained) in todo.iter().zip(&trained) {
        let row = &mut rows[job.row];
        let trained = match trained {
            Ok(trained) => trained,
            Err(why) => {
                failures.push(format!("{}, seed {}: {why}", row.name, job.seed));
                continue;
            }
        };
        row.test_scores.push(trained.score);
        row.parameters += trained.parameters;
        row.madds += trained.madds;
    }
    for row in &mut rows {
        let n = row.test_scores.len().max(1) as f64;
        row.parameters /= n;
        row.madds /= n;
    }
    // Measured now that nothing else runs.
    for (i, row) in rows.iter_mut().enumerate() {
        row.latency_ms = latency(todo.iter().filter(|job| job.row == i), &*family, config)?;
    }
    let results = serde_json::json!({"event": "result", "rows": rows, "failures": failures, "winner": winner.number, "model": weights});
    output.json(&results);
    folder.keep_results(trials, &results)?;
    output.answer(format!("\n{}", table(&rows, &record.objective)));
    for failure in &failures {
        output.answer(format!("Not trained: {failure}"));
    }
    output.answer(verdict(&rows, &record.objective));
    output.answer(search_verdict(trials, &record.objective));
    if rows[0].test_scores.is_empty() {
        let message = "the winner could not be trained to the full; the study is saved";
        return Err(Error::new(Kind::Other, message)
            .next(format!("try another trial with `nas train {} N`", output::typed(folder.path()))));
    }
    output.answer(format!("\nThe model is {}", weights.display()));
    let study = output::typed(folder.path());
    let data = match &config.source {
        // A table or series named here would be scored with its training examples.
        _ if matches!(config.task, Task::Table { .. } | Task::Series { .. }) => String::new(),
        Source::Embedded
        | Source::EmbeddedText
        | Source::EmbeddedSeries
        | Source::EmbeddedTable
        | Source::GeneratedRatings => String::new(),
        Source::Path(path) | Source::Table { path, .. } => format!(" {}", output::typed(path)),
    };
    output.line(format!("\nNext:\n  nas show {study} best\n  nas trials {study} --sort reward\n  nas evaluate {}{data}\n  nas resume {study} --time 5m", output::typed(&weights)));
    Ok(())
}

/// The mean latency of the networks of these trainings in milliseconds, measured and predicted; nothing without a calibration.
fn latency<'a>(jobs: impl Iterator<Item = &'a Job>, family: &dyn Family, config: &Config) -> Result<Option<[f64; 2]>> {
    let Some(calibration) = &config.calibration else { return Ok(None) };
    let mut networks: Vec<&Architecture> = Vec::new();
    for job in jobs {
        if !networks.contains(&&job.architecture) {
            networks.push(&job.architecture);
        }
    }
    let mut sums = [0.0; 2];
    for architecture in &networks {
        sums[0] += latency::measure(family, architecture, &config.task, calibration.batch)?;
        sums[1] += calibration.predict(family, architecture, &config.task)?.seconds;
    }
    Ok(Some(sums.map(|sum| 1e3 * sum / networks.len().max(1) as f64)))
}

/// The least memory, in bytes, that would have let one more trial begin.
fn least_memory(trials: &[Trial]) -> Option<u64> {
    let needed = |trial: &Trial| match &trial.state {
        TrialState::Failed { failure: Failure::OutOfMemory { needed, .. } } => Some(*needed),
        _ => None,
    };
    trials.iter().filter_map(needed).min()
}

/// Why a trial failed.
pub(super) fn failure(trial: &Trial) -> Option<String> {
    match &trial.state {
        TrialState::Failed { failure } => Some(format!("trial {} {failure}", trial.number)),
        _ => None,
    }
}

/// A network trained to the full and scored.
pub(crate) struct Trained {
    pub(crate) network: Network,
    /// The objective's metric on the test part.
    pub(crate) score: f64,
    pub(crate) parameters: f64,
    pub(crate) madds: f64,
    /// Where its training spent the time, if that was measured.
    pub(crate) profile: Option<Profile>,
}

/// How trainings run; they do not depend on it.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) workers: Workers,
    /// Whether the first one is timed.
    pub(crate) profile: bool,
    pub(crate) output: Output,
}

/// Trains one architecture by `recipe` from each of `seeds` seeds, on all of the training part; scores on the test part.
#[expect(clippy::too_many_arguments, reason = "everything a training needs")]
pub(crate) fn train_seeds(
    architecture: &Architecture,
    seeds: u32,
    family: &Arc<dyn Family>,
    config: &Config,
    recipe: &Recipe,
    seed: nas_core::Seed,
    data: &TrainTest,
    how: How,
) -> Result<Vec<Trained>> {
    let job = |seed| Job { row: 0, architecture: architecture.clone(), seed, save: None };
    let todo: Vec<Job> = (0..u64::from(seeds)).map(job).collect();
    let trained = train_all(&todo, family, config, recipe, seed, data, how)?;
    trained.into_iter().collect::<std::result::Result<_, _>>().map_err(|why| Error::new(Kind::Other, why))
}

fn train_all(
    todo: &[Job],
    family: &Arc<dyn Family>,
    config: &Config,
    recipe: &Recipe,
    seed: nas_core::Seed,
    data: &TrainTest,
    how: How,
) -> Result<Vec<std::result::Result<Trained, String>>> {
    let bar = ProgressBar::with_draw_target(
        Some(todo.len() as u64 * u64::from(recipe.epochs)),
        if how.output.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
    );
    bar.set_style(ProgressStyle::with_template("{spinner} {pos} of {len} epochs, {eta} left").expect("a constant"));
    let started = Instant::now();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(how.workers.jobs).build();
    let pool = pool.map_err(|e| Error::new(Kind::Other, format!("threads cannot be started: {e}")))?;
    let threads = how.workers.threads_of(todo.len());
    let train = |job: &Job| -> Result<Trained> {
        let seed = seed.derive(Purpose::Retrain, job.seed);
        let options = TrainOptions { threads, profile: how.profile && job.seed == 0 };
        let mut listener = Epochs { bar: &bar, profile: None };
        let mut network =
            Network::train(Arc::clone(family), &job.architecture, &data.train, recipe, seed, options, &mut listener)?;
        let objective = config.task.objective();
        let metrics = network.evaluate(&data.test)?.metrics;
        let score = metrics.get(&objective.metric).expect("a task measures what it is searched for");
        let cost = network.cost()?;
        network.note(&format!("test_{}", objective.metric), score);
        network.note("parameters", cost.parameters as f64);
        network.note("madds", cost.madds as f64);
        if let Some(path) = job.save.as_ref().filter(|path| !nas_nn::network::weights_path(path).exists()) {
            network.save(path)?;
        }
        Ok(Trained {
            network,
            score,
            parameters: cost.parameters as f64,
            madds: cost.madds as f64,
            profile: listener.profile,
        })
    };
    // One training that fails takes no other with it; an interrupt or a full disk ends them all.
    let guarded = |job: &Job| match catch_unwind(AssertUnwindSafe(|| train(job))) {
        Ok(Ok(trained)) => Ok(Ok(trained)),
        Ok(Err(e)) if matches!(e.code(), 74 | 130) => Err(e),
        Ok(Err(e)) => Ok(Err(e.message().to_owned())),
        Err(_) => Ok(Err("it panicked".to_owned())),
    };
    let trained = pool.install(|| todo.par_iter().map(guarded).collect::<Result<Vec<_>>>());
    bar.finish_and_clear();
    tracing::info!(networks = todo.len(), seconds = started.elapsed().as_secs_f64(), "trained to the full");
    trained
}

struct Epochs<'a> {
    bar: &'a ProgressBar,
    profile: Option<Profile>,
}

impl Listener for Epochs<'_> {
    fn epoch(&mut self, _: u32, _: &Metrics) {
        self.bar.inc(1);
    }

    fn profile(&mut self, profile: Profile) {
        self.profile = Some(profile);
    }

    fn interrupted(&mut self) -> bool {
        interrupt::flag().load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn table(rows: &[Row], objective: &Objective) -> String {
    let cells = rows.iter().map(|row| {
        let score = Summary::of(&row.test_scores).map_or_else(String::new, |s| s.to_string());
        let runs = row.test_scores.len().to_string();
        let costs = [output::short(row.parameters), output::short(row.madds)];
        let latency = row.latency_ms.map(|both| both.map(|ms| output::latency(1e-3 * ms)));
        [row.name.clone(), score, runs].into_iter().chain(costs).chain(latency.into_iter().flatten()).collect()
    });
    let score = format!("test {}", objective.metric);
    let mut header = vec!["", &score, "runs", "parameters", "multiply-adds"];
    if rows.iter().any(|row| row.latency_ms.is_some()) {
        header.extend(["latency", "predicted"]);
    }
    let right: Vec<usize> = (1..header.len()).collect();
    output::table(&header, &right, cells.collect())
}

/// Whether the winner is better than the hand-made default, in a sentence.
fn verdict(rows: &[Row], objective: &Objective) -> String {
    let summaries: Vec<Summary> = rows.iter().filter_map(|r| Summary::of(&signed(&r.test_scores, objective))).collect();
    let [winner, default, ..] = summaries.as_slice() else { return String::new() };
    let unit = Unit::of(objective);
    let (amount, name) = (|x: f64| unit.amount(x), unit.name());
    let better = winner.mean - default.mean;
    match Difference::of(winner, default) {
        Some(d) if d.is_above() => {
            format!("\nThe winner beats the hand-made default by {} ± {}{name}.", amount(better), amount(d.half_width))
        }
        d => {
            let sign = if better < 0.0 { "worse" } else { "better" };
            let figure = amount(better.abs());
            match d {
                Some(d) => format!(
                    "\nThe winner is {figure} ± {}{name} {sign} than the hand-made default: no evidence of a difference.",
                    amount(d.half_width)
                ),
                None => format!("\nThe winner is {figure}{name} {sign} than the hand-made default, on one seed each."),
            }
        }
    }
}

/// Scores of which more is better.
fn signed(scores: &[f64], objective: &Objective) -> Vec<f64> {
    let sign = if objective.direction == Direction::Minimize { -1.0 } else { 1.0 };
    scores.iter().map(|score| sign * score).collect()
}

/// Whether the policy's trials are better than the random ones, by the validation scores of the search.
pub(crate) fn search_verdict(trials: &[Trial], objective: &Objective) -> String {
    // Where trials are stopped early, all are compared after the same number of epochs.
    let rung = trials.iter().filter_map(|t| Some(t.rungs().first()?.0)).min();
    let reward = |t: &Trial| match rung {
        Some(rung) => t.rungs().first().filter(|(epoch, _)| *epoch == rung).map(|&(_, reward)| reward),
        None => t.reward(),
    };
    let rewards = |of: &dyn Fn(&Origin) -> bool| -> Vec<f64> {
        trials.iter().filter(|t| of(&t.origin)).filter_map(reward).collect()
    };
    let random = rewards(&|o| *o == Origin::Random);
    let chosen = rewards(&|o| matches!(o, Origin::Policy { .. } | Origin::Mutation { .. } | Origin::Source { .. }));
    let (Some(at_random), Some(by_choice)) = (Summary::of(&random), Summary::of(&chosen)) else {
        return match (random.is_empty(), chosen.is_empty()) {
            (true, false) => {
                "In the search there is nothing to compare: this agent draws no trial at random as a control. Whether it is \
                 better than chance `nas compare` tells, or a study with `--agent random` and as many trials."
            }
            (false, true) => "In the search there is nothing to compare: every trial was drawn at random.",
            _ => "In the search there is nothing to compare: no trial is complete.",
        }
        .to_owned();
    };
    // Rewards have a sign of their own where less is better.
    let shown = |rewards: &[f64]| Summary::of(&signed(rewards, objective)).map_or_else(String::new, |s| s.to_string());
    let figures = format!(
        "chosen trials {} ({}), random trials {} ({})",
        shown(&chosen),
        by_choice.n,
        shown(&random),
        at_random.n
    );
    // What is weighed against costs has no unit.
    let (unit, reward) = match objective.tradeoff {
        Some(_) => (Unit::Plain, " by their reward"),
        None => (Unit::of(objective), ""),
    };
    match Difference::of(&by_choice, &at_random) {
        Some(d) if d.is_above() => format!(
            "In the search the agent's choices were {} ± {}{} better than random ones{reward} ({figures}).",
            unit.amount(d.mean),
            unit.amount(d.half_width),
            unit.name()
        ),
        _ => format!("In the search there is no evidence that the agent chose better than chance ({figures})."),
    }
}
