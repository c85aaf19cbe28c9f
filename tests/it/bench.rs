//! `nas bench`: comparisons that are the same every time, tables made and described, and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::nas::nas;

/// What a command prints when it succeeds.
#[track_caller]
fn printed(folder: &Path, args: &[&str]) -> String {
    let output = nas(folder).args(args).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

/// What a command says when it fails with that code.
#[track_caller]
fn refused(folder: &Path, args: &[&str], code: i32) -> String {
    let output = nas(folder).args(args).assert().code(code);
    String::from_utf8(output.get_output().stderr.clone()).unwrap()
}

/// The mean regret of every task, agent and time of a comparison's CSV.
fn means(csv: &str) -> BTreeMap<(String, String, u64), f64> {
    let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let row = |r: Vec<&str>| ((r[0].to_owned(), r[1].to_owned(), r[3].parse().unwrap()), r[4].parse().unwrap());
    rows.map(row).collect()
}

/// Twenty searches of each kind against figures of 500, with wide margins.
#[test]
fn agents_are_as_good_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let agents = "random,reinforce,evolution,local-search,pqt,pqt-surrogate";
    let args = ["bench", "--agents", agents, "--seeds", "20", "--seed", "4000", "--at", "50,100,200", "--csv"];
    let means = means(&printed(folder.path(), &args));
    let of = |task: &str, agent: &str, at| means[&(task.to_owned(), agent.to_owned(), at)];
    // At 100: of random search, then no more than this of those without and with a surrogate.
    let limits = [("cifar10", 0.54, 0.12, 0.03), ("cifar100", 1.99, 0.45, 0.10), ("imagenet16-120", 1.68, 0.85, 0.15)];
    for (task, random, rest, surrogate) in limits {
        let found = of(task, "random", 100);
        assert!((found - random).abs() < 0.3 * random, "{task}: random search {found}, over 500 seeds {random}");
        let found = of(task, "pqt-surrogate", 100);
        assert!(found <= surrogate, "{task}: pqt-surrogate {found}");
        for agent in ["evolution", "local-search", "pqt"] {
            assert!(of(task, agent, 100) < rest, "{task}: {agent} {}", of(task, agent, 100));
        }
        for agent in ["evolution", "local-search", "reinforce", "pqt", "pqt-surrogate"] {
            assert!(of(task, agent, 200) < 0.6 * of(task, "random", 200), "{task}: {agent}");
            assert!(of(task, agent, 200) <= of(task, agent, 50), "{task}: {agent}");
        }
    }
}

/// On figures dealt at random nothing is better than random search, beyond what chance does.
#[test]
fn nothing_learns_from_shuffled_figures() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["bench", "--agents", "random,evolution,local-search,reinforce", "--reference", "random"];
    let rest = ["--seeds", "200", "--budget", "100q", "--at", "100", "--shuffled", "--csv"];
    let csv = printed(folder.path(), &[&args[..], &rest[..]].concat());
    let p: Vec<f64> = csv.lines().filter_map(|line| line.rsplit(',').next()?.parse().ok()).collect();
    assert_eq!(p.len(), 9);
    // Nine tests at once.
    assert!(p.iter().all(|&p| p > 0.05 / 9.0), "{csv}");
}

