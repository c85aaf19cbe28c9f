//! What the rounds measured, and the figures made of it: medians, ratios, spread.

use std::collections::BTreeMap;

use super::CHILDREN;
use super::engine::{Startup, Steps};

/// The same measurement of both sides.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair<T> {
    pub(crate) ours: T,
    pub(crate) torch: T,
}

impl<T> Pair<T> {
    pub(crate) fn map<U>(&self, figure: impl Fn(&T) -> U) -> Pair<U> {
        Pair { ours: figure(&self.ours), torch: figure(&self.torch) }
    }
}

/// How PyTorch spreads a population over two cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrangement {
    pub(crate) processes: usize,
    /// Python threads of each.
    pub(crate) threads: usize,
    pub(crate) layout: &'static str,
}

/// A population's seconds, in one round.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Children {
    /// Training steps of each child.
    pub(crate) steps: usize,
    pub(crate) ours: f64,
    pub(crate) torch: Vec<(Arrangement, f64)>,
}

/// All rounds.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// 10⁹ operations a second of the best matrix product, a round.
    pub(crate) products: Vec<f64>,
    /// By the place of the workload in the order it was first measured in, and by threads.
    steps: BTreeMap<(usize, usize), Vec<Pair<Steps>>>,
    /// Steps of further engines, by engine as well.
    others: BTreeMap<(usize, usize, &'static str), Vec<Steps>>,
    startups: BTreeMap<usize, Vec<Pair<Startup>>>,
    children: BTreeMap<usize, Vec<Children>>,
    names: Vec<String>,
}

impl Results {
    pub(crate) fn add_steps(&mut self, workload: &str, threads: usize, pair: Pair<Steps>) {
        let place = self.place(workload);
        self.steps.entry((place, threads)).or_default().push(pair);
    }

    pub(crate) fn add_other(&mut self, workload: &str, threads: usize, engine: &'static str, steps: Steps) {
        let place = self.place(workload);
        self.others.entry((place, threads, engine)).or_default().push(steps);
    }

    pub(crate) fn add_startup(&mut self, workload: &str, pair: Pair<Startup>) {
        let place = self.place(workload);
        self.startups.entry(place).or_default().push(pair);
    }

    pub(crate) fn add_children(&mut self, workload: &str, children: Children) {
        let place = self.place(workload);
        self.children.entry(place).or_default().push(children);
    }

    fn place(&mut self, workload: &str) -> usize {
        self.names.iter().position(|name| name == workload).unwrap_or_else(|| {
            self.names.push(workload.to_owned());
            self.names.len() - 1
        })
    }

    /// The numbers of threads measured.
    pub(crate) fn threads(&self) -> Vec<usize> {
        let mut threads: Vec<usize> = self.steps.keys().map(|&(_, threads)| threads).collect();
        threads.sort_unstable();
        threads.dedup();
        threads
    }

    /// Training steps on `threads` threads.
    pub(crate) fn step_rows(&self, threads: usize) -> Vec<StepRow> {
        let rows = self.steps.iter().filter(|((_, t), _)| *t == threads);
        rows.map(|(&(place, threads), rounds)| self.step_row(place, threads, rounds)).collect()
    }

    fn step_row(&self, place: usize, threads: usize, rounds: &[Pair<Steps>]) -> StepRow {
        let workload = self.names[place].clone();
        let medians = both(rounds, |steps| steps.median_ms);
        let ratios: Vec<f64> = rounds.iter().map(|pair| pair.torch.median_ms / pair.ours.median_ms).collect();
        // A training step is about three forward passes: its own, and one for each kind of gradient.
        let operations = rounds.iter().find_map(|pair| pair.ours.multiply_adds).map(|n| 6.0 * n as f64);
        let product = (!self.products.is_empty()).then(|| median(&self.products));
        let share = operations.zip(product).map(|(n, gflops)| n / (medians.ours * 1e-3) / (gflops * 1e9));
        StepRow {
            target: (threads == 1).then(|| target(&STEPS, &workload)).flatten(),
            workload,
            our_threads: rounds.iter().map(|pair| pair.ours.threads).max().unwrap_or(threads),
            fastest: Pair {
                ours: rounds.iter().map(|pair| pair.ours.min_ms).fold(f64::INFINITY, f64::min),
                torch: rounds.iter().map(|pair| pair.torch.min_ms).fold(f64::INFINITY, f64::min),
            },
            ratio: medians.torch / medians.ours,
            medians,
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
            share,
        }
    }

