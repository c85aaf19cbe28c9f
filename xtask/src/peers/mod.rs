//! `cargo xtask bench --peers`: our engine and PyTorch alternately in one run, on the same workloads.
//!
//! Either side is a process that measures on request ([`engine`]), so that rounds alternate without paying PyTorch's
//! import each time. What was measured becomes rows ([`results`]), tables ([`table`]), a plot ([`plot`]) and
//! `docs/performance.md` ([`report`]).

mod check;
mod engine;
mod plot;
mod python;
mod report;
mod results;
mod rust;
mod table;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, ensure};
use serde_json::json;
use xshell::{Shell, cmd};

use crate::{bench, workspace};
use engine::{About, Engine, Launcher, Product, Seconds, Steps};
use results::{Arrangement, Children, Pair, Results};
use rust::Others;

/// Fresh processes are started in that many rounds only: PyTorch takes seconds for each.
const STARTUPS: usize = 3;
/// The population: how many children, on how many cores, and the steps of each by workload.
const CHILDREN: usize = 8;
const CORES: usize = 2;
const POPULATIONS: [(&str, usize); 2] = [("W2", 60), ("W3", 4)];

#[derive(Debug, clap::Args)]
#[group(id = "comparison")]
pub(crate) struct Args {
    /// With --peers: how often everything is measured, on both sides.
    #[arg(long, default_value_t = 5, requires = "peers")]
    rounds: usize,
    /// With --peers: only these workloads (W2,W3); the documents are left alone then.
    #[arg(long, value_delimiter = ',', requires = "peers")]
    only: Vec<String>,
    /// With --peers: seconds that each side measures a workload in a round.
    #[arg(long, default_value_t = 3.0, requires = "peers")]
    seconds: f64,
    /// With --peers: threads of a training step.
    #[arg(long, value_delimiter = ',', default_value = "1,2", requires = "peers")]
    threads: Vec<usize>,
    /// With --peers: a Python that has PyTorch, instead of the one installed under the target folder.
    #[arg(long, requires = "peers")]
    python: Option<PathBuf>,
    /// With --peers: burn and candle as well, which are built for it: many minutes the first time.
    #[arg(long, requires = "peers", conflicts_with = "check")]
    rust: bool,
    /// With --peers --check: what decides the random graphs.
    #[arg(long, default_value_t = 1, requires_all = ["peers", "check"], conflicts_with = "instructions")]
    seed: u64,
}

/// Compares the numbers of both engines.
pub(crate) fn check(sh: &Shell, root: &Path, args: &Args) -> anyhow::Result<()> {
    let target = workspace::metadata(sh)?.target_directory;
    let peer = build(sh, &target)?;
    check::run(sh, root, &peer, &python(sh, root, &target, args)?, args.seed)
}

/// The Python asked for, or one that is made.
fn python(sh: &Shell, root: &Path, target: &Path, args: &Args) -> anyhow::Result<PathBuf> {
    args.python.clone().map_or_else(|| python::prepare(sh, root, target), Ok)
}

