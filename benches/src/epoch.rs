//! An epoch of training on real images, for `cargo xtask bench --peers --check`: from which weights, in which order, and what
//! accuracy our engine ends at. `benches/peers/epoch.py` trains the same network from the same weights.

use nas_nn::data::demo::fashion_mnist_mini;
use nas_nn::data::{Dataset, Images};
use nas_nn::optim::{Optimizer, Schedule, Sgd};
use nas_nn::{Feed, Graph, Params, Program, Rng};
use rand::seq::SliceRandom as _;
use rand_chacha::rand_core::SeedableRng as _;
use serde::Serialize;

use crate::{Error, networks};

const BATCH: usize = 64;
const LEARNING_RATE: f32 = 0.1;
const MOMENTUM: f32 = 0.9;
const WEIGHT_DECAY: f32 = 5e-4;
const CLASSES: usize = 10;

/// What an epoch began with and led to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Epoch {
    /// What decided weights and order.
    pub seed: u64,
    /// Numbers of training images in the order they were taken, batch by batch.
    order: Vec<usize>,
    batch: usize,
    /// Of every step.
    learning_rates: Vec<f32>,
    momentum: f32,
    weight_decay: f32,
    /// The first values of all parameters, in the order of the network; linear weights are [in, out].
    parameters: Vec<Start>,
    /// The mean loss of the steps.
    pub loss: f64,
    /// The share of the test images that are classified right after it.
    pub accuracy: f64,
}

/// A parameter before training.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Start {
    dims: Vec<usize>,
    values: Vec<f32>,
}

/// Trains the small CNN (W2, on whole images) for an epoch on the embedded images, from weights and in an order that `seed`
/// decides: SGD with Nesterov momentum whose rate falls to zero along a cosine.
///
/// # Errors
/// When data or network are damaged.
pub fn epoch(seed: u64) -> Result<Epoch, Error> {
    let data = fashion_mnist_mini().map_err(|error| Error::Request(error.to_string()))?;
    let (Dataset::Images(train), Dataset::Images(test)) = (&data.train, &data.test) else {
        return Err(Error::Request("the embedded data has no images".to_owned()));
    };
    epoch_on(train, test, seed)
}

fn epoch_on(train: &Images, test: &Images, seed: u64) -> Result<Epoch, Error> {
    let graph = Graph::new();
    let logits = networks::small_cnn(graph.input("x", &[train.channels, train.height, train.width]));
    let loss = logits.cross_entropy(graph.class("y", CLASSES));
    let mut rng = Rng::seed_from_u64(seed);
    let mut params = Params::init(&graph, &mut rng);
    let trained = params.tensors().take(graph.parameters().len());
    let parameters = trained.map(|t| Start { dims: t.dims.to_vec(), values: t.values.to_vec() }).collect();
    let mut order: Vec<usize> = (0..train.len()).collect();
    order.shuffle(&mut rng);

    let mut program = Program::train(&graph, loss, &[], BATCH)?;
    let mut sgd = Sgd::new(LEARNING_RATE);
    (sgd.momentum, sgd.weight_decay) = (MOMENTUM, WEIGHT_DECAY);
    let (schedule, steps) = (Schedule::cosine(LEARNING_RATE, 0.0), order.len().div_ceil(BATCH));
    let learning_rates: Vec<f32> = (0..steps).map(|step| schedule.learning_rate(step, steps)).collect();
    let mut losses = 0.0;
    for (numbers, &rate) in order.chunks(BATCH).zip(&learning_rates) {
        let (x, y) = batch(train, numbers);
        sgd.set_learning_rate(rate);
        let feed = Feed::new(numbers.len()).with("x", &x).with("y", &y);
        losses += f64::from(program.step(&feed, &mut params, &mut sgd)?);
    }

    let mut evaluation = Program::eval(&graph, &[logits], BATCH)?;
    let (all, mut right) = ((0..test.len()).collect::<Vec<_>>(), 0);
    for numbers in all.chunks(BATCH) {
        let (x, y) = batch(test, numbers);
        evaluation.run(&Feed::new(numbers.len()).with("x", &x), &params)?;
        let rows = evaluation.output(0).chunks_exact(CLASSES).zip(&y);
        right += rows.filter(|&(row, &class)| best(row) == class as usize).count();
    }
    Ok(Epoch {
        seed,
        order,
        batch: BATCH,
        learning_rates,
        momentum: MOMENTUM,
        weight_decay: WEIGHT_DECAY,
        parameters,
        loss: losses / steps as f64,
        accuracy: right as f64 / test.len() as f64,
    })
}

/// Pixels from −1 to 1 and classes of the images with these numbers.
fn batch(images: &Images, numbers: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let pixels = numbers.iter().flat_map(|&i| images.image(i)).map(|&pixel| f32::from(pixel) / 127.5 - 1.0);
    (pixels.collect(), numbers.iter().map(|&i| images.labels[i] as f32).collect())
}

/// The first of the largest.
fn best(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_is_taken() {
        assert_eq!([best(&[1.0, 3.0, 3.0]), best(&[2.0, 1.0])], [1, 0]);
    }

    /// On half of the images: the whole is for the comparison.
    #[test]
    fn an_epoch_learns_and_follows_from_its_seed() {
        let data = fashion_mnist_mini().unwrap();
        let (Dataset::Images(train), Dataset::Images(test)) = (data.train, data.test) else { panic!("no images") };
        let train = train.subset(&(0..train.len()).step_by(2).collect::<Vec<_>>());
        let test = test.subset(&(0..test.len()).step_by(10).collect::<Vec<_>>());
        let first = epoch_on(&train, &test, 1).unwrap();
        assert!(first.accuracy > 0.3, "{}", first.accuracy);
        assert_eq!((first.order.len(), first.learning_rates.len()), (1500, 24));
        assert_eq!(first, epoch_on(&train, &test, 1).unwrap());
        assert_ne!(first.parameters, epoch_on(&train, &test, 2).unwrap().parameters);
    }
}
