//! What can be chosen: a tree of named decisions, written in code or TOML, counted exactly, drawn from uniformly.

mod automaton;
mod builder;
mod cardinality;
mod cell;
mod description;
mod diagram;
mod difference;
mod domain;
mod edit;
mod forest;
mod graph;
mod limited;
mod limits;
mod locate;
mod program;
mod reference;
mod requirement;
mod sample;
pub(crate) mod suggest;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod tokens;
mod walk;
mod weights;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use builder::SpaceBuilder;
pub use cardinality::Cardinality;
pub use cell::{CellEdge, CellGraph};
pub use description::{Cell, Decision, Kind, Requirement, Scale, Scope, When};
pub use limits::{Costs, Limits};
pub use locate::{locate, place};
pub use num_bigint::BigUint;
pub use suggest::hint;
pub use tokens::{KeyHasher, KeyMap, KeySet, Tokens};
pub use walk::{Slot, Step, Walk};

use crate::Architecture;
use crate::architecture::pairs;
use crate::error::{ArchitectureError, SpaceError};
pub(crate) use sample::below;

use description::Description;
use diagram::Diagram;
use domain::Pick;
use limited::Limited;
use program::Program;
use tokens::Layout;

/// A tree of named decisions: choices, whole and real numbers, subsets, groups and repeats, some of them under conditions.
///
/// Declare it with [`builder`](Self::builder) or in TOML:
///
/// ```
/// use nas_core::SearchSpace;
///
/// let space = SearchSpace::from_toml(r#"
///     name = "small"
///
///     [[decision]]
///     name = "stem"
///     kind = "choice"
///     options = ["conv3x3", "conv5x5"]
///
///     [[decision]]
///     name = "dilation"
///     kind = "integer"
///     low = 1
///     high = 3
///     when = { decision = "stem", is = ["conv5x5"] }
/// "#)?;
/// assert_eq!(space.cardinality().to_string(), "4");
///
/// let error = space.parse("stem=conv3x3,dilation=2").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the space \"small\" has no open decision \"dilation\"; \"stem=conv3x3\" closes it"
/// );
/// # Ok::<(), nas_core::SpaceError>(())
/// ```
///
/// Limits: 10,000 slots, 10,000 options a decision, 1,000,000 options of all slots together, groups 16 deep, and
/// 10,000,000 steps of counting. Copies share their contents.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Description", into = "Description")]
pub struct SearchSpace {
    inner: Arc<Inner>,
    /// Whether any tokens are an architecture.
    free: bool,
    limited: Option<Arc<Limited>>,
}

struct Inner {
    description: Description,
    program: Program,
    diagram: Diagram,
    slots: Vec<Slot>,
    cells: Vec<CellGraph>,
    layout: Layout,
    cardinality: Cardinality,
}

impl SearchSpace {
    /// Starts the declaration of a space in code.
    pub fn builder(name: &str) -> SpaceBuilder {
        SpaceBuilder::new(name)
    }

    /// Reads a space from its TOML form.
    ///
    /// # Errors
    /// When the text is no TOML, has unknown keys, or what it declares is no space, with line and column.
    pub fn from_toml(text: &str) -> Result<Self, SpaceError> {
        Self::from_description(text::from_toml(text)?).map_err(|error| locate(text, error))
    }

    /// The TOML form, from which [`from_toml`](Self::from_toml) reads an equal space.
    pub fn to_toml(&self) -> String {
        text::to_toml(&self.description())
    }

    fn from_description(mut description: Description) -> Result<Self, SpaceError> {
        let limits = std::mem::take(&mut description.limits);
        let program = Program::new(&description)?;
        let diagram = Diagram::new(&program, false)?;
        if *diagram.total() == BigUint::ZERO {
            let texts: Vec<&str> = program.requirements.iter().map(|requirement| requirement.text()).collect();
            return Err(SpaceError::Impossible { space: description.name, requirement: texts.join("; ") });
        }
        let slots = walk::slots(&program);
        let cells = cell::graphs(&program, &slots);
        let layout = Layout::new(&program, &slots);
        // A continuous number is open in some architecture exactly when its weight shows in the count.
        let continuous = program.variables.iter().any(|variable| variable.domain.is_continuous());
        let cardinality = if continuous && Diagram::new(&program, true)?.total() != diagram.total() {
            Cardinality::Infinite
        } else {
            Cardinality::Finite(diagram.total().clone())
        };
        let inner = Inner { description, program, diagram, slots, cells, layout, cardinality };
        let declared = (!limits.is_empty()).then_some(Limited { limits, guard: None });
        Ok(SearchSpace::from_inner(Arc::new(inner)).under(declared))
    }

    fn from_inner(inner: Arc<Inner>) -> Self {
        let free = inner.layout.is_free();
        SearchSpace { inner, free, limited: None }
    }

