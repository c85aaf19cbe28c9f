//! What a person sees when something is wrong: exact, short, with the next step, and nothing overwritten.

use std::fs;
use std::path::Path;

use crate::images::{Stripes, header};
use crate::nas::nas;

/// The exit code and stderr of a command in `folder`, which is written as `FOLDER`.
fn says(folder: &Path, arguments: &[&str]) -> String {
    let output = nas(folder).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let here = folder.canonicalize().unwrap();
    let text = text.replace(&*here.to_string_lossy(), "FOLDER").replace(&*folder.to_string_lossy(), "FOLDER");
    format!("exit {}\n{}", output.status.code().unwrap_or(-1), text.trim_end())
}

/// Checks what a short search of the folder `images` says after `change` was made to it.
#[track_caller]
fn check_data(name: &str, change: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let images = Stripes::default().write(folder.path());
    change(&images);
    let text = says(folder.path(), &["search", "images", "--trials", "1", "--quiet"]);
    assert!(text.starts_with("exit 3\n"), "{text}");
    assert!(!folder.path().join("studies").exists(), "a study was made of bad data");
    insta::assert_snapshot!(name, text);
}

const TRAIN: &str = "train-images-idx3-ubyte";
const LABELS: &str = "train-labels-idx1-ubyte";

#[test]
fn a_missing_folder() {
    check_data("missing_folder", |images| fs::remove_dir_all(images).unwrap());
}

#[test]
fn a_missing_file() {
    check_data("missing_file", |images| fs::remove_file(images.join(TRAIN)).unwrap());
}

#[test]
fn an_empty_file() {
    check_data("empty_file", |images| fs::write(images.join(TRAIN), []).unwrap());
}

#[test]
fn a_truncated_file() {
    check_data("truncated_file", |images| {
        let bytes = fs::read(images.join(TRAIN)).unwrap();
        fs::write(images.join(TRAIN), &bytes[..bytes.len() - 10]).unwrap();
    });
}

#[test]
fn a_wrong_magic() {
    check_data("wrong_magic", |images| fs::write(images.join(TRAIN), b"\x89PNG and so on").unwrap());
}

#[test]
fn a_label_too_few() {
    check_data("label_count", |images| fs::write(images.join(LABELS), Stripes::default().labels(59)).unwrap());
}

#[test]
fn a_label_out_of_range() {
    check_data("label_range", |images| {
        let mut labels = Stripes::default().labels(30);
        *labels.last_mut().unwrap() = 7;
        fs::write(images.join("t10k-labels-idx1-ubyte"), labels).unwrap();
    });
}

#[test]
fn test_images_of_another_size() {
    check_data("image_size", |images| {
        let mut bytes = header(&[30, 9, 9]);
        bytes.resize(bytes.len() + 30 * 81, 0);
        fs::write(images.join("t10k-images-idx3-ubyte"), bytes).unwrap();
    });
}

#[test]
fn images_too_small_for_the_space() {
    let folder = tempfile::tempdir().unwrap();
    Stripes { side: 4, ..Stripes::default() }.write(folder.path());
    insta::assert_snapshot!(says(folder.path(), &["search", "images", "--trials", "1"]));
}

/// A folder with a finished study of three trials in it.
fn with_study() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    let search = ["search", "images", "--study", "study", "--trials", "3", "--epochs", "1", "--final-epochs", "1"];
    nas(folder.path()).args(search).args(["--final-seeds", "1", "--quiet"]).assert().success();
    folder
}

#[test]
fn a_study_that_exists() {
    let folder = with_study();
    let before = fs::read(folder.path().join("study/study.db")).unwrap();
    insta::assert_snapshot!(says(folder.path(), &["search", "images", "--study", "study", "--trials", "1"]));
    assert_eq!(before, fs::read(folder.path().join("study/study.db")).unwrap(), "the study was changed");
}

