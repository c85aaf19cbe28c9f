//! Random calls of every op, many of them absurd: each builds and runs, or is one error that names the op.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nas_nn::op::{Activation, Attention, Conv1d, Conv2d, CrossEntropy, Gru, Lstm};
use nas_nn::optim::Sgd;
use nas_nn::{Feed, Graph, Init, Params, Plan, Program, Rng, Var, layer};
use rand::RngExt as _;
use rand_chacha::rand_core::SeedableRng as _;

/// Sizes that no network has.
const ABSURD: [usize; 10] =
    [0, 1 << 14, 1 << 15, 1 << 20, 1 << 31, 1 << 32, 1 << 40, (1 << 62) + 1, usize::MAX / 2, usize::MAX];
/// Programs that take more are planned and not run.
const RUN_BYTES: u64 = 4 << 20;
/// Calls of every op.
const ROUNDS: u64 = 40;
/// Classes of the inputs of class numbers.
const CLASSES: usize = 4;

/// Draws sizes and numbers for one call.
struct Draw {
    rng: Rng,
    /// Of a hundred sizes, those that are absurd.
    absurd: u32,
}

impl Draw {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    /// A size that mostly is small, at times 0 or absurd.
    fn size(&mut self) -> usize {
        if self.chance(self.absurd) { self.pick(&ABSURD) } else { self.pick(&[1, 1, 2, 2, 3, 4, 4, 5, 6, 8, 17]) }
    }

    fn sizes<const N: usize>(&mut self) -> [usize; N] {
        std::array::from_fn(|_| self.size())
    }

    fn dims(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| self.size()).collect()
    }

    fn number(&mut self) -> f32 {
        let usual = self.rng.random_range(-1.0..2.0);
        self.pick(&[usual, usual, usual, usual, 0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX])
    }
}

/// Values to call an op with.
struct Values<'g> {
    /// Real numbers of every example.
    x: Var<'g>,
    /// Of the same or another shape, of every example or fixed.
    y: Var<'g>,
    z: Var<'g>,
    /// Class numbers below `classes`: [`CLASSES`], or as many as an axis has and one.
    index: Var<'g>,
    classes: usize,
}

type Call = for<'g> fn(&Values<'g>, &mut Draw) -> Var<'g>;

