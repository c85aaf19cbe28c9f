//! `cargo xtask bench --instructions`: how many instructions five training steps take, which no busy machine changes.
//!
//! Valgrind counts them on a simulated processor without AVX-512, so the kernels are told to use AVX2. It multiplies some
//! thousand times slower than the processor, so the large workload is counted on fewer examples, and both at once. The matrix
//! products' blocks follow the caches of the processor, and the code follows the compiler: counts of others are compared, but
//! named.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use crate::{bench, peers, workspace};

/// Where the counts are kept, from the root.
const FILE: &str = "benches/instructions.json";
/// The workloads, and the examples of a step: all of W2's 64, an eighth of W5's 32.
const WORKLOADS: [(&str, usize); 2] = [("W2", 64), ("W5", 4)];
const STEPS: usize = 5;
/// A rise beyond this is a mistake.
const NOTABLE: f64 = 0.03;

/// Counts and what they hold for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counts {
    processor: String,
    compiler: String,
    valgrind: String,
    steps: usize,
    /// By workload.
    counts: BTreeMap<String, Count>,
}

/// What one workload takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    /// Of a step.
    examples: usize,
    /// Of all steps.
    instructions: u64,
}

/// Counts, compares, and stores; with `check`, fails on a rise instead of storing it.
pub(crate) fn run(sh: &Shell, root: &Path, check: bool) -> anyhow::Result<()> {
    let valgrind = cmd!(sh, "valgrind --version").quiet().ignore_stderr().read();
    let valgrind = valgrind.context("valgrind counts the instructions; install it: apt-get install valgrind")?;
    let file = root.join(FILE);
    let stored = if file.exists() {
        let text = fs::read_to_string(&file)?;
        Some(serde_json::from_str::<Counts>(&text).with_context(|| format!("{FILE} holds no counts"))?)
    } else {
        None
    };
    ensure!(stored.is_some() || !check, "there is no {FILE} to check against: run without --check, and commit it");

    let target = workspace::metadata(sh)?.target_directory;
    let peer = peers::build(sh, &target)?;
    let folder = sh.create_temp_dir()?;
    let counting = WORKLOADS.map(|(workload, examples)| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--tool=callgrind", "--toggle-collect=*counted_steps*"]);
        valgrind.arg(format!("--callgrind-out-file={}", folder.path().join(workload).display()));
        valgrind.arg(&peer).args(["steps", workload, &STEPS.to_string(), &examples.to_string()]);
        valgrind.env("NAS_SIMD", "avx2").stderr(Stdio::null()).spawn()
    });
    let mut counts = BTreeMap::new();
    for ((workload, examples), counting) in WORKLOADS.into_iter().zip(counting) {
        let status = counting.context("valgrind did not start")?.wait()?;
        ensure!(status.success(), "valgrind could not run {workload} ({status})");
        let out = fs::read_to_string(folder.path().join(workload))?;
        let instructions = total(&out).with_context(|| format!("callgrind counted no {workload}"))?;
        counts.insert(workload.to_owned(), Count { examples, instructions });
    }
    let machine = bench::machine(sh)?;
    let now = Counts {
        processor: machine.processor,
        compiler: machine.compiler,
        valgrind: valgrind.trim().to_owned(),
        steps: STEPS,
        counts,
    };
    let (text, risen) = compare(&now, stored.as_ref());
    print!("{text}");
    if check {
        ensure!(risen.is_empty(), "the instructions of {} rose by more than {} %", risen.join(", "), 100.0 * NOTABLE);
        return Ok(());
    }
    fs::write(&file, serde_json::to_string_pretty(&now)? + "\n")?;
    println!("stored in {FILE}");
    Ok(())
}

/// What callgrind counted: the first number after `totals:` or `summary:`. Zero means that the function was not found.
fn total(out: &str) -> Option<u64> {
    let line = out.lines().find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")))?;
    line.split_whitespace().next()?.parse().ok().filter(|&count| count > 0)
}

/// A line for each workload, and those that rose by more than [`NOTABLE`].
fn compare(now: &Counts, stored: Option<&Counts>) -> (String, Vec<String>) {
    let (mut text, mut risen) = (String::new(), Vec::new());
    for (workload, &Count { examples, instructions }) in &now.counts {
        let (millions, steps) = (instructions as f64 / 1e6, now.steps);
        let _ = write!(text, "{workload}: {millions:.1} million instructions in {steps} steps on {examples} examples");
        let before = stored.filter(|stored| stored.steps == steps).and_then(|stored| stored.counts.get(workload));
        match before.filter(|before| before.examples == examples) {
            Some(before) => {
                let change = instructions as f64 / before.instructions as f64 - 1.0;
                let _ = write!(text, ", {:+.2} % since the stored count", 100.0 * change);
                if change > NOTABLE {
                    text.push_str(": RISEN");
                    risen.push(workload.clone());
                }
            }
            None => text.push_str(", not stored before"),
        }
        text.push('\n');
    }
    if let Some(stored) = stored {
        let of = |counts: &Counts| [&counts.processor, &counts.compiler, &counts.valgrind].map(Clone::clone).join(", ");
        if of(stored) != of(now) {
            let _ = writeln!(text, "the stored counts are of {}; these of {}", of(stored), of(now));
        }
    }
    (text, risen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(instructions: &[(&str, u64)]) -> Counts {
        Counts {
            processor: "a processor".to_owned(),
            compiler: "rustc 1".to_owned(),
            valgrind: "valgrind-3".to_owned(),
            steps: STEPS,
            counts: instructions
                .iter()
                .map(|&(name, instructions)| (name.to_owned(), Count { examples: 64, instructions }))
                .collect(),
        }
    }

    #[test]
    fn totals() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1)\n12 9\ntotals: 1234\n"), Some(1234));
        assert_eq!(total("summary: 7 8\n"), Some(7));
        assert_eq!(total("totals: 0\n"), None);
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn rises_are_named() {
        let (before, now) =
            (counts(&[("W2", 1_000_000), ("W3", 1_000_000)]), counts(&[("W2", 1_031_000), ("W3", 1_029_000)]));
        let (text, risen) = compare(&now, Some(&before));
        let expected = "\
W2: 1.0 million instructions in 5 steps on 64 examples, +3.10 % since the stored count: RISEN
W3: 1.0 million instructions in 5 steps on 64 examples, +2.90 % since the stored count
";
        assert_eq!((text.as_str(), risen), (expected, vec!["W2".to_owned()]));
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        let now = counts(&[("W2", 5)]);
        assert_eq!(
            compare(&now, None).0,
            "W2: 0.0 million instructions in 5 steps on 64 examples, not stored before\n"
        );
        let before = Counts { compiler: "rustc 0".to_owned(), ..counts(&[("W2", 5)]) };
        let (text, risen) = compare(&now, Some(&before));
        assert!(text.contains("the stored counts are of a processor, rustc 0, valgrind-3;"), "{text}");
        assert!(risen.is_empty());
        let fewer = Counts { steps: 1, ..before };
        assert!(compare(&now, Some(&fewer)).0.contains("not stored before"));
        let mut smaller = now.clone();
        smaller.counts.insert("W2".to_owned(), Count { examples: 8, instructions: 1 });
        assert!(compare(&now, Some(&smaller)).0.contains("not stored before"));
    }
}
