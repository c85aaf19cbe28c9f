//! The file of a table: a checked header, its description as JSON, and plain little-endian columns.
//!
//! ```text
//!  0  8 bytes   "NASTABLE"
//!  8  u32       version, 1
//! 12  u32       bytes of the description
//! 16  u64       bytes of the whole file
//! 24  u64       FNV-1a of everything from byte 32 on
//! 32            the description, then ranks, labels and columns; each starts at a multiple of 8, zeros in between
//! ```
//!
//! Every block has a place that follows from the description, so the file can be mapped and its columns read in place. This
//! reader copies them, which needs no unsafe code.

use std::fs::{self, File, OpenOptions};
use std::hash::Hasher as _;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::about::{About, MetricInfo};
use super::column::{Codes, Column, Encoding};
use super::error::BenchmarkError;
use super::table::{Keys, MAX_ROWS, Table};
use crate::SearchSpace;

const MAGIC: &[u8; 8] = b"NASTABLE";
const VERSION: u32 = 1;
const HEADER: usize = 32;

/// NAS-Bench-201, as `nas bench import` makes it from its CSV.
static NAS_BENCH_201: &[u8] = include_bytes!("../../assets/nas-bench-201.nastable");

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    about: About,
    /// The space in TOML.
    space: String,
    rows: u64,
    keys: KeyKind,
    /// Bytes of the labels' text; none without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label_bytes: Option<u64>,
    columns: Vec<ColumnInfo>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeyKind {
    All,
    Ranks,
    Cells,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnInfo {
    metric: MetricInfo,
    encoding: Encoding,
    /// Bytes of one value: 2, 4 or 8.
    width: u8,
}

impl Table {
    /// NAS-Bench-201 (Dong and Yang, ICLR 2020; here by way of NATS-Bench), which is part of this library: 15,625 cells
    /// on CIFAR-10, CIFAR-100 and ImageNet16-120.
    ///
    /// # Panics
    /// Never: the tests read the same bytes.
    pub fn nas_bench_201() -> Table {
        Table::from_bytes(NAS_BENCH_201, "the built-in table").expect("the built-in table is sound")
    }

    /// Reads a table.
    ///
    /// # Errors
    /// When the file cannot be read, is no table, or is damaged; the error names the part that is wrong.
    pub fn open(path: &Path) -> Result<Table, BenchmarkError> {
        let bytes = fs::read(path).map_err(BenchmarkError::io("reading", path))?;
        Table::from_bytes(&bytes, &path.display().to_string())
    }

    /// Writes the table to a new file.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), BenchmarkError> {
        let mut file: File =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(BenchmarkError::io("writing", path))?;
        file.write_all(&self.to_bytes()).map_err(BenchmarkError::io("writing", path))
    }

    /// The bytes of its file.
    ///
    /// # Panics
    /// When the description has more than 4 GiB.
    pub fn to_bytes(&self) -> Vec<u8> {
        let description = Description {
            about: self.about.clone(),
            space: self.space.to_toml(),
            rows: self.rows as u64,
            keys: match &self.keys {
                Keys::All => KeyKind::All,
                Keys::Ranks(_) => KeyKind::Ranks,
                Keys::Cells => KeyKind::Cells,
            },
            label_bytes: (!self.labels.is_empty()).then(|| self.labels.iter().map(|l| l.len() as u64).sum()),
            columns: self
                .columns
                .iter()
                .map(|(metric, column)| ColumnInfo {
                    metric: metric.clone(),
                    encoding: column.encoding,
                    width: width(&column.codes),
                })
                .collect(),
        };
        let description = serde_json::to_vec(&description).expect("plain data is JSON");
        let mut bytes = vec![0; HEADER];
        block(&mut bytes, description.iter().copied());
        if let Keys::Ranks(ranks) = &self.keys {
            block(&mut bytes, ranks.iter().flat_map(|rank| rank.to_le_bytes()));
        }
        if !self.labels.is_empty() {
            let ends = self.labels.iter().scan(0_u64, |end, label| {
                *end += label.len() as u64;
                Some(*end)
            });
            block(&mut bytes, ends.flat_map(u64::to_le_bytes));
            block(&mut bytes, self.labels.iter().flat_map(|label| label.bytes()));
        }
        for (_, column) in &self.columns {
            match &column.codes {
                Codes::Short(codes) => block(&mut bytes, codes.iter().flat_map(|code| code.to_le_bytes())),
                Codes::Long(codes) => block(&mut bytes, codes.iter().flat_map(|code| code.to_le_bytes())),
                Codes::Float(values) => block(&mut bytes, values.iter().flat_map(|value| value.to_le_bytes())),
            }
        }
        let length = u32::try_from(description.len()).expect("a description is short");
        let (total, sum) = (bytes.len() as u64, checksum(&bytes[HEADER..]));
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        bytes[16..24].copy_from_slice(&total.to_le_bytes());
        bytes[24..32].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The table in `bytes`; errors name them `file`.
    ///
    /// # Errors
    /// When the bytes are no table or damaged. No bytes make it panic or take more memory than a few times their number.
    pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Table, BenchmarkError> {
        parse(bytes).map_err(|(field, why)| BenchmarkError::File { file: file.to_owned(), field, why })
    }
}

fn width(codes: &Codes) -> u8 {
    match codes {
        Codes::Short(_) => 2,
        Codes::Long(_) => 4,
        Codes::Float(_) => 8,
    }
}

/// Appends a block, and zeros up to a multiple of 8.
fn block(bytes: &mut Vec<u8>, content: impl Iterator<Item = u8>) {
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

type Wrong = (String, String);

fn wrong(field: &str, why: impl Into<String>) -> Wrong {
    (field.to_owned(), why.into())
}

fn parse(bytes: &[u8]) -> Result<Table, Wrong> {
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
    };
    if bytes.len() < HEADER || &bytes[..8] != MAGIC {
        return Err(wrong("header", "it does not begin like a table"));
    }
    if number(8..12) != u64::from(VERSION) {
        return Err(wrong("version", format!("{}, and this program reads {VERSION}", number(8..12))));
    }
    if number(16..24) != bytes.len() as u64 {
        return Err(wrong("length", format!("{} bytes where {} were written", bytes.len(), number(16..24))));
    }
    if number(24..32) != checksum(&bytes[HEADER..]) {
        return Err(wrong("checksum", "the bytes are not those that were written"));
    }
    let mut rest = Rest { bytes: &bytes[HEADER..] };
    let text = rest.take("description", number(12..16))?;
    let description: Description = serde_json::from_slice(text).map_err(|e| wrong("description", e.to_string()))?;
    let space = SearchSpace::from_toml(&description.space).map_err(|e| wrong("space", e.to_string()))?;
    let rows = usize::try_from(description.rows).ok().filter(|&rows| rows <= MAX_ROWS);
    let rows = rows.ok_or_else(|| wrong("rows", format!("{}, and at most {MAX_ROWS} can be", description.rows)))?;

    let keys = match description.keys {
        KeyKind::All => Keys::All,
        KeyKind::Cells => Keys::Cells,
        KeyKind::Ranks => Keys::Ranks(rest.array("ranks", rows)?.map(u64::from_le_bytes).collect()),
    };
    let labels = match description.label_bytes {
        None => Vec::new(),
        Some(length) => labels(&mut rest, rows, length)?,
    };
    let mut columns = Vec::new();
    for ColumnInfo { metric, encoding, width } in description.columns {
        let name = format!("metric \"{}\"", metric.name);
        if let Some(why) = encoding.mistake() {
            return Err((name, why));
        }
        let codes = match (encoding, width) {
            (Encoding::Float, 8) => Codes::Float(rest.array(&name, rows)?.map(f64::from_le_bytes).collect()),
            (Encoding::Decimal { .. } | Encoding::Fraction { .. }, 2) => {
                Codes::Short(rest.array(&name, rows)?.map(u16::from_le_bytes).collect())
            }
            (Encoding::Decimal { .. }, 4) => Codes::Long(rest.array(&name, rows)?.map(u32::from_le_bytes).collect()),
            _ => return Err((name, format!("{width} bytes a value is not how this encoding is stored"))),
        };
        columns.push((metric, Column { encoding, codes }));
    }
    if !rest.bytes.is_empty() {
        return Err(wrong("length", format!("{} bytes more than the description accounts for", rest.bytes.len())));
    }
    Table::from_parts(description.about, space, keys, labels, columns, rows)
}

fn labels(rest: &mut Rest<'_>, rows: usize, length: u64) -> Result<Vec<String>, Wrong> {
    let ends: Vec<u64> = rest.array("labels", rows)?.map(u64::from_le_bytes).collect();
    let text = rest.take("labels", length)?;
    let mut start = 0;
    let mut labels = Vec::with_capacity(rows);
    for &end in &ends {
        let label = usize::try_from(end).ok().and_then(|end| text.get(start..end));
        let label = label.and_then(|bytes| std::str::from_utf8(bytes).ok());
        labels.push(label.ok_or_else(|| wrong("labels", format!("no text ends at byte {end}")))?.to_owned());
        start = end as usize;
    }
    if start == text.len() { Ok(labels) } else { Err(wrong("labels", "there is more text than labels")) }
}

/// What is left to read.
struct Rest<'a> {
    bytes: &'a [u8],
}

impl<'a> Rest<'a> {
    /// The next block of `length` bytes, and past the zeros that follow it.
    fn take(&mut self, field: &str, length: u64) -> Result<&'a [u8], Wrong> {
        let short = || wrong(field, format!("{length} bytes where only {} are left", self.bytes.len()));
        let length = usize::try_from(length).ok().filter(|&length| length <= self.bytes.len()).ok_or_else(short)?;
        let padded = length.next_multiple_of(8);
        if padded > self.bytes.len() || self.bytes[length..padded].iter().any(|&byte| byte != 0) {
            return Err(wrong(field, "it does not end in zeros up to the next block"));
        }
        let (block, rest) = (&self.bytes[..length], &self.bytes[padded..]);
        self.bytes = rest;
        Ok(block)
    }

    /// The next block as `rows` values of `N` bytes.
    fn array<const N: usize>(
        &mut self,
        field: &str,
        rows: usize,
    ) -> Result<impl Iterator<Item = [u8; N]> + use<'a, N>, Wrong> {
        let block = self.take(field, rows as u64 * N as u64)?;
        Ok(block.as_chunks::<N>().0.iter().copied())
    }
}

#[cfg(test)]
mod tests;
