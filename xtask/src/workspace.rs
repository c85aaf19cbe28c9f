//! What cargo and git know about this workspace: its root, its packages, its files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;
use xshell::{Shell, cmd};

/// The part of `cargo metadata` that the tasks read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The packages of the workspace.
    pub(crate) packages: Vec<Package>,
    /// Where cargo builds.
    pub(crate) target_directory: PathBuf,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its Cargo.toml, absolute.
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a package asks for, of any kind: normal, development or build.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
}

/// The folder that holds the workspace's Cargo.toml.
pub(crate) fn root(sh: &Shell) -> anyhow::Result<PathBuf> {
    let manifest = cmd!(sh, "cargo locate-project --workspace --message-format plain").quiet().read()?;
    let root = Path::new(manifest.trim()).parent().context("a manifest stands in a folder")?;
    Ok(root.to_owned())
}

/// The workspace's packages, without those they depend on.
pub(crate) fn metadata(sh: &Shell) -> anyhow::Result<Metadata> {
    let json = cmd!(sh, "cargo metadata --no-deps --format-version 1").quiet().read()?;
    serde_json::from_str(&json).context("cargo metadata said something else than expected")
}

/// The repository's files, relative to the root, sorted: tracked ones and new ones that no ignore rule names.
pub(crate) fn files(sh: &Shell) -> anyhow::Result<Vec<String>> {
    let list = cmd!(sh, "git ls-files -z --cached --others --exclude-standard").quiet().read()?;
    let mut files: Vec<String> =
        list.split('\0').filter(|name| !name.is_empty() && sh.path_exists(name)).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    Ok(files)
}
