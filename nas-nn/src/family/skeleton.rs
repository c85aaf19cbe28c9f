//! What families for images share: stems, limits, halving and recipes of small images.

use super::FamilyError;
use crate::data::Augment;
use crate::graph::Var;
use crate::op::Conv2d;
use crate::train::Recipe;

/// Stems of the default spaces: each halves the image. `conv3x3`, which does not, can be written into a space file.
pub(super) const STEMS: [&str; 3] = ["conv3x3_s2", "conv5x5_s2", "conv3x3_pool"];

/// The most layers of a network, or cells or blocks of a stage of it. A space file that allows more is refused at once instead
/// of planning networks of thousands of layers, each of which takes seconds.
pub(super) const DEEPEST: usize = 32;

/// Refuses images too small for a stem and two stages more.
pub(super) fn check_size(family: &str, height: usize, width: usize) -> Result<(), FamilyError> {
    if height.min(width) < 8 {
        let message = format!("{family} halves images up to three times and needs 8×8 pixels, got {height}×{width}");
        return Err(FamilyError::Task(message));
    }
    Ok(())
}

/// Refuses more cells in a stage than anybody trains.
pub(super) fn check_depth(family: &str, depth: usize) -> Result<(), FamilyError> {
    if depth > DEEPEST {
        return Err(FamilyError::Task(format!("depth is {depth}; {family} stacks up to {DEEPEST} cells in a stage")));
    }
    Ok(())
}

/// The stem of that name: convolution, batch normalisation, perhaps a pooling.
pub(super) fn stem<'g>(name: &str, width: usize, input: Var<'g>) -> Result<Var<'g>, FamilyError> {
    let stem = match name {
        "conv3x3" | "conv3x3_pool" => Conv2d::new(width, 3),
        "conv3x3_s2" => Conv2d::new(width, 3).stride(2),
        "conv5x5_s2" => Conv2d::new(width, 5).stride(2),
        other => {
            let message = format!("there is no stem \"{other}\"; stems: conv3x3, {}", STEMS.join(", "));
            return Err(FamilyError::Task(message));
        }
    };
    let x = input.scope("stem", |x| x.conv(stem).batch_norm());
    Ok(if name == "conv3x3_pool" { x.max_pool2d(2) } else { x })
}

/// The maximum of 2×2 windows; an odd side is halved upwards, as the convolutions of the stems do it.
pub(super) fn halved(x: Var<'_>) -> Var<'_> {
    let odd = x.dim(1) % 2 == 1 || x.dim(2) % 2 == 1;
    if odd { x.max_pool2d_with(3, 2, 1) } else { x.max_pool2d(2) }
}

/// Three epochs of the [final recipe](final_recipe).
pub(super) fn search_recipe() -> Recipe {
    Recipe { epochs: 3, ..final_recipe() }
}

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
