//! The linear map of the last axis: x W + b, and x Wᵀ with a matrix that another op uses too (tied weights; Press & Wolf, 2017).

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel;

/// Inputs: x [.., in], W [in, out], or [out, in] when it is transposed, and b [out] if there is a bias.
#[derive(Debug)]
struct Linear {
    bias: bool,
    transposed: bool,
}

/// Rows, inputs, outputs of the product.
fn sizes(x: &Shape, y: &Shape, batch: usize) -> [usize; 3] {
    let out = y.dims()[y.rank() - 1];
    [y.elements(batch) / out, x.dims()[x.rank() - 1], out]
}

impl Linear {
    /// Steps in W from one of the `ins` inputs to the next, and from one of the `outs` outputs.
    fn strides(&self, ins: usize, outs: usize) -> [usize; 2] {
        if self.transposed { [1, ins] } else { [outs, 1] }
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        if self.transposed { "linear_tied" } else { "linear" }
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let (rows, columns) = (x[1].dims()[0], x[1].dims()[1]);
        let (ins, out) = if self.transposed { (columns, rows) } else { (rows, columns) };
        match x[0].dims().split_last() {
            Some((&last, _)) if last != ins => {
                let by = if self.transposed { "the transpose of" } else { "the matrix" };
                Err(format!("{} does not fit {by} {}", x[0], x[1]))
            }
            Some((_, rest)) if ins > 0 && out > 0 => {
                let dims: Vec<usize> = rest.iter().copied().chain([out]).collect();
                Ok(x[0].with(&dims))
            }
            _ => Err(format!("needs a last axis of one or more and an output of one or more, got {} to {out}", x[0])),
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
        let bias = self.bias.then(|| at.inputs[2]);
        kernel::gemm_bias([rows, outs, ins], x, [ins, 1], w, self.strides(ins, outs), bias, at.output, [outs, 1]);
    }

    /// dy/dx = dy Wᵀ, dy/dW = xᵀ dy, dy/db = Σ dy, with W as it is multiplied.
    fn backward(&self, mut at: Backward<'_>) {
        let [rows, ins, outs] = sizes(&at.shapes[0], at.shape, at.batch);
        let beta = |add: bool| if add { 1.0 } else { 0.0 };
        if let Some(dx) = at.grad_input(0) {
            let (dx, add) = dx.parts();
            let [row, column] = self.strides(ins, outs);
            kernel::gemm([rows, ins, outs], at.grad, [outs, 1], at.input(1), [column, row], beta(add), dx, [ins, 1]);
        }
        if let Some(dw) = at.grad_input(1) {
            let (dw, add) = dw.parts();
            // The product is written in rows, whichever way W lies.
            if self.transposed {
                kernel::gemm([outs, ins, rows], at.grad, [1, outs], at.input(0), [ins, 1], beta(add), dw, [ins, 1]);
            } else {
                kernel::gemm([ins, outs, rows], at.input(0), [1, ins], at.grad, [outs, 1], beta(add), dw, [outs, 1]);
            }
        }
        if self.bias
            && let Some(db) = at.grad_input(2)
        {
            let (db, add) = db.parts();
            kernel::column_sums(at.grad, db, add);
        }
    }
}

impl<'g> Var<'g> {
    /// `units` linear functions of the last axis, with bias: `linear.weight` [in, out] and `linear.bias`.
    pub fn linear(self, units: usize) -> Var<'g> {
        self.linear_with(units, Init::fan_in(self.last()), true)
    }

