//! `cargo xtask readme`: the commands of the README and of `docs/spaces.md`, run as written.
//!
//! A ```` ```console ```` block under the comment `<!-- run -->` is run: every line that starts with `$ ` is a command, a
//! line that ends with `\` goes on in the next one, all other lines are output shown to the reader. A block under
//! `<!-- save: FILE -->` is saved as that file first. The commands run in a copy of the repository's files, so one that leans on an
//! ignored file or on an earlier run fails; only the build folder is shared.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use xshell::Shell;

use crate::workspace;

/// The documents with commands.
const DOCUMENTS: [&str; 2] = ["README.md", "docs/spaces.md"];

/// What a document says to do, and the line it stands in, from 1.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    step: Step,
}

/// What is done.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A command.
    Run(String),
    /// A text is saved as a file.
    Save(String, String),
}

/// Runs every marked command, in order, and stops at the first that fails.
pub(crate) fn run(sh: &Shell, root: &Path) -> anyhow::Result<()> {
    let documents =
        DOCUMENTS.map(|document| -> anyhow::Result<_> { Ok((document, parse(document, &sh.read_file(document)?)?)) });
    let documents = documents.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let metadata = workspace::metadata(sh)?;
    let target = &metadata.target_directory;
    // Outside the build folder: sources inside it would be taken for its products, and later builds of the repository itself
    // for fresh when they are not.
    let clone = sh.create_temp_dir()?;
    let clone = clone.path();
    copy(root, clone, &workspace::files(sh)?)?;
    let mut ran = 0;
    for (document, number, step) in documents
        .iter()
        .flat_map(|(document, lines)| lines.iter().map(move |Line { number, step }| (document, number, step)))
    {
        let command = match step {
            Step::Run(command) => command,
            Step::Save(file, text) => {
                fs::write(clone.join(file), text).with_context(|| format!("cannot save {file}"))?;
                continue;
            }
        };
        ran += 1;
        println!("{document}:{number}: $ {command}");
        let start = Instant::now();
        let status = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(clone)
            .env("CARGO_TARGET_DIR", target)
            .stdin(Stdio::null())
            .status()
            .context("bash did not start")?;
        ensure!(status.success(), "{document}:{number}: `{command}` ended with {status}");
        println!("{document}:{number}: done in {:.1} s", start.elapsed().as_secs_f64());
    }
    println!("readme: {ran} commands ran");
    Ok(())
}

/// The file that a mark says to save, if it is such a mark.
fn saved(line: &str) -> Option<&str> {
    Some(line.trim().strip_prefix("<!-- save:")?.strip_suffix("-->")?.trim())
}

/// What the marked blocks of `document` say to do.
fn parse(document: &str, text: &str) -> anyhow::Result<Vec<Line>> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    while let Some((marker, line)) = lines.next() {
        if let Some(file) = saved(line) {
            let opens = lines.by_ref().find(|(_, line)| !line.trim().is_empty());
            ensure!(
                opens.is_some_and(|(_, line)| line.starts_with("```")),
                "{document}:{marker}: no block follows the mark"
            );
            let mut closed = false;
            let text = lines.by_ref().map(|(_, line)| line).take_while(|line| {
                closed = *line == "```";
                !closed
            });
            let inside: Vec<&str> = text.collect();
            ensure!(closed, "{document}:{marker}: the block is not closed");
            let step = Step::Save(file.to_owned(), inside.join("\n") + "\n");
            found.push(Line { number: marker, step });
            continue;
        }
        if line.trim() != "<!-- run -->" {
            continue;
        }
        match lines.by_ref().find(|(_, line)| !line.trim().is_empty()) {
            Some((_, "```console")) => {}
            _ => bail!("{document}:{marker}: no ```console block follows the mark"),
        }
        let before = found.len();
        loop {
            let Some((number, line)) = lines.next() else { bail!("{document}:{marker}: the block is not closed") };
            if line == "```" {
                break;
            }
            let Some(start) = line.strip_prefix("$ ") else { continue };
            let mut command = start.to_owned();
            while command.ends_with('\\') {
                let Some((_, more)) = lines.next() else { bail!("{document}:{number}: the command is not finished") };
                command.push('\n');
                command.push_str(more);
            }
            ensure!(
                !["xtask ci", "xtask readme", ".ci/run"].iter().any(|task| command.contains(task)),
                "{document}:{number}: `{command}` would run itself for ever"
            );
            found.push(Line { number, step: Step::Run(command) });
        }
        ensure!(found.len() > before, "{document}:{marker}: the block has no command");
    }
    ensure!(!found.is_empty(), "{document}: no block is marked with <!-- run -->");
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
        let error = parse("README.md", text).unwrap_err().to_string();
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
        let first = Line { number: 7, step: Step::Run("first --flag".to_owned()) };
        let second = Line { number: 9, step: Step::Run("second \\\n    goes on".to_owned()) };
        assert_eq!(parse("README.md", text).unwrap(), [first, second]);
    }

    #[test]
    fn blocks_that_are_saved() {
        let text = "<!-- save: a.toml -->\n```toml\nname = \"a\"\n```\n<!-- run -->\n```console\n$ cat a.toml\n```\n";
        let saves = Line { number: 1, step: Step::Save("a.toml".to_owned(), "name = \"a\"\n".to_owned()) };
        let runs = Line { number: 7, step: Step::Run("cat a.toml".to_owned()) };
        assert_eq!(parse("docs.md", text).unwrap(), [saves, runs]);
        check_refused("<!-- save: a.toml -->\ntext\n", "README.md:1: no block follows the mark");
        check_refused("<!-- save: a.toml -->\n```toml\na = 1\n", "README.md:1: the block is not closed");
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
