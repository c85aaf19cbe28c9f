//! What networks may cost, and the command that looks at a space under it.

use clap::Args;
use nas_core::space::Limits as Amounts;

/// The most that networks may cost; each is also a key of the configuration file and, in a table `limits`, of a space file.
#[derive(Debug, Clone, Args, Default)]
pub(crate) struct Limits {
    /// Propose only networks with so many parameters or fewer: 20000, 500k, 1.5M
    #[arg(long, value_name = "N", value_parser = params, allow_hyphen_values = true)]
    pub(crate) max_params: Option<u64>,

    /// Propose only networks with so many multiply-adds for one example or fewer: 2M, 1G
    #[arg(long, value_name = "N", value_parser = madds, allow_hyphen_values = true)]
    pub(crate) max_madds: Option<u64>,

    /// Propose only networks whose training takes so much memory or less: 512M, 2G [default: any; a training that takes more
    /// than 1G, or what this machine can spare, fails]
    #[arg(long, value_name = "BYTES", value_parser = super::value::bytes, allow_hyphen_values = true)]
    pub(crate) max_memory: Option<u64>,
}

fn params(text: &str) -> Result<u64, String> {
    Amounts::amount("params", text)
}

fn madds(text: &str) -> Result<u64, String> {
    Amounts::amount("madds", text)
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nas space check cnn_cell
  nas space check cnn_cell --max-params 40k --max-madds 1M   how much of it keeps to limits
  nas space check my-space.toml")]
pub(crate) struct SpaceCheck {
    /// A name from `nas space list`, or a TOML file
    pub(crate) space: String,

    #[command(flatten)]
    pub(crate) limits: Limits,
}
