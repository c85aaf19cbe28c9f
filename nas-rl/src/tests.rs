//! What every strategy promises, and what a controller learns.

mod landscape;
mod snapshot;
mod warm_start;

use std::collections::BTreeSet;
use std::sync::Arc;

use nas_core::space::{Costs, Limits};
use nas_core::{Architecture, Observed, Origin, Seed, Value};

use crate::testing::{conditional, cube, run, tell};
use crate::value::Reliability;
use crate::{PUBLISHED, STRATEGIES, strategy};

/// A planted optimum: option i of decision d is worth its place in a fixed shuffle.
fn planted(architecture: &Architecture) -> Option<f64> {
    let worth = architecture.iter().enumerate().map(|(d, (_, value))| {
        let option: usize = value.to_string()[1..].parse().unwrap();
        ((option * 3 + d * 2) % 5) as f64
    });
    Some(worth.sum())
}

#[test]
fn no_strategy_repeats_itself_and_all_exhaust_a_space() {
    for name in STRATEGIES {
        let mut strategy = strategy(name, &cube(3, 5), Seed::new(2)).unwrap();
        let tried = run(&mut *strategy, &cube(3, 5), 200, planted);
        let distinct: BTreeSet<String> = tried.iter().map(|(a, ..)| a.to_string()).collect();
        assert_eq!((tried.len(), distinct.len()), (125, 125), "{name}");
    }
}

/// What an architecture of [`conditional`] costs: the sum of its parts.
struct Price;

impl Costs for Price {
    fn figures(&self) -> &[&'static str] {
        &["price"]
    }

    fn costs(&self, architecture: &Architecture, _: &[&str]) -> Result<Vec<u64>, String> {
        let part = |(path, value): (&str, &Value)| (path.len() + 3 * value.to_string().len()) as u64 % 7;
        Ok(vec![architecture.iter().map(part).sum()])
    }
}

#[test]
fn every_strategy_keeps_to_limits() {
    let price = |architecture: &Architecture| Price.costs(architecture, &[]).unwrap()[0];
    let mut prices: Vec<u64> = conditional().enumerate().map(|a| price(&a)).collect();
    prices.sort_unstable();
    let most = prices[prices.len() / 2];
    let kept = |architecture: &Architecture| price(architecture) <= most;
    let space = conditional().limited(Limits::new().with("price", most), Arc::new(Price)).unwrap();
    let count = conditional().enumerate().filter(kept).count();
    assert!(count > 20 && count < prices.len(), "{count} of {}", prices.len());
    for name in STRATEGIES {
        let reward = |a: &Architecture| (!a.stable_hash().is_multiple_of(7)).then(|| (a.stable_hash() % 100) as f64);
        let tried = run(&mut *strategy(name, &space, Seed::new(5)).unwrap(), &space, 200, reward);
        assert!(tried.iter().all(|(architecture, ..)| kept(architecture)), "{name}");
        let distinct: BTreeSet<String> = tried.iter().map(|(a, ..)| a.to_string()).collect();
        // Nothing is left out either.
        assert_eq!((tried.len(), distinct.len()), (count, count), "{name}");
    }
}

#[test]
fn a_replay_proposes_the_same() {
    for name in STRATEGIES {
        let space = conditional();
        let reward = |a: &Architecture| (!a.stable_hash().is_multiple_of(7)).then(|| (a.stable_hash() % 100) as f64);
        let all = run(&mut *strategy(name, &space, Seed::new(5)).unwrap(), &space, 30, reward);
        let again = run(&mut *strategy(name, &space, Seed::new(5)).unwrap(), &space, 30, reward);
        assert_eq!(all, again, "{name}");
        let other = run(&mut *strategy(name, &space, Seed::new(6)).unwrap(), &space, 30, reward);
        assert_ne!(all, other, "{name}");
    }
}

/// The mean reward of the trials after the warm-up, over seeds.
fn mean_reward(name: &str, trials: u64, seeds: u64) -> f64 {
    let mut total = 0.0;
    for seed in 0..seeds {
        let tried = run(&mut *strategy(name, &cube(6, 5), Seed::new(seed)).unwrap(), &cube(6, 5), trials, planted);
        let late = &tried[tried.len() / 2..];
        total += late.iter().map(|(.., r)| r.unwrap()).sum::<f64>() / late.len() as f64;
    }
    total / seeds as f64
}

