//! Spaces for tests: a few fixed ones and random ones.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Decision, Kind, Requirement, Scale, Scope, SearchSpace, SpaceBuilder, When};

/// The edges of a NAS-Bench-201 cell, named by their nodes.
pub(crate) const CELL: [(u32, u32, &str); 6] =
    [(0, 1, "0-1"), (0, 2, "0-2"), (1, 2, "1-2"), (0, 3, "0-3"), (1, 3, "1-3"), (2, 3, "2-3")];

/// A NAS-Bench-201 cell with these operations, of which `none` must leave a path.
pub(crate) fn cell(operations: &[&str]) -> SearchSpace {
    let edges = |cell: SpaceBuilder| CELL.iter().fold(cell, |cell, (.., edge)| cell.choice(edge, operations.to_vec()));
    let builder = SearchSpace::builder("cell").group("cell", |cell| edges(cell).require_path(CELL, "none"));
    builder.build().unwrap()
}

/// Three decisions of five options: 125 architectures.
pub(crate) fn cube() -> SearchSpace {
    let options = ["a", "b", "c", "d", "e"];
    SearchSpace::builder("cube").choice("x", options).choice("y", options).choice("z", options).build().unwrap()
}

/// Everything that makes counting hard, small: conditions on choices, numbers and counts, in and out of repeats.
pub(crate) fn conditional() -> SearchSpace {
    SearchSpace::builder("conditional")
        .choice("stem", ["small", "large"])
        .subset("extras", ["p", "q"])
        .when("stem", ["large"])
        .between(0..=1)
        .repeat("blocks", 0..=2, |block| {
            block.choice("op", ["conv", "pool", "skip"]).integer("width", 1..=2).when("op", ["conv"])
        })
        .choice("head", ["mean", "max"])
        .when("blocks", [2])
        .build()
        .unwrap()
}

/// One decision of every kind.
pub(crate) fn every_kind() -> SearchSpace {
    SearchSpace::builder("every_kind")
        .choice("stem", ["conv3x3", "conv5x5"])
        .integer("width", 16..=64)
        .step(16)
        .when("stem", ["conv5x5"])
        .float("rate", 0.0..=0.5)
        .steps(6)
        .float("lr", 1e-4..=0.1)
        .log()
        .subset("augment", ["flip", "crop", "cutout"])
        .between(1..=2)
        .group("cell", |cell| {
            let ops = ["none", "skip", "conv"];
            cell.choice("0-1", ops).choice("1-2", ops).choice("0-2", ops)
        })
        .repeat("blocks", 0..=2, |block| block.choice("op", ["a", "b"]).integer("expand", 2..=4).when("op", ["b"]))
        .require_path([(0, 1, "cell.0-1"), (1, 2, "cell.1-2"), (0, 2, "cell.0-2")], "none")
        .build()
        .unwrap()
}

/// The architectures that a walk can reach, by trying every option, with each mask checked against the space's list.
#[track_caller]
pub(crate) fn check_masks(space: &SearchSpace) {
    let all: BTreeSet<Vec<(usize, usize)>> = space.enumerate().map(|a| space.actions(&a).unwrap()).collect();
    let mut pending = vec![(space.walk(), Vec::new())];
    let mut reached = BTreeSet::new();
    while let Some((walk, taken)) = pending.pop() {
        let Some(step) = walk.next() else {
            let architecture = walk.finish().unwrap();
            assert_eq!(space.actions(&architecture).unwrap(), taken);
            reached.insert(taken);
            continue;
        };
        for (option, &allowed) in step.mask.iter().enumerate() {
            let mut path = taken.clone();
            path.push((step.slot, option));
            let completable = all.iter().any(|actions| actions.starts_with(&path));
            assert_eq!(allowed, completable, "{} {option} after {taken:?}", space.slots()[step.slot].path);
            let mut walk = walk.clone();
            assert_eq!(walk.choose(option).is_ok(), allowed);
            if allowed {
                pending.push((walk, path));
            }
        }
    }
    assert_eq!(reached, all);
}

