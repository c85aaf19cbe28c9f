//! A graph, autograd and training engine for small networks on CPUs, with the model families of architecture search.
//!
//! A network is built once as a [`Graph`], a plain value: shapes, their mistakes, parameters and multiply-adds are known
//! before anything runs. A [`Program`] compiles it for one batch size: every buffer of the forward and backward pass has its
//! place in one arena, planned by lifetime, and a step allocates nothing. Kernels are chosen for the processor at run time,
//! so a plain build is fast. Results equal PyTorch's to 1e-4 on recorded runs (`benches/tests/fixtures.rs`).
//!
//! ```
//! use nas_nn::{Feed, Graph, Params, Program, Rng, SeedableRng, layer::conv_bn_relu, optim::Sgd};
//!
//! let graph = Graph::new();
//! let image = graph.input("image", &[1, 8, 8]); // shapes are per example; the batch is added when it is compiled
//! let label = graph.class("label", 10);
//! let hidden = conv_bn_relu(image, 16, 3).max_pool2d(2);
//! let logits = hidden.global_avg_pool().linear(10);
//! let loss = logits.cross_entropy(label);
//! println!("{}", graph.cost());
//!
//! let mut params = Params::init(&graph, &mut Rng::seed_from_u64(1));
//! let mut program = Program::train(&graph, loss, &[], 4)?;
//! let mut sgd = Sgd::new(0.1);
//! let (images, labels) = (vec![0.5; 4 * 64], [3.0, 1.0, 4.0, 1.0]);
//! for _ in 0..3 {
//!     let feed = Feed::new(4).with("image", &images).with("label", &labels);
//!     let loss = program.step(&feed, &mut params, &mut sgd)?;
//!     assert!(loss.is_finite());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Whole trainings in under 40 lines each stand in `nas-nn/examples`: `cargo run --release -p nas-nn --example cnn`, `lstm` and `transformer`.
//!
//! A program shares its steps among threads with the same bits ([`Program::set_threads`]), prints its plan ([`Plan::table`]) and says where the
//! time went ([`Program::start_profile`]); it sums up parts of a batch ([`Program::accumulate`]) and clips gradients ([`Program::clip`]).
//! [`optim`] has optimizers, schedules and a moving mean of weights ([`optim::Ema`]). Weights are files that every framework reads
//! ([`Params::save`], [`Params::load`]).
//!
//! Above the engine stand [`data`] (images, text, splits, augmentation), [`train`], the [`family`] modules (a search space, a
//! builder, a hand-made default and recipes each), [`ChildTrainer`] (the evaluator of a study) and [`Network`] (trained,
//! saved, loaded, used). A network of your own is a space file with blocks ([`family::Blocks`]) or, in Rust, an `impl Family`
//! (`examples/family.rs`). Weights are shared by meeting the same path twice; an op is one file in [`op`].
//!
//! Not here: GPUs, large models, other languages' runtimes.

pub mod costs;
pub mod data;
pub mod error;
pub mod evaluator;
pub mod family;
mod file;
pub mod graph;
mod init;
pub mod kernel;
pub mod latency;
pub mod layer;
pub mod network;
pub mod op;
pub mod optim;
mod params;
pub mod program;
pub mod task;
#[cfg(test)]
mod testing;
pub mod train;

pub use evaluator::ChildTrainer;
pub use graph::{Cost, Graph, Shape, Var};

pub use init::Init;
pub use network::Network;
pub use params::{Params, Tensor};
pub use program::{Feed, Plan, Program};

/// The random generator of the engine: ChaCha with 8 rounds, whose output is specified and never changes.
pub type Rng = rand_chacha::ChaCha8Rng;

/// What begins an [`Rng`], as in `Rng::seed_from_u64(1)`; of the version that it is of, which a crate that names another lacks.
pub use rand_chacha::rand_core::SeedableRng;
