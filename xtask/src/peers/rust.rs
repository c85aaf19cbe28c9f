//! burn and candle, the other engines in Rust: built from `benches/rust-peers`, a workspace of its own, only when asked for.

use std::path::Path;

use serde_json::json;
use xshell::{Shell, cmd};

use super::engine::{About, Engine, Launcher, Steps};
use super::results::Results;

/// What they work on is rayon's pool, whose size a process reads once.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Running engines, on some number of threads each.
pub(crate) struct Others(Vec<Other>);

struct Other {
    name: &'static str,
    threads: usize,
    about: About,
    engine: Engine,
}

impl Others {
    /// None.
    pub(crate) fn none() -> Self {
        Others(Vec::new())
    }

    /// Builds both, and starts each once for each of the `threads`.
    pub(crate) fn build(sh: &Shell, root: &Path, target: &Path, threads: &[usize]) -> anyhow::Result<Self> {
        let manifest = root.join("benches/rust-peers/Cargo.toml");
        let target = target.join("rust-peers");
        println!("building burn and candle: many minutes the first time");
        cmd!(sh, "cargo build --release --locked --manifest-path {manifest} --target-dir {target}").run()?;
        let mut others = Vec::new();
        for name in ["burn", "candle"] {
            let program = target.join("release").join(format!("{name}_peer{}", std::env::consts::EXE_SUFFIX));
            for &threads in threads {
                let mut engine = Launcher::new(name, &program).environment(THREADS, threads.to_string()).serve()?;
                let about = engine.ask(&json!({ "do": "about" }))?;
                others.push(Other { name, threads, about, engine });
            }
        }
        Ok(Others(others))
    }

    /// What they are.
    pub(crate) fn engines(&self) -> Vec<String> {
        let mut engines: Vec<String> = self.0.iter().map(|other| other.about.engine.clone()).collect();
        engines.dedup();
        engines
    }

    /// Measures those of the `workloads` that they have.
    pub(crate) fn measure(&mut self, workloads: &[String], seconds: f64, results: &mut Results) -> anyhow::Result<()> {
        for Other { name, threads, about, engine } in &mut self.0 {
            for workload in workloads.iter().filter(|workload| about.workloads.contains(workload)) {
                let request = json!({ "do": "measure", "workload": workload, "threads": threads, "seconds": seconds });
                let steps: Steps = engine.ask(&request)?;
                println!("  {workload:4} {threads} threads  {name} {:9.3} ms", steps.median_ms);
                results.add_other(workload, *threads, name, steps);
            }
        }
        Ok(())
    }
}
