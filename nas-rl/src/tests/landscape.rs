//! What agents reach on landscapes with a planted optimum, and that nobody beats chance where there is nothing to learn.

use std::sync::atomic::AtomicBool;

use nas_core::benchmark::Planted;
use nas_core::{Observed, Proposal, SearchSpace, Seed, Strategy, Tokens};

use crate::advantage::Shaping;
use crate::agent::{Agent as _, Ppo};
use crate::policy::Independent;
use crate::statistics::{mean, wilcoxon_signed_rank};
use crate::testing::cube;
use crate::value::MovingBaseline;
use crate::{Controller, Environment, STRATEGIES, strategy};

/// The best value of that many trials.
fn search(strategy: &mut dyn Strategy, trials: u64, value: impl Fn(&Tokens) -> f64) -> f64 {
    let mut best = f64::NEG_INFINITY;
    for number in 0..trials {
        let Some(Proposal { tokens, origin }) = strategy.propose().unwrap() else { break };
        let reward = value(&tokens);
        best = best.max(reward);
        strategy.observe(&Observed { number, tokens, reward: Some(reward), origin }).unwrap();
    }
    best
}

/// The mean regret over ten landscapes, as a share of what lies between the worst and the best.
fn regret(name: &str, landscapes: &str, trials: usize) -> f64 {
    let planted: Planted = landscapes.parse().unwrap();
    let of = |instance: u64| {
        let mut strategy = strategy(name, planted.space(), Seed::new(instance)).unwrap();
        let landscape = planted.landscape(Seed::new(instance));
        landscape.run(&mut *strategy, trials, 1, &AtomicBool::new(false)).unwrap().regret(trials)
    };
    (0..10).map(of).sum::<f64>() / 10.0
}

#[test]
fn ten_decisions_are_solved_within_1000_trials() {
    let short = "10x4:0.3";
    let random = regret("random", short, 1000);
    assert!((0.07..0.16).contains(&random), "random {random}");
    for name in ["evolution", "local-search", "pqt", "ppo", "ppo-queue", "self-imitation"] {
        let regret = regret(name, short, 1000);
        assert!(regret < 0.0075, "{name} {regret}");
    }
}

#[test]
fn twenty_decisions_are_nearly_solved_within_2000_trials() {
    let long = "20x5:0.5";
    let random = regret("random", long, 2000);
    assert!((0.18..0.28).contains(&random), "random {random}");
    for (name, limit) in [("evolution", 0.015), ("pqt", 0.03), ("ppo", 0.045), ("ppo-queue", 0.03)] {
        let regret = regret(name, long, 2000);
        assert!(regret < limit, "{name} {regret}");
    }
}

/// A number for every key that no structure of the space explains.
fn shuffled(space: &SearchSpace, seed: u64, tokens: &Tokens) -> f64 {
    let mixed = (space.key(tokens) as u64 ^ seed.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whoever repeats nothing draws values that say nothing of each other: the best of them is as good as random search's,
/// neither better nor worse.
#[test]
fn on_a_shuffled_table_nobody_beats_random_search() {
    const SEEDS: u64 = 200;
    let space = cube(6, 5);
    let best = |name: &str| -> Vec<f64> {
        let of = |seed| {
            let mut strategy = strategy(name, &space, Seed::new(seed)).unwrap();
            search(&mut *strategy, 60, |tokens| shuffled(&space, seed, tokens))
        };
        (0..SEEDS).map(of).collect()
    };
    let random = best("random");
    let others: Vec<&str> = STRATEGIES.into_iter().filter(|name| *name != "random").collect();
    for name in &others {
        let differences: Vec<f64> = best(name).iter().zip(&random).map(|(a, b)| a - b).collect();
        let test = wilcoxon_signed_rank(&differences);
        // All two-sided tests at 5 % together.
        assert!(test.two_sided > 0.05 / others.len() as f64, "{name}: {}, {test:?}", mean(&differences));
    }
}

/// The share of an even policy's entropy that PPO ends with on a landscape of ten decisions.
fn last_entropy(repeats: bool, ent_coef: f64) -> f64 {
    let planted: Planted = "10x4:0.3".parse().unwrap();
    let (space, landscape) = (planted.space().clone(), planted.landscape(Seed::new(5)));
    let policy = Box::new(Independent::new(&Environment::new(space.clone()), 0.2));
    let mut ppo = Ppo::new("ppo", policy, Box::new(MovingBaseline::default()), Shaping::Rank);
    (ppo.plan.repeats, ppo.entropy.ent_coef) = (repeats, ent_coef);
    let mut controller = Controller::new(ppo, space, Seed::new(5));
    search(&mut controller, 1000, |tokens| landscape.value(tokens));
    controller.agent().figures().entropy().unwrap()
}

#[test]
fn a_policy_that_may_repeat_itself_collapses_and_others_do_not() {
    let (collapsed, refused, held) = (last_entropy(true, 0.0), last_entropy(false, 0.01), last_entropy(true, 1.0));
    assert!(collapsed < 0.1, "{collapsed}");
    assert!(refused > 0.12, "repeats refused: {refused}");
    assert!(held > 0.3, "by its entropy: {held}");
}
