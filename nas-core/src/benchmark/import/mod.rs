//! Tables made from what others published: CSV files, plain or gzipped, and the TFRecord of NAS-Bench-101.

mod generic;
mod joined;
mod nasbench201;
mod nasbench_macro;
mod nlp;
mod sheet;

use std::path::{Path, PathBuf};

pub use generic::CsvImport;

use super::error::BenchmarkError;
use super::nasbench101;
use super::table::Table;
use sheet::Sheet;

/// The table in files of a known layout, which is recognised by the first one: NAS-Bench-201 (further files with an `idx`
/// column join it as more metrics), NAS-Bench-Macro, NAS-Bench-NLP, or the TFRecord of NAS-Bench-101. For any other CSV
/// there is [`CsvImport`].
///
/// # Errors
/// When there is no file, one cannot be read, the layout is none of these, or a value is not what it must be.
pub fn import(files: &[PathBuf]) -> Result<Table, BenchmarkError> {
    let source =
        |file: &Path, why: &str| BenchmarkError::Source { file: file.display().to_string(), why: why.to_owned() };
    let Some((first, further)) = files.split_first() else {
        return Err(source(Path::new("import"), "no file was given"));
    };
    let only = |table| match further {
        [] => Ok(table),
        [file, ..] => Err(source(file, "this layout takes one file")),
    };
    if first.extension().is_some_and(|extension| extension == "tfrecord") {
        return only(nasbench101::read_records(first)?);
    }
    let sheet = Sheet::open(first)?;
    if nasbench201::is_layout(&sheet) {
        let further = further.iter().map(|file| Sheet::open(file)).collect::<Result<Vec<_>, _>>()?;
        return nasbench201::read(&sheet, &further);
    }
    if nasbench_macro::is_layout(&sheet) {
        return only(nasbench_macro::read(&sheet)?);
    }
    if nlp::is_layout(&sheet) {
        return only(nlp::read(&sheet)?);
    }
    Err(source(first, "no published table has these columns; name its decisions and metrics"))
}

#[cfg(test)]
mod tests;
