//! `nas search`: the whole loop, from data to a trained network.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nas_core::{
    Budget, EarlyStopping, Evaluator, Objective, Purpose, SearchSpace, Seed, SqliteStorage, StopReason, Storage, Study,
    StudyRecord, Trial, WarmStart,
};
use nas_nn::costs::NetworkCosts;
use nas_nn::data::{Dataset, TrainTest};
use nas_nn::evaluator::{ChildTrainer, Inheritance};
use nas_nn::family;

use crate::cli;
use crate::config::{self, Config, DEFAULT_AGENT, Source};
use crate::error::{Error, Kind, Result};
use crate::output::{self, Output};
use crate::progress::{Limits, Progress};
use crate::study_folder::{StudyFolder, finished};
use crate::{calibration, interrupt, limits, log};

/// The time a search takes unless asked otherwise.
const DEFAULT_TIME: Duration = Duration::from_secs(60);
/// The time of the short search without a command.
const SHORT_TIME: Duration = Duration::from_secs(20);

/// The share of the training images that trials are scored on.
const DEFAULT_VALIDATION: f64 = 0.2;

/// How many trials may be proposed ahead of the last one observed. Part of every study: more would let more threads work
/// at once, less would let the policy learn from fresher trials.
pub(super) const LAG: usize = 4;

/// `nas` alone: the main job with a short budget.
pub(crate) fn short(output: Output) -> Result<()> {
    output.line(format!(
        "This is a short run: a search of {} and one final seed. The full job: nas search\n",
        output::seconds(SHORT_TIME.as_secs_f64())
    ));
    let settings = cli::Settings { final_seeds: Some(1), final_epochs: Some(10), ..cli::Settings::default() };
    run(cli::Search { time: Some(SHORT_TIME), settings, ..cli::Search::default() }, output)
}

/// Runs a new study.
pub(crate) fn run(args: cli::Search, output: Output) -> Result<()> {
    if args.program.evaluator.is_some() {
        return super::external::run(args, output);
    }
    let settings = config::merge(args.settings, args.config.as_deref())?;
    let workers = Workers::new(args.jobs, args.threads)?;
    let limits = limits(args.trials, args.time)?;
    let seed = Seed::new(settings.seed.unwrap_or(0));
    let from = settings.warm_start.clone();
    let Networks { config, space, data, early_stopping } =
        networks(Source::of(args.data.as_deref(), args.demo, &args.columns)?, settings, limits, workers)?;
    let objective = super::goals::weigh(config.task.objective(), &args.goals, config.calibration.is_some())?;
    let strategy = nas_rl::strategy(&config.agent, &space, seed).map_err(|e| Error::usage(e.to_string()))?;
    let warm_start = super::warm_start::read(from.as_deref(), &config.agent, &space)?;
    let (train, validation) = split(&data.train, &config, seed)?;

    let folder = StudyFolder::create(args.study.as_deref(), &config.source.name())?;
    log::to(folder.path())?;
    let parts = (train.len(), validation.len());
    header(
        output,
        &config,
        &objective,
        early_stopping,
        warm_start.as_ref(),
        &space,
        seed,
        &data,
        parts,
        limits,
        folder.path(),
    );
    let record = StudyRecord {
        space,
        objective,
        seed,
        strategy: config.agent.clone(),
        lag: LAG,
        early_stopping,
        warm_start,
        configuration: serde_json::to_value(&config).map_err(|e| Error::new(Kind::Other, e.to_string()))?,
    };
    let storage: Arc<dyn Storage> = Arc::new(SqliteStorage::create(&folder.database())?);
    let study = Study::create(record, strategy, storage)?;
    go(study, &config, &data, (train, validation), limits, workers, &folder, output)
}

/// What searches that train networks work with.
pub(super) struct Networks {
    pub(super) config: Config,
    pub(super) space: SearchSpace,
    pub(super) data: TrainTest,
    pub(super) early_stopping: Option<EarlyStopping>,
}

