//! One trial on a worker thread: evaluated, timed, its panic caught.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::early_stopping::{Bars, STOPPED_AT, reward_at};
use crate::{Evaluator, Failure, Metrics, Objective, Observer, Reporter, Trial};

/// What a worker sends back.
pub(super) struct Done {
    /// The trial's number.
    pub(super) number: usize,
    /// What the evaluator returned.
    pub(super) result: Result<Metrics, Failure>,
    /// How long it took.
    pub(super) seconds: f64,
}

/// Evaluates `trial`, which is judged by `bars` on the way if there are any; a panic becomes [`Failure::Panicked`].
pub(super) fn evaluate(
    trial: &Trial,
    bars: Option<&Bars>,
    objective: &Objective,
    evaluator: &dyn Evaluator,
    observer: &dyn Observer,
    stop: [&AtomicBool; 2],
) -> Done {
    let begun = Instant::now();
    let result = catch(|| {
        let mut reporter = Reporter::with_flags(trial.number, observer, stop);
        if let Some(bars) = bars {
            reporter = reporter.judged(bars, objective);
        }
        let mut metrics = evaluator.evaluate(trial, &mut reporter)?;
        let (rewards, stopped) = reporter.judgement();
        for (epoch, reward) in rewards {
            metrics.set(&reward_at(epoch), reward);
        }
        if let Some(epoch) = stopped {
            metrics.set(STOPPED_AT, f64::from(epoch));
        }
        Ok(metrics)
    });
    let result = result.unwrap_or_else(|panicked| {
        let Panicked { message, place } = panicked;
        tracing::warn!(trial = trial.number, place, "a trial panicked: {message}");
        Err(Failure::Panicked { message })
    });
    Done { number: trial.number as usize, result, seconds: begun.elapsed().as_secs_f64() }
}

struct Panicked {
    message: String,
    /// File and line, for the log only: they are no part of the study.
    place: String,
}

thread_local! {
    /// Whether a trial is evaluated on this thread, so that its panic is data and nothing to print.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`, whose panic prints nothing over a progress bar.
fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                PLACE.with_borrow_mut(|held| *held = place);
            } else {
                usual(info);
            }
        }));
    });
    // A thread that waits inside a trial may take another trial from the pool: keep what the outer one had.
    let outer = CATCHING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.map_err(|payload| Panicked { message: message(payload.as_ref()), place: PLACE.take() })
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "without a message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_message(work: fn(), message: &str) {
        let panicked = catch(work).expect_err("it panics");
        assert_eq!(panicked.message, message);
        assert!(panicked.place.contains("worker.rs"), "{}", panicked.place);
    }

    #[test]
    fn messages() {
        check_message(|| panic!("plain"), "plain");
        check_message(|| panic!("with {}", 7), "with 7");
        check_message(|| panic::panic_any(7), "without a message");
    }

    #[test]
    fn nested() {
        let outer = catch(|| {
            assert!(catch(|| panic!("inner")).is_err());
            assert!(CATCHING.get());
        });
        assert!(outer.is_ok());
        assert!(!CATCHING.get());
    }
}
