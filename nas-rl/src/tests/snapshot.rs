//! A search that is stopped, stored and restored goes on the same.

use nas_core::strategy::{Snapshot, SnapshotError};
use nas_core::{Architecture, Observed, Origin, Proposal, SearchSpace, Seed, Strategy};

use crate::testing::{conditional, cube};
use crate::{PUBLISHED, STRATEGIES, check_warm_start, strategy};

/// How many proposals are on their way at once.
const LAG: usize = 3;

/// Fails for some, and is different for all.
fn reward(architecture: &Architecture) -> Option<f64> {
    let hash = architecture.stable_hash();
    (!hash.is_multiple_of(9)).then(|| {
        let right = architecture.to_string().matches("o2").count() as f64;
        right + (hash % 1000) as f64 / 1000.0
    })
}

/// A search that is under way.
struct Search {
    space: SearchSpace,
    asked: Vec<Proposal>,
    told: usize,
}

impl Search {
    fn new(space: &SearchSpace) -> Self {
        Search { space: space.clone(), asked: Vec::new(), told: 0 }
    }

    /// Goes on for so many observations.
    fn go(&mut self, strategy: &mut dyn Strategy, observations: usize) {
        for _ in 0..observations {
            while self.asked.len() < self.told + LAG {
                let Some(proposal) = strategy.propose().unwrap() else { break };
                self.asked.push(proposal);
            }
            let Some(Proposal { tokens, origin }) = self.asked.get(self.told).cloned() else { return };
            let reward = reward(&self.space.architecture(&tokens).unwrap());
            strategy.observe(&Observed { number: self.told as u64, tokens, reward, origin }).unwrap();
            self.told += 1;
        }
    }
}

#[test]
fn every_strategy_goes_on_the_same() {
    let space = cube(5, 4);
    for name in STRATEGIES.into_iter().chain(PUBLISHED) {
        for stop in [0, 7, 40] {
            let mut original = strategy(name, &space, Seed::new(3)).unwrap();
            let mut search = Search::new(&space);
            search.go(&mut *original, stop);
            let text = Snapshot::of(&mut *original).unwrap().to_string();
            let begun = search.asked.len();

            // Into one that has a seed and a history of its own.
            let mut restored = strategy(name, &space, Seed::new(8)).unwrap();
            Search::new(&space).go(&mut *restored, 11);
            text.parse::<Snapshot>().unwrap().restore(&mut *restored).unwrap();
            let mut again = Search { space: space.clone(), asked: search.asked.clone(), told: search.told };
            search.go(&mut *original, 40);
            again.go(&mut *restored, 40);
            assert!(search.asked.len() >= begun + 38, "{name}");
            assert_eq!(search.asked, again.asked, "{name} after {stop}");
            assert_eq!(original.diagnostics(), restored.diagnostics(), "{name} after {stop}");
            assert_eq!(original.probabilities(), restored.probabilities(), "{name} after {stop}");
            assert_eq!(original.converged(), restored.converged(), "{name} after {stop}");
        }
    }
}

/// Queues that grow with the trials are as long as they were: the one of `pqt` grows from 120 on, that of `ppo-queue` from 300.
#[test]
fn a_long_search_goes_on_the_same() {
    let space = cube(6, 5);
    for (name, stop) in [("pqt", 200), ("pqt-surrogate", 200), ("ppo-queue", 400), ("self-imitation", 200)] {
        let mut original = strategy(name, &space, Seed::new(3)).unwrap();
        let mut search = Search::new(&space);
        search.go(&mut *original, stop);
        let snapshot = Snapshot::of(&mut *original).unwrap();
        let mut restored = strategy(name, &space, Seed::new(3)).unwrap();
        snapshot.restore(&mut *restored).unwrap();
        let mut again = Search { space: space.clone(), asked: search.asked.clone(), told: search.told };
        search.go(&mut *original, 40);
        again.go(&mut *restored, 40);
        assert_eq!(search.asked, again.asked, "{name}");
    }
}

/// Results that have arrived and are not learned yet are part of the state, and so is which proposals are fantasies.
#[test]
fn a_search_with_many_under_way_goes_on_the_same() {
    let space = cube(8, 5);
    let mut original = strategy("pqt-surrogate", &space, Seed::new(3)).unwrap();
    let mut asked: Vec<Proposal> = (0..300).map(|_| original.propose().unwrap().unwrap()).collect();
    let go = |strategy: &mut dyn Strategy, asked: &mut Vec<Proposal>, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let Proposal { tokens, origin } = asked.remove(number as usize * 7 % asked.len());
            let reward = reward(&space.architecture(&tokens).unwrap());
            strategy.observe(&Observed { number, tokens, reward, origin }).unwrap();
            asked.push(strategy.propose().unwrap().unwrap());
        }
    };
    go(&mut *original, &mut asked, 0..43);
    let snapshot = Snapshot::of(&mut *original).unwrap();
    let mut restored = strategy("pqt-surrogate", &space, Seed::new(1)).unwrap();
    snapshot.restore(&mut *restored).unwrap();
    let mut again = asked.clone();
    go(&mut *original, &mut asked, 43..80);
    go(&mut *restored, &mut again, 43..80);
    assert_eq!(asked, again);
}

