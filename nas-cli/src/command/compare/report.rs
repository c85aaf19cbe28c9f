//! The end of a comparison: a table, the differences, a sentence for each.

use nas_core::Direction;
use nas_rl::statistics::{mean, standard_error, student_quantile};
use serde::Serialize;

use super::plan::Plan;
use super::searches::Search;
use super::verdict::Verdict;
use crate::error::{Error, Kind, Result};
use crate::output::{self, Output};
use crate::statistics::Unit;
use crate::study_folder;

/// A column of the table: the scores of every search of an agent.
#[derive(Debug, Clone, Serialize)]
struct Scores {
    /// After how many trials; none for the winners' test accuracy.
    at: Option<u64>,
    /// One a seed, in order; none where nothing had succeeded by then.
    values: Vec<Option<f64>>,
    /// Of all seeds; none where one has none.
    mean: Option<f64>,
    /// Half the width of the mean's 95 % interval, by Student's t.
    half_width: Option<f64>,
}

impl Scores {
    fn new(at: Option<u64>, values: Vec<Option<f64>>) -> Self {
        let known: Option<Vec<f64>> = values.iter().copied().collect();
        let half = |x: &[f64]| student_quantile(0.975, x.len() as f64 - 1.0) * standard_error(x);
        let (mean, half_width) = (known.as_deref().map(mean), known.as_deref().map(half));
        Scores { at, values, mean, half_width }
    }
}

/// What an agent's searches came to.
#[derive(Debug, Clone, Serialize)]
struct Row {
    agent: String,
    /// The best validation scores, column by column.
    scores: Vec<Scores>,
    /// The winners' test test_scores, when they were trained to the full.
    test: Option<Scores>,
    /// Trials of a search, in the mean.
    trials: f64,
    /// How many of all trials failed.
    failed: usize,
    /// Seconds that a search's trials took together, in the mean.
    seconds: f64,
}

/// A finished comparison.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    event: &'static str,
    metric: &'a str,
    seeds: u64,
    rows: Vec<Row>,
    /// By the last best score of the search.
    verdicts: Vec<Verdict>,
    /// By the winners' test accuracy.
    test_verdicts: Vec<Verdict>,
    #[serde(skip)]
    unit: Unit,
}

impl<'a> Report<'a> {
    /// Of all searches, by agent and then by seed; scores are told after `at` trials each, four times evenly if nothing is named.
    pub(super) fn new(plan: &'a Plan, reference: &str, searches: &[Vec<Search>], at: &[u64]) -> Result<Self> {
        let longest = searches.iter().flatten().map(|search| search.trials.len() as u64).max().unwrap_or(0);
        let end = plan.limits().trials.unwrap_or(longest);
        let mut marks = at.to_vec();
        if let Some(at) = marks.iter().find(|&&at| at > end) {
            return Err(Error::usage(format!("--at {at} is beyond all searches; the longest has {end} trials")));
        }
        if marks.is_empty() {
            marks = (1..=4).map(|quarter| (end * quarter).div_ceil(4)).collect();
        }
        marks.sort_unstable();
        marks.dedup();
        let is_tested = plan.final_seeds > 0;
        let rows: Vec<Row> = (plan.agents.iter().zip(searches))
            .map(|(agent, searches)| {
                let scores = |&at: &u64| {
                    let best = |search: &Search| {
                        let trials = &search.trials[..search.trials.len().min(at as usize)];
                        study_folder::best(trials)?.metric(&plan.objective.metric)
                    };
                    Scores::new(Some(at), searches.iter().map(best).collect())
                };
                let test = |search: &Search| Some(mean(&search.test_scores)).filter(|mean| !mean.is_nan());
                let of = |figure: fn(&Search) -> f64| mean(&searches.iter().map(figure).collect::<Vec<f64>>());
                let failed = searches.iter().flat_map(|s| &s.trials).filter(|t| t.reward().is_none()).count();
                Row {
                    agent: agent.clone(),
                    scores: marks.iter().map(scores).collect(),
                    test: is_tested.then(|| Scores::new(None, searches.iter().map(test).collect())),
                    trials: of(|search| search.trials.len() as f64),
                    failed,
                    seconds: of(|search| search.trials.iter().map(|t| t.seconds).sum()),
                }
            })
            .collect();
        let unit = if plan.networks().is_some() { Unit::of(&plan.objective) } else { Unit::Plain };
        let sign = if plan.objective.direction == Direction::Minimize { -1.0 } else { 1.0 };
        let last = marks.last().copied().unwrap_or(end);
        let measure = match plan.limits().trials {
            Some(_) => format!("best {} after {last} trials", plan.objective.metric),
            None => format!("best {} of a search", plan.objective.metric),
        };
        let verdicts = |of: &dyn Fn(&Row) -> Option<&Scores>, sign: f64, measure: &str| -> Vec<Verdict> {
            let Some(theirs) = rows.iter().find(|row| row.agent == reference).and_then(of) else { return Vec::new() };
            let others = rows.iter().filter(|row| row.agent != reference);
            let verdict = |row: &Row| {
                let pairs = of(row)?.values.iter().zip(&theirs.values);
                let differences: Vec<f64> =
                    pairs.filter_map(|(ours, theirs)| Some(sign * (ours.as_ref()? - theirs.as_ref()?))).collect();
                Verdict::new((&row.agent, reference), &differences, rows.len() - 1, unit, measure)
            };
            others.filter_map(verdict).collect()
        };
        let search = verdicts(&|row| row.scores.last(), sign, &measure);
        let measure = format!("test {} of the winners", plan.objective.metric);
        let test = verdicts(&|row| row.test.as_ref(), sign, &measure);
        Ok(Report {
            event: "comparison",
            metric: &plan.objective.metric,
            seeds: plan.seeds,
            rows,
            verdicts: search,
            test_verdicts: test,
            unit,
        })
    }

