//! The evaluator that really trains: architecture → graph → program → metrics.

use std::sync::Arc;

use nas_core::{Architecture, Evaluator, Failure, Metrics, Purpose, Reporter, Trial};

use crate::data::{Images, Normalize};
use crate::family::{self, Family, FamilyError, Task};
use crate::graph::{Cost, Graph};
use crate::train::{self, Listener, Recipe, TrainError};
use crate::{Params, Plan};

/// Trains the child network of a trial on one part of the data and measures it on another.
///
/// Its metrics: `accuracy` and `loss` on the validation part, `train_loss`, `parameters`, `madds` (multiply-adds for one
/// example), `memory` (bytes to train it).
pub struct ChildTrainer {
    family: Arc<dyn Family>,
    task: Task,
    train: Images,
    validation: Images,
    normalize: Normalize,
    recipe: Recipe,
    max_memory: u64,
}

/// What an architecture costs, known before it is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingCost {
    /// Parameters and multiply-adds.
    pub cost: Cost,
    /// Bytes that training holds: values, gradients, parameters, momentum.
    pub memory: u64,
}

/// The cost of training `architecture` in batches of `batch`.
///
/// # Errors
/// When it cannot be built.
pub fn training_cost(
    family: &dyn Family,
    architecture: &Architecture,
    task: &Task,
    batch: usize,
) -> Result<TrainingCost, FamilyError> {
    let graph = Graph::new();
    let classifier = family::classifier(&graph, family, architecture, task, 0.0)?;
    let cost = graph.cost();
    let plan = Plan::train(&graph, classifier.loss, &[], batch)?;
    // Parameters and momentum stand beside the program.
    Ok(TrainingCost { cost, memory: plan.bytes() + 2 * 4 * cost.parameters })
}

impl ChildTrainer {
    /// Trains on `train` and measures on `validation`, both normalised by what is fitted on `train`; a network that needs
    /// more than `max_memory` bytes to train fails before anything is allocated.
    pub fn new(
        family: Arc<dyn Family>,
        task: Task,
        train: Images,
        validation: Images,
        recipe: Recipe,
        max_memory: u64,
    ) -> Self {
        let normalize = Normalize::fit(&train);
        ChildTrainer { family, task, train, validation, normalize, recipe, max_memory }
    }

    /// The recipe every child is trained by.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}

impl Evaluator for ChildTrainer {
    fn evaluate(&self, trial: &Trial, report: &mut Reporter<'_>) -> Result<Metrics, Failure> {
        let batch = self.recipe.batch.min(self.train.len());
        let infeasible = |e: FamilyError| Failure::Infeasible { message: e.to_string() };
        let cost = training_cost(&*self.family, &trial.architecture, &self.task, batch).map_err(infeasible)?;
        if cost.memory > self.max_memory {
            return Err(Failure::OutOfMemory { needed: cost.memory, limit: self.max_memory });
        }
        let graph = Graph::new();
        let smoothing = self.recipe.label_smoothing;
        let network = family::classifier(&graph, &*self.family, &trial.architecture, &self.task, smoothing)
            .map_err(infeasible)?;
        let mut params = Params::init(&graph, &mut trial.seed.stream(Purpose::Init, 0));
        let mut progress = Progress { report, epochs: self.recipe.epochs };
        let train_loss = train::train(
            &graph,
            network.loss,
            &mut params,
            &self.train,
            &self.normalize,
            &self.recipe,
            trial.seed,
            &mut progress,
        )
        .map_err(failure)?;
        let evaluation =
            train::evaluate(&graph, network.logits, &params, &self.validation, &self.normalize).map_err(failure)?;
        Ok(Metrics::new()
            .with("accuracy", evaluation.accuracy)
            .with("loss", evaluation.loss)
            .with("train_loss", f64::from(train_loss))
            .with("parameters", cost.cost.parameters as f64)
            .with("madds", cost.cost.madds as f64)
            .with("memory", cost.memory as f64))
    }
}

struct Progress<'a, 'r> {
    report: &'a mut Reporter<'r>,
    epochs: u32,
}

impl Listener for Progress<'_, '_> {
    fn epoch(&mut self, epoch: u32, metrics: &Metrics) {
        self.report.epoch(epoch, self.epochs, metrics);
    }

    fn interrupted(&mut self) -> bool {
        self.report.interrupted()
    }
}

fn failure(error: TrainError) -> Failure {
    match error {
        TrainError::Diverged { epoch, loss } => Failure::Diverged { epoch, loss: loss.to_string() },
        TrainError::Interrupted => Failure::Interrupted,
        other => Failure::Infeasible { message: other.to_string() },
    }
}