    fn under(self, limited: Option<Limited>) -> Self {
        let free = self.free && limited.as_ref().is_none_or(|limited| limited.guard.is_none());
        SearchSpace { free, limited: limited.map(Arc::new), ..self }
    }

    /// What was declared, with the limits.
    fn description(&self) -> Description {
        Description { limits: self.limits().clone(), ..self.inner.description.clone() }
    }

    /// The space's name.
    pub fn name(&self) -> &str {
        &self.inner.description.name
    }

    /// Whether the options of slot `slot` are stretches of a continuous number.
    ///
    /// # Panics
    /// When the space has no such slot.
    pub fn is_continuous(&self, slot: usize) -> bool {
        self.inner.program.variables[self.inner.slots[slot].variable].domain.is_continuous()
    }

    /// What the decisions are for, if the space describes its networks itself: a value that this crate keeps and does not
    /// read. A space file has it under `[[network]]`.
    pub fn network(&self) -> Option<&serde_json::Value> {
        self.inner.description.network.as_ref()
    }

    /// A declaration that begins with all of this one.
    pub fn to_builder(&self) -> SpaceBuilder {
        SpaceBuilder::of(self.inner.description.clone())
    }

    /// The decisions as declared.
    pub fn decisions(&self) -> &[Decision] {
        &self.inner.description.decision
    }

    /// The requirements as declared for the whole space; groups and repeats hold their own.
    pub fn requirements(&self) -> &[Requirement] {
        &self.inner.description.require
    }

    /// The cells that were declared and those of path requirements, every copy of a repeat for itself.
    pub fn cells(&self) -> &[CellGraph] {
        &self.inner.cells
    }

    /// How many architectures there are: conditions, repeats and requirements counted exactly, limits not at all.
    pub fn cardinality(&self) -> &Cardinality {
        &self.inner.cardinality
    }

    /// Architecture `rank` in a fixed order; none from the [`cardinality`](Self::cardinality) on. A continuous number
    /// takes its 16 levels only, and limits do not matter.
    pub fn nth(&self, rank: &BigUint) -> Option<Architecture> {
        if rank >= self.inner.diagram.total() {
            return None;
        }
        Some(self.encode(&self.inner.diagram.unrank(&self.inner.program, rank.clone())))
    }

    /// By slot, the numbers of the options that no architecture has: conditions never open the decision, or requirements forbid
    /// them. Members of subsets are not looked at one by one.
    ///
    /// ```
    /// use nas_core::SearchSpace;
    ///
    /// let space = SearchSpace::builder("dead")
    ///     .choice("a", ["none"]).choice("b", ["none", "x"])
    ///     .require_path([(0, 1, "a"), (0, 1, "b")], "none")
    ///     .build()?;
    /// assert_eq!(space.dead_options(), [vec![], vec![0]]); // without b there is no path
    /// # Ok::<(), nas_core::SpaceError>(())
    /// ```
    pub fn dead_options(&self) -> Vec<Vec<usize>> {
        let Inner { diagram, slots, .. } = &*self.inner;
        let alive = diagram.alive();
        let dead = |slot: &Slot| {
            let class_of = &diagram.forest.places[slot.variable].class_of;
            let is_dead = |&option: &usize| !alive[slot.variable][class_of.get(option).copied().unwrap_or(0)];
            (0..slot.options.len()).filter(is_dead).collect()
        };
        slots.iter().map(dead).collect()
    }

    /// All architectures that keep to the limits, in the order of [`nth`](Self::nth). Take care how many there are.
    pub fn enumerate(&self) -> impl Iterator<Item = Architecture> {
        let mut rank = BigUint::ZERO;
        let all = std::iter::from_fn(move || {
            let architecture = self.nth(&rank);
            rank += 1_u32;
            architecture
        });
        all.filter(|architecture| !self.is_limited() || self.valid(architecture).is_ok())
    }

    /// Checks that `architecture` is one of this space, in canonical form.
    ///
    /// # Errors
    /// When a decision is unknown, closed or absent, a value is none of its options or not written as the space writes
    /// it (a subset in the space's order), a requirement is broken, or the [limits](Self::limited).
    pub fn validate(&self, architecture: &Architecture) -> Result<(), ArchitectureError> {
        self.valid(architecture).map(|_| ())
    }

    /// The picks of an architecture that is [valid](Self::validate).
    fn valid(&self, architecture: &Architecture) -> Result<Vec<Option<Pick>>, ArchitectureError> {
        self.check_paths(architecture)?;
        let picks = self.decode(architecture)?;
        self.check_closed(architecture, &picks)?;
        let canonical = self.encode(&picks);
        if self.is_limited() && !self.keeps_limits(&self.tokens_of(&picks)) {
            return Err(limited::broken(self));
        }
        match architecture.iter().zip(canonical.iter()).find(|(given, right)| given != right) {
            Some(((path, value), (_, canonical))) => Err(ArchitectureError::Form {
                path: path.to_owned(),
                value: value.to_string(),
                canonical: canonical.to_string(),
            }),
            None => Ok(picks),
        }
    }

