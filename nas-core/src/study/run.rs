//! The loop of a study: trials on worker threads, storage and strategy on the calling one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use super::worker::{self, Done};
use super::{Budget, Outcome, Study};
use crate::early_stopping::Bars;
use crate::error::Error;
use crate::event::{Event, Observer, StopReason};
use crate::{Evaluator, Failure, Trial, TrialState};

impl Study {
    /// Runs the study until `budget` is used up, it converges, is exhausted, or somebody sets `stop`.
    ///
    /// Up to `workers` trials are evaluated at once, each on a thread of its own, and never more than the study's lag.
    /// The trials are the same for any number of workers, except for [`Trial::seconds`]. Each trial is stored as
    /// running before its work begins and stored again when it is finished. When `stop` is set, evaluators are asked to
    /// give up; their trials stay running in the storage and are evaluated again by the next run. A study can be run
    /// again, with a larger budget or after an interruption.
    ///
    /// # Errors
    /// [`Error::Budget`] when nothing could be tried, or what the storage or the strategy say; what was stored before
    /// stays, and the study can be resumed.
    pub fn run(
        &mut self,
        evaluator: &dyn Evaluator,
        budget: &Budget,
        workers: usize,
        observer: &dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Outcome, Error> {
        let begun = Instant::now();
        budget.check()?;
        if workers == 0 {
            return Err(Error::Budget("0 workers try nothing; give at least 1".to_owned()));
        }
        if let Some(why) = &self.broken {
            return Err(Error::Strategy(why.clone()));
        }
        // A pool of its own, so that an evaluator's parallel loops share these threads and no others.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .thread_name(|n| format!("worker {n}"))
            .build()
            .map_err(|error| Error::Budget(format!("{workers} workers cannot be started: {error}")))?;

        let halt = AtomicBool::new(false);
        let (sender, results) = mpsc::channel();
        let again =
            self.trials.iter().filter(|trial| !trial.is_finished()).map(|trial| trial.number as usize).collect();
        let objective = &self.record.objective.clone();
        let reason = pool.in_place_scope(|scope| {
            // Whichever way this closure is left, trials that still run must end soon: the scope waits for them.
            let _halt = SetOnDrop(&halt);
            let halt = &halt;
            let spawn = |trial: Trial, bars: Option<Bars>, sender: Sender<Done>| {
                scope.spawn(move |_| {
                    let done = worker::evaluate(&trial, bars.as_ref(), objective, evaluator, observer, [stop, halt]);
                    // Nobody listens any more when the study has failed meanwhile.
                    let _ = sender.send(done);
                });
            };
            Run {
                workers: workers.min(self.record.lag),
                limit: budget.trials.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)),
                // A time too long for the clock is no limit.
                deadline: budget.time.and_then(|time| begun.checked_add(time)),
                study: self,
                budget,
                observer,
                stop,
                again,
                running: 0,
                stopped: false,
                announced: None,
                sender,
                results,
            }
            .until_stopped(spawn)
        })?;

        let count = |wanted: fn(&TrialState) -> bool| self.trials.iter().filter(|t| wanted(&t.state)).count() as u64;
        Ok(Outcome {
            reason,
            trials: self.trials.len() as u64,
            complete: count(|state| matches!(state, TrialState::Complete { .. })),
            failed: count(|state| matches!(state, TrialState::Failed { .. })),
            best: self.best().cloned(),
            elapsed: begun.elapsed(),
        })
    }
}

/// One run of a study, seen from the calling thread.
struct Run<'a> {
    study: &'a mut Study,
    budget: &'a Budget,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    /// How many trials may run at once.
    workers: usize,
    /// How many trials there may be.
    limit: usize,
    deadline: Option<Instant>,
    /// Stored trials that must be evaluated again, by number.
    again: VecDeque<usize>,
    /// How many trials run now.
    running: usize,
    /// Whether somebody asked the study to stop; stays so when the flag is cleared.
    stopped: bool,
    announced: Option<StopReason>,
    sender: Sender<Done>,
    results: Receiver<Done>,
}

