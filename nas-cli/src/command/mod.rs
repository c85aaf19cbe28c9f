//! The commands, one a file.

mod bench;
mod calibrate;
mod closing;
mod compare;
mod completions;
mod data;
mod evaluate;
mod external;
mod goals;
mod pareto;
mod policy;
mod predict;
mod resume;
mod search;
mod show;
mod space;
mod status;
mod studies;
mod train;
mod trials;
mod warm_start;

use crate::cli::{Cli, Command};
use crate::error::{Error, Result};
use crate::output::Output;

/// Runs what was asked for; without a command, the main job in short.
pub(crate) fn run(cli: Cli, output: &Output) -> Result<()> {
    let output = *output;
    // The kernels would go on with another set, and numbers would differ in their last bits from those asked for.
    nas_nn::kernel::simd().map_err(Error::usage)?;
    match cli.command {
        None => search::short(output),
        Some(Command::Search(args)) => search::run(*args, output),
        Some(Command::Resume(args)) => resume::run(&args, output),
        Some(Command::Studies(args)) => studies::run(&args, output),
        Some(Command::Status(args)) => status::run(&args, output),
        Some(Command::Trials(args)) => trials::run(&args, output),
        Some(Command::Pareto(args)) => pareto::run(&args, output),
        Some(Command::Policy(args)) => policy::run(&args, output),
        Some(Command::Show(args)) => show::run(&args, output),
        Some(Command::Train(args)) => train::run(&args, output),
        Some(Command::Evaluate(args)) => evaluate::run(&args, output),
        Some(Command::Predict(args)) => predict::run(&args, output),
        Some(Command::Space(space)) => space::run(&space, output),
        Some(Command::Data(data)) => data::run(&data, output),
        Some(Command::Calibrate(args)) => calibrate::run(&args, output),
        Some(Command::Compare(args)) => compare::run(*args, output),
        Some(Command::Bench(args)) => bench::run(&args, output),
        Some(Command::Completions(args)) => completions::run(&args),
    }
}