#[test]
fn a_warm_started_search_goes_on_the_same() {
    let space = conditional();
    let mut source = Search::new(&space);
    source.go(&mut *strategy("random", &space, Seed::new(1)).unwrap(), 12);
    let told = source.asked[..12].iter().zip(0..).map(|(proposal, number)| {
        let reward = reward(&space.architecture(&proposal.tokens).unwrap());
        Observed { number, tokens: proposal.tokens.clone(), reward, origin: Origin::Given }
    });
    let told: Vec<Observed> = told.collect();
    for name in STRATEGIES.into_iter().filter(|name| check_warm_start(name).is_ok()) {
        let mut original = strategy(name, &space, Seed::new(2)).unwrap();
        original.warm_start(&told).unwrap();
        let mut search = Search::new(&space);
        search.go(&mut *original, 6);
        let snapshot = Snapshot::of(&mut *original).unwrap();
        let mut restored = strategy(name, &space, Seed::new(5)).unwrap();
        snapshot.restore(&mut *restored).unwrap();
        let mut again = Search { space: space.clone(), asked: search.asked.clone(), told: search.told };
        search.go(&mut *original, 30);
        again.go(&mut *restored, 30);
        assert_eq!(search.asked, again.asked, "{name}");
    }
}

/// Refuses the snapshot, and goes on as if nothing had been.
#[track_caller]
fn check_refused(snapshot: &Snapshot, name: &str, space: &SearchSpace) -> SnapshotError {
    let build = || {
        let mut strategy = strategy(name, space, Seed::new(4)).unwrap();
        let mut search = Search::new(space);
        search.go(&mut *strategy, 13);
        (strategy, search)
    };
    let ((mut untouched, mut search), (mut refusing, mut again)) = (build(), build());
    let error = snapshot.restore(&mut *refusing).unwrap_err();
    search.go(&mut *untouched, 20);
    again.go(&mut *refusing, 20);
    assert_eq!(search.asked, again.asked);
    error
}

#[test]
fn snapshots_of_something_else_change_nothing() {
    let space = cube(5, 4);
    for name in STRATEGIES {
        let mut original = strategy(name, &space, Seed::new(3)).unwrap();
        Search::new(&space).go(&mut *original, 12);
        let snapshot = Snapshot::of(&mut *original).unwrap();
        assert_eq!(snapshot.strategy(), name);
        let other = if name == "tpe" { "random" } else { "tpe" };
        assert!(matches!(check_refused(&snapshot, other, &space), SnapshotError::Strategy { .. }));
        let error = check_refused(&snapshot, name, &cube(5, 3)).to_string();
        assert!(
            error.starts_with("the snapshot is of another space, \"d0\" chooses among o0, o1, o2 and there"),
            "{error}"
        );
    }
}

#[test]
fn damaged_snapshots_are_refused() {
    let space = cube(5, 4);
    let mut original = strategy("pqt-surrogate", &space, Seed::new(3)).unwrap();
    Search::new(&space).go(&mut *original, 12);
    let text = Snapshot::of(&mut *original).unwrap().to_string();
    let damaged = |text: &str| matches!(text.parse::<Snapshot>(), Err(SnapshotError::Damaged { .. }));
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        assert!(damaged(&text[..cut]), "cut after {cut}");
    }
    let changed = text.replacen("\"proposed\":14", "\"proposed\":15", 1);
    assert_ne!(changed, text);
    assert!(changed.parse::<Snapshot>().unwrap_err().to_string().contains("its checksum is"));
}

/// A policy of the same name with other settings has other numbers.
#[test]
fn other_settings_are_refused() {
    use crate::agent::{Ppo, Pqt};
    use crate::policy::Independent;
    use crate::{Controller, Environment};
    let space = cube(5, 4);
    let environment = Environment::new(space.clone());
    let policy = || Box::new(Independent::new(&environment, 0.1));
    let mut pqt = Controller::new(Pqt::new("same", policy()), space.clone(), Seed::new(1));
    Search::new(&space).go(&mut pqt, 12);
    let snapshot = Snapshot::of(&mut pqt).unwrap();
    let value = Box::<crate::value::MovingBaseline>::default();
    let mut ppo =
        Controller::new(Ppo::new("same", policy(), value, crate::advantage::Shaping::Rank), space, Seed::new(1));
    let before = Snapshot::of(&mut ppo).unwrap();
    let error = snapshot.restore(&mut ppo).unwrap_err();
    assert_eq!(error.to_string(), "the snapshot is damaged: it has no \"value\"");
    assert_eq!(Snapshot::of(&mut ppo).unwrap(), before);
}
