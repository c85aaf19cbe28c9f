//! What a search may begin with: the trials of another study of the same space.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::{Architecture, Observed, Origin, SearchSpace, StudyRecord, Trial};

/// The finished trials of another study, its source, by value: the study that begins with them does not need the source
/// any more. The spaces are the same; data set, budget and objective may differ, since only the order of rewards counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmStart {
    /// Where they come from, for people.
    pub source: String,
    /// The trials in their order; at least one is complete.
    pub trials: Vec<SourceTrial>,
}

/// A finished trial of the study that another one begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceTrial {
    /// Its number there.
    pub number: u64,
    /// What was tried.
    pub architecture: Architecture,
    /// What it was worth there, more being better; nothing when it failed.
    pub reward: Option<f64>,
}

impl WarmStart {
    /// The finished ones of `trials`, which are those of the study `record`, for a study of `space`, to whose limits they keep;
    /// `source` says for people where they come from.
    ///
    /// # Errors
    /// [`Error::WarmStart`] when the spaces differ or no trial is complete.
    pub fn new(source: &str, record: &StudyRecord, trials: &[Trial], space: &SearchSpace) -> Result<Self, Error> {
        let refuse = |why: String| Err(Error::WarmStart(format!("{source} is no start for this study: {why}")));
        if let Some(difference) = space.difference(&record.space) {
            return refuse(format!("its space is another, {difference}"));
        }
        // What the limits of this study forbid is nothing to begin with.
        let kept = |trial: &&Trial| !space.is_limited() || space.validate(&trial.architecture).is_ok();
        let finished = trials.iter().filter(|trial| trial.is_finished()).filter(kept);
        let known = |trial: &Trial| SourceTrial {
            number: trial.number,
            architecture: trial.architecture.clone(),
            reward: trial.reward(),
        };
        let trials: Vec<SourceTrial> = finished.map(known).collect();
        if trials.iter().all(|trial| trial.reward.is_none()) {
            let kept = if space.is_limited() { " and keeps to the limits" } else { "" };
            return refuse(format!("none of its trials is complete{kept}"));
        }
        Ok(WarmStart { source: source.to_owned(), trials })
    }

    /// The trials as a strategy on `space` is told of them.
    ///
    /// # Errors
    /// When an architecture is none of the space's.
    pub fn observed(&self, space: &SearchSpace) -> Result<Vec<Observed>, Error> {
        let observed = self.trials.iter().map(|trial| {
            let tokens = space.tokens(&trial.architecture)?;
            Ok(Observed { number: trial.number, tokens, reward: trial.reward, origin: Origin::Given })
        });
        observed.collect()
    }
}
