//! The searches of a comparison, one after another: those that are missing are run, all are read.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nas_core::{Budget, Evaluator, Event, Observer, SqliteStorage, StopReason, Storage, Study, StudyRecord, Trial};
use nas_nn::data::TrainTest;
use nas_nn::family;

use super::plan::Plan;
use crate::command::closing::{self, How};
use crate::command::external;
use crate::command::search::{self, Workers};
use crate::config::{Config, Work};
use crate::error::{Error, Kind, Result};
use crate::output::{self, Output};
use crate::study_folder::{self, StudyFolder, finished, write_whole};
use crate::{interrupt, limits, progress};

/// A search that is over.
pub(super) struct Search {
    /// The trials of its budget, by number.
    pub(super) trials: Vec<Trial>,
    /// The winner's test test_scores, one a training to the full; empty when there was none, or it failed.
    pub(super) test_scores: Vec<f64>,
}

/// How the searches are run.
pub(super) struct Runner<'a> {
    pub(super) plan: &'a Plan,
    pub(super) folder: &'a Path,
    /// The images, when networks are trained.
    pub(super) data: Option<&'a TrainTest>,
    pub(super) workers: Workers,
    pub(super) output: Output,
    /// Whether a line is said of every search.
    pub(super) talks: bool,
}

impl Runner<'_> {
    /// The searches, by agent and then by seed. They are run seed by seed, so that what there is can always be paired.
    pub(super) fn run(&self) -> Result<Vec<Vec<Search>>> {
        let plan = self.plan;
        let mut searches: Vec<Vec<Search>> = plan.agents.iter().map(|_| Vec::new()).collect();
        let watch = Watch::new(self.output, plan.limits().trials, plan.seeds * plan.agents.len() as u64);
        for i in 0..plan.seeds {
            for (agent, of_agent) in plan.agents.iter().zip(&mut searches) {
                let done = watch.begin(agent, plan.seed(i).value());
                of_agent.push(self.search(agent, i, &watch).map_err(|e| self.advise(e, done))?);
                watch.end();
            }
        }
        watch.bar.finish_and_clear();
        Ok(searches)
    }

    /// One search: run, or what is left of it, or only read.
    fn search(&self, agent: &str, i: u64, watch: &Watch) -> Result<Search> {
        let plan = self.plan;
        let study = plan.study(self.folder, agent, i);
        let was_over = study.first_end().is_some();
        if !was_over {
            self.go(agent, i, &study, watch)?;
        }
        let (_, _, mut trials) = study.read()?;
        // A study that its user resumed beyond the comparison's budget counts as it was.
        let end = study.first_end().unwrap_or(usize::MAX).min(plan.limits().trials.unwrap_or(u64::MAX) as usize);
        trials.truncate(end);
        let test_scores = match (plan.networks(), self.data) {
            (Some(config), Some(data)) if plan.final_seeds > 0 => {
                watch.say(&format!("{agent}, seed {}, the winner is trained to the full", plan.seed(i).value()));
                self.test_scores(config, data, i, &study, &trials)?
            }
            _ => Vec::new(),
        };
        let best = study_folder::best(&trials);
        self.output.json(&serde_json::json!({
            "event": "search", "agent": agent, "seed": plan.seed(i), "study": study.path(), "trials": trials.len(),
            "best": best.map(|t| t.number), "reward": best.and_then(Trial::reward), "test_scores": test_scores,
        }));
        if let Some(best) = best.filter(|_| self.talks && !was_over) {
            let seconds: f64 = trials.iter().map(|t| t.seconds).sum();
            let value = best.metric(&plan.objective.metric).unwrap_or_default();
            let line = format!(
                "{agent:<22} seed {:>3}: {} trials, best {} {value:.4} (trial {}), trained {}",
                plan.seed(i).value(),
                trials.len(),
                plan.objective.metric,
                best.number,
                output::seconds(seconds)
            );
            watch.bar.suspend(|| self.output.line(line));
        }
        Ok(Search { trials, test_scores })
    }

    /// Runs a search from where it stands to the end of its budget.
    fn go(&self, agent: &str, i: u64, folder: &StudyFolder, watch: &Watch) -> Result<()> {
        let record = self.plan.record(agent, i)?;
        let seed = record.seed;
        let storage: Arc<dyn Storage> = Arc::new(open(folder)?);
        let mut study = match storage.study()? {
            None => Study::create(record.clone(), limits::strategy(&record)?, storage)?,
            Some(stored) if is_same(&stored, &record) => Study::open(storage, limits::strategy)?,
            Some(_) => {
                let message = format!("{} is another study than the comparison's", folder.path().display());
                return Err(Error::new(Kind::Study, message).next("move it away, and the search is run anew"));
            }
        };
        let evaluator: Box<dyn Evaluator> = match (&self.plan.work, self.data) {
            (Work::Networks(config), Some(data)) => {
                let parts = search::split(&data.train, config, seed)?;
                Box::new(search::trainer(&record.space, config, parts, folder, study.trials(), self.workers)?)
            }
            (Work::Program(program), _) => Box::new(external::process(program)?),
            (Work::Networks(_), None) => unreachable!("the data of networks is opened first"),
        };
        let limits = self.plan.limits();
        let time = limits.time.map(|time| time_left(time, study.trials(), self.workers.jobs));
        watch.have(finished(study.trials()) as u64);
        tracing::info!(agent, seed = seed.value(), "search");
        let budget = Budget { trials: limits.trials, time };
        let outcome = study.run(&*evaluator, &budget, self.workers.jobs, watch, interrupt::flag())?;
        if outcome.reason == StopReason::Interrupted {
            return Err(Error::new(Kind::Interrupted, "interrupted; every finished trial is saved"));
        }
        let Some(best) = study_folder::best(study.trials()) else {
            let why = study.trials().iter().find_map(closing::failure).unwrap_or_default();
            return Err(Error::new(Kind::Other, format!("no trial of {} succeeded ({why})", folder.path().display())));
        };
        folder.keep_results(study.trials(), &serde_json::json!({"event": "result", "winner": best.number}))
    }

    /// The test test_scores of the winner, trained to the full once for every final seed; empty when a training failed.
    fn test_scores(
        &self,
        config: &Config,
        data: &TrainTest,
        i: u64,
        study: &StudyFolder,
        trials: &[Trial],
    ) -> Result<Vec<f64>> {
        let Some(winner) = study_folder::best(trials) else { return Ok(Vec::new()) };
        let seeds = self.plan.final_seeds;
        let kept = study.path().join(format!("final-{}-{seeds}.json", trials.len()));
        if let Ok(text) = std::fs::read_to_string(&kept) {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let damaged = || Error::new(Kind::Study, format!("{} is damaged; remove it", kept.display()));
            let test_scores = value["test_scores"].as_array().ok_or_else(damaged)?;
            return Ok(test_scores.iter().filter_map(serde_json::Value::as_f64).collect());
        }
        let family = family::of(&self.plan.space)?;
        // One bar is enough.
        let output = Output::new(self.output.is_json(), true);
        let how = How { workers: self.workers, profile: false, output };
        let (recipe, seed) = (&config.final_recipe, self.plan.seed(i));
        let trained = closing::train_seeds(&winner.architecture, seeds, &family, config, recipe, seed, data, how);
        let (test_scores, failure) = match trained {
            Ok(trained) => {
                let model = study.models().join(format!("winner-{}", winner.number));
                if !nas_nn::network::weights_path(&model).exists() {
                    trained[0].network.save(&model)?;
                }
                (trained.iter().map(|t| t.score).collect::<Vec<f64>>(), None)
            }
            Err(e) if e.code() == 1 => (Vec::new(), Some(e.message().to_owned())),
            Err(e) => return Err(e),
        };
        if let Some(why) = failure.as_ref().filter(|_| self.talks) {
            let line = format!("The winner of {} was not trained to the full: {why}", study.path().display());
            self.output.line(line);
        }
        let results = serde_json::json!({"winner": winner.number, "test_scores": test_scores, "failure": failure});
        write_whole(&kept, &results)?;
        Ok(test_scores)
    }

    /// What to do after an error: everything that is done is kept.
    fn advise(&self, error: Error, done: u64) -> Error {
        let again = format!("continue with `{}`", Plan::command(self.folder));
        let all = self.plan.seeds * self.plan.agents.len() as u64;
        if error.code() == 130 {
            let message = format!("interrupted; {done} of {all} searches are done, and every trial is saved");
            return Error::new(Kind::Interrupted, message).next(again);
        }
        error.next(format!("{done} of {all} searches are done and kept; when that is mended, {again}"))
    }
}

