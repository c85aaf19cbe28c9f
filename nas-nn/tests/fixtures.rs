//! Training equals PyTorch's: outputs, first gradients, five losses and running statistics of recorded runs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::path::Path;

use nas_core::Architecture;
use nas_nn::family::{CnnCell, Family as _, Task};
use nas_nn::layer::conv_bn_relu;
use nas_nn::optim::{Adam, Optimizer, Sgd};
use nas_nn::{Feed, Graph, Params, Program, Var};
use ndarray::ArrayD;
use ndarray_npy::NpzReader;
use rand_chacha::rand_core::SeedableRng as _;

/// A recorded run.
struct Fixture(NpzReader<File>);

impl Fixture {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        Fixture(NpzReader::new(File::open(path).unwrap()).unwrap())
    }

    fn array(&mut self, name: &str) -> ArrayD<f32> {
        if let Ok(array) = self.0.by_name::<ndarray::OwnedRepr<f32>, ndarray::IxDyn>(name) {
            return array;
        }
        let whole: ArrayD<i64> = self.0.by_name(name).unwrap();
        whole.mapv(|x| x as f32)
    }

    fn values(&mut self, name: &str) -> Vec<f32> {
        self.array(name).into_iter().collect()
    }

    fn names(&mut self, folder: &str) -> Vec<String> {
        let names = self.0.names().unwrap();
        names.iter().filter_map(|n| n.strip_prefix(folder)).map(|n| n.trim_end_matches(".npy").to_owned()).collect()
    }
}

/// The values in our layout: linear weights are [in, out] here and [out, in] there.
fn ours(array: &ArrayD<f32>) -> Vec<f32> {
    if array.ndim() == 2 { array.t().iter().copied().collect() } else { array.iter().copied().collect() }
}

#[track_caller]
fn check_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= 1e-4 * e.abs() + 1e-6, "{what}[{i}] is {f}, PyTorch has {e}");
    }
}

/// Runs the five steps of `fixture` on the network that `build` makes of the input; `path` is our path for a PyTorch name.
fn check(
    name: &str,
    dims: &[usize],
    build: impl for<'g> Fn(Var<'g>) -> Var<'g>,
    optimizer: &mut dyn Optimizer,
    path: impl Fn(&str) -> String,
) {
    let mut fixture = Fixture::open(name);
    let graph = Graph::new();
    let logits = build(graph.input("x", dims));
    let loss = logits.cross_entropy(graph.class("y", 10));
    let mut params = Params::init(&graph, &mut nas_nn::Rng::seed_from_u64(0));
    let names = fixture.names("init/");
    assert_eq!(names.len(), graph.parameters().len(), "{:?}", graph.parameters());
    for name in &names {
        let values = ours(&fixture.array(&format!("init/{name}.npy")));
        let target = params.get_mut(&path(name)).unwrap_or_else(|| panic!("no {} for {name}", path(name)));
        target.copy_from_slice(&values);
    }
    let (x, y) = (fixture.values("in/x.npy"), fixture.values("in/y.npy"));
    let feed = Feed::new(y.len()).with("x", &x).with("y", &y);
    let mut program = Program::train(&graph, loss, &[logits], y.len()).unwrap();
    let mut losses = Vec::new();
    for step in 0..5 {
        losses.push(program.gradients(&feed, &mut params).unwrap());
        if step == 0 {
            check_close("the output", program.output(0), &fixture.values("out1.npy"));
            for name in &names {
                let expected = ours(&fixture.array(&format!("grad1/{name}.npy")));
                check_close(name, program.grad(&path(name)).unwrap(), &expected);
            }
            let norm = program.clip(f32::INFINITY);
            check_close("the norm", &[norm], &fixture.values("gradnorm1.npy"));
        }
        program.update(&mut params, optimizer);
    }
    check_close("the losses", &losses, &fixture.values("losses.npy"));
    let statistics = fixture.names("buf5/");
    assert_eq!(statistics.len(), graph.states().len(), "{:?}", graph.states());
    for name in statistics {
        check_close(&name, params.get(&path(&name)).unwrap().values, &fixture.values(&format!("buf5/{name}.npy")));
    }
}