    /// Training steps of further engines on `threads` threads, beside ours where it ran on as many.
    pub(crate) fn other_rows(&self, threads: usize) -> Vec<OtherRow> {
        let rows = self.others.iter().filter(|((_, t, _), _)| *t == threads);
        let row = |(&(place, threads, engine), rounds): (&(usize, usize, &'static str), &Vec<Steps>)| {
            let median_ms = median(&rounds.iter().map(|steps| steps.median_ms).collect::<Vec<_>>());
            let pair = self.steps.get(&(place, threads)).map(|rounds| both(rounds, |steps| steps.median_ms));
            let fastest_ms = rounds.iter().map(|steps| steps.min_ms).fold(f64::INFINITY, f64::min);
            OtherRow {
                workload: self.names[place].clone(),
                engine,
                fastest_ms,
                median_ms,
                ratios: pair.map(|pair| pair.map(|ms| median_ms / ms)),
            }
        };
        rows.map(row).collect()
    }

    /// What starting and memory cost, three figures a workload as far as they are known.
    pub(crate) fn start_rows(&self) -> Vec<StartRow> {
        let mut rows = Vec::new();
        for (&place, rounds) in &self.startups {
            let workload = &self.names[place];
            let mut add = |what, unit, targets: &[Entry], pair: Pair<f64>| {
                let target = target(targets, workload);
                let ratio = pair.torch / pair.ours;
                rows.push(StartRow { workload: workload.clone(), what, unit, pair, ratio, target });
            };
            add("process start to first step done", "ms", &PROCESS, both(rounds, |s| s.process_ms));
            add("a further child: build and first step", "ms", &FURTHER, both(rounds, |s| s.further_ms));
            let known: Option<Vec<Pair<f64>>> =
                rounds.iter().map(|pair| Some(Pair { ours: pair.ours.peak_mb?, torch: pair.torch.peak_mb? })).collect();
            if let Some(known) = known {
                add("peak memory in training", "MB", &MEMORY, both(&known, |&mb| mb));
            }
        }
        rows
    }

    /// Populations.
    pub(crate) fn children_rows(&self) -> Vec<ChildrenRow> {
        self.children.iter().map(|(&place, rounds)| children_row(&self.names[place], rounds)).collect()
    }
}

/// Training steps of a workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepRow {
    pub(crate) workload: String,
    /// Threads that our side used, if fewer than it was offered.
    pub(crate) our_threads: usize,
    /// The fastest step of all rounds, milliseconds.
    pub(crate) fastest: Pair<f64>,
    /// The median round's median step, milliseconds.
    pub(crate) medians: Pair<f64>,
    /// Our examples a second by PyTorch's, of the medians.
    pub(crate) ratio: f64,
    /// The least and the most of the rounds' ratios.
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Our arithmetic by that of the best matrix product of one core.
    pub(crate) share: Option<f64>,
    pub(crate) target: Option<Target>,
}

/// Training steps of a further engine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OtherRow {
    pub(crate) workload: String,
    pub(crate) engine: &'static str,
    /// The fastest step of all rounds, milliseconds.
    pub(crate) fastest_ms: f64,
    /// The median round's median step, milliseconds.
    pub(crate) median_ms: f64,
    /// Examples a second of ours, and of PyTorch, by this engine's.
    pub(crate) ratios: Option<Pair<f64>>,
}

