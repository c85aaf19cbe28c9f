//! `docs/performance.md` and its plot, written anew by every run except for the remarks.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::results::{Results, median};
use super::{plot, table};
use crate::bench::Machine;

/// What stands between these is written by people and kept.
const BEGIN: &str = "<!-- remarks: what stands between these two lines is kept -->";
const END: &str = "<!-- end of remarks -->";
/// What stands between these is written by `--check`.
const NUMBERS: [&str; 2] = ["<!-- same numbers: written by `--peers --check` -->", "<!-- end of same numbers -->"];

/// Under which conditions it was measured.
#[derive(Debug)]
pub(crate) struct Conditions {
    pub(crate) machine: Machine,
    pub(crate) commit: String,
    /// Ours, then PyTorch.
    pub(crate) engines: [String; 2],
    /// Further engines.
    pub(crate) others: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    /// Workloads that our side does not have.
    pub(crate) missing: Vec<String>,
}

/// Writes the document and the plot.
pub(crate) fn write(root: &Path, conditions: &Conditions, results: &Results) -> anyhow::Result<()> {
    let docs = root.join("docs");
    fs::create_dir_all(&docs)?;
    let file = docs.join("performance.md");
    let before = if file.exists() { fs::read_to_string(&file)? } else { String::new() };
    let remarks = remarks(&before).with_context(|| format!("{} is left as it is", file.display()))?;
    let numbers = between(&before, NUMBERS).unwrap_or_default();
    plot::write(&docs.join("performance.svg"), results)?;
    let date = date(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?);
    fs::write(&file, document(conditions, results, &date, remarks) + &marked(numbers))?;
    println!("written: docs/performance.md, docs/performance.svg");
    Ok(())
}

/// Writes what the comparison of numbers found into the document, which has to be there.
pub(crate) fn write_numbers(root: &Path, numbers: &str) -> anyhow::Result<()> {
    let file = root.join("docs/performance.md");
    let before = fs::read_to_string(&file).context("measure first: cargo xtask bench --peers")?;
    // The section is the last: of a document without one, all is kept.
    let rest = before.split(NUMBERS[0]).next().unwrap_or_default();
    fs::write(&file, rest.trim_end().to_owned() + "\n" + &marked(numbers))?;
    println!("written: docs/performance.md");
    Ok(())
}

/// A section between the marks of `--check`; nothing without text.
fn marked(numbers: &str) -> String {
    let [begin, end] = NUMBERS;
    if numbers.is_empty() { String::new() } else { format!("\n{begin}\n\n{}\n\n{end}\n", numbers.trim()) }
}

/// The text between two marks, if both are there.
fn between<'a>(document: &'a str, [begin, end]: [&str; 2]) -> Option<&'a str> {
    let (_, rest) = document.split_once(begin)?;
    Some(rest.split_once(end)?.0.trim())
}

fn document(conditions: &Conditions, results: &Results, date: &str, remarks: &str) -> String {
    let Conditions { machine, commit, engines: [ours, torch], others, rounds, seconds, missing } = conditions;
    let others: String = others.iter().map(|other| format!("; {other}")).collect();
    let product = median(&results.products);
    let missing = match missing.as_slice() {
        [] => String::new(),
        names => format!("\n\nNot measured: {}, which our side does not have.", names.join(", ")),
    };
    format!(
        "\
# Performance, side by side with PyTorch

Written by `cargo xtask bench --peers`: both engines train the same networks alternately in one run, {rounds} rounds of
{seconds} s a workload and side. A ratio is our examples a second by PyTorch's, of the medians of the rounds; above 1 we are
faster. For times and memory it is PyTorch's figure by ours. The definitions are `benches/src/workloads.rs` and
`benches/peers/torch_workloads.py`: PyTorch runs eagerly, with channels last for images and fused optimizers.

* Date and commit: {date}, {commit}
* Processor: {}, {} threads; {}
* Engines: {ours} ({}); {torch}{others}
* The best matrix product on one core, which the last column of the steps is a share of: {product:.0} GFLOP/s. A step counts
  six operations a multiply-add of its forward pass.{missing}

![Ratios to PyTorch](performance.svg)

{BEGIN}
{remarks}
{END}

{}",
        machine.processor,
        machine.threads,
        machine.system,
        machine.compiler,
        table::all(results).trim_end(),
    ) + "\n"
}

/// The remarks in an earlier document.
fn remarks(document: &str) -> anyhow::Result<&str> {
    if document.is_empty() {
        return Ok("");
    }
    let (_, rest) = document.split_once(BEGIN).context("the line where the remarks begin is gone")?;
    let (remarks, _) = rest.split_once(END).context("the line where the remarks end is gone")?;
    Ok(remarks.trim_matches('\n'))
}

/// The day, in the calendar we use, of a time since the beginning of 1970 (Hinnant, chrono-compatible date algorithms).
fn date(since_1970: Duration) -> String {
    // Days since 1 March of the year 0, in eras of 400 years; a year begins in March, so that a leap day ends one.
    let days = since_1970.as_secs() / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::results::tests::results;

    #[test]
    fn days() {
        let shown = [0, 951_782_400, 951_868_800, 1_704_067_199, 1_704_067_200].map(|s| date(Duration::from_secs(s)));
        assert_eq!(shown, ["1970-01-01", "2000-02-29", "2000-03-01", "2023-12-31", "2024-01-01"]);
    }

    #[test]
    fn remarks_survive() {
        let conditions = Conditions {
            machine: Machine {
                processor: "a processor".to_owned(),
                threads: 2,
                system: "linux".to_owned(),
                compiler: "rustc 1".to_owned(),
            },
            commit: "abc".to_owned(),
            engines: ["nas-nn".to_owned(), "PyTorch 2".to_owned()],
            others: vec!["burn 1".to_owned()],
            rounds: 3,
            seconds: 1.5,
            missing: vec!["W5".to_owned()],
        };
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("docs/performance.md");
        write(root.path(), &conditions, &results()).unwrap();
        let first = fs::read_to_string(&file).unwrap();
        assert!(first.contains("3 rounds of\n1.5 s") && first.contains("200 GFLOP/s"), "{first}");
        assert!(first.contains("* Engines: nas-nn (rustc 1); PyTorch 2; burn 1\n"), "{first}");
        assert!(first.contains("Not measured: W5,") && first.contains("## Eight children"), "{first}");
        let remarked = first.replace(BEGIN, &format!("{BEGIN}\nW3 is limited by memory.\n\nW4 too."));
        fs::write(&file, &remarked).unwrap();
        write(root.path(), &conditions, &results()).unwrap();
        let second = fs::read_to_string(&file).unwrap();
        assert_eq!(remarks(&second).unwrap(), "W3 is limited by memory.\n\nW4 too.");
        write(root.path(), &conditions, &results()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), second);
        // What the other command writes stands behind, once, and is kept by this one.
        for numbers in ["## Same numbers\n\nNone.\n", "## Same numbers\n\nAll.\n"] {
            write_numbers(root.path(), numbers).unwrap();
            write(root.path(), &conditions, &results()).unwrap();
        }
        let third = fs::read_to_string(&file).unwrap();
        assert_eq!(third, second + &marked("## Same numbers\n\nAll."));
    }

    #[test]
    fn a_document_without_marks_is_not_overwritten() {
        assert!(remarks("# Mine\n").unwrap_err().to_string().contains("begin is gone"));
        assert!(remarks(&format!("{BEGIN}\nmine\n")).unwrap_err().to_string().contains("end is gone"));
    }
}
