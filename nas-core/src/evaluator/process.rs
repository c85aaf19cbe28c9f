//! An external program as the evaluator: JSON lines on its standard input and output.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Evaluator, Reporter};
use crate::{Architecture, Failure, Metrics, Seed, Trial};

/// The longest line that is read from a program.
const LINE: u64 = 1 << 20;
/// Lines that are read before the study takes them.
const LINES: usize = 64;
/// How often a wait for the program is left to see whether the study should stop.
const LOOK: Duration = Duration::from_millis(50);
/// What is kept of the program's standard error, to say why it died.
const ERRORS: usize = 5;
/// How long a dead program's last words are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a program may take to end after its input was closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Evaluates trials by a program of any language.
///
/// For every trial one line goes to the program's standard input,
///
/// ```json
/// {"trial": 3, "seed": 1234, "architecture": {"op": "conv", "width": 8}, "judged": false}
/// ```
///
/// and the program answers on its standard output, one object a line: as often as it likes `{"epoch": 1, "epochs": 10,
/// "metrics": {"accuracy": 0.4}}`, and at last either `{"metrics": {"accuracy": 0.9, "parameters": 1200}}` or
/// `{"error": "why there are none"}`, which fails the trial. It then waits for the next line, and ends when its input does.
/// Where the study stops trials early, a trial is `"judged": true`, and every line about an epoch gets an answer, `{"go_on": true}`; after a
/// false one the program ends its training and gives its metrics.
/// Everything it draws at random should follow from `seed`. What it writes to standard error is logged.
///
/// As many programs run as trials are evaluated at once, each started when it is first needed and kept for further trials.
/// One that dies, says what is no answer, or is over its time fails its trial and is started anew for the next. When
/// the study is asked to stop, programs are killed and their trials are evaluated again on resume.
///
/// ```no_run
/// use nas_core::ProcessEvaluator;
///
/// let evaluator = ProcessEvaluator::new(["python3", "train.py"])?;
/// # Ok::<(), nas_core::Error>(())
/// ```
pub struct ProcessEvaluator {
    command: Vec<String>,
    limit: Option<Duration>,
    idle: Mutex<Vec<Program>>,
}

/// What a program is asked.
#[derive(Serialize)]
struct Request<'a> {
    trial: u64,
    seed: Seed,
    architecture: &'a Architecture,
    /// Whether the program must read an answer to every epoch.
    judged: bool,
}

/// What a program hears of an epoch.
#[derive(Serialize)]
struct Judgement {
    go_on: bool,
}

/// What it answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    trial: Option<u64>,
    epoch: Option<u32>,
    epochs: Option<u32>,
    metrics: Option<BTreeMap<String, f64>>,
    error: Option<String>,
}

/// What an answer means.
#[derive(Debug, PartialEq)]
enum Said {
    Epoch(u32, u32, Metrics),
    Metrics(Metrics),
    Error(String),
}

/// A program that runs.
struct Program {
    child: Child,
    /// Closed to let it end.
    stdin: Option<ChildStdin>,
    lines: Receiver<io::Result<Vec<u8>>>,
    errors: Arc<Mutex<VecDeque<String>>>,
    /// Reads its standard error until that is closed.
    listener: JoinHandle<()>,
    /// Whether it owes an answer.
    busy: bool,
    /// Whether it ended without a word about the trial it was asked for.
    gone: bool,
}

impl ProcessEvaluator {
    /// Evaluates by the program and arguments of `command`; no shell reads them. Nothing is started yet.
    ///
    /// # Errors
    /// [`Error::Evaluator`](crate::Error::Evaluator) when `command` is empty.
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, crate::Error> {
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        if command.first().is_none_or(|program| program.is_empty()) {
            return Err(crate::Error::Evaluator("no program is named".to_owned()));
        }
        Ok(ProcessEvaluator { command, limit: None, idle: Mutex::new(Vec::new()) })
    }

