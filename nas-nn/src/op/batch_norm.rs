//! Batch normalisation (Ioffe & Szegedy, 2015) over the first axis of an example, channels, with the sum and the activation that
//! follow it once they are fused.

use super::activation::Activation::{self, HardSwish, Relu, Relu6, Silu};
use super::{Backward, Forward, Keeps, Mode, Op, Space, Update};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel::{self, BatchNormBackward, BatchNormForward, Channels};

/// Added to the variance.
const EPSILON: f32 = 1e-5;
/// The weight of a batch in the running statistics.
const MOMENTUM: f32 = 0.1;

/// Inputs: x [channels, ..], scale and shift [channels], and a residual like x if there is one. States: running mean and
/// variance. What follows the normalisation is filled in by fusion: y = activation(normalised + residual).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchNorm {
    pub(crate) residual: bool,
    pub(crate) activation: Option<Activation>,
}

fn channels(x: &Shape, batch: usize) -> Channels {
    let channels = x.dims()[0];
    Channels { batch: x.copies(batch), channels, inner: x.len() / channels }
}

impl BatchNorm {
    /// Whether the derivative of the activation is taken from the output. Without a residual the activation's input is
    /// recomputed from x instead, which is read anyway.
    fn keeps_output(self) -> bool {
        self.residual && self.activation.is_some()
    }

    /// This with `activation` behind it, if it can be fused: with a residual its derivative must follow from the output.
    pub(crate) fn then(self, activation: Activation) -> Option<Self> {
        let known = matches!(activation, Relu | Relu6) || (!self.residual && matches!(activation, HardSwish | Silu));
        (self.activation.is_none() && known).then_some(BatchNorm { activation: Some(activation), ..self })
    }
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        match (self.residual, self.activation.is_some()) {
            (false, false) => "batch_norm",
            (true, false) => "batch_norm+add",
            (false, true) => "batch_norm+act",
            (true, true) => "batch_norm+add+act",
        }
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if x[0].rank() == 0 || x[0].is_empty() || !x[0].is_batched() {
            return Err(format!("needs channels of every example, got {}", x[0]));
        }
        Ok(x[0].clone())
    }

    fn madds(&self, _: &[&Shape], y: &Shape) -> u64 {
        y.len() as u64
    }

    fn keeps(&self) -> Keeps {
        let inputs = Keeps::inputs(&[0, 1, 2]);
        if self.keeps_output() { inputs.and_output() } else { inputs }
    }

    /// Mean, then variance, of every channel of the batch.
    fn saved(&self, x: &[&Shape], _: &Shape) -> Space {
        Space::once(2 * x[0].dims()[0])
    }

    fn scratch(&self, x: &[&Shape], _: &Shape, _: usize) -> usize {
        2 * x[0].dims()[0]
    }

    fn passes_gradient(&self, input: usize, _: &[&Shape], _: &Shape) -> bool {
        input == 3 && self.activation.is_none()
    }

    fn forward(&self, at: Forward<'_>) {
        let shape = channels(&at.shapes[0], at.batch);
        let [x, gamma, beta] = [0, 1, 2].map(|i| at.inputs[i]);
        let residual = self.residual.then(|| at.inputs[3]);
        if at.mode == Mode::Train {
            let (mean, variance) = at.saved.split_at_mut(shape.channels);
            let y = at.output;
            let at = BatchNormForward { shape, epsilon: EPSILON, x, gamma, beta, residual, mean, variance, y };
            return match self.activation {
                None => kernel::batch_norm_forward(at, |x| x),
                Some(Relu) => kernel::batch_norm_forward(at, kernel::relu),
                Some(Relu6) => kernel::batch_norm_forward(at, kernel::relu6),
                Some(HardSwish) => kernel::batch_norm_forward(at, kernel::hard_swish),
                Some(Silu) => kernel::batch_norm_forward(at, kernel::silu),
                Some(other) => unreachable!("{} is not fused", other.name()),
            };
        }
        let (scale, shift) = at.scratch.split_at_mut(shape.channels);
        for c in 0..shape.channels {
            scale[c] = gamma[c] / (at.states[1][c] + EPSILON).sqrt();
            shift[c] = beta[c] - at.states[0][c] * scale[c];
        }
        kernel::channel_affine(&shape, x, scale, shift, at.output);
        if let Some(residual) = residual {
            kernel::axpy(1.0, residual, at.output);
        }
        if let Some(activation) = self.activation {
            activation.in_place(at.output);
        }
    }

    /// With x̂ = (x − mean) r, N values a channel and d = dy · activation′: dβ = Σ d, dγ = Σ d x̂,
    /// dx = γ r (d − dβ / N − x̂ dγ / N), and d goes to the residual.
    fn backward(&self, mut at: Backward<'_>) {
        let shape = channels(&at.shapes[0], at.batch);
        let (mean, variance) = at.saved.split_at(shape.channels);
        let (spare_scale, spare_shift) = std::mem::take(&mut at.scratch).split_at_mut(shape.channels);
        let dx = at.grad_input(0).map(super::Grad::parts);
        // One of them may have met another op before, so each starts at its own sum, or at zeros.
        let dgamma = at.grad_input(1).map_or(spare_scale, super::Grad::sum);
        let dbeta = at.grad_input(2).map_or(spare_shift, super::Grad::sum);
        let dresidual = if self.residual { at.grad_input(3).map(super::Grad::parts) } else { None };
        let y = self.keeps_output().then(|| at.output());
        let (x, gamma, beta, dy) = (at.input(0), at.input(1), at.input(2), at.grad);
        let epsilon = EPSILON;
        let at =
            BatchNormBackward { shape, epsilon, x, gamma, beta, mean, variance, y, dy, dx, dresidual, dgamma, dbeta };
        match self.activation {
            None => kernel::batch_norm_backward(at, |_| 1.0),
            Some(Relu) => kernel::batch_norm_backward(at, kernel::relu_derivative),
            Some(Relu6) => kernel::batch_norm_backward(at, kernel::relu6_derivative),
            Some(HardSwish) => kernel::batch_norm_backward(at, kernel::hard_swish_derivative),
            Some(Silu) => kernel::batch_norm_backward(at, kernel::silu_derivative),
            Some(other) => unreachable!("{} is not fused", other.name()),
        }
    }

    /// Running statistics move a tenth of the way to the batch's; the variance is the unbiased one.
    fn update(&self, at: Update<'_>) {
        let shape = channels(&at.shapes[0], at.batch);
        let n = (shape.batch * shape.inner) as f32;
        let unbiased = if n > 1.0 { n / (n - 1.0) } else { 1.0 };
        let (mean, variance) = at.saved.split_at(shape.channels);
        for c in 0..shape.channels {
            at.states[0][c] += MOMENTUM * (mean[c] - at.states[0][c]);
            at.states[1][c] += MOMENTUM * (unbiased * variance[c] - at.states[1][c]);
        }
    }
}

