//! Dropout (Srivastava et al., 2014): in training each number is zero with some probability and the rest scaled up.

use rand::RngExt as _;

use super::{Backward, Forward, Mode, Op, Space};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct Dropout {
    rate: f32,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if !(0.0..1.0).contains(&self.rate) {
            return Err(format!("the rate is {}; it must be 0 or more and below 1", self.rate));
        }
        Ok(x[0].clone())
    }

    /// The factor of every number: 0 or 1 / (1 − rate).
    fn saved(&self, _: &[&Shape], y: &Shape) -> Space {
        if y.is_batched() { Space::per_example(y.len()) } else { Space::once(y.len()) }
    }

    fn forward(&self, at: Forward<'_>) {
        if at.mode == Mode::Eval {
            at.output.copy_from_slice(at.inputs[0]);
            return;
        }
        let keep = 1.0 / (1.0 - self.rate);
        let rng = at.rng.expect("dropout does not work by example");
        for factor in at.saved.iter_mut() {
            *factor = if rng.random::<f32>() < self.rate { 0.0 } else { keep };
        }
        kernel::zip(at.inputs[0], at.saved, at.output, |x, factor| x * factor);
    }

    /// dy/dx = the factor.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        let pass = if add { kernel::zip_add } else { kernel::zip };
        pass(at.grad, at.saved, dx, |g, factor| g * factor);
    }
}

impl<'g> Var<'g> {
    /// In training, zero with probability `rate` and scaled by 1 / (1 − rate) otherwise; unchanged in evaluation.
    pub fn dropout(self, rate: f32) -> Var<'g> {
        self.apply(Dropout { rate }, &[])
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    #[test]
    fn gradient() {
        gradcheck(&[&[4, 5]], |v| v[0].dropout(0.4));
        gradcheck(&[&[4, 5]], |v| v[0].dropout(0.4) + v[0].scale(0.5));
        gradcheck(&[&[3]], |v| v[0] + v[0].parameter("table", &[3], Init::ONES).dropout(0.5));
    }

    #[test]
    fn the_mean_stays_and_evaluation_changes_nothing() {
        let graph = Graph::new();
        let x = graph.input("x", &[10_000]);
        let y = x.dropout(0.25);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let ones = vec![1.0; 10_000];
        let feed = Feed::new(1).with("x", &ones);
        let mut program = Program::train(&graph, y.mean(), &[y], 1).unwrap();
        let mean = program.gradients(&feed, &mut params).unwrap();
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        let dropped = program.output(0).iter().filter(|&&y| y == 0.0).count();
        assert!((2_300..2_700).contains(&dropped), "{dropped}");
        let mut eval = Program::eval(&graph, &[y], 1).unwrap();
        eval.run(&feed, &params).unwrap();
        assert_eq!(eval.output(0), ones);
    }

    #[test]
    fn a_rate_of_one_is_a_mistake() {
        let graph = Graph::new();
        graph.input("x", &[2]).dropout(1.0);
        assert_eq!(graph.check().unwrap_err().to_string(), "dropout: the rate is 1; it must be 0 or more and below 1");
    }
}
