//! Model families: a search space, a builder from architecture to graph, a hand-made default and a recipe each.

mod blocks;
mod cnn_cell;
mod cnn_macro;
mod cnn_series;
mod mbconv;
mod mlp;
mod nasbench101;
mod recommender;
mod rnn;
mod rnn_cell;
mod sequence;
mod skeleton;
#[cfg(test)]
mod tests;
mod training;
mod transformer;

use std::sync::Arc;

use nas_core::space::{locate, place};
use nas_core::{Architecture, ArchitectureError, SearchSpace, SpaceError};

use crate::error::GraphError;
use crate::graph::{Cost, Graph, Part, Var};
use crate::task::Answer;
use crate::train::Recipe;

pub use crate::task::Task;

pub use blocks::Blocks;
pub use cnn_cell::CnnCell;
pub use cnn_macro::CnnMacro;
pub use cnn_series::CnnSeries;
pub use mbconv::MbConv;
pub use mlp::Mlp;
pub use nasbench101::NasBench101;
pub use recommender::Recommender;
pub use rnn::Rnn;
pub use rnn_cell::RnnCell;
pub use training::{TRAINING_DECISIONS, tuned};
pub use transformer::Transformer;

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
    /// A block of a network is none, or does not fit.
    #[error("{place}{message}")]
    Block {
        /// `line 3, column 5: `, if the text is at hand.
        place: String,
        /// Where it stands in the description: keys and the numbers of list items, from the outside in.
        at: Vec<String>,
        /// What is wrong with it.
        message: String,
    },
    /// There is no such family.
    #[error("there is no space \"{name}\"; spaces: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Names there are.
        known: String,
    },
}

impl FamilyError {
    /// The same error with line and column in `text`, the space file that it is about.
    #[must_use]
    pub fn located(self, text: &str) -> Self {
        match self {
            FamilyError::Block { at, message, .. } => FamilyError::Block { place: place(text, &at), at, message },
            FamilyError::Space(error) => FamilyError::Space(locate(text, error)),
            other => other,
        }
    }
}

/// A family of networks.
pub trait Family: Send + Sync {
    /// The name of the family and of its space.
    fn name(&self) -> &'static str;

    /// One sentence on what is searched.
    fn describe(&self) -> &'static str;

    /// The task it is shown for when there is no data: that of the embedded images, unless it is for something else.
    fn usual_task(&self) -> Task {
        Task::Image { channels: 1, height: 28, width: 28, classes: 10 }
    }

    /// The space that its networks are made from, for families that are made from one: stored with a network, so that it can be
    /// built again.
    fn description(&self) -> Option<&SearchSpace> {
        None
    }

    /// What can be chosen for `task`.
    ///
    /// # Errors
    /// When the family does not serve that task.
    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError>;

    /// The network that an engineer would take without a search: the control of every study. A space file may leave decisions out, which are
    /// then these; so may a saved network, whose version counts up when one of them changes.
    fn default_architecture(&self) -> Architecture;

    /// The answer (logits of the target's classes, or a number) of the network that `architecture` describes, for `inputs`, those of
    /// [`Task::inputs`].
    ///
    /// # Errors
    /// When a decision is missing. Shapes that do not fit are remembered by the graph.
    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError>;

    /// How a network is trained in a search: short.
    fn search_recipe(&self) -> Recipe;

    /// How a chosen network is trained in the end: to the full.
    fn final_recipe(&self) -> Recipe;
}

/// Two columns of so many categories are users and items, or the like.
const MANY: usize = 50;

/// The name of the space that is searched for `task` unless another is asked for. Of tables it is `recommender` where two columns or more have
/// 50 categories or more, as users and items do, and a number or one of two classes is answered.
pub fn usual(task: &Task) -> &'static str {
    match task {
        Task::Image { .. } => "cnn_cell",
        Task::Text { .. } => "rnn",
        Task::Series { .. } => "cnn_series",
        Task::Table { categories, answer: Answer::Number | Answer::Class { classes: 2 }, .. }
            if categories.iter().filter(|&&count| count >= MANY).count() >= 2 =>
        {
            "recommender"
        }
        Task::Table { .. } => "mlp",
    }
}

