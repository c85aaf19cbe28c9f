//! The arguments of `nas compare`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::value::duration;
use super::{Columns, Demo, Program, Settings};

#[derive(Debug, Args, Default)]
#[command(after_help = "Examples:
  nas compare                                   the default agent and random search, 6 searches of 30 trials each
  nas compare my-images/ --agents pqt-surrogate,evolution,random --seeds 10
  nas compare studies/compare-my-images         continue it, or show its table again
  nas compare studies/compare-my-images --seeds 20 --final-seeds 3
                                                more seeds, and the winners trained to the full and tested
  nas compare --evaluator \"python3 train.py\" --space space.toml --trials 50

Each search is a study of its own in the comparison's folder. Search i of every agent has the same seed, so the same
split of the data, and is compared in pairs. --final-seeds is 0 unless it is given: no final training.")]
pub(crate) struct Comparison {
    /// A folder of IDX files, a text (.txt), time series (.ts) or a table (.csv) [default: the embedded images]; or the folder of a comparison, which is then continued
    pub(crate) data: Option<PathBuf>,

    /// Compare on embedded data
    #[arg(long, value_enum, conflicts_with = "data")]
    pub(crate) demo: Option<Demo>,

    #[command(flatten)]
    pub(crate) columns: Columns,

    /// Who is compared, separated by commas [default: the agent of --agent, and random]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) agents: Vec<String>,

    /// How many searches of each agent, at least 2; below 6 the exact test can find nothing [default: 6]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) seeds: Option<u64>,

    /// Whom the others are compared with [default: random if it takes part, else the first agent]
    #[arg(long, value_name = "NAME")]
    pub(crate) reference: Option<String>,

    /// How many trials a search has [default: 30, if no --time is given]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) trials: Option<u64>,

    /// How long a search goes on: 60s, 10m, 2h; best on a machine that does nothing else
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) time: Option<Duration>,

    /// After how many trials the best score is told, separated by commas [default: four times evenly]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) at: Vec<u64>,

    #[command(flatten)]
    pub(crate) settings: Settings,

    /// How many trials to train at once, at most 4 [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) jobs: Option<usize>,

    /// How many threads to use in all; trials that are fewer share them, with the same results [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) threads: Option<usize>,

    /// The comparison's folder; it must not exist [default: a new one in studies/]
    #[arg(long, value_name = "DIR")]
    pub(crate) study: Option<PathBuf>,

    /// Read settings from a TOML file, as `nas search` does; flags win
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) program: Program,

    /// Print the table as CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}
