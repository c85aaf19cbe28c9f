//! Dot products of all pairs of fields (DLRM; Naumov et al., 2019).

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct DotInteraction;

/// Fields and their width.
fn sizes(x: &Shape) -> [usize; 2] {
    [x.dims()[x.rank() - 2], x.dims()[x.rank() - 1]]
}

impl Op for DotInteraction {
    fn name(&self) -> &'static str {
        "dot_interaction"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        match x[0].dims() {
            [rest @ .., fields, width] if *fields > 1 && *width > 0 => {
                let pairs =
                    fields.checked_mul(fields - 1).ok_or_else(|| format!("{fields} fields have too many pairs"))?;
                let dims: Vec<usize> = rest.iter().copied().chain([pairs / 2]).collect();
                Ok(x[0].with(&dims))
            }
            _ => Err(format!("needs two or more fields of one or more numbers [fields, width], got {}", x[0])),
        }
    }

    fn madds(&self, x: &[&Shape], y: &Shape) -> u64 {
        (y.len() * sizes(x[0])[1]) as u64
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0])
    }

    /// One example, transposed.
    fn scratch(&self, x: &[&Shape], _: &Shape, _: usize) -> usize {
        kernel::dot_interaction_scratch(sizes(x[0]))
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        kernel::dot_interaction_forward(sizes(&at.shapes[0]), at.inputs[0], at.scratch, at.output);
    }

    /// d⟨vᵢ, vⱼ⟩/dvᵢ = vⱼ.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        kernel::dot_interaction_backward(sizes(&at.shapes[0]), at.input(0), at.grad, dx, add);
    }
}

impl<'g> Var<'g> {
    /// The dot products ⟨vᵢ, vⱼ⟩, i > j, of all pairs of the fields v of this value [.., fields, width] →
    /// [.., fields (fields − 1) / 2], in the order (1, 0), (2, 0), (2, 1), … (DLRM; Naumov et al., 2019).
    pub fn dot_interaction(self) -> Var<'g> {
        self.apply(DotInteraction, &[])
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
        gradcheck(&[&[3, 4]], |v| v[0].dot_interaction());
        gradcheck(&[&[2, 4, 2]], |v| v[0].dot_interaction());
        gradcheck(&[&[3, 1]], |v| v[0].dot_interaction() + v[0].flatten().scale(0.3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(fields in 2_usize..6, width in 1_usize..9) {
            gradcheck(&[&[fields, width]], |v| v[0].dot_interaction());
        }

        /// Their sum is the factorisation machine.
        #[test]
        fn add_up_to_a_factorization_machine(fields in 2_usize..9, width in 1_usize..20, shift in 0_usize..9) {
            let graph = Graph::new();
            let x = graph.input("x", &[fields, width]);
            let outputs = [x.dot_interaction().sum_axis(0), x.factorization_machine()];
            let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
            let mut program = Program::eval(&graph, &outputs, 2).unwrap();
            let x: Vec<f32> = (0..2 * fields * width).map(|i| ((i * 7 + shift) % 11) as f32 - 5.0).collect();
            program.run(&Feed::new(2).with("x", &x), &params).unwrap();
            // Whole numbers: every order of adding is exact.
            prop_assert_eq!(program.output(0), program.output(1));
        }
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let y = graph.input("x", &[3, 2]).dot_interaction();
        assert_eq!(y.shape().to_string(), "[N, 3]");
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], 2).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
        program.run(&Feed::new(2).with("x", &x), &params).unwrap();
        assert_eq!(program.output(0), [11.0, 17.0, 39.0, 0.0, -1.0, 0.0]);
    }

    #[test]
    fn mistakes_name_the_shape() {
        let says = |dims: &[usize]| {
            let graph = Graph::new();
            graph.input("x", dims).dot_interaction();
            graph.check().unwrap_err().to_string()
        };
        let needs = "dot_interaction: needs two or more fields of one or more numbers [fields, width]";
        assert_eq!(says(&[4]), format!("{needs}, got [N, 4]"));
        assert_eq!(says(&[1, 4]), format!("{needs}, got [N, 1, 4]"));
    }
}
