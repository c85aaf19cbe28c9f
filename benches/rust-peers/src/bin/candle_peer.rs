//! candle: the networks of the comparison, SGD with Nesterov momentum, which it does not have, and the clipping of norms.

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{
    AdamW, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Embedding, LSTM, LSTMConfig, Linear, Module as _,
    Optimizer as _, ParamsAdamW, RNN as _, VarBuilder, VarMap, batch_norm, conv2d_no_bias, embedding, linear,
    loss::cross_entropy, lstm,
};
use rust_peers::{Batch, CLASSES, Outcome, Training, VOCABULARY, serve};

fn main() -> Outcome<()> {
    serve("candle 0.11.1, gemm with AVX-512", start)
}

fn start(workload: &str, batches: &[Batch]) -> Outcome<Training> {
    let device = Device::Cpu;
    let data: Vec<(Tensor, Tensor)> = batches
        .iter()
        .map(|batch| {
            let x = match batch.tokens[..] {
                [] => Tensor::from_slice(&batch.pixels, batch.dims.clone(), &device)?,
                _ => Tensor::from_slice(&batch.tokens, batch.dims.clone(), &device)?,
            };
            Ok((x, Tensor::from_slice(&batch.classes, batch.classes.len(), &device)?))
        })
        .collect::<Result<_>>()?;
    let map = VarMap::new();
    let at = VarBuilder::from_varmap(&map, candle_core::DType::F32, &device);
    let network: Box<dyn Fn(&Tensor) -> Result<Tensor>> = match workload {
        "W2" => small_cnn(&at)?,
        "W3" => nas_bench_201(&at)?,
        _ => language_model(&at)?,
    };
    let variables = map.data().lock().map_err(|_| "a thread panicked")?;
    let trained: Vec<Var> =
        variables.iter().filter(|(name, _)| !name.contains("running")).map(|(_, variable)| variable.clone()).collect();
    let mut update: Box<dyn FnMut(&mut GradStore) -> Result<()>> = match workload {
        "W5" => {
            let settings = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..ParamsAdamW::default() };
            let mut adam = AdamW::new(trained.clone(), settings)?;
            Box::new(move |gradients| {
                clip(gradients, &trained, 1.0)?;
                adam.step(gradients)
            })
        }
        _ => {
            let mut momenta = vec![None; trained.len()];
            Box::new(move |gradients| sgd(gradients, &trained, &mut momenta))
        }
    };
    Ok(Box::new(move |number| {
        let (x, y) = &data[number];
        let loss = cross_entropy(&network(x)?, y)?;
        update(&mut loss.backward()?)?;
        Ok(loss.to_scalar()?)
    }))
}

/// A step with rate 0.1, Nesterov momentum 0.9 and weight decay 5e-4.
fn sgd(gradients: &GradStore, trained: &[Var], momenta: &mut [Option<Tensor>]) -> Result<()> {
    for (variable, momentum) in trained.iter().zip(momenta) {
        let Some(gradient) = gradients.get(variable) else { continue };
        let value = variable.as_detached_tensor();
        let gradient = (gradient + (&value * 5e-4)?)?;
        let moved = match momentum.take() {
            Some(before) => ((before * 0.9)? + &gradient)?,
            None => gradient.clone(),
        };
        variable.set(&(value - ((gradient + (&moved * 0.9)?)? * 0.1)?)?)?;
        *momentum = Some(moved.detach());
    }
    Ok(())
}

