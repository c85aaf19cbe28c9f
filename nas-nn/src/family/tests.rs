//! What every family promises.

use nas_core::{Purpose, Seed};
use rand_chacha::rand_core::SeedableRng as _;

use super::*;
use crate::optim::Sgd;
use crate::{Feed, Params, Program};

fn image(channels: usize, height: usize, width: usize) -> Task {
    Task::Image { channels, height, width, classes: 10 }
}

/// `count` images for `task`, of which no two are alike, and their classes in turn.
fn examples(task: &Task, count: usize) -> (Vec<f32>, Vec<f32>) {
    let Task::Image { channels, height, width, classes } = *task;
    let mut random = 1_u32;
    let mut pixel = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let images = (0..count * channels * height * width).map(|_| pixel()).collect();
    (images, (0..count).map(|i| (i % classes) as f32).collect())
}

/// Builds, compiles and trains one step.
fn check_step(family: &dyn Family, architecture: &Architecture, task: &Task) {
    let graph = Graph::new();
    let loss = classifier(&graph, family, architecture, task, 0.0).unwrap().loss;
    let mut params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
    let (parts, cost) = outline(family, architecture, task).unwrap();
    let trained: usize = graph.parameters().iter().map(|p| params.get(&p.path).unwrap().values.len()).sum();
    assert_eq!(trained as u64, cost.parameters, "{architecture}");
    assert_eq!(parts.iter().map(|part| part.cost.parameters).sum::<u64>(), cost.parameters, "{architecture}");
    assert!(cost.madds > 0, "{architecture}");
    let (images, labels) = examples(task, 2);
    let mut program = Program::train(&graph, loss, &[], 2).unwrap();
    let feed = Feed::new(2).with("image", &images).with("label", &labels);
    let loss = program.gradients(&feed, &mut params).unwrap();
    assert!(loss.is_finite() && program.grads().iter().all(|g| g.is_finite()), "{architecture}: {loss}");
    program.update(&mut params, &mut Sgd::new(0.1));
    let finite = |path: &str| params.get(path).unwrap().values.iter().all(|w| w.is_finite());
    assert!(graph.parameters().iter().all(|p| finite(&p.path)), "{architecture}");
}

/// 200 architectures drawn from the default space, on images of every kind.
#[test]
fn every_draw_builds_and_trains_a_step() {
    let tasks = [image(1, 8, 8), image(1, 9, 31), image(1, 28, 28), image(3, 32, 32)];
    for family in families() {
        let spaces = tasks.map(|task| family.space(&task).unwrap());
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        for draw in 0..200 {
            // Half of the draws are on the smallest images, where a window can be larger than what is left.
            let kind = if draw % 2 == 0 { 0 } else { 1 + draw / 2 % 3 };
            check_step(&*family, &spaces[kind].sample(&mut rng), &tasks[kind]);
        }
    }
}

#[test]
fn the_default_is_in_the_space_and_fits_every_image() {
    for family in families() {
        let architecture = family.default_architecture();
        for task in [image(1, 8, 8), image(3, 9, 31), image(1, 28, 28), image(3, 33, 10), image(3, 32, 32)] {
            family.space(&task).unwrap().validate(&architecture).unwrap();
            check_step(&*family, &architecture, &task);
        }
        let message = family.space(&image(1, 7, 28)).unwrap_err().to_string();
        assert!(message.starts_with(family.name()) && message.ends_with("needs 8×8 pixels, got 7×28"), "{message}");
    }
}

/// The default network learns 32 examples by heart.
#[test]
fn the_default_overfits() {
    let task = image(1, 8, 8);
    let (images, labels) = examples(&task, 32);
    for family in families() {
        let graph = Graph::new();
        let network = classifier(&graph, &*family, &family.default_architecture(), &task, 0.0).unwrap();
        let mut params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
        let mut program = Program::train(&graph, network.loss, &[], 32).unwrap();
        let feed = Feed::new(32).with("image", &images).with("label", &labels);
        let mut optimizer = Sgd::new(0.05);
        let losses: Vec<f32> = (0..100)
            .map(|_| {
                let loss = program.gradients(&feed, &mut params).unwrap();
                program.clip(5.0);
                program.update(&mut params, &mut optimizer);
                loss
            })
            .collect();
        let (first, last) = (losses[0], losses[99]);
        assert!(first > 1.0 && last < 0.1, "{}: from {first} to {last}", family.name());
    }
}
