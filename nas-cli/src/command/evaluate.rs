//! `nas evaluate`: how good a saved network is on labelled examples.

use nas_nn::data::{self, Dataset, Preparation, Values};
use nas_nn::family::Task;
use nas_nn::network::Network;
use nas_nn::train::best;

use crate::cli;
use crate::config::Source;
use crate::error::{Error, Result};
use crate::output::{self, Output};
use crate::study_folder;

/// Scores the network on the test part of a data set, or on a file of images with its labels.
pub(crate) fn run(args: &cli::Evaluate, output: Output) -> Result<()> {
    let network = Network::load(&study_folder::model(&args.model)?)?;
    let (data, source) = data(args, &network)?;
    let evaluation = network.evaluate(&data)?;
    let classes = network.about().classes.len();
    let mut json = serde_json::json!({"examples": evaluation.examples, "data": source});
    let figures: Vec<String> = evaluation
        .metrics
        .iter()
        .map(|(name, value)| {
            json[name] = value.into();
            format!("{name} {value:.4}{}", if name == "loss" && classes > 0 { " nats" } else { "" })
        })
        .collect();
    let example = network.about().task.example();
    let mut text = format!("{}, on {} {example}s of {source}", figures.join(", "), evaluation.examples);
    let labels = match &data {
        Dataset::Images(images) => Some(&images.labels),
        Dataset::Series(series) => Some(&series.labels),
        Dataset::Table(data::Table { target: Values::Categories(labels), .. }) => Some(labels),
        _ => None,
    };
    if let Some(labels) = labels {
        let classes = &network.about().classes;
        let mut confusion = vec![vec![0_usize; classes.len()]; classes.len()];
        for (row, &label) in network.predict(&data)?.iter().zip(labels) {
            confusion[label as usize][best(row)] += 1;
        }
        let per_class = classes.iter().zip(&confusion).enumerate().map(|(i, (name, row))| {
            let n: usize = row.iter().sum();
            let share = if n == 0 { "-".to_owned() } else { format!("{:.4}", row[i] as f64 / n as f64) };
            vec![name.clone(), n.to_string(), share]
        });
        text += &format!(
            "\n\n{}",
            output::table(&["class", &format!("{example}s"), "found"], &[1, 2], per_class.collect())
        );
        json["classes"] = classes.clone().into();
        json["confusion"] = confusion.into();
    }
    output.json(&json);
    output.answer(text);
    Ok(())
}

/// The examples to score on, and their name.
fn data(args: &cli::Evaluate, network: &Network) -> Result<(Dataset, String)> {
    if let (Some(path), None, Preparation::Table(table)) = (&args.data, &args.labels, &network.about().preparation) {
        let rows = data::read_rows(path, &table.schema, true)?;
        return Ok((Dataset::Table(rows), path.display().to_string()));
    }
    if let (Some(path), None, &Task::Series { channels, steps, .. }) = (&args.data, &args.labels, &network.about().task)
        && path.is_file()
    {
        let series = data::read_series(path, [channels, steps], &network.about().classes, true)?;
        return Ok((Dataset::Series(series), path.display().to_string()));
    }
    match (&args.data, &args.labels) {
        (None, Some(_)) => Err(Error::usage("--labels needs DATA, the file of the images")),
        (Some(images), Some(labels)) => {
            let labelled = data::open_labelled(images, labels)?;
            Ok((Dataset::Images(labelled), images.display().to_string()))
        }
        (Some(path), None) if path.is_file() && path.extension().is_none_or(|ending| ending != "txt") => {
            Err(Error::usage(format!("{} is a file of images; give its labels with --labels", path.display())))
        }
        (Some(path), None) => test_part(&Source::of(Some(path), None, &cli::Columns::default())?),
        // Without data: what the study that holds the model was made of.
        (None, None) => match study_folder::of_model(&args.model) {
            Some(folder) => {
                let (_, config, _) = folder.read_networks()?;
                Ok((config.source.open_again(&config.data_hash)?.test, config.source.name()))
            }
            None => test_part(&Source::Embedded),
        },
    }
}

fn test_part(source: &Source) -> Result<(Dataset, String)> {
    let data = source.open()?;
    Ok((data.test, format!("the test part of {}", data.source)))
}
