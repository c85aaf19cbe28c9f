//! The command line: every command, flag and example.

mod bench;
mod comparison;
mod goals;
mod limits;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use bench::{Bench, BenchCommand, Compare, Import, Info};
pub(crate) use comparison::Comparison;
pub(crate) use goals::{Calibrate, Goals, Pareto};
pub(crate) use limits::{Limits, SpaceCheck};
use value::duration;

/// Reinforcement-learning neural architecture search: finds a small, accurate network for your data and keeps it.
///
/// Without a command it runs a short search on embedded images.
#[derive(Debug, Parser)]
#[command(name = "nas", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  nas search                          search for 60 s on the embedded images
  nas search path/to/idx --time 10m   search on your own images
  nas show studies/fashion-mnist-mini best
  nas predict studies/fashion-mnist-mini images.idx")]
pub(crate) struct Cli {
    /// Print JSON lines instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print results only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Commands in the order a person meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Search for a network, train the best one to the full and score it on untouched data
    Search(Box<Search>),
    /// Continue a study exactly where it stopped
    Resume(Resume),
    /// List the studies of a folder
    Studies(Studies),
    /// Show where a study stands
    Status(StudyOnly),
    /// List every trial of a study
    Trials(Trials),
    /// Show the trials that no other beats in every goal, and the hypervolume they dominate
    Pareto(Pareto),
    /// Show what the policy has learned: its probabilities over time, and whether it helps
    Policy(Policy),
    /// Show one trial: its decisions, its network, its figures
    Show(Show),
    /// Train one trial's architecture to the full and score it on the test images
    Train(Train),
    /// Score a saved network on labelled images
    Evaluate(Evaluate),
    /// Classify images with a saved network; CSV on stdout
    Predict(Predict),
    /// List, show, check, sample and count search spaces
    #[command(subcommand)]
    Space(Space),
    /// Look at data before using it
    #[command(subcommand)]
    Data(Data),
    /// Measure this machine once, so that the latency of networks is predicted from then on
    Calibrate(Calibrate),
    /// Compare agents on your own data: equal searches, several seeds, a plain verdict
    Compare(Box<Comparison>),
    /// Compare agents on published tables, without training
    Bench(Box<Bench>),
    /// Print a completion script for your shell
    Completions(Completions),
}

/// Data inside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Demo {
    /// A part of Fashion-MNIST
    Images,
    /// A part of Shakespeare's plays
    Text,
    /// Japanese Vowels: who of nine speaks
    Series,
    /// A part of Adult: who earns more than 50,000 dollars
    Table,
    /// Generated ratings of items by users
    Ratings,
}

/// How the target of a table is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Answer {
    /// As one of some classes
    Class,
    /// As a number
    Number,
}

/// Which column of a table is answered, and how; what its columns are.
#[derive(Debug, Clone, Args, Default)]
pub(crate) struct Columns {
    /// The column of a table that is answered [default: the last one]
    #[arg(long, value_name = "NAME", requires = "data")]
    pub(crate) target: Option<String>,

    /// What the target of a table is [default: a class if it is text or has at most 20 whole numbers, else a number]
    #[arg(long, value_enum, value_name = "KIND", requires = "data")]
    pub(crate) answer: Option<Answer>,

    /// Columns of a table that hold categories though they look like numbers, separated by commas [default: those of whole numbers whose names end in a word `id`: userId, movie_id]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "data")]
    pub(crate) categories: Vec<String>,

    /// Columns of a table that networks do not see, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "data")]
    pub(crate) ignore: Vec<String>,
}

#[derive(Debug, Args, Default)]
#[command(after_help = "Examples:
  nas search                                  60 s on the embedded images
  nas search --trials 40 --seed 7             exactly 40 trials
  nas search my-images/ --time 10m            four IDX files in a folder
  nas search --demo text --space rnn          a language model of characters; a text of your own: book.txt
  nas search houses.csv --target price        a column of a table from the others
  nas search ratings.csv --target rating --ignore timestamp
                                              what users will think of items they do not know
  nas search --agent random --trials 40       the control: no learning
  nas search --target-params 20k              accuracy weighed against size; then `nas pareto STUDY`
  nas search --target-latency 200us           against latency here; after `nas calibrate`
  nas search --epochs 9 --early-stopping asha a third of the trials goes on after epochs 1 and 3
  nas search --max-params 40k --max-madds 1M  small networks only: nothing else is proposed
  nas search --space my-space.toml --study studies/mine
  nas search --evaluator \"python3 train.py\" --space space.toml --trials 50")]