    /// The same with a limit to the time of a trial; there is none at first. A trial that is over it fails with
    /// [`Failure::TimedOut`].
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Starts the first program now, which then waits for the first trial, so that a command that cannot be started is a
    /// mistake and not the end of every trial.
    ///
    /// # Errors
    /// [`Error::Evaluator`](crate::Error::Evaluator) when it cannot be started.
    pub fn begin(&self) -> Result<(), crate::Error> {
        let program = self.start().map_err(|failure| crate::Error::Evaluator(failure.to_string()))?;
        lock(&self.idle).push(program);
        Ok(())
    }

    fn start(&self) -> Result<Program, Failure> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C on the terminal is for the study, which tells its programs itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child =
            command.spawn().map_err(|e| other(format!("\"{}\" cannot be started: {e}", self.command.join(" "))))?;
        let (sender, lines) = mpsc::sync_channel(LINES);
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&errors);
        let number = child.id();
        // Both end with the pipes.
        thread::spawn(move || read_lines(stdout, &sender));
        let listener = thread::spawn(move || keep_errors(stderr, number, &kept));
        let stdin = child.stdin.take();
        Ok(Program { child, stdin, lines, errors, listener, busy: false, gone: false })
    }

    /// What a program answers to a trial: metrics, or its own words why there are none.
    ///
    /// # Errors
    /// When it gives no answer; it is of no use then.
    fn ask(
        &self,
        program: &mut Program,
        trial: &Trial,
        report: &mut Reporter<'_>,
    ) -> Result<Result<Metrics, Failure>, Failure> {
        let begun = Instant::now();
        (program.busy, program.gone) = (true, true);
        program.send(&Request {
            trial: trial.number,
            seed: trial.seed,
            architecture: &trial.architecture,
            judged: report.is_judged(),
        })?;
        let mut go_on = true;
        loop {
            let said = match program.lines.recv_timeout(LOOK) {
                Ok(Ok(line)) => {
                    program.gone = false;
                    said(&line, trial.number).map_err(other)?
                }
                Ok(Err(error)) => return Err(other(format!("what the program says cannot be read: {error}"))),
                Err(RecvTimeoutError::Disconnected) => return Err(other(program.epitaph())),
                Err(RecvTimeoutError::Timeout) => {
                    if report.interrupted() {
                        return Err(Failure::Interrupted);
                    }
                    match self.limit {
                        Some(limit) if begun.elapsed() >= limit => {
                            return Err(Failure::TimedOut { seconds: limit.as_secs() });
                        }
                        _ => continue,
                    }
                }
            };
            match said {
                Said::Epoch(epoch, epochs, metrics) => {
                    report.epoch(epoch, epochs, &metrics);
                    if report.is_judged() {
                        if go_on && epoch < epochs && report.is_rung(epoch) {
                            go_on = report.goes_on(epoch, &metrics)?;
                        }
                        program.send(&Judgement { go_on })?;
                    }
                }
                Said::Metrics(metrics) => return Ok(Ok(metrics)),
                Said::Error(message) => return Ok(Err(other(message))),
            }
        }
    }
}

impl Evaluator for ProcessEvaluator {
    fn evaluate(&self, trial: &Trial, report: &mut Reporter<'_>) -> Result<Metrics, Failure> {
        let idle = lock(&self.idle).pop();
        let kept = idle.is_some();
        let mut program = match idle {
            Some(program) => program,
            None => self.start()?,
        };
        let answer = match self.ask(&mut program, trial, report) {
            // It ended after its last answer, so this trial was never its own.
            Err(Failure::Other { .. }) if kept && program.gone => {
                program = self.start()?;
                self.ask(&mut program, trial, report)
            }
            answer => answer,
        }?;
        program.busy = false;
        if matches!(program.child.try_wait(), Ok(None)) {
            lock(&self.idle).push(program);
        }
        answer
    }
}

