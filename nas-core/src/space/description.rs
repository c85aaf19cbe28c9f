//! The written form of a space: what a user declares, in code or in TOML, before anything is worked out.

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::architecture::Value;

/// A named decision: what can be chosen, and when there is anything to choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "super::text::RawDecision", into = "super::text::RawDecision")]
pub struct Decision {
    /// Its name; its path is the names of the scopes around it and this name, joined by dots.
    pub name: String,
    /// What can be chosen.
    pub kind: Kind,
    /// The condition under which it is open; none: always.
    pub when: Option<When>,
}

/// What a decision chooses.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// One of several named options.
    Choice {
        /// The options' names.
        options: Vec<String>,
    },
    /// A whole number among `low`, `low + step`, … up to `high`.
    Integer {
        /// The smallest.
        low: i64,
        /// The largest.
        high: i64,
        /// The distance between two, 1 or more.
        step: i64,
    },
    /// A real number from `low` to `high`.
    Float {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// Whether equal steps or equal ratios count the same.
        scale: Scale,
        /// How many evenly spaced levels there are; none: every number between the bounds.
        steps: Option<u32>,
    },
    /// From `min` to `max` of several named options.
    Subset {
        /// The options' names.
        options: Vec<String>,
        /// The fewest that may be chosen.
        min: u32,
        /// The most that may be chosen.
        max: u32,
    },
    /// A group of decisions made `low` to `high` times. How often is itself a whole-number decision, at the repeat's
    /// own path; copy `i` of a decision is at `path.i.name`.
    Repeat {
        /// The fewest copies.
        low: u64,
        /// The most copies.
        high: u64,
        /// What is repeated.
        body: Scope,
    },
    /// A group of decisions under one name, which chooses nothing itself.
    Group {
        /// What is in the group.
        body: Scope,
    },
}

impl Kind {
    /// The kind's name in the TOML form.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Choice { .. } => "choice",
            Kind::Integer { .. } => "integer",
            Kind::Float { .. } => "float",
            Kind::Subset { .. } => "subset",
            Kind::Repeat { .. } => "repeat",
            Kind::Group { .. } => "group",
        }
    }
}

/// How the levels of a real number are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Equal differences.
    #[default]
    Linear,
    /// Equal ratios.
    Log,
}

/// A condition: the decision is open only while an earlier one has one of the listed values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The earlier decision: a sibling's name, a name in a scope around, or a full path. The innermost match counts.
    pub decision: String,
    /// The values that open this one. A closed decision has none of them.
    pub is: Vec<Value>,
}

/// What an architecture must meet as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "super::text::RawRequirement", into = "super::text::RawRequirement")]
#[non_exhaustive]
pub enum Requirement {
    /// Edges that are not chosen `closed_by` must lead from the lowest to the highest node.
    ///
    /// When the conditions close the decisions of all edges, nothing is required.
    Path {
        /// From node, to node, and the choice that decides what stands on the edge.
        edges: Vec<(u32, u32, String)>,
        /// The option that removes an edge.
        closed_by: String,
        /// The most edges that may be there, if there is a limit.
        most: Option<u32>,
        /// Nodes, each with the choice that decides what stands on it, named as in [`When`]. Unless there is none,
        /// architectures with the same graph up to the numbers of the nodes are one: they have one
        /// [key](crate::SearchSpace::key).
        nodes: Vec<(u32, String)>,
    },
    /// The decisions, one after the other, must lead from state to state of an automaton.
    ///
    /// It begins in state 0. What a family works out for its data, such as which sizes still fit, is said in this form.
    Table {
        /// Choices, whole numbers, stepped real numbers or repeats, by full path and in the order of the slots.
        decisions: Vec<String>,
        /// For each decision, for each state before it: the state after it for each of the decision's options, and last for
        /// its being closed; none where nothing goes on.
        states: Vec<Vec<Vec<Option<u32>>>>,
        /// What the automaton is for, in words: shown to who breaks it.
        because: String,
    },
}

/// Choices that stand on the edges of a graph: what the decisions of a cell mean together. It restricts nothing; who
/// compares architectures can count paths by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// From node, to node, and the choice that decides what stands on the edge, named as in [`When`].
    pub edges: Vec<(u32, u32, String)>,
    /// The option that removes an edge.
    pub closed_by: String,
}

/// Decisions in order, with what is required of them together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// The decisions. A condition may only look back.
    pub decisions: Vec<Decision>,
    /// The requirements. Their decisions are named as in [`When`].
    pub require: Vec<Requirement>,
    /// The cells among the decisions; path requirements are cells without being named here.
    pub cells: Vec<Cell>,
}

/// A space as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub(crate) limits: Limits,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) decision: Vec<Decision>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) require: Vec<Requirement>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cell: Vec<Cell>,
    /// What the decisions are for, if the space says so itself: not read here, kept for who builds networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<serde_json::Value>,
}
