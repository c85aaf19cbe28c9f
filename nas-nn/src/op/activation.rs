//! Activations: functions of one number, element by element.

use std::fmt;
use std::str::FromStr;

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

/// A function of one number, by name: what a search space chooses. [`Var::activation`] applies it.
///
/// ```
/// use nas_nn::op::Activation;
///
/// assert_eq!("hard_swish".parse(), Ok(Activation::HardSwish));
/// assert_eq!("leaky_relu".parse(), Ok(Activation::LeakyRelu(0.01)));
/// assert_eq!("elu(0.5)".parse(), Ok(Activation::Elu(0.5)));
/// assert_eq!(Activation::LeakyRelu(0.2).to_string(), "leaky_relu(0.2)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// x.
    Identity,
    /// 0: no gradient flows.
    Zero,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x, or that slope (usually 0.01) times x below zero.
    LeakyRelu(f32),
    /// x, or α (eˣ − 1) below zero, with that α (usually 1; Clevert et al., 2016).
    Elu(f32),
    /// ln(1 + eˣ).
    Softplus,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
    HardSigmoid,
    /// tanh x.
    Tanh,
    /// x · sigmoid x (Ramachandran et al., 2017).
    Silu,
    /// x · hard_sigmoid x (Howard et al., 2019).
    HardSwish,
    /// x Φ(x), with the error function (Hendrycks & Gimpel, 2016).
    Gelu,
    /// x Φ(x), with Φ approximated by a hyperbolic tangent.
    GeluTanh,
}

use Activation::{
    Elu, Gelu, GeluTanh, HardSigmoid, HardSwish, Identity, LeakyRelu, Relu, Relu6, Sigmoid, Silu, Softplus, Tanh, Zero,
};

impl Activation {
    /// All of them, those with a number at its usual value.
    pub const ALL: [Activation; 14] = [
        Identity,
        Zero,
        Relu,
        Relu6,
        LeakyRelu(0.01),
        Elu(1.0),
        Softplus,
        Sigmoid,
        HardSigmoid,
        Tanh,
        Silu,
        HardSwish,
        Gelu,
        GeluTanh,
    ];

    /// The name without a number: `leaky_relu`.
    pub fn name(self) -> &'static str {
        match self {
            Identity => "identity",
            Zero => "zero",
            Relu => "relu",
            Relu6 => "relu6",
            LeakyRelu(_) => "leaky_relu",
            Elu(_) => "elu",
            Softplus => "softplus",
            Sigmoid => "sigmoid",
            HardSigmoid => "hard_sigmoid",
            Tanh => "tanh",
            Silu => "silu",
            HardSwish => "hard_swish",
            Gelu => "gelu",
            GeluTanh => "gelu_tanh",
        }
    }

    /// The number of a function that has one.
    fn number(self) -> Option<f32> {
        match self {
            LeakyRelu(number) | Elu(number) => Some(number),
            _ => None,
        }
    }

    fn with_number(self, number: f32) -> Option<Self> {
        match self {
            LeakyRelu(_) => Some(LeakyRelu(number)),
            Elu(_) => Some(Elu(number)),
            _ => None,
        }
    }
}

/// The name, with the number in brackets where it is not the usual one.
impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) if !Self::ALL.contains(self) => write!(f, "{}({number})", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

/// No activation has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no activation \"{name}\"; activations: {}", Activation::ALL.map(Activation::name).join(", "))]
pub struct UnknownActivation {
    /// What was asked for.
    pub name: String,
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let find = |name: &str| Self::ALL.into_iter().find(|activation| activation.name() == name);
        let found = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((name, number)) => number.parse().ok().and_then(|number| find(name)?.with_number(number)),
            None => find(text),
        };
        found.ok_or_else(|| UnknownActivation { name: text.to_owned() })
    }
}

