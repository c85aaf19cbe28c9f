//! Rewards that weigh a metric against costs: MnasNet's soft and hard products, TuNAS's absolute value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Direction, Objective, finite};
use crate::{Error, Failure, Metrics};

/// A cost with the value it should have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The cost's metric: `parameters`, `madds`, `latency_ms`.
    pub cost: String,
    /// The value it should have, above zero.
    pub target: f64,
}

/// How costs are weighed against a metric, and what they should be.
///
/// ```
/// use nas_core::objective::{RewardRule, Target, Tradeoff};
/// use nas_core::{Metrics, Objective};
///
/// let target = Target { cost: "parameters".to_owned(), target: 20e3 };
/// let tradeoff = Tradeoff { rule: RewardRule::TUNAS, targets: vec![target] };
/// let objective = Objective::maximize("accuracy").weighed(tradeoff);
/// let twice_as_large = Metrics::new().with("accuracy", 0.9).with("parameters", 40e3);
/// assert!((objective.reward(&twice_as_large)? - 0.8).abs() < 1e-12);
/// # Ok::<(), nas_core::Failure>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tradeoff {
    /// How.
    pub rule: RewardRule,
    /// Against what; one or more.
    pub targets: Vec<Target>,
}

/// A rule that makes one reward of a metric m and costs cᵢ with targets Tᵢ.
///
/// As text: `tunas`, `mnasnet` and `mnasnet-hard`, and with another weight than the published one `tunas:-0.2` and `mnasnet:-0.1`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum RewardRule {
    /// m · Π (cᵢ / Tᵢ)^w, where w is `below` for a cost up to its target and `above` for one over it (Tan et al., *MnasNet*, CVPR 2019,
    /// eq. 2 and 3).
    ///
    /// Where less of the metric is better, −m · Π (cᵢ / Tᵢ)^−w: networks are in the order that the published reward has for 1 / m. The
    /// metric must not be negative.
    Mnasnet {
        /// The exponent of costs up to the target, at most 0.
        below: f64,
        /// The exponent of costs over the target, at most 0.
        above: f64,
    },
    /// m + β Σ |cᵢ / Tᵢ − 1| (Bender et al., *TuNAS*, CVPR 2020): costs are drawn to their targets from both sides.
    ///
    /// Where less of the metric is better, −m · (1 − β Σ |cᵢ / Tᵢ − 1|): a loss has no scale of its own, so a cost takes a share of it.
    /// The metric must not be negative then.
    Tunas {
        /// β, below zero: what a cost that is twice its target takes from the metric.
        beta: f64,
    },
}

impl RewardRule {
    /// MnasNet's soft reward, which trades the metric for costs on both sides of the target: exponents of −0.07, by which 5 % more accuracy
    /// are worth twice the latency.
    pub const MNASNET: RewardRule = RewardRule::Mnasnet { below: -0.07, above: -0.07 };
    /// MnasNet's hard reward: the metric alone up to the target, sharply less above. Exponents of 0 and −1.
    pub const MNASNET_HARD: RewardRule = RewardRule::Mnasnet { below: 0.0, above: -1.0 };
    /// TuNAS's absolute reward with β = −0.1, as in its published code.
    pub const TUNAS: RewardRule = RewardRule::Tunas { beta: -0.1 };

    /// # Errors
    /// The weight that is none, in words.
    fn check(self) -> Result<(), String> {
        match self {
            RewardRule::Mnasnet { below, above } => {
                let wrong = [below, above].into_iter().find(|w| !(w.is_finite() && *w <= 0.0));
                wrong.map_or(Ok(()), |w| Err(format!("the exponent of mnasnet is {w}; it must be 0 or less")))
            }
            RewardRule::Tunas { beta } if beta.is_finite() && beta < 0.0 => Ok(()),
            RewardRule::Tunas { beta } => Err(format!("β of tunas is {beta}; it must be below 0")),
        }
    }
}

impl Tradeoff {
    /// Refuses a tradeoff without a target, targets that are not above zero or named twice, and weights that would reward costs.
    ///
    /// # Errors
    /// [`Error::Objective`].
    pub fn check(&self) -> Result<(), Error> {
        self.rule.check().map_err(Error::Objective)?;
        if self.targets.is_empty() {
            return Err(Error::Objective("a reward that weighs costs needs a target".to_owned()));
        }
        for (i, Target { cost, target }) in self.targets.iter().enumerate() {
            if !(target.is_finite() && *target > 0.0) {
                return Err(Error::Objective(format!("the target for {cost} is {target}; it must be above 0")));
            }
            if self.targets[..i].iter().any(|other| other.cost == *cost) {
                return Err(Error::Objective(format!("{cost} has two targets")));
            }
        }
        Ok(())
    }

