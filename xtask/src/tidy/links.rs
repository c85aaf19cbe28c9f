//! Rules for Markdown: a relative link leads to a file of the repository, and its anchor to a heading there.

use std::collections::BTreeMap;

use super::Problem;

/// Checks the links of one Markdown file; `files` is the repository, `texts` what is in it.
pub(super) fn check(file: &str, text: &str, files: &[String], texts: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, line) in prose(text) {
        for target in targets(&line) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let Some(path) = resolve(file, path) else {
                problems.push(Problem::new(file, i, format!("the link {target} leads out of the repository")));
                continue;
            };
            let folder = format!("{path}/");
            if !path.is_empty() && !files.iter().any(|name| *name == path || name.starts_with(&folder)) {
                problems.push(Problem::new(file, i, format!("the link {target} leads nowhere")));
            } else if let Some(text) = texts.get(&path).filter(|_| path.ends_with(".md") && !anchor.is_empty())
                && !prose(text).any(|(_, line)| line.starts_with('#') && slug(&line) == anchor)
            {
                problems.push(Problem::new(file, i, format!("the link {target} leads to no heading of {path}")));
            }
        }
    }
    problems
}

/// The lines outside code blocks, numbered from 1, with `code` emptied.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut code = false;
    text.lines().enumerate().filter_map(move |(i, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        (!code && !fence).then(|| (i + 1, line.to_owned()))
    })
}

/// The targets of `[text](target)`, also of images and of `[name]: target`, but not those inside `code`.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    if line.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        found.extend(target.split_whitespace().next());
    }
    for (at, _) in line.match_indices("](") {
        let in_code = line[..at].matches('`').count() % 2 == 1;
        let target = line[at + 2..].split([')', ' ']).next().expect("a split has a first part");
        if !in_code && !target.is_empty() {
            found.push(target);
        }
    }
    found
}

/// `link`, written in `file`, as a path from the root; none when it leads above it. An empty link is the file itself.
fn resolve(file: &str, link: &str) -> Option<String> {
    if link.is_empty() {
        return Some(file.to_owned());
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The anchor that a heading gets.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_links(text: &str, expected: &[&str]) {
        let texts: BTreeMap<String, String> = [
            ("docs/a.md".to_owned(), text.to_owned()),
            ("README.md".to_owned(), "# The `nas` command\n```\n# not a heading\n```\n".to_owned()),
            ("nas-nn/src/lib.rs".to_owned(), String::new()),
        ]
        .into();
        let files: Vec<String> = texts.keys().cloned().collect();
        let messages: Vec<String> = check("docs/a.md", text, &files, &texts).iter().map(ToString::to_string).collect();
        assert_eq!(messages, expected);
    }

    #[test]
    fn links_that_resolve() {
        check_links("[a](../README.md) [b](../nas-nn/src) ![c](a.md) [d](https://host/x) [e](mailto:a@b)\n", &[]);
        check_links("[a](../README.md#the-nas-command) [b](#here)\n# Here\n", &[]);
    }

    #[test]
    fn links_that_do_not() {
        check_links("\n[a](b.md)\n", &["docs/a.md:2: the link b.md leads nowhere"]);
        check_links("[a](../../b.md)\n", &["docs/a.md:1: the link ../../b.md leads out of the repository"]);
        check_links("[a]: b.md\n", &["docs/a.md:1: the link b.md leads nowhere"]);
        check_links(
            "[a](../README.md#not-a-heading)\n",
            &["docs/a.md:1: the link ../README.md#not-a-heading leads to no heading of README.md"],
        );
    }

    #[test]
    fn code_has_no_links() {
        check_links("`v[0](x)`\n```rust\nf[0](x)\n```\n", &[]);
    }
}
