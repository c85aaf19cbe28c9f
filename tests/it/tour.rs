//! A person's way through the commands, on small images.

use std::path::Path;

use serde_json::Value;

use crate::images::Stripes;
use crate::nas::nas;

fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = nas(folder).args(arguments).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

#[track_caller]
fn check_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is not in:\n{text}");
    }
}

#[test]
fn from_search_to_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Stripes { train: 120, ..Stripes::default() }.write(at);

    let search = ["search", "images", "--trials", "12", "--final-epochs", "12"];
    let text = stdout(at, &search);
    check_contains(
        &text,
        &["12 trials", "winner (trial ", "hand-made default", "random trials", "multiply-adds", "Next:"],
    );
    check_contains(&text, &["studies/images/models/winner-"]);

    let study = "studies/images";
    check_contains(&stdout(at, &["studies"]), &[study, "finished", "12", "cnn_cell", "pqt-surrogate"]);
    check_contains(&stdout(at, &["status", study]), &["12 complete", "random", "best", "model"]);
    check_contains(&stdout(at, &["trials", study, "--sort", "reward"]), &["accuracy", "cell.op_0_1="]);
    let csv = stdout(at, &["trials", study, "--csv"]);
    assert_eq!(csv.lines().count(), 13);
    assert!(csv.starts_with("trial,state,reward,seconds,origin,seed,failure,cell.op_0_1,"), "{csv}");
    check_contains(&stdout(at, &["show", study]), &["agent pqt-surrogate", "data_hash", "[[decision]]"]);
    check_contains(&stdout(at, &["show", study, "best"]), &["chosen by", "stem", "head", "parameters", "conv2d"]);
    check_contains(&stdout(at, &["show", study, "0"]), &["chosen by random"]);
    let program = ["show", study, "best", "--program"];
    check_contains(&stdout(at, &program), &["conv2d", "cross_entropy", "Arena", "if nothing shared memory", "GFLOP/s"]);
    let lines = stdout(at, &[&program[..], &["--json"]].concat());
    let table: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let steps = table["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["op"] == "conv2d" && step["seconds"][1].as_f64().unwrap() > 0.0), "{table}");

    let best: Value = serde_json::from_str(&stdout(at, &["show", study, "best", "--json"])).unwrap();
    let model = format!("{study}/models/winner-{}.safetensors", best["number"]);
    let text = stdout(at, &["evaluate", &model, "images"]);
    check_contains(&text, &["accuracy", "30 images"]);
    // The stripes are easy: a network that learned them is far above chance (one third).
    let scored: Value = serde_json::from_str(&stdout(at, &["evaluate", study, "images", "--json"])).unwrap();
    assert!(scored["accuracy"].as_f64().unwrap() > 0.8, "{scored}");
    // Without data, the study's own.
    let own: Value = serde_json::from_str(&stdout(at, &["evaluate", study, "--json"])).unwrap();
    assert_eq!(own["accuracy"], scored["accuracy"]);
    let images = "images/t10k-images-idx3-ubyte";
    let with_labels = stdout(at, &["evaluate", &model, images, "--labels", "images/t10k-labels-idx1-ubyte", "--json"]);
    let with_labels: Value = serde_json::from_str(&with_labels).unwrap();
    assert_eq!(scored["confusion"], with_labels["confusion"]);

    let csv = stdout(at, &["predict", &model, images]);
    assert_eq!(csv.lines().count(), 31);
    assert_eq!(csv.lines().next(), Some("index,class,name,probability"));
    let right =
        csv.lines().skip(1).enumerate().filter(|(i, line)| line.split(',').nth(1) == Some(&(i % 3).to_string()));
    assert_eq!(right.count() as f64 / 30.0, scored["accuracy"].as_f64().unwrap());
    nas(at).args(["predict", &model, images, "-o", "out.csv"]).assert().success();
    assert_eq!(std::fs::read_to_string(at.join("out.csv")).unwrap(), csv);
    nas(at).args(["predict", &model, images, "-o", "out.csv"]).assert().code(74);

    check_contains(
        &stdout(at, &["train", study, "1", "--epochs", "1", "--seeds", "2"]),
        &["±", "models/trial-1.safetensors"],
    );
    nas(at).args(["train", study, "1", "--epochs", "1"]).assert().code(74);
    let train =
        ["train", study, "default", "--epochs", "1", "--seeds", "1", "--threads", "2", "--profile", "-o", "mine"];
    check_contains(&stdout(at, &train), &["mine.safetensors", "conv2d backward", "GB/s", "head.linear forward"]);

    // A second search makes a second folder.
    let again = ["search", "images", "--trials", "2", "--epochs", "1", "--final-epochs", "1", "--final-seeds", "1"];
    check_contains(&stdout(at, &again), &["studies/images-2"]);
}