#[test]
fn a_damaged_study() {
    let folder = with_study();
    let database = folder.path().join("study/study.db");
    let bytes = fs::read(&database).unwrap();
    for extra in ["study.db-wal", "study.db-shm"] {
        let _ = fs::remove_file(folder.path().join("study").join(extra));
    }
    let mut all = Vec::new();
    for (name, damaged) in
        [("text", &b"this is no database"[..]), ("empty", b""), ("truncated", &bytes[..bytes.len() / 2])]
    {
        fs::write(&database, damaged).unwrap();
        for command in ["resume", "status"] {
            let text = says(folder.path(), &[command, "study"]);
            assert!(text.starts_with("exit 4\n"), "{name}, {command}: {text}");
            all.push(format!("{name}, {command}: {text}"));
        }
        assert_eq!(fs::read(&database).unwrap(), damaged, "{name}: the damaged file was changed");
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_study_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(says(folder.path(), &["resume", "nowhere"]));
}

#[test]
fn a_locked_study() {
    let folder = with_study();
    let lock = fs::File::open(folder.path().join("study/study.lock")).unwrap();
    lock.lock().unwrap();
    insta::assert_snapshot!(says(folder.path(), &["resume", "study", "--trials", "4"]));
    drop(lock);
}

#[test]
fn a_study_of_other_data() {
    let folder = with_study();
    let mut labels = Stripes::default().labels(60);
    labels.swap(8, 9);
    fs::write(folder.path().join("images").join(LABELS), labels).unwrap();
    let text = says(folder.path(), &["resume", "study", "--trials", "4"]);
    assert!(text.starts_with("exit 3\n") && text.contains("changed since the study began"), "{text}");
}

#[test]
fn trials_and_models_that_are_not_there() {
    let folder = with_study();
    let mut all = Vec::new();
    for arguments in [
        &["show", "study", "99"][..],
        &["show", "study", "worst"],
        &["train", "study", "99"],
        &["evaluate", "none.safetensors"],
        &["predict", "none.safetensors", "images"],
    ] {
        all.push(format!("{}: {}", arguments.join(" "), says(folder.path(), arguments)));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_damaged_model() {
    let folder = with_study();
    let models = folder.path().join("study/models");
    let find = |ending: &str| {
        let mut files = fs::read_dir(&models).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|e| e == ending)).unwrap()
    };
    let (weights, json) = (find("safetensors"), find("json"));
    let (bytes, text) = (fs::read(&weights).unwrap(), fs::read_to_string(&json).unwrap());
    let evaluate = ["evaluate", weights.to_str().unwrap(), "images"];
    fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    let cut = says(folder.path(), &evaluate);
    assert!(cut.starts_with("exit 4\n") && cut.contains("weights"), "{cut}");
    fs::write(&weights, &bytes).unwrap();
    for damaged in
        [text.replace("\"version\": 3", "\"version\": 9"), text.replace("cnn_cell", "cnn_sell"), "{".to_owned()]
    {
        fs::write(&json, damaged).unwrap();
        let says = says(folder.path(), &evaluate);
        assert!(says.starts_with("exit 4\n") && says.contains("is no model"), "{says}");
    }
    fs::write(&json, &text).unwrap();
    nas(folder.path()).args(evaluate).assert().success();
}

#[test]
fn images_of_another_size_for_a_model() {
    let folder = with_study();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    Stripes { side: 9, ..Stripes::default() }.write(&other);
    let text = says(folder.path(), &["evaluate", "study", "other/images"]);
    assert!(text.starts_with("exit 3\n"), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn budgets_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for flags in [
        &["--trials", "0"][..],
        &["--trials", "-1"],
        &["--trials", "many"],
        &["--time", "0s"],
        &["--time", "-5s"],
        &["--time", "5 parsecs"],
        &["--jobs", "0"],
        &["--threads", "0"],
        &["--threads", "5000"],
        &["--epochs", "0"],
        &["--final-epochs", "0"],
        &["--final-seeds", "0"],
        &["--validation", "0"],
        &["--validation", "1"],
        &["--max-memory", "0"],
        &["--max-memory", "-1"],
        &["--max-params", "0"],
        &["--max-params", "-1"],
        &["--max-params", "12Q"],
        &["--max-madds", "many"],
        &["--seed", "-1"],
    ] {
        let arguments: Vec<&str> = std::iter::once("search").chain(flags.iter().copied()).collect();
        let text = says(folder.path(), &arguments);
        assert!(text.starts_with("exit 2\n"), "{flags:?}: {text}");
        let first = text.lines().nth(1).unwrap_or_default();
        all.push(format!("{}: {first}", flags.join(" ")));
    }
    assert!(!folder.path().join("studies").exists(), "a study was made of a wrong command line");
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn names_that_are_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("bad.toml"), "seed = 1\nepoch = 3\n").unwrap();
    fs::write(at.join("op.toml"), space(at).replace("conv1x1", "conv9x9")).unwrap();
    fs::write(at.join("name.toml"), space(at).replace("cnn_cell", "cnn_sell")).unwrap();
    fs::write(at.join("key.toml"), space(at).replacen("options", "optoins", 1)).unwrap();
    let extra = "\n[[decision]]\nname = \"banana\"\nkind = \"integer\"\nlow = 1\nhigh = 3\n";
    fs::write(at.join("decision.toml"), space(at) + extra).unwrap();
    let huge = space(at).replace("low = 8", "low = 800000").replace("high = 20", "high = 800000");
    fs::write(at.join("huge.toml"), huge).unwrap();
    let mut all = Vec::new();
    for arguments in [
        &["serch"][..],
        &["search", "--agent", "reinfroce"],
        &["search", "--space", "cnn_sell"],
        &["search", "--space", "none.toml"],
        &["search", "--space", "op.toml"],
        &["search", "--space", "name.toml"],
        &["search", "--space", "decision.toml"],
        &["space", "check", "huge.toml"],
        &["space", "check", "key.toml"],
        &["search", "--config", "bad.toml"],
    ] {
        let text = says(at, arguments);
        all.push(format!("{}: {text}\n", arguments.join(" ")));
    }
    assert!(!at.join("studies").exists(), "a study was made of a wrong command line");
    insta::assert_snapshot!(all.join("\n"));
}

fn space(folder: &Path) -> String {
    let output = nas(folder).args(["space", "show", "cnn_cell"]).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

#[test]
#[cfg(unix)]
fn a_folder_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    // Not even the administrator can make a folder below a file.
    fs::write(folder.path().join("file"), "").unwrap();
    insta::assert_snapshot!(says(
        folder.path(),
        &["search", "images", "--study", "file/study", "--trials", "1", "--quiet"]
    ));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a full disk needs the right to mount one");
        return;
    }
    let search = ["search", "images", "--study", "disk/study", "--trials", "60", "--epochs", "1", "--quiet"];
    let text = says(folder.path(), &search);
    let _ = Command::new("umount").arg(&disk).status();
    assert!(text.starts_with("exit 74\n") && text.contains("disk/study"), "{text}");
}
