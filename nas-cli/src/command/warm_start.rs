//! What `nas search --warm-start` begins with: the trials of another study.

use std::path::Path;

use nas_core::{SearchSpace, WarmStart};

use crate::error::{Error, Kind, Result};
use crate::output;
use crate::study_folder::StudyFolder;

/// The trials of the study in that folder, for a search by `agent` in `space`.
///
/// # Errors
/// When the agent cannot be warm-started, there is no such study, its space is another, or none of its trials is complete.
pub(super) fn read(study: Option<&Path>, agent: &str, space: &SearchSpace) -> Result<Option<WarmStart>> {
    let Some(path) = study else { return Ok(None) };
    nas_rl::check_warm_start(agent).map_err(|e| Error::usage(format!("--warm-start: {e}")))?;
    let (record, _, trials) = StudyFolder::new(path).read()?;
    let source = path.display().to_string();
    let warm_start = WarmStart::new(&source, &record, &trials, space).map_err(|e| {
        let advice = format!("`nas show {}` prints its space; give that with --space", output::typed(path));
        Error::new(Kind::Study, e.to_string()).next(advice)
    })?;
    Ok(Some(warm_start))
}

/// A line that says what a study begins with.
pub(super) fn line(warm_start: &WarmStart) -> String {
    let best = warm_start.trials.iter().filter_map(|trial| trial.reward).fold(f64::NEG_INFINITY, f64::max);
    format!("start    {} trials of {}, the best {best:.4} there", warm_start.trials.len(), warm_start.source)
}
