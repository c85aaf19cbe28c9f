//! Early stopping: which trials are worth all their epochs. It works with any strategy, and knows nothing of it.
//!
//! A trial is judged at *rungs*, after some of its epochs, by the bars that stood when it was proposed: they follow from the
//! trials that the strategy had observed by then. So a study stops the same trials for any number of threads, and again when it
//! is resumed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Metrics, Trial};

/// The start of the names of a trial's rewards at rungs: `reward_at_3` after three epochs.
const REWARD_AT: &str = "reward_at_";
/// The figure of a stopped trial: the epochs it was trained for.
pub const STOPPED_AT: &str = "stopped_at";
/// Trials whose rewards a median needs.
const FEWEST: usize = 5;

/// A rule by which trials are stopped early.
///
/// ```
/// use nas_core::EarlyStopping;
///
/// let rule: EarlyStopping = "asha:3".parse()?;
/// assert_eq!(rule, EarlyStopping::Asha { reduction_factor: 3, min_epochs: 1 });
/// assert_eq!(rule.to_string(), "asha:3");
/// # Ok::<(), nas_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum EarlyStopping {
    /// Asynchronous successive halving (Li et al., *A system for massively parallel hyperparameter tuning*, MLSys 2020), the
    /// variant that stops instead of pausing. Rungs lie at `min_epochs` · `reduction_factor`ᵏ; a trial goes on when its reward is among
    /// the best share of 1 / `reduction_factor` of those that were judged there.
    Asha {
        /// η, from 2. Usually 3.
        reduction_factor: u32,
        /// The epochs of the first rung, from 1. Usually 1.
        min_epochs: u32,
    },
    /// Hyperband (Li et al., JMLR 2018), asynchronous: the same rungs, but some trials are judged from a later one on, in case first
    /// epochs mislead. Trials are shared out as in the paper, ⌈(s + 1) / (k + 1) ηᵏ⌉ for k halvings of at most s.
    Hyperband {
        /// η, from 2. Usually 3.
        reduction_factor: u32,
        /// The epochs of the first rung, from 1. Usually 1.
        min_epochs: u32,
        /// The epochs of a trial that is never stopped.
        max_epochs: u32,
    },
    /// Median stopping (Golovin et al., *Google Vizier*, KDD 2017): after every epoch from `min_epochs` on, a trial is stopped when its best
    /// reward is below the median of the others' mean rewards up to there, once five of them are known.
    Median {
        /// The first epoch that is judged, from 1. Usually 1.
        min_epochs: u32,
    },
}

impl EarlyStopping {
    /// # Errors
    /// [`Error::Budget`] for a factor below 2, or epochs from 0.
    pub(crate) fn check(self) -> Result<(), Error> {
        let (factor, first) = match self {
            EarlyStopping::Asha { reduction_factor, min_epochs }
            | EarlyStopping::Hyperband { reduction_factor, min_epochs, .. } => (reduction_factor, min_epochs),
            EarlyStopping::Median { min_epochs } => (2, min_epochs),
        };
        if factor < 2 {
            return Err(Error::Budget(format!(
                "early stopping keeps one of {factor} trials; it must be one of 2 or more"
            )));
        }
        if first == 0 {
            return Err(Error::Budget("early stopping judges after 0 epochs; it must be 1 or more".to_owned()));
        }
        Ok(())
    }

    /// The first rung of trial `number`.
    fn first(self, number: u64) -> u32 {
        match self {
            EarlyStopping::Asha { min_epochs, .. } | EarlyStopping::Median { min_epochs } => min_epochs,
            EarlyStopping::Hyperband { reduction_factor, min_epochs, max_epochs } => {
                let most = (max_epochs / min_epochs).checked_ilog(reduction_factor).unwrap_or(0);
                let eta = f64::from(reduction_factor);
                let share = |k: u32| (f64::from(most + 1) / f64::from(k + 1) * eta.powi(k as i32)).ceil();
                let all: f64 = (0..=most).map(share).sum();
                // A sequence that is spread evenly: every stretch of trials has its share of each bracket.
                let mut at = (number as f64 * 0.618_033_988_749_894_9).fract() * all;
                let mut halvings = most;
                while halvings > 0 && at >= share(halvings) {
                    at -= share(halvings);
                    halvings -= 1;
                }
                min_epochs.saturating_mul(reduction_factor.saturating_pow(most - halvings))
            }
        }
    }

    /// Whether a trial whose first rung is `first` is judged after that epoch.
    fn is_rung(self, first: u32, epoch: u32) -> bool {
        match self {
            EarlyStopping::Median { .. } => epoch >= first,
            EarlyStopping::Asha { reduction_factor, .. } | EarlyStopping::Hyperband { reduction_factor, .. } => {
                let mut rung = first;
                while rung < epoch {
                    rung = rung.saturating_mul(reduction_factor);
                }
                rung == epoch
            }
        }
    }
}

