//! Tables, from a file to answers for new rows.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::nas::nas;

/// What `nas` with `args` prints on a success.
fn printed(folder: &Path, args: &str) -> String {
    let output = nas(folder).args(args.split(' ')).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

/// What `nas` with `args` says of a mistake, and its exit code.
fn refused(folder: &Path, args: &str) -> (i32, String) {
    let output = nas(folder).args(args.split(' ')).assert().failure();
    let output = output.get_output();
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// 120 rows whose price follows from the others: 100 · area in Oslo, half of it elsewhere.
fn houses() -> String {
    let mut csv = "area;town;price\n".to_owned();
    for i in 0..120 {
        let (area, town) = (20 + i * 37 % 101, ["Oslo", "Bergen"][i % 2]);
        let price = if town == "Oslo" { 100 * area } else { 50 * area };
        writeln!(csv, "{area};{town};{price}").unwrap();
    }
    csv.replace(';', ",")
}

#[test]
fn a_number_is_searched_scored_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("houses.csv"), houses()).unwrap();
    let check = printed(at, "data check houses.csv");
    assert!(check.contains("96 training and 24 test rows") && check.contains("target \"price\", a number"), "{check}");

    let search = "search houses.csv --trials 3 --final-epochs 40 --final-seeds 1 --study study";
    let closing = printed(at, search);
    assert!(closing.contains("rmse") && closing.contains("hand-made default"), "{closing}");
    let score: Value = serde_json::from_str(printed(at, "--json evaluate study").trim()).unwrap();
    assert_eq!(score["examples"], 24);
    assert!(score["r2"].as_f64().unwrap() > 0.8, "{score}");

    // New rows, with the columns in another order, with the target and without.
    std::fs::write(at.join("new.csv"), "town,area\nOslo,100\nBergen,100\nParis,100\n").unwrap();
    let answers = printed(at, "predict study new.csv");
    let values: Vec<f64> =
        answers.lines().skip(1).map(|l| l.split(',').next_back().unwrap().parse().unwrap()).collect();
    assert_eq!(values.len(), 3, "{answers}");
    assert!((values[0] - 10_000.0).abs() < 2_500.0 && (values[1] - 5_000.0).abs() < 2_500.0, "{answers}");
    std::fs::write(at.join("new.csv"), "town,area,price\nOslo,100,0\nBergen,100,0\nParis,100,0\n").unwrap();
    assert_eq!(printed(at, "predict study new.csv"), answers);
}

#[test]
fn a_class_of_text_is_found_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("houses.csv"), houses()).unwrap();
    let args = "search houses.csv --target town --trials 2 --final-epochs 40 --final-seeds 1 --study study";
    let closing = printed(at, args);
    assert!(closing.contains("test accuracy"), "{closing}");
    let again = printed(at, &args.replace("--study study", "--study again --threads 1"));
    let table = |text: &str| text.lines().filter(|line| line.contains("winner (")).collect::<Vec<_>>().join("\n");
    assert_eq!(table(&again), table(&closing), "the same seed, the same study");
    let score = printed(at, "evaluate study");
    assert!(score.contains("Bergen") && score.contains("Oslo"), "{score}");
    std::fs::write(at.join("new.csv"), "area,price\n100,10000\n100,5000\n").unwrap();
    let answers = printed(at, "predict study new.csv");
    assert!(answers.lines().nth(1).unwrap().contains("Oslo"), "{answers}");
    assert!(answers.lines().nth(2).unwrap().contains("Bergen"), "{answers}");
}

#[test]
fn mistakes_name_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let words = format!("a,b\n{}", "1,2\n3,x\n".repeat(6));
    for (name, text, args, expected) in [
        ("wide.csv", "a,b\n1,2\n3,4,5\n", "", "line 3"),
        ("target.csv", "a,b\n1,2\n3,4\n", " --target price", "\"price\""),
        ("empty.csv", "", "", "empty.csv"),
        ("twice.csv", "a,a\n1,2\n3,4\n", "", "\"a\""),
        ("text.csv", &*words, " --target b --answer number", "\"x\""),
    ] {
        std::fs::write(at.join(name), text).unwrap();
        let (code, said) = refused(at, &format!("search {name}{args} --trials 1"));
        assert!(said.contains(expected) && said.contains(name), "{name}: {said}");
        assert!([2, 3].contains(&code), "{name}: exit {code}");
    }
    assert!(!at.join("studies").exists(), "nothing was begun");
    std::fs::write(at.join("houses.csv"), houses()).unwrap();
    printed(at, "search houses.csv --trials 1 --final-epochs 1 --final-seeds 1 --study study");
    std::fs::write(at.join("new.csv"), "town\nOslo\n").unwrap();
    let (_, said) = refused(at, "predict study new.csv");
    assert!(said.contains("\"area\""), "{said}");
    std::fs::write(at.join("new.csv"), "town,area\nOslo,many\n").unwrap();
    let (_, said) = refused(at, "predict study new.csv");
    assert!(said.contains("line 2") && said.contains("\"many\""), "{said}");
}
