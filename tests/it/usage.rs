//! What `nas` says before any command runs.

use crate::nas::nas;

#[test]
fn version() {
    let folder = tempfile::tempdir().unwrap();
    let output = nas(folder.path()).arg("--version").assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert_eq!(text, concat!("nas ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_unknown_flag_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let output = nas(folder.path()).args(["search", "--no-such-flag"]).assert().code(2);
    let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(text.contains("--no-such-flag"), "{text}");
}

#[test]
fn an_unknown_instruction_set_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let output = nas(folder.path()).env("NAS_SIMD", "avx9").arg("studies").assert().code(2);
    let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(text.contains("NAS_SIMD is \"avx9\"; it may be portable, avx2 or avx512"), "{text}");
    nas(folder.path()).env("NAS_SIMD", "portable").arg("studies").assert().success();
}
