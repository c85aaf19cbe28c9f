//! The `nas` binary, for the tests that run it.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;

use assert_cmd::Command;

/// The `nas` command, to be run in `folder`, without colours.
pub(crate) fn nas(folder: &Path) -> Command {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let mut command = Command::new(BINARY.get_or_init(build).as_ref().expect("nas builds; if not, cargo said why"));
    command.current_dir(folder).env("NO_COLOR", "1").env("NAS_CALIBRATION", folder.join("calibration.json"));
    command
}

/// Builds the binary in the profile of this test: cargo builds binaries for the tests of their own package only. None when it
/// does not build, so that it is tried once and not by every test.
fn build() -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = process::Command::new(cargo);
    command
        .args(["build", "--package", "nas-cli", "--bin", "nas", "--message-format", "json-render-diagnostics"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
        .stderr(process::Stdio::inherit());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs these tests, so it can be started");
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout)
        .expect("cargo writes JSON")
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}
