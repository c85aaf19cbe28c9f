//! `cargo xtask bench --peers --check`: the same numbers as PyTorch, on random graphs over all operations and over an epoch of
//! training. Fails when they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use xshell::Shell;

use super::engine::parse;
use super::report;
use super::table::table;

/// Random graphs: each operation occurs in two or more.
const GRAPHS: usize = 200;
/// Epochs of training, each of a seed.
const EPOCHS: usize = 5;
/// The most that accuracies after an epoch may differ by.
const ACCURACY: f64 = 0.005;
/// Operations that are shown, those that come nearest to what is allowed.
const SHOWN: usize = 5;
/// How values of every graph begin.
const EVERYWHERE: [&str; 3] = ["input", "parameter", "add"];
/// Where the operations of our engine are, from the root.
const OPERATIONS: &str = "nas-nn/src/op";
/// The images of an epoch, from the root.
const IMAGES: &str = "nas-nn/data/fashion-mnist-mini";

/// What PyTorch's side says of a graph.
#[derive(Debug, Deserialize)]
struct Graph {
    number: usize,
    /// The operation it was made for.
    target: String,
    operations: BTreeSet<String>,
    /// The largest distance of a tensor, as a share of what is allowed.
    share: f64,
    /// That tensor.
    worst: String,
    /// The largest distances of its numbers from double precision.
    ours_from_double: f64,
    torch_from_double: f64,
}

/// An epoch on both sides.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Epoch {
    seed: u64,
    ours: Trained,
    torch: Trained,
}

#[derive(Debug, Clone, Deserialize)]
struct Trained {
    /// The mean of the steps.
    loss: f64,
    /// A share of 1.
    accuracy: f64,
}

/// Compares, prints, writes the section of the document.
pub(crate) fn run(sh: &Shell, root: &Path, peer: &Path, python: &Path, seed: u64) -> anyhow::Result<()> {
    let scripts = root.join("benches/peers");
    let folder = sh.create_temp_dir()?;

    let [known] = &ask::<BTreeSet<String>>(Command::new(peer).arg("operations"))?[..] else {
        bail!("our side names its operations in one line")
    };
    let unknown: Vec<String> = public(&root.join(OPERATIONS))?.difference(known).cloned().collect();
    ensure!(
        unknown.is_empty(),
        "no graph has these operations; add them to benches/src/random and benches/peers/check.py: {}",
        unknown.join(", ")
    );

    println!("{GRAPHS} random graphs of seed {seed} over {} operations", known.len());
    let file = folder.path().join("graphs");
    save(Command::new(peer).args(["graphs", &seed.to_string(), &GRAPHS.to_string()]), &file)?;
    let script = scripts.join("check.py");
    let graphs: Vec<Graph> = ask(Command::new(python).arg("-B").arg(script).stdin(File::open(&file)?))?;
    ensure!(graphs.len() == GRAPHS, "PyTorch's side answered {} of {GRAPHS} graphs", graphs.len());
    let (text, differing) = summary(&graphs, known);
    print!("{text}");

    println!("{EPOCHS} epochs of the same network on both sides");
    let file = folder.path().join("epochs");
    save(Command::new(peer).args(["epochs", &EPOCHS.to_string()]), &file)?;
    let mut command = Command::new(python);
    command.arg("-B").arg(scripts.join("epoch.py")).arg(root.join(IMAGES)).stdin(File::open(&file)?);
    let epochs: Vec<Epoch> = ask(&mut command)?;
    ensure!(epochs.len() == EPOCHS, "PyTorch's side answered {} of {EPOCHS} epochs", epochs.len());
    print!("{}", accuracies(&epochs));
    let apart: Vec<String> = epochs.iter().filter(|epoch| epoch.differs()).map(|e| e.seed.to_string()).collect();

    ensure!(differing.is_empty(), "graphs {} of seed {seed} differ from PyTorch", differing.join(", "));
    ensure!(apart.is_empty(), "the accuracies of seeds {} differ by more than half a point", apart.join(", "));
    report::write_numbers(root, &section(&graphs, known.len(), &epochs, seed))
}

impl Epoch {
    fn differs(&self) -> bool {
        // Five images of 1000 are half a point, whatever the division left.
        (self.ours.accuracy - self.torch.accuracy).abs() > ACCURACY + 1e-6
    }
}

