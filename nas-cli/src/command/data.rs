//! `nas data`: a look at data before it is used.

use nas_nn::data::describe;

use super::search;
use crate::cli;
use crate::config::Source;
use crate::error::Result;
use crate::output::Output;

/// Reads a data set whole and describes it.
pub(crate) fn run(command: &cli::Data, output: Output) -> Result<()> {
    let cli::Data::Check(args) = command;
    let data = Source::of(args.data.as_deref(), args.demo, &args.columns)?.open()?;
    let mut report = describe(&data);
    // What a search would say before it starts, at the settings it has by itself.
    if let Err(error) = search::check_data(&data) {
        report.add_problem(format!("nas search refuses it: {}", error.message()));
    }
    output.json(&report);
    output.answer(report.to_string());
    Ok(())
}