impl Op for Activation {
    fn name(&self) -> &'static str {
        (*self).name()
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        match *self {
            LeakyRelu(slope) if !slope.is_finite() => Err(format!("the slope is {slope}; it must be finite")),
            Elu(alpha) if !(alpha.is_finite() && alpha >= 0.0) => {
                Err(format!("alpha is {alpha}; it must be 0 or more and finite"))
            }
            _ => Ok(x[0].clone()),
        }
    }

    /// The output where the derivative follows from it, so that the input need not be kept.
    fn keeps(&self) -> Keeps {
        match *self {
            Identity | Zero => Keeps::NOTHING,
            Relu | Relu6 | Elu(_) | Softplus | Sigmoid | HardSigmoid | Tanh => Keeps::OUTPUT,
            LeakyRelu(slope) if slope >= 0.0 => Keeps::OUTPUT,
            LeakyRelu(_) | Silu | HardSwish | Gelu | GeluTanh => Keeps::inputs(&[0]),
        }
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let (x, y) = (at.inputs[0], at.output);
        match *self {
            Identity => y.copy_from_slice(x),
            Zero => y.fill(0.0),
            Relu => kernel::map(x, y, kernel::relu),
            Relu6 => kernel::map(x, y, kernel::relu6),
            LeakyRelu(slope) => kernel::map(x, y, |x| kernel::leaky_relu(x, slope)),
            Elu(alpha) => kernel::map(x, y, |x| kernel::elu(x, alpha)),
            Softplus => kernel::map(x, y, kernel::softplus),
            Sigmoid => kernel::map(x, y, kernel::sigmoid),
            HardSigmoid => kernel::map(x, y, kernel::hard_sigmoid),
            Tanh => kernel::map(x, y, kernel::tanh),
            Silu => kernel::map(x, y, kernel::silu),
            HardSwish => kernel::map(x, y, kernel::hard_swish),
            Gelu => kernel::map(x, y, kernel::gelu),
            GeluTanh => kernel::map(x, y, kernel::gelu_tanh),
        }
    }

    /// From the output y: relu y > 0, relu6 0 < y < 6, leaky_relu by the sign of y, elu 1 or y + α, softplus 1 − e⁻ʸ,
    /// sigmoid y (1 − y), hard_sigmoid 1/6 for 0 < y < 1, tanh 1 − y². The others from the input.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        let g = at.grad;
        let v = match self.keeps() {
            Keeps::NOTHING => g,
            keeps if keeps.output() => at.output(),
            _ => at.input(0),
        };
        match *self {
            Identity => chain(g, v, dx, add, |_| 1.0),
            Zero => chain(g, v, dx, add, |_| 0.0),
            Relu => chain(g, v, dx, add, kernel::relu_derivative),
            Relu6 => chain(g, v, dx, add, kernel::relu6_derivative),
            LeakyRelu(slope) => chain(g, v, dx, add, |v| kernel::leaky_relu_derivative(v, slope)),
            Elu(alpha) => chain(g, v, dx, add, |y| if y > 0.0 { 1.0 } else { y + alpha }),
            Softplus => chain(g, v, dx, add, |y| -kernel::exp_m1(-y)),
            Sigmoid => chain(g, v, dx, add, |y| y * (1.0 - y)),
            HardSigmoid => chain(g, v, dx, add, |y| if y > 0.0 && y < 1.0 { 1.0 / 6.0 } else { 0.0 }),
            Tanh => chain(g, v, dx, add, |y| 1.0 - y * y),
            Silu => chain(g, v, dx, add, kernel::silu_derivative),
            HardSwish => chain(g, v, dx, add, kernel::hard_swish_derivative),
            Gelu => chain(g, v, dx, add, kernel::gelu_derivative),
            GeluTanh => chain(g, v, dx, add, kernel::gelu_tanh_derivative),
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
            Identity => {}
            Zero => y.fill(0.0),
            Elu(alpha) => kernel::map_in_place(y, |x| kernel::elu(x, alpha)),
            Softplus => kernel::map_in_place(y, kernel::softplus),
            HardSigmoid => kernel::map_in_place(y, kernel::hard_sigmoid),
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
    /// That function of every element. The identity is this value itself, zero is [`Var::zeros_like`].
    pub fn activation(self, activation: Activation) -> Var<'g> {
        match activation {
            Identity => self,
            Zero => self.zeros_like(),
            other => self.apply(other, &[]),
        }
    }

    /// This value itself: the operation `skip` of a searched cell.
    #[must_use]
    pub fn identity(self) -> Var<'g> {
        self
    }

    /// max(x, 0).
    pub fn relu(self) -> Var<'g> {
        self.activation(Relu)
    }

    /// min(max(x, 0), 6).
    pub fn relu6(self) -> Var<'g> {
        self.activation(Relu6)
    }

    /// x, or `slope` · x below zero.
    pub fn leaky_relu(self, slope: f32) -> Var<'g> {
        self.activation(LeakyRelu(slope))
    }

    /// x, or `alpha` (eˣ − 1) below zero (Clevert et al., 2016).
    pub fn elu(self, alpha: f32) -> Var<'g> {
        self.activation(Elu(alpha))
    }

    /// ln(1 + eˣ).
    pub fn softplus(self) -> Var<'g> {
        self.activation(Softplus)
    }

    /// 1 / (1 + e⁻ˣ).
    pub fn sigmoid(self) -> Var<'g> {
        self.activation(Sigmoid)
    }

    /// min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
    pub fn hard_sigmoid(self) -> Var<'g> {
        self.activation(HardSigmoid)
    }

    /// tanh x.
    pub fn tanh(self) -> Var<'g> {
        self.activation(Tanh)
    }

    /// x · sigmoid x (Ramachandran et al., 2017).
    pub fn silu(self) -> Var<'g> {
        self.activation(Silu)
    }

    /// x · min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
    pub fn hard_swish(self) -> Var<'g> {
        self.activation(HardSwish)
    }

    /// x Φ(x), with the error function (Hendrycks & Gimpel, 2016).
    pub fn gelu(self) -> Var<'g> {
        self.activation(Gelu)
    }

    /// x Φ(x), with Φ approximated by a hyperbolic tangent.
    pub fn gelu_tanh(self) -> Var<'g> {
        self.activation(GeluTanh)
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    /// A gradient fits any smooth function: these say which.
    #[test]
    fn values() {
        let table: [(Activation, [f32; 4]); 14] = [
            (Identity, [-4.0, -1.0, 1.0, 7.0]),
            (Zero, [0.0; 4]),
            (Relu, [0.0, 0.0, 1.0, 7.0]),
            (Relu6, [0.0, 0.0, 1.0, 6.0]),
            (LeakyRelu(0.1), [-0.4, -0.1, 1.0, 7.0]),
            (Elu(0.5), [-0.490_842_2, -0.316_060_28, 1.0, 7.0]),
            (Softplus, [0.018_149_93, 0.313_261_7, 1.313_261_7, 7.000_911_5]),
            (Sigmoid, [0.017_986_21, 0.268_941_42, 0.731_058_6, 0.999_088_95]),
            (HardSigmoid, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]),
            (Tanh, [-0.999_329_3, -0.761_594_2, 0.761_594_2, 0.999_998_34]),
            (Silu, [-0.071_944_84, -0.268_941_42, 0.731_058_6, 6.993_623]),
            (HardSwish, [0.0, -1.0 / 3.0, 2.0 / 3.0, 7.0]),
            (Gelu, [-0.000_126_69, -0.158_655_25, 0.841_344_8, 7.0]),
            (GeluTanh, [-0.000_070_25, -0.158_808_01, 0.841_192, 7.0]),
        ];
        for (activation, expected) in table {
            let graph = Graph::new();
            let x = graph.input("x", &[4]);
            // By its op, and as a network asks for it.
            let outputs = [x.apply(activation, &[]), x.activation(activation)];
            let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
            let mut program = Program::eval(&graph, &outputs, 1).unwrap();
            program.run(&Feed::new(1).with("x", &[-4.0, -1.0, 1.0, 7.0]), &params).unwrap();
            for i in 0..2 {
                assert_abs_diff_eq!(program.output(i), &expected[..], epsilon = 2e-6);
            }
        }
    }

    #[test]
    fn gradients() {
        let more = [LeakyRelu(0.3), LeakyRelu(-0.5), Elu(0.4), Elu(0.0)];
        for activation in Activation::ALL.into_iter().chain(more) {
            if activation != Zero {
                gradcheck(&[&[3, 5]], |v| v[0].apply(activation, &[]));
            }
            // Also where the gradient is added to another one.
            gradcheck(&[&[7]], |v| v[0].apply(activation, &[]) + v[0].scale(0.3));
        }
    }

    #[test]
    fn methods_are_the_functions_of_their_names() {
        let graph = Graph::new();
        let x = graph.input("x", &[2]);
        let all = [
            x.relu(),
            x.relu6(),
            x.leaky_relu(0.01),
            x.elu(1.0),
            x.softplus(),
            x.sigmoid(),
            x.hard_sigmoid(),
            x.tanh(),
            x.silu(),
            x.hard_swish(),
            x.gelu(),
            x.gelu_tanh(),
        ];
        for (y, activation) in all.into_iter().zip(&Activation::ALL[2..]) {
            let name = graph.with_nodes(|nodes| nodes[y.id().index()].name().to_owned());
            assert_eq!(name, activation.name());
        }
        assert_eq!(x.identity().node(), x.node());
    }

    proptest! {
        #[test]
        fn names_round_trip(which in 0..Activation::ALL.len(), number in 0.0_f32..2.0) {
            let plain = Activation::ALL[which];
            prop_assert_eq!(plain.to_string().parse(), Ok(plain));
            if let Some(other) = plain.with_number(number) {
                prop_assert_eq!(other.to_string().parse(), Ok(other));
            }
        }
    }

    #[test]
    fn names_that_are_none() {
        for text in ["", "swish9", "relu(3)", "elu(", "elu()", "elu(x)", "ReLU"] {
            let known = "identity, zero, relu, relu6, leaky_relu, elu, softplus, sigmoid, hard_sigmoid, tanh, silu, hard_swish, gelu, gelu_tanh";
            let error = text.parse::<Activation>().unwrap_err().to_string();
            assert_eq!(error, format!("there is no activation \"{text}\"; activations: {known}"));
        }
    }

    #[test]
    fn numbers_that_do_not_fit() {
        let says = |activation: Activation| {
            let graph = Graph::new();
            graph.input("x", &[2]).activation(activation);
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(Elu(-1.0)), "elu: alpha is -1; it must be 0 or more and finite");
        assert_eq!(says(LeakyRelu(f32::NAN)), "leaky_relu: the slope is NaN; it must be finite");
    }
}
