//! The rules by hand-made rewards, and in whole studies.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::strategy::RandomSearch;
use crate::{
    Architecture, Budget, Evaluator, Failure, MemoryStorage, Objective, Origin, Reporter, SearchSpace, Seed, Storage,
    Study, StudyRecord, TrialState,
};

const ASHA: EarlyStopping = EarlyStopping::Asha { reduction_factor: 3, min_epochs: 1 };
const MEDIAN: EarlyStopping = EarlyStopping::Median { min_epochs: 2 };

fn trial(rewards: &[(u32, f64)]) -> Trial {
    let mut metrics = Metrics::new().with("accuracy", 0.5);
    for &(epoch, reward) in rewards {
        metrics.set(&reward_at(epoch), reward);
    }
    Trial {
        number: 0,
        architecture: Architecture::default(),
        origin: Origin::Random,
        seed: Seed::new(0),
        state: TrialState::Complete { metrics, reward: 0.5 },
        seconds: 0.0,
    }
}

fn rungs(rule: EarlyStopping, trials: &[&[(u32, f64)]]) -> Rungs {
    let mut rungs = Rungs::default();
    trials.iter().for_each(|rewards| rungs.observe(rule, &trial(rewards)));
    rungs
}

#[test]
fn a_third_goes_on() {
    let known = [0.1, 0.9, 0.5, 0.3, 0.7].map(|reward| [(1, reward)]);
    let known: Vec<&[(u32, f64)]> = known.iter().map(|rewards| &rewards[..]).collect();
    // Of two none can be a third; of six with the new one, two go on.
    let few = rungs(ASHA, &known[..1]).bars(ASHA, 9);
    assert!(few.goes_on(1, &[(1, 0.0)]));
    let bars = rungs(ASHA, &known).bars(ASHA, 9);
    assert!(bars.goes_on(1, &[(1, 0.7)]) && bars.goes_on(1, &[(1, 0.95)]), "a tie goes on");
    assert!(!bars.goes_on(1, &[(1, 0.69)]));
    // Nobody was judged there yet.
    assert!(bars.goes_on(3, &[(1, 0.95), (3, 0.1)]));
    let judged: Vec<u32> = (1..=30).filter(|&epoch| bars.is_rung(epoch)).collect();
    assert_eq!(judged, [1, 3, 9, 27]);
}

#[test]
fn brackets_begin_later() {
    let rule = EarlyStopping::Hyperband { reduction_factor: 3, min_epochs: 1, max_epochs: 27 };
    // ⌈4 / 4 · 27⌉, ⌈4 / 3 · 9⌉, ⌈4 / 2 · 3⌉, 4: the published 27, 12, 6, 4 of 49.
    let mut counts = BTreeMap::new();
    for number in 0..4900 {
        *counts.entry(rule.first(number)).or_insert(0) += 1;
    }
    let counts: Vec<(u32, i32)> = counts.into_iter().collect();
    for ((first, count), (expected, share)) in counts.into_iter().zip([(1, 2700), (3, 1200), (9, 600), (27, 400)]) {
        assert!(first == expected && (count - share).abs() <= 10, "{count} trials begin at {first}");
    }
    let none = EarlyStopping::Hyperband { reduction_factor: 3, min_epochs: 1, max_epochs: 2 };
    assert_eq!(none.first(5), 1);
}

#[test]
fn below_the_median_of_means() {
    let known: Vec<[(u32, f64); 2]> = (0..5).map(|i| [(2, f64::from(i)), (3, f64::from(i) + 2.0)]).collect();
    let known: Vec<&[(u32, f64)]> = known.iter().map(|rewards| &rewards[..]).collect();
    assert!(rungs(MEDIAN, &known[..4]).bars(MEDIAN, 0).goes_on(2, &[(2, -1.0)]), "too few are known");
    let bars = rungs(MEDIAN, &known).bars(MEDIAN, 0);
    assert!(!bars.is_rung(1) && bars.is_rung(2) && bars.is_rung(7));
    assert!(bars.goes_on(2, &[(2, 2.0)]) && !bars.goes_on(2, &[(2, 1.9)]));
    // Means of 1, 2, 3, 4, 5; the best so far counts, not the last.
    assert!(bars.goes_on(3, &[(2, 3.1), (3, 0.0)]) && !bars.goes_on(3, &[(2, 2.9), (3, 2.0)]));
}

