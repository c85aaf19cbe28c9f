//! Drop path (stochastic depth for every example; Huang et al., 2016): in training a branch is left out with some probability.

use rand::RngExt as _;

use super::{Backward, Forward, Mode, Op, Space};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct DropPath {
    rate: f32,
}

impl Op for DropPath {
    fn name(&self) -> &'static str {
        "drop_path"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if !(0.0..1.0).contains(&self.rate) {
            return Err(format!("the rate is {}; it must be 0 or more and below 1", self.rate));
        }
        if !x[0].is_batched() {
            return Err(format!("drops examples and needs a value of each, got {}", x[0]));
        }
        Ok(x[0].clone())
    }

    /// The factor of every example: 0 or 1 / (1 − rate).
    fn saved(&self, _: &[&Shape], _: &Shape) -> Space {
        Space::per_example(1)
    }

    fn forward(&self, at: Forward<'_>) {
        let x = at.inputs[0];
        if at.mode == Mode::Eval {
            at.output.copy_from_slice(x);
            return;
        }
        let keep = 1.0 / (1.0 - self.rate);
        let size = at.shape.len().max(1);
        let rng = at.rng.expect("drop path does not work by example");
        for ((factor, x), y) in at.saved.iter_mut().zip(x.chunks_exact(size)).zip(at.output.chunks_exact_mut(size)) {
            *factor = if rng.random::<f32>() < self.rate { 0.0 } else { keep };
            multiply(*factor, x, y, false);
        }
    }

    /// dy/dx = the factor.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        let size = at.shape.len().max(1);
        for ((&factor, g), dx) in at.saved.iter().zip(at.grad.chunks_exact(size)).zip(dx.chunks_exact_mut(size)) {
            multiply(factor, g, dx, add);
        }
    }
}

/// y = factor · x, or added to it. What is dropped is zero even if it is not finite.
fn multiply(factor: f32, x: &[f32], y: &mut [f32], add: bool) {
    match (factor == 0.0, add) {
        (true, true) => {}
        (true, false) => y.fill(0.0),
        (false, true) => kernel::axpy(factor, x, y),
        (false, false) => kernel::map(x, y, |x| factor * x),
    }
}

impl<'g> Var<'g> {
    /// In training, each example's whole value is zero with probability `rate` and scaled by 1 / (1 − rate) otherwise; it is
    /// unchanged in evaluation, and at rate 0.
    #[must_use]
    pub fn drop_path(self, rate: f32) -> Var<'g> {
        if rate == 0.0 {
            return self;
        }
        self.apply(DropPath { rate }, &[])
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    #[test]
    fn gradient() {
        gradcheck(&[&[4, 5]], |v| v[0].drop_path(0.4));
        gradcheck(&[&[4, 5]], |v| v[0].drop_path(0.4) + v[0].scale(0.5));
        gradcheck(&[&[3]], |v| v[0].scale(0.5) + v[0].linear(3).tanh().drop_path(0.3));
    }

    #[test]
    fn examples_are_dropped_as_a_whole_and_evaluation_changes_nothing() {
        let graph = Graph::new();
        let y = graph.input("x", &[2, 3]).drop_path(0.25);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let x: Vec<f32> = (0..6 * 4000).map(|i| 1.0 + i as f32).collect();
        let feed = Feed::new(4000).with("x", &x);
        let mut program = Program::train(&graph, y.mean(), &[y], 4000).unwrap();
        program.gradients(&feed, &mut params).unwrap();
        let mut dropped = 0;
        for (y, x) in program.output(0).chunks(6).zip(x.chunks(6)) {
            if y[0] == 0.0 {
                assert_eq!(y, [0.0; 6]);
                dropped += 1;
            } else {
                let expected: Vec<f32> = x.iter().map(|x| x * (1.0 / 0.75)).collect();
                assert_eq!(y, expected);
            }
        }
        assert!((900..1_100).contains(&dropped), "{dropped}");
        let mut eval = Program::eval(&graph, &[y], 4000).unwrap();
        eval.run(&feed, &params).unwrap();
        assert_eq!(eval.output(0), x);
    }

    #[test]
    fn rate_zero_adds_nothing_to_the_graph() {
        let graph = Graph::new();
        let x = graph.input("x", &[2]);
        assert_eq!(x.drop_path(0.0).node(), x.node());
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let graph = Graph::new();
        let _ = graph.input("x", &[2]).drop_path(1.0);
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "drop_path: the rate is 1; it must be 0 or more and below 1");
        let graph = Graph::new();
        let _ = graph.parameter("w", &[2], Init::ONES).drop_path(0.5);
        assert_eq!(
            graph.check().unwrap_err().to_string(),
            "drop_path: drops examples and needs a value of each, got [2]"
        );
    }
}
