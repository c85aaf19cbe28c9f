//! The networks that engines are compared on, of the kinds that architecture search trains; `benches/peers/torch_workloads.py`
//! defines the same in PyTorch, and `benches/tests/fixtures.rs` checks that they train alike.

use nas_nn::op::{Activation, Attention, Conv2d, Lstm};
use nas_nn::{Init, Var};

/// An edge of a NAS-Bench-201 cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// ReLU, convolution 3×3, batch norm.
    Conv3x3,
    /// The identity.
    Skip,
}

use Edge::{Conv3x3, Skip};

/// The cells of W3 and W3b: edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3.
pub const ALL_3X3: [Edge; 6] = [Conv3x3; 6];
/// The best cell of the benchmark on CIFAR-10.
pub const BEST_CELL: [Edge; 6] = [Conv3x3, Conv3x3, Conv3x3, Skip, Conv3x3, Conv3x3];

/// W1: two hidden layers of 128.
pub fn mlp(x: Var<'_>) -> Var<'_> {
    x.linear(128).relu().linear(128).relu().linear(10)
}

/// W2: three convolutions of 16, 32 and 64 filters, the image halved before the last.
pub fn small_cnn(x: Var<'_>) -> Var<'_> {
    fn layer(x: Var<'_>, filters: usize) -> Var<'_> {
        x.conv2d(filters, 3).batch_norm().relu()
    }
    layer(layer(layer(x, 16), 32).max_pool2d(2), 64).global_avg_pool().linear(10)
}

/// W3 and W3b: the network of NAS-Bench-201 with one cell a stage and `width` channels in the first.
pub fn nas_bench_201<'g>(x: Var<'g>, cell: &[Edge; 6], width: usize) -> Var<'g> {
    let conv = |x: Var<'g>, filters: usize, stride: usize| {
        let x = x.relu();
        x.scope("conv", |x| x.conv(Conv2d::new(filters, 3).stride(stride)).batch_norm())
    };
    let mut x = x.scope("stem", |x| x.conv2d(width, 3).batch_norm());
    for (stage, filters) in [width, 2 * width, 4 * width].into_iter().enumerate() {
        if stage > 0 {
            x = x.scope("reduction", |x| {
                let main = conv(conv(x, filters, 2), filters, 1);
                x.avg_pool2d(2, 2, 0).scope("shortcut", |x| x.conv2d(filters, 1)) + main
            });
        }
        x = x.scope("cell", |x| {
            let mut nodes = vec![x];
            for edges in [&cell[..1], &cell[1..3], &cell[3..]] {
                let terms = nodes.iter().zip(edges).map(|(&from, edge)| match edge {
                    Conv3x3 => conv(from, filters, 1),
                    Skip => from,
                });
                nodes.push(terms.reduce(|a, b| a + b).expect("every node has an edge"));
            }
            nodes[3]
        });
    }
    x.scope("head", |x| x.batch_norm().relu().global_avg_pool().linear(10))
}

/// W4: four inverted bottlenecks with depthwise convolutions.
pub fn mobile(x: Var<'_>) -> Var<'_> {
    let mut x = x.scope("stem", |x| x.conv(Conv2d::new(16, 3).stride(2)).batch_norm().relu6());
    for (input, output, kernel, stride) in [(16, 16, 3, 1), (16, 24, 5, 2), (24, 24, 3, 1), (24, 40, 5, 2)] {
        x = x.scope("block", |x| {
            let wide = 3 * input;
            let y = x.conv2d(wide, 1).batch_norm().relu6();
            let y = y.conv(Conv2d::new(wide, kernel).stride(stride).groups(wide)).batch_norm().relu6();
            let y = y.conv2d(output, 1).batch_norm();
            if stride == 1 && input == output { x + y } else { y }
        });
    }
    x.global_avg_pool().linear(10)
}

/// W5: a language model of one LSTM. `x` is token numbers.
pub fn lstm<'g>(x: Var<'g>, vocabulary: usize, [width, units]: [usize; 2]) -> Var<'g> {
    x.embedding(vocabulary, width).lstm(Lstm::new(units)).linear(vocabulary)
}

/// W5b: a language model with a searched recurrent cell of eight nodes with highway gates.
pub fn recurrent_cell<'g>(x: Var<'g>, vocabulary: usize, [width, units]: [usize; 2]) -> Var<'g> {
    use Activation::{Identity, Relu, Sigmoid, Tanh};
    let edges = [(0, Relu), (1, Tanh), (1, Sigmoid), (2, Identity), (3, Relu), (0, Tanh), (5, Tanh)];
    let (graph, steps) = (x.graph(), x.dim(0));
    let weight = |name: &str| graph.parameter(name, &[units, 2 * units], Init::fan_in(units));
    let all = x.embedding(vocabulary, width).scope("input", |x| x.linear_with(2 * units, Init::fan_in(width), true));
    let node = |gates: Var<'g>, from: Option<Var<'g>>, activation: Activation| {
        let (gate, value) = (gates.slice(0, 0, units).sigmoid(), gates.slice(0, units, 2 * units));
        let value = value.activation(activation);
        match from {
            Some(from) => from + gate * (value - from),
            None => gate * value,
        }
    };
    let (mut state, mut outputs) = (None, Vec::new());
    for t in 0..steps {
        let gates = all.slice(0, t, t + 1).reshape(&[2 * units]);
        let gates = state.map_or(gates, |h: Var<'g>| gates + h.matmul(weight("hidden")));
        let mut nodes = vec![node(gates, state, Tanh)];
        for (number, (from, activation)) in edges.into_iter().enumerate() {
            let from = nodes[from];
            nodes.push(node(from.matmul(weight(&format!("node{number}"))), Some(from), activation));
        }
        let h = (nodes[4] + nodes[6] + nodes[7]).scale(1.0 / 3.0);
        state = Some(h);
        outputs.push(h.reshape(&[1, units]));
    }
    outputs[0].concat(&outputs[1..], 0).linear(vocabulary)
}

/// W6: a Transformer language model of two pre-norm blocks with four heads.
pub fn transformer<'g>(x: Var<'g>, vocabulary: usize, [width, wide]: [usize; 2]) -> Var<'g> {
    let positions = x.graph().parameter("positions", &[x.dim(0), width], Init::Normal { std: 1.0 });
    let mut x = x.embedding(vocabulary, width) + positions;
    for _ in 0..2 {
        x = x.scope("block", |x| {
            let x = x + x.layer_norm().self_attention(Attention::new(4).causal());
            x + x.layer_norm().linear(wide).gelu().linear(width)
        });
    }
    x.layer_norm().linear(vocabulary)
}

/// W7: a rating from a user and an item, by embeddings and a small tower.
pub fn recommender<'g>(user: Var<'g>, item: Var<'g>, [users, items]: [usize; 2], width: usize) -> Var<'g> {
    let (user, item) = (user.embedding(users, width), item.embedding(items, width));
    user.concat(&[item], 0).linear(64).relu().linear(32).relu().linear(1).reshape(&[])
}
