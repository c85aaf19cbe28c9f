//! How a study ends: what is said, what is left behind, and what is refused before it begins.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::images::Stripes;
use crate::nas::nas;
use crate::study::{SEARCH, ended_by};

/// A folder with images and, when `trials` are asked for, a finished study of them.
fn folder(trials: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Stripes::default().write(folder.path());
    if let Some(trials) = trials {
        nas(folder.path()).args(SEARCH).args(["--trials", trials]).assert().success();
    }
    folder
}

/// What a command prints, standard output or the error's.
fn said(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = nas(folder).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// The state of the study, as scripts read it.
fn state(folder: &Path) -> String {
    let (status, _) = said(folder, &["status", "study", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    status["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_finished_study_says_so_and_leaves_no_files_of_the_database() {
    let folder = folder(Some("4"));
    assert_eq!(state(folder.path()), "finished");
    said(folder.path(), &["trials", "study"]);
    let (text, _) = said(folder.path(), &["status", "study"]);
    assert!(text.contains("(finished)") && text.ends_with("Next: nas show study best\n"), "{text}");
    let names = fs::read_dir(folder.path().join("study")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["models", "results-4.json", "study.db", "study.lock", "study.log"]);
    let results: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("study/results-4.json")).unwrap()).unwrap();
    assert!(results["rows"][0]["test_scores"][0].is_number(), "{results}");
    // More trials are another end.
    nas(folder.path()).args(["resume", "study", "--trials", "6", "--quiet"]).assert().success();
    assert_eq!(state(folder.path()), "finished");
    assert!(folder.path().join("study/results-6.json").is_file());
}

#[test]
#[cfg(unix)]
fn an_interrupted_study_says_so() {
    let folder = folder(None);
    let arguments: Vec<&str> = SEARCH.iter().chain(&["--trials", "100000"]).copied().collect();
    assert!(ended_by("-INT", folder.path(), &arguments, Duration::from_millis(1500)), "it ended by itself");
    assert_eq!(state(folder.path()), "interrupted");
    let (text, _) = said(folder.path(), &["status", "study"]);
    assert!(text.ends_with("Next: nas resume study\n"), "{text}");
}

#[test]
fn a_folder_that_is_no_study_is_called_that() {
    let folder = folder(None);
    let (_, text) = said(folder.path(), &["search", "images", "--study", "images", "--trials", "1"]);
    let expected = "error: images is a folder that holds no study; a study begins in a folder of its own\n next: choose a path \
                    that is free with --study\n";
    assert_eq!(text, expected);
    fs::write(folder.path().join("file"), "").unwrap();
    let (_, text) = said(folder.path(), &["search", "images", "--study", "file", "--trials", "1"]);
    assert!(text.starts_with("error: file is a file; "), "{text}");
}

#[test]
fn paths_in_hints_can_be_typed() {
    let folder = folder(None);
    let mut search = SEARCH;
    search[3] = "my study";
    nas(folder.path()).args(search).args(["--trials", "2"]).assert().success();
    let (_, text) = said(folder.path(), &["search", "images", "--study", "my study", "--trials", "1"]);
    assert!(text.contains("`nas resume 'my study'`"), "{text}");
    let (text, _) = said(folder.path(), &["status", "my study"]);
    assert!(text.ends_with("Next: nas show 'my study' best\n"), "{text}");
}

#[test]
fn a_search_that_lacks_memory_names_the_flag() {
    let folder = folder(None);
    let (_, text) = said(folder.path(), &[&SEARCH[..], &["--trials", "3", "--max-memory", "1000"]].concat());
    let (_, least) = text.split_once("keeps to the limits; the cheapest has memory ").unwrap();
    let needed: u64 = least.split(' ').next().unwrap().parse().unwrap();
    assert!(needed > 10_000 && least.contains("(max-memory is 1000)"), "{text}");
}

#[test]
fn a_check_of_data_says_what_a_search_would() {
    let folder = tempfile::tempdir().unwrap();
    Stripes { side: 4, ..Stripes::default() }.write(folder.path());
    let (text, _) = said(folder.path(), &["data", "check", "images"]);
    assert!(text.contains("nas search refuses it: cnn_cell halves images"), "{text}");
    let (text, _) = said(self::folder(None).path(), &["data", "check", "images"]);
    assert!(!text.contains("refuses"), "{text}");
}

#[test]
fn a_space_of_endless_networks_is_refused_at_once() {
    let folder = folder(None);
    let (space, _) = said(folder.path(), &["space", "show", "cnn_cell"]);
    let (before, depth) = space.split_once("\"depth\"").unwrap();
    let text = format!("{before}\"depth\"{}", depth.replacen("high = 2", "high = 400", 1));
    assert_ne!(text, space);
    fs::write(folder.path().join("deep.toml"), text).unwrap();
    let start = Instant::now();
    let (_, text) = said(folder.path(), &["space", "check", "deep.toml"]);
    assert!(text.contains("cnn_cell stacks up to 32 cells in a stage"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
