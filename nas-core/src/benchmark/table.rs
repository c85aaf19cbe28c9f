//! A table of architectures and what was measured of them, looked up by their choices.

use rand::RngExt as _;

use super::about::{About, MetricInfo, Task};
use super::column::Column;
use super::error::BenchmarkError;
use super::nasbench101::Cell;
use crate::space::suggest;
use crate::{Architecture, Direction, Purpose, SearchSpace, Seed};

/// The most rows of a table: what the stored numbers can count.
pub(super) const MAX_ROWS: usize = u32::MAX as usize;

/// What was measured of the architectures of a space, once and for all.
///
/// A row is found by the tokens of an architecture: for every slot of the [`space`](Self::space) the number of the option
/// chosen. In an exhaustive table the row is their rank: the last slot counts fastest.
///
/// ```
/// use nas_core::benchmark::Table;
///
/// let table = Table::nas_bench_201();
/// let accuracy = table.metric("cifar10_test_200")?;
/// let (row, best) = accuracy.best().expect("there are figures");
/// assert_eq!(best, 94.3733);
/// assert_eq!(table.row(&table.tokens(row)?), Some(row));
/// # Ok::<(), nas_core::benchmark::BenchmarkError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) about: About,
    pub(super) space: SearchSpace,
    pub(super) keys: Keys,
    pub(super) labels: Vec<String>,
    pub(super) columns: Vec<(MetricInfo, Column)>,
    pub(super) rows: usize,
    /// For each slot its number of options and what one of them adds to the rank.
    radix: Vec<(u16, u64)>,
}

/// How rows are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keys {
    /// Row = rank.
    All,
    /// The rank of every row, ascending.
    Ranks(Vec<u64>),
    /// The labels are the ascending hashes of cells of NAS-Bench-101, so that isomorphic cells are one row.
    Cells,
}

/// The figures of one metric, row by row.
#[derive(Debug, Clone)]
pub struct Metric {
    info: MetricInfo,
    values: Vec<f64>,
}

impl Metric {
    /// What the figures are.
    pub fn info(&self) -> &MetricInfo {
        &self.info
    }

    /// The figure of `row`; none where it is missing or there is no such row.
    pub fn get(&self, row: usize) -> Option<f64> {
        self.values.get(row).copied().filter(|value| !value.is_nan())
    }

    /// All figures; NaN where one is missing.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// `1` when more is better, `-1` when less is; a metric without direction counts as the first.
    pub fn sign(&self) -> f64 {
        if self.info.direction == Some(Direction::Minimize) { -1.0 } else { 1.0 }
    }

    /// The row with the best figure (the first of equal ones) and that figure; none if every one is missing.
    pub fn best(&self) -> Option<(usize, f64)> {
        let known = self.values.iter().copied().enumerate().filter(|(_, value)| !value.is_nan());
        let sign = self.sign();
        known.reduce(|best, next| if sign * next.1 > sign * best.1 { next } else { best })
    }
}

impl Table {
    /// The table of rows that come in any order: for each its rank in `space` and a value for every metric, NaN where
    /// one is missing. `labels` are what the source calls the rows, or none at all.
    ///
    /// # Errors
    /// When the space is not one whose slots are free of each other, a rank stands twice or is none, a metric has another
    /// number of values than there are rows or its name stands twice, or a task names a metric that is not there.
    pub fn new(
        about: About,
        space: SearchSpace,
        ranks: &[u64],
        labels: Vec<String>,
        metrics: Vec<(MetricInfo, Vec<f64>)>,
    ) -> Result<Self, BenchmarkError> {
        let radix = radix(&space)?;
        let size = space.cardinality().as_u64().unwrap_or(0);
        let mut order: Vec<usize> = (0..ranks.len()).collect();
        order.sort_by_key(|&row| ranks[row]);
        if let Some(pair) = order.windows(2).find(|pair| ranks[pair[0]] == ranks[pair[1]]) {
            let why = format!("rows {} and {} are the same architecture", pair[0], pair[1]);
            return Err(BenchmarkError::Rows(why));
        }
        if let Some(&last) = order.last().filter(|&&row| ranks[row] >= size) {
            return Err(BenchmarkError::Rows(format!("rank {} is none of the {size} of the space", ranks[last])));
        }
        let keys = if ranks.len() as u64 == size {
            Keys::All
        } else {
            Keys::Ranks(order.iter().map(|&row| ranks[row]).collect())
        };
        Self::sorted(about, space, radix, keys, &order, labels, metrics)
    }

    /// The table of NAS-Bench-101 cells that are known by their hashes, in any order.
    pub(super) fn of_cells(
        about: About,
        space: SearchSpace,
        hashes: Vec<String>,
        metrics: Vec<(MetricInfo, Vec<f64>)>,
    ) -> Result<Self, BenchmarkError> {
        let radix = radix(&space)?;
        let mut order: Vec<usize> = (0..hashes.len()).collect();
        order.sort_by(|&a, &b| hashes[a].cmp(&hashes[b]));
        Self::sorted(about, space, radix, Keys::Cells, &order, hashes, metrics)
    }

