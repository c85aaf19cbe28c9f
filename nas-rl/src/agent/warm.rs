//! How an agent begins with the best that another study of the same space found.

use nas_core::{Error, Observed};

use super::Figures;
use super::queue::Queue;
use crate::environment::{Environment, Episode};
use crate::policy::Policy;

/// How many of a source's best a policy is fitted to, when its agent has no queue.
pub(super) const IMITATED: usize = 5;
/// Steps of the policy's optimizer on them, the weight of the entropy and the largest norm of the gradient: those of ten
/// trials of priority queue training.
const STEPS: usize = 50;
const ENT_COEF: f64 = 0.1;
const MAX_GRAD_NORM: f64 = 10.0;

/// The complete trials of `source` with their episodes, the best first; of equals the earlier one.
///
/// # Errors
/// When a trial is none of the space's, or none is complete.
pub(super) fn best<'a>(
    source: &'a [Observed],
    environment: &Environment,
) -> Result<Vec<(&'a Observed, Episode)>, Error> {
    let reward = |trial: &Observed| trial.reward.filter(|reward| reward.is_finite());
    let mut best = Vec::new();
    for trial in source {
        let episode = environment.replay(&trial.tokens)?;
        best.extend(reward(trial).map(|reward| (reward, trial, episode)));
    }
    if best.is_empty() {
        return Err(Error::WarmStart("none of the trials to begin with is complete".to_owned()));
    }
    best.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
    Ok(best.into_iter().map(|(_, trial, episode)| (trial, episode)).collect())
}

/// Fills `queue` with the best of a source.
pub(super) fn begin(queue: &mut Queue, best: &[(&Observed, Episode)]) {
    for (trial, episode) in best {
        queue.push_source(trial.number, episode, trial.reward.unwrap_or(f64::NAN));
    }
}

/// Fills `queue` with the best of a source and fits `policy` to it.
pub(super) fn start(
    queue: &mut Queue,
    policy: &mut dyn Policy,
    environment: &Environment,
    source: &[Observed],
) -> Result<(), Error> {
    begin(queue, &best(source, environment)?);
    queue.fit(policy, STEPS, ENT_COEF, MAX_GRAD_NORM, &mut Figures::default());
    Ok(())
}
