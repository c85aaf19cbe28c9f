//! A data set in numbers, and its problems.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::describe_series::{SeriesReport, describe_series};
use super::describe_table::{TableReport, describe_table};
use super::{Dataset, Images, Normalize, Text, TrainTest};

/// What a data set is, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    /// Of images.
    Images(ImageReport),
    /// Of a text.
    Text(TextReport),
    /// Of a table.
    Table(TableReport),
    /// Of time series.
    Series(SeriesReport),
}

impl Report {
    /// Adds what else may spoil a result.
    pub fn add_problem(&mut self, problem: String) {
        match self {
            Report::Images(report) => report.problems.push(problem),
            Report::Text(report) => report.problems.push(problem),
            Report::Table(report) => report.problems.push(problem),
            Report::Series(report) => report.problems.push(problem),
        }
    }

    /// What may spoil a result, in sentences.
    pub fn problems(&self) -> &[String] {
        match self {
            Report::Images(report) => &report.problems,
            Report::Text(report) => &report.problems,
            Report::Table(report) => &report.problems,
            Report::Series(report) => &report.problems,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Images(report) => report.fmt(f),
            Report::Text(report) => report.fmt(f),
            Report::Table(report) => report.fmt(f),
            Report::Series(report) => report.fmt(f),
        }?;
        if self.problems().is_empty() {
            return write!(f, "\nNo problems found.");
        }
        write!(f, "\nProblems:")?;
        self.problems().iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// A text in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextReport {
    /// Where it came from.
    pub source: String,
    /// Characters of the training part.
    pub train: usize,
    /// Characters of the test part.
    pub test: usize,
    /// Different characters of the training part.
    pub alphabet: usize,
    /// Characters of a window, of which an example is made.
    pub window: usize,
    /// The bits a character takes when only their frequencies are known.
    pub entropy: f64,
    /// What may spoil a result, in sentences.
    pub problems: Vec<String>,
}

/// Images in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageReport {
    /// Where it came from.
    pub source: String,
    /// Channels, height and width.
    pub size: String,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Training images of every class.
    pub train: Vec<usize>,
    /// Test images of every class.
    pub test: Vec<usize>,
    /// Mean and standard deviation of the training pixels (0 to 1), by channel.
    pub pixels: Vec<(f32, f32)>,
    /// What may spoil a result, in sentences.
    pub problems: Vec<String>,
}

/// Describes `data`.
pub fn describe(data: &TrainTest) -> Report {
    match (&data.train, &data.test) {
        (Dataset::Images(train), Dataset::Images(test)) => Report::Images(describe_images(&data.source, train, test)),
        (Dataset::Text(train), Dataset::Text(test)) => Report::Text(describe_text(&data.source, train, test)),
        (Dataset::Table(train), Dataset::Table(test)) => Report::Table(describe_table(&data.source, train, test)),
        (Dataset::Series(train), Dataset::Series(test)) => Report::Series(describe_series(&data.source, train, test)),
        _ => unreachable!("both parts of a data set are of one kind"),
    }
}

fn describe_text(source: &str, train: &Text, test: &Text) -> TextReport {
    let mut counts = vec![0_usize; train.alphabet.len()];
    train.characters.iter().for_each(|&character| counts[character as usize] += 1);
    let n = train.characters.len() as f64;
    let entropy = counts.iter().filter(|&&count| count > 0).map(|&count| count as f64 / n).map(|p| -p * p.log2()).sum();
    let mut problems = Vec::new();
    let unknown = test.characters.iter().filter(|&&character| character == 0).count();
    if unknown > 0 {
        problems.push(format!("{unknown} characters of the test part do not occur in the training part"));
    }
    if train.characters.len() < 50_000 {
        problems.push(format!("{n} characters to learn from are few: networks learn them by heart"));
    }
    TextReport {
        source: source.to_owned(),
        train: train.characters.len(),
        test: test.characters.len(),
        alphabet: train.alphabet.len() - 1,
        window: train.steps,
        entropy,
        problems,
    }
}

impl fmt::Display for TextReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: a text of {} characters to train on and {} to test on, {} of them different",
            self.source, self.train, self.test, self.alphabet
        )?;
        writeln!(f, "windows of {}; their frequencies alone are {:.3} bits a character", self.window, self.entropy)
    }
}

fn describe_images(source: &str, train: &Images, test: &Images) -> ImageReport {
    let normalize = Normalize::fit(train);
    let (in_train, in_test) = (train.class_counts(), test.class_counts());
    ImageReport {
        source: source.to_owned(),
        size: train.size(),
        classes: train.class_names.clone(),
        problems: problems(train, test, &in_train, &in_test),
        pixels: normalize.mean.into_iter().zip(normalize.std).collect(),
        train: in_train,
        test: in_test,
    }
}

