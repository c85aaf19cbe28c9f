//! A study is the same for any number of threads, and after any death.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::images::Stripes;
use crate::nas::nas;

/// A quick search on small images, with what a test adds.
pub(crate) const SEARCH: [&str; 11] =
    ["search", "images", "--study", "study", "--epochs", "1", "--final-epochs", "1", "--final-seeds", "1", "--quiet"];

/// The trial table without what the clock decides.
fn table(folder: &Path) -> Vec<Value> {
    let output = nas(folder).args(["trials", "study", "--json"]).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let mut trials: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for trial in &mut trials {
        trial.as_object_mut().unwrap().remove("seconds").unwrap();
    }
    trials
}

/// The table of an unbroken search of `trials` trials, `jobs` at a time.
fn unbroken(trials: u32, jobs: u32, agent: &str) -> Vec<Value> {
    shared(trials, jobs, jobs, agent)
}

/// The same with `threads` threads in all.
fn shared(trials: u32, jobs: u32, threads: u32, agent: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    nas(folder.path())
        .args(SEARCH)
        .args(["--agent", agent, "--trials", &trials.to_string(), "--jobs", &jobs.to_string()])
        .args(["--threads", &threads.to_string()])
        .assert()
        .success();
    table(folder.path())
}

#[test]
fn threads_do_not_matter() {
    let one = unbroken(14, 1, "reinforce");
    assert_eq!(one.len(), 14);
    assert!(one.iter().all(|trial| trial["state"] == "complete"), "{one:#?}");
    assert!(one.iter().any(|trial| trial["origin"]["by"] == "policy"), "the policy chose nothing: {one:#?}");
    assert_eq!(one, unbroken(14, 2, "reinforce"));
    assert_eq!(one, unbroken(14, 3, "reinforce"));
    assert_eq!(one, shared(14, 2, 7, "reinforce"), "three threads a trial");
}

#[test]
fn other_seeds_are_other_studies() {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    nas(folder.path()).args(SEARCH).args(["--trials", "4", "--seed", "1"]).assert().success();
    assert_ne!(table(folder.path()), unbroken(4, 1, "pqt-surrogate"));
}

/// Starts a search in the background and ends it by `signal` after `wait`; whether it was still running.
pub(crate) fn ended_by(signal: &str, folder: &Path, arguments: &[&str], wait: Duration) -> bool {
    let command = nas(folder);
    let mut child = std::process::Command::new(command.get_program())
        .args(arguments)
        .current_dir(folder)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(wait);
    let running = child.try_wait().unwrap().is_none();
    if running {
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
    child.wait().unwrap();
    running
}

#[test]
#[cfg(unix)]
fn a_killed_study_resumes_to_the_same_table() {
    let expected = unbroken(24, 2, "pqt-surrogate");
    let trials = ["--trials", "24", "--jobs", "2"];
    let arguments: Vec<&str> = SEARCH.iter().chain(&trials).copied().collect();
    let mut killed = 0;
    for wait in [30, 90, 170, 260, 400] {
        let folder = tempfile::tempdir().unwrap();
        Stripes::default().write(folder.path());
        killed += u32::from(ended_by("-KILL", folder.path(), &arguments, Duration::from_millis(wait)));
        if !folder.path().join("study/study.db").exists() {
            continue;
        }
        // And once more, while it resumes.
        ended_by("-KILL", folder.path(), &["resume", "study", "--quiet"], Duration::from_millis(60));
        let resumed = nas(folder.path()).args(["resume", "study", "--quiet", "--jobs", "3"]).output().unwrap();
        if !resumed.status.success() {
            // Killed before the study was stored: there is nothing yet, and that is said.
            let text = String::from_utf8(resumed.stderr).unwrap();
            assert!(text.contains("study"), "{text}");
            assert_eq!(resumed.status.code(), Some(4), "{text}");
            continue;
        }
        assert_eq!(table(folder.path()), expected, "killed after {wait} ms");
    }
    assert!(killed > 0, "every search was over before it could be killed");
}

#[test]
#[cfg(unix)]
fn an_interrupt_saves_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    Stripes { train: 600, ..Stripes::default() }.write(folder.path());
    let command = nas(folder.path());
    let child = std::process::Command::new(command.get_program())
        .args(["search", "images", "--study", "study", "--trials", "500", "--final-epochs", "1"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("nas resume study"), "{text}");
    let before = table(folder.path());
    assert!(before.iter().any(|trial| trial["state"] == "complete"), "nothing was finished in time");
    let wanted = (before.len() + 2).to_string();
    nas(folder.path()).args(["resume", "study", "--quiet", "--trials", &wanted]).assert().success();
    let after = table(folder.path());
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old["architecture"], new["architecture"]);
        if old["state"] == "complete" {
            assert_eq!(old, new);
        }
    }
    assert_eq!(after.len(), before.len() + 2);
}

