//! A strategy, an evaluator and a table that notice any difference between two studies.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::Study;
use crate::error::Error;
use crate::storage::testing;
use crate::{Diagnostics, Evaluator, Failure, Metrics, Observed, Origin, Proposal, Reporter, Storage, Strategy, Trial};

/// Mixes every call it hears into a number that decides its next proposal: any other order of calls gives other trials.
#[derive(Default)]
pub(super) struct Scripted {
    state: u64,
    proposed: u64,
    observed: u64,
    /// Converges after that many observations.
    converges: Option<u64>,
    /// Fails instead of that observation.
    fails: Option<u64>,
}

impl Scripted {
    /// Converges after that many observations.
    pub(super) fn converging(after: u64) -> Self {
        Scripted { converges: Some(after), ..Self::default() }
    }

    /// Fails instead of that observation.
    pub(super) fn failing(at: u64) -> Self {
        Scripted { fails: Some(at), ..Self::default() }
    }

    fn mix(&mut self, value: u64) {
        let mut hasher = fnv::FnvHasher::with_key(self.state);
        hasher.write_u64(value);
        self.state = hasher.finish();
    }
}

impl Strategy for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn propose(&mut self) -> Result<Option<Proposal>, Error> {
        self.mix(self.proposed);
        self.proposed += 1;
        // A choice of 3, one of 4, and a continuous number: see `testing::record`.
        let part = |shift: u32, radix: u64| ((self.state >> shift) % radix) as u16;
        let tokens = [part(1, 3), part(8, 4), part(16, 65_521)].into_iter().collect();
        Ok(Some(Proposal { tokens, origin: Origin::Policy { updates: self.observed } }))
    }

    fn observe(&mut self, observed: &Observed) -> Result<(), Error> {
        if self.fails == Some(self.observed) {
            return Err(Error::Strategy("the policy is NaN".to_owned()));
        }
        assert_eq!(observed.number, self.observed);
        self.observed += 1;
        self.mix(observed.reward.map_or(1, f64::to_bits));
        observed.tokens.iter().for_each(|&token| self.mix(token.into()));
        Ok(())
    }

    fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        diagnostics.set("state", self.state as f64);
        diagnostics
    }

    fn converged(&self) -> Option<String> {
        self.converges.filter(|&after| self.observed >= after).map(|after| format!("{after} are enough"))
    }
}

/// Takes a time that differs from run to run, and sometimes fails, in every way.
pub(super) struct Restless {
    pauses: AtomicUsize,
}

impl Restless {
    pub(super) fn new(salt: usize) -> Self {
        Restless { pauses: AtomicUsize::new(salt) }
    }
}

impl Evaluator for Restless {
    fn evaluate(&self, trial: &Trial, report: &mut Reporter<'_>) -> Result<Metrics, Failure> {
        let step = self.pauses.fetch_add(1, Ordering::Relaxed);
        for _ in 0..(step * 7919) % 23 {
            if report.interrupted() {
                return Err(Failure::Interrupted);
            }
            thread::sleep(Duration::from_micros(100));
        }
        let draw = trial.seed.value() ^ trial.architecture.stable_hash();
        let loss = (draw % 1000) as f64 / 7.0;
        match draw % 11 {
            0 => panic!("by design: {}", draw % 100),
            1 => Ok(Metrics::new().with("loss", f64::NAN)),
            2 => Err(Failure::Diverged { epoch: 1, loss: "NaN".to_owned() }),
            3 => Ok(Metrics::new().with("accuracy", 0.5)),
            _ => Ok(Metrics::new().with("loss", loss).with("side", f64::INFINITY)),
        }
    }
}

pub(super) fn create(storage: Arc<dyn Storage>, strategy: Scripted) -> Study {
    Study::create(testing::record(), Box::new(strategy), storage).unwrap()
}

pub(super) fn open(storage: Arc<dyn Storage>) -> Result<Study, Error> {
    Study::open(storage, |_| Ok(Box::new(Scripted::default())))
}

/// All that is stored, without durations. As text, because NaN is not equal to itself.
pub(super) fn table(storage: &dyn Storage) -> Vec<String> {
    let trials = storage.trials().unwrap().into_iter().map(|trial| format!("{:?}", Trial { seconds: 0.0, ..trial }));
    trials.chain(storage.diagnostics().unwrap().into_iter().map(|said| format!("{said:?}"))).collect()
}
