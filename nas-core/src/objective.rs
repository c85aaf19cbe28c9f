//! From metrics to a reward.

use serde::{Deserialize, Serialize};

use crate::{Failure, Metrics};

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better.
    Maximize,
    /// Less is better.
    Minimize,
}

/// The goal of a study: one metric and its direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The metric's name.
    pub metric: String,
    /// Which way it is better.
    pub direction: Direction,
}

impl Objective {
    /// More of `metric` is better.
    pub fn maximize(metric: &str) -> Self {
        Objective { metric: metric.to_owned(), direction: Direction::Maximize }
    }

    /// Less of `metric` is better.
    pub fn minimize(metric: &str) -> Self {
        Objective { metric: metric.to_owned(), direction: Direction::Minimize }
    }

    /// The reward of `metrics`: the metric, with its sign turned when less is better. More is always better.
    ///
    /// # Errors
    /// A [`Failure`] when the metric is missing or no finite number, so that no such value ever reaches a policy.
    pub fn reward(&self, metrics: &Metrics) -> Result<f64, Failure> {
        let Some(value) = metrics.get(&self.metric) else {
            let known: Vec<_> = metrics.iter().map(|(name, _)| name).collect();
            let message = format!("no metric \"{}\" was measured; measured: {}", self.metric, known.join(", "));
            return Err(Failure::Other { message });
        };
        if !value.is_finite() {
            return Err(Failure::Other { message: format!("the metric \"{}\" is {value}", self.metric) });
        }
        Ok(match self.direction {
            Direction::Maximize => value,
            Direction::Minimize => -value,
        })
    }
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
}
