//! What agents reach on landscapes with a planted optimum, and that nobody beats chance where there is nothing to learn.

use nas_core::{Observed, Proposal, Purpose, Rng, SearchSpace, Seed, Strategy, Tokens};
use rand::RngExt as _;

use crate::advantage::Shaping;
use crate::agent::{Agent as _, Ppo};
use crate::policy::Independent;
use crate::statistics::{mean, wilcoxon_signed_rank};
use crate::testing::cube;
use crate::value::MovingBaseline;
use crate::{Controller, Environment, STRATEGIES, strategy};

/// Σ aₜ(xₜ) + ρ Σ bₜ(xₜ, xₜ₊₁), all drawn from N(0, 1).
struct Landscape {
    single: Vec<Vec<f64>>,
    pairs: Vec<Vec<Vec<f64>>>,
}

impl Landscape {
    fn new(length: usize, options: usize, rho: f64, rng: &mut Rng) -> Self {
        let mut normals = |scale: f64| -> Vec<f64> {
            let normal = |_| {
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
                scale * radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
            };
            (0..options).map(normal).collect()
        };
        let single = (0..length).map(|_| normals(1.0)).collect();
        let pairs = (1..length).map(|_| (0..options).map(|_| normals(rho)).collect()).collect();
        Landscape { single, pairs }
    }

    fn value(&self, tokens: &Tokens) -> f64 {
        let single: f64 = self.single.iter().zip(tokens.iter()).map(|(a, &x)| a[usize::from(x)]).sum();
        let neighbours = tokens.windows(2).zip(&self.pairs);
        single + neighbours.map(|(x, b)| b[usize::from(x[0])][usize::from(x[1])]).sum::<f64>()
    }

    /// The best value, by dynamic programming; with `sign` −1 the worst.
    fn best(&self, sign: f64) -> f64 {
        let mut reached: Vec<f64> = self.single[0].iter().map(|a| sign * a).collect();
        for (a, b) in self.single[1..].iter().zip(&self.pairs) {
            let to = |x: usize| {
                let from = reached.iter().zip(b).map(|(value, b)| value + sign * b[x]);
                from.fold(f64::NEG_INFINITY, f64::max) + sign * a[x]
            };
            reached = (0..a.len()).map(to).collect();
        }
        sign * reached.into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
}

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

/// The mean of (optimum − best) / (optimum − worst) over ten landscapes.
fn regret(name: &str, (length, options, rho): (usize, usize, f64), trials: u64) -> f64 {
    let space = cube(length, options);
    let of = |instance: u64| {
        let landscape = Landscape::new(length, options, rho, &mut Seed::new(instance).stream(Purpose::Test, 0));
        let (most, least) = (landscape.best(1.0), landscape.best(-1.0));
        let mut strategy = strategy(name, &space, Seed::new(instance)).unwrap();
        (most - search(&mut *strategy, trials, |tokens| landscape.value(tokens))) / (most - least)
    };
    (0..10).map(of).sum::<f64>() / 10.0
}

#[test]
fn the_optimum_is_what_trying_everything_finds() {
    let landscape = Landscape::new(4, 3, 0.5, &mut Seed::new(1).stream(Purpose::Test, 0));
    let space = cube(4, 3);
    let values: Vec<f64> = (0..81).map(|key| landscape.value(&space.tokens_of_key(key).unwrap())).collect();
    assert!((values.iter().copied().fold(f64::MIN, f64::max) - landscape.best(1.0)).abs() < 1e-12);
    assert!((values.iter().copied().fold(f64::MAX, f64::min) - landscape.best(-1.0)).abs() < 1e-12);
}

#[test]
fn ten_decisions_are_solved_within_1000_trials() {
    let short = (10, 4, 0.3);
    let random = regret("random", short, 1000);
    assert!((0.07..0.16).contains(&random), "random {random}");
    for name in ["evolution", "local-search", "pqt", "ppo", "ppo-queue", "self-imitation"] {
        let regret = regret(name, short, 1000);
        assert!(regret < 0.0075, "{name} {regret}");
    }
}

#[test]
fn twenty_decisions_are_nearly_solved_within_2000_trials() {
    let long = (20, 5, 0.5);
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
    let space = cube(10, 4);
    let landscape = Landscape::new(10, 4, 0.3, &mut Seed::new(5).stream(Purpose::Test, 0));
    let policy = Box::new(Independent::new(&Environment::new(space.clone()), 0.2));
    let mut ppo = Ppo::new("ppo", policy, Box::new(MovingBaseline::default()), Shaping::Rank);
    (ppo.plan.repeats, ppo.entropy.ent_coef) = (repeats, ent_coef);
    let mut controller = Controller::new(ppo, space, Seed::new(5));
    search(&mut controller, 1000, |tokens| landscape.value(tokens));
    controller.agent().entropy().unwrap()
}

#[test]
fn a_policy_that_may_repeat_itself_collapses_and_others_do_not() {
    let (collapsed, refused, held) = (last_entropy(true, 0.0), last_entropy(false, 0.01), last_entropy(true, 1.0));
    assert!(collapsed < 0.1, "{collapsed}");
    assert!(refused > 0.12, "repeats refused: {refused}");
    assert!(held > 0.3, "by its entropy: {held}");
}
