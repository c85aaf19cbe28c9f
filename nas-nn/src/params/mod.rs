//! Parameters: every trainable tensor of a graph in one flat buffer, by path, and its states.

mod file;

use std::hash::Hasher as _;
use std::ops::Range;

use crate::Rng;
use crate::error::{Difference, GraphError};
use crate::graph::{Graph, Parameter, State};

/// The parameters and states of a graph.
///
/// All trainable numbers stand in one buffer, in the graph's order, so that an optimizer is one pass over memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    layout: Layout,
    pub(crate) values: Vec<f32>,
    pub(crate) states: Vec<Vec<f32>>,
}

/// Which tensor stands where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    parameters: Vec<Parameter>,
    states: Vec<State>,
    offsets: Vec<usize>,
    /// Hashes of the paths and sizes of what is trained, and of the states.
    ids: [u64; 2],
}

impl Layout {
    pub(crate) fn of(graph: &Graph) -> Self {
        let parameters = graph.parameters();
        let mut offsets = vec![0];
        for parameter in &parameters {
            let len: usize = parameter.dims.iter().product();
            offsets.push(offsets[offsets.len() - 1] + len);
        }
        let states = graph.states();
        let mut layout = Layout { parameters, states, offsets, ids: [0; 2] };
        layout.ids = [id(layout.trainable()), id(layout.untrained())];
        layout
    }

    pub(crate) fn range(&self, parameter: usize) -> Range<usize> {
        self.offsets[parameter]..self.offsets[parameter + 1]
    }

    /// Where the parameter at `path` stands, and its sizes.
    pub(crate) fn find(&self, path: &str) -> Option<(Range<usize>, &[usize])> {
        let i = self.parameters.iter().position(|p| p.path == path)?;
        Some((self.range(i), &self.parameters[i].dims))
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets[self.parameters.len()]
    }

    /// The paths and sizes of what is trained, in order.
    pub(crate) fn trainable(&self) -> impl Iterator<Item = (&str, &[usize])> + Clone {
        self.parameters.iter().map(|p| (&*p.path, &*p.dims))
    }

    /// A hash of them.
    pub(crate) fn trainable_id(&self) -> u64 {
        self.ids[0]
    }

    /// Whether values of `other` stand where values of this stand, under the same paths: how they began does not matter.
    ///
    /// # Errors
    /// How they differ.
    pub(crate) fn check(&self, other: &Layout) -> Result<(), Box<Difference>> {
        if self.ids == other.ids {
            return Ok(());
        }
        Err(Box::new(Difference::between(self.tensors(), other.tensors())))
    }

    fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> + Clone {
        self.trainable().chain(self.untrained())
    }

    fn untrained(&self) -> impl Iterator<Item = (&str, &[usize])> + Clone {
        self.states.iter().map(|s| (&*s.path, &*s.dims))
    }
}

/// A hash of paths and sizes.
fn id<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    for (path, dims) in tensors {
        hasher.write(path.as_bytes());
        hasher.write(&[0xff, dims.len() as u8]);
        dims.iter().for_each(|&dim| hasher.write(&(dim as u64).to_le_bytes()));
    }
    hasher.finish()
}

/// One tensor: its path, its sizes and its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor<'a> {
    /// The path.
    pub path: &'a str,
    /// The sizes.
    pub dims: &'a [usize],
    /// The values, the last axis fastest.
    pub values: &'a [f32],
}

impl Params {
    /// Freshly drawn parameters of `graph`.
    pub fn init(graph: &Graph, rng: &mut Rng) -> Self {
        let mut params = Self::zeros(Layout::of(graph));
        for (i, parameter) in params.layout.parameters.iter().enumerate() {
            parameter.init.fill(&mut params.values[params.layout.range(i)], rng);
        }
        for (state, values) in params.layout.states.iter().zip(&mut params.states) {
            values.fill(state.initial);
        }
        params
    }

    fn zeros(layout: Layout) -> Self {
        let values = vec![0.0; layout.len()];
        let states = layout.states.iter().map(|s| vec![0.0; s.dims.iter().product()]).collect();
        Params { layout, values, states }
    }

    /// The number of trainable numbers.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is nothing to train.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All trainable numbers, in the graph's order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All trainable numbers, to change.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// All tensors: the trainable ones, then the states.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        let parameters = self.layout.parameters.iter().enumerate();
        let parameters = parameters.map(|(i, p)| Tensor {
            path: &p.path,
            dims: &p.dims,
            values: &self.values[self.layout.range(i)],
        });
        let states = self.layout.states.iter().zip(&self.states);
        parameters.chain(states.map(|(s, values)| Tensor { path: &s.path, dims: &s.dims, values }))
    }

    /// The path, the sizes and the values of all tensors, in the order of [`Params::tensors`].
    fn tensors_mut(&mut self) -> impl Iterator<Item = (&str, &[usize], &mut [f32])> {
        let mut rest = &mut self.values[..];
        let parameters = self.layout.parameters.iter().map(move |p| {
            let values = rest.split_off_mut(..p.dims.iter().product()).expect("the buffer holds all of them");
            (&*p.path, &*p.dims, values)
        });
        let states = self.layout.states.iter().zip(&mut self.states);
        parameters.chain(states.map(|(s, values)| (&*s.path, &*s.dims, &mut values[..])))
    }

    /// The tensor at `path`.
    pub fn get(&self, path: &str) -> Option<Tensor<'_>> {
        self.tensors().find(|tensor| tensor.path == path)
    }

    /// The values of the tensor at `path`, to change.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut [f32]> {
        if let Some(i) = self.layout.parameters.iter().position(|p| p.path == path) {
            return Some(&mut self.values[self.layout.range(i)]);
        }
        let i = self.layout.states.iter().position(|s| s.path == path)?;
        Some(&mut self.states[i])
    }

    /// Sets the tensor at `path`.
    ///
    /// # Errors
    /// When there is no such tensor, or the sizes differ; nothing is changed then.
    pub fn set(&mut self, path: &str, dims: &[usize], values: &[f32]) -> Result<(), GraphError> {
        let fail = |message: String| Err(GraphError::Parameters { message });
        let Some(tensor) = self.get(path) else { return fail(format!("there is no tensor \"{path}\"")) };
        if tensor.dims != dims {
            return fail(format!("\"{path}\" is {:?} here and {dims:?} there", tensor.dims));
        }
        let (expected, found) = (tensor.values.len(), values.len());
        if expected != found {
            return fail(format!("\"{path}\" {dims:?} holds {expected} numbers, got {found}"));
        }
        self.get_mut(path).expect("just found").copy_from_slice(values);
        Ok(())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|x| x.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn values_that_do_not_fit_change_nothing() {
        let graph = Graph::new();
        let _ = graph.input("x", &[3]).linear(2);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(1));
        let before = params.clone();
        let mut says = |path, dims: &[usize], values| params.set(path, dims, values).unwrap_err().to_string();
        let here = "the parameters belong to another graph: ";
        assert_eq!(says("linear.gain", &[2], &[0.0; 2]), format!("{here}there is no tensor \"linear.gain\""));
        assert_eq!(says("linear.bias", &[3], &[0.0; 3]), format!("{here}\"linear.bias\" is [2] here and [3] there"));
        assert_eq!(says("linear.bias", &[2], &[0.0; 3]), format!("{here}\"linear.bias\" [2] holds 2 numbers, got 3"));
        assert_eq!(params, before);
    }
}
