//! What goes wrong, in one line, with what to do next and the exit code.

use std::path::Path;

use nas_core::Error as CoreError;
use nas_nn::data::DataError;
use nas_nn::error::ModelError;
use nas_nn::family::FamilyError;
use nas_nn::network::NetworkError;

use crate::output;
use crate::study_folder::COMPARISON;

/// Which kind of trouble it is; scripts see it as the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Wrong usage or configuration: 2.
    Usage,
    /// Bad data: 3.
    Data,
    /// A study or model that is not there, damaged or not usable now: 4.
    Study,
    /// No architecture keeps to the limits: 5.
    Limits,
    /// Reading or writing failed: 74.
    Io,
    /// Interrupted, everything is saved: 130.
    Interrupted,
    /// Anything else: 1.
    Other,
}

/// An error as a person reads it.
#[derive(Debug)]
pub(crate) struct Error {
    kind: Kind,
    message: String,
    next: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), next: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The same error with advice: a clause or a command to type.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next.get_or_insert(next.into());
        self
    }

    pub(crate) fn io(action: &str, path: &Path, source: &std::io::Error) -> Self {
        Self::new(Kind::Io, format!("{action} {}: {source}", path.display()))
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Data => 3,
            Kind::Study => 4,
            Kind::Limits => 5,
            Kind::Io => 74,
            Kind::Interrupted => 130,
            Kind::Other => 1,
        }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn advice(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

impl From<CoreError> for Error {
    fn from(error: CoreError) -> Self {
        let message = error.to_string();
        match error {
            CoreError::Space(error) => Self::from(error),
            CoreError::Architecture(_) | CoreError::Budget(_) | CoreError::Objective(_) => {
                Self::new(Kind::Usage, message)
            }
            CoreError::Exists { path } => Self::new(Kind::Study, message).next(format!(
                "continue it with `nas resume {}` or choose another folder with --study",
                output::typed(&path)
            )),
            CoreError::NotFound { path } => {
                let holds = |folder: &&Path| folder.join(COMPARISON).is_file();
                let comparison = [Some(path.as_path()), path.parent()].into_iter().flatten().find(holds);
                Self::new(Kind::Study, message).next(comparison.map_or_else(
                    || "list studies with `nas studies`".to_owned(),
                    |folder| {
                        let folder = output::typed(folder);
                        format!(
                            "it is a comparison: `nas compare {folder}` continues it, `nas studies {folder}` lists it"
                        )
                    },
                ))
            }
            CoreError::Locked { .. } => {
                Self::new(Kind::Study, message).next("wait until it ends, or look at it with `nas status`")
            }
            CoreError::Damaged { .. } | CoreError::Mismatch { .. } | CoreError::Replay { .. } => {
                Self::new(Kind::Study, message).next("start a new study with `nas search`; nothing was changed here")
            }
            CoreError::Io { .. } => Self::new(Kind::Io, message),
            _ => Self::new(Kind::Other, message),
        }
    }
}

impl From<nas_core::ArchitectureError> for Error {
    fn from(error: nas_core::ArchitectureError) -> Self {
        Self::new(Kind::Usage, error.to_string())
    }
}

impl From<nas_core::SpaceError> for Error {
    fn from(error: nas_core::SpaceError) -> Self {
        let message = error.to_string();
        match error {
            nas_core::SpaceError::Limits { .. } => {
                Self::new(Kind::Limits, message).next("raise the limits, or search another space: `nas space list`")
            }
            _ => Self::new(Kind::Usage, message),
        }
    }
}

impl From<nas_core::benchmark::BenchmarkError> for Error {
    fn from(error: nas_core::benchmark::BenchmarkError) -> Self {
        use nas_core::benchmark::BenchmarkError;
        let message = error.to_string();
        match error {
            BenchmarkError::Io { source, path, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::new(Kind::Io, format!("{} exists already and is not overwritten", path.display()))
            }
            BenchmarkError::Io { .. } => Self::new(Kind::Io, message),
            BenchmarkError::Unknown { .. } | BenchmarkError::Lacks { .. } | BenchmarkError::Planted { .. } => {
                Self::new(Kind::Usage, message)
            }
            _ => Self::new(Kind::Data, message),
        }
    }
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        Self::new(Kind::Data, error.to_string())
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        let message = error.to_string();
        match error {
            ModelError::Io { source, path, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::new(Kind::Io, format!("{} exists already and is not overwritten", path.display()))
            }
            ModelError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::new(Kind::Study, message)
            }
            ModelError::Io { .. } => Self::new(Kind::Io, message),
            _ => Self::new(Kind::Study, message),
        }
    }
}

impl From<FamilyError> for Error {
    fn from(error: FamilyError) -> Self {
        Self::new(Kind::Usage, error.to_string())
    }
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        let message = error.to_string();
        match error {
            NetworkError::Data(_) => Self::new(Kind::Data, message),
            NetworkError::Family(_) => Self::new(Kind::Usage, message),
            NetworkError::Train(nas_nn::train::TrainError::Interrupted) => Self::new(Kind::Interrupted, message),
            _ => Self::new(Kind::Other, message),
        }
    }
}

/// The result of a command.
pub(crate) type Result<T> = std::result::Result<T, Error>;