/// NATS-Bench (TPAMI 2021), table 4, as it is quoted: the accuracy after 20,000, 40,000 and 120,000 simulated seconds of
/// searches rewarded with the accuracy after 12 epochs, means of 500 runs.
#[test]
fn published_settings_come_to_the_published_figures() {
    let published = [
        ("random", [93.86, 71.55, 45.28]),
        ("evolution-p10-s3", [94.02, 72.23, 45.77]),
        ("reinforce-nats", [93.90, 71.86, 45.64]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let args = ["bench", "--agents", "random,evolution-p10-s3,reinforce-nats", "--seeds", "400", "--csv"];
    let csv = printed(folder.path(), &[&args[..], &["--budget", "20000s,40000s,120000s"]].concat());
    for (i, task) in ["cifar10", "cifar100", "imagenet16-120"].into_iter().enumerate() {
        for (agent, figures) in published {
            let end = [20_000, 40_000, 120_000][i].to_string();
            let fields = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
            let mut found = fields.filter(|f| f[0] == task && f[1] == agent && f[3] == end).map(|f| f[8].to_owned());
            let figure: f64 = found.next().unwrap().parse().unwrap();
            assert!((figure - figures[i]).abs() < 0.1, "{task} {agent}: {figure:.3}, published {}", figures[i]);
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let run = |jobs| {
        let args =
            ["bench", "--agents", "evolution,random", "--seeds", "30", "--budget", "60q", "--csv", "--jobs", jobs];
        printed(folder.path(), &args)
    };
    assert_eq!(run("1"), run("3"));
    let race = |jobs| {
        let args = ["bench", "--workers", "1,20", "--seeds", "4", "--datasets", "cifar10", "--csv", "--jobs", jobs];
        printed(folder.path(), &args)
    };
    assert_eq!(race("1"), race("3"));
}

#[test]
fn planted_landscapes_with_conditions_and_workers() {
    let folder = tempfile::tempdir().unwrap();
    let run = |jobs| {
        let args = ["bench", "--planted", "10x4:0.3,12x3:conditional", "--workers", "1,20", "--seeds", "8"];
        let rest = ["--budget", "300q", "--at", "100,300", "--agents", "random,evolution", "--csv", "--jobs", jobs];
        printed(folder.path(), &[&args[..], &rest[..]].concat())
    };
    let csv = run("1");
    assert_eq!(csv, run("2"));
    let means = means(&csv);
    let regret = |task: &str, agent: &str, at| means[&(task.to_owned(), agent.to_owned(), at)];
    for task in ["10x4:0.3", "12x3:0.5:conditional"] {
        let late = format!("{task} with 20 workers");
        assert_eq!(regret(task, "random", 300), regret(&late, "random", 300), "random search does not listen");
        assert!(regret(task, "evolution", 300) < 0.5 * regret(task, "random", 300));
        assert!(regret(task, "evolution", 100) < regret(&late, "evolution", 100));
    }
    let args =
        ["bench", "--planted", "4x3", "--budget", "81q", "--at", "81", "--seeds", "3", "--agents", "random,evolution"];
    let text = printed(folder.path(), &args);
    assert!(text.starts_with("Planted landscapes, 3 of each kind"), "{text}");
    assert_eq!(text.matches("0.0000 [0.0000 0.0000]").count(), 2, "all of the space was seen: {text}");
}

#[test]
fn times_rewards_and_curves() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["--json", "bench", "--agents", "evolution-p10-s3,random", "--seeds", "10", "--datasets", "cifar10,cifar100"];
    let rest = ["--budget", "6000s,12000s", "--reference", "random", "--svg", "curves.svg"];
    let json = printed(folder.path(), &[&args[..], &rest[..]].concat());
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4 + 2);
    assert_eq!((lines[0]["task"].as_str(), lines[0]["agent"].as_str()), (Some("cifar10"), Some("evolution-p10-s3")));
    let marks = lines[2]["marks"].as_array().unwrap();
    assert_eq!(marks.iter().map(|mark| mark["at"].as_f64().unwrap()).collect::<Vec<_>>(), [3e3, 6e3, 9e3, 12e3]);
    let last = &marks[3];
    let number = |name: &str| last[name].as_f64().unwrap();
    assert!(number("low") <= number("mean") && number("mean") <= number("high") && number("p") <= 1.0);
    assert!((number("figure") - (73.5133 - number("mean"))).abs() < 1e-9);
    assert!(lines[3]["marks"][0]["p"].is_null());
    assert!(lines[4]["evaluations_per_second"].as_f64().unwrap() > 1000.0);
    let svg = fs::read_to_string(folder.path().join("curves.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("cifar100") && svg.contains("evolution-p10-s3"));
    // Refused before the searches, not after.
    let nothing = nas(folder.path()).args(["bench", "--svg", "curves.svg"]).assert().code(74).stdout("");
    let error = String::from_utf8(nothing.get_output().stderr.clone()).unwrap();
    assert!(error.contains("curves.svg exists already and is not overwritten"), "{error}");
}

#[test]
fn a_table_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut csv = "depth,op,accuracy,ms\n".to_owned();
    for depth in 1..=9 {
        for (op, bonus) in [("conv", 5.0), ("pool", 0.0), ("skip", -3.0)] {
            csv += &format!("{depth},{op},{},{}\n", 60.0 + f64::from(depth) + bonus, depth * 2);
        }
    }
    fs::write(folder.path().join("mine.csv"), csv).unwrap();
    let args = ["bench", "import", "mine.csv", "--decisions", "depth,op", "--metrics", "accuracy:max,ms:min"];
    let text = printed(folder.path(), &args);
    assert!(text.starts_with("mine: 27 architectures, 2 metrics, "), "{text}");
    let error = refused(folder.path(), &args, 74);
    assert!(error.contains("mine.nastable exists already and is not overwritten"), "{error}");

    let info = printed(folder.path(), &["bench", "info", "mine.nastable"]);
    assert!(info.contains("27 of 27 architectures") && info.contains("accuracy"), "{info}");
    let args = ["bench", "--table", "mine.nastable", "--budget", "27q", "--seeds", "5", "--agents", "evolution,random"];
    let text = printed(folder.path(), &args);
    assert!(text.contains("best 74, reward accuracy"), "{text}");
    // All of the table was seen.
    assert_eq!(text.matches("0.000 [0.000 0.000]").count(), 2, "{text}");

    let error = refused(folder.path(), &["bench", "--table", "mine.nastable", "--budget", "100s"], 2);
    assert!(error.contains("the table \"mine\" has no clock; give a budget of evaluations"), "{error}");
    let error = refused(folder.path(), &["bench", "--table", "mine.nastable", "--signal"], 2);
    assert!(
        error.contains("the table \"mine\" cannot do this: the task \"accuracy\" has no cheaper signal"),
        "{error}"
    );
    let error = refused(folder.path(), &["bench", "--table", "mine.nastable", "--workers", "2"], 2);
    assert!(error.contains("does not say what evaluations take"), "{error}");
    let error = refused(folder.path(), &["bench", "--table", "mine.csv"], 3);
    assert!(error.contains("mine.csv is no sound table: header"), "{error}");
    let mut bytes = fs::read(folder.path().join("mine.nastable")).unwrap();
    bytes[300] ^= 1;
    fs::write(folder.path().join("hurt.nastable"), bytes).unwrap();
    let error = refused(folder.path(), &["bench", "info", "hurt.nastable"], 3);
    assert!(error.contains("hurt.nastable is no sound table: checksum"), "{error}");
}

#[test]
fn what_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |args: &[&str], code, message: &str| {
        let error = refused(folder.path(), &[&["bench"], args].concat(), code);
        assert!(error.contains(message), "{error}");
    };
    check(&["--agents", "alphazero"], 2, "there is no agent \"alphazero\"");
    check(&["--agents", "random,random"], 2, "named twice");
    check(&["--datasets", "cifar1000"], 2, "did you mean \"cifar100\"?");
    check(&["--budget", "10q,20q"], 2, "2 budgets for 3 tasks");
    check(&["--budget", "0q"], 2, "write a number of evaluations such as 100q");
    check(&["--at", "500"], 2, "--at 500 is not within the budget of 200");
    check(&["--planted", "20"], 2, "write decisions x options, such as 20x5");
    check(&["--planted", "20x5", "--budget", "100s"], 2, "planted landscapes have no clock");
    check(&["--planted", "20x5", "--workers", "0"], 2, "--workers must be at least 1");
    check(&["--planted", "20x5", "--table", "mine.nastable"], 2, "cannot be used with");
    check(&["--workers", "2", "--at", "5"], 2, "--at, --svg and --reference go with --planted only");
    check(&["--workers", "2", "--reference", "random"], 2, "--at, --svg and --reference go with --planted only");
    check(&["--workers", "2", "--budget", "20000s"], 2, "give a budget such as 2000q");
    check(&["--agents", "random,tpe", "--reference", "ppo"], 2, "none of the agents compared: random, tpe");
    check(&["--warm-from", "cifar10", "--reference", "pqt"], 2, "cannot be used with");
    check(&["--seeds", "0"], 2, "--seeds must be at least 1");
    check(&["--table", "none.nastable"], 74, "none.nastable");
    fs::write(folder.path().join("plain.csv"), "a,b\n1,2\n").unwrap();
    check(&["import", "plain.csv"], 3, "name its columns with --decisions and --metrics");
    let metrics = ["import", "plain.csv", "--decisions", "a", "--metrics"];
    check(&[&metrics[..], &["b:up"]].concat(), 2, "\"up\" is no direction");
    check(&[&metrics[..], &["c:max"]].concat(), 3, "it has no column \"c\"");
    fs::write(folder.path().join("spaces.csv"), "a,b\nx y,2\n").unwrap();
    check(&["import", "spaces.csv", "--decisions", "a", "--metrics", "b:max"], 3, "spaces.csv: \"x y\" is no name");
    fs::write(folder.path().join("my table.csv"), "a,b\n1,2\n").unwrap();
    let spaced = ["import", "my table.csv", "--decisions", "a", "--metrics", "b:max"];
    check(&spaced, 2, "name it: --name NAME");
    printed(folder.path(), &[&["bench"], &spaced[..], &["--name", "mine"]].concat());
}

/// A few searches, with wide margins.
#[test]
fn a_search_on_another_task_helps() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["bench", "--warm-from", "cifar10,cifar100", "--datasets", "cifar10,imagenet16-120", "--csv"];
    let rest = ["--agents", "pqt-surrogate", "--seeds", "6", "--seed", "4000", "--at", "20,50"];
    let means = means(&printed(folder.path(), &[&args[..], &rest].concat()));
    assert_eq!(means.len(), 3 * 3 * 2, "three pairs, three rows each, two times: {means:?}");
    let of = |pair: &str, kind: &str, at| means[&(pair.to_owned(), format!("pqt-surrogate{kind}"), at)];
    for (pair, most) in
        [("cifar10 to imagenet16-120", 0.4), ("cifar100 to cifar10", 0.05), ("cifar100 to imagenet16-120", 0.4)]
    {
        let (cold, warm, again) = (of(pair, "", 20), of(pair, " warm", 20), of(pair, " again", 20));
        assert!(warm < most && warm < cold && again < cold, "{pair}: {warm} warm, {cold} cold, {again} again");
    }
}

#[test]
fn impossible_warm_starts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |args: &[&str]| refused(folder.path(), &[&["bench", "--warm-from"], args].concat(), 2);
    assert!(refused(&["cifar10", "--agents", "random"]).contains("\"random\" cannot be warm-started; agents that can"));
    assert!(refused(&["cifar10", "--datasets", "cifar10"]).contains("names no other task"));
    assert!(refused(&["cifar10", "--budget", "1000s"]).contains("a budget such as 50q"));
    assert!(refused(&["mnist"]).contains("mnist"));
}