    /// The canonical form of `architecture`: closed decisions dropped, subsets in the space's order, whole numbers that
    /// stand for real ones made real.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), except for what it puts right.
    pub fn canonical(&self, architecture: &Architecture) -> Result<Architecture, ArchitectureError> {
        self.check_paths(architecture)?;
        Ok(self.encode(&self.decode(architecture)?))
    }

    /// The architecture of the text `path=value,path=value`, in any order.
    ///
    /// # Errors
    /// When a piece is no `path=value` or stands twice, or as [`validate`](Self::validate); a subset's members may come
    /// in any order.
    pub fn parse(&self, text: &str) -> Result<Architecture, ArchitectureError> {
        let mut architecture = Architecture::new();
        for (path, value) in pairs(text)? {
            let variable = self.variable(path)?;
            architecture.set(path, self.inner.program.variables[variable].domain.parse(path, value)?);
        }
        let picks = self.decode(&architecture)?;
        self.check_closed(&architecture, &picks)?;
        Ok(self.encode(&picks))
    }

    fn variable(&self, path: &str) -> Result<usize, ArchitectureError> {
        let known = &self.inner.program.by_path;
        known.get(path).copied().ok_or_else(|| {
            let hint = suggest::hint(path, known.keys().map(String::as_str));
            ArchitectureError::Unknown { space: self.name().to_owned(), path: path.to_owned(), hint }
        })
    }

    fn check_paths(&self, architecture: &Architecture) -> Result<(), ArchitectureError> {
        architecture.iter().try_for_each(|(path, _)| self.variable(path).map(|_| ()))
    }

    /// What the architecture says about every open variable; closed decisions and unknown paths do not matter.
    fn decode(&self, architecture: &Architecture) -> Result<Vec<Option<Pick>>, ArchitectureError> {
        let Inner { program, diagram, .. } = &*self.inner;
        let forest = &diagram.forest;
        let mut state = forest.start(program);
        let mut picks = Vec::with_capacity(program.variables.len());
        for (i, variable) in program.variables.iter().enumerate() {
            let pick = if forest.is_open(program, &state, i) {
                let path = &variable.path;
                let value = architecture.get(path).ok_or_else(|| ArchitectureError::Absent { path: path.clone() })?;
                Some(variable.domain.pick(path, value)?)
            } else {
                None
            };
            forest.decide(program, &mut state, i, pick.as_ref().map(Pick::index));
            picks.push(pick);
        }
        match forest.broken(program, &state) {
            Some(i) => Err(ArchitectureError::Requirement { requirement: program.requirements[i].text().to_owned() }),
            None => Ok(picks),
        }
    }

    /// Refuses values of closed decisions, and says what closes them.
    fn check_closed(&self, architecture: &Architecture, picks: &[Option<Pick>]) -> Result<(), ArchitectureError> {
        let program = &self.inner.program;
        for (path, _) in architecture.iter() {
            let variable = self.variable(path)?;
            if picks[variable].is_some() {
                continue;
            }
            let mut targets = program.variables[variable].conditions.iter().map(|&p| &program.predicates[p]);
            let closing = targets.find(|p| !p.holds(picks[p.target].as_ref().map(Pick::index)));
            let target = closing.expect("a closed decision has a condition that fails").target;
            let cause = &program.variables[target];
            let hint = match &picks[target] {
                Some(pick) => format!("; \"{}={}\" closes it", cause.path, cause.domain.value(pick)),
                None => format!("; \"{}\", which opens it, is closed itself", cause.path),
            };
            return Err(ArchitectureError::Unknown { space: self.name().to_owned(), path: path.to_owned(), hint });
        }
        Ok(())
    }

    fn encode(&self, picks: &[Option<Pick>]) -> Architecture {
        let mut architecture = Architecture::new();
        for (variable, pick) in self.inner.program.variables.iter().zip(picks) {
            if let Some(pick) = pick {
                architecture.set(&variable.path, variable.domain.value(pick));
            }
        }
        architecture
    }
}

/// Spaces are equal when they are declared equally, limits included, whether or not these are kept to.
impl PartialEq for SearchSpace {
    fn eq(&self, other: &Self) -> bool {
        self.inner.description == other.inner.description && self.limits() == other.limits()
    }
}

impl fmt::Debug for SearchSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SearchSpace").field(&self.description()).finish()
    }
}

impl TryFrom<Description> for SearchSpace {
    type Error = SpaceError;

    fn try_from(description: Description) -> Result<Self, SpaceError> {
        SearchSpace::from_description(description)
    }
}

impl From<SearchSpace> for Description {
    fn from(space: SearchSpace) -> Self {
        space.description()
    }
}

#[cfg(test)]
mod tests;
