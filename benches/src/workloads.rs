//! The workloads: network ([`networks`]), data, optimizer and one training step of each, to the definitions that
//! `benches/peers/torch_workloads.py` implements in PyTorch.
//!
//! A workload is an entry in [`ALL`] and a function that builds its graph. Initialisation is PyTorch's: even up to
//! 1 / √fan_in for linear maps and convolutions, N(0, 1) for embeddings.

use nas_nn::optim::{Adam, Optimizer, Sgd};
use nas_nn::{Feed, Graph, Init, Params, Program, Rng, Var};
use rand::RngExt as _;
use rand_chacha::rand_core::SeedableRng as _;

use crate::{Error, networks};

/// Characters of the language models.
const VOCABULARY: usize = 65;
/// Users and items of the recommender.
const USERS: usize = 1000;
const ITEMS: usize = 1700;
/// Steps of the texts.
const LONG: usize = 64;
const SHORT: usize = 35;

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
pub const ALL: [Workload; 9] = [
    Workload { name: "W1", batch: 64, build: mlp, data: vectors, optimizer: Update::Adam },
    Workload { name: "W2", batch: 64, build: small_cnn, data: vectors, optimizer: Update::Sgd },
    Workload { name: "W3", batch: 64, build: nas_bench_201, data: images, optimizer: Update::Sgd },
    Workload { name: "W3b", batch: 64, build: nas_bench_201_best, data: images, optimizer: Update::Sgd },
    Workload { name: "W4", batch: 64, build: mobile_net, data: images, optimizer: Update::Sgd },
    Workload { name: "W5", batch: 32, build: lstm, data: long_texts, optimizer: Update::AdamClipped },
    Workload { name: "W5b", batch: 32, build: recurrent_cell, data: short_texts, optimizer: Update::AdamClipped },
    Workload { name: "W6", batch: 32, build: transformer, data: long_texts, optimizer: Update::Adam },
    Workload { name: "W7", batch: 1024, build: recommender, data: ratings, optimizer: Update::Adam },
];

/// Threads that a step can be measured on: one for every core.
pub fn most_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

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
    /// The same with another number of examples in a batch.
    #[must_use]
    pub fn with_batch(&self, batch: usize) -> Workload {
        Workload { batch, ..*self }
    }

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
        self.program.update(&mut self.params, &mut *self.optimizer)?;
        Ok(loss)
    }

    /// Runs the steps from now on on that many threads.
    ///
    /// # Errors
    /// When there are none, more than [`most_threads`], or the system starts no more.
    pub fn set_threads(&mut self, threads: usize) -> Result<(), Error> {
        let most = most_threads();
        if !(1..=most).contains(&threads) {
            return Err(Error::Request(format!("a step runs on 1 to {most} threads, not on {threads}")));
        }
        self.program
            .set_threads(threads)
            .map_err(|e| Error::Request(format!("{threads} threads cannot be started: {e}")))
    }

    /// The number of trainable numbers.
    pub fn parameters(&self) -> usize {
        self.params.len()
    }
}

/// Values for the inputs of a workload's graph, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch(Vec<(&'static str, Vec<f32>)>);

fn mlp(graph: &Graph) -> Var<'_> {
    labels(networks::mlp(graph.input("x", &[64])))
}

fn small_cnn(graph: &Graph) -> Var<'_> {
    labels(networks::small_cnn(graph.input("x", &[1, 8, 8])))
}

fn nas_bench_201(graph: &Graph) -> Var<'_> {
    labels(networks::nas_bench_201(graph.input("x", &[3, 32, 32]), &networks::ALL_3X3, 16))
}

fn nas_bench_201_best(graph: &Graph) -> Var<'_> {
    labels(networks::nas_bench_201(graph.input("x", &[3, 32, 32]), &networks::BEST_CELL, 16))
}

fn mobile_net(graph: &Graph) -> Var<'_> {
    labels(networks::mobile(graph.input("x", &[3, 32, 32])))
}

fn lstm(graph: &Graph) -> Var<'_> {
    characters(networks::lstm(graph.classes("x", VOCABULARY, &[LONG]), VOCABULARY, [128, 256]))
}

fn recurrent_cell(graph: &Graph) -> Var<'_> {
    characters(networks::recurrent_cell(graph.classes("x", VOCABULARY, &[SHORT]), VOCABULARY, [128, 256]))
}

fn transformer(graph: &Graph) -> Var<'_> {
    characters(networks::transformer(graph.classes("x", VOCABULARY, &[LONG]), VOCABULARY, [128, 512]))
}

fn recommender(graph: &Graph) -> Var<'_> {
    let (user, item) = (graph.class("user", USERS), graph.class("item", ITEMS));
    networks::recommender(user, item, [USERS, ITEMS], 32).mse(graph.input("rating", &[]))
}

/// The loss of a classifier of ten classes.
fn labels(logits: Var<'_>) -> Var<'_> {
    logits.cross_entropy(logits.graph().class("y", 10))
}

/// The loss of a language model.
fn characters(logits: Var<'_>) -> Var<'_> {
    logits.cross_entropy(logits.graph().classes("y", VOCABULARY, &[logits.dim(0)]))
}

fn vectors(rng: &mut Rng, batch: usize) -> Batch {
    labelled(rng, batch, 64)
}

fn images(rng: &mut Rng, batch: usize) -> Batch {
    labelled(rng, batch, 3 * 32 * 32)
}

fn long_texts(rng: &mut Rng, batch: usize) -> Batch {
    texts(rng, batch, LONG)
}

fn short_texts(rng: &mut Rng, batch: usize) -> Batch {
    texts(rng, batch, SHORT)
}

fn ratings(rng: &mut Rng, batch: usize) -> Batch {
    let (user, item) = (classes(rng, batch, USERS), classes(rng, batch, ITEMS));
    let rating = (0..batch).map(|_| rng.random_range(1.0..5.0)).collect();
    Batch(vec![("user", user), ("item", item), ("rating", rating)])
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
            ("W5", 420_289),
            ("W5b", 1_139_649),
            ("W6", 421_697),
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
