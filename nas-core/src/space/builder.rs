//! Spaces declared in code.

use std::ops::RangeInclusive;

use super::description::{Cell, Decision, Description, Kind, Requirement, Scale, Scope, When};
use super::limits::Limits;
use super::{SearchSpace, text};
use crate::architecture::Value;
use crate::error::SpaceError;

/// Declares a [`SearchSpace`], or the body of a group or repeat, decision by decision.
///
/// [`when`](Self::when), [`step`](Self::step), [`steps`](Self::steps), [`log`](Self::log) and
/// [`between`](Self::between) refine the decision before them. A mistake is kept and returned by
/// [`build`](Self::build).
///
/// ```
/// use nas_core::SearchSpace;
///
/// let space = SearchSpace::builder("example")
///     .choice("stem", ["conv3x3", "conv5x5"])
///     .integer("width", 16..=64).step(16)
///     .float("dropout", 0.0..=0.5).steps(6)
///     .subset("augment", ["flip", "crop", "cutout"]).between(0..=2)
///     .repeat("blocks", 1..=3, |block| {
///         block
///             .choice("op", ["conv", "mbconv"])
///             .integer("expand", 2..=4).when("op", ["mbconv"])
///     })
///     .build()?;
///
/// // A block is one of 1 + 3: 2 · 4 · 6 · (1 + 3 + 3) · (4 + 4² + 4³)
/// assert_eq!(space.cardinality().to_string(), "28,224");
/// # Ok::<(), nas_core::SpaceError>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct SpaceBuilder {
    name: String,
    scope: Scope,
    mistake: Option<SpaceError>,
    network: Option<serde_json::Value>,
    limits: Limits,
}

impl SpaceBuilder {
    pub(super) fn new(name: &str) -> Self {
        SpaceBuilder {
            name: name.to_owned(),
            scope: Scope::default(),
            mistake: None,
            network: None,
            limits: Limits::new(),
        }
    }

    /// What is declared already.
    pub(super) fn of(description: Description) -> Self {
        let Description { name, decision, require, cell, network, limits } = description;
        let scope = Scope { decisions: decision, require, cells: cell };
        SpaceBuilder { name, scope, mistake: None, network, limits }
    }

    /// The declaration in a file, to which decisions can still be added: those that its network makes.
    ///
    /// # Errors
    /// When the text is no TOML or has unknown keys, with line and column.
    pub fn from_toml(text: &str) -> Result<Self, SpaceError> {
        text::from_toml(text).map(Self::of)
    }

    /// The decisions declared so far.
    pub fn decisions(&self) -> &[Decision] {
        &self.scope.decisions
    }

    /// The network of a file, as it is written there.
    pub fn written_network(&self) -> Option<&serde_json::Value> {
        self.network.as_ref()
    }

    /// One of several named options.
    pub fn choice<S: Into<String>>(self, name: &str, options: impl IntoIterator<Item = S>) -> Self {
        let options = options.into_iter().map(Into::into).collect();
        self.decision(name, Kind::Choice { options })
    }

    /// A whole number in the range.
    pub fn integer(self, name: &str, range: RangeInclusive<i64>) -> Self {
        self.decision(name, Kind::Integer { low: *range.start(), high: *range.end(), step: 1 })
    }

    /// A real number in the range: any, unless [`steps`](Self::steps) follows.
    pub fn float(self, name: &str, range: RangeInclusive<f64>) -> Self {
        let (low, high) = (*range.start(), *range.end());
        self.decision(name, Kind::Float { low, high, scale: Scale::Linear, steps: None })
    }

    /// Any number of the named options, unless [`between`](Self::between) follows.
    pub fn subset<S: Into<String>>(self, name: &str, options: impl IntoIterator<Item = S>) -> Self {
        let options: Vec<String> = options.into_iter().map(Into::into).collect();
        let max = u32::try_from(options.len()).unwrap_or(u32::MAX);
        self.decision(name, Kind::Subset { options, min: 0, max })
    }

