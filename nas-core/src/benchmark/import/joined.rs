//! More metrics for a table: columns of a file with the index of its rows, such as HW-NAS-Bench for NAS-Bench-201.

use super::sheet::Sheet;
use crate::Direction::{Maximize, Minimize};
use crate::benchmark::about::{MetricInfo, Provenance};
use crate::benchmark::error::BenchmarkError;

/// The metrics of `sheet` in the order of the rows with these indices; every one of them must be there once.
///
/// A file whose name ends in `_c10`, `_c100` or `_in16` is about that data set, which goes before the metrics' names.
pub(super) fn read(sheet: &Sheet, index: &[u64]) -> Result<Vec<(MetricInfo, Vec<f64>)>, BenchmarkError> {
    const DATA: [(&str, &str); 3] = [("c10", "cifar10_"), ("c100", "cifar100_"), ("in16", "imagenet16_120_")];
    let ending = sheet.stem().rsplit('_').next().unwrap_or_default();
    let prefix = DATA.iter().find(|(name, _)| *name == ending).map_or("", |(_, prefix)| prefix);

    let mut place = vec![None; index.len()];
    for (row, code) in sheet.codes("idx", index.len() as u64)?.into_iter().enumerate() {
        if let Some(other) = place[code as usize].replace(row) {
            return Err(sheet.cell(row, "idx", format!("{code} stands on line {} already", sheet.line(other))));
        }
    }
    let rows = index
        .iter()
        .map(|&code| place[code as usize].ok_or_else(|| sheet.wrong(format!("it has no row with idx {code}"))));
    let rows = rows.collect::<Result<Vec<usize>, _>>()?;

    let columns = sheet.header().iter().filter(|name| *name != "idx");
    let column = |name: &String| {
        let mut values = sheet.numbers(name)?;
        let (short, unit) = match name.rsplit_once('_') {
            Some((short, "ms")) => (short, "ms"),
            Some((short, "mj")) => (short, "mJ"),
            _ => (name.as_str(), ""),
        };
        let cost = !unit.is_empty();
        if cost {
            // A latency or energy below zero stands for an operation that the device does not support.
            values.iter_mut().filter(|x| **x < 0.0).for_each(|x| *x = f64::NAN);
        }
        let kind = if cost { Provenance::Measured } else { Provenance::Unstated };
        let direction = if cost { Some(Minimize) } else { Some(Maximize) };
        let info = MetricInfo::new(&format!("{prefix}{short}"), direction, unit, kind);
        Ok((info, rows.iter().map(|&row| values[row]).collect()))
    };
    columns.map(column).collect()
}
