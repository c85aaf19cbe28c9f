//! A Gaussian process on feature vectors: what is known of a reward after some were seen, and how sure it is.

mod correlation;

use nas_core::strategy::State;
use nas_nn::kernel;

/// The length scales that [`GaussianProcess::tune`] chooses from.
const LENGTH_SCALES: [f64; 6] = [1.0, 1.5, 2.5, 4.0, 6.0, 10.0];
/// The noise variances that [`GaussianProcess::tune`] chooses from.
const NOISES: [f64; 4] = [0.02, 0.05, 0.1, 0.2];
/// Where both start, and the centres of their priors.
const LENGTH_SCALE: f64 = 2.5;
const NOISE: f64 = 0.1;
/// Deviations of their logarithms under the priors. Observations that a search chose itself say little of the scale: with
/// flat priors the mean regret on NAS-Bench-201 after 100 trials was two to three times as large.
const LENGTH_SCALE_DEVIATION: f64 = 0.15;
const NOISE_DEVIATION: f64 = 0.5;
/// Observations that evidence is computed from at most: its cost is cubic.
const EVIDENCE: usize = 64;
/// Rows of the inverse that one matrix product takes: of the zeros above the diagonal it multiplies half a block.
const BLOCK: usize = 64;

/// A Gaussian process with the kernel `k(x, x') = exp(−|x − x'|² / 2l²)`, a prior of mean 0 and variance 1, and noise.
///
/// It keeps the inverse of the Cholesky factor `L` of `K + noise · I`: a point more is a row more, in O(n²). The last points
/// may be without a target, being tried still: they lower the variance around them and leave the mean as it is, which is
/// what a target equal to the mean would do (the "fantasy" of Snoek et al., 2012).
///
/// The first points may be another task's, whose function correlates with this one's by a coefficient ρ: between points of
/// both tasks the kernel is `ρ k(x, x')` (the coregionalisation of Bonilla, Chai and Williams, 2008, for two tasks).
#[derive(Debug, Clone)]
pub struct GaussianProcess {
    dimensions: usize,
    length_scale: f64,
    noise: f64,
    /// How many of the first points are another task's, and the correlation ρ with it.
    others: usize,
    correlation: f64,
    /// Points by row, and their squared lengths.
    points: Vec<f32>,
    squares: Vec<f32>,
    /// L⁻¹ row by row without the zeros above the diagonal.
    inverse: Vec<f64>,
    /// L⁻¹ in single precision for products with many candidates: blocks of rows, each as wide as its last row.
    blocks: Vec<f32>,
    targets: Vec<f64>,
    /// L⁻¹ z.
    whitened: Vec<f64>,
    /// (K + noise · I)⁻¹ z.
    weights: Vec<f64>,
    /// The diagonal of that inverse, over the points with targets.
    precision: Vec<f64>,
    /// Room for `posterior`.
    scratch: [Vec<f32>; 4],
}

impl GaussianProcess {
    /// No points yet, of vectors with `dimensions` numbers; length scale 2.5 and noise variance 0.1, which suited
    /// NAS-Bench-201's cells.
    pub fn new(dimensions: usize) -> Self {
        GaussianProcess {
            dimensions,
            length_scale: LENGTH_SCALE,
            noise: NOISE,
            others: 0,
            correlation: 1.0,
            points: Vec::new(),
            squares: Vec::new(),
            inverse: Vec::new(),
            blocks: Vec::new(),
            targets: Vec::new(),
            whitened: Vec::new(),
            weights: Vec::new(),
            precision: Vec::new(),
            scratch: Default::default(),
        }
    }

    /// The same without points, with that length scale and noise variance, both above zero.
    #[must_use]
    pub fn with_scale(mut self, length_scale: f64, noise: f64) -> Self {
        (self.length_scale, self.noise) = (length_scale, noise);
        self.truncate(0);
        self
    }

    /// The number of points, those without a target included.
    pub fn len(&self) -> usize {
        self.squares.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.squares.is_empty()
    }

    /// Point `i`, in the order of appending.
    ///
    /// # Panics
    /// When there are not as many.
    pub fn point(&self, i: usize) -> &[f32] {
        &self.points[i * self.dimensions..(i + 1) * self.dimensions]
    }

