//! What can be wrong with a graph, with what is fed to it, and with stored parameters.

use std::path::PathBuf;

/// A graph that cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Shapes that do not fit, at the op with that path.
    #[error("{path}: {message}")]
    Shape {
        /// The op's path: `stem.conv2d`.
        path: String,
        /// What does not fit, with the numbers.
        message: String,
    },
    /// The loss of a training program is no single number.
    #[error("the loss must be one number for the whole batch, got {shape}")]
    Loss {
        /// Its shape.
        shape: String,
    },
    /// A batch without examples.
    #[error("a program needs a batch of one example or more")]
    NoBatch,
    /// A batch too large to be planned: a value would take more than 2⁴⁰ numbers, or all together more than can be addressed.
    #[error("{path}: {shape} for a batch of {batch} examples is absurdly large")]
    Batch {
        /// The path of the op or input that takes most.
        path: String,
        /// Its shape.
        shape: String,
        /// The batch asked for.
        batch: usize,
    },
    /// More memory than the system gives.
    #[error(
        "a program for batches of {batch} needs {bytes} bytes, more than the system gives; a smaller batch takes less"
    )]
    Memory {
        /// The batch asked for.
        batch: usize,
        /// What the arena and the gradients take.
        bytes: u64,
    },
    /// A program that computes nothing.
    #[error("a program needs a loss or an output")]
    NoOutput,
    /// The value belongs to another graph.
    #[error("the value asked for belongs to another graph")]
    Foreign,
    /// The parameters were made for another graph.
    #[error("the parameters belong to another graph: {message}")]
    Parameters {
        /// The first difference.
        message: String,
    },
}

/// Values that cannot be fed to a program.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// More examples than the program was compiled for, or none.
    #[error("a batch of {batch} examples was fed to a program compiled for 1 to {limit}")]
    Batch {
        /// Examples fed.
        batch: usize,
        /// Examples the program can hold.
        limit: usize,
    },
    /// An input of the graph was not fed.
    #[error("the input \"{name}\" was not fed")]
    Missing {
        /// Its name.
        name: String,
    },
    /// An input with too few or too many values.
    #[error("the input \"{name}\" needs {expected} values for this batch, got {found}")]
    Length {
        /// Its name.
        name: String,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A class number that is none.
    #[error("the input \"{name}\" holds {value} in example {example} at {place}; class numbers are 0 to {last}")]
    Class {
        /// Its name.
        name: String,
        /// The example, from 0.
        example: usize,
        /// The place among the example's values, from 0.
        place: usize,
        /// What stands there.
        value: f32,
        /// The largest class number.
        last: usize,
    },
    /// A number that is infinite or none.
    #[error("the input \"{name}\" holds {value} in example {example} at {place}; numbers must be finite")]
    NotFinite {
        /// Its name.
        name: String,
        /// The example, from 0.
        example: usize,
        /// The place among the example's values, from 0.
        place: usize,
        /// What stands there.
        value: f32,
    },
    /// The parameters were made for another graph.
    #[error("the parameters belong to another graph: {0}")]
    Parameters(Box<Difference>),
    /// The optimizer remembers what belongs to the parameters of another graph.
    #[error("the optimizer's state belongs to another network; this one needs its own: {0}")]
    Optimizer(Box<Difference>),
}

/// How the tensors of two networks differ, in their order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected {} tensors of {} numbers, got {} of {}; the first difference: expected {}, got {}",
    .tensors[0], .numbers[0], .tensors[1], .numbers[1], named(.expected), named(.found)
)]
pub struct Difference {
    /// How many tensors were expected and found.
    pub tensors: [usize; 2],
    /// How many numbers they have in all.
    pub numbers: [usize; 2],
    /// The path and the sizes of the first tensor that was expected and not found; none behind the last.
    pub expected: Option<(String, Vec<usize>)>,
    /// The path and the sizes of what was found there; none behind the last.
    pub found: Option<(String, Vec<usize>)>,
}

impl Difference {
    /// That between two lists of paths and sizes.
    pub(crate) fn between<'a>(
        expected: impl Iterator<Item = (&'a str, &'a [usize])> + Clone,
        found: impl Iterator<Item = (&'a str, &'a [usize])> + Clone,
    ) -> Self {
        let mut pairs = (expected.clone(), found.clone());
        let (expected_first, found_first) = loop {
            match (pairs.0.next(), pairs.1.next()) {
                (Some(a), Some(b)) if a == b => {}
                first => break first,
            }
        };
        let owned = |tensor: Option<(&str, &[usize])>| tensor.map(|(path, dims)| (path.to_owned(), dims.to_vec()));
        let size = |(_, dims): (&str, &[usize])| dims.iter().product::<usize>();
        Difference {
            tensors: [expected.clone().count(), found.clone().count()],
            numbers: [expected.map(size).sum(), found.map(size).sum()],
            expected: owned(expected_first),
            found: owned(found_first),
        }
    }
}

impl From<Box<Difference>> for GraphError {
    fn from(difference: Box<Difference>) -> Self {
        GraphError::Parameters { message: difference.to_string() }
    }
}

fn named(tensor: &Option<(String, Vec<usize>)>) -> String {
    tensor.as_ref().map_or_else(|| "none".to_owned(), |(path, dims)| format!("\"{path}\" {dims:?}"))
}

/// A model file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Reading or writing failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file is no model of ours, or a damaged one.
    #[error("{path} is no model: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A tensor that is not as the network needs it.
    #[error("{path} does not fit the network: \"{tensor}\" {mistake}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's path.
        tensor: String,
        /// What is wrong with it.
        mistake: TensorMistake,
    },
    /// The graph that the file describes cannot be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// What is wrong with a stored tensor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorMistake {
    /// The file lacks it.
    #[error("is missing; the file holds {held} tensors, the network {expected}")]
    Missing {
        /// Tensors of the file.
        held: usize,
        /// Tensors of the network.
        expected: usize,
    },
    /// The network lacks it.
    #[error("is none of its tensors; the file holds {held} tensors, the network {expected}")]
    Foreign {
        /// Tensors of the file.
        held: usize,
        /// Tensors of the network.
        expected: usize,
    },
    /// It has other sizes.
    #[error("is {found:?} in the file and {expected:?} in the network")]
    Shape {
        /// The sizes in the file.
        found: Vec<usize>,
        /// The sizes in the network.
        expected: Vec<usize>,
    },
    /// It holds numbers of another form than 32-bit floats.
    #[error("holds numbers of {found}; F32 are read")]
    Numbers {
        /// The form, by the name that safetensors has for it.
        found: String,
    },
    /// It holds a number that is infinite or none.
    #[error("holds {value} at {place}; numbers must be finite")]
    NotFinite {
        /// The place among its values, from 0.
        place: usize,
        /// What stands there.
        value: f32,
    },
}
