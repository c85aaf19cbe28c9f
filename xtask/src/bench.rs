//! `cargo xtask bench`: runs the benchmarks, keeps what they measured and compares with an earlier run.
//!
//! Criterion measures and judges its own noise; this task reads its estimates into one small file a run, so that two runs
//! can be set side by side long after criterion's folder is gone. Times of different machines are never compared silently.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use crate::{agents, instructions, peers, workspace};

/// A change beyond this is said in the table.
const NOTABLE: f64 = 0.10;

/// The baseline that every complete run becomes, and that the next is compared with.
const LAST: &str = "last";

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("other").args(["peers", "instructions"]))]
pub(crate) struct Args {
    /// Only benchmarks whose name contains this; such a run is kept only under the name given to --save.
    filter: Option<String>,
    /// Stop each benchmark as soon as its mean is known to about 5 %.
    #[arg(long)]
    quick: bool,
    /// Also keep this run as baselines/NAME.json.
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// Compare with baselines/NAME.json [default: the last complete run, if there is one].
    #[arg(long, value_name = "NAME")]
    compare: Option<String>,
    /// Instead, measure our engine and PyTorch alternately, and write docs/performance.md.
    #[arg(long, conflicts_with_all = ["filter", "quick", "save", "compare"])]
    peers: bool,
    #[command(flatten)]
    peer: peers::Args,
    /// Instead, count the instructions of five training steps and store them in benches/instructions.json.
    #[arg(long, conflicts_with_all = ["filter", "quick", "save", "compare", "peers"])]
    instructions: bool,
    /// Instead, run 200 searches of each agent on NAS-Bench-201, and fail when regrets or evaluations a second miss what they must
    /// reach; half a minute.
    #[arg(long, conflicts_with_all = ["filter", "quick", "save", "compare", "peers", "instructions", "check"])]
    agents: bool,
    /// With --peers: time nothing, and fail when losses, gradients or accuracies differ from PyTorch's. With --instructions:
    /// store nothing, and fail when a count rose by more than 3 %.
    #[arg(long, requires = "other")]
    check: bool,
}

/// One run of the benchmarks.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Baseline {
    machine: Machine,
    /// The commit measured, with a mark when files had changed since.
    commit: String,
    quick: bool,
    /// By criterion's full name: group/function/parameter.
    times: BTreeMap<String, Time>,
}

/// What the figures hold for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) threads: usize,
    pub(crate) system: String,
    pub(crate) compiler: String,
}

/// The time of one iteration in nanoseconds, with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Time {
    estimate: f64,
    low: f64,
    high: f64,
}

/// Runs, prints the table, stores.
pub(crate) fn run(sh: &Shell, root: &Path, args: &Args) -> anyhow::Result<()> {
    if args.peers && args.check {
        return peers::check(sh, root, &args.peer);
    }
    if args.peers {
        return peers::run(sh, root, &args.peer);
    }
    if args.agents {
        return agents::run(sh);
    }
    if args.instructions {
        return instructions::run(sh, root, args.check);
    }
    let folder = root.join("baselines");
    let earlier = match &args.compare {
        Some(name) => Some((name.as_str(), load(&path(&folder, name)?)?)),
        None if path(&folder, LAST)?.exists() => Some((LAST, load(&path(&folder, LAST)?)?)),
        None => None,
    };
    let save = args.save.as_deref().map(|name| path(&folder, name)).transpose()?;

    let measured = workspace::metadata(sh)?.target_directory.join("criterion");
    // What an earlier run measured must not pass for this one's.
    sh.remove_path(&measured)?;
    let filter = args.filter.as_deref();
    let quick = args.quick.then_some("--quick");
    cmd!(sh, "cargo bench -p nas-benches --benches -- --noplot {quick...} {filter...}").run()?;

    let mut times = BTreeMap::new();
    collect(&measured, &mut times)?;
    ensure!(!times.is_empty(), "no benchmark ran; see the names with: cargo bench -p nas-benches --benches -- --list");
    let now = Baseline { machine: machine(sh)?, commit: commit(sh)?, quick: args.quick, times };

    print!("\n{}", table(&now, earlier.as_ref().map(|(name, baseline)| (*name, baseline))));
    fs::create_dir_all(&folder)?;
    let last = args.filter.is_none().then(|| path(&folder, LAST)).transpose()?;
    for file in [save, last].into_iter().flatten() {
        store(&now, &file)?;
        println!("kept as {}", file.strip_prefix(root).unwrap_or(&file).display());
    }
    Ok(())
}