/// One figure of starting or memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StartRow {
    pub(crate) workload: String,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) pair: Pair<f64>,
    /// PyTorch's by ours.
    pub(crate) ratio: f64,
    pub(crate) target: Option<Target>,
}

/// A population of a workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChildrenRow {
    pub(crate) workload: String,
    /// Training steps of each child.
    pub(crate) steps: usize,
    /// Seconds for all children.
    pub(crate) seconds: Pair<f64>,
    /// PyTorch's fastest.
    pub(crate) arrangement: Arrangement,
    pub(crate) ratio: f64,
    pub(crate) target: Option<Target>,
}

impl ChildrenRow {
    /// Children trained a minute.
    pub(crate) fn rates(&self) -> Pair<f64> {
        self.seconds.map(|seconds| CHILDREN as f64 * 60.0 / seconds)
    }
}

fn children_row(workload: &str, rounds: &[Children]) -> ChildrenRow {
    let ours = median(&rounds.iter().map(|round| round.ours).collect::<Vec<_>>());
    let mut by_arrangement: BTreeMap<Arrangement, Vec<f64>> = BTreeMap::new();
    for (arrangement, seconds) in rounds.iter().flat_map(|round| &round.torch) {
        by_arrangement.entry(*arrangement).or_default().push(*seconds);
    }
    let medians = by_arrangement.into_iter().map(|(arrangement, seconds)| (arrangement, median(&seconds)));
    let (arrangement, torch) =
        medians.min_by(|a, b| a.1.total_cmp(&b.1)).expect("PyTorch is measured in every round, in each arrangement");
    ChildrenRow {
        workload: workload.to_owned(),
        steps: rounds[0].steps,
        seconds: Pair { ours, torch },
        arrangement,
        ratio: torch / ours,
        target: target(&POPULATION, workload),
    }
}

/// The ratio that must be reached, and the one aimed at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    pub(crate) must: f64,
    pub(crate) aim: f64,
}