pub(crate) struct Search {
    /// A folder with train-images, train-labels, t10k-images and t10k-labels in IDX form (gzipped or not), a text (.txt), time series (.ts, or a folder with one ending in _TRAIN.ts and one in _TEST.ts), a table (.csv or .tsv with a header; gzipped or not), or a folder with train.csv and test.csv [default: the embedded Fashion-MNIST subset]
    pub(crate) data: Option<PathBuf>,

    /// Search on embedded data
    #[arg(long, value_enum, conflicts_with = "data")]
    pub(crate) demo: Option<Demo>,

    #[command(flatten)]
    pub(crate) columns: Columns,

    #[command(flatten)]
    pub(crate) settings: Settings,

    #[command(flatten)]
    pub(crate) goals: Goals,

    /// How many trials the study shall have
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) trials: Option<u64>,

    /// How long to search: 60s, 10m, 2h [default: 60s, if no --trials is given]
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) time: Option<Duration>,

    /// How many trials to train at once, at most 4 [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) jobs: Option<usize>,

    /// How many threads to use in all; trials that are fewer share them, with the same results [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) threads: Option<usize>,

    /// The study's folder; it must not exist [default: a new one in studies/]
    #[arg(long, value_name = "DIR")]
    pub(crate) study: Option<PathBuf>,

    /// Read settings from a TOML file (space, agent, warm-start, seed, epochs, final-epochs, final-seeds, validation, max-params, max-madds, max-memory); flags win
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) program: Program,
}

/// A program of the user's that measures architectures.
#[derive(Debug, Args, Default)]
pub(crate) struct Program {
    /// Measure architectures with a program of yours: JSON lines on its standard input and output; see docs/evaluator.md
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["data", "demo", "target", "answer", "categories", "ignore", "epochs", "final_epochs", "final_seeds", "validation", "max_params", "max_madds", "max_memory", "threads", "inherit"])]
    pub(crate) evaluator: Option<String>,

    /// The program's metric to search for [default: accuracy]
    #[arg(long, value_name = "NAME", requires = "evaluator")]
    pub(crate) metric: Option<String>,

    /// Less of the metric is better
    #[arg(long, requires = "evaluator")]
    pub(crate) minimize: bool,

    /// The longest that the program may take for a trial: 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true, requires = "evaluator")]
    pub(crate) trial_time: Option<Duration>,
}

/// Settings that decide a study's trials; each is also a key of the configuration file.
#[derive(Debug, Args, Default)]
pub(crate) struct Settings {
    /// The search space: a name from `nas space list`, or a TOML file, which may describe a network of your own (docs/spaces.md)
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) space: Option<String>,

    /// Who chooses: reinforce, ppo, pqt, pqt-surrogate, evolution, tpe, random, …; an unknown name lists them all
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,

    /// Begin with what another study of the same space found, on whatever data; for agents that learn
    #[arg(long, value_name = "STUDY")]
    pub(crate) warm_start: Option<PathBuf>,

    /// The seed of every random draw [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,

    /// Epochs a trial is trained for in the search
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) epochs: Option<u32>,

    /// Stop trials early that are not worth all their epochs: asha, asha:FACTOR, hyperband, hyperband:FACTOR:EPOCHS, median, median:EPOCH, none [default: none]
    #[arg(long, value_name = "RULE")]
    pub(crate) early_stopping: Option<String>,

    /// Epochs of the final training
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) final_epochs: Option<u32>,

    /// Seeds of the final training
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) final_seeds: Option<u32>,

    /// Start each trial from the weights it shares with its nearest relative of the study: better after few epochs, but unequal; networks trained in the end never inherit
    #[arg(long)]
    pub(crate) inherit: bool,

    /// The share of the training images that scores trials [default: 0.2]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) validation: Option<f64>,

    #[command(flatten)]
    pub(crate) limits: Limits,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas resume studies/fashion-mnist-mini              up to its trials, or its time once more
  nas resume studies/fashion-mnist-mini --time 5m    five minutes more
  nas resume studies/fashion-mnist-mini --trials 200 up to 200 trials in all")]
pub(crate) struct Resume {
    /// The study's folder
    pub(crate) study: PathBuf,

    /// How many trials the study shall have in all
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) trials: Option<u64>,

    /// How much longer to search: 60s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) time: Option<Duration>,

    /// How many trials to train at once, at most 4 [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) jobs: Option<usize>,

    /// How many threads to use in all; trials that are fewer share them, with the same results [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Studies {
    /// The folder that holds the studies
    #[arg(default_value = "studies")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct StudyOnly {
    /// The study's folder
    pub(crate) study: PathBuf,
}

/// What trials are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sort {
    /// As they were proposed
    Number,
    /// The best first
    Reward,
    /// The smallest first
    Parameters,
    /// The cheapest first
    Madds,
    /// The fastest first, by the latency predicted here
    Latency,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas trials studies/fashion-mnist-mini --sort reward
  nas trials studies/fashion-mnist-mini --csv > trials.csv")]