fn problems(train_part: &Images, test_part: &Images, train: &[usize], test: &[usize]) -> Vec<String> {
    let mut problems = Vec::new();
    for (class, (&in_train, &in_test)) in train.iter().zip(test).enumerate() {
        if in_train == 0 {
            problems.push(format!("class {class} has no training image"));
        }
        if in_test == 0 {
            problems.push(format!("class {class} has no test image, so nothing is said of it"));
        }
    }
    let (most, least) = (train.iter().max().unwrap_or(&0), train.iter().filter(|&&n| n > 0).min().unwrap_or(&0));
    if *most > 10 * least {
        problems.push(format!(
            "the largest class has {most} training images, the smallest {least}: accuracy favours the large"
        ));
    }
    let seen = distinct(train_part);
    for (part, images, distinct) in
        [("training", train_part, seen.len()), ("test", test_part, distinct(test_part).len())]
    {
        let twice = images.len() - distinct;
        if twice > 0 {
            problems.push(format!("{twice} {part} images stand there more than once"));
        }
    }
    let leaked: Vec<usize> = (0..test_part.len()).filter(|&i| seen.contains(test_part.image(i))).collect();
    if let Some(first) = leaked.first() {
        let n = leaked.len();
        problems.push(format!(
            "{n} test images are training images too (the first is test image {first}): the score flatters"
        ));
    }
    let flat = flat(train_part) + flat(test_part);
    if flat > 0 {
        problems.push(format!("{flat} images are of one colour only"));
    }
    problems
}

fn distinct(images: &Images) -> HashSet<&[u8]> {
    (0..images.len()).map(|i| images.image(i)).collect()
}

fn flat(images: &Images) -> usize {
    (0..images.len()).filter(|&i| images.image(i).iter().all(|&x| x == images.image(i)[0])).count()
}

impl fmt::Display for ImageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (train, test): (usize, usize) = (self.train.iter().sum(), self.test.iter().sum());
        writeln!(f, "{}: {train} training and {test} test images of {}", self.source, self.size)?;
        for (c, (mean, std)) in self.pixels.iter().enumerate() {
            writeln!(f, "channel {c}: mean {mean:.4}, standard deviation {std:.4}, of 0 to 1")?;
        }
        let width = self.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
        writeln!(f, "\n{:>3}  {:<width$}  {:>8}  {:>6}", "", "class", "training", "test")?;
        for (i, name) in self.classes.iter().enumerate() {
            writeln!(f, "{i:>3}  {name:<width$}  {:>8}  {:>6}", self.train[i], self.test[i])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(pixels: &[u8], labels: &[u32]) -> Images {
        let class_names = vec!["a".to_owned(), "b".to_owned()];
        Images {
            channels: 1,
            height: 1,
            width: 2,
            classes: 2,
            class_names,
            pixels: pixels.to_vec(),
            labels: labels.to_vec(),
        }
    }

    #[test]
    fn leaks_and_gaps_are_named() {
        let train = images(&[1, 2, 3, 4, 1, 2, 5, 5], &[0, 1, 0, 1]);
        let test = images(&[9, 8, 3, 4], &[0, 0]);
        let report = describe(&TrainTest {
            train: Dataset::Images(train),
            test: Dataset::Images(test),
            hash: 0,
            source: "x".to_owned(),
        });
        assert_eq!(
            report.problems(),
            [
                "class 1 has no test image, so nothing is said of it",
                "1 training images stand there more than once",
                "1 test images are training images too (the first is test image 1): the score flatters",
                "1 images are of one colour only",
            ]
        );
        assert!(report.to_string().contains("4 training and 2 test images of 1×1×2"));
    }

    #[test]
    fn repeated_test_images_are_named() {
        let (train, test) = (images(&[1, 2, 3, 4], &[0, 1]), images(&[6, 7, 8, 9, 6, 7, 6, 7], &[0, 1, 0, 0]));
        let report = describe(&TrainTest {
            train: Dataset::Images(train),
            test: Dataset::Images(test),
            hash: 0,
            source: "x".to_owned(),
        });
        assert_eq!(report.problems(), ["2 test images stand there more than once"]);
    }

    #[test]
    fn the_embedded_images_are_sound() {
        let report = describe(&crate::data::demo::fashion_mnist_mini().unwrap());
        assert!(report.problems().is_empty(), "{report}");
    }
}
