//! The shipped table against what was published of it, and tables that cannot be.

use std::collections::BTreeSet;

use super::*;
use crate::benchmark::Provenance;

fn figure(table: &Table, metric: &str, row: usize) -> f64 {
    table.metric(metric).unwrap().get(row).unwrap()
}

#[test]
fn the_best_cells_are_the_published_ones() {
    let table = Table::nas_bench_201();
    // Best values in percent, at their official indices.
    let best = [
        ("cifar10_test_200", 94.3733, 6111.0),
        ("cifar100_test_200", 73.5133, 9930.0),
        ("imagenet16_120_test_200", 47.3111, 857.0),
        ("cifar10_search_test_200", 91.5233, 1459.0),
    ];
    let indices = table.metric("index").unwrap();
    for (name, value, index) in best {
        let metric = table.metric(name).unwrap();
        let row = indices.values().iter().position(|&x| x == index).unwrap();
        assert_eq!((metric.get(row), metric.best().map(|(_, best)| best)), (Some(value), Some(value)), "{name}");
    }
}

#[test]
fn indices_and_unique_cells() {
    let table = Table::nas_bench_201();
    let set = |name: &str| table.metric(name).unwrap().values().iter().map(|&x| x as u64).collect::<BTreeSet<_>>();
    assert!(set("index").into_iter().eq(0..15_625));
    assert_eq!(set("unique_cell").len(), 6_466);
}

#[test]
fn sizes_follow_from_the_operations() {
    let table = Table::nas_bench_201();
    let [parameters, madds, madds16] =
        ["parameters", "madds", "madds_imagenet16_120"].map(|name| table.metric(name).unwrap());
    for row in 0..table.rows() {
        let tokens = table.tokens(row).unwrap();
        let count = |operation: u16| tokens.iter().filter(|&&token| token == operation).count() as f64;
        let (n1, n3) = (count(2), count(3));
        assert_eq!(parameters.get(row), Some(73_306.0 + 28_000.0 * n1 + 243_040.0 * n3));
        assert!((madds.get(row).unwrap() - (7.783_05 + 3.932_16 * n1 + 35.389_44 * n3)).abs() < 1e-9);
        assert!((madds16.get(row).unwrap() - (1.9534 + 0.983_04 * n1 + 8.847_36 * n3)).abs() < 1e-9);
    }
    assert_eq!(parameters.values().iter().copied().fold(0.0, f64::max), 1_531_546.0);
}

#[test]
fn three_cells_in_every_column() {
    // The official records of the indices 0 and 1.
    let table = Table::nas_bench_201();
    let row = table.row(&[4, 2, 1, 2, 1, 1]).unwrap();
    let all: Vec<f64> = table.metrics().map(|info| figure(&table, &info.name, row)).collect();
    let first = [
        0.0, 0.0, 85.8633, 52.9133, 26.6333, 63.364, 31.84, 18.4667, 81.52, 86.18, 51.98, 27.1, 129_306.0, 15.64737,
        3.91948, 14.44219, 1.01959,
    ];
    assert_eq!(all, first);
    let row = table.row(&[3, 3, 4, 1, 3, 1]).unwrap();
    assert_eq!(figure(&table, "index", row), 1.0);
    assert_eq!(figure(&table, "cifar10_valid_12", row), 82.834);
}

#[test]
fn the_clock_is_the_benchmarks() {
    let table = Table::nas_bench_201();
    let row = table.row(&[4, 2, 1, 2, 1, 1]).unwrap();
    let (train, evaluation) = (14.44219, 1.01959);
    let charges = [6.0 * train + 2.5 * evaluation, 12.0 * train + 0.5 * evaluation, 36.408 * train + 0.3 * evaluation];
    for (name, charge) in ["cifar10", "cifar100", "imagenet16-120"].into_iter().zip(charges) {
        let seconds = table.seconds(table.task(name).unwrap()).unwrap().unwrap();
        assert!((seconds[row] - charge).abs() < 1e-9, "{name}");
        assert!(seconds.iter().all(|&s| s > 30.0 && s < 5000.0));
    }
}

#[test]
fn it_is_small_and_complete() {
    let table = Table::nas_bench_201();
    assert!(table.is_exhaustive() && table.rows() == 15_625);
    assert!(table.to_bytes().len() < 700_000, "{}", table.to_bytes().len());
    assert!(table.metrics().all(|info| table.metric(&info.name).unwrap().values().iter().all(|x| x.is_finite())));
    assert_eq!(table.about().licence, "MIT");
    assert!(table.metrics().any(|info| info.kind == Provenance::Modelled && info.note.contains("measured")));
}

