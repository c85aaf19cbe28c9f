//! `nas train`: one architecture, trained to the full.

use nas_core::Trial;
use nas_nn::family;

use super::{closing, search};
use crate::cli;
use crate::error::{Error, Kind, Result};
use crate::output::{self, Output};
use crate::statistics::Summary;
use crate::study_folder::{self, StudyFolder};

/// Trains a trial's architecture from several seeds and scores each on the test part.
pub(crate) fn run(args: &cli::Train, output: Output) -> Result<()> {
    let folder = StudyFolder::new(&args.study);
    let (record, config, trials) = folder.read_networks()?;
    let family = family::of(&record.space)?;
    let (name, architecture) = if args.trial == "default" {
        ("default".to_owned(), family.default_architecture())
    } else {
        let trial: &Trial = study_folder::find(&trials, &args.trial)?;
        (format!("trial-{}", trial.number), trial.architecture.clone())
    };
    if args.seeds == 0 {
        return Err(Error::usage("--seeds is 0; it must be at least 1"));
    }
    let workers = search::Workers::new(None, args.threads)?;
    let mut recipe = config.final_recipe.clone();
    if let Some(epochs) = args.epochs {
        if epochs == 0 {
            return Err(Error::usage("--epochs is 0; it must be at least 1"));
        }
        recipe.epochs = epochs;
    }
    let model = args.output.clone().unwrap_or_else(|| folder.models().join(&name));
    let weights = nas_nn::network::weights_path(&model);
    if weights.exists() {
        let message = format!("{} exists already and is not overwritten", weights.display());
        return Err(Error::new(Kind::Io, message).next("choose another file with --output"));
    }
    let data = config.source.open_again(&config.data_hash)?;
    output.line(format!(
        "Training {name}: {} epochs, {} seeds, all {} training {}s.",
        recipe.epochs,
        args.seeds,
        data.train.len(),
        config.task.example()
    ));
    let how = closing::How { workers, profile: args.profile, output };
    let trained = closing::train_seeds(&architecture, args.seeds, &family, &config, &recipe, record.seed, &data, how)?;
    let test_scores: Vec<f64> = trained.iter().map(|t| t.score).collect();
    trained[0].network.save(&model)?;
    let summary = Summary::of(&test_scores).ok_or_else(|| Error::new(Kind::Other, "nothing was trained"))?;
    output.json(&serde_json::json!({
        "trial": args.trial, "test_scores": test_scores, "mean": summary.mean, "sd": summary.sd, "model": weights,
        "parameters": trained[0].parameters, "madds": trained[0].madds, "profile": trained[0].profile,
    }));
    output.answer(format!(
        "test {} {summary} over {} seeds, {} parameters, {} multiply-adds\nThe first seed's model is {}",
        record.objective.metric,
        summary.n,
        output::short(trained[0].parameters),
        output::short(trained[0].madds),
        weights.display()
    ));
    if let Some(profile) = &trained[0].profile {
        output.answer(format!("\nWhere a step of the first seed's training spent its time:\n\n{profile:#}"));
    }
    Ok(())
}