/// Runs `command` with its output in `file`.
fn save(command: &mut Command, file: &Path) -> anyhow::Result<()> {
    let status = command.stdout(File::create(file)?).status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}

/// The lines of JSON that `command` writes.
fn ask<T: DeserializeOwned>(command: &mut Command) -> anyhow::Result<Vec<T>> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed ({})", output.status);
    String::from_utf8(output.stdout)?.lines().map(|line| parse("one side", line)).collect()
}

/// The operations that files below `folder` offer as methods of `Var`.
fn public(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            names.extend(public(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(methods(&fs::read_to_string(&path)?));
        }
    }
    Ok(names)
}

/// The public methods of `Var`, and the operators it has, in a formatted file of Rust.
fn methods(text: &str) -> Vec<String> {
    let (mut names, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("impl<'g> Var<'g>") {
            inside = true;
        } else if line.starts_with('}') {
            inside = false;
        }
        let operator = line.strip_prefix("impl<'g> std::ops::").and_then(|rest| rest.strip_suffix(" for Var<'g> {"));
        names.extend(operator.map(str::to_lowercase));
        let method = line.strip_prefix("    pub fn ").filter(|_| inside).and_then(|rest| rest.split_once('('));
        names.extend(method.filter(|(_, rest)| rest.starts_with("self")).map(|(name, _)| name.to_owned()));
    }
    names
}

/// What is said of the graphs, and the numbers of those that differ.
fn summary(graphs: &[Graph], known: &BTreeSet<String>) -> (String, Vec<String>) {
    let mut text = String::new();
    let met: BTreeSet<&String> = graphs.iter().flat_map(|graph| &graph.operations).collect();
    for absent in known.iter().filter(|name| !met.contains(name)) {
        let _ = writeln!(text, "  {absent} is in none of them");
    }
    let wrong = |graph: &&Graph| graph.share > 1.0;
    for graph in graphs.iter().filter(wrong) {
        let operations: Vec<&str> = graph.operations.iter().map(String::as_str).collect();
        let Graph { number, share, worst, ours_from_double: ours, torch_from_double: torch, .. } = graph;
        let _ = writeln!(
            text,
            "  graph {number} DIFFERS: {worst} by {share:.1} times what is allowed; from double precision, ours by \
             {ours:.1e} and PyTorch by {torch:.1e}; {}",
            operations.join(" ")
        );
    }
    for (target, share, worst) in worst(graphs) {
        let _ = writeln!(text, "  {target}: {:.0} % of what is allowed ({worst})", 100.0 * share);
    }
    // What is wrong with one operation is wrong where it is, and not always seen.
    let mut of_wrong = graphs.iter().filter(wrong).map(|graph| graph.operations.clone());
    let common = of_wrong.next().map(|first| of_wrong.fold(first, |common, next| &common & &next)).unwrap_or_default();
    let common: Vec<&str> = common.iter().map(String::as_str).filter(|name| !EVERYWHERE.contains(name)).collect();
    if !common.is_empty() {
        let _ = writeln!(text, "  all that differ have {}", common.join(", "));
    }
    let mut differing: Vec<String> = graphs.iter().filter(wrong).map(|graph| graph.number.to_string()).collect();
    differing.extend(known.iter().filter(|name| !met.contains(name)).map(|name| format!("without {name}")));
    (text, differing)
}

/// The operations whose graphs come nearest to what is allowed: the largest share and its tensor.
fn worst(graphs: &[Graph]) -> Vec<(&str, f64, &str)> {
    let mut by_target: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
    for graph in graphs {
        let entry = by_target.entry(&graph.target).or_insert((0.0, "nothing"));
        if graph.share >= entry.0 {
            *entry = (graph.share, &graph.worst);
        }
    }
    let mut worst: Vec<_> = by_target.into_iter().map(|(target, (share, tensor))| (target, share, tensor)).collect();
    worst.sort_by(|a, b| b.1.total_cmp(&a.1));
    worst.truncate(SHOWN);
    worst
}

