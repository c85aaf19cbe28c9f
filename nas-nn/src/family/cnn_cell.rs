//! Convolutional cells: the NAS-Bench-201 cell in a macro skeleton whose stem, width and depth are searched too.
//!
//! The cell (Dong & Yang, 2020) has four nodes; node 0 is its input, node *j* the sum over *i < j* of an operation on node
//! *i*, node 3 its output. Six edges, five operations: `none`, `skip`, `conv1x1`, `conv3x3`, `avg_pool3x3`, where a
//! convolution is ReLU, convolution, batch normalisation.
//!
//! The skeleton: stem, cells, reduction, cells, reduction, cells, then norm, ReLU, mean, linear. A reduction is a residual
//! block that halves the image and doubles the channels. The stems of the default space halve the image as well.

use nas_core::{Architecture, SearchSpace, Value};

use super::{Family, FamilyError, Task, image_task, skeleton};
use crate::graph::Var;
use crate::layer::relu_conv_bn;
use crate::train::Recipe;

/// The family `cnn_cell`.
#[derive(Debug, Clone, Copy)]
pub struct CnnCell;

/// The edges of the cell, (from, to), in the order they are decided.
pub(crate) const EDGES: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];

const OPERATIONS: [&str; 5] = ["none", "skip", "conv1x1", "conv3x3", "avg_pool3x3"];
fn edge(from: usize, to: usize) -> String {
    format!("op_{from}_{to}")
}

impl Family for CnnCell {
    fn name(&self) -> &'static str {
        "cnn_cell"
    }

    fn describe(&self) -> &'static str {
        "convolutional networks of one searched cell (NAS-Bench-201), with searched stem, width and depth"
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let [_, height, width, _] = image_task(self.name(), task)?;
        skeleton::check_size(self.name(), height, width)?;
        let edges = EDGES.map(|(from, to)| (from as u32, to as u32, format!("cell.{}", edge(from, to))));
        let space = SearchSpace::builder(self.name())
            .choice("stem", skeleton::STEMS)
            .integer("width", 8..=20)
            .step(4)
            .integer("depth", 1..=2)
            .group("cell", |cell| EDGES.iter().fold(cell, |cell, &(from, to)| cell.choice(&edge(from, to), OPERATIONS)))
            .require_path(edges, "none")
            .build()?;
        Ok(space)
    }

    /// A residual network: two 3×3 convolutions bridged by a skip, at half resolution.
    fn default_architecture(&self) -> Architecture {
        let cell = ["conv3x3", "none", "conv3x3", "skip", "none", "skip"];
        let architecture = Architecture::new()
            .with("stem", Value::Choice("conv3x3_s2".to_owned()))
            .with("width", Value::Integer(16))
            .with("depth", Value::Integer(1));
        EDGES.iter().zip(cell).fold(architecture, |architecture, (&(from, to), operation)| {
            architecture.with(&format!("cell.{}", edge(from, to)), Value::Choice(operation.to_owned()))
        })
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let [_, _, _, classes] = image_task(self.name(), task)?;
        let width = architecture.size("width")?;
        let depth = architecture.size("depth")?;
        skeleton::check_depth(self.name(), depth)?;
        let cell = Cell::of(architecture)?;
        let mut x = skeleton::stem(architecture.choice("stem")?, width, inputs[0])?;
        for stage in 0..3 {
            if stage > 0 {
                x = x.scope(&format!("reduction{stage}"), |x| reduction(x, width << stage));
            }
            for block in 0..depth {
                x = x.scope(&format!("stage{stage}.cell{block}"), |x| cell.build(x));
            }
        }
        Ok(x.scope("head", |x| x.batch_norm().relu().global_avg_pool().linear(classes)))
    }

    fn search_recipe(&self) -> Recipe {
        skeleton::search_recipe()
    }

    fn final_recipe(&self) -> Recipe {
        skeleton::final_recipe()
    }
}

/// The operations of a cell's edges, without the edges that lie on no path from its input to its output.
struct Cell<'a>([Option<&'a str>; 6]);

