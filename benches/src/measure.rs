//! How a workload is measured: steady steps, the first step of a further network, a population, the processor itself.

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nas_nn::kernel;
use rayon::prelude::*;
use serde::Serialize;

use crate::Error;
use crate::workloads::{Batch, Workload};

/// Batches that steps take in turn.
const BATCHES: usize = 8;
/// Steps before the clock starts, and steps that are measured however long they take.
const FEWEST: usize = 3;

/// Steady training steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steps {
    /// Threads that a step ran on.
    pub threads: usize,
    /// Steps measured.
    pub steps: usize,
    /// The fastest step, milliseconds of wall time.
    pub min_ms: f64,
    /// The median step.
    pub median_ms: f64,
    /// The step that nine of ten are not slower than.
    pub p90_ms: f64,
    /// Processor time a step, all threads, the mean; nothing where the system does not tell.
    pub cpu_ms: Option<f64>,
    /// Examples a second at the median step.
    pub samples_per_s: f64,
    /// The most memory the process had so far; nothing where the system does not tell.
    pub peak_mb: Option<f64>,
    /// Building the network and its first step.
    pub first_step_ms: f64,
    /// Multiply-adds of a batch's forward pass.
    pub multiply_adds: u64,
}

/// Measures steps of `workload` on `threads` threads for about `seconds` after a warm-up of a quarter of that.
///
/// # Errors
/// When the workload is unsound, a step cannot run on that many threads, or its loss is not finite.
pub fn steps(workload: &Workload, threads: usize, seconds: f64) -> Result<Steps, Error> {
    let batches = workload.batches(BATCHES, 1);
    let start = Instant::now();
    let mut training = workload.start(1)?;
    training.set_threads(threads)?;
    let mut losses = f64::from(training.step(&batches[0])?);
    let first_step_ms = ms(start.elapsed());

    let mut turn = batches.iter().cycle().skip(1);
    let mut step = || training.step(turn.next().expect("a cycle has no end"));
    let warm = Instant::now();
    let mut done = 0;
    while done < FEWEST || warm.elapsed().as_secs_f64() < seconds / 4.0 {
        losses += f64::from(step()?);
        done += 1;
    }
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut times = Vec::new();
    while times.len() < FEWEST || start.elapsed().as_secs_f64() < seconds {
        let step_start = Instant::now();
        losses += f64::from(step()?);
        times.push(ms(step_start.elapsed()));
    }
    if !losses.is_finite() {
        return Err(Error::Request(format!("{} diverged: its time says nothing", workload.name)));
    }
    let cpu_ms = cpu_seconds().zip(cpu).map(|(after, before)| (after - before) * 1e3 / times.len() as f64);
    times.sort_by(f64::total_cmp);
    let median_ms = quantile(&times, 0.5);
    Ok(Steps {
        threads,
        steps: times.len(),
        min_ms: times[0],
        median_ms,
        p90_ms: quantile(&times, 0.9),
        cpu_ms,
        samples_per_s: workload.batch as f64 * 1e3 / median_ms,
        peak_mb: peak_mb(),
        first_step_ms,
        multiply_adds: training.multiply_adds,
    })
}

/// Milliseconds to build a network over data that is there, and to do its first step.
///
/// # Errors
/// When the workload is unsound.
pub fn first_step(workload: &Workload, batch: &Batch, seed: u64) -> Result<f64, Error> {
    let start = Instant::now();
    let loss = workload.start(seed)?.step(batch)?;
    let time = ms(start.elapsed());
    black_box(loss);
    Ok(time)
}

/// Builds and trains `children` networks one after the other, each for `steps` steps, on each of `workers` threads;
/// whoever is free takes the next. Seconds from the first to the last.
///
/// # Errors
/// When the workload is unsound, or the threads cannot be had.
pub fn population(workload: &Workload, children: usize, steps: usize, workers: usize) -> Result<f64, Error> {
    let batches = workload.batches(BATCHES, 1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.map_err(|error| Error::Request(format!("{workers} threads cannot be had: {error}")))?;
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let work = |_| -> Result<(), Error> {
        loop {
            let child = next.fetch_add(1, Ordering::Relaxed);
            if child >= children {
                return Ok(());
            }
            let mut training = workload.start(child as u64)?;
            for batch in batches.iter().cycle().take(steps) {
                black_box(training.step(batch)?);
            }
        }
    };
    pool.install(|| (0..workers).into_par_iter().try_for_each(work))?;
    Ok(start.elapsed().as_secs_f64())
}

/// 10⁹ operations a second (a multiply-add is two) of the best product of matrices that fit the
/// cache: what a kernel of this engine can hope for. The best of products of a few sizes over `seconds`.
pub fn product(seconds: f64) -> f64 {
    let mut best = 0.0_f64;
    let sizes = [192, 384, 512];
    for n in sizes {
        let (a, b, mut c) = (vec![0.5; n * n], vec![0.25; n * n], vec![0.0; n * n]);
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds / sizes.len() as f64 {
            let product = Instant::now();
            kernel::gemm([n, n, n], black_box(&a), [n, 1], &b, [n, 1], 0.0, &mut c, [n, 1]);
            best = best.max(2.0 * (n * n * n) as f64 / product.elapsed().as_secs_f64() / 1e9);
            black_box(&c);
        }
    }
    best
}

/// Processor seconds of this process, in steps of a hundredth.
pub fn cpu_seconds() -> Option<f64> {
    cpu_of(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// User and system time, fields 14 and 15, in hundredths; the name in field 2 may hold anything but ends with `)`.
fn cpu_of(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// The most memory this process had in use, in units of 10⁶ bytes.
pub fn peak_mb() -> Option<f64> {
    peak_of(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value that the share `q` of the sorted `values` does not exceed.
fn quantile(values: &[f64], q: f64) -> f64 {
    values[((q * values.len() as f64) as usize).min(values.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::{find, most_threads};

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.9, 1.0].map(|q| quantile(&values, q)), [0.0, 5.0, 9.0, 9.0]);
        assert_eq!(quantile(&[4.0], 0.5), 4.0);
    }

    #[test]
    fn what_the_system_tells() {
        let stat = "12 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_of(stat), Some(3.0));
        assert_eq!(cpu_of("12 (a) S 1"), None);
        assert_eq!(peak_of("VmPeak:\t 1 kB\nVmHWM:\t  250000 kB\n"), Some(256.0));
        assert_eq!(peak_of("VmPeak:\t 1 kB\n"), None);
    }

    #[test]
    fn steps_are_measured() {
        let found = steps(find("W1").unwrap(), 1, 0.05).unwrap();
        assert!(found.steps >= FEWEST && found.min_ms > 0.0, "{found:?}");
        assert!(found.min_ms <= found.median_ms && found.median_ms <= found.p90_ms, "{found:?}");
        assert_eq!(found.multiply_adds, 64 * (64 * 128 + 128 * 128 + 128 * 10));
        assert!((found.samples_per_s * found.median_ms - 64_000.0).abs() < 1e-6, "{found:?}");
        let message = steps(find("W1").unwrap(), 0, 0.05).unwrap_err().to_string();
        assert_eq!(message, format!("a step runs on 1 to {} threads, not on 0", most_threads()));
    }

    #[test]
    fn a_population_trains_on_several_threads() {
        assert!(population(find("W1").unwrap(), 3, 2, 2).unwrap() > 0.0);
        assert!(first_step(find("W1").unwrap(), &find("W1").unwrap().batches(1, 0)[0], 0).unwrap() > 0.0);
    }
}
