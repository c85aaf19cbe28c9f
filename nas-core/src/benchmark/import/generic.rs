//! Any CSV file as a table: columns that are decisions and columns that are metrics.

use std::path::Path;

use super::sheet::Sheet;
use crate::benchmark::about::{About, MetricInfo, Provenance, Task};
use crate::benchmark::error::BenchmarkError;
use crate::benchmark::table::Table;
use crate::space::{Decision, Kind, Scale};
use crate::{Direction, SearchSpace};

/// How a CSV file becomes a table without code.
///
/// The values of a decision's column decide what it is: evenly spaced whole numbers an integer, evenly spaced numbers (on a
/// plain or logarithmic scale) a number, anything else a choice. Options that look like numbers get the column's name before
/// them: `kernel_3`. Rows may lack; a value that is empty or `nan` is missing.
///
/// ```
/// use nas_core::Direction;
/// use nas_core::benchmark::CsvImport;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("mine.csv");
/// std::fs::write(&path, "depth,op,accuracy,ms\n1,conv,81.5,3\n2,conv,83.25,5\n1,pool,70,2\n2,pool,71.5,4\n")?;
/// let import = CsvImport::new("mine", ["depth", "op"])
///     .metric("accuracy", Some(Direction::Maximize))
///     .metric("ms", Some(Direction::Minimize));
/// let table = import.read(&path)?;
/// assert!(table.is_exhaustive());
/// assert_eq!(table.metric("accuracy")?.best().map(|(_, best)| best), Some(83.25));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct CsvImport {
    name: String,
    decisions: Vec<String>,
    metrics: Vec<(String, Option<Direction>)>,
}

impl CsvImport {
    /// A table called `name` whose decisions are these columns.
    pub fn new<S: Into<String>>(name: &str, decisions: impl IntoIterator<Item = S>) -> Self {
        let decisions = decisions.into_iter().map(Into::into).collect();
        CsvImport { name: name.to_owned(), decisions, metrics: Vec::new() }
    }

    /// The same with a column that is a metric. The first one with a direction is the objective.
    #[must_use]
    pub fn metric(mut self, column: &str, direction: Option<Direction>) -> Self {
        self.metrics.push((column.to_owned(), direction));
        self
    }

    /// Reads the file, plain or gzipped.
    ///
    /// # Errors
    /// When it cannot be read, a column is missing, a value of a metric is no number (with its line and column), an
    /// architecture stands twice, no metric has a direction, or the decisions make no space.
    pub fn read(&self, path: &Path) -> Result<Table, BenchmarkError> {
        let sheet = Sheet::open(path)?;
        let Some((objective, _)) = self.metrics.iter().find(|(_, direction)| direction.is_some()) else {
            return Err(sheet.wrong("no metric has a direction, so nothing can be searched for".to_owned()));
        };
        let mut builder = SearchSpace::builder(&self.name);
        let mut ranks = vec![0_u64; sheet.len()];
        for name in &self.decisions {
            let texts = sheet.texts(name)?;
            if let Some(row) = texts.iter().position(|text| text.is_empty()) {
                return Err(sheet.cell(row, name, "a decision cannot be empty".to_owned()));
            }
            let (kind, values) = infer(name, &texts);
            let count = values.len() as u64;
            for (rank, text) in ranks.iter_mut().zip(&texts) {
                let option = values.iter().position(|value| value == text).expect("every value was counted") as u64;
                *rank = rank.checked_mul(count).and_then(|rank| rank.checked_add(option)).ok_or_else(|| {
                    sheet.wrong("its decisions have more combinations than 64 bits can number".to_owned())
                })?;
            }
            builder = builder.declare(Decision { name: name.clone(), kind, when: None });
        }
        let space = builder.build().map_err(|error| sheet.wrong(error.to_string()))?;

        let mut rows: Vec<usize> = (0..ranks.len()).collect();
        rows.sort_by_key(|&row| ranks[row]);
        if let Some(pair) = rows.windows(2).find(|pair| ranks[pair[0]] == ranks[pair[1]]) {
            let column = self.decisions.first().map_or("", String::as_str);
            let why = format!("the same architecture stands on line {}", sheet.line(pair[0]));
            return Err(sheet.cell(pair[1], column, why));
        }
        let metrics = self.metrics.iter().map(|(column, direction)| {
            Ok((MetricInfo::new(column, *direction, "", Provenance::Unstated), sheet.numbers(column)?))
        });
        let about = About {
            name: self.name.clone(),
            title: format!("{}, {} architectures", self.name, sheet.len()),
            source: format!("imported from {}", sheet.stem()),
            licence: "unstated".to_owned(),
            tasks: vec![Task {
                name: objective.clone(),
                objective: objective.clone(),
                signal: None,
                clock: Vec::new(),
            }],
        };
        Table::new(about, space, &ranks, Vec::new(), metrics.collect::<Result<_, BenchmarkError>>()?)
    }
}

