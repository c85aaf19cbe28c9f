//! A study kept in memory: gone with the process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use super::{Storage, StudyRecord};
use crate::Trial;
use crate::error::Error;
use crate::strategy::Diagnostics;

/// Keeps a study in memory, for tests and for searches nobody wants to keep.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    study: Option<StudyRecord>,
    trials: BTreeMap<u64, Trial>,
    diagnostics: BTreeMap<u64, Diagnostics>,
}

impl MemoryStorage {
    /// A storage without a study.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it holds this lock")
    }
}

impl Storage for MemoryStorage {
    /// The word `memory`.
    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn create(&self, study: &StudyRecord) -> Result<(), Error> {
        let mut kept = self.kept();
        if kept.study.is_some() {
            return Err(Error::Exists { path: self.path().to_owned() });
        }
        kept.study = Some(study.clone());
        Ok(())
    }

    fn study(&self) -> Result<Option<StudyRecord>, Error> {
        Ok(self.kept().study.clone())
    }

    fn put(&self, trial: &Trial) -> Result<(), Error> {
        self.kept().trials.insert(trial.number, trial.clone());
        Ok(())
    }

    fn trials(&self) -> Result<Vec<Trial>, Error> {
        Ok(self.kept().trials.values().cloned().collect())
    }

    fn put_diagnostics(&self, trial: u64, diagnostics: &Diagnostics) -> Result<(), Error> {
        self.kept().diagnostics.insert(trial, diagnostics.clone());
        Ok(())
    }

    fn diagnostics(&self) -> Result<Vec<(u64, Diagnostics)>, Error> {
        Ok(self.kept().diagnostics.iter().map(|(trial, said)| (*trial, said.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_round_trip, record};
    use super::*;

    #[test]
    fn round_trip() {
        let storage = MemoryStorage::new();
        check_round_trip(storage, |_| None);
    }

    #[test]
    fn a_study_is_never_replaced() {
        let storage = MemoryStorage::new();
        storage.create(&record()).unwrap();
        assert!(matches!(storage.create(&record()), Err(Error::Exists { .. })));
    }
}
