//! Graphs that cannot be built or planned.

use nas_nn::op::{Attention, Conv2d};
use nas_nn::{Graph, Init, Params, Plan, Program, Rng, layer};
use rand_chacha::rand_core::SeedableRng as _;

/// What the graph that `build` makes says.
#[track_caller]
fn says(build: impl FnOnce(&Graph)) -> String {
    let graph = Graph::new();
    build(&graph);
    graph.check().unwrap_err().to_string()
}

#[test]
fn shapes_that_do_not_fit() {
    let text = says(|g| _ = g.input("x", &[4]).scope("head", |x| x + x.graph().input("y", &[3])));
    assert_eq!(text, "head.add: the shapes [N, 4] and [N, 3] do not fit together");
    let text = says(|g| _ = g.input("x", &[3, 8, 8]).scope("stem", |x| x.conv(Conv2d::new(8, 3).groups(2))));
    assert_eq!(text, "stem.conv2d: 3 channels and 8 filters do not both divide into 2 groups");
}

#[test]
fn sizes_of_zero() {
    let text = says(|g| _ = g.input("x", &[3, 8, 8]).conv2d(0, 3));
    assert!(text.starts_with("conv2d: filters, kernel, stride, dilation and groups start at 1"), "{text}");
    let text = says(|g| _ = g.input("x", &[0]).linear(3));
    let needs = "needs a last axis of one or more and an output of one or more";
    assert_eq!(text, format!("linear: {needs}, got [N, 0] to 3"));
    let text = says(|g| _ = g.class("token", 0));
    assert_eq!(text, "token: an input of 0 classes; 1 to 16777216 can be told apart");
}

#[test]
fn absurd_sizes() {
    let text = says(|g| _ = g.input("x", &[1 << 31]));
    assert_eq!(text, "x: [N, 2147483648] is absurdly large");
    let text = says(|g| _ = g.input("x", &[0, usize::MAX]));
    assert_eq!(text, format!("x: [N, 0, {}] is absurdly large", usize::MAX));
    let text = says(|g| _ = g.input("x", &[8]).scope("head", |x| x.linear(usize::MAX)));
    assert_eq!(text, format!("head.linear.weight: [8, {}] is absurdly large", usize::MAX));
    let text = says(|g| _ = g.input("x", &[1 << 20]).reshape(&[1 << 20, 1]).matmul(g.input("y", &[1, 1 << 20])));
    assert_eq!(text, "matmul: needs a fixed matrix, got [N, 1, 1048576]");
    let text = says(|g| _ = g.input("x", &[1 << 20, 1]) * g.input("y", &[1, 1 << 20]));
    assert_eq!(text, "mul: its output [N, 1048576, 1048576] is absurdly large");
    let text = says(|g| _ = g.input("x", &[1; 9]));
    assert_eq!(text, "x: [N, 1, 1, 1, 1, 1, 1, 1, 1, 1] is absurdly large");
}

#[test]
fn absurd_padding_and_dilation() {
    for (conv, what) in [
        (Conv2d::new(4, 3).padding([usize::MAX; 4]), "a kernel of [3, 3] with dilation [1, 1] does not fit 8×8 pixels"),
        (Conv2d::new(4, 3).dilation(usize::MAX), "with dilation [18446744073709551615, 18446744073709551615]"),
        (Conv2d::new(4, usize::MAX), "is absurdly large"),
    ] {
        let text = says(|g| _ = g.input("x", &[3, 8, 8]).conv(conv));
        assert!(text.starts_with("conv2d") && text.contains(what), "{text}");
    }
    let text = says(|g| _ = g.input("x", &[3, 8, 8]).max_pool2d_with(usize::MAX, 1, usize::MAX / 2));
    assert!(text.contains("does not fit 8×8 pixels"), "{text}");
    // A stride beyond the image is just one place.
    let graph = Graph::new();
    let y = graph.input("x", &[3, 8, 8]).conv(Conv2d::new(4, 3).stride(usize::MAX));
    assert_eq!(y.shape().dims(), [4, 1, 1]);
    Plan::eval(&graph, &[y], 2).unwrap();
}

#[test]
fn more_keys_than_there_are() {
    let text = says(|g| {
        let attention = Attention::new(2).causal().lengths(g.class("lengths", 9));
        let _ = g.input("x", &[4, 8]).self_attention(attention);
    });
    let needs = "needs lengths of 0 to 4 from an input of 5 classes";
    assert_eq!(text, format!("self_attention.attention: {needs}, got 9 classes"));
}

#[test]
fn empty_graphs() {
    let graph = Graph::new();
    let text = Plan::eval(&graph, &[], 4).unwrap_err().to_string();
    assert_eq!(text, "a program needs a loss or an output");
    assert!(Params::init(&graph, &mut Rng::seed_from_u64(0)).is_empty());
    assert_eq!(graph.cost().parameters, 0);
    assert!(graph.parts().is_empty());
}

