//! A search as a person follows it: one line an improvement, and a live line below.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nas_core::{Event, Observer, StudyRecord, Trial, TrialState};
use nas_nn::evaluator::LATENCY;

use crate::output::{self, Output};

/// How long a search may go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) trials: Option<u64>,
    pub(crate) time: Option<Duration>,
}

/// Listens to a study and tells of it.
pub(crate) struct Progress {
    output: Output,
    limits: Limits,
    /// The metric that is searched for.
    metric: String,
    /// Whether trials have predicted latencies.
    latency: bool,
    bar: ProgressBar,
    state: Mutex<State>,
}

struct State {
    started: Instant,
    finished: u64,
    failed: u64,
    best: Option<(u64, f64)>,
    entropy: Option<f64>,
}

impl Progress {
    /// Of a search by `record`; `trials` are those of an earlier run.
    pub(crate) fn new(output: Output, limits: Limits, record: &StudyRecord, trials: &[Trial]) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if !output.shows_progress() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is constant");
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        let best = crate::study_folder::best(trials).map(|t| (t.number, t.reward().unwrap_or(0.0)));
        let finished = trials.iter().filter(|t| t.is_finished()).count() as u64;
        let failed = trials.iter().filter(|t| t.is_finished() && t.reward().is_none()).count() as u64;
        let state = State { started: Instant::now(), finished, failed, best, entropy: None };
        let metric = record.objective.metric.clone();
        let latency = record.configuration.get("calibration").is_some();
        Progress { output, limits, metric, latency, bar, state: Mutex::new(state) }
    }

    /// The heading of the improvement lines.
    pub(crate) fn heading(&self) {
        self.say(format!(
            "{:>6}  {:>8}  {:>10}  {:>8}  {}{:<20}  architecture",
            "trial",
            self.metric,
            "parameters",
            "madds",
            if self.latency { format!("{:>8}  ", "latency") } else { String::new() },
            "chosen by"
        ));
    }

    /// Takes the live line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: String) {
        self.bar.suspend(|| self.output.line(text));
    }

    fn live(&self, state: &State) {
        let mut parts = vec![match self.limits.trials {
            Some(trials) => format!("{} of {trials} trials", state.finished),
            None => format!("{} trials", state.finished),
        }];
        if state.failed > 0 {
            parts.push(format!("{} failed", state.failed));
        }
        if let Some((trial, reward)) = state.best {
            parts.push(format!("best {reward:.4} (trial {trial})"));
        }
        if let Some(entropy) = state.entropy {
            parts.push(format!("entropy {entropy:.2}"));
        }
        let elapsed = state.started.elapsed();
        parts.push(match self.limits.time {
            Some(time) => format!("{} left", output::seconds(time.saturating_sub(elapsed).as_secs_f64())),
            None => output::seconds(elapsed.as_secs_f64()),
        });
        self.bar.set_message(parts.join(" · "));
    }

    fn improvement(&self, trial: &Trial) {
        let figure = |name: &str| trial.metric(name).map_or_else(String::new, output::short);
        let value = trial.metric(&self.metric).unwrap_or_default();
        let width = self.metric.chars().count().max(8);
        let latency =
            trial.metric(LATENCY).map(|ms| format!("{:>8}  ", output::latency(1e-3 * ms))).unwrap_or_default();
        self.say(format!(
            "{:>6}  {value:>width$.4}  {:>10}  {:>8}  {latency}{:<20}  {}",
            trial.number,
            figure("parameters"),
            figure("madds"),
            trial.origin.to_string(),
            describe(trial),
        ));
    }
}

/// The architecture in one line.
pub(crate) fn describe(trial: &Trial) -> String {
    trial.architecture.to_string().replace(',', " ")
}

/// Writes an event into the log.
pub(crate) fn note(event: &Event<'_>) {
    match event {
        Event::Started { trial } => {
            tracing::info!(trial = trial.number, origin = %trial.origin, architecture = %trial.architecture, "started");
        }
        Event::Epoch { trial, epoch, epochs, metrics } => {
            tracing::debug!(trial, epoch, epochs, train_loss = metrics.get("train_loss"), "epoch");
        }
        Event::Finished { trial } => match &trial.state {
            TrialState::Failed { failure } => tracing::warn!(trial = trial.number, %failure, "failed"),
            _ => {
                tracing::info!(trial = trial.number, reward = trial.reward(), seconds = trial.seconds, "finished");
            }
        },
        Event::Stopping { reason } => tracing::info!(%reason, "stopping"),
        _ => {}
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        note(event);
        match event {
            Event::Finished { trial } => {
                state.finished += 1;
                state.failed += u64::from(trial.reward().is_none());
            }
            Event::Observed { trial, best, diagnostics } => {
                if let Some(entropy) = diagnostics.get("entropy_normalised") {
                    state.entropy = Some(entropy);
                }
                if *best {
                    state.best = Some((trial.number, trial.reward().unwrap_or(0.0)));
                    self.improvement(trial);
                }
                self.output.json(
                    &serde_json::json!({"event": "trial", "trial": trial, "best": best, "diagnostics": diagnostics}),
                );
            }
            _ => {}
        }
        self.live(&state);
    }
}
