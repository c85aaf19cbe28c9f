//! Data inside the program, for a first search without files.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::idx::Idx;
use super::open::{join, open_text};
use super::{DataError, TrainTest};

macro_rules! embedded {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../data/fashion-mnist-mini/", $name, ".gz")))
    };
}

/// 300 training and 100 test images of each of the ten classes of Fashion-MNIST (Xiao et al., 2017; MIT licence): 28×28,
/// grey. They are read by the reader of users' files.
///
/// # Errors
/// Never, unless the program itself is damaged.
pub fn fashion_mnist_mini() -> Result<TrainTest, DataError> {
    let files: [(&str, &[u8]); 4] = [
        embedded!("train-images-idx3-ubyte"),
        embedded!("train-labels-idx1-ubyte"),
        embedded!("t10k-images-idx3-ubyte"),
        embedded!("t10k-labels-idx1-ubyte"),
    ];
    let mut arrays = Vec::new();
    for (name, bytes) in files {
        arrays.push(Idx::read(bytes, name.as_ref())?);
    }
    let arrays: [Idx; 4] = arrays.try_into().expect("four files were read");
    let classes =
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
    let source = "the embedded Fashion-MNIST subset".to_owned();
    join(arrays, &files.map(|(name, _)| PathBuf::from(name)), classes.map(str::to_owned).to_vec(), source)
}

/// The first 200,000 characters of the plays of William Shakespeare, in the public domain.
///
/// # Errors
/// Never, unless the program itself is damaged.
pub fn shakespeare_mini() -> Result<TrainTest, DataError> {
    let path = Path::new("shakespeare.txt.gz");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&include_bytes!("../../data/shakespeare-mini/shakespeare.txt.gz")[..])
        .read_to_end(&mut bytes)
        .map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    open_text(bytes, path, "the embedded text of Shakespeare".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    #[test]
    fn the_text_has_its_parts() {
        let data = shakespeare_mini().unwrap();
        let (Dataset::Text(train), Dataset::Text(test)) = (data.train, data.test) else { panic!("no text") };
        assert!(train.characters.len() > 170_000 && test.characters.len() > 19_000 && train.alphabet.len() > 60);
        assert!(
            test.characters.iter().all(|&character| character > 0),
            "all its characters occur in the training part"
        );
    }

    #[test]
    fn every_class_has_its_images() {
        let data = fashion_mnist_mini().unwrap();
        let (Dataset::Images(train), Dataset::Images(test)) = (data.train, data.test) else { panic!("no images") };
        assert_eq!(train.class_counts(), [300; 10]);
        assert_eq!(test.class_counts(), [100; 10]);
        assert_eq!((train.size(), train.classes), ("1×28×28".to_owned(), 10));
        assert_eq!(test.class_names[9], "Ankle boot");
    }
}