/// Shortens all gradients together to the norm `limit`.
fn clip(gradients: &mut GradStore, trained: &[Var], limit: f64) -> Result<()> {
    let mut squares = 0.0;
    for gradient in trained.iter().filter_map(|variable| gradients.get(variable)) {
        squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    if squares.sqrt() > limit {
        for variable in trained {
            if let Some(gradient) = gradients.remove(variable) {
                gradients.insert(variable, (gradient * (limit / squares.sqrt()))?);
            }
        }
    }
    Ok(())
}

type Network = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

fn conv(channels: [usize; 2], kernel: usize, stride: usize, at: VarBuilder<'_>) -> Result<Conv2d> {
    let settings = Conv2dConfig { padding: kernel / 2, stride, ..Conv2dConfig::default() };
    conv2d_no_bias(channels[0], channels[1], kernel, settings, at)
}

fn norm(channels: usize, at: VarBuilder<'_>) -> Result<BatchNorm> {
    batch_norm(channels, BatchNormConfig::default(), at)
}

/// The mean of every channel, then a linear map.
fn classify(x: &Tensor, linear: &Linear) -> Result<Tensor> {
    linear.forward(&x.mean((2, 3))?)
}

fn small_cnn(at: &VarBuilder<'_>) -> Result<Network> {
    let channels = [1, 16, 32, 64];
    let layers = (0..3).map(|i| {
        let pair = [channels[i], channels[i + 1]];
        Ok((conv(pair, 3, 1, at.pp(format!("conv{i}")))?, norm(pair[1], at.pp(format!("norm{i}")))?))
    });
    let layers: Vec<(Conv2d, BatchNorm)> = layers.collect::<Result<_>>()?;
    let head = linear(64, CLASSES, at.pp("head"))?;
    Ok(Box::new(move |x| {
        let layer = |x: &Tensor, i: usize| layers[i].1.forward_train(&layers[i].0.forward(x)?)?.relu();
        classify(&layer(&layer(&layer(x, 0)?, 1)?.max_pool2d(2)?, 2)?, &head)
    }))
}

/// ReLU, convolution, batch norm.
struct Brick(Conv2d, BatchNorm);

impl Brick {
    fn new(channels: [usize; 2], stride: usize, at: &VarBuilder<'_>) -> Result<Self> {
        Ok(Brick(conv(channels, 3, stride, at.pp("conv"))?, norm(channels[1], at.pp("norm"))?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.1.forward_train(&self.0.forward(&x.relu()?)?)
    }
}

/// Edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3, all of them 3×3.
fn cell(edges: &[Brick], x: Tensor) -> Result<Tensor> {
    let mut nodes = vec![x];
    for edges in [&edges[..1], &edges[1..3], &edges[3..]] {
        let mut sum: Option<Tensor> = None;
        for (from, edge) in nodes.iter().zip(edges) {
            let term = edge.forward(from)?;
            sum = Some(match sum {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
        nodes.extend(sum);
    }
    Ok(nodes.swap_remove(3))
}

fn nas_bench_201(at: &VarBuilder<'_>) -> Result<Network> {
    let stem = (conv([3, 16], 3, 1, at.pp("stem"))?, norm(16, at.pp("stem_norm"))?);
    let mut stages = Vec::new();
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        let at = at.pp(format!("stage{stage}"));
        let reduction = if stage == 0 {
            None
        } else {
            let first = Brick::new([width / 2, width], 2, &at.pp("first"))?;
            let second = Brick::new([width, width], 1, &at.pp("second"))?;
            Some((first, second, conv([width / 2, width], 1, 1, at.pp("shortcut"))?))
        };
        let edges = (0..6).map(|i| Brick::new([width, width], 1, &at.pp(format!("edge{i}"))));
        stages.push((reduction, edges.collect::<Result<Vec<_>>>()?));
    }
    let (last, head) = (norm(64, at.pp("last"))?, linear(64, CLASSES, at.pp("head"))?);
    Ok(Box::new(move |x| {
        let mut x = stem.1.forward_train(&stem.0.forward(x)?)?;
        for (reduction, edges) in &stages {
            if let Some((first, second, shortcut)) = reduction {
                x = (shortcut.forward(&x.avg_pool2d(2)?)? + second.forward(&first.forward(&x)?)?)?;
            }
            x = cell(edges, x)?;
        }
        classify(&last.forward_train(&x)?.relu()?, &head)
    }))
}

fn language_model(at: &VarBuilder<'_>) -> Result<Network> {
    let table: Embedding = embedding(VOCABULARY, 128, at.pp("embedding"))?;
    let layer: LSTM = lstm(128, 256, LSTMConfig::default(), at.pp("lstm"))?;
    let output = linear(256, VOCABULARY, at.pp("output"))?;
    Ok(Box::new(move |tokens| {
        let states = layer.seq(&table.forward(tokens)?)?;
        output.forward(&layer.states_to_tensor(&states)?.contiguous()?.flatten(0, 1)?)
    }))
}
