//! A space as a sequence of masked categorical steps: how a policy sees it.

use super::SearchSpace;
use super::diagram::State;
use super::domain::{Domain, Pick};
use super::program::{Program, Variable};
use crate::Architecture;
use crate::error::ArchitectureError;

/// One categorical step of a space.
///
/// Whole numbers are listed, continuous ones have 16 levels, a repeat's count is a slot, and its body has slots for every
/// copy. A subset has one slot for every option, with the options `out` and `in`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// A name of its own: the decision's path, for subsets followed by the option as in `augment[flip]`.
    pub path: String,
    /// The path of the decision it belongs to.
    pub decision: String,
    /// The names of what can be chosen.
    pub options: Vec<String>,
    pub(super) variable: usize,
    /// The option that may join, when the decision is a subset.
    member: Option<usize>,
}

/// The next thing to choose on a [`Walk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The slot's index in [`SearchSpace::slots`].
    pub slot: usize,
    /// For each option of the slot whether some architecture goes on with it. At least one does.
    pub mask: Vec<bool>,
}

/// The slots of all variables, in order.
pub(super) fn slots(program: &Program) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (variable, Variable { path, domain, .. }) in program.variables.iter().enumerate() {
        let decision = || path.clone();
        if let Domain::Subset { options, .. } = domain {
            slots.extend(options.iter().enumerate().map(|(i, option)| Slot {
                path: format!("{path}[{option}]"),
                decision: decision(),
                options: vec!["out".to_owned(), "in".to_owned()],
                variable,
                member: Some(i),
            }));
        } else {
            let options = (0..domain.len()).map(|i| domain.name(i)).collect();
            slots.push(Slot { path: decision(), decision: decision(), options, variable, member: None });
        }
    }
    slots
}

/// An architecture on its way: slot after slot, closed ones skipped.
///
/// ```
/// use nas_core::SearchSpace;
///
/// let space = SearchSpace::builder("s")
///     .choice("a", ["none", "conv"]).choice("b", ["none", "conv"])
///     .require_path([(0, 1, "a"), (0, 1, "b")], "none")
///     .build()?;
/// let mut walk = space.walk();
/// walk.choose(0)?; // a = none
/// let step = walk.next().expect("b is open");
/// assert_eq!((step.slot, step.mask), (1, vec![false, true])); // so b must be there
/// walk.choose(1)?;
/// assert_eq!(walk.finish()?.to_string(), "a=none,b=conv");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    space: &'a SearchSpace,
    state: State,
    picks: Vec<Option<Pick>>,
    /// Members of the subset that is being chosen.
    members: Vec<usize>,
    at: usize,
    /// What can be chosen at `at`; empty at the end.
    mask: Vec<bool>,
}

impl<'a> Walk<'a> {
    fn new(space: &'a SearchSpace) -> Self {
        let (program, diagram) = (&space.inner.program, &space.inner.diagram);
        let picks = vec![None; program.variables.len()];
        let state = diagram.start(program);
        let mut walk = Walk { space, state, picks, members: Vec::new(), at: 0, mask: Vec::new() };
        walk.settle();
        walk
    }

    /// The step to take next, the same until [`choose`](Self::choose) takes it; none at the end.
    pub fn next(&self) -> Option<Step> {
        self.slot().map(|_| Step { slot: self.at, mask: self.mask.clone() })
    }

    /// Chooses an option of the next step.
    ///
    /// # Errors
    /// When the step's mask does not allow it, or the walk is at its end. The walk then stays where it is.
    pub fn choose(&mut self, option: usize) -> Result<(), ArchitectureError> {
        let allowed = self.mask.get(option).copied().unwrap_or(false);
        let Some(slot) = self.slot().filter(|_| allowed) else {
            let allowed: Vec<String> = (0..self.mask.len()).filter(|&i| self.mask[i]).map(|i| i.to_string()).collect();
            let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            let slot = self.slot().map_or("the end", |slot| &slot.path).to_owned();
            return Err(ArchitectureError::Masked { slot, option, allowed });
        };
        let (variable, member) = (slot.variable, slot.member);
        match member {
            None => self.decide(variable, Some(Pick::Option(option))),
            Some(member) => {
                if option == 1 {
                    self.members.push(member);
                }
                if member + 1 == self.space.inner.program.variables[variable].domain.len() {
                    let members = std::mem::take(&mut self.members);
                    self.decide(variable, Some(Pick::Members(members)));
                }
            }
        }
        self.at += 1;
        self.settle();
        Ok(())
    }

    /// The architecture walked to.
    ///
    /// # Errors
    /// When a step is left to take.
    pub fn finish(self) -> Result<Architecture, ArchitectureError> {
        match self.slot() {
            Some(slot) => Err(ArchitectureError::Absent { path: slot.decision.clone() }),
            None => Ok(self.space.encode(&self.picks)),
        }
    }

