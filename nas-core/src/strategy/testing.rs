//! What the tests of strategies share.

use super::{Observed, Proposal, Strategy};
use crate::SearchSpace;

/// Tells a strategy what came of its proposal.
pub(super) fn tell(strategy: &mut dyn Strategy, number: u64, proposal: &Proposal, reward: Option<f64>) {
    let (tokens, origin) = (proposal.tokens.clone(), proposal.origin);
    strategy.observe(&Observed { number, tokens, reward, origin }).unwrap();
}

/// Up to `n` proposals, nothing observed between.
pub(super) fn ask(strategy: &mut dyn Strategy, n: usize) -> Vec<Proposal> {
    std::iter::from_fn(|| strategy.propose().unwrap()).take(n).collect()
}

/// The proposals of a search of `trials` trials, of which `lag` are on their way at once.
pub(super) fn run(
    strategy: &mut dyn Strategy,
    space: &SearchSpace,
    trials: u64,
    lag: usize,
    reward: impl Fn(&str) -> Option<f64>,
) -> Vec<Proposal> {
    let mut all: Vec<Proposal> = Vec::new();
    for number in 0..trials {
        let due = (number as usize + lag - all.len()).min(trials as usize - all.len());
        all.extend(ask(strategy, due));
        let Some(proposal) = all.get(number as usize) else { break };
        let text = space.architecture(&proposal.tokens).unwrap().to_string();
        tell(strategy, number, proposal, reward(&text));
    }
    all
}