#[test]
fn json_lines_are_json() {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    let search =
        ["search", "images", "--trials", "3", "--epochs", "1", "--final-epochs", "1", "--final-seeds", "1", "--json"];
    let text = stdout(folder.path(), &search);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["study", "trial", "trial", "trial", "result"]);
    for command in
        [&["studies"][..], &["status", "studies/images"], &["space", "list"], &["space", "check", "cnn_cell"]]
    {
        let text = stdout(folder.path(), &[command, &["--json"]].concat());
        assert!(!text.is_empty() && text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
    }
}

#[test]
fn cells_of_nas_bench_101() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    check_contains(
        &stdout(at, &["space", "check", "nasbench101"]),
        &["architectures", "cell.edge-0-1", "cell.op-5", "conv3x3-bn-relu", "default"],
    );
    Stripes::default().write(at);
    let search =
        ["search", "images", "--space", "nasbench101", "--trials", "3", "--epochs", "1", "--final-epochs", "1"];
    check_contains(&stdout(at, &search), &["winner", "cell.edge-"]);
}

#[test]
fn spaces() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    check_contains(&stdout(at, &["space", "list"]), &["cnn_cell", "nasbench101"]);
    check_contains(
        &stdout(at, &["space", "check", "cnn_cell"]),
        &["architectures", "cell.op_0_1", "parameters", "default"],
    );
    let toml = stdout(at, &["space", "show", "cnn_cell"]);
    std::fs::write(at.join("mine.toml"), toml.replace(", \"avg_pool3x3\"", "")).unwrap();
    let (all, fewer) = (stdout(at, &["space", "count", "cnn_cell"]), stdout(at, &["space", "count", "mine.toml"]));
    assert_ne!(all, fewer);
    let sample = stdout(at, &["space", "sample", "mine.toml", "-n", "20", "--seed", "3"]);
    assert_eq!(sample.lines().count(), 20);
    assert!(!sample.contains("avg_pool"), "{sample}");
    assert_eq!(sample, stdout(at, &["space", "sample", "mine.toml", "-n", "20", "--seed", "3"]));

    Stripes::default().write(at);
    let search = ["search", "images", "--space", "mine.toml", "--trials", "3", "--epochs", "1", "--final-epochs", "1"];
    check_contains(&stdout(at, &search), &["winner"]);
}

#[test]
fn a_configuration_file_and_flags_that_win() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Stripes::default().write(at);
    std::fs::write(
        at.join("nas.toml"),
        "seed = 5\nagent = \"random\"\nepochs = 1\nfinal-epochs = 1\nfinal-seeds = 1\n",
    )
    .unwrap();
    stdout(at, &["search", "images", "--config", "nas.toml", "--trials", "2", "--seed", "6", "--study", "s"]);
    check_contains(&stdout(at, &["show", "s"]), &["agent random, seed 6", "epochs = 1"]);
}

#[test]
fn data_is_described() {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    check_contains(&stdout(folder.path(), &["data", "check", "images"]), &["60", "30", "8"]);
    check_contains(&stdout(folder.path(), &["data", "check"]), &["3000", "1000", "28"]);
}

#[test]
fn completions_name_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        check_contains(&stdout(folder.path(), &["completions", shell]), &["search", "predict"]);
    }
}