/// The storage of a search, new or not.
fn open(folder: &StudyFolder) -> Result<SqliteStorage> {
    let path = folder.database();
    // A process that died while it made the file left nothing in it.
    if path.metadata().is_ok_and(|file| file.len() == 0) {
        std::fs::remove_file(&path).map_err(|e| Error::io("removing", &path, &e))?;
    }
    if path.exists() {
        return Ok(SqliteStorage::open(&path)?);
    }
    std::fs::create_dir_all(folder.path()).map_err(|e| Error::io("creating", folder.path(), &e))?;
    Ok(SqliteStorage::create(&path)?)
}

/// Whether both are the same search: the budget is the comparison's affair.
fn is_same(a: &StudyRecord, b: &StudyRecord) -> bool {
    let work = |record: &StudyRecord| Work::of(&record.configuration).ok();
    (&a.strategy, a.seed, &a.space, &a.objective, work(a)) == (&b.strategy, b.seed, &b.space, &b.objective, work(b))
}

/// What is left of the time after an interruption, by what the finished trials took side by side. A moment at least, so that
/// interrupted trials are run again.
fn time_left(time: Duration, trials: &[Trial], jobs: usize) -> Duration {
    let spent: f64 = trials.iter().map(|t| t.seconds).sum::<f64>() / jobs as f64;
    time.saturating_sub(Duration::try_from_secs_f64(spent).unwrap_or(time)).max(Duration::from_secs(1).min(time))
}