    /// Prints the table and the sentences.
    pub(super) fn show(&self, output: Output) {
        output.json(self);
        let part = if self.unit == Unit::Points { " on the validation part" } else { "" };
        output.answer(format!(
            "\nBest {}{part} after that many trials: mean of {} searches ± half of its 95 % interval\n",
            self.metric, self.seeds
        ));
        let mut header = vec!["agent".to_owned()];
        let of_first = self.rows.first().map(|row| row.scores.as_slice()).unwrap_or_default();
        header.extend(of_first.iter().filter_map(|scores| scores.at).map(|at| at.to_string()));
        if self.rows.iter().any(|row| row.test.is_some()) {
            header.push("winners, test part".to_owned());
        }
        header.extend(["trials", "failed", "trained"].map(str::to_owned));
        let score = |scores: &Scores| match (scores.mean, scores.half_width) {
            (Some(mean), Some(half)) => format!("{mean:.4} ± {half:.4}"),
            _ => "-".to_owned(),
        };
        let rows = self.rows.iter().map(|row| {
            let mut cells = vec![row.agent.clone()];
            cells.extend(row.scores.iter().chain(&row.test).map(score));
            cells.extend([format!("{:.0}", row.trials), row.failed.to_string(), output::seconds(row.seconds)]);
            cells
        });
        let right: Vec<usize> = (1..header.len()).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        output.answer(output::table(&header, &right, rows.collect()));
        output.answer("");
        for verdict in self.verdicts.iter().chain(&self.test_verdicts) {
            output.answer(&verdict.sentence);
        }
        if self.verdicts.len() > 1 {
            let level = 100.0 * self.verdicts[0].level;
            output.answer(format!(
                "Each interval of a difference is at {level:.2} %, so that all hold together with 95 %."
            ));
        }
    }

    /// Seeds that are lacking for the first verdict without evidence, if any are.
    pub(super) fn lacking(&self) -> Option<u64> {
        self.verdicts
            .iter()
            .filter(|v| v.finding == super::verdict::Finding::Nothing)
            .map(Verdict::lacking)
            .find(|&n| n > 0)
    }

    /// The table as CSV: a line for every agent and column.
    pub(super) fn csv(&self) -> Result<()> {
        let mut csv = csv::Writer::from_writer(std::io::stdout());
        let header = [
            "agent",
            "at",
            "seeds",
            "mean",
            "half_width",
            "reference",
            "difference",
            "difference_half_width",
            "p_t",
            "p_sign_flip",
        ];
        let mut result = csv.write_record(header);
        let number = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
        for row in &self.rows {
            for (i, scores) in row.scores.iter().chain(&row.test).enumerate() {
                let of_row = |verdicts: &[Verdict]| verdicts.iter().find(|v| v.agent == row.agent).cloned();
                let verdict = match scores.at {
                    None => of_row(&self.test_verdicts),
                    Some(_) if i + 1 == row.scores.len() => of_row(&self.verdicts),
                    Some(_) => None,
                };
                let verdict = verdict.as_ref();
                let record = [
                    row.agent.clone(),
                    scores.at.map_or_else(|| "test".to_owned(), |at| at.to_string()),
                    scores.values.len().to_string(),
                    number(scores.mean),
                    number(scores.half_width),
                    verdict.map(|v| v.reference.clone()).unwrap_or_default(),
                    number(verdict.map(|v| v.difference)),
                    number(verdict.map(|v| v.half_width)),
                    number(verdict.and_then(|v| v.p_t)),
                    number(verdict.map(|v| v.p_sign_flip)),
                ];
                result = result.and_then(|()| csv.write_record(&record));
            }
        }
        match result.map_err(std::io::Error::from).and_then(|()| csv.flush()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(Kind::Io, format!("writing CSV: {e}")))
            }
            _ => Ok(()),
        }
    }
}
