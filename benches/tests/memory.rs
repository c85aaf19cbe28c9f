//! What training allocates: nothing of its own after the first step, and in all what the plan said before anything ran.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "memory/random.rs"]
mod random;

use allocation_counter::{AllocationInfo, measure};
use nas_benches::workloads;
use nas_core::{Purpose, Seed};
use nas_nn::family::{CnnCell, Family as _, Task, families};
use nas_nn::kernel::gemm;
use nas_nn::op::{Attention, Gru, Lstm};
use nas_nn::optim::{Adam, Sgd};
use nas_nn::{Feed, Graph, Params, Plan, Program, Var};
use rand_chacha::rand_core::SeedableRng as _;

use random::{Fed, KINDS};

/// Bytes of names and shapes: nothing beside a network worth predicting.
const BESIDE: u64 = 32 << 10;

/// Every workload: dense, convolutional, recurrent and attending networks with their optimizers.
#[test]
fn a_step_allocates_nothing_after_the_first() {
    for workload in &workloads::ALL {
        let (mut training, batches) = (workload.start(1).unwrap(), workload.batches(2, 2));
        training.step(&batches[0]).unwrap();
        let info = measure(|| {
            training.step(&batches[1]).unwrap();
        });
        assert_eq!(info.count_total, 0, "{}: {info:?}", workload.name);
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

/// What building the program of `plan` and two steps allocate on a thread of their own.
fn measured(graph: Graph, plan: Plan, batch: usize, fed: Vec<Fed>) -> AllocationInfo {
    let run = std::thread::spawn(move || {
        warm_up();
        let mut plan = Some(plan);
        measure(|| {
            let mut params = Params::init(&graph, &mut nas_nn::Rng::seed_from_u64(0));
            let mut program = Program::new(plan.take().unwrap());
            let mut sgd = Sgd::new(0.1);
            let feed = fed.iter().fold(Feed::new(batch), |feed, fed| feed.with(fed.name, &fed.values));
            for _ in 0..2 {
                program.step(&feed, &mut params, &mut sgd).unwrap();
            }
        })
    });
    run.join().unwrap()
}

/// The buffer that a thread keeps for its matrix products belongs to no network.
fn warm_up() {
    let n = 512;
    let (a, mut c) = (vec![0.0; n * n], vec![0.0; n * n]);
    gemm([n; 3], &a, [1, n], &a, [n, 1], 0.0, &mut c, [n, 1]);
}

/// Asserts that training allocates at its peak what was predicted.
#[track_caller]
fn check_peak(what: &str, graph: Graph, plan: Plan, batch: usize, fed: Vec<Fed>) {
    // The parameters and their momentum are apart from the plan.
    let predicted = plan.bytes() + 2 * 4 * graph.cost().parameters;
    let measured = measured(graph, plan, batch, fed).bytes_max;
    let [all, network] = [measured, measured.saturating_sub(BESIDE)].map(|bytes| bytes as f64 / predicted as f64);
    assert!(all >= 0.8 && network < 1.3, "{what}: {measured} bytes where {predicted} were predicted");
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
        let logits = CnnCell.build(&architecture, &task, &[graph.input("x", &[1, 28, 28])]).unwrap();
        let loss = logits.cross_entropy(graph.class("y", 10));
        let plan = Plan::train(&graph, loss, &[], batch).unwrap();
        let fed =
            vec![Fed { name: "x", values: vec![0.5; batch * 28 * 28] }, Fed { name: "y", values: vec![1.0; batch] }];
        check_peak(&format!("cnn_cell {number}"), graph, plan, batch, fed);
    }
}

/// Random networks of every other kind.
#[test]
fn memory_of_every_kind_is_known_before_anything_runs() {
    for (kind, build) in KINDS {
        for number in 0..25 {
            let graph = Graph::new();
            let mut rng = Seed::new(8).stream(Purpose::Propose, number);
            let (loss, batch, fed) = build(&graph, &mut rng);
            let plan = Plan::train(&graph, loss, &[], batch).unwrap();
            check_peak(&format!("{kind} {number}"), graph, plan, batch, fed);
        }
    }
}

/// The first `count` of `batch` examples.
fn feed<'a>(fed: &'a [Fed], batch: usize, count: usize) -> Feed<'a> {
    let part = |fed: &'a Fed| (fed.name, &fed.values[..fed.values.len() / batch * count]);
    fed.iter().map(part).fold(Feed::new(count), |feed, (name, values)| feed.with(name, values))
}

