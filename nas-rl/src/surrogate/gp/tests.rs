//! Tests of the Gaussian process.

use approx::assert_abs_diff_eq;
use nas_core::{Purpose, Seed};
use rand::RngExt as _;

use super::*;

const DIMENSIONS: usize = 11;

fn points(n: usize, number: u64) -> Vec<f32> {
    let mut rng = Seed::new(5).stream(Purpose::Test, number);
    (0..n * DIMENSIONS).map(|_| rng.random_range(0..3_u8).into()).collect()
}

fn targets(n: usize) -> Vec<f64> {
    let mut rng = Seed::new(5).stream(Purpose::Test, 99);
    (0..n).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn process(points: &[f32], targets: &[f64], noise: f64) -> GaussianProcess {
    let mut process = GaussianProcess::new(DIMENSIONS).with_scale(2.5, noise);
    points.chunks_exact(DIMENSIONS).for_each(|point| process.append(point));
    process.set_targets(targets);
    process
}

fn reference(points: &[f32], targets: &[f64], noise: f64, candidates: &[f32]) -> (Vec<f64>, Vec<f64>, f64) {
    two_tasks(points, [0.0, 1.0], targets, noise, candidates)
}

/// The textbook's way: one factorisation by definition, two triangular solutions; means, variances and evidence. Of the
/// points so many are another task's, which has that correlation.
fn two_tasks(
    points: &[f32],
    [others, rho]: [f64; 2],
    targets: &[f64],
    noise: f64,
    candidates: &[f32],
) -> (Vec<f64>, Vec<f64>, f64) {
    let points: Vec<&[f32]> = points.chunks_exact(DIMENSIONS).collect();
    let across = |i: usize, other: bool| if ((i as f64) < others) == other { 1.0 } else { rho };
    let k = |a: &[f32], b: &[f32]| {
        let square: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (-square / (2.0 * 2.5 * 2.5)).exp()
    };
    let n = points.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|m| l[i][m] * l[j][m]).sum();
            let c = across(i, (j as f64) < others) * k(points[i], points[j]) + if i == j { noise } else { 0.0 } - sum;
            l[i][j] = if i == j { c.sqrt() } else { c / l[j][j] };
        }
    }
    let solve = |right: Vec<f64>| {
        let mut x: Vec<f64> = Vec::new();
        for i in 0..n {
            let sum: f64 = (0..i).map(|j| l[i][j] * x[j]).sum();
            x.push((right[i] - sum) / l[i][i]);
        }
        x
    };
    let w = solve(targets.to_vec());
    let at = |c: &[f32]| solve(points.iter().enumerate().map(|(i, p)| across(i, false) * k(p, c)).collect());
    let all: Vec<Vec<f64>> = candidates.chunks_exact(DIMENSIONS).map(at).collect();
    let means = all.iter().map(|v| v.iter().zip(&w).map(|(v, w)| v * w).sum()).collect();
    let variances = all.iter().map(|v| 1.0 - v.iter().map(|v| v * v).sum::<f64>()).collect();
    let fit: f64 = w.iter().map(|w| w * w).sum();
    let logs: f64 = (0..n).map(|i| l[i][i].ln()).sum();
    (means, variances, -0.5 * fit - logs - 0.5 * n as f64 * std::f64::consts::TAU.ln())
}

fn ask(process: &mut GaussianProcess, candidates: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let count = candidates.len() / DIMENSIONS;
    let (mut mean, mut variance) = (vec![f32::NAN; count], vec![f32::NAN; count]);
    process.posterior(candidates, &mut mean, &mut variance);
    (mean, variance)
}

#[track_caller]
fn assert_near(got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).for_each(|(&g, &e)| assert_abs_diff_eq!(f64::from(g), e, epsilon = 2e-4));
}

#[test]
fn row_by_row_equals_the_whole_factor() {
    for n in [1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 150] {
        let (points, targets, candidates) = (points(n, 1), targets(n), points(33, 2));
        let mut process = process(&points, &targets, 0.05);
        let (means, variances, evidence) = reference(&points, &targets, 0.05, &candidates);
        let (mean, variance) = ask(&mut process, &candidates);
        assert_near(&mean, &means);
        assert_near(&variance, &variances);
        assert_abs_diff_eq!(process.log_marginal_likelihood(), evidence, epsilon = 1e-6);
    }
}

