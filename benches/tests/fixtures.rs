//! Training equals PyTorch's: outputs, first gradients, five losses and running statistics of recorded runs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use nas_benches::networks;
use nas_core::{Architecture, Value};
use nas_nn::family::{CnnCell, Family as _, MbConv, Recommender, Rnn, RnnCell, Task, Transformer};
use nas_nn::optim::{Adam, Optimizer, Sgd};
use nas_nn::task::Answer;
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

/// The values of PyTorch's parameter `name` in our layout: linear weights are [in, out] here and [out, in] there, tables of
/// embeddings are the same.
fn layout(name: &str, array: &ArrayD<f32>) -> Vec<f32> {
    let table = ["emb.weight", "tok.weight", "pos.weight", "u.weight", "i.weight"].contains(&name);
    if array.ndim() == 2 && !table { array.t().iter().copied().collect() } else { array.iter().copied().collect() }
}

#[track_caller]
fn check_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= 1e-4 * e.abs() + 1e-6, "{what}[{i}] is {f}, PyTorch has {e}");
    }
}

/// The axes of our values for PyTorch's [time, batch]: ours is batch first.
fn batch_first(values: &[f32], [time, batch]: [usize; 2]) -> Vec<f32> {
    let width = values.len() / (time * batch);
    let at = |n: usize, t: usize| (t * batch + n) * width;
    (0..batch).flat_map(|n| (0..time).flat_map(move |t| at(n, t)..at(n, t) + width)).map(|i| values[i]).collect()
}

/// A network, its loss and how it is trained.
struct Case<'a> {
    /// The file.
    name: &'a str,
    optimizer: &'a mut dyn Optimizer,
    /// Gradients are shortened to this norm.
    clip: Option<f32>,
    /// Steps and examples, where PyTorch has the time first.
    time_first: Option<[usize; 2]>,
    /// Our path for each of PyTorch's names.
    path: &'a dyn Fn(&str) -> String,
}

impl Case<'_> {
    /// An array of a [time, batch] recording in our order.
    fn ordered(&self, values: Vec<f32>) -> Vec<f32> {
        match self.time_first {
            Some(sizes) => batch_first(&values, sizes),
            None => values,
        }
    }

    /// Runs the five steps on `graph`, whose inputs `fill` takes from the recorded x.
    fn check(self, graph: &Graph, results: [Var<'_>; 2], fill: impl Fn(&[f32]) -> Vec<(&'static str, Vec<f32>)>) {
        self.check_parts(graph, results, &|_| None, fill);
    }

    /// The same where some of PyTorch's parameters are a `part` of one of ours.
    fn check_parts(
        self,
        graph: &Graph,
        [output, loss]: [Var<'_>; 2],
        part: &dyn Fn(&str) -> Option<Range<usize>>,
        fill: impl Fn(&[f32]) -> Vec<(&'static str, Vec<f32>)>,
    ) {
        let mut fixture = Fixture::open(self.name);
        let mut params = Params::init(graph, &mut nas_nn::Rng::seed_from_u64(0));
        let names = fixture.names("init/");
        let paths: BTreeSet<String> = names.iter().map(|name| (self.path)(name)).collect();
        assert_eq!(paths.len(), graph.parameters().len(), "{:?}", graph.parameters());
        for name in &names {
            let values = layout(name, &fixture.array(&format!("init/{name}.npy")));
            let path = (self.path)(name);
            let target = params.get_mut(&path).unwrap_or_else(|| panic!("no {path} for {name}"));
            let at = part(name).unwrap_or(0..target.len());
            target[at].copy_from_slice(&values);
        }

        let (x, y) = (self.ordered(fixture.values("in/x.npy")), self.ordered(fixture.values("in/y.npy")));
        let inputs = fill(&x);
        let batch = self.time_first.map_or(fixture.array("in/x.npy").shape()[0], |[_, batch]| batch);
        let feed = inputs.iter().fold(Feed::new(batch).with("y", &y), |feed, (name, x)| feed.with(name, x));
        let mut program = Program::train(graph, loss, &[output], batch).unwrap();
        let mut losses = Vec::new();
        for step in 0..5 {
            losses.push(program.gradients(&feed, &mut params).unwrap());
            if step == 0 {
                check_close("the output", program.output(0), &self.ordered(fixture.values("out1.npy")));
                for name in &names {
                    let expected = layout(name, &fixture.array(&format!("grad1/{name}.npy")));
                    let found = program.grad(&(self.path)(name)).unwrap();
                    check_close(name, &found[part(name).unwrap_or(0..found.len())], &expected);
                }
                let norm = program.clip(f32::INFINITY);
                check_close("the norm", &[norm], &fixture.values("gradnorm1.npy"));
            }
            if let Some(limit) = self.clip {
                program.clip(limit);
            }
            program.update(&mut params, self.optimizer).unwrap();
        }
        check_close("the losses", &losses, &fixture.values("losses.npy"));
        let statistics = fixture.names("buf5/");
        assert_eq!(statistics.len(), graph.states().len(), "{:?}", graph.states());
        for name in statistics {
            let found = params.get(&(self.path)(&name)).unwrap().values;
            check_close(&name, found, &fixture.values(&format!("buf5/{name}.npy")));
        }
    }
}

/// Checks a classifier of x with these sizes.
fn check(
    name: &str,
    dims: &[usize],
    build: impl for<'g> Fn(Var<'g>) -> Var<'g>,
    optimizer: &mut dyn Optimizer,
    path: impl Fn(&str) -> String,
) {
    let graph = Graph::new();
    let logits = build(graph.input("x", dims));
    let loss = logits.cross_entropy(graph.class("y", 10));
    let case = Case { name, optimizer, clip: None, time_first: None, path: &path };
    case.check(&graph, [logits, loss], |x| vec![("x", x.to_vec())]);
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
    let names = [("l1", "linear"), ("l2", "linear_2"), ("l3", "linear_3")];
    check("w1_mlp.npz", &[64], networks::mlp, &mut Adam::new(1e-3), |name| renamed(name, &names));
}

