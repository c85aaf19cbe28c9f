//! A table in numbers, and its problems.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::{Kind, Scale, Table, Values};

/// The most columns that are shown to people.
const SHOWN: usize = 40;

/// A table in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableReport {
    /// Where it came from.
    pub source: String,
    /// Rows of the training part.
    pub train: usize,
    /// Rows of the test part.
    pub test: usize,
    /// The column that is answered.
    pub target: String,
    /// Its classes, with the training and test rows of each; nothing if it is a number.
    pub classes: Option<Vec<(String, usize, usize)>>,
    /// Its mean and standard deviation in the training part, if it is a number.
    pub number: Option<Scale>,
    /// The other columns: the name, what stands in them, and how many training values are missing.
    pub columns: Vec<(String, String, usize)>,
    /// How good on the test part an answer is that sees no column: the accuracy of the commonest class, the RMSE of the mean.
    pub blind: f64,
    /// What may spoil a result, in sentences.
    pub problems: Vec<String>,
}

pub(super) fn describe_table(source: &str, train: &Table, test: &Table) -> TableReport {
    let mut problems = Vec::new();
    let columns = columns(train, &mut problems);
    let counts = |table: &Table, n: usize| {
        let mut counts = vec![0_usize; n];
        if let Values::Categories(labels) = &table.target {
            labels.iter().for_each(|&label| counts[label as usize] += 1);
        }
        counts
    };
    let classes = train.schema.classes.as_ref().map(|names| {
        let (train, test) = (counts(train, names.len()), counts(test, names.len()));
        names.iter().cloned().zip(train).zip(test).map(|((name, train), test)| (name, train, test)).collect::<Vec<_>>()
    });
    for (name, _, _) in classes.iter().flatten().filter(|(_, _, test)| *test == 0) {
        problems.push(format!("class \"{name}\" has no test row, so nothing is said of it"));
    }
    let number = match &train.target {
        Values::Numbers(values) => Some(Scale::fit(values)),
        Values::Categories(_) => None,
    };
    let n = test.len().max(1) as f64;
    let blind = match (&test.target, &number, &classes) {
        (Values::Numbers(values), Some(scale), _) => {
            (values.iter().map(|x| (x - scale.mean).powi(2) / n).sum::<f64>()).sqrt()
        }
        // The first of equals.
        (_, _, Some(classes)) => {
            classes.iter().rev().max_by_key(|class| class.1).map_or(0.0, |class| class.2 as f64 / n)
        }
        _ => 0.0,
    };
    let seen: HashSet<Vec<u64>> = rows(train).collect();
    let leaked = rows(test).filter(|row| seen.contains(row)).count();
    if leaked > 0 {
        problems.push(format!("{leaked} test rows are training rows too: the score flatters"));
    }
    TableReport {
        source: source.to_owned(),
        train: train.len(),
        test: test.len(),
        target: train.schema.target.clone(),
        classes,
        number,
        columns,
        blind,
        problems,
    }
}

fn columns(train: &Table, problems: &mut Vec<String>) -> Vec<(String, String, usize)> {
    let mut result = Vec::new();
    for (column, values) in train.schema.columns.iter().zip(&train.columns) {
        let name = &column.name;
        let (what, missing) = match (&column.kind, values) {
            (Kind::Categories { names }, Values::Categories(values)) => {
                let absent = names.iter().position(String::is_empty).map(|place| place as u32 + 1);
                let others = values.iter().filter(|&&value| value == 0).count();
                if 2 * others > values.len() {
                    problems.push(format!(
                        "most values of \"{name}\" occur once, as names or typing errors do: they count as others"
                    ));
                }
                let named = names.len() - usize::from(absent.is_some());
                (format!("{named} categories"), values.iter().filter(|&&value| Some(value) == absent).count())
            }
            (_, Values::Numbers(values)) => {
                let there = || values.iter().copied().filter(|x| !x.is_nan());
                let (low, high) = there().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
                if low >= high {
                    problems.push(format!("all values of \"{name}\" are the same"));
                }
                let scale = Scale::fit(values);
                (format!("numbers {low} to {high}, mean {:.4}", scale.mean), values.len() - there().count())
            }
            _ => unreachable!("the values of a column are of its kind"),
        };
        if 2 * missing > values.len() {
            problems.push(format!("most values of \"{name}\" are missing"));
        }
        result.push((name.clone(), what, missing));
    }
    result
}

/// The rows with their targets, as bits.
fn rows(table: &Table) -> impl Iterator<Item = Vec<u64>> {
    (0..table.len()).map(|row| {
        let bits = |values: &Values| match values {
            Values::Numbers(values) => values[row].to_bits(),
            Values::Categories(values) => u64::from(values[row]),
        };
        table.columns.iter().chain([&table.target]).map(bits).collect()
    })
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, train, test, n) = (&self.source, self.train, self.test, self.columns.len());
        writeln!(f, "{source}: a table of {train} training and {test} test rows, {n} columns and a target\n")?;
        let width = self.columns.iter().map(|(name, _, _)| name.chars().count()).max().unwrap_or(0);
        for (name, what, missing) in self.columns.iter().take(SHOWN) {
            let gaps = if *missing == 0 { String::new() } else { format!(", {missing} missing") };
            writeln!(f, "{name:<width$}  {what}{gaps}")?;
        }
        if n > SHOWN {
            writeln!(f, "… and {} more", n - SHOWN)?;
        }
        if let Some(Scale { mean, std }) = self.number {
            writeln!(f, "\ntarget \"{}\", a number: mean {mean:.4}, standard deviation {std:.4}", self.target)?;
            return writeln!(f, "the mean as every answer: test RMSE {:.4}", self.blind);
        }
        let width = self.classes.iter().flatten().map(|(name, _, _)| name.chars().count()).max().unwrap_or(0).max(5);
        writeln!(f, "\ntarget \"{}\", a class:\n{:<width$}  {:>8}  {:>6}", self.target, "class", "training", "test")?;
        for (name, train, test) in self.classes.iter().flatten() {
            writeln!(f, "{name:<width$}  {train:>8}  {test:>6}")?;
        }
        writeln!(f, "the commonest class as every answer: test accuracy {:.4}", self.blind)
    }
}
