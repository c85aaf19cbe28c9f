//! The workloads: network, data, optimizer and one training step of each, to the definitions that
//! `benches/peers/torch_workloads.py` implements in PyTorch.
//!
//! A workload is an entry in [`ALL`] and a function that builds its graph. Initialisation is PyTorch's: even up to
//! 1 / √fan_in for linear maps and convolutions, N(0, 1) for embeddings.

use nas_nn::layer::{conv_bn_relu, relu_conv_bn};
use nas_nn::op::Conv2d;
use nas_nn::optim::{Adam, Optimizer, Sgd};
use nas_nn::{Feed, Graph, Init, Params, Program, Rng, Var};
use rand::RngExt as _;
use rand_chacha::rand_core::SeedableRng as _;

use crate::Error;

/// Characters of the language models.
const VOCABULARY: usize = 65;
/// Users and items of the recommender.
const USERS: usize = 1000;
const ITEMS: usize = 1700;

/// One workload.
#[derive(Debug)]
pub struct Workload {
    /// Its name in every table: `W2`.
    pub name: &'static str,
    /// Examples in a batch; an example of a language model is a sequence.
    pub batch: usize,
    /// From the graph to the loss.
    build: for<'g> fn(&'g Graph) -> Var<'g>,
    data: fn(&mut Rng, usize) -> Batch,
    optimizer: Update,
}

/// How parameters are changed.
#[derive(Debug, Clone, Copy)]
enum Update {
    /// Learning rate 0.1, Nesterov momentum 0.9, weight decay 5e-4.
    Sgd,
    /// Learning rate 1e-3.
    Adam,
    /// The same after shortening the gradients to norm 1.
    AdamClipped,
}

/// All workloads, in the order of the tables.
pub const ALL: [Workload; 7] = [
    Workload { name: "W1", batch: 64, build: mlp, data: vectors, optimizer: Update::Adam },
    Workload { name: "W2", batch: 64, build: small_cnn, data: small_images, optimizer: Update::Sgd },
    Workload { name: "W3", batch: 64, build: nas_bench_201, data: images, optimizer: Update::Sgd },
    Workload { name: "W3b", batch: 64, build: nas_bench_201_best, data: images, optimizer: Update::Sgd },
    Workload { name: "W4", batch: 64, build: mobile_net, data: images, optimizer: Update::Sgd },
    Workload { name: "W5b", batch: 32, build: recurrent_cell, data: short_texts, optimizer: Update::AdamClipped },
    Workload { name: "W7", batch: 1024, build: recommender, data: ratings, optimizer: Update::Adam },
];

/// The workload called `name`.
///
/// # Errors
/// When there is none, with the names there are.
pub fn find(name: &str) -> Result<&'static Workload, Error> {
    static WORKLOADS: [Workload; ALL.len()] = ALL;
    let found = WORKLOADS.iter().find(|workload| workload.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|workload| workload.name).collect();
        Error::Request(format!("there is no workload \"{name}\"; there are {}", names.join(", ")))
    })
}

impl Workload {
    /// `count` batches of random data, the same for the same seed.
    pub fn batches(&self, count: usize, seed: u64) -> Vec<Batch> {
        let mut rng = Rng::seed_from_u64(seed);
        (0..count).map(|_| (self.data)(&mut rng, self.batch)).collect()
    }

    /// A new network with its optimizer, compiled and ready for the first step.
    ///
    /// # Errors
    /// When its graph is unsound.
    pub fn start(&self, seed: u64) -> Result<Training, Error> {
        let graph = Graph::new();
        let loss = (self.build)(&graph);
        let program = Program::train(&graph, loss, &[], self.batch)?;
        let params = init(&graph, seed);
        let (optimizer, clip): (Box<dyn Optimizer>, Option<f32>) = match self.optimizer {
            Update::Sgd => {
                let mut sgd = Sgd::new(0.1);
                sgd.weight_decay = 5e-4;
                (Box::new(sgd), None)
            }
            Update::Adam => (Box::new(Adam::new(1e-3)), None),
            Update::AdamClipped => (Box::new(Adam::new(1e-3)), Some(1.0)),
        };
        let multiply_adds = graph.cost().madds * self.batch as u64;
        Ok(Training { batch: self.batch, multiply_adds, program, params, optimizer, clip })
    }
}

