//! Decisions of the training in a user's space file.

use std::fs;

use crate::nas::nas;

const SPACE: &str = r#"
name = "mlp"

[[decision]]
name = "optimizer"
kind = "choice"
options = ["sgd", "adamw"]

[[decision]]
name = "learning_rate"
kind = "float"
low = 0.001
high = 0.1
scale = "log"

[[decision]]
name = "batch"
kind = "choice"
options = ["small", "large"]
"#;

/// A space of hyper-parameters alone: what it leaves out is that of the hand-made default.
#[test]
fn a_space_may_be_all_hyper_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &str| {
        let output = nas(folder.path()).args(args.split(' ')).assert();
        let output = output.get_output().clone();
        (output.status.code().unwrap(), [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()))
    };
    let file = folder.path().join("space.toml");
    fs::write(&file, SPACE).unwrap();
    let search =
        "search --demo table --space space.toml --trials 2 --epochs 1 --final-epochs 1 --final-seeds 1 --study";
    let (code, [_, said]) = run(&format!("{search} study"));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("batch"), "a batch is a number: {said}");

    let integer = "kind = \"integer\"\nlow = 16\nhigh = 64\nstep = 16";
    fs::write(&file, SPACE.replace("kind = \"choice\"\noptions = [\"small\", \"large\"]", integer)).unwrap();
    let (code, [closing, said]) = run(&format!("{search} study"));
    assert_eq!(code, 0, "{said}");
    assert!(closing.contains("winner (trial"), "{closing}");
    let (_, [best, _]) = run("show study best");
    for part in ["optimizer = ", "learning_rate = ", "batch = ", "layer1"] {
        assert!(best.contains(part), "{part}: {best}");
    }
    assert!(!best.contains("width = "), "what is not searched is not a decision: {best}");
    // The saved network was trained by what its trial decided, and works.
    let trained = |name: &str| {
        let json = fs::read_dir(folder.path().join("study/models")).unwrap();
        let json = json.map(|e| e.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "json")).unwrap();
        let about: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
        (about["recipe"][name].to_string(), about["architecture"][name].to_string())
    };
    for name in ["optimizer", "batch"] {
        let (recipe, architecture) = trained(name);
        assert_eq!(recipe, architecture, "{name}");
    }
    assert_eq!(run("evaluate study").0, 0);
}
