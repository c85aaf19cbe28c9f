//! What every storage must give back, for the tests of each.

use serde_json::json;

use super::{Storage, StudyRecord};
use crate::strategy::{Diagnostics, SourceTrial, WarmStart};
use crate::{
    Architecture, Failure, Metrics, Objective, Origin, SearchSpace, Seed, Trial, TrialState, architecture::Value,
};

/// A study of a small space.
pub(crate) fn record() -> StudyRecord {
    let space = SearchSpace::builder("small")
        .choice("op", ["conv", "pool", "skip"])
        .integer("width", 1..=4)
        .float("rate", 0.0..=0.5)
        .build()
        .unwrap();
    StudyRecord {
        space,
        objective: Objective::minimize("loss"),
        seed: Seed::new(u64::MAX),
        strategy: "scripted".to_owned(),
        lag: StudyRecord::LAG,
        early_stopping: None,
        warm_start: None,
        configuration: json!({ "epochs": 3, "rate": 0.1, "data": null }),
    }
}

/// A trial of every state, failure and origin, with awkward numbers and texts.
pub(crate) fn trials() -> Vec<Trial> {
    let complete = |metrics: Metrics, reward| TrialState::Complete { metrics, reward };
    let failures = [
        Failure::Diverged { epoch: 2, loss: "NaN".to_owned() },
        Failure::OutOfMemory { needed: u64::MAX, limit: 1 },
        Failure::Panicked { message: "a \"quoted\"\nline, nul \0 and ü".to_owned() },
        Failure::TimedOut { seconds: 60 },
        Failure::Infeasible { message: String::new() },
        Failure::Other { message: "no".to_owned() },
    ];
    let states = [
        TrialState::Running,
        complete(Metrics::new(), 0.1 + 0.2),
        complete(Metrics::new().with("loss", -0.0), 0.0),
        complete(Metrics::new().with("loss", f64::MIN_POSITIVE / 8.0).with("parameters", 1e300), f64::MAX),
        complete(Metrics::new().with("tau", f64::INFINITY).with("up", f64::NEG_INFINITY).with("w", f64::NAN), 1.0),
        complete(Metrics::new().with("third", 1.0 / 3.0).with("accuracy", 0.885_000_000_000_000_1), 1e-310),
    ];
    let states = states.into_iter().chain(failures.map(|failure| TrialState::Failed { failure }));
    let origins = [
        Origin::Random,
        Origin::Policy { updates: 7 },
        Origin::Mutation { parent: 3 },
        Origin::Source { trial: 9 },
        Origin::Given,
    ];
    let architecture = |n: u64| {
        Architecture::new()
            .with("op", Value::Choice("conv".to_owned()))
            .with("width", Value::Integer(-(n as i64)))
            .with("rate", Value::Float(0.1 * n as f64))
            .with("extras", Value::Subset(vec!["p".to_owned(), "q".to_owned()]))
    };
    (0..)
        .zip(states)
        .map(|(number, state)| Trial {
            number,
            architecture: architecture(number),
            origin: origins[number as usize % origins.len()],
            seed: Seed::new(u64::MAX - number),
            seconds: if state == TrialState::Running { 0.0 } else { 0.1 * number as f64 },
            state,
        })
        .collect()
}

/// Stores all kinds of things in an empty `storage` and reads them back, there and from what `reopen` gives, if it can.
#[track_caller]
pub(crate) fn check_round_trip<S: Storage>(storage: S, reopen: impl FnOnce(S) -> Option<S>) {
    assert_eq!(storage.study().unwrap(), None);
    let source = |(number, reward)| SourceTrial { number, architecture: trials()[0].architecture.clone(), reward };
    let source = [(0, Some(0.1 + 0.2)), (7, None)].map(source).to_vec();
    let warm_start = Some(WarmStart { source: "elsewhere".to_owned(), trials: source });
    let record = StudyRecord { warm_start, ..record() };
    storage.create(&record).unwrap();
    for trial in trials() {
        storage.put(&Trial { state: TrialState::Running, seconds: 0.0, ..trial.clone() }).unwrap();
        storage.put(&trial).unwrap();
    }
    let mut said = Diagnostics::default();
    storage.put_diagnostics(0, &said).unwrap();
    said.set("entropy", 0.1 + 0.2);
    said.set("explained_variance", f64::NEG_INFINITY);
    said.set("approx_kl", f64::NAN);
    storage.put_diagnostics(1, &Diagnostics::default()).unwrap();
    storage.put_diagnostics(1, &said).unwrap();

    let check = |storage: &S| {
        // As text, because NaN is not equal to itself and −0 is equal to 0.
        assert_eq!(storage.study().unwrap(), Some(record.clone()));
        let stored = storage.trials().unwrap();
        assert_eq!(stored.len(), trials().len());
        for (stored, given) in stored.iter().zip(trials()) {
            assert_eq!(format!("{stored:?}"), format!("{given:?}"));
        }
        let expected = vec![(0, Diagnostics::default()), (1, said.clone())];
        assert_eq!(format!("{:?}", storage.diagnostics().unwrap()), format!("{expected:?}"));
    };
    check(&storage);
    if let Some(again) = reopen(storage) {
        check(&again);
    }
}
