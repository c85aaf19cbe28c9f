//! `nas compare`: tables of searches that are ordinary studies, after any death, and what it refuses.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::images::Stripes;
use crate::nas::nas;
#[cfg(unix)]
use crate::study::ended_by;

/// A quick comparison on small images, in the folder `both`.
const IMAGES: [&str; 14] = [
    "compare",
    "images",
    "--study",
    "both",
    "--agents",
    "reinforce,random",
    "--seeds",
    "2",
    "--trials",
    "5",
    "--epochs",
    "1",
    "--final-epochs",
    "1",
];

fn images() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    folder
}

/// The lines of a command's JSON.
#[track_caller]
fn lines(folder: &Path, args: &[&str]) -> Vec<Value> {
    let output = nas(folder).args(args).arg("--json").assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last line of a comparison: all its figures, without those of the clock.
#[track_caller]
fn report(folder: &Path, args: &[&str]) -> Value {
    let mut report = lines(folder, args).pop().unwrap();
    assert_eq!(report["event"], "comparison");
    for row in report["rows"].as_array_mut().unwrap() {
        assert!(row.as_object_mut().unwrap().remove("seconds").unwrap().as_f64() > Some(0.0));
    }
    report
}

/// The best rewards after `at` trials of a search, by its own record.
fn best(folder: &Path, study: &str, at: usize) -> f64 {
    let trials = lines(folder, &["trials", study]);
    trials[..at].iter().filter_map(|trial| trial["reward"].as_f64()).fold(f64::MIN, f64::max)
}

#[track_caller]
fn refused(folder: &Path, args: &[&str], code: i32) -> String {
    let output = nas(folder).args([&["compare"], args].concat()).assert().code(code);
    String::from_utf8(output.get_output().stderr.clone()).unwrap()
}

#[test]
fn the_table_is_that_of_the_studies() {
    let folder = images();
    let path = folder.path();
    let found = report(path, &IMAGES);
    for (a, agent) in ["reinforce", "random"].into_iter().enumerate() {
        let row = &found["rows"][a];
        assert_eq!(
            (row["agent"].as_str(), row["trials"].as_f64(), row["test"].is_null()),
            (Some(agent), Some(5.0), true)
        );
        for (m, at) in [2, 3, 4, 5].into_iter().enumerate() {
            let scores = &row["scores"][m];
            assert_eq!(scores["at"], at);
            let own: Vec<f64> = (0..2).map(|seed| best(path, &format!("both/{agent}-{seed}"), at)).collect();
            assert_eq!(scores["values"], serde_json::json!(own));
            assert!((scores["mean"].as_f64().unwrap() - (own[0] + own[1]) / 2.0).abs() < 1e-12);
        }
    }
    let value = |row: usize, seed: usize| found["rows"][row]["scores"][3]["values"][seed].as_f64().unwrap();
    let difference = (value(0, 0) - value(1, 0) + value(0, 1) - value(1, 1)) / 2.0;
    let verdict = &found["verdicts"][0];
    assert!((verdict["difference"].as_f64().unwrap() - difference).abs() < 1e-12, "{verdict}");
    assert_eq!((verdict["agent"].as_str(), verdict["reference"].as_str()), (Some("reinforce"), Some("random")));

    // Each search is a study like any other, and done.
    let studies = lines(path, &["studies", "both"]);
    assert_eq!(studies.len(), 4);
    assert!(studies.iter().all(|study| study["state"] == "finished"), "{studies:?}");
    assert_eq!(lines(path, &["studies", "."]), [serde_json::json!({"comparison": "./both"})]);
    let output = nas(path).args(["resume", "both"]).assert().code(4);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(error.contains("it is a comparison: `nas compare both` continues it"), "{error}");
    // The table again, without any work; and not changed by a search that went on.
    assert_eq!(report(path, &["compare", "both"]), found);
    nas(path).args(["resume", "both/random-0", "--trials", "8", "--quiet"]).assert().success();
    assert_eq!(report(path, &["compare", "both"]), found);
}

#[test]
fn more_seeds_and_agents_equal_a_larger_comparison() {
    let folder = images();
    report(folder.path(), &IMAGES);
    let more = ["compare", "both", "--seeds", "3", "--agents", "evolution", "--final-seeds", "1", "--jobs", "1"];
    let grown = report(folder.path(), &more);

    let whole = images();
    let mut args = IMAGES.to_vec();
    args[5] = "reinforce,random,evolution";
    args[7] = "3";
    assert_eq!(report(whole.path(), &[&args[..], &["--final-seeds", "1"]].concat()), grown);
    let tests = grown["rows"][2]["test"]["values"].as_array().unwrap();
    assert!(tests.len() == 3 && tests.iter().all(|score| (0.0..=1.0).contains(&score.as_f64().unwrap())), "{tests:?}");
    assert_eq!(grown["test_verdicts"].as_array().unwrap().len(), 2);
    assert_eq!(grown["verdicts"][1]["level"].as_f64().unwrap(), 0.975);
    // The winners are kept.
    nas(folder.path()).args(["evaluate", "both/evolution-2"]).assert().success();
}

#[test]
fn people_read_a_table_a_sentence_and_what_is_next() {
    let folder = images();
    let output = nas(folder.path()).args(IMAGES).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let expected = [
        "searches  4: seeds 0 to 1, 5 trials each, 1 epochs a trial",
        "Best accuracy on the validation part after that many trials: mean of 2 searches ± half of its 95 % interval",
        "(best accuracy after 5 trials; 2 pairs, p of t ",
        "\nNext:\n",
        "nas compare both --final-seeds 1\n",
        "nas studies both\n",
    ];
    for part in expected {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(text.matches(", trained ").count(), 4, "a line for each search\n{text}");
    let output = nas(folder.path()).args(["compare", "both", "--csv", "--at", "3,5"]).assert().success();
    let csv = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + 4, "{csv}");
    assert!(rows[1][..3] == ["reinforce", "3", "2"] && rows[1][5..].iter().all(|field| field.is_empty()), "{csv}");
    assert!(rows[2][..2] == ["reinforce", "5"] && rows[2][5] == "random" && !rows[2][9].is_empty(), "{csv}");
}

#[test]
#[cfg(unix)]
fn a_comparison_that_dies_goes_on() {
    let whole = images();
    let mut args = IMAGES.to_vec();
    args[9] = "12";
    let expected = report(whole.path(), &args);
    let mut broken = 0;
    for (signal, wait) in [("-KILL", 300), ("-INT", 900), ("-KILL", 1500)] {
        let folder = images();
        broken += u32::from(ended_by(signal, folder.path(), &args, Duration::from_millis(wait)));
        if !folder.path().join("both/comparison.json").exists() {
            continue;
        }
        ended_by("-KILL", folder.path(), &["compare", "both"], Duration::from_millis(400));
        assert_eq!(report(folder.path(), &["compare", "both"]), expected, "{signal} after {wait} ms");
    }
    assert!(broken > 0, "every comparison was over before it could be ended");
}

#[test]
#[cfg(unix)]
fn an_interrupt_says_how_to_go_on() {
    let folder = images();
    let mut args = IMAGES.to_vec();
    args[9] = "5000";
    let command = nas(folder.path());
    let child = std::process::Command::new(command.get_program())
        .args(args)
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("of 4 searches are done, and every trial is saved"), "{text}");
    assert!(text.contains("next: continue with `nas compare both`"), "{text}");
}

