//! Rules for every text file: no folder of anyone's machine, nothing left undone; and the files that must be there.

use super::{Problem, words};

/// What a newcomer looks for.
const REQUIRED: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "Cargo.lock",
    ".ci/run",
];

/// Folders that stand at the root of a machine and mean nothing on another.
const FOLDERS: [&str; 4] = ["home", "root", "work", "tmp"];

/// The required files that are absent.
pub(super) fn required(files: &[String]) -> Vec<Problem> {
    REQUIRED
        .iter()
        .filter(|name| !files.iter().any(|file| file == *name))
        .map(|name| Problem::new(name, 1, "the file is missing"))
        .collect()
}

/// Every rule, for one file.
pub(super) fn check(file: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if let Some(path) = FOLDERS.iter().map(|folder| format!("/{folder}/")).find(|path| names_folder(line, path)) {
            problems.push(Problem::new(
                file,
                i + 1,
                format!("{path} is a folder of some machine: use a relative path"),
            ));
        }
        // Rust files are read with comments and code apart; in prose the words may be talked about.
        if !file.ends_with(".rs") && !file.ends_with(".md") {
            for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
                if words(line, mark).next().is_some() {
                    problems.push(Problem::new(file, i + 1, format!("{mark} is left: do it, or file it")));
                }
            }
        }
    }
    problems
}

/// Whether `path` stands in `line` as the beginning of a path, not in the middle of one.
fn names_folder(line: &str, path: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '~' | '}' | ')' | '*' | '$' | '/');
    line.match_indices(path).any(|(at, _)| !line[..at].chars().next_back().is_some_and(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_lines(file: &str, text: &str, expected: &[usize]) {
        let lines: Vec<usize> = check(file, text).iter().map(|problem| problem.line).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn folders_of_a_machine() {
        for folder in FOLDERS {
            check_lines("a.md", &format!("fine\nsee /{folder}/x\n\"/{folder}/\"\n"), &[2, 3]);
            check_lines("a.md", &format!("target/{folder}/x ../{folder}/x https://host/{folder}/x\n"), &[]);
            check_lines("a.sh", &format!("cd \"$top/{folder}/\" ~/{folder}/x ${{top}}/{folder}/x\n"), &[]);
        }
    }

    #[test]
    fn work_left_undone() {
        let text = format!("a = 1 # {}: more\n", concat!("TO", "DO"));
        check_lines("a.toml", &text, &[1]);
        check_lines("a.md", &text, &[]);
    }

    #[test]
    fn files_that_must_be_there() {
        let mut files: Vec<String> = REQUIRED.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(required(&files), []);
        files.remove(1);
        assert_eq!(required(&files), [Problem::new("ARCHITECTURE.md", 1, "the file is missing")]);
    }
}
