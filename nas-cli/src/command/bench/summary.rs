//! What many searches of one agent on one task come to.

use nas_core::benchmark::{Limit, Trace};
use nas_core::{Purpose, Seed};
use nas_rl::statistics::{bootstrap_interval, mean, median, wilcoxon_signed_rank};
use serde::Serialize;

use super::contest::Contest;

/// Samples behind an interval: its ends are then off by less than a hundredth of its width.
const RESAMPLES: usize = 2_000;

/// The regret at one time of the search.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mark {
    /// Evaluations or seconds.
    pub(super) at: f64,
    pub(super) mean: f64,
    pub(super) median: f64,
    /// The 95 % bootstrap interval of the mean.
    pub(super) low: f64,
    pub(super) high: f64,
    /// The objective that the mean regret means.
    pub(super) figure: f64,
    /// The signed-rank test against the reference, two-sided; none of the reference itself.
    pub(super) p: Option<f64>,
    /// The mean of the paired differences from the reference.
    pub(super) difference: Option<f64>,
}

/// One agent on one task.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    pub(super) task: String,
    pub(super) agent: String,
    pub(super) seeds: usize,
    /// The mean number of evaluations of a search.
    pub(super) evaluations: f64,
    pub(super) marks: Vec<Mark>,
    /// Evaluations to come within the target and stay there: the median of all searches, none when fewer than half did.
    pub(super) median_to_target: Option<f64>,
    /// The share of searches that did.
    pub(super) reached: f64,
}

/// The regret of a search at that time.
pub(super) fn regret(trace: &Trace, limit: Limit, at: f64) -> f64 {
    match limit {
        Limit::Queries(_) => trace.regret(at as usize),
        Limit::Seconds(_) => trace.regret_at(at),
    }
}

impl Summary {
    /// The figures of `traces`, tested against those of the reference with the same seeds.
    pub(super) fn new(contest: &Contest<'_>, agent: &str, traces: &[Trace], reference: Option<&[Trace]>) -> Summary {
        let limit = contest.limit;
        let of = |traces: &[Trace], at| traces.iter().map(|trace| regret(trace, limit, at)).collect::<Vec<f64>>();
        let mark = |(number, &at): (usize, &f64)| {
            let regrets = of(traces, at);
            // The mean is what the interval is of, whatever else was asked for: one stream a mark.
            let mut rng = Seed::new(0).stream(Purpose::Test, number as u64);
            let [low, high] = bootstrap_interval(&regrets, mean, 0.95, RESAMPLES, &mut rng);
            let differences: Option<Vec<f64>> =
                reference.map(|reference| regrets.iter().zip(of(reference, at)).map(|(a, b)| a - b).collect());
            let mean = mean(&regrets);
            Mark {
                at,
                mean,
                median: median(&regrets),
                low,
                high,
                figure: contest.problem.figure(mean),
                p: differences.as_ref().map(|differences| wilcoxon_signed_rank(differences).two_sided),
                difference: differences.as_ref().map(|differences| nas_rl::statistics::mean(differences)),
            }
        };
        let to_target: Vec<f64> =
            traces.iter().map(|trace| trace.queries_to(contest.target).map_or(f64::INFINITY, |n| n as f64)).collect();
        let reached = to_target.iter().filter(|n| n.is_finite()).count() as f64 / traces.len() as f64;
        Summary {
            task: contest.name.clone(),
            agent: agent.to_owned(),
            seeds: traces.len(),
            evaluations: mean(&traces.iter().map(|trace| trace.len() as f64).collect::<Vec<_>>()),
            marks: contest.marks.iter().enumerate().map(mark).collect(),
            median_to_target: Some(median(&to_target)).filter(|n| n.is_finite()),
            reached,
        }
    }

    /// A sign for every mark: `+` less regret than the reference, `-` more, `=` no evidence (p of 0.01 or more).
    pub(super) fn verdict(&self) -> String {
        let sign = |mark: &Mark| match (mark.p, mark.difference) {
            (Some(p), Some(difference)) if p < 0.01 => {
                if difference < 0.0 {
                    "+"
                } else {
                    "-"
                }
            }
            (Some(_), _) => "=",
            (None, _) => "",
        };
        self.marks.iter().map(sign).collect::<Vec<_>>().join(" ").trim().to_owned()
    }
}
