//! The Huber loss: squares near the target, absolute differences far from it (Huber, 1964).

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct Huber {
    delta: f32,
}

impl Op for Huber {
    fn name(&self) -> &'static str {
        "huber"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if x[0] != x[1] || x[0].is_empty() {
            return Err(format!("needs two values of one shape, got {} and {}", x[0], x[1]));
        }
        if !(self.delta > 0.0 && self.delta.is_finite()) {
            return Err(format!("delta is {}; it must be above 0 and finite", self.delta));
        }
        Ok(Shape::fixed(&[]))
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    /// Mean of d²/2 where |d| ≤ δ and δ (|d| − δ/2) beyond, with d = a − b. With c = min(|d|, δ) both are c (|d| − c/2).
    fn forward(&self, at: Forward<'_>) {
        let delta = self.delta;
        let total = kernel::zip_sum(at.inputs[0], at.inputs[1], |a, b| {
            let distance = (a - b).abs();
            // NaN fails the comparison and stays.
            let near = if distance > delta { delta } else { distance };
            near * (distance - 0.5 * near)
        });
        at.output[0] = (total / at.inputs[0].len() as f64) as f32;
    }

    /// dy/da = d, cut at ±δ, over n; dy/db = −dy/da.
    fn backward(&self, mut at: Backward<'_>) {
        let (a, b) = (at.input(0), at.input(1));
        let (delta, g) = (self.delta, at.grad[0] / a.len() as f32);
        for (i, g) in [(0, g), (1, -g)] {
            let Some(dx) = at.grad_input(i) else { continue };
            let (dx, add) = dx.parts();
            let pass = |a: f32, b: f32| {
                let d = a - b;
                let d = if d > delta { delta } else { d };
                g * if d < -delta { -delta } else { d }
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
    /// The mean Huber loss of the differences to `target`, which counts squares up to `delta` and absolute values beyond:
    /// one number. The usual `delta` is 1.
    pub fn huber(self, target: Var<'g>, delta: f32) -> Var<'g> {
        self.apply(Huber { delta }, &[target])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{HOLE, gradcheck, with_holes};
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3], &[2, 3]], |v| v[0].huber(v[1], 0.8));
        gradcheck(&[&[4]], |v| v[0].huber(v[0].linear(4), 0.5) + v[0].mean().scale(0.2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(rows in 1_usize..4, columns in 1_usize..12, delta in 0.2_f32..3.0) {
            gradcheck(&[&[rows, columns], &[rows, columns]], |v| v[0].huber(v[1], delta));
        }
    }

    #[test]
    fn a_value_by_hand() {
        let graph = Graph::new();
        let loss = with_holes(graph.input("x", &[2])).huber(graph.input("y", &[2]), 2.0);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[loss], 2).unwrap();
        let feed = Feed::new(2).with("x", &[1.0, 2.0, 3.0, 4.0]).with("y", &[2.0, 4.0, 8.0, -6.0]);
        program.run(&feed, &params).unwrap();
        assert_eq!(program.output(0), [(0.5 + 2.0 + 2.0 * 4.0 + 2.0 * 9.0) / 4.0]);
        program.run(&Feed::new(1).with("x", &[HOLE, 0.0]).with("y", &[0.0, 0.0]), &params).unwrap();
        assert!(program.output(0)[0].is_nan());
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize], delta: f32| {
            let graph = Graph::new();
            graph.input("x", &[2, 1]).huber(graph.input("y", dims), delta);
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(&[2], 1.0), "huber: needs two values of one shape, got [N, 2, 1] and [N, 2]");
        assert_eq!(says(&[2, 1], 0.0), "huber: delta is 0; it must be above 0 and finite");
    }
}
