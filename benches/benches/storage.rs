//! How long it takes to keep a trial, and to read a study back.

#![allow(missing_docs)] // criterion_group! makes public functions without documents

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use nas_core::{
    Architecture, MemoryStorage, Metrics, Objective, Origin, Purpose, SearchSpace, Seed, SqliteStorage, Storage,
    StudyRecord, Trial, TrialState,
};

/// Trials of the study that is read back: a night's search.
const TRIALS: u64 = 1000;

const SEED: Seed = Seed::new(1);

/// The NAS-Bench-201 cell: six edges of five operations.
fn space() -> SearchSpace {
    let operations = ["none", "skip", "conv1x1", "conv3x3", "avg_pool3x3"];
    let edges = ["0_1", "0_2", "1_2", "0_3", "1_3", "2_3"];
    edges
        .iter()
        .fold(SearchSpace::builder("nas_bench_201"), |space, edge| space.choice(edge, operations))
        .build()
        .expect("the space is well formed")
}

fn study(space: &SearchSpace) -> StudyRecord {
    StudyRecord {
        space: space.clone(),
        objective: Objective::maximize("accuracy"),
        seed: SEED,
        strategy: "random".to_owned(),
        lag: 4,
        early_stopping: None,
        warm_start: None,
        configuration: serde_json::json!({ "epochs": 3 }),
    }
}

/// A finished trial as a search makes them.
fn trial(number: u64, architecture: Architecture) -> Trial {
    let metrics = ["accuracy", "loss", "parameters", "madds", "epochs"]
        .iter()
        .fold(Metrics::new(), |metrics, name| metrics.with(name, 1.0 / (number + 3) as f64));
    Trial {
        number,
        architecture,
        origin: Origin::Policy { updates: number },
        seed: SEED.derive(Purpose::Test, number),
        state: TrialState::Complete { metrics, reward: 0.5 },
        seconds: 1.25,
    }
}

/// The trials 0, 1, …
fn trials(space: &SearchSpace, count: u64) -> Vec<Trial> {
    let mut rng = SEED.stream(Purpose::Test, 0);
    (0..count).map(|number| trial(number, space.sample(&mut rng))).collect()
}

/// Keeps one trial: durable, in the case of SQLite, so this is mostly the disk.
fn put(c: &mut Criterion) {
    let space = space();
    let trials = trials(&space, TRIALS);
    let mut group = c.benchmark_group("storage/put");
    let mut run = |name: &str, storage: &dyn Storage| {
        storage.create(&study(&space)).expect("the storage is empty");
        let mut next = trials.iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| storage.put(next.next().expect("a cycle has no end")).expect("there is room for a trial"));
        });
    };
    run("memory", &MemoryStorage::new());
    let folder = tempfile::tempdir().expect("a folder can be made");
    run("sqlite", &SqliteStorage::create(&folder.path().join("study.db")).expect("a file can be made"));
    group.finish();
}

/// Reads a whole study.
fn read(c: &mut Criterion) {
    let space = space();
    let mut group = c.benchmark_group(format!("storage/read {TRIALS}"));
    let mut run = |name: &str, storage: &dyn Storage| {
        storage.create(&study(&space)).expect("the storage is empty");
        for trial in trials(&space, TRIALS) {
            storage.put(&trial).expect("there is room for a trial");
        }
        group.bench_function(name, |b| b.iter(|| black_box(storage.trials().expect("the trials can be read"))));
    };
    run("memory", &MemoryStorage::new());
    let folder = tempfile::tempdir().expect("a folder can be made");
    run("sqlite", &SqliteStorage::create(&folder.path().join("study.db")).expect("a file can be made"));
    group.finish();
}

criterion_group!(benches, put, read);
criterion_main!(benches);