#[test]
fn nothing_known_is_the_prior() {
    let (mean, variance) = ask(&mut GaussianProcess::new(DIMENSIONS), &points(3, 1));
    assert_eq!((mean, variance), (vec![0.0; 3], vec![1.0; 3]));
}

#[test]
fn targets_are_met_as_noise_vanishes() {
    let (points, targets) = (points(40, 1), targets(40));
    let (mean, variance) = ask(&mut process(&points, &targets, 1e-5), &points);
    mean.iter().zip(&targets).for_each(|(&m, &t)| assert_abs_diff_eq!(f64::from(m), t, epsilon = 0.01));
    assert!(variance.iter().all(|&v| v < 1e-3), "{variance:?}");
}

#[test]
fn every_point_lowers_variance() {
    let candidates = points(20, 3);
    let mut process = GaussianProcess::new(DIMENSIONS);
    let mut last = vec![1.0_f32; 20];
    for point in points(100, 1).chunks_exact(DIMENSIONS) {
        process.append(point);
        let (_, variance) = ask(&mut process, &candidates);
        assert!(variance.iter().zip(&last).all(|(now, before)| *now <= before + 1e-5));
        last = variance;
    }
    assert!(last.iter().all(|&v| v < 0.9));
}

#[test]
fn points_without_targets_are_fantasies_of_their_means() {
    let (known, pending, candidates) = (points(70, 1), points(5, 4), points(16, 2));
    let targets = targets(70);
    let mut process = process(&known, &targets, 0.05);
    let (fantasies, _) = ask(&mut process, &pending);
    let (mean_before, variance_before) = ask(&mut process, &candidates);
    pending.chunks_exact(DIMENSIONS).for_each(|point| process.append(point));
    let (mean, variance) = ask(&mut process, &candidates);
    let all = [known.as_slice(), &pending].concat();
    let filled: Vec<f64> = targets.iter().copied().chain(fantasies.iter().map(|&m| f64::from(m))).collect();
    let (means, variances, _) = reference(&all, &filled, 0.05, &candidates);
    assert_near(&mean, &means);
    assert_near(&variance, &variances);
    assert!(mean.iter().zip(&mean_before).all(|(a, b)| (a - b).abs() < 1e-5));
    process.truncate(70);
    assert_eq!(ask(&mut process, &candidates), (mean_before, variance_before));
}

#[test]
fn leaving_one_out_equals_refitting_without_it() {
    let (points, targets) = (points(80, 1), targets(80));
    let mut process = process(&points[..70 * DIMENSIONS], &targets[..70], 0.05);
    points[70 * DIMENSIONS..].chunks_exact(DIMENSIONS).for_each(|point| process.append(point));
    process.set_targets(&targets[..75]); // the last five have none
    let predicted: Vec<f64> = process.leave_one_out().collect();
    assert_eq!(predicted.len(), 75);
    for (i, &predicted) in predicted.iter().enumerate() {
        let mut others = points[..75 * DIMENSIONS].to_vec();
        let left_out: Vec<f32> = others.drain(i * DIMENSIONS..(i + 1) * DIMENSIONS).collect();
        let mut kept = targets[..75].to_vec();
        kept.remove(i);
        let (means, ..) = reference(&others, &kept, 0.05, &left_out);
        assert_abs_diff_eq!(predicted, means[0], epsilon = 1e-8);
    }
}

