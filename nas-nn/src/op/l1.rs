//! The mean absolute difference of two values.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct L1;

impl Op for L1 {
    fn name(&self) -> &'static str {
        "l1"
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
        let total = kernel::zip_sum(at.inputs[0], at.inputs[1], |a, b| (a - b).abs());
        at.output[0] = (total / at.inputs[0].len() as f64) as f32;
    }

    /// dy/da = sign(a − b) / n, 0 where they are equal; dy/db = −dy/da.
    fn backward(&self, mut at: Backward<'_>) {
        let (a, b) = (at.input(0), at.input(1));
        let g = at.grad[0] / a.len() as f32;
        for (i, g) in [(0, g), (1, -g)] {
            let Some(dx) = at.grad_input(i) else { continue };
            let (dx, add) = dx.parts();
            let pass = |a: f32, b: f32| {
                let up = if a > b { g } else { 0.0 };
                if a < b { -g } else { up }
            };
            if add {
                kernel::zip_add(a, b, dx, pass);
            } else {
                kernel::zip(a, b, dx, pass);
            }
        }
    }
}

impl<'g> Var<'g> {
    /// The mean of the absolute differences to `target`: one number.
    pub fn l1(self, target: Var<'g>) -> Var<'g> {
        self.apply(L1, &[target])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3], &[2, 3]], |v| v[0].l1(v[1]));
        gradcheck(&[&[4]], |v| v[0].l1(v[0].linear(4)) + v[0].mean().scale(0.2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(rows in 1_usize..4, columns in 1_usize..12) {
            // One value near zero, the other 2 away: no difference lies at the kink.
            gradcheck(&[&[rows, columns]], |v| {
                let far = v[0].parameter("far", &[rows, columns], Init::Constant(2.0));
                (v[0].tanh() + v[0].zeros_like()).l1(v[0].zeros_like() + far)
            });
        }
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let x = graph.parameter("x", &[4], Init::ZEROS);
        let loss = (x + graph.input("shift", &[4])).l1(graph.input("y", &[4]));
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::train(&graph, loss, &[], 1).unwrap();
        let feed = Feed::new(1).with("shift", &[1.0, 2.0, 3.0, 4.0]).with("y", &[1.0, 0.0, 6.0, 5.0]);
        assert_eq!(program.gradients(&feed, &mut params), Ok(6.0 / 4.0));
        assert_eq!(program.grads(), [0.0, 0.25, -0.25, -0.25]);
    }

    #[test]
    fn shapes_are_not_broadcast() {
        let graph = Graph::new();
        graph.input("x", &[2, 1]).l1(graph.input("y", &[2]));
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "l1: needs two values of one shape, got [N, 2, 1] and [N, 2]");
    }
}
