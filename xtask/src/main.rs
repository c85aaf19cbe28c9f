//! The repository's own tasks: `cargo xtask ci`, `tidy`, `readme`, `bench` and `main-job`.

mod agents;
mod bench;
mod ci;
mod instructions;
mod main_job;
mod peers;
mod readme;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xshell::Shell;

/// Tasks of this repository.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that must pass before a change is merged, in order; stops at the first failure.
    Ci,
    /// The rules that no compiler checks: layers, files, words, links.
    Tidy,
    /// Runs the commands of the README and of docs/spaces.md in a copy of the tracked files, as a new user would in a fresh clone.
    Readme,
    /// Runs the benchmarks, stores what they measured and compares with an earlier run, or with PyTorch.
    Bench(bench::Args),
    /// Runs the 60-second search and checks what it must reach: trials, accuracy, no worse than the hand-made network.
    MainJob,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let sh = Shell::new()?;
    let root = workspace::root(&sh)?;
    sh.change_dir(&root);
    match &args.task {
        Task::Ci => ci::run(&sh),
        Task::Tidy => tidy::run(&sh, &root),
        Task::Readme => readme::run(&sh, &root),
        Task::Bench(args) => bench::run(&sh, &root, args),
        Task::MainJob => main_job::run(&sh),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_of_the_comparison_need_it() {
        let parses = |line: &str| Args::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("xtask bench") && parses("xtask bench gemm --quick"));
        assert!(parses("xtask bench --peers --rounds 2 --only W2,W3 --threads 1"));
        assert!(parses("xtask bench --instructions --check") && parses("xtask bench --peers --check --seed 3"));
        assert!(parses("xtask bench --peers --rust") && !parses("xtask bench --peers --rust --check"));
        assert!(parses("xtask bench --agents") && !parses("xtask bench --agents --check"));
        let alone = ["--rounds 2", "--only W2", "--check", "--peers --seed 3", "--instructions --check --seed 3"];
        for line in alone.into_iter().chain(["--peers --quick", "--peers --instructions", "--peers gemm"]) {
            assert!(!parses(&format!("xtask bench {line}")), "{line}");
        }
    }
}
