//! Evaluations a second of strategies on a table in memory: a proposal, a look-up, an observation. Beside these figures, not
//! those of a study, stand the published tables that are searched ten thousand times.

#![allow(missing_docs)] // criterion_group! makes public functions without documents

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nas_core::{Observed, Proposal, SearchSpace, Seed, Strategy};

/// Evaluations of one search.
const QUERIES: u64 = 300;

/// Six decisions of five options, as large as NAS-Bench-201.
fn space() -> SearchSpace {
    let options = ["none", "skip", "conv1x1", "conv3x3", "pool"];
    let builder = (0..6).fold(SearchSpace::builder("table"), |b, i| b.choice(&format!("edge{i}"), options));
    builder.build().expect("the space is sound")
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

fn search(strategy: &mut dyn Strategy, space: &SearchSpace, table: &[f64]) -> f64 {
    let mut best = f64::NEG_INFINITY;
    for number in 0..QUERIES {
        let proposal = strategy.propose().expect("the strategy goes on").expect("the space is larger");
        let Proposal { tokens, origin } = proposal;
        let reward = table[space.key(&tokens) as usize];
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
            b.iter_batched(fresh, |mut strategy| search(&mut *strategy, &space, &table), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, searches);
criterion_main!(benches);
