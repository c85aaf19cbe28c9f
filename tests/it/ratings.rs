//! Ratings: a recommender from generated ratings and from a file to what users will think of items.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::nas::nas;

/// What `nas` with `args` prints on a success.
fn printed(folder: &Path, args: &str) -> String {
    let output = nas(folder).args(args.split(' ')).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

/// What `nas` with `args` says of a mistake.
fn refused(folder: &Path, args: &str) -> String {
    let output = nas(folder).args(args.split(' ')).assert().failure().code(3);
    String::from_utf8(output.get_output().stderr.clone()).unwrap()
}

/// What user `user` thinks of item `item`, both of 60: odd users like odd items.
fn rating(user: usize, item: usize) -> f64 {
    let agree = if user % 2 == item % 2 { 1.0 } else { -1.0 };
    3.0 + agree + 0.5 * f64::from(u8::from(user < 30))
}

fn csv() -> String {
    let mut csv = "userId,movieId,stars,timestamp\n".to_owned();
    for i in 0..1800 {
        let (user, item) = (i % 60, (i / 60 * 7 + i * 11) % 60);
        writeln!(csv, "{user},{item},{},{}", rating(user, item), 1_000_000 + i).unwrap();
    }
    csv
}

#[test]
fn ratings_of_a_file_are_searched_scored_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("ratings.csv"), csv()).unwrap();
    let check = printed(at, "data check ratings.csv --target stars --ignore timestamp --answer number");
    assert!(check.contains("userId   60 categories\nmovieId  60 categories\n"), "{check}");
    assert!(!check.contains("timestamp") && !check.contains("refuses"), "{check}");

    let search = "search ratings.csv --target stars --ignore timestamp --answer number --trials 3 --epochs 30 --final-epochs 150 --final-seeds 1";
    let closing = printed(at, &format!("{search} --study study"));
    assert!(closing.contains("space    recommender: "), "{closing}");
    let score: Value = serde_json::from_str(printed(at, "--json evaluate study").trim()).unwrap();
    assert!(score["r2"].as_f64().unwrap() > 0.8, "{score}");
    let again = printed(at, &format!("{search} --study again --threads 1"));
    let winner = |text: &str| text.lines().filter(|line| line.contains("winner (")).collect::<Vec<_>>().join("\n");
    assert_eq!(winner(&again), winner(&closing), "the same seed, the same study");

    // What is ignored need not be there, and nobody knows user 99.
    std::fs::write(at.join("new.csv"), "movieId,userId\n4,8\n5,8\n4,99\n").unwrap();
    let answers = printed(at, "predict study new.csv");
    let values: Vec<f64> =
        answers.lines().skip(1).map(|l| l.split(',').next_back().unwrap().parse().unwrap()).collect();
    assert!(values.len() == 3 && values[0] > 3.7 && values[1] < 3.3 && values[2].is_finite(), "{answers}");
}

#[test]
fn clicks_are_two_classes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let clicks = csv().lines().enumerate().fold(String::new(), |mut all, (number, line)| {
        let fields: Vec<&str> = line.split(',').collect();
        let clicked = match number {
            0 => "clicked",
            _ if fields[2].parse::<f64>().unwrap() >= 3.5 => "yes",
            _ => "no",
        };
        writeln!(all, "{},{},{clicked}", fields[0], fields[1]).unwrap();
        all
    });
    std::fs::write(at.join("clicks.csv"), clicks).unwrap();
    let closing =
        printed(at, "search clicks.csv --trials 2 --epochs 30 --final-epochs 150 --final-seeds 1 --study study");
    assert!(closing.contains("space    recommender: ") && closing.contains("test accuracy"), "{closing}");
    let score: Value = serde_json::from_str(printed(at, "--json evaluate study").trim()).unwrap();
    assert!(score["accuracy"].as_f64().unwrap() > 0.9, "{score}");
}

#[test]
fn the_generated_ratings_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let check = printed(folder.path(), "data check --demo ratings");
    assert!(check.contains("20,000 generated ratings, whose noise alone has an RMSE of 0."), "{check}");
}

#[test]
fn mistakes_name_the_column() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("ratings.csv"), csv()).unwrap();
    let says = |args: &str| refused(at, &format!("search ratings.csv --target stars {args} --trials 1"));
    let said = says("--ignore time");
    assert!(said.contains("no column \"time\"; columns: userId, movieId, stars, timestamp"), "{said}");
    assert!(says("--ignore stars").contains("\"stars\" is the target"));
    assert!(says("--categories userId --ignore userId").contains("shall be a category and be ignored"));
    assert!(!at.join("studies").exists(), "nothing was begun");
}
