//! What the families for images share: stems, the smallest image, recipes.

use super::{FamilyError, Task};
use crate::data::Augment;
use crate::graph::Var;
use crate::op::Conv2d;
use crate::train::Recipe;

/// Stems of the default spaces: each halves the image. `conv3x3`, which does not, can be written into a space file.
pub(super) const STEMS: [&str; 3] = ["conv3x3_s2", "conv5x5_s2", "conv3x3_pool"];

/// The most layers that a network, or cells or blocks that a stage of it, may have. A space file that allows more is refused
/// at once instead of planning networks of thousands of layers, each of which takes seconds.
pub(super) const DEEPEST: usize = 32;

/// Refuses images that are too small for `family`.
pub(super) fn check_size(family: &str, task: &Task) -> Result<(), FamilyError> {
    let Task::Image { height, width, .. } = *task;
    if height.min(width) < 8 {
        let message = format!("{family} halves images up to three times and needs 8×8 pixels, got {height}×{width}");
        return Err(FamilyError::Task(message));
    }
    Ok(())
}

/// The stem called `chosen`: a convolution with batch normalisation, and what else halves the image.
pub(super) fn stem<'g>(input: Var<'g>, chosen: &str, width: usize) -> Result<Var<'g>, FamilyError> {
    let conv = match chosen {
        "conv3x3" | "conv3x3_pool" => Conv2d::new(width, 3),
        "conv3x3_s2" => Conv2d::new(width, 3).stride(2),
        "conv5x5_s2" => Conv2d::new(width, 5).stride(2),
        other => {
            let message = format!("there is no stem \"{other}\"; stems: conv3x3, {}", STEMS.join(", "));
            return Err(FamilyError::Task(message));
        }
    };
    let x = input.scope("stem", |x| x.conv(conv).batch_norm());
    Ok(if chosen == "conv3x3_pool" { x.max_pool2d(2) } else { x })
}

/// Training in a search: three epochs of [`final_recipe`].
pub(super) fn search_recipe() -> Recipe {
    Recipe { epochs: 3, ..final_recipe() }
}

/// Training to the full.
pub(super) fn final_recipe() -> Recipe {
    Recipe {
        epochs: 30,
        batch: 32,
        learning_rate: 0.1,
        weight_decay: 5e-4,
        warmup: 0.1,
        label_smoothing: 0.1,
        augment: Augment { shift: 2, flip: true, cutout: 0 },
        ..Recipe::default()
    }
}