/// What `settings` come to for that data.
pub(super) fn networks(source: Source, settings: cli::Settings, limits: Limits, workers: Workers) -> Result<Networks> {
    let data = source.open()?;
    let task = data.train.task();
    let (space, family) = config::space(settings.space.as_deref().unwrap_or_else(|| family::usual(&task)), &task)?;
    let mut search = family.search_recipe();
    let mut final_recipe = family.final_recipe();
    search.epochs = positive("--epochs", settings.epochs.unwrap_or(search.epochs))?;
    final_recipe.epochs = positive("--final-epochs", settings.final_epochs.unwrap_or(final_recipe.epochs))?;
    let early_stopping = config::early_stopping(settings.early_stopping.as_deref(), Some(search.epochs))?;
    let validation = settings.validation.unwrap_or(DEFAULT_VALIDATION);
    if !(validation > 0.0 && validation < 1.0) {
        return Err(Error::usage(format!("--validation is {validation}; it must lie between 0 and 1, both excluded")));
    }
    let costs = limits::of(&space, &settings.limits);
    let seed = Seed::new(settings.seed.unwrap_or(0));
    let max_memory = costs.get(NetworkCosts::MEMORY);
    let mut config = Config {
        data_hash: format!("{:016x}", data.hash),
        task,
        family: family.name().to_owned(),
        agent: settings.agent.unwrap_or_else(|| DEFAULT_AGENT.to_owned()),
        validation,
        search,
        final_recipe,
        final_seeds: positive("--final-seeds", settings.final_seeds.unwrap_or(3))?,
        max_memory: max_memory.unwrap_or_else(|| default_memory(workers.jobs)),
        examples: None,
        inherit: settings.inherit,
        calibration: calibration::usable()?,
        trials: limits.trials,
        seconds: limits.time.map(|t| t.as_secs_f64()),
        source,
    };
    if costs.is_empty() {
        return Ok(Networks { config, space, data, early_stopping });
    }
    let (train, _) = split(&data.train, &config, seed)?;
    config.examples = Some(train.len());
    let space = limits::keep(&space, costs, family, &config.task, &config.search, train.len())?;
    Ok(Networks { config, space, data, early_stopping })
}

/// Runs a study to the end of its budget, then closes it: trains the winner and its controls to the full.
#[expect(clippy::too_many_arguments, reason = "everything a study needs to run")]
pub(crate) fn go(
    mut study: Study,
    config: &Config,
    data: &TrainTest,
    (train, validation): (Dataset, Dataset),
    limits: Limits,
    workers: Workers,
    folder: &StudyFolder,
    output: Output,
) -> Result<()> {
    let trainer = trainer(&study.record().space, config, (train, validation), folder, study.trials(), workers)?;
    run_study(&mut study, &trainer, limits, workers.jobs, folder, output)?;
    super::closing::close(study.trials(), study.record(), config, data, workers, folder, output)
}

/// What trains the trials of the study in `folder`, which has `trials` so far.
pub(super) fn trainer(
    space: &SearchSpace,
    config: &Config,
    (train, validation): (Dataset, Dataset),
    folder: &StudyFolder,
    trials: &[Trial],
    workers: Workers,
) -> Result<ChildTrainer> {
    let family = family::of(space)?;
    let trainer =
        ChildTrainer::new(family, config.task.clone(), train, validation, config.search.clone(), config.max_memory)
            .threads(workers.threads_of(workers.jobs));
    let trainer = match &config.calibration {
        Some(calibration) => trainer.calibration(calibration.clone()),
        None => trainer,
    };
    if !config.inherit {
        return Ok(trainer);
    }
    let weights = folder.weights();
    std::fs::create_dir_all(&weights).map_err(|e| Error::io("creating", &weights, &e))?;
    let complete = trials.iter().filter(|trial| trial.metrics().is_some());
    let evaluated = complete.map(|trial| (trial.number, trial.architecture.clone()));
    Ok(trainer.inheriting(Inheritance::new(&weights, LAG, evaluated)))
}

/// Runs a study to the end of its budget, with all that a person sees of it.
///
/// # Errors
/// What the study says; that it was interrupted, and how to go on.
pub(crate) fn run_study(
    study: &mut Study,
    evaluator: &dyn Evaluator,
    limits: Limits,
    jobs: usize,
    folder: &StudyFolder,
    output: Output,
) -> Result<()> {
    let progress = Progress::new(output, limits, study.record(), study.trials());
    progress.heading();
    let budget = Budget { trials: limits.trials, time: limits.time };
    let outcome = study.run(evaluator, &budget, jobs, &progress, interrupt::flag());
    progress.finish();
    let outcome = outcome?;
    let resume = format!("nas resume {}", output::typed(folder.path()));
    if outcome.reason == StopReason::Interrupted {
        let message =
            format!("interrupted; {} trials are saved in {}", finished(study.trials()), folder.path().display());
        return Err(Error::new(Kind::Interrupted, message).next(format!("continue with `{resume}`")));
    }
    output.line(format!("\nSearch over: {}. {} trials.", outcome.reason, finished(study.trials())));
    Ok(())
}