impl Run<'_> {
    fn until_stopped(mut self, spawn: impl Fn(Trial, Option<Bars>, Sender<Done>)) -> Result<StopReason, Error> {
        self.settle()?;
        self.study.propose()?;
        loop {
            self.hear();
            while let Ok(done) = self.results.try_recv() {
                self.finish(done)?;
            }
            self.announce();
            self.start(&spawn)?;
            if self.observe()? {
                continue;
            }
            if self.running == 0 {
                self.announce();
                return Ok(self.announced.expect("a study without a reason to stop has a trial to start"));
            }
            self.wait()?;
        }
    }

    /// Stores diagnostics that the storage does not have yet.
    fn settle(&mut self) -> Result<(), Error> {
        while let Some((trial, diagnostics)) = self.study.owed.front() {
            self.study.storage.put_diagnostics(*trial, diagnostics)?;
            self.study.owed.pop_front();
        }
        Ok(())
    }

    /// Starts what is due, until all workers are busy.
    fn start(&mut self, spawn: &impl Fn(Trial, Option<Bars>, Sender<Done>)) -> Result<(), Error> {
        while self.running < self.workers && !self.stopped && !self.is_over() {
            let number = if let Some(number) = self.again.pop_front() {
                number
            } else if self.has_new() {
                let study = &mut *self.study;
                study.storage.put(&study.ahead[0])?;
                study.trials.extend(study.ahead.pop_front());
                study.trials.len() - 1
            } else {
                break;
            };
            let trial = &self.study.trials[number];
            self.observer.event(&Event::Started { trial });
            let bars = self.study.bars.get(&trial.number).cloned();
            spawn(trial.clone(), bars, self.sender.clone());
            self.running += 1;
        }
        Ok(())
    }

    /// Waits for a trial to end, or for the time to be over.
    fn wait(&mut self) -> Result<(), Error> {
        let remaining = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let done = match remaining {
            Some(remaining) if !remaining.is_zero() => self.results.recv_timeout(remaining),
            _ => self.results.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match done {
            Ok(done) => self.finish(done),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the run holds a sender"),
        }
    }

    /// Stores a trial that has ended.
    fn finish(&mut self, done: Done) -> Result<(), Error> {
        self.running -= 1;
        let Done { number, result, seconds } = done;
        self.hear();
        if result == Err(Failure::Interrupted) && self.stopped {
            self.again.push_back(number);
            return Ok(());
        }
        let objective = &self.study.record.objective;
        let state = match result.and_then(|metrics| objective.reward(&metrics).map(|reward| (metrics, reward))) {
            // A negative zero becomes zero: not every storage tells them apart, and a resumed study must hear the same.
            Ok((metrics, reward)) => TrialState::Complete { metrics, reward: reward + 0.0 },
            Err(Failure::Interrupted) => {
                let message = "the evaluator gave up without being asked to".to_owned();
                TrialState::Failed { failure: Failure::Other { message } }
            }
            Err(failure) => TrialState::Failed { failure },
        };
        let trial = Trial { state, seconds, ..self.study.trials[number].clone() };
        self.study.storage.put(&trial)?;
        self.study.trials[number] = trial;
        self.study.bars.remove(&(number as u64));
        self.study.consider_best(number);
        self.observer.event(&Event::Finished { trial: &self.study.trials[number] });
        Ok(())
    }

    /// Lets the strategy observe one trial, if the next in order is finished, and propose what follows.
    fn observe(&mut self) -> Result<bool, Error> {
        let Some((number, diagnostics, best)) = self.study.observe()? else { return Ok(false) };
        let trial = &self.study.trials[number as usize];
        self.observer.event(&Event::Observed { trial, best, diagnostics: &diagnostics });
        self.study.owed.push_back((number, diagnostics));
        self.settle()?;
        self.study.propose()?;
        Ok(true)
    }

    /// Why no further trial will be started, once that is so.
    ///
    /// Apart from interruption and time, it follows from the study alone: a limit counts as reached when the last trial
    /// is proposed, not when a worker is free for it.
    fn reason(&self) -> Option<StopReason> {
        let study = &*self.study;
        let more_to_propose = study.proposed < self.limit && study.ended.is_none();
        let more_to_start = more_to_propose || !self.again.is_empty() || self.has_new();
        match self.budget.time {
            _ if more_to_start && self.stopped => Some(StopReason::Interrupted),
            Some(time) if more_to_start && self.is_over() => Some(StopReason::Time(time)),
            _ if more_to_propose => None,
            _ if study.proposed >= self.limit => self.budget.trials.map(StopReason::Trials),
            _ => study.ended.clone(),
        }
    }

    fn announce(&mut self) {
        let reason = self.reason();
        if reason != self.announced {
            if let Some(reason) = &reason {
                self.observer.event(&Event::Stopping { reason });
            }
            self.announced = reason;
        }
    }

    /// Whether a trial that is not stored yet is proposed and within the limit.
    fn has_new(&self) -> bool {
        !self.study.ahead.is_empty() && self.study.trials.len() < self.limit
    }

    fn hear(&mut self) {
        self.stopped |= self.stop.load(Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Sets a flag when it goes out of scope, also by `?` and by a panic.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
