//! Mobile networks: inverted residuals in stages, as MnasNet (Tan et al., 2019) searches them.
//!
//! A network is a stem (3×3, stride 2, as wide as the first stage), three stages of one to three blocks, and a head (mean,
//! linear). The second and third stage halve the image in their first block. Every stage decides its width and how many
//! blocks it has; every block decides its expansion, its kernel and whether it has squeeze and excitation (in MnasNet all blocks
//! of a stage are alike; here, as in ProxylessNAS, Cai et al., 2019, they need not be). One activation serves the network.

use nas_core::{Architecture, SearchSpace, Value};

use super::skeleton::{self, DEEPEST};
use super::{Family, FamilyError, Task, image_task};
use crate::graph::Var;
use crate::layer::{InvertedResidual, inverted_residual};
use crate::op::{Activation, Conv2d};
use crate::train::Recipe;

/// The family `mbconv`.
#[derive(Debug, Clone, Copy)]
pub struct MbConv;

/// Activations of the default space; every other of [`Activation::ALL`] can be written into a space file.
const ACTIVATIONS: [&str; 3] = ["relu", "hard_swish", "silu"];
/// Channels inside a block for each of its input.
const EXPANSIONS: [&str; 3] = ["1x", "3x", "6x"];
/// Reductions of squeeze and excitation.
const SQUEEZES: [&str; 2] = ["none", "1/4"];
/// Lowest and highest width of each stage, and the distance between widths.
const WIDTHS: [(i64, i64, i64); 3] = [(8, 24, 8), (16, 32, 8), (24, 56, 16)];

fn stage(number: usize) -> String {
    format!("stage{number}")
}

impl Family for MbConv {
    fn name(&self) -> &'static str {
        "mbconv"
    }

    fn describe(&self) -> &'static str {
        "mobile networks of inverted residuals: expansion, kernel, depth, width, squeeze-excite, activation (MnasNet)"
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let [_, height, width, _] = image_task(self.name(), task)?;
        skeleton::check_size(self.name(), height, width)?;
        let mut space = SearchSpace::builder(self.name()).choice("activation", ACTIVATIONS);
        for (number, (low, high, step)) in WIDTHS.into_iter().enumerate() {
            space = space.group(&stage(number), |stage| {
                stage.integer("width", low..=high).step(step).repeat("blocks", 1..=3, |block| {
                    let block = block.choice("expand", EXPANSIONS).integer("kernel", 3..=7).step(2);
                    block.choice("squeeze_excite", SQUEEZES)
                })
            });
        }
        Ok(space.build()?)
    }

    /// MobileNetV2 made small: two 3×3 blocks a stage of expansion 3, widths 16, 24 and 40.
    fn default_architecture(&self) -> Architecture {
        let mut architecture = Architecture::new().with("activation", "relu".into());
        for (number, width) in [16, 24, 40].into_iter().enumerate() {
            let stage = stage(number);
            architecture.set(&format!("{stage}.width"), Value::Integer(width));
            architecture.set(&format!("{stage}.blocks"), Value::Integer(2));
            for block in 0..2 {
                architecture.set(&format!("{stage}.blocks.{block}.expand"), "3x".into());
                architecture.set(&format!("{stage}.blocks.{block}.kernel"), Value::Integer(3));
                architecture.set(&format!("{stage}.blocks.{block}.squeeze_excite"), "none".into());
            }
        }
        architecture
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let [_, _, _, classes] = image_task(self.name(), task)?;
        let activation = activation(architecture.choice("activation")?)?;
        let width = architecture.size(&format!("{}.width", stage(0)))?;
        let mut x =
            inputs[0].scope("stem", |x| x.conv(Conv2d::new(width, 3).stride(2)).batch_norm().activation(activation));
        for number in 0..WIDTHS.len() {
            let stage = stage(number);
            let filters = architecture.size(&format!("{stage}.width"))?;
            let blocks = architecture.size(&format!("{stage}.blocks"))?;
            if !(1..=DEEPEST).contains(&blocks) {
                let message = format!("\"{stage}.blocks\" is {blocks}; mbconv stacks 1 to {DEEPEST} blocks in a stage");
                return Err(FamilyError::Task(message));
            }
            for block in 0..blocks {
                let halves = number > 0 && block == 0;
                let decided = InvertedResidual {
                    filters,
                    kernel: architecture.size(&format!("{stage}.blocks.{block}.kernel"))?,
                    stride: if halves { 2 } else { 1 },
                    expand: expansion(architecture, &format!("{stage}.blocks.{block}.expand"))?,
                    squeeze_excite: squeeze(architecture, &format!("{stage}.blocks.{block}.squeeze_excite"))?,
                    activation,
                };
                x = x.scope(&format!("{stage}.block{block}"), |x| inverted_residual(x, decided));
            }
        }
        Ok(x.scope("head", |x| x.global_avg_pool().linear(classes)))
    }

    fn search_recipe(&self) -> Recipe {
        skeleton::search_recipe()
    }

    fn final_recipe(&self) -> Recipe {
        skeleton::final_recipe()
    }
}

