//! `cargo xtask main-job`: the README's 60-second search on this machine, held against what it promises.

use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

/// Architectures that two cores must train in 60 s.
const TRIALS: usize = 40;
/// Epochs of each, at least.
const EPOCHS: u64 = 3;
/// The winner's mean test accuracy.
const ACCURACY: f64 = 0.885;

/// Runs the search, prints what it reached, and fails when a promise is broken.
pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
    let folder = sh.create_temp_dir()?;
    let study = folder.path().join("study");
    let start = Instant::now();
    let text = cmd!(sh, "cargo run --release -p nas-cli -- search --json --study {study}").read()?;
    let seconds = start.elapsed().as_secs_f64();
    let events = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let of = |kind: &str| events.iter().filter(move |event| event["event"] == kind).collect::<Vec<_>>();
    let complete = of("trial").into_iter().filter(|event| event["trial"]["state"] == "complete").count();
    let epochs = of("study").first().and_then(|study| study["config"]["search"]["epochs"].as_u64());
    let epochs = epochs.context("the first event names the epochs of a trial")?;
    let rows = of("result").first().map(|result| result["rows"].clone()).context("a search ends with its result")?;
    let mean = |i: usize| -> anyhow::Result<f64> {
        let runs = rows[i]["test_scores"].as_array().context("every row has its test_scores")?;
        Ok(runs.iter().filter_map(Value::as_f64).sum::<f64>() / runs.len() as f64)
    };
    let [winner, default, random] = [mean(0)?, mean(1)?, mean(2)?];
    println!("{complete} trials of {epochs} epochs; {seconds:.0} s in all");
    println!("test accuracy: winner {winner:.4}, hand-made default {default:.4}, random {random:.4}");
    ensure!(complete >= TRIALS, "{complete} trials were trained in 60 s; two cores must train {TRIALS}");
    ensure!(epochs >= EPOCHS, "a trial has {epochs} epochs; it must have {EPOCHS}");
    if winner < ACCURACY || winner < default {
        bail!("the winner has {winner:.4}; it must have {ACCURACY} and no less than the default's {default:.4}");
    }
    Ok(())
}
