//! NAS-Bench-201: 15,625 cells of six edges with one of five operations each, on three data sets.

use super::joined;
use super::sheet::Sheet;
use crate::Direction::{Maximize, Minimize};
use crate::SearchSpace;
use crate::benchmark::about::{About, Charge, MetricInfo, Provenance, Task};
use crate::benchmark::error::BenchmarkError;
use crate::benchmark::table::Table;

/// The edges in the order of the published cell string: column, from, to, decision.
const EDGES: [(&str, u32, u32, &str); 6] = [
    ("e01", 0, 1, "0-1"),
    ("e02", 0, 2, "0-2"),
    ("e12", 1, 2, "1-2"),
    ("e03", 0, 3, "0-3"),
    ("e13", 1, 3, "1-3"),
    ("e23", 2, 3, "2-3"),
];

/// The operations as the source numbers them.
const OPERATIONS: [&str; 5] = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];

/// Each metric with the column it comes from.
fn metrics() -> Vec<(&'static str, MetricInfo)> {
    let (up, down) = (Some(Maximize), Some(Minimize));
    let info = MetricInfo::new;
    let mean = |name| info(name, up, "%", Provenance::Mean);
    let one = |name| info(name, up, "%", Provenance::OneRun);
    let time = |name| {
        info(name, None, "s", Provenance::Modelled)
            .with_note("measured for the indices 0 to 999, elsewhere a linear model of the operations (mean error 1.4 % for training, 1.9 % for evaluation)")
    };
    vec![
        ("idx", info("index", None, "", Provenance::Exact).with_note("the official number of the cell")),
        (
            "iso",
            info("unique_cell", None, "", Provenance::Exact)
                .with_note("the lowest index with the same simplified cell"),
        ),
        ("c10_test_200", mean("cifar10_test_200").with_note("trained on all 50,000 images; 1 to 3 runs")),
        ("c100_test_200", mean("cifar100_test_200").with_note("half of the test images; 1 to 3 runs")),
        ("in16_test_200", mean("imagenet16_120_test_200").with_note("half of the test images; 1 to 3 runs")),
        ("c10_valid_12", mean("cifar10_valid_12").with_note("trained on 25,000 images; 2 runs")),
        ("c100_valid_12", one("cifar100_valid_12")),
        ("in16_valid_12", one("imagenet16_120_valid_12")),
        (
            "c10v_test_200",
            mean("cifar10_search_test_200").with_note("trained on 25,000 images, accuracy on the 10,000 test images"),
        ),
        ("c10_test_200_1seed", one("cifar10_test_200_run").with_note("one of the runs behind cifar10_test_200")),
        ("c100_test_200_1seed", one("cifar100_test_200_run").with_note("one of the runs behind cifar100_test_200")),
        (
            "in16_test_200_1seed",
            one("imagenet16_120_test_200_run").with_note("one of the runs behind imagenet16_120_test_200"),
        ),
        (
            "params_c10",
            info("parameters", down, "", Provenance::Exact)
                .with_note("with 10 classes; 5,850 more with 100, 7,150 more with 120"),
        ),
        (
            "mflops_c10",
            info("madds", down, "M", Provenance::Exact).with_note("multiply-adds for a 32x32 image, 10 classes"),
        ),
        (
            "mflops_in16",
            info("madds_imagenet16_120", down, "M", Provenance::Exact)
                .with_note("multiply-adds for a 16x16 image, 120 classes"),
        ),
        ("train_s_per_epoch_c10", time("train_seconds")),
        ("eval_s_10k", time("evaluation_seconds")),
    ]
}

/// The benchmark's rule for what 12 epochs and a validation take: factors of the time of an epoch on 50,000 CIFAR images
/// and of an evaluation of 10,000.
fn task(name: &str, metric: &str, train: f64, evaluation: f64) -> Task {
    let charge = |metric: &str, factor| Charge { metric: metric.to_owned(), factor };
    Task {
        name: name.to_owned(),
        objective: format!("{metric}_test_200"),
        signal: Some(format!("{metric}_valid_12")),
        clock: vec![charge("train_seconds", train), charge("evaluation_seconds", evaluation)],
    }
}

pub(super) fn is_layout(sheet: &Sheet) -> bool {
    sheet.has(&EDGES.map(|(column, ..)| column)) && sheet.has(&["c10_test_200", "in16_valid_12"])
}

/// The table, with the metrics of further files joined by the official index.
pub(super) fn read(sheet: &Sheet, further: &[Sheet]) -> Result<Table, BenchmarkError> {
    let space = EDGES
        .iter()
        .fold(SearchSpace::builder("nas-bench-201"), |builder, (.., edge)| builder.choice(edge, OPERATIONS))
        .cell(EDGES.map(|(_, from, to, edge)| (from, to, edge)), "none");
    let mut ranks = vec![0; sheet.len()];
    for (column, ..) in EDGES {
        for (rank, code) in ranks.iter_mut().zip(sheet.codes(column, OPERATIONS.len() as u64)?) {
            *rank = *rank * OPERATIONS.len() as u64 + code;
        }
    }
    let mut columns = Vec::new();
    for (column, info) in metrics() {
        columns.push((info, sheet.numbers(column)?));
    }
    let index = sheet.codes("idx", sheet.len() as u64)?;
    for more in further {
        columns.extend(joined::read(more, &index)?);
    }
    let mut source = "Dong and Yang, NAS-Bench-201 (ICLR 2020), in the figures of Dong et al., NATS-Bench (TPAMI 2021), collected from public copies".to_owned();
    if !further.is_empty() {
        let names: Vec<&str> = further.iter().map(Sheet::stem).collect();
        source = format!("{source}; joined with {}", names.join(", "));
    }
    let about = About {
        name: "nas-bench-201".to_owned(),
        title: "NAS-Bench-201: image classification by cells of six edges, 15,625 architectures, three data sets"
            .to_owned(),
        source,
        licence: "MIT".to_owned(),
        tasks: vec![
            task("cifar10", "cifar10", 6.0, 2.5),
            task("cifar100", "cifar100", 12.0, 0.5),
            task("imagenet16-120", "imagenet16_120", 36.408, 0.3),
        ],
    };
    Table::new(about, space.build()?, &ranks, Vec::new(), columns)
}
