//! Limits that steer: no proposal breaks them, whoever proposes, and a resumed study keeps to them.

use std::path::Path;

use serde_json::Value;

use crate::images::Stripes;
use crate::nas::nas;
use crate::study::SEARCH;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    folder
}

/// The trials of the study, with their architecture and what they cost.
fn trials(folder: &Path) -> Vec<Value> {
    let output = nas(folder).args(["trials", "study", "--json"]).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn search(folder: &Path, more: &[&str]) {
    nas(folder).args(SEARCH).args(more).assert().success();
}

/// What a command says to a person, with its exit code.
fn said(folder: &Path, args: &[&str]) -> (i32, String) {
    let output = nas(folder).args(args).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_kind_of_strategy_keeps_to_the_limits() {
    for agent in ["random", "evolution", "local-search", "tpe", "ppo", "pqt-surrogate"] {
        let folder = folder();
        let limits = ["--max-params", "80k", "--max-madds", "0.15M", "--max-memory", "2M"];
        search(folder.path(), &[&["--agent", agent, "--trials", "25"][..], &limits].concat());
        let trials = trials(folder.path());
        assert_eq!(trials.len(), 25, "{agent}");
        for trial in trials {
            let figure = |name: &str| trial["metrics"][name].as_f64().unwrap_or_else(|| panic!("{agent}: {trial}"));
            assert!(figure("parameters") <= 80e3 && figure("madds") <= 0.15e6, "{agent}: {trial}");
            assert!(figure("memory") <= 2.0 * 1024.0 * 1024.0, "{agent}: {trial}");
        }
    }
}

#[test]
fn a_resumed_study_is_the_unbroken_one_for_any_number_of_threads() {
    let table = |broken: bool, jobs: &str| {
        let folder = folder();
        let limited = ["--max-params", "40000", "--jobs", jobs];
        if broken {
            search(folder.path(), &[&["--trials", "6"][..], &limited].concat());
            nas(folder.path()).args(["resume", "study", "--trials", "18", "--quiet"]).assert().success();
            let (code, error) = said(folder.path(), &["policy", "study"]);
            assert_eq!((code, error.as_str()), (0, ""));
        } else {
            search(folder.path(), &[&["--trials", "18"][..], &limited].concat());
        }
        let architectures = trials(folder.path()).into_iter().map(|trial| trial["architecture"].clone());
        architectures.collect::<Vec<_>>()
    };
    let unbroken = table(false, "1");
    assert_eq!(unbroken.len(), 18);
    assert_eq!(unbroken, table(true, "1"));
    assert_eq!(unbroken, table(false, "3"));
}

#[test]
fn nothing_fits() {
    let folder = folder();
    let started = std::time::Instant::now();
    let (code, error) = said(folder.path(), &["search", "images", "--max-params", "1000"]);
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(code, 5, "{error}");
    assert!(
        error.starts_with(
            "error: no architecture of the space \"cnn_cell\" keeps to the limits; the cheapest has params "
        )
    );
    assert!(error.contains("(max-params is 1000): cell.op_0_1=") && error.contains("width=8"), "{error}");
    assert!(error.contains(" next: raise the limits"), "{error}");
    assert!(!folder.path().join("studies").exists(), "a study was made");
    assert!(seconds < 10.0, "{seconds} s on a busy machine, and 0.1 s are expected of an idle one");
    let (code, error) = said(folder.path(), &["search", "images", "--max-memory", "1K"]);
    assert!(code == 5 && error.contains("(max-memory is 1024)"), "{error}");
}

#[test]
fn limits_of_files() {
    let folder = folder();
    let toml = nas(folder.path()).args(["space", "show", "cnn_cell"]).output().unwrap().stdout;
    let toml = String::from_utf8(toml).unwrap();
    let limited = |limits: &str| toml.replacen("\n", &format!("\nlimits = {{ {limits} }}\n"), 1);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("small.toml", &limited("max-params = \"30k\""));
    write("config.toml", "space = \"small.toml\"\nmax-madds = 50_000\n");
    search(folder.path(), &["--config", "config.toml", "--trials", "6", "--agent", "random"]);
    for trial in trials(folder.path()) {
        let figure = |name: &str| trial["metrics"][name].as_f64().unwrap();
        assert!(figure("parameters") <= 30e3 && figure("madds") <= 50e3, "{trial}");
    }
    let status = nas(folder.path()).args(["status", "study"]).output().unwrap().stdout;
    let status = String::from_utf8(status).unwrap();
    assert!(status.contains(" architectures, max-madds 50000, max-params 30000\n"), "{status}");

    let check = nas(folder.path()).args(["space", "check", "small.toml", "--json"]).output().unwrap().stdout;
    let last = String::from_utf8(check).unwrap().lines().last().unwrap().to_owned();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["limits"]["max-params"], 30_000);
    let [low, high] = [0, 1].map(|i| last["share_interval"][i].as_f64().unwrap());
    let share = last["kept"].as_f64().unwrap() / last["drawn"].as_f64().unwrap();
    assert!(0.0 < low && low < share && share < high && high < 1.0, "{last}");
    assert!(last["params"].as_u64().unwrap() <= 30_000, "{last}");

    write("wrong.toml", &limited("max-parms = 5"));
    let (code, error) = said(folder.path(), &["search", "images", "--space", "wrong.toml"]);
    assert!(code == 2 && error.contains("\"max-parms\" limits; did you mean \"params\"?"), "{error}");
    write("zero.toml", &limited("max-params = 0"));
    let (code, error) = said(folder.path(), &["space", "check", "zero.toml"]);
    assert!(code == 2 && error.contains("\"max-params\" is 0; it must be above zero"), "{error}");
    write("config.toml", "max-madds = \"12Q\"\n");
    let (code, error) = said(folder.path(), &["search", "images", "--config", "config.toml"]);
    assert!(code == 2 && error.contains("max-madds is 12Q; \"Q\" is no unit"), "{error}");
    let (code, error) = said(folder.path(), &["search", "--evaluator", "cat", "--space", "small.toml"]);
    assert!(code == 2 && error.contains("max-params 30000: nas does not know what"), "{error}");
}
