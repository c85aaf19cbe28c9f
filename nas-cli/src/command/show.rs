//! `nas show`: a study's settings, or one trial and its network.

use nas_core::{Architecture, Trial, TrialState};
use nas_nn::evaluator;
use nas_nn::family::{self, Family};
use nas_nn::program::Rates;

use super::warm_start;
use crate::calibration;
use crate::cli;
use crate::config::{Config, Work};
use crate::error::Result;
use crate::output::{self, Output};
use crate::study_folder::{self, StudyFolder};

/// Shows a study or a trial.
pub(crate) fn run(args: &cli::Show, output: Output) -> Result<()> {
    let (record, work, trials) = StudyFolder::new(&args.study).read()?;
    let Some(name) = &args.trial else {
        output.json(&record);
        let (work, calibration) = work.without_calibration();
        let settings = toml::to_string(&work).unwrap_or_else(|e| e.to_string());
        output.answer(format!(
            "# {}: agent {}, seed {}{}{}{}\n{settings}\n{}",
            args.study.display(),
            record.strategy,
            record.seed.value(),
            record.warm_start.as_ref().map_or_else(String::new, |warm| format!("\n# {}", warm_start::line(warm))),
            record.objective.tradeoff.as_ref().map_or_else(String::new, |t| format!("\n# reward by {t}")),
            calibration.map_or_else(String::new, |c| format!("\n# latencies by the calibration {}", c.checksum)),
            record.space.to_toml()
        ));
        return Ok(());
    };
    let trial = study_folder::find(&trials, name)?;
    output.json(trial);
    output.answer(about(trial));
    let config = match work {
        Work::Networks(config) => config,
        work if args.program => Box::new(work.networks(&args.study)?),
        Work::Program(_) => return Ok(()),
    };
    output.answer(format!("\n{}", network(&*family::of(&record.space)?, &config, &trial.architecture)?));
    if args.program {
        let family = family::of(&record.space)?;
        let batch = config.search.batch;
        let (_, plan) = evaluator::training_plan(&*family, &trial.architecture, &config.task, batch)?;
        let table = plan.table(Rates::measured());
        output.json(&table);
        output.answer(format!("\n{table}"));
    }
    Ok(())
}

fn about(trial: &Trial) -> String {
    let mut lines = vec![
        format!("trial     {}, chosen by {}", trial.number, trial.origin),
        format!("seed      {}", trial.seed.value()),
    ];
    match &trial.state {
        TrialState::Running => lines.push("state     open: not finished yet".to_owned()),
        TrialState::Failed { failure } => lines.push(format!("state     failed: {failure}")),
        TrialState::Complete { metrics, .. } => {
            lines.push(format!("state     complete in {}", output::seconds(trial.seconds)));
            lines.extend(metrics.iter().map(|(name, value)| {
                let value = if value.fract() == 0.0 { output::short(value) } else { format!("{value:.4}") };
                format!("{name:<12}{value}")
            }));
        }
    }
    lines.push("decisions".to_owned());
    lines.extend(trial.architecture.iter().map(|(path, value)| format!("  {path} = {value}")));
    lines.join("\n")
}

/// The network by its parts, each with the shape it yields and what it costs, and the whole.
fn network(family: &dyn Family, config: &Config, architecture: &Architecture) -> Result<String> {
    let (parts, total) = family::outline(family, architecture, &config.task)?;
    let rows = parts.into_iter().map(|part| {
        let (parameters, madds) = (part.cost.parameters as f64, part.cost.madds as f64);
        vec![part.path, part.shape.to_string(), output::short(parameters), output::short(madds), part.ops.join(" ")]
    });
    let header = ["part", "yields", "parameters", "madds", "operations"];
    // A study that began without a calibration is told by that of today.
    let calibration = config.calibration.clone().map_or_else(calibration::usable, |own| Ok(Some(own)))?;
    let latency = calibration.map(|calibration| -> Result<String> {
        let latency = calibration.predict(family, architecture, &config.task)?;
        let rough = if latency.unmeasured.is_empty() {
            String::new()
        } else {
            format!("; roughly, for {} were never measured", latency.unmeasured.join(", "))
        };
        let batch = if calibration.batch == 1 { String::new() } else { format!(" for {} examples", calibration.batch) };
        Ok(format!(", {}{batch} predicted on one thread{rough}", output::latency(latency.seconds)))
    });
    let latency = latency.transpose()?.unwrap_or_default();
    Ok(format!("{}\n\n{total}{latency}", output::table(&header, &[2, 3], rows.collect())))
}
