//! The published file of NAS-Bench-101: a TFRecord of JSON arrays, each with a base64 protocol buffer of figures.
//!
//! A record is its length (u64), a checksum of that, its bytes and a checksum of those, all little-endian; the checksums are
//! CRC-32C, rotated and shifted by a constant. The bytes are `[hash, epochs, adjacency, operations, metrics]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use base64::Engine as _;
use prost::Message;

use super::{Cell, OPERATIONS};
use crate::Direction;
use crate::benchmark::{About, BenchmarkError, Charge, MetricInfo, Provenance, Table, Task};

/// The most bytes of one record; the published ones have under a thousand.
const MAX_RECORD: u64 = 1 << 24;

/// The figures of one training, as the authors' `model_metrics.proto` declares them.
#[derive(Clone, PartialEq, Message)]
struct ModelMetrics {
    #[prost(message, repeated, tag = "1")]
    evaluation_data: Vec<EvaluationData>,
    #[prost(int32, optional, tag = "2")]
    trainable_parameters: Option<i32>,
    #[prost(double, optional, tag = "3")]
    total_time: Option<f64>,
}

/// The figures at one point of a training.
#[derive(Clone, PartialEq, Message)]
struct EvaluationData {
    #[prost(double, optional, tag = "1")]
    current_epoch: Option<f64>,
    #[prost(double, optional, tag = "2")]
    training_time: Option<f64>,
    #[prost(double, optional, tag = "3")]
    train_accuracy: Option<f64>,
    #[prost(double, optional, tag = "4")]
    validation_accuracy: Option<f64>,
    #[prost(double, optional, tag = "5")]
    test_accuracy: Option<f64>,
}

/// One training of a cell to its end.
struct Run {
    seconds: f64,
    validation: f64,
    test: f64,
}

#[derive(Default)]
struct Trainings {
    parameters: f64,
    /// By the number of epochs, in the order of the file.
    runs: BTreeMap<u32, Vec<Run>>,
}

/// The table in the published `nasbench_full.tfrecord` or `nasbench_only108.tfrecord`: for every number of epochs the mean
/// validation and test accuracy (%) and training time (s) over the repeats, and the accuracies of each repeat.
///
/// # Errors
/// When the file cannot be read, its framing or checksums are broken, or a record is not what the authors write; the error
/// names the record.
pub fn read_records(path: &Path) -> Result<Table, BenchmarkError> {
    let file = File::open(path).map_err(BenchmarkError::io("reading", path))?;
    let mut source = BufReader::new(file);
    let name = path.display().to_string();
    let mut cells: BTreeMap<String, Trainings> = BTreeMap::new();
    let mut number = 0;
    loop {
        number += 1;
        let wrong = |why| BenchmarkError::Record { file: name.clone(), record: number, why };
        let Some(bytes) = frame(&mut source).map_err(wrong)? else { break };
        record(&bytes, &mut cells).map_err(wrong)?;
    }
    if cells.is_empty() {
        return Err(BenchmarkError::Source { file: name, why: "it has no record".to_owned() });
    }
    table(cells)
}

/// The bytes of the next record; none at the end of the file.
fn frame(source: &mut impl Read) -> Result<Option<Vec<u8>>, String> {
    let mut head = Vec::with_capacity(12);
    source.by_ref().take(12).read_to_end(&mut head).map_err(|e| e.to_string())?;
    if head.is_empty() {
        return Ok(None);
    }
    let (Some(length), Some(sum)) = (number(head.get(..8)), number(head.get(8..12))) else {
        return Err("the file ends within a record's length".to_owned());
    };
    if u64::from(masked(&head[..8])) != sum {
        return Err("the checksum of its length is wrong: this is no TFRecord, or it is damaged".to_owned());
    }
    if length > MAX_RECORD {
        return Err(format!("it has {length} bytes, at most {MAX_RECORD} are read"));
    }
    let mut bytes = Vec::new();
    source.by_ref().take(length + 4).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if (bytes.len() as u64) < length + 4 {
        return Err(format!("the file ends within it, after {} of {} bytes", bytes.len(), length + 4));
    }
    let sum = number(bytes.get(length as usize..));
    bytes.truncate(length as usize);
    if Some(u64::from(masked(&bytes))) != sum {
        return Err("its checksum is wrong: the file is damaged".to_owned());
    }
    Ok(Some(bytes))
}

