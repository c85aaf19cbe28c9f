//! Temporal convolutional networks for series: a stack of blocks, then a mean over time (FCN and ResNet: Wang et al., 2017; dilation: Bai
//! et al., 2018).

use nas_core::{Architecture, SearchSpace, Value};

use super::skeleton::DEEPEST;
use super::{Family, FamilyError, Task, one_of};
use crate::graph::Var;
use crate::op::{Activation, Conv1d};
use crate::optim::Algorithm;
use crate::train::Recipe;

/// The family `cnn_series`.
#[derive(Debug, Clone, Copy)]
pub struct CnnSeries;

/// How blocks are joined: each on the last one, or each added to it.
const BRIDGES: [&str; 2] = ["none", "residual"];
/// How far apart the steps that a kernel sees are: neighbours, or twice as far in every further block.
const DILATIONS: [&str; 2] = ["none", "doubling"];
/// What becomes of the length behind a block: nothing, or half.
const POOLS: [&str; 2] = ["none", "halve"];
const NORMS: [&str; 2] = ["batch", "none"];

/// The longest kernel.
const LONGEST: usize = 1_024;

impl Family for CnnSeries {
    fn name(&self) -> &'static str {
        "cnn_series"
    }

    fn describe(&self) -> &'static str {
        "convolutions over time for series: depth, widths, kernels, bridges, dilation, pooling, norm, activation, dropout"
    }

    fn usual_task(&self) -> Task {
        Task::Series { channels: 12, steps: 26, classes: 9 }
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        series(self.name(), task)?;
        let space = SearchSpace::builder(self.name())
            .integer("depth", 2..=4)
            .integer("width", 16..=64)
            .step(16)
            .integer("kernel", 3..=9)
            .step(2)
            .choice("bridges", BRIDGES)
            .choice("dilation", DILATIONS)
            .choice("pool", POOLS)
            .choice("norm", NORMS)
            .choice("activation", ["relu", "gelu"])
            .float("dropout", 0.0..=0.3)
            .steps(4)
            .float("learning_rate", 1e-3..=9e-3)
            .log()
            .steps(3)
            .build()?;
        Ok(space)
    }

    /// Three blocks of 64 filters of 5 steps with batch normalisation and ReLU, after the fully convolutional network of Wang et al.
    fn default_architecture(&self) -> Architecture {
        Architecture::new()
            .with("depth", Value::Integer(3))
            .with("width", Value::Integer(64))
            .with("kernel", Value::Integer(5))
            .with("bridges", "none".into())
            .with("dilation", "none".into())
            .with("pool", "none".into())
            .with("norm", "batch".into())
            .with("activation", "relu".into())
            .with("dropout", Value::Float(0.0))
            .with("learning_rate", Value::Float(LEARNING_RATE))
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let classes = series(self.name(), task)?;
        let depth = architecture.size("depth")?;
        if !(1..=DEEPEST).contains(&depth) {
            return Err(FamilyError::Task(format!("depth is {depth}; cnn_series stacks 1 to {DEEPEST} blocks")));
        }
        let kernel = architecture.size("kernel")?;
        if kernel.is_multiple_of(2) || kernel > LONGEST {
            return Err(FamilyError::Task(format!("kernel is {kernel}; it must be odd and at most {LONGEST}")));
        }
        let width = architecture.size("width")?;
        let is = |path: &str, options: [&str; 2]| {
            one_of(self.name(), architecture, path, &options).map(|chosen| chosen == options[1])
        };
        let (bridged, dilated) = (is("bridges", BRIDGES)?, is("dilation", DILATIONS)?);
        let (halved, plain) = (is("pool", POOLS)?, is("norm", NORMS)?);
        let activation: Activation =
            architecture.choice("activation")?.parse().map_err(|e| FamilyError::Task(format!("activation: {e}")))?;
        let dropout = architecture.float("dropout")? as f32;

        let mut x = inputs[0];
        for number in 0..depth {
            x = x.scope(&format!("block{number}"), |x| {
                // A kernel that reaches beyond the whole series would see nothing but its border.
                let reach = 1_usize << if dilated { number.min(8) } else { 0 };
                let dilation = reach.min((x.dim(1).saturating_sub(1) / (kernel - 1).max(1)).max(1));
                let padding = dilation * (kernel - 1) / 2;
                let y = x.conv1d(Conv1d::new(width, kernel).dilation(dilation).padding([padding; 2]).bias(plain));
                let y = if plain { y } else { y.batch_norm() };
                let y = if bridged && number > 0 { x + y } else { y };
                let y = y.activation(activation).dropout(dropout);
                if halved && y.dim(1) > 1 { y.max_pool1d(2) } else { y }
            });
        }
        Ok(x.scope("head", |x| x.mean_axis(1).flatten().linear(classes)))
    }

    fn search_recipe(&self) -> Recipe {
        Recipe { epochs: 10, ..self.final_recipe() }
    }

    fn final_recipe(&self) -> Recipe {
        Recipe {
            epochs: 40,
            batch: 16,
            optimizer: Algorithm::AdamW,
            learning_rate: LEARNING_RATE as f32,
            weight_decay: 1e-2,
            warmup: 0.1,
            max_grad_norm: 1.0,
            ..Recipe::default()
        }
    }
}

const LEARNING_RATE: f64 = 3e-3;

/// The classes of a task with series, which is all that `family` is for.
fn series(family: &str, task: &Task) -> Result<usize, FamilyError> {
    match *task {
        Task::Series { classes, .. } => Ok(classes),
        _ => Err(FamilyError::Task(format!("{family} is for series, and the data is {task}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::outline;

    #[test]
    fn parameters_by_hand() {
        let task = CnnSeries.usual_task();
        let parameters = |architecture: &Architecture| outline(&CnnSeries, architecture, &task).unwrap().1.parameters;
        let default = CnnSeries.default_architecture();
        let head = 64 * 9 + 9;
        assert_eq!(parameters(&default), (12 + 64 + 64) * 64 * 5 + 3 * 2 * 64 + head);
        assert_eq!(parameters(&default.with("norm", "none".into())), (12 + 64 + 64) * 64 * 5 + 3 * 64 + head);
    }

    #[test]
    fn the_length_is_halved_behind_every_block() {
        let halving = CnnSeries.default_architecture().with("pool", "halve".into());
        let (parts, _) = outline(&CnnSeries, &halving, &CnnSeries.usual_task()).unwrap();
        let lengths: Vec<usize> = parts[..3].iter().map(|part| part.shape.dims()[1]).collect();
        assert_eq!(lengths, [13, 6, 3]);
    }

    #[test]
    fn what_cannot_be_built() {
        let says = |path: &str, value: Value| {
            let architecture = CnnSeries.default_architecture().with(path, value);
            outline(&CnnSeries, &architecture, &CnnSeries.usual_task()).unwrap_err().to_string()
        };
        assert_eq!(says("kernel", Value::Integer(4)), "kernel is 4; it must be odd and at most 1024");
        assert_eq!(says("depth", Value::Integer(0)), "depth is 0; cnn_series stacks 1 to 32 blocks");
        let expected = "cnn_series has no \"sum\" for \"bridges\"; options: none, residual";
        assert_eq!(says("bridges", "sum".into()), expected);
    }
}
