//! NAS-Bench-Macro: eight layers of three blocks each, on CIFAR-10.

use super::sheet::Sheet;
use crate::Direction::{Maximize, Minimize};
use crate::SearchSpace;
use crate::benchmark::about::{About, MetricInfo, Provenance, Task};
use crate::benchmark::error::BenchmarkError;
use crate::benchmark::table::Table;

const LAYERS: usize = 8;

/// The blocks as the digits number them.
const BLOCKS: [&str; 3] = ["identity", "mb3_k3", "mb6_k5"];

pub(super) fn is_layout(sheet: &Sheet) -> bool {
    sheet.has(&["arch", "test_acc_1", "test_acc_2", "test_acc_3", "mean_acc", "params", "flops"])
}

/// The table.
pub(super) fn read(sheet: &Sheet) -> Result<Table, BenchmarkError> {
    let space = (0..LAYERS).fold(SearchSpace::builder("nas-bench-macro"), |builder, layer| {
        builder.choice(&format!("layer-{}", layer + 1), BLOCKS)
    });
    let rank = |(row, text): (usize, &&str)| {
        let digit = |byte: u8| (b'0'..b'0' + BLOCKS.len() as u8).contains(&byte);
        if text.len() != LAYERS || !text.bytes().all(digit) {
            return Err(sheet.cell(row, "arch", format!("\"{text}\" is not eight digits from 0 to 2")));
        }
        Ok(text.bytes().fold(0, |rank, byte| rank * BLOCKS.len() as u64 + u64::from(byte - b'0')))
    };
    let names = sheet.texts("arch")?;
    let ranks = names.iter().enumerate().map(rank).collect::<Result<Vec<u64>, _>>()?;
    let labels = names.iter().map(|&name| name.to_owned()).collect();

    let info = MetricInfo::new;
    let mut metrics = vec![(
        info("test_accuracy", Some(Maximize), "%", Provenance::Mean).with_note("3 runs"),
        sheet.numbers("mean_acc")?,
    )];
    for run in 1..=3 {
        let name = format!("test_accuracy_run_{run}");
        metrics
            .push((info(&name, Some(Maximize), "%", Provenance::OneRun), sheet.numbers(&format!("test_acc_{run}"))?));
    }
    metrics.push((info("parameters", Some(Minimize), "", Provenance::Exact), sheet.numbers("params")?));
    metrics.push((info("madds", Some(Minimize), "", Provenance::Exact), sheet.numbers("flops")?));
    let about = About {
        name: "nas-bench-macro".to_owned(),
        title: "NAS-Bench-Macro: CIFAR-10 accuracy of eight layers with one of three blocks each, 6,561 architectures"
            .to_owned(),
        source: "Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search (CVPR 2021)".to_owned(),
        licence: "Apache-2.0".to_owned(),
        tasks: vec![Task {
            name: "cifar10".to_owned(),
            objective: "test_accuracy".to_owned(),
            signal: None,
            clock: Vec::new(),
        }],
    };
    Table::new(about, space.build()?, &ranks, labels, metrics)
}