/// Every op and layer of the crate, by the names that its errors bear.
const CALLS: &[(&str, Call)] = &[
    ("leaky_relu|elu", |v, d| {
        let alpha = d.number();
        let all = [Activation::Relu, Activation::Gelu, Activation::LeakyRelu(alpha), Activation::Elu(alpha)];
        v.x.activation(d.pick(&all))
    }),
    ("adaptive_avg_pool2d", |v, d| v.x.adaptive_avg_pool2d(d.size(), d.size())),
    ("add", |v, _| v.x + v.y),
    ("sub", |v, _| v.x - v.y),
    ("mul", |v, _| v.x * v.y),
    ("attention", |v, d| v.x.attention(v.y, v.z, attention(v, d))),
    ("attention", |v, d| v.x.attention_packed(attention(v, d))),
    ("self_attention", |v, d| v.x.self_attention(attention(v, d))),
    ("batch_norm", |v, _| v.x.batch_norm()),
    ("batched_matmul", |v, _| v.x.batched_matmul(v.y)),
    ("batched_matmul_transposed", |v, _| v.x.batched_matmul_transposed(v.y)),
    ("binary_cross_entropy", |v, d| v.x.binary_cross_entropy_weighted(v.y, d.number())),
    ("concat", |v, d| v.x.concat(&[v.y, v.z], d.size())),
    ("conv1d", |v, d| {
        let [filters, kernel, stride, dilation, groups] = d.sizes();
        let conv = Conv1d::new(filters, kernel).stride(stride).dilation(dilation).bias(d.chance(50));
        let conv = if d.chance(40) { conv.groups(groups) } else { conv };
        v.x.conv1d(if d.chance(50) { conv.padding(d.sizes()) } else { conv })
    }),
    ("conv2d", |v, d| {
        let [filters, kernel, stride, dilation, groups] = d.sizes();
        let conv = Conv2d::new(filters, kernel).bias(d.chance(50));
        let conv = if d.chance(30) { conv.kernel(d.size(), d.size()) } else { conv };
        let conv = if d.chance(50) { conv.stride(stride) } else { conv };
        let conv = if d.chance(30) { conv.dilation(dilation) } else { conv };
        let conv = if d.chance(30) { conv.groups(groups) } else { conv };
        v.x.conv(if d.chance(30) { conv.padding(d.sizes()) } else { conv })
    }),
    ("conv_bn_relu", |v, d| layer::conv_bn_relu(v.x, d.size(), d.size())),
    ("relu_conv_bn", |v, d| layer::relu_conv_bn(v.x, d.size(), d.size(), d.size())),
    ("cross", |v, _| layer::cross(v.x, v.y)),
    ("cross_entropy", |v, d| {
        let weights = d.chance(30).then(|| (0..v.x.dim(0).min(CLASSES)).map(|_| d.number()).collect());
        let smoothing = if d.chance(50) { 0.0 } else { d.number() };
        let settings = CrossEntropy { smoothing, weights };
        if d.chance(50) {
            v.x.cross_entropy_masked(v.index, v.y, settings)
        } else {
            v.x.cross_entropy_with(v.index, settings)
        }
    }),
    ("dot_interaction", |v, _| v.x.dot_interaction()),
    ("drop_path", |v, d| v.x.drop_path(d.number())),
    ("dropout", |v, d| v.x.dropout(d.number())),
    ("embedding", |v, d| v.index.embedding(d.size(), d.size())),
    ("embedding", |v, _| v.index.embedding_in(v.y)),
    ("exp", |v, _| v.x.exp()),
    ("factorization_machine", |v, _| v.x.factorization_machine()),
    ("gather", |v, _| v.x.gather(v.index)),
    ("global_avg_pool", |v, _| v.x.global_avg_pool()),
    ("group_norm", |v, d| v.x.group_norm(d.size())),
    ("gru", |v, d| {
        let gru = Gru::new(d.size());
        let gru = if d.chance(30) { gru.initial(v.y) } else { gru };
        let gru = if d.chance(30) { gru.lengths(v.index) } else { gru };
        if d.chance(50) { v.x.gru_with_state(gru).1 } else { v.x.gru(gru) }
    }),
    ("huber", |v, d| v.x.huber(v.y, d.number())),
    ("l1", |v, _| v.x.l1(v.y)),
    ("layer_norm", |v, _| v.x.layer_norm()),
    ("learned_positions", |v, d| layer::learned_positions(v.x, d.size())),
    ("linear", |v, d| if d.chance(50) { v.x.linear(d.size()) } else { v.x.linear_no_bias(d.size()) }),
    ("linear_tied", |v, _| v.x.linear_tied(v.y)),
    ("ln", |v, _| v.x.ln()),
    ("lstm", |v, d| {
        let lstm = Lstm::new(d.size());
        let lstm = if d.chance(30) { lstm.initial(v.y, v.z) } else { lstm };
        let lstm = if d.chance(30) { lstm.lengths(v.index) } else { lstm };
        if d.chance(50) { v.x.lstm_with_state(lstm).1.1 } else { v.x.lstm(lstm) }
    }),
    ("lstm_cell", |v, d| v.x.lstm_cell((v.y, v.z), d.size()).0),
    ("matmul|linear", |v, _| v.x.matmul(v.y)),
    ("mse", |v, _| v.x.mse(v.y)),
    ("permute", |v, d| {
        let axes: Vec<usize> = (0..v.x.shape().rank()).map(|i| if d.chance(85) { i } else { d.size() }).rev().collect();
        v.x.permute(&axes)
    }),
    ("transpose", |v, _| v.x.transpose()),
    ("avg_pool1d", |v, d| v.x.avg_pool1d(d.size(), d.size(), d.pick(&[0, 1, 2, usize::MAX]))),
    ("max_pool1d", |v, d| v.x.max_pool1d_with(d.size(), d.size(), d.pick(&[0, 1, 2, usize::MAX]))),
    ("avg_pool2d", |v, d| v.x.avg_pool2d(d.size(), d.size(), d.pick(&[0, 1, 2, usize::MAX / 2]))),
    ("max_pool2d", |v, d| v.x.max_pool2d_with(d.size(), d.size(), d.pick(&[0, 1, 2, usize::MAX / 2]))),
    ("reshape", |v, d| {
        let rank = d.pick(&[0, 1, 2, 3, 9]);
        v.x.reshape(&d.dims(rank))
    }),
    ("flatten", |v, _| v.x.flatten()),
    ("rms_norm", |v, _| v.x.rms_norm()),
    ("rotary", |v, d| v.x.rotary(10_000.0 * d.number())),
    ("slice", |v, d| v.x.slice(d.pick(&[0, 0, 1, 2, 9]), d.pick(&[0, 0, 1, usize::MAX]), d.size())),
    ("softmax", |v, _| v.x.softmax()),
    ("log_softmax", |v, _| v.x.log_softmax()),
    ("sub", |v, _| v.x.masked(v.y)),
    ("split", |v, d| {
        let axis = d.pick(&[0, 0, 1, 2, 9]);
        let size = v.x.dim(axis);
        let first = d.size();
        let sizes = if d.chance(70) { vec![first, size.wrapping_sub(first)] } else { d.dims(3) };
        let parts = v.x.split(axis, &sizes);
        parts[0].concat(&parts[1..], axis)
    }),
    ("sum", |v, d| v.x.sum_axis(d.pick(&[0, 1, 2, usize::MAX]))),
    ("mean", |v, d| v.x.mean_axis(d.pick(&[0, 1, 2, usize::MAX]))),
    ("mean", |v, _| v.x.mean() + v.x.batch_mean().sum() + v.x.batch_sum().mean()),
    ("zeros_like", |v, _| v.x.zeros_like() + v.x),
    ("scale", |v, d| v.x.scale(d.number())),
    ("w|add", |v, d| {
        let rank = d.pick(&[0, 1, 2, 3, 9]);
        v.x + v.x.parameter("w", &d.dims(rank), Init::he(d.size()))
    }),
    ("constant|add", |v, d| v.x + v.x.graph().constant(&d.dims(2), &[1.0; 4])),
];

