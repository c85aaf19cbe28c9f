//! Time series, from files to classes of new ones.

use std::fmt::Write as _;
use std::path::Path;

use crate::nas::nas;

/// What `nas` with `args` prints on a success.
fn printed(folder: &Path, args: &str) -> String {
    let output = nas(folder).args(args.split(' ')).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

/// `n` series of two channels and 12 to 17 steps that rise, or fall.
fn slopes(n: usize, labelled: bool) -> String {
    let mut text = "@problemName slopes\n@data\n".to_owned();
    for i in 0..n {
        let (slope, class) = if i % 2 == 0 { (1.0, "up") } else { (-1.0, "down") };
        let steps = 12 + i % 6;
        let line = |noise: usize| {
            let value = |t: usize| slope * t as f64 / steps as f64 + ((i * 31 + t * noise) % 17) as f64 / 40.0;
            (0..steps).map(|t| format!("{:.3}", value(t))).collect::<Vec<_>>().join(",")
        };
        let class = if labelled { class } else { "?" };
        writeln!(text, "{}:{}:{class}", line(7), line(11)).unwrap();
    }
    text
}

#[test]
fn a_class_is_searched_scored_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("slopes")).unwrap();
    std::fs::write(at.join("slopes/slopes_TRAIN.ts"), slopes(60, true)).unwrap();
    std::fs::write(at.join("slopes/slopes_TEST.ts"), slopes(30, true)).unwrap();
    let check = printed(at, "data check slopes");
    assert!(check.contains("60 training and 30 test series of 2 channels and 17 steps"), "{check}");
    assert!(check.contains("30 test series are training series too"), "the parts overlap, and it is seen: {check}");

    for space in ["cnn_series", "rnn", "rnn_cell", "transformer"] {
        let search =
            format!("search slopes --space {space} --trials 2 --final-epochs 10 --final-seeds 1 --study {space}");
        let closing = printed(at, &search);
        assert!(closing.contains("test accuracy") && closing.contains("on 30 test recordings"), "{closing}");
    }
    let score = printed(at, "evaluate cnn_series");
    assert!(score.contains("accuracy 1.0000") && score.contains("down"), "{score}");
    std::fs::write(at.join("new.ts"), slopes(4, false)).unwrap();
    let answers = printed(at, "predict cnn_series new.ts");
    let names: Vec<&str> = answers.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    assert_eq!(names, ["up", "down", "up", "down"], "{answers}");
    std::fs::write(at.join("labelled.ts"), slopes(4, true)).unwrap();
    assert!(printed(at, "evaluate cnn_series labelled.ts").contains("on 4 recordings"), "a file of its own");
}

#[test]
fn mistakes_name_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let refused = |args: &str| {
        let output = nas(at).args(args.split(' ')).assert().failure();
        let output = output.get_output();
        (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
    };
    std::fs::write(at.join("bad.ts"), slopes(20, true).replacen("0.", "zero.", 1)).unwrap();
    let (code, said) = refused("search bad.ts --trials 1");
    assert!(code == 3 && said.contains("bad.ts, line 3: value 1 of channel 1 is \"zero."), "{code} {said}");
    std::fs::write(at.join("good.ts"), slopes(20, true)).unwrap();
    let (code, said) = refused("search good.ts --space cnn_cell --trials 1");
    assert!(
        code == 2 && said.contains("cnn_cell is for images, and the data is series of 2 channels"),
        "{code} {said}"
    );
    printed(at, "search good.ts --trials 1 --epochs 1 --final-epochs 1 --final-seeds 1 --study study");
    std::fs::write(at.join("one.ts"), "1,2,3:up\n").unwrap();
    let (_, said) = refused("predict study one.ts");
    assert!(said.contains("one.ts, line 1: it has 1 channels; 2 are needed"), "{said}");
}