    /// `units` linear functions of the last axis, without bias.
    pub fn linear_no_bias(self, units: usize) -> Var<'g> {
        self.linear_with(units, Init::fan_in(self.last()), false)
    }

    /// `units` linear functions of the last axis, whose weights, and bias if any, start as `init` says.
    pub fn linear_with(self, units: usize, init: Init, bias: bool) -> Var<'g> {
        self.scope("linear", |x| {
            let weight = x.parameter("weight", &[x.last(), units], init);
            if bias {
                return x.apply(Linear { bias, transposed: false }, &[weight, x.parameter("bias", &[units], init)]);
            }
            x.apply(Linear { bias, transposed: false }, &[weight])
        })
    }

    /// `x W` for a W [in, out] that is a value itself.
    pub fn matmul(self, weight: Var<'g>) -> Var<'g> {
        let shape = weight.shape();
        if (shape.rank() != 2 || shape.is_batched()) && !weight.is_poisoned() {
            return self.mistake("matmul", format!("needs a fixed matrix, got {shape}"));
        }
        self.apply(Linear { bias: false, transposed: false }, &[weight])
    }

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
        let shape = weight.shape();
        if (shape.rank() != 2 || shape.is_batched()) && !weight.is_poisoned() {
            return self.mistake("linear_tied", format!("needs a fixed matrix [out, in], got {shape}"));
        }
        self.apply(Linear { bias: false, transposed: true }, &[weight])
    }

    /// The size of the last axis; 0 when there is none.
    pub(crate) fn last(self) -> usize {
        self.shape().dims().last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{gradcheck, gradcheck_fed};
    use crate::{Feed, Graph, Init, Params, Program, Rng, Var};

    const NORMAL: Init = Init::Normal { std: 1.0 };

    #[test]
    fn gradients() {
        gradcheck(&[&[4]], |v| v[0].linear(3));
        gradcheck(&[&[2, 5]], |v| v[0].linear_no_bias(4));
        gradcheck(&[&[1]], |v| v[0].linear(1));
        gradcheck(&[&[3]], |v| v[0].matmul(v[0].parameter("w", &[3, 2], Init::Normal { std: 1.0 })));
    }

    #[test]
    fn gradients_of_fixed_values() {
        fn fixed(x: Var<'_>) -> Var<'_> {
            x.parameter("table", &[2, 3], Init::Normal { std: 1.0 }).linear(4)
        }
        gradcheck(&[&[2, 4]], |v| v[0] + fixed(v[0]));
    }

    #[test]
    fn gradients_that_add_up() {
        gradcheck(&[&[3]], |v| v[0].scale(0.5) + v[0].linear(3));
        gradcheck(&[&[3]], |v| v[0].shared("both", |x| x.linear(3)).shared("both", |x| x.linear(3)));
    }

    #[test]
    fn mistakes_name_the_shapes() {
        let says = |build: fn(&Graph)| {
            let graph = Graph::new();
            build(&graph);
            graph.check().unwrap_err().to_string()
        };
        let needs = "needs a last axis of one or more and an output of one or more";
        assert_eq!(says(|g| _ = g.input("x", &[]).linear(3)), format!("linear: {needs}, got [N] to 3"));
        assert_eq!(says(|g| _ = g.input("x", &[4]).linear(0)), format!("linear: {needs}, got [N, 4] to 0"));
        let text = says(|g| _ = g.input("x", &[2, 4]).matmul(g.parameter("w", &[3, 5], Init::ZEROS)));
        assert_eq!(text, "linear: [N, 2, 4] does not fit the matrix [3, 5]");
        let text = says(|g| _ = g.input("x", &[4]).matmul(g.input("w", &[4, 4])));
        assert_eq!(text, "matmul: needs a fixed matrix, got [N, 4, 4]");
    }

    #[test]
    fn gradients_of_the_transpose() {
        gradcheck(&[&[4]], |v| v[0].linear_tied(v[0].parameter("w", &[3, 4], NORMAL)));
        gradcheck(&[&[2, 5]], |v| v[0].linear_tied(v[0].parameter("w", &[1, 5], NORMAL)));
        gradcheck(&[&[3]], |v| v[0].linear_tied(v[0].parameter("w", &[3, 3], NORMAL)) + v[0].scale(0.5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients_of_the_transpose(rows in 1_usize..4, ins in 1_usize..6, outs in 1_usize..6) {
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
    fn a_tied_table_by_hand() {
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
    fn mistakes_of_the_transpose() {
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
