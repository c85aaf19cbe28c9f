//! A training step of two fixed networks, and what it takes to begin: building and compiling one.

#![allow(missing_docs)] // criterion_group! makes public functions without documents

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nas_core::{Architecture, Purpose, Seed, Value};
use nas_nn::family::{CnnCell, Family as _, Task};
use nas_nn::layer::conv_bn_relu;
use nas_nn::optim::Sgd;
use nas_nn::{Feed, Graph, Params, Program, Var};

const BATCH: usize = 32;
const TASK: Task = Task::Image { channels: 1, height: 28, width: 28, classes: 10 };

/// Three convolutions on 8×8 images.
fn small(image: Var<'_>) -> Var<'_> {
    let x = conv_bn_relu(conv_bn_relu(image, 16, 3), 32, 3).max_pool2d(2);
    conv_bn_relu(x, 64, 3).global_avg_pool().linear(10)
}

/// The cell with a 3×3 convolution on every edge.
fn all_conv3x3() -> Architecture {
    let edges = ["op_0_1", "op_0_2", "op_1_2", "op_0_3", "op_1_3", "op_2_3"];
    let start = CnnCell.default_architecture();
    edges.iter().fold(start, |a, edge| a.with(&format!("cell.{edge}"), Value::from("conv3x3")))
}

fn step(criterion: &mut Criterion, name: &str, dims: [usize; 3], build: impl for<'g> Fn(Var<'g>) -> Var<'g>) {
    let graph = Graph::new();
    let loss = build(graph.input("image", &dims)).cross_entropy(graph.class("label", 10));
    let mut params = Params::init(&graph, &mut Seed::new(1).stream(Purpose::Init, 0));
    let mut program = Program::train(&graph, loss, &[], BATCH).expect("the network is sound");
    let mut sgd = Sgd::new(0.01);
    let images: Vec<f32> = (0..BATCH * dims.iter().product::<usize>()).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let labels: Vec<f32> = (0..BATCH).map(|i| (i % 10) as f32).collect();
    let feed = Feed::new(BATCH).with("image", &images).with("label", &labels);
    let mut group = criterion.benchmark_group("training step");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(name, |b| b.iter(|| program.step(&feed, &mut params, &mut sgd)));
    group.finish();
}

fn steps(criterion: &mut Criterion) {
    step(criterion, "small cnn 8x8", [1, 8, 8], small);
    step(criterion, "cell, all 3x3, width 16", [1, 28, 28], cell);
}

fn cell(image: Var<'_>) -> Var<'_> {
    CnnCell.build(&all_conv3x3(), &TASK, &[image]).expect("the architecture is of the space")
}

fn start(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("start");
    group.bench_function("build and compile the cell network", |b| {
        b.iter(|| {
            let graph = Graph::new();
            let loss = cell(graph.input("image", &[1, 28, 28])).cross_entropy(graph.class("label", 10));
            Program::train(&graph, loss, &[], BATCH).expect("the network is sound")
        });
    });
    group.finish();
}

criterion_group!(benches, steps, start);
criterion_main!(benches);
