//! What the two peers share: the requests they answer, how a step is timed, and the data. `benches/src/bin/peer.rs` and
//! `benches/src/measure.rs` are the same for our engine.

use std::error::Error;
use std::io::{self, BufRead as _, Write as _};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

/// The workloads: the names of the tables, and the numbers of `benches/src/workloads.rs`.
pub const WORKLOADS: [&str; 3] = ["W2", "W3", "W5"];
/// Examples of a step, batches that steps take in turn.
const BATCHES: usize = 8;
/// Steps before the clock starts, and steps that are measured however long they take.
const FEWEST: usize = 3;
/// Classes of images; characters and steps of texts.
pub const CLASSES: usize = 10;
pub const VOCABULARY: usize = 65;
pub const STEPS: usize = 64;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A network in training: a step on the batch with that number, below [`BATCHES`]; the loss before it.
pub type Training = Box<dyn FnMut(usize) -> Outcome<f32>>;

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    About,
    Measure { workload: String, threads: usize, seconds: f64 },
}

/// Answers a line of JSON with a line of JSON until the input ends. `start` makes the network of a workload with its data.
pub fn serve(engine: &str, start: impl Fn(&str, &[Batch]) -> Outcome<Training>) -> Outcome<()> {
    for line in io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?).map_err(Into::into).and_then(|request| match request {
            Request::About => Ok(json!({ "engine": engine, "workloads": WORKLOADS })),
            Request::Measure { workload, threads, seconds } => measure(&workload, threads, seconds, &start),
        });
        let answer = answer.unwrap_or_else(|error: Box<dyn Error>| json!({ "error": error.to_string() }));
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn measure(
    workload: &str,
    threads: usize,
    seconds: f64,
    start: &impl Fn(&str, &[Batch]) -> Outcome<Training>,
) -> Outcome<Value> {
    // Both engines work on rayon's threads, which RAYON_NUM_THREADS counts once for the process.
    let found = rayon::current_num_threads();
    if found != threads {
        return Err(format!("this process has {found} threads; start it with RAYON_NUM_THREADS={threads}").into());
    }
    let batches: Vec<Batch> = (0..BATCHES).map(|i| Batch::of(workload, i as u64)).collect::<Outcome<_>>()?;
    let mut training = start(workload, &batches)?;
    let mut turn = (0..BATCHES).cycle();
    let mut step = || training(turn.next().expect("a cycle has no end"));

    let warm = Instant::now();
    let (mut done, mut losses) = (0, 0.0);
    while done <= FEWEST || warm.elapsed().as_secs_f64() < seconds / 4.0 {
        losses += step()?;
        done += 1;
    }
    let (clock, mut times) = (Instant::now(), Vec::new());
    while times.len() < FEWEST || clock.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        losses += step()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    if !losses.is_finite() {
        return Err(format!("{workload} diverged: its time says nothing").into());
    }
    times.sort_by(f64::total_cmp);
    Ok(json!({ "threads": threads, "steps": times.len(), "min_ms": times[0], "median_ms": times[times.len() / 2] }))
}

/// A batch: pixels or tokens, and a class for every image or token.
pub struct Batch {
    /// Sizes of the examples, the batch first.
    pub dims: Vec<usize>,
    pub pixels: Vec<f32>,
    pub tokens: Vec<u32>,
    pub classes: Vec<u32>,
}

impl Batch {
    fn of(workload: &str, seed: u64) -> Outcome<Self> {
        let mut draws = Draws(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed + 1));
        let dims = match workload {
            "W2" => vec![64, 1, 8, 8],
            "W3" => vec![64, 3, 32, 32],
            "W5" => vec![32, STEPS],
            other => return Err(format!("there is no workload {other}; there are {}", WORKLOADS.join(", ")).into()),
        };
        let count = dims.iter().product();
        let mut below = |limit: usize, count: usize| (0..count).map(|_| (draws.next() * limit as f64) as u32).collect();
        if dims.len() == 2 {
            return Ok(Batch {
                tokens: below(VOCABULARY, count),
                classes: below(VOCABULARY, count),
                pixels: vec![],
                dims,
            });
        }
        let classes = below(CLASSES, dims[0]);
        Ok(Batch { pixels: (0..count).map(|_| draws.normal()).collect(), classes, tokens: vec![], dims })
    }
}

/// Random numbers that are the same everywhere (xorshift).
struct Draws(u64);

impl Draws {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Near enough to N(0, 1): the sum of twelve.
    fn normal(&mut self) -> f32 {
        ((0..12).map(|_| self.next()).sum::<f64>() - 6.0) as f32
    }
}
