//! NAS-Bench-NLP: recurrent cells on WikiText-2, each a recipe in JSON. They are known by name only: no space has them all.

use std::collections::BTreeMap;

use super::sheet::Sheet;
use crate::Direction::Minimize;
use crate::SearchSpace;
use crate::benchmark::about::{About, Charge, MetricInfo, Provenance, Task};
use crate::benchmark::error::BenchmarkError;
use crate::benchmark::table::Table;

pub(super) fn is_layout(sheet: &Sheet) -> bool {
    sheet.has(&["recipe_id", "recipe", "status", "best_val_loss", "test_loss_at_best_val", "wall_s_per_epoch"])
}

/// The table: one row for every different recipe, the mean of its runs that ended well; without such runs its figures are
/// missing. The one decision is which recipe, and the recipes are the labels.
pub(super) fn read(sheet: &Sheet) -> Result<Table, BenchmarkError> {
    let names = sheet.texts("recipe_id")?;
    let mut cells: BTreeMap<&str, (&str, Vec<usize>)> = BTreeMap::new();
    for (row, &recipe) in sheet.texts("recipe")?.iter().enumerate() {
        if let Err(error) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(recipe) {
            return Err(sheet.cell(row, "recipe", format!("it is no JSON object: {error}")));
        }
        let (first, rows) = cells.entry(recipe).or_insert_with(|| (names[row], Vec::new()));
        *first = (*first).min(names[row]);
        rows.push(row);
    }
    let mut cells: Vec<(&str, &str, Vec<usize>)> =
        cells.into_iter().map(|(recipe, (name, rows))| (name, recipe, rows)).collect();
    cells.sort_unstable();

    let status = sheet.texts("status")?;
    let ended = |rows: &[usize]| rows.iter().copied().filter(|&row| status[row] == "OK").collect::<Vec<usize>>();
    let mean = |column: &str| -> Result<Vec<f64>, BenchmarkError> {
        let values = sheet.numbers(column)?;
        let of = |rows: &[usize]| {
            let rows = ended(rows);
            let sum: f64 = rows.iter().map(|&row| values[row]).sum();
            sum / rows.len() as f64 // none: NaN, missing
        };
        Ok(cells.iter().map(|(_, _, rows)| of(rows)).collect())
    };
    let loss = |name: &str| MetricInfo::new(name, Some(Minimize), "nats", Provenance::Mean);
    let metrics = vec![
        (loss("valid_loss").with_note("at the best epoch"), mean("best_val_loss")?),
        (loss("test_loss").with_note("at the epoch with the best validation loss"), mean("test_loss_at_best_val")?),
        (MetricInfo::new("parameters", Some(Minimize), "", Provenance::Exact), mean("num_params")?),
        (MetricInfo::new("epochs", None, "", Provenance::Mean), mean("epochs_run")?),
        (MetricInfo::new("epoch_seconds", None, "s", Provenance::Measured), mean("wall_s_per_epoch")?),
        (
            MetricInfo::new("runs", None, "", Provenance::Exact).with_note("runs that ended well"),
            cells.iter().map(|(_, _, rows)| ended(rows).len() as f64).collect(),
        ),
    ];
    let about = About {
        name: "nas-bench-nlp".to_owned(),
        title: "NAS-Bench-NLP: language models on WikiText-2 with recorded recurrent cells".to_owned(),
        source: "Klyuchnikov et al., NAS-Bench-NLP (IEEE Access 2022), the WikiText-2 runs".to_owned(),
        licence: "Apache-2.0".to_owned(),
        tasks: vec![Task {
            name: "wikitext-2".to_owned(),
            objective: "test_loss".to_owned(),
            signal: Some("valid_loss".to_owned()),
            clock: vec![Charge { metric: "epoch_seconds".to_owned(), factor: 50.0 }],
        }],
    };
    let options = cells.iter().map(|(name, ..)| format!("recipe_{name}"));
    let space = SearchSpace::builder("nas-bench-nlp").choice("recipe", options).build()?;
    let labels = cells.iter().map(|(_, recipe, _)| (*recipe).to_owned()).collect();
    Table::new(about, space, &(0..cells.len() as u64).collect::<Vec<_>>(), labels, metrics)
}