#[test]
fn w2_cnn() {
    let names = [
        ("c1", "conv2d"),
        ("b1", "batch_norm"),
        ("c2", "conv2d_2"),
        ("b2", "batch_norm_2"),
        ("c3", "conv2d_3"),
        ("b3", "batch_norm_3"),
        ("fc", "linear"),
    ];
    check("w2_cnn.npz", &[1, 8, 8], networks::small_cnn, &mut sgd(0.1), |name| renamed(name, &names));
}

/// Our path of a parameter of W4, given the scopes of its blocks and the one of its last layer.
fn w4_path(name: &str, blocks: [&str; 4], head: &str) -> String {
    let (layer, last) = name.rsplit_once('.').unwrap();
    match layer.split('.').collect::<Vec<_>>()[..] {
        ["stem"] => format!("stem.conv2d.{last}"),
        ["stem_bn"] => format!("stem.batch_norm.{last}"),
        ["fc"] => format!("{head}linear.{last}"),
        ["blocks", number, part] => {
            let (kind, place) = match part {
                "pw" => ("conv2d", ""),
                "dw" => ("conv2d", "_2"),
                "pj" => ("conv2d", "_3"),
                "bn1" => ("batch_norm", ""),
                "bn2" => ("batch_norm", "_2"),
                _ => ("batch_norm", "_3"),
            };
            format!("{}.{kind}{place}.{last}", blocks[number.parse::<usize>().unwrap()])
        }
        _ => panic!("{name} is no name of this network"),
    }
}

#[test]
fn w4_mbconv() {
    let path = |name: &str| w4_path(name, ["block", "block_2", "block_3", "block_4"], "");
    check("w4_mbconv.npz", &[3, 32, 32], networks::mobile, &mut sgd(0.05), path);
}

/// The searched architecture that equals W4, through the family's own builder. Its activation, ReLU6, is not in the default
/// space: a space file can say it.
#[test]
fn w4_by_its_family() {
    fn network(x: Var<'_>) -> Var<'_> {
        let mut architecture = Architecture::new().with("activation", "relu6".into());
        for (stage, (width, kernels)) in [(16, &[3][..]), (24, &[5, 3]), (40, &[5])].into_iter().enumerate() {
            architecture.set(&format!("stage{stage}.width"), width.into());
            architecture.set(&format!("stage{stage}.blocks"), i64::try_from(kernels.len()).unwrap().into());
            for (block, &kernel) in kernels.iter().enumerate() {
                architecture.set(&format!("stage{stage}.blocks.{block}.expand"), "3x".into());
                architecture.set(&format!("stage{stage}.blocks.{block}.kernel"), kernel.into());
                architecture.set(&format!("stage{stage}.blocks.{block}.squeeze_excite"), "none".into());
            }
        }
        let task = Task::Image { channels: 3, height: 32, width: 32, classes: 10 };
        MbConv.build(&architecture, &task, &[x]).unwrap()
    }
    let blocks = ["stage0.block0", "stage1.block0", "stage1.block1", "stage2.block0"];
    let blocks = blocks.map(|block| format!("{block}.inverted_residual"));
    let path = |name: &str| w4_path(name, blocks.each_ref().map(String::as_str), "head.");
    check("w4_mbconv.npz", &[3, 32, 32], network, &mut sgd(0.05), path);
}

/// Checks a language model of 17 tokens whose recording is `sizes` [steps, examples], with the time first or not.
fn check_language(
    name: &str,
    [steps, examples]: [usize; 2],
    time_first: bool,
    build: impl for<'g> Fn(Var<'g>) -> Var<'g>,
    path: &dyn Fn(&str) -> String,
) {
    let graph = Graph::new();
    let logits = build(graph.classes("x", 17, &[steps]));
    let loss = logits.cross_entropy(graph.classes("y", 17, &[steps]));
    let case = Case {
        name,
        optimizer: &mut Adam::new(1e-3),
        clip: time_first.then_some(1.0),
        time_first: time_first.then_some([steps, examples]),
        path,
    };
    case.check(&graph, [logits, loss], |x| vec![("x", x.to_vec())]);
}

