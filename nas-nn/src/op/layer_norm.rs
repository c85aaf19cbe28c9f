//! Normalisation of the last axis: layer norm (Ba et al., 2016) and root-mean-square norm (Zhang & Sennrich, 2019).

use super::{Backward, Forward, Grad, Keeps, Op, Space};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel::{self, RowNorm};

/// Inputs: x [.., width], a factor [width] and, for a layer norm, a term [width].
#[derive(Debug, Clone, Copy)]
struct LayerNorm {
    centred: bool,
}

impl LayerNorm {
    fn norm<'a>(&self, x: &Shape, gamma: &'a [f32]) -> RowNorm<'a> {
        let epsilon = if self.centred { 1e-5 } else { 1e-6 };
        RowNorm { columns: x.dims()[x.rank() - 1], epsilon, centred: self.centred, gamma }
    }

    /// Floats kept of `rows` rows: the factor of each, and its mean if that is taken off.
    fn statistics(&self, rows: usize) -> usize {
        if self.centred { 2 * rows } else { rows }
    }
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm" } else { "rms_norm" }
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if x[0].rank() == 0 || x[0].is_empty() || !x[0].is_batched() {
            return Err(format!("needs a last axis of every example, got {}", x[0]));
        }
        Ok(x[0].clone())
    }

    fn madds(&self, _: &[&Shape], y: &Shape) -> u64 {
        y.len() as u64
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    fn saved(&self, x: &[&Shape], _: &Shape) -> Space {
        Space::per_example(self.statistics(x[0].len() / x[0].dims()[x[0].rank() - 1]))
    }

    /// In evaluation they are not saved, but computed all the same.
    fn scratch_eval(&self, x: &[&Shape], _: &Shape, batch: usize) -> usize {
        self.statistics(x[0].elements(batch) / x[0].dims()[x[0].rank() - 1])
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let norm = self.norm(&at.shapes[0], at.inputs[1]);
        let rows = at.output.len() / norm.columns;
        let statistics = if at.saved.is_empty() { at.scratch } else { at.saved };
        let (scale, mean) = statistics[..self.statistics(rows)].split_at_mut(rows);
        let beta = if self.centred { at.inputs[2] } else { &[] };
        kernel::row_norm_forward(&norm, at.inputs[0], beta, mean, scale, at.output);
    }

    /// With x̂ = (x − mean) s and g = dy γ: dβ = Σ dy, dγ = Σ dy x̂, dx = s (g − mean g − x̂ mean(g x̂)) row by row.
    fn backward(&self, mut at: Backward<'_>) {
        let norm = self.norm(&at.shapes[0], at.input(1));
        let rows = at.grad.len() / norm.columns;
        let (scale, mean) = at.saved[..self.statistics(rows)].split_at(rows);
        let dx = at.grad_input(0).map(Grad::parts);
        let dgamma = at.grad_input(1).map_or(&mut [][..], Grad::sum);
        let dbeta = if self.centred { at.grad_input(2).map_or(&mut [][..], Grad::sum) } else { &mut [] };
        kernel::row_norm_backward(&norm, at.input(0), mean, scale, at.grad, dx, dgamma, dbeta);
    }
}

impl<'g> Var<'g> {
    /// The last axis with mean 0 and variance 1 (plus 1e-5), then scaled and shifted: `layer_norm.weight`, `layer_norm.bias`.
    pub fn layer_norm(self) -> Var<'g> {
        self.scope("layer_norm", |x| {
            let scale = x.parameter("weight", &[x.last()], Init::ONES);
            let shift = x.parameter("bias", &[x.last()], Init::ZEROS);
            x.apply(LayerNorm { centred: true }, &[scale, shift])
        })
    }

    /// The last axis divided by its root mean square (plus 1e-6), then scaled: `rms_norm.weight`.
    pub fn rms_norm(self) -> Var<'g> {
        self.scope("rms_norm", |x| {
            let scale = x.parameter("weight", &[x.last()], Init::ONES);
            x.apply(LayerNorm { centred: false }, &[scale])
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
        gradcheck(&[&[2, 5]], |v| v[0].layer_norm());
        gradcheck(&[&[6]], |v| v[0].rms_norm());
        gradcheck(&[&[4]], |v| v[0] + v[0].shared("both", |x| x.layer_norm()).shared("both", |x| x.layer_norm()));
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let x = graph.input("x", &[2]);
        let (layer, rms) = (x.layer_norm(), x.rms_norm());
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[layer, rms], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[3.0, 5.0]), &params).unwrap();
        assert_abs_diff_eq!(program.output(0)[..], [-1.0, 1.0], epsilon = 1e-5);
        let root = 17.0_f32.sqrt();
        assert_abs_diff_eq!(program.output(1)[..], [3.0 / root, 5.0 / root], epsilon = 1e-5);
    }

    #[test]
    fn a_value_without_axes_is_a_mistake() {
        let graph = Graph::new();
        graph.input("x", &[]).layer_norm();
        let text = graph.check().unwrap_err().to_string();
        assert_eq!(text, "layer_norm: needs a last axis of every example, got [N]");
    }
}
