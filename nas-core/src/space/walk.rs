//! A space as a sequence of masked categorical steps: how a policy sees it.

use rand::RngExt as _;
use smallvec::SmallVec;

use super::domain::Domain;
use super::limited::{self, Guard, Way};
use super::program::{Program, Variable};
use super::{Inner, SearchSpace, Tokens};
use crate::error::ArchitectureError;
use crate::{Architecture, Rng};

/// Draws of an option before any open one is taken.
const TRIES: usize = 32;

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
    /// How it keeps to the limits, if there are any.
    way: Option<Box<Way>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(space: &'a SearchSpace, target: Option<&Tokens>) -> Self {
        let at = space.inner.diagram.start().to_vec();
        let way = space.guard().map(|guard| Box::new(Way::new(space, guard, target)));
        let mut walk = Walk { space, at, tokens: Tokens::default(), members: 0, mask: Vec::new(), way };
        walk.settle();
        walk.restrict();
        walk
    }

    /// Goes back to the first slot.
    pub fn reset(&mut self) {
        self.at.copy_from_slice(self.space.inner.diagram.start());
        self.tokens.clear();
        self.members = 0;
        self.settle();
        if self.way.is_some() {
            self.restart();
        }
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
    ///
    /// In a space under [limits](SearchSpace::limited), [`ArchitectureError::Limits`] when it turns out that they cannot be kept
    /// any more, which masks of costs that are no sums do not always foresee. The walk is then back at its first slot.
    pub fn choose(&mut self, option: usize) -> Result<(), ArchitectureError> {
        let within = self.within(option)?;
        self.go(option, within.start + (within.end - within.start) / 2)
    }

    /// As [`choose`](Self::choose), with a continuous number drawn evenly from its bin.
    ///
    /// # Errors
    /// As [`choose`](Self::choose).
    pub fn choose_within(&mut self, option: usize, rng: &mut Rng) -> Result<(), ArchitectureError> {
        let within = self.within(option)?;
        self.go(option, if within.len() > 1 { rng.random_range(within) } else { within.start })
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
        self.go(option, token)
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

    /// Decides the next slot: an option and the token of it.
    fn go(&mut self, option: usize, token: u16) -> Result<(), ArchitectureError> {
        let Some(slot) = self.slot() else { return Ok(()) };
        self.tokens.push(token);
        if self.space.is_free() {
            self.settle();
            return Ok(());
        }
        if self.way.is_some() {
            self.take(option)?;
        }
        let diagram = &self.space.inner.diagram;
        let node = diagram.node(self.at[slot.variable]);
        self.members += usize::from(slot.member.is_some() && token == 1);
        if self.tokens.len() == self.space.inner.layout.slots(slot.variable).end {
            self.members = 0;
            diagram.go(slot.variable, diagram.branch(node, slot.variable, token.into()), &mut self.at);
        }
        self.settle();
        if self.way.is_some() { self.restrict_or_end() } else { Ok(()) }
    }

    #[cold]
    fn restart(&mut self) {
        if let Some((way, guard)) = self.way.as_deref_mut().zip(self.space.guard()) {
            way.reset(guard);
        }
        self.restrict();
    }

    /// Takes note of what is known of the limits after an option, which was decided.
    #[cold]
    fn take(&mut self, option: usize) -> Result<(), ArchitectureError> {
        let Some((way, guard)) = self.way.as_deref_mut().zip(self.space.guard()) else { return Ok(()) };
        let taken = way.take(self.space, guard, option, &self.tokens);
        if taken.is_err() {
            self.reset();
        }
        taken
    }

    /// Masks what leads to no architecture that keeps to the limits.
    fn restrict(&mut self) {
        if let Some((way, guard)) = self.way.as_deref_mut().zip(self.space.guard())
            && self.tokens.len() < self.space.inner.slots.len()
        {
            way.restrict(self.space, guard, &self.tokens, &mut self.mask);
        }
    }

    #[cold]
    fn restrict_or_end(&mut self) -> Result<(), ArchitectureError> {
        self.restrict();
        let at_end = self.slot_index().is_none();
        let broken = |guard: &Guard| at_end && !guard.keeps(self.space, &self.tokens);
        if self.space.guard().is_some_and(broken) {
            self.reset();
            return Err(limited::broken(self.space));
        }
        Ok(())
    }

    /// Draws the rest, decision by decision among what is open, options by how many architectures they leave; none when the
    /// limits turn out to be broken. The walk is then back at its first slot.
    pub(super) fn draw(&mut self, rng: &mut Rng) -> Option<Tokens> {
        let diagram = &self.space.inner.diagram;
        self.reset();
        while let Some(slot) = self.slot() {
            let open: SmallVec<[usize; 32]> = (0..self.mask.len()).filter(|&option| self.mask[option]).collect();
            let weighed = || {
                let node = diagram.node(self.at[slot.variable]);
                let options = diagram.options(node, slot.variable, diagram.draw(node, rng));
                let option = match options {
                    Some(options) => options[rng.random_range(0..options.len())],
                    None => rng.random_range(0..self.mask.len()),
                };
                self.mask[option].then_some(option)
            };
            let tries = if slot.member.is_some() { 0 } else { TRIES };
            let option = std::iter::repeat_with(weighed).take(tries).flatten().next();
            let option = option.unwrap_or_else(|| open[rng.random_range(0..open.len())]);
            self.choose_within(option, rng).ok()?;
        }
        Some(self.tokens.clone())
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
        Walk::new(self, None)
    }

    /// A walk from the first slot that can follow `tokens` to their end, if they are an architecture that keeps to the limits:
    /// masks then allow them even where nothing else is known ahead.
    pub fn walk_to(&self, tokens: &Tokens) -> Walk<'_> {
        Walk::new(self, Some(tokens))
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

    #[test]
    fn masks_of_conditions_repeats_and_subsets() {
        testing::check_masks(&testing::conditional());
    }

    #[test]
    fn masks_of_a_cell() {
        testing::check_masks(&testing::cell(&["none", "skip"]));
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
