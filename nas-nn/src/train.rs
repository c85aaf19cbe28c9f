//! Training a classifier: epochs, schedule, augmentation, evaluation. Everything follows from the seed.

use nas_core::{Metrics, Purpose, Seed};
use serde::{Deserialize, Serialize};

use crate::data::{Augment, Images, Normalize};
use crate::error::{FeedError, GraphError};
use crate::graph::{Graph, Var};
use crate::optim::{Optimizer as _, Schedule, Sgd};
use crate::program::Profile;
use crate::{Feed, Params, Program};

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the data.
    pub epochs: u32,
    /// Examples in a step.
    pub batch: usize,
    /// The highest learning rate of SGD with Nesterov momentum; it falls to zero along a cosine.
    pub learning_rate: f32,
    /// Momentum.
    pub momentum: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// The share of all steps in which the learning rate rises from zero.
    pub warmup: f32,
    /// The share of the target that is spread evenly over the classes.
    pub label_smoothing: f32,
    /// The largest norm of all gradients together; longer ones are shortened.
    pub max_grad_norm: f32,
    /// Changes of the images.
    pub augment: Augment,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            epochs: 10,
            batch: 64,
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            warmup: 0.0,
            label_smoothing: 0.0,
            max_grad_norm: 5.0,
            augment: Augment::default(),
        }
    }
}

/// How a training runs. Its result does not depend on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainOptions {
    /// Threads that share every step; default 1. More pay where cores would be idle: of several trainings, one a core is
    /// faster.
    pub threads: usize,
    /// Whether every operation is timed, for [`Listener::profile`]; default no.
    pub profile: bool,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions { threads: 1, profile: false }
    }
}

/// Why a training ended early.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The loss stopped being a finite number.
    #[error("the loss was {loss} in epoch {epoch}")]
    Diverged {
        /// The epoch, from 1.
        epoch: u32,
        /// The loss.
        loss: f32,
    },
    /// The listener asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The threads that were asked for cannot be had.
    #[error("a training on {threads} threads cannot start: {message}")]
    Threads {
        /// The threads asked for.
        threads: usize,
        /// What the system says.
        message: String,
    },
    /// The graph cannot be run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The data does not fit the graph.
    #[error(transparent)]
    Feed(#[from] FeedError),
}

/// Who hears of a training's progress and can end it.
pub trait Listener {
    /// Hears that `epoch` (from 1) is done, with the mean training loss and whatever was measured in it.
    fn epoch(&mut self, epoch: u32, metrics: &Metrics);

    /// Whether to go on after `epoch`, with the parameters as they are then; asked after every epoch but the last. A training
    /// that does not go on ends without an error.
    ///
    /// # Errors
    /// Why the training cannot go on.
    fn goes_on(&mut self, _epoch: u32, _params: &Params) -> Result<bool, TrainError> {
        Ok(true)
    }

    /// Hears where the time went, once at the end, if [`TrainOptions::profile`] was set.
    fn profile(&mut self, _: Profile) {}

    /// Whether to stop now. Asked once a batch.
    fn interrupted(&mut self) -> bool {
        false
    }
}

/// Nobody listens.
impl Listener for () {
    fn epoch(&mut self, _: u32, _: &Metrics) {}
}

