//! Policy-gradient controllers for neural architecture search.
//!
//! A search is a decision process ([`Environment`]): a state is a prefix of choices, an action an option of the next
//! decision, masked where it cannot be completed, and an episode is an architecture whose reward comes when it was trained. A
//! [`Policy`] gives every option a probability, a [`ValueFunction`] says what is to be expected, an [`Agent`] updates both,
//! and a [`Controller`] makes an agent a [`Strategy`]: something that proposes and observes. Networks run on `nas-nn`; nothing
//! here knows of terminals or of how a child is trained. [`strategy`] lists what there is.
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
//!
//! A search can be stored at any moment and go on elsewhere, bit for bit ([`Snapshot`](nas_core::strategy::Snapshot)), and it can
//! begin with what another one found ([`Strategy::warm_start`]):
//!
//! ```
//! use nas_core::strategy::Snapshot;
//! use nas_core::{SearchSpace, Seed};
//!
//! let space = SearchSpace::builder("toy").choice("op", ["conv", "pool", "skip"]).integer("width", 1..=64).build()?;
//! let mut agent = nas_rl::strategy("pqt", &space, Seed::new(1))?;
//! agent.propose()?;
//! let stored = Snapshot::of(&mut *agent)?.to_string();
//!
//! let mut restored = nas_rl::strategy("pqt", &space, Seed::new(0))?;
//! stored.parse::<Snapshot>()?.restore(&mut *restored)?;
//! assert_eq!(agent.propose()?, restored.propose()?);
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

use nas_core::strategy::{Evolution, LocalSearch, RandomSearch, Tpe};
use nas_core::{Purpose, Rng, SearchSpace, Seed, Strategy};

pub use agent::{Agent, Plan, PqtSurrogate, Reinforce};
pub use controller::Controller;
pub use environment::{Choice, Environment, Episode};
pub use policy::Policy;
pub use value::ValueFunction;

use advantage::Shaping;
use agent::{A2c, Ppo, Pqt, Ratio, ReinforceNats, RiskSeeking, SelfImitation};
use policy::{Graph, Independent, Lstm, Transformer};
use value::{Critic, LeaveOneOut, MovingBaseline};

/// The names that [`strategy`] knows of strategies that never propose anything twice: agents, then strategies without a policy.
pub const STRATEGIES: [&str; 30] = [
    "reinforce",
    "reinforce-critic",
    "reinforce-loo",
    "reinforce-lstm",
    "reinforce-transformer",
    "reinforce-graph",
    "a2c",
    "a2c-lstm",
    "a2c-transformer",
    "a2c-graph",
    "ppo",
    "ppo-critic",
    "ppo-queue",
    "ppo-lstm",
    "ppo-transformer",
    "ppo-graph",
    "pqt",
    "pqt-lstm",
    "pqt-transformer",
    "pqt-graph",
    "risk-seeking",
    "self-imitation",
    "pqt-surrogate",
    "pqt-surrogate-one-hot",
    "elite-mutation-gp",
    "evolution",
    "evolution-large",
    "local-search",
    "tpe",
    "random",
];

/// The names that [`strategy`] knows of published settings, to the letter: they may propose again what was tried.
pub const PUBLISHED: [&str; 3] = ["reinforce-nats", "evolution-p10-s3", "evolution-p100-s25"];

/// The names of those with neither a policy nor a surrogate.
const PLAIN: [&str; 7] =
    ["evolution", "evolution-large", "local-search", "tpe", "random", "evolution-p10-s3", "evolution-p100-s25"];

/// The most weights of a policy, and the most inputs of a critic or a surrogate: beyond them an update takes seconds and gigabytes.
const WEIGHTS: usize = 1 << 21;
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
    /// It learns nothing that another study could begin with, or is as published.
    #[error("the agent \"{name}\" cannot be warm-started; agents that can: {}", warm().collect::<Vec<&str>>().join(", "))]
    Cold {
        /// The agent.
        name: String,
    },
    /// Its policy or critic would not fit in memory.
    #[error(
        "the space \"{space}\" is too large for the agent \"{name}\": {slots} slots with {options} options in all; \
         agents for every size: evolution, local-search, random"
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

/// The names that [`strategy`] knows of strategies that can be warm-started.
fn warm() -> impl Iterator<Item = &'static str> {
    STRATEGIES.into_iter().filter(|name| !PLAIN.contains(name))
}