impl<'a> Cell<'a> {
    fn of(architecture: &'a Architecture) -> Result<Self, FamilyError> {
        let mut operations = [None; 6];
        for (operation, (from, to)) in operations.iter_mut().zip(EDGES) {
            let path = format!("cell.{}", edge(from, to));
            let chosen = architecture.choice(&path)?;
            if !OPERATIONS.contains(&chosen) {
                let message = format!("\"{path}\" is \"{chosen}\"; operations: {}", OPERATIONS.join(", "));
                return Err(FamilyError::Task(message));
            }
            *operation = (chosen != "none").then_some(chosen);
        }
        let open = |from: usize, to: usize, operations: &[Option<&str>; 6]| {
            EDGES.iter().zip(operations).any(|(&e, op)| e == (from, to) && op.is_some())
        };
        let mut reached = [true, false, false, false];
        for to in 1..4 {
            reached[to] = (0..to).any(|from| reached[from] && open(from, to, &operations));
        }
        let mut useful = [false, false, false, true];
        for from in (0..3).rev() {
            useful[from] = (from + 1..4).any(|to| useful[to] && open(from, to, &operations));
        }
        if !reached[3] {
            return Err(FamilyError::Task("no path leads through the cell".to_owned()));
        }
        for (operation, (from, to)) in operations.iter_mut().zip(EDGES) {
            if !reached[from] || !useful[to] {
                *operation = None;
            }
        }
        Ok(Cell(operations))
    }

    fn build<'g>(&self, x: Var<'g>) -> Var<'g> {
        let mut nodes: [Option<Var<'g>>; 4] = [Some(x), None, None, None];
        // All convolutions that leave a node read the same rectified value.
        let mut rectified: [Option<Var<'g>>; 4] = [None; 4];
        for (&(from, to), operation) in EDGES.iter().zip(&self.0) {
            if let (Some(operation), Some(node)) = (operation, nodes[from]) {
                let mut relu = || *rectified[from].get_or_insert_with(|| node.relu());
                let y = match *operation {
                    "conv1x1" => relu().scope(&edge(from, to), |x| x.conv2d(x.dim(0), 1).batch_norm()),
                    "conv3x3" => relu().scope(&edge(from, to), |x| x.conv2d(x.dim(0), 3).batch_norm()),
                    "avg_pool3x3" => node.avg_pool2d(3, 1, 1),
                    _ => node,
                };
                nodes[to] = Some(nodes[to].map_or(y, |sum| sum + y));
            }
        }
        nodes[3].expect("a path leads through the cell")
    }
}

/// Two convolutions, the first with stride 2, around an average-pooled 1×1 shortcut.
fn reduction(x: Var<'_>, channels: usize) -> Var<'_> {
    let deep = relu_conv_bn(relu_conv_bn(x, channels, 3, 2), channels, 3, 1);
    // An odd side is halved upwards by the convolution; a window of 3 with a border does the same.
    let odd = x.dim(1) % 2 == 1 || x.dim(2) % 2 == 1;
    let pooled = if odd { x.avg_pool2d(3, 2, 1) } else { x.avg_pool2d(2, 2, 0) };
    deep + pooled.scope("shortcut", |x| x.conv2d(channels, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(operations: [&str; 6]) -> Result<Vec<Option<&str>>, FamilyError> {
        let mut architecture = CnnCell.default_architecture();
        for ((from, to), operation) in EDGES.into_iter().zip(operations) {
            architecture.set(&format!("cell.{}", edge(from, to)), operation.into());
        }
        let cell = Cell::of(&architecture)?;
        Ok(cell.0.iter().zip(operations).map(|(kept, operation)| kept.map(|_| operation)).collect())
    }

    #[test]
    fn edges_that_lead_nowhere_are_left_out() {
        // Node 1 is fed but leads nowhere; node 2 leads on but is not fed.
        let kept = cell(["conv3x3", "none", "none", "skip", "none", "conv1x1"]).unwrap();
        assert_eq!(kept, [None, None, None, Some("skip"), None, None]);
        let dead = cell(["conv3x3", "skip", "conv1x1", "none", "none", "none"]).unwrap_err();
        assert_eq!(dead.to_string(), "no path leads through the cell");
        let unknown = cell(["conv9x9", "skip", "conv1x1", "none", "none", "none"]).unwrap_err();
        assert!(unknown.to_string().contains("operations: none, skip, conv1x1"), "{unknown}");
    }
}
