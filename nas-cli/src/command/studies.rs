//! `nas studies`: the studies of a folder.

use std::path::{Path, PathBuf};

use nas_core::Trial;

use crate::cli;
use crate::error::{Error, Result};
use crate::output::{self, Output};
use crate::study_folder::{self, COMPARISON, StudyFolder};

/// Lists them; a damaged one is a line that says so.
pub(crate) fn run(args: &cli::Studies, output: Output) -> Result<()> {
    let (folders, comparisons) = study_folders(&args.folder)?;
    if folders.is_empty() && comparisons.is_empty() {
        output.answer(format!("There is no study in {}. Start one: nas search", args.folder.display()));
        return Ok(());
    }
    let mut rows = Vec::new();
    for folder in folders {
        let name = folder.path().display().to_string();
        match folder.read() {
            Ok((record, _, trials)) => {
                let finished = study_folder::finished(&trials);
                let best = study_folder::best(&trials).and_then(Trial::reward);
                let state = folder.state(&trials).name();
                output.json(&serde_json::json!({
                    "study": name, "state": state, "trials": finished, "best": best,
                    "space": record.space.name(), "agent": record.strategy,
                }));
                let best = best.map_or_else(|| "-".to_owned(), |b| format!("{b:.4}"));
                let space = record.space.name().to_owned();
                rows.push(vec![name, state.to_owned(), finished.to_string(), best, space, record.strategy]);
            }
            Err(error) => {
                output.json(&serde_json::json!({"study": name, "state": "damaged", "error": error.message()}));
                rows.push(vec![name, format!("damaged: {}", error.message())]);
            }
        }
    }
    if !rows.is_empty() {
        output.answer(output::table(&["study", "state", "trials", "best", "space", "agent"], &[2, 3], rows));
    }
    for comparison in comparisons {
        output.json(&serde_json::json!({"comparison": comparison}));
        let folder = output::typed(&comparison);
        output.answer(format!("{folder} is a comparison: `nas studies {folder}` lists its searches"));
    }
    Ok(())
}

/// Folders that hold a study's database, and those that are comparisons, by name.
fn study_folders(parent: &Path) -> Result<(Vec<StudyFolder>, Vec<PathBuf>)> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        Err(e) => return Err(Error::io("reading", parent, &e)),
    };
    let (mut studies, mut comparisons) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.map_err(|e| Error::io("reading", parent, &e))?.path();
        if StudyFolder::new(&path).database().is_file() {
            studies.push(path);
        } else if path.join(COMPARISON).is_file() {
            comparisons.push(path);
        }
    }
    studies.sort();
    comparisons.sort();
    Ok((studies.iter().map(|path| StudyFolder::new(path)).collect(), comparisons))
}