/// Our path of a parameter of W5, given the scopes of its layer and its head.
fn w5_path(name: &str, layer: &str, head: &str) -> String {
    match name {
        "emb.weight" => "embedding.weight".to_owned(),
        "rnn.weight_ih_l0" => format!("{layer}lstm.input"),
        "rnn.weight_hh_l0" => format!("{layer}lstm.hidden"),
        "rnn.bias_ih_l0" => format!("{layer}lstm.bias"),
        "rnn.bias_hh_l0" => format!("{layer}lstm.hidden_bias"),
        "fc.weight" => format!("{head}linear.weight"),
        _ => format!("{head}linear.bias"),
    }
}

#[test]
fn w5_lstm() {
    let path = |name: &str| w5_path(name, "", "");
    check_language("w5_lstm.npz", [12, 4], true, |x| networks::lstm(x, 17, [16, 24]), &path);
}

/// The searched architecture that equals the recorded language model, through the family's own builder.
#[test]
fn w5_by_its_family() {
    fn network(x: Var<'_>) -> Var<'_> {
        let architecture = Architecture::new()
            .with("cell", "lstm".into())
            .with("depth", 1.into())
            .with("width", 24.into())
            .with("embedding", 16.into())
            .with("norm", "none".into())
            .with("output", "own".into())
            .with("dropout", 0.0.into());
        Rnn.build(&architecture, &Task::Text { vocabulary: 17, steps: 12 }, &[x]).unwrap()
    }
    check_language("w5_lstm.npz", [12, 4], true, network, &|name| w5_path(name, "layer0.", "head."));
}

#[test]
fn w5b_recurrent_cell() {
    let path = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
        ["emb", _] => "embedding.weight".to_owned(),
        ["wx", last] => format!("input.linear.{last}"),
        ["wh", _] => "hidden".to_owned(),
        ["w", number] => format!("node{number}"),
        [_, last] => format!("linear.{last}"),
        _ => panic!("{name} is no name of this network"),
    };
    check_language("w5b_dagrnn.npz", [12, 4], true, |x| networks::recurrent_cell(x, 17, [16, 24]), &path);
}

/// Our name of a part of a block of W6.
fn w6_part(name: &str) -> &'static str {
    match name {
        "ln1" => "layer_norm",
        "ln2" => "layer_norm_2",
        "qkv" => "self_attention.linear",
        "proj" => "self_attention.linear_2",
        "f1" => "linear",
        _ => "linear_2",
    }
}

#[test]
fn w6_transformer() {
    let path = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
        ["tok", _] => "embedding.weight".to_owned(),
        ["pos", _] => "positions".to_owned(),
        ["ln", last] => format!("layer_norm.{last}"),
        ["fc", last] => format!("linear.{last}"),
        ["blocks", number, part, last] => {
            let block = if number == "0" { "block" } else { "block_2" };
            let part = w6_part(part);
            format!("{block}.{part}.{last}")
        }
        _ => panic!("{name} is no name of this network"),
    };
    check_language("w6_transformer.npz", [16, 4], false, |x| networks::transformer(x, 17, [32, 64]), &path);
}

