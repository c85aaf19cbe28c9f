//! What a study promises: the same trials for any number of threads, broken off or not, and nothing lost.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::testing::{Restless, Scripted, create, open, table};
use super::*;
use crate::event::{Event, Observer};
use crate::storage::testing as stored;
use crate::strategy::{RandomSearch, WarmStart};
use crate::{Evaluator, Failure, MemoryStorage, Metrics, Objective, Origin, Proposal, Reporter, SearchSpace, Seed};

const LENGTH: u64 = 40;
static NEVER: AtomicBool = AtomicBool::new(false);

/// The table of a study of `length` trials that nothing disturbed.
fn unbroken(length: u64) -> Vec<String> {
    let storage = Arc::new(MemoryStorage::new());
    let mut study = create(storage.clone(), Scripted::default());
    let outcome = study.run(&Restless::new(0), &Budget::trials(length), 1, &(), &NEVER).unwrap();
    assert_eq!((outcome.reason, outcome.trials), (StopReason::Trials(length), length));
    assert_eq!(outcome.complete + outcome.failed, length);
    table(storage.as_ref())
}

#[track_caller]
fn check_workers(workers: usize) {
    let storage = Arc::new(MemoryStorage::new());
    let mut study = create(storage.clone(), Scripted::default());
    study.run(&Restless::new(workers), &Budget::trials(LENGTH), workers, &(), &NEVER).unwrap();
    assert_eq!(table(storage.as_ref()), unbroken(LENGTH));
}

#[test]
fn two_workers_give_the_same_study() {
    check_workers(2);
}

#[test]
fn three_workers_give_the_same_study() {
    check_workers(3);
}

#[test]
fn eight_workers_give_the_same_study() {
    check_workers(8);
}

