//! A study is a folder: the database, models, the log.

use std::path::{Path, PathBuf};

use nas_core::{SqliteStorage, Storage as _, StudyRecord, Trial};

use crate::config::{Config, Work};
use crate::error::{Error, Kind, Result};
use crate::output;

/// The file that makes a folder of studies a comparison.
pub(crate) const COMPARISON: &str = "comparison.json";

/// The folder of a study.
#[derive(Debug, Clone)]
pub(crate) struct StudyFolder {
    path: PathBuf,
}

impl StudyFolder {
    pub(crate) fn new(path: &Path) -> Self {
        StudyFolder { path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("study.db")
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.path.join("models")
    }

    /// The weights of trials that others inherit.
    pub(crate) fn weights(&self) -> PathBuf {
        self.path.join("weights")
    }

    /// Saved networks, by name.
    pub(crate) fn saved_models(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.models()).into_iter().flatten().flatten();
        let mut models: Vec<PathBuf> =
            entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "safetensors")).collect();
        models.sort();
        models
    }

    /// Whether a process has the study open for writing.
    pub(crate) fn is_running(&self) -> bool {
        let lock = std::fs::File::open(self.path.join("study.lock"));
        lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
    }

    /// Where the results of the final training after `trials` trials are kept.
    fn results(&self, trials: usize) -> PathBuf {
        self.path.join(format!("results-{trials}.json"))
    }

    /// Keeps the results of the final training after these trials. Those of the same trials, trained again, are the same.
    pub(crate) fn keep_results(&self, trials: &[Trial], results: &serde_json::Value) -> Result<()> {
        let path = self.results(finished(trials));
        if path.exists() {
            return Ok(());
        }
        // Their presence says that the study is finished.
        write_whole(&path, results)
    }

    /// After how many trials it first ended with its results.
    pub(crate) fn first_end(&self) -> Option<usize> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let ends = entries.filter_map(|e| {
            e.file_name().to_str()?.strip_prefix("results-")?.strip_suffix(".json")?.parse::<usize>().ok()
        });
        ends.min()
    }

    /// Whether it runs, has ended with its final training, or waits to be resumed.
    pub(crate) fn state(&self, trials: &[Trial]) -> State {
        if self.is_running() {
            State::Running
        } else if finished(trials) == trials.len() && self.results(trials.len()).exists() {
            State::Finished
        } else {
            State::Interrupted
        }
    }

    /// A new folder; none that exists is ever used, so nothing is overwritten.
    pub(crate) fn create(path: Option<&Path>, name: &str) -> Result<Self> {
        if let Some(path) = path {
            let new = Self::new(path);
            if new.database().exists() {
                return Err(nas_core::Error::Exists { path: path.to_owned() }.into());
            }
            if path.symlink_metadata().is_ok() {
                let what = if path.is_dir() { "is a folder that holds no study" } else { "is a file" };
                let message = format!("{} {what}; a study begins in a folder of its own", path.display());
                return Err(Error::new(Kind::Study, message).next("choose a path that is free with --study"));
            }
            std::fs::create_dir_all(path).map_err(|e| Error::io("creating", path, &e))?;
            return Ok(Self::new(path));
        }
        let parent = Path::new("studies");
        std::fs::create_dir_all(parent).map_err(|e| Error::io("creating", parent, &e))?;
        for number in 1.. {
            let folder = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
            let path = parent.join(folder);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self::new(&path)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("creating", &path, &e)),
            }
        }
        unreachable!("some number is free")
    }

    /// What the study is and its trials, read while others may write.
    pub(crate) fn read(&self) -> Result<(StudyRecord, Work, Vec<Trial>)> {
        let storage = SqliteStorage::open_read_only(&self.database())?;
        let record = storage.study()?.ok_or(nas_core::Error::NotFound { path: self.path.clone() })?;
        let work = self.work(&record)?;
        Ok((record, work, storage.trials()?))
    }

    /// The same of a study that trains networks.
    pub(crate) fn read_networks(&self) -> Result<(StudyRecord, Config, Vec<Trial>)> {
        let (record, work, trials) = self.read()?;
        Ok((record, work.networks(&self.path)?, trials))
    }

    /// The application's part of the record.
    pub(crate) fn work(&self, record: &StudyRecord) -> Result<Work> {
        Work::of(&record.configuration).map_err(|e| {
            let why = format!("its configuration cannot be read: {e}");
            nas_core::Error::Damaged { path: self.path.clone(), why }.into()
        })
    }
}

/// Writes JSON under another name until it is whole.
pub(crate) fn write_whole(path: &Path, value: &serde_json::Value) -> Result<()> {
    let part = path.with_extension("part");
    let stored = std::fs::write(&part, format!("{value:#}\n")).and_then(|()| std::fs::rename(&part, path));
    stored.map_err(|e| Error::io("writing", path, &e))
}

/// Where a study stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A process has it open for writing.
    Running,
    /// Its search and its final training are done.
    Finished,
    /// It ended before that.
    Interrupted,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Finished => "finished",
            State::Interrupted => "interrupted",
        }
    }
}

/// The number of trials that have ended.
pub(crate) fn finished(trials: &[Trial]) -> usize {
    trials.iter().filter(|t| t.is_finished()).count()
}

/// The best complete trial; the earlier of equals.
pub(crate) fn best(trials: &[Trial]) -> Option<&Trial> {
    let reward = |t: &Trial| t.reward().unwrap_or(f64::NEG_INFINITY);
    trials.iter().filter(|t| t.reward().is_some()).reduce(|a, b| if reward(b) > reward(a) { b } else { a })
}

/// The trial that `name` names: a number or `best`.
pub(crate) fn find<'a>(trials: &'a [Trial], name: &str) -> Result<&'a Trial> {
    let missing = |message: String| Err(Error::new(Kind::Study, message).next("list them with `nas trials STUDY`"));
    if name == "best" {
        return best(trials).map_or_else(|| missing("the study has no complete trial yet".to_owned()), Ok);
    }
    let Ok(number) = name.parse::<u64>() else {
        return Err(Error::usage(format!("\"{name}\" is no trial: give a number or `best`")));
    };
    let found = trials.iter().find(|t| t.number == number);
    found.map_or_else(|| missing(format!("the study has no trial {number}; it has {}", trials.len())), Ok)
}

/// The file of a saved network: the one given, or the best one in a study's folder.
pub(crate) fn model(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let folder = StudyFolder::new(path);
    let (_, _, trials) = folder.read_networks()?;
    let best = find(&trials, "best")?;
    let named = |kind: &str| folder.models().join(format!("{kind}-{}.safetensors", best.number));
    if let Some(file) = [named("winner"), named("trial")].into_iter().find(|file| file.exists()) {
        return Ok(file);
    }
    let message = format!("the best trial of {}, {}, is not trained to the full yet", path.display(), best.number);
    Err(Error::new(Kind::Study, message).next(format!("nas train {} best", output::typed(path))))
}

/// The study that `path`, a study's folder or a model in it, belongs to.
pub(crate) fn of_model(path: &Path) -> Option<StudyFolder> {
    let candidates = [Some(path), path.parent().and_then(Path::parent)];
    let folders = candidates.into_iter().flatten().map(StudyFolder::new);
    folders.into_iter().find(|folder| folder.database().is_file())
}
