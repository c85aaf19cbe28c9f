//! What every family promises.

use nas_core::{Purpose, Seed};
use rand_chacha::rand_core::SeedableRng as _;

use super::*;
use crate::optim::{Adam, Optimizer, Sgd};
use crate::task::Answer;
use crate::{Feed, Params, Program};

fn image(channels: usize, height: usize, width: usize) -> Task {
    Task::Image { channels, height, width, classes: 10 }
}

fn table(numbers: usize, categories: &[usize], answer: Answer) -> Task {
    Task::Table { numbers, categories: categories.to_vec(), answer }
}

fn series(channels: usize, steps: usize) -> Task {
    Task::Series { channels, steps, classes: 4 }
}

/// Tasks of every kind that `family` serves, the smallest first.
fn tasks(family: &dyn Family) -> Vec<Task> {
    let usual = family.usual_task();
    match usual {
        Task::Image { .. } => vec![image(1, 8, 8), image(1, 9, 31), image(3, 33, 10), image(3, 32, 32), usual],
        Task::Text { .. } => {
            let text = |vocabulary, steps| Task::Text { vocabulary, steps };
            vec![text(2, 1), series(3, 2), text(20, 7), series(2, 9), usual]
        }
        Task::Series { .. } => vec![series(1, 1), series(2, 9), series(5, 16), usual],
        Task::Table { .. } => vec![
            table(1, &[], Answer::Number),
            table(0, &[3], Answer::Number),
            table(3, &[5, 2], Answer::Class { classes: 4 }),
            usual,
        ],
    }
}

/// A value for every field of `count` examples of `task`, of which no two are alike, the target last: classes in turn, numbers that
/// alternate, or for text what follows in a sequence that starts with the example's number.
fn examples(task: &Task, count: usize) -> Vec<(&'static str, Vec<f32>)> {
    let mut random = 1_u32;
    let mut number = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut numbers = |size: usize| -> Vec<f32> { (0..count * size).map(|_| number()).collect() };
    let target = task.target().name;
    match *task {
        Task::Image { channels, height, width, classes } => {
            let labels = (0..count).map(|i| (i % classes) as f32).collect();
            vec![("image", numbers(channels * height * width)), (target, labels)]
        }
        Task::Series { channels, steps, classes } => {
            let labels = (0..count).map(|i| (i % classes) as f32).collect();
            vec![("series", numbers(channels * steps)), (target, labels)]
        }
        Task::Text { vocabulary, steps } => {
            let character = |example: usize, step: usize| ((example + step * (step + 1) / 2) % vocabulary) as f32;
            let from = |first: usize| {
                let places = (0..count).flat_map(|example| (0..steps).map(move |step| (example, step)));
                places.map(|(example, step)| character(example, step + first)).collect()
            };
            vec![("characters", from(0)), (target, from(1))]
        }
        Task::Table { numbers: size, ref categories, answer } => {
            let mut fields = Vec::new();
            if size > 0 {
                fields.push(("numbers", numbers(size)));
            }
            if !categories.is_empty() {
                let mut ids = Vec::new();
                for row in 0..count {
                    let mut first = 0;
                    for &column in categories {
                        ids.push((first + row % column) as f32);
                        first += column;
                    }
                }
                fields.push(("categories", ids));
            }
            let value = |row: usize| match answer {
                Answer::Class { classes } => (row % classes) as f32,
                Answer::Number => (row % 2) as f32 * 2.0 - 1.0,
            };
            fields.push((target, (0..count).map(value).collect()));
            fields
        }
    }
}