impl Program {
    fn send(&mut self, what: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(what).map_err(|e| other(format!("the trial is no JSON: {e}")))?;
        line.push(b'\n');
        let stdin = self.stdin.as_mut().expect("open while the program is asked");
        if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
            // It is gone, or will not listen: its last words say more than the pipe's error.
            return Err(other(self.epitaph()));
        }
        Ok(())
    }

    /// How it ended, and its last words.
    fn epitaph(&mut self) -> String {
        // A program that closed its output but lives on is of no use.
        self.stdin = None;
        let status = self.wait(PATIENCE).map_or_else(|| "closed its output".to_owned(), |s| format!("ended ({s})"));
        // Programs that it started may hold the pipe open for longer.
        let begun = Instant::now();
        while !self.listener.is_finished() && begun.elapsed() < LAST_WORDS {
            thread::sleep(Duration::from_millis(1));
        }
        let words: Vec<String> = lock(&self.errors).iter().cloned().collect();
        let words = if words.is_empty() { String::new() } else { format!("; it last said: {}", words.join(" | ")) };
        format!("the program {status} without an answer{words}")
    }

    /// Waits for its end, but not longer than `patience`.
    fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let begun = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if begun.elapsed() < patience => thread::sleep(Duration::from_millis(5)),
                _ => return None,
            }
        }
    }
}

impl Drop for Program {
    /// A program that waits for trials ends when its input does; one that is at work is killed.
    fn drop(&mut self) {
        let idle = self.stdin.take().is_some() && !self.busy;
        if !idle || self.wait(PATIENCE).is_none() {
            // It may have ended meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a line means as an answer to trial number `trial`.
fn said(line: &[u8], trial: u64) -> Result<Said, String> {
    let text = String::from_utf8_lossy(line);
    let shown: String = text.trim().chars().take(200).collect();
    let answer: Answer = serde_json::from_str(&text).map_err(|e| {
        let hint = if text.contains("NaN") || text.contains("Infinity") {
            " (JSON has no NaN: say {\"error\": …})"
        } else {
            ""
        };
        format!("the program said `{shown}`, which is no answer: {e}{hint}")
    })?;
    if answer.trial.is_some_and(|number| number != trial) {
        return Err(format!("the program was asked for trial {trial} and said `{shown}`"));
    }
    let metrics = answer.metrics.map(|figures| {
        let mut metrics = Metrics::new();
        figures.iter().for_each(|(name, value)| metrics.set(name, *value));
        metrics
    });
    match (answer.error, answer.epoch, answer.epochs, metrics) {
        (Some(error), None, None, None) => Ok(Said::Error(error)),
        (None, None, None, Some(metrics)) => Ok(Said::Metrics(metrics)),
        (None, Some(epoch), epochs, metrics) => {
            Ok(Said::Epoch(epoch, epochs.unwrap_or(epoch).max(epoch), metrics.unwrap_or_default()))
        }
        _ => Err(format!(
            "the program said `{shown}`; an answer has \"metrics\" or \"error\", or an \"epoch\" on the way"
        )),
    }
}

/// Sends every line that is not empty, until the end or a line that is too long.
fn read_lines(from: impl Read, to: &SyncSender<io::Result<Vec<u8>>>) {
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        let read = from.by_ref().take(LINE).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return,
            Ok(n) if n as u64 == LINE && line.last() != Some(&b'\n') => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line of more than {LINE} bytes")))
            }
            Ok(_) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(_) => Ok(line),
            Err(error) => Err(error),
        };
        let last = line.is_err();
        // Nobody listens any more when the program is given up.
        if to.send(line).is_err() || last {
            return;
        }
    }
}

/// Logs the program's standard error and keeps its last lines.
fn keep_errors(from: impl Read, number: u32, kept: &Mutex<VecDeque<String>>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.by_ref().take(LINE).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            continue;
        }
        tracing::info!(process = number, "{text}");
        let mut kept = lock(kept);
        kept.push_back(text.chars().take(300).collect());
        if kept.len() > ERRORS {
            kept.pop_front();
        }
    }
}