    fn slot(&self) -> Option<&'a Slot> {
        self.space.inner.slots.get(self.at)
    }

    fn decide(&mut self, variable: usize, pick: Option<Pick>) {
        let option = pick.as_ref().map(Pick::index);
        self.space.inner.diagram.decide(&self.space.inner.program, &mut self.state, variable, option);
        self.picks[variable] = pick;
    }

    /// Moves to the next open slot and works out its mask.
    fn settle(&mut self) {
        let (program, diagram) = (&self.space.inner.program, &self.space.inner.diagram);
        self.mask.clear();
        while let Some(slot) = self.slot() {
            let domain = &program.variables[slot.variable].domain;
            // The slots of a subset are open or closed together: its first one tells.
            if slot.member.unwrap_or(0) == 0 && !diagram.is_open(program, &self.state, slot.variable) {
                self.decide(slot.variable, None);
                self.at += if slot.member.is_some() { domain.len() } else { 1 };
                continue;
            }
            if let (Some(member), Domain::Subset { min, max, .. }) = (slot.member, domain) {
                let left = domain.len() - member - 1;
                self.mask.extend([self.members.len() + left >= *min, self.members.len() < *max]);
            } else {
                let node = diagram.node(program, &self.state, slot.variable);
                let node = node.expect("masks keep every walk on contexts with completions, which were counted");
                self.mask.extend((0..domain.len()).map(|option| diagram.allows(node, slot.variable, option)));
            }
            return;
        }
    }
}

impl SearchSpace {
    /// The categorical steps of the whole space, in the order of a [`walk`](Self::walk).
    pub fn slots(&self) -> &[Slot] {
        &self.inner.slots
    }

    /// A walk from the first slot.
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// The slots and options by which a walk gets to `architecture`; continuous numbers by their nearest level.
    ///
    /// # Errors
    /// When it is no architecture of this space; see [`validate`](Self::validate).
    pub fn actions(&self, architecture: &Architecture) -> Result<Vec<(usize, usize)>, ArchitectureError> {
        self.validate(architecture)?;
        let picks = self.decode(architecture)?;
        let mut actions = Vec::new();
        for (i, slot) in self.inner.slots.iter().enumerate() {
            let option = match (&picks[slot.variable], slot.member) {
                (None, _) => continue,
                (Some(Pick::Members(members)), Some(member)) => usize::from(members.contains(&member)),
                (Some(pick), _) => self.inner.program.variables[slot.variable].domain.level(pick),
            };
            actions.push((i, option));
        }
        Ok(actions)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::space::testing;

    /// The architectures that a walk can reach, by trying every option, with each mask checked against the space's list.
    fn check_masks(space: &SearchSpace) {
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

    #[test]
    fn masks_of_conditions_repeats_and_subsets() {
        check_masks(&testing::conditional());
    }

    #[test]
    fn masks_of_a_cell() {
        check_masks(&testing::cell(&["none", "skip"]));
    }

    #[test]
    fn slots_of_every_kind() {
        let space = testing::every_kind();
        let names: Vec<String> =
            space.slots().iter().map(|slot| format!("{}:{}", slot.path, slot.options.len())).collect();
        let expected = "stem:2 width:4 rate:6 lr:16 augment[flip]:2 augment[crop]:2 augment[cutout]:2 cell.0-1:3 \
                        cell.1-2:3 cell.0-2:3 blocks:3 blocks.0.op:2 blocks.0.expand:3 blocks.1.op:2 blocks.1.expand:3";
        assert_eq!(names.join(" "), expected);
        assert_eq!(space.slots()[6].options, ["out", "in"]);
        assert_eq!(space.slots()[6].decision, "augment");
    }

    #[test]
    fn refused_steps() {
        let space = testing::cell(&["none", "skip"]);
        let mut walk = space.walk();
        assert_eq!(
            walk.choose(2).unwrap_err().to_string(),
            "at \"cell.0-1\" option 2 cannot be chosen; options that can: 0, 1"
        );
        assert_eq!(walk.clone().finish().unwrap_err().to_string(), "the architecture has no decision \"cell.0-1\"");
        for _ in 0..6 {
            walk.choose(1).unwrap();
        }
        assert_eq!(
            walk.choose(0).unwrap_err().to_string(),
            "at \"the end\" option 0 cannot be chosen; options that can: none"
        );
    }

    #[test]
    fn continuous_numbers_go_to_the_nearest_level() {
        let space = SearchSpace::builder("s").float("x", 0.0..=1.5).build().unwrap();
        let architecture = Architecture::new().with("x", 0.33.into());
        assert_eq!(space.actions(&architecture).unwrap(), [(0, 3)]);
    }
}
