//! A causal Transformer as the policy: each decision attends to all before it (Vaswani et al., 2017; as a controller,
//! Borsos et al., 2019, and Krishna et al., 2020).

use std::ops::Range;

use nas_core::Rng;
use nas_nn::kernel::{self, RowNorm};

use super::layers::{Affine, Head, add, dot, uniform};
use super::network::{Batch, Network, Networked, Prefix, Vocabulary};
use crate::environment::Environment;

/// Width of the stream, of one head of attention, and of the hidden layer between.
const WIDTH: usize = 32;
const HEADS: usize = 2;
const DEPTH: usize = WIDTH / HEADS;
const HIDDEN: usize = 64;
const LAYERS: usize = 2;
const EPSILON: f32 = 1e-5;
/// 1 / √depth.
const SCALE: f32 = 0.25;
/// Queries, keys and values of all heads, in this order.
const QKV: usize = 3 * WIDTH;

/// A Transformer of two layers with two heads and 32 numbers a step, normalised before each part. A step is the embedding of
/// the choice before it and a learned position, that of its slot; it attends to itself and all steps before. Its last layer,
/// zero at the start so that the policy begins exactly even, has a logit for every option of every slot.
pub type Transformer = Networked<TransformerNetwork>;

impl Transformer {
    /// For the slots of `environment`, drawn from `rng`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f64, rng: &mut Rng) -> Self {
        Networked::start(TransformerNetwork::new(environment.arity()), learning_rate, rng)
    }

    /// How many weights it has for slots with these numbers of options.
    pub fn weights(arity: &[usize]) -> usize {
        TransformerNetwork::new(arity).head.range().end
    }
}

/// The network of [`Transformer`].
#[derive(Debug)]
pub struct TransformerNetwork {
    vocabulary: Vocabulary,
    head: Head,
    tape: Tape,
}

/// Where the weights of a layer stand: what normalises, attention, the hidden layer.
#[derive(Clone, Copy)]
struct Layer {
    norm: [Norm; 2],
    qkv: Affine,
    out: Affine,
    up: Affine,
    down: Affine,
}

impl Layer {
    fn new(start: usize) -> Self {
        let norm = [Norm { start }, Norm { start: start + 2 * WIDTH }];
        let qkv = Affine { start: start + 4 * WIDTH, inputs: WIDTH, outputs: QKV };
        let out = Affine { start: qkv.end(), inputs: WIDTH, outputs: WIDTH };
        let up = Affine { start: out.end(), inputs: WIDTH, outputs: HIDDEN };
        let down = Affine { start: up.end(), inputs: HIDDEN, outputs: WIDTH };
        Layer { norm, qkv, out, up, down }
    }
}

/// A normalisation of rows by where its factors begin, which its terms follow.
#[derive(Clone, Copy)]
struct Norm {
    start: usize,
}

impl Norm {
    fn factors(self) -> Range<usize> {
        self.start..self.start + WIDTH
    }

    fn forward(self, weights: &[f32], x: &[f32], to: &mut Normalised) {
        to.y.resize(x.len(), 0.0);
        to.mean.resize(x.len() / WIDTH, 0.0);
        to.scale.resize(x.len() / WIDTH, 0.0);
        let terms = &weights[self.start + WIDTH..self.start + 2 * WIDTH];
        kernel::row_norm_forward(&self.of(weights), x, terms, &mut to.mean, &mut to.scale, &mut to.y);
    }

    /// Adds the gradient by `x` to `dx`.
    fn backward(self, weights: &[f32], x: &[f32], by: &Normalised, dy: &[f32], dx: &mut [f32], gradient: &mut [f32]) {
        let (dgamma, dbeta) = gradient[self.start..self.start + 2 * WIDTH].split_at_mut(WIDTH);
        kernel::row_norm_backward(&self.of(weights), x, &by.mean, &by.scale, dy, Some((dx, true)), dgamma, dbeta);
    }

    fn of(self, weights: &[f32]) -> RowNorm<'_> {
        RowNorm { columns: WIDTH, epsilon: EPSILON, centred: true, gamma: &weights[self.factors()] }
    }
}

/// Rows and what normalised them.
#[derive(Debug, Default)]
struct Normalised {
    y: Vec<f32>,
    mean: Vec<f32>,
    scale: Vec<f32>,
}

