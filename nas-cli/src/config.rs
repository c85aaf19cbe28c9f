//! Settings: defaults, then the configuration file, then flags; stored with the study.

use std::fs::File as Disk;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use nas_core::space::Limits;
use nas_core::{EarlyStopping, SearchSpace};
use nas_nn::costs::NetworkCosts;
use nas_nn::data::{Columns, TrainTest, Wanted};
use nas_nn::family::{self, Blocks, Family, FamilyError, TRAINING_DECISIONS, Task};
use nas_nn::latency::Calibration;
use nas_nn::train::Recipe;
use serde::{Deserialize, Serialize};

use crate::cli::{self, Demo, Settings};
use crate::error::{Error, Kind, Result};

/// Where the examples come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The embedded Fashion-MNIST subset.
    Embedded,
    /// The embedded text.
    EmbeddedText,
    /// The embedded time series.
    EmbeddedSeries,
    /// The embedded table.
    EmbeddedTable,
    /// The generated ratings.
    GeneratedRatings,
    /// A folder of images, a text, time series, or a table whose last column is answered.
    Path(PathBuf),
    /// A table.
    Table {
        /// The file, or the folder of both parts.
        path: PathBuf,
        /// What is answered.
        columns: Columns,
    },
}

impl Source {
    pub(crate) fn of(path: Option<&Path>, demo: Option<Demo>, columns: &cli::Columns) -> Result<Self> {
        let Some(path) = path else {
            return Ok(match demo {
                None | Some(Demo::Images) => Source::Embedded,
                Some(Demo::Text) => Source::EmbeddedText,
                Some(Demo::Series) => Source::EmbeddedSeries,
                Some(Demo::Table) => Source::EmbeddedTable,
                Some(Demo::Ratings) => Source::GeneratedRatings,
            });
        };
        // Stored whole, so that the study can be resumed from anywhere.
        let absolute = std::path::absolute(path).map_err(|e| Error::io("reading", path, &e))?;
        let answer = columns.answer.map(|answer| match answer {
            cli::Answer::Class => Wanted::Class,
            cli::Answer::Number => Wanted::Number,
        });
        let cli::Columns { target, categories, ignore, .. } = columns.clone();
        let columns = Columns { target, answer, categories, ignore };
        if columns == Columns::default() {
            return Ok(Source::Path(absolute));
        }
        Ok(Source::Table { path: absolute, columns })
    }

    /// The data, which must be what the study began with.
    pub(crate) fn open_again(&self, hash: &str) -> Result<TrainTest> {
        let data = self.open()?;
        let found = format!("{:016x}", data.hash);
        if found == hash {
            return Ok(data);
        }
        let message =
            format!("the data in {} changed since the study began (its hash was {hash}, now {found})", data.source);
        Err(Error::new(Kind::Data, message).next("bring the old files back, or start a new study"))
    }

    pub(crate) fn open(&self) -> Result<TrainTest> {
        Ok(match self {
            Source::Embedded => nas_nn::data::demo::fashion_mnist_mini()?,
            Source::EmbeddedText => nas_nn::data::demo::shakespeare_mini()?,
            Source::EmbeddedSeries => nas_nn::data::demo::japanese_vowels()?,
            Source::EmbeddedTable => nas_nn::data::demo::adult_mini()?,
            Source::GeneratedRatings => nas_nn::data::demo::ratings()?,
            Source::Path(path) => nas_nn::data::open(path)?,
            Source::Table { path, columns } => nas_nn::data::open_table(path, columns)?,
        })
    }

    /// A short name for study folders.
    pub(crate) fn name(&self) -> String {
        match self {
            Source::Embedded => "fashion-mnist-mini".to_owned(),
            Source::EmbeddedText => "shakespeare-mini".to_owned(),
            Source::EmbeddedSeries => "japanese-vowels".to_owned(),
            Source::EmbeddedTable => "adult-mini".to_owned(),
            Source::GeneratedRatings => "generated-ratings".to_owned(),
            Source::Path(path) | Source::Table { path, .. } => {
                path.file_stem().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned())
            }
        }
    }
}

/// The configuration file: every key is a flag too.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    space: Option<String>,
    agent: Option<String>,
    warm_start: Option<PathBuf>,
    seed: Option<u64>,
    epochs: Option<u32>,
    early_stopping: Option<String>,
    final_epochs: Option<u32>,
    final_seeds: Option<u32>,
    validation: Option<f64>,
    inherit: Option<bool>,
    max_params: Option<Amount>,
    max_madds: Option<Amount>,
    max_memory: Option<Amount>,
}

/// A limit as it is written: a number, or a text with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or a text such as \"500k\"")]
enum Amount {
    Number(i64),
    Text(String),
}