/// Where the baseline `name` is kept.
fn path(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain),
        "`{name}` is no name for a file"
    );
    Ok(folder.join(format!("{name}.json")))
}

fn load(file: &Path) -> anyhow::Result<Baseline> {
    let text = fs::read_to_string(file).with_context(|| format!("no baseline at {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no baseline", file.display()))
}

fn store(baseline: &Baseline, file: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(baseline)? + "\n";
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

pub(crate) fn machine(sh: &Shell) -> anyhow::Result<Machine> {
    // Linux names the processor here; elsewhere the architecture has to do.
    let processor = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| processor(&text))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    Ok(Machine {
        processor,
        threads: thread::available_parallelism()?.get(),
        system: std::env::consts::OS.to_owned(),
        compiler: cmd!(sh, "rustc --version").quiet().read()?,
    })
}

fn processor(cpuinfo: &str) -> Option<String> {
    let (_, name) = cpuinfo.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(name.trim().to_owned())
}

pub(crate) fn commit(sh: &Shell) -> anyhow::Result<String> {
    let commit = cmd!(sh, "git describe --always --dirty").quiet().ignore_stderr().ignore_status().read()?;
    Ok(if commit.is_empty() { "no commit".to_owned() } else { commit })
}

/// Adds every measurement below `folder`: criterion writes `…/new/benchmark.json` and `…/new/estimates.json` a benchmark.
fn collect(folder: &Path, times: &mut BTreeMap<String, Time>) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Benchmark {
        full_id: String,
    }
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.ends_with("new") {
            let benchmark: Benchmark = serde_json::from_str(&fs::read_to_string(path.join("benchmark.json"))?)?;
            let estimates = fs::read_to_string(path.join("estimates.json"))?;
            let time =
                time(&estimates).with_context(|| format!("cannot read the estimates of {}", benchmark.full_id))?;
            times.insert(benchmark.full_id, time);
        } else if path.is_dir() {
            collect(&path, times)?;
        }
    }
    Ok(())
}

/// The time in criterion's `estimates.json`: the slope where it could fit one, else the mean, as criterion prints it.
fn time(estimates: &str) -> anyhow::Result<Time> {
    #[derive(Deserialize)]
    struct Estimates {
        mean: Estimate,
        slope: Option<Estimate>,
    }
    #[derive(Deserialize)]
    struct Estimate {
        point_estimate: f64,
        confidence_interval: Interval,
    }
    #[derive(Deserialize)]
    struct Interval {
        lower_bound: f64,
        upper_bound: f64,
    }
    let estimates: Estimates = serde_json::from_str(estimates)?;
    let best = estimates.slope.unwrap_or(estimates.mean);
    let Interval { lower_bound, upper_bound } = best.confidence_interval;
    Ok(Time { estimate: best.point_estimate, low: lower_bound, high: upper_bound })
}

/// The table of `now`, each line with its change since `earlier`.
fn table(now: &Baseline, earlier: Option<(&str, &Baseline)>) -> String {
    let mut text = String::new();
    let width = now.times.keys().map(|name| name.chars().count()).max().unwrap_or(0).max("benchmark".len());
    let heading = earlier.map_or(String::new(), |(name, _)| format!("  since {name}"));
    let _ = writeln!(text, "{:width$}  {:>9}  {:>21}{heading}", "benchmark", "time", "95 % interval");
    for (name, time) in &now.times {
        let change = match earlier {
            None => String::new(),
            Some((_, earlier)) => match earlier.times.get(name) {
                None => "  new".to_owned(),
                Some(before) => format!("  {}", change(*before, *time)),
            },
        };
        let interval = format!("{} .. {}", duration(time.low), duration(time.high));
        let _ = writeln!(text, "{name:width$}  {:>9}  {interval:>21}{change}", duration(time.estimate));
    }
    if let Some((name, earlier)) = earlier {
        if earlier.machine != now.machine {
            let Machine { processor, threads, system, compiler } = &earlier.machine;
            let _ = writeln!(
                text,
                "{name} is of another machine or compiler: {processor}, {threads} threads, {system}, {compiler}"
            );
        }
        if earlier.quick != now.quick {
            let kind = if earlier.quick { "a quick" } else { "a full" };
            let _ = writeln!(text, "{name} was {kind} run: small changes mean nothing");
        }
    }
    text
}