impl std::fmt::Display for EarlyStopping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EarlyStopping::Asha { reduction_factor, .. } => write!(f, "asha:{reduction_factor}"),
            EarlyStopping::Hyperband { reduction_factor, max_epochs, .. } => {
                write!(f, "hyperband:{reduction_factor}:{max_epochs}")
            }
            EarlyStopping::Median { min_epochs } => write!(f, "median:{min_epochs}"),
        }
    }
}

impl std::str::FromStr for EarlyStopping {
    type Err = Error;

    /// `asha` or `asha:3` (one trial of three goes on), `median` or `median:2` (from the second epoch on), `hyperband:3:27` (at
    /// most 27 epochs).
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || {
            let known = "asha, asha:FACTOR, hyperband:FACTOR:EPOCHS, median, median:EPOCH";
            Error::Budget(format!("\"{text}\" is no rule of early stopping; there are {known}"))
        };
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let numbers = parts.map(|part| part.parse().map_err(|_| unknown())).collect::<Result<Vec<u32>, Error>>()?;
        let rule = match (name, &numbers[..]) {
            ("asha", []) => EarlyStopping::Asha { reduction_factor: 3, min_epochs: 1 },
            ("asha", &[reduction_factor]) => EarlyStopping::Asha { reduction_factor, min_epochs: 1 },
            ("hyperband", &[reduction_factor, max_epochs]) => {
                EarlyStopping::Hyperband { reduction_factor, min_epochs: 1, max_epochs }
            }
            ("median", []) => EarlyStopping::Median { min_epochs: 1 },
            ("median", &[min_epochs]) => EarlyStopping::Median { min_epochs },
            _ => return Err(unknown()),
        };
        rule.check()?;
        Ok(rule)
    }
}

impl Trial {
    /// The epochs after which a complete trial was judged, with its rewards there; none in a study without early stopping.
    pub fn rungs(&self) -> Vec<(u32, f64)> {
        let at = |(name, reward): (&str, f64)| Some((name.strip_prefix(REWARD_AT)?.parse::<u32>().ok()?, reward));
        let mut rungs: Vec<(u32, f64)> = self.metrics().into_iter().flat_map(Metrics::iter).filter_map(at).collect();
        rungs.sort_unstable_by_key(|&(epoch, _)| epoch);
        rungs
    }
}

/// The rewards that observed trials had at rungs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rungs {
    /// By epoch, ascending: the reward there, or for a median the mean of those up to there.
    rewards: BTreeMap<u32, Vec<f64>>,
}

impl Rungs {
    /// Takes in what was measured of a trial at its rungs.
    pub(crate) fn observe(&mut self, rule: EarlyStopping, trial: &Trial) {
        let mut sum = 0.0;
        for (i, (epoch, reward)) in trial.rungs().into_iter().enumerate() {
            sum += reward;
            let value = if let EarlyStopping::Median { .. } = rule { sum / (i + 1) as f64 } else { reward };
            let rewards = self.rewards.entry(epoch).or_default();
            rewards.insert(rewards.partition_point(|&held| held < value), value);
        }
    }

    /// The bars for trial `number`, as things stand.
    pub(crate) fn bars(&self, rule: EarlyStopping, number: u64) -> Bars {
        let bar = |rewards: &[f64]| match rule {
            EarlyStopping::Median { .. } => (rewards.len() >= FEWEST).then(|| {
                let middle = rewards.len() / 2;
                if rewards.len() % 2 == 1 { rewards[middle] } else { (rewards[middle - 1] + rewards[middle]) / 2.0 }
            }),
            EarlyStopping::Asha { reduction_factor, .. } | EarlyStopping::Hyperband { reduction_factor, .. } => {
                // Of all that were judged, the trial itself among them, so many go on.
                let go_on = (rewards.len() + 1) / reduction_factor as usize;
                (go_on > 0).then(|| rewards[rewards.len() - go_on])
            }
        };
        let bars = self.rewards.iter().filter_map(|(&epoch, rewards)| Some((epoch, bar(rewards)?))).collect();
        Bars { rule, first: rule.first(number), bars }
    }
}

/// What a trial must reach to go on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bars {
    rule: EarlyStopping,
    first: u32,
    bars: BTreeMap<u32, f64>,
}

impl Bars {
    /// Whether the trial is judged after that epoch.
    pub(crate) fn is_rung(&self, epoch: u32) -> bool {
        self.rule.is_rung(self.first, epoch)
    }

    /// Whether a trial with these rewards at its rungs so far, the last after `epoch`, goes on.
    pub(crate) fn goes_on(&self, epoch: u32, rewards: &[(u32, f64)]) -> bool {
        let Some(&bar) = self.bars.get(&epoch) else { return true };
        let reward = match self.rule {
            EarlyStopping::Median { .. } => rewards.iter().map(|&(_, reward)| reward).fold(f64::NEG_INFINITY, f64::max),
            _ => rewards.last().map_or(f64::NEG_INFINITY, |&(_, reward)| reward),
        };
        reward >= bar
    }
}

/// The name of the reward after `epoch` among a trial's figures.
pub(crate) fn reward_at(epoch: u32) -> String {
    format!("{REWARD_AT}{epoch}")
}

#[cfg(test)]
mod tests;
