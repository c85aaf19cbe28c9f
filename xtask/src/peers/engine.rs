//! One side of the comparison: a process that answers a line of JSON with a line of JSON.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a side is and knows.
#[derive(Debug, Deserialize)]
pub(crate) struct About {
    pub(crate) engine: String,
    pub(crate) workloads: Vec<String>,
    /// The most threads of a training step, where there is a limit.
    pub(crate) threads: Option<usize>,
}

/// Steady training steps. Both sides tell more than is read here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Steps {
    /// Threads that a step ran on.
    pub(crate) threads: usize,
    pub(crate) min_ms: f64,
    pub(crate) median_ms: f64,
    /// Multiply-adds of a batch's forward pass, which our side knows.
    pub(crate) multiply_adds: Option<u64>,
}

/// The rate of the best matrix product.
#[derive(Debug, Deserialize)]
pub(crate) struct Product {
    pub(crate) gflops: f64,
}

/// How long it took.
#[derive(Debug, Deserialize)]
pub(crate) struct Seconds {
    pub(crate) seconds: f64,
}

/// A fresh process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Startup {
    /// From its start to the end of its first step.
    pub(crate) process_ms: f64,
    /// Building a further network and its first step.
    pub(crate) further_ms: f64,
    /// The most memory in training, where the system tells.
    pub(crate) peak_mb: Option<f64>,
}

/// How a side is started.
#[derive(Debug)]
pub(crate) struct Launcher {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, String)>,
}

impl Launcher {
    pub(crate) fn new(name: &'static str, program: &Path) -> Self {
        Launcher { name, program: program.to_owned(), arguments: Vec::new(), environment: Vec::new() }
    }

    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn environment(mut self, name: &'static str, value: String) -> Self {
        self.environment.push((name, value));
        self
    }

    fn spawn(&self, further: &[&str]) -> anyhow::Result<Engine> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(further).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}: {}", self.name, self.program.display()))?;
        let requests = child.stdin.take().context("its input is piped")?;
        let answers = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        Ok(Engine { name: self.name, child, requests: Some(requests), answers })
    }

    /// A process that answers until it is dropped.
    pub(crate) fn serve(&self) -> anyhow::Result<Engine> {
        self.spawn(&[])
    }

    /// Measures a fresh process.
    pub(crate) fn startup(&self, workload: &str) -> anyhow::Result<Startup> {
        #[derive(Deserialize)]
        struct Figures {
            further_ms: f64,
            peak_mb: Option<f64>,
        }
        let start = Instant::now();
        let mut engine = self.spawn(&["startup", workload])?;
        let first: Value = engine.receive()?;
        let process_ms = start.elapsed().as_secs_f64() * 1e3;
        ensure!(first == json!({ "first_step": true }), "{} said {first} after its first step", self.name);
        let Figures { further_ms, peak_mb } = engine.receive()?;
        Ok(Startup { process_ms, further_ms, peak_mb })
    }
}

/// A running side.
#[derive(Debug)]
pub(crate) struct Engine {
    name: &'static str,
    child: Child,
    /// Nothing once it was asked to end.
    requests: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Engine {
    /// Sends `request` and waits for its answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> anyhow::Result<T> {
        self.send(request)?;
        self.receive().with_context(|| format!("{} was asked {request}", self.name))
    }

    /// Sends `request`; its answer has to be received later.
    pub(crate) fn send(&mut self, request: &Value) -> anyhow::Result<()> {
        let requests = self.requests.as_mut().context("it was asked to end")?;
        writeln!(requests, "{request}").and_then(|()| requests.flush()).with_context(|| format!("{} ended", self.name))
    }

    /// The next answer.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let Some(line) = self.answers.next().transpose()? else {
            bail!("{} ended without an answer ({})", self.name, self.child.wait()?);
        };
        parse(self.name, &line)
    }
}

impl Drop for Engine {
    /// The end of its input ends it; one that is still at work is not waited for.
    fn drop(&mut self) {
        drop(self.requests.take());
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Both fail only when it has ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The value in `line`, or the error it tells of.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, line: &str) -> anyhow::Result<T> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("{name} said no JSON: {line}"))?;
    if let Some(error) = value.get("error") {
        bail!("{name} refused: {}", error.as_str().unwrap_or("without a reason"));
    }
    serde_json::from_value(value).with_context(|| format!("{name} said something else than expected: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let line = r#"{"threads": 1, "steps": 9, "min_ms": 1.5, "median_ms": 2.0, "p90_ms": 3.0, "cpu_ms": null}"#;
        let expected = Steps { threads: 1, min_ms: 1.5, median_ms: 2.0, multiply_adds: None };
        assert_eq!(parse::<Steps>("PyTorch", line).unwrap(), expected);
    }

    #[test]
    fn what_is_no_answer_is_named() {
        let says = |line: &str| parse::<Seconds>("PyTorch", line).unwrap_err().to_string();
        assert_eq!(says(r#"{"error": "KeyError: 'W9'"}"#), "PyTorch refused: KeyError: 'W9'");
        assert_eq!(says("Traceback"), "PyTorch said no JSON: Traceback");
        assert_eq!(says("{}"), "PyTorch said something else than expected: {}");
    }

    #[test]
    fn a_program_that_is_absent_is_named() {
        let error = Launcher::new("PyTorch", Path::new("no/such/python")).serve().unwrap_err();
        assert!(error.to_string().contains("no/such/python"), "{error}");
    }
}