/// What is fed to a program.
fn feed<'a>(fields: &'a [(&'static str, Vec<f32>)], count: usize) -> Feed<'a> {
    fields.iter().fold(Feed::new(count), |feed, (name, values)| feed.with(name, values))
}

/// The shape of an answer.
fn expected(task: &Task) -> Vec<usize> {
    match *task {
        Task::Image { classes, .. } | Task::Series { classes, .. } => vec![classes],
        Task::Text { vocabulary, steps } => vec![steps, vocabulary],
        Task::Table { answer: Answer::Class { classes }, .. } => vec![classes],
        Task::Table { answer: Answer::Number, .. } => vec![1],
    }
}

/// Builds, compiles and trains one step.
fn check_step(family: &dyn Family, architecture: &Architecture, task: &Task) {
    let graph = Graph::new();
    let Model { answer, loss } = model(&graph, family, architecture, task, 0.0).unwrap();
    assert_eq!(answer.shape().dims(), expected(task), "{architecture}");
    let mut params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
    let (parts, cost) = outline(family, architecture, task).unwrap();
    let trained: usize = graph.parameters().iter().map(|p| params.get(&p.path).unwrap().values.len()).sum();
    assert_eq!(trained as u64, cost.parameters, "{architecture}");
    assert_eq!(parts.iter().map(|part| part.cost.parameters).sum::<u64>(), cost.parameters, "{architecture}");
    assert!(cost.madds > 0, "{architecture}");
    let examples = examples(task, 2);
    let mut program = Program::train(&graph, loss, &[], 2).unwrap();
    let loss = program.gradients(&feed(&examples, 2), &mut params).unwrap();
    assert!(loss.is_finite() && program.grads().iter().all(|g| g.is_finite()), "{architecture}: {loss}");
    for parameter in graph.parameters() {
        if parameter.path.starts_with("embedding") || parameter.path.starts_with("head") {
            let own = program.grad(&parameter.path).unwrap();
            assert!(own.iter().any(|&g| g != 0.0), "{} of {architecture}", parameter.path);
        }
    }
    program.update(&mut params, &mut Sgd::new(0.1)).unwrap();
    let finite = |path: &str| params.get(path).unwrap().values.iter().all(|w| w.is_finite());
    assert!(graph.parameters().iter().all(|p| finite(&p.path)), "{architecture}");
}

#[test]
fn what_is_usual_for_a_table() {
    assert_eq!(usual(&table(1, &[50, 50, 2], Answer::Number)), "recommender");
    assert_eq!(usual(&table(0, &[50, 50], Answer::Class { classes: 2 })), "recommender");
    assert_eq!(usual(&table(0, &[50, 50], Answer::Class { classes: 3 })), "mlp");
    assert_eq!(usual(&table(9, &[50, 49], Answer::Number)), "mlp");
}

/// 200 architectures drawn from the default space, on tasks of every kind.
#[test]
fn every_draw_builds_and_trains_a_step() {
    for family in families() {
        let tasks = tasks(&*family);
        let spaces: Vec<_> = tasks.iter().map(|task| family.space(task).unwrap()).collect();
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        for draw in 0..200 {
            // Half of the draws are on the smallest examples, where a window can be larger than what is left.
            let kind = if draw % 2 == 0 { 0 } else { 1 + draw / 2 % (tasks.len() - 1) };
            check_step(&*family, &spaces[kind].sample(&mut rng), &tasks[kind]);
        }
    }
}

#[test]
fn the_default_is_in_the_space_and_fits_every_task() {
    for family in families() {
        let architecture = family.default_architecture();
        for task in tasks(&*family) {
            // What a task does not ask is no decision there.
            let space = family.space(&task).unwrap();
            let asked = |path: &str| space.slots().iter().any(|slot| slot.decision == path);
            let own = architecture.iter().filter(|(path, _)| asked(path));
            let own = own.fold(Architecture::new(), |all, (path, value)| all.with(path, value.clone()));
            space.validate(&own).unwrap();
            check_step(&*family, &architecture, &task);
        }
    }
}

#[test]
fn what_a_family_is_not_for_is_refused() {
    for family in families() {
        let for_images = matches!(family.usual_task(), Task::Image { .. });
        if for_images {
            let message = family.space(&image(1, 7, 28)).unwrap_err().to_string();
            assert!(message.starts_with(family.name()) && message.ends_with("needs 8×8 pixels, got 7×28"), "{message}");
        }
        let other = if for_images { Task::Text { vocabulary: 9, steps: 4 } } else { image(1, 28, 28) };
        let says = format!("and the data is {other}");
        let message = family.space(&other).unwrap_err().to_string();
        assert!(message.starts_with(family.name()) && message.ends_with(&says), "{message}");
        let architecture = family.default_architecture();
        let message = outline(&*family, &architecture, &other).unwrap_err().to_string();
        assert!(message.starts_with(family.name()) && message.ends_with(&says), "{message}");
    }
}

/// The default network learns 32 examples by heart, without the dropout that shall prevent it.
#[test]
fn the_default_overfits() {
    for family in families() {
        let (task, steps, mut optimizer): (Task, _, Box<dyn Optimizer>) = match family.usual_task() {
            Task::Image { .. } => (image(1, 8, 8), 100, Box::new(Sgd::new(0.05))),
            Task::Text { .. } => (Task::Text { vocabulary: 32, steps: 6 }, 200, Box::new(Adam::new(0.01))),
            Task::Series { .. } => (series(3, 16), 200, Box::new(Adam::new(0.01))),
            Task::Table { .. } => (table(4, &[5, 7], Answer::Class { classes: 4 }), 200, Box::new(Adam::new(0.01))),
        };
        let examples = examples(&task, 32);
        let graph = Graph::new();
        let mut architecture = family.default_architecture();
        if family.name() == "recommender" {
            architecture.set("dropout", nas_core::Value::Float(0.0));
        }
        let network = model(&graph, &*family, &architecture, &task, 0.0).unwrap();
        let mut params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
        let mut program = Program::train(&graph, network.loss, &[], 32).unwrap();
        let mut losses = Vec::new();
        for _ in 0..steps {
            losses.push(program.gradients(&feed(&examples, 32), &mut params).unwrap());
            program.clip(5.0);
            program.update(&mut params, &mut *optimizer).unwrap();
        }
        let (first, last) = (losses[0], losses[steps - 1]);
        assert!(first > 1.0 && last < 0.1, "{}: from {first} to {last}", family.name());
    }
}

/// A change of the last character changes the last answer and no other.
#[test]
fn no_place_of_a_text_sees_a_later_character() {
    let (vocabulary, steps) = (20, 12);
    let task = Task::Text { vocabulary, steps };
    for family in families().iter().filter(|family| matches!(family.usual_task(), Task::Text { .. })) {
        let space = family.space(&task).unwrap();
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        for _ in 0..16 {
            let architecture = space.sample(&mut rng);
            let graph = Graph::new();
            let answer = family.build(&architecture, &task, &[task.inputs()[0].input(&graph)]).unwrap();
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
}