/// Whether a search with the usual settings takes `data`.
pub(crate) fn check_data(data: &TrainTest) -> Result<()> {
    let task = data.train.task();
    config::space(family::usual(&task), &task)?;
    data.train.split(DEFAULT_VALIDATION, &mut Seed::new(0).stream(Purpose::Split, 0))?;
    Ok(())
}

/// The training and validation parts of `data`, split by the study's seed.
pub(crate) fn split(data: &Dataset, config: &Config, seed: Seed) -> Result<(Dataset, Dataset)> {
    Ok(data.split(config.validation, &mut seed.stream(Purpose::Split, 0))?)
}

/// Who works: trainings beside each other, which share the threads if there are more of these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workers {
    /// Trainings at once; more than are proposed ahead would only wait.
    pub(crate) jobs: usize,
    /// Threads in all.
    threads: usize,
}

/// More threads than any machine has cores for one training.
const MOST_THREADS: usize = 1024;

impl Workers {
    /// As many as were asked for; a thread for each core and a training for each thread otherwise.
    pub(crate) fn new(jobs: Option<usize>, threads: Option<usize>) -> Result<Self> {
        if jobs == Some(0) {
            return Err(Error::usage("--jobs is 0; at least one trial must be trained at a time"));
        }
        if let Some(threads) = threads.filter(|&n| n == 0 || n > MOST_THREADS) {
            return Err(Error::usage(format!("--threads is {threads}; it must be 1 to {MOST_THREADS}")));
        }
        let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get));
        Ok(Workers { jobs: jobs.unwrap_or(threads).min(LAG), threads })
    }

    /// The threads of each of so many trainings.
    pub(crate) fn threads_of(self, trainings: usize) -> usize {
        (self.threads / self.jobs.min(trainings).max(1)).max(1)
    }
}

pub(super) fn limits(trials: Option<u64>, time: Option<Duration>) -> Result<Limits> {
    if trials == Some(0) {
        return Err(Error::usage("--trials is 0; a search needs at least one trial"));
    }
    let time = if trials.is_none() { Some(time.unwrap_or(DEFAULT_TIME)) } else { time };
    Ok(Limits { trials, time })
}

fn positive(flag: &str, n: u32) -> Result<u32> {
    if n == 0 { Err(Error::usage(format!("{flag} is 0; it must be at least 1"))) } else { Ok(n) }
}

/// 1 GiB for each training, or an even share of half the free memory where that is less. The same on all machines that have
/// enough, so that studies can be repeated elsewhere.
fn default_memory(jobs: usize) -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
    let share = available.and_then(|kb| kb.parse::<u64>().ok()).map_or(u64::MAX, |kb| kb * 1024 / 2 / jobs as u64);
    share.clamp(64 << 20, 1 << 30)
}

#[expect(clippy::too_many_arguments, reason = "a header shows everything")]
fn header(
    output: Output,
    config: &Config,
    objective: &Objective,
    early_stopping: Option<EarlyStopping>,
    warm_start: Option<&WarmStart>,
    space: &nas_core::SearchSpace,
    seed: Seed,
    data: &TrainTest,
    (train, validation): (usize, usize),
    limits: Limits,
    folder: &Path,
) {
    output.json(&serde_json::json!({"event": "study", "study": folder, "config": config, "objective": objective, "early_stopping": early_stopping, "seed": seed, "space": space.name(), "architectures": space.cardinality().to_string(), "limits": space.limits()}));
    output.line(format!("data     {}: {}", data.source, config.task));
    output.line(format!("split    {train} to train, {validation} to score trials, {} for the end", data.test.len()));
    let chosen = match config.family.as_str() {
        "recommender" => ", for columns of many categories (--space mlp is for all tables)",
        _ => "",
    };
    let (size, kept) = (space.cardinality(), limits::after(space));
    output.line(format!("space    {}: {size} architectures{kept}{chosen}", space.name()));
    let time = limits.time.map(|t| output::seconds(t.as_secs_f64()));
    let trials = limits.trials.map(|n| format!("{n} trials"));
    let budget: Vec<String> = trials.into_iter().chain(time).collect();
    output.line(format!(
        "search   agent {}, seed {}, {}, {} epochs a trial{}",
        config.agent,
        seed.value(),
        budget.join(" or "),
        config.search.epochs,
        early_stopping.map_or_else(String::new, |rule| format!(", early stopping {rule}"))
    ));
    if let Some(tradeoff) = &objective.tradeoff {
        output.line(format!("reward   {} by {tradeoff}", objective.metric));
    }
    if let Some(warm_start) = warm_start {
        output.line(super::warm_start::line(warm_start));
    }
    output.line(format!("study    {}\n", folder.display()));
}
