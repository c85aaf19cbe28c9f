//! Cross-entropy of logits and class numbers, with label smoothing.

use super::{Backward, Forward, Op, Space};
use crate::graph::{Shape, Var};
use crate::kernel;

/// Inputs: logits [.., classes] and class numbers [..].
#[derive(Debug)]
struct CrossEntropy {
    smoothing: f32,
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let fits = x[0].dims().split_last().is_some_and(|(&classes, rest)| classes > 0 && rest == x[1].dims());
        if !fits || x[0].is_batched() != x[1].is_batched() {
            return Err(format!("logits {} need one class number a row, got {}", x[0], x[1]));
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return Err(format!("the smoothing is {}; it must be 0 or more and below 1", self.smoothing));
        }
        Ok(Shape::fixed(&[]))
    }

    fn differentiates(&self, input: usize) -> bool {
        input == 0
    }

    /// Log-probabilities.
    fn saved(&self, x: &[&Shape], _: &Shape) -> Space {
        Space::per_example(x[0].len())
    }

    fn scratch(&self, x: &[&Shape], _: &Shape, batch: usize) -> usize {
        x[0].elements(batch)
    }

    fn keeps(&self) -> super::Keeps {
        super::Keeps::inputs(&[1])
    }

    /// Mean over the rows of −(1 − s) log p[class] − s mean(log p).
    fn forward(&self, at: Forward<'_>) {
        let classes = at.shapes[0].dims()[at.shapes[0].rank() - 1];
        let (logits, labels) = (at.inputs[0], at.inputs[1]);
        let log_p = if at.saved.is_empty() { &mut at.scratch[..logits.len()] } else { at.saved };
        kernel::row_log_softmax(classes, logits, log_p);
        let mut total = 0.0;
        for (row, &label) in log_p.chunks_exact(classes).zip(labels) {
            total -= f64::from((1.0 - self.smoothing) * row[label as usize]);
            if self.smoothing > 0.0 {
                total -= f64::from(self.smoothing * kernel::sum(row) / classes as f32);
            }
        }
        at.output[0] = (total / labels.len().max(1) as f64) as f32;
    }

    /// d/dlogits = (p − target) / rows.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let classes = at.shapes[0].dims()[at.shapes[0].rank() - 1];
        let labels = at.input(1);
        let g = at.grad[0] / labels.len().max(1) as f32;
        let even = self.smoothing / classes as f32;
        let dx = dx.sum();
        kernel::map_add(at.saved, dx, |log_p| g * (kernel::exp(log_p) - even));
        for (row, &label) in dx.chunks_exact_mut(classes).zip(labels) {
            row[label as usize] -= g * (1.0 - self.smoothing);
        }
    }
}

