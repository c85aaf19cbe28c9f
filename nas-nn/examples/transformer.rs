//! A Transformer language model learns to repeat: the second half of every sequence is the first half again.

use nas_nn::layer::learned_positions;
use nas_nn::{Feed, Graph, Params, Program, Rng, op::Attention, optim::Adam};
use rand::RngExt as _;
use rand_chacha::rand_core::SeedableRng as _;

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (steps, tokens, batch) = (16, 10, 32);
    let graph = Graph::new();
    let x = graph.classes("x", tokens, &[steps]);
    let mut h = learned_positions(x.embedding(tokens, 32), steps);
    for _ in 0..2 {
        h = h + h.layer_norm().self_attention(Attention::new(2).causal());
        h = h + h.layer_norm().linear(128).gelu().linear(32);
    }
    let logits = h.layer_norm().linear(tokens);
    let loss = logits.cross_entropy(graph.classes("y", tokens, &[steps]));

    let mut rng = Rng::seed_from_u64(1);
    let mut params = Params::init(&graph, &mut rng);
    let mut program = Program::train(&graph, loss, &[logits], batch)?;
    let mut adam = Adam::new(3e-3);
    let half = steps / 2;
    for step in 1..=600 {
        let mut sequences = Vec::new();
        for _ in 0..batch {
            let first: Vec<f32> = (0..=half).map(|_| rng.random_range(0..tokens) as f32).collect();
            sequences.push([&first[..half], &first[..half], &first[..1]].concat());
        }
        let part = |from: usize| sequences.iter().flat_map(|s| s[from..from + steps].to_vec()).collect::<Vec<f32>>();
        let (x, y) = (part(0), part(1));
        let loss = program.step(&Feed::new(batch).with("x", &x).with("y", &y), &mut params, &mut adam)?;
        if step % 200 == 0 {
            println!("step {step}: loss {loss:.3}; the random half alone is {:.3}", 7.0 / 16.0 * 10_f32.ln());
        }
    }
    Ok(())
}
