//! `cargo xtask readme`: the README's commands, run as written.
//!
//! A ```` ```console ```` block under the comment `<!-- run -->` is run: every line that starts with `$ ` is a command, a
//! line that ends with `\` goes on in the next one, all other lines are output shown to the reader. The commands run in a
//! copy of the repository's files, so one that leans on an ignored file or on an earlier run fails; only the build folder is
//! shared.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use xshell::Shell;

use crate::workspace;

/// A command and the line it stands in, from 1.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    command: String,
}

/// Runs every marked command of the README, in order, and stops at the first that fails.
pub(crate) fn run(sh: &Shell, root: &Path) -> anyhow::Result<()> {
    let lines = parse(&sh.read_file("README.md")?)?;
    let metadata = workspace::metadata(sh)?;
    let target = &metadata.target_directory;
    // Outside the build folder: sources inside it would be taken for its products, and later builds of the repository itself
    // for fresh when they are not.
    let clone = sh.create_temp_dir()?;
    let clone = clone.path();
    copy(root, clone, &workspace::files(sh)?)?;
    for Line { number, command } in &lines {
        println!("README.md:{number}: $ {command}");
        let start = Instant::now();
        let status = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(clone)
            .env("CARGO_TARGET_DIR", target)
            .stdin(Stdio::null())
            .status()
            .context("bash did not start")?;
        ensure!(status.success(), "README.md:{number}: `{command}` ended with {status}");
        println!("README.md:{number}: done in {:.1} s", start.elapsed().as_secs_f64());
    }
    println!("readme: {} commands ran", lines.len());
    Ok(())
}

/// The commands of the marked blocks.
fn parse(text: &str) -> anyhow::Result<Vec<Line>> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    while let Some((marker, line)) = lines.next() {
        if line.trim() != "<!-- run -->" {
            continue;
        }
        match lines.by_ref().find(|(_, line)| !line.trim().is_empty()) {
            Some((_, "```console")) => {}
            _ => bail!("README.md:{marker}: no ```console block follows the mark"),
        }
        let before = found.len();
        loop {
            let Some((number, line)) = lines.next() else { bail!("README.md:{marker}: the block is not closed") };
            if line == "```" {
                break;
            }
            let Some(start) = line.strip_prefix("$ ") else { continue };
            let mut command = start.to_owned();
            while command.ends_with('\\') {
                let Some((_, more)) = lines.next() else { bail!("README.md:{number}: the command is not finished") };
                command.push('\n');
                command.push_str(more);
            }
            ensure!(
                !["xtask ci", "xtask readme", ".ci/run"].iter().any(|task| command.contains(task)),
                "README.md:{number}: `{command}` would run itself for ever"
            );
            found.push(Line { number, command });
        }
        ensure!(found.len() > before, "README.md:{marker}: the block has no command");
    }
    ensure!(!found.is_empty(), "README.md: no block is marked with <!-- run -->");
    Ok(found)
}

/// Copies `files` of `from` into the empty folder `to`.
fn copy(from: &Path, to: &Path, files: &[String]) -> anyhow::Result<()> {
    for file in files {
        let (from, to) = (from.join(file), to.join(file));
        fs::create_dir_all(to.parent().expect("a file stands in a folder"))?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, message: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn marked_commands_only() {
        let text = "\
```console
$ not marked
```
<!-- run -->

```console
$ first --flag
its output
$ second \\
    goes on
```
";
        let first = Line { number: 7, command: "first --flag".to_owned() };
        let second = Line { number: 9, command: "second \\\n    goes on".to_owned() };
        assert_eq!(parse(text).unwrap(), [first, second]);
    }

    #[test]
    fn no_mark() {
        check_refused("```console\n$ a\n```\n", "no block is marked");
    }

    #[test]
    fn mark_without_block() {
        check_refused("<!-- run -->\ntext\n", "README.md:1: no ```console block");
    }

    #[test]
    fn block_without_command() {
        check_refused("<!-- run -->\n```console\noutput\n```\n", "no command");
    }

    #[test]
    fn block_not_closed() {
        check_refused("<!-- run -->\n```console\n$ a\n", "not closed");
    }

    #[test]
    fn command_that_runs_itself() {
        check_refused("<!-- run -->\n```console\n$ cargo xtask ci\n```\n", "for ever");
    }

    #[test]
    fn the_copy_holds_the_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for file in ["a/kept", "b", "ignored"] {
            let path = from.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        copy(&from, &to, &["a/kept".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/kept")).unwrap(), "a/kept");
        assert!(to.join("b").exists() && !to.join("ignored").exists());
    }
}
