//! `nas search --evaluator`: any program measures.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::nas::nas;

const SPACE: &str = r#"
name = "box"

[[decision]]
name = "height"
kind = "integer"
low = 1
high = 6

[[decision]]
name = "width"
kind = "integer"
low = 1
high = 6
"#;

/// Answers with the area of the box; a box of height 6 is a mistake, and one of width 6 kills it.
const PROGRAM: &str = r#"
while read -r line; do
    height=${line#*height\":}; height=${height%%[,\}]*}
    width=${line#*width\":}; width=${width%%[,\}]*}
    [ "$width" = 6 ] && { echo "too wide" >&2; exit 9; }
    if [ "$height" = 6 ]; then echo '{"error": "too high"}'
    else echo "{\"metrics\": {\"area\": $((height * width))}}"; fi
done
"#;

fn set_up() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("space.toml"), SPACE).unwrap();
    fs::write(folder.path().join("area.sh"), PROGRAM).unwrap();
    folder
}

fn search(folder: &Path) -> assert_cmd::Command {
    let mut command = nas(folder);
    command.args([
        "search",
        "--evaluator",
        "sh area.sh",
        "--space",
        "space.toml",
        "--metric",
        "area",
        "--study",
        "study",
    ]);
    command
}

/// What a command that succeeds writes to standard output.
fn told(mut command: assert_cmd::Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

fn run(folder: &Path, args: &[&str]) -> String {
    let mut command = nas(folder);
    command.args(args);
    told(command)
}

/// What a command that fails writes to standard error.
fn blamed(folder: &Path, args: &[&str]) -> String {
    String::from_utf8(nas(folder).args(args).assert().failure().get_output().stderr.clone()).unwrap()
}

#[test]
fn a_program_is_searched_resumed_and_shown() {
    let folder = set_up();
    let path = folder.path();
    search(path).args(["--trials", "20"]).assert().success();
    let text = run(path, &["resume", "study", "--trials", "36"]);
    assert!(
        text.contains("resumed at trial 20") && text.contains("The best trials by area (more is better)"),
        "{text}"
    );

    let trials = run(path, &["trials", "study", "--json"]);
    let trials: Vec<Value> = trials.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(trials.len(), 36, "all there are");
    let complete = |t: &&Value| t["state"] == "complete";
    assert_eq!(trials.iter().filter(complete).count(), 25);
    let failed: Vec<&str> = trials.iter().filter_map(|t| t["failure"]["message"].as_str()).collect();
    assert_eq!(failed.iter().filter(|why| **why == "too high").count(), 5);
    assert_eq!(failed.iter().filter(|why| why.contains("too wide")).count(), 6);

    let best = run(path, &["show", "study", "best"]);
    assert!(best.contains("height = 5") && best.contains("width = 5"), "{best}");
    assert!(run(path, &["status", "study"]).contains("by sh area.sh"));
    assert!(blamed(path, &["train", "study", "best"]).contains("nas has no networks of it"));
}

#[test]
fn predictions_are_shown_beside_what_came() {
    let folder = set_up();
    let path = folder.path();
    search(path).args(["--trials", "30", "--agent", "reinforce-critic"]).assert().success();
    let text = run(path, &["policy", "study"]);
    assert!(text.contains("The value function expected") && text.contains("obtained"), "{text}");
    assert!(!text.contains("calibration_"), "{text}");
    let line: Value = serde_json::from_str(&run(path, &["policy", "study", "--json"])).unwrap();
    let bins = line["calibration"]["bins"].as_array().unwrap();
    assert_eq!((bins.len(), &line["calibration"]["states"]), (5, &60.into()), "two decisions a trial");
}

#[test]
fn the_policy_is_shown() {
    let folder = set_up();
    let path = folder.path();
    search(path).args(["--trials", "30"]).assert().success();
    let text = run(path, &["policy", "study"]);
    assert!(text.contains("height") && text.contains("probability over time"), "{text}");
    assert!(text.contains("of an even one"), "{text}");
    assert!(!run(path, &["policy", "study", "width"]).contains("height"));
    let line: Value = serde_json::from_str(&run(path, &["policy", "study", "--json"])).unwrap();
    let moments = line["decisions"][0]["probabilities"].as_array().unwrap();
    assert_eq!((&moments[0]["observed"], &moments.last().unwrap()["observed"]), (&0.into(), &30.into()));
    assert!(moments[0]["p"].as_array().unwrap().iter().all(|p| (p.as_f64().unwrap() - 1.0 / 6.0).abs() < 1e-9));
    assert!(blamed(path, &["policy", "study", "depth"]).contains("no decision has \"depth\""));

    nas(path)
        .args(["search", "--evaluator", "sh area.sh", "--space", "space.toml", "--metric", "area"])
        .args(["--study", "even", "--trials", "5", "--agent", "random"])
        .assert()
        .success();
    assert!(blamed(path, &["policy", "even"]).contains("has no policy"));
}

#[test]
fn less_may_be_better() {
    let folder = set_up();
    let mut command = search(folder.path());
    command.args(["--minimize", "--trials", "36", "--json"]);
    let text = told(command);
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(result["trial"]["metrics"]["area"], 1.0);
}

#[test]
fn mistakes_are_named() {
    let folder = set_up();
    let path = folder.path();
    let mistake = |args: &[&str], expected: &str| {
        let said = blamed(path, &[&["search"], args].concat());
        assert!(said.contains(expected), "{said}");
    };
    mistake(&["--evaluator", "sh area.sh"], "--evaluator needs --space");
    mistake(&["--evaluator", "sh 'area.sh", "--space", "space.toml"], "cannot be split into words");
    mistake(&["--evaluator", "", "--space", "space.toml"], "no program is named");
    mistake(&["--evaluator", "sh area.sh", "--space", "space.toml", "--epochs", "3"], "cannot be used with");
    mistake(&["--minimize"], "--evaluator");
    mistake(
        &["--evaluator", "/no/such/program", "--space", "space.toml", "--trials", "3", "--study", "s2"],
        "\"/no/such/program\" cannot be started",
    );
    assert!(!path.join("s2").exists(), "no study whose every trial fails");
    mistake(
        &["--evaluator", "sh area.sh", "--space", "space.toml", "--trials", "12", "--study", "s3"],
        "no metric \"accuracy\" was measured; measured: area",
    );
}

#[test]
fn a_study_begins_with_another_and_outlives_it() {
    let folder = set_up();
    let path = folder.path();
    search(path).args(["--trials", "20"]).assert().success();
    let begun = |study: &str, more: &[&str]| {
        let program = ["search", "--evaluator", "sh area.sh", "--space", "space.toml", "--metric", "area"];
        let rest = ["--warm-start", "study", "--study", study, "--trials", "6"];
        run(path, &[&program[..], &rest, more].concat())
    };
    let said = begun("warm", &[]);
    assert!(said.contains("start    20 trials of study, the best 25.0000 there"), "{said}");
    begun("again", &[]);
    // Everything that it needs is its own.
    fs::rename(path.join("study"), path.join("gone")).unwrap();
    run(path, &["resume", "warm", "--trials", "9"]);
    fs::rename(path.join("gone"), path.join("study")).unwrap();
    run(path, &["resume", "again", "--trials", "9"]);
    let rows = |study| {
        let csv = run(path, &["trials", study, "--csv"]);
        csv.lines().map(|line| line.replace("seconds", "")).collect::<Vec<_>>()
    };
    let decided = |row: &String| row.split(',').take(3).map(str::to_owned).collect::<Vec<_>>();
    let [warm, again] = ["warm", "again"].map(|study| rows(study).iter().map(decided).collect::<Vec<_>>());
    assert_eq!((warm.len(), &warm), (10, &again));
    // The best box was known, and is among the first that are tried.
    let best = run(path, &["show", "warm", "best"]);
    assert!(best.contains("height = 5") && best.contains("width = 5"), "{best}");
    assert!(run(path, &["show", "warm"]).contains("# start    20 trials of study"));
    assert!(run(path, &["policy", "warm"]).contains("height"));
}

#[test]
fn what_no_study_can_begin_with_is_refused() {
    let folder = set_up();
    let path = folder.path();
    search(path).args(["--trials", "12"]).assert().success();
    let refused = |space: &str, rest: &[&str]| {
        let program = ["search", "--evaluator", "sh area.sh", "--space", space, "--metric", "area", "--trials", "4"];
        let error = blamed(path, &[&program[..], rest, &["--study", "new"]].concat());
        assert!(!path.join("new").exists());
        error
    };
    let error = refused("space.toml", &["--warm-start", "study", "--agent", "evolution"]);
    assert!(error.contains("\"evolution\" cannot be warm-started; agents that can: reinforce, "), "{error}");
    assert!(refused("space.toml", &["--warm-start", "nowhere"]).contains("there is no study at nowhere"));
    fs::write(path.join("wide.toml"), SPACE.replacen("high = 6", "high = 7", 1)).unwrap();
    let error = refused("wide.toml", &["--warm-start", "study"]);
    assert!(error.contains("its space is another, \"height\" chooses among 1, 2, 3, 4, 5, 6, 7 and there"), "{error}");
    assert!(error.contains("nas show study"), "{error}");
}
