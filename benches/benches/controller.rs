//! What a strategy costs beside the trainings it steers: a proposal, and an observation with its update.

#![allow(missing_docs)] // criterion_group! makes public functions without documents

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use nas_core::{Observed, Proposal, SearchSpace, Seed, Strategy};
use nas_nn::family::{CnnCell, Family as _, Task};

const TASK: Task = Task::Image { channels: 1, height: 28, width: 28, classes: 10 };
/// Trials before the measurement begins: past the warm-up, with updates behind.
const TRIALS: u64 = 40;

fn observe(strategy: &mut dyn Strategy, space: &SearchSpace, number: u64) {
    let proposal = strategy.propose().expect("the strategy goes on").expect("the space is large");
    let reward = Some((space.key(&proposal.tokens) % 1009) as f64);
    let Proposal { tokens, origin } = proposal;
    strategy.observe(&Observed { number, tokens, reward, origin }).expect("the trial is of the space");
}

fn warm(name: &str, space: &SearchSpace) -> Box<dyn Strategy> {
    let mut strategy = nas_rl::strategy(name, space, Seed::new(1)).expect("the name is known");
    (0..TRIALS).for_each(|number| observe(&mut *strategy, space, number));
    strategy
}

fn strategies(criterion: &mut Criterion) {
    let space = CnnCell.space(&TASK).expect("the family serves images");
    for name in nas_rl::STRATEGIES {
        let mut group = criterion.benchmark_group(name);
        let mut strategy = warm(name, &space);
        group.bench_function("propose", |b| b.iter(|| strategy.propose()));
        group.bench_function("ten trials, proposed and observed", |b| {
            let ten =
                |mut strategy: Box<dyn Strategy>| (0..10).for_each(|i| observe(&mut *strategy, &space, TRIALS + i));
            b.iter_batched(|| warm(name, &space), ten, BatchSize::SmallInput);
        });
        group.finish();
    }
}

criterion_group!(benches, strategies);
criterion_main!(benches);
