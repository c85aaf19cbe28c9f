//! The linear map x Wᵀ of a matrix that another op uses too: tied weights (Press & Wolf, 2017).

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

/// Inputs: x [.., in] and W [out, in].
#[derive(Debug)]
struct LinearTied;

/// Rows, inputs, outputs of the product.
fn sizes(x: &Shape, y: &Shape, batch: usize) -> [usize; 3] {
    let out = y.dims()[y.rank() - 1];
    [y.elements(batch) / out, x.dims()[x.rank() - 1], out]
}

impl Op for LinearTied {
    fn name(&self) -> &'static str {
        "linear_tied"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let (&[out, ins], false) = (x[1].dims(), x[1].is_batched()) else {
            return Err(format!("needs a fixed matrix [out, in], got {}", x[1]));
        };
        match x[0].dims().split_last() {
            Some((&last, rest)) if last == ins && ins > 0 && out > 0 => {
                let dims: Vec<usize> = rest.iter().copied().chain([out]).collect();
                Ok(x[0].with(&dims))
            }
            _ => Err(format!("{} does not fit the transpose of {}", x[0], x[1])),
        }
    }

    fn madds(&self, x: &[&Shape], y: &Shape) -> u64 {
        let [rows, ins, outs] = sizes(x[0], y, 1);
        (rows * ins * outs) as u64
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    fn forward(&self, at: Forward<'_>) {
        let [rows, ins, outs] = sizes(&at.shapes[0], at.shape, at.batch);
        let (x, w) = (at.inputs[0], at.inputs[1]);
        kernel::gemm([rows, outs, ins], x, [ins, 1], w, [1, ins], 0.0, at.output, [outs, 1]);
    }

    /// dy/dx = dy W, dy/dW = dyᵀ x, added to what the other uses of W give.
    fn backward(&self, mut at: Backward<'_>) {
        let [rows, ins, outs] = sizes(&at.shapes[0], at.shape, at.batch);
        let beta = |add: bool| if add { 1.0 } else { 0.0 };
        if let Some(dx) = at.grad_input(0) {
            let (dx, add) = dx.parts();
            kernel::gemm([rows, ins, outs], at.grad, [outs, 1], at.input(1), [ins, 1], beta(add), dx, [ins, 1]);
        }
        if let Some(dw) = at.grad_input(1) {
            let (dw, add) = dw.parts();
            kernel::gemm([outs, ins, rows], at.grad, [1, outs], at.input(0), [ins, 1], beta(add), dw, [ins, 1]);
        }
    }
}

impl<'g> Var<'g> {
    /// `x Wᵀ` of the last axis, without bias, for a W [out, in] that is a value itself, as [`Var::embedding_table`] is: the
    /// logits of a language model from the table that embeds its tokens.
    ///
    /// ```
    /// use nas_nn::{Graph, Init};
    ///
    /// let graph = Graph::new();
    /// let token = graph.classes("token", 50, &[12]);
    /// let table = token.embedding_table(50, 8, Init::Normal { std: 0.02 });
    /// let logits = token.embedding_in(table).linear(8).tanh().linear_tied(table);
    /// assert_eq!(logits.shape().to_string(), "[N, 12, 50]");
    /// assert_eq!(graph.cost().parameters, 50 * 8 + 8 * 8 + 8);
    /// ```
    pub fn linear_tied(self, weight: Var<'g>) -> Var<'g> {
        self.apply(LinearTied, &[weight])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{gradcheck, gradcheck_fed};
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    const NORMAL: Init = Init::Normal { std: 1.0 };

    #[test]
    fn gradients() {
        gradcheck(&[&[4]], |v| v[0].linear_tied(v[0].parameter("w", &[3, 4], NORMAL)));
        gradcheck(&[&[2, 5]], |v| v[0].linear_tied(v[0].parameter("w", &[1, 5], NORMAL)));
        gradcheck(&[&[3]], |v| v[0].linear_tied(v[0].parameter("w", &[3, 3], NORMAL)) + v[0].scale(0.5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(rows in 1_usize..4, ins in 1_usize..6, outs in 1_usize..6) {
            gradcheck(&[&[rows, ins]], |v| v[0].linear_tied(v[0].parameter("w", &[outs, ins], NORMAL)));
        }
    }

    /// One table reads tokens, predicts them and multiplies: all three gradients add up in it.
    #[test]
    fn gradients_of_a_tied_embedding() {
        let tokens: (usize, &[usize], &[f32]) = (4, &[2], &[0.0, 3.0, 3.0, 1.0, 1.0, 0.0]);
        gradcheck_fed(&[], &[tokens], |v| {
            let table = v[0].embedding_table(4, 3, NORMAL);
            v[0].embedding_in(table).tanh().linear_tied(table)
        });
        gradcheck_fed(&[&[2, 4]], &[tokens], |v| {
            let table = v[1].embedding_table(4, 3, NORMAL);
            (v[0].matmul(table) + v[1].embedding_in(table)).linear_tied(table)
        });
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let token = graph.class("token", 3);
        let table = token.embedding_table(3, 2, NORMAL);
        let y = token.embedding_in(table).linear_tied(table);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        assert_eq!(params.len(), 6);
        params.set("embedding.weight", &[3, 2], &[1.0, 2.0, 0.0, 1.0, -1.0, 3.0]).unwrap();
        let mut program = Program::eval(&graph, &[y], 2).unwrap();
        program.run(&Feed::new(2).with("token", &[1.0, 2.0]), &params).unwrap();
        assert_eq!(program.output(0), [2.0, 1.0, 3.0, 5.0, 3.0, 10.0]);
    }

    #[test]
    fn mistakes_name_the_shapes() {
        let graph = Graph::new();
        graph.input("x", &[2, 4]).linear_tied(graph.parameter("w", &[4, 3], Init::ZEROS));
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "linear_tied: [N, 2, 4] does not fit the transpose of [4, 3]");
        let graph = Graph::new();
        graph.input("x", &[4]).linear_tied(graph.input("w", &[3, 4]));
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "linear_tied: needs a fixed matrix [out, in], got [N, 3, 4]");
    }
}
