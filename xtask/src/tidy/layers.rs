//! The layers: which crate may depend on which, and which crates belong to the application.

use std::collections::BTreeMap;
use std::path::Path;

use super::Problem;
use crate::workspace::Package;

/// What each package may use of ours, from the lowest. Nothing depends on nas-cli: it is run, not linked.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("nas-core", &[]),
    ("nas-nn", &["nas-core"]),
    ("nas-rl", &["nas-core", "nas-nn"]),
    ("nas-cli", &["nas-core", "nas-nn", "nas-rl"]),
    ("nas-benches", &["nas-core", "nas-nn", "nas-rl"]),
    ("nas-tests", &["nas-core", "nas-nn", "nas-rl"]),
    ("xtask", &[]),
];

/// Terminals, sockets and signals: a library that needs one of these has lost its layer.
const APPLICATION: [&str; 10] = [
    "async-nats",
    "axum",
    "clap",
    "clap_complete",
    "comfy-table",
    "crossterm",
    "ctrlc",
    "indicatif",
    "tokio",
    "tracing-subscriber",
];

/// Checks the workspace's packages; `texts` gives the lines of their manifests.
pub(super) fn check(packages: &[Package], root: &Path, texts: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in packages {
        let manifest = package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path);
        let manifest = manifest.to_string_lossy();
        let line = |dependency: &str| {
            let named =
                |line: &str| line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.', '=']));
            texts.get(&*manifest).and_then(|text| text.lines().position(named)).map_or(1, |i| i + 1)
        };
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            let message =
                format!("{} has no place among the layers: give it one in xtask/src/tidy/layers.rs", package.name);
            problems.push(Problem::new(&manifest, 1, message));
            continue;
        };
        for dependency in package.dependencies.iter().map(|dependency| dependency.name.as_str()) {
            if ours.contains(&dependency) && !allowed.contains(&dependency) {
                let message = format!("{} must not depend on {dependency}, in tests neither", package.name);
                problems.push(Problem::new(&manifest, line(dependency), message));
            }
            if APPLICATION.contains(&dependency) && !["nas-cli", "xtask"].contains(&package.name.as_str()) {
                let message = format!("{dependency} belongs to the application: only nas-cli may use it");
                problems.push(Problem::new(&manifest, line(dependency), message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    #[track_caller]
    fn check_layers(packages: &[(&str, &[&str])], expected: &[&str]) {
        let texts = packages.iter().map(|(name, dependencies)| {
            let lines: Vec<String> = dependencies.iter().map(|name| format!("{name}.workspace = true")).collect();
            (format!("{name}/Cargo.toml"), format!("[dependencies]\n{}", lines.join("\n")))
        });
        let texts: BTreeMap<String, String> = texts.collect();
        let packages: Vec<Package> = packages
            .iter()
            .map(|(name, dependencies)| Package {
                name: (*name).to_owned(),
                manifest_path: Path::new("repository").join(name).join("Cargo.toml"),
                dependencies: dependencies.iter().map(|name| Dependency { name: (*name).to_owned() }).collect(),
            })
            .collect();
        let problems = check(&packages, Path::new("repository"), &texts);
        let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(messages, expected);
    }

    #[test]
    fn downwards() {
        check_layers(
            &[
                ("nas-core", &["serde"]),
                ("nas-nn", &["nas-core", "rand"]),
                ("nas-rl", &["nas-core", "nas-nn"]),
                ("nas-cli", &["clap", "nas-core", "nas-nn", "nas-rl"]),
                ("nas-tests", &["nas-nn"]),
                ("xtask", &["clap"]),
            ],
            &[],
        );
    }

    #[test]
    fn upwards() {
        check_layers(
            &[
                ("nas-core", &["serde", "nas-nn"]),
                ("nas-nn", &["nas-rl"]),
                ("nas-rl", &[]),
                ("nas-tests", &["nas-cli"]),
                ("nas-cli", &[]),
            ],
            &[
                "nas-core/Cargo.toml:3: nas-core must not depend on nas-nn, in tests neither",
                "nas-nn/Cargo.toml:2: nas-nn must not depend on nas-rl, in tests neither",
                "nas-tests/Cargo.toml:2: nas-tests must not depend on nas-cli, in tests neither",
            ],
        );
    }

    #[test]
    fn application_crates() {
        check_layers(
            &[("nas-rl", &["tokio"])],
            &["nas-rl/Cargo.toml:2: tokio belongs to the application: only nas-cli may use it"],
        );
    }

    #[test]
    fn a_new_package_needs_a_place() {
        let message = "nas-web has no place among the layers: give it one in xtask/src/tidy/layers.rs";
        check_layers(&[("nas-web", &[])], &[&format!("nas-web/Cargo.toml:1: {message}")]);
    }
}
