//! A Python with PyTorch, in a virtual environment under the target folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use xshell::{Shell, cmd};

/// PyTorch's own index of wheels without CUDA.
const CPU_WHEELS: &str = "https://download.pytorch.org/whl/cpu";

/// The Python to use, with PyTorch as `benches/peers/requirements.txt` pins it, installed when it is not there yet.
pub(crate) fn prepare(sh: &Shell, root: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    let peers = root.join("benches/peers");
    let requirements = peers.join("requirements.txt");
    let wanted = pinned(&fs::read_to_string(&requirements)?, "torch").context("requirements.txt pins no torch")?;
    let folder = target.join("peers-venv");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if installed(sh, &python).is_some_and(|version| version == wanted) {
        return Ok(python);
    }
    println!("installing PyTorch {wanted} into {}: some minutes, and up to 1.5 GB of disk", folder.display());
    cmd!(sh, "python3 -m venv --clear {folder}").run().context("Python 3 with its venv module is needed")?;
    let torch = format!("torch=={wanted}");
    let pip = ["-m", "pip", "install", "--no-deps", "--disable-pip-version-check"];
    let small = cmd!(sh, "{python} {pip...} --retries 1 --timeout 15 --index-url {CPU_WHEELS} {torch}");
    if small.ignore_stderr().run().is_err() {
        println!("{CPU_WHEELS} did not serve it: taking the wheel of pip's usual index, without its CUDA packages");
    }
    cmd!(sh, "{python} {pip...} --requirement {requirements}").run()?;
    if installed(sh, &python).is_none() {
        let script = peers.join("without_cuda.py");
        cmd!(sh, "{python} {script}")
            .run()
            .context("PyTorch's wheel needs CUDA, and its stubs need gcc and binutils")?;
    }
    let found = installed(sh, &python);
    ensure!(
        found.as_ref() == Some(&wanted),
        "PyTorch {wanted} was installed, but Python imports {}",
        found.as_deref().unwrap_or("none")
    );
    Ok(python)
}

/// The version of `package` that `requirements` pins.
fn pinned(requirements: &str, package: &str) -> Option<String> {
    let version = |line: &str| Some(line.trim().strip_prefix(package)?.strip_prefix("==")?.to_owned());
    requirements.lines().find_map(version)
}

/// The version of PyTorch that `python` imports, without what it was built for.
fn installed(sh: &Shell, python: &Path) -> Option<String> {
    if !python.exists() {
        return None;
    }
    let version =
        cmd!(sh, "{python} -c 'import torch; print(torch.__version__)'").quiet().ignore_stderr().read().ok()?;
    Some(public_version(&version).to_owned())
}

/// `2.15.0` of `2.15.0+cpu`.
fn public_version(version: &str) -> &str {
    version.trim().split('+').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_found() {
        let text = "# for the peers\ntorchvision==1.0\ntorch==2.15.0\nnumpy==2.4.6\n";
        assert_eq!(pinned(text, "torch").as_deref(), Some("2.15.0"));
        assert_eq!(pinned("torch>=2\n", "torch"), None);
    }

    #[test]
    fn builds_of_a_version_are_that_version() {
        assert_eq!(public_version("2.15.0+cpu\n"), "2.15.0");
        assert_eq!(public_version("2.15.0"), "2.15.0");
    }
}
