//! Parts of a value along one axis, that together are all of it.

use crate::graph::Var;

impl<'g> Var<'g> {
    /// The parts of `axis` that follow each other with these `sizes`, which add up to all of it.
    pub fn split(self, axis: usize, sizes: &[usize]) -> Vec<Var<'g>> {
        if self.is_poisoned() {
            return vec![self; sizes.len()];
        }
        let total = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
        let fits = axis < self.shape().rank() && total == Some(self.dim(axis)) && !sizes.contains(&0);
        if !fits {
            let text = format!("parts of {sizes:?} do not make up axis {axis} of {}", self.shape());
            return vec![self.mistake("split", text); sizes.len()];
        }
        let mut start = 0;
        let part = |&size: &usize| {
            let from = start;
            start += size;
            self.slice(axis, from, start)
        };
        sizes.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 5]], |v| {
            let parts = v[0].split(1, &[2, 1, 2]);
            parts[0] * parts[2] + parts[1]
        });
    }

    #[test]
    fn parts_follow_each_other() {
        let graph = Graph::new();
        let parts = graph.input("x", &[3, 2]).split(0, &[1, 2]);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &parts, 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &params).unwrap();
        assert_eq!(program.output(0), [1.0, 2.0]);
        assert_eq!(program.output(1), [3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn mistakes_name_the_sizes() {
        let says = |axis: usize, sizes: &[usize]| {
            let graph = Graph::new();
            let parts = graph.input("x", &[2, 5]).split(axis, sizes);
            assert_eq!(parts.len(), sizes.len());
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(1, &[2, 2]), "split: parts of [2, 2] do not make up axis 1 of [N, 2, 5]");
        assert_eq!(says(1, &[5, 0]), "split: parts of [5, 0] do not make up axis 1 of [N, 2, 5]");
        assert_eq!(says(2, &[1]), "split: parts of [1] do not make up axis 2 of [N, 2, 5]");
        assert_eq!(
            says(1, &[usize::MAX, 6]),
            format!("split: parts of [{}, 6] do not make up axis 1 of [N, 2, 5]", usize::MAX)
        );
    }
}
