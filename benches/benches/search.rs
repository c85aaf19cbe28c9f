//! Evaluations a second of strategies on a table in memory: a proposal, a look-up, an observation. Beside these figures, not
//! those of a study, stand the published tables that are searched ten thousand times.

#![allow(missing_docs)] // criterion_group! makes public functions without documents

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nas_core::{Observed, Proposal, Purpose, SearchSpace, Seed, Strategy, Tokens};

/// Evaluations of one search.
const QUERIES: u64 = 300;

/// Six decisions of five options, as large as NAS-Bench-201.
fn space() -> SearchSpace {
    let options = ["none", "skip", "conv1x1", "conv3x3", "pool"];
    let builder = (0..6).fold(SearchSpace::builder("table"), |b, i| b.choice(&format!("edge{i}"), options));
    builder.build().expect("the space is sound")
}

/// 29 slots under everything that ties decisions together: a repeat, conditions in it and outside, a cell that must connect.
fn conditional() -> SearchSpace {
    let operations = ["none", "skip", "conv1x1", "conv3x3", "pool"];
    let edges = [(0, 1, "a"), (0, 2, "b"), (1, 2, "c"), (0, 3, "d"), (1, 3, "e"), (2, 3, "f")];
    SearchSpace::builder("conditional")
        .choice("stem", ["conv3x3", "conv5x5", "pool"])
        .integer("width", 8..=32)
        .step(8)
        .repeat("blocks", 1..=6, |block| {
            let block = block.choice("op", ["conv", "inverted", "pool", "skip"]);
            let block = block.integer("expand", 2..=4).when("op", ["inverted"]);
            block.choice("kernel", ["k3", "k5"]).when("op", ["conv", "inverted"])
        })
        .group("cell", |cell| {
            let cell = edges.iter().fold(cell, |cell, (.., edge)| cell.choice(edge, operations));
            cell.require_path(edges, "none")
        })
        .choice("head", ["linear", "hidden"])
        .integer("units", 1..=8)
        .when("head", ["hidden"])
        .build()
        .expect("the space is sound")
}

/// What strategies do with a space, a thousand times each.
fn spaces(criterion: &mut Criterion) {
    let space = conditional();
    let mut group = criterion.benchmark_group("a space with conditions");
    group.throughput(Throughput::Elements(1000));
    let rng = || Seed::new(1).stream(Purpose::Test, 0);
    group.bench_function("sample", |b| {
        b.iter_batched_ref(
            rng,
            |rng| (0..1000).fold(0, |sum, _| sum ^ space.key(&space.sample_tokens(rng))),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("mutate", |b| {
        b.iter_batched_ref(
            || (rng(), space.sample_tokens(&mut rng())),
            |(rng, tokens)| (0..1000).for_each(|_| *tokens = space.mutate_tokens(tokens, rng)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("walk", |b| {
        let mut walk = space.walk();
        b.iter(|| {
            for number in 0..1000 {
                walk.reset();
                while walk.slot_index().is_some() {
                    let turn = number % walk.mask().len();
                    let allowed = (0..walk.mask().len()).cycle().skip(turn).find(|&option| walk.mask()[option]);
                    walk.choose(allowed.expect("a step has an option")).expect("the mask allows it");
                }
            }
        });
    });
    group.throughput(Throughput::Elements(20));
    group.bench_function("neighbours", |b| {
        let some: Vec<Tokens> = { (0..20).scan(rng(), |rng, _| Some(space.sample_tokens(rng))).collect() };
        b.iter(|| some.iter().map(|tokens| space.neighbour_tokens(tokens).len()).sum::<usize>());
    });
    group.finish();
}

/// A smooth reward for every architecture, so that learning strategies find something to learn.
fn table(space: &SearchSpace) -> Vec<f64> {
    let rows = space.cardinality().as_u64().expect("the space is small");
    let reward = |key: u64| {
        let tokens = space.tokens_of_key(key.into()).expect("every key is an architecture's");
        let worth = |(slot, &token): (usize, &u16)| f64::from((token * 3 + slot as u16 * 2) % 5);
        tokens.iter().enumerate().map(worth).sum::<f64>() + (key % 97) as f64 / 97.0
    };
    (0..rows).map(reward).collect()
}

fn search(strategy: &mut dyn Strategy, reward: impl Fn(&Tokens) -> f64) -> f64 {
    let mut best = f64::NEG_INFINITY;
    for number in 0..QUERIES {
        let proposal = strategy.propose().expect("the strategy goes on").expect("the space is larger");
        let Proposal { tokens, origin } = proposal;
        let reward = reward(&tokens);
        best = best.max(reward);
        let observed = Observed { number, tokens, reward: Some(reward), origin };
        strategy.observe(&observed).expect("the trial is of the space");
    }
    best
}

fn searches(criterion: &mut Criterion) {
    let space = space();
    let table = table(&space);
    let mut group = criterion.benchmark_group("evaluations of a table");
    group.throughput(Throughput::Elements(QUERIES));
    for name in ["random", "evolution", "local-search", "reinforce", "ppo", "ppo-lstm", "pqt"] {
        let fresh = || nas_rl::strategy(name, &space, Seed::new(1)).expect("the name is known");
        group.bench_function(name, |b| {
            b.iter_batched(
                fresh,
                |mut strategy| search(&mut *strategy, |t| table[space.key(t) as usize]),
                BatchSize::SmallInput,
            );
        });
    }
    let space = conditional();
    for name in ["random", "evolution"] {
        let fresh = || nas_rl::strategy(name, &space, Seed::new(1)).expect("the name is known");
        group.bench_function(format!("{name}, conditions"), |b| {
            let reward = |tokens: &Tokens| (space.key(tokens) % 97) as f64;
            b.iter_batched(fresh, |mut strategy| search(&mut *strategy, reward), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, searches, spaces);
criterion_main!(benches);
