//! Products of matrices that are both values: one for every leading index.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

/// Inputs: a [.., m, k] and b [.., k, n], or b [.., n, k] when it is stored transposed; equal leading axes.
#[derive(Debug, Clone, Copy)]
struct BatchedMatmul {
    transposed: bool,
}

impl BatchedMatmul {
    /// m, n, k.
    fn sizes(self, a: &Shape, b: &Shape) -> [usize; 3] {
        let last = |x: &Shape| [x.dims()[x.rank() - 2], x.dims()[x.rank() - 1]];
        let ([m, k], [rows, columns]) = (last(a), last(b));
        [m, if self.transposed { rows } else { columns }, k]
    }
}

impl Op for BatchedMatmul {
    fn name(&self) -> &'static str {
        if self.transposed { "batched_matmul_transposed" } else { "batched_matmul" }
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let (a, b) = (x[0], x[1]);
        if a.rank() < 2 || a.rank() != b.rank() || a.is_batched() != b.is_batched() {
            return Err(format!("needs two values of matrices, both of every example or both fixed, got {a} and {b}"));
        }
        let lead = a.rank() - 2;
        let [m, n, k] = self.sizes(a, b);
        let common = b.dims()[if self.transposed { lead + 1 } else { lead }];
        if a.dims()[..lead] != b.dims()[..lead] || common != k {
            let by = if self.transposed { "the transpose of " } else { "" };
            return Err(format!("{a} does not fit {by}{b}"));
        }
        if a.is_empty() || b.is_empty() {
            return Err(format!("needs axes of one or more, got {a} and {b}"));
        }
        let dims: Vec<usize> = a.dims()[..lead].iter().copied().chain([m, n]).collect();
        Ok(a.with(&dims))
    }

    fn madds(&self, x: &[&Shape], y: &Shape) -> u64 {
        let [.., k] = self.sizes(x[0], x[1]);
        y.len() as u64 * k as u64
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let [m, n, k] = self.sizes(&at.shapes[0], &at.shapes[1]);
        let strides = if self.transposed { [1, k] } else { [n, 1] };
        let inputs = at.inputs[0].chunks_exact(m * k).zip(at.inputs[1].chunks_exact(k * n));
        for ((a, b), y) in inputs.zip(at.output.chunks_exact_mut(m * n)) {
            kernel::gemm([m, n, k], a, [k, 1], b, strides, 0.0, y, [n, 1]);
        }
    }

    /// Of y = a b: da = dy bᵀ, db = aᵀ dy. Of y = a bᵀ: da = dy b, db = dyᵀ a.
    fn backward(&self, mut at: Backward<'_>) {
        let [m, n, k] = self.sizes(&at.shapes[0], &at.shapes[1]);
        let beta = |add: bool| if add { 1.0 } else { 0.0 };
        if let Some(da) = at.grad_input(0) {
            let (da, add) = da.parts();
            let strides = if self.transposed { [k, 1] } else { [1, n] };
            let pairs = at.grad.chunks_exact(m * n).zip(at.input(1).chunks_exact(k * n));
            for ((g, b), da) in pairs.zip(da.chunks_exact_mut(m * k)) {
                kernel::gemm([m, k, n], g, [n, 1], b, strides, beta(add), da, [k, 1]);
            }
        }
        if let Some(db) = at.grad_input(1) {
            let (db, add) = db.parts();
            let pairs = at.grad.chunks_exact(m * n).zip(at.input(0).chunks_exact(m * k));
            for ((g, a), db) in pairs.zip(db.chunks_exact_mut(k * n)) {
                if self.transposed {
                    kernel::gemm([n, k, m], g, [1, n], a, [k, 1], beta(add), db, [k, 1]);
                } else {
                    kernel::gemm([k, n, m], a, [1, k], g, [n, 1], beta(add), db, [n, 1]);
                }
            }
        }
    }
}

