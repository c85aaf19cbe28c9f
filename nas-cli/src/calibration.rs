//! The calibration of this machine: one file of the user's, which every command finds.

use std::path::PathBuf;

use nas_nn::latency::{Calibration, CalibrationError};

use crate::error::{Error, Kind, Result};

/// Names another file, or is `none`.
const VARIABLE: &str = "NAS_CALIBRATION";

/// Where the calibration is kept: what `NAS_CALIBRATION` names, or a file in the user's data folder.
///
/// # Errors
/// When the variable is `none`, or there is no such folder.
pub(crate) fn path() -> Result<PathBuf> {
    match std::env::var_os(VARIABLE) {
        Some(value) if value == "none" => {
            Err(Error::usage(format!("{VARIABLE} is none: no calibration is kept or used")))
        }
        Some(value) if !value.is_empty() => Ok(PathBuf::from(value)),
        _ => data_folder().map(|folder| folder.join("nas").join("calibration.json")).ok_or_else(|| {
            Error::usage("there is no home folder to keep the calibration in")
                .next(format!("name a file with --out or {VARIABLE}"))
        }),
    }
}

/// The calibration that was made on this machine, if any.
///
/// # Errors
/// When the file is damaged or of another machine: latencies predicted by it would be wrong.
pub(crate) fn usable() -> Result<Option<Calibration>> {
    let Ok(path) = path() else { return Ok(None) };
    if !path.exists() {
        return Ok(None);
    }
    let advice = format!("measure again with `nas calibrate --replace`, or set {VARIABLE}=none");
    let calibration = Calibration::read(&path).map_err(|e| Error::from(e).next(advice.clone()))?;
    calibration.check_machine().map_err(|e| {
        let message = format!("{}: {e}", path.display());
        Error::new(Kind::Study, message).next(advice)
    })?;
    Ok(Some(calibration))
}

/// Where a program of this system keeps a user's data.
fn data_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if cfg!(windows) {
        return variable("LOCALAPPDATA");
    }
    let home = || variable("HOME");
    if cfg!(target_os = "macos") {
        return home().map(|home| home.join("Library/Application Support"));
    }
    variable("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share")))
}

impl From<CalibrationError> for Error {
    fn from(error: CalibrationError) -> Self {
        let message = error.to_string();
        match error {
            CalibrationError::Io { source, path, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::new(Kind::Io, format!("{} exists already and is not overwritten", path.display()))
                    .next("replace it with --replace, or choose another file with --out")
            }
            CalibrationError::Io { .. } => Self::new(Kind::Io, message),
            CalibrationError::Interrupted => Self::new(Kind::Interrupted, "interrupted; nothing was written"),
            CalibrationError::Family(error) => error.into(),
            _ => Self::new(Kind::Study, message),
        }
    }
}
