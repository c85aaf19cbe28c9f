//! Searches under limits: from flags and files to a space that keeps to them.

use std::sync::Arc;

use nas_core::space::Limits;
use nas_core::{SearchSpace, Strategy, StudyRecord};
use nas_nn::costs::NetworkCosts;
use nas_nn::family::{self, Family, Task};
use nas_nn::train::Recipe;

use crate::cli;
use crate::config::{Config, Work};
use crate::error::Result;

/// The limits of a space, with those of flags and the configuration file in place of its own.
pub(crate) fn of(space: &SearchSpace, given: &cli::Limits) -> Limits {
    let cli::Limits { max_params, max_madds, max_memory } = *given;
    let given =
        [(NetworkCosts::PARAMS, max_params), (NetworkCosts::MADDS, max_madds), (NetworkCosts::MEMORY, max_memory)];
    let given = given.into_iter().filter_map(|(figure, most)| Some((figure, most?)));
    given.fold(space.limits().clone(), |limits, (figure, most)| limits.with(figure, most))
}

/// `space` under `limits` on its networks, which are trained by `recipe` on so many examples.
///
/// # Errors
/// When a limit is on something else, or no network keeps to them.
pub(crate) fn keep(
    space: &SearchSpace,
    limits: Limits,
    family: Arc<dyn Family>,
    task: &Task,
    recipe: &Recipe,
    examples: usize,
) -> Result<SearchSpace> {
    Ok(space.limited(limits, Arc::new(NetworkCosts::new(family, task.clone(), recipe.clone(), examples)))?)
}

/// The strategy of a study, fresh, on its space under its limits.
///
/// # Errors
/// When there is none of that name, or the limits cannot be kept.
pub(crate) fn strategy(record: &StudyRecord) -> std::result::Result<Box<dyn Strategy>, nas_core::Error> {
    let wrong = |why: String| nas_core::Error::Strategy(why);
    let space = match Work::of(&record.configuration).map_err(|e| wrong(e.to_string()))? {
        Work::Networks(config) if !record.space.limits().is_empty() => {
            let Config { task, search, examples, .. } = *config;
            let family = family::of(&record.space).map_err(|e| wrong(e.to_string()))?;
            let limits = record.space.limits().clone();
            keep(&record.space, limits, family, &task, &search, examples.unwrap_or(usize::MAX))
                .map_err(|e| wrong(e.message().to_owned()))?
        }
        _ => record.space.clone(),
    };
    nas_rl::strategy(&record.strategy, &space, record.seed).map_err(|e| wrong(e.to_string()))
}

/// `, max-params 40000`, or nothing without limits: what follows the size of a space.
pub(crate) fn after(space: &SearchSpace) -> String {
    if space.limits().is_empty() { String::new() } else { format!(", {}", space.limits()) }
}