/// Asserts that steps of training with `loss` allocate nothing after the first, whole or smaller, on one or on three threads.
#[track_caller]
fn check_steps(what: &str, graph: &Graph, loss: Var<'_>, batch: usize, fed: &[Fed]) {
    for threads in [1, 3] {
        let mut params = Params::init(graph, &mut nas_nn::Rng::seed_from_u64(0));
        let mut program = Program::train(graph, loss, &[], batch).unwrap();
        program.set_threads(threads).unwrap();
        let mut adam = Adam::new(1e-3);
        warm_up();
        program.step(&feed(fed, batch, batch), &mut params, &mut adam).unwrap();
        let feeds = [batch, batch, batch - 1].map(|count| feed(fed, batch, count));
        let info = measure(|| {
            for feed in &feeds {
                program.step(feed, &mut params, &mut adam).unwrap();
                program.clip(1.0);
            }
        });
        assert_eq!(info.count_total, 0, "{what} on {threads} threads: {info:?}");
    }
}

#[test]
fn steps_of_every_kind_allocate_nothing() {
    for (kind, build) in KINDS {
        for number in 0..8 {
            let graph = Graph::new();
            let mut rng = Seed::new(9).stream(Purpose::Propose, number);
            let (loss, batch, fed) = build(&graph, &mut rng);
            check_steps(&format!("{kind} {number}"), &graph, loss, batch, &fed);
        }
    }
}

/// The default network of every family and random ones.
#[test]
fn steps_of_every_family_allocate_nothing() {
    let batch = 6;
    for family in families() {
        let task = family.usual_task();
        let space = family.space(&task).unwrap();
        let random = (0..4).map(|number| space.sample(&mut Seed::new(10).stream(Purpose::Propose, number)));
        for architecture in std::iter::once(family.default_architecture()).chain(random) {
            let graph = Graph::new();
            let inputs: Vec<Var<'_>> = task.inputs().iter().map(|field| field.input(&graph)).collect();
            let answer = family.build(&architecture, &task, &inputs).unwrap();
            let target = task.target();
            let truth = target.input(&graph);
            let loss = if target.classes.is_some() { answer.cross_entropy(truth) } else { answer.mse(truth) };
            let fields = task.inputs().into_iter().chain([target]);
            let value = |i: usize, classes: Option<usize>| match classes {
                Some(classes) => (i * 7 % classes) as f32,
                None => (i * 37 % 101) as f32 / 50.0 - 1.0,
            };
            let fed: Vec<Fed> = fields
                .map(|field| {
                    let values = (0..batch * field.len()).map(|i| value(i, field.classes)).collect();
                    Fed { name: field.name, values }
                })
                .collect();
            check_steps(&format!("{} {architecture}", family.name()), &graph, loss, batch, &fed);
        }
    }
}

/// More operands and inputs than any family has, in parts of the batch too.
#[test]
fn many_operands_are_as_good_as_few() {
    let (count, batch) = (40, 512);
    let graph = Graph::new();
    let names: Vec<&'static str> = (0..count).map(|i| &*Box::leak(format!("x{i}").into_boxed_str())).collect();
    let inputs: Vec<Var<'_>> = names.iter().map(|name| graph.input(name, &[60]).linear(50).tanh()).collect();
    let gain = graph.parameter("gain", &[50], nas_nn::Init::ONES);
    let scaled: Vec<Var<'_>> = inputs.iter().map(|&x| x * gain).collect();
    let all = scaled[0].concat(&scaled[1..], 0);
    let loss = all.linear(2).cross_entropy(graph.class("y", 2));
    let value = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
    let mut fed: Vec<Fed> =
        names.into_iter().map(|name| Fed { name, values: (0..batch * 60).map(value).collect() }).collect();
    fed.push(Fed { name: "y", values: (0..batch).map(|i| (i % 2) as f32).collect() });
    check_steps("forty inputs", &graph, loss, batch, &fed);
}

/// Outputs and the working memory of the forward pass: a step's gates of recurrent layers, a head's scores of attention.
#[test]
fn evaluation_reserves_nothing_for_a_backward_pass() {
    let (batch, steps, units) = (16, 20, 32);
    let graph = Graph::new();
    let x = graph.input("x", &[steps, 3 * units]);
    let bytes = |y| Plan::eval(&graph, &[y], batch).unwrap().bytes() as usize;
    let output = batch * steps * units;
    assert_eq!(bytes(x.lstm(Lstm::new(units))), 4 * (output + (5 * batch + 4) * units));
    assert_eq!(bytes(x.gru(Gru::new(units))), 4 * (output + 6 * batch * units));
    let scores = (steps * (steps + 1)).next_multiple_of(16);
    assert_eq!(bytes(x.attention_packed(Attention::new(4))), 4 * (output + scores));
    assert_eq!(bytes(x * x.mean()), 4 * (3 * output + 16));
}
