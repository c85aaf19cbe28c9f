//! Spaces and helpers of the tests.

use nas_core::{Architecture, Diagnostics, Observed, Origin, Proposal, SearchSpace, Strategy};

use crate::environment::{Environment, Episode};

/// `slots` choices of `options` each.
pub(crate) fn cube(slots: usize, options: usize) -> SearchSpace {
    let names: Vec<String> = (0..options).map(|i| format!("o{i}")).collect();
    let builder = (0..slots)
        .fold(SearchSpace::builder("cube"), |b, i| b.choice(&format!("d{i}"), names.iter().map(String::as_str)));
    builder.build().unwrap()
}

/// The cell of NAS-Bench-201, where paths may be missing.
pub(crate) fn benchmark_cell() -> SearchSpace {
    let ops = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
    let edges = ["0-1", "0-2", "1-2", "0-3", "1-3", "2-3"];
    edges.iter().fold(SearchSpace::builder("cell"), |b, edge| b.choice(edge, ops)).build().unwrap()
}

/// A space with a condition and a requirement, so that masks and closed slots occur.
pub(crate) fn conditional() -> SearchSpace {
    SearchSpace::builder("conditional")
        .choice("kind", ["plain", "deep"])
        .integer("depth", 1..=3)
        .when("kind", ["deep"])
        .choice("a", ["none", "x", "y"])
        .choice("b", ["none", "x"])
        .choice("c", ["none", "x", "y"])
        .require_path([(0, 1, "a"), (1, 2, "b"), (0, 2, "c")], "none")
        .build()
        .unwrap()
}

/// The first option that is not masked.
pub(crate) fn first_open(mask: &[bool]) -> usize {
    mask.iter().position(|&open| open).unwrap()
}

/// The episodes of all architectures.
pub(crate) fn episodes(environment: &Environment) -> Vec<Episode> {
    let space = environment.space();
    space.enumerate().map(|a| environment.replay(&space.tokens(&a).unwrap()).unwrap()).collect()
}

/// Tells a strategy what came of its proposal; what it says then.
pub(crate) fn tell(strategy: &mut dyn Strategy, number: u64, proposal: Proposal, reward: Option<f64>) -> Diagnostics {
    let Proposal { tokens, origin } = proposal;
    strategy.observe(&Observed { number, tokens, reward, origin }).unwrap();
    strategy.diagnostics()
}

/// Runs `trials` trials in `space` through a strategy; what was tried, with its origin and reward.
pub(crate) fn run(
    strategy: &mut dyn Strategy,
    space: &SearchSpace,
    trials: u64,
    reward: impl Fn(&Architecture) -> Option<f64>,
) -> Vec<(Architecture, Origin, Option<f64>)> {
    let mut all = Vec::new();
    for number in 0..trials {
        let Some(proposal) = strategy.propose().unwrap() else { break };
        let architecture = space.architecture(&proposal.tokens).unwrap();
        let reward = reward(&architecture);
        all.push((architecture, proposal.origin, reward));
        tell(strategy, number, proposal, reward);
    }
    all
}

/// A finished episode that the present policy drew.
pub(crate) fn finished(sampled: crate::policy::Sampled, reward: Option<f64>) -> crate::rollout::Finished {
    let drawn = crate::rollout::Drawn::Policy { log_prob: sampled.log_prob, age: 0 };
    crate::rollout::Finished { number: 0, episode: sampled.episode, reward, drawn }
}