fn other(message: impl Into<String>) -> Failure {
    Failure::Other { message: message.into() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is sound after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::early_stopping::{EarlyStopping, Rungs};
    use crate::{Event, Objective, Observer, Origin, TrialState};

    /// A shell script as the program.
    fn script(text: &str) -> ProcessEvaluator {
        ProcessEvaluator::new(["sh", "-c", text]).unwrap()
    }

    fn trial(number: u64) -> Trial {
        let architecture = Architecture::new().with("op", "conv".into()).with("width", 8.into());
        let (origin, state) = (Origin::Random, TrialState::Running);
        Trial { number, architecture, origin, seed: Seed::new(7), state, seconds: 0.0 }
    }

    fn evaluate(evaluator: &ProcessEvaluator, number: u64) -> Result<Metrics, Failure> {
        evaluator.evaluate(&trial(number), &mut Reporter::new(number, &(), &AtomicBool::new(false)))
    }

    fn message(result: Result<Metrics, Failure>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn one_program_answers_several_trials() {
        let evaluator = script(r#"n=0; while read line; do n=$((n+1)); echo "{\"metrics\": {\"n\": $n}}"; done"#);
        for n in 1..4 {
            assert_eq!(evaluate(&evaluator, n).unwrap().get("n"), Some(n as f64));
        }
    }

    #[test]
    fn the_request_is_one_line_of_json() {
        let evaluator = script(r#"read line; echo "{\"error\": \"$(echo "$line" | tr '"' "'")\"}"; cat > /dev/null"#);
        let expected = "{'trial':5,'seed':7,'architecture':{'op':'conv','width':8},'judged':false}";
        assert_eq!(message(evaluate(&evaluator, 5)), expected);
    }

    #[test]
    fn epochs_are_reported() {
        /// Trial, epoch, epochs, loss.
        type Heard = (u64, u32, u32, Option<f64>);
        #[derive(Default)]
        struct Epochs(Mutex<Vec<Heard>>);
        impl Observer for Epochs {
            fn event(&self, event: &Event<'_>) {
                if let Event::Epoch { trial, epoch, epochs, metrics } = event {
                    lock(&self.0).push((*trial, *epoch, *epochs, metrics.get("loss")));
                }
            }
        }
        let evaluator = script(
            r#"read line; echo '{"trial": 3, "epoch": 1, "epochs": 2, "metrics": {"loss": 0.5}}'; echo; echo '{"epoch": 2}'; echo '{"metrics": {"loss": 0.25}}'"#,
        );
        let epochs = Epochs::default();
        let result = evaluator.evaluate(&trial(3), &mut Reporter::new(3, &epochs, &AtomicBool::new(false)));
        assert_eq!(result.unwrap().get("loss"), Some(0.25));
        assert_eq!(*lock(&epochs.0), [(3, 1, 2, Some(0.5)), (3, 2, 2, None)]);
    }

    #[test]
    fn a_judged_program_hears_whether_to_go_on() {
        // The first trial sets the bar; every epoch's answer is read.
        let evaluator = script(
            r#"n=0; while read line; do n=$((n+1)); for epoch in 1 2; do
                echo "{\"epoch\": $epoch, \"epochs\": 9, \"metrics\": {\"accuracy\": 0.$((9-n))}}"; read answer
                case "$answer" in *false*) break;; esac
            done; echo "{\"metrics\": {\"accuracy\": 0.5, \"epoch\": $epoch}}"; done"#,
        );
        let (rule, objective) = ("asha:2".parse::<EarlyStopping>().unwrap(), Objective::maximize("accuracy"));
        let mut rungs = Rungs::default();
        for (number, epochs) in [(0, 2.0), (1, 1.0)] {
            let bars = rungs.bars(rule, number);
            let stop = AtomicBool::new(false);
            let mut reporter = Reporter::new(number, &(), &stop).judged(&bars, &objective);
            let metrics = evaluator.evaluate(&trial(number), &mut reporter).unwrap();
            assert_eq!(metrics.get("epoch"), Some(epochs), "trial {number}");
            let (rewards, stopped) = reporter.judgement();
            assert_eq!((rewards.len(), stopped), (epochs as usize, (number == 1).then_some(1)));
            let state = TrialState::Complete { metrics: metrics.with("reward_at_1", rewards[0].1), reward: 0.5 };
            rungs.observe(rule, &Trial { state, ..trial(number) });
        }
    }

    #[test]
    fn a_program_that_is_judged_by_what_it_does_not_say_fails() {
        let evaluator = script(r#"read line; echo '{"epoch": 1, "epochs": 3}'; cat > /dev/null"#);
        let (bars, objective) = (Rungs::default().bars("asha".parse().unwrap(), 0), Objective::maximize("accuracy"));
        let stop = AtomicBool::new(false);
        let result = evaluator.evaluate(&trial(0), &mut Reporter::new(0, &(), &stop).judged(&bars, &objective));
        assert!(message(result).contains("no metric \"accuracy\" was measured"));
    }

    #[test]
    fn a_program_that_dies_is_started_again() {
        let evaluator = script(r#"read line; echo "no such luck" >&2; exit 3"#);
        for n in 0..2 {
            let message = message(evaluate(&evaluator, n));
            assert!(message.contains("ended (exit status: 3)") && message.contains("no such luck"), "{message}");
        }
        let evaluator = script("true");
        assert!(message(evaluate(&evaluator, 0)).contains("without an answer"));
    }

    #[test]
    fn a_program_may_serve_one_trial_only() {
        let evaluator = script(r#"read line; echo '{"metrics": {"n": 1}}'"#);
        for n in 0..20 {
            assert_eq!(evaluate(&evaluator, n).unwrap().get("n"), Some(1.0));
        }
    }

    #[test]
    fn what_is_no_answer_is_named() {
        for (line, expected) in [
            ("epoch 1 done", "the program said `epoch 1 done`, which is no answer"),
            (r#"{"metrics": {"accuracy": NaN}}"#, "JSON has no NaN"),
            (r#"{"metrics": {}, "error": "both"}"#, "an answer has"),
            (r#"{"trial": 99, "metrics": {}}"#, "was asked for trial 1"),
            (r#"{"accuracy": 0.5}"#, "unknown field `accuracy`"),
        ] {
            let evaluator = script(&format!("read line; echo '{line}'; cat > /dev/null"));
            let message = message(evaluate(&evaluator, 1));
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn lines_without_end() {
        let evaluator = script("read line; yes | tr -d '\\n'");
        assert!(message(evaluate(&evaluator, 1)).contains("a line of more than"));
    }

    #[test]
    fn programs_that_cannot_be_started() {
        let evaluator = ProcessEvaluator::new(["/no/such/program", "--flag"]).unwrap();
        assert!(message(evaluate(&evaluator, 1)).contains("\"/no/such/program --flag\" cannot be started"));
        assert!(evaluator.begin().unwrap_err().to_string().contains("\"/no/such/program --flag\" cannot be started"));
        assert!(ProcessEvaluator::new(Vec::<String>::new()).is_err());
    }

    #[test]
    fn a_program_that_was_begun_answers_the_first_trial() {
        let evaluator = script(r#"while read line; do echo '{"metrics": {"n": 1}}'; done"#);
        evaluator.begin().unwrap();
        assert_eq!(lock(&evaluator.idle).len(), 1);
        assert_eq!(evaluate(&evaluator, 1).unwrap().get("n"), Some(1.0));
        assert_eq!(lock(&evaluator.idle).len(), 1);
    }

    #[test]
    fn time_is_limited_and_a_stop_is_heard() {
        let evaluator = script("read line; sleep 60").with_limit(Duration::from_millis(100));
        assert_eq!(evaluate(&evaluator, 1), Err(Failure::TimedOut { seconds: 0 }));
        let evaluator = script("read line; sleep 60");
        let stop = AtomicBool::new(true);
        let result = evaluator.evaluate(&trial(1), &mut Reporter::new(1, &(), &stop));
        assert_eq!(result, Err(Failure::Interrupted));
    }
}