    /// A group of decisions under one name.
    pub fn group(mut self, name: &str, body: impl FnOnce(SpaceBuilder) -> SpaceBuilder) -> Self {
        let body = self.body(name, body);
        self.decision(name, Kind::Group { body })
    }

    /// A group of decisions made as often as a number in the range, which is itself a decision.
    pub fn repeat(
        mut self,
        name: &str,
        times: RangeInclusive<u64>,
        body: impl FnOnce(SpaceBuilder) -> SpaceBuilder,
    ) -> Self {
        let body = self.body(name, body);
        self.decision(name, Kind::Repeat { low: *times.start(), high: *times.end(), body })
    }

    /// Opens the decision before this call only while an earlier decision has one of the values.
    pub fn when<V: Into<Value>>(mut self, decision: &str, is: impl IntoIterator<Item = V>) -> Self {
        let condition = When { decision: decision.to_owned(), is: is.into_iter().map(Into::into).collect() };
        match self.scope.decisions.last_mut() {
            Some(last) if last.when.is_none() => last.when = Some(condition),
            last => {
                let (path, why) = match last {
                    Some(last) => (last.name.clone(), "more than one condition; group the decision to nest them"),
                    None => (self.name.clone(), "nothing: a condition follows the decision it opens"),
                };
                self.fail(SpaceError::Reference { path, refers: why.to_owned() });
            }
        }
        self
    }

    /// The distance between the whole numbers of the decision before this call.
    pub fn step(self, distance: i64) -> Self {
        self.refine("step", |kind| match kind {
            Kind::Integer { step, .. } => {
                *step = distance;
                true
            }
            _ => false,
        })
    }

    /// Evenly spaced levels, both bounds included, for the real number before this call.
    pub fn steps(self, levels: u32) -> Self {
        self.refine("steps", |kind| match kind {
            Kind::Float { steps, .. } => {
                *steps = Some(levels);
                true
            }
            _ => false,
        })
    }

    /// A logarithmic scale for the real number before this call.
    pub fn log(self) -> Self {
        self.refine("scale", |kind| match kind {
            Kind::Float { scale, .. } => {
                *scale = Scale::Log;
                true
            }
            _ => false,
        })
    }

    /// How many options the subset before this call may hold.
    pub fn between(self, range: RangeInclusive<u32>) -> Self {
        self.refine("min and max", |kind| match kind {
            Kind::Subset { min, max, .. } => {
                (*min, *max) = (*range.start(), *range.end());
                true
            }
            _ => false,
        })
    }

    /// Requires a way from the lowest to the highest node over edges whose choice is not `closed_by`.
    ///
    /// ```
    /// use nas_core::SearchSpace;
    ///
    /// let ops = ["none", "skip", "conv"];
    /// let space = SearchSpace::builder("three_nodes")
    ///     .choice("a", ops).choice("b", ops).choice("c", ops)
    ///     .require_path([(0, 1, "a"), (1, 2, "b"), (0, 2, "c")], "none")
    ///     .build()?;
    /// // 27 cells, of which c = none with a or b = none are dead.
    /// assert_eq!(space.cardinality().to_string(), "22");
    /// # Ok::<(), nas_core::SpaceError>(())
    /// ```
    pub fn require_path<S: Into<String>>(
        mut self,
        edges: impl IntoIterator<Item = (u32, u32, S)>,
        closed_by: &str,
    ) -> Self {
        let edges = edges.into_iter().map(|(from, to, decision)| (from, to, decision.into())).collect();
        self.scope.require.push(Requirement::Path {
            edges,
            closed_by: closed_by.to_owned(),
            most: None,
            nodes: Vec::new(),
        });
        self
    }