/// Trains `params` on `data` with `loss`, a value of `graph` whose inputs are `image` and `label`. Returns the mean
/// training loss of its last epoch.
///
/// # Errors
/// When the loss is no longer finite, the listener asks to stop, or something does not fit.
#[expect(clippy::too_many_arguments, reason = "each is one thing that decides the result")]
pub fn train(
    graph: &Graph,
    loss: Var<'_>,
    params: &mut Params,
    data: &Images,
    normalize: &Normalize,
    recipe: &Recipe,
    seed: Seed,
    options: TrainOptions,
    listener: &mut dyn Listener,
) -> Result<f32, TrainError> {
    let batch = recipe.batch.min(data.len()).max(1);
    let mut program = Program::train(graph, loss, &[], batch)?;
    program.set_rng(seed.stream(Purpose::Dropout, 0));
    share(&mut program, options.threads)?;
    if options.profile {
        program.start_profile();
    }
    let mut sgd = Sgd::new(recipe.learning_rate);
    (sgd.momentum, sgd.weight_decay) = (recipe.momentum, recipe.weight_decay);
    let steps_an_epoch = data.len().div_ceil(batch);
    let schedule = Schedule::cosine(recipe.learning_rate, recipe.warmup);
    let steps = steps_an_epoch * recipe.epochs as usize;

    let mut images = vec![0.0; batch * data.pixels_per_image()];
    let mut labels = vec![0.0; batch];
    let mut mean_loss = 0.0;
    let mut step = 0;
    for epoch in 1..=recipe.epochs {
        let order = data.shuffled(&mut seed.stream(Purpose::Shuffle, u64::from(epoch)));
        let mut augment = seed.stream(Purpose::Augment, u64::from(epoch));
        let mut total = 0.0;
        for indices in order.chunks(batch) {
            if listener.interrupted() {
                return Err(TrainError::Interrupted);
            }
            let n = indices.len();
            let (images, labels) = (&mut images[..n * data.pixels_per_image()], &mut labels[..n]);
            data.fill(indices, normalize, images, labels);
            recipe.augment.apply(images, data, normalize, &mut augment);
            sgd.set_learning_rate(schedule.learning_rate(step, steps));
            let feed = Feed::new(n).with("image", images).with("label", labels);
            let loss = program.gradients(&feed, params)?;
            let norm = program.clip(recipe.max_grad_norm);
            if !loss.is_finite() || !norm.is_finite() {
                return Err(TrainError::Diverged { epoch, loss: if loss.is_finite() { norm } else { loss } });
            }
            program.update(params, &mut sgd);
            total += f64::from(loss) * n as f64;
            step += 1;
        }
        if !params.is_finite() {
            return Err(TrainError::Diverged { epoch, loss: f32::NAN });
        }
        mean_loss = (total / data.len() as f64) as f32;
        listener.epoch(epoch, &Metrics::new().with("train_loss", f64::from(mean_loss)));
        if epoch < recipe.epochs && !listener.goes_on(epoch, params)? {
            break;
        }
    }
    if let Some(profile) = program.profile() {
        listener.profile(profile);
    }
    Ok(mean_loss)
}

fn share(program: &mut Program, threads: usize) -> Result<(), TrainError> {
    program.set_threads(threads).map_err(|e| TrainError::Threads { threads, message: e.to_string() })
}

/// How good `logits` are on `data`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// The share of examples whose largest logit is at their class.
    pub accuracy: f64,
    /// The mean cross-entropy in nats, without smoothing.
    pub loss: f64,
    /// The number of examples.
    pub examples: usize,
}

/// The class probabilities of every image in `data`, `classes` each, in order, by that many threads.
///
/// # Errors
/// When something does not fit.
pub fn predict(
    graph: &Graph,
    logits: Var<'_>,
    params: &Params,
    data: &Images,
    normalize: &Normalize,
    threads: usize,
) -> Result<Vec<f32>, TrainError> {
    let batch = data.len().clamp(1, 100);
    let probabilities = logits.softmax();
    let mut program = Program::eval(graph, &[probabilities], batch)?;
    share(&mut program, threads)?;
    let mut images = vec![0.0; batch * data.pixels_per_image()];
    let mut labels = vec![0.0; batch];
    let all: Vec<usize> = (0..data.len()).collect();
    let mut result = Vec::new();
    for indices in all.chunks(batch) {
        let n = indices.len();
        let images = &mut images[..n * data.pixels_per_image()];
        data.fill(indices, normalize, images, &mut labels[..n]);
        program.run(&Feed::new(n).with("image", images), params)?;
        result.extend_from_slice(program.output(0));
    }
    Ok(result)
}

/// How good the logits of a graph are on `data`, by that many threads.
///
/// # Errors
/// When something does not fit.
pub fn evaluate(
    graph: &Graph,
    logits: Var<'_>,
    params: &Params,
    data: &Images,
    normalize: &Normalize,
    threads: usize,
) -> Result<Evaluation, TrainError> {
    let probabilities = predict(graph, logits, params, data, normalize, threads)?;
    let classes = (probabilities.len() / data.len().max(1)).max(1);
    let mut right = 0;
    let mut loss = 0.0;
    for (row, &label) in probabilities.chunks_exact(classes).zip(&data.labels) {
        let label = label as usize;
        right += usize::from(best(row) == label);
        loss -= f64::from(row[label].max(f32::MIN_POSITIVE)).ln();
    }
    let n = data.len().max(1) as f64;
    Ok(Evaluation { accuracy: right as f64 / n, loss: loss / n, examples: data.len() })
}

/// The place of the largest number; the first one of several.
pub fn best(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if *x > row[best] {
            best = i;
        }
    }
    best
}
