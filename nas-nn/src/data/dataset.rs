//! Examples of any kind, as training sees them.

use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};

use super::{
    Augment, DataError, Images, Normalize, Series, SeriesPreparation, Table, TablePreparation, Text, Values, shuffled,
    stratified,
};
use crate::Rng;
use crate::task::Task;

/// Examples of one task, in memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Dataset {
    /// Labelled images.
    Images(Images),
    /// Windows of a text.
    Text(Text),
    /// Rows of a table.
    Table(Table),
    /// Labelled time series.
    Series(Series),
}

/// What is done to examples before a network sees them; fitted on training data alone, and kept with the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Preparation {
    /// Pixels are normalised.
    Images(Normalize),
    /// Characters are numbered.
    Text {
        /// By number; the first stands for all others.
        alphabet: String,
    },
    /// Numbers are standardised and categories numbered.
    Table(TablePreparation),
    /// Values are standardised.
    Series(SeriesPreparation),
}

impl Dataset {
    /// What networks for it must do.
    pub fn task(&self) -> Task {
        match self {
            Dataset::Images(Images { channels, height, width, classes, .. }) => {
                Task::Image { channels: *channels, height: *height, width: *width, classes: *classes }
            }
            Dataset::Text(text) => Task::Text { vocabulary: text.alphabet.len(), steps: text.steps },
            Dataset::Table(table) => table.schema.task(),
            Dataset::Series(Series { channels, steps, class_names, .. }) => {
                Task::Series { channels: *channels, steps: *steps, classes: class_names.len() }
            }
        }
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        match self {
            Dataset::Images(images) => images.len(),
            Dataset::Text(text) => text.len(),
            Dataset::Table(table) => table.len(),
            Dataset::Series(series) => series.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the target's classes; none if it is a number.
    pub fn class_names(&self) -> Vec<String> {
        match self {
            Dataset::Images(images) => images.class_names.clone(),
            Dataset::Text(text) => text.alphabet.iter().map(char::to_string).collect(),
            Dataset::Table(table) => table.schema.classes.clone().unwrap_or_default(),
            Dataset::Series(series) => series.class_names.clone(),
        }
    }

    /// All numbers of examples in an order drawn from `rng`.
    pub fn shuffled(&self, rng: &mut Rng) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(rng);
        order
    }

    /// Two parts, the second with `share` of the examples: of every class of images, rows or series, drawn from `rng`; the end of
    /// a text.
    ///
    /// # Errors
    /// When a class that occurs has fewer than two examples, or a text a single window.
    pub fn split(&self, share: f64, rng: &mut Rng) -> Result<(Dataset, Dataset), DataError> {
        match self {
            Dataset::Images(images) => {
                let (first, second) = stratified(&images.labels, images.classes, share, rng)?;
                Ok((Dataset::Images(images.subset(&first)), Dataset::Images(images.subset(&second))))
            }
            Dataset::Text(text) => {
                if text.len() < 2 {
                    return Err(DataError::OneWindow);
                }
                let (first, second) = text.split(share);
                Ok((Dataset::Text(first), Dataset::Text(second)))
            }
            Dataset::Table(table) => {
                let (first, second) = match (&table.target, &table.schema.classes) {
                    (Values::Categories(labels), Some(names)) => stratified(labels, names.len(), share, rng)?,
                    _ => shuffled(table.len(), share, rng),
                };
                Ok((Dataset::Table(table.subset(&first)), Dataset::Table(table.subset(&second))))
            }
            Dataset::Series(series) => {
                series.split(share, rng).map(|(first, second)| (Dataset::Series(first), Dataset::Series(second)))
            }
        }
    }

    /// What is fitted on these examples.
    pub fn prepare(&self) -> Preparation {
        match self {
            Dataset::Images(images) => Preparation::Images(Normalize::fit(images)),
            Dataset::Text(text) => Preparation::Text { alphabet: text.alphabet.iter().collect() },
            Dataset::Table(table) => Preparation::Table(TablePreparation::fit(table)),
            Dataset::Series(series) => Preparation::Series(SeriesPreparation::fit(series)),
        }
    }

    /// Writes the examples with these numbers into `fields`, one for each of the task's inputs and then the target, and changes them as
    /// `augment` says.
    ///
    /// # Panics
    /// When the fields or the preparation are of another task, too short, or a number is too large.
    pub fn fill(
        &self,
        indices: &[usize],
        preparation: &Preparation,
        augment: Option<(&Augment, &mut Rng)>,
        fields: &mut [&mut [f32]],
    ) {
        match (self, preparation, fields) {
            (Dataset::Images(images), Preparation::Images(normalize), [pixels, labels]) => {
                images.fill(indices, normalize, pixels, labels);
                if let Some((augment, rng)) = augment {
                    augment.apply(pixels, images, normalize, rng);
                }
            }
            (Dataset::Text(text), Preparation::Text { .. }, [characters, next]) => text.fill(indices, characters, next),
            (Dataset::Table(table), Preparation::Table(preparation), fields) => {
                table.fill(indices, preparation, fields);
            }
            (Dataset::Series(series), Preparation::Series(preparation), [values, labels]) => {
                series.fill(indices, preparation, values, labels);
            }
            (_, preparation, fields) => panic!("{} fields, prepared by {preparation:?}", fields.len()),
        }
    }
}