    /// The most edges that the path requirement before this call lets stand, on the path or beside it.
    ///
    /// ```
    /// use nas_core::SearchSpace;
    ///
    /// let ops = ["none", "skip", "conv"];
    /// let space = SearchSpace::builder("three_nodes")
    ///     .choice("a", ops).choice("b", ops).choice("c", ops)
    ///     .require_path([(0, 1, "a"), (1, 2, "b"), (0, 2, "c")], "none").at_most(2)
    ///     .build()?;
    /// // 22 cells with a path, of which 8 have all three edges.
    /// assert_eq!(space.cardinality().to_string(), "14");
    /// # Ok::<(), nas_core::SpaceError>(())
    /// ```
    pub fn at_most(self, edges: u32) -> Self {
        self.refine_path("at_most", |most, _| *most = Some(edges))
    }

    /// What stands on the nodes of the graph whose path the requirement before this call asks for: choices, by node.
    ///
    /// Architectures whose graphs are the same but for the numbers of the nodes, and for nodes on no way from the first to
    /// the last, then are one: they have one [key](SearchSpace::key), and no strategy takes both. The
    /// [cardinality](SearchSpace::cardinality) still counts each.
    ///
    /// ```
    /// use nas_core::SearchSpace;
    ///
    /// let edges = [(0, 1, "a"), (0, 2, "b"), (1, 3, "c"), (2, 3, "d")];
    /// let space = SearchSpace::builder("four_nodes")
    ///     .choice("x", ["conv", "pool"]).choice("y", ["conv", "pool"]);
    /// let space = edges.iter().fold(space, |space, (.., edge)| space.choice(edge, ["out", "in"]));
    /// let space = space.require_path(edges, "out").nodes([(1, "x"), (2, "y")]).build()?;
    ///
    /// let key = |text: &str| Ok::<_, nas_core::ArchitectureError>(space.key(&space.tokens(&space.parse(text)?)?));
    /// let left = key("x=conv,y=pool,a=in,c=in,b=out,d=out")?;
    /// assert_eq!(left, key("x=pool,y=conv,a=out,c=out,b=in,d=in")?); // the other node
    /// assert_eq!(left, key("x=conv,y=conv,a=in,c=in,b=in,d=out")?); // a node that leads nowhere
    /// assert_ne!(left, key("x=pool,y=conv,a=in,c=in,b=out,d=out")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nodes<S: Into<String>>(self, nodes: impl IntoIterator<Item = (u32, S)>) -> Self {
        let choices = nodes.into_iter().map(|(node, decision)| (node, decision.into())).collect();
        self.refine_path("nodes", |_, nodes| *nodes = choices)
    }

    /// Says that the choices stand on the edges of a graph, from node to node, and that `closed_by` removes an edge.
    ///
    /// Nothing is required: architectures without a path stay in the space, as NAS-Bench-201's do. Strategies with a model
    /// compare such architectures by their paths. What [`require_path`](Self::require_path) names is a cell already.
    ///
    /// ```
    /// use nas_core::SearchSpace;
    ///
    /// let ops = ["none", "skip", "conv"];
    /// let space = SearchSpace::builder("three_nodes")
    ///     .choice("a", ops).choice("b", ops).choice("c", ops)
    ///     .cell([(0, 1, "a"), (1, 2, "b"), (0, 2, "c")], "none")
    ///     .build()?;
    /// assert_eq!(space.cardinality().to_string(), "27");
    /// assert_eq!(space.cells()[0].edges.len(), 3);
    /// # Ok::<(), nas_core::SpaceError>(())
    /// ```
    pub fn cell<S: Into<String>>(mut self, edges: impl IntoIterator<Item = (u32, u32, S)>, closed_by: &str) -> Self {
        let edges = edges.into_iter().map(|(from, to, decision)| (from, to, decision.into())).collect();
        self.scope.cells.push(Cell { edges, closed_by: closed_by.to_owned() });
        self
    }

    /// A decision made elsewhere, for example read from a description.
    pub fn declare(mut self, decision: Decision) -> Self {
        self.scope.decisions.push(decision);
        self
    }

    /// A requirement made elsewhere, for example worked out by a family for its data.
    pub fn require(mut self, requirement: Requirement) -> Self {
        self.scope.require.push(requirement);
        self
    }

    /// Leaves out the [tables](Requirement::Table) declared so far whose reason begins with `because`, so that they can be made anew for
    /// other data.
    pub fn without_tables(mut self, because: &str) -> Self {
        let kept = |requirement: &Requirement| match requirement {
            Requirement::Table { because: own, .. } => !own.starts_with(because),
            Requirement::Path { .. } => true,
        };
        self.scope.require.retain(kept);
        self
    }

    /// What the decisions are for, in the form of whoever builds networks from it; see [`SearchSpace::network`].
    pub fn network(mut self, network: serde_json::Value) -> Self {
        self.network = Some(network);
        self
    }

    /// The space declared so far.
    ///
    /// # Errors
    /// When the declaration is no space: no or duplicate decisions, empty ranges, conditions that do not look back,
    /// requirements nothing meets, more than the limits allow.
    pub fn build(self) -> Result<SearchSpace, SpaceError> {
        match self.mistake {
            Some(mistake) => Err(mistake),
            None => SearchSpace::from_description(Description {
                name: self.name,
                limits: self.limits,
                decision: self.scope.decisions,
                require: self.scope.require,
                cell: self.scope.cells,
                network: self.network,
            }),
        }
    }

    fn decision(self, name: &str, kind: Kind) -> Self {
        self.declare(Decision { name: name.to_owned(), kind, when: None })
    }

    fn body(&mut self, name: &str, body: impl FnOnce(SpaceBuilder) -> SpaceBuilder) -> Scope {
        let inner = body(SpaceBuilder::new(name));
        if let Some(mistake) = inner.mistake {
            self.fail(mistake);
        }
        inner.scope
    }

    fn refine(mut self, key: &str, change: impl FnOnce(&mut Kind) -> bool) -> Self {
        let mistake = match self.scope.decisions.last_mut() {
            Some(last) => match change(&mut last.kind) {
                true => return self,
                false => SpaceError::Key { path: last.name.clone(), kind: last.kind.name(), key: key.to_owned() },
            },
            None => SpaceError::Reference {
                path: self.name.clone(),
                refers: format!("nothing: {key} follows the decision it refines"),
            },
        };
        self.fail(mistake);
        self
    }

    fn refine_path(mut self, key: &str, change: impl FnOnce(&mut Option<u32>, &mut Vec<(u32, String)>)) -> Self {
        match self.scope.require.last_mut() {
            Some(Requirement::Path { most, nodes, .. }) => change(most, nodes),
            Some(Requirement::Table { .. }) | None => {
                let refers = format!("nothing: {key} follows the path requirement it refines");
                self.fail(SpaceError::Reference { path: self.name.clone(), refers });
            }
        }
        self
    }

    /// Keeps the first mistake.
    fn fail(&mut self, mistake: SpaceError) {
        self.mistake.get_or_insert(mistake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_mistake(builder: SpaceBuilder, message: &str) {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
    }

    #[test]
    fn refinement_of_the_wrong_kind() {
        check_mistake(
            SearchSpace::builder("s").choice("op", ["a"]).step(2),
            "the decision \"op\" is a choice and takes no \"step\"",
        );
        check_mistake(
            SearchSpace::builder("s").group("g", |g| g.integer("n", 1..=2).log()),
            "the decision \"n\" is an integer and takes no \"scale\"",
        );
    }

    #[test]
    fn refinement_of_nothing() {
        check_mistake(
            SearchSpace::builder("s").when("x", ["a"]).choice("op", ["a"]),
            "\"s\" refers to nothing: a condition follows the decision it opens",
        );
        check_mistake(
            SearchSpace::builder("s").steps(2),
            "\"s\" refers to nothing: steps follows the decision it refines",
        );
        check_mistake(
            SearchSpace::builder("s").choice("a", ["x", "y"]).at_most(2),
            "\"s\" refers to nothing: at_most follows the path requirement it refines",
        );
    }

    #[test]
    fn second_condition() {
        check_mistake(
            SearchSpace::builder("s").choice("a", ["x", "y"]).choice("b", ["z"]).when("a", ["x"]).when("a", ["y"]),
            "\"b\" refers to more than one condition; group the decision to nest them",
        );
    }
}
