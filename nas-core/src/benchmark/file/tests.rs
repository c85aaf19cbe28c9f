//! Files that come back, and files that are damaged.

use super::*;
use crate::benchmark::{Provenance, Task};
use crate::{Direction, SearchSpace};

/// 2 · 3 architectures with every form of column, two rows of them absent if `sparse`.
fn small(sparse: bool) -> Table {
    let space = SearchSpace::builder("small").choice("op", ["conv", "pool"]).integer("depth", 1..=3).build().unwrap();
    let ranks: Vec<u64> = if sparse { vec![4, 0, 1, 5] } else { (0..6).rev().collect() };
    let n = ranks.len();
    let info = |name| MetricInfo::new(name, Some(Direction::Maximize), "%", Provenance::Mean);
    let column = |value: fn(usize) -> f64| (0..n).map(value).collect::<Vec<f64>>();
    let metrics = vec![
        (info("accuracy"), column(|i| if i == 2 { f64::NAN } else { 90.0 + i as f64 / 4.0 })),
        (info("loss"), column(|i| [0.0, 66.6667, 33.3333, 655.3333, 1.0, 2.0][i])),
        (info("long"), column(|i| i as f64 * 100_000.123_47)),
        (info("ratio"), column(|i| (i as f64 + 1.0).sqrt())),
    ];
    let about = About {
        name: "small".to_owned(),
        title: "a small table".to_owned(),
        source: "made up".to_owned(),
        licence: "MIT".to_owned(),
        tasks: vec![Task { name: "it".to_owned(), objective: "accuracy".to_owned(), signal: None, clock: Vec::new() }],
    };
    let labels = ranks.iter().map(|rank| format!("row {rank}")).collect();
    Table::new(about, space, &ranks, labels, metrics).unwrap()
}

#[track_caller]
fn check_same(a: &Table, b: &Table) {
    assert_eq!((a.about(), a.space(), a.rows()), (b.about(), b.space(), b.rows()));
    for info in a.metrics() {
        let [a, b] = [a, b].map(|table| table.metric(&info.name).unwrap());
        assert_eq!(a.info(), b.info());
        let bits = |metric: &crate::benchmark::Metric| metric.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&a), bits(&b), "{}", info.name);
    }
    for row in 0..a.rows() {
        assert_eq!((a.tokens(row).unwrap(), a.label(row)), (b.tokens(row).unwrap(), b.label(row)));
    }
}

/// The bytes with the description changed and all sums made right again.
fn rewritten(table: &Table, from: &str, to: &str) -> Vec<u8> {
    let bytes = table.to_bytes();
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let text = String::from_utf8(bytes[HEADER..HEADER + length].to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    let text = text.replacen(from, to, 1);
    let mut changed = bytes[..HEADER].to_vec();
    block(&mut changed, text.bytes());
    changed.extend(&bytes[HEADER + length.next_multiple_of(8)..]);
    changed[12..16].copy_from_slice(&(text.len() as u32).to_le_bytes());
    sealed(changed)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let (total, sum) = (bytes.len() as u64, checksum(&bytes[HEADER..]));
    bytes[16..24].copy_from_slice(&total.to_le_bytes());
    bytes[24..32].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[track_caller]
fn check_error(bytes: &[u8], message: &str) {
    let error = Table::from_bytes(bytes, "small.nastable").unwrap_err().to_string();
    assert!(error.starts_with("small.nastable is no sound table: ") && error.contains(message), "{error}");
}

#[test]
fn every_form_of_column_comes_back() {
    for sparse in [false, true] {
        let table = small(sparse);
        let back = Table::from_bytes(&table.to_bytes(), "memory").unwrap();
        check_same(&table, &back);
        assert_eq!(back.is_exhaustive(), !sparse);
    }
}

#[test]
fn a_file_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.nastable");
    small(true).save(&path).unwrap();
    check_same(&small(true), &Table::open(&path).unwrap());
    assert!(matches!(small(false).save(&path), Err(BenchmarkError::Io { action: "writing", .. })));
    assert!(matches!(Table::open(&folder.path().join("none")), Err(BenchmarkError::Io { action: "reading", .. })));
}

#[test]
fn damaged_headers() {
    let sound = small(false).to_bytes();
    check_error(b"", "header: it does not begin like a table");
    check_error(b"PK\x03\x04 and so on, an archive of something else", "header");
    check_error(&sound[..sound.len() - 8], "length: ");
    let mut flipped = sound.clone();
    flipped[200] ^= 4;
    check_error(&flipped, "checksum: the bytes are not those that were written");
    let mut newer = sound.clone();
    newer[8] = 2;
    check_error(&newer, "version: 2, and this program reads 1");
    let mut long = sound;
    long.extend([0; 8]);
    check_error(&sealed(long), "length: 8 bytes more than the description accounts for");
}

#[test]
fn descriptions_that_cannot_be() {
    let check = |from: &str, to: &str, message: &str| check_error(&rewritten(&small(true), from, to), message);
    check("\"rows\":4", "\"rows\":4000000000", "ranks: 32000000000 bytes where only");
    check("\"rows\":4", "\"rows\":18446744073709551615", "rows: 18446744073709551615");
    check("\"rows\":4", "\"rows\":3", "it does not end in zeros");
    check("\"keys\":\"ranks\"", "\"keys\":\"all\"", "");
    check("\"keys\":\"ranks\"", "\"keys\":\"some\"", "description: unknown variant `some`");
    check("\"rows\":4", "\"rows\":4,\"more\":1", "description: unknown field `more`");
    check("\"decimals\":2", "\"decimals\":40", "metric \"accuracy\": 40 decimals");
    check("\"width\":2", "\"width\":3", "3 bytes a value is not how this encoding is stored");
    check("\"objective\":\"accuracy\"", "\"objective\":\"speed\"", "names the metric \"speed\"");
    check("\"name\":\"loss\"", "\"name\":\"long\"", "metrics: \"long\" stands twice");
    check("\"tasks\":[{\"name\":\"it\",\"objective\":\"accuracy\"}]", "\"tasks\":[]", "tasks: there is none");
    check("high = 3", "high = 2", "ranks must ascend below the 4 architectures");
    check("kind = \\\"integer\\\"", "kind = \\\"whole\\\"", "space: ");
    check_error(&rewritten(&small(false), "\"keys\":\"all\"", "\"keys\":\"cells\""), "space: hashes of cells belong");
}

#[test]
fn labels_that_overlap() {
    let table = small(true);
    let bytes = table.to_bytes();
    let at = bytes.windows(8).position(|window| window == 10_u64.to_le_bytes()).unwrap();
    for end in [u64::MAX, 21, 16, 0] {
        let mut changed = bytes.clone();
        changed[at..at + 8].copy_from_slice(&end.to_le_bytes());
        check_error(&sealed(changed), "labels: no text ends at byte");
    }
}

#[test]
fn no_byte_makes_it_panic() {
    for sparse in [false, true] {
        let sound = small(sparse).to_bytes();
        for i in (0..sound.len()).step_by(if cfg!(debug_assertions) { 3 } else { 1 }) {
            for by in [1, 0x55] {
                let mut changed = sound.clone();
                changed[i] ^= by;
                assert!(Table::from_bytes(&changed, "memory").is_err() || i < 8);
                // Past the checksum: an error, or a table that can be used.
                if let Ok(table) = Table::from_bytes(&sealed(changed), "memory") {
                    for row in 0..table.rows() {
                        assert_eq!(table.row(&table.tokens(row).unwrap()), Some(row));
                    }
                    assert!(table.metrics().all(|info| table.metric(&info.name).is_ok()));
                }
            }
        }
    }
}
