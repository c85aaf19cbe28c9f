//! Several goals at once: a calibrated machine, rewards that weigh costs, Pareto fronts.

use std::path::Path;

use serde_json::Value;

use crate::images::Stripes;
use crate::nas::nas;

/// A quick search on small images, without its study and budget.
const SEARCH: [&str; 10] =
    ["search", "images", "--epochs", "1", "--final-epochs", "1", "--final-seeds", "1", "--agent", "random"];

fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = nas(folder).args(arguments).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

fn json(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = stdout(folder, &[arguments, &["--json"]].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn check_refused(folder: &Path, arguments: &[&str], code: i32, parts: &[&str]) {
    let output = nas(folder).args(arguments).assert().code(code);
    let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is not in:\n{text}");
    }
}

#[test]
fn a_calibrated_machine_predicts_latencies() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Stripes::default().write(at);
    let target = [&SEARCH[..], &["--trials", "5", "--target-latency", "50us", "--study", "s"]].concat();
    check_refused(at, &target, 2, &["--target-latency", "nas calibrate"]);
    assert!(!at.join("s").exists());

    let text = stdout(at, &["calibrate"]);
    for part in ["processor", "kernels", "cnn_cell", "transformer", "90 % within", "calibration.json"] {
        assert!(text.contains(part), "\"{part}\" is not in:\n{text}");
    }
    check_refused(at, &["calibrate"], 74, &["exists already", "--replace"]);
    check_refused(at, &["calibrate", "--batch", "0", "--out", "other.json"], 2, &["--batch is 0"]);

    let text = stdout(at, &target);
    for part in ["reward   accuracy by tunas towards latency_ms 0.05", "latency", "predicted", " µs"] {
        assert!(text.contains(part), "\"{part}\" is not in:\n{text}");
    }
    let trials = json(at, &["trials", "s"]);
    for trial in &trials {
        let metrics = &trial["metrics"];
        let latency = metrics["latency_ms"].as_f64().unwrap();
        let expected = metrics["accuracy"].as_f64().unwrap() - 0.1 * (latency / 0.05 - 1.0).abs();
        assert!(latency > 0.0 && (trial["reward"].as_f64().unwrap() - expected).abs() < 1e-9, "{trial}");
    }
    assert!(stdout(at, &["trials", "s", "--sort", "latency"]).contains("latency"));
    assert!(stdout(at, &["show", "s", "best"]).contains("predicted on one thread"));
    assert!(stdout(at, &["show", "s"]).contains("# latencies by the calibration"));
    assert!(stdout(at, &["space", "check", "rnn"]).contains("predicted latency"));
    let front = json(at, &["pareto", "s"]);
    assert_eq!(front[0]["goals"][2]["metric"], "latency_ms");

    // A study predicts by the calibration that it began with, wherever it is resumed.
    std::fs::remove_file(at.join("calibration.json")).unwrap();
    stdout(at, &["resume", "s", "--trials", "7"]);
    let resumed = json(at, &["trials", "s"]);
    assert_eq!(resumed[..5], trials[..]);
    assert!(resumed.len() == 7 && resumed[6]["metrics"]["latency_ms"].as_f64().unwrap() > 0.0);

    // Damaged files are said to be, and are not needed.
    std::fs::write(at.join("calibration.json"), "{\"version\": 1}").unwrap();
    check_refused(at, &["space", "check", "rnn"], 4, &["no calibration", "nas calibrate --replace"]);
    nas(at).args(["space", "check", "rnn"]).env("NAS_CALIBRATION", "none").assert().success();
}

