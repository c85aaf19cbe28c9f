//! What can be wrong with data.

use std::path::PathBuf;

/// Data that cannot be used: the file, the numbers and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file that cannot be read.
    #[error("reading {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A time series that cannot be read.
    #[error("{path}, line {line}: {message}")]
    Series {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        message: String,
    },
    /// A folder without one of the four files.
    #[error(
        "{folder} has no {name} (or {name}.gz); it needs train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"
    )]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// The file's name.
        name: String,
    },
    /// An empty file.
    #[error("{path} is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file that does not begin as IDX files do.
    #[error(
        "{path} is no IDX file: it begins with the bytes {found:02x?}, not with 00 00, a type and a number of axes"
    )]
    Magic {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// An IDX file of something else than bytes.
    #[error("{path} holds numbers of IDX type {kind:#04x}; only unsigned bytes (0x08) can be read")]
    Type {
        /// The file.
        path: PathBuf,
        /// The type code.
        kind: u8,
    },
    /// Another number of axes than needed.
    #[error("{path} has {found} axes; {expected}")]
    Axes {
        /// The file.
        path: PathBuf,
        /// Axes found.
        found: usize,
        /// What is needed, in words.
        expected: &'static str,
    },
    /// A size of zero, or sizes that no memory holds.
    #[error("{path} claims the sizes {dims:?}; each must be 1 or more and all together at most {limit} bytes")]
    Sizes {
        /// The file.
        path: PathBuf,
        /// Sizes found.
        dims: Vec<u64>,
        /// The most bytes that are read.
        limit: u64,
    },
    /// A file that ends in its header.
    #[error("{path} is truncated: it ends after {found} bytes, within its header")]
    TruncatedHeader {
        /// The file.
        path: PathBuf,
        /// Bytes there.
        found: usize,
    },
    /// A file that ends early.
    #[error("{path} is truncated: its header promises {expected} bytes of data, it has {found}")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes promised.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A file that goes on after its data.
    #[error("{path} goes on after the {expected} bytes of data that its header promises")]
    Trailing {
        /// The file.
        path: PathBuf,
        /// Bytes promised.
        expected: u64,
    },
    /// A gzip file that cannot be unpacked.
    #[error("{path} is damaged: {source}")]
    Gzip {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not one label an image.
    #[error("{labels_path} has {labels} labels for the {images} images of {images_path}")]
    LabelCount {
        /// The file of the labels.
        labels_path: PathBuf,
        /// Labels in it.
        labels: usize,
        /// The file of the images.
        images_path: PathBuf,
        /// Images in it.
        images: usize,
    },
    /// A label that no training image has.
    #[error("{path}: label {index} is {label}, but the training labels are 0 to {last}")]
    LabelRange {
        /// The file.
        path: PathBuf,
        /// Its place, from 0.
        index: usize,
        /// The label.
        label: usize,
        /// The largest label of the training part.
        last: usize,
    },
    /// Test images of another size than the training images.
    #[error("{path} has images of {found}; the training images are {expected}")]
    ImageSize {
        /// The file.
        path: PathBuf,
        /// Sizes found.
        found: String,
        /// Sizes needed.
        expected: String,
    },
    /// Nothing to tell apart.
    #[error("{path}: all labels are {label}; a classifier needs two classes or more")]
    OneClass {
        /// The file.
        path: PathBuf,
        /// The label.
        label: usize,
    },
    /// A text that is too short to be divided.
    #[error("{path} has {found} characters; a text needs {need} or more")]
    ShortText {
        /// The file.
        path: PathBuf,
        /// Its characters.
        found: usize,
        /// Characters needed.
        need: usize,
    },
    /// A file that is no text.
    #[error("{path} is no UTF-8 text: byte {at} is not")]
    NoText {
        /// The file.
        path: PathBuf,
        /// The first byte that is none, from 0.
        at: usize,
    },
    /// A table that cannot be used as a whole.
    #[error("{path}: {message}")]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A row of a table with more or fewer values than the header.
    #[error("{path}, line {line}: it has {found} values and the header {expected}")]
    RowLength {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Values there.
        found: usize,
        /// Values needed.
        expected: usize,
    },
    /// A value of a table that cannot be used.
    #[error("{path}, line {line}, column \"{column}\": {message}")]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// Why.
        message: String,
    },
    /// A training part that cannot be split.
    #[error("the training part is a single window of text; trials need another one to be scored on")]
    OneWindow,
    /// A class with too few examples to be split.
    #[error("class {class} has {count} training examples; {need} are needed so that every part has one")]
    ClassTooSmall {
        /// The class.
        class: usize,
        /// Its examples.
        count: usize,
        /// Examples needed.
        need: usize,
    },
}
