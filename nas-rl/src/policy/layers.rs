//! Layers that the networks share: an affine map, and the head with a logit for every option of every slot.

use std::ops::Range;

use nas_core::Rng;
use nas_nn::kernel;
use rand::RngExt as _;

use super::network::Vocabulary;

/// `y = x · w + b` for rows of x, by where its weights begin: the matrix, a row for every input, then the terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub(super) start: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Affine {
    /// Where its weights end.
    pub(super) fn end(self) -> usize {
        self.start + (self.inputs + 1) * self.outputs
    }

    /// Its matrix.
    pub(super) fn matrix(self) -> Range<usize> {
        self.start..self.start + self.inputs * self.outputs
    }

    /// Draws the matrix evenly between ±1/√inputs.
    pub(super) fn draw(self, weights: &mut [f32], rng: &mut Rng) {
        let drawn = uniform((self.inputs as f32).sqrt().recip(), rng);
        weights[self.matrix()].iter_mut().zip(drawn).for_each(|(weight, x)| *weight = x);
    }

    pub(super) fn forward(self, weights: &[f32], x: &[f32], y: &mut Vec<f32>) {
        let (k, n) = (self.inputs, self.outputs);
        let rows = x.len() / k;
        y.resize(rows * n, 0.0);
        let (w, b) = (&weights[self.matrix()], &weights[self.matrix().end..self.end()]);
        kernel::gemm_bias([rows, n, k], x, [k, 1], w, [n, 1], Some(b), y, [n, 1]);
    }

    /// Adds the gradients by the weights to `gradient`, and writes that by x to `dx`: dw = xᵀ dy, db = Σ dy, dx = dy wᵀ.
    pub(super) fn backward(self, weights: &[f32], x: &[f32], dy: &[f32], dx: &mut Vec<f32>, gradient: &mut [f32]) {
        let (k, n) = (self.inputs, self.outputs);
        let rows = x.len() / k;
        kernel::gemm([k, n, rows], x, [1, k], dy, [n, 1], 1.0, &mut gradient[self.matrix()], [n, 1]);
        kernel::column_sums(dy, &mut gradient[self.matrix().end..self.end()], true);
        dx.resize(rows * k, 0.0);
        kernel::gemm([rows, k, n], dy, [n, 1], &weights[self.matrix()], [1, n], 0.0, dx, [k, 1]);
    }
}

/// A row of as many weights as the network has units, and a bias, for every option. All are zero at the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Where its weights begin: all rows, then all biases.
    start: usize,
    units: usize,
    options: usize,
}

impl Head {
    pub(super) fn new(start: usize, units: usize, options: usize) -> Self {
        Head { start, units, options }
    }

    /// How many weights it has.
    pub(super) fn len(units: usize, options: usize) -> usize {
        (units + 1) * options
    }

    /// Its weights.
    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.start + Self::len(self.units, self.options)
    }

    fn rows(&self, options: &Range<usize>) -> Range<usize> {
        self.start + options.start * self.units..self.start + options.end * self.units
    }

    fn biases(&self, options: &Range<usize>) -> Range<usize> {
        let start = self.start + self.options * self.units;
        start + options.start..start + options.end
    }

    /// The logits of the options of a slot, from the network's last units `x`.
    pub(super) fn logits(
        &self,
        weights: &[f32],
        vocabulary: &Vocabulary,
        slot: usize,
        x: &[f32],
    ) -> impl Iterator<Item = f64> {
        let options = vocabulary.of(slot);
        let rows = weights[self.rows(&options)].chunks_exact(self.units);
        rows.zip(&weights[self.biases(&options)]).map(move |(row, bias)| f64::from(dot(row, x) + bias))
    }

    /// Adds the gradients by its weights to `gradient` and that by `x` to `dx`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn backward(
        &self,
        weights: &[f32],
        vocabulary: &Vocabulary,
        slot: usize,
        dlogits: &[f64],
        x: &[f32],
        dx: &mut [f32],
        gradient: &mut [f32],
    ) {
        let options = vocabulary.of(slot);
        let (rows, biases) = (self.rows(&options), self.biases(&options));
        for (k, &d) in dlogits.iter().enumerate().filter(|(_, d)| **d != 0.0) {
            let d = d as f32;
            let row = rows.start + k * self.units..rows.start + (k + 1) * self.units;
            add(d, x, &mut gradient[row.clone()]);
            add(d, &weights[row], dx);
            gradient[biases.start + k] += d;
        }
    }
}

/// The inner product of rows of a few units, in a fixed order.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// `y += a x`.
pub(super) fn add(a: f32, x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// Numbers drawn evenly between ±`bound`.
pub(super) fn uniform(bound: f32, rng: &mut Rng) -> impl Iterator<Item = f32> {
    std::iter::repeat_with(move || rng.random_range(-bound..bound))
}
