//! The evaluator that really trains: architecture → graph → program → metrics.

mod inheritance;

use std::sync::Arc;

use nas_core::{Architecture, Evaluator, Failure, Metrics, Purpose, Reporter, Trial};

use crate::data::{Dataset, Preparation};
use crate::family::{self, Family, FamilyError, Task};
use crate::graph::{Cost, Graph};
use crate::latency::Calibration;
use crate::train::{self, Evaluation, Listener, Recipe, TrainError, TrainOptions};
use crate::{Params, Plan};

pub use inheritance::Inheritance;

/// The metric of a predicted latency: milliseconds for a batch as it was calibrated, usually one example.
pub const LATENCY: &str = "latency_ms";

/// Trains the child network of a trial on one part of the data and measures it on another.
///
/// Its metrics: those of [`Evaluation`] on the validation part, `train_loss`, `parameters`, `madds` (multiply-adds for one
/// example), `memory` (bytes to train it), `inherited` if children [inherit](ChildTrainer::inheriting), and with a [`Calibration`]
/// `latency_ms` (predicted, not measured: it follows from the trial and the calibration alone).
pub struct ChildTrainer {
    family: Arc<dyn Family>,
    task: Task,
    train: Dataset,
    validation: Dataset,
    preparation: Preparation,
    recipe: Recipe,
    max_memory: u64,
    threads: usize,
    inheritance: Option<Inheritance>,
    calibration: Option<Calibration>,
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
    let (cost, plan) = training_plan(family, architecture, task, batch)?;
    Ok(TrainingCost { cost, memory: memory(cost, &plan) })
}

/// Bytes that training by a plan holds.
pub(crate) fn memory(cost: Cost, plan: &Plan) -> u64 {
    // Parameters and momentum stand beside the program.
    plan.bytes() + 2 * 4 * cost.parameters
}

/// What training `architecture` in batches of `batch` costs and how it is planned.
///
/// # Errors
/// When it cannot be built.
pub fn training_plan(
    family: &dyn Family,
    architecture: &Architecture,
    task: &Task,
    batch: usize,
) -> Result<(Cost, Plan), FamilyError> {
    let graph = Graph::new();
    let model = family::model(&graph, family, architecture, task, 0.0)?;
    Ok((graph.cost(), Plan::train(&graph, model.loss, &[], batch)?))
}

impl ChildTrainer {
    /// Trains on `train` and measures on `validation`, both prepared by what is fitted on `train`; a network that needs
    /// more than `max_memory` bytes to train fails before anything is allocated.
    pub fn new(
        family: Arc<dyn Family>,
        task: Task,
        train: Dataset,
        validation: Dataset,
        recipe: Recipe,
        max_memory: u64,
    ) -> Self {
        let preparation = train.prepare();
        let (threads, calibration, inheritance) = (1, None, None);
        ChildTrainer {
            family,
            task,
            train,
            validation,
            preparation,
            recipe,
            max_memory,
            threads,
            calibration,
            inheritance,
        }
    }

    /// The same with `threads` threads for each child; 1 is fastest while there are as many children at a time as cores.
    /// The metrics do not depend on it.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        ChildTrainer { threads, ..self }
    }

    /// The same with children that start from the parameters they share with their nearest evaluated relative. Their metrics then hold
    /// `inherited`, the share of their parameters that was: of two trials with equal architectures the later one looks better.
    #[must_use]
    pub fn inheriting(self, inheritance: Inheritance) -> Self {
        ChildTrainer { inheritance: Some(inheritance), ..self }
    }

    /// The same with `latency_ms` among the metrics, predicted by `calibration`.
    #[must_use]
    pub fn calibration(self, calibration: Calibration) -> Self {
        ChildTrainer { calibration: Some(calibration), ..self }
    }

    /// The recipe every child is trained by, but for what its architecture [decides](crate::family::TRAINING_DECISIONS) of it.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}

impl Evaluator for ChildTrainer {
    fn evaluate(&self, trial: &Trial, report: &mut Reporter<'_>) -> Result<Metrics, Failure> {
        let infeasible = |e: FamilyError| Failure::Infeasible { message: e.to_string() };
        let recipe = family::tuned(&trial.architecture, &self.recipe).map_err(infeasible)?;
        let batch = recipe.batch.min(self.train.len());
        let cost = training_cost(&*self.family, &trial.architecture, &self.task, batch).map_err(infeasible)?;
        if cost.memory > self.max_memory {
            return Err(Failure::OutOfMemory { needed: cost.memory, limit: self.max_memory });
        }
        let mut costs = Metrics::new()
            .with("parameters", cost.cost.parameters as f64)
            .with("madds", cost.cost.madds as f64)
            .with("memory", cost.memory as f64);
        if let Some(calibration) = &self.calibration {
            let latency = calibration.predict(&*self.family, &trial.architecture, &self.task).map_err(infeasible)?;
            costs.set(LATENCY, latency.milliseconds());
        }
        let graph = Graph::new();
        let smoothing = recipe.label_smoothing;
        let network =
            family::model(&graph, &*self.family, &trial.architecture, &self.task, smoothing).map_err(infeasible)?;
        let mut params = Params::init(&graph, &mut trial.seed.stream(Purpose::Init, 0));
        let inherited = match &self.inheritance {
            Some(inheritance) => {
                let inherited =
                    inheritance.inherit(trial.number, &trial.architecture, &*self.family, &self.task, &mut params)?;
                Some(inherited.map_or(0.0, |inherited| inherited.share))
            }
            None => None,
        };
        let measure = |params: &Params| {
            train::evaluate(&graph, network.answer, params, &self.validation, &self.preparation, self.threads)
        };
        let mut progress = Progress {
            report,
            epochs: self.recipe.epochs,
            measure: &measure,
            costs: &costs,
            stopped: None,
            refused: None,
        };
        let trained = train::train(
            &graph,
            network.loss,
            &mut params,
            &self.train,
            &self.preparation,
            &recipe,
            trial.seed,
            TrainOptions { threads: self.threads, profile: false },
            &mut progress,
        );
        let Progress { stopped, refused, .. } = progress;
        if let Some(refused) = refused {
            return Err(refused);
        }
        let train_loss = trained.map_err(failure)?;
        let evaluation = stopped.map_or_else(|| measure(&params), Ok).map_err(failure)?;
        if let Some(inheritance) = &self.inheritance {
            inheritance.keep(trial.number, &trial.architecture, &params)?;
        }
        let metrics = inherited.into_iter().fold(evaluation.metrics, |metrics, share| metrics.with("inherited", share));
        Ok(metrics.and(&costs).with("train_loss", f64::from(train_loss)))
    }
}