/// A workload with its target: name, must, aim.
type Entry = (&'static str, f64, f64);

/// Training steps on one thread.
const STEPS: [Entry; 9] = [
    ("W1", 3.0, 5.0),
    ("W2", 2.0, 2.5),
    ("W3", 1.0, 1.3),
    ("W3b", 1.1, 1.4),
    ("W4", 2.0, 3.0),
    ("W5", 1.0, 1.2),
    ("W5b", 1.8, 2.3),
    ("W6", 1.3, 1.7),
    ("W7", 2.0, 3.0),
];
const POPULATION: [Entry; 2] = [("W2", 2.0, 2.5), ("W3", 1.1, 1.3)];
const FURTHER: [Entry; 2] = [("W2", 5.0, 10.0), ("W3", 1.2, 1.5)];
const PROCESS: [Entry; 1] = [("W2", 50.0, 100.0)];
const MEMORY: [Entry; 2] = [("W2", 10.0, 20.0), ("W3", 3.0, 5.0)];

fn target(entries: &[Entry], workload: &str) -> Option<Target> {
    let &(_, must, aim) = entries.iter().find(|(name, ..)| *name == workload)?;
    Some(Target { must, aim })
}

/// The medians of a figure.
fn both<T>(rounds: &[Pair<T>], figure: impl Fn(&T) -> f64) -> Pair<f64> {
    let ours: Vec<f64> = rounds.iter().map(|pair| figure(&pair.ours)).collect();
    let torch: Vec<f64> = rounds.iter().map(|pair| figure(&pair.torch)).collect();
    Pair { ours: median(&ours), torch: median(&torch) }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Three rounds of W2 and W3 on one thread, W2 on two.
    pub(in crate::peers) fn results() -> Results {
        let steps = |min_ms: f64, median_ms: f64, multiply_adds| Steps { threads: 1, min_ms, median_ms, multiply_adds };
        let startup = |process_ms: f64, further_ms: f64, peak_mb| Startup { process_ms, further_ms, peak_mb };
        let processes = Arrangement { processes: 2, threads: 1, layout: "channels_last" };
        let threads = Arrangement { processes: 1, threads: 2, layout: "contiguous" };
        let mut results = Results { products: vec![100.0, 300.0, 200.0], ..Results::default() };
        for (i, factor) in [1.0, 0.5, 1.5].into_iter().enumerate() {
            let pair = Pair { ours: steps(0.9, 2.0, Some(20_000_000)), torch: steps(1.8, 4.0 * factor, None) };
            results.add_steps("W2", 1, pair.clone());
            results.add_steps("W2", 2, pair);
            results.add_steps("W3", 1, Pair { ours: steps(90.0, 100.0, None), torch: steps(80.0, 90.0, None) });
            results.add_startup("W2", Pair { ours: startup(20.0, 2.0, Some(8.0)), torch: startup(3000.0, 8.0, None) });
            results.add_startup(
                "W3",
                Pair { ours: startup(200.0, 100.0, Some(100.0)), torch: startup(3000.0, 200.0, Some(600.0)) },
            );
            let torch = vec![(processes, 3.0 + i as f64), (threads, 4.5)];
            results.add_other("W2", 1, "burn", steps(9.0, 10.0 * factor, None));
            results.add_other("W5", 1, "burn", steps(90.0, 100.0, None));
            results.add_children("W2", Children { steps: 60, ours: 1.0, torch });
        }
        results
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn steps_become_ratios_with_their_spread() {
        let results = results();
        assert_eq!(results.threads(), [1, 2]);
        let rows = results.step_rows(1);
        let w2 = &rows[0];
        assert_eq!((w2.ratio, w2.least, w2.most), (2.0, 1.0, 3.0));
        assert_eq!((w2.fastest.ours, w2.fastest.torch, w2.medians.torch), (0.9, 1.8, 4.0));
        assert_eq!(w2.target, Some(Target { must: 2.0, aim: 2.5 }));
        // 6 · 20 million operations in 2 ms are 60 · 10⁹ a second; the median product has 200.
        assert!((w2.share.unwrap() - 0.3).abs() < 1e-12);
        assert_eq!((rows[1].workload.as_str(), rows[1].ratio, rows[1].share), ("W3", 0.9, None));
        let offered_two = &results.step_rows(2)[0];
        assert_eq!((offered_two.our_threads, offered_two.target), (1, None));
    }

    #[test]
    fn other_engines_stand_beside_both() {
        let rows = results().other_rows(1);
        assert_eq!((rows[0].workload.as_str(), rows[0].engine, rows[0].fastest_ms), ("W2", "burn", 9.0));
        assert_eq!((rows[0].median_ms, rows[0].ratios.clone()), (10.0, Some(Pair { ours: 5.0, torch: 2.5 })));
        assert_eq!((rows[1].workload.as_str(), rows[1].ratios.clone()), ("W5", None));
        assert!(results().other_rows(2).is_empty());
    }

    #[test]
    fn memory_that_a_side_does_not_tell_has_no_row() {
        let rows = results().start_rows();
        let of = |workload: &str| rows.iter().filter(|row| row.workload == workload).count();
        assert_eq!((of("W2"), of("W3")), (2, 3));
        let process = &rows[0];
        assert_eq!((process.ratio, process.target), (150.0, Some(Target { must: 50.0, aim: 100.0 })));
        assert_eq!(rows[4].ratio, 6.0);
    }

    #[test]
    fn the_best_arrangement_counts() {
        let row = &results().children_rows()[0];
        // 3, 4 and 5 seconds with processes, 4.5 with threads.
        assert_eq!((row.seconds.torch, row.arrangement.processes, row.ratio), (4.0, 2, 4.0));
        assert_eq!(row.rates(), Pair { ours: 480.0, torch: 120.0 });
    }
}
