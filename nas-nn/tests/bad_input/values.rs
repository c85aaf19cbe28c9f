//! Values that cannot be fed, and parameters of another graph.

use nas_nn::optim::Sgd;
use nas_nn::{Feed, Graph, Init, Params, Program, Rng};
use rand_chacha::rand_core::SeedableRng as _;

/// A program of both kinds of inputs; what it says of `x` and `token` for two examples. Nothing may change.
#[track_caller]
fn says(x: &[f32], token: &[f32]) -> String {
    let graph = Graph::new();
    let hidden = graph.input("x", &[3]).linear(2) + graph.class("token", 5).embedding(5, 2);
    let loss = hidden.batch_norm().sum();
    let mut params = Params::init(&graph, &mut Rng::seed_from_u64(1));
    let before = params.clone();
    let mut program = Program::train(&graph, loss, &[], 2).unwrap();
    let feed = Feed::new(2).with("x", x).with("token", token);
    let text = program.step(&feed, &mut params, &mut Sgd::new(0.1)).unwrap_err().to_string();
    assert_eq!(program.run(&feed, &params).unwrap_err().to_string(), text);
    assert_eq!(program.accumulate(&feed, &mut params).unwrap_err().to_string(), text);
    assert_eq!(params, before);
    text
}

#[test]
fn numbers_that_are_not_finite() {
    let must = "numbers must be finite";
    for (place, value, text) in [(4, f32::NAN, "NaN"), (5, f32::INFINITY, "inf"), (0, f32::NEG_INFINITY, "-inf")] {
        let mut x = [0.5; 6];
        x[place] = value;
        let (example, place) = (place / 3, place % 3);
        let expected = format!("the input \"x\" holds {text} in example {example} at {place}; {must}");
        assert_eq!(says(&x, &[0.0, 1.0]), expected);
    }
}

#[test]
fn class_numbers_that_are_none() {
    for (value, text) in [(5.0, "5"), (-1.0, "-1"), (0.5, "0.5"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let expected = format!("the input \"token\" holds {text} in example 1 at 0; class numbers are 0 to 4");
        assert_eq!(says(&[0.5; 6], &[4.0, value]), expected);
    }
}

#[test]
fn too_few_and_too_many() {
    assert_eq!(says(&[0.5; 5], &[0.0, 1.0]), "the input \"x\" needs 6 values for this batch, got 5");
    assert_eq!(says(&[0.5; 7], &[0.0, 1.0]), "the input \"x\" needs 6 values for this batch, got 7");
    assert_eq!(says(&[0.5; 6], &[]), "the input \"token\" needs 2 values for this batch, got 0");
}

/// Statistics of one example are no numbers to divide by; they must stay finite all the same.
#[test]
fn a_batch_of_one() {
    let graph = Graph::new();
    let x = graph.input("x", &[4]).linear(3);
    let loss = (x.batch_norm().relu() + x.layer_norm() + x.group_norm(3)).sum();
    let mut params = Params::init(&graph, &mut Rng::seed_from_u64(1));
    let mut program = Program::train(&graph, loss, &[], 1).unwrap();
    let mut sgd = Sgd::new(0.1);
    for _ in 0..3 {
        let loss = program.step(&Feed::new(1).with("x", &[1.0, 2.0, -3.0, 0.0]), &mut params, &mut sgd).unwrap();
        assert!(loss.is_finite() && params.is_finite());
    }
    assert!(params.tensors().all(|tensor| tensor.values.iter().all(|x| x.is_finite())));
}

#[test]
fn parameters_of_another_graph() {
    let of = |units: usize| {
        let graph = Graph::new();
        let _ = graph.input("x", &[4]).linear(units);
        graph
    };
    let (ours, other) = (of(3), of(2));
    let loss = ours.input("y", &[2]).parameter("w", &[2], Init::ONES).sum();
    let mut program = Program::train(&ours, loss, &[], 1).unwrap();
    let mut foreign = Params::init(&other, &mut Rng::seed_from_u64(1));
    let before = foreign.clone();
    let text = program.gradients(&Feed::new(1), &mut foreign).unwrap_err().to_string();
    let expected = "the parameters belong to another graph: expected 3 tensors of 17 numbers, got 2 of 10; the first difference: \
                    expected \"linear.weight\" [4, 3], got \"linear.weight\" [4, 2]";
    assert_eq!(text, expected);
    let updated = program.update(&mut foreign, &mut Sgd::new(0.1)).unwrap_err().to_string();
    assert_eq!(updated, text);
    let text = foreign.set("linear.weight", &[4, 3], &[0.0; 12]).unwrap_err().to_string();
    assert!(text.ends_with("\"linear.weight\" is [4, 2] here and [4, 3] there"), "{text}");
    assert!(foreign.set("linear.weight", &[4, 2], &[0.0; 7]).is_err());
    let text = foreign.set("conv2d.weight", &[1], &[0.0]).unwrap_err().to_string();
    assert!(text.ends_with("there is no tensor \"conv2d.weight\""), "{text}");
    assert_eq!(foreign, before);
}
