//! A study: space, strategy, objective, storage and seed, the loop over them and its record.
//!
//! A study is the same for any number of threads, and whether or not it was broken off and resumed, because the
//! strategy always hears the same calls in the same order: trials 0 … lag − 1 are proposed, then after observing
//! trial k, trial k + lag is. Trials that end early wait until it is their turn to be observed.

mod budget;
mod run;
mod worker;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::early_stopping::{Bars, Rungs};
use crate::error::Error;
use crate::event::StopReason;
use crate::strategy::Diagnostics;
use crate::{EarlyStopping, Observed, Purpose, Storage, Strategy, StudyRecord, Tokens, Trial, TrialState};

pub use budget::{Budget, Outcome};

/// More trials ahead than this would only be a mistake.
const MOST_LAG: usize = 4096;

/// A search and its record: proposes, evaluates, observes, and stores each step.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::AtomicBool;
///
/// use nas_core::strategy::RandomSearch;
/// use nas_core::{
///     Budget, Evaluator, Failure, MemoryStorage, Metrics, Objective, Reporter, SearchSpace, Seed, Study, StudyRecord,
///     Trial,
/// };
///
/// /// Stands for training a network of that width.
/// struct Width;
///
/// impl Evaluator for Width {
///     fn evaluate(&self, trial: &Trial, _: &mut Reporter<'_>) -> Result<Metrics, Failure> {
///         let width = trial.architecture.float("width").map_err(|e| Failure::Infeasible { message: e.to_string() })?;
///         Ok(Metrics::new().with("loss", (width - 20.0).powi(2)))
///     }
/// }
///
/// let space = SearchSpace::builder("net").integer("width", 1..=32).build()?;
/// let seed = Seed::new(7);
/// let record = StudyRecord {
///     space: space.clone(),
///     objective: Objective::minimize("loss"),
///     seed,
///     strategy: "random".to_owned(),
///     lag: StudyRecord::LAG,
///     early_stopping: None,
///     warm_start: None,
///     configuration: serde_json::Value::Null,
/// };
/// let strategy = Box::new(RandomSearch::new(space, seed));
/// let mut study = Study::create(record, strategy, Arc::new(MemoryStorage::new()))?;
/// let outcome = study.run(&Width, &Budget::trials(32), 2, &(), &AtomicBool::new(false))?;
/// assert_eq!(outcome.best.unwrap().architecture.to_string(), "width=20");
/// # Ok::<(), nas_core::Error>(())
/// ```
pub struct Study {
    record: StudyRecord,
    strategy: Box<dyn Strategy>,
    storage: Arc<dyn Storage>,
    /// Stored trials; the place of a trial is its number.
    trials: Vec<Trial>,
    /// Proposed trials that are not stored yet, following `trials`.
    ahead: VecDeque<Trial>,
    /// What the strategy proposed and has not observed yet: the first is trial number `observed`.
    pending: VecDeque<Tokens>,
    /// How often the strategy has proposed.
    proposed: usize,
    /// How many trials the strategy has observed.
    observed: usize,
    /// How many of those were observed to catch up with the record.
    replayed: usize,
    /// The number of the complete trial with the highest reward, the earliest of equals.
    best: Option<usize>,
    /// The best reward among the observed trials.
    best_observed: Option<f64>,
    /// What the observed trials had at their rungs.
    rungs: Rungs,
    /// The bars of trials that are not finished, by number.
    bars: BTreeMap<u64, Bars>,
    /// Why the strategy proposes nothing more.
    ended: Option<StopReason>,
    /// Diagnostics the storage does not have yet.
    owed: VecDeque<(u64, Diagnostics)>,
    /// What the strategy said when it failed: it cannot be called again.
    broken: Option<String>,
}

impl Study {
    /// A new study, stored in an empty `storage`. `strategy` must be fresh: nothing proposed, nothing observed. When the
    /// record has a [`warm_start`](StudyRecord::warm_start), the strategy begins with it.
    ///
    /// # Errors
    /// [`Error::Exists`] when the storage has a study, [`Error::Mismatch`] when the strategy is not the record's,
    /// [`Error::Cold`] when it cannot be warm-started, [`Error::Budget`] for an impossible lag, [`Error::Objective`] for costs that
    /// cannot be weighed, or what the storage says.
    pub fn create(record: StudyRecord, strategy: Box<dyn Strategy>, storage: Arc<dyn Storage>) -> Result<Self, Error> {
        check(&record, strategy.as_ref())?;
        let strategy = warmed(&record, strategy)?;
        storage.create(&record)?;
        Ok(Study::new(record, strategy, storage))
    }

