//! A model of the reward, cheap to ask: what a strategy consults before it pays for a trial.
//!
//! [`GaussianProcess`] predicts rewards from feature vectors with their uncertainty, and [`log_expected_improvement`] says
//! what a candidate is worth trying. Rewards enter as [`normal_scores`], so that only their order counts.

mod acquisition;
mod gp;

pub use acquisition::{expected_improvement, log_expected_improvement, normal_scores};
pub use gp::GaussianProcess;
