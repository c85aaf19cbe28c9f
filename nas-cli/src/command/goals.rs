//! Targets from the command line: what a search weighs against its metric.

use nas_core::Objective;
use nas_core::objective::{RewardRule, Target, Tradeoff};
use nas_nn::evaluator::LATENCY;

use crate::cli;
use crate::error::{Error, Result};

/// `objective` weighed against the targets that were given, if any; `has_latency` tells whether trials have one.
pub(super) fn weigh(objective: Objective, goals: &cli::Goals, has_latency: bool) -> Result<Objective> {
    let given = [("parameters", goals.target_params), ("madds", goals.target_madds), (LATENCY, goals.target_latency)];
    let targets =
        given.into_iter().filter_map(|(cost, target)| Some(Target { cost: cost.to_owned(), target: target? }));
    let targets: Vec<Target> = targets.collect();
    if targets.is_empty() {
        let Some(rule) = goals.reward else { return Ok(objective) };
        let message = format!("--reward {rule} has nothing to weigh");
        return Err(Error::usage(message).next("give --target-latency, --target-params or --target-madds"));
    }
    if goals.target_latency.is_some() && !has_latency {
        let message = "--target-latency needs to know how fast this machine is";
        return Err(Error::usage(message).next("measure it once, in seconds: `nas calibrate`"));
    }
    let tradeoff = Tradeoff { rule: goals.reward.unwrap_or(RewardRule::TUNAS), targets };
    tradeoff.check()?;
    Ok(objective.weighed(tradeoff))
}
