//! What a comparison is: a file in its folder, beside the studies that are its searches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nas_core::{EarlyStopping, Objective, SearchSpace, Seed, StudyRecord};
use serde::{Deserialize, Serialize};

use crate::command::search;
use crate::config::{Config, Work};
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::progress::Limits;
use crate::study_folder::{COMPARISON, StudyFolder, write_whole};

/// Everything that decides the searches. Agents, seeds and final seeds may grow, the rest is fixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// Who is compared.
    pub(super) agents: Vec<String>,
    /// Whom the others are compared with.
    pub(super) reference: String,
    /// Searches of each agent.
    pub(super) seeds: u64,
    /// The seed of the first.
    pub(super) first_seed: u64,
    /// How often the winner of each search is trained to the full and tested; zero for not at all.
    pub(super) final_seeds: u32,
    /// Trials at once, which a budget of time depends on.
    pub(super) jobs: usize,
    pub(super) space: SearchSpace,
    pub(super) objective: Objective,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) early_stopping: Option<EarlyStopping>,
    /// What measures, and the budget of a search.
    pub(super) work: Work,
}

impl Plan {
    /// Whether `folder` is a comparison.
    pub(super) fn is_at(folder: &Path) -> bool {
        folder.join(COMPARISON).is_file()
    }

    /// That of a folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(COMPARISON);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("reading", &path, &e))?;
        serde_json::from_str(&text).map_err(|e| {
            Error::new(Kind::Study, format!("{} is damaged: {e}", path.display()))
                .next("the searches beside it are studies of their own; start a new comparison")
        })
    }

    /// Writes it into the folder, in place of a smaller one.
    pub(super) fn keep(&self, folder: &Path) -> Result<()> {
        let value = serde_json::to_value(self).map_err(|e| Error::new(Kind::Other, e.to_string()))?;
        write_whole(&folder.join(COMPARISON), &value)
    }

    /// The budget of a search.
    pub(super) fn limits(&self) -> Limits {
        let (trials, seconds) = match &self.work {
            Work::Networks(config) => (config.trials, config.seconds),
            Work::Program(program) => (program.trials, program.seconds),
        };
        Limits { trials, time: seconds.map(Duration::from_secs_f64) }
    }

    /// Its configuration, if it trains networks.
    pub(super) fn networks(&self) -> Option<&Config> {
        match &self.work {
            Work::Networks(config) => Some(config),
            Work::Program(_) => None,
        }
    }

    /// The folder of an agent's search number `i`.
    pub(super) fn study(&self, folder: &Path, agent: &str, i: u64) -> StudyFolder {
        StudyFolder::new(&self.path(folder, agent, i))
    }

    fn path(&self, folder: &Path, agent: &str, i: u64) -> PathBuf {
        folder.join(format!("{agent}-{}", self.seed(i).value()))
    }

    /// The seed of searches number `i`: that of every agent.
    pub(super) fn seed(&self, i: u64) -> Seed {
        Seed::new(self.first_seed.wrapping_add(i))
    }

    /// What the study of an agent's search number `i` records.
    pub(super) fn record(&self, agent: &str, i: u64) -> Result<StudyRecord> {
        let work = match self.work.clone() {
            Work::Networks(config) => Work::Networks(Box::new(Config { agent: agent.to_owned(), ..*config })),
            work @ Work::Program(_) => work,
        };
        Ok(StudyRecord {
            space: self.space.clone(),
            objective: self.objective.clone(),
            seed: self.seed(i),
            strategy: agent.to_owned(),
            lag: search::LAG,
            early_stopping: self.early_stopping,
            warm_start: None,
            configuration: serde_json::to_value(&work).map_err(|e| Error::new(Kind::Other, e.to_string()))?,
        })
    }

    /// Refuses agents that are unknown, named twice or too few, a reference that takes no part, and too few seeds.
    pub(super) fn check(&self) -> Result<()> {
        for (i, agent) in self.agents.iter().enumerate() {
            nas_rl::strategy(agent, &self.space, Seed::new(0)).map_err(|e| Error::usage(e.to_string()))?;
            if self.agents[..i].contains(agent) {
                return Err(Error::usage(format!("the agent \"{agent}\" is named twice")));
            }
        }
        let names = self.agents.join(", ");
        if self.agents.len() < 2 {
            let message = format!("a comparison needs two agents, and there is one: {names}");
            return Err(Error::usage(message).next("name them: --agents pqt-surrogate,random"));
        }
        if !self.agents.contains(&self.reference) {
            let message = format!("--reference is \"{}\", which is not compared; agents: {names}", self.reference);
            return Err(Error::usage(message));
        }
        if self.seeds < 2 {
            let message = format!("--seeds is {}; a comparison needs 2, and 6 to be exact", self.seeds);
            return Err(Error::usage(message));
        }
        if self.final_seeds > 0 && self.networks().is_none() {
            return Err(Error::usage("--final-seeds is for networks that nas trains; these are measured by a program"));
        }
        Ok(())
    }

    /// How to go on with it, as it is typed.
    pub(super) fn command(folder: &Path) -> String {
        format!("nas compare {}", output::typed(folder))
    }
}
