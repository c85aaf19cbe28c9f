//! Random networks of the kinds that are searched: plain, recurrent, Transformer-like, recommender-like.

use nas_nn::op::{Activation, Attention, Gru, Lstm};
use nas_nn::{Graph, Init, Rng, Var, layer};
use rand::RngExt as _;

/// What an input is fed.
pub(crate) struct Fed {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f32>,
}

/// From a graph to a loss, its batch and what is fed.
pub(crate) type Build = for<'g> fn(&'g Graph, &mut Rng) -> (Var<'g>, usize, Vec<Fed>);

pub(crate) const KINDS: [(&str, Build); 4] =
    [("plain", plain), ("recurrent", recurrent), ("transformer", transformer), ("recommender", recommender)];

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

fn numbers(rng: &mut Rng, name: &'static str, count: usize) -> Fed {
    Fed { name, values: (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() }
}

fn classes(rng: &mut Rng, name: &'static str, count: usize, below: usize) -> Fed {
    Fed { name, values: (0..count).map(|_| rng.random_range(0..below) as f32).collect() }
}

fn activation(rng: &mut Rng) -> Activation {
    use Activation::{Gelu, HardSwish, Identity, Relu, Sigmoid, Silu, Tanh};
    pick(rng, &[Relu, Gelu, Silu, Tanh, Sigmoid, HardSwish, Identity])
}

/// Layers of any width, with norms, dropout and skips.
fn plain<'g>(graph: &'g Graph, rng: &mut Rng) -> (Var<'g>, usize, Vec<Fed>) {
    let (batch, width) = (pick(rng, &[8, 64, 128]), pick(rng, &[16, 64, 100]));
    let mut x = graph.input("x", &[width]);
    for _ in 0..rng.random_range(1..5) {
        let units = pick(rng, &[16, 64, 100, 256]);
        let y = x.linear(units);
        let y = match rng.random_range(0..4) {
            0 => y.layer_norm(),
            1 => y.batch_norm(),
            2 => y.rms_norm(),
            _ => y,
        };
        let y = y.activation(activation(rng));
        let y = if rng.random_bool(0.3) { y.dropout(0.2) } else { y };
        x = if x.shape() == y.shape() { x + y } else { y };
    }
    let loss = x.linear(10).cross_entropy(graph.class("y", 10));
    (loss, batch, vec![numbers(rng, "x", batch * width), classes(rng, "y", batch, 10)])
}

/// Language models: fused layers, or a cell that is unrolled.
fn recurrent<'g>(graph: &'g Graph, rng: &mut Rng) -> (Var<'g>, usize, Vec<Fed>) {
    let (batch, steps, vocabulary) = (pick(rng, &[4, 16, 32]), rng.random_range(2..25), 40);
    let width = pick(rng, &[16, 48, 64]);
    let mut x = graph.classes("x", vocabulary, &[steps]).embedding(vocabulary, width);
    for _ in 0..rng.random_range(1..3) {
        let units = pick(rng, &[16, 48, 64]);
        x = match rng.random_range(0..3) {
            0 => x.lstm(Lstm::new(units)),
            1 => x.gru(Gru::new(units)),
            _ => unrolled(x, units, activation(rng)),
        };
    }
    let loss = x.linear(vocabulary).cross_entropy(graph.classes("y", vocabulary, &[steps]));
    let fed = ["x", "y"].map(|name| classes(rng, name, batch * steps, vocabulary));
    (loss, batch, fed.into())
}