#[test]
fn every_row_is_where_its_tokens_say() {
    let table = Table::nas_bench_201();
    for row in (0..table.rows()).step_by(7) {
        let tokens = table.tokens(row).unwrap();
        assert_eq!(table.row(&tokens), Some(row));
        let choices = table.space().slots().iter().zip(&tokens);
        let architecture = choices.fold(crate::Architecture::new(), |architecture, (slot, &token)| {
            architecture.with(&slot.decision, slot.options[usize::from(token)].as_str().into())
        });
        assert_eq!(table.row_of(&architecture), Some(row));
    }
    assert_eq!(table.row(&[0; 5]), None);
    assert_eq!(table.row(&[0, 0, 0, 0, 0, 5]), None);
    assert_eq!(table.row(&[0, 0, 0, u16::MAX, 0, 0]), None);
    assert!(table.tokens(15_625).is_err());
}

#[test]
fn shuffling_moves_whole_rows() {
    let table = Table::nas_bench_201();
    let [a, b, other] = [1, 1, 2].map(|seed| table.shuffled(Seed::new(seed)));
    let accuracy = |table: &Table| table.metric("cifar10_test_200").unwrap().values().to_vec();
    assert_eq!(accuracy(&a), accuracy(&b));
    assert_ne!(accuracy(&a), accuracy(&other));
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    assert_eq!(sorted(accuracy(&a)), sorted(accuracy(&table)));
    // The best row is elsewhere, but it is the same row.
    let (row, _) = a.metric("cifar10_test_200").unwrap().best().unwrap();
    assert_eq!(figure(&a, "index", row), 6111.0);
    assert_ne!(Some(row), table.metric("cifar10_test_200").unwrap().best().map(|(row, _)| row));
}

#[test]
fn names_that_are_not_there() {
    let table = Table::nas_bench_201();
    let error = table.metric("cifar10_test_20").unwrap_err().to_string();
    assert!(error.starts_with(
        "the table \"nas-bench-201\" has no metric \"cifar10_test_20\"; did you mean \"cifar10_test_200\"?"
    ));
    let error = table.task("mnist").unwrap_err().to_string();
    assert!(error.ends_with("it has cifar10, cifar100, imagenet16-120"), "{error}");
}

fn make(space: SearchSpace, ranks: &[u64], values: usize, objective: &str) -> Result<Table, BenchmarkError> {
    let about = About {
        name: "t".to_owned(),
        title: String::new(),
        source: String::new(),
        licence: String::new(),
        tasks: vec![Task { name: "t".to_owned(), objective: objective.to_owned(), signal: None, clock: Vec::new() }],
    };
    let info = MetricInfo::new("x", Some(Direction::Minimize), "", Provenance::Exact);
    Table::new(about, space, ranks, Vec::new(), vec![(info, (0..values).map(|i| i as f64).collect())])
}

#[test]
fn rows_that_make_no_table() {
    let cube = crate::space::testing::cube;
    let check = |result: Result<Table, BenchmarkError>, message: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("these rows make no table: ") && error.contains(message), "{error}");
    };
    check(make(cube(), &[1, 2, 1], 3, "x"), "rows 0 and 2 are the same architecture");
    check(make(cube(), &[1, 125], 2, "x"), "rank 125 is none of the 125");
    check(make(cube(), &[1, 2], 3, "x"), "3 values of \"x\" for 2 rows");
    check(make(cube(), &[], 0, "x"), "rows: 0");
    check(make(cube(), &[1], 1, "y"), "names the metric \"y\"");
    check(make(crate::space::testing::conditional(), &[1], 1, "x"), "conditions or requirements");
    check(make(crate::space::testing::every_kind(), &[1], 1, "x"), "");
    assert!(make(cube(), &[124, 3], 2, "x").is_ok());
}

#[test]
fn less_can_be_better() {
    let table = make(crate::space::testing::cube(), &[9, 4, 7], 3, "x").unwrap();
    // Ranks 4, 7, 9 hold 1, 2, 0.
    assert_eq!(table.metric("x").unwrap().best(), Some((2, 0.0)));
    assert_eq!(table.row(&[0, 1, 2]), Some(1));
    assert_eq!(table.row(&[0, 0, 0]), None);
}