fn accuracies(epochs: &[Epoch]) -> String {
    let head =
        ["seed", "ours: accuracy", "PyTorch: accuracy", "difference, points", "ours: mean loss", "PyTorch: mean loss"];
    let lines = epochs.iter().map(|Epoch { seed, ours, torch }| {
        // A zero has no sign.
        let apart = (1e3 * (ours.accuracy - torch.accuracy)).round() / 10.0 + 0.0;
        let percent = |trained: &Trained| format!("{:.1} %", 100.0 * trained.accuracy);
        let loss = |trained: &Trained| format!("{:.5}", trained.loss);
        vec![seed.to_string(), percent(ours), percent(torch), format!("{apart:+.1}"), loss(ours), loss(torch)]
    });
    table(&head, &lines.collect::<Vec<_>>())
}

/// The section of the document, between its marks.
fn section(graphs: &[Graph], operations: usize, epochs: &[Epoch], seed: u64) -> String {
    let (target, share, tensor) = worst(graphs).into_iter().next().unwrap_or_default();
    format!(
        "\
## Same numbers

`cargo xtask bench --peers --check` builds {} random graphs (seed {seed}) over all {operations} operations in both engines. In
every one the loss, all gradients and the output in evaluation agree to 1e-4 of the largest number of the tensor (gradients at
least to 1e-6 of the largest of the graph, and to twice what single precision costs PyTorch itself). The graph that comes nearest
to what is allowed was made for `{target}`, at {:.0} % of it (`{tensor}`).

An epoch of W2's network on the embedded images (28×28), from the same weights and in the same order; accuracy on the 1000 test
images, which may differ by half a point:

{}",
        graphs.len(),
        100.0 * share,
        accuracies(epochs)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(number: usize, target: &str, operations: &[&str], share: f64) -> Graph {
        Graph {
            number,
            target: target.to_owned(),
            operations: operations.iter().map(|&name| name.to_owned()).collect(),
            share,
            worst: format!("{target}.weight"),
            ours_from_double: 1e-3,
            torch_from_double: 1e-8,
        }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn methods_are_found() {
        let text = "\
impl<'g> std::ops::Add for Var<'g> {
    fn add(self, b: Var<'g>) -> Var<'g> {}
}

impl Lstm {
    pub fn new(units: usize) -> Self {}
    pub fn lengths(self) -> Self {}
}

impl<'g> Var<'g> {
    /// Text.
    pub fn relu(self) -> Var<'g> {
        self.apply(Relu, &[])
    }

    pub(crate) fn copy(self) -> Var<'g> {}
}
";
        assert_eq!(methods(text), ["add", "relu"]);
    }

    #[test]
    fn operations_of_this_repository_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let found = public(&root.join(OPERATIONS)).unwrap();
        for name in ["conv", "lstm_with_state", "mul", "gelu_tanh", "cross_entropy_masked"] {
            assert!(found.contains(name), "{name} is not among {found:?}");
        }
    }

    #[test]
    fn an_operation_that_all_differing_graphs_have_is_named() {
        let graphs = [
            graph(0, "relu", &["relu", "conv"], 0.5),
            graph(1, "gru", &["add", "relu", "gru"], 30.0),
            graph(2, "conv", &["add", "gru", "conv"], 1e30),
        ];
        let (text, differing) = summary(&graphs, &names(&["conv", "gru", "relu"]));
        assert_eq!(differing, ["1", "2"]);
        assert!(text.contains("graph 1 DIFFERS: gru.weight by 30.0 times"), "{text}");
        assert!(text.contains("all that differ have gru\n"), "{text}");
        let (text, differing) = summary(&graphs[..1], &names(&["conv", "lstm", "relu"]));
        assert_eq!(differing, ["without lstm"]);
        assert!(text.contains("relu: 50 % of what is allowed (relu.weight)"), "{text}");
    }

    #[test]
    fn half_a_point_is_allowed() {
        let of = |accuracy: f64| Trained { loss: 1.0, accuracy };
        let epoch = |ours: f64, torch: f64| Epoch { seed: 1, ours: of(ours), torch: of(torch) };
        assert!(!epoch(0.725, 0.730).differs() && !epoch(0.73, 0.73).differs());
        assert!(epoch(0.724, 0.730).differs() && epoch(0.736, 0.730).differs());
        let text = section(&[graph(0, "relu", &["relu"], 0.25)], 1, &[epoch(0.725, 0.73)], 7);
        assert!(text.contains("`relu`, at 25 % of it (`relu.weight`)"), "{text}");
        assert!(text.contains("72.5 %") && text.contains("-0.5"), "{text}");
    }
}