/// The searched architecture that equals the recorded cell, through the family's own builder.
#[test]
fn w5b_by_its_family() {
    fn network(x: Var<'_>) -> Var<'_> {
        let mut architecture = Architecture::new()
            .with("width", 24.into())
            .with("embedding", 16.into())
            .with("cell.nodes", 8.into())
            .with("cell.output", "loose_ends".into())
            .with("output", "own".into())
            .with("dropout", 0.0.into());
        let activations = ["tanh", "relu", "tanh", "sigmoid", "identity", "relu", "tanh", "tanh"];
        for (node, (from, activation)) in [0, 0, 1, 1, 2, 3, 0, 5].into_iter().zip(activations).enumerate() {
            architecture.set(&format!("cell.activation-{node}"), activation.into());
            if node > 1 {
                architecture.set(&format!("cell.from-{node}"), from.into());
            }
        }
        let task = Task::Text { vocabulary: 17, steps: 12 };
        RnnCell.build(&architecture, &task, &[x]).unwrap()
    }
    let path = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
        ["emb", _] => "embedding.weight".to_owned(),
        ["wx", last] => format!("cell.input.linear.{last}"),
        ["wh", _] => "cell.hidden".to_owned(),
        ["w", number] => format!("cell.node{}", number.parse::<usize>().unwrap() + 1),
        [_, last] => format!("head.linear.{last}"),
        _ => panic!("{name} is no name of this network"),
    };
    check_language("w5b_dagrnn.npz", [12, 4], true, network, &path);
}

/// The searched architecture that equals the recorded Transformer, through the family's own builder.
#[test]
fn w6_by_its_family() {
    fn network(x: Var<'_>) -> Var<'_> {
        let architecture = Architecture::new()
            .with("depth", 2.into())
            .with("width", 32.into())
            .with("heads", 4.into())
            .with("feed_forward", 2.into())
            .with("norm_place", "pre".into())
            .with("norm", "layer".into())
            .with("activation", "gelu".into())
            .with("positions", "learned".into())
            .with("output", "own".into())
            .with("dropout", 0.0.into());
        let task = Task::Text { vocabulary: 17, steps: 16 };
        Transformer.space(&task).unwrap().validate(&architecture).unwrap();
        Transformer.build(&architecture, &task, &[x]).unwrap()
    }
    let path = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
        ["tok", _] => "embedding.weight".to_owned(),
        ["pos", _] => "learned_positions.weight".to_owned(),
        ["ln", last] => format!("head.layer_norm.{last}"),
        ["fc", last] => format!("head.linear.{last}"),
        ["blocks", number, part, last] => {
            let part = w6_part(part);
            format!("block{number}.{part}.{last}")
        }
        _ => panic!("{name} is no name of this network"),
    };
    check_language("w6_transformer.npz", [16, 4], false, network, &path);
}

#[test]
fn w7_recommender() {
    let graph = Graph::new();
    let rating = networks::recommender(graph.class("user", 50), graph.class("item", 70), [50, 70], 8);
    let loss = rating.mse(graph.input("y", &[]));
    let path = |name: &str| {
        let names =
            [("u", "embedding"), ("i", "embedding_2"), ("l1", "linear"), ("l2", "linear_2"), ("l3", "linear_3")];
        renamed(name, &names)
    };
    let optimizer = &mut Adam::new(1e-3);
    let case = Case { name: "w7_recommender.npz", optimizer, clip: None, time_first: None, path: &path };
    case.check(&graph, [rating, loss], |ids| {
        let column = |k: usize| ids.iter().skip(k).step_by(2).copied().collect();
        vec![("user", column(0)), ("item", column(1))]
    });
}

/// The searched architecture that equals W7, through the family's own builder: without the biases that recommenders have beside their
/// towers, and with one table for the 50 users and the 70 items.
#[test]
fn w7_through_its_family() {
    let graph = Graph::new();
    let task = Task::Table { numbers: 0, categories: vec![50, 70], answer: Answer::Number };
    let architecture = Architecture::new()
        .with("embedding", 8.into())
        .with("interaction", "concatenation".into())
        .with("biases", "none".into())
        .with("depth", 2.into())
        .with("width", 64.into())
        .with("form", "narrowing".into())
        .with("activation", "relu".into())
        .with("dropout", Value::Float(0.0));
    let rating = Recommender.build(&architecture, &task, &[graph.classes("categories", 120, &[2])]).unwrap();
    let rating = rating.reshape(&[]);
    let loss = rating.mse(graph.input("y", &[]));
    let path = |name: &str| {
        let names = [("u", "embedding"), ("i", "embedding"), ("l1", "layer0.linear"), ("l2", "layer1.linear")];
        renamed(name, &[&names[..], &[("l3", "head.linear")]].concat())
    };
    let optimizer = &mut Adam::new(1e-3);
    let part = |name: &str| match name {
        "u.weight" => Some(0..50 * 8),
        "i.weight" => Some(50 * 8..120 * 8),
        _ => None,
    };
    let case = Case { name: "w7_recommender.npz", optimizer, clip: None, time_first: None, path: &path };
    case.check_parts(&graph, [rating, loss], &part, |ids| {
        let numbered = ids.iter().enumerate().map(|(i, id)| if i % 2 == 1 { id + 50.0 } else { *id });
        vec![("categories", numbered.collect())]
    });
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
        CnnCell.build(&architecture, &task, &[x]).unwrap()
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