/// Shows where a comparison stands: a bar over all trials, or over searches when those have no number.
struct Watch {
    bar: ProgressBar,
    /// Trials of a search.
    trials: Option<u64>,
    searches: u64,
    state: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    /// Searches that are over.
    over: u64,
    name: String,
    /// Finished trials of this search.
    finished: u64,
}

impl Watch {
    fn new(output: Output, trials: Option<u64>, searches: u64) -> Self {
        let length = searches * trials.unwrap_or(1);
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if !output.shows_progress() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{bar:24} {msg}, {eta} left").expect("the template is constant");
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(500));
        Watch { bar, trials, searches, state: Mutex::default() }
    }

    /// Says whose search begins; returns how many are over.
    fn begin(&self, agent: &str, seed: u64) -> u64 {
        self.say(&format!("{agent}, seed {seed}"));
        self.lock().over
    }

    /// Says what is being done.
    fn say(&self, what: &str) {
        let mut state = self.lock();
        what.clone_into(&mut state.name);
        self.show(&state);
    }

    /// The search began with so many finished trials.
    fn have(&self, trials: u64) {
        let mut state = self.lock();
        state.finished = trials;
        self.show(&state);
        // What was done by an earlier run says nothing of how fast this one is.
        self.bar.reset_eta();
    }

    fn end(&self) {
        let mut state = self.lock();
        state.over += 1;
        state.finished = 0;
        self.show(&state);
    }

    fn show(&self, state: &Standing) {
        let trials = self.trials.map_or_else(String::new, |n| format!(" of {n}"));
        self.bar.set_position(self.trials.map_or(state.over, |n| state.over * n + state.finished.min(n)));
        let number = (state.over + 1).min(self.searches);
        self.bar.set_message(format!(
            "search {number} of {} ({}), {}{trials} trials",
            self.searches, state.name, state.finished
        ));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Watch {
    fn event(&self, event: &Event<'_>) {
        progress::note(event);
        if matches!(event, Event::Finished { .. }) && !interrupt::flag().load(Ordering::Relaxed) {
            let mut state = self.lock();
            state.finished += 1;
            self.show(&state);
        }
    }
}