    /// The reward of the metric's `value` with the costs among `metrics`.
    pub(super) fn reward(&self, objective: &Objective, value: f64, metrics: &Metrics) -> Result<f64, Failure> {
        let ratios = self.targets.iter().map(|target| {
            let cost = finite(metrics, &target.cost)?;
            if cost <= 0.0 {
                let message = format!("the cost \"{}\" is {cost}; only what is above 0 is weighed", target.cost);
                return Err(Failure::Other { message });
            }
            Ok(cost / target.target)
        });
        let ratios: Vec<f64> = ratios.collect::<Result<_, _>>()?;
        let minimized = objective.direction == Direction::Minimize;
        if value < 0.0 && (minimized || matches!(self.rule, RewardRule::Mnasnet { .. })) {
            let advice = if minimized { "" } else { "; tunas can" };
            let message = format!(
                "the metric \"{}\" is {value}, which {} cannot weigh{advice}: it must not be negative",
                objective.metric, self.rule
            );
            return Err(Failure::Other { message });
        }
        let reward = match self.rule {
            RewardRule::Mnasnet { below, above } => {
                let power = |r: &f64| objective.direction.signed(if *r <= 1.0 { below } else { above });
                objective.direction.signed(value * ratios.iter().map(|r| r.powf(power(r))).product::<f64>())
            }
            RewardRule::Tunas { beta } => {
                let penalty = beta * ratios.iter().map(|r| (r - 1.0).abs()).sum::<f64>();
                if minimized { -value * (1.0 - penalty) } else { value + penalty }
            }
        };
        if reward.is_finite() {
            return Ok(reward);
        }
        Err(Failure::Other { message: format!("the reward by {} is {reward}", self.rule) })
    }
}

impl fmt::Display for RewardRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RewardRule::MNASNET => f.write_str("mnasnet"),
            RewardRule::MNASNET_HARD => f.write_str("mnasnet-hard"),
            RewardRule::TUNAS => f.write_str("tunas"),
            RewardRule::Mnasnet { below, above } if below == above => write!(f, "mnasnet:{below}"),
            RewardRule::Mnasnet { below, above } => write!(f, "mnasnet:{below}:{above}"),
            RewardRule::Tunas { beta } => write!(f, "tunas:{beta}"),
        }
    }
}

impl FromStr for RewardRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let weights: Result<Vec<f64>, _> = parts.map(str::parse).collect();
        let rule = match (name, weights.as_deref()) {
            ("mnasnet", Ok([])) => RewardRule::MNASNET,
            ("mnasnet", Ok(&[w])) => RewardRule::Mnasnet { below: w, above: w },
            ("mnasnet", Ok(&[below, above])) => RewardRule::Mnasnet { below, above },
            ("mnasnet-hard", Ok([])) => RewardRule::MNASNET_HARD,
            ("tunas", Ok([])) => RewardRule::TUNAS,
            ("tunas", Ok(&[beta])) => RewardRule::Tunas { beta },
            _ => {
                let known = "tunas, tunas:BETA, mnasnet, mnasnet:EXPONENT, mnasnet:BELOW:ABOVE, mnasnet-hard";
                return Err(Error::Objective(format!("there is no reward \"{text}\"; rewards: {known}")));
            }
        };
        rule.check().map_err(Error::Objective)?;
        Ok(rule)
    }
}