/// Measures, prints the tables, writes the documents.
pub(crate) fn run(sh: &Shell, root: &Path, args: &Args) -> anyhow::Result<()> {
    ensure!(args.rounds > 0 && args.seconds > 0.0, "nothing is measured in no round or no time");
    let cores = thread::available_parallelism()?.get();
    for &threads in &args.threads {
        ensure!((1..=cores).contains(&threads), "{threads} threads on {cores} cores say nothing");
    }
    let target = workspace::metadata(sh)?.target_directory;
    let ours = ours(sh, &target)?;
    let python = python(sh, root, &target, args)?;
    let torch = Launcher::new("PyTorch", &python).argument("-B").argument(root.join("benches/peers/torch_peer.py"));

    let mut sides = [ours.serve()?, torch.serve()?];
    let about: [About; 2] = [sides[0].ask(&json!({ "do": "about" }))?, sides[1].ask(&json!({ "do": "about" }))?];
    let (workloads, missing) = chosen(&about, &args.only)?;
    if !missing.is_empty() {
        println!("not measured, as our engine's side has no such workload: {}", missing.join(", "));
    }

    let (possible, too_many): (Vec<usize>, Vec<usize>) =
        args.threads.iter().partition(|&&threads| about[0].threads.is_none_or(|most| threads <= most));
    for threads in too_many {
        println!("not measured on {threads} threads: a training step of our engine does not run on as many");
    }
    ensure!(!possible.is_empty(), "our engine's training steps run on none of these numbers of threads");
    let mut others = if args.rust { Others::build(sh, root, &target, &possible)? } else { Others::none() };

    let mut results = Results::default();
    let mut helpers = [torch.serve()?, torch.serve()?];
    for round in 0..args.rounds {
        println!("round {} of {}", round + 1, args.rounds);
        let product: Product = sides[0].ask(&json!({ "do": "product", "seconds": 0.5 }))?;
        results.products.push(product.gflops);
        // One thread first: those of PyTorch spin for a while after their work.
        for &threads in &possible {
            for workload in &workloads {
                let request =
                    json!({ "do": "measure", "workload": workload, "threads": threads, "seconds": args.seconds });
                let pair = alternate(round, &mut sides, |engine| engine.ask::<Steps>(&request))?;
                println!(
                    "  {workload:4} {threads} threads  {:9.3} ms  PyTorch {:9.3} ms",
                    pair.ours.median_ms, pair.torch.median_ms
                );
                results.add_steps(workload, threads, pair);
            }
        }
        others.measure(&workloads, args.seconds, &mut results)?;
        for workload in workloads.iter().filter(|_| round < STARTUPS) {
            let pair = alternate(round, &mut [&ours, &torch], |launcher| launcher.startup(workload))?;
            println!(
                "  {workload:4} from nothing {:6.1} ms  PyTorch {:6.0} ms",
                pair.ours.process_ms, pair.torch.process_ms
            );
            results.add_startup(workload, pair);
        }
        for (workload, steps) in POPULATIONS {
            if cores >= CORES && workloads.iter().any(|chosen| chosen == workload) {
                let children = population(workload, steps, &mut sides[0], &mut helpers)?;
                results.add_children(workload, children);
            }
        }
    }

    let conditions = report::Conditions {
        machine: bench::machine(sh)?,
        commit: bench::commit(sh)?,
        engines: about.map(|about| about.engine),
        others: others.engines(),
        rounds: args.rounds,
        seconds: args.seconds,
        missing,
    };
    println!("\n{}", table::all(&results));
    if args.only.is_empty() {
        report::write(root, &conditions, &results)?;
    } else {
        println!("docs/performance.md is written by runs of all workloads only");
    }
    Ok(())
}

/// Our side, freshly built.
fn ours(sh: &Shell, target: &Path) -> anyhow::Result<Launcher> {
    build(sh, target).map(|program| Launcher::new("our engine", &program))
}

/// Builds `peer` in release; where it is.
pub(crate) fn build(sh: &Shell, target: &Path) -> anyhow::Result<PathBuf> {
    cmd!(sh, "cargo build --release -p nas-benches --bin peer").run()?;
    Ok(target.join("release").join(format!("peer{}", std::env::consts::EXE_SUFFIX)))
}

/// The workloads that both sides have and that were asked for, and those that only PyTorch's side has.
fn chosen(about: &[About; 2], only: &[String]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let [ours, all] = about.each_ref().map(|about| &about.workloads);
    for name in only {
        ensure!(all.contains(name), "there is no workload {name}; there are {}", all.join(", "));
    }
    let wanted = all.iter().filter(|name| only.is_empty() || only.contains(name)).cloned();
    let (both, missing): (Vec<String>, Vec<String>) = wanted.partition(|name| ours.contains(name));
    ensure!(!both.is_empty(), "our engine's side has none of {}", only.join(", "));
    Ok((both, missing))
}

