//! Files that appear whole or not at all.

use std::io::{Error, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// All of the file at `path`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|source| ModelError::Io { action: "reading", path: path.to_owned(), source })
}

/// Makes sure that nothing stands at `path` yet.
///
/// # Errors
/// When something does.
pub(crate) fn check_new(path: &Path) -> Result<(), ModelError> {
    if path.exists() {
        let source = Error::from(ErrorKind::AlreadyExists);
        return Err(ModelError::Io { action: "writing", path: path.to_owned(), source });
    }
    Ok(())
}

/// Writes the file at `path` and the folders above it.
///
/// # Errors
/// When it cannot be written; nothing is there then that was not before.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let io = |source| ModelError::Io { action: "writing", path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let store = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    let written = store();
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written.map_err(io)
}
