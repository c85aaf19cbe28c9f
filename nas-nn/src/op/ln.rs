//! The natural logarithm, element by element.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct Ln;

impl Op for Ln {
    fn name(&self) -> &'static str {
        "ln"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        Ok(x[0].clone())
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0])
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        kernel::map(at.inputs[0], at.output, f32::ln);
    }

    /// dy/dx = 1 / x.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let x = at.input(0);
        match dx.parts() {
            (dx, true) => kernel::zip_add(at.grad, x, dx, |g, x| g / x),
            (dx, false) => kernel::zip(at.grad, x, dx, |g, x| g / x),
        }
    }
}

impl<'g> Var<'g> {
    /// ln x: −∞ at 0 and not a number below. The logarithm of a softmax is [`Var::log_softmax`], which stays finite.
    pub fn ln(self) -> Var<'g> {
        self.apply(Ln, &[])
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng, Var};

    fn softplus(x: Var<'_>) -> Var<'_> {
        (x.exp() + x.graph().constant(&[], &[1.0])).ln()
    }

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3]], |v| softplus(v[0]));
        gradcheck(&[&[]], |v| softplus(v[0]));
        // The gradient of eˣ has two parts.
        gradcheck(&[&[5]], |v| {
            let y = v[0].exp();
            y + y.ln() + y.ln()
        });
    }

    #[test]
    fn values() {
        let graph = Graph::new();
        let y = graph.input("x", &[4]).ln();
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.0, std::f32::consts::E, 0.0, -1.0]), &params).unwrap();
        let y = program.output(0);
        assert_eq!((y[0], y[2]), (0.0, f32::NEG_INFINITY));
        assert_abs_diff_eq!(y[1], 1.0, epsilon = 1e-6);
        assert!(y[3].is_nan());
    }
}
