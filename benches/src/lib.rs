//! The workloads that are measured side by side with PyTorch, and how they are measured. `cargo xtask bench --peers` runs
//! them; the benchmarks of criterion are in `benches/`, run by `cargo xtask bench`.

pub mod epoch;
pub mod measure;
pub mod networks;
pub mod random;
pub mod workloads;

use nas_nn::error::{FeedError, GraphError};

/// What can go wrong with a workload.
#[derive(Debug)]
pub enum Error {
    /// Its graph is unsound.
    Graph(GraphError),
    /// Its batch does not fit its graph.
    Feed(FeedError),
    /// It was asked for what it cannot do.
    Request(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Graph(error) => error.fmt(f),
            Error::Feed(error) => error.fmt(f),
            Error::Request(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl From<GraphError> for Error {
    fn from(error: GraphError) -> Self {
        Error::Graph(error)
    }
}

impl From<FeedError> for Error {
    fn from(error: FeedError) -> Self {
        Error::Feed(error)
    }
}