#[test]
fn tuning_finds_the_scale_and_noise_of_the_targets() {
    // Targets drawn from the process itself: z = L ε, by row i of L⁻¹ z = ε.
    let points: Vec<f32> = points(EVIDENCE, 1).iter().map(|x| 0.7 * x).collect();
    for (length_scale, noise) in [(1.5, 0.02), (1.0, 0.2), (4.0, 0.05)] {
        let mut source = GaussianProcess::new(DIMENSIONS).with_scale(length_scale, noise);
        points.chunks_exact(DIMENSIONS).for_each(|point| source.append(point));
        let mut rng = Seed::new(8).stream(Purpose::Test, 0);
        let mut z: Vec<f64> = Vec::new();
        for (i, row) in rows(&source.inverse, EVIDENCE).enumerate() {
            let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
            z.push((normal - dot(&row[..i], &z)) / row[i]);
        }
        let mut process = process(&points, &z, NOISE);
        let before = process.log_marginal_likelihood();
        assert!(process.tune() && process.log_marginal_likelihood() > before);
        let near = |found: f64, right: f64| (1.0 / 1.7..=1.7).contains(&(found / right));
        assert!(near(process.length_scale(), length_scale), "{} for {length_scale}", process.length_scale());
        assert_eq!((process.len(), process.leave_one_out().count()), (EVIDENCE, EVIDENCE));
        assert!((0..4).any(|_| !process.tune()), "the likeliest pair is found and kept");
    }
}

#[test]
fn equal_points_are_no_trouble() {
    let point = points(1, 1);
    let mut process = process(&point.repeat(200), &[1.0; 200], 0.01);
    let (mean, variance) = ask(&mut process, &point);
    assert_abs_diff_eq!(mean[0], 1.0, epsilon = 1e-3);
    assert!(variance[0] < 1e-3);
}

/// Thirty points of another task, then the rest of this one's.
fn transferred(points: &[f32], targets: &[f64], rho: f64) -> GaussianProcess {
    let mut process = GaussianProcess::new(DIMENSIONS).with_scale(2.5, 0.1);
    for (i, point) in points.chunks_exact(DIMENSIONS).enumerate() {
        if i < 30 {
            process.append_other(point)
        } else {
            process.append(point)
        }
        if i == 30 {
            process.set_correlation(rho);
        }
    }
    process.set_targets(targets);
    process
}

#[test]
fn another_task_by_the_textbook() {
    let (points, targets, candidates) = (points(50, 0), targets(50), points(20, 1));
    for rho in [0.0, 0.6, 0.95] {
        let mut process = transferred(&points, &targets, rho);
        let (mut mean, mut variance) = (vec![0.0; 20], vec![0.0; 20]);
        process.posterior(&candidates, &mut mean, &mut variance);
        let (means, variances, evidence) = two_tasks(&points, [30.0, rho], &targets, 0.1, &candidates);
        for i in 0..20 {
            assert_abs_diff_eq!(f64::from(mean[i]), means[i], epsilon = 1e-4);
            assert_abs_diff_eq!(f64::from(variance[i]), variances[i], epsilon = 1e-4);
        }
        assert_abs_diff_eq!(process.log_marginal_likelihood(), evidence, epsilon = 1e-6);
    }
}

#[test]
fn the_likeliest_correlation_is_chosen() {
    let points = points(50, 0);
    // What another task with the same function, without relation, and with the opposite function says.
    let function = |x: &[f32]| f64::from(x[0] - x[1] + x[2] - 1.0) / 1.4;
    let values: Vec<f64> = points.chunks_exact(DIMENSIONS).map(function).collect();
    let unrelated = targets(50);
    let mut chosen = Vec::new();
    for own in [&values, &unrelated, &values.iter().map(|z| -z).collect()] {
        let all: Vec<f64> = values[..30].iter().chain(&own[30..]).copied().collect();
        let mut process = transferred(&points, &all, 0.5);
        assert!(process.tune_correlation());
        chosen.push(process.correlation());
        let posterior = |rho: f64| {
            let prior = 4.0 * (rho + 0.02).ln() + 2.0 * (1.0 - rho).ln();
            two_tasks(&points, [30.0, rho], &all, 0.1, &[]).2 + prior
        };
        let all = [0.0, 0.1, 0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98];
        let best = all.into_iter().max_by(|&a, &b| posterior(a).total_cmp(&posterior(b))).unwrap();
        assert_eq!(process.correlation(), best);
        assert!(!process.tune_correlation(), "it stays");
    }
    assert!(chosen[0] >= 0.85 && chosen[1] <= 0.7 && chosen[2] <= 0.2, "{chosen:?}");
}
