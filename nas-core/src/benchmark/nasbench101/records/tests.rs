//! A small file written to the published format, read back, cut and damaged.

use std::path::PathBuf;

use super::*;
use crate::benchmark::nasbench101::cells;

/// A record as the authors' program writes it.
fn line(cell: &Cell, hash: &str, epochs: u32, validation: f64) -> Vec<u8> {
    let n = cell.vertices();
    let edges: Vec<(usize, usize)> = cell.edges().collect();
    let matrix: String = (0..n * n).map(|i| if edges.contains(&(i / n, i % n)) { '1' } else { '0' }).collect();
    let operations: Vec<&str> =
        std::iter::once("input").chain(cell.operations()).chain(std::iter::once("output")).collect();
    let at = |part: f64| EvaluationData {
        current_epoch: Some(f64::from(epochs) * part),
        training_time: Some(10.0 * f64::from(epochs) * part),
        train_accuracy: Some(0.99),
        validation_accuracy: Some(validation * part),
        test_accuracy: Some(validation * part - 0.01 * part),
    };
    let metrics = ModelMetrics {
        evaluation_data: vec![at(0.0), at(0.5), at(1.0)],
        trainable_parameters: Some(1000 + n as i32),
        total_time: Some(1.0),
    };
    let metrics = base64::engine::general_purpose::STANDARD.encode(metrics.encode_to_vec());
    serde_json::to_vec(&(hash, epochs, matrix, operations.join(","), metrics)).unwrap()
}

fn framed(line: &[u8]) -> Vec<u8> {
    let length = (line.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &masked(&length).to_le_bytes(), line, &masked(line).to_le_bytes()];
    parts.concat()
}

/// All cells of up to 4 vertices, two repeats at 4 and at 12 epochs.
fn small() -> Vec<u8> {
    let cells = cells(4, 9);
    let records = cells.iter().enumerate().flat_map(|(i, (hash, cell))| {
        [(4, 0.25), (4, 0.5), (12, 0.5), (12, 0.625)]
            .map(|(epochs, accuracy)| framed(&line(cell, hash, epochs, accuracy + i as f64 / 1024.0)))
    });
    records.flatten().collect()
}

fn read(bytes: &[u8]) -> Result<Table, BenchmarkError> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("small.tfrecord");
    std::fs::write(&path, bytes).unwrap();
    read_records(&path)
}

#[track_caller]
fn check_error(bytes: &[u8], message: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn checksums_of_the_standard() {
    // RFC 3720, B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
}

#[test]
fn a_small_file() {
    let table = read(&small()).unwrap();
    let cells = cells(4, 9);
    assert_eq!(table.rows(), cells.len());
    for (i, (_, cell)) in cells.iter().enumerate() {
        let row = table.row(&cell.tokens()).unwrap();
        let get = |name: &str| table.metric(name).unwrap().get(row).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(get("valid_4"), 37.5 + 100.0 * i as f64 / 1024.0);
        near(get("test_12_run_2"), 61.5 + 100.0 * i as f64 / 1024.0);
        near(get("seconds_12"), 120.0);
        near(get("parameters"), 1000.0 + cell.vertices() as f64);
    }
    // An isomorphic cell with a dangling vertex is found too; what is larger or no cell is not.
    let mut dangling = cells[0].1.tokens();
    dangling[0] = 1; // 0 → 1, which leads nowhere
    assert_eq!(table.row(&dangling), table.row(&cells[0].1.tokens()));
    assert_eq!(table.row(&[0; 26]), None);
    let stored = Table::from_bytes(&table.to_bytes(), "memory").unwrap();
    assert_eq!(stored.metric("valid_12").unwrap().values(), table.metric("valid_12").unwrap().values());
    assert_eq!(stored.row(&dangling), table.row(&dangling));
}

#[test]
fn damaged_files() {
    let sound = small();
    check_error(&[], "it has no record");
    check_error(&sound[..7], "record 1: the file ends within a record's length");
    check_error(&sound[..100], "record 1: the file ends within it");
    check_error(b"hash,epochs,accuracy and so on", "record 1: the checksum of its length is wrong");
    let mut flipped = sound.clone();
    flipped[60] ^= 1;
    check_error(&flipped, "record 1: its checksum is wrong");
    let huge = (1_u64 << 40).to_le_bytes();
    check_error(&[&huge[..], &masked(&huge).to_le_bytes()].concat(), "at most 16777216 are read");
}

#[test]
fn records_that_say_something_else() {
    let found = cells(3, 9).into_iter().find(|(_, cell)| cell.operations().eq([OPERATIONS[1]]));
    let (hash, cell) = found.unwrap();
    let sound = String::from_utf8(line(&cell, &hash, 4, 0.5)).unwrap();
    assert!(read(&framed(sound.as_bytes())).is_ok());
    let check = |from: &str, to: &str, message: &str| {
        assert!(sound.contains(from));
        check_error(&framed(sound.replacen(from, to, 1).as_bytes()), message);
    };
    check("[", "{", "it is no array");
    check(&hash, "00", "not 00");
    check("conv1x1-bn-relu", "conv9x9", "no operation of the benchmark is called \"conv9x9\"");
    check("input", "inlet", "do not go from input to output");
    check("\"0", "\"9", "is no cell");
    check(",\"C", ",\"?", "no base64");
    check(",\"C", ",\"/", "cannot be read");
    check_error(&framed(&line(&cell, &hash, 4, 1.5)), "its validation_accuracy is Some(1.5)");
}

#[test]
fn no_byte_makes_it_panic() {
    let sound = small();
    let sound = &sound[..600];
    for i in 0..sound.len() {
        let mut changed = sound.to_vec();
        changed[i] = changed[i].wrapping_add(101);
        assert!(read(&changed).is_err());
    }
    // The metrics themselves, past all checksums.
    let (hash, cell) = cells(3, 9).remove(0);
    let sound = line(&cell, &hash, 4, 0.5);
    for i in 0..sound.len() {
        for by in [1, 77] {
            let mut changed = sound.clone();
            changed[i] = changed[i].wrapping_add(by);
            let _ = read(&framed(&changed)); // some changes are only another figure
        }
    }
}
