//! The linear map of the last axis: x W + b.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel;

/// Inputs: x [.., in], W [in, out], and b [out] if there is a bias.
#[derive(Debug)]
struct Linear {
    bias: bool,
}

/// Rows, inputs, outputs of the product.
fn sizes(x: &Shape, y: &Shape, batch: usize) -> [usize; 3] {
    let out = y.dims()[y.rank() - 1];
    [y.elements(batch) / out, x.dims()[x.rank() - 1], out]
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let (ins, out) = (x[1].dims()[0], x[1].dims()[1]);
        match x[0].dims().split_last() {
            Some((&last, _)) if last != ins => Err(format!("{} does not fit the matrix {}", x[0], x[1])),
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
        kernel::gemm_bias([rows, outs, ins], x, [ins, 1], w, [outs, 1], bias, at.output, [outs, 1]);
    }

    /// dy/dx = dy Wᵀ, dy/dW = xᵀ dy, dy/db = Σ dy.
    fn backward(&self, mut at: Backward<'_>) {
        let [rows, ins, outs] = sizes(&at.shapes[0], at.shape, at.batch);
        let beta = |add: bool| if add { 1.0 } else { 0.0 };
        if let Some(dx) = at.grad_input(0) {
            let (dx, add) = dx.parts();
            kernel::gemm([rows, ins, outs], at.grad, [outs, 1], at.input(1), [1, outs], beta(add), dx, [ins, 1]);
        }
        if let Some(dw) = at.grad_input(1) {
            let (dw, add) = dw.parts();
            kernel::gemm([ins, outs, rows], at.input(0), [1, ins], at.grad, [outs, 1], beta(add), dw, [outs, 1]);
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
                return x.apply(Linear { bias }, &[weight, x.parameter("bias", &[units], init)]);
            }
            x.apply(Linear { bias }, &[weight])
        })
    }

    /// `x W` for a W [in, out] that is a value itself.
    pub fn matmul(self, weight: Var<'g>) -> Var<'g> {
        if weight.shape().rank() != 2 || weight.shape().is_batched() {
            return self.mistake("matmul", format!("needs a fixed matrix, got {}", weight.shape()));
        }
        self.apply(Linear { bias: false }, &[weight])
    }

    /// The size of the last axis; 0 when there is none.
    pub(crate) fn last(self) -> usize {
        self.shape().dims().last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;
    use crate::{Graph, Init, Var};

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
}
