//! What a network is for: its inputs, its answer and what is measured of it.

use std::fmt;

use nas_core::Objective;
use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Var};

/// What a network is for: the shape of its inputs and of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// One of `classes` classes for an image.
    Image {
        /// 1 for grey, 3 for colour.
        channels: usize,
        /// Pixels.
        height: usize,
        /// Pixels.
        width: usize,
        /// The number of classes.
        classes: usize,
    },
    /// The next character after each of `steps` characters.
    Text {
        /// The number of different characters.
        vocabulary: usize,
        /// Characters that an example has.
        steps: usize,
    },
    /// The class of a time series.
    Series {
        /// Numbers at every step.
        channels: usize,
        /// Steps.
        steps: usize,
        /// Classes.
        classes: usize,
    },
    /// A column of a table from its other columns.
    Table {
        /// Numbers of a row, with those that say whether a number is missing.
        numbers: usize,
        /// How many categories each column of categories has.
        categories: Vec<usize>,
        /// What is answered.
        answer: Answer,
    },
}

/// What is answered of a row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One of so many classes.
    Class {
        /// The number of classes.
        classes: usize,
    },
    /// A number.
    Number,
}

impl Answer {
    /// The numbers that a network answers: a logit of each class, or one.
    pub(crate) fn units(self) -> usize {
        match self {
            Answer::Class { classes } => classes,
            Answer::Number => 1,
        }
    }
}

/// One input of a network, or its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name of the graph's input.
    pub name: &'static str,
    /// The shape of an example.
    pub dims: Vec<usize>,
    /// How many classes its values are, if they are classes.
    pub classes: Option<usize>,
}

impl Field {
    fn numbers(name: &'static str, dims: &[usize]) -> Self {
        Field { name, dims: dims.to_vec(), classes: None }
    }

    fn classes(name: &'static str, classes: usize, dims: &[usize]) -> Self {
        Field { name, dims: dims.to_vec(), classes: Some(classes) }
    }

    /// Values of one example.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether an example has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The input of `graph` that is fed with it.
    pub fn input<'g>(&self, graph: &'g Graph) -> Var<'g> {
        match self.classes {
            Some(classes) => graph.classes(self.name, classes, &self.dims),
            None => graph.input(self.name, &self.dims),
        }
    }
}

impl Task {
    /// What a network sees, in the order in which it is built on them.
    pub fn inputs(&self) -> Vec<Field> {
        match *self {
            Task::Image { channels, height, width, .. } => vec![Field::numbers("image", &[channels, height, width])],
            Task::Text { vocabulary, steps } => vec![Field::classes("characters", vocabulary, &[steps])],
            Task::Series { channels, steps, .. } => vec![Field::numbers("series", &[channels, steps])],
            Task::Table { numbers, ref categories, .. } => {
                let (columns, all) = (categories.len(), categories.iter().sum());
                let fields = [Field::numbers("numbers", &[numbers]), Field::classes("categories", all, &[columns])];
                fields.into_iter().filter(|field| !field.is_empty()).collect()
            }
        }
    }

    /// What it shall answer.
    pub fn target(&self) -> Field {
        match *self {
            Task::Image { classes, .. } | Task::Series { classes, .. } => Field::classes("label", classes, &[]),
            Task::Text { vocabulary, steps } => Field::classes("next", vocabulary, &[steps]),
            Task::Table { answer: Answer::Class { classes }, .. } => Field::classes("label", classes, &[]),
            Task::Table { answer: Answer::Number, .. } => Field::numbers("value", &[1]),
        }
    }

    /// The loss of an `answer`: logits of the target's classes, or a number in standard deviations of the target from its mean.
    pub fn loss<'g>(&self, answer: Var<'g>, target: Var<'g>, label_smoothing: f32) -> Var<'g> {
        match self {
            Task::Image { .. }
            | Task::Text { .. }
            | Task::Series { .. }
            | Task::Table { answer: Answer::Class { .. }, .. } => answer.cross_entropy_smooth(target, label_smoothing),
            Task::Table { answer: Answer::Number, .. } => answer.mse(target),
        }
    }

    /// What a search is for: `accuracy` for images, series and classes of rows, `bits_per_character` for text, `rmse` for numbers.
    pub fn objective(&self) -> Objective {
        match self {
            Task::Image { .. } | Task::Series { .. } | Task::Table { answer: Answer::Class { .. }, .. } => {
                Objective::maximize("accuracy")
            }
            Task::Table { answer: Answer::Number, .. } => Objective::minimize("rmse"),
            Task::Text { .. } => Objective::minimize("bits_per_character"),
        }
    }

    /// What an example is called: `image`, `window`, `row`, `recording`.
    pub fn example(&self) -> &'static str {
        match self {
            Task::Image { .. } => "image",
            Task::Text { .. } => "window",
            Task::Table { .. } => "row",
            Task::Series { .. } => "recording",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::Image { channels, height, width, classes } => {
                write!(f, "images {channels}×{height}×{width} in {classes} classes")
            }
            Task::Series { channels, steps, classes } => {
                write!(f, "series of {channels} channels and {steps} steps in {classes} classes")
            }
            Task::Text { vocabulary, steps } => write!(f, "text of {vocabulary} characters in windows of {steps}"),
            Task::Table { numbers, categories, answer } => {
                write!(f, "rows of {numbers} numbers and {} categories, answered by ", categories.len())?;
                match answer {
                    Answer::Class { classes } => write!(f, "one of {classes} classes"),
                    Answer::Number => f.write_str("a number"),
                }
            }
        }
    }
}