/// Freshly drawn parameters. [`Var::conv`] starts from He's distribution, so convolutions are drawn again.
fn init(graph: &Graph, seed: u64) -> Params {
    let mut rng = Rng::seed_from_u64(seed);
    let mut params = Params::init(graph, &mut rng);
    for parameter in graph.parameters().iter().filter(|p| p.path.ends_with("conv2d.weight")) {
        let weights = params.get_mut(&parameter.path).expect("the parameters are of this graph");
        Init::fan_in(parameter.dims[1..].iter().product()).fill(weights, &mut rng);
    }
    params
}

/// A network in training.
pub struct Training {
    batch: usize,
    /// Multiply-adds of a batch's forward pass.
    pub multiply_adds: u64,
    program: Program,
    params: Params,
    optimizer: Box<dyn Optimizer>,
    clip: Option<f32>,
}

impl Training {
    /// One training step on `batch`: the loss before it.
    ///
    /// # Errors
    /// When the batch is of another workload.
    pub fn step(&mut self, batch: &Batch) -> Result<f32, Error> {
        let mut feed = Feed::new(self.batch);
        for (name, values) in &batch.0 {
            feed = feed.with(name, values);
        }
        let Some(limit) = self.clip else {
            return Ok(self.program.step(&feed, &mut self.params, &mut *self.optimizer)?);
        };
        let loss = self.program.gradients(&feed, &mut self.params)?;
        self.program.clip(limit);
        self.program.update(&mut self.params, &mut *self.optimizer);
        Ok(loss)
    }

    /// The number of trainable numbers.
    pub fn parameters(&self) -> usize {
        self.params.len()
    }
}

/// Values for the inputs of a workload's graph, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch(Vec<(&'static str, Vec<f32>)>);

// ---- W1: three linear maps.

fn mlp(graph: &Graph) -> Var<'_> {
    let x = graph.input("x", &[64]);
    x.linear(128).relu().linear(128).relu().linear(10).cross_entropy(graph.class("y", 10))
}

fn vectors(rng: &mut Rng, batch: usize) -> Batch {
    labelled(rng, batch, 64)
}

// ---- W2: three convolutions on 8×8 images.

fn small_cnn(graph: &Graph) -> Var<'_> {
    let x = graph.input("x", &[1, 8, 8]);
    let x = conv_bn_relu(conv_bn_relu(x, 16, 3), 32, 3).max_pool2d(2);
    classify(conv_bn_relu(x, 64, 3))
}

fn small_images(rng: &mut Rng, batch: usize) -> Batch {
    labelled(rng, batch, 64)
}

// ---- W3 and W3b: NAS-Bench-201 (Dong & Yang, 2020) with 16 channels and one cell a stage.

/// What stands on an edge of a cell.
#[derive(Debug, Clone, Copy)]
enum Edge {
    Conv3x3,
    Skip,
}

/// The edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3.
type Edges = [Edge; 6];

const ALL_3X3: Edges = [Edge::Conv3x3; 6];
/// The benchmark's best cell.
const BEST: Edges = [Edge::Conv3x3, Edge::Conv3x3, Edge::Conv3x3, Edge::Skip, Edge::Conv3x3, Edge::Conv3x3];

fn nas_bench_201(graph: &Graph) -> Var<'_> {
    nas_bench_201_of(graph, &ALL_3X3)
}

fn nas_bench_201_best(graph: &Graph) -> Var<'_> {
    nas_bench_201_of(graph, &BEST)
}

fn nas_bench_201_of<'g>(graph: &'g Graph, edges: &Edges) -> Var<'g> {
    let mut x = graph.input("x", &[3, 32, 32]).scope("stem", |x| x.conv2d(16, 3).batch_norm());
    for channels in [16, 32, 64] {
        if channels > 16 {
            x = x.scope("reduction", |x| reduction(x, channels));
        }
        x = x.scope("cell", |x| cell(x, edges));
    }
    classify(x.batch_norm().relu())
}

/// Node j is the sum of what the edges from all nodes before it make of them; the last node is the output.
fn cell<'g>(x: Var<'g>, edges: &Edges) -> Var<'g> {
    let mut nodes = vec![x];
    let mut edges = edges.iter();
    for _ in 1..4 {
        let incoming = nodes.iter().zip(edges.by_ref()).map(|(&from, edge)| match edge {
            Edge::Conv3x3 => relu_conv_bn(from, from.dim(0), 3, 1),
            Edge::Skip => from,
        });
        nodes.push(incoming.reduce(|sum, next| sum + next).expect("node 0 stands before every other"));
    }
    nodes[3]
}