#[test]
#[cfg(unix)]
fn a_program_may_measure_and_less_may_be_better() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let space = "name = \"line\"\n[[decision]]\nname = \"x\"\nkind = \"integer\"\nlow = 1\nhigh = 40\n";
    fs::write(path.join("space.toml"), space).unwrap();
    let program =
        "while read -r line; do x=${line#*x\\\":}; echo \"{\\\"metrics\\\": {\\\"loss\\\": ${x%%[,\\}]*}}}\"; done";
    fs::write(path.join("loss.sh"), program).unwrap();
    let args = ["compare", "--evaluator", "sh loss.sh", "--space", "space.toml", "--metric", "loss", "--minimize"];
    let rest = ["--trials", "25", "--seeds", "6", "--agents", "random,evolution", "--study", "lines"];
    let found = report(path, &[&args[..], &rest[..]].concat());
    let verdict = &found["verdicts"][0];
    let mean = |row: usize| found["rows"][row]["scores"][3]["mean"].as_f64().unwrap();
    assert!((verdict["difference"].as_f64().unwrap() - (mean(0) - mean(1))).abs() < 1e-12, "less is better: {found}");
    assert_eq!(verdict["pairs"], 6);
    let error = refused(path, &["lines", "--final-seeds", "1"], 2);
    assert!(error.contains("--final-seeds is for networks that nas trains"), "{error}");
    // With a time alone, as long as there is something to try.
    let rest = ["--time", "20s", "--seeds", "2", "--agents", "random,evolution", "--study", "timed"];
    let timed = report(path, &[&args[..], &rest[..]].concat());
    assert_eq!(timed["rows"][0]["trials"], 40.0);
    assert_eq!(timed["verdicts"][0]["difference"], 0.0);
}

#[test]
fn what_is_refused() {
    let folder = images();
    let path = folder.path();
    let check = |args: &[&str], code, message: &str| {
        let error = refused(path, args, code);
        assert!(error.contains(message), "{error}");
    };
    check(&["images", "--agents", "alphazero,random"], 2, "there is no agent \"alphazero\"; agents: reinforce, ");
    check(&["images", "--agents", "random,random"], 2, "the agent \"random\" is named twice");
    check(&["images", "--agents", "random"], 2, "a comparison needs two agents, and there is one: random");
    check(&["images", "--seeds", "1"], 2, "--seeds is 1; a comparison needs 2");
    check(&["images", "--trials", "0"], 2, "--trials is 0");
    check(
        &["images", "--reference", "tpe"],
        2,
        "--reference is \"tpe\", which is not compared; agents: pqt-surrogate, random",
    );
    check(&["images", "--at", "31"], 2, "--at 31 is not within a search; a search has 30 trials");
    check(&["images", "--agents", "tpe,random", "--agent", "pqt"], 2, "leave --agent out");
    check(&["elsewhere"], 3, "elsewhere");
    assert!(!path.join("studies").exists(), "nothing was begun");

    nas(path).args(IMAGES).assert().success();
    check(&["images", "--study", "both"], 4, "continue it with `nas compare both`");
    check(&["both", "--trials", "9"], 2, "both is a comparison, and --trials was decided when it began");
    check(&["both", "--seeds", "1"], 2, "--seeds is 1 and the comparison has 2 already");
    fs::write(path.join("both/comparison.json"), "{\"agents\": []").unwrap();
    check(&["both"], 4, "comparison.json is damaged: ");
}