/// The limit of a figure, if there is one.
fn amount(path: &Path, figure: &str, amount: Option<Amount>) -> Result<Option<u64>> {
    let Some(amount) = amount else { return Ok(None) };
    let text = match amount {
        Amount::Number(number) => number.to_string(),
        Amount::Text(text) => text,
    };
    let wrong = |why| Error::usage(format!("{}: max-{figure} is {text}; {why}", path.display()));
    Limits::amount(figure, &text).map(Some).map_err(wrong)
}

/// Everything that decides the trials of a study beside its space and seed. Stored in the study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) source: Source,
    /// The hash of the data, so that a resumed study is known to see the same.
    pub(crate) data_hash: String,
    pub(crate) task: Task,
    pub(crate) family: String,
    pub(crate) agent: String,
    pub(crate) validation: f64,
    pub(crate) search: Recipe,
    pub(crate) final_recipe: Recipe,
    pub(crate) final_seeds: u32,
    /// The most memory that one training may take: above it a trial fails.
    pub(crate) max_memory: u64,
    /// How many examples train a network, where limits depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) examples: Option<usize>,
    /// Whether trials start from the weights of their relatives.
    #[serde(default)]
    pub(crate) inherit: bool,
    /// What latencies are predicted by, so that a resumed study predicts the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<Calibration>,
    /// The budget it was started with, for `nas resume` without one.
    pub(crate) trials: Option<u64>,
    pub(crate) seconds: Option<f64>,
}

/// What measures the trials of a study whose evaluator is the user's own program. Stored in the study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    /// The program and its arguments.
    pub(crate) evaluator: Vec<String>,
    /// The longest that a trial may take.
    pub(crate) trial_seconds: Option<f64>,
    /// The budget it was started with, for `nas resume` without one.
    pub(crate) trials: Option<u64>,
    pub(crate) seconds: Option<f64>,
}

/// What measures the trials of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Work {
    /// Networks are built and trained here.
    Networks(Box<Config>),
    /// The user's program.
    Program(Program),
}

impl Work {
    /// The application's part of a record.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn of(configuration: &serde_json::Value) -> std::result::Result<Work, serde_json::Error> {
        // Not as an enum, whose error would not say what is wrong.
        if configuration.get("evaluator").is_some() {
            serde_json::from_value(configuration.clone()).map(Work::Program)
        } else {
            serde_json::from_value(configuration.clone()).map(Work::Networks)
        }
    }

    /// The same without its calibration, which is long, and that.
    pub(crate) fn without_calibration(self) -> (Work, Option<Calibration>) {
        match self {
            Work::Networks(mut config) => {
                let calibration = config.calibration.take();
                (Work::Networks(config), calibration)
            }
            program @ Work::Program(_) => (program, None),
        }
    }

    /// The configuration of a study that trains networks.
    ///
    /// # Errors
    /// When its trials are measured by a program, so that there are no networks to train, save or use.
    pub(crate) fn networks(self, study: &Path) -> Result<Config> {
        match self {
            Work::Networks(config) => Ok(*config),
            Work::Program(program) => {
                let command = program.evaluator.join(" ");
                let message =
                    format!("the trials of {} are measured by `{command}`; nas has no networks of it", study.display());
                Err(Error::new(Kind::Study, message).next(format!("nas trials {} --sort reward", study.display())))
            }
        }
    }
}

/// The agent that searches unless another is asked for.
pub(crate) const DEFAULT_AGENT: &str = "pqt-surrogate";

/// Settings with the gaps filled from `file`.
pub(crate) fn merge(flags: Settings, file: Option<&Path>) -> Result<Settings> {
    let Some(path) = file else { return Ok(flags) };
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("reading", path, &e))?;
    let file: File = toml::from_str(&text).map_err(|e| Error::usage(format!("{}: {e}", path.display())))?;
    let limits = cli::Limits {
        max_params: flags.limits.max_params.or(amount(path, NetworkCosts::PARAMS, file.max_params)?),
        max_madds: flags.limits.max_madds.or(amount(path, NetworkCosts::MADDS, file.max_madds)?),
        max_memory: flags.limits.max_memory.or(amount(path, NetworkCosts::MEMORY, file.max_memory)?),
    };
    Ok(Settings {
        space: flags.space.or(file.space),
        agent: flags.agent.or(file.agent),
        warm_start: flags.warm_start.or(file.warm_start),
        seed: flags.seed.or(file.seed),
        epochs: flags.epochs.or(file.epochs),
        early_stopping: flags.early_stopping.or(file.early_stopping),
        final_epochs: flags.final_epochs.or(file.final_epochs),
        final_seeds: flags.final_seeds.or(file.final_seeds),
        validation: flags.validation.or(file.validation),
        inherit: flags.inherit || file.inherit.unwrap_or(false),
        limits,
    })
}

