//! The command line: every command, flag and example.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

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
    Search(Search),
    /// Continue a study exactly where it stopped
    Resume(Resume),
    /// List the studies of a folder
    Studies(Studies),
    /// Show where a study stands
    Status(StudyOnly),
    /// List every trial of a study
    Trials(Trials),
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
    /// Print a completion script for your shell
    Completions(Completions),
}

#[derive(Debug, Args, Default)]
#[command(after_help = "Examples:
  nas search                                  60 s on the embedded images
  nas search --trials 40 --seed 7             exactly 40 trials
  nas search my-images/ --time 10m            four IDX files in a folder
  nas search --agent random --trials 40       the control: no learning
  nas search --space my-space.toml --study studies/mine")]
pub(crate) struct Search {
    /// A folder with train-images, train-labels, t10k-images and t10k-labels in IDX form (gzipped or not) [default: the embedded Fashion-MNIST subset]
    pub(crate) data: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: Settings,

    /// How many trials the study shall have
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) trials: Option<u64>,

    /// How long to search: 60s, 10m, 2h [default: 60s, if no --trials is given]
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) time: Option<Duration>,

    /// How many trials to train at once, at most 4 [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) jobs: Option<usize>,

    /// The study's folder; it must not exist [default: a new one in studies/]
    #[arg(long, value_name = "DIR")]
    pub(crate) study: Option<PathBuf>,

    /// Read settings from a TOML file (space, agent, seed, epochs, final-epochs, final-seeds, validation, max-memory); flags win
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Settings that decide a study's trials; each is also a key of the configuration file.
#[derive(Debug, Args, Default)]
pub(crate) struct Settings {
    /// The search space: a name from `nas space list`, or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) space: Option<String>,

    /// Who chooses: reinforce, ppo, pqt, evolution, random, …; an unknown name lists them all
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,

    /// The seed of every random draw [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,

    /// Epochs a trial is trained for in the search
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) epochs: Option<u32>,

    /// Epochs of the final training
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) final_epochs: Option<u32>,

    /// Seeds of the final training
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) final_seeds: Option<u32>,

    /// The share of the training images that scores trials [default: 0.2]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) validation: Option<f64>,

    /// The most memory one training may take: 512M, 2G [default: 1G, or what this machine can spare]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_memory: Option<u64>,
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
  nas show studies/fashion-mnist-mini          the study
  nas show studies/fashion-mnist-mini best     its best trial
  nas show studies/fashion-mnist-mini 12       trial 12")]
pub(crate) struct Show {
    /// The study's folder
    pub(crate) study: PathBuf,

    /// A trial's number, or `best`; without it the study's settings are shown
    pub(crate) trial: Option<String>,
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

    /// Where to save the first seed's network [default: models/trial-N in the study]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// A saved network: its .safetensors or .json file, or a study for its best one
    pub(crate) model: PathBuf,

    /// A folder of IDX files, whose test part is used, or a file of images; if absent, the data of the model's study
    pub(crate) data: Option<PathBuf>,

    /// The labels of DATA, when it is a file of images
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas predict studies/fashion-mnist-mini t10k-images-idx3-ubyte.gz > predictions.csv")]
pub(crate) struct Predict {
    /// A saved network: its .safetensors or .json file, or a study for its best one
    pub(crate) model: PathBuf,

    /// A file of images in IDX form, gzipped or not, or a folder of IDX files, whose test images are used
    pub(crate) images: PathBuf,

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
    /// Check a space: its exact size, its decisions, what its networks cost
    Check(SpaceName),
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
    /// A folder of IDX files [default: the embedded images]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas completions bash > ~/.local/share/bash-completion/completions/nas
  nas completions zsh > ~/.zfunc/_nas")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// A duration: a number of seconds, or a number with s, m, h or d.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let scale = match unit {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(format!("\"{unit}\" is no unit of time; write 90s, 10m, 2h or 1d")),
    };
    let number: f64 = number.parse().map_err(|_| "write 90s, 10m, 2h or 1d".to_owned())?;
    if number <= 0.0 {
        return Err("the time must be above zero".to_owned());
    }
    let time = Duration::try_from_secs_f64(number * scale).map_err(|_| "that time is too long".to_owned())?;
    if time.is_zero() { Err("the time must be above zero".to_owned()) } else { Ok(time) }
}

/// A number of bytes: plain, or with K, M, G, T (powers of 1024).
fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let scale = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 1.0,
        "K" | "k" => 1024.0,
        "M" => 1024.0 * 1024.0,
        "G" => 1024.0 * 1024.0 * 1024.0,
        "T" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("\"{unit}\" is no unit of memory; write 512M or 2G")),
    };
    let number: f64 = number.parse().map_err(|_| "write 512M or 2G".to_owned())?;
    let bytes = number * scale;
    if bytes > u64::MAX as f64 {
        return Err("that is more memory than there is".to_owned());
    }
    if bytes < 1.0 {
        return Err("the memory must be above zero".to_owned());
    }
    Ok(bytes as u64)
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(duration("0s").is_err() && duration("-1s").is_err() && duration("5 parsecs").is_err());
        assert!(duration("1e400h").is_err());
        assert_eq!(bytes("2G"), Ok(2 << 30));
        assert_eq!(bytes("512MiB"), Ok(512 << 20));
        assert!(bytes("0").is_err() && bytes("-3G").is_err() && bytes("2X").is_err());
    }
}