/// What a forward pass leaves of a layer. Rows are an episode's steps, then the next one's.
#[derive(Debug, Default)]
struct LayerTape {
    /// The stream before attention, and between attention and the hidden layer.
    x: [Vec<f32>; 2],
    normalised: [Normalised; 2],
    qkv: Vec<f32>,
    /// The weights of attention: by episode and head a square.
    attention: Vec<f32>,
    mixed: Vec<f32>,
    /// The hidden layer before and after its activation.
    hidden: [Vec<f32>; 2],
}

#[derive(Debug, Default)]
struct Tape {
    layers: [LayerTape; LAYERS],
    x: Vec<f32>,
    last: Normalised,
    log_sums: Vec<f32>,
    /// Gradients: by the stream, by what is between, by queries, keys and values, by the hidden layer, by attention.
    dx: Vec<f32>,
    dy: Vec<f32>,
    dqkv: Vec<f32>,
    dhidden: Vec<f32>,
    dattention: Vec<f32>,
}

impl TransformerNetwork {
    fn new(arity: &[usize]) -> Self {
        let vocabulary = Vocabulary::new(arity);
        let mut network = TransformerNetwork { head: Head::new(0, WIDTH, 0), vocabulary, tape: Tape::default() };
        let start = network.last().factors().end + WIDTH;
        network.head = Head::new(start, WIDTH, network.vocabulary.options());
        network
    }

    fn embedding(token: usize) -> Range<usize> {
        token * WIDTH..(token + 1) * WIDTH
    }

    fn position(&self, slot: usize) -> Range<usize> {
        let start = (self.vocabulary.tokens() + slot) * WIDTH;
        start..start + WIDTH
    }

    fn layer(&self, layer: usize) -> Layer {
        let first = self.position(self.vocabulary.slots()).start;
        let size = Layer::new(0).down.end();
        Layer::new(first + layer * size)
    }

    /// The last normalisation.
    fn last(&self) -> Norm {
        Norm { start: self.layer(LAYERS).norm[0].start }
    }

    /// The embedding of a step.
    fn embed(&self, weights: &[f32], token: usize, slot: usize, x: &mut [f32]) {
        let position = &weights[self.position(slot)];
        let sum = weights[Self::embedding(token)].iter().zip(position).map(|(a, b)| a + b);
        x.iter_mut().zip(sum).for_each(|(x, sum)| *x = sum);
    }
}

/// What attention has mixed goes on through the rest of the layer: `x`, the stream before it, becomes that after it.
fn rest(weights: &[f32], layer: Layer, tape: &mut LayerTape, y: &mut Vec<f32>, x: &mut Vec<f32>) {
    layer.out.forward(weights, &tape.mixed, y);
    kernel::axpy(1.0, y, x);
    tape.x[1].clone_from(x);
    layer.norm[1].forward(weights, x, &mut tape.normalised[1]);
    let [before, after] = &mut tape.hidden;
    layer.up.forward(weights, &tape.normalised[1].y, before);
    after.resize(before.len(), 0.0);
    kernel::map(before, after, kernel::gelu);
    layer.down.forward(weights, after, y);
    kernel::axpy(1.0, y, x);
}

impl Network for TransformerNetwork {
    fn name(&self) -> &'static str {
        "transformer"
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Embeddings and positions uniform between ±½, matrices between ±1/√inputs, factors one, terms and biases zero.
    fn initial(&self, rng: &mut Rng) -> Vec<f32> {
        let mut weights: Vec<f32> = uniform(0.5, rng).take(self.position(self.vocabulary.slots()).start).collect();
        weights.resize(self.head.range().end, 0.0);
        for i in 0..LAYERS {
            let Layer { norm, qkv, out, up, down } = self.layer(i);
            norm.into_iter().for_each(|norm| weights[norm.factors()].fill(1.0));
            [qkv, out, up, down].into_iter().for_each(|affine| affine.draw(&mut weights, rng));
        }
        weights[self.last().factors()].fill(1.0);
        weights
    }

    fn head(&self) -> Range<usize> {
        self.head.range()
    }

    /// Keys and values of every layer.
    fn width(&self) -> usize {
        LAYERS * 2 * WIDTH
    }