    /// The length scale in use.
    pub fn length_scale(&self) -> f64 {
        self.length_scale
    }

    /// The noise variance in use.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// Adds a point, for now without a target, in O(n²): with `v = L⁻¹ k` and `d² = 1 + noise − |v|²` the new row of L⁻¹
    /// is `[−vᵀL⁻¹ / d, 1 / d]`.
    ///
    /// # Panics
    /// When `point` has not as many numbers as the process has dimensions.
    pub fn append(&mut self, point: &[f32]) {
        assert_eq!(point.len(), self.dimensions, "a point of other dimensions");
        let n = self.len();
        let falloff = -0.5 / (self.length_scale * self.length_scale);
        let points = self.points.chunks_exact(self.dimensions.max(1));
        let mut covariance: Vec<f64> = points.map(|other| libm::exp(falloff * distance(point, other))).collect();
        if n >= self.others {
            covariance[..self.others].iter_mut().for_each(|c| *c *= self.correlation);
        }
        let mut row = vec![0.0; n + 1];
        let mut remainder = 1.0 + self.noise;
        for (i, above) in rows(&self.inverse, n).enumerate() {
            let v = dot(above, &covariance[..=i]);
            remainder -= v * v;
            for (sum, x) in row.iter_mut().zip(above) {
                *sum -= v * x;
            }
        }
        // Equal points leave at least the noise twice over; less is rounding.
        let scale = 1.0 / remainder.max(self.noise).sqrt();
        row.iter_mut().for_each(|x| *x *= scale);
        row[n] = scale;
        let width = (n / BLOCK + 1) * BLOCK;
        let start = self.blocks.len();
        self.blocks.resize(start + width, 0.0);
        for (to, from) in self.blocks[start..].iter_mut().zip(&row) {
            *to = *from as f32;
        }
        self.inverse.extend_from_slice(&row);
        self.points.extend_from_slice(point);
        self.squares.push(kernel::dot(point, point));
    }

    /// Forgets all but the first `n` points; their targets stay.
    pub fn truncate(&mut self, n: usize) {
        if n >= self.len() {
            return;
        }
        self.others = self.others.min(n);
        self.points.truncate(n * self.dimensions);
        self.squares.truncate(n);
        self.inverse.truncate(n * (n + 1) / 2);
        self.blocks.truncate(block_start(n));
        if n < self.targets.len() {
            self.targets.truncate(n);
            self.precision.clear();
            self.solve();
        }
    }

    /// Gives the first points these targets, in O(n²); those after them are without.
    ///
    /// # Panics
    /// When there are more targets than points.
    pub fn set_targets(&mut self, targets: &[f64]) {
        assert!(targets.len() <= self.len(), "{} targets for {} points", targets.len(), self.len());
        if targets.len() < self.precision.len() {
            self.precision.clear();
        }
        self.targets.clear();
        self.targets.extend_from_slice(targets);
        self.solve();
    }

    /// Works out what depends on the targets.
    fn solve(&mut self) {
        let n = self.targets.len();
        self.whitened.clear();
        self.weights.clear();
        self.weights.resize(n, 0.0);
        let known = self.precision.len();
        self.precision.resize(n, 0.0);
        for (i, row) in rows(&self.inverse, n).enumerate() {
            let w = dot(row, &self.targets[..=i]);
            self.whitened.push(w);
            for (weight, x) in self.weights.iter_mut().zip(row) {
                *weight += w * x;
            }
            if i >= known {
                for (sum, x) in self.precision.iter_mut().zip(row) {
                    *sum += x * x;
                }
            }
        }
    }

