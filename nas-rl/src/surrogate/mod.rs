//! A model of the reward, cheap to ask: what a strategy consults before it pays for a trial.
//!
//! [`Features`] makes the tokens of an architecture a vector, [`GaussianProcess`] predicts rewards from such vectors and says
//! how sure it is, and [`log_expected_improvement`] what a candidate is worth trying. Rewards enter as [`normal_scores`], so
//! that only their order counts. [`Surrogate`] is all of it for one search.

mod acquisition;
mod features;
mod gp;
mod model;
mod paths;
mod source;

pub use acquisition::{expected_improvement, log_expected_improvement, normal_scores};
pub use features::Features;
pub use gp::GaussianProcess;
pub use model::Surrogate;
pub(crate) use paths::cells;
