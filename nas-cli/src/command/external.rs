//! `nas search --evaluator`: a search in which a program of the user's measures every architecture.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nas_core::{
    Direction, EarlyStopping, Objective, ProcessEvaluator, SearchSpace, Seed, SqliteStorage, Storage, Study,
    StudyRecord, Trial, TrialState,
};

use super::search;
use crate::cli;
use crate::config::{self, DEFAULT_AGENT, Program};
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::output::{self, Output};
use crate::progress::{self, Limits};
use crate::study_folder::StudyFolder;

/// Trials in the closing table.
const SHOWN: usize = 5;

/// Runs a new study.
pub(crate) fn run(args: cli::Search, output: Output) -> Result<()> {
    let settings = config::merge(args.settings, args.config.as_deref())?;
    let jobs = search::Workers::new(args.jobs, None)?.jobs;
    let limits = search::limits(args.trials, args.time)?;
    let Measured { program, space, objective, early_stopping } = measured(&settings, &args.program, limits)?;
    let objective = super::goals::weigh(objective, &args.goals, true)?;
    let seed = Seed::new(settings.seed.unwrap_or(0));
    let agent = settings.agent.unwrap_or_else(|| DEFAULT_AGENT.to_owned());
    let strategy = nas_rl::strategy(&agent, &space, seed).map_err(|e| Error::usage(e.to_string()))?;
    let warm_start = super::warm_start::read(settings.warm_start.as_deref(), &agent, &space)?;
    let evaluator = started(&program)?;

    let folder = StudyFolder::create(args.study.as_deref(), space.name())?;
    log::to(folder.path())?;
    let budget: Vec<String> = (limits.trials.map(|n| format!("{n} trials")).into_iter())
        .chain(limits.time.map(|t| output::seconds(t.as_secs_f64())))
        .collect();
    output.json(&serde_json::json!({"event": "study", "study": folder.path(), "config": program, "seed": seed, "space": space.name(), "architectures": space.cardinality().to_string()}));
    output.line(format!("program  {}", program.evaluator.join(" ")));
    output.line(format!("space    {}: {} architectures", space.name(), space.cardinality()));
    output.line(format!("search   agent {agent}, seed {}, {}", seed.value(), budget.join(" or ")));
    if let Some(tradeoff) = &objective.tradeoff {
        output.line(format!("reward   {} by {tradeoff}", objective.metric));
    }
    if let Some(warm_start) = &warm_start {
        output.line(super::warm_start::line(warm_start));
    }
    output.line(format!("study    {}\n", folder.path().display()));
    let record = StudyRecord {
        space,
        objective,
        seed,
        strategy: agent,
        lag: search::LAG,
        early_stopping,
        warm_start,
        configuration: serde_json::to_value(&program).map_err(|e| Error::new(Kind::Other, e.to_string()))?,
    };
    let storage: Arc<dyn Storage> = Arc::new(SqliteStorage::create(&folder.database())?);
    let study = Study::create(record, strategy, storage)?;
    go(study, &evaluator, limits, jobs, &folder, output)
}

/// What searches measured by a program work with.
pub(super) struct Measured {
    pub(super) program: Program,
    pub(super) space: SearchSpace,
    pub(super) objective: Objective,
    pub(super) early_stopping: Option<EarlyStopping>,
}