/// `name` with its first part replaced by what `table` says, and the rest kept.
fn renamed(name: &str, table: &[(&str, &str)]) -> String {
    let (layer, rest) = name.rsplit_once('.').unwrap();
    let found = table.iter().find(|(theirs, _)| *theirs == layer);
    format!("{}.{rest}", found.unwrap_or_else(|| panic!("no layer of ours is {layer}")).1)
}

fn sgd(learning_rate: f32) -> Sgd {
    let mut sgd = Sgd::new(learning_rate);
    sgd.weight_decay = 5e-4;
    sgd
}

#[test]
fn w1_mlp() {
    fn network(x: Var<'_>) -> Var<'_> {
        x.linear(128).relu().linear(128).relu().linear(10)
    }
    let names = [("l1", "linear"), ("l2", "linear_2"), ("l3", "linear_3")];
    check("w1_mlp.npz", &[64], network, &mut Adam::new(1e-3), |name| renamed(name, &names));
}

#[test]
fn w2_cnn() {
    fn network(x: Var<'_>) -> Var<'_> {
        let x = conv_bn_relu(conv_bn_relu(x, 16, 3), 32, 3).max_pool2d(2);
        conv_bn_relu(x, 64, 3).global_avg_pool().linear(10)
    }
    let names = [
        ("c1", "conv_bn_relu.conv2d"),
        ("b1", "conv_bn_relu.batch_norm"),
        ("c2", "conv_bn_relu_2.conv2d"),
        ("b2", "conv_bn_relu_2.batch_norm"),
        ("c3", "conv_bn_relu_3.conv2d"),
        ("b3", "conv_bn_relu_3.batch_norm"),
        ("fc", "linear"),
    ];
    check("w2_cnn.npz", &[1, 8, 8], network, &mut sgd(0.1), |name| renamed(name, &names));
}

/// The searched architecture that equals the recorded NAS-Bench-201 network, through the family's own builder.
#[test]
fn w3_nb201_mixed() {
    fn network(x: Var<'_>) -> Var<'_> {
        let cell = ["conv1x1", "avg_pool3x3", "conv3x3", "skip", "none", "conv3x3"];
        let edges = ["op_0_1", "op_0_2", "op_1_2", "op_0_3", "op_1_3", "op_2_3"];
        let mut architecture = Architecture::new().with("stem", "conv3x3".into());
        architecture = architecture.with("width", 8.into()).with("depth", 1.into());
        for (edge, operation) in edges.iter().zip(cell) {
            architecture.set(&format!("cell.{edge}"), operation.into());
        }
        let task = Task::Image { channels: 3, height: 16, width: 16, classes: 10 };
        CnnCell.build(&architecture, &task, x).unwrap()
    }
    let path = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        let kind = |part: &str| if part == "conv" { "conv2d" } else { "batch_norm" };
        let last = parts[parts.len() - 1];
        match parts[..] {
            ["stem", _] => format!("stem.conv2d.{last}"),
            ["stem_bn", _] => format!("stem.batch_norm.{last}"),
            ["last_bn", _] => format!("head.batch_norm.{last}"),
            ["fc", _] => format!("head.linear.{last}"),
            ["layers", layer, "ops", op, part, _] => {
                let stage = layer.parse::<usize>().unwrap() / 2;
                let edge = ["op_0_1", "op_0_2", "op_1_2", "op_0_3", "op_1_3", "op_2_3"][op.parse::<usize>().unwrap()];
                format!("stage{stage}.cell0.{edge}.{}.{last}", kind(part))
            }
            ["layers", layer, "down", _] => {
                format!("reduction{}.shortcut.conv2d.{last}", layer.parse::<usize>().unwrap().div_ceil(2))
            }
            ["layers", layer, block, part, _] => {
                let number = if block == "a" { "" } else { "_2" };
                let reduction = layer.parse::<usize>().unwrap().div_ceil(2);
                format!("reduction{reduction}.relu_conv_bn{number}.{}.{last}", kind(part))
            }
            _ => panic!("{name} is no name of this network"),
        }
    };
    check("w3_nb201_mixed_c8.npz", &[3, 16, 16], network, &mut sgd(0.02), path);
}