/// The rule of early stopping called `name`; `epochs` are those of a trial, if they are known.
pub(crate) fn early_stopping(name: Option<&str>, epochs: Option<u32>) -> Result<Option<EarlyStopping>> {
    match (name, epochs) {
        (None | Some("none"), _) => Ok(None),
        (Some("hyperband"), Some(max_epochs)) => {
            Ok(Some(EarlyStopping::Hyperband { reduction_factor: 3, min_epochs: 1, max_epochs }))
        }
        (Some(name), _) => name.parse().map(Some).map_err(|e: nas_core::Error| Error::usage(e.to_string())),
    }
}

/// [`space`] for the task that its family is shown for.
pub(crate) fn space_without_data(name: &str) -> Result<(SearchSpace, std::sync::Arc<dyn Family>)> {
    // The family names the task, and the file names the family.
    let path = Path::new(name);
    let family = if is_file(path, name) { family::of(&read_space(path)?.0) } else { family::family(name) };
    let task = family.map_or_else(|_| family::CnnCell.usual_task(), |family| family.usual_task());
    space(name, &task)
}

fn is_file(path: &Path, name: &str) -> bool {
    path.extension().is_some() || name.contains(std::path::MAIN_SEPARATOR) || path.is_file()
}

/// The longest file that is read for a space.
const LONGEST: u64 = 1 << 19;

/// The space in that file, and its text.
pub(crate) fn read_space(path: &Path) -> Result<(SearchSpace, String)> {
    let mut bytes = Vec::new();
    let file = Disk::open(path).map_err(|e| Error::io("reading", path, &e))?;
    file.take(LONGEST).read_to_end(&mut bytes).map_err(|e| Error::io("reading", path, &e))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let space = Blocks::read(&text).map_err(|e| Error::usage(format!("{}: {e}", path.display())))?;
    Ok((space, text))
}

/// The space called `name`, or in the file of that name, for `task`, with the family that builds it.
pub(crate) fn space(name: &str, task: &Task) -> Result<(SearchSpace, std::sync::Arc<dyn Family>)> {
    let path = Path::new(name);
    if !is_file(path, name) {
        let family = family::family(name)
            .map_err(|e| Error::usage(e.to_string()).next("`nas space list`, or give a TOML file"))?;
        let space = family.space(task)?;
        let family = family::of(&space)?;
        return Ok((space, family));
    }
    let (space, text) = read_space(path)?;
    let wrong = |e: FamilyError| Error::usage(format!("{}: {}", path.display(), e.located(&text)));
    if space.network().is_some() {
        let space = family::of(&space).and_then(|family| family.space(task)).map_err(wrong)?;
        let family = family::of(&space).map_err(wrong)?;
        check_builds(&space, &*family, task)?;
        return Ok((space, family));
    }
    let family = family::family(space.name()).map_err(|e| {
        let advice = "a space file without a [[network]] is named after the family that builds it; start from `nas space show cnn_cell`";
        Error::usage(format!("{}: {e}", path.display())).next(advice)
    })?;
    check_fits(&space, &*family, task).map_err(|e| Error::usage(format!("{}: {}", path.display(), e.message())))?;
    Ok((space, family))
}

/// Architectures of a space file that are built before it is used.
const DRAWS: usize = 100;

/// Whether the family knows every decision of the space and builds what it draws.
fn check_fits(space: &SearchSpace, family: &dyn Family, task: &Task) -> Result<()> {
    let own = family.space(task)?;
    let of_family = |decision: &str| own.slots().iter().any(|slot| slot.decision == decision);
    let known = |decision: &str| of_family(decision) || TRAINING_DECISIONS.contains(&decision);
    if let Some(slot) = space.slots().iter().find(|slot| !known(&slot.decision)) {
        let mut decisions: Vec<&str> = own.slots().iter().map(|slot| slot.decision.as_str()).collect();
        decisions.dedup();
        let known = decisions.join(", ");
        let training: Vec<&str> = TRAINING_DECISIONS.into_iter().filter(|name| !of_family(name)).collect();
        return Err(Error::usage(format!(
            "{} has no decision \"{}\"; decisions: {known}; of the training: {}",
            family.name(),
            slot.decision,
            training.join(", ")
        )));
    }
    check_builds(space, family, task)
}

/// Whether the family builds what the space draws.
fn check_builds(space: &SearchSpace, family: &dyn Family, task: &Task) -> Result<()> {
    let mut rng = nas_core::Seed::new(0).stream(nas_core::Purpose::Test, 0);
    for _ in 0..DRAWS {
        let architecture = space.sample(&mut rng);
        family::tuned(&architecture, &family.search_recipe())?;
        nas_nn::evaluator::training_cost(family, &architecture, task, 1)?;
    }
    Ok(())
}