/// What `measure` finds on both sides; the other side begins every round.
fn alternate<S, T>(
    round: usize,
    sides: &mut [S; 2],
    measure: impl Fn(&mut S) -> anyhow::Result<T>,
) -> anyhow::Result<Pair<T>> {
    let [ours, torch] = sides;
    if round.is_multiple_of(2) {
        let ours = measure(ours)?;
        Ok(Pair { ours, torch: measure(torch)? })
    } else {
        let torch = measure(torch)?;
        Ok(Pair { ours: measure(ours)?, torch })
    }
}

/// Trains a population on both sides: ours one child a thread, PyTorch in every arrangement that keeps two cores busy.
fn population(workload: &str, steps: usize, ours: &mut Engine, helpers: &mut [Engine; 2]) -> anyhow::Result<Children> {
    let request = |children: usize, steps: usize, workers: usize| json!({ "do": "population", "workload": workload, "children": children, "steps": steps, "workers": workers });
    // Imports, kernels compiled for a shape and threads belong to no child.
    ours.ask::<Seconds>(&request(CORES, 1, CORES))?;
    let seconds = ours.ask::<Seconds>(&request(CHILDREN, steps, CORES))?.seconds;
    let mut children = Children { steps, ours: seconds, torch: Vec::new() };
    for layout in ["channels_last", "contiguous"] {
        let with_layout = |mut request: serde_json::Value| {
            request["layout"] = layout.into();
            request
        };
        for helper in helpers.iter_mut() {
            helper.ask::<Seconds>(&with_layout(request(1, 1, 1)))?;
        }
        let half = with_layout(request(CHILDREN / CORES, steps, 1));
        let start = std::time::Instant::now();
        for helper in helpers.iter_mut() {
            helper.send(&half)?;
        }
        for helper in helpers.iter_mut() {
            helper.receive::<Seconds>()?;
        }
        let arrangement = Arrangement { processes: CORES, threads: 1, layout };
        children.torch.push((arrangement, start.elapsed().as_secs_f64()));

        helpers[0].ask::<Seconds>(&with_layout(request(CORES, 1, CORES)))?;
        let seconds = helpers[0].ask::<Seconds>(&with_layout(request(CHILDREN, steps, CORES)))?.seconds;
        let arrangement = Arrangement { processes: 1, threads: CORES, layout };
        children.torch.push((arrangement, seconds));
    }
    let best = children.torch.iter().map(|(_, seconds)| *seconds).reduce(f64::min).context("PyTorch was measured")?;
    println!("  {workload:4} eight children {:6.2} s  PyTorch {best:6.2} s", children.ours);
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(workloads: &[&str]) -> About {
        About {
            engine: String::new(),
            workloads: workloads.iter().map(|&name| name.to_owned()).collect(),
            threads: None,
        }
    }

    #[test]
    fn workloads_are_those_of_both_sides() {
        let both = [about(&["W1", "W3"]), about(&["W1", "W2", "W3"])];
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
            chosen(&both, &only).map(|(both, missing)| format!("{} without {}", both.join(" "), missing.join(" ")))
        };
        assert_eq!(names(&[]).unwrap(), "W1 W3 without W2");
        assert_eq!(names(&["W3"]).unwrap(), "W3 without ");
        assert!(names(&["W2"]).unwrap_err().to_string().contains("none of W2"));
        assert!(names(&["W9"]).unwrap_err().to_string().contains("there are W1, W2, W3"));
    }

    #[test]
    fn the_other_side_begins_every_round() {
        let order = std::cell::RefCell::new(Vec::new());
        for round in 0..2 {
            let pair = alternate(round, &mut ["ours", "torch"], |side| {
                order.borrow_mut().push(*side);
                Ok(side.len())
            });
            assert_eq!(pair.unwrap(), Pair { ours: 4, torch: 5 });
        }
        assert_eq!(*order.borrow(), ["ours", "torch", "torch", "ours"]);
    }
}
