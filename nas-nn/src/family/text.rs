//! What families of text share: the task they are shown for, the scores of the next character, recipes.

use nas_core::Architecture;

use super::{FamilyError, Task, one_of};
use crate::graph::Var;
use crate::optim::Algorithm;
use crate::train::Recipe;

/// What families of text are shown for when there is no data.
pub(super) const USUAL: Task = Task::Text { vocabulary: 65, steps: 64 };

/// The options of the decision `output`: a matrix of its own, or the embedding's.
pub(super) const OUTPUTS: [&str; 2] = ["own", "tied"];

/// The characters of a task with text, which is all that `family` is for.
pub(super) fn vocabulary(family: &str, task: &Task) -> Result<usize, FamilyError> {
    match *task {
        Task::Text { vocabulary, .. } => Ok(vocabulary),
        _ => Err(FamilyError::Task(format!("{family} is for text, and the data is {task}"))),
    }
}

/// Whether the scores are products with the rows of the embedding (weight tying; Press & Wolf, 2017).
pub(super) fn is_tied(family: &str, architecture: &Architecture) -> Result<bool, FamilyError> {
    Ok(one_of(family, architecture, "output", &OUTPUTS)? == "tied")
}

/// The scores of the next character. Features that are not as wide as the rows of the embedding `table` are mapped to them where it is
/// `tied`.
pub(super) fn scores<'g>(x: Var<'g>, table: Var<'g>, tied: bool) -> Var<'g> {
    let (vocabulary, embedding) = (table.dim(0), table.dim(1));
    match tied {
        true if x.last() == embedding => x.linear_tied(table),
        true => x.linear(embedding).linear_tied(table),
        false => x.linear(vocabulary),
    }
}

/// Three epochs of the [final recipe](final_recipe).
pub(super) fn search_recipe(learning_rate: f32) -> Recipe {
    Recipe { epochs: 3, ..final_recipe(learning_rate) }
}

/// AdamW in small batches: short texts have few windows.
pub(super) fn final_recipe(learning_rate: f32) -> Recipe {
    Recipe {
        epochs: 12,
        batch: 16,
        optimizer: Algorithm::AdamW,
        learning_rate,
        weight_decay: 1e-2,
        warmup: 0.1,
        max_grad_norm: 1.0,
        ..Recipe::default()
    }
}
