//! `nas resume`: continues a study exactly where it stopped.

use std::sync::Arc;
use std::time::Duration;

use nas_core::{SqliteStorage, Storage as _, Study};

use super::{external, search};
use crate::cli;
use crate::config::Work;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::progress::Limits;
use crate::study_folder::StudyFolder;
use crate::{limits, log};

/// Continues a study.
pub(crate) fn run(args: &cli::Resume, output: Output) -> Result<()> {
    let workers = search::Workers::new(args.jobs, args.threads)?;
    let folder = StudyFolder::new(&args.study);
    let storage = Arc::new(SqliteStorage::open(&folder.database())?);
    let record = storage.study()?.ok_or(nas_core::Error::NotFound { path: args.study.clone() })?;
    let work = folder.work(&record)?;
    let done = storage.trials()?.iter().filter(|t| t.is_finished()).count() as u64;
    let (trials, seconds) = match &work {
        Work::Networks(config) => (config.trials, config.seconds),
        Work::Program(program) => (program.trials, program.seconds),
    };
    let limits = match (args.trials, args.time) {
        (None, None) => Limits { trials, time: seconds.map(Duration::from_secs_f64) },
        (trials, time) => Limits { trials, time },
    };
    if args.trials.is_some_and(|trials| trials < done) {
        let message = format!("--trials is {} and the study has {done} trials already", args.trials.unwrap_or(0));
        return Err(Error::usage(message).next("give the number it shall have in all, or --time"));
    }
    let begin = || -> Result<Study> {
        log::to(folder.path())?;
        let study = Study::open(storage, limits::strategy)?;
        output.line(format!("study    {}, resumed at trial {done}\n", folder.path().display()));
        Ok(study)
    };
    match work {
        Work::Networks(config) => {
            let data = config.source.open_again(&config.data_hash)?;
            let parts = search::split(&data.train, &config, record.seed)?;
            search::go(begin()?, &config, &data, parts, limits, workers, &folder, output)
        }
        Work::Program(program) => {
            let evaluator = external::started(&program)?;
            external::go(begin()?, &evaluator, limits, workers.jobs, &folder, output)
        }
    }
}
