//! What training allocates: nothing of its own after the first step, and in all what the plan said before anything ran.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use allocation_counter::measure;
use nas_benches::workloads;
use nas_core::{Purpose, Seed};
use nas_nn::family::{CnnCell, Family as _, Task};
use nas_nn::kernel::gemm;
use nas_nn::optim::{Adam, Sgd};
use nas_nn::{Feed, Graph, Params, Plan, Program};
use rand_chacha::rand_core::SeedableRng as _;

/// Every workload: dense, convolutional, recurrent and attending networks with their optimizers.
#[test]
fn a_step_allocates_nothing_after_the_first() {
    for workload in &workloads::ALL {
        // An operation's lists of up to eight operands need no memory; this one concatenates 35 values, forward and backward.
        let lists = if workload.name == "W5b" { 8 } else { 0 };
        let (mut training, batches) = (workload.start(1).unwrap(), workload.batches(2, 2));
        training.step(&batches[0]).unwrap();
        let info = measure(|| {
            training.step(&batches[1]).unwrap();
        });
        assert_eq!(info.count_total, lists, "{}: {info:?}", workload.name);
    }
}

/// Operations that no workload has.
#[test]
fn neither_do_pooling_dropout_and_branches() {
    let batch = 4;
    let graph = Graph::new();
    let x = graph.input("x", &[2, 12, 12]);
    let y = x.conv2d(4, 3).batch_norm().relu();
    let y = (y.conv2d(4, 5).batch_norm() + y).silu().max_pool2d(2).dropout(0.1) + y.avg_pool2d(2, 2, 0);
    let loss = y.global_avg_pool().softmax().cross_entropy(graph.class("label", 4));
    let mut params = Params::init(&graph, &mut nas_nn::Rng::seed_from_u64(0));
    let mut program = Program::train(&graph, loss, &[], batch).unwrap();
    let mut adam = Adam::new(1e-3);
    let (x, labels) = (vec![0.5; batch * 2 * 12 * 12], [0.0, 1.0, 2.0, 3.0]);
    let feed = Feed::new(batch).with("x", &x).with("label", &labels);
    program.step(&feed, &mut params, &mut adam).unwrap();
    let info = measure(|| {
        for _ in 0..3 {
            program.step(&feed, &mut params, &mut adam).unwrap();
            program.clip(1.0);
        }
    });
    assert_eq!(info.count_total, 0, "{info:?}");
}

/// Random networks of the image family, small and large ones.
#[test]
fn memory_is_known_before_anything_runs() {
    let batch = 16;
    let task = Task::Image { channels: 1, height: 28, width: 28, classes: 10 };
    let space = CnnCell.space(&task).unwrap();
    for number in 0..100 {
        let architecture = space.sample(&mut Seed::new(7).stream(Purpose::Propose, number));
        let graph = Graph::new();
        let logits = CnnCell.build(&architecture, &task, graph.input("x", &[1, 28, 28])).unwrap();
        let loss = logits.cross_entropy(graph.class("y", 10));
        let plan = Plan::train(&graph, loss, &[], batch).unwrap();
        let parameters = 4 * graph.cost().parameters;
        // The parameters and their momentum are apart from the plan.
        let predicted = plan.bytes() + 2 * parameters;
        let (x, y) = (vec![0.5; batch * 28 * 28], vec![1.0; batch]);
        let run = std::thread::spawn(move || {
            // The buffer that a thread keeps for its matrix products belongs to no network.
            let n = 512;
            let (a, mut c) = (vec![0.0; n * n], vec![0.0; n * n]);
            gemm([n; 3], &a, [1, n], &a, [n, 1], 0.0, &mut c, [n, 1]);
            drop((a, c));
            let mut plan = Some(plan);
            let info = measure(|| {
                let mut params = Params::init(&graph, &mut nas_nn::Rng::seed_from_u64(0));
                let mut program = Program::new(plan.take().unwrap());
                let mut sgd = Sgd::new(0.1);
                for _ in 0..2 {
                    program.step(&Feed::new(batch).with("x", &x).with("y", &y), &mut params, &mut sgd).unwrap();
                }
            });
            info.bytes_max
        });
        let measured = run.join().unwrap();
        let ratio = measured as f64 / predicted as f64;
        assert!((0.8..1.3).contains(&ratio), "{number}: {measured} bytes where {predicted} were predicted");
    }
}