/// hₜ = hₜ₋₁ + g (f(a) − hₜ₋₁), with the gate g and the value a from both the input and the state.
fn unrolled<'g>(x: Var<'g>, units: usize, activation: Activation) -> Var<'g> {
    let steps = x.dim(0);
    x.scope("cell", |x| {
        let all = x.linear(2 * units);
        let weight = x.parameter("hidden", &[units, 2 * units], Init::fan_in(units));
        let mut outputs: Vec<Var<'g>> = Vec::new();
        let mut state: Option<Var<'g>> = None;
        for t in 0..steps {
            let now = all.slice(0, t, t + 1).reshape(&[2 * units]);
            let gates = state.map_or(now, |h| now + h.matmul(weight));
            let parts = gates.split(0, &[units, units]);
            let (gate, value) = (parts[0].sigmoid(), parts[1].activation(activation));
            let h = state.map_or(gate * value, |h| h + gate * (value - h));
            state = Some(h);
            outputs.push(h.reshape(&[1, units]));
        }
        outputs[0].concat(&outputs[1..], 0)
    })
}

/// Language models of attention and wide layers.
fn transformer<'g>(graph: &'g Graph, rng: &mut Rng) -> (Var<'g>, usize, Vec<Fed>) {
    let (batch, steps, vocabulary) = (pick(rng, &[2, 8, 16]), rng.random_range(4..40), 65);
    let width = pick(rng, &[32, 64, 96]);
    let x = graph.classes("x", vocabulary, &[steps]).embedding(vocabulary, width);
    let mut x = layer::learned_positions(x, 40);
    for _ in 0..rng.random_range(1..4) {
        let (heads, wide) = (pick(rng, &[1, 2, 4]), pick(rng, &[1, 2, 4]));
        let (before, rms, drop) = (rng.random_bool(0.7), rng.random_bool(0.5), rng.random_bool(0.3));
        let activation = activation(rng);
        x = x.scope("block", |x| {
            let norm = |x: Var<'g>| if rms { x.rms_norm() } else { x.layer_norm() };
            let maybe = |x: Var<'g>| if drop { x.drop_path(0.1) } else { x };
            let attend = |x: Var<'g>| maybe(x.self_attention(Attention::new(heads).causal()));
            let feed = |x: Var<'g>| maybe(x.linear(wide * width).activation(activation).linear(width));
            if before {
                let x = x + attend(norm(x));
                x + feed(norm(x))
            } else {
                let x = norm(x + attend(x));
                norm(x + feed(x))
            }
        });
    }
    let loss = x.linear(vocabulary).cross_entropy(graph.classes("y", vocabulary, &[steps]));
    let fed = ["x", "y"].map(|name| classes(rng, name, batch * steps, vocabulary));
    (loss, batch, fed.into())
}

/// Ratings from embeddings, their interactions and a tower.
fn recommender<'g>(graph: &'g Graph, rng: &mut Rng) -> (Var<'g>, usize, Vec<Fed>) {
    const NAMES: [&str; 4] = ["user", "item", "shop", "hour"];
    let (batch, width) = (pick(rng, &[32, 256, 1024]), pick(rng, &[8, 16, 32]));
    let names = &NAMES[..rng.random_range(2..=4)];
    let counts: Vec<usize> = names.iter().map(|_| pick(rng, &[24, 200, 1500])).collect();
    let fields: Vec<Var<'g>> = names
        .iter()
        .zip(&counts)
        .map(|(name, &count)| graph.class(name, count).embedding(count, width).reshape(&[1, width]))
        .collect();
    let fields = fields[0].concat(&fields[1..], 0);
    let flat = fields.flatten();
    let mut tower = match rng.random_range(0..3) {
        0 => layer::cross(layer::cross(flat, flat), flat),
        1 => flat.concat(&[fields.dot_interaction()], 0),
        _ => flat,
    };
    for _ in 0..rng.random_range(1..4) {
        tower = tower.linear(pick(rng, &[16, 64, 128])).activation(activation(rng));
    }
    let mut rating = tower.linear(1).reshape(&[]);
    if rng.random_bool(0.5) {
        rating = rating + fields.factorization_machine();
    }
    let mut fed: Vec<Fed> = names.iter().zip(&counts).map(|(name, &count)| classes(rng, name, batch, count)).collect();
    fed.push(numbers(rng, "rating", batch));
    (rating.mse(graph.input("rating", &[])), batch, fed)
}
