//! What a strategy costs beside the trainings it steers: a proposal, and an observation with its update.

#![allow(missing_docs)] // criterion_group! makes public functions without documents

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use nas_core::{Metrics, SearchSpace, Seed, Strategy, Trial, TrialState};
use nas_nn::family::{CnnCell, Family as _, Task};

const TASK: Task = Task::Image { channels: 1, height: 28, width: 28, classes: 10 };
/// Trials before the measurement begins: past the warm-up, with updates behind.
const TRIALS: u64 = 40;

fn observe(strategy: &mut dyn Strategy, number: u64) {
    let proposal = strategy.propose(1).expect("the strategy goes on").pop().expect("the space is large");
    let reward = (proposal.architecture.stable_hash() % 1000) as f64;
    let state = TrialState::Complete { metrics: Metrics::new(), reward };
    let (architecture, origin) = (proposal.architecture, proposal.origin);
    let trial = Trial { number, architecture, origin, seed: Seed::new(number), state, seconds: 0.0 };
    strategy.observe(&[trial]).expect("the trial is of the space");
}

fn warm(name: &str, space: &SearchSpace) -> Box<dyn Strategy> {
    let mut strategy = nas_rl::strategy(name, space, Seed::new(1)).expect("the name is known");
    (0..TRIALS).for_each(|number| observe(&mut *strategy, number));
    strategy
}

fn strategies(criterion: &mut Criterion) {
    let space = CnnCell.space(&TASK).expect("the family serves images");
    for name in nas_rl::STRATEGIES {
        let mut group = criterion.benchmark_group(name);
        let mut strategy = warm(name, &space);
        group.bench_function("propose", |b| b.iter(|| strategy.propose(1)));
        group.bench_function("ten trials, proposed and observed", |b| {
            let ten = |mut strategy: Box<dyn Strategy>| (0..10).for_each(|i| observe(&mut *strategy, TRIALS + i));
            b.iter_batched(|| warm(name, &space), ten, BatchSize::SmallInput);
        });
        group.finish();
    }
}

criterion_group!(benches, strategies);
criterion_main!(benches);
