//! Rules for manifests: every dependency is named once, in the workspace, with the reason it is there.

use super::Problem;

/// Checks one Cargo.toml.
pub(super) fn check(file: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut table = "";
    // Entries over several lines are judged by the first; the others start with a space, a quote or a bracket.
    for (i, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            table = line.trim();
            continue;
        }
        if !line.starts_with(|c: char| c.is_ascii_alphanumeric()) || !table.ends_with("dependencies]") {
            continue;
        }
        let name = line.split([' ', '=', '.']).next().expect("a split has a first part");
        let (entry, comment) = line.split_once('#').unwrap_or((line, ""));
        if table == "[workspace.dependencies]" {
            if comment.trim().is_empty() && !entry.contains("path =") {
                problems.push(Problem::new(file, i + 1, format!("{name} has no reason: say why after a #")));
            }
        } else if !entry.replace(' ', "").contains("workspace=true") {
            let message = format!("{name} is not taken from the workspace's dependencies, where its reason stands");
            problems.push(Problem::new(file, i + 1, message));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_lines(text: &str, expected: &[usize]) {
        let lines: Vec<usize> = check("Cargo.toml", text).iter().map(|problem| problem.line).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn reasons() {
        check_lines("[workspace.dependencies]\na = \"1\" # why\nb = \"1\"\nc = { version = \"1\" } #\n", &[3, 4]);
        check_lines("[workspace.dependencies]\n# A heading.\nours = { path = \"ours\" }\n", &[]);
        check_lines("[package]\nname = \"a\"\n", &[]);
    }

    #[test]
    fn members_inherit() {
        check_lines("[dependencies]\na.workspace = true\nb = { workspace = true, optional = true }\n", &[]);
        check_lines("[dev-dependencies]\na = \"1\"\n[features]\nb = []\n", &[2]);
    }
}