    fn read(&mut self, weights: &[f32], prefix: &Prefix<'_>, row: &mut [f32], logits: &mut Vec<f64>) {
        let mut tape = std::mem::take(&mut self.tape);
        let Tape { layers, x, last, log_sums, dy: y, dattention: scores, .. } = &mut tape;
        let steps = prefix.len() + 1;
        x.resize(WIDTH, 0.0);
        self.embed(weights, prefix.token, prefix.slot, x);
        scores.resize(steps, 0.0);
        log_sums.resize(1, 0.0);
        for (i, tape) in layers.iter_mut().enumerate() {
            let layer = self.layer(i);
            layer.norm[0].forward(weights, x, &mut tape.normalised[0]);
            layer.qkv.forward(weights, &tape.normalised[0].y, &mut tape.qkv);
            let at = i * 2 * WIDTH;
            row[at..at + 2 * WIDTH].copy_from_slice(&tape.qkv[WIDTH..]);
            tape.mixed.clear();
            tape.mixed.resize(WIDTH, 0.0);
            let row = &*row;
            let seen = |t: usize| if t + 1 == steps { row } else { prefix.row(t) };
            for head in 0..HEADS {
                let (query, own) = (&tape.qkv[head * DEPTH..][..DEPTH], at + head * DEPTH);
                for (t, score) in scores.iter_mut().enumerate() {
                    *score = dot(query, &seen(t)[own..own + DEPTH]);
                }
                kernel::attention_softmax(steps, SCALE, scores, log_sums, |_| steps);
                for (t, &share) in scores.iter().enumerate() {
                    let value = &seen(t)[own + WIDTH..own + WIDTH + DEPTH];
                    add(share, value, &mut tape.mixed[head * DEPTH..][..DEPTH]);
                }
            }
            rest(weights, layer, tape, y, x);
        }
        self.last().forward(weights, x, last);
        logits.extend(self.head.logits(weights, &self.vocabulary, prefix.slot, &last.y));
        self.tape = tape;
    }

    fn forward(&mut self, weights: &[f32], batch: &Batch<'_>, logits: &mut [f64]) {
        let mut tape = std::mem::take(&mut self.tape);
        let Tape { layers, x, last, log_sums, dy: y, .. } = &mut tape;
        x.resize(batch.len() * WIDTH, 0.0);
        for (e, episode) in batch.episodes.iter().enumerate() {
            for (t, choice) in episode.choices().enumerate() {
                let row = &mut x[(batch.first(e) + t) * WIDTH..][..WIDTH];
                self.embed(weights, self.vocabulary.before(episode, t), choice.slot, row);
            }
        }
        let squares: usize = batch.episodes.iter().map(|episode| HEADS * episode.len() * episode.len()).sum();
        for (i, tape) in layers.iter_mut().enumerate() {
            let layer = self.layer(i);
            tape.x[0].clone_from(x);
            layer.norm[0].forward(weights, x, &mut tape.normalised[0]);
            layer.qkv.forward(weights, &tape.normalised[0].y, &mut tape.qkv);
            tape.mixed.resize(batch.len() * WIDTH, 0.0);
            tape.attention.resize(squares, 0.0);
            let mut at = 0;
            for (e, episode) in batch.episodes.iter().enumerate() {
                let (n, first) = (episode.len(), batch.first(e));
                log_sums.resize(n, 0.0);
                for head in 0..HEADS {
                    let square = &mut tape.attention[at..at + n * n];
                    let qkv = &tape.qkv[first * QKV..];
                    let [q, k, v] = [0, 1, 2].map(|part| qkv.get(part * WIDTH + head * DEPTH..).unwrap_or_default());
                    kernel::gemm([n, n, DEPTH], q, [QKV, 1], k, [1, QKV], 0.0, square, [n, 1]);
                    kernel::attention_softmax(n, SCALE, square, log_sums, |t| t + 1);
                    let mixed = tape.mixed.get_mut(first * WIDTH + head * DEPTH..).unwrap_or_default();
                    kernel::gemm([n, DEPTH, n], square, [n, 1], v, [QKV, 1], 0.0, mixed, [WIDTH, 1]);
                    at += n * n;
                }
            }
            rest(weights, layer, tape, y, x);
        }
        self.last().forward(weights, x, last);
        for (place, choice) in batch.episodes.iter().flat_map(|episode| episode.choices()).enumerate() {
            let row = &last.y[place * WIDTH..][..WIDTH];
            let said = self.head.logits(weights, &self.vocabulary, choice.slot, row);
            logits[batch.options(place)].iter_mut().zip(said).for_each(|(logit, x)| *logit = x);
        }
        self.tape = tape;
    }