    /// Means and variances of the noise-free reward at `candidates`, which lie row by row: in single precision, all at once,
    /// in O(n²) for each.
    ///
    /// # Panics
    /// When `candidates` are not as many rows as `mean` and `variance` have numbers.
    pub fn posterior(&mut self, candidates: &[f32], mean: &mut [f32], variance: &mut [f32]) {
        let (n, count, d) = (self.len(), mean.len(), self.dimensions);
        assert!(candidates.len() == count * d && variance.len() == count, "candidates, means and variances differ");
        mean.fill(0.0);
        variance.fill(1.0);
        if n == 0 || count == 0 {
            return;
        }
        let [squares, covariance, whitened, weights] = &mut self.scratch;
        let room = |buffer: &mut Vec<f32>, size| {
            buffer.clear();
            buffer.resize(size, 0.0);
        };
        room(squares, count);
        room(covariance, n * count);
        room(whitened, BLOCK * count);
        // Points without a target have no say in the mean.
        room(weights, n);
        weights.iter_mut().zip(&self.whitened).for_each(|(weight, w)| *weight = *w as f32);
        for (square, candidate) in squares.iter_mut().zip(candidates.chunks_exact(d.max(1))) {
            *square = kernel::dot(candidate, candidate);
        }
        kernel::gemm([n, count, d], &self.points, [d, 1], candidates, [1, d], 0.0, covariance, [count, 1]);
        let falloff = (-0.5 / (self.length_scale * self.length_scale)) as f32;
        kernel::squared_exponential(falloff, &self.squares, squares, covariance);
        kernel::scale(self.correlation as f32, &mut covariance[..self.others * count]);
        // With V = L⁻¹ K the mean is (L⁻¹ z)ᵀ V and the variance 1 − |V|² by columns.
        for first in (0..n).step_by(BLOCK) {
            let last = n.min(first + BLOCK);
            let (inverse, width) = (&self.blocks[block_start(first)..], first + BLOCK);
            let v = &mut whitened[..(last - first) * count];
            kernel::gemm([last - first, count, last], inverse, [width, 1], covariance, [count, 1], 0.0, v, [count, 1]);
            kernel::column_moments(&weights[first..last], v, mean, variance);
        }
        variance.iter_mut().for_each(|variance| *variance = variance.max(0.0));
    }

    /// What each target would be predicted to be without it, in closed form: `zᵢ − αᵢ / (K + noise · I)⁻¹ᵢᵢ`
    /// (Rasmussen and Williams, 2006, equation 5.12).
    pub fn leave_one_out(&self) -> impl Iterator<Item = f64> + '_ {
        let parts = self.targets.iter().zip(&self.weights).zip(&self.precision);
        parts.map(|((target, weight), precision)| target - weight / precision)
    }

    /// The logarithm of the density of the targets under the prior: `−½ |L⁻¹z|² − Σ ln Lᵢᵢ − ½ n ln 2π`.
    pub fn log_marginal_likelihood(&self) -> f64 {
        let n = self.targets.len();
        let fit: f64 = self.whitened.iter().map(|w| w * w).sum();
        let log_diagonal: f64 = rows(&self.inverse, n).map(|row| row[row.len() - 1].ln()).sum();
        log_diagonal - 0.5 * (fit + n as f64 * std::f64::consts::TAU.ln())
    }

    /// Shows its state: its points, from which all else is worked out again, to the same bits.
    pub fn state(&mut self, state: &mut State) {
        let (mut points, mut targets) = (self.points.clone(), self.targets.clone());
        let mut scales = [self.length_scale, self.noise, self.correlation];
        let mut others = self.others;
        state.field("scales", &mut scales);
        state.field("others", &mut others);
        state.field("points", &mut points);
        state.field("targets", &mut targets);
        let count = points.len() / self.dimensions.max(1);
        if count * self.dimensions != points.len() || others > count || targets.len() > count {
            state.fail(format!("{} numbers are no points of {} dimensions", points.len(), self.dimensions));
        }
        if state.writes() {
            self.truncate(0);
            [self.length_scale, self.noise, self.correlation] = scales;
            self.others = others;
            points.chunks_exact(self.dimensions.max(1)).for_each(|point| self.append(point));
            self.set_targets(&targets);
        }
    }

    /// Chooses the length scale and then the noise that are likeliest given the targets, each from a few values, by 64 targets
    /// spread evenly when there are more; whether anything changed, which costs O(n³).
    ///
    /// Before any target both are normal in their logarithms, around 2.5 and 0.1 with deviations 0.15 and 0.5.
    pub fn tune(&mut self) -> bool {
        let n = self.targets.len();
        let count = n.min(EVIDENCE);
        let chosen: Vec<usize> = (0..count).map(|i| i * n / count).collect();
        let point = |i: usize| self.point(i);
        let distances: Vec<f64> = (0..count)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| distance(point(chosen[i]), point(chosen[j])))
            .collect();
        let targets: Vec<f64> = chosen.iter().map(|&i| self.targets[i]).collect();
        let (before, mut factor) = ((self.length_scale, self.noise), Vec::new());
        let across = |i: usize, j: usize| (chosen[i] < self.others) != (chosen[j] < self.others);
        let factors: Vec<f64> = (0..count)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| if across(i, j) { self.correlation } else { 1.0 })
            .collect();
        let mut covariances = vec![0.0; distances.len()];
        let mut best = (f64::NEG_INFINITY, before);
        let mut at = |length_scale: f64, noises: &[f64]| {
            let falloff = -0.5 / (length_scale * length_scale);
            let pairs = distances.iter().zip(&factors);
            covariances.iter_mut().zip(pairs).for_each(|(c, (d, factor))| *c = factor * libm::exp(falloff * d));
            for &noise in noises {
                let prior =
                    |value: f64, centre: f64, deviation: f64| -0.5 * ((value / centre).ln() / deviation).powi(2);
                let posterior = evidence(&covariances, noise, &targets, &mut factor)
                    + prior(length_scale, LENGTH_SCALE, LENGTH_SCALE_DEVIATION)
                    + prior(noise, NOISE, NOISE_DEVIATION);
                if posterior > best.0 {
                    best = (posterior, (length_scale, noise));
                }
            }
            best.1
        };
        // The values in use come first: others must be better, not as good.
        let mut scale = at(before.0, &[before.1]).0;
        for length_scale in LENGTH_SCALES {
            scale = at(length_scale, &[before.1]).0;
        }
        (self.length_scale, self.noise) = at(scale, &NOISES);
        if (self.length_scale, self.noise) == before {
            return false;
        }
        let (points, targets) = (std::mem::take(&mut self.points), std::mem::take(&mut self.targets));
        self.squares.clear();
        self.inverse.clear();
        self.blocks.clear();
        self.precision.clear();
        points.chunks_exact(self.dimensions.max(1)).for_each(|point| self.append(point));
        self.set_targets(&targets);
        true
    }
}