/// Checks that the strategy called `name` can be warm-started from another study.
///
/// ```
/// use nas_core::{Observed, SearchSpace, Seed};
///
/// let space = SearchSpace::builder("toy").choice("op", ["conv", "pool", "skip"]).integer("width", 1..=64).build()?;
/// let search = |source: &[Observed]| -> Result<Vec<Observed>, Box<dyn std::error::Error>> {
///     let mut agent = nas_rl::strategy("pqt-surrogate", &space, Seed::new(1))?;
///     if !source.is_empty() {
///         agent.warm_start(source)?;
///     }
///     let mut trials = Vec::new();
///     for number in 0..30 {
///         let Some(proposal) = agent.propose()? else { break };
///         let width = space.architecture(&proposal.tokens)?.float("width")?;
///         let trial = Observed { number, tokens: proposal.tokens, reward: Some(-width), origin: proposal.origin };
///         agent.observe(&trial)?;
///         trials.push(trial);
///     }
///     Ok(trials)
/// };
/// nas_rl::check_warm_start("pqt-surrogate")?;
/// let cold = search(&[])?;
/// let warm = search(&cold)?;
/// assert!(warm[0].reward > cold[0].reward);
///
/// let error = nas_rl::check_warm_start("evolution").unwrap_err().to_string();
/// assert!(error.starts_with("the agent \"evolution\" cannot be warm-started; agents that can: reinforce, "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When it cannot; the error lists those that can.
pub fn check_warm_start(name: &str) -> Result<(), StrategyError> {
    if PLAIN.contains(&name) || PUBLISHED.contains(&name) {
        Err(StrategyError::Cold { name: name.to_owned() })
    } else {
        Ok(())
    }
}

