//! One element of the last axis for every row, by class number.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};

/// Inputs: x [.., classes] and class numbers [..].
#[derive(Debug)]
struct Gather;

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let fits = x[0].dims().split_last().is_some_and(|(_, rest)| rest == x[1].dims());
        if !fits || x[0].is_batched() != x[1].is_batched() {
            return Err(format!("{} needs one class number a row, got {}", x[0], x[1]));
        }
        Ok(x[1].clone())
    }

    fn differentiates(&self, input: usize) -> bool {
        input == 0
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[1])
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let columns = at.shapes[0].dims()[at.shapes[0].rank() - 1];
        for ((y, row), &index) in at.output.iter_mut().zip(at.inputs[0].chunks_exact(columns)).zip(at.inputs[1]) {
            *y = row[index as usize];
        }
    }

    /// The gradient goes to the element that was taken.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let columns = at.shapes[0].dims()[at.shapes[0].rank() - 1];
        for ((row, &g), &index) in dx.sum().chunks_exact_mut(columns).zip(at.grad).zip(at.input(1)) {
            row[index as usize] += g;
        }
    }
}

impl<'g> Var<'g> {
    /// The element of the last axis that `index` names, for every row: [.., classes] with [..] → [..].
    pub fn gather(self, index: Var<'g>) -> Var<'g> {
        if index.classes().is_none_or(|classes| classes > self.last()) {
            let (below, found) = (self.last(), index.numbers());
            let message = format!("needs class numbers below {below} from an input of classes, got {found}");
            return self.mistake("gather", message);
        }
        self.apply(Gather, &[index])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{BATCH, gradcheck_fed};
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradient() {
        gradcheck_fed(&[&[4]], &[(4, &[], &[0.0, 3.0, 3.0])], |v| v[0].gather(v[1]));
        gradcheck_fed(&[&[2, 3]], &[(3, &[2], &[0.0, 1.0, 2.0, 2.0, 1.0, 0.0])], |v| v[0].gather(v[1]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(rows in 1_usize..4, columns in 2_usize..7, shift in 0_usize..7) {
            let index: Vec<f32> = (0..BATCH * rows).map(|i| ((3 * i + shift) % columns) as f32).collect();
            let fed: &[(usize, &[usize], &[f32])] = &[(columns, &[rows], &index)];
            gradcheck_fed(&[&[rows, columns]], fed, |v| v[0].log_softmax().gather(v[1]) + v[0].gather(v[1]));
        }
    }

    #[test]
    fn elements_of_the_rows() {
        let graph = Graph::new();
        let y = graph.input("x", &[2, 3]).gather(graph.classes("index", 3, &[2]));
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], 2).unwrap();
        let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
        program.run(&Feed::new(2).with("x", &x).with("index", &[2.0, 0.0, 1.0, 1.0]), &params).unwrap();
        assert_eq!(program.output(0), [2.0, 3.0, 7.0, 10.0]);
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize]| {
            let graph = Graph::new();
            graph.input("x", dims).gather(graph.class("index", 3));
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(&[2]), "gather: needs class numbers below 2 from an input of classes, got 3 classes");
        assert_eq!(says(&[2, 3]), "gather: [N, 2, 3] needs one class number a row, got [N]");
    }
}
