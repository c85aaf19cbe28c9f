//! A space as a sequence of masked categorical steps: how a policy sees it.

use rand::RngExt as _;

use super::domain::Domain;
use super::program::{Program, Variable};
use super::{Inner, SearchSpace, Tokens};
use crate::error::ArchitectureError;
use crate::{Architecture, Rng};

/// One categorical step of a space.
///
/// Whole numbers are listed, continuous ones have 16 bins, a repeat's count is a slot, and its body has slots for every
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
    pub(super) member: Option<usize>,
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
/// Nothing is allocated on the way of a second walk: take [`slot_index`](Self::slot_index) and [`mask`](Self::mask) for
/// [`next`](Self::next), [`tokens`](Self::tokens) for [`finish`](Self::finish), and [`reset`](Self::reset).
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    space: &'a SearchSpace,
    /// By variable its node, once all that it depends on is decided.
    at: Vec<u32>,
    tokens: Tokens,
    /// How many members the subset that is being chosen has.
    members: usize,
    /// What can be chosen at the slot that follows `tokens`; empty at the end.
    mask: Vec<bool>,
}

impl<'a> Walk<'a> {
    fn new(space: &'a SearchSpace) -> Self {
        let at = space.inner.diagram.start().to_vec();
        let mut walk = Walk { space, at, tokens: Tokens::default(), members: 0, mask: Vec::new() };
        walk.settle();
        walk
    }

    /// Goes back to the first slot.
    pub fn reset(&mut self) {
        self.at.copy_from_slice(self.space.inner.diagram.start());
        self.tokens.clear();
        self.members = 0;
        self.settle();
    }

    /// The step to take next, the same until [`choose`](Self::choose) takes it; none at the end.
    pub fn next(&self) -> Option<Step> {
        self.slot_index().map(|slot| Step { slot, mask: self.mask.clone() })
    }

    /// The index of the slot to choose next, in [`SearchSpace::slots`]; none at the end.
    pub fn slot_index(&self) -> Option<usize> {
        Some(self.tokens.len()).filter(|&at| at < self.space.inner.slots.len())
    }

    /// For each option of the next slot whether some architecture goes on with it; at least one does. Empty at the end.
    pub fn mask(&self) -> &[bool] {
        &self.mask
    }

    /// Chooses an option of the next step; of a continuous number the middle of that bin.
    ///
    /// # Errors
    /// When the step's mask does not allow it, or the walk is at its end. The walk then stays where it is.
    pub fn choose(&mut self, option: usize) -> Result<(), ArchitectureError> {
        let within = self.within(option)?;
        self.go(within.start + (within.end - within.start) / 2);
        Ok(())
    }

    /// As [`choose`](Self::choose), with a continuous number drawn evenly from its bin.
    ///
    /// # Errors
    /// As [`choose`](Self::choose).
    pub fn choose_within(&mut self, option: usize, rng: &mut Rng) -> Result<(), ArchitectureError> {
        let within = self.within(option)?;
        self.go(if within.len() > 1 { rng.random_range(within) } else { within.start });
        Ok(())
    }

    /// Takes the token of the next slot, to follow an architecture that is known.
    ///
    /// # Errors
    /// As [`choose`](Self::choose), of its option.
    pub fn choose_token(&mut self, token: u16) -> Result<(), ArchitectureError> {
        let option = self.slot_index().map_or(0, |slot| self.space.option(slot, token));
        let within = self.within(option)?;
        if !within.contains(&token) {
            return Err(self.masked(token.into()));
        }
        self.go(token);
        Ok(())
    }

    /// The tokens of the slots that are decided: those of an architecture when the walk is at its end.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The architecture walked to.
    ///
    /// # Errors
    /// When a step is left to take.
    pub fn finish(self) -> Result<Architecture, ArchitectureError> {
        match self.slot() {
            Some(slot) => Err(ArchitectureError::Absent { path: slot.decision.clone() }),
            None => Ok(self.space.encode(&self.space.picks(&self.tokens))),
        }
    }

