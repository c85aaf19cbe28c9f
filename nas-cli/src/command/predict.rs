//! `nas predict`: the class of every image or series, or the answer to every row of a table, as CSV; or how a text goes on.

use std::io::Write;
use std::path::Path;

use nas_core::Seed;
use nas_nn::data::{self, Dataset, Images, Preparation, Series, Table};
use nas_nn::family::Task;
use nas_nn::network::Network;
use nas_nn::train::best;

use crate::cli;
use crate::error::{Error, Kind, Result};
use crate::output::Output;
use crate::study_folder;

/// Examples answered at a time.
const CHUNK: usize = 1000;

/// The longest continuation of a text.
const LONGEST: usize = 1_000_000;

/// Classifies images, answers rows, or continues a text.
pub(crate) fn run(args: &cli::Predict, output: Output) -> Result<()> {
    let network = Network::load(&study_folder::model(&args.model)?)?;
    if let Task::Text { .. } = network.about().task {
        return go_on(&network, args, output);
    }
    let examples = if let Preparation::Table(table) = &network.about().preparation {
        Examples::Rows(data::read_rows(&args.data, &table.schema, false)?)
    } else if let Task::Series { channels, steps, .. } = network.about().task {
        Examples::Series(series(&network, &args.data, [channels, steps])?)
    } else if args.data.is_dir() {
        match data::open(&args.data)?.test {
            Dataset::Images(images) => Examples::Images(images),
            other => return Err(Error::usage(format!("the network is for images, the data is {}", other.task()))),
        }
    } else {
        Examples::Images(data::open_images(&args.data)?)
    };
    let Some(path) = &args.output else {
        let result = write(&network, &examples, output, std::io::stdout().lock())?;
        return match result {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(Kind::Io, format!("writing predictions: {e}")))
            }
            _ => Ok(()),
        };
    };
    if path.exists() {
        return Err(Error::new(Kind::Io, format!("{} exists already and is not overwritten", path.display())));
    }
    let io = |e: &std::io::Error| Error::io("writing", path, e);
    // Everything is computed before the file appears.
    let mut csv = Vec::new();
    write(&network, &examples, output, &mut csv)?.map_err(|e| io(&e))?;
    let mut file = std::fs::File::create_new(path).map_err(|e| io(&e))?;
    if let Err(e) = file.write_all(&csv).and_then(|()| file.sync_all()) {
        let _ = std::fs::remove_file(path);
        return Err(io(&e));
    }
    output.line(format!("{} predictions in {}", examples.len(), path.display()));
    Ok(())
}

/// The series of a file, or of the test part of a folder.
fn series(network: &Network, path: &Path, sizes: [usize; 2]) -> Result<Series> {
    if !path.is_dir() {
        return Ok(data::read_series(path, sizes, &network.about().classes, false)?);
    }
    match data::open(path)?.test {
        Dataset::Series(series) => Ok(series),
        other => Err(Error::usage(format!("the network is for series, the data is {}", other.task()))),
    }
}

/// Prints how the text in a file goes on.
fn go_on(network: &Network, args: &cli::Predict, output: Output) -> Result<()> {
    if args.output.is_some() {
        return Err(Error::usage(
            "--output is for the answers to images and rows; what continues a text goes to stdout",
        ));
    }
    if args.length > LONGEST {
        return Err(Error::usage(format!("--length is {}; it must be at most {LONGEST}", args.length)));
    }
    let text = std::fs::read_to_string(&args.data).map_err(|e| Error::io("reading", &args.data, &e))?;
    let continued = network.continue_text(&text, args.length, args.temperature, Seed::new(args.seed))?;
    output.json(&serde_json::json!({"continuation": continued}));
    output.answer(continued);
    Ok(())
}

/// What is answered.
enum Examples {
    Images(Images),
    Rows(Table),
    Series(Series),
}

impl Examples {
    fn len(&self) -> usize {
        match self {
            Examples::Images(images) => images.len(),
            Examples::Rows(rows) => rows.len(),
            Examples::Series(series) => series.len(),
        }
    }

    fn subset(&self, indices: &[usize]) -> Dataset {
        match self {
            Examples::Images(images) => Dataset::Images(images.subset(indices)),
            Examples::Rows(rows) => Dataset::Table(rows.subset(indices)),
            Examples::Series(series) => Dataset::Series(series.subset(indices)),
        }
    }
}

/// The outer result is about the examples, the inner one about the file.
fn write(network: &Network, examples: &Examples, output: Output, to: impl Write) -> Result<std::io::Result<()>> {
    let classes = &network.about().classes;
    let header: &[&str] =
        if classes.is_empty() { &["index", "value"] } else { &["index", "class", "name", "probability"] };
    let mut csv = csv::Writer::from_writer(to);
    let mut result = Ok(());
    if !output.is_json() {
        result = csv.write_record(header);
    }
    let all: Vec<usize> = (0..examples.len()).collect();
    for chunk in all.chunks(CHUNK) {
        for (&index, row) in chunk.iter().zip(network.predict(&examples.subset(chunk))?) {
            let (json, record) = if classes.is_empty() {
                let value = row[0];
                (serde_json::json!({"index": index, "value": value}), vec![index.to_string(), value.to_string()])
            } else {
                let class = best(&row);
                let name = &classes[class];
                let json = serde_json::json!({"index": index, "class": class, "name": name, "probabilities": row});
                (json, vec![index.to_string(), class.to_string(), name.clone(), format!("{:.6}", row[class])])
            };
            output.json(&json);
            if !output.is_json() {
                result = result.and_then(|()| csv.write_record(record));
            }
        }
    }
    Ok(result.map_err(std::io::Error::from).and_then(|()| csv.flush()))
}