fn attention<'g>(v: &Values<'g>, d: &mut Draw) -> Attention<'g> {
    let attention = Attention::new(d.size());
    let attention = if d.chance(50) { attention.causal() } else { attention };
    if d.chance(30) { attention.lengths(v.index) } else { attention }
}

fn values<'g>(graph: &'g Graph, d: &mut Draw) -> Values<'g> {
    let rank = d.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 3, 4]);
    let dims = d.dims(rank);
    let other = |d: &mut Draw, name: &str| {
        let rank = d.pick(&[0, 1, 2, 3]);
        let dims = if d.chance(60) { dims.clone() } else { d.dims(rank) };
        if d.chance(70) { graph.input(name, &dims) } else { graph.parameter(name, &dims, Init::Normal { std: 1.0 }) }
    };
    // A parameter in front, so that gradients flow through the op.
    let scale = graph.parameter("scale", &[], Init::ONES);
    let x = if d.chance(80) { graph.input("x", &dims) * scale } else { graph.parameter("x", &dims, Init::ONES) };
    let classes = if d.chance(60) { CLASSES } else { dims.first().map_or(3, |n| n.wrapping_add(1)) };
    let lead = if d.chance(50) { &[][..] } else { &dims[..dims.len().saturating_sub(1)] };
    Values { x, y: other(d, "y"), z: other(d, "z"), index: graph.classes("index", classes, lead), classes }
}

/// Builds, plans and, when it is small, runs one call. What it should not do.
fn try_call(name: &str, call: Call, seed: u64) -> Result<bool, String> {
    let mut d = Draw { rng: Rng::seed_from_u64(seed), absurd: 0 };
    d.absurd = d.pick(&[0, 0, 4, 12]);
    let graph = Graph::new();
    let v = values(&graph, &mut d);
    let before = graph.check();
    let y = call(&v, &mut d);
    if let Err(error) = graph.check() {
        let text = error.to_string();
        let path = text.split(':').next().unwrap_or_default();
        let known = before.is_err() || path.split('.').any(|part| name.split('|').any(|name| part.starts_with(name)));
        return if known { Ok(false) } else { Err(format!("an error that does not name the op: {text}")) };
    }
    let _ = (graph.cost(), graph.parts(), y.shape().to_string());
    let loss = if y.shape().is_batched() { y.batch_mean().sum() } else { y.sum() };
    let batch = d.pick(&[1, 2, 3, 3, 7, 1 << 32, usize::MAX]);
    let eval = Plan::eval(&graph, &[y], batch);
    let plan = match Plan::train(&graph, loss, &[y], batch) {
        Ok(plan) => plan,
        Err(error) if batch > 7 || error.to_string().contains("bytes") => {
            return if error.to_string().contains(&batch.to_string()) { Ok(false) } else { Err(format!("{error}")) };
        }
        Err(error) => return Err(format!("it was checked and cannot be planned: {error}")),
    };
    eval.map_err(|error| format!("it can be trained and not evaluated: {error}"))?;
    if batch > 7 || plan.bytes() + 4 * graph.cost().parameters > RUN_BYTES {
        return Ok(false);
    }
    let mut params = Params::init(&graph, &mut Rng::seed_from_u64(1));
    let fed = |name: &str| {
        vec![if name == "index" { v.classes as f32 - 1.0 } else { 0.5 }; batch * plan.input_len(name).unwrap_or(0)]
    };
    let [x, y, z, index] = ["x", "y", "z", "index"].map(fed);
    let feed = Feed::new(batch).with("x", &x).with("y", &y).with("z", &z).with("index", &index);
    let mut program = Program::new(plan);
    let mut sgd = Sgd::new(0.0);
    for _ in 0..2 {
        program.step(&feed, &mut params, &mut sgd).map_err(|error| error.to_string())?;
    }
    Ok(true)
}

#[test]
fn random_calls_build_or_name_their_op() {
    let mut ran = 0;
    let mut wrong = Vec::new();
    for round in 0..ROUNDS {
        for (i, &(name, call)) in CALLS.iter().enumerate() {
            let seed = round * 1000 + i as u64;
            match catch_unwind(AssertUnwindSafe(|| try_call(name, call, seed))) {
                Ok(Ok(it_ran)) => ran += usize::from(it_ran),
                Ok(Err(message)) => wrong.push(format!("{name}, seed {seed}: {message}")),
                Err(_) => wrong.push(format!("{name}, seed {seed}: it panicked")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ROUNDS as usize * CALLS.len(), wrong.join("\n"));
    assert!(ran > 500, "only {ran} calls were sound enough to run");
}