#[test]
fn policies_beat_random_search_on_a_planted_optimum() {
    let random = mean_reward("random", 200, 10);
    assert!((random - 12.0).abs() < 0.5, "six even choices of 0 to 4: {random}");
    for (name, margin) in [
        ("reinforce", 5.0),
        ("reinforce-critic", 5.0),
        ("reinforce-loo", 5.0),
        ("reinforce-lstm", 2.0),
        ("reinforce-transformer", 2.0),
        ("reinforce-graph", 2.0),
        ("a2c", 3.0),
        ("ppo", 6.0),
        ("ppo-critic", 6.0),
        ("ppo-lstm", 3.0),
        ("ppo-transformer", 3.0),
        ("ppo-graph", 3.0),
        ("ppo-queue", 6.0),
        ("pqt", 6.0),
        ("pqt-lstm", 5.0),
        ("pqt-transformer", 5.0),
        ("pqt-graph", 5.0),
        ("risk-seeking", 3.0),
        ("self-imitation", 6.0),
        ("evolution", 5.0),
        ("local-search", 5.0),
    ] {
        let mean = mean_reward(name, 200, 10);
        assert!(mean > random + margin, "{name} {mean}, random {random}");
    }
}

#[test]
fn monotone_changes_of_the_reward_change_nothing() {
    let changed = |a: &Architecture| planted(a).map(|r| (0.3 * r).exp() - 100.0);
    for name in ["reinforce", "reinforce-critic", "reinforce-lstm", "ppo", "ppo-queue", "pqt", "self-imitation"] {
        let proposals = |reward: &dyn Fn(&Architecture) -> Option<f64>| -> Vec<Architecture> {
            let mut strategy = strategy(name, &cube(6, 5), Seed::new(1)).unwrap();
            run(&mut *strategy, &cube(6, 5), 80, reward).into_iter().map(|(a, ..)| a).collect()
        };
        assert_eq!(proposals(&planted), proposals(&changed), "{name}");
    }
}

#[test]
fn one_in_ten_is_a_control() {
    let tried = run(&mut *strategy("reinforce", &cube(6, 5), Seed::new(1)).unwrap(), &cube(6, 5), 100, planted);
    let random: Vec<usize> = (0..100).filter(|&i| tried[i].1 == Origin::Random).collect();
    assert_eq!(random, (0..10).chain((19..100).step_by(10)).collect::<Vec<_>>());
}

/// Trials until convergence, and the entropies on the way.
fn until_converged(reward: impl Fn(&Architecture) -> Option<f64>, limit: u64) -> (Option<(u64, String)>, Vec<f64>) {
    let mut strategy = strategy("reinforce", &cube(6, 5), Seed::new(4)).unwrap();
    let mut entropies = Vec::new();
    for number in 0..limit {
        let proposal = strategy.propose().unwrap().unwrap();
        let reward = reward(&cube(6, 5).architecture(&proposal.tokens).unwrap());
        let said = tell(&mut *strategy, number, proposal, reward);
        entropies.extend(said.get("entropy"));
        if let Some(why) = strategy.converged() {
            return (Some((number, why)), entropies);
        }
    }
    (None, entropies)
}

#[test]
fn an_easy_search_converges_and_says_so() {
    let (converged, entropies) = until_converged(planted, 2_000);
    let (trials, why) = converged.unwrap();
    assert!(trials > 60, "{trials}");
    assert!(why.contains("the policy's entropy has settled at") && why.contains("has not changed for"), "{why}");
    assert!((entropies[0] - 5_f64.ln()).abs() < 1e-6, "it starts even: {}", entropies[0]);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let windows: Vec<f64> = entropies.chunks_exact(10).map(mean).collect();
    assert!(windows.first() > windows.last(), "{windows:?}");
}

#[test]
fn chance_does_not_converge_early() {
    let noise = |a: &Architecture| Some((a.stable_hash() % 1000) as f64);
    assert_eq!(until_converged(noise, 100).0, None);
}

