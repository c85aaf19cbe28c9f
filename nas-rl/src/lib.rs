//! Policy-gradient controllers for neural architecture search.
//!
//! A search is a decision process ([`Environment`]): a state is a prefix of choices, an action an option of the next
//! decision, masked where it cannot be completed, and an episode is an architecture whose reward comes when it was trained. A
//! [`Policy`] gives every option a probability, a [`ValueFunction`] says what is to be expected, an [`Agent`] updates both,
//! and a [`Controller`] makes an agent a [`Strategy`]: something that proposes and observes. Policies and
//! critics are graphs of `nas-nn`; nothing here knows of terminals or of how a network is trained.
//!
//! ```
//! use nas_core::{Observed, SearchSpace, Seed, Strategy};
//!
//! let space = SearchSpace::builder("toy").choice("op", ["conv", "pool", "skip"]).integer("width", 1..=64).build()?;
//! let mut agent = nas_rl::strategy("reinforce", &space, Seed::new(1))?;
//! let mut best = 0.0_f64;
//! for number in 0..100 {
//!     let Some(proposal) = agent.propose()? else { break };
//!     let architecture = space.architecture(&proposal.tokens)?;
//!     let width = architecture.integer("width")? as f64;
//!     let reward = width / 64.0 + f64::from(u8::from(architecture.choice("op")? == "conv"));
//!     best = best.max(reward);
//!     let (tokens, origin) = (proposal.tokens, proposal.origin);
//!     agent.observe(&Observed { number, tokens, reward: Some(reward), origin })?;
//! }
//! assert!(best > 1.8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod advantage;
pub mod agent;
mod controller;
mod environment;
pub mod policy;
pub mod rollout;
pub mod statistics;
pub mod surrogate;
#[cfg(test)]
mod testing;
pub mod value;

use nas_core::strategy::{Evolution, LocalSearch, RandomSearch};
use nas_core::{Purpose, SearchSpace, Seed, Strategy};

pub use agent::{Agent, Plan, Reinforce};
pub use controller::Controller;
pub use environment::{Choice, Environment, Episode};
pub use policy::Policy;
pub use value::ValueFunction;

use advantage::Shaping;
use policy::{Independent, Lstm};
use value::{Critic, MovingBaseline};

/// The names that [`strategy`] knows of strategies that never propose anything twice, the default first.
pub const STRATEGIES: [&str; 6] =
    ["reinforce", "reinforce-critic", "reinforce-lstm", "evolution", "local-search", "random"];

/// The names that [`strategy`] knows of published settings, to the letter: they may propose again what was tried.
pub const PUBLISHED: [&str; 2] = ["evolution-p10-s3", "evolution-p100-s25"];

/// The most logits of an episode's steps together, and the most inputs of a critic: beyond them an update takes gigabytes.
const LOGITS: usize = 1 << 21;
const CRITIC_INPUTS: usize = 1 << 17;

/// Why there is no strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// None has that name.
    #[error("there is no agent \"{name}\"; agents: {}, {}", STRATEGIES.join(", "), PUBLISHED.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// Its policy or critic would not fit in memory.
    #[error(
        "the space \"{space}\" is too large for the agent \"{name}\": {slots} slots with {options} options in all; \
         agents for every size: evolution, random"
    )]
    TooLarge {
        /// The agent.
        name: &'static str,
        /// The space's name.
        space: String,
        /// Its slots.
        slots: usize,
        /// The options of all slots together.
        options: usize,
    },
}

/// The strategy called `name` on `space`.
///
/// `reinforce`: independent logits and a moving baseline. `reinforce-critic`: with a learned critic. `reinforce-lstm`: with a
/// recurrent policy. `evolution`, `local-search` and `random` are controls without a policy; `evolution-p10-s3` and
/// `evolution-p100-s25` are evolution as published.
///
/// # Errors
/// When there is none; the error lists them. When the space has so many slots and options that the agent would need
/// gigabytes.
pub fn strategy(name: &str, space: &SearchSpace, seed: Seed) -> Result<Box<dyn Strategy>, StrategyError> {
    let environment = Environment::new(space.clone());
    let arity = environment.arity();
    let (slots, options, widest) = (arity.len(), arity.iter().sum(), arity.iter().copied().max().unwrap_or(0));
    let check = |name, logits: usize, inputs: usize| {
        if logits <= LOGITS && inputs <= CRITIC_INPUTS {
            return Ok(());
        }
        Err(StrategyError::TooLarge { name, space: space.name().to_owned(), slots, options })
    };
    let mut rng = seed.stream(Purpose::Policy, 0);
    let reinforce = |policy: Box<dyn Policy>, value: Box<dyn ValueFunction>, name| -> Box<dyn Strategy> {
        Box::new(Controller::new(Reinforce::new(name, policy, value, Shaping::Rank), space.clone(), seed))
    };
    let independent = || Box::new(Independent::new(&environment, 0.2));
    Ok(match name {
        "reinforce" => {
            check("reinforce", slots * widest, 0)?;
            reinforce(independent(), Box::<MovingBaseline>::default(), "reinforce")
        }
        "reinforce-critic" => {
            check("reinforce-critic", slots * widest, options)?;
            reinforce(independent(), Box::new(Critic::new(&environment, 0.01, &mut rng)), "reinforce-critic")
        }
        "reinforce-lstm" => {
            check("reinforce-lstm", slots * options, 0)?;
            let policy = Box::new(Lstm::new(&environment, 0.02, &mut rng));
            reinforce(policy, Box::<MovingBaseline>::default(), "reinforce-lstm")
        }
        "evolution" => Box::new(Evolution::new(space.clone(), seed)),
        "evolution-p10-s3" => Box::new(Evolution::published_10_3(space.clone(), seed)),
        "evolution-p100-s25" => Box::new(Evolution::published_100_25(space.clone(), seed)),
        "local-search" => Box::new(LocalSearch::new(space.clone(), seed)),
        "random" => Box::new(RandomSearch::new(space.clone(), seed)),
        _ => return Err(StrategyError::Unknown { name: name.to_owned() }),
    })
}

#[cfg(test)]
mod tests;