/// The change of a time in words: only beyond [`NOTABLE`], and only when the intervals do not overlap, is it called one.
fn change(before: Time, now: Time) -> String {
    let change = now.estimate / before.estimate - 1.0;
    let apart = now.low > before.high || now.high < before.low;
    let note = match change {
        _ if !apart => "",
        change if change > NOTABLE => "  SLOWER",
        change if change < -NOTABLE => "  faster",
        _ => "",
    };
    format!("{:+.1} %{note}", change * 100.0)
}

/// Nanoseconds for people: three digits and a unit.
fn duration(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(estimate: f64) -> Time {
        Time { estimate, low: estimate, high: estimate }
    }

    fn baseline(times: &[(&str, f64)]) -> Baseline {
        Baseline {
            machine: Machine {
                processor: "a processor".to_owned(),
                threads: 2,
                system: "linux".to_owned(),
                compiler: "rustc 1".to_owned(),
            },
            commit: "abc".to_owned(),
            quick: false,
            times: times.iter().map(|&(name, time)| (name.to_owned(), exactly(time))).collect(),
        }
    }

    #[test]
    fn durations() {
        let shown = [1.0, 12.34, 999.0, 1234.0, 56_789.0, 1.5e6, 2.5e10].map(duration);
        assert_eq!(shown, ["1.00 ns", "12.3 ns", "999 ns", "1.23 µs", "56.8 µs", "1.50 ms", "25.0 s"]);
    }

    #[test]
    fn changes_are_noted_when_large_and_certain() {
        assert_eq!(change(exactly(100.0), exactly(111.0)), "+11.0 %  SLOWER");
        assert_eq!(change(exactly(100.0), exactly(80.0)), "-20.0 %  faster");
        assert_eq!(change(exactly(100.0), exactly(105.0)), "+5.0 %");
        let wide = Time { estimate: 120.0, low: 99.0, high: 140.0 };
        assert_eq!(change(exactly(100.0), wide), "+20.0 %");
    }

    #[test]
    fn the_table_compares() {
        let before = baseline(&[("gemm/64", 1e6), ("gone", 1.0)]);
        let now = baseline(&[("gemm/64", 2e6), ("lstm", 5e3)]);
        let expected = "\
benchmark       time          95 % interval  since last
gemm/64      2.00 ms     2.00 ms .. 2.00 ms  +100.0 %  SLOWER
lstm         5.00 µs     5.00 µs .. 5.00 µs  new
";
        assert_eq!(table(&now, Some(("last", &before))), expected);
    }

    #[test]
    fn another_machine_is_named() {
        let (mut before, now) = (baseline(&[("a", 1.0)]), baseline(&[("a", 1.0)]));
        before.machine.processor = "an older one".to_owned();
        before.quick = true;
        let text = table(&now, Some(("old", &before)));
        assert!(text.contains("old is of another machine or compiler: an older one, 2 threads"), "{text}");
        assert!(text.contains("old was a quick run"), "{text}");
    }

    #[test]
    fn criterion_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let estimate = |value: f64| {
            format!(
                r#"{{"confidence_interval":{{"confidence_level":0.95,"lower_bound":{},"upper_bound":{}}},"point_estimate":{value},"standard_error":1.0}}"#,
                value - 1.0,
                value + 1.0
            )
        };
        for (name, slope) in [("a", "null".to_owned()), ("b", estimate(20.0))] {
            let path = folder.path().join("group").join(name).join("new");
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("benchmark.json"), format!(r#"{{"group_id":"group","full_id":"group/{name}"}}"#))
                .unwrap();
            fs::write(path.join("estimates.json"), format!(r#"{{"mean":{},"slope":{slope}}}"#, estimate(10.0)))
                .unwrap();
        }
        let mut times = BTreeMap::new();
        collect(folder.path(), &mut times).unwrap();
        let expected = [("group/a", 10.0), ("group/b", 20.0)]
            .map(|(name, time)| (name.to_owned(), Time { estimate: time, low: time - 1.0, high: time + 1.0 }));
        assert_eq!(times, BTreeMap::from(expected));
    }

    #[test]
    fn baselines_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = path(folder.path(), "v0.1").unwrap();
        let stored = baseline(&[("a", 1.5)]);
        store(&stored, &file).unwrap();
        assert_eq!(load(&file).unwrap(), stored);
        assert!(path(folder.path(), "../v0.1").is_err());
    }

    #[test]
    fn processors() {
        assert_eq!(processor("flags : x\nmodel name\t: Some CPU @ 2 GHz\n").as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(processor("nothing"), None);
    }
}
