//! Training: epochs, schedule, augmentation, evaluation. Everything follows from the seed.

use nas_core::{Metrics, Purpose, Seed};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::data::{Augment, Dataset, Preparation, Scale, TablePreparation};
use crate::error::{FeedError, GraphError};
use crate::graph::{Graph, Var};
use crate::optim::{Algorithm, Optimizer, Schedule, Settings};
use crate::program::Profile;
use crate::task::{Field, Task};
use crate::{Feed, Params, Program, Rng};

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the data.
    pub epochs: u32,
    /// Examples in a step.
    pub batch: usize,
    /// How parameters are updated.
    pub optimizer: Algorithm,
    /// The highest learning rate; it falls to zero along a cosine.
    pub learning_rate: f32,
    /// The momentum of SGD and RMSprop; β₁ of the others.
    pub momentum: f32,
    /// Weight decay: through the gradients in SGD, Adam and RMSprop, of the matrices themselves in AdamW and LAMB.
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

impl Recipe {
    /// Plain descent decays every tensor, as published for convolutional networks; the others spare biases and gains of norms.
    fn build_optimizer(&self) -> Box<dyn Optimizer> {
        let Recipe { optimizer: algorithm, learning_rate, momentum, weight_decay, .. } = *self;
        let decay_only_matrices = algorithm != Algorithm::Sgd;
        Settings { algorithm, learning_rate, momentum, weight_decay, decay_only_matrices }.build()
    }
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            epochs: 10,
            batch: 64,
            optimizer: Algorithm::Sgd,
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

/// Trains `params` on `data` with `loss`, a value of `graph` whose inputs are those of the data's task and its target. Returns the mean
/// training loss of its last epoch.
///
/// # Errors
/// When the loss is no longer finite, the listener asks to stop, or something does not fit.
#[expect(clippy::too_many_arguments, reason = "each is one thing that decides the result")]
pub fn train(
    graph: &Graph,
    loss: Var<'_>,
    params: &mut Params,
    data: &Dataset,
    preparation: &Preparation,
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
    let mut optimizer = recipe.build_optimizer();
    let steps_an_epoch = data.len().div_ceil(batch);
    let schedule = Schedule::cosine(recipe.learning_rate, recipe.warmup);
    let steps = steps_an_epoch * recipe.epochs as usize;

    let mut fields = Fields::new(&data.task(), batch);
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
            fields.fill(data, indices, preparation, Some((&recipe.augment, &mut augment)));
            optimizer.set_learning_rate(schedule.learning_rate(step, steps));
            let feed = fields.feed(n);
            let loss = program.gradients(&feed, params)?;
            let norm = program.clip(recipe.max_grad_norm);
            if !loss.is_finite() || !norm.is_finite() {
                return Err(TrainError::Diverged { epoch, loss: if loss.is_finite() { norm } else { loss } });
            }
            program.update(params, optimizer.as_mut())?;
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

/// A batch of every field of a task.
struct Fields {
    names: Vec<&'static str>,
    lengths: Vec<usize>,
    values: Vec<Vec<f32>>,
}

impl Fields {
    fn new(task: &Task, batch: usize) -> Self {
        let fields: Vec<Field> = task.inputs().into_iter().chain([task.target()]).collect();
        let lengths: Vec<usize> = fields.iter().map(Field::len).collect();
        let values = lengths.iter().map(|len| vec![0.0; len * batch]).collect();
        Fields { names: fields.iter().map(|field| field.name).collect(), lengths, values }
    }

    fn fill(
        &mut self,
        data: &Dataset,
        indices: &[usize],
        preparation: &Preparation,
        augment: Option<(&Augment, &mut Rng)>,
    ) {
        let n = indices.len();
        let fields = self.values.iter_mut().zip(&self.lengths).map(|(values, len)| &mut values[..n * len]);
        let mut fields: SmallVec<[&mut [f32]; 8]> = fields.collect();
        data.fill(indices, preparation, augment, &mut fields);
    }

    /// The first `n` examples of all fields.
    fn feed(&self, n: usize) -> Feed<'_> {
        let fields = self.names.iter().zip(&self.values).zip(&self.lengths);
        fields.fold(Feed::new(n), |feed, ((name, values), len)| feed.with(name, &values[..n * len]))
    }

    /// The targets of the first `n` examples.
    fn target(&self, n: usize) -> &[f32] {
        let last = self.values.len() - 1;
        &self.values[last][..n * self.lengths[last]]
    }
}

/// Hands the answers of a graph to every example of `data` and their targets to `each`, some examples at a time and in order.
fn answers(
    graph: &Graph,
    answer: Var<'_>,
    params: &Params,
    data: &Dataset,
    preparation: &Preparation,
    threads: usize,
    mut each: impl FnMut(&[f32], &[f32]),
) -> Result<(), TrainError> {
    let batch = data.len().clamp(1, 100);
    let mut program = Program::eval(graph, &[answer], batch)?;
    share(&mut program, threads)?;
    let mut fields = Fields::new(&data.task(), batch);
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(batch) {
        fields.fill(data, indices, preparation, None);
        program.run(&fields.feed(indices.len()), params)?;
        each(program.output(0), fields.target(indices.len()));
    }
    Ok(())
}

/// The class probabilities of every target in `data`, `classes` each, in order, by that many threads; or the numbers that are answered, in
/// the target's unit.
///
/// # Errors
/// When something does not fit.
pub fn predict(
    graph: &Graph,
    logits: Var<'_>,
    params: &Params,
    data: &Dataset,
    preparation: &Preparation,
    threads: usize,
) -> Result<Vec<f32>, TrainError> {
    let mut result = Vec::new();
    if data.task().target().classes.is_none() {
        let scale = target_scale(preparation);
        answers(graph, logits, params, data, preparation, threads, |rows, _| {
            result.extend(rows.iter().map(|&z| scale.back(f64::from(z)) as f32));
        })?;
        return Ok(result);
    }
    answers(graph, logits.softmax(), params, data, preparation, threads, |rows, _| result.extend_from_slice(rows))?;
    Ok(result)
}

/// How good a network is on some examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// `accuracy`, the share of targets whose logit is the largest; `loss`, the mean cross-entropy in nats, without smoothing. Of
    /// text also `bits_per_character` and `perplexity`. Where a number is answered: `rmse`, `mae` (in the target's unit), `loss` (the mean
    /// square in standard deviations of the training targets) and `r2`, the share of the variance of these targets that is explained,
    /// if they have any.
    pub metrics: Metrics,
    /// The number of examples.
    pub examples: usize,
}