    fn sorted(
        about: About,
        space: SearchSpace,
        radix: Vec<(u16, u64)>,
        keys: Keys,
        order: &[usize],
        labels: Vec<String>,
        metrics: Vec<(MetricInfo, Vec<f64>)>,
    ) -> Result<Self, BenchmarkError> {
        let mut columns = Vec::with_capacity(metrics.len());
        for (info, values) in metrics {
            if values.len() != order.len() {
                let why = format!("{} values of \"{}\" for {} rows", values.len(), info.name, order.len());
                return Err(BenchmarkError::Rows(why));
            }
            let values: Vec<f64> = order.iter().map(|&row| values[row]).collect();
            columns.push((info, Column::encode(&values)));
        }
        let labels = match labels.len() {
            0 => labels,
            n if n == order.len() => order.iter().map(|&row| labels[row].clone()).collect(),
            n => return Err(BenchmarkError::Rows(format!("{n} labels for {} rows", order.len()))),
        };
        let table = Table { about, space, keys, labels, columns, rows: order.len(), radix };
        table.check().map_err(|(field, why)| BenchmarkError::Rows(format!("{field}: {why}")))?;
        Ok(table)
    }

    /// A table from parts that were read from a file and are not to be trusted; an error is a part and what is wrong.
    pub(super) fn from_parts(
        about: About,
        space: SearchSpace,
        keys: Keys,
        labels: Vec<String>,
        columns: Vec<(MetricInfo, Column)>,
        rows: usize,
    ) -> Result<Self, (String, String)> {
        let radix = radix(&space).map_err(|e| ("space".to_owned(), e.to_string()))?;
        let table = Table { about, space, keys, labels, columns, rows, radix };
        table.check()?;
        Ok(table)
    }

    /// What a table must be, whoever made it.
    fn check(&self) -> Result<(), (String, String)> {
        let size = self.space.cardinality().as_u64().unwrap_or(0);
        let sound = |field: &str, holds: bool, why: &dyn Fn() -> String| {
            if holds { Ok(()) } else { Err((field.to_owned(), why())) }
        };
        let rows = self.rows;
        sound("rows", (1..=MAX_ROWS).contains(&rows), &|| format!("{rows}, and 1 to {MAX_ROWS} can be"))?;
        match &self.keys {
            Keys::All => {
                sound("rows", rows as u64 == size, &|| format!("{rows} for a space of {size} architectures"))?;
            }
            Keys::Ranks(ranks) => {
                let ascending = ranks.windows(2).all(|pair| pair[0] < pair[1]);
                let inside = ranks.last().is_some_and(|&last| last < size);
                let why = || format!("ranks must ascend below the {size} architectures of the space");
                sound("ranks", ranks.len() == rows && ascending && inside, &why)?;
            }
            Keys::Cells => {
                let ascending = self.labels.windows(2).all(|pair| pair[0] < pair[1]);
                let why = || "hashes of cells must ascend, one a row".to_owned();
                sound("labels", ascending && self.labels.len() == rows, &why)?;
                let here = self.space == Cell::space();
                sound("space", here, &|| "hashes of cells belong to the space of NAS-Bench-101".to_owned())?;
            }
        }
        for (i, (info, _)) in self.columns.iter().enumerate() {
            let twice = self.columns[..i].iter().any(|(other, _)| other.name == info.name);
            sound("metrics", !twice, &|| format!("\"{}\" stands twice", info.name))?;
        }
        sound("tasks", !self.about.tasks.is_empty(), &|| "there is none".to_owned())?;
        for task in &self.about.tasks {
            let names = [&task.objective].into_iter().chain(&task.signal).chain(task.clock.iter().map(|c| &c.metric));
            for name in names {
                let there = self.columns.iter().any(|(info, _)| info.name == *name);
                sound("tasks", there, &|| {
                    format!("\"{}\" names the metric \"{name}\", which is not there", task.name)
                })?;
            }
            let finite = task.clock.iter().all(|charge| charge.factor.is_finite() && charge.factor >= 0.0);
            sound("tasks", finite, &|| format!("\"{}\" charges a factor that is no number above zero", task.name))?;
        }
        Ok(())
    }

    /// Where the table comes from, and its tasks.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The space that its architectures belong to.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// How many architectures it has figures of.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether every architecture of the space has a row.
    pub fn is_exhaustive(&self) -> bool {
        self.keys == Keys::All
    }

    /// What the metrics are, in the order of the file.
    pub fn metrics(&self) -> impl Iterator<Item = &MetricInfo> {
        self.columns.iter().map(|(info, _)| info)
    }

    /// The row of the architecture with these tokens, one a slot; none if the table has no such row.
    #[inline]
    pub fn row(&self, tokens: &[u16]) -> Option<usize> {
        if tokens.len() != self.radix.len() {
            return None;
        }
        if self.keys == Keys::Cells {
            let hash = Cell::from_tokens(tokens)?.pruned()?.hash();
            return self.labels.binary_search(&hash).ok();
        }
        let mut rank = 0;
        for (&token, &(options, stride)) in tokens.iter().zip(&self.radix) {
            if token >= options {
                return None;
            }
            rank += u64::from(token) * stride;
        }
        match &self.keys {
            Keys::All => Some(rank as usize),
            Keys::Ranks(ranks) => ranks.binary_search(&rank).ok(),
            Keys::Cells => None,
        }
    }

