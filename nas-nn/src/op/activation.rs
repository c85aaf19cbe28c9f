//! Activations: functions of one number, element by element.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    Relu,
    Relu6,
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
    Silu,
    Gelu,
    GeluTanh,
    HardSwish,
}

use Activation::{Gelu, GeluTanh, HardSwish, LeakyRelu, Relu, Relu6, Sigmoid, Silu, Tanh};

impl Op for Activation {
    fn name(&self) -> &'static str {
        match self {
            Relu => "relu",
            Relu6 => "relu6",
            LeakyRelu(_) => "leaky_relu",
            Sigmoid => "sigmoid",
            Tanh => "tanh",
            Silu => "silu",
            Gelu => "gelu",
            GeluTanh => "gelu_tanh",
            HardSwish => "hard_swish",
        }
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        Ok(x[0].clone())
    }

    /// The output where the derivative follows from it, so that the input need not be kept.
    fn keeps(&self) -> Keeps {
        match self {
            Relu | Relu6 | Sigmoid | Tanh => Keeps::OUTPUT,
            _ => Keeps::inputs(&[0]),
        }
    }

    fn forward(&self, at: Forward<'_>) {
        let (x, y) = (at.inputs[0], at.output);
        match *self {
            Relu => kernel::map(x, y, kernel::relu),
            Relu6 => kernel::map(x, y, kernel::relu6),
            LeakyRelu(slope) => kernel::map(x, y, |x| kernel::leaky_relu(x, slope)),
            Sigmoid => kernel::map(x, y, kernel::sigmoid),
            Tanh => kernel::map(x, y, kernel::tanh),
            Silu => kernel::map(x, y, kernel::silu),
            Gelu => kernel::map(x, y, kernel::gelu),
            GeluTanh => kernel::map(x, y, kernel::gelu_tanh),
            HardSwish => kernel::map(x, y, kernel::hard_swish),
        }
    }

    /// From the output y: relu y > 0, relu6 0 < y < 6, sigmoid y (1 − y), tanh 1 − y². The others from the input.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        let (g, v) = (at.grad, if self.keeps().output() { at.output() } else { at.input(0) });
        match *self {
            Relu => chain(g, v, dx, add, kernel::relu_derivative),
            Relu6 => chain(g, v, dx, add, kernel::relu6_derivative),
            LeakyRelu(slope) => chain(g, v, dx, add, |x| kernel::leaky_relu_derivative(x, slope)),
            Sigmoid => chain(g, v, dx, add, |y| y * (1.0 - y)),
            Tanh => chain(g, v, dx, add, |y| 1.0 - y * y),
            Silu => chain(g, v, dx, add, kernel::silu_derivative),
            Gelu => chain(g, v, dx, add, kernel::gelu_derivative),
            GeluTanh => chain(g, v, dx, add, kernel::gelu_tanh_derivative),
            HardSwish => chain(g, v, dx, add, kernel::hard_swish_derivative),
        }
    }
}

impl Activation {
    /// Applies it to every element of `y`.
    pub(super) fn in_place(self, y: &mut [f32]) {
        match self {
            Relu => kernel::map_in_place(y, kernel::relu),
            Relu6 => kernel::map_in_place(y, kernel::relu6),
            LeakyRelu(slope) => kernel::map_in_place(y, |x| kernel::leaky_relu(x, slope)),
            Sigmoid => kernel::map_in_place(y, kernel::sigmoid),
            Tanh => kernel::map_in_place(y, kernel::tanh),
            Silu => kernel::map_in_place(y, kernel::silu),
            Gelu => kernel::map_in_place(y, kernel::gelu),
            GeluTanh => kernel::map_in_place(y, kernel::gelu_tanh),
            HardSwish => kernel::map_in_place(y, kernel::hard_swish),
        }
    }
}

/// dx = g · derivative(v), or added to it.
fn chain(g: &[f32], v: &[f32], dx: &mut [f32], add: bool, derivative: impl Fn(f32) -> f32) {
    if add {
        kernel::zip_add(g, v, dx, |g, v| g * derivative(v));
    } else {
        kernel::zip(g, v, dx, |g, v| g * derivative(v));
    }
}

impl<'g> Var<'g> {
    /// max(x, 0).
    pub fn relu(self) -> Var<'g> {
        self.apply(Relu, &[])
    }

    /// min(max(x, 0), 6).
    pub fn relu6(self) -> Var<'g> {
        self.apply(Relu6, &[])
    }

    /// x, or `slope` · x below zero.
    pub fn leaky_relu(self, slope: f32) -> Var<'g> {
        self.apply(LeakyRelu(slope), &[])
    }

    /// 1 / (1 + e⁻ˣ).
    pub fn sigmoid(self) -> Var<'g> {
        self.apply(Sigmoid, &[])
    }

    /// tanh x.
    pub fn tanh(self) -> Var<'g> {
        self.apply(Tanh, &[])
    }

    /// x · sigmoid x.
    pub fn silu(self) -> Var<'g> {
        self.apply(Silu, &[])
    }

    /// x Φ(x), with the error function (Hendrycks & Gimpel, 2016).
    pub fn gelu(self) -> Var<'g> {
        self.apply(Gelu, &[])
    }

    /// x Φ(x), with Φ approximated by a hyperbolic tangent.
    pub fn gelu_tanh(self) -> Var<'g> {
        self.apply(GeluTanh, &[])
    }

    /// x · min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
    pub fn hard_swish(self) -> Var<'g> {
        self.apply(HardSwish, &[])
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    /// A gradient fits any smooth function: these say which.
    #[test]
    fn values() {
        let table: [(Activation, [f32; 4]); 9] = [
            (Relu, [0.0, 0.0, 1.0, 7.0]),
            (Relu6, [0.0, 0.0, 1.0, 6.0]),
            (LeakyRelu(0.1), [-0.4, -0.1, 1.0, 7.0]),
            (Sigmoid, [0.017_986_21, 0.268_941_42, 0.731_058_6, 0.999_088_95]),
            (Tanh, [-0.999_329_3, -0.761_594_2, 0.761_594_2, 0.999_998_34]),
            (Silu, [-0.071_944_84, -0.268_941_42, 0.731_058_6, 6.993_623]),
            (Gelu, [-0.000_126_69, -0.158_655_25, 0.841_344_8, 7.0]),
            (GeluTanh, [-0.000_070_25, -0.158_808_01, 0.841_192, 7.0]),
            (HardSwish, [0.0, -1.0 / 3.0, 2.0 / 3.0, 7.0]),
        ];
        for (activation, expected) in table {
            let graph = Graph::new();
            let y = graph.input("x", &[4]).apply(activation, &[]);
            let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
            let mut program = Program::eval(&graph, &[y], 1).unwrap();
            program.run(&Feed::new(1).with("x", &[-4.0, -1.0, 1.0, 7.0]), &params).unwrap();
            assert_abs_diff_eq!(program.output(0), &expected[..], epsilon = 2e-6);
        }
    }

    #[test]
    fn gradients() {
        let all = [Relu, Relu6, LeakyRelu(0.1), Sigmoid, Tanh, Silu, Gelu, GeluTanh, HardSwish];
        for activation in all {
            gradcheck(&[&[3, 5]], |v| v[0].apply(activation, &[]));
            // Also where the gradient is added to another one.
            gradcheck(&[&[7]], |v| v[0].apply(activation, &[]) + v[0].scale(0.3));
        }
    }
}
