//! A CNN on real images: trains on the embedded Fashion-MNIST subset and scores the test images.

use nas_nn::data::demo::fashion_mnist_mini;
use nas_nn::{Feed, Graph, Params, Program, Rng, layer::conv_bn_relu, optim};
use rand_chacha::rand_core::SeedableRng as _;

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = fashion_mnist_mini()?;
    let preparation = data.train.prepare();
    let graph = Graph::new();
    let x = graph.input("x", &[1, 28, 28]);
    let x = conv_bn_relu(conv_bn_relu(x, 16, 3).max_pool2d(2), 32, 3).max_pool2d(2);
    let logits = conv_bn_relu(x, 64, 3).global_avg_pool().linear(10);
    let loss = logits.cross_entropy(graph.class("y", 10));
    println!("{}", graph.cost());

    let (batch, mut rng) = (50, Rng::seed_from_u64(1));
    let mut params = Params::init(&graph, &mut rng);
    let mut program = Program::train(&graph, loss, &[], batch)?;
    let mut sgd = optim::Sgd::new(0.05);
    let (mut images, mut labels) = (vec![0.0; batch * 784], vec![0.0; batch]);
    for epoch in 1..=8 {
        let mut total = 0.0;
        for indices in data.train.shuffled(&mut rng).chunks_exact(batch) {
            data.train.fill(indices, &preparation, None, &mut [&mut images, &mut labels]);
            total += program.step(&Feed::new(batch).with("x", &images).with("y", &labels), &mut params, &mut sgd)?;
        }
        println!("epoch {epoch}: loss {:.3}", total / (data.train.len() / batch) as f32);
    }
    let (mut eval, mut hits) = (Program::eval(&graph, &[logits], batch)?, 0);
    for indices in (0..data.test.len()).collect::<Vec<_>>().chunks_exact(batch) {
        data.test.fill(indices, &preparation, None, &mut [&mut images, &mut labels]);
        eval.run(&Feed::new(batch).with("x", &images), &params)?;
        let is_best = |row: &[f32], y: f32| row.iter().all(|&score| score <= row[y as usize]);
        hits += eval.output(0).chunks_exact(10).zip(&labels).filter(|(row, y)| is_best(row, **y)).count();
    }
    println!("test accuracy {:.3}", hits as f32 / data.test.len() as f32);
    Ok(())
}
