//! Agents: policy, value function and update, one algorithm a file.

mod pqt_surrogate;
mod queue_policy;
mod reinforce;

use nas_core::{ArchitectureError, Diagnostics, Rng};

use crate::environment::{Environment, Episode};
use crate::rollout::Rollout;

pub use pqt_surrogate::PqtSurrogate;
pub use queue_policy::QueuePolicy;
pub use reinforce::Reinforce;

/// Acts, and learns from what came of it.
pub trait Agent: Send {
    /// The name it is stored under.
    fn name(&self) -> &'static str;

    /// An episode by its policy.
    ///
    /// # Errors
    /// Never for a policy that keeps to the masks.
    fn act(&mut self, environment: &Environment, rng: &mut Rng) -> Result<Episode, ArchitectureError>;

    /// One update from finished episodes; what it says of itself, under the field's names.
    fn update(&mut self, rollout: &Rollout) -> Diagnostics;
}