#[test]
fn names_that_are_unknown_are_listed() {
    let error = strategy("banana", &cube(1, 2), Seed::new(0)).err().unwrap().to_string();
    assert!(error.starts_with("there is no agent \"banana\"; agents: reinforce, reinforce-critic, "), "{error}");
    for name in STRATEGIES.iter().chain(&PUBLISHED) {
        assert!(error.contains(&format!(" {name}")), "{error}");
        assert_eq!(strategy(name, &cube(1, 2), Seed::new(0)).unwrap().name(), *name);
    }
}

#[test]
fn spaces_too_large_for_an_agent_are_refused_before_anything_is_allocated() {
    let error = strategy("reinforce-lstm", &cube(5_000, 5), Seed::new(0)).err().unwrap();
    let text = "the space \"cube\" is too large for the agent \"reinforce-lstm\": 5000 slots with 25000 options in all; \
                agents for every size: evolution, local-search, random";
    assert_eq!(error.to_string(), text);
    for (name, space) in [
        ("reinforce-critic", cube(2_000, 5)),
        ("reinforce-lstm", cube(200, 5)),
        ("reinforce-transformer", cube(200, 5)),
        ("reinforce-graph", cube(200, 5)),
    ] {
        let mut fits = strategy(name, &space, Seed::new(0)).unwrap();
        assert_eq!(run(&mut *fits, &space, 12, |a| Some(a.stable_hash() as f64)).len(), 12);
    }
}

#[test]
fn failures_and_rewards_that_are_no_numbers_stop_nobody() {
    let odd = [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(1e308), Some(-1e308)];
    for name in STRATEGIES {
        for rewards in [&odd[..1], &odd[..4], &odd[..]] {
            let mut strategy = strategy(name, &cube(6, 5), Seed::new(1)).unwrap();
            for number in 0..60 {
                let proposal = strategy.propose().unwrap().unwrap();
                let said = tell(&mut *strategy, number, proposal, rewards[number as usize % rewards.len()]);
                assert!(said.0.values().all(|figure| figure.is_finite()), "{name} {said:?}");
            }
        }
    }
}

#[test]
fn an_update_reports_the_figures_of_the_field() {
    for name in ["reinforce", "reinforce-critic", "reinforce-lstm"] {
        let mut strategy = strategy(name, &conditional(), Seed::new(1)).unwrap();
        let mut said = Vec::new();
        for number in 0..20 {
            let proposal = strategy.propose().unwrap().unwrap();
            said.push(tell(&mut *strategy, number, proposal, Some(number as f64)));
        }
        assert!(said[..4].iter().all(|d| d.0.is_empty()), "nothing was updated");
        let (calibration, names): (Vec<&str>, Vec<&str>) =
            said[19].0.keys().map(String::as_str).partition(|name| name.starts_with(Reliability::PREFIX));
        let reliability = Reliability::read(&said[19]).unwrap();
        assert_eq!((calibration.len(), reliability.bins.len()), (13, 5));
        assert!((70..=100).contains(&reliability.states), "four or five states an episode");
        let expected = "advantage_std baseline ent_coef entropy entropy_normalised explained_variance grad_norm policy_loss \
                        repeats restarts reward_mean skipped_updates updates value_loss";
        assert_eq!(names.join(" "), expected, "{name}");
        assert_eq!((said[9].get("updates"), said[9].get("reward_mean")), (Some(2.0), Some(7.0)));
        assert_eq!((said[4].get("repeats"), said[4].get("skipped_updates")), (Some(0.0), Some(0.0)));
    }
}

#[test]
fn trials_of_another_space_are_an_error() {
    let mut one = strategy("reinforce", &cube(2, 2), Seed::new(0)).unwrap();
    for tokens in [&[0_u16, 1, 1][..], &[0, 2], &[0], &[]] {
        let observed = Observed { number: 0, tokens: tokens.into(), reward: Some(1.0), origin: Origin::Given };
        assert!(one.observe(&observed).is_err(), "{tokens:?}");
    }
    assert_eq!(one.name(), "reinforce");
}