/// Half the pixels, `channels` channels: a residual block whose shortcut is an average and a 1×1 convolution.
fn reduction(x: Var<'_>, channels: usize) -> Var<'_> {
    let shortcut = x.avg_pool2d(2, 2, 0).conv2d(channels, 1);
    shortcut + relu_conv_bn(relu_conv_bn(x, channels, 3, 2), channels, 3, 1)
}

fn images(rng: &mut Rng, batch: usize) -> Batch {
    labelled(rng, batch, 3 * 32 * 32)
}

// ---- W4: inverted residual blocks (Sandler et al., 2018).

fn mobile_net(graph: &Graph) -> Var<'_> {
    let image = graph.input("x", &[3, 32, 32]);
    let mut x = image.scope("stem", |x| x.conv(Conv2d::new(16, 3).stride(2)).batch_norm().relu6());
    for (channels, kernel, stride) in [(16, 3, 1), (24, 5, 2), (24, 3, 1), (40, 5, 2)] {
        x = x.scope("block", |x| inverted_residual(x, channels, kernel, stride));
    }
    classify(x)
}

fn inverted_residual(x: Var<'_>, channels: usize, kernel: usize, stride: usize) -> Var<'_> {
    let wide = 3 * x.dim(0);
    let depthwise = Conv2d::new(wide, kernel).stride(stride).groups(wide);
    let y = x.conv2d(wide, 1).batch_norm().relu6().conv(depthwise).batch_norm().relu6();
    let y = y.conv2d(channels, 1).batch_norm();
    if stride == 1 && channels == x.dim(0) { x + y } else { y }
}

// ---- W5b: a recurrent cell as a search finds them (Pham et al., 2018), unrolled with shared weights.

/// Steps and width of the cell.
const STEPS: usize = 35;
const WIDTH: usize = 256;

/// The node before a node, and what the node does.
type Node<'g> = (usize, fn(Var<'g>) -> Var<'g>);

/// Nodes 1 to 7.
fn nodes<'g>() -> [Node<'g>; 7] {
    [
        (0, Var::relu),
        (1, Var::tanh),
        (1, Var::sigmoid),
        (2, std::convert::identity),
        (3, Var::relu),
        (0, Var::tanh),
        (5, Var::tanh),
    ]
}

fn recurrent_cell(graph: &Graph) -> Var<'_> {
    let token = graph.classes("x", VOCABULARY, &[STEPS]).embedding(VOCABULARY, 128);
    // One product for all steps.
    let input = token.scope("input", |x| x.linear(2 * WIDTH));
    let mut h: Option<Var<'_>> = None;
    let mut outputs = Vec::new();
    for t in 0..STEPS {
        let from_input = input.slice(0, t, t + 1).reshape(&[2 * WIDTH]);
        let before = h.unwrap_or_else(|| from_input.slice(0, 0, WIDTH).zeros_like());
        let after = recurrent_step(from_input, before);
        outputs.push(after.reshape(&[1, WIDTH]));
        h = Some(after);
    }
    let (first, rest) = outputs.split_first().expect("there are steps");
    first.concat(rest, 0).scope("output", |x| x.linear(VOCABULARY)).cross_entropy(graph.classes(
        "y",
        VOCABULARY,
        &[STEPS],
    ))
}

/// The next state. Every node is a gate between the node before it and what its activation makes of that; the state is
/// the mean of the nodes that feed no other.
fn recurrent_step<'g>(from_input: Var<'g>, h: Var<'g>) -> Var<'g> {
    let gated = |both: Var<'g>, before: Var<'g>, activation: fn(Var<'g>) -> Var<'g>| {
        let gate = both.slice(0, 0, WIDTH).sigmoid();
        let value = activation(both.slice(0, WIDTH, 2 * WIDTH));
        before + gate * (value - before)
    };
    let weight = |name: &str| h.graph().parameter(name, &[WIDTH, 2 * WIDTH], Init::fan_in(WIDTH));
    let mut values = vec![gated(from_input + h.matmul(weight("hidden")), h, Var::tanh)];
    for (j, (before, activation)) in nodes().into_iter().enumerate() {
        let before = values[before];
        values.push(gated(before.matmul(weight(&format!("node{}", j + 1))), before, activation));
    }
    let is_loose = |node: &usize| nodes().iter().all(|(before, _)| before != node);
    let loose: Vec<Var<'g>> = (0..values.len()).filter(is_loose).map(|node| values[node]).collect();
    let share = 1.0 / loose.len() as f32;
    loose.into_iter().reduce(|sum, node| sum + node).expect("the last node feeds no other").scale(share)
}

fn short_texts(rng: &mut Rng, batch: usize) -> Batch {
    texts(rng, batch, STEPS)
}

// ---- W7: two embeddings and three linear maps.

fn recommender(graph: &Graph) -> Var<'_> {
    let user = graph.class("user", USERS).scope("user", |x| x.embedding(USERS, 32));
    let item = graph.class("item", ITEMS).scope("item", |x| x.embedding(ITEMS, 32));
    let both = user.concat(&[item], 0);
    both.linear(64).relu().linear(32).relu().linear(1).reshape(&[]).mse(graph.input("rating", &[]))
}

