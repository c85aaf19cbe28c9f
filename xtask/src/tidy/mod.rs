//! `cargo xtask tidy`: the rules of this repository that no compiler checks.

mod layers;
mod lexer;
mod links;
mod manifest;
mod rust;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use xshell::Shell;

use crate::workspace;

/// A broken rule and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// From the root.
    file: String,
    /// From 1.
    line: usize,
    message: String,
}

impl Problem {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Problem {
        Problem { file: file.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Checks everything and lists every problem.
pub(crate) fn run(sh: &Shell, root: &Path) -> anyhow::Result<()> {
    let names = workspace::files(sh)?;
    let texts = read(root, &names)?;
    let mut problems = text::required(&names);
    problems.extend(layers::check(&workspace::metadata(sh)?.packages, root, &texts));
    for (file, content) in &texts {
        problems.extend(text::check(file, content));
        if file.ends_with(".rs") {
            problems.extend(rust::check(file, content));
        } else if file.ends_with("Cargo.toml") {
            problems.extend(manifest::check(file, content));
        } else if file.ends_with(".md") {
            problems.extend(links::check(file, content, &names, &texts));
        }
    }
    problems.sort();
    if problems.is_empty() {
        println!("tidy: {} files, nothing to mend", names.len());
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    bail!("tidy found {} problems", problems.len())
}

/// The files that are text, by name. Images and data are not.
fn read(root: &Path, names: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for name in names {
        let bytes = fs::read(root.join(name)).with_context(|| format!("cannot read {name}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            texts.insert(name.clone(), text);
        }
    }
    Ok(texts)
}

/// The places where `word` stands alone in `text`, as byte offsets.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !text[..at].chars().next_back().is_some_and(part) && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_alone() {
        assert_eq!(words("ab a_b b ab", "b").collect::<Vec<_>>(), [7]);
        assert_eq!(words("unsafe_code, unsafe {", "unsafe").collect::<Vec<_>>(), [13]);
    }

    #[test]
    fn a_problem_names_file_and_line() {
        assert_eq!(Problem::new("a/b.rs", 3, "too long").to_string(), "a/b.rs:3: too long");
    }
}