    fn slot(&self) -> Option<&'a Slot> {
        self.space.inner.slots.get(self.tokens.len())
    }

    /// The tokens of an option of the next slot.
    fn within(&self, option: usize) -> Result<std::ops::Range<u16>, ArchitectureError> {
        match self.slot().filter(|_| self.mask.get(option).copied().unwrap_or(false)) {
            Some(slot) => Ok(self.space.inner.program.variables[slot.variable].domain.within(option)),
            None => Err(self.masked(option)),
        }
    }

    #[cold]
    fn masked(&self, option: usize) -> ArchitectureError {
        let allowed: Vec<String> = (0..self.mask.len()).filter(|&i| self.mask[i]).map(|i| i.to_string()).collect();
        let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        let slot = self.slot().map_or("the end", |slot| &slot.path).to_owned();
        ArchitectureError::Masked { slot, option, allowed }
    }

    /// Decides the next slot.
    fn go(&mut self, token: u16) {
        let Some(slot) = self.slot() else { return };
        self.tokens.push(token);
        if self.space.is_free() {
            return self.settle();
        }
        let diagram = &self.space.inner.diagram;
        let node = diagram.node(self.at[slot.variable]);
        self.members += usize::from(slot.member.is_some() && token == 1);
        if self.tokens.len() == self.space.inner.layout.slots(slot.variable).end {
            self.members = 0;
            diagram.go(slot.variable, diagram.branch(node, slot.variable, token.into()), &mut self.at);
        }
        self.settle();
    }

    /// Moves to the next open slot and works out its mask.
    fn settle(&mut self) {
        let Inner { program, diagram, layout, .. } = &*self.space.inner;
        self.mask.clear();
        if self.space.is_free() {
            let options = self.slot().map_or(0, |slot| slot.options.len());
            self.mask.resize(options, true);
            return;
        }
        while let Some(slot) = self.slot() {
            let domain = &program.variables[slot.variable].domain;
            let node = diagram.node(self.at[slot.variable]);
            if !node.open {
                diagram.go(slot.variable, diagram.closed(node), &mut self.at);
                layout.slots(slot.variable).for_each(|_| self.tokens.push(Tokens::CLOSED));
                continue;
            }
            if let (Some(member), Domain::Subset { min, max, .. }) = (slot.member, domain) {
                let left = domain.len() - member - 1;
                self.mask.extend([self.members + left >= *min, self.members < *max]);
            } else {
                let branch = |option| diagram.branch(node, slot.variable, option);
                self.mask.extend((0..domain.len()).map(|option| diagram.allows(branch(option))));
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

    /// The slots that decide whether `slot` is open, in order: those its conditions look at, and the counts of the repeats
    /// around it. None: it is always open.
    ///
    /// ```
    /// use nas_core::SearchSpace;
    ///
    /// let space = SearchSpace::builder("s")
    ///     .choice("op", ["skip", "conv"]).integer("width", 1..=64).when("op", ["conv"]).build()?;
    /// assert_eq!(space.opened_by(1), [0]);
    /// assert!(space.opened_by(0).is_empty());
    /// # Ok::<(), nas_core::SpaceError>(())
    /// ```
    ///
    /// # Panics
    /// When the space has no such slot.
    pub fn opened_by(&self, slot: usize) -> Vec<usize> {
        let (program, slots) = (&self.inner.program, &self.inner.slots);
        let conditions = &program.variables[slots[slot].variable].conditions;
        let targets = conditions.iter().map(|&predicate| program.predicates[predicate].target);
        // Conditions look at no subsets, so a variable they look at is one slot.
        let mut by: Vec<usize> = targets.map(|v| slots.partition_point(|slot| slot.variable < v)).collect();
        by.sort_unstable();
        by.dedup();
        by
    }

    /// Whether the options of `slot` are numbers in order: whole ones, levels or bins of a real one, a repeat's count.
    ///
    /// # Panics
    /// When the space has no such slot.
    pub fn is_ordered(&self, slot: usize) -> bool {
        let domain = &self.inner.program.variables[self.inner.slots[slot].variable].domain;
        matches!(domain, Domain::Integer { .. } | Domain::Grid { .. } | Domain::Real(_))
    }

    /// A walk from the first slot.
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// The slots and options by which a walk gets to `architecture`; continuous numbers by their bin.
    ///
    /// # Errors
    /// When it is no architecture of this space; see [`validate`](Self::validate).
    pub fn actions(&self, architecture: &Architecture) -> Result<Vec<(usize, usize)>, ArchitectureError> {
        Ok(self.tokens(architecture)?.open().map(|(slot, token)| (slot, self.option(slot, token))).collect())
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
    fn continuous_numbers_are_walked_to_by_their_bin() {
        let space = SearchSpace::builder("s").float("x", 0.0..=1.6).choice("a", ["p", "q"]).build().unwrap();
        let architecture = Architecture::new().with("x", 0.33.into()).with("a", "q".into());
        assert_eq!(space.actions(&architecture).unwrap(), [(0, 3), (1, 1)]);
        let mut walk = space.walk();
        let mut rng = crate::Seed::new(1).stream(crate::Purpose::Test, 0);
        let mut drawn = BTreeSet::new();
        for _ in 0..100 {
            walk.choose_within(3, &mut rng).unwrap();
            assert_eq!(space.option(0, walk.tokens()[0]), 3);
            drawn.insert(walk.tokens()[0]);
            walk.reset();
        }
        assert!(drawn.len() > 90, "{} of 4,095 places", drawn.len());
        walk.choose(3).unwrap();
        walk.choose(0).unwrap();
        let middle = walk.finish().unwrap().float("x").unwrap();
        assert!((middle - 0.35).abs() < 3e-5, "{middle}");
    }

    #[test]
    fn a_walk_is_used_again() {
        let space = testing::conditional();
        let mut walk = space.walk();
        for architecture in space.enumerate() {
            let tokens = space.tokens(&architecture).unwrap();
            for (slot, token) in tokens.open() {
                assert_eq!(walk.slot_index(), Some(slot));
                assert_eq!(walk.mask(), walk.next().unwrap().mask);
                walk.choose_token(token).unwrap();
            }
            assert_eq!((walk.slot_index(), walk.tokens()), (None, &tokens));
            assert!(walk.choose_token(0).is_err());
            walk.reset();
        }
    }
}
