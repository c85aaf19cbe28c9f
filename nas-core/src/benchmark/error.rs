//! What can be wrong with a table, its file or the sources it is made from.

use std::path::{Path, PathBuf};

use crate::error::SpaceError;

/// Why there is no table, or not the part of it that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchmarkError {
    /// Reading or writing failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was done: `reading`, `writing`.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file is no table, or it is damaged.
    #[error("{file} is no sound table: {field}: {why}")]
    File {
        /// The file.
        file: String,
        /// The part of it that is wrong.
        field: String,
        /// What was found there.
        why: String,
    },
    /// A value of a source that cannot be read.
    #[error("{file}, line {line}, column \"{column}\": {why}")]
    Cell {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What was found there.
        why: String,
    },
    /// A source that does not hold what it must.
    #[error("{file}: {why}")]
    Source {
        /// The file.
        file: String,
        /// What is missing or does not fit.
        why: String,
    },
    /// A record of a source that cannot be read.
    #[error("{file}, record {record}: {why}")]
    Record {
        /// The file.
        file: String,
        /// The record, from 1.
        record: u64,
        /// What was found there.
        why: String,
    },
    /// The table has nothing by that name.
    #[error("the table \"{table}\" has no {what} \"{name}\"{hint}; it has {known}")]
    Unknown {
        /// The table's name.
        table: String,
        /// `metric` or `task`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// A suggestion, or nothing.
        hint: String,
        /// The names there are.
        known: String,
    },
    /// What was asked of a table is more than it has.
    #[error("the table \"{table}\" cannot do this: {why}")]
    Lacks {
        /// The table's name.
        table: String,
        /// What it lacks.
        why: String,
    },
    /// The rows and columns do not make a table.
    #[error("these rows make no table: {0}")]
    Rows(String),
    /// What was asked for is no planted landscape.
    #[error("there is no planted landscape \"{text}\": {why}")]
    Planted {
        /// What was asked for.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The space of a table cannot be used.
    #[error(transparent)]
    Space(#[from] SpaceError),
}

impl BenchmarkError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| BenchmarkError::Io { action, path, source }
    }
}