impl<'g> Var<'g> {
    /// The matrix products [.., m, k] × [.., k, n] → [.., m, n] of two values with equal leading axes, both of every example or
    /// both fixed. [`Var::matmul`] is the product with one fixed matrix.
    pub fn batched_matmul(self, other: Var<'g>) -> Var<'g> {
        self.apply(BatchedMatmul { transposed: false }, &[other])
    }

    /// The same with the other's matrices transposed: [.., m, k] × [.., n, k] → [.., m, n], the dot products of all rows.
    pub fn batched_matmul_transposed(self, other: Var<'g>) -> Var<'g> {
        self.apply(BatchedMatmul { transposed: true }, &[other])
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
        gradcheck(&[&[2, 3, 4], &[2, 4, 5]], |v| v[0].batched_matmul(v[1]));
        gradcheck(&[&[2, 3, 4], &[2, 5, 4]], |v| v[0].batched_matmul_transposed(v[1]));
        gradcheck(&[&[1, 3], &[3, 1]], |v| v[0].batched_matmul(v[1]));
        gradcheck(&[&[3, 2]], |v| v[0].batched_matmul_transposed(v[0]));
    }

    #[test]
    fn gradients_that_add_up() {
        gradcheck(&[&[3, 3], &[3, 3]], |v| {
            v[0].batched_matmul(v[1]) + v[0].batched_matmul_transposed(v[1]) + v[0].scale(0.5) + v[1]
        });
    }

    #[test]
    fn gradients_of_fixed_values() {
        gradcheck(&[&[2, 4]], |v| {
            let [a, b] = ["a", "b"].map(|name| v[0].parameter(name, &[2, 4], Init::Normal { std: 1.0 }));
            v[0].matmul(b.transpose().batched_matmul(a))
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(heads in 1_usize..4, m in 1_usize..6, n in 1_usize..6, k in 1_usize..6) {
            gradcheck(&[&[heads, m, k], &[heads, k, n]], |v| v[0].batched_matmul(v[1]));
            gradcheck(&[&[heads, m, k], &[heads, n, k]], |v| v[0].batched_matmul_transposed(v[1]));
        }
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let (a, b) = (graph.input("a", &[1, 2]), graph.input("b", &[2, 2]));
        let outputs = [a.batched_matmul(b), a.batched_matmul_transposed(b)];
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &outputs, 2).unwrap();
        let (a, b) = ([1.0, 10.0, 1.0, -1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        program.run(&Feed::new(2).with("a", &a).with("b", &b), &params).unwrap();
        assert_eq!(program.output(0), [31.0, 42.0, -2.0, -2.0]);
        assert_eq!(program.output(1), [21.0, 43.0, -1.0, -1.0]);
    }

    #[test]
    fn multiply_adds() {
        let graph = Graph::new();
        let (a, b) = (graph.input("a", &[2, 3, 4]), graph.input("b", &[2, 4, 5]));
        a.batched_matmul(b).batched_matmul_transposed(b);
        assert_eq!(graph.cost().madds, 2 * 3 * 5 * 4 + 2 * 3 * 4 * 5);
    }

    #[test]
    fn mistakes_name_the_shapes() {
        let says = |a: &[usize], b: &[usize], transposed: bool| {
            let graph = Graph::new();
            let (a, b) = (graph.input("a", a), graph.input("b", b));
            let _ = if transposed { a.batched_matmul_transposed(b) } else { a.batched_matmul(b) };
            graph.check().unwrap_err().to_string()
        };
        let text = says(&[2, 3, 4], &[2, 5, 4], false);
        assert_eq!(text, "batched_matmul: [N, 2, 3, 4] does not fit [N, 2, 5, 4]");
        let text = says(&[2, 3, 4], &[2, 4, 5], true);
        assert_eq!(text, "batched_matmul_transposed: [N, 2, 3, 4] does not fit the transpose of [N, 2, 4, 5]");
        assert_eq!(says(&[2, 3, 4], &[3, 4, 5], false), "batched_matmul: [N, 2, 3, 4] does not fit [N, 3, 4, 5]");
        assert_eq!(
            says(&[3, 0], &[0, 2], false),
            "batched_matmul: needs axes of one or more, got [N, 3, 0] and [N, 0, 2]"
        );
        let needs = "needs two values of matrices, both of every example or both fixed";
        assert_eq!(says(&[4], &[4], false), format!("batched_matmul: {needs}, got [N, 4] and [N, 4]"));
        let graph = Graph::new();
        graph.input("a", &[3, 4]).batched_matmul(graph.constant(&[4, 1], &[1.0; 4]));
        let text = graph.check().unwrap_err().to_string();
        assert_eq!(text, format!("batched_matmul: {needs}, got [N, 3, 4] and [4, 1]"));
    }
}
