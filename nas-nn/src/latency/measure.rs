//! Measured networks: each step of an inference program, and the program as a whole.

use std::time::{Duration, Instant};

use nas_core::{Architecture, Purpose, Seed};
use rand::RngExt as _;

use super::law::Work;
use crate::family::{self, Family, FamilyError, Task};
use crate::graph::Graph;
use crate::params::Params;
use crate::program::{Feed, Program};

/// Runs of a program are over when so many have found nothing faster…
const QUIET_RUNS: usize = 8;
/// …by this share,
const FASTER: f64 = 0.02;
/// and so much time has gone by.
const TIME: Duration = Duration::from_millis(6);
/// No program is run more often than that: a machine that is never quiet is measured as it is.
const MOST_RUNS: usize = 200;
/// Seconds of a stretch, the steps that are timed together: too short for a busy system to take the processor away in each run.
const STRETCH: f64 = 1e-4;

/// A network whose inference was measured.
pub(super) struct Measured {
    pub(super) family: &'static str,
    /// Seconds of the fastest run.
    pub(super) seconds: f64,
    pub(super) steps: Vec<MeasuredStep>,
}

/// A step with the seconds of its fastest run.
pub(super) struct MeasuredStep {
    pub(super) work: Work,
    pub(super) seconds: f64,
}

impl Measured {
    pub(super) fn of(
        family: &dyn Family,
        architecture: &Architecture,
        task: &Task,
        batch: usize,
    ) -> Result<Self, FamilyError> {
        let mut network = Network::new(family, architecture, task, batch)?;
        let (seconds, fastest) = network.fastest();
        let steps = network.program.plan().forward_steps().zip(fastest);
        let steps = steps.map(|(step, seconds)| MeasuredStep { work: Work::of(step, batch), seconds }).collect();
        Ok(Measured { family: family.name(), seconds, steps })
    }
}

/// Seconds that inference with the network that `architecture` describes takes for a batch of `batch` examples on this thread: the
/// fastest of many runs, or of many runs of each stretch of 0.1 ms where all of a run was never undisturbed, so that what else the
/// machine does matters little. Its parameters are random; the time does not depend on them.
///
/// # Errors
/// When it cannot be built.
pub fn measure(
    family: &dyn Family,
    architecture: &Architecture,
    task: &Task,
    batch: usize,
) -> Result<f64, FamilyError> {
    let mut network = Network::new(family, architecture, task, batch)?;
    Ok((0..3).map(|_| network.fastest().0).fold(f64::INFINITY, f64::min))
}

/// A network with random parameters and something to run it on.
struct Network {
    program: Program,
    params: Params,
    names: Vec<&'static str>,
    values: Vec<Vec<f32>>,
    batch: usize,
}

impl Network {
    fn new(family: &dyn Family, architecture: &Architecture, task: &Task, batch: usize) -> Result<Self, FamilyError> {
        let graph = Graph::new();
        let answer = family::model(&graph, family, architecture, task, 0.0)?.answer;
        let mut rng = Seed::new(0).stream(Purpose::Init, 0);
        let params = Params::init(&graph, &mut rng);
        let program = Program::eval(&graph, &[answer], batch)?;
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for field in task.inputs() {
            let draw = |_| match field.classes {
                Some(classes) => rng.random_range(0..classes) as f32,
                None => rng.random_range(-1.0..1.0),
            };
            names.push(field.name);
            values.push((0..batch * field.len()).map(draw).collect());
        }
        Ok(Network { program, params, names, values, batch })
    }

    /// Seconds of the fastest of many runs, and of each step's fastest.
    fn fastest(&mut self) -> (f64, Vec<f64>) {
        let whole = runs(|| {
            let begin = Instant::now();
            self.run();
            begin.elapsed().as_secs_f64()
        });
        let mut steps: Vec<f64> = Vec::new();
        // Where each stretch ends, and its fastest run.
        let mut stretches: Vec<(usize, f64)> = Vec::new();
        runs(|| {
            self.program.start_profile();
            self.run();
            let now = self.program.fastest_steps().unwrap_or_default();
            if steps.is_empty() {
                steps.clone_from(&now);
                stretches = cut(&now);
            }
            steps.iter_mut().zip(&now).for_each(|(least, now)| *least = least.min(*now));
            let mut from = 0;
            for (end, least) in &mut stretches {
                *least = least.min(now[from..*end].iter().sum());
                from = *end;
            }
            now.iter().sum()
        });
        (whole.min(stretches.iter().map(|(_, seconds)| seconds).sum()), steps)
    }

    fn run(&mut self) {
        let feed = self.names.iter().zip(&self.values);
        let feed = feed.fold(Feed::new(self.batch), |feed, (name, values)| feed.with(name, values));
        self.program.run(&feed, &self.params).expect("the feed is made for the task");
    }
}

/// The least seconds of `run`, repeated until it gets no faster.
fn runs(mut run: impl FnMut() -> f64) -> f64 {
    let begun = Instant::now();
    let (mut fastest, mut quiet) = (f64::INFINITY, 0);
    for _ in 0..MOST_RUNS {
        let seconds = run();
        quiet = if seconds < (1.0 - FASTER) * fastest { 0 } else { quiet + 1 };
        fastest = fastest.min(seconds);
        if quiet >= QUIET_RUNS && begun.elapsed() >= TIME {
            break;
        }
    }
    fastest
}

/// The ends of stretches of steps that take these seconds, with room for the fastest run of each.
fn cut(seconds: &[f64]) -> Vec<(usize, f64)> {
    let (mut stretches, mut sum) = (Vec::new(), 0.0);
    for (i, step) in seconds.iter().enumerate() {
        sum += step;
        if sum >= STRETCH || i + 1 == seconds.len() {
            stretches.push((i + 1, f64::INFINITY));
            sum = 0.0;
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_hold_every_step() {
        let ends = |seconds: &[f64]| cut(seconds).into_iter().map(|(end, _)| end).collect::<Vec<_>>();
        assert_eq!(ends(&[4e-5, 4e-5, 4e-5, 4e-5, 2e-3, 1e-6]), [3, 5, 6]);
        assert_eq!(ends(&[1e-3, 1e-3]), [1, 2]);
        assert_eq!(ends(&[]), [0_usize; 0]);
    }

    #[test]
    fn runs_go_on_while_they_get_faster() {
        let mut left = 40_u32;
        let fastest = runs(|| {
            left = left.saturating_sub(1);
            1e-3 * 1.5_f64.powi(left as i32)
        });
        assert_eq!(fastest, 1e-3);
    }
}