/// The strategy called `name` on `space`.
///
/// | name | what it is |
/// | --- | --- |
/// | `reinforce` | [`Reinforce`], independent logits, a moving baseline |
/// | `reinforce-critic`, `reinforce-loo` | with a learned critic; with the mean of the batch's others as the baseline |
/// | `a2c` | [`A2c`], independent logits, a critic |
/// | `ppo` | [`Ppo`], independent logits, a moving baseline, the ratio of whole episodes |
/// | `ppo-critic` | with a critic, advantages and ratios of single choices |
/// | `ppo-queue` | with a queue of the best episodes, for large budgets |
/// | `pqt` | [`Pqt`] |
/// | `…-lstm`, `…-transformer`, `…-graph` | `reinforce`, `a2c`, `ppo` and `pqt` with a policy whose decisions know each other: [`Lstm`], [`Transformer`], [`Graph`] |
/// | `risk-seeking`, `self-imitation` | [`RiskSeeking`], [`SelfImitation`] |
/// | `pqt-surrogate` | [`PqtSurrogate`]: a policy and elite edits filtered by a Gaussian process |
/// | `pqt-surrogate-one-hot`, `elite-mutation-gp` | without features of the space; without the policy |
/// | `evolution`, `evolution-large`, `local-search`, `tpe`, `random` | controls without a policy; [`Evolution::large`] is for long searches |
/// | `reinforce-nats`, `evolution-p10-s3`, `evolution-p100-s25` | as published, repeats included |
///
/// # Errors
/// When there is none; the error lists them. When the space has so many slots and options that the agent would need
/// gigabytes.
pub fn strategy(name: &str, space: &SearchSpace, seed: Seed) -> Result<Box<dyn Strategy>, StrategyError> {
    let Some(&name) = STRATEGIES.iter().chain(&PUBLISHED).find(|known| **known == name) else {
        return Err(StrategyError::Unknown { name: name.to_owned() });
    };
    let environment = Environment::new(space.clone());
    let mut rng = seed.stream(Purpose::Policy, 0);
    let arity = environment.arity();
    let (slots, options) = (arity.len(), arity.iter().sum::<usize>());
    let (agent, kind) = with_policy(name);
    let weights = match kind {
        Some("lstm") => Lstm::weights(arity),
        Some("transformer") => Transformer::weights(arity),
        Some("graph") => Graph::weights(arity),
        _ => options,
    };
    let surrogates = ["pqt-surrogate", "pqt-surrogate-one-hot", "elite-mutation-gp"];
    let inputs = if name.ends_with("-critic") || agent == "a2c" || surrogates.contains(&name) { options } else { 0 };
    if !PLAIN.contains(&name) && (weights > WEIGHTS || inputs > CRITIC_INPUTS) {
        return Err(StrategyError::TooLarge { name, space: space.name().to_owned(), slots, options });
    }

    // What the name says, with the rate of Adam for logits, LSTM, Transformer and graph.
    let policy = |rates: [f64; 4], rng: &mut Rng| -> Box<dyn Policy> {
        match kind {
            Some("lstm") => Box::new(Lstm::new(&environment, rates[1], rng)),
            Some("transformer") => Box::new(Transformer::new(&environment, rates[2], rng)),
            Some("graph") => Box::new(Graph::new(&environment, rates[3], rng)),
            _ => Box::new(Independent::new(&environment, rates[0])),
        }
    };
    let independent = |learning_rate| Box::new(Independent::new(&environment, learning_rate));
    let baseline = Box::<MovingBaseline>::default;
    let rank = Shaping::Rank;
    let space = space.clone();
    Ok(match agent {
        "reinforce" => {
            let policy = policy([0.2, 0.02, 0.005, 0.02], &mut rng);
            controlled(Reinforce::new(name, policy, baseline(), rank), space, seed)
        }
        "reinforce-critic" => {
            let critic = Box::new(Critic::new(&environment, 0.01, &mut rng));
            controlled(Reinforce::new(name, independent(0.2), critic, rank), space, seed)
        }
        "reinforce-loo" => controlled(Reinforce::new(name, independent(0.2), Box::new(LeaveOneOut), rank), space, seed),
        "reinforce-nats" => controlled(ReinforceNats::new(&environment, &mut rng), space, seed),
        "a2c" => {
            let policy = policy([0.1, 0.02, 0.005, 0.02], &mut rng);
            let critic = Box::new(Critic::new(&environment, 0.01, &mut rng));
            controlled(A2c::new(name, policy, critic, rank), space, seed)
        }
        "ppo" => {
            let policy = policy([0.2, 0.02, 0.005, 0.02], &mut rng);
            controlled(Ppo::new(name, policy, baseline(), rank), space, seed)
        }
        "ppo-critic" => {
            let critic = Box::new(Critic::new(&environment, 0.01, &mut rng));
            let mut agent = Ppo::new(name, independent(0.2), critic, rank);
            agent.ratio = Ratio::Token;
            controlled(agent, space, seed)
        }
        "ppo-queue" => controlled(Ppo::new(name, independent(0.1), baseline(), rank).with_queue(), space, seed),
        "pqt" => controlled(Pqt::new(name, policy([0.2, 0.005, 0.002, 0.005], &mut rng)), space, seed),
        "risk-seeking" => controlled(RiskSeeking::new(name, independent(0.1), rank), space, seed),
        "self-imitation" => controlled(SelfImitation::new(name, independent(0.1), seed), space, seed),
        "pqt-surrogate" => Box::new(PqtSurrogate::new(space, seed)),
        "pqt-surrogate-one-hot" => Box::new(PqtSurrogate::one_hot(space, seed)),
        "elite-mutation-gp" => Box::new(PqtSurrogate::elite_mutation(space, seed)),
        "evolution" => Box::new(Evolution::new(space, seed)),
        "evolution-large" => Box::new(Evolution::large(space, seed)),
        "evolution-p10-s3" => Box::new(Evolution::published_10_3(space, seed)),
        "evolution-p100-s25" => Box::new(Evolution::published_100_25(space, seed)),
        "local-search" => Box::new(LocalSearch::new(space, seed)),
        "tpe" => Box::new(Tpe::new(space, seed)),
        "random" => Box::new(RandomSearch::new(space, seed)),
        _ => return Err(StrategyError::Unknown { name: name.to_owned() }),
    })
}

/// A name without its policy, and that policy; none where decisions do not know each other.
fn with_policy(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('-') {
        Some((agent, policy @ ("lstm" | "transformer" | "graph"))) => (agent, Some(policy)),
        _ => (name, None),
    }
}

fn controlled<A: Agent + 'static>(agent: A, space: SearchSpace, seed: Seed) -> Box<dyn Strategy> {
    Box::new(Controller::new(agent, space, seed))
}

#[cfg(test)]
mod tests;
