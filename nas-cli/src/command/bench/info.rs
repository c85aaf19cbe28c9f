//! `nas bench info`: what a table holds and where it comes from.

use nas_core::benchmark::{Charge, Provenance};

use crate::cli;
use crate::error::Result;
use crate::output::{self, Output};

/// Describes a table.
pub(super) fn run(args: &cli::Info, output: Output) -> Result<()> {
    let table = super::open(args.table.as_deref())?;
    let about = table.about();
    let metrics: Vec<_> = table.metrics().collect();
    output.json(&serde_json::json!({
        "about": about, "architectures": table.rows(), "of": table.space().cardinality().to_string(), "metrics": metrics,
    }));
    output.answer(format!(
        "{}\n{} of {} architectures\nsource: {}\nlicence: {}\n",
        about.title,
        table.rows(),
        table.space().cardinality(),
        about.source,
        about.licence
    ));
    let tasks = about.tasks.iter().map(|task| {
        let charge = |charge: &Charge| format!("{} × {}", charge.factor, charge.metric);
        let clock = task.clock.iter().map(charge).collect::<Vec<_>>().join(" + ");
        let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        vec![task.name.clone(), task.objective.clone(), dash(task.signal.clone().unwrap_or_default()), dash(clock)]
    });
    let tasks = output::table(&["task", "objective", "signal", "seconds of an evaluation"], &[], tasks.collect());
    output.answer(format!("{tasks}\n"));
    let mut rows = Vec::new();
    for info in metrics {
        let metric = table.metric(&info.name)?;
        let known = metric.values().iter().copied().filter(|value| !value.is_nan());
        let (low, high, count) = known.fold((f64::INFINITY, f64::NEG_INFINITY, 0), |(low, high, count), value| {
            (f64::min(low, value), f64::max(high, value), count + 1)
        });
        let range = if count == 0 { ["-".to_owned(), "-".to_owned()] } else { [low, high].map(|x| x.to_string()) };
        let kind = match info.kind {
            Provenance::Exact => "exact",
            Provenance::Mean => "mean of runs",
            Provenance::OneRun => "one run",
            Provenance::Measured => "measured",
            Provenance::Modelled => "partly modelled",
            _ => "unstated",
        };
        let missing = table.rows() - count;
        let missing = if missing == 0 { String::new() } else { missing.to_string() };
        let [low, high] = range;
        rows.push(vec![info.name.clone(), info.unit.clone(), low, high, missing, kind.to_owned(), info.note.clone()]);
    }
    let header = ["metric", "unit", "lowest", "highest", "missing", "figures are", ""];
    output.answer(output::table(&header, &[2, 3, 4], rows));
    Ok(())
}
