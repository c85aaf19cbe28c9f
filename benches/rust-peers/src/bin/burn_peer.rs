//! burn with its `flex` backend: the networks of the comparison. It shortens each gradient by itself, where the others shorten
//! all together.
#![recursion_limit = "256"]

use burn::grad_clipping::GradientClippingConfig;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, Linear, LinearConfig, Lstm, LstmConfig, PaddingConfig2d,
};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::{Int, TensorData};
use rust_peers::{Batch, CLASSES, Outcome, Training, VOCABULARY, serve};

fn main() -> Outcome<()> {
    serve("burn 0.22.1, flex, gemm with AVX-512", start)
}

fn start(workload: &str, batches: &[Batch]) -> Outcome<Training> {
    let device = Device::flex().autodiff();
    let classes = |batch: &Batch| whole::<1>(&batch.classes, [batch.classes.len()], &device);
    let images = || {
        let image = |batch: &Batch| {
            let dims: [usize; 4] = batch.dims.clone().try_into().expect("images have four axes");
            (Tensor::<4>::from_data(TensorData::new(batch.pixels.clone(), dims), &device), classes(batch))
        };
        batches.iter().map(image).collect::<Vec<_>>()
    };
    let sgd = SgdConfig::new()
        .with_weight_decay(Some(WeightDecayConfig::new(5e-4)))
        .with_momentum(Some(MomentumConfig::new().with_dampening(0.0).with_momentum(0.9).with_nesterov(true)));
    Ok(match workload {
        "W2" => training(SmallCnn::new(&device), sgd.init(), 0.1, images(), SmallCnn::forward, &device),
        "W3" => training(NasBench201::new(&device), sgd.init(), 0.1, images(), NasBench201::forward, &device),
        _ => {
            let text = |batch: &Batch| {
                let dims: [usize; 2] = batch.dims.clone().try_into().expect("texts have two axes");
                (whole::<2>(&batch.tokens, dims, &device), classes(batch))
            };
            let texts = batches.iter().map(text).collect();
            let adam = AdamConfig::new().with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)));
            training(LanguageModel::new(&device), adam.init(), 1e-3, texts, LanguageModel::forward, &device)
        }
    })
}

fn whole<const D: usize>(values: &[u32], dims: [usize; D], device: &Device) -> Tensor<D, Int> {
    let values: Vec<i64> = values.iter().map(|&value| i64::from(value)).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

fn training<M: Module + 'static, X: Clone + 'static>(
    network: M,
    mut optimizer: ModuleOptimizer,
    rate: f64,
    data: Vec<(X, Tensor<1, Int>)>,
    forward: fn(&M, X) -> Tensor<2>,
    device: &Device,
) -> Training {
    let loss: CrossEntropyLoss = CrossEntropyLossConfig::new().init(device);
    let mut network = Some(network);
    Box::new(move |number| {
        let (x, y) = data[number].clone();
        let before = network.take().expect("it is put back after every step");
        let loss = loss.forward(forward(&before, x), y);
        let value = loss.clone().into_scalar();
        let gradients = GradientsParams::from_grads(loss.backward(), &before);
        network = Some(optimizer.step(rate, before, gradients));
        Ok(value)
    })
}

fn conv(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let border = kernel / 2;
    let settings = Conv2dConfig::new(channels, [kernel, kernel]).with_stride([stride, stride]).with_bias(false);
    settings.with_padding(PaddingConfig2d::Explicit(border, border, border, border)).init(device)
}

fn norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels).init(device)
}

/// The mean of every channel, then a linear map.
fn classify(x: Tensor<4>, linear: &Linear) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    linear.forward(x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels]))
}

#[derive(Module, Debug)]
struct SmallCnn {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    pool: MaxPool2d,
    head: Linear,
}

impl SmallCnn {
    fn new(device: &Device) -> Self {
        let channels = [1, 16, 32, 64];
        SmallCnn {
            convs: channels.windows(2).map(|pair| conv([pair[0], pair[1]], 3, 1, device)).collect(),
            norms: channels[1..].iter().map(|&count| norm(count, device)).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            head: LinearConfig::new(64, CLASSES).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let layer = |x, i: usize| relu(self.norms[i].forward(self.convs[i].forward(x)));
        classify(layer(self.pool.forward(layer(layer(x, 0), 1)), 2), &self.head)
    }
}

/// ReLU, convolution, batch norm.
#[derive(Module, Debug)]
struct Brick {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Brick {
    fn new(channels: [usize; 2], stride: usize, device: &Device) -> Self {
        Brick { conv: conv(channels, 3, stride, device), norm: norm(channels[1], device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(relu(x)))
    }
}

#[derive(Module, Debug)]
struct Reduction {
    first: Brick,
    second: Brick,
    pool: AvgPool2d,
    shortcut: Conv2d,
}

impl Reduction {
    fn new(width: usize, device: &Device) -> Self {
        Reduction {
            first: Brick::new([width / 2, width], 2, device),
            second: Brick::new([width, width], 1, device),
            pool: AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            shortcut: conv([width / 2, width], 1, 1, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.shortcut.forward(self.pool.forward(x.clone())) + self.second.forward(self.first.forward(x))
    }
}

/// Edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3, all of them 3×3.
#[derive(Module, Debug)]
struct Cell {
    edges: Vec<Brick>,
}

impl Cell {
    fn new(width: usize, device: &Device) -> Self {
        Cell { edges: (0..6).map(|_| Brick::new([width, width], 1, device)).collect() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut nodes = vec![x];
        for edges in [&self.edges[..1], &self.edges[1..3], &self.edges[3..]] {
            let terms = nodes.iter().zip(edges).map(|(from, edge)| edge.forward(from.clone()));
            nodes.extend(terms.reduce(|a, b| a + b));
        }
        nodes.swap_remove(3)
    }
}

#[derive(Module, Debug)]
struct NasBench201 {
    stem: Conv2d,
    stem_norm: BatchNorm,
    reductions: Vec<Reduction>,
    cells: Vec<Cell>,
    last: BatchNorm,
    head: Linear,
}

impl NasBench201 {
    fn new(device: &Device) -> Self {
        NasBench201 {
            stem: conv([3, 16], 3, 1, device),
            stem_norm: norm(16, device),
            reductions: [32, 64].map(|width| Reduction::new(width, device)).into(),
            cells: [16, 32, 64].map(|width| Cell::new(width, device)).into(),
            last: norm(64, device),
            head: LinearConfig::new(64, CLASSES).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = self.cells[0].forward(self.stem_norm.forward(self.stem.forward(x)));
        for (reduction, cell) in self.reductions.iter().zip(&self.cells[1..]) {
            x = cell.forward(reduction.forward(x));
        }
        classify(relu(self.last.forward(x)), &self.head)
    }
}

#[derive(Module, Debug)]
struct LanguageModel {
    embedding: Embedding,
    lstm: Lstm,
    output: Linear,
}

impl LanguageModel {
    fn new(device: &Device) -> Self {
        LanguageModel {
            embedding: EmbeddingConfig::new(VOCABULARY, 128).init(device),
            lstm: LstmConfig::new(128, 256, true).init(device),
            output: LinearConfig::new(256, VOCABULARY).init(device),
        }
    }

    fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [batch, steps] = tokens.dims();
        let (states, _) = self.lstm.forward(self.embedding.forward(tokens), None);
        self.output.forward(states.reshape([batch * steps, 256]))
    }
}
