//! Zeros of a value's shape: the operation `none` of a searched cell.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};

#[derive(Debug)]
struct Zeros;

impl Op for Zeros {
    fn name(&self) -> &'static str {
        "zeros"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        Ok(x[0].clone())
    }

    fn differentiates(&self, _: usize) -> bool {
        false
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        at.output.fill(0.0);
    }

    /// dy/dx = 0: the gradient stops here.
    fn backward(&self, _: Backward<'_>) {
        unreachable!("no gradient is asked of an op that differentiates by nothing");
    }
}

impl<'g> Var<'g> {
    /// Zeros of this value's shape, through which no gradient flows.
    #[must_use]
    pub fn zeros_like(self) -> Var<'g> {
        self.apply(Zeros, &[])
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{HOLE, gradcheck, with_holes};
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradient_stops() {
        gradcheck(&[&[2, 3]], |v| v[0] + v[0].zeros_like());
        gradcheck(&[&[4]], |v| v[0].linear(3) + v[0].scale(2.0).linear(3).zeros_like());
    }

    #[test]
    fn even_of_what_is_not_finite() {
        let graph = Graph::new();
        let y = with_holes(graph.input("x", &[3])).zeros_like();
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.0, HOLE, -1.0]), &params).unwrap();
        assert_eq!(program.output(0), [0.0; 3]);
    }
}
