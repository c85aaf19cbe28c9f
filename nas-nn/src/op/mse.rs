//! The mean squared difference of two values.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct Mse;

impl Op for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if x[0] != x[1] || x[0].is_empty() {
            return Err(format!("needs two values of one shape, got {} and {}", x[0], x[1]));
        }
        Ok(Shape::fixed(&[]))
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    fn forward(&self, at: Forward<'_>) {
        let total = kernel::zip_sum(at.inputs[0], at.inputs[1], |a, b| (a - b) * (a - b));
        at.output[0] = (total / at.inputs[0].len() as f64) as f32;
    }

    /// dy/da = 2 (a − b) / n = −dy/db.
    fn backward(&self, mut at: Backward<'_>) {
        let (a, b) = (at.input(0), at.input(1));
        let factor = 2.0 * at.grad[0] / a.len() as f32;
        for (i, sign) in [(0, factor), (1, -factor)] {
            match at.grad_input(i).map(super::Grad::parts) {
                Some((dx, true)) => kernel::zip_add(a, b, dx, |a, b| sign * (a - b)),
                Some((dx, false)) => kernel::zip(a, b, dx, |a, b| sign * (a - b)),
                None => {}
            }
        }
    }
}

impl<'g> Var<'g> {
    /// The mean of the squared differences to `target`: one number.
    pub fn mse(self, target: Var<'g>) -> Var<'g> {
        self.apply(Mse, &[target])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3], &[2, 3]], |v| v[0].mse(v[1]));
        gradcheck(&[&[4]], |v| v[0].mse(v[0].linear(4)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(rows in 1_usize..4, columns in 1_usize..12) {
            gradcheck(&[&[rows, columns], &[rows, columns]], |v| v[0].mse(v[1]));
        }
    }

    #[test]
    fn a_value_by_hand() {
        let graph = Graph::new();
        let loss = graph.input("x", &[2]).mse(graph.input("y", &[2]));
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[loss], 2).unwrap();
        program.run(&Feed::new(2).with("x", &[1.0, 2.0, 3.0, 4.0]).with("y", &[1.0, 0.0, 6.0, 5.0]), &params).unwrap();
        assert_eq!(program.output(0), [14.0 / 4.0]);
    }

    #[test]
    fn shapes_are_not_broadcast() {
        let graph = Graph::new();
        graph.input("x", &[2, 1]).mse(graph.input("y", &[2]));
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "mse: needs two values of one shape, got [N, 2, 1] and [N, 2]");
    }
}