/// The log marginal likelihood of `targets` for covariances given below the diagonal row by row, without its constant; by a
/// Cholesky factor for which `factor` is room.
fn evidence(covariances: &[f64], noise: f64, targets: &[f64], factor: &mut Vec<f64>) -> f64 {
    let n = targets.len();
    factor.clear();
    factor.resize(n * n, 0.0);
    let mut whitened = [0.0; EVIDENCE];
    let (mut log_diagonal, mut fit, mut next) = (0.0, 0.0, covariances.iter());
    for i in 0..n {
        let (above, row) = factor.split_at_mut(i * n);
        for j in 0..i {
            let other = &above[j * n..=j * n + j];
            let covariance = next.next().expect("there is one for every pair");
            row[j] = (covariance - dot(&row[..j], &other[..j])) / other[j];
        }
        let diagonal = (1.0 + noise - dot(&row[..i], &row[..i])).max(noise).sqrt();
        row[i] = diagonal;
        whitened[i] = (targets[i] - dot(&row[..i], &whitened[..i])) / diagonal;
        fit += whitened[i] * whitened[i];
        log_diagonal += diagonal.ln();
    }
    -0.5 * fit - log_diagonal
}

/// Where the row `n` of the blocks begins.
fn block_start(n: usize) -> usize {
    let (whole, rest) = (n / BLOCK, n % BLOCK);
    BLOCK * BLOCK * (whole * (whole + 1) / 2) + rest * (whole + 1) * BLOCK
}

/// The first `n` rows of a lower triangle.
fn rows(triangle: &[f64], n: usize) -> impl Iterator<Item = &[f64]> {
    let mut rest = triangle;
    (1..=n).map(move |length| {
        let (row, after) = rest.split_at(length);
        rest = after;
        row
    })
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0_f32; 8];
    let (mut a, mut b) = (a.chunks_exact(8), b.chunks_exact(8));
    for (a, b) in (&mut a).zip(&mut b) {
        for i in 0..8 {
            sums[i] += (a[i] - b[i]) * (a[i] - b[i]);
        }
    }
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
    f64::from(sums.iter().sum::<f32>() + rest)
}

/// In eight sums, which fill the vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (mut a, mut b) = (a.chunks_exact(8), b.chunks_exact(8));
    for (a, b) in (&mut a).zip(&mut b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests;
