//! `cargo xtask ci`: every check of a change, in order, each named and timed.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use xshell::{Cmd, Shell, cmd};

/// Runs all steps and stops at the first that fails. The tests come last, so their own report ends the output.
pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
    let steps = steps(sh);
    let start = Instant::now();
    let count = steps.len();
    for (i, (name, command)) in steps.into_iter().enumerate() {
        println!("\n==> [{}/{count}] {name}: {command}", i + 1);
        let step = Instant::now();
        command.quiet().run().with_context(|| format!("ci stopped at step {} ({name})", i + 1))?;
        println!("    {name}: {}", seconds(step.elapsed()));
    }
    println!("ci: {count} steps passed in {}", seconds(start.elapsed()));
    Ok(())
}

/// The steps: what is quick to fail first, the README's test command last.
fn steps(sh: &Shell) -> Vec<(&'static str, Cmd<'_>)> {
    vec![
        ("format", cmd!(sh, "cargo fmt --all --check")),
        ("tidy", cmd!(sh, "cargo xtask tidy")),
        ("lints", cmd!(sh, "cargo clippy --workspace --all-targets -- -D warnings")),
        ("documentation", cmd!(sh, "cargo doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings")),
        ("nas-core without sqlite", cmd!(sh, "cargo check -p nas-core --no-default-features")),
        ("dependencies", cmd!(sh, "cargo deny check bans licenses sources")),
        ("release build", cmd!(sh, "cargo build --release -p nas-cli")),
        ("readme", cmd!(sh, "cargo xtask readme")),
        // The benchmark of 423,624 cells, counted: half a minute. Draws under limits: minutes.
        ("long tests", cmd!(sh, "cargo test -p nas-core -p nas-nn --lib -- --ignored")),
        ("tests", cmd!(sh, "cargo test --workspace")),
    ]
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