impl<'g> Var<'g> {
    /// Every channel (the first axis) with mean 0 and variance 1 over the batch, then scaled and shifted:
    /// `batch_norm.weight`, `batch_norm.bias`, and the running statistics that evaluation uses.
    pub fn batch_norm(self) -> Var<'g> {
        self.scope("batch_norm", |x| {
            let channels = x.dim(0);
            let scale = x.parameter("weight", &[channels], Init::ONES);
            let shift = x.parameter("bias", &[channels], Init::ZEROS);
            let states = x.states(&[("running_mean", channels, 0.0), ("running_var", channels, 1.0)]);
            x.apply_with_states(BatchNorm::default(), &[scale, shift], states)
        })
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3, 2]], |v| v[0].batch_norm());
        gradcheck(&[&[4]], |v| v[0].batch_norm());
        gradcheck(&[&[1, 1, 5]], |v| v[0].batch_norm().batch_norm());
        gradcheck(&[&[2, 3, 2]], |v| v[0].batch_norm() + v[0].scale(0.5));
    }

    #[test]
    fn a_scale_used_elsewhere_too() {
        // Only the scale's gradient has arrived in part when batch normalisation adds its own; then only the shift's.
        for path in ["batch_norm.weight", "batch_norm.bias"] {
            gradcheck(&[&[4]], |v| v[0].batch_norm() + v[0].parameter(path, &[4], Init::ONES));
        }
    }

    #[test]
    fn mistakes_name_the_shape() {
        let graph = Graph::new();
        graph.constant(&[2], &[1.0, 2.0]).batch_norm();
        assert_eq!(graph.check().unwrap_err().to_string(), "batch_norm: needs channels of every example, got [2]");
    }

    #[test]
    fn running_statistics_by_hand() {
        let graph = Graph::new();
        let y = graph.input("x", &[1]).batch_norm();
        let loss = y.sum();
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::train(&graph, loss, &[y], 2).unwrap();
        program.gradients(&Feed::new(2).with("x", &[1.0, 5.0]), &mut params).unwrap();
        // Mean 3, variance 4 biased and 8 unbiased.
        assert_abs_diff_eq!(program.output(0), &[-1.0, 1.0][..], epsilon = 1e-5);
        assert_abs_diff_eq!(params.get("batch_norm.running_mean").unwrap().values[0], 0.3, epsilon = 1e-6);
        assert_abs_diff_eq!(params.get("batch_norm.running_var").unwrap().values[0], 0.9 + 0.8, epsilon = 1e-6);

        let mut eval = Program::eval(&graph, &[y], 1).unwrap();
        eval.run(&Feed::new(1).with("x", &[2.0]), &params).unwrap();
        assert_abs_diff_eq!(eval.output(0)[0], 1.7 / (1.7_f32 + 1e-5).sqrt(), epsilon = 1e-6);
        // A run that does not train leaves them alone.
        program.run(&Feed::new(2).with("x", &[9.0, 9.0]), &params).unwrap();
        assert_abs_diff_eq!(params.get("batch_norm.running_mean").unwrap().values[0], 0.3, epsilon = 1e-6);
    }

    #[test]
    fn one_value_is_finite() {
        let graph = Graph::new();
        let y = graph.input("x", &[1]).batch_norm();
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::train(&graph, y.sum(), &[], 1).unwrap();
        let loss = program.gradients(&Feed::new(1).with("x", &[7.0]), &mut params).unwrap();
        assert_eq!(loss, 0.0);
        assert!(program.grads().iter().all(|g| g.is_finite()));
    }
}
