//! A table in the place of training: a study on it takes no time.

use super::table::{Metric, Table};
use crate::{Evaluator, Failure, Metrics, Reporter, Trial};

/// Looks architectures up in a table and reports all its metrics under their names.
///
/// ```
/// use std::sync::{Arc, atomic::AtomicBool};
///
/// use nas_core::benchmark::{Table, TableEvaluator};
/// use nas_core::strategy::RandomSearch;
/// use nas_core::{Budget, MemoryStorage, Objective, Seed, Study, StudyRecord, Trial};
///
/// let table = Table::nas_bench_201();
/// let record = StudyRecord {
///     space: table.space().clone(),
///     objective: Objective::maximize("cifar10_test_200"),
///     seed: Seed::new(1),
///     strategy: "random".to_owned(),
///     lag: StudyRecord::LAG,
///     early_stopping: None,
///     warm_start: None,
///     configuration: serde_json::Value::Null,
/// };
/// let strategy = Box::new(RandomSearch::new(record.space.clone(), record.seed));
/// let mut study = Study::create(record, strategy, Arc::new(MemoryStorage::new()))?;
/// study.run(&TableEvaluator::new(table), &Budget::trials(100), 2, &(), &AtomicBool::new(false))?;
/// assert!(study.best().and_then(Trial::reward) > Some(92.0));
/// # Ok::<(), nas_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TableEvaluator {
    table: Table,
    metrics: Vec<Metric>,
}

impl TableEvaluator {
    /// An evaluator of the architectures of `table`.
    pub fn new(table: Table) -> Self {
        let metrics = table.all_metrics();
        TableEvaluator { table, metrics }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl Evaluator for TableEvaluator {
    /// The figures of the architecture that are not missing.
    fn evaluate(&self, trial: &Trial, _report: &mut Reporter<'_>) -> Result<Metrics, Failure> {
        let Some(row) = self.table.row_of(&trial.architecture) else {
            let message = format!("the table \"{}\" has no figures of it", self.table.about().name);
            return Err(Failure::Infeasible { message });
        };
        let figures = self.metrics.iter().filter_map(|metric| Some((metric.info().name.as_str(), metric.get(row)?)));
        Ok(figures.fold(Metrics::new(), |metrics, (name, value)| metrics.with(name, value)))
    }
}