#[test]
fn rewards_that_weigh_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Stripes::default().write(at);
    let targets = ["--trials", "6", "--target-params", "20k", "--target-madds", "1M", "--reward", "mnasnet:-0.5"];
    let early =
        ["search", "images", "--epochs", "3", "--early-stopping", "asha", "--final-epochs", "1", "--study", "s"];
    let text = stdout(at, &[&early[..], &targets].concat());
    assert!(text.contains("reward   accuracy by mnasnet:-0.5 towards parameters 20000, madds 1000000"), "{text}");
    assert!(!text.contains("predicted"), "there is no calibration: {text}");
    for trial in json(at, &["trials", "s"]) {
        let metric = |name: &str| trial["metrics"][name].as_f64().unwrap();
        let expected = metric("accuracy") * (metric("parameters") / 20e3 * metric("madds") / 1e6).powf(-0.5);
        assert!((trial["reward"].as_f64().unwrap() - expected).abs() < 1e-9, "{trial}");
    }
    assert!(stdout(at, &["show", "s"]).contains("# reward by mnasnet:-0.5"));

    let study = ["--study", "none", "--trials", "2"];
    let bad = |extra: &[&'static str]| [&SEARCH[..], &study, extra].concat();
    check_refused(at, &bad(&["--reward", "tunas"]), 2, &["nothing to weigh", "--target-params"]);
    check_refused(
        at,
        &bad(&["--target-params", "20k", "--reward", "tuna"]),
        2,
        &["no reward \"tuna\"", "mnasnet-hard"],
    );
    check_refused(at, &bad(&["--target-params", "20k", "--reward", "tunas:1"]), 2, &["must be below 0"]);
    check_refused(at, &bad(&["--target-params", "-3"]), 2, &["above zero"]);
    check_refused(at, &bad(&["--target-latency", "2"]), 2, &["500us"]);
    assert!(!at.join("none").exists());
}

#[test]
fn fronts() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Stripes::default().write(at);
    stdout(at, &[&SEARCH[..], &["--trials", "10", "--study", "s"]].concat());
    let trials = json(at, &["trials", "s"]);
    let point = |trial: &Value| {
        let metric = |name: &str| trial["metrics"][name].as_f64().unwrap();
        (metric("accuracy"), metric("parameters"))
    };
    let beaten = |trial: &Value| {
        let (accuracy, parameters) = point(trial);
        trials.iter().map(point).any(|(a, p)| a >= accuracy && p <= parameters && (a > accuracy || p < parameters))
    };
    let mut expected: Vec<u64> = trials.iter().filter(|t| !beaten(t)).map(|t| t["number"].as_u64().unwrap()).collect();

    let front = &json(at, &["pareto", "s"])[0];
    let mut found: Vec<u64> =
        front["front"].as_array().unwrap().iter().map(|t| t["number"].as_u64().unwrap()).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    let worst = trials.iter().map(point).fold((1.0, 0.0), |w, (a, p)| (f64::min(w.0, a), f64::max(w.1, p)));
    assert_eq!(front["reference"], serde_json::json!([worst.0, worst.1]));
    assert!((0.0..=1.0).contains(&front["share"].as_f64().unwrap()), "{front}");

    let text = stdout(at, &["pareto", "s", "--goals", "accuracy,madds,memory"]);
    assert!(text.contains("more accuracy, less madds, less memory") && text.contains("Hypervolume"), "{text}");
    let csv = stdout(at, &["pareto", "s", "--csv"]);
    assert!(csv.starts_with("trial,accuracy,parameters,architecture\n"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + found.len());
    // From a reference that all are better than, more is dominated; from one that none is better than, nothing.
    let volume =
        |reference: &str| json(at, &["pareto", "s", "--reference", reference])[0]["hypervolume"].as_f64().unwrap();
    assert!(volume("-1,1e9") > front["hypervolume"].as_f64().unwrap() && volume("2,0") == 0.0);

    check_refused(
        at,
        &["pareto", "s", "--goals", "accuracy,weight"],
        2,
        &["\"weight\"", "metrics: accuracy, loss, madds"],
    );
    check_refused(at, &["pareto", "s", "--goals", "accuracy,latency_ms"], 2, &["nas calibrate"]);
    check_refused(at, &["pareto", "s", "--goals", "accuracy"], 2, &["two goals"]);
    check_refused(at, &["pareto", "s", "--goals", "loss,loss"], 2, &["named twice"]);
    check_refused(at, &["pareto", "s", "--reference", "1"], 2, &["needs a number for each of 2 goals"]);
    check_refused(at, &["pareto", "nowhere"], 4, &["nowhere"]);
}
