//! Calibrations as files: JSON with a version and a checksum.

use std::hash::Hasher as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Calibration, VERSION};
use crate::family::FamilyError;

/// A calibration that cannot be made, written, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// A network cannot be built.
    #[error(transparent)]
    Family(#[from] FamilyError),
    /// Somebody asked it to stop.
    #[error("interrupted")]
    Interrupted,
    /// Reading or writing failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file is no calibration, or a damaged one.
    #[error("{path} is no calibration: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// It was measured on another machine, or for other kernels.
    #[error("the calibration is of another machine ({there}; this one is {here})")]
    Elsewhere {
        /// This machine.
        here: String,
        /// That of the calibration.
        there: String,
    },
}

impl Calibration {
    /// Reads what [`Calibration::write`] wrote.
    ///
    /// # Errors
    /// When the file is missing, damaged or of another version.
    pub fn read(path: &Path) -> Result<Self, CalibrationError> {
        let io = |source| CalibrationError::Io { action: "reading", path: path.to_owned(), source };
        let damaged = |why: String| CalibrationError::Damaged { path: path.to_owned(), why };
        let text = std::fs::read(path).map_err(io)?;
        // The version comes first: another one may have another form.
        let json: serde_json::Value = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        match json.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(damaged(format!("its version is {version}; this program reads {VERSION}"))),
            None => return Err(damaged("it has no version".to_owned())),
        }
        let calibration: Calibration = serde_json::from_value(json).map_err(|e| damaged(e.to_string()))?;
        if calibration.hash() != calibration.checksum {
            return Err(damaged("its checksum does not fit what it holds".to_owned()));
        }
        Ok(calibration)
    }

    /// Writes a file, in place of the one that stands at `path` if `replace` says so. It appears whole or not at all.
    ///
    /// # Errors
    /// When there is a file that is not to be replaced, or it cannot be written.
    pub fn write(&self, path: &Path, replace: bool) -> Result<(), CalibrationError> {
        let io = |source| CalibrationError::Io { action: "writing", path: path.to_owned(), source };
        if !replace && path.exists() {
            return Err(io(std::io::ErrorKind::AlreadyExists.into()));
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let text = serde_json::to_string_pretty(self).expect("plain data is JSON");
        let mut part = path.to_owned().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let store = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, path)
        };
        store().inspect_err(|_| drop(std::fs::remove_file(&part))).map_err(io)
    }

    /// A hash of everything but the checksum.
    pub(super) fn hash(&self) -> String {
        let bare = Calibration { checksum: String::new(), ..self.clone() };
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(serde_json::to_string(&bare).expect("plain data is JSON").as_bytes());
        format!("{:016x}", hasher.finish())
    }
}
