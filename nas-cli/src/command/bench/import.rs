//! `nas bench import`: tables made of published files or of any CSV.

use std::path::PathBuf;

use nas_core::SearchSpace;
use nas_core::benchmark::{self, CsvImport, Table};

use crate::cli;
use crate::error::{Error, Result};
use crate::output::{self, Output};

/// Reads the sources and writes the table to a new file.
pub(super) fn run(args: &cli::Import, output: Output) -> Result<()> {
    let table = read(args)?;
    let file = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.nastable", table.about().name)));
    table.save(&file)?;
    let bytes = table.to_bytes().len();
    let about = table.about();
    output.json(&serde_json::json!({
        "table": about.name, "file": file, "architectures": table.rows(), "metrics": table.metrics().count(), "bytes": bytes,
    }));
    output.answer(format!(
        "{}: {} architectures, {} metrics, {} bytes in {}",
        about.name,
        table.rows(),
        table.metrics().count(),
        output::short(bytes as f64),
        file.display()
    ));
    Ok(())
}

fn read(args: &cli::Import) -> Result<Table> {
    if args.decisions.is_empty() {
        return benchmark::import(&args.files).map_err(|error| {
            let advice = "for a CSV of your own, name its columns with --decisions and --metrics";
            let unknown = matches!(error, benchmark::BenchmarkError::Source { .. });
            let error = Error::from(error);
            if unknown { error.next(advice) } else { error }
        });
    }
    let [file] = args.files.as_slice() else {
        return Err(Error::usage(format!("--decisions takes one CSV file, and {} are given", args.files.len())));
    };
    let stem = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.split('.').next().unwrap_or_default().to_owned();
    let name = args.name.as_ref().unwrap_or(&stem);
    if let Err(error) = SearchSpace::builder(name).choice("any", ["one"]).build() {
        return Err(Error::usage(format!("a table cannot be called that: {error}")).next("name it: --name NAME"));
    }
    let import = CsvImport::new(name, args.decisions.iter().map(String::as_str));
    let import = args.metrics.iter().fold(import, |import, (column, direction)| import.metric(column, *direction));
    Ok(import.read(file)?)
}
