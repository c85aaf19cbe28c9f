//! What a program is fed: a batch of values by the names of the graph's inputs.

use smallvec::SmallVec;

use super::list::Values;
use crate::error::FeedError;
use crate::graph::Shape;
use crate::kernel;

/// A batch: values for every input, examples first. Up to eight inputs are named without allocating.
#[derive(Debug, Clone)]
pub struct Feed<'a> {
    batch: usize,
    values: SmallVec<[(&'a str, &'a [f32]); 8]>,
}

impl<'a> Feed<'a> {
    /// A batch of that many examples, without values yet.
    pub fn new(batch: usize) -> Self {
        Feed { batch, values: SmallVec::new() }
    }

    /// The same batch with values for the input called `name`. What the program does not read is passed over, such as the
    /// labels in evaluation; of two values for one input the first counts.
    #[must_use]
    pub fn with(mut self, name: &'a str, values: &'a [f32]) -> Self {
        self.values.push((name, values));
        self
    }

    /// The number of examples.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The values in the order of `inputs`, each checked, listed in `room`.
    pub(super) fn resolve<'l>(
        &self,
        inputs: &[Input],
        limit: usize,
        room: &'l mut Vec<&'static [f32]>,
    ) -> Result<Values<'l>, FeedError>
    where
        'a: 'l,
    {
        if self.batch == 0 || self.batch > limit {
            return Err(FeedError::Batch { batch: self.batch, limit });
        }
        let mut mistake = None;
        let found = Values::of(
            inputs.iter().map(|input| {
                self.find(input).unwrap_or_else(|error| {
                    mistake.get_or_insert(error);
                    &[]
                })
            }),
            room,
        );
        mistake.map_or(Ok(found), Err)
    }

    fn find(&self, input: &Input) -> Result<&'a [f32], FeedError> {
        let name = || input.name.clone();
        let found = self.values.iter().find(|(name, _)| *name == input.name);
        let &(_, values) = found.ok_or_else(|| FeedError::Missing { name: name() })?;
        let expected = input.shape.elements(self.batch);
        if values.len() != expected {
            return Err(FeedError::Length { name: name(), expected, found: values.len() });
        }
        // One pass over the numbers, at the speed of memory: nothing beside a step, and a NaN that is fed would show far from here.
        let wrong = match input.classes {
            Some(classes) => kernel::find_non_class(values, classes),
            None => kernel::find_non_finite(values),
        };
        let Some(index) = wrong else { return Ok(values) };
        let (name, value) = (name(), values[index]);
        let (example, place) = (index / input.shape.len(), index % input.shape.len());
        Err(match input.classes {
            Some(classes) => FeedError::Class { name, example, place, value, last: classes - 1 },
            None => FeedError::NotFinite { name, example, place, value },
        })
    }
}

/// An input that a program reads.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) classes: Option<usize>,
}