#[test]
fn an_extended_study_equals_a_longer_one() {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    nas(folder.path()).args(SEARCH).args(["--trials", "7"]).assert().success();
    let output = nas(folder.path()).args(["resume", "study", "--trials", "13"]).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(text.contains("resumed at trial 7"), "{text}");
    assert_eq!(table(folder.path()), unbroken(13, 2, "pqt-surrogate"));
}

#[test]
fn trials_that_are_stopped_early_are_the_same_after_a_pause() {
    let early = |trials: &[&str], pause: bool| {
        let folder = tempfile::tempdir().unwrap();
        Stripes::default().write(folder.path());
        let settings = ["--agent", "random", "--epochs", "3", "--early-stopping", "asha:2"];
        let base = ["search", "images", "--study", "study", "--final-epochs", "1", "--final-seeds", "1", "--quiet"];
        nas(folder.path()).args(base).args(settings).args(trials).assert().success();
        if pause {
            nas(folder.path()).args(["resume", "study", "--trials", "16", "--jobs", "1"]).assert().success();
        }
        table(folder.path())
    };
    let whole = early(&["--trials", "16", "--jobs", "2"], false);
    let stopped = whole.iter().filter(|trial| trial["metrics"]["stopped_at"].is_number()).count();
    assert!((1..16).contains(&stopped), "{stopped} trials were stopped: {whole:#?}");
    assert_eq!(whole, early(&["--trials", "9", "--jobs", "1"], true));
}

#[test]
fn trials_inherit_the_same_after_a_pause() {
    let inherited = |trials: &[&str], pause: bool| {
        let folder = tempfile::tempdir().unwrap();
        Stripes::default().write(folder.path());
        nas(folder.path()).args(SEARCH).args(["--inherit", "--agent", "random"]).args(trials).assert().success();
        if pause {
            nas(folder.path()).args(["resume", "study", "--trials", "12", "--jobs", "3"]).assert().success();
        }
        table(folder.path())
    };
    let whole = inherited(&["--trials", "12", "--jobs", "2"], false);
    let share = |trial: &Value| trial["metrics"]["inherited"].as_f64().unwrap();
    assert!(whole[..4].iter().all(|trial| share(trial) == 0.0), "nothing was observed before them: {whole:#?}");
    assert!(whole[4..].iter().all(|trial| share(trial) > 0.0), "all heads are alike: {whole:#?}");
    assert_eq!(whole, inherited(&["--trials", "7", "--jobs", "1"], true));
}

#[test]
fn controls_run_too() {
    for agent in ["random", "evolution", "reinforce-critic", "reinforce-lstm"] {
        let trials = unbroken(12, 2, agent);
        assert_eq!(trials.len(), 12, "{agent}");
        assert_eq!(trials, unbroken(12, 1, agent), "{agent}");
    }
}

#[test]
fn a_network_that_does_not_fit_is_never_proposed() {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    // Enough for small networks of the space only.
    nas(folder.path()).args(SEARCH).args(["--trials", "12", "--max-memory", "3M"]).assert().success();
    let trials = table(folder.path());
    assert!(trials.iter().all(|t| t["state"] == "complete"), "{trials:#?}");
}
