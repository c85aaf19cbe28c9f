//! A graph, autograd and training engine for small networks on CPUs.

pub mod data;
pub mod error;
pub mod evaluator;
pub mod family;
pub mod graph;
mod init;
pub mod kernel;
pub mod layer;
pub mod network;
pub mod op;
pub mod optim;
mod params;
pub mod program;
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
