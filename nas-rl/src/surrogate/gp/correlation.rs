//! Points of another task, and how much they say of this one.

use super::{GaussianProcess, distance, dot, rows};

/// The correlations that are chosen from.
const CORRELATIONS: [f64; 11] = [0.0, 0.1, 0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98];
/// ρ before any target of this task: the largest of the prior's density, nearly.
const CORRELATION: f64 = 0.7;
/// ρ + 0.02 and 1 − ρ to these powers are the prior. It is well away from 1: two tasks that agree over a whole space may
/// differ among its best, which is where a search looks. With a prior that rises to 0.98 the mean regret on NAS-Bench-201
/// after 20 trials, from CIFAR-10 to ImageNet16-120, was 0.47 in place of 0.08.
const PRIOR: [f64; 2] = [4.0, 2.0];
/// The latest targets that ρ is chosen by at most: its cost is cubic in them.
const LATEST: usize = 64;

impl GaussianProcess {
    /// Adds a point of another task. They all come first.
    ///
    /// # Panics
    /// When there are points of this task, or `point` has not as many numbers as the process has dimensions.
    pub fn append_other(&mut self, point: &[f32]) {
        assert_eq!(self.len(), self.others, "points of another task come first");
        self.others += 1;
        self.correlation = CORRELATION;
        self.append(point);
    }

    /// How many points are another task's.
    pub fn others(&self) -> usize {
        self.others
    }

    /// ρ, the correlation with the other task; 1 without one.
    pub fn correlation(&self) -> f64 {
        self.correlation
    }

    /// Chooses the ρ that is likeliest given the targets, by at most 64 of this task; whether it changed, which costs what
    /// appending this task's points does. The prior is near the density of a Beta(5, 3).
    ///
    /// Given the other task, the targets of this one are normal with the mean `ρ Vᵀw` and the covariance
    /// `K − ρ² VᵀV + noise · I`, where `V = L⁻¹ K` and `w = L⁻¹ z` are over the points of the other.
    pub fn tune_correlation(&mut self) -> bool {
        let (known, own) = (self.others, self.targets.len().saturating_sub(self.others));
        if known == 0 || own == 0 {
            return false;
        }
        let first = known + own.saturating_sub(LATEST);
        let falloff = -0.5 / (self.length_scale * self.length_scale);
        let kernel = |i: usize, j: usize| libm::exp(falloff * distance(self.point(i), self.point(j)));
        let whiten = |i: usize| -> Vec<f64> {
            let covariance: Vec<f64> = (0..known).map(|j| kernel(i, j)).collect();
            rows(&self.inverse, known).map(|row| dot(row, &covariance[..row.len()])).collect()
        };
        let own = first..self.targets.len();
        let whitened: Vec<Vec<f64>> = own.clone().map(whiten).collect();
        let means: Vec<f64> = whitened.iter().map(|v| dot(v, &self.whitened[..known])).collect();
        let pairs = || (0..whitened.len()).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let prior: Vec<f64> = pairs().map(|(i, j)| kernel(first + i, first + j)).collect();
        let explained: Vec<f64> = pairs().map(|(i, j)| dot(&whitened[i], &whitened[j])).collect();

        let mut best = (f64::NEG_INFINITY, self.correlation);
        for rho in CORRELATIONS {
            let covariance: Vec<f64> = prior.iter().zip(&explained).map(|(k, e)| k - rho * rho * e).collect();
            let targets = self.targets[own.clone()].iter().zip(&means);
            let residuals: Vec<f64> = targets.map(|(z, mean)| z - rho * mean).collect();
            let density = PRIOR[0] * (rho + 0.02).ln() + PRIOR[1] * (1.0 - rho).ln();
            let posterior = density + log_density(&covariance, self.noise, &residuals);
            if posterior > best.0 {
                best = (posterior, rho);
            }
        }
        self.set_correlation(best.1)
    }

    /// Sets ρ, from 0 to 1; whether it changed.
    pub(super) fn set_correlation(&mut self, correlation: f64) -> bool {
        if correlation == self.correlation {
            return false;
        }
        let targets = self.targets.clone();
        let own = self.points[self.others * self.dimensions..].to_vec();
        self.truncate(self.others);
        self.correlation = correlation;
        own.chunks_exact(self.dimensions.max(1)).for_each(|point| self.append(point));
        self.set_targets(&targets);
        true
    }
}

/// The logarithm of the density of `z` under a normal distribution around zero, without its constant; its covariances are
/// given up to the diagonal row by row, `noise` comes to the diagonal.
fn log_density(covariances: &[f64], noise: f64, z: &[f64]) -> f64 {
    let n = z.len();
    let (mut factor, mut whitened) = (Vec::with_capacity(covariances.len()), vec![0.0; n]);
    let mut density = 0.0;
    for (i, covariances) in rows(covariances, n).enumerate() {
        let start = factor.len();
        for (j, covariance) in covariances[..i].iter().enumerate() {
            let other = j * (j + 1) / 2;
            let rest = covariance - dot(&factor[start..], &factor[other..other + j]);
            factor.push(rest / factor[other + j]);
        }
        let row = &factor[start..];
        let diagonal = (covariances[i] + noise - dot(row, row)).max(noise).sqrt();
        whitened[i] = (z[i] - dot(row, &whitened[..i])) / diagonal;
        density -= 0.5 * whitened[i] * whitened[i] + diagonal.ln();
        factor.push(diagonal);
    }
    density
}
