//! Binary cross-entropy of logits and targets between 0 and 1.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

/// Inputs: logits x and targets t of the same shape.
#[derive(Debug)]
struct BinaryCrossEntropy {
    /// The weight of a target of 1; a target of 0 weighs 1.
    positive: f32,
}

impl Op for BinaryCrossEntropy {
    fn name(&self) -> &'static str {
        "binary_cross_entropy"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if x[0] != x[1] || x[0].is_empty() {
            return Err(format!("needs a target for every logit, got {} and {}", x[0], x[1]));
        }
        if !(self.positive > 0.0 && self.positive.is_finite()) {
            return Err(format!("the weight of a positive is {}; it must be above 0 and finite", self.positive));
        }
        Ok(Shape::fixed(&[]))
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    /// Mean of −w t ln σ(x) − (1 − t) ln(1 − σ(x)). As −ln σ(x) = softplus(−x) and −ln(1 − σ(x)) = softplus(−x) + x, that is
    /// (1 + (w − 1) t) softplus(−x) + (1 − t) x: no logarithm of a rounded probability.
    fn forward(&self, at: Forward<'_>) {
        let extra = self.positive - 1.0;
        let total = kernel::zip_sum(at.inputs[0], at.inputs[1], |x, t| {
            (1.0 + extra * t) * kernel::softplus(-x) + (1.0 - t) * x
        });
        at.output[0] = (total / at.inputs[0].len() as f64) as f32;
    }

    /// dy/dx = ((1 − t) − (1 + (w − 1) t) σ(−x)) / n; dy/dt = ((w − 1) softplus(−x) − x) / n.
    fn backward(&self, mut at: Backward<'_>) {
        let (x, t) = (at.input(0), at.input(1));
        let (extra, g) = (self.positive - 1.0, at.grad[0] / x.len() as f32);
        if let Some(dx) = at.grad_input(0) {
            let (dx, add) = dx.parts();
            pass(x, t, dx, add, |x, t| g * ((1.0 - t) - (1.0 + extra * t) * kernel::sigmoid(-x)));
        }
        if let Some(dt) = at.grad_input(1) {
            let (dt, add) = dt.parts();
            pass(x, t, dt, add, |x, _| g * (extra * kernel::softplus(-x) - x));
        }
    }
}

fn pass(x: &[f32], t: &[f32], to: &mut [f32], add: bool, f: impl Fn(f32, f32) -> f32) {
    if add {
        kernel::zip_add(x, t, to, f);
    } else {
        kernel::zip(x, t, to, f);
    }
}

impl<'g> Var<'g> {
    /// The mean binary cross-entropy, in nats, of these logits with targets from 0 to 1 of the same shape: one number.
    pub fn binary_cross_entropy(self, target: Var<'g>) -> Var<'g> {
        self.binary_cross_entropy_weighted(target, 1.0)
    }

    /// The same where a target of 1 weighs `positive` times as much as a target of 0: for classes that are rare. The mean is
    /// over the elements, as PyTorch's `pos_weight` has it.
    pub fn binary_cross_entropy_weighted(self, target: Var<'g>, positive: f32) -> Var<'g> {
        self.apply(BinaryCrossEntropy { positive }, &[target])
    }
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{BATCH, gradcheck, gradcheck_fed};
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3], &[2, 3]], |v| v[0].binary_cross_entropy(v[1].sigmoid()));
        gradcheck(&[&[4], &[4]], |v| v[0].binary_cross_entropy_weighted(v[1], 3.0));
        gradcheck(&[&[4]], |v| v[0].binary_cross_entropy(v[0].sigmoid()) + v[0].mean());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(n in 1_usize..20, positive in 0.2_f32..5.0, shift in 0_usize..5) {
            let targets: Vec<f32> = (0..BATCH * n).map(|i| ((i + shift) % 5 % 2) as f32).collect();
            gradcheck_fed(&[&[n]], &[(2, &[n], &targets)], |v| v[0].binary_cross_entropy_weighted(v[1], positive));
        }
    }

    #[test]
    fn values_by_formula() {
        let (x, t) = ([0.3_f32, -1.2, 2.0, 0.7], [1.0_f32, 0.0, 0.25, 1.0]);
        let graph = Graph::new();
        let (logits, target) = (graph.input("x", &[2]), graph.input("t", &[2]));
        let losses = [logits.binary_cross_entropy(target), logits.binary_cross_entropy_weighted(target, 2.5)];
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &losses, 2).unwrap();
        program.run(&Feed::new(2).with("x", &x).with("t", &t), &params).unwrap();
        for (i, weight) in [1.0, 2.5].into_iter().enumerate() {
            let terms = x.iter().zip(t).map(|(&x, t)| {
                let (p, t) = (1.0 / (1.0 + (-f64::from(x)).exp()), f64::from(t));
                -weight * t * p.ln() - (1.0 - t) * (1.0 - p).ln()
            });
            assert_abs_diff_eq!(f64::from(program.output(i)[0]), terms.sum::<f64>() / 4.0, epsilon = 1e-6);
        }
    }

    #[test]
    fn logits_far_apart_stay_exact() {
        let graph = Graph::new();
        let x = graph.input("x", &[1]) + graph.parameter("shift", &[1], Init::ZEROS);
        let loss = x.binary_cross_entropy(graph.input("t", &[1]));
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::train(&graph, loss, &[], 1).unwrap();
        for (x, t, expected, gradient) in [
            (1e4, 0.0, 1e4, 1.0),
            (-1e4, 1.0, 1e4, -1.0),
            (1e4, 1.0, 0.0, 0.0),
            (-1e4, 0.0, 0.0, 0.0),
            (20.0, 1.0, 2.061_153_6e-9, -2.061_153_6e-9),
        ] {
            let found = program.gradients(&Feed::new(1).with("x", &[x]).with("t", &[t]), &mut params).unwrap();
            assert_relative_eq!(found, expected, max_relative = 1e-5);
            assert_relative_eq!(program.grads()[0], gradient, max_relative = 1e-5);
        }
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize], positive: f32| {
            let graph = Graph::new();
            graph.input("x", &[2]).binary_cross_entropy_weighted(graph.input("t", dims), positive);
            graph.check().unwrap_err().to_string()
        };
        let shapes = "binary_cross_entropy: needs a target for every logit, got [N, 2] and [N]";
        assert_eq!(says(&[], 1.0), shapes);
        let weight = "binary_cross_entropy: the weight of a positive is 0; it must be above 0 and finite";
        assert_eq!(says(&[2], 0.0), weight);
    }
}
