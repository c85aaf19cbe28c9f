//! A CSV file in memory, whose every mistake has a line and a column.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::benchmark::error::BenchmarkError;

/// The most bytes that are read from one file, unpacked: 1 GiB.
const LIMIT: u64 = 1 << 30;

/// The named columns of a CSV file.
pub(super) struct Sheet {
    file: String,
    stem: String,
    header: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Sheet {
    /// Reads a file, gzipped or not.
    pub(super) fn open(path: &Path) -> Result<Sheet, BenchmarkError> {
        let file = path.display().to_string();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        let open = File::open(path).map_err(BenchmarkError::io("reading", path))?;
        let mut start = Vec::new();
        let mut source = BufReader::new(open);
        source.by_ref().take(2).read_to_end(&mut start).map_err(BenchmarkError::io("reading", path))?;
        let gzipped = start == [0x1f, 0x8b];
        let whole = std::io::Cursor::new(start).chain(source);
        let mut bytes = Vec::new();
        let plain: &mut dyn Read = if gzipped { &mut MultiGzDecoder::new(whole) } else { &mut { whole } };
        plain.take(LIMIT + 1).read_to_end(&mut bytes).map_err(BenchmarkError::io("reading", path))?;
        if bytes.len() as u64 > LIMIT {
            return Err(BenchmarkError::Source { file, why: format!("it has more than {LIMIT} bytes") });
        }
        Sheet::parse(&bytes, file, stem)
    }

    fn parse(bytes: &[u8], file: String, stem: String) -> Result<Sheet, BenchmarkError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let source = |file: &str, e: csv::Error| BenchmarkError::Source { file: file.to_owned(), why: e.to_string() };
        let header: Vec<String> = reader.headers().map_err(|e| source(&file, e))?.iter().map(str::to_owned).collect();
        if let Some((i, name)) = header.iter().enumerate().find(|(i, name)| header[..*i].contains(name)) {
            let why = format!("columns {} and another are both called \"{name}\"", i + 1);
            return Err(BenchmarkError::Source { file, why });
        }
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().map_err(|e| source(&file, e))?;
        if rows.is_empty() {
            return Err(BenchmarkError::Source { file, why: "it has no row".to_owned() });
        }
        Ok(Sheet { file, stem, header, rows })
    }

    /// The file's name without folder and endings.
    pub(super) fn stem(&self) -> &str {
        &self.stem
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// How many rows there are under the header.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn has(&self, columns: &[&str]) -> bool {
        columns.iter().all(|name| self.header.iter().any(|column| column == name))
    }

    /// The texts of a column.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&str>, BenchmarkError> {
        let Some(column) = self.header.iter().position(|column| column == name) else {
            let why = format!("it has no column \"{name}\"; its columns are {}", self.header.join(", "));
            return Err(self.wrong(why));
        };
        Ok(self.rows.iter().map(|row| row.get(column).unwrap_or_default()).collect())
    }

    /// The numbers of a column; NaN where it is empty or says so itself.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<f64>, BenchmarkError> {
        let texts = self.texts(name)?;
        let number = |(row, text): (usize, &&str)| {
            if text.is_empty() || text.eq_ignore_ascii_case("nan") {
                return Ok(f64::NAN);
            }
            match text.parse::<f64>() {
                Ok(x) if x.is_finite() => Ok(x),
                _ => Err(self.cell(row, name, format!("\"{text}\" is no number"))),
            }
        };
        texts.iter().enumerate().map(number).collect()
    }

    /// The numbers of a column, each one of `count` codes from 0 on.
    pub(super) fn codes(&self, name: &str, count: u64) -> Result<Vec<u64>, BenchmarkError> {
        let texts = self.texts(name)?;
        let code = |(row, text): (usize, &&str)| match text.parse::<u64>() {
            Ok(code) if code < count => Ok(code),
            _ => Err(self.cell(row, name, format!("\"{text}\" is no whole number from 0 to {}", count - 1))),
        };
        texts.iter().enumerate().map(code).collect()
    }

    /// What is wrong with the file as a whole.
    pub(super) fn wrong(&self, why: String) -> BenchmarkError {
        BenchmarkError::Source { file: self.file.clone(), why }
    }

    /// What is wrong with one value.
    pub(super) fn cell(&self, row: usize, column: &str, why: String) -> BenchmarkError {
        BenchmarkError::Cell { file: self.file.clone(), line: self.line(row), column: column.to_owned(), why }
    }

    /// The line of a row, from 1.
    pub(super) fn line(&self, row: usize) -> u64 {
        self.rows[row].position().map_or(0, csv::Position::line)
    }
}
