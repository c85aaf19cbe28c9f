//! Cross-entropy of logits and class numbers, with label smoothing, class weights and targets that do not count.

use super::{Backward, Forward, Keeps, Op, Space};
use crate::graph::{Shape, Var};
use crate::kernel;

/// The settings of a cross-entropy; [`Var::cross_entropy_with`] applies it.
///
/// ```
/// use nas_nn::{Graph, op::CrossEntropy};
///
/// let graph = Graph::new();
/// let logits = graph.input("x", &[12, 8]).linear(3);
/// let (token, counts) = (graph.classes("token", 3, &[12]), graph.input("counts", &[12]));
/// let settings = CrossEntropy { weights: Some(vec![1.0, 1.0, 5.0]), ..CrossEntropy::default() };
/// let loss = logits.cross_entropy_masked(token, counts, settings);
/// assert_eq!(loss.shape().to_string(), "[]");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrossEntropy {
    /// The part of every target that is spread evenly over all classes, 0 or more and below 1 (Szegedy et al., 2016, §7).
    pub smoothing: f32,
    /// A weight for each class, 0 or more; all 1 when there are none.
    pub weights: Option<Vec<f32>>,
}

/// Inputs: logits [.., classes], class numbers [..], and a factor for each target [..] if there is a mask.
#[derive(Debug)]
struct Loss {
    settings: CrossEntropy,
    masked: bool,
}

impl Loss {
    fn targets<'a>(&'a self, labels: &'a [f32], mask: Option<&'a [f32]>) -> kernel::Targets<'a> {
        let weights = self.settings.weights.as_deref();
        kernel::Targets { labels, weights, mask, smoothing: self.settings.smoothing }
    }
}

impl Op for Loss {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let Some((&classes, rest)) = x[0].dims().split_last().filter(|&(&classes, _)| classes > 0) else {
            return Err(format!("logits {} need one class number a row, got {}", x[0], x[1]));
        };
        if *x[1] != x[0].with(rest) {
            return Err(format!("logits {} need one class number a row, got {}", x[0], x[1]));
        }
        if self.masked && x[2] != x[1] {
            return Err(format!("targets {} need one factor each, got {}", x[1], x[2]));
        }
        let smoothing = self.settings.smoothing;
        if !(0.0..1.0).contains(&smoothing) {
            return Err(format!("the smoothing is {smoothing}; it must be 0 or more and below 1"));
        }
        if let Some(weights) = &self.settings.weights {
            if weights.len() != classes {
                return Err(format!("{} weights were given for {classes} classes", weights.len()));
            }
            if let Some((class, weight)) = weights.iter().enumerate().find(|(_, w)| !(w.is_finite() && **w >= 0.0)) {
                return Err(format!("the weight of class {class} is {weight}; it must be 0 or more"));
            }
        }
        Ok(Shape::fixed(&[]))
    }

    fn differentiates(&self, input: usize) -> bool {
        input == 0
    }

    /// The largest logit and the logarithm of the sum of a row; once, the sum of the weights of the targets. With these
    /// the probabilities follow from the logits and are not kept.
    fn saved(&self, x: &[&Shape], _: &Shape) -> Space {
        // Class numbers are fed, so every example has its own.
        Space { per_example: 2 * x[1].len(), once: 1 }
    }

    fn keeps(&self) -> Keeps {
        if self.masked { Keeps::inputs(&[0, 1, 2]) } else { Keeps::inputs(&[0, 1]) }
    }

    /// The mean over the targets y, each as often as its mask and weight say: Σ m wʸ (−ln pʸ) / Σ m wʸ. With smoothing s
    /// the sum above the line is Σ m ((1 − s) wʸ (−ln pʸ) + s/C Σ wᶜ (−ln pᶜ)), as PyTorch has it.
    fn forward(&self, at: Forward<'_>) {
        let classes = at.shapes[0].dims()[at.shapes[0].rank() - 1];
        let targets = self.targets(at.inputs[1], self.masked.then(|| at.inputs[2]));
        let (stats, counted) = match at.saved.split_last_mut() {
            Some((counted, stats)) => (stats, Some(counted)),
            None => (&mut [][..], None),
        };
        let [total, weight] = kernel::cross_entropy_forward(classes, at.inputs[0], targets, stats);
        if let Some(counted) = counted {
            *counted = weight as f32;
        }
        // NaN logits must show even where nothing is counted by weight, so only a true zero over zero is taken out.
        at.output[0] = if weight == 0.0 && total == 0.0 { 0.0 } else { (total / weight) as f32 };
    }

    /// d/dlogits = m (p Σ t − t) / Σ m wʸ with the target t: (1 − s) wʸ at y and s/C wᶜ everywhere.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        let classes = at.shapes[0].dims()[at.shapes[0].rank() - 1];
        let targets = self.targets(at.input(1), self.masked.then(|| at.input(2)));
        let (&counted, stats) = at.saved.split_last().expect("the weight stands last");
        let scale = if counted == 0.0 { 0.0 } else { at.grad[0] / counted };
        kernel::cross_entropy_backward(classes, scale, at.input(0), targets, stats, dx, add);
    }
}

