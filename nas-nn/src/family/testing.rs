//! What every family of text promises.

use nas_core::{Purpose, Seed};

use super::{Family, Task, model};
use crate::optim::Adam;
use crate::{Feed, Graph, Params, Program};

fn sizes(task: &Task) -> (usize, usize) {
    let Task::Text { vocabulary, steps } = *task else { panic!("{task} is no text") };
    (vocabulary, steps)
}

/// Checks on random networks of `task` that a change of the last character changes the last answer and no other.
#[track_caller]
pub(super) fn check_causal(family: &dyn Family, task: &Task) {
    let (vocabulary, steps) = sizes(task);
    let space = family.space(task).unwrap();
    let mut rng = Seed::new(2).stream(Purpose::Test, 0);
    for _ in 0..16 {
        let architecture = space.sample(&mut rng);
        let graph = Graph::new();
        let answer = family.build(&architecture, task, &[task.inputs()[0].input(&graph)]).unwrap();
        let params = Params::init(&graph, &mut Seed::new(1).stream(Purpose::Init, 0));
        let mut program = Program::eval(&graph, &[answer], 1).unwrap();
        let mut logits = |last: usize| {
            let mut characters: Vec<f32> = (0..steps).map(|i| (i % 7) as f32).collect();
            characters[steps - 1] = last as f32;
            program.run(&Feed::new(1).with("characters", &characters), &params).unwrap();
            program.output(0).to_vec()
        };
        let (a, b) = (logits(3), logits(vocabulary - 1));
        let cut = (steps - 1) * vocabulary;
        assert!(a[..cut] == b[..cut], "{architecture} sees what comes");
        assert!(a[cut..] != b[cut..], "{architecture} does not see what is");
    }
}

/// Checks that 200 random networks and the default one, which is of the space, compile, have as many parameters as counted, and
/// train a step with a finite loss and finite gradients that reach the embedding and the head.
#[track_caller]
pub(super) fn check_two_hundred(family: &dyn Family, task: &Task) {
    let (vocabulary, steps) = sizes(task);
    let space = family.space(task).unwrap();
    space.validate(&family.default_architecture()).unwrap();
    let mut rng = Seed::new(1).stream(Purpose::Test, 0);
    let random = (0..200).map(|_| space.sample(&mut rng));
    let characters: Vec<f32> = (0..2 * steps).map(|i| ((i * 13) % vocabulary) as f32).collect();
    let next: Vec<f32> = (0..2 * steps).map(|i| ((i * 13 + 13) % vocabulary) as f32).collect();
    for architecture in std::iter::once(family.default_architecture()).chain(random) {
        let graph = Graph::new();
        let model = model(&graph, family, &architecture, task, 0.0).unwrap();
        assert_eq!(model.answer.shape().dims(), [steps, vocabulary], "{architecture}");
        let mut params = Params::init(&graph, &mut Seed::new(1).stream(Purpose::Init, 0));
        assert_eq!(params.len() as u64, graph.cost().parameters, "{architecture}");
        assert!(graph.cost().madds > 0, "{architecture}");
        let mut program = Program::train(&graph, model.loss, &[], 2).unwrap();
        let feed = Feed::new(2).with("characters", &characters).with("next", &next);
        let mut optimizer = Adam::new(1e-3);
        let loss = program.step(&feed, &mut params, &mut optimizer).unwrap();
        assert!(loss.is_finite() && params.is_finite(), "{architecture}: {loss}");
        assert!(program.grads().iter().all(|g| g.is_finite()), "{architecture}");
        for parameter in graph.parameters() {
            if parameter.path.starts_with("embedding") || parameter.path.starts_with("head") {
                let own = program.grad(&parameter.path).unwrap();
                assert!(own.iter().any(|&g| g != 0.0), "{} of {architecture}", parameter.path);
            }
        }
    }
}

/// Checks that the default network learns 32 windows of random characters by heart, up to the second character of a window, which the
/// first does not tell.
#[track_caller]
pub(super) fn check_overfits(family: &dyn Family) {
    use rand::RngExt as _;
    let (vocabulary, steps) = (12, 8);
    let task = Task::Text { vocabulary, steps };
    let graph = Graph::new();
    let model = model(&graph, family, &family.default_architecture(), &task, 0.0).unwrap();
    let mut params = Params::init(&graph, &mut Seed::new(3).stream(Purpose::Init, 0));
    let mut program = Program::train(&graph, model.loss, &[], 32).unwrap();
    let mut rng = Seed::new(3).stream(Purpose::Test, 0);
    // The first two characters number the window, so that all others can be known.
    let windows: Vec<Vec<f32>> = (0..32)
        .map(|i| {
            let random = (2..=steps).map(|_| rng.random_range(0..vocabulary) as f32);
            [(i / 6) as f32, (i % 6) as f32].into_iter().chain(random).collect()
        })
        .collect();
    let flat = |from: usize| windows.iter().flat_map(|w| w[from..from + steps].to_vec()).collect::<Vec<f32>>();
    let (characters, next) = (flat(0), flat(1));
    let feed = Feed::new(32).with("characters", &characters).with("next", &next);
    let mut optimizer = Adam::new(family.final_recipe().learning_rate);
    let mut loss = f32::NAN;
    for _ in 0..300 {
        loss = program.gradients(&feed, &mut params).unwrap();
        program.clip(1.0);
        program.update(&mut params, &mut optimizer).unwrap();
    }
    // The number's second character is one of six behind the first five firsts and of two behind the last.
    let unknown = (30.0 * 6_f32.ln() + 2.0 * 2_f32.ln()) / 32.0 / steps as f32;
    assert!(loss < unknown + 0.05, "the loss is {loss}, of which {unknown} cannot be learned");
}
