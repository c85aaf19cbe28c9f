//! The `nas` command: search, train and keep networks.

mod calibration;
mod cli;
mod command;
mod config;
mod error;
mod interrupt;
mod limits;
mod log;
mod output;
mod progress;
mod statistics;
mod study_folder;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let output = output::Output::new(cli.json, cli.quiet);
    match command::run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.code())
        }
    }
}