#[test]
fn a_loss_that_is_no_number() {
    let graph = Graph::new();
    let x = graph.input("x", &[3]);
    for (loss, shape) in [(x.linear(2), "[N, 2]"), (x.sum_axis(0), "[N]"), (x.batch_mean(), "[3]")] {
        let text = Program::train(&graph, loss, &[], 4).unwrap_err().to_string();
        assert_eq!(text, format!("the loss must be one number for the whole batch, got {shape}"));
    }
}

#[test]
fn batches_that_cannot_be() {
    let graph = Graph::new();
    let hidden = graph.input("x", &[100]).scope("stem", |x| x.linear(300));
    let loss = hidden.sum();
    let text = Plan::train(&graph, loss, &[], 0).unwrap_err().to_string();
    assert_eq!(text, "a program needs a batch of one example or more");
    for batch in [1 << 33, usize::MAX] {
        let text = Plan::train(&graph, loss, &[], batch).unwrap_err().to_string();
        assert_eq!(text, format!("x: [N, 100] for a batch of {batch} examples is absurdly large"));
        assert!(Plan::eval(&graph, &[hidden], batch).is_err());
    }
    // Too much only when all is added up.
    let graph = Graph::new();
    let x = graph.input("x", &[1 << 10]);
    let sum = (0..1 << 12).fold(x, |sum, _| sum.tanh().exp());
    let plan = Plan::train(&graph, (sum * x.parameter("w", &[], Init::ONES)).sum(), &[], 1 << 30);
    assert!(
        plan.map(|plan| plan.bytes())
            .unwrap_err()
            .to_string()
            .contains("for a batch of 1073741824 examples is absurdly large")
    );
}

/// Nothing of it ends the process: 60 outputs of 2⁴⁰ numbers live at once, more than can be addressed.
#[test]
fn more_memory_than_there_is() {
    let graph = Graph::new();
    let x = graph.input("x", &[1 << 10]);
    let outputs: Vec<_> = (0..60).map(|i| x.scale(i as f32 + 2.0)).collect();
    let text = Program::eval(&graph, &outputs, 1 << 30).unwrap_err().to_string();
    let start = "a program for batches of 1073741824 needs 26";
    assert!(text.starts_with(start) && text.ends_with("a smaller batch takes less"), "{text}");
}

#[test]
fn values_of_another_graph() {
    let (ours, other) = (Graph::new(), Graph::new());
    let (x, y) = (ours.input("x", &[4]), other.input("y", &[4]).scope("deep", |y| y.scope("deeper", |y| y.tanh())));
    let text = Plan::eval(&ours, &[y], 1).unwrap_err().to_string();
    assert_eq!(text, "the value asked for belongs to another graph");
    assert!(Plan::train(&ours, y.sum(), &[], 1).is_err());
    let _ = x + y;
    assert_eq!(ours.check().unwrap_err().to_string(), "add: its inputs are of different graphs");
    assert!(other.check().is_ok());
    // Neither a place nor a brick of another graph.
    let text = says(|g| _ = g.input("x", &[4]).at(y));
    assert_eq!(text, "at: the place is of a different graph");
    let ours = Graph::new();
    let inner = other.input("z", &[4]).scope("block", |z| layer::cross(ours.input("x", &[4]), z));
    assert!(ours.check().is_err() && Plan::eval(&other, &[inner], 1).is_err());
}

#[test]
fn parameters_that_are_shared_by_mistake() {
    let text = says(|g| {
        let x = g.input("x", &[4]);
        let _ = x.shared("cell", |x| x.linear(3)).shared("cell", |x| x.linear(3));
    });
    assert!(text.contains("\"cell.linear.weight\" is [4, 3] and cannot be shared as [3, 3]"), "{text}");
}

#[test]
fn names_that_stand_for_two_things() {
    let same = Graph::new();
    let _ = same.input("x", &[3]) + same.input("x", &[3]);
    assert_eq!(same.check(), Ok(()));
    let input = |text: &str| format!("x: the input is [N, 3] of numbers and cannot be {text} too");
    assert_eq!(says(|g| _ = (g.input("x", &[3]), g.input("x", &[4]))), input("[N, 4] of numbers"));
    assert_eq!(says(|g| _ = (g.input("x", &[3]), g.classes("x", 5, &[3]))), input("[N, 3] of 5 classes"));
    // They would be one tensor of a file.
    let mean = "batch_norm.running_mean";
    let parameter = |g: &Graph| _ = g.parameter(mean, &[4], Init::ONES);
    let norm = |g: &Graph| _ = g.input("x", &[4]).batch_norm();
    let start = |what: &str| format!("{mean}: a {what} of that path is there");
    assert!(says(|g| (norm(g), parameter(g)).0).starts_with(&start("state")));
    assert!(says(|g| (parameter(g), norm(g)).0).starts_with(&start("parameter")));
}

#[test]
fn constants_that_do_not_fit() {
    assert_eq!(says(|g| _ = g.constant(&[3], &[1.0])), "constant: 1 values were given for the shape [3]");
    assert_eq!(says(|g| _ = g.constant(&[0], &[])), "constant: 0 values were given for the shape [0]");
    assert!(says(|g| _ = g.constant(&[usize::MAX, 2], &[1.0])).starts_with("constant: 1 values"));
}