impl<'g> Var<'g> {
    /// The mean cross-entropy, in nats, of these logits [.., classes] with class numbers [..]: one number.
    pub fn cross_entropy(self, label: Var<'g>) -> Var<'g> {
        self.cross_entropy_smooth(label, 0.0)
    }

    /// The same with `smoothing` of every target spread evenly over all classes (Szegedy et al., 2016, §7).
    pub fn cross_entropy_smooth(self, label: Var<'g>, smoothing: f32) -> Var<'g> {
        let classes = self.last();
        if classes > 0 && label.classes().is_none_or(|known| known > classes) {
            let message = format!("needs class numbers below {classes} from an input of classes");
            return self.mistake("cross_entropy", message);
        }
        self.apply(CrossEntropy { smoothing }, &[label])
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{BATCH, gradcheck_fed};
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck_fed(&[&[4]], &[(4, &[], &[0.0, 3.0, 1.0])], |v| v[0].cross_entropy(v[1]));
        gradcheck_fed(&[&[5]], &[(5, &[], &[0.0, 3.0, 1.0])], |v| v[0].cross_entropy_smooth(v[1], 0.2));
        let labels = [0.0, 1.0, 2.0, 2.0, 1.0, 0.0];
        gradcheck_fed(&[&[2, 3]], &[(3, &[2], &labels)], |v| v[0].cross_entropy_smooth(v[1], 0.1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn random_gradients(rows in 1_usize..4, classes in 2_usize..18, smoothing in 0.0_f32..0.9, shift in 0_usize..9) {
            let labels: Vec<f32> = (0..BATCH * rows).map(|i| ((5 * i + shift) % classes) as f32).collect();
            let fed: &[(usize, &[usize], &[f32])] = &[(classes, &[rows], &labels)];
            gradcheck_fed(&[&[rows, classes]], fed, |v| v[0].cross_entropy_smooth(v[1], smoothing));
        }
    }

    #[test]
    fn logits_far_apart_stay_finite() {
        let graph = Graph::new();
        let logits = graph.input("x", &[3]).scale(1.0) + graph.parameter("shift", &[3], crate::Init::ZEROS);
        let label = graph.class("y", 3);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        for (smoothing, expected) in [(0.0, 2e4), (0.3, 0.7 * 2e4 + 0.1 * 2e4)] {
            let loss = logits.cross_entropy_smooth(label, smoothing);
            let mut program = Program::train(&graph, loss, &[], 1).unwrap();
            let feed = Feed::new(1).with("x", &[1e4, -1e4, 1e4]).with("y", &[1.0]);
            let found = program.gradients(&feed, &mut params).unwrap();
            assert_abs_diff_eq!(found, expected + 2_f32.ln(), epsilon = 1e-2);
            let even = smoothing / 3.0;
            for (g, expected) in program.grads().iter().zip([0.5 - even, smoothing - 1.0 - even, 0.5 - even]) {
                assert_abs_diff_eq!(*g, expected, epsilon = 1e-6);
            }
        }
    }

    /// The mean over examples and positions, in f64.
    #[test]
    fn sequences_by_formula() {
        let x = [0.3, -1.2, 2.0, 0.7, 0.1, -0.4, 1.5, -2.5, 0.0, 0.9, 0.8, -0.3];
        let labels = [2.0, 0.0, 1.0, 1.0];
        let graph = Graph::new();
        let loss = graph.input("x", &[2, 3]).cross_entropy_smooth(graph.classes("y", 3, &[2]), 0.2);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[loss], 2).unwrap();
        program.run(&Feed::new(2).with("x", &x).with("y", &labels), &params).unwrap();
        let mut expected = 0.0;
        for (row, label) in x.chunks(3).zip(labels) {
            let log_sum = row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
            for (class, &x) in row.iter().enumerate() {
                let target = 0.2 / 3.0 + if class == label as usize { 0.8 } else { 0.0 };
                expected += target * (log_sum - f64::from(x)) / 4.0;
            }
        }
        assert_abs_diff_eq!(f64::from(program.output(0)[0]), expected, epsilon = 1e-6);
    }

    #[test]
    fn a_value_by_hand() {
        let graph = Graph::new();
        let logits = graph.input("x", &[3]);
        let label = graph.class("y", 3);
        let losses = [logits.cross_entropy(label), logits.cross_entropy_smooth(label, 0.3)];
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &losses, 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.0, 2.0, 4.0]).with("y", &[1.0]), &params).unwrap();
        let log_sum = (1_f64.exp() + 2_f64.exp() + 4_f64.exp()).ln();
        assert_abs_diff_eq!(f64::from(program.output(0)[0]), log_sum - 2.0, epsilon = 1e-6);
        let smooth = 0.7 * (log_sum - 2.0) + 0.1 * (3.0 * log_sum - 7.0);
        assert_abs_diff_eq!(f64::from(program.output(1)[0]), smooth, epsilon = 1e-6);
    }

    #[test]
    fn labels_are_checked() {
        let graph = Graph::new();
        let loss = graph.input("x", &[3]).cross_entropy(graph.class("y", 3));
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[loss], 2).unwrap();
        let error = program.run(&Feed::new(2).with("x", &[0.0; 6]).with("y", &[1.0, 3.0]), &params).unwrap_err();
        assert_eq!(error.to_string(), "the input \"y\" holds 3 at 1; class numbers are 0 to 2");
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize], classes: usize, labels: &[usize], smoothing: f32| {
            let graph = Graph::new();
            graph.input("x", dims).cross_entropy_smooth(graph.classes("y", classes, labels), smoothing);
            graph.check().unwrap_err().to_string()
        };
        let too_many = "cross_entropy: needs class numbers below 3 from an input of classes";
        assert_eq!(says(&[3], 5, &[], 0.0), too_many);
        let rows = "cross_entropy: logits [N, 3] need one class number a row, got [N, 2]";
        assert_eq!(says(&[3], 3, &[2], 0.0), rows);
        let single = "cross_entropy: logits [N] need one class number a row, got [N]";
        assert_eq!(says(&[], 3, &[], 0.0), single);
        let smoothing = "cross_entropy: the smoothing is 1; it must be 0 or more and below 1";
        assert_eq!(says(&[3], 3, &[], 1.0), smoothing);

        let graph = Graph::new();
        graph.input("x", &[3]).cross_entropy(graph.input("y", &[]));
        assert_eq!(graph.check().unwrap_err().to_string(), too_many);
    }
}
