//! Factorisation machine: the sum of the products of all pairs of fields (Rendle, 2010).

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct FactorizationMachine;

/// Fields and their width.
fn sizes(x: &Shape) -> [usize; 2] {
    [x.dims()[x.rank() - 2], x.dims()[x.rank() - 1]]
}

impl Op for FactorizationMachine {
    fn name(&self) -> &'static str {
        "factorization_machine"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        match x[0].dims() {
            [rest @ .., fields, width] if fields * width > 0 => Ok(x[0].with(rest)),
            _ => Err(format!("needs one or more fields of one or more numbers [fields, width], got {}", x[0])),
        }
    }

    /// A product and two sums for every number of the fields.
    fn madds(&self, x: &[&Shape], _: &Shape) -> u64 {
        x[0].len() as u64
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0])
    }

    /// Running sums of one example: adding the fields again is cheaper than keeping their sum.
    fn scratch(&self, x: &[&Shape], _: &Shape, _: usize) -> usize {
        2 * sizes(x[0])[1]
    }

    fn by_example(&self) -> bool {
        true
    }

    /// ½ Σ_d ((Σ_f v)² − Σ_f v²).
    fn forward(&self, at: Forward<'_>) {
        kernel::factorization_machine_forward(sizes(&at.shapes[0]), at.inputs[0], at.scratch, at.output);
    }

    /// dy/dv_f = Σ v − v_f.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        let x = at.input(0);
        kernel::factorization_machine_backward(sizes(&at.shapes[0]), x, at.grad, at.scratch, dx, add);
    }
}

impl<'g> Var<'g> {
    /// Σ ⟨vᵢ, vⱼ⟩ over all pairs of the fields v of this value [.., fields, width] → [..] (Rendle, 2010): the second-order
    /// term of a factorisation machine, in time linear in the fields.
    pub fn factorization_machine(self) -> Var<'g> {
        self.apply(FactorizationMachine, &[])
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
        gradcheck(&[&[3, 4]], |v| v[0].factorization_machine());
        gradcheck(&[&[2, 4, 2]], |v| v[0].factorization_machine());
        gradcheck(&[&[4, 3]], |v| v[0].factorization_machine() + v[0].sum_axis(0).linear(1).reshape(&[]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(fields in 2_usize..6, width in 1_usize..9) {
            gradcheck(&[&[fields, width]], |v| v[0].factorization_machine());
        }
    }

    #[test]
    fn a_value_by_hand() {
        let graph = Graph::new();
        let y = graph.input("x", &[3, 2]).factorization_machine();
        assert_eq!(y.shape().to_string(), "[N]");
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], 2).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
        program.run(&Feed::new(2).with("x", &x), &params).unwrap();
        // ⟨v₀, v₁⟩ + ⟨v₀, v₂⟩ + ⟨v₁, v₂⟩.
        assert_eq!(program.output(0), [11.0 + 17.0 + 39.0, 0.0 - 1.0 + 0.0]);
    }

    #[test]
    fn mistakes_name_the_shape() {
        let graph = Graph::new();
        graph.input("x", &[4]).factorization_machine();
        let expected =
            "factorization_machine: needs one or more fields of one or more numbers [fields, width], got [N, 4]";
        assert_eq!(graph.check().unwrap_err().to_string(), expected);
    }
}