    /// The study in `storage`, brought back to exactly where it stopped: `build` makes the strategy fresh from the
    /// record, and it is led through all that happened. Nothing is written before [`Study::run`].
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no study, [`Error::Mismatch`] when the strategy is not the record's,
    /// [`Error::Replay`] when it proposes something else than it did, or what `build`, the strategy or the storage say.
    pub fn open(
        storage: Arc<dyn Storage>,
        build: impl FnOnce(&StudyRecord) -> Result<Box<dyn Strategy>, Error>,
    ) -> Result<Self, Error> {
        Self::open_watched(storage, build, |_, _| ())
    }

    /// [`Study::open`], with `watch` called before the first and after every observation that is replayed: how many trials
    /// the strategy has observed, and the strategy, to ask what it has learned by then.
    ///
    /// # Errors
    /// As [`Study::open`].
    pub fn open_watched(
        storage: Arc<dyn Storage>,
        build: impl FnOnce(&StudyRecord) -> Result<Box<dyn Strategy>, Error>,
        watch: impl FnMut(u64, &mut dyn Strategy),
    ) -> Result<Self, Error> {
        let Some(record) = storage.study()? else {
            return Err(Error::NotFound { path: storage.path().to_owned() });
        };
        let strategy = build(&record)?;
        check(&record, strategy.as_ref())?;
        let strategy = warmed(&record, strategy)?;
        let mut study = Study::new(record, strategy, storage);
        study.trials = study.storage.trials()?;
        study.replay(watch)?;
        Ok(study)
    }

    fn new(record: StudyRecord, strategy: Box<dyn Strategy>, storage: Arc<dyn Storage>) -> Self {
        Study {
            record,
            strategy,
            storage,
            trials: Vec::new(),
            ahead: VecDeque::new(),
            pending: VecDeque::new(),
            proposed: 0,
            observed: 0,
            replayed: 0,
            best: None,
            best_observed: None,
            rungs: Rungs::default(),
            bars: BTreeMap::new(),
            ended: None,
            owed: VecDeque::new(),
            broken: None,
        }
    }

    /// What decides the study's trials.
    pub fn record(&self) -> &StudyRecord {
        &self.record
    }

    /// All stored trials by number, from 0; some may be running, or were when a process died.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// The complete trial with the highest reward, the earliest of equals.
    pub fn best(&self) -> Option<&Trial> {
        self.best.map(|number| &self.trials[number])
    }

    /// How many trials the strategy had observed when [`Study::open`] was done: "resumed at trial 137".
    pub fn replayed(&self) -> u64 {
        self.replayed as u64
    }

    /// Leads the fresh strategy through the stored trials, comparing what it proposes with what is stored.
    fn replay(&mut self, mut watch: impl FnMut(u64, &mut dyn Strategy)) -> Result<(), Error> {
        let said: BTreeSet<u64> = self.storage.diagnostics()?.into_iter().map(|(trial, _)| trial).collect();
        for number in 0..self.trials.len() {
            self.consider_best(number);
        }
        self.propose()?;
        watch(0, &mut *self.strategy);
        while let Some((number, diagnostics, _)) = self.observe()? {
            watch(number + 1, &mut *self.strategy);
            if !said.contains(&number) {
                self.owed.push_back((number, diagnostics));
            }
            self.propose()?;
        }
        self.replayed = self.observed;
        // The canonical order proposes trial n before it hears of trial n − lag + 1, so what is stored was proposed.
        match self.trials.get(self.proposed) {
            None => Ok(()),
            Some(stored) => Err(Error::Replay {
                trial: stored.number,
                stored: stored.architecture.to_string(),
                proposed: "nothing".to_owned(),
            }),
        }
    }

