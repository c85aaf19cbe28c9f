//! `nas bench`: agents on published tables and planted landscapes, where a search takes milliseconds.

mod compare;
mod contest;
mod curves;
mod import;
mod info;
mod summary;
mod transfer;
mod workers;

use std::path::Path;

use nas_core::benchmark::Table;

use crate::cli::{self, BenchCommand};
use crate::error::Result;
use crate::output::Output;

/// Compares, imports or describes.
pub(crate) fn run(args: &cli::Bench, output: Output) -> Result<()> {
    match &args.command {
        Some(BenchCommand::Import(args)) => import::run(args, output),
        Some(BenchCommand::Info(args)) => info::run(args, output),
        None if !args.compare.warm_from.is_empty() => transfer::run(&args.compare, output),
        None if !args.compare.planted.is_empty() => compare::planted(&args.compare, output),
        None if args.compare.workers.is_empty() => compare::run(&args.compare, output),
        None => workers::run(&args.compare, output),
    }
}

/// The table in a file, or the built-in one.
fn open(path: Option<&Path>) -> Result<Table> {
    match path {
        Some(path) => Ok(Table::open(path)?),
        None => Ok(Table::nas_bench_201()),
    }
}
