//! Shapes of values.

use std::fmt;

use smallvec::SmallVec;

/// The most elements that a value has for an example, or once (4 GiB): no product that an op makes of two such numbers overflows.
pub(crate) const LARGEST: usize = 1 << 30;

/// The shape of a value in a graph, without the batch.
///
/// A *batched* value has one of these for every example and a batch axis in front once a program runs it; a *fixed* value
/// (a parameter, a mean loss) exists once.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    batched: bool,
    dims: SmallVec<[usize; 4]>,
}

impl Shape {
    /// The shape of a value that every example has.
    pub fn batched(dims: &[usize]) -> Self {
        Shape { batched: true, dims: dims.into() }
    }

    /// The shape of a value that exists once.
    pub fn fixed(dims: &[usize]) -> Self {
        Shape { batched: false, dims: dims.into() }
    }

    /// The same kind of value with other sizes.
    #[must_use]
    pub fn with(&self, dims: &[usize]) -> Self {
        Shape { batched: self.batched, dims: dims.into() }
    }

    /// Whether every example has one.
    pub fn is_batched(&self) -> bool {
        self.batched
    }

    /// The sizes, without the batch.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The number of axes, without the batch.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The number of elements, of one example if batched; `usize::MAX` when there are more.
    pub fn len(&self) -> usize {
        self.dims.iter().fold(1, |n, &size| n.saturating_mul(size))
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of elements in a batch of `batch` examples; `usize::MAX` when there are more.
    pub fn elements(&self, batch: usize) -> usize {
        self.copies(batch).saturating_mul(self.len())
    }

    /// How many times the value exists in a batch of `batch` examples: `batch` or 1.
    pub fn copies(&self, batch: usize) -> usize {
        if self.batched { batch } else { 1 }
    }

    /// The sizes of an image value: channels, height, width.
    ///
    /// # Errors
    /// When there are not three axes.
    pub fn image(&self) -> Result<[usize; 3], String> {
        match *self.dims.as_slice() {
            [channels, height, width] => Ok([channels, height, width]),
            _ => Err(format!("needs an image [channels, height, width], got {self}")),
        }
    }

    /// Whether it has at most 8 axes and [`LARGEST`] elements, whichever axes are counted.
    pub(crate) fn is_sane(&self) -> bool {
        let product = self.dims.iter().fold(1_usize, |n, &size| n.saturating_mul(size.max(1)));
        self.dims.len() <= 8 && product <= LARGEST
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        let batch = self.batched.then(|| "N".to_owned());
        let sizes: Vec<String> = batch.into_iter().chain(self.dims.iter().map(usize::to_string)).collect();
        write!(f, "{}]", sizes.join(", "))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
