//! `nas status`: where a study stands.

use std::collections::BTreeMap;

use nas_core::{Failure, Origin, SqliteStorage, Storage as _, Trial, TrialState};

use crate::cli::StudyOnly;
use crate::config::Work;
use crate::error::Result;
use crate::limits;
use crate::output::{self, Output};
use crate::statistics::Summary;
use crate::study_folder::{self, State, StudyFolder};

/// Shows the state of a study, running or not.
pub(crate) fn run(args: &StudyOnly, output: Output) -> Result<()> {
    let folder = StudyFolder::new(&args.study);
    let (record, work, trials) = folder.read()?;
    let diagnostics = SqliteStorage::open_read_only(&folder.database())?.diagnostics()?;
    let last = diagnostics.iter().rev().map(|(_, d)| d).find(|d| !d.0.is_empty());

    let complete: Vec<&Trial> = trials.iter().filter(|t| t.reward().is_some()).collect();
    let mut failed: BTreeMap<String, usize> = BTreeMap::new();
    for trial in &trials {
        if let TrialState::Failed { failure } = &trial.state {
            *failed.entry(reason(failure).to_owned()).or_default() += 1;
        }
    }
    let open = trials.iter().filter(|t| !t.is_finished()).count();
    let state = folder.state(&trials);
    let best = study_folder::best(&trials);
    let rewards = |random: bool| -> Option<Summary> {
        let of = complete.iter().filter(|t| (t.origin == Origin::Random) == random);
        Summary::of(&of.filter_map(|t| t.reward()).collect::<Vec<_>>())
    };
    let seconds: f64 = trials.iter().map(|t| t.seconds).sum();
    let models = folder.saved_models();

    output.json(&serde_json::json!({
        "study": args.study, "state": state.name(), "space": record.space.name(),
        "agent": record.strategy, "seed": record.seed, "complete": complete.len(), "failed": failed, "open": open,
        "best": best, "training_seconds": seconds, "diagnostics": last, "models": models,
    }));
    let mut lines = vec![
        format!("study     {} ({})", args.study.display(), state.name()),
        match &work {
            Work::Networks(config) => format!("data      {}", config.task),
            Work::Program(program) => format!("measured  by {}", program.evaluator.join(" ")),
        },
        format!(
            "space     {}: {} architectures{}",
            record.space.name(),
            record.space.cardinality(),
            limits::after(&record.space)
        ),
        format!("agent     {}, seed {}", record.strategy, record.seed.value()),
        format!("trials    {} complete, {} failed, {open} open", complete.len(), failed.values().sum::<usize>()),
    ];
    lines.extend(failed.iter().map(|(reason, n)| format!("            {n} × {reason}")));
    if let Some(best) = best {
        lines.push(format!("best      {:.4} (trial {}, {})", best.reward().unwrap_or(0.0), best.number, best.origin));
    }
    for (name, summary) in [("random", rewards(true)), ("chosen", rewards(false))] {
        if let Some(summary) = summary {
            lines.push(format!("{name:<10}{summary} ({} trials)", summary.n));
        }
    }
    lines.push(format!("trained   {} of one core", output::seconds(seconds)));
    if let Some(last) = last {
        let figures: Vec<String> = last.0.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        lines.push(format!("agent     {}", figures.join(", ")));
    }
    lines.extend(models.iter().map(|model| format!("model     {}", model.display())));
    let study = output::typed(&args.study);
    lines.push(match state {
        State::Running => format!("\nNext: nas trials {study}"),
        State::Finished => format!("\nNext: nas show {study} best"),
        State::Interrupted => format!("\nNext: nas resume {study}"),
    });
    output.answer(lines.join("\n"));
    Ok(())
}

/// The kind of a failure in a few words.
fn reason(failure: &Failure) -> &'static str {
    match failure {
        Failure::Diverged { .. } => "diverged",
        Failure::OutOfMemory { .. } => "would not fit in memory",
        Failure::Panicked { .. } => "panicked",
        Failure::TimedOut { .. } => "ran out of time",
        Failure::Infeasible { .. } => "could not be built",
        _ => "other",
    }
}