struct Progress<'a, 'r> {
    report: &'a mut Reporter<'r>,
    epochs: u32,
    /// How good the network is with these parameters.
    measure: &'a dyn Fn(&Params) -> Result<Evaluation, TrainError>,
    /// What it costs, which the reward may depend on.
    costs: &'a Metrics,
    /// How good it was when it was stopped.
    stopped: Option<Evaluation>,
    /// Why it could not be judged.
    refused: Option<Failure>,
}

impl Listener for Progress<'_, '_> {
    fn epoch(&mut self, epoch: u32, metrics: &Metrics) {
        self.report.epoch(epoch, self.epochs, metrics);
    }

    fn goes_on(&mut self, epoch: u32, params: &Params) -> Result<bool, TrainError> {
        if !self.report.is_rung(epoch) {
            return Ok(true);
        }
        let evaluation = (self.measure)(params)?;
        let goes_on = self.report.goes_on(epoch, &evaluation.metrics.clone().and(self.costs));
        if goes_on != Ok(true) {
            self.stopped = Some(evaluation);
        }
        self.refused = goes_on.as_ref().err().cloned();
        Ok(goes_on == Ok(true))
    }

    fn interrupted(&mut self) -> bool {
        self.report.interrupted()
    }
}

/// What a training error means for a trial.
fn failure(error: TrainError) -> Failure {
    match error {
        TrainError::Diverged { epoch, loss } => Failure::Diverged { epoch, loss: loss.to_string() },
        TrainError::Interrupted => Failure::Interrupted,
        other => Failure::Infeasible { message: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use nas_core::{Origin, Seed, TrialState};

    use super::*;
    use crate::data::Images;
    use crate::family::CnnCell;

    /// Twelve images of 8×8 pixels in two classes, one bright and one dark.
    fn images() -> Dataset {
        let labels: Vec<u32> = (0..12).map(|i| i % 2).collect();
        let pixels = labels.iter().flat_map(|&l| (0..64_u32).map(move |p| (l * 150 + p) as u8)).collect();
        let class_names = vec!["dark".to_owned(), "bright".to_owned()];
        Dataset::Images(Images { channels: 1, height: 8, width: 8, classes: 2, class_names, pixels, labels })
    }

    fn evaluate(recipe: Recipe, max_memory: u64, stop: bool) -> Result<Metrics, Failure> {
        evaluate_on(1, recipe, max_memory, stop)
    }

    fn evaluate_on(threads: usize, recipe: Recipe, max_memory: u64, stop: bool) -> Result<Metrics, Failure> {
        let task = Task::Image { channels: 1, height: 8, width: 8, classes: 2 };
        let trainer = ChildTrainer::new(Arc::new(CnnCell), task, images(), images(), recipe, max_memory);
        let trainer = trainer.threads(threads);
        let trial = Trial {
            number: 0,
            architecture: CnnCell.default_architecture(),
            origin: Origin::Given,
            seed: Seed::new(1),
            state: TrialState::Running,
            seconds: 0.0,
        };
        let stop = AtomicBool::new(stop);
        trainer.evaluate(&trial, &mut Reporter::new(0, &(), &stop))
    }

    #[test]
    fn the_same_trial_has_the_same_metrics() {
        let recipe = Recipe { epochs: 2, batch: 5, ..Recipe::default() };
        let metrics = evaluate(recipe.clone(), u64::MAX, false).unwrap();
        assert_eq!(Ok(&metrics), evaluate(recipe.clone(), u64::MAX, false).as_ref());
        assert_eq!(Ok(&metrics), evaluate_on(3, recipe, u64::MAX, false).as_ref(), "with three threads");
        assert!(metrics.get("accuracy").unwrap() >= 0.5 && metrics.get("parameters").unwrap() > 1e5);
    }

    #[test]
    fn a_network_that_diverges_is_a_failure() {
        let recipe =
            Recipe { epochs: 3, batch: 4, learning_rate: 1e30, max_grad_norm: f32::INFINITY, ..Recipe::default() };
        let failure = evaluate(recipe, u64::MAX, false).unwrap_err();
        assert!(matches!(failure, Failure::Diverged { .. }), "{failure:?}");
    }

    #[test]
    fn a_network_that_does_not_fit_is_never_allocated() {
        let failure = evaluate(Recipe::default(), 1000, false).unwrap_err();
        assert!(matches!(failure, Failure::OutOfMemory { needed, limit: 1000 } if needed > 1000), "{failure:?}");
    }

    #[test]
    fn an_interrupt_is_no_result() {
        assert_eq!(evaluate(Recipe::default(), u64::MAX, true), Err(Failure::Interrupted));
    }
}