/// All families by name, but for [`Blocks`], which is made from what a space describes.
pub fn families() -> Vec<Arc<dyn Family>> {
    vec![
        Arc::new(CnnCell),
        Arc::new(CnnMacro),
        Arc::new(CnnSeries),
        Arc::new(MbConv),
        Arc::new(Mlp),
        Arc::new(NasBench101),
        Arc::new(Recommender),
        Arc::new(Rnn),
        Arc::new(RnnCell),
        Arc::new(Transformer),
    ]
}

/// The family of `space`: the network that it describes or, failing that, the family of its name.
///
/// # Errors
/// When there is none, or the description is no network.
pub fn of(space: &SearchSpace) -> Result<Arc<dyn Family>, FamilyError> {
    if space.network().is_some() {
        return Ok(Arc::new(Blocks::new(space.clone())?));
    }
    family(space.name())
}

/// The family called `name`; `blocks` is an [example](Blocks::example) of one that a space describes.
///
/// # Errors
/// When there is none; the error lists them.
pub fn family(name: &str) -> Result<Arc<dyn Family>, FamilyError> {
    let mut all = families();
    all.push(Arc::new(Blocks::example()));
    let known = all.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ");
    all.into_iter().find(|f| f.name() == name).ok_or_else(|| FamilyError::Unknown { name: name.to_owned(), known })
}

/// Channels, height, width and classes of a task with images, which is all that `family` is for.
fn image_task(family: &str, task: &Task) -> Result<[usize; 4], FamilyError> {
    match *task {
        Task::Image { channels, height, width, classes } => Ok([channels, height, width, classes]),
        _ => Err(FamilyError::Task(format!("{family} is for images, and the data is {task}"))),
    }
}

/// The option chosen at `path`, one of `options`: a space file may have others.
fn one_of<'a>(
    family: &str,
    architecture: &'a Architecture,
    path: &str,
    options: &[&str],
) -> Result<&'a str, FamilyError> {
    let chosen = architecture.choice(path)?;
    if options.contains(&chosen) {
        return Ok(chosen);
    }
    let options = options.join(", ");
    Err(FamilyError::Task(format!("{family} has no \"{chosen}\" for \"{path}\"; options: {options}")))
}

/// A network for a task as a graph: its inputs, its target, its answer and its training loss.
pub(crate) struct Model<'g> {
    pub(crate) answer: Var<'g>,
    pub(crate) loss: Var<'g>,
}

/// `architecture` with the decisions it lacks as the hand-made default has them, so that a space may leave out what is not searched.
fn completed(family: &dyn Family, architecture: &Architecture) -> Architecture {
    architecture.iter().fold(family.default_architecture(), |all, (path, value)| all.with(path, value.clone()))
}

/// The network that `architecture` describes, in `graph`. A decision that it lacks is that of the hand-made default.
pub(crate) fn model<'g>(
    graph: &'g Graph,
    family: &dyn Family,
    architecture: &Architecture,
    task: &Task,
    label_smoothing: f32,
) -> Result<Model<'g>, FamilyError> {
    let inputs: Vec<Var<'g>> = task.inputs().iter().map(|field| field.input(graph)).collect();
    let target = task.target().input(graph);
    let answer = family.build(&completed(family, architecture), task, &inputs)?;
    let loss = task.loss(answer, target, label_smoothing);
    graph.check()?;
    Ok(Model { answer, loss })
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
    let graph = Graph::new();
    let inputs: Vec<Var<'_>> = task.inputs().iter().map(|field| field.input(&graph)).collect();
    family.build(&completed(family, architecture), task, &inputs)?;
    graph.check()?;
    Ok((graph.parts(), graph.cost()))
}