/// How good the logits of a graph, or the numbers that it answers, are on `data`, by that many threads.
///
/// # Errors
/// When something does not fit.
pub fn evaluate(
    graph: &Graph,
    logits: Var<'_>,
    params: &Params,
    data: &Dataset,
    preparation: &Preparation,
    threads: usize,
) -> Result<Evaluation, TrainError> {
    let task = data.task();
    let Some(classes) = task.target().classes else {
        return errors(graph, logits, params, data, preparation, threads);
    };
    let (mut right, mut loss, mut targets) = (0_usize, 0.0, 0_usize);
    answers(graph, logits.softmax(), params, data, preparation, threads, |rows, labels| {
        for (row, &label) in rows.chunks_exact(classes).zip(labels) {
            let label = label as usize;
            right += usize::from(best(row) == label);
            loss -= f64::from(row[label].max(f32::MIN_POSITIVE)).ln();
        }
        targets += labels.len();
    })?;
    let n = targets.max(1) as f64;
    let loss = loss / n;
    let mut metrics = Metrics::new().with("accuracy", right as f64 / n).with("loss", loss);
    if let Task::Text { .. } = task {
        metrics.set("bits_per_character", loss / std::f64::consts::LN_2);
        metrics.set("perplexity", loss.exp());
    }
    Ok(Evaluation { metrics, examples: data.len() })
}

/// The scale of a target that is a number.
fn target_scale(preparation: &Preparation) -> Scale {
    match preparation {
        Preparation::Table(TablePreparation { target: Some(scale), .. }) => *scale,
        other => panic!("a number is answered, and its preparation is {other:?}"),
    }
}

/// How far the numbers that a graph answers are from their targets.
fn errors(
    graph: &Graph,
    answer: Var<'_>,
    params: &Params,
    data: &Dataset,
    preparation: &Preparation,
    threads: usize,
) -> Result<Evaluation, TrainError> {
    let scale = target_scale(preparation);
    let (mut squares, mut distances) = (0.0, 0.0);
    let mut targets = Vec::with_capacity(data.len());
    answers(graph, answer, params, data, preparation, threads, |rows, values| {
        for (&z, &y) in rows.iter().zip(values) {
            let error = f64::from(z) - f64::from(y);
            squares += error * error;
            distances += error.abs();
            targets.push(f64::from(y));
        }
    })?;
    let n = targets.len().max(1) as f64;
    let mean = targets.iter().sum::<f64>() / n;
    let variance = targets.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n;
    let loss = squares / n;
    let mut metrics = Metrics::new().with("rmse", scale.std * loss.sqrt()).with("mae", scale.std * distances / n);
    metrics.set("loss", loss);
    if variance > 0.0 {
        metrics.set("r2", 1.0 - loss / variance);
    }
    Ok(Evaluation { metrics, examples: data.len() })
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
