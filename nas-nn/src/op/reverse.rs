//! The order of the first axis turned round: a sequence from its end.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};

#[derive(Debug)]
struct Reverse;

impl Op for Reverse {
    fn name(&self) -> &'static str {
        "reverse"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        match x[0].dims() {
            [] => Err(format!("needs an axis to turn round, got {}", x[0])),
            _ => Ok(x[0].clone()),
        }
    }

    fn by_example(&self) -> bool {
        true
    }

    /// yᵢ = x₍ₙ₋₁₋ᵢ₎.
    fn forward(&self, at: Forward<'_>) {
        let (steps, row) = rows(at.shape);
        for (from, to) in at.inputs[0].chunks_exact(steps * row).zip(at.output.chunks_exact_mut(steps * row)) {
            let rows = from.chunks_exact(row).rev().zip(to.chunks_exact_mut(row));
            rows.for_each(|(from, to)| to.copy_from_slice(from));
        }
    }

    /// Turned round once more.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (steps, row) = rows(at.shape);
        let (dx, add) = dx.parts();
        for (from, to) in at.grad.chunks_exact(steps * row).zip(dx.chunks_exact_mut(steps * row)) {
            for (from, to) in from.chunks_exact(row).rev().zip(to.chunks_exact_mut(row)) {
                if add {
                    to.iter_mut().zip(from).for_each(|(dx, g)| *dx += g);
                } else {
                    to.copy_from_slice(from);
                }
            }
        }
    }
}

/// The steps of the first axis and the numbers of each.
fn rows(x: &Shape) -> (usize, usize) {
    (x.dims()[0], x.dims()[1..].iter().product())
}

impl<'g> Var<'g> {
    /// This value with its first axis from the end: what a recurrent layer reads backwards.
    ///
    /// ```
    /// use nas_nn::{Graph, op::Lstm};
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", &[12, 4]);
    /// let backwards = x.reverse().lstm(Lstm::new(8)).reverse();
    /// assert_eq!(x.lstm(Lstm::new(8)).concat(&[backwards], 1).shape().dims(), [12, 16]);
    /// ```
    pub fn reverse(self) -> Var<'g> {
        self.apply(Reverse, &[])
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[4]], |v| v[0].reverse());
        gradcheck(&[&[3, 2]], |v| v[0].reverse() + v[0].scale(0.5));
        gradcheck(&[&[1, 2, 3]], |v| v[0].reverse());
    }

    #[test]
    fn examples_are_turned_round_by_themselves() {
        let graph = Graph::new();
        let y = graph.input("x", &[3, 2]).reverse();
        let mut program = Program::eval(&graph, &[y], 2).unwrap();
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
        program.run(&Feed::new(2).with("x", &x), &params).unwrap();
        assert_eq!(program.output(0), [4.0, 5.0, 2.0, 3.0, 0.0, 1.0, 10.0, 11.0, 8.0, 9.0, 6.0, 7.0]);
    }

    #[test]
    fn single_numbers_have_no_order() {
        let graph = Graph::new();
        graph.input("x", &[]).reverse();
        assert_eq!(graph.check().unwrap_err().to_string(), "reverse: needs an axis to turn round, got [N]");
    }
}