#[test]
fn every_failure_is_recorded() {
    let storage = Arc::new(MemoryStorage::new());
    let mut study = create(storage.clone(), Scripted::default());
    let outcome = study.run(&Restless::new(0), &Budget::trials(3 * LENGTH), 2, &(), &NEVER).unwrap();
    let failures: Vec<String> = study
        .trials()
        .iter()
        .filter_map(|trial| match &trial.state {
            TrialState::Failed { failure } => Some(failure.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(failures.len() as u64, outcome.failed);
    for says in ["panicked: by design: ", "\"loss\" is NaN", "diverged: the loss was NaN", "no metric \"loss\""] {
        assert!(failures.iter().any(|failure| failure.contains(says)), "{says} is not in {failures:#?}");
    }
}

#[test]
fn an_extended_study_equals_a_longer_one() {
    for first in [1, 3, 4, 5, 17] {
        let storage = Arc::new(MemoryStorage::new());
        let mut study = create(storage.clone(), Scripted::default());
        study.run(&Restless::new(1), &Budget::trials(first), 3, &(), &NEVER).unwrap();
        assert_eq!(table(storage.as_ref()), unbroken(first));
        // Once in the same process, once in another.
        study.run(&Restless::new(2), &Budget::trials(first + 6), 2, &(), &NEVER).unwrap();
        drop(study);
        let mut study = open(storage.clone()).unwrap();
        assert_eq!(study.replayed(), first + 6);
        study.run(&Restless::new(3), &Budget::trials(LENGTH), 8, &(), &NEVER).unwrap();
        assert_eq!(table(storage.as_ref()), unbroken(LENGTH));
    }
}

#[test]
fn a_smaller_budget_than_there_are_trials_tries_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let mut study = create(storage.clone(), Scripted::default());
    study.run(&Restless::new(1), &Budget::trials(10), 3, &(), &NEVER).unwrap();
    let outcome = study.run(&Restless::new(1), &Budget::trials(7), 3, &(), &NEVER).unwrap();
    assert_eq!((outcome.reason, outcome.trials), (StopReason::Trials(7), 10));
}

/// Sets a flag at the event with that number.
struct StopAt<'a> {
    stop: &'a AtomicBool,
    at: usize,
    heard: AtomicUsize,
}

impl Observer for StopAt<'_> {
    fn event(&self, _: &Event<'_>) {
        if self.heard.fetch_add(1, Ordering::Relaxed) == self.at {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn an_interrupted_study_goes_on_as_if_nothing_had_happened() {
    let expected = unbroken(LENGTH);
    for at in (0..100).step_by(3) {
        let storage = Arc::new(MemoryStorage::new());
        let mut study = create(storage.clone(), Scripted::default());
        let stop = AtomicBool::new(false);
        let observer = StopAt { stop: &stop, at, heard: AtomicUsize::new(0) };
        let outcome = study.run(&Restless::new(at), &Budget::trials(LENGTH), 3, &observer, &stop).unwrap();
        assert_eq!(outcome.reason, StopReason::Interrupted);
        let stored = storage.trials().unwrap();
        assert_eq!(stored.iter().filter(|trial| trial.is_finished()).count() as u64, outcome.complete + outcome.failed);
        if at % 2 == 0 {
            drop(study);
            study = open(storage.clone()).unwrap();
        }
        let outcome = study.run(&Restless::new(0), &Budget::trials(LENGTH), 2, &(), &NEVER).unwrap();
        assert_eq!(outcome.reason, StopReason::Trials(LENGTH));
        assert_eq!(table(storage.as_ref()), expected);
    }
}

#[test]
fn a_stop_before_the_start_starts_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let mut study = create(storage.clone(), Scripted::default());
    let outcome = study.run(&Restless::new(0), &Budget::default(), 2, &(), &AtomicBool::new(true)).unwrap();
    assert_eq!((outcome.reason, outcome.trials), (StopReason::Interrupted, 0));
}

/// A storage whose writes fail from a certain one on, as when the disk is full or the process dies there.
struct Failing {
    inner: MemoryStorage,
    left: AtomicUsize,
}

impl Failing {
    fn write(&self) -> Result<(), Error> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(Error::Io { action: "writing", path: self.path().to_owned(), source });
        }
        self.left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

impl Storage for Failing {
    fn path(&self) -> &std::path::Path {
        self.inner.path()
    }

    fn create(&self, study: &StudyRecord) -> Result<(), Error> {
        self.inner.create(study)
    }

    fn study(&self) -> Result<Option<StudyRecord>, Error> {
        self.inner.study()
    }

    fn put(&self, trial: &Trial) -> Result<(), Error> {
        self.write()?;
        self.inner.put(trial)
    }

    fn trials(&self) -> Result<Vec<Trial>, Error> {
        self.inner.trials()
    }

    fn put_diagnostics(&self, trial: u64, diagnostics: &Diagnostics) -> Result<(), Error> {
        self.write()?;
        self.inner.put_diagnostics(trial, diagnostics)
    }

    fn diagnostics(&self) -> Result<Vec<(u64, Diagnostics)>, Error> {
        self.inner.diagnostics()
    }
}

#[test]
fn a_storage_that_fails_at_any_write_loses_nothing() {
    const SHORT: u64 = 12;
    let expected = unbroken(SHORT);
    // Each trial is written twice and its diagnostics once.
    for writes in 0..3 * SHORT as usize {
        for reopened in [false, true] {
            let storage = Arc::new(Failing { inner: MemoryStorage::new(), left: AtomicUsize::new(writes) });
            let mut study = create(storage.clone(), Scripted::default());
            let failed = study.run(&Restless::new(writes), &Budget::trials(SHORT), 3, &(), &NEVER);
            assert!(matches!(failed, Err(Error::Io { action: "writing", .. })), "{failed:?}");
            assert_eq!(storage.left.load(Ordering::Relaxed), 0);
            storage.left.store(usize::MAX, Ordering::Relaxed);
            if reopened {
                drop(study);
                study = open(storage.clone()).unwrap();
            }
            study.run(&Restless::new(0), &Budget::trials(SHORT), 2, &(), &NEVER).unwrap();
            assert_eq!(table(storage.as_ref()), expected);
        }
    }
}

/// Copies the files of a study at every event on the calling thread: what a killed process would leave.
#[cfg(feature = "sqlite")]
struct Snapshots {
    from: std::path::PathBuf,
    to: std::path::PathBuf,
    taken: AtomicUsize,
}

#[cfg(feature = "sqlite")]
impl Observer for Snapshots {
    fn event(&self, _: &Event<'_>) {
        let folder = self.to.join(self.taken.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&folder).unwrap();
        for name in ["study.db", "study.db-wal"] {
            std::fs::copy(self.from.join(name), folder.join(name)).unwrap();
        }
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn a_study_killed_at_any_moment_goes_on_as_if_nothing_had_happened() {
    use crate::SqliteStorage;
    const SHORT: u64 = 8;
    let (from, to) = (tempfile::TempDir::new().unwrap(), tempfile::TempDir::new().unwrap());
    let storage = Arc::new(SqliteStorage::create(&from.path().join("study.db")).unwrap());
    let observer = Snapshots { from: from.path().into(), to: to.path().into(), taken: AtomicUsize::new(0) };
    let mut study = create(storage, Scripted::default());
    study.run(&Restless::new(5), &Budget::trials(SHORT), 3, &observer, &NEVER).unwrap();
    let taken = observer.taken.into_inner();
    assert!(taken as u64 > 3 * SHORT);
    let expected = unbroken(SHORT);
    for snapshot in 0..taken {
        let path = to.path().join(snapshot.to_string()).join("study.db");
        let storage = Arc::new(SqliteStorage::open(&path).unwrap());
        let mut study = open(storage.clone()).unwrap();
        study.run(&Restless::new(snapshot), &Budget::trials(SHORT), 2, &(), &NEVER).unwrap();
        assert_eq!(table(storage.as_ref()), expected);
    }
}

#[test]
fn time_ends_a_run_and_the_study_goes_on_later() {
    let storage = Arc::new(MemoryStorage::new());
    let mut study = create(storage.clone(), Scripted::default());
    let time = Duration::from_millis(100);
    let outcome = study.run(&Restless::new(3), &Budget::time(time), 2, &(), &NEVER).unwrap();
    assert_eq!(outcome.reason, StopReason::Time(time));
    assert!(outcome.elapsed >= time && outcome.trials > 0);
    assert!(study.trials().iter().all(Trial::is_finished), "what ran was finished");
    let more = outcome.trials + 10;
    study.run(&Restless::new(4), &Budget { trials: Some(more), time: Some(Duration::MAX) }, 3, &(), &NEVER).unwrap();
    assert_eq!(table(storage.as_ref()), unbroken(more));
}

/// The table of a study that converges after seven observations.
#[track_caller]
fn converged(workers: usize) -> Vec<String> {
    let storage = Arc::new(MemoryStorage::new());
    let strategy = || Scripted::converging(7);
    let mut study = create(storage.clone(), strategy());
    let outcome = study.run(&Restless::new(workers), &Budget::default(), workers, &(), &NEVER).unwrap();
    assert_eq!(outcome.reason, StopReason::Converged("7 are enough".to_owned()));
    // Trials 0 … 6 are observed, and the lag was ahead when the last of them was.
    assert_eq!(outcome.trials, 6 + StudyRecord::LAG as u64);
    assert_eq!(outcome.complete + outcome.failed, outcome.trials);

    let mut study = Study::open(storage.clone(), |_| Ok(Box::new(strategy()))).unwrap();
    let again = study.run(&Restless::new(0), &Budget::default(), 1, &(), &NEVER).unwrap();
    assert_eq!((again.reason, again.trials), (outcome.reason, outcome.trials));
    table(storage.as_ref())
}

#[test]
fn convergence_does_not_depend_on_the_workers() {
    let table = converged(1);
    assert_eq!(table[..10], unbroken(10)[..10], "the trials are those of a study that goes on");
    assert_eq!(converged(3), table);
    assert_eq!(converged(8), table);
}

#[test]
fn the_last_trial_of_the_budget_is_a_reason_before_convergence() {
    for (budget, converges, reason) in
        [(10, 7, StopReason::Trials(10)), (11, 7, StopReason::Converged("7 are enough".to_owned()))]
    {
        for workers in [1, 3] {
            let strategy = Scripted::converging(converges);
            let mut study = create(Arc::new(MemoryStorage::new()), strategy);
            let outcome = study.run(&Restless::new(workers), &Budget::trials(budget), workers, &(), &NEVER).unwrap();
            assert_eq!((&outcome.reason, outcome.trials), (&reason, 10));
        }
    }
}

/// A study of a space with few architectures, by random search.
fn few(storage: Arc<dyn Storage>, seed: u64) -> Result<Study, Error> {
    let space = SearchSpace::builder("few").integer("x", 1..=9).build()?;
    let strategy = RandomSearch::new(space.clone(), Seed::new(seed));
    if storage.study()?.is_some() {
        return Study::open(storage, |_| Ok(Box::new(strategy)));
    }
    let record = StudyRecord {
        space,
        objective: Objective::minimize("loss"),
        strategy: "random".to_owned(),
        ..stored::record()
    };
    Study::create(record, Box::new(strategy), storage)
}

/// Five is best.
struct Five;

impl Evaluator for Five {
    fn evaluate(&self, trial: &Trial, report: &mut Reporter<'_>) -> Result<Metrics, Failure> {
        let x = trial.architecture.float("x").unwrap();
        let metrics = Metrics::new().with("loss", (x - 5.0).abs());
        report.epoch(1, 1, &metrics);
        Ok(metrics)
    }
}

#[test]
fn an_exhausted_space_ends_the_study() {
    let storage = Arc::new(MemoryStorage::new());
    let outcome = few(storage.clone(), 1).unwrap().run(&Five, &Budget::default(), 2, &(), &NEVER).unwrap();
    assert_eq!((outcome.reason, outcome.trials), (StopReason::Exhausted, 9));
    let best = outcome.best.unwrap();
    assert_eq!(best.architecture.to_string(), "x=5");
    assert_eq!(best.reward().map(f64::to_bits), Some(0), "no negative zero, which a file would not keep");
    let again = few(storage, 1).unwrap().run(&Five, &Budget::trials(100), 2, &(), &NEVER).unwrap();
    assert_eq!((again.reason, again.trials), (StopReason::Exhausted, 9));
}

#[test]
fn another_strategy_cannot_go_on() {
    let storage = Arc::new(MemoryStorage::new());
    few(storage.clone(), 1).unwrap().run(&Five, &Budget::trials(5), 1, &(), &NEVER).unwrap();
    assert!(matches!(few(storage.clone(), 2), Err(Error::Replay { .. })));
    let named = open(storage);
    assert!(
        matches!(named, Err(Error::Mismatch { what: "strategy", stored, asked }) if stored == "random" && asked == "scripted")
    );
}

#[test]
fn more_stored_than_the_strategy_proposes_cannot_be_replayed() {
    let storage = Arc::new(MemoryStorage::new());
    create(storage.clone(), Scripted::default()).run(&Restless::new(0), &Budget::trials(20), 1, &(), &NEVER).unwrap();
    let build = |_: &StudyRecord| Ok(Box::new(Scripted::converging(3)) as Box<_>);
    let opened = Study::open(storage, build);
    assert!(matches!(opened, Err(Error::Replay { trial: 6, proposed, .. }) if proposed == "nothing"));
}

#[test]
fn another_seed_cannot_go_on() {
    let storage = Arc::new(MemoryStorage::new());
    create(storage.clone(), Scripted::default()).run(&Restless::new(0), &Budget::trials(3), 1, &(), &NEVER).unwrap();
    let trial = Trial { seed: Seed::new(1), ..storage.trials().unwrap()[2].clone() };
    storage.put(&trial).unwrap();
    assert!(matches!(open(storage), Err(Error::Replay { trial: 2, stored, .. }) if stored == "seed 1"));
}

#[test]
fn no_study() {
    assert!(matches!(open(Arc::new(MemoryStorage::new())), Err(Error::NotFound { .. })));
}

#[test]
fn a_strategy_that_fails_ends_the_run_and_keeps_the_trials() {
    let storage = Arc::new(MemoryStorage::new());
    let mut study = create(storage.clone(), Scripted::failing(5));
    for _ in 0..2 {
        let failed = study.run(&Restless::new(1), &Budget::trials(LENGTH), 3, &(), &NEVER);
        assert!(matches!(failed, Err(Error::Strategy(why)) if why.contains("the policy is NaN")));
    }
    assert!(storage.trials().unwrap().iter().take(6).all(Trial::is_finished));
    assert_eq!(storage.diagnostics().unwrap().len(), 5);
}

#[test]
fn budgets_and_lags_of_nothing() {
    let mut study = create(Arc::new(MemoryStorage::new()), Scripted::default());
    for (budget, workers, says) in [
        (Budget::trials(0), 1, "0 trials"),
        (Budget::time(Duration::ZERO), 1, "0 s"),
        (Budget::default(), 0, "0 workers"),
    ] {
        let error = study.run(&Restless::new(0), &budget, workers, &(), &NEVER).unwrap_err();
        assert!(matches!(&error, Error::Budget(why) if why.contains(says)), "{error}");
    }
    for lag in [0, usize::MAX] {
        let record = StudyRecord { lag, ..stored::record() };
        let storage = Arc::new(MemoryStorage::new());
        let created = Study::create(record, Box::new(Scripted::default()), storage.clone());
        assert!(matches!(created, Err(Error::Budget(why)) if why.contains("the lag is")));
        assert_eq!(storage.study().unwrap(), None, "nothing is stored");
    }
}

/// Gives up without being asked.
struct Quitter;

impl Evaluator for Quitter {
    fn evaluate(&self, _: &Trial, _: &mut Reporter<'_>) -> Result<Metrics, Failure> {
        Err(Failure::Interrupted)
    }
}

#[test]
fn an_evaluator_that_gives_up_unasked_has_failed() {
    let mut study = create(Arc::new(MemoryStorage::new()), Scripted::default());
    let outcome = study.run(&Quitter, &Budget::trials(3), 1, &(), &NEVER).unwrap();
    assert_eq!((outcome.failed, outcome.best), (3, None));
}

/// Writes down what it hears.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Started { trial } => format!("started {}", trial.number),
            Event::Epoch { trial, epoch, epochs, .. } => format!("epoch {trial} {epoch}/{epochs}"),
            Event::Finished { trial } => format!("finished {}", trial.number),
            Event::Observed { trial, best, .. } => {
                format!("observed {} {best} {}", trial.number, trial.reward().unwrap())
            }
            Event::Stopping { reason } => format!("stopping: {reason}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn events_tell_the_story_in_order() {
    let log = Log::default();
    let mut study = few(Arc::new(MemoryStorage::new()), 1).unwrap();
    study.run(&Five, &Budget::trials(6), 3, &log, &NEVER).unwrap();
    let lines = log.0.into_inner().unwrap();
    let place = |line: &str| lines.iter().position(|l| l.starts_with(line)).expect(line);
    let mut best = f64::NEG_INFINITY;
    for trial in study.trials() {
        let n = trial.number;
        let order =
            [format!("started {n}"), format!("epoch {n} 1/1"), format!("finished {n}"), format!("observed {n} ")];
        let places: Vec<usize> = order.iter().map(|line| place(line)).collect();
        assert!(places.is_sorted(), "{lines:#?}");
        let reward = trial.reward().unwrap();
        assert_eq!(lines[places[3]], format!("observed {n} {} {reward}", reward > best));
        best = best.max(reward);
        assert!(n == 0 || place(&format!("observed {} ", n - 1)) < places[3], "{lines:#?}");
    }
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("stopping")).collect::<Vec<_>>(),
        ["stopping: all 6 trials are done"]
    );
    assert_eq!(lines.len(), 6 * 4 + 1);
}

#[test]
fn a_replay_tells_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    few(storage.clone(), 1).unwrap().run(&Five, &Budget::trials(6), 3, &(), &NEVER).unwrap();
    let log = Log::default();
    let mut study = few(storage, 1).unwrap();
    assert_eq!(study.replayed(), 6);
    study.run(&Five, &Budget::trials(6), 3, &log, &NEVER).unwrap();
    assert_eq!(log.0.into_inner().unwrap(), ["stopping: all 6 trials are done"]);
}

/// Begins with what it is told, and says nothing else: proposes the best of it again and again.
#[derive(Default)]
struct Imitator(Vec<Observed>);

impl Strategy for Imitator {
    fn name(&self) -> &'static str {
        "imitator"
    }

    fn propose(&mut self) -> Result<Option<Proposal>, Error> {
        let best = self.0.iter().max_by(|a, b| a.reward.unwrap().total_cmp(&b.reward.unwrap()));
        Ok(best.map(|best| Proposal { tokens: best.tokens.clone(), origin: Origin::Source { trial: best.number } }))
    }

    fn observe(&mut self, _: &Observed) -> Result<(), Error> {
        Ok(())
    }

    fn warm_start(&mut self, source: &[Observed]) -> Result<(), Error> {
        self.0 = source.iter().filter(|trial| trial.reward.is_some()).cloned().collect();
        Ok(())
    }
}