    /// The row of an architecture; none if the table has none or it is no architecture of the space.
    pub fn row_of(&self, architecture: &Architecture) -> Option<usize> {
        self.row(&self.space.tokens(architecture).ok()?)
    }

    /// The tokens of the architecture of `row`.
    ///
    /// # Errors
    /// When there is no such row, or the rows are cells that are known by their hashes only.
    pub fn tokens(&self, row: usize) -> Result<Vec<u16>, BenchmarkError> {
        if row >= self.rows {
            return Err(BenchmarkError::Rows(format!("row {row} of {}", self.rows)));
        }
        let rank = match &self.keys {
            Keys::All => row as u64,
            Keys::Ranks(ranks) => ranks[row],
            Keys::Cells => return Err(BenchmarkError::Rows(format!("row {row} is known by its hash only"))),
        };
        Ok(self.radix.iter().map(|&(options, stride)| (rank / stride % u64::from(options)) as u16).collect())
    }

    /// What the source calls `row`, if it has a name there.
    pub fn label(&self, row: usize) -> Option<&str> {
        self.labels.get(row).map(String::as_str)
    }

    /// The figures of the metric called `name`.
    ///
    /// # Errors
    /// When there is none by that name.
    pub fn metric(&self, name: &str) -> Result<Metric, BenchmarkError> {
        match self.columns.iter().find(|(info, _)| info.name == name) {
            Some((info, column)) => Ok(Metric { info: info.clone(), values: column.decode() }),
            None => {
                Err(self.unknown("metric", name, &self.metrics().map(|info| info.name.as_str()).collect::<Vec<_>>()))
            }
        }
    }

    pub(super) fn all_metrics(&self) -> Vec<Metric> {
        let decoded = |(info, column): &(MetricInfo, Column)| Metric { info: info.clone(), values: column.decode() };
        self.columns.iter().map(decoded).collect()
    }

    /// The task called `name`.
    ///
    /// # Errors
    /// When there is none by that name.
    pub fn task(&self, name: &str) -> Result<&Task, BenchmarkError> {
        let tasks = &self.about.tasks;
        let found = tasks.iter().find(|task| task.name == name);
        found
            .ok_or_else(|| self.unknown("task", name, &tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>()))
    }

    fn unknown(&self, what: &'static str, name: &str, known: &[&str]) -> BenchmarkError {
        BenchmarkError::Unknown {
            table: self.about.name.clone(),
            what,
            name: name.to_owned(),
            hint: suggest::hint(name, known.iter().copied()),
            known: known.join(", "),
        }
    }

    /// What one evaluation of `task` takes by the table's clock, in seconds, row by row; nothing without a clock. NaN
    /// where a time is missing.
    ///
    /// # Errors
    /// When the task is of another table and its clock reads a metric that is not here.
    pub fn seconds(&self, task: &Task) -> Result<Option<Vec<f64>>, BenchmarkError> {
        if task.clock.is_empty() {
            return Ok(None);
        }
        let mut seconds = vec![0.0; self.rows];
        for charge in &task.clock {
            let times = self.metric(&charge.metric)?;
            for (sum, time) in seconds.iter_mut().zip(times.values()) {
                *sum += charge.factor * time;
            }
        }
        Ok(Some(seconds))
    }

    /// The same figures dealt to the architectures at random, a row's figures together: nothing can be learned there,
    /// so whatever beats random search on it is a mistake.
    #[must_use]
    pub fn shuffled(&self, seed: Seed) -> Table {
        let mut rng = seed.stream(Purpose::Shuffle, 0);
        let mut order: Vec<usize> = (0..self.rows).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        let mut table = self.clone();
        for (_, column) in &mut table.columns {
            *column = column.reorder(&order);
        }
        if table.keys != Keys::Cells && !table.labels.is_empty() {
            table.labels = order.iter().map(|&row| self.labels[row].clone()).collect();
        }
        table
    }
}

/// The mixed radix of a space whose slots are free of each other.
fn radix(space: &SearchSpace) -> Result<Vec<(u16, u64)>, BenchmarkError> {
    let refuse = |why: &str| Err(BenchmarkError::Rows(format!("the space \"{}\" {why}", space.name())));
    let mut radix = Vec::with_capacity(space.slots().len());
    let mut stride = 1_u64;
    for slot in space.slots().iter().rev() {
        let options = slot.options.len() as u16; // a decision has at most 10,000
        radix.push((options, stride));
        match stride.checked_mul(u64::from(options)) {
            Some(next) => stride = next,
            None => return refuse("has more architectures than 64 bits can number"),
        }
    }
    radix.reverse();
    // A condition, requirement or bound on a subset leaves out some of the combinations.
    if space.cardinality().as_u64() != Some(stride) {
        return refuse("has continuous numbers, conditions or requirements, which a table cannot have");
    }
    Ok(radix)
}

#[cfg(test)]
mod tests;
