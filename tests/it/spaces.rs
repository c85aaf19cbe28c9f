//! Spaces from files: what a mistake is called and where it stands, and a network of one's own from search to prediction.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::images::Stripes;
use crate::nas::nas;

fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = nas(folder).args(arguments).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

/// Checks that `nas space check` refuses the space `text` in one line, which `says` begins, at once.
#[track_caller]
fn check_mistake(text: &str, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("s.toml"), text).unwrap();
    // The machine may be busy: the fastest of some runs is what the work takes.
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let output = nas(folder.path()).args(["space", "check", "s.toml"]).output().unwrap();
        fastest = fastest.min(start.elapsed());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        let message = error.strip_prefix("error: s.toml: ").unwrap_or_else(|| panic!("{error}"));
        assert!(message.starts_with(says), "{error}");
        if fastest < Duration::from_millis(100) {
            return;
        }
    }
    panic!("it takes {fastest:?} to say {says}");
}

/// A space with one decision and whatever follows.
fn with(more: &str) -> String {
    let first = "[[decision]]\nname = \"a\"\nkind = \"choice\"\noptions = [\"x\", \"y\"]\n";
    format!("name = \"s\"\n{first}{more}")
}

fn decision(name: &str, on: &str) -> String {
    let when = format!("when = {{ decision = \"{on}\", is = [\"x\"] }}");
    format!("[[decision]]\nname = \"{name}\"\nkind = \"choice\"\noptions = [\"x\"]\n{when}\n")
}

#[test]
fn mistakes_of_decisions() {
    check_mistake("name = \"s\"\n", "line 1, column 1: the space \"s\" has no decision: it needs a [[decision]]");
    check_mistake(
        &with(&(decision("b", "c") + &decision("c", "b"))),
        "line 10, column 1: \"b\" refers to \"c\", which itself waits",
    );
    check_mistake(
        &with(&(decision("b", "c") + &decision("c", "a"))),
        "line 10, column 1: \"b\" refers to \"c\", which is declared later",
    );
    check_mistake(
        &with(&decision("b", "aa")),
        "line 10, column 1: \"b\" refers to \"aa\", which is no earlier decision; did you mean \"a\"?",
    );
    check_mistake(&with(&decision("a", "a")), "line 7, column 1: the decision \"a\" stands twice");
    check_mistake(
        &with("[[decision]]\nname = \"n\"\nkind = \"integer\"\nlow = 1\nhigh = 1000000\n"),
        "line 7, column 1: the space is too large to hold: the number of options of \"n\" is 1000000, the limit is 10000",
    );
    let inner = "decision = [{ name = \"b\", kind = \"choice\", options = [\"x\", \"y\"] }]\n";
    check_mistake(
        &with(&format!("[[decision]]\nname = \"r\"\nkind = \"repeat\"\nlow = 1\nhigh = 1000000000\n{inner}")),
        "line 7, column 1: the space is too large to hold: the number of decisions of \"r\" is 1000000001",
    );
    check_mistake(&with("optoins = 3\n"), "line 6, column 1: unknown key \"optoins\"; did you mean \"options\"?");
    check_mistake(&with("[[decision]\n"), "line 6, column ");
    let options: Vec<String> = (0..1_000_000).map(|i| format!("\"o{i}\"")).collect();
    let listed = format!("[[decision]]\nname = \"b\"\nkind = \"choice\"\noptions = [{}]\n", options.join(","));
    check_mistake(&with(&listed), "the space is too large to hold: the text, in bytes, is");
    let fewer = format!("[[decision]]\nname = \"b\"\nkind = \"choice\"\noptions = [{}]\n", options[..25_000].join(","));
    check_mistake(
        &with(&fewer),
        "line 7, column 1: the space is too large to hold: the number of options of \"b\" is 25000",
    );
}

