//! Model families: a search space, a builder from architecture to graph, a hand-made default and a recipe each.

mod cnn_cell;
mod cnn_macro;
mod image;
mod mbconv;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use nas_core::{Architecture, ArchitectureError, SearchSpace, SpaceError};
use serde::{Deserialize, Serialize};

use crate::error::GraphError;
use crate::graph::{Cost, Graph, Part, Var};
use crate::train::Recipe;

pub use cnn_cell::CnnCell;
pub use cnn_macro::CnnMacro;
pub use mbconv::MbConv;

/// What a network is for: the shape of its input and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Task::Image { channels, height, width, classes } = self;
        write!(f, "images {channels}×{height}×{width} in {classes} classes")
    }
}

/// A network that cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FamilyError {
    /// The architecture lacks a decision of the family, or holds something else there.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// The family's space cannot be made for this task.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The layers do not fit the data.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The task is not one of this family's.
    #[error("{0}")]
    Task(String),
    /// There is no such family.
    #[error("there is no space \"{name}\"; spaces: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Names there are.
        known: String,
    },
}

/// A family of networks.
pub trait Family: Send + Sync {
    /// The name of the family and of its space.
    fn name(&self) -> &'static str;

    /// One sentence on what is searched.
    fn describe(&self) -> &'static str;

    /// What can be chosen for `task`.
    ///
    /// # Errors
    /// When the family does not serve that task.
    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError>;

    /// The network that an engineer would take without a search: the control of every study.
    fn default_architecture(&self) -> Architecture;

    /// The answer (class logits) of the network that `architecture` describes, for `input`.
    ///
    /// # Errors
    /// When a decision is missing. Shapes that do not fit are remembered by the graph.
    fn build<'g>(&self, architecture: &Architecture, task: &Task, input: Var<'g>) -> Result<Var<'g>, FamilyError>;

    /// How a network is trained in a search: short.
    fn search_recipe(&self) -> Recipe;

    /// How a chosen network is trained in the end: to the full.
    fn final_recipe(&self) -> Recipe;
}

/// All families by name.
pub fn families() -> Vec<Arc<dyn Family>> {
    vec![Arc::new(CnnCell), Arc::new(CnnMacro), Arc::new(MbConv)]
}

/// The family called `name`.
///
/// # Errors
/// When there is none; the error lists them.
pub fn family(name: &str) -> Result<Arc<dyn Family>, FamilyError> {
    let all = families();
    let known = all.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ");
    all.into_iter().find(|f| f.name() == name).ok_or_else(|| FamilyError::Unknown { name: name.to_owned(), known })
}

/// A classifier as a graph: the input `image`, the input `label`, its logits, its probabilities and its training loss.
pub(crate) struct Classifier<'g> {
    pub(crate) logits: Var<'g>,
    pub(crate) loss: Var<'g>,
}

/// The classifier that `architecture` describes, in `graph`.
pub(crate) fn classifier<'g>(
    graph: &'g Graph,
    family: &dyn Family,
    architecture: &Architecture,
    task: &Task,
    label_smoothing: f32,
) -> Result<Classifier<'g>, FamilyError> {
    let Task::Image { channels, height, width, classes } = *task;
    let image = graph.input("image", &[channels, height, width]);
    let label = graph.class("label", classes);
    let logits = family.build(architecture, task, image)?;
    let loss = logits.cross_entropy_smooth(label, label_smoothing);
    graph.check()?;
    Ok(Classifier { logits, loss })
}

/// The parts of the network that `architecture` describes, in order, and what it costs as a whole.
///
/// # Errors
/// When it cannot be built.
pub fn outline(
    family: &dyn Family,
    architecture: &Architecture,
    task: &Task,
) -> Result<(Vec<Part>, Cost), FamilyError> {
    let Task::Image { channels, height, width, .. } = *task;
    let graph = Graph::new();
    family.build(architecture, task, graph.input("image", &[channels, height, width]))?;
    graph.check()?;
    Ok((graph.parts(), graph.cost()))
}
