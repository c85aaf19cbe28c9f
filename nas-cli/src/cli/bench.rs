//! The arguments of `nas bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::value::{limit, metric};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  nas bench                                    the agents on NAS-Bench-201, 200 queries, 500 seeds
  nas bench --agents pqt,evolution --budget 300q --svg curves.svg
  nas bench --budget 20000s,40000s,120000s --agents evolution-p10-s3,random
                                               a published setting: 12-epoch rewards, simulated clock
  nas bench --workers 1,10,100,1000 --agents evolution
                                               what more workers gain, in lockstep and without
  nas bench --warm-from cifar10 --budget 20q  what a search on CIFAR-10 is worth to the next ones
  nas bench --planted 20x5,40x5:conditional --budget 4000q --agents ppo-queue,evolution,local-search
                                               long searches in large spaces whose best is known
  nas bench import mine.csv --decisions depth,op --metrics accuracy:max,ms:min
  nas bench --table mine.nastable")]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,

    #[command(flatten)]
    pub(crate) compare: Compare,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Make a table of published files or of any CSV
    Import(Import),
    /// Describe a table: source, tasks, metrics
    Info(Info),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Compare {
    /// A table made by `nas bench import` [default: the built-in NAS-Bench-201]
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,

    /// Instead of a table, random landscapes whose best is known, another for every seed, separated by commas: decisions x
    /// options, the weight of the pairs [default: 0.5], and whether some decisions depend on others: 20x5, 40x5:0.3,
    /// 20x5:0.5:conditional
    #[arg(long, value_name = "LANDSCAPES", value_delimiter = ',', conflicts_with_all = ["table", "datasets", "signal", "shuffled", "warm_from"])]
    pub(crate) planted: Vec<nas_core::benchmark::Planted>,

    /// Who searches, separated by commas [default: those worth comparing]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) agents: Vec<String>,

    /// The tasks of the table, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) datasets: Vec<String>,

    /// How many searches of each kind; search i of every agent has the same seed [default: 500, with
    /// --workers 20, with --planted 100]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,

    /// The seed of the first search
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// How long a search goes on: 100q (evaluations) or 20000s (of the table's clock, rewarded with its cheaper signal); one
    /// for all tasks or one for each [default: 200q, with --planted 1000q]
    #[arg(long, value_name = "N[q|s]", value_delimiter = ',', value_parser = limit)]
    pub(crate) budget: Vec<nas_core::benchmark::Limit>,

    /// When the regret is told, in evaluations or seconds [default: four times evenly]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) at: Vec<f64>,

    /// Reward with the table's cheaper signal also when evaluations are counted
    #[arg(long)]
    pub(crate) signal: bool,

    /// The agent that the others are tested against
    #[arg(long, value_name = "NAME", default_value = "evolution")]
    pub(crate) reference: String,

    /// How near to the best counts as there, in the objective's unit [default: 0.1, with --planted 0.01]
    #[arg(long, value_name = "DISTANCE")]
    pub(crate) target: Option<f64>,

    /// Deal the figures to the architectures at random first: a control, on which nothing can beat random search
    #[arg(long)]
    pub(crate) shuffled: bool,

    /// Simulate searches with so many workers, separated by commas: of a table, tell when they reach the target; of planted
    /// landscapes, compare agents that hear of every trial so late
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) workers: Vec<usize>,

    /// Warm-start every search from one on these tasks, or `all`: cold, warm and the source's best again, side by side; by
    /// default with 100 seeds and 50q
    #[arg(long, value_name = "TASKS", value_delimiter = ',', conflicts_with_all = ["workers", "svg"])]
    pub(crate) warm_from: Vec<String>,

    /// How many trials the search has that others are warm-started from
    #[arg(long, value_name = "N", default_value_t = 200, requires = "warm_from")]
    pub(crate) warm_trials: usize,

    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,

    /// Draw the mean regret over the search into a new SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// How many searches to run at once [default: the number of cores]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas bench import nb201.csv.gz hwnasbench_nb201_c10.csv.gz -o nb201.nastable
  nas bench import nasbench_only108.tfrecord
  nas bench import mine.csv --decisions depth,op --metrics accuracy:max,ms:min,seed")]
pub(crate) struct Import {
    /// A published file, with further ones that add metrics to it; or one CSV, with --decisions and --metrics
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// The columns that are decisions, separated by commas
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "metrics")]
    pub(crate) decisions: Vec<String>,

    /// The columns that are metrics, with :max or :min where more or less is better; the first such one is the objective
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', value_parser = metric, requires = "decisions")]
    pub(crate) metrics: Vec<(String, Option<nas_core::Direction>)>,

    /// The table's name [default: that of the file]
    #[arg(long, value_name = "NAME", requires = "decisions")]
    pub(crate) name: Option<String>,

    /// Where to write the table [default: the table's name, in the current folder]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// A table made by `nas bench import` [default: the built-in NAS-Bench-201]
    pub(crate) table: Option<PathBuf>,
}