/// What `settings` and the flags of the program come to.
pub(super) fn measured(settings: &cli::Settings, flags: &cli::Program, limits: Limits) -> Result<Measured> {
    let networks = [settings.epochs.is_some(), settings.final_epochs.is_some(), settings.final_seeds.is_some()];
    let cli::Limits { max_params, max_madds, max_memory } = settings.limits;
    let limited = [max_params, max_madds, max_memory].iter().any(Option::is_some);
    if networks.contains(&true) || settings.validation.is_some() || limited || settings.inherit {
        let message = "epochs, final-epochs, final-seeds, validation, max-params, max-madds, max-memory and inherit are for networks \
                       that nas trains";
        return Err(Error::usage(message).next("with --evaluator, leave them out of the configuration file"));
    }
    let command = flags.evaluator.as_deref().unwrap_or_default();
    let evaluator = shell_words::split(command)
        .map_err(|e| Error::usage(format!("--evaluator `{command}` cannot be split into words: {e}")))?;
    let program = Program {
        evaluator,
        trial_seconds: flags.trial_time.map(|t| t.as_secs_f64()),
        trials: limits.trials,
        seconds: limits.time.map(|t| t.as_secs_f64()),
    };
    process(&program)?;
    let Some(path) = settings.space.as_deref().map(Path::new) else {
        let message = "--evaluator needs --space: the decisions that your program understands";
        return Err(Error::usage(message).next("write them in a TOML file, as `nas space show cnn_cell` prints one"));
    };
    let (space, _) = config::read_space(path)?;
    if !space.limits().is_empty() {
        let message =
            format!("{}: {}: nas does not know what your program's networks cost", path.display(), space.limits());
        return Err(Error::usage(message).next("take the limits out; the program may answer with an error instead"));
    }
    let metric = flags.metric.as_deref().unwrap_or("accuracy");
    let objective = if flags.minimize { Objective::minimize(metric) } else { Objective::maximize(metric) };
    let early_stopping = config::early_stopping(settings.early_stopping.as_deref(), None)?;
    Ok(Measured { program, space, objective, early_stopping })
}

/// Runs a study to the end of its budget and shows its best trials.
pub(crate) fn go(
    mut study: Study,
    evaluator: &ProcessEvaluator,
    limits: Limits,
    jobs: usize,
    folder: &StudyFolder,
    output: Output,
) -> Result<()> {
    search::run_study(&mut study, evaluator, limits, jobs, folder, output)?;
    close(study.trials(), &study.record().objective, folder, output)
}

/// What starts the program.
pub(super) fn process(program: &Program) -> Result<ProcessEvaluator> {
    let evaluator = ProcessEvaluator::new(program.evaluator.iter().cloned())
        .map_err(|e| Error::usage(format!("--evaluator: {e}")))?;
    Ok(match program.trial_seconds.map(Duration::try_from_secs_f64) {
        Some(Ok(limit)) => evaluator.with_limit(limit),
        // Too long for a clock is no limit.
        _ => evaluator,
    })
}

/// The same, with a first program started: a search whose every trial would fail is not begun.
pub(crate) fn started(program: &Program) -> Result<ProcessEvaluator> {
    let evaluator = process(program)?;
    evaluator.begin().map_err(|e| Error::usage(format!("--evaluator: {e}")))?;
    Ok(evaluator)
}

/// The best trials, and the best architecture in full.
fn close(trials: &[Trial], objective: &Objective, folder: &StudyFolder, output: Output) -> Result<()> {
    let mut complete: Vec<&Trial> = trials.iter().filter(|t| t.reward().is_some()).collect();
    let reward = |t: &Trial| t.reward().unwrap_or(f64::NEG_INFINITY);
    complete.sort_by(|a, b| reward(b).total_cmp(&reward(a)));
    let Some(best) = complete.first() else {
        let why = trials.iter().find_map(|t| match &t.state {
            TrialState::Failed { failure } => Some(failure.to_string()),
            _ => None,
        });
        let message = format!("no trial succeeded ({})", why.unwrap_or_else(|| "none was finished".to_owned()));
        return Err(Error::new(Kind::Other, message).next(format!("see {}/study.log", folder.path().display())));
    };
    output.json(&serde_json::json!({"event": "result", "winner": best.number, "trial": best}));
    let rows = complete.iter().take(SHOWN).map(|trial| {
        let value = trial.metric(&objective.metric).unwrap_or_default();
        vec![trial.number.to_string(), format!("{value:.4}"), trial.origin.to_string(), progress::describe(trial)]
    });
    let better = if objective.direction == Direction::Minimize { "less" } else { "more" };
    output.answer(format!("\nThe best trials by {} ({better} is better):\n", objective.metric));
    let header = ["trial", &objective.metric, "chosen by", "architecture"];
    output.answer(output::table(&header, &[0, 1], rows.collect()));
    let study = folder.path().display();
    output
        .line(format!("\nNext:\n  nas show {study} best\n  nas trials {study} --csv\n  nas resume {study} --time 5m"));
    Ok(())
}
