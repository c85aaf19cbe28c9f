//! The log: a file in the study's folder.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use crate::error::{Error, Result};

/// Writes what happens to `folder/study.log` from now on; `NAS_LOG` sets what is written (default `info`).
pub(crate) fn to(folder: &Path) -> Result<()> {
    let path = folder.join("study.log");
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(|e| Error::io("writing", &path, &e))?;
    let filter = EnvFilter::try_from_env("NAS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Mutex::new(file));
    // Only the first study of a process is logged; there is one.
    let _ = log.try_init();
    Ok(())
}
