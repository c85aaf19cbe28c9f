//! The arguments that weigh costs, and those of `nas pareto` and `nas calibrate`.

use std::path::PathBuf;

use clap::Args;

use super::value::metric;

/// What a network should cost, and how that is weighed against what is searched for.
#[derive(Debug, Args, Default)]
pub(crate) struct Goals {
    /// The latency it should have on this machine, predicted by `nas calibrate`: 500us, 2ms
    #[arg(long, value_name = "TIME", value_parser = milliseconds, allow_hyphen_values = true)]
    pub(crate) target_latency: Option<f64>,

    /// The number of parameters it should have: 20k, 1.5M
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    pub(crate) target_params: Option<f64>,

    /// The multiply-adds for an example that it should take: 800k, 5M
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    pub(crate) target_madds: Option<f64>,

    /// How targets are weighed: tunas (drawn to them from both sides), mnasnet (traded on both sides), mnasnet-hard (free up to them); with a
    /// weight of your own tunas:-0.2, mnasnet:-0.1 [default: tunas]
    #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
    pub(crate) reward: Option<nas_core::objective::RewardRule>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas pareto studies/fashion-mnist-mini
  nas pareto studies/fashion-mnist-mini --goals accuracy,madds
  nas pareto studies/mine --goals auc:max,seconds:min --csv

A trial is on the front when no other is as good in every goal and better in one. The hypervolume is the volume of all that
the front dominates, up to the reference point: the worst of all trials in each goal, unless --reference is given. Compare
it between studies with the same --reference only.")]
pub(crate) struct Pareto {
    /// The study's folder
    pub(crate) study: PathBuf,

    /// Metrics, separated by commas, with :max or :min for those nas does not know [default: the study's metric, parameters and,
    /// if it is known, latency_ms]
    #[arg(long, value_name = "METRICS", value_delimiter = ',', value_parser = metric)]
    pub(crate) goals: Vec<(String, Option<nas_core::Direction>)>,

    /// The reference point of the hypervolume, a value a goal, separated by commas
    #[arg(long, value_name = "VALUES", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) reference: Vec<f64>,

    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas calibrate                         once, in some ten seconds
  nas calibrate --replace               again, after the machine or nas has changed
  nas calibrate --batch 32 --out by-32.json
  NAS_CALIBRATION=by-32.json nas search --target-latency 5ms

From then on, trials, `nas show` and `nas space check` tell a predicted latency (latency_ms: milliseconds for a batch, one
thread), and `nas search --target-latency` weighs it. A study keeps the calibration that it began with. It stands in the
user's data folder unless NAS_CALIBRATION names another file; NAS_CALIBRATION=none uses none.")]
pub(crate) struct Calibrate {
    /// Examples in a batch
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) batch: usize,

    /// Replace the calibration that is there
    #[arg(long)]
    pub(crate) replace: bool,

    /// Where to write it [default: a file in the user's data folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Milliseconds: a number with us, ms or s.
fn milliseconds(text: &str) -> Result<f64, String> {
    let wrong = || "write a time above zero such as 500us, 2ms or 0.1s".to_owned();
    let (number, scale) = [("us", 1e-3), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3)]
        .into_iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
        .ok_or_else(wrong)?;
    positive(number.trim(), scale).ok_or_else(wrong)
}

/// A number, which may have a k, M or G.
fn count(text: &str) -> Result<f64, String> {
    let (number, scale) = [("k", 1e3), ("M", 1e6), ("G", 1e9)]
        .into_iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
        .unwrap_or((text, 1.0));
    positive(number.trim(), scale).ok_or_else(|| "write a number above zero such as 5000, 20k or 1.5M".to_owned())
}

fn positive(number: &str, scale: f64) -> Option<f64> {
    let value = scale * number.parse::<f64>().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts() {
        assert_eq!(milliseconds("2ms"), Ok(2.0));
        assert_eq!(milliseconds("500us"), Ok(0.5));
        assert_eq!(milliseconds("0.1s"), Ok(100.0));
        assert_eq!(count("20k"), Ok(20e3));
        assert_eq!(count("1.5M"), Ok(1.5e6));
        assert_eq!(count("5000"), Ok(5000.0));
        for bad in ["", "2", "-2ms", "0ms", "ms", "NaNms", "infs"] {
            assert!(milliseconds(bad).is_err(), "{bad}");
        }
        for bad in ["", "k", "-20k", "0", "20x", "nan", "infM"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }
}
