//! An LSTM language model of characters: trains on its own source and continues it.

use nas_nn::{Feed, Graph, Params, Program, Rng, op::Lstm, optim::Adam};
use rand_chacha::rand_core::SeedableRng as _;

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text: Vec<f32> = include_bytes!("lstm.rs").iter().map(|&byte| f32::from(byte.min(127))).collect();
    let (steps, batch) = (32, 16);
    let graph = Graph::new();
    let x = graph.classes("x", 128, &[steps]);
    let logits = x.embedding(128, 32).lstm(Lstm::new(96)).linear(128);
    let loss = logits.cross_entropy(graph.classes("y", 128, &[steps]));

    let mut params = Params::init(&graph, &mut Rng::seed_from_u64(1));
    let mut program = Program::train(&graph, loss, &[], batch)?;
    let mut adam = Adam::new(5e-3);
    for step in 1..=300 {
        // Stretches that start all over the text, and the same a character later.
        let starts = (0..batch).map(|i| (step * 37 + i * text.len() / batch) % (text.len() - steps - 1));
        let stretches = |shift: usize| starts.clone().flat_map(move |s| s + shift..s + shift + steps);
        let [x, y] = [0, 1].map(|shift| stretches(shift).map(|i| text[i]).collect::<Vec<f32>>());
        program.gradients(&Feed::new(batch).with("x", &x).with("y", &y), &mut params)?;
        program.clip(1.0);
        program.update(&mut params, &mut adam)?;
    }
    let mut eval = Program::eval(&graph, &[logits], 1)?;
    let mut seen = text[..steps].to_vec();
    for _ in 0..60 {
        eval.run(&Feed::new(1).with("x", &seen[seen.len() - steps..]), &params)?;
        let last = &eval.output(0)[(steps - 1) * 128..];
        let best = (0..128).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap_or(0);
        seen.push(best as f32);
    }
    println!("{}", seen.iter().map(|&c| char::from(c as u8)).collect::<String>());
    Ok(())
}
