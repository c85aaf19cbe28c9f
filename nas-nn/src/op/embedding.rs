//! Embedding: a row of a table for every class number.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};
use crate::init::Init;

/// Inputs: class numbers [..] and the table [count, width].
#[derive(Debug)]
struct Embedding;

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let dims: Vec<usize> = x[0].dims().iter().copied().chain([x[1].dims()[1]]).collect();
        Ok(x[0].with(&dims))
    }

    fn differentiates(&self, input: usize) -> bool {
        input == 1
    }

    fn names_rows(&self, input: usize) -> Option<usize> {
        (input == 1).then_some(0)
    }

    fn keeps(&self) -> super::Keeps {
        super::Keeps::inputs(&[0])
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let width = at.shapes[1].dims()[1];
        for (row, &index) in at.output.chunks_exact_mut(width).zip(at.inputs[0]) {
            row.copy_from_slice(&at.inputs[1][index as usize * width..][..width]);
        }
    }

    /// Every row's gradient goes to the row of the table it came from.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(table) = at.grad_input(1) else { return };
        let width = at.shapes[1].dims()[1];
        let (table, indices) = (table.sum(), at.input(0));
        for (row, &index) in at.grad.chunks_exact(width).zip(indices) {
            for (sum, g) in table[index as usize * width..][..width].iter_mut().zip(row) {
                *sum += g;
            }
        }
    }
}

impl<'g> Var<'g> {
    /// A trained vector of `width` numbers for each of these class numbers, which are below `count`:
    /// `embedding.weight` [count, width], drawn from N(0, 1).
    pub fn embedding(self, count: usize, width: usize) -> Var<'g> {
        self.embedding_in(self.embedding_table(count, width, Init::Normal { std: 1.0 }))
    }

    /// The table `embedding.weight` [count, width] itself, which starts as `init` says: for [`Var::embedding_in`], and for
    /// other uses of the same weights, as [`Var::linear_tied`].
    pub fn embedding_table(self, count: usize, width: usize, init: Init) -> Var<'g> {
        if count == 0 || width == 0 {
            let message = format!("needs a table of one or more rows and numbers, got [{count}, {width}]");
            return self.mistake("embedding", message);
        }
        self.scope("embedding", |x| x.parameter("weight", &[count, width], init))
    }

    /// The rows of a `table` [count, width] with these class numbers [..], which are below `count`: [.., width].
    pub fn embedding_in(self, table: Var<'g>) -> Var<'g> {
        if table.is_poisoned() {
            return table.at(self);
        }
        let shape = table.shape();
        let (&[count, _], false) = (shape.dims(), shape.is_batched()) else {
            return self.mistake("embedding", format!("needs a fixed table [count, width], got {shape}"));
        };
        if self.classes().is_none_or(|classes| classes > count) {
            let found = self.numbers();
            let message = format!("needs class numbers below {count} from an input of classes, got {found}");
            return self.mistake("embedding", message);
        }
        self.apply(Embedding, &[table])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::{BATCH, gradcheck_fed};
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    #[test]
    fn gradient() {
        gradcheck_fed(&[], &[(4, &[], &[0.0, 3.0, 3.0])], |v| v[0].embedding(4, 2));
        gradcheck_fed(&[], &[(5, &[2], &[0.0, 3.0, 3.0, 1.0, 1.0, 1.0])], |v| v[0].embedding(5, 3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(count in 1_usize..6, width in 1_usize..5, length in 1_usize..5, shift in 0_usize..5) {
            let tokens: Vec<f32> = (0..BATCH * length).map(|i| ((3 * i + shift) % count) as f32).collect();
            gradcheck_fed(&[], &[(count, &[length], &tokens)], |v| v[0].embedding(count, width));
        }
    }

    #[test]
    fn rows_of_the_table() {
        let graph = Graph::new();
        let y = graph.classes("x", 3, &[2]).embedding(3, 2);
        assert_eq!(y.shape().to_string(), "[N, 2, 2]");
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        params.set("embedding.weight", &[3, 2], &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]).unwrap();
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[2.0, 0.0]), &params).unwrap();
        assert_eq!(program.output(0), [20.0, 21.0, 0.0, 1.0]);
    }

    #[test]
    fn numbers_that_are_no_classes_are_a_mistake() {
        let graph = Graph::new();
        graph.input("x", &[2]).embedding(4, 2);
        assert!(graph.check().unwrap_err().to_string().contains("class numbers below 4"));
    }

    #[test]
    fn tables_that_do_not_fit_are_mistakes() {
        let says = |build: fn(&Graph)| {
            let graph = Graph::new();
            build(&graph);
            graph.check().unwrap_err().to_string()
        };
        let empty = says(|g| _ = g.class("x", 3).embedding(3, 0));
        assert_eq!(empty, "embedding: needs a table of one or more rows and numbers, got [3, 0]");
        let few = says(|g| _ = g.class("x", 3).embedding_in(g.parameter("t", &[2, 4], Init::ZEROS)));
        assert_eq!(few, "embedding: needs class numbers below 2 from an input of classes, got 3 classes");
        let vector = says(|g| _ = g.class("x", 3).embedding_in(g.parameter("t", &[4], Init::ZEROS)));
        assert_eq!(vector, "embedding: needs a fixed table [count, width], got [4]");
    }
}