    /// Proposes all that the canonical order allows now. Proposals are made even when the budget has no room for them,
    /// and wait: so the strategy hears the same calls in a study that is extended as in one that was longer from the
    /// start.
    fn propose(&mut self) -> Result<(), Error> {
        while self.ended.is_none() && self.proposed < self.observed + self.record.lag {
            let Some(proposal) = self.strategy.propose().map_err(|error| self.broke(error))? else {
                self.ended = Some(StopReason::Exhausted);
                return Ok(());
            };
            let architecture = self.record.space.architecture(&proposal.tokens);
            let architecture = architecture.map_err(|error| self.broke(error.into()))?;
            let number = self.proposed as u64;
            let seed = self.record.seed.derive(Purpose::Trial, number);
            match self.trials.get(self.proposed) {
                Some(stored) if stored.architecture != architecture => {
                    return Err(Error::Replay {
                        trial: number,
                        stored: stored.architecture.to_string(),
                        proposed: architecture.to_string(),
                    });
                }
                Some(stored) if stored.seed != seed => {
                    return Err(Error::Replay {
                        trial: number,
                        stored: format!("seed {}", stored.seed.value()),
                        proposed: format!("seed {}", seed.value()),
                    });
                }
                Some(_) => {}
                None => self.ahead.push_back(Trial {
                    number,
                    architecture,
                    origin: proposal.origin,
                    seed,
                    state: TrialState::Running,
                    seconds: 0.0,
                }),
            }
            if let Some(rule) = self.record.early_stopping
                && !self.trials.get(self.proposed).is_some_and(Trial::is_finished)
            {
                self.bars.insert(number, self.rungs.bars(rule, number));
            }
            self.pending.push_back(proposal.tokens);
            self.proposed += 1;
        }
        Ok(())
    }

    /// Lets the strategy observe the next trial, if it is finished: its number, what the strategy says, and whether it
    /// is the best so far.
    fn observe(&mut self) -> Result<Option<(u64, Diagnostics, bool)>, Error> {
        let Some(trial) = self.trials.get(self.observed).filter(|trial| trial.is_finished()) else { return Ok(None) };
        let (number, reward, origin) = (trial.number, trial.reward(), trial.origin);
        // A stored trial is in `trials` before it is replayed; it is observed when it was proposed.
        let Some(tokens) = self.pending.pop_front() else { return Ok(None) };
        if let Some(rule) = self.record.early_stopping {
            self.rungs.observe(rule, trial);
        }
        let observed = self.strategy.observe(&Observed { number, tokens, reward, origin });
        observed.map_err(|error| self.broke(error))?;
        let diagnostics = self.strategy.diagnostics();
        self.observed += 1;
        let better = reward.is_some_and(|reward| self.best_observed.is_none_or(|best| reward > best));
        if better {
            self.best_observed = reward;
        }
        if self.ended.is_none() {
            self.ended = self.strategy.converged().map(StopReason::Converged);
        }
        Ok(Some((number, diagnostics, better)))
    }

    fn consider_best(&mut self, number: usize) {
        let Some(reward) = self.trials[number].reward() else { return };
        let better = self.best.is_none_or(|best| {
            let held = self.trials[best].reward().expect("only complete trials are the best");
            reward > held || (reward == held && number < best)
        });
        if better {
            self.best = Some(number);
        }
    }

    /// Remembers that the strategy failed.
    fn broke(&mut self, error: Error) -> Error {
        self.broken = Some(error.to_string());
        error
    }
}

/// The strategy, begun with what the record says.
fn warmed(record: &StudyRecord, mut strategy: Box<dyn Strategy>) -> Result<Box<dyn Strategy>, Error> {
    if let Some(warm_start) = &record.warm_start {
        strategy.warm_start(&warm_start.observed(&record.space)?)?;
    }
    Ok(strategy)
}

fn check(record: &StudyRecord, strategy: &dyn Strategy) -> Result<(), Error> {
    if record.strategy != strategy.name() {
        return Err(Error::Mismatch {
            what: "strategy",
            stored: record.strategy.clone(),
            asked: strategy.name().to_owned(),
        });
    }
    if !(1..=MOST_LAG).contains(&record.lag) {
        return Err(Error::Budget(format!("the lag is {}; it must be from 1 to {MOST_LAG}", record.lag)));
    }
    record.objective.tradeoff.as_ref().map_or(Ok(()), crate::objective::Tradeoff::check)?;
    record.early_stopping.map_or(Ok(()), EarlyStopping::check)
}
