//! Softmax and its logarithm over the last axis.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct Softmax {
    log: bool,
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        match x[0].dims().last() {
            Some(&n) if n > 0 => Ok(x[0].clone()),
            _ => Err(format!("needs a last axis of one or more, got {}", x[0])),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::OUTPUT
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let columns = at.shape.dims()[at.shape.rank() - 1];
        if self.log {
            kernel::row_log_softmax(columns, at.inputs[0], at.output);
        } else {
            kernel::row_softmax(columns, at.inputs[0], at.output);
        }
    }

    /// Of y = softmax x: dx = y (dy − Σ dy y). Of y = log softmax x: dx = dy − eʸ Σ dy.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let columns = at.shape.dims()[at.shape.rank() - 1];
        if self.log {
            kernel::row_log_softmax_backward_add(columns, at.output(), at.grad, dx.sum());
        } else {
            kernel::row_softmax_backward_add(columns, at.output(), at.grad, dx.sum());
        }
    }
}

impl<'g> Var<'g> {
    /// eˣ / Σ eˣ over the last axis.
    pub fn softmax(self) -> Var<'g> {
        self.apply(Softmax { log: false }, &[])
    }

    /// x − ln Σ eˣ over the last axis.
    pub fn log_softmax(self) -> Var<'g> {
        self.apply(Softmax { log: true }, &[])
    }

    /// This value where `mask` is 1, and less by 10⁹ where it is 0: what a softmax gives no share. Finite, so that the
    /// entropy of a masked row is no 0 · ∞; where everything is masked, all shares are even.
    pub fn masked(self, mask: Var<'g>) -> Var<'g> {
        let graph = self.graph();
        let (one, far) = (graph.constant(&[], &[1.0]), graph.constant(&[], &[1e9]));
        self - (one - mask) * far
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{BATCH, gradcheck, gradcheck_fed};
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[5]], |v| v[0].softmax());
        gradcheck(&[&[2, 3]], |v| v[0].log_softmax());
        gradcheck(&[&[4]], |v| v[0].log_softmax() + v[0]);
        // Where a mask is 0, no gradient comes back.
        let mask: [f32; BATCH * 4] = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        gradcheck_fed(&[&[4]], &[(2, &[4], &mask)], |v| v[0].masked(v[1]).softmax());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn random_gradients(rows in 1_usize..4, columns in 1_usize..20) {
            // Two columns or more: the softmax of one is always 1, and the check takes no gradient at all for a mistake.
            gradcheck(&[&[rows, columns + 1]], |v| v[0].softmax());
            gradcheck(&[&[rows, columns + 1]], |v| v[0].log_softmax());
            gradcheck(&[&[columns + 1]], |v| v[0].log_softmax() * v[0].softmax());
        }
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let x = graph.input("x", &[2, 2]);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[x.softmax(), x.log_softmax()], 1).unwrap();
        let ln3 = 3_f32.ln();
        program.run(&Feed::new(1).with("x", &[0.0, ln3, 5.0, 5.0]), &params).unwrap();
        for (i, expected) in [0.25, 0.75, 0.5, 0.5].into_iter().enumerate() {
            assert_abs_diff_eq!(program.output(0)[i], expected, epsilon = 1e-6);
            assert_abs_diff_eq!(program.output(1)[i], expected.ln(), epsilon = 1e-6);
        }
    }

    #[test]
    fn a_row_that_is_masked_completely_is_even() {
        let graph = Graph::new();
        let x = graph.input("x", &[4]).masked(graph.input("mask", &[4]));
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[x.softmax()], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.0, -2.0, 3.0, 0.0]).with("mask", &[0.0; 4]), &params).unwrap();
        assert_eq!(program.output(0), [0.25; 4]);
    }

    #[test]
    fn a_single_number_has_no_softmax() {
        let graph = Graph::new();
        graph.input("x", &[]).log_softmax();
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "log_softmax: needs a last axis of one or more, got [N]");
    }

    #[test]
    fn large_logits_and_masks() {
        let graph = Graph::new();
        let x = graph.input("x", &[3]);
        let y = x.log_softmax();
        let masked = x.masked(graph.input("mask", &[3])).softmax();
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y, masked], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1e4, -1e4, 1e4]).with("mask", &[1.0, 1.0, 0.0]), &params).unwrap();
        let half = -(2.0_f32.ln());
        assert_eq!(program.output(0), [half, -2e4 + half, half]);
        assert_eq!(program.output(1), [1.0, 0.0, 0.0]);
    }
}