fn number(bytes: Option<&[u8]>) -> Option<u64> {
    bytes.map(|bytes| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// The checksum that the format stores: CRC-32C, rotated and shifted so that checksums of checksums differ.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit-reversed polynomial 0x82f63b78.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// Reads one record and notes its training.
fn record(bytes: &[u8], cells: &mut BTreeMap<String, Trainings>) -> Result<(), String> {
    let parts: (String, u32, String, String, String) = serde_json::from_slice(bytes)
        .map_err(|e| format!("it is no array of hash, epochs, matrix, operations and metrics: {e}"))?;
    let (hash, epochs, adjacency, operations, metrics) = parts;
    let matrix: Vec<u8> = adjacency.bytes().map(|byte| byte.wrapping_sub(b'0')).collect();
    let names: Vec<&str> = operations.split(',').collect();
    let inner = match names.as_slice() {
        ["input", inner @ .., "output"] => inner,
        _ => return Err(format!("operations \"{operations}\" do not go from input to output")),
    };
    let index = |name: &&str| {
        let found = OPERATIONS.iter().position(|operation| operation == name);
        found.map(|i| i as u8).ok_or_else(|| format!("no operation of the benchmark is called \"{name}\""))
    };
    let inner = inner.iter().map(index).collect::<Result<Vec<u8>, String>>()?;
    let cell = Cell::new(&matrix, &inner).and_then(|cell| cell.pruned());
    let cell = cell.ok_or_else(|| format!("\"{adjacency}\" with {} operations is no cell", inner.len() + 2))?;
    let found = cell.hash();
    if found != hash {
        return Err(format!("its cell has the hash {found}, not {hash}"));
    }
    let metrics = base64::engine::general_purpose::STANDARD
        .decode(metrics)
        .map_err(|e| format!("its metrics are no base64: {e}"))?;
    let metrics = ModelMetrics::decode(metrics.as_slice()).map_err(|e| format!("its metrics cannot be read: {e}"))?;
    // The first entry is before training, the second half way, the third at the end.
    let end = metrics.evaluation_data.get(2).ok_or("its metrics do not reach the end of the training")?;
    let figure = |value: Option<f64>, name: &str, most: f64| {
        value
            .filter(|x| (0.0..=most).contains(x))
            .ok_or_else(|| format!("its {name} is {value:?}, no number from 0 to {most}"))
    };
    let run = Run {
        seconds: figure(end.training_time, "training_time", 1e9)?,
        validation: figure(end.validation_accuracy, "validation_accuracy", 1.0)?,
        test: figure(end.test_accuracy, "test_accuracy", 1.0)?,
    };
    let trainings = cells.entry(hash).or_default();
    trainings.parameters = metrics.trainable_parameters.map_or(f64::NAN, f64::from);
    trainings.runs.entry(epochs).or_default().push(run);
    Ok(())
}

fn table(cells: BTreeMap<String, Trainings>) -> Result<Table, BenchmarkError> {
    let lengths: BTreeSet<u32> = cells.values().flat_map(|cell| cell.runs.keys().copied()).collect();
    let repeats = cells.values().flat_map(|cell| cell.runs.values().map(Vec::len)).max().unwrap_or(0);
    let column = |value: &dyn Fn(&Trainings) -> f64| cells.values().map(value).collect::<Vec<f64>>();
    let up = Some(Direction::Maximize);
    let exact = MetricInfo::new("parameters", Some(Direction::Minimize), "", Provenance::Exact);
    let mut metrics = vec![(exact, column(&|cell| cell.parameters))];
    for &epochs in &lengths {
        let mean = |pick: fn(&Run) -> f64| {
            column(&move |cell| {
                let runs = cell.runs.get(&epochs).map_or(&[][..], Vec::as_slice);
                runs.iter().map(pick).sum::<f64>() / runs.len() as f64 // none: NaN, missing
            })
        };
        let info = |name: &str, direction, unit| {
            MetricInfo::new(&format!("{name}_{epochs}"), direction, unit, Provenance::Mean)
        };
        metrics.push((info("valid", up, "%"), mean(|run| 100.0 * run.validation)));
        metrics.push((info("test", up, "%"), mean(|run| 100.0 * run.test)));
        metrics.push((info("seconds", None, "s"), mean(|run| run.seconds)));
        for repeat in 0..repeats {
            let one = |pick: fn(&Run) -> f64| {
                column(&move |cell| cell.runs.get(&epochs).and_then(|runs| runs.get(repeat)).map_or(f64::NAN, pick))
            };
            let info = |name: &str| {
                MetricInfo::new(&format!("{name}_{epochs}_run_{}", repeat + 1), up, "%", Provenance::OneRun)
            };
            metrics.push((info("valid"), one(|run| 100.0 * run.validation)));
            metrics.push((info("test"), one(|run| 100.0 * run.test)));
        }
    }
    let longest = lengths.last().copied().unwrap_or(0);
    let about = About {
        name: "nas-bench-101".to_owned(),
        title: "NAS-Bench-101: CIFAR-10 accuracy of cells with up to 7 vertices and 9 edges".to_owned(),
        source: "Ying et al., NAS-Bench-101, ICML 2019; the authors' TFRecord".to_owned(),
        licence: "Apache-2.0".to_owned(),
        tasks: vec![Task {
            name: "cifar10".to_owned(),
            objective: format!("test_{longest}"),
            signal: Some(format!("valid_{longest}")),
            clock: vec![Charge { metric: format!("seconds_{longest}"), factor: 1.0 }],
        }],
    };
    Table::of_cells(about, Cell::space(), cells.into_keys().collect(), metrics)
}

#[cfg(test)]
mod tests;