#[test]
fn a_warm_started_study_holds_what_it_began_with() {
    let source: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut study = few(source.clone(), 3).unwrap();
    let refused = WarmStart::new("old", study.record(), study.trials(), &study.record().space);
    assert_eq!(refused.unwrap_err().to_string(), "old is no start for this study: none of its trials is complete");
    study.run(&Five, &Budget::trials(9), 1, &(), &NEVER).unwrap();

    let record = study.record();
    let warm_start = WarmStart::new("old", record, study.trials(), &record.space).unwrap();
    let other = SearchSpace::builder("few").integer("x", 1..=8).build().unwrap();
    let refused = WarmStart::new("old", record, study.trials(), &other).unwrap_err().to_string();
    assert!(refused.starts_with("old is no start for this study: its space is another, \"x\" chooses among 1, "));

    let cold = StudyRecord { strategy: "random".to_owned(), warm_start: Some(warm_start.clone()), ..record.clone() };
    let random = Box::new(RandomSearch::new(record.space.clone(), Seed::new(1)));
    let refused = Study::create(cold, random, Arc::new(MemoryStorage::new()));
    assert!(matches!(refused, Err(Error::Cold { strategy }) if strategy == "random"));

    let record = StudyRecord { strategy: "imitator".to_owned(), warm_start: Some(warm_start), ..record.clone() };
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut warm = Study::create(record, Box::new(Imitator::default()), storage.clone()).unwrap();
    drop((study, source));
    warm.run(&Five, &Budget::trials(2), 1, &(), &NEVER).unwrap();
    let mut again = Study::open(storage, |_| Ok(Box::new(Imitator::default()))).unwrap();
    again.run(&Five, &Budget::trials(3), 1, &(), &NEVER).unwrap();
    assert!(again.trials().iter().all(|trial| trial.architecture.to_string() == "x=5"));
    assert!(again.trials()[2].origin.to_string().ends_with(" of the source"));
}