/// A leaf without a condition: its kind, with few options.
fn leaf() -> impl Strategy<Value = Kind> {
    let names = ["none", "b", "c3", "d.e"];
    prop_oneof![
        3 => (1..=4_usize).prop_map(move |n| Kind::Choice { options: names[..n].iter().map(|&s| s.to_owned()).collect() }),
        1 => (-3..=3_i64, 0..=5_i64, 1..=3_i64).prop_map(|(low, more, step)| Kind::Integer { low, high: low + more, step }),
        1 => (1..=3_u32, 2..=4_u32, any::<bool>()).prop_map(|(low, steps, log)| Kind::Float {
            low: f64::from(low) / 8.0,
            high: f64::from(low),
            scale: if log { Scale::Log } else { Scale::Linear },
            steps: Some(steps),
        }),
        1 => (1..=3_usize, 0..=2_u32, 0..=2_u32).prop_map(move |(n, min, more)| {
            let max = (min + more).clamp(1, n as u32);
            Kind::Subset { options: names[..n].iter().map(|&s| s.to_owned()).collect(), min: min.min(max), max }
        }),
    ]
}

fn scope(depth: u32) -> BoxedStrategy<Scope> {
    let kind = if depth == 0 {
        leaf().boxed()
    } else {
        prop_oneof![
            4 => leaf(),
            1 => scope(depth - 1).prop_map(|body| Kind::Group { body }),
            1 => (0..=1_u64, 1..=2_u64, scope(depth - 1))
                .prop_map(|(low, high, body)| Kind::Repeat { low, high, body }),
        ]
        .boxed()
    };
    // Each decision may look back at an earlier sibling that can be looked at, for some of its values.
    (prop::collection::vec((kind, any::<prop::sample::Index>(), 0..4_u8), 1..=4), any::<bool>(), any::<bool>())
        .prop_map(|(kinds, path, limit)| {
            let mut scope = Scope::default();
            for (i, (kind, target, values)) in kinds.into_iter().enumerate() {
                let lookable =
                    |d: &&Decision| matches!(d.kind, Kind::Choice { .. } | Kind::Integer { .. } | Kind::Repeat { .. });
                let earlier: Vec<&Decision> = scope.decisions.iter().filter(lookable).collect();
                let when = (values > 0 && !earlier.is_empty()).then(|| {
                    let target = target.get(&earlier);
                    let is = match &target.kind {
                        Kind::Choice { options } => {
                            options.iter().take(values.into()).map(|o| o.as_str().into()).collect()
                        }
                        Kind::Integer { low, .. } => vec![(*low).into()],
                        Kind::Repeat { high, .. } => vec![i64::try_from(*high).unwrap().into()],
                        _ => unreachable!("filtered above"),
                    };
                    When { decision: target.name.clone(), is }
                });
                scope.decisions.push(Decision { name: format!("d{i}"), kind, when });
            }
            let choices: Vec<String> = scope
                .decisions
                .iter()
                .filter(|d| matches!(&d.kind, Kind::Choice { options } if options.len() > 1))
                .map(|d| d.name.clone())
                .collect();
            if path && !choices.is_empty() {
                // A chain, with the first edge doubled by a shortcut over everything.
                let last = choices.len() as u32;
                let mut edges: Vec<_> = choices.iter().zip(0..).map(|(c, i)| (i, i + 1, c.clone())).collect();
                edges.push((0, last, choices[0].clone()));
                // Enough for the shortcut, which is an edge twice.
                let most = limit.then_some((choices.len() as u32).max(2));
                scope.require.push(Requirement::Path { edges, closed_by: "none".to_owned(), most, nodes: Vec::new() });
            }
            scope
        })
        .boxed()
}

/// Random spaces of a few decisions, with everything but continuous numbers.
pub(crate) fn spaces() -> impl Strategy<Value = SearchSpace> {
    scope(2).prop_map(|scope| {
        let mut builder = SearchSpace::builder("random");
        for decision in scope.decisions {
            builder = builder.declare(decision);
        }
        for requirement in scope.require {
            builder = builder.require(requirement);
        }
        builder.build().unwrap()
    })
}
