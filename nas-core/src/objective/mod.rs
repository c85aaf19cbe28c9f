//! From metrics to a reward: one metric, or one weighed against costs; several goals at once without weights.

mod pareto;
mod tradeoff;

use serde::{Deserialize, Serialize};

use crate::{Failure, Metrics};

pub use pareto::{dominates, hypervolume, pareto_front};
pub use tradeoff::{RewardRule, Target, Tradeoff};

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better.
    Maximize,
    /// Less is better.
    Minimize,
}

impl Direction {
    /// `value` with its sign turned when less is better: more is always better of it.
    pub fn signed(self, value: f64) -> f64 {
        match self {
            Direction::Maximize => value,
            Direction::Minimize => -value,
        }
    }
}

/// The goal of a study: one metric and its direction, which may be weighed against costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The metric's name.
    pub metric: String,
    /// Which way it is better.
    pub direction: Direction,
    /// The costs that the reward weighs against the metric; usually none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tradeoff: Option<Tradeoff>,
}

impl Objective {
    /// More of `metric` is better.
    pub fn maximize(metric: &str) -> Self {
        Objective { metric: metric.to_owned(), direction: Direction::Maximize, tradeoff: None }
    }

    /// Less of `metric` is better.
    pub fn minimize(metric: &str) -> Self {
        Objective { metric: metric.to_owned(), direction: Direction::Minimize, tradeoff: None }
    }

    /// The same, weighed against costs.
    #[must_use]
    pub fn weighed(self, tradeoff: Tradeoff) -> Self {
        Objective { tradeoff: Some(tradeoff), ..self }
    }

    /// The reward of `metrics`: the metric, with its sign turned when less is better, weighed against its costs if there are
    /// any ([`RewardRule`]). More is always better.
    ///
    /// # Errors
    /// A [`Failure`] when a metric is missing, no finite number or of a size that the rule cannot weigh, so that no such value ever
    /// reaches a policy.
    pub fn reward(&self, metrics: &Metrics) -> Result<f64, Failure> {
        let value = finite(metrics, &self.metric)?;
        match &self.tradeoff {
            None => Ok(self.direction.signed(value)),
            Some(tradeoff) => tradeoff.reward(self, value, metrics),
        }
    }
}

/// The metric called `name`.
fn finite(metrics: &Metrics, name: &str) -> Result<f64, Failure> {
    let Some(value) = metrics.get(name) else {
        let known: Vec<_> = metrics.iter().map(|(name, _)| name).collect();
        let message = format!("no metric \"{name}\" was measured; measured: {}", known.join(", "));
        return Err(Failure::Other { message });
    };
    if !value.is_finite() {
        return Err(Failure::Other { message: format!("the metric \"{name}\" is {value}") });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_better_turns_the_sign() {
        let metrics = Metrics::new().with("loss", 0.5);
        assert_eq!(Objective::minimize("loss").reward(&metrics), Ok(-0.5));
    }

    #[test]
    fn what_is_not_finite_is_a_failure() {
        let metrics = Metrics::new().with("loss", f64::NAN);
        assert!(matches!(Objective::maximize("loss").reward(&metrics), Err(Failure::Other { .. })));
        assert!(matches!(Objective::maximize("accuracy").reward(&metrics), Err(Failure::Other { .. })));
    }

    #[test]
    fn a_record_without_costs_is_written_as_before() {
        let text = r#"{"metric":"loss","direction":"minimize"}"#;
        let objective: Objective = serde_json::from_str(text).unwrap();
        assert_eq!(objective, Objective::minimize("loss"));
        assert_eq!(serde_json::to_string(&objective).unwrap(), text);
    }
}