#[test]
fn texts() {
    for text in ["asha:3", "asha:2", "hyperband:3:27", "median:2"] {
        assert_eq!(text.parse::<EarlyStopping>().unwrap().to_string(), text);
    }
    assert_eq!("asha".parse::<EarlyStopping>().unwrap(), ASHA);
    for text in ["", "asha:1", "asha:x", "asha:3:4", "median:0", "hyperband", "halving"] {
        assert!(text.parse::<EarlyStopping>().is_err(), "{text}");
    }
    let error = "halving".parse::<EarlyStopping>().unwrap_err().to_string();
    assert!(error.contains("\"halving\"") && error.contains("hyperband:FACTOR:EPOCHS"), "{error}");
}

/// Nine epochs towards the reward of its width, the last ones of most trials in vain.
struct Curve;

impl Evaluator for Curve {
    fn evaluate(&self, trial: &Trial, report: &mut Reporter<'_>) -> Result<Metrics, Failure> {
        let width = trial.architecture.float("width").unwrap();
        let after = |epoch: u32| Metrics::new().with("accuracy", width * (1.0 - 0.5_f64.powi(epoch as i32)));
        for epoch in 1..9 {
            let metrics = after(epoch);
            report.epoch(epoch, 9, &metrics);
            if report.is_rung(epoch) && !report.goes_on(epoch, &metrics)? {
                return Ok(metrics);
            }
        }
        Ok(after(9))
    }
}

/// The trials of a study of 60, run by that many workers, stopped once after `pause` trials.
fn study(rule: Option<EarlyStopping>, workers: usize, pause: Option<u64>) -> Vec<Trial> {
    let space = SearchSpace::builder("net").integer("width", 1..=1000).build().unwrap();
    let record = StudyRecord {
        space: space.clone(),
        objective: Objective::maximize("accuracy"),
        seed: Seed::new(5),
        strategy: "random".to_owned(),
        lag: StudyRecord::LAG,
        early_stopping: rule,
        warm_start: None,
        configuration: serde_json::Value::Null,
    };
    let random = || Box::new(RandomSearch::new(space.clone(), Seed::new(5)));
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut study = Study::create(record, random(), Arc::clone(&storage)).unwrap();
    if let Some(trials) = pause {
        study.run(&Curve, &Budget::trials(trials), workers, &(), &AtomicBool::new(false)).unwrap();
        study = Study::open(storage, |_| Ok(random())).unwrap();
    }
    study.run(&Curve, &Budget::trials(60), workers, &(), &AtomicBool::new(false)).unwrap();
    study.trials().iter().map(|trial| Trial { seconds: 0.0, ..trial.clone() }).collect()
}

#[test]
fn a_study_stops_the_same_trials_however_it_is_run() {
    for rule in [ASHA, EarlyStopping::Hyperband { reduction_factor: 2, min_epochs: 1, max_epochs: 9 }, MEDIAN] {
        let trials = study(Some(rule), 1, None);
        let stopped = trials.iter().filter(|trial| trial.metric(STOPPED_AT).is_some()).count();
        assert!((15..60).contains(&stopped), "{rule} stopped {stopped} trials");
        assert_eq!(study(Some(rule), 4, None), trials, "{rule} with other workers");
        assert_eq!(study(Some(rule), 3, Some(23)), trials, "{rule} resumed");
        // The best of all is never among them, and wins as without the rule.
        let best = |trials: &[Trial]| {
            let reward = |trial: &&Trial| trial.reward().unwrap();
            trials.iter().max_by(|a, b| reward(a).total_cmp(&reward(b))).unwrap().number
        };
        assert_eq!(best(&trials), best(&study(None, 2, None)));
    }
}
