//! Data inside the program, for a first search without files.

use std::path::{Path, PathBuf};

use super::csv::table_of;
use super::idx::Idx;
use super::open::{join, open_text};
use super::ts::series_of;
use super::{Columns, DataError, TrainTest, ratings, text_file};

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
    let text = text_file::decode(include_bytes!("../../data/shakespeare-mini/shakespeare.txt.gz"), path)?;
    open_text(&text, path, "the embedded text of Shakespeare".to_owned())
}

/// 8,000 rows of Adult (Becker & Kohavi, 1996; CC BY 4.0): who earned more than 50,000 dollars a year, by a census of 1994. They are
/// read by the reader of users' files.
///
/// # Errors
/// Never, unless the program itself is damaged.
pub fn adult_mini() -> Result<TrainTest, DataError> {
    let bytes = include_bytes!("../../data/adult-mini/adult.csv.gz");
    table_of(bytes, Path::new("adult.csv.gz"), &Columns::default(), "the embedded part of Adult".to_owned())
}

/// 20,000 generated ratings that 400 users give 300 items: users and items have biases, two tastes and a popularity, and every rating has
/// noise. Its RMSE stands in the source and is the best that a network can reach. The same on every machine; read by the reader of users'
/// files.
///
/// # Errors
/// Never, unless the program itself is damaged.
pub fn ratings() -> Result<TrainTest, DataError> {
    let (csv, noise) = ratings::generate();
    let source = format!("20,000 generated ratings, whose noise alone has an RMSE of {noise:.3}");
    table_of(csv.as_bytes(), Path::new("ratings.csv"), &Columns::default(), source)
}

/// Japanese Vowels (Kudo et al., 1999; CC BY 4.0): 640 utterances of nine speakers, 12 channels of 7 to 29 steps, stretched to 26. They
/// are read by the reader of users' files.
///
/// # Errors
/// Never, unless the program itself is damaged.
pub fn japanese_vowels() -> Result<TrainTest, DataError> {
    let train = include_bytes!("../../data/japanese-vowels/JapaneseVowels_TRAIN.ts.gz");
    let test = include_bytes!("../../data/japanese-vowels/JapaneseVowels_TEST.ts.gz");
    let [train_path, test_path] = ["JapaneseVowels_TRAIN.ts.gz", "JapaneseVowels_TEST.ts.gz"].map(Path::new);
    series_of((train, train_path), (test, test_path), "the embedded Japanese Vowels".to_owned())
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
    fn the_table_has_its_columns() {
        let data = adult_mini().unwrap();
        let (Dataset::Table(train), Dataset::Table(test)) = (&data.train, &data.test) else { panic!("no table") };
        assert_eq!((train.len(), test.len(), train.schema.columns.len()), (6400, 1600, 14));
        assert_eq!(train.schema.classes.as_deref(), Some(&["<=50K".to_owned(), ">50K".to_owned()][..]));
        let report = crate::data::describe(&data).to_string();
        assert!(report.contains("workclass       6 categories, 361 missing"), "{report}");
        assert!(report.contains("age             numbers 17 to 90, mean 38."), "{report}");
        assert!(report.contains("the commonest class as every answer: test accuracy 0.7"), "{report}");
    }

    #[test]
    fn the_series_have_their_speakers() {
        let data = japanese_vowels().unwrap();
        let report = crate::data::describe(&data);
        let (Dataset::Series(train), Dataset::Series(test)) = (data.train, data.test) else { panic!("no series") };
        assert_eq!((train.channels, train.steps), (12, 26));
        assert_eq!(train.class_counts(), [30; 9]);
        assert_eq!(test.class_counts(), [31, 35, 88, 44, 29, 24, 40, 50, 29]);
        assert!(report.problems().is_empty(), "{report}");
    }

    #[test]
    fn the_ratings_are_of_users_and_items() {
        let data = ratings().unwrap();
        let report = crate::data::describe(&data).to_string();
        assert!(report.contains("user_id  400 categories\nitem_id  300 categories\n"), "{report}");
        assert!(report.contains("RMSE of 0.587: "), "{report}");
        // A change of the generator changes every figure that was ever told of it.
        assert!(
            report.contains(
                "a number: mean 3.4898, standard deviation 0.9420\nthe mean as every answer: test RMSE 0.9370"
            ),
            "{report}"
        );
        let Dataset::Table(train) = data.train else { panic!("no table") };
        assert_eq!(train.len(), 16_000);
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