    fn backward(&mut self, weights: &[f32], batch: &Batch<'_>, dlogits: &[f64], gradient: &mut [f32]) {
        let mut tape = std::mem::take(&mut self.tape);
        let Tape { layers, x, last, dx, dy, dqkv, dhidden, dattention, .. } = &mut tape;
        dy.clear();
        dy.resize(batch.len() * WIDTH, 0.0);
        for (place, choice) in batch.episodes.iter().flat_map(|episode| episode.choices()).enumerate() {
            let (row, d) = (place * WIDTH..(place + 1) * WIDTH, &dlogits[batch.options(place)]);
            let (y, dy) = (&last.y[row.clone()], &mut dy[row]);
            self.head.backward(weights, &self.vocabulary, choice.slot, d, y, dy, gradient);
        }
        dx.clear();
        dx.resize(batch.len() * WIDTH, 0.0);
        self.last().backward(weights, x, last, dy, dx, gradient);
        for (i, tape) in layers.iter().enumerate().rev() {
            let layer = self.layer(i);
            // The hidden layer; dx is the gradient by the stream, which passes it by.
            layer.down.backward(weights, &tape.hidden[1], dx, dhidden, gradient);
            dhidden.iter_mut().zip(&tape.hidden[0]).for_each(|(d, &x)| *d *= kernel::gelu_derivative(x));
            layer.up.backward(weights, &tape.normalised[1].y, dhidden, dy, gradient);
            layer.norm[1].backward(weights, &tape.x[1], &tape.normalised[1], dy, dx, gradient);
            // Attention.
            layer.out.backward(weights, &tape.mixed, dx, dy, gradient);
            dqkv.resize(batch.len() * QKV, 0.0);
            let mut at = 0;
            for (e, episode) in batch.episodes.iter().enumerate() {
                let (n, first) = (episode.len(), batch.first(e));
                dattention.resize(n * n, 0.0);
                for head in 0..HEADS {
                    let square = &tape.attention[at..at + n * n];
                    let places = [0, 1, 2].map(|part| first * QKV + part * WIDTH + head * DEPTH);
                    let [q, k, v] = places.map(|place| tape.qkv.get(place..).unwrap_or_default());
                    let dmixed = dy.get(first * WIDTH + head * DEPTH..).unwrap_or_default();
                    kernel::gemm([n, n, DEPTH], dmixed, [WIDTH, 1], v, [1, QKV], 0.0, dattention, [n, 1]);
                    kernel::attention_softmax_backward(n, SCALE, square, dattention);
                    let mut product = |part: usize, a: &[f32], strides: [usize; 2], b: &[f32], b_row: usize| {
                        let to = dqkv.get_mut(places[part]..).unwrap_or_default();
                        kernel::gemm([n, DEPTH, n], a, strides, b, [b_row, 1], 0.0, to, [QKV, 1]);
                    };
                    product(0, dattention, [n, 1], k, QKV);
                    product(1, dattention, [1, n], q, QKV);
                    product(2, square, [1, n], dmixed, WIDTH);
                    at += n * n;
                }
            }
            layer.qkv.backward(weights, &tape.normalised[0].y, dqkv, dy, gradient);
            layer.norm[0].backward(weights, &tape.x[0], &tape.normalised[0], dy, dx, gradient);
        }
        for (e, episode) in batch.episodes.iter().enumerate() {
            for (t, choice) in episode.choices().enumerate() {
                let d = &dx[(batch.first(e) + t) * WIDTH..][..WIDTH];
                add(1.0, d, &mut gradient[Self::embedding(self.vocabulary.before(episode, t))]);
                add(1.0, d, &mut gradient[self.position(choice.slot)]);
            }
        }
        self.tape = tape;
    }
}