pub(crate) struct Trials {
    /// The study's folder
    pub(crate) study: PathBuf,

    /// What to sort by
    #[arg(long, value_enum, default_value = "number")]
    pub(crate) sort: Sort,

    /// Print CSV with a column for every decision and metric
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas policy studies/fashion-mnist-mini          all decisions
  nas policy studies/fashion-mnist-mini cell     those whose name has `cell` in it")]
pub(crate) struct Policy {
    /// The study's folder
    pub(crate) study: PathBuf,

    /// Show only decisions with this in their name
    pub(crate) decision: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas show studies/fashion-mnist-mini          the study
  nas show studies/fashion-mnist-mini best     its best trial
  nas show studies/fashion-mnist-mini 12       trial 12
  nas show studies/fashion-mnist-mini best --program   how it is trained, step by step")]
pub(crate) struct Show {
    /// The study's folder
    pub(crate) study: PathBuf,

    /// A trial's number, or `best`; without it the study's settings are shown
    pub(crate) trial: Option<String>,

    /// Show the compiled training program: every step, what was fused, memory, expected time
    #[arg(long, requires = "trial")]
    pub(crate) program: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas train studies/fashion-mnist-mini best
  nas train studies/fashion-mnist-mini 12 --epochs 60 --seeds 5 -o my-model")]
pub(crate) struct Train {
    /// The study's folder
    pub(crate) study: PathBuf,

    /// A trial's number, `best`, or `default` for the hand-made network
    pub(crate) trial: String,

    /// Epochs [default: the study's final epochs]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) epochs: Option<u32>,

    /// How many times to train, each from another seed
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) seeds: u32,

    /// How many threads to use in all [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) threads: Option<usize>,

    /// Time every operation of the first seed's training: milliseconds a step, GFLOP/s, GB/s
    #[arg(long)]
    pub(crate) profile: bool,

    /// Where to save the first seed's network [default: models/trial-N in the study]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// A saved network: its .safetensors or .json file, or a study for its best one
    pub(crate) model: PathBuf,

    /// A folder of IDX files or a text, whose test part is used; a table or series, all of which are used; or a file of images; if absent, the
    /// test part of the model's study
    pub(crate) data: Option<PathBuf>,

    /// The labels of DATA, when it is a file of images
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas predict studies/fashion-mnist-mini t10k-images-idx3-ubyte.gz > predictions.csv
  nas predict studies/shakespeare-mini prompt.txt --length 500
  nas predict studies/houses new-houses.csv -o prices.csv")]
pub(crate) struct Predict {
    /// A saved network: its .safetensors or .json file, or a study for its best one
    pub(crate) model: PathBuf,

    /// A file of images in IDX form, gzipped or not, or a folder of IDX files, whose test images are used; for a network of text, a
    /// file whose text is continued; for a network of series, a .ts file; for a network of a table, a table with the same columns, with or without the target
    pub(crate) data: PathBuf,

    /// How many characters continue a text
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) length: usize,

    /// How freely a text is continued: 0 always takes the likeliest character, 1 draws as the network says
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    pub(crate) temperature: f32,

    /// The seed by which a text is continued
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Where to write the CSV [default: stdout]
    #[arg(long, short, value_name = "FILE", conflicts_with = "json")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Space {
    /// List the built-in spaces
    List,
    /// Print a space as TOML: edit it and give the file to `nas search --space`
    Show(SpaceName),
    /// Check a space: its exact size, its decisions, options that nothing has, what its networks cost, how much of it keeps to limits
    Check(SpaceCheck),
    /// Draw architectures evenly from a space
    Sample(Sample),
    /// Print how many architectures a space holds
    Count(SpaceName),
}

#[derive(Debug, Args)]
pub(crate) struct SpaceName {
    /// A name from `nas space list`, or a TOML file
    pub(crate) space: String,
}

#[derive(Debug, Args)]
pub(crate) struct Sample {
    /// A name from `nas space list`, or a TOML file
    pub(crate) space: String,

    /// How many
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub(crate) number: usize,

    /// The seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// Read a data set whole, describe it and name its problems
    Check(DataPath),
}

#[derive(Debug, Args)]
pub(crate) struct DataPath {
    /// A folder of IDX files, a text (.txt), time series (.ts), or a table (.csv or .tsv) [default: the embedded images]
    pub(crate) data: Option<PathBuf>,

    /// Look at embedded data
    #[arg(long, value_enum, conflicts_with = "data")]
    pub(crate) demo: Option<Demo>,

    #[command(flatten)]
    pub(crate) columns: Columns,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas completions bash > ~/.local/share/bash-completion/completions/nas
  nas completions zsh > ~/.zfunc/_nas")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