#[test]
fn mistakes_of_networks() {
    let network = |block: &str| with(&format!("[[network]]\n{block}\n"));
    check_mistake(&network("block = \"conf\""), "line 7, column 1: there is no block \"conf\"; did you mean \"conv\"?");
    check_mistake(
        &network("block = \"conv\"\nwidht = 8"),
        "line 8, column 1: unknown key \"widht\"; did you mean \"width\"?",
    );
    check_mistake(&network("block = \"conv\"\nwidth = \"$b\""), "line 8, column 1: there is no decision \"b\"");
    check_mistake(
        &network("block = \"conv\"\nwidth = { from = 1, to = 1000000 }"),
        "line 8, column 21: \"width\" cannot be 1000000; it is a whole number from 1 to 4096",
    );
    check_mistake(
        &network("block = \"max_pool\"\nrepeat = { from = 1, to = 1000000000 }"),
        "line 8, column 1: the space is too large to hold: the number of options of \"max_pool\" is 1000000000",
    );
    check_mistake(
        &network("block = \"max_pool\"\nkernel = 30"),
        "line 6, column 1: no network fits images 1×28×28 in 10 classes: \"max_pool\" does not fit: a kernel of 30 is \
         larger than an image of 28×28 pixels",
    );
    check_mistake(
        &network("block = \"flatten\"\n[[network]]\nblock = \"lstm\"\nwidth = 8"),
        "line 8, column 1: no network fits images 1×28×28 in 10 classes: \"lstm\" does not fit: it needs a sequence",
    );
    check_mistake(
        "name = \"s\"\n[[network]]\nblock = \"max_pool\"\n",
        "line 1, column 1: the space \"s\" has no decision: it needs a [[decision]] or, in a [[network]]",
    );
}

/// A network of blocks for small images, with an option that cannot be.
const NETWORK: &str = r#"
name = "mine"
[[network]]
block = "conv"
width = { choose = [8, 4] }
kernel = { choose = [3, 40] }
norm = "batch"
activation = "relu"
[[network]]
name = "down"
block = "max_pool"
repeat = { from = 1, to = 9 }
"#;

#[test]
fn a_network_of_ones_own_from_search_to_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Stripes { train: 60, ..Stripes::default() }.write(at);
    fs::write(at.join("mine.toml"), NETWORK).unwrap();

    let check = stdout(at, &["space", "check", "mine.toml"]);
    for part in ["mine: 8 architectures", "conv.kernel", "options that no architecture has", "40", "5 6 7 8 9", "found"]
    {
        assert!(check.contains(part), "\"{part}\" is not in:\n{check}");
    }
    let search = ["search", "images", "--space", "mine.toml", "--trials", "4", "--epochs", "1", "--final-epochs", "2"];
    let text = stdout(at, &[&search[..], &["--study", "study"]].concat());
    assert!(text.contains("winner (trial "), "{text}");
    // Nothing of a study needs the file again.
    fs::remove_file(at.join("mine.toml")).unwrap();
    let shown = stdout(at, &["show", "study"]);
    assert!(shown.contains("[[network]]") && shown.contains("kind = \"table\""), "{shown}");
    assert!(stdout(at, &["show", "study", "best"]).contains("conv2d batch_norm relu"), "the network by its parts");
    stdout(at, &["resume", "study", "--trials", "6"]);
    let trials = stdout(at, &["trials", "study", "--json"]);
    let failed = |line: &str| serde_json::from_str::<Value>(line).unwrap()["state"]["failed"].is_object();
    assert!(trials.lines().count() >= 6 && !trials.lines().any(failed), "{trials}");
    stdout(at, &["train", "study", "default", "--epochs", "1", "--seeds", "1"]);
    let best: Value = serde_json::from_str(&stdout(at, &["show", "study", "best", "--json"])).unwrap();
    let model = stdout(at, &["evaluate", "study", "images"]);
    assert!(model.contains("accuracy"), "{model}");
    assert!(best["architecture"]["down"].as_i64().unwrap() <= 3, "{best}");
    // The saved model stands alone, too.
    let alone = at.join("alone");
    fs::create_dir(&alone).unwrap();
    for end in ["safetensors", "json"] {
        fs::copy(at.join(format!("study/models/default.{end}")), alone.join(format!("net.{end}"))).unwrap();
    }
    fs::remove_dir_all(at.join("study")).unwrap();
    let predicted = stdout(at, &["predict", "alone/net.safetensors", "images"]);
    assert!(predicted.lines().count() > 10, "{predicted}");
}
