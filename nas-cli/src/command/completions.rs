//! `nas completions`: a completion script on stdout.

use clap::CommandFactory as _;

use crate::cli::{Cli, Completions};
use crate::error::{Error, Kind, Result};

/// Prints the script for a shell.
pub(crate) fn run(args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "nas", &mut script);
    match std::io::Write::write_all(&mut std::io::stdout(), &script) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Io, format!("writing the script: {e}")))
        }
        _ => Ok(()),
    }
}
