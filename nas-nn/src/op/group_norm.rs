//! Group normalisation (Wu & He, 2018): groups of channels of one example.

use super::{Backward, Forward, Grad, Keeps, Op, Space};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel::{self, RowNorm};

/// Inputs: x [channels, ..], a factor and a term [channels].
#[derive(Debug, Clone, Copy)]
struct GroupNorm {
    groups: usize,
}

impl GroupNorm {
    /// A row is a group; every group has factors of its own.
    fn norm<'a>(&self, x: &Shape, gamma: &'a [f32]) -> RowNorm<'a> {
        RowNorm { columns: x.len() / self.groups, epsilon: 1e-5, centred: true, gamma }
    }
}

/// Repeats each channel's number for all its elements.
fn spread(channels: &[f32], elements: &mut [f32]) {
    for (elements, &c) in elements.chunks_exact_mut(elements.len() / channels.len()).zip(channels) {
        elements.fill(c);
    }
}

impl Op for GroupNorm {
    fn name(&self) -> &'static str {
        "group_norm"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if x[0].rank() == 0 || x[0].is_empty() || !x[0].is_batched() {
            return Err(format!("needs channels of every example, got {}", x[0]));
        }
        if self.groups == 0 || !x[0].dims()[0].is_multiple_of(self.groups) {
            return Err(format!("{} channels do not divide into {} groups", x[0].dims()[0], self.groups));
        }
        Ok(x[0].clone())
    }

    fn madds(&self, _: &[&Shape], y: &Shape) -> u64 {
        y.len() as u64
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    /// The mean and the factor of every group.
    fn saved(&self, _: &[&Shape], _: &Shape) -> Space {
        Space::per_example(2 * self.groups)
    }

    /// Factors, terms or their gradients, and gradients for every element of an example.
    fn scratch(&self, x: &[&Shape], _: &Shape, _: usize) -> usize {
        3 * x[0].len()
    }

    /// Factors and terms for every element of an example, and what is not saved.
    fn scratch_eval(&self, x: &[&Shape], _: &Shape, batch: usize) -> usize {
        2 * x[0].len() + 2 * self.groups * batch
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let (len, rows) = (at.shapes[0].len(), at.batch * self.groups);
        let (gamma, rest) = at.scratch.split_at_mut(len);
        let (beta, rest) = rest.split_at_mut(len);
        spread(at.inputs[1], gamma);
        spread(at.inputs[2], beta);
        let statistics = if at.saved.is_empty() { rest } else { at.saved };
        let (mean, scale) = statistics[..2 * rows].split_at_mut(rows);
        kernel::row_norm_forward(&self.norm(&at.shapes[0], gamma), at.inputs[0], beta, mean, scale, at.output);
    }

    /// As for layer norm, with a row for every group; a channel's factor gets the sum over its elements.
    fn backward(&self, mut at: Backward<'_>) {
        let (len, rows) = (at.shapes[0].len(), at.batch * self.groups);
        let (gamma, rest) = std::mem::take(&mut at.scratch).split_at_mut(len);
        let (dgamma, rest) = rest.split_at_mut(len);
        let dbeta = &mut rest[..len];
        spread(at.input(1), gamma);
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        let (mean, scale) = at.saved[..2 * rows].split_at(rows);
        let dx = at.grad_input(0).map(Grad::parts);
        let norm = self.norm(&at.shapes[0], gamma);
        kernel::row_norm_backward(&norm, at.input(0), mean, scale, at.grad, dx, dgamma, dbeta);
        let inner = len / at.shapes[0].dims()[0];
        for (i, sums) in [(1, dgamma), (2, dbeta)] {
            if let Some(to) = at.grad_input(i) {
                let (to, add) = to.parts();
                kernel::row_sums(inner, sums, to, add);
            }
        }
    }
}

impl<'g> Var<'g> {
    /// Every group of channels (the first axis) of an example with mean 0 and variance 1 (plus 1e-5), then scaled and shifted
    /// channel by channel: `group_norm.weight`, `group_norm.bias`.
    pub fn group_norm(self, groups: usize) -> Var<'g> {
        self.scope("group_norm", |x| {
            let scale = x.parameter("weight", &[x.dim(0)], Init::ONES);
            let shift = x.parameter("bias", &[x.dim(0)], Init::ZEROS);
            x.apply(GroupNorm { groups }, &[scale, shift])
        })
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[4, 2, 3]], |v| v[0].group_norm(2));
        gradcheck(&[&[3, 4]], |v| v[0].group_norm(1));
        gradcheck(&[&[2, 5]], |v| v[0] + v[0].group_norm(2));
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let y = graph.input("x", &[2, 2]).group_norm(2);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        params.get_mut("group_norm.weight").unwrap().copy_from_slice(&[2.0, 1.0]);
        params.get_mut("group_norm.bias").unwrap().copy_from_slice(&[0.0, 5.0]);
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[3.0, 5.0, 10.0, 30.0]), &params).unwrap();
        assert_abs_diff_eq!(program.output(0)[..], [-2.0, 2.0, 4.0, 6.0], epsilon = 1e-4);
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let graph = Graph::new();
        graph.input("x", &[3, 2]).group_norm(2);
        assert_eq!(graph.check().unwrap_err().to_string(), "group_norm: 3 channels do not divide into 2 groups");
    }
}