fn ratings(rng: &mut Rng, batch: usize) -> Batch {
    let (user, item) = (classes(rng, batch, USERS), classes(rng, batch, ITEMS));
    let rating = (0..batch).map(|_| rng.random_range(1.0..5.0)).collect();
    Batch(vec![("user", user), ("item", item), ("rating", rating)])
}

// ---- What several share.

/// The mean of every channel, a linear map to 10 classes, the loss.
fn classify(x: Var<'_>) -> Var<'_> {
    x.global_avg_pool().linear(10).cross_entropy(x.graph().class("y", 10))
}

/// `len` numbers from N(0, 1) and one of 10 labels an example.
fn labelled(rng: &mut Rng, batch: usize, len: usize) -> Batch {
    let mut x = vec![0.0; batch * len];
    Init::Normal { std: 1.0 }.fill(&mut x, rng);
    Batch(vec![("x", x), ("y", classes(rng, batch, 10))])
}

/// Random texts: each character is the target of those before it.
fn texts(rng: &mut Rng, batch: usize, steps: usize) -> Batch {
    let text = classes(rng, batch * (steps + 1), VOCABULARY);
    let part =
        |from: usize| text.chunks_exact(steps + 1).flat_map(|row| row[from..][..steps].iter().copied()).collect();
    Batch(vec![("x", part(0)), ("y", part(1))])
}

fn classes(rng: &mut Rng, count: usize, classes: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(0..classes) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definitions state these numbers, and PyTorch's networks have them.
    #[test]
    fn networks_have_as_many_parameters_as_defined() {
        let defined = [
            ("W1", 26_122),
            ("W2", 24_058),
            ("W3", 364_954),
            ("W3b", 316_346),
            ("W4", 17_642),
            ("W5b", 1_139_649),
            ("W7", 92_673),
        ];
        let ours = ALL.map(|w| (w.name, w.start(0).unwrap_or_else(|e| panic!("{}: {e}", w.name)).parameters()));
        assert_eq!(ours, defined);
    }

    /// A step changes the network, and the loss starts near that of a guess.
    #[test]
    fn small_workloads_learn_their_batch() {
        for (name, guess) in [("W1", 10_f32.ln()), ("W2", 10_f32.ln())] {
            let workload = find(name).unwrap();
            let batches = workload.batches(1, 1);
            let mut training = workload.start(1).unwrap();
            let first = training.step(&batches[0]).unwrap();
            assert!((first - guess).abs() < 0.5, "{name}: {first}");
            let last = (0..30).map(|_| training.step(&batches[0]).unwrap()).last().unwrap();
            assert!(last < 0.9 * first, "{name}: {first} to {last}");
        }
    }

    #[test]
    fn the_seed_decides_the_data() {
        for workload in ALL {
            assert_eq!(workload.batches(2, 3), workload.batches(2, 3));
            assert_ne!(workload.batches(1, 3), workload.batches(1, 4));
        }
    }

    #[test]
    fn targets_follow_their_tokens() {
        let batch = texts(&mut Rng::seed_from_u64(0), 3, 5);
        let [(_, x), (_, y)] = &batch.0[..] else { panic!("two inputs") };
        assert_eq!((x.len(), y.len()), (15, 15));
        for (x, y) in x.chunks(5).zip(y.chunks(5)) {
            assert_eq!(x[1..], y[..4]);
        }
    }

    #[test]
    fn unknown_names_and_foreign_batches_are_refused() {
        let message = find("W9").unwrap_err().to_string();
        assert!(message.starts_with("there is no workload \"W9\"; there are W1, W2"), "{message}");
        let foreign = find("W7").unwrap().batches(1, 0);
        assert!(find("W1").unwrap().start(0).unwrap().step(&foreign[0]).is_err());
    }
}