impl<'g> Var<'g> {
    /// The mean cross-entropy, in nats, of these logits [.., classes] with class numbers [..]: one number.
    pub fn cross_entropy(self, label: Var<'g>) -> Var<'g> {
        self.cross_entropy_with(label, CrossEntropy::default())
    }

    /// The same with `smoothing` of every target spread evenly over all classes (Szegedy et al., 2016, §7).
    pub fn cross_entropy_smooth(self, label: Var<'g>, smoothing: f32) -> Var<'g> {
        self.cross_entropy_with(label, CrossEntropy { smoothing, weights: None })
    }

    /// The same as `settings` say: the mean over the targets, each as often as the weight of its class.
    pub fn cross_entropy_with(self, label: Var<'g>, settings: CrossEntropy) -> Var<'g> {
        self.loss(label, None, settings)
    }

    /// The same over the targets whose `mask` [..] is 1; those where it is 0 do not count, whatever the logits are. A batch
    /// without a target that counts has the loss 0 and no gradient. Factors between weigh a target.
    pub fn cross_entropy_masked(self, label: Var<'g>, mask: Var<'g>, settings: CrossEntropy) -> Var<'g> {
        self.loss(label, Some(mask), settings)
    }

    fn loss(self, label: Var<'g>, mask: Option<Var<'g>>, settings: CrossEntropy) -> Var<'g> {
        let classes = self.last();
        if classes > 0 && label.classes().is_none_or(|known| known > classes) {
            let found = label.numbers();
            let message = format!("needs class numbers below {classes} from an input of classes, got {found}");
            return self.mistake("cross_entropy", message);
        }
        let loss = Loss { settings, masked: mask.is_some() };
        match mask {
            Some(mask) => self.apply(loss, &[label, mask]),
            None => self.apply(loss, &[label]),
        }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::CrossEntropy;
    use crate::testing::{BATCH, HOLE, gradcheck_fed, with_holes};
    use crate::{Feed, Graph, Init, Params, Plan, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck_fed(&[&[4]], &[(4, &[], &[0.0, 3.0, 1.0])], |v| v[0].cross_entropy(v[1]));
        gradcheck_fed(&[&[5]], &[(5, &[], &[0.0, 3.0, 1.0])], |v| v[0].cross_entropy_smooth(v[1], 0.2));
        let labels = [0.0, 1.0, 2.0, 2.0, 1.0, 0.0];
        gradcheck_fed(&[&[2, 3]], &[(3, &[2], &labels)], |v| v[0].cross_entropy_smooth(v[1], 0.1));
    }

    #[test]
    fn gradients_with_weights_and_masks() {
        let settings = |smoothing: f32, weights: &[f32]| CrossEntropy { smoothing, weights: Some(weights.to_vec()) };
        let labels: (usize, &[usize], &[f32]) = (3, &[2], &[0.0, 1.0, 2.0, 2.0, 1.0, 0.0]);
        let mask: (usize, &[usize], &[f32]) = (2, &[2], &[1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
        for smoothing in [0.0, 0.2] {
            let weighted = settings(smoothing, &[0.5, 2.0, 1.0]);
            gradcheck_fed(&[&[2, 3]], &[labels], |v| v[0].cross_entropy_with(v[1], weighted.clone()));
            gradcheck_fed(&[&[2, 3]], &[labels, mask], |v| v[0].cross_entropy_masked(v[1], v[2], weighted.clone()));
            let even = CrossEntropy { smoothing, weights: None };
            gradcheck_fed(&[&[2, 3]], &[labels, mask], |v| {
                v[0].cross_entropy_masked(v[1], v[2], even.clone()) + v[0].mean().scale(0.3)
            });
        }
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

    /// PyTorch's `cross_entropy(weight=[0.5, 2, 1.5], ignore_index=…, label_smoothing=0.1)` from its definition in f64.
    #[test]
    fn weights_and_masks_by_formula() {
        let x = [0.3, -1.2, 2.0, 0.7, 0.1, -0.4, 1.5, -2.5, 0.0, 0.9, 0.8, -0.3];
        let (labels, mask, weights) = ([2.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.5_f32, 2.0, 1.5]);
        let graph = Graph::new();
        let (logits, label, counts) = (graph.input("x", &[3]), graph.class("y", 3), graph.input("m", &[]));
        let settings = CrossEntropy { smoothing: 0.1, weights: Some(weights.to_vec()) };
        let losses =
            [logits.cross_entropy_masked(label, counts, settings.clone()), logits.cross_entropy_with(label, settings)];
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &losses, 4).unwrap();
        program.run(&Feed::new(4).with("x", &x).with("y", &labels).with("m", &mask), &params).unwrap();
        for (i, mask) in [mask, [1.0; 4]].into_iter().enumerate() {
            let (mut likelihood, mut smooth, mut counted) = (0.0, 0.0, 0.0);
            for ((row, label), mask) in x.chunks(3).zip(labels).zip(mask) {
                let log_sum = row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
                let losses: Vec<f64> =
                    row.iter().zip(weights).map(|(&x, w)| f64::from(mask * w) * (log_sum - f64::from(x))).collect();
                likelihood += losses[label as usize];
                smooth += losses.iter().sum::<f64>();
                counted += f64::from(mask * weights[label as usize]);
            }
            let expected = 0.9 * likelihood / counted + 0.1 / 3.0 * smooth / counted;
            assert_abs_diff_eq!(f64::from(program.output(i)[0]), expected, epsilon = 1e-6);
        }
    }

    #[test]
    fn targets_that_do_not_count_have_no_say() {
        let graph = Graph::new();
        let logits = with_holes(graph.input("x", &[2])) + graph.parameter("shift", &[2], Init::ZEROS);
        let loss = logits.cross_entropy_masked(graph.class("y", 2), graph.input("m", &[]), CrossEntropy::default());
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::train(&graph, loss, &[], 2).unwrap();
        let mut gradients = |mask: [f32; 2], x: [f32; 4]| {
            let feed = Feed::new(2).with("x", &x).with("y", &[1.0, 0.0]).with("m", &mask);
            (program.gradients(&feed, &mut params).unwrap(), program.grads().to_vec())
        };
        let (loss, grads) = gradients([1.0, 0.0], [0.0, 0.0, HOLE, 5.0]);
        assert_abs_diff_eq!(loss, 2_f32.ln(), epsilon = 1e-6);
        assert_abs_diff_eq!(grads[..], [0.5, -0.5], epsilon = 1e-6);
        assert_eq!(gradients([0.0, 0.0], [1.0; 4]), (0.0, vec![0.0; 2]));
        assert!(gradients([1.0, 1.0], [0.0, 0.0, HOLE, 0.0]).0.is_nan());
    }

    #[test]
    fn no_buffer_of_probabilities_is_kept() {
        let graph = Graph::new();
        let loss = graph.input("x", &[2]).linear(5000).cross_entropy(graph.class("y", 5000));
        let plan = Plan::train(&graph, loss, &[], 16).unwrap();
        let (logits, parameters) = (4 * 16 * 5000, 4 * graph.cost().parameters);
        let rest = plan.bytes() - parameters - 2 * logits;
        assert!(rest < 1000, "{rest} bytes beside the logits and their gradient");
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
        assert_eq!(error.to_string(), "the input \"y\" holds 3 in example 1 at 0; class numbers are 0 to 2");
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize], classes: usize, labels: &[usize], smoothing: f32| {
            let graph = Graph::new();
            graph.input("x", dims).cross_entropy_smooth(graph.classes("y", classes, labels), smoothing);
            graph.check().unwrap_err().to_string()
        };
        let too_many = "cross_entropy: needs class numbers below 3 from an input of classes, got 5 classes";
        assert_eq!(says(&[3], 5, &[], 0.0), too_many);
        let rows = "cross_entropy: logits [N, 3] need one class number a row, got [N, 2]";
        assert_eq!(says(&[3], 3, &[2], 0.0), rows);
        let single = "cross_entropy: logits [N] need one class number a row, got [N]";
        assert_eq!(says(&[], 3, &[], 0.0), single);
        let smoothing = "cross_entropy: the smoothing is 1; it must be 0 or more and below 1";
        assert_eq!(says(&[3], 3, &[], 1.0), smoothing);

        let weighs = |weights: &[f32]| {
            let graph = Graph::new();
            let settings = CrossEntropy { smoothing: 0.0, weights: Some(weights.to_vec()) };
            graph.input("x", &[3]).cross_entropy_with(graph.class("y", 3), settings);
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(weighs(&[1.0; 4]), "cross_entropy: 4 weights were given for 3 classes");
        assert_eq!(weighs(&[1.0, -2.0, 1.0]), "cross_entropy: the weight of class 1 is -2; it must be 0 or more");
        let graph = Graph::new();
        let (label, mask) = (graph.classes("y", 3, &[5]), graph.input("m", &[4]));
        graph.input("x", &[5, 3]).cross_entropy_masked(label, mask, CrossEntropy::default());
        let masks = "cross_entropy: targets [N, 5] need one factor each, got [N, 4]";
        assert_eq!(graph.check().unwrap_err().to_string(), masks);

        let graph = Graph::new();
        graph.input("x", &[3]).cross_entropy(graph.input("y", &[]));
        let numbers = too_many.replace("5 classes", "[N] of other numbers");
        assert_eq!(graph.check().unwrap_err().to_string(), numbers);
    }
}
