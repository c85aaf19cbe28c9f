//! Spaces and helpers of the tests.

use nas_core::{Architecture, Failure, Metrics, Origin, Proposal, SearchSpace, Seed, Trial, TrialState};

/// `slots` choices of `options` each.
pub(crate) fn cube(slots: usize, options: usize) -> SearchSpace {
    let names: Vec<String> = (0..options).map(|i| format!("o{i}")).collect();
    let builder = (0..slots)
        .fold(SearchSpace::builder("cube"), |b, i| b.choice(&format!("d{i}"), names.iter().map(String::as_str)));
    builder.build().unwrap()
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

/// The trial of a proposal with that reward; a failed one without.
pub(crate) fn trial(number: u64, proposal: Proposal, reward: Option<f64>) -> Trial {
    let state = match reward {
        Some(reward) => TrialState::Complete { metrics: Metrics::new(), reward },
        None => TrialState::Failed { failure: Failure::Other { message: String::new() } },
    };
    let Proposal { architecture, origin } = proposal;
    Trial { number, architecture, origin, seed: Seed::new(0), state, seconds: 0.0 }
}

/// Runs `trials` trials through a strategy; what was tried, with its origin and reward.
pub(crate) fn run(
    strategy: &mut dyn nas_core::Strategy,
    trials: u64,
    reward: impl Fn(&Architecture) -> Option<f64>,
) -> Vec<(Architecture, Origin, Option<f64>)> {
    let mut all = Vec::new();
    for number in 0..trials {
        let Some(proposal) = strategy.propose(1).unwrap().pop() else { break };
        let reward = reward(&proposal.architecture);
        all.push((proposal.architecture.clone(), proposal.origin, reward));
        strategy.observe(&[trial(number, proposal, reward)]).unwrap();
    }
    all
}