fn activation(name: &str) -> Result<Activation, FamilyError> {
    Activation::ALL.into_iter().find(|activation| activation.name() == name).ok_or_else(|| {
        let known = Activation::ALL.map(Activation::name).join(", ");
        FamilyError::Task(format!("there is no activation \"{name}\"; activations: {known}"))
    })
}

/// A number of times, such as `3x`.
fn expansion(architecture: &Architecture, path: &str) -> Result<usize, FamilyError> {
    let chosen = architecture.choice(path)?;
    let times = chosen.strip_suffix('x').and_then(|number| number.parse().ok());
    times.filter(|&times| times > 0).ok_or_else(|| {
        FamilyError::Task(format!("\"{path}\" is \"{chosen}\"; expansions are whole numbers such as 1x, 3x, 6x"))
    })
}

/// A share, such as `1/4`.
fn squeeze(architecture: &Architecture, path: &str) -> Result<Option<usize>, FamilyError> {
    let chosen = architecture.choice(path)?;
    if chosen == "none" {
        return Ok(None);
    }
    let reduction: Option<usize> = chosen.strip_prefix("1/").and_then(|number| number.parse().ok());
    reduction.filter(|&reduction| reduction > 0).map(Some).ok_or_else(|| {
        FamilyError::Task(format!("\"{path}\" is \"{chosen}\"; squeeze-excite is none or a share such as 1/4"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;

    const TASK: Task = Task::Image { channels: 3, height: 32, width: 32, classes: 10 };

    fn build(path: &str, value: impl Into<Value>) -> Result<Vec<usize>, String> {
        let architecture = MbConv.default_architecture().with(path, value.into());
        let graph = Graph::new();
        let logits = MbConv.build(&architecture, &TASK, &[graph.input("image", &[3, 32, 32])]);
        let logits = logits.map_err(|error| error.to_string())?;
        graph.check().map_err(|error| error.to_string())?;
        Ok(logits.shape().dims().to_vec())
    }

    /// 3 activations and for each stage 3 widths and 1 to 3 blocks of 18 kinds.
    #[test]
    fn blocks_that_are_not_there_decide_nothing() {
        let stage = 3 * (18 + 18_u64.pow(2) + 18_u64.pow(3));
        let space = MbConv.space(&TASK).unwrap();
        assert_eq!(space.cardinality().finite().unwrap().to_string(), (3 * u128::from(stage).pow(3)).to_string());
    }

    #[test]
    fn a_file_can_say_more_than_the_default_space() {
        for (path, value) in [("activation", "relu6"), ("stage0.blocks.0.expand", "4x")] {
            assert_eq!(build(path, value), Ok(vec![10]));
        }
        assert_eq!(build("stage2.blocks.1.squeeze_excite", "1/8"), Ok(vec![10]));
        assert_eq!(build("stage2.blocks.1.kernel", 9), Ok(vec![10]));
    }

    #[track_caller]
    fn check_mistake(path: &str, value: impl Into<Value>, says: &str) {
        let message = build(path, value).unwrap_err();
        assert!(message.contains(says), "{message}");
    }

    #[test]
    fn mistakes_name_the_decision() {
        check_mistake("activation", "swosh", "no activation \"swosh\"; activations: identity, zero, relu");
        for wrong in ["3", "x3", "0x", "-1x"] {
            check_mistake(
                "stage1.blocks.0.expand",
                Value::Choice(wrong.to_owned()),
                "whole numbers such as 1x, 3x, 6x",
            );
        }
        for wrong in ["1/0", "4", "some"] {
            let value = Value::Choice(wrong.to_owned());
            check_mistake("stage1.blocks.0.squeeze_excite", value, "is none or a share such as 1/4");
        }
        check_mistake("stage0.blocks.0.kernel", 4, "an odd kernel");
        check_mistake("stage0.blocks", 33, "\"stage0.blocks\" is 33; mbconv stacks 1 to 32 blocks in a stage");
        check_mistake("stage0.blocks", 3, "the architecture has no decision \"stage0.blocks.2.kernel\"");
    }
}