/// What kind of decision has these values, and the values in the order of its options.
fn infer<'a>(name: &str, texts: &[&'a str]) -> (Kind, Vec<&'a str>) {
    let mut values: Vec<&str> = texts.to_vec();
    values.sort_unstable();
    values.dedup();
    let whole = |text: &&str| text.parse::<i64>().ok().filter(|n| n.to_string() == *text);
    if let Some(mut numbers) = values.iter().map(|text| Some((whole(text)?, *text))).collect::<Option<Vec<_>>>() {
        numbers.sort_unstable();
        let values = numbers.iter().map(|(_, text)| *text).collect();
        let (low, high) = (numbers[0].0, numbers[numbers.len() - 1].0);
        let step = numbers.get(1).map_or(1, |(second, _)| second.saturating_sub(low));
        if numbers.windows(2).all(|pair| pair[1].0.checked_sub(pair[0].0) == Some(step)) {
            return (Kind::Integer { low, high, step }, values);
        }
        return (choice(name, &values), values);
    }
    let plain = |text: &&str| !(text.len() > 1 && text.starts_with('0') && !text.starts_with("0."));
    let real = |text: &&str| text.parse::<f64>().ok().filter(|x| x.is_finite() && plain(text));
    if let Some(mut numbers) = values.iter().map(|text| Some((real(text)?, *text))).collect::<Option<Vec<_>>>() {
        numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
        let values: Vec<&str> = numbers.iter().map(|(_, text)| *text).collect();
        let levels: Vec<f64> = numbers.iter().map(|(x, _)| *x).collect();
        return (grid(&levels).unwrap_or_else(|| choice(name, &values)), values);
    }
    (choice(name, &values), values)
}

/// A number with evenly spaced levels, if these are such.
fn grid(levels: &[f64]) -> Option<Kind> {
    let (low, high, count) = (*levels.first()?, *levels.last()?, u32::try_from(levels.len()).ok()?);
    [Scale::Linear, Scale::Log].into_iter().find_map(|scale| {
        let kind = Kind::Float { low, high, scale, steps: Some(count) };
        let space =
            SearchSpace::builder("levels").declare(Decision { name: "x".to_owned(), kind: kind.clone(), when: None });
        let slots = space.build().ok()?.slots().first()?.options.clone();
        let same = slots.iter().zip(levels).all(|(text, level)| text.parse() == Ok(*level));
        (same && slots.len() == levels.len()).then_some(kind)
    })
}

/// A choice among texts; names that could be taken for numbers go under the decision's.
fn choice(name: &str, values: &[&str]) -> Kind {
    let number = values.iter().any(|text| text.parse::<f64>().is_ok());
    let option = |text: &&str| if number { format!("{name}_{text}") } else { (*text).to_owned() };
    Kind::Choice { options: values.iter().map(option).collect() }
}