impl fmt::Display for Tradeoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<String> = self.targets.iter().map(|t| format!("{} {}", t.cost, t.target)).collect();
        write!(f, "{} towards {}", self.rule, targets.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(base: Objective, rule: &str, targets: &[(&str, f64)]) -> Objective {
        let targets = targets.iter().map(|&(cost, target)| Target { cost: cost.to_owned(), target }).collect();
        base.weighed(Tradeoff { rule: rule.parse().unwrap(), targets })
    }

    #[track_caller]
    fn check(base: Objective, rule: &str, ms: f64, expected: f64) {
        let metrics = Metrics::new().with("accuracy", 0.8).with("loss", 0.5).with("ms", ms);
        let reward = objective(base, rule, &[("ms", 2.0)]).reward(&metrics).unwrap();
        assert!((reward - expected).abs() < 1e-12, "{reward}, not {expected}");
    }

    #[test]
    fn rewards_by_hand() {
        let accuracy = || Objective::maximize("accuracy");
        check(accuracy(), "tunas", 2.0, 0.8);
        check(accuracy(), "tunas", 3.0, 0.75);
        check(accuracy(), "tunas", 1.0, 0.75);
        check(accuracy(), "tunas:-0.3", 4.0, 0.5);
        check(accuracy(), "mnasnet", 2.0, 0.8);
        check(accuracy(), "mnasnet", 4.0, 0.8 * 2_f64.powf(-0.07));
        check(accuracy(), "mnasnet", 1.0, 0.8 * 2_f64.powf(0.07));
        check(accuracy(), "mnasnet-hard", 1.0, 0.8);
        check(accuracy(), "mnasnet-hard", 2.0, 0.8);
        check(accuracy(), "mnasnet-hard", 4.0, 0.4);
        check(accuracy(), "mnasnet:-0.5:-2", 8.0, 0.05);
    }

    #[test]
    fn rewards_of_losses_by_hand() {
        let loss = || Objective::minimize("loss");
        check(loss(), "tunas", 2.0, -0.5);
        check(loss(), "tunas", 4.0, -0.55);
        check(loss(), "tunas", 1.0, -0.525);
        check(loss(), "mnasnet", 4.0, -0.5 * 2_f64.powf(0.07));
        check(loss(), "mnasnet-hard", 1.0, -0.5);
        check(loss(), "mnasnet-hard", 4.0, -1.0);
    }

    #[test]
    fn a_loss_is_ordered_as_its_inverse_is_by_the_paper() {
        let networks: Vec<Metrics> = (1..30_u32)
            .map(|i| {
                let loss = 0.2 + f64::from(i * 37 % 29) / 29.0;
                Metrics::new().with("loss", loss).with("inverse", 1.0 / loss).with("ms", f64::from(i * 17 % 31) / 4.0)
            })
            .collect();
        let order = |base: Objective| {
            let objective = objective(base, "mnasnet:-0.4:-1.5", &[("ms", 3.0)]);
            let mut order: Vec<usize> = (0..networks.len()).collect();
            order.sort_by(|&a, &b| {
                objective.reward(&networks[a]).unwrap().total_cmp(&objective.reward(&networks[b]).unwrap())
            });
            order
        };
        assert_eq!(order(Objective::minimize("loss")), order(Objective::maximize("inverse")));
    }

    #[test]
    fn several_costs_add_up_or_multiply() {
        let metrics = Metrics::new().with("accuracy", 0.8).with("ms", 4.0).with("parameters", 500.0);
        let targets = [("ms", 2.0), ("parameters", 1000.0)];
        let reward = |rule| objective(Objective::maximize("accuracy"), rule, &targets).reward(&metrics).unwrap();
        assert!((reward("tunas") - 0.65).abs() < 1e-12);
        assert!((reward("mnasnet-hard") - 0.4).abs() < 1e-12);
        assert!((reward("mnasnet") - 0.8).abs() < 1e-12, "twice and half of it are even");
    }

    #[test]
    fn what_cannot_be_weighed_is_a_failure() {
        let base = || Objective::maximize("accuracy");
        let all = Metrics::new().with("accuracy", -0.1).with("ms", 0.0).with("parameters", 5.0);
        let fails = |base: Objective, rule: &str, cost: &str| {
            let failure = objective(base, rule, &[(cost, 1.0)]).reward(&all).unwrap_err();
            failure.to_string()
        };
        assert!(
            fails(base(), "tunas", "latency_ms").contains("no metric \"latency_ms\" was measured; measured: accuracy")
        );
        assert!(fails(base(), "tunas", "ms").contains("\"ms\" is 0"));
        assert!(fails(base(), "mnasnet", "parameters").contains("must not be negative"));
        assert!(fails(Objective::minimize("accuracy"), "tunas", "parameters").contains("must not be negative"));
        assert!(objective(base(), "tunas", &[("parameters", 5.0)]).reward(&all).is_ok());
    }

    #[test]
    fn rules_as_text() {
        for text in ["tunas", "tunas:-0.2", "mnasnet", "mnasnet:-0.1", "mnasnet:-0.1:-2", "mnasnet-hard"] {
            assert_eq!(text.parse::<RewardRule>().unwrap().to_string(), text);
        }
        for text in ["", "tuna", "tunas:0", "tunas:0.1", "tunas:x", "mnasnet:0.07", "mnasnet-hard:-1", "mnasnet:NaN"] {
            assert!(text.parse::<RewardRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn targets_that_are_none_are_refused() {
        let targets = |of: &[(&str, f64)]| objective(Objective::maximize("accuracy"), "tunas", of).tradeoff.unwrap();
        assert!(targets(&[("ms", 2.0), ("parameters", 3.0)]).check().is_ok());
        for bad in [&[][..], &[("ms", 0.0)], &[("ms", f64::NAN)], &[("ms", 1.0), ("ms", 2.0)]] {
            assert!(matches!(targets(bad).check(), Err(Error::Objective(_))), "{bad:?}");
        }
    }
}
