//! What a search gains from another study of the same space.

use std::collections::BTreeSet;

use nas_core::{Architecture, Error, Observed, Origin, SearchSpace, Seed, Tokens};

use crate::testing::{conditional, cube, run};
use crate::{PUBLISHED, STRATEGIES, check_warm_start, strategy};

/// Option 2 is right everywhere, and more so in earlier decisions; `twist` of them want another one.
fn worth(twist: usize) -> impl Fn(&Architecture) -> Option<f64> {
    move |architecture| {
        let worth = architecture.iter().enumerate().map(|(d, (_, value))| {
            let wanted = if d < twist { "o1" } else { "o2" };
            if value.to_string() == wanted { 0.9_f64.powi(d as i32) } else { 0.0 }
        });
        Some(1000.0 * worth.sum::<f64>())
    }
}

/// A search's trials, as another search is told of them.
fn source(space: &SearchSpace, trials: u64, reward: impl Fn(&Architecture) -> Option<f64>) -> Vec<Observed> {
    let mut search = strategy("pqt-surrogate", space, Seed::new(77)).unwrap();
    let tried = run(&mut *search, space, trials, reward);
    (0..)
        .zip(tried)
        .map(|(number, (a, origin, reward))| Observed { number, tokens: space.tokens(&a).unwrap(), reward, origin })
        .collect()
}

#[test]
fn a_warm_start_is_ahead_from_the_first_trials_on() {
    let space = cube(8, 4);
    let source = source(&space, 80, worth(1));
    // The target's rewards are another size altogether.
    let reward = |a: &Architecture| worth(0)(a).map(|r| r / 1e6);
    for name in STRATEGIES.into_iter().filter(|name| check_warm_start(name).is_ok()) {
        let mean = |warm: bool| {
            let searches = (0..5).map(|seed| {
                let mut search = strategy(name, &space, Seed::new(seed)).unwrap();
                if warm {
                    search.warm_start(&source).unwrap();
                }
                let tried = run(&mut *search, &space, 10, reward);
                let distinct: BTreeSet<String> = tried.iter().map(|(a, ..)| a.to_string()).collect();
                assert_eq!(distinct.len(), 10, "{name}");
                assert!(!warm || tried[0].1 != Origin::Random, "{name}");
                1000.0 * tried.iter().map(|(.., r)| r.unwrap()).fold(0.0, f64::max)
            });
            searches.sum::<f64>() / 5.0
        };
        let (cold, warm) = (mean(false), mean(true));
        assert!(warm > cold + 0.5, "{name}: {warm} warm, {cold} cold");
    }
}

#[test]
fn who_learns_nothing_refuses() {
    let (space, mut refused) = (cube(3, 3), Vec::new());
    let source = source(&space, 12, worth(0));
    for name in STRATEGIES.into_iter().chain(PUBLISHED) {
        let mut search = strategy(name, &space, Seed::new(1)).unwrap();
        match search.warm_start(&source) {
            Ok(()) => assert!(check_warm_start(name).is_ok()),
            Err(Error::Cold { strategy }) => {
                assert_eq!(strategy, name);
                assert!(check_warm_start(name).unwrap_err().to_string().contains(name));
                refused.push(name);
                let mut fresh = crate::strategy(name, &space, Seed::new(1)).unwrap();
                assert_eq!(run(&mut *search, &space, 15, worth(0)), run(&mut *fresh, &space, 15, worth(0)));
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
    assert_eq!(refused.len(), 8, "{refused:?}");
}

#[test]
fn failures_and_few_trials_are_a_source_too() {
    let space = conditional();
    for name in STRATEGIES.into_iter().filter(|name| check_warm_start(name).is_ok()) {
        let reward = |a: &Architecture| (!a.stable_hash().is_multiple_of(3)).then(|| (a.stable_hash() % 10) as f64);
        let mut source = source(&space, 6, reward);
        source[0].reward = Some(f64::NAN);
        let mut search = strategy(name, &space, Seed::new(3)).unwrap();
        search.warm_start(&source).unwrap();
        let count: usize = space.cardinality().to_string().parse().unwrap();
        assert_eq!(run(&mut *search, &space, 1000, reward).len(), count, "{name} exhausts the space");
    }
}

#[test]
fn tokens_of_another_space_are_refused() {
    let space = cube(3, 3);
    let tokens: Tokens = [0, 1].into_iter().collect();
    let trial = |tokens, reward| Observed { number: 0, tokens, reward, origin: Origin::Given };
    let source = [trial([0, 1, 2].into_iter().collect(), Some(1.0)), trial(tokens, None)];
    for name in STRATEGIES.into_iter().filter(|name| check_warm_start(name).is_ok()) {
        let mut search = strategy(name, &space, Seed::new(1)).unwrap();
        assert!(matches!(search.warm_start(&source), Err(Error::Architecture(_))), "{name}");
        let none = [trial([0, 1, 2].into_iter().collect(), None)];
        assert!(matches!(search.warm_start(&none), Err(Error::WarmStart(_))), "{name}");
    }
}
