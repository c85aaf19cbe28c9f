//! What families of sequences share: how they read a text or a series, what they answer, recipes.
//!
//! Of a text every character is answered by the scores of the next one; of a series all steps together by the scores of its class.

use nas_core::Architecture;
use nas_core::space::SpaceBuilder;

use super::{FamilyError, Task, one_of};
use crate::graph::Var;
use crate::init::Init;
use crate::optim::Algorithm;
use crate::train::Recipe;

/// What families of sequences are shown for when there is no data.
pub(super) const USUAL: Task = Task::Text { vocabulary: 65, steps: 64 };

/// The options of the decision `output` of a text: a matrix of its own, or the embedding's.
const OUTPUTS: [&str; 2] = ["own", "tied"];

/// The options of the decision `readout` of a series: the mean of all steps, the last one, or a mean with learned weights.
const READOUTS: [&str; 3] = ["mean", "last", "attention"];

/// What is read and what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sequence {
    /// Characters, each of which is followed by another.
    Text { vocabulary: usize },
    /// Numbers of several channels, with a class for all.
    Series { classes: usize },
}

/// A sequence as features.
pub(super) struct Reading<'g> {
    /// [steps, features].
    pub(super) features: Var<'g>,
    /// The rows of the characters, of a text.
    table: Option<Var<'g>>,
}

impl Sequence {
    /// The sequences of `task`, which are all that `family` is for.
    pub(super) fn of(family: &str, task: &Task) -> Result<Self, FamilyError> {
        match *task {
            Task::Text { vocabulary, .. } => Ok(Sequence::Text { vocabulary }),
            Task::Series { classes, .. } => Ok(Sequence::Series { classes }),
            _ => Err(FamilyError::Task(format!("{family} is for texts and series, and the data is {task}"))),
        }
    }

    /// Whether a step may not see what comes after it.
    pub(super) fn is_causal(self) -> bool {
        matches!(self, Sequence::Text { .. })
    }

    /// `space` with the decision how wide the rows of characters are, from 16 to `most`.
    pub(super) fn decide_embedding(self, space: SpaceBuilder, most: i64) -> SpaceBuilder {
        if self.is_causal() { space.integer("embedding", 16..=most).step(16) } else { space }
    }

    /// `space` with the decision how the answer is made.
    pub(super) fn decide_answer(self, space: SpaceBuilder) -> SpaceBuilder {
        if self.is_causal() { space.choice("output", OUTPUTS) } else { space.choice("readout", READOUTS) }
    }

    /// Characters as rows of `embedding` numbers drawn by `init`; a series as its numbers at every step.
    pub(super) fn read<'g>(self, input: Var<'g>, embedding: usize, init: Init) -> Reading<'g> {
        match self {
            Sequence::Text { vocabulary } => {
                let table = input.embedding_table(vocabulary, embedding, init);
                Reading { features: input.embedding_in(table), table: Some(table) }
            }
            Sequence::Series { .. } => Reading { features: input.permute(&[1, 0]), table: None },
        }
    }
}

/// How the answer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// By a matrix of its own.
    Own,
    /// By products with the rows of the embedding (weight tying; Press & Wolf, 2017). Features that are not as wide as these rows are
    /// mapped to them.
    Tied,
    /// By the class of the mean step, of that many classes.
    Mean(usize),
    /// By the class of the last step.
    Last(usize),
    /// By the class of a mean whose weights are learned (attention over time; Bahdanau et al., 2015).
    Attention(usize),
}

impl Answer {
    /// What `architecture` decides.
    pub(super) fn of(family: &str, architecture: &Architecture, sequence: Sequence) -> Result<Self, FamilyError> {
        Ok(match sequence {
            Sequence::Text { .. } => match one_of(family, architecture, "output", &OUTPUTS)? {
                "tied" => Answer::Tied,
                _ => Answer::Own,
            },
            Sequence::Series { classes } => match one_of(family, architecture, "readout", &READOUTS)? {
                "mean" => Answer::Mean(classes),
                "last" => Answer::Last(classes),
                _ => Answer::Attention(classes),
            },
        })
    }

    /// The scores for the features x [steps, width] that a network made of `reading`.
    pub(super) fn scores<'g>(self, x: Var<'g>, reading: &Reading<'g>) -> Var<'g> {
        let steps = x.dim(0);
        match (self, reading.table) {
            (Answer::Tied, Some(table)) if x.last() == table.dim(1) => x.linear_tied(table),
            (Answer::Tied, Some(table)) => x.linear(table.dim(1)).linear_tied(table),
            (_, Some(table)) => x.linear(table.dim(0)),
            (Answer::Last(classes), None) => x.slice(0, steps - 1, steps).flatten().linear(classes),
            (Answer::Attention(classes), None) => {
                let weights = x
                    .scope("attention", |x| x.linear_with(1, Init::fan_in(x.last()), false))
                    .reshape(&[1, steps])
                    .softmax();
                weights.batched_matmul(x).flatten().linear(classes)
            }
            (Answer::Mean(classes), None) => x.mean_axis(0).flatten().linear(classes),
            (answer, None) => x.mistake("scores", format!("{answer:?} needs the rows of characters")),
        }
    }
}

/// Four epochs of the [final recipe](final_recipe).
pub(super) fn search_recipe(learning_rate: f32) -> Recipe {
    Recipe { epochs: 4, ..final_recipe(learning_rate) }
}

/// AdamW in small batches: short texts have few windows. Searched (`learning_rate`, `batch`, `weight_decay`, `max_grad_norm`) on the validation
/// part of the embedded text, for the default network of each family.
pub(super) fn final_recipe(learning_rate: f32) -> Recipe {
    Recipe {
        epochs: 20,
        batch: 8,
        optimizer: Algorithm::AdamW,
        learning_rate,
        weight_decay: 0.1,
        warmup: 0.1,
        max_grad_norm: 1.0,
        ..Recipe::default()
    }
}
