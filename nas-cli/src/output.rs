//! Where words go: text or JSON lines on stdout, errors and progress on stderr.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::error::Error;

/// How to speak: text for people, or JSON lines; progress or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Output { json, quiet }
    }

    /// Whether stdout carries JSON lines.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Whether progress is wanted and somebody sees it.
    pub(crate) fn shows_progress(self) -> bool {
        !self.quiet && !self.json && std::io::stderr().is_terminal()
    }

    /// A line of text, unless JSON or quiet was asked for. A closed pipe ends nothing but the output.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        if !self.json && !self.quiet {
            print(text.as_ref());
        }
    }

    /// A line of text that is the answer itself: printed also when quiet.
    pub(crate) fn answer(self, text: impl AsRef<str>) {
        if !self.json {
            print(text.as_ref());
        }
    }

    /// A line of JSON, if it was asked for.
    pub(crate) fn json(self, value: &impl Serialize) {
        if self.json {
            let text = serde_json::to_string(value).expect("plain data is JSON");
            print(&text);
        }
    }

    /// An error on stderr.
    pub(crate) fn error(self, error: &Error) {
        let mut stderr = std::io::stderr();
        if self.json {
            let next = error.advice();
            let value = serde_json::json!({"error": error.message(), "next": next, "code": error.code()});
            let _ = writeln!(stderr, "{value}");
            return;
        }
        let _ = writeln!(stderr, "error: {}", error.message());
        if let Some(next) = error.advice() {
            let _ = writeln!(stderr, " next: {next}");
        }
    }
}

/// Prints a line. A reader that went away ends nothing but the output; a full disk ends the program, since what it says would
/// be lost. Everything finished of a study is stored by then.
fn print(text: &str) {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: writing the output: {e}");
            std::process::exit(74);
        }
        _ => {}
    }
}

/// A table without borders; columns named in `right` are aligned to the right.
pub(crate) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.add_rows(rows);
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// `n` with three digits and a unit: 950, 24.1k, 1.20M.
pub(crate) fn short(n: f64) -> String {
    match n {
        n if n < 1e3 => format!("{n:.0}"),
        n if n < 1e6 => format!("{:.1}k", n / 1e3),
        n if n < 1e9 => format!("{:.2}M", n / 1e6),
        n => format!("{:.2}G", n / 1e9),
    }
}

/// A latency in seconds for people: 84.2 µs, 1.35 ms, 2.10 s.
pub(crate) fn latency(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", 1e6 * s),
        s if s < 1.0 => format!("{:.2} ms", 1e3 * s),
        s => format!("{s:.2} s"),
    }
}

/// `path` as it is typed in a shell: quoted where it must be.
pub(crate) fn typed(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A duration for people: 42 s, 3 min 20 s, 2 h 5 min.
pub(crate) fn seconds(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..100 => format!("{s} s"),
        100..6000 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_typed_as_a_shell_reads_them() {
        for (path, typed_path) in [
            ("studies/mini-2", "studies/mini-2"),
            ("my studies/a", "'my studies/a'"),
            ("it's", r"'it'\''s'"),
            ("größe", "größe"),
            ("a;b$c", "'a;b$c'"),
            ("", "''"),
        ] {
            assert_eq!(typed(Path::new(path)), typed_path);
        }
    }
}
