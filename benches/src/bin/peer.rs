//! Our side of the comparison with PyTorch; `benches/peers/torch_peer.py` is the other and says the same.
//!
//! * `peer` reads a request a line from standard input and writes an answer a line, both JSON, until the input ends:
//!   `{"do": "about"}`, `{"do": "measure", "workload": "W3", "threads": 1, "seconds": 4}`,
//!   `{"do": "population", "workload": "W2", "children": 8, "steps": 60, "workers": 2}`,
//!   `{"do": "product", "seconds": 1}`. What cannot be done is answered by `{"error": …}`.
//! * `peer startup W2` does the first step, says so in a line, and goes on to the figures of a fresh process.
//! * `peer steps W2 5 64` does that many steps on 64 examples and nothing else, for a profiler that counts in `counted_steps`.
//! * `peer graphs 1 200` writes 200 random graphs of seed 1 with what they are fed and what our engine finds, a line of JSON
//!   each; `benches/peers/check.py` reads them. `peer epochs 5` does the same for an epoch of training of each of five seeds and
//!   `benches/peers/epoch.py`. `peer operations` names the operations of the graphs in a line.

use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;

use nas_benches::workloads::{self, Batch, Training, find};
use nas_benches::{Error, epoch, measure, random};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Steps after which a fresh process tells its memory: every buffer of training has been used then.
const STEPS: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    /// What this is and what it knows.
    About,
    /// Steady steps.
    Measure { workload: String, threads: usize, seconds: f64 },
    /// Several networks, one a worker at a time.
    Population { workload: String, children: usize, steps: usize, workers: usize },
    /// The rate of the best matrix product.
    Product { seconds: f64 },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => serve(),
        ["startup", workload] => startup(workload),
        ["steps", workload, count, examples] => steps(workload, count, examples),
        ["graphs", seed, count] => graphs(seed, count),
        ["epochs", count] => epochs(count),
        ["operations"] => say(&random::operations().collect::<Vec<_>>()).map_err(Into::into),
        _ => {
            Err("usage: peer [startup WORKLOAD | steps WORKLOAD COUNT EXAMPLES | graphs SEED COUNT | epochs COUNT | operations]"
                .into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn serve() -> Done {
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(request) => answer(&request).unwrap_or_else(|error| json!({ "error": error.to_string() })),
            Err(error) => json!({ "error": error.to_string() }),
        };
        say(&answer)?;
    }
    Ok(())
}

fn answer(request: &Request) -> Result<Value, Error> {
    Ok(match request {
        Request::About => {
            let names: Vec<&str> = workloads::ALL.iter().map(|workload| workload.name).collect();
            let simd = nas_nn::kernel::simd().map_err(Error::Request)?.to_string();
            json!({ "engine": format!("nas-nn, {simd}"), "workloads": names, "threads": workloads::most_threads() })
        }
        Request::Measure { workload, threads, seconds } => {
            serde_json::to_value(measure::steps(find(workload)?, *threads, *seconds)?).expect("figures are JSON")
        }
        Request::Population { workload, children, steps, workers } => {
            json!({ "seconds": measure::population(find(workload)?, *children, *steps, *workers)? })
        }
        Request::Product { seconds } => json!({ "gflops": measure::product(*seconds) }),
    })
}

/// The first step of a fresh process, then its peak memory in training, then what a further network costs.
fn startup(name: &str) -> Done {
    let workload = find(name)?;
    let batches = workload.batches(1, 1);
    let mut training = workload.start(1)?;
    training.step(&batches[0])?;
    say(&json!({ "first_step": true }))?;
    run(&mut training, &batches[0], STEPS - 1)?;
    let peak_mb = measure::peak_mb();
    let mut further_ms = f64::INFINITY;
    for seed in 2..5 {
        further_ms = further_ms.min(measure::first_step(workload, &batches[0], seed)?);
    }
    say(&json!({ "peak_mb": peak_mb, "further_ms": further_ms }))?;
    Ok(())
}

fn run(training: &mut Training, batch: &Batch, steps: usize) -> Result<(), Error> {
    for _ in 0..steps {
        training.step(batch)?;
    }
    Ok(())
}

fn steps(name: &str, count: &str, examples: &str) -> Done {
    let workload = find(name)?.with_batch(examples.parse()?);
    let batches = workload.batches(1, 1);
    let mut training = workload.start(1)?;
    counted_steps(&mut training, &batches[0], count.parse()?)?;
    Ok(())
}

/// Not inlined: a profiler finds it by name.
#[inline(never)]
fn counted_steps(training: &mut Training, batch: &Batch, count: usize) -> Result<(), Error> {
    run(training, batch, count)
}

/// Random graphs, all operations among them.
fn graphs(seed: &str, count: &str) -> Done {
    let (seed, count) = (seed.parse()?, count.parse()?);
    for number in 0..count {
        say(&random::case(seed, number).map_err(|error| format!("graph {number} of seed {seed}: {error}"))?)?;
    }
    Ok(())
}

/// Epochs of training, of seeds from 1 on.
fn epochs(count: &str) -> Done {
    for seed in 1..=count.parse()? {
        say(&epoch::epoch(seed)?)?;
    }
    Ok(())
}

/// One line, sent at once.
fn say(answer: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(answer)?)?;
    out.flush()
}
