//! `nas evaluate`: how good a saved network is on labelled images.

use nas_nn::data::{self, Images};
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
    let (images, source) = images(args)?;
    let evaluation = network.evaluate(&images)?;
    let rows = network.predict(&images)?;
    let classes = &network.about().classes;
    let mut confusion = vec![vec![0_usize; classes.len()]; classes.len()];
    for (row, &label) in rows.iter().zip(&images.labels) {
        confusion[label as usize][best(row)] += 1;
    }
    output.json(&serde_json::json!({
        "accuracy": evaluation.accuracy, "loss": evaluation.loss, "examples": evaluation.examples, "data": source,
        "classes": classes, "confusion": confusion,
    }));
    let per_class = classes.iter().zip(&confusion).enumerate().map(|(i, (name, row))| {
        let n: usize = row.iter().sum();
        let share = if n == 0 { "-".to_owned() } else { format!("{:.4}", row[i] as f64 / n as f64) };
        vec![name.clone(), n.to_string(), share]
    });
    output.answer(format!(
        "accuracy {:.4}, loss {:.4} nats, on {} images of {source}\n\n{}",
        evaluation.accuracy,
        evaluation.loss,
        evaluation.examples,
        output::table(&["class", "images", "found"], &[1, 2], per_class.collect())
    ));
    Ok(())
}

/// The images to score on, and their name.
fn images(args: &cli::Evaluate) -> Result<(Images, String)> {
    match (&args.data, &args.labels) {
        (None, Some(_)) => Err(Error::usage("--labels needs DATA, the file of the images")),
        (Some(images), Some(labels)) => Ok((data::open_labelled(images, labels)?, images.display().to_string())),
        (Some(path), None) if path.is_file() => {
            Err(Error::usage(format!("{} is a file of images; give its labels with --labels", path.display())))
        }
        (Some(path), None) => test_part(&Source::of(Some(path))?),
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

fn test_part(source: &Source) -> Result<(Images, String)> {
    let data = source.open()?;
    Ok((data.test, format!("the test part of {}", data.source)))
}
