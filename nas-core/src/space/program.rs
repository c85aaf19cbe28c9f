//! A declared space, checked and spread out: one variable for every decision of every copy, in order.

use std::collections::BTreeMap;

use super::automaton::{Automaton, Table};
use super::description::{self, Decision, Description, Kind, Requirement, Scale, Scope, When};
use super::domain::{self, Domain, REAL_LEVELS};
use super::graph::Graph;
use super::reference::Declared;
use super::requirement::{Edge, MAX_NODES, PathRequirement, Restriction};
use super::suggest;
use crate::architecture::Value;
use crate::error::SpaceError;

const MAX_SLOTS: u64 = 10_000;
const MAX_OPTIONS: u64 = 10_000;
const MAX_DEPTH: u64 = 16;
/// Options of all slots together: what a table of them costs, and a policy's outputs.
const MAX_TOTAL_OPTIONS: u64 = 1_000_000;

/// One decision of one copy.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) path: String,
    pub(super) domain: Domain,
    /// Predicates that must all hold for it to be open.
    pub(super) conditions: Vec<usize>,
}

/// A statement about an earlier variable. It does not hold while that variable is closed.
#[derive(Debug, PartialEq)]
pub(super) struct Predicate {
    pub(super) target: usize,
    pub(super) test: Test,
}

#[derive(Debug, PartialEq)]
pub(super) enum Test {
    /// The option is one of these, ascending.
    Among(Vec<usize>),
    /// The option's index is that or above.
    AtLeast(usize),
}

impl Predicate {
    pub(super) fn holds(&self, option: Option<usize>) -> bool {
        match (&self.test, option) {
            (_, None) => false,
            (Test::Among(options), Some(option)) => options.binary_search(&option).is_ok(),
            (Test::AtLeast(least), Some(option)) => option >= *least,
        }
    }
}

/// A graph by the variables that decide what stands on its edges and, unless that is empty, on its nodes.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) edges: Vec<Edge>,
    pub(super) nodes: usize,
    pub(super) choices: Vec<Option<usize>>,
}

/// A space as a list: what everything else works on.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) variables: Vec<Variable>,
    pub(super) predicates: Vec<Predicate>,
    /// By variable: the predicates about it.
    pub(super) about: Vec<Vec<usize>>,
    pub(super) requirements: Vec<Restriction>,
    /// All cells, requirements' included.
    pub(super) cells: Vec<Cell>,
    /// Graphs whose nodes carry choices.
    pub(super) graphs: Vec<Graph>,
    /// The variable at each path.
    pub(super) by_path: BTreeMap<String, usize>,
    /// What conditions may mean, for who names something that is not there yet.
    declared: Declared,
}

impl Program {
    pub(super) fn new(description: &Description) -> Result<Self, SpaceError> {
        check_name(&description.name)?;
        if description.decision.is_empty() {
            return Err(SpaceError::Empty { space: description.name.clone() });
        }
        let size = measure("", &description.decision, 1)?;
        check_size("the number of decisions", size.slots, MAX_SLOTS)?;
        check_size("the number of options of all decisions", size.options, MAX_TOTAL_OPTIONS)?;
        let mut program = Program { declared: Declared::new(&description.decision), ..Program::default() };
        program.scope("", &description.decision, &description.require, &description.cell, &[])?;
        Ok(program)
    }

    fn scope(
        &mut self,
        prefix: &str,
        decisions: &[Decision],
        require: &[Requirement],
        cells: &[description::Cell],
        around: &[usize],
    ) -> Result<(), SpaceError> {
        for decision in decisions {
            let path = join(prefix, &decision.name);
            let mut conditions = around.to_vec();
            if let Some(when) = &decision.when {
                conditions.push(self.condition(prefix, &path, when)?);
            }
            match &decision.kind {
                Kind::Group { body } => {
                    self.scope(&path, &body.decisions, &body.require, &body.cells, &conditions)?;
                }
                Kind::Repeat { low, high, body } => {
                    let count = self.variables.len();
                    self.variable(&path, domain(&decision.kind), &conditions);
                    for copy in 0..*high {
                        let mut inner = conditions.clone();
                        // The first `low` copies are there whenever the repeat is.
                        if copy >= *low {
                            let least = usize::try_from(copy + 1 - low).expect("checked against the limit of slots");
                            inner.push(self.predicate(count, Test::AtLeast(least)));
                        }
                        self.scope(&format!("{path}.{copy}"), &body.decisions, &body.require, &body.cells, &inner)?;
                    }
                }
                kind => self.variable(&path, domain(kind), &conditions),
            }
        }
        for requirement in require {
            let (edges, closed_by, most, nodes) = match requirement {
                Requirement::Path { edges, closed_by, most, nodes } => (edges, closed_by, *most, nodes),
                Requirement::Table { decisions, states, because } => {
                    let automaton = self.automaton(decisions, states, because)?;
                    self.requirements.push(Restriction::Table(automaton));
                    continue;
                }
            };
            let (requirement, choices) = self.path(prefix, edges, closed_by, most, nodes)?;
            let (edges, nodes) = (requirement.edges().to_vec(), requirement.nodes());
            if !choices.is_empty() {
                self.graphs.push(Graph { edges: edges.clone(), choices: choices.clone() });
            }
            self.cells.push(Cell { edges, nodes, choices });
            self.requirements.push(Restriction::Path(requirement));
        }
        for description::Cell { edges, closed_by } in cells {
            let (edges, nodes) = self.edges(prefix, "a cell", edges, closed_by)?;
            self.cells.push(Cell { edges, nodes: nodes.len(), choices: Vec::new() });
        }
        Ok(())
    }

    fn variable(&mut self, path: &str, domain: Domain, conditions: &[usize]) {
        self.by_path.insert(path.to_owned(), self.variables.len());
        self.variables.push(Variable { path: path.to_owned(), domain, conditions: conditions.to_vec() });
        self.about.push(Vec::new());
    }

    fn predicate(&mut self, target: usize, test: Test) -> usize {
        let predicate = Predicate { target, test };
        let known = self.about[target].iter().find(|&&known| self.predicates[known] == predicate);
        if let Some(&known) = known {
            return known;
        }
        let new = self.predicates.len();
        self.predicates.push(predicate);
        self.about[target].push(new);
        new
    }

    /// The variable called `name` in the scope `prefix` or, failing that, in the scopes around it.
    fn resolve(&self, prefix: &str, name: &str) -> Option<usize> {
        let mut scope = prefix;
        loop {
            if let Some(&variable) = self.by_path.get(&join(scope, name)) {
                return Some(variable);
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }

    fn condition(&mut self, prefix: &str, path: &str, when: &When) -> Result<usize, SpaceError> {
        let wrong = |refers| SpaceError::Reference { path: path.to_owned(), refers };
        let name = &when.decision;
        let Some(target) = self.resolve(prefix, name) else {
            let hint = suggest::hint(name, self.by_path.keys().map(String::as_str));
            let unknown = || format!("\"{name}\", which is no earlier decision{hint}");
            return Err(wrong(self.declared.why(path, name).unwrap_or_else(unknown)));
        };
        let domain = &self.variables[target].domain;
        if matches!(domain, Domain::Grid { .. } | Domain::Real(_) | Domain::Subset { .. }) {
            return Err(wrong(format!("\"{name}\"; conditions look at choices, integers and repeats only")));
        }
        if when.is.is_empty() {
            return Err(wrong(format!("no value of \"{name}\"")));
        }
        let mut options = Vec::new();
        for value in &when.is {
            let Some(option) = domain.index_of(value) else {
                let options = domain.options_text();
                return Err(wrong(format!("\"{value}\", which \"{name}\" cannot be; options: {options}")));
            };
            options.push(option);
        }
        options.sort_unstable();
        options.dedup();
        Ok(self.predicate(target, Test::Among(options)))
    }

    /// A path requirement, and for each of its nodes the variable that decides what stands on it; empty if none does.
    fn path(
        &self,
        prefix: &str,
        edges: &[(u32, u32, String)],
        closed_by: &str,
        most: Option<u32>,
        choices: &[(u32, String)],
    ) -> Result<(PathRequirement, Vec<Option<usize>>), SpaceError> {
        let (resolved, nodes) = self.edges(prefix, "a path", edges, closed_by)?;
        let choices = self.choices(prefix, choices, &nodes, &resolved)?;
        let scope = if prefix.is_empty() { String::new() } else { format!("in \"{prefix}\" ") };
        let limit = most.map_or_else(String::new, |most| format!(", of which at most {most} may stand"));
        let text = format!(
            "{scope}edges not chosen \"{closed_by}\" must lead from node {} to node {}; the edges are {}{limit}",
            nodes[0],
            nodes[nodes.len() - 1],
            edges.iter().map(|(from, to, name)| format!("{from}-{to} \"{name}\"")).collect::<Vec<_>>().join(", ")
        );
        Ok((PathRequirement::new(resolved, nodes.len(), most, text), choices))
    }

    /// The automaton over `decisions`, named by full path, whose states go on as `states` say.
    fn automaton(
        &self,
        decisions: &[String],
        states: &[Vec<Vec<Option<u32>>>],
        because: &str,
    ) -> Result<Automaton, SpaceError> {
        let wrong = |refers| SpaceError::Reference { path: "a table".to_owned(), refers };
        if decisions.len() != states.len() || states.first().is_some_and(|level| level.len() != 1) {
            return Err(wrong("states that do not stand for its decisions, of which the first has one".to_owned()));
        }
        let mut tables: Vec<Table> = Vec::new();
        for (i, (name, level)) in decisions.iter().zip(states).enumerate() {
            let Some(&variable) = self.by_path.get(name) else {
                let hint = suggest::hint(name, self.by_path.keys().map(String::as_str));
                return Err(wrong(format!("\"{name}\", which is no decision{hint}")));
            };
            let domain = &self.variables[variable].domain;
            if matches!(domain, Domain::Real(_) | Domain::Subset { .. }) {
                return Err(wrong(format!("\"{name}\"; tables look at choices, integers, steps and repeats only")));
            }
            if tables.last().is_some_and(|last| last.0 >= variable) {
                return Err(wrong(format!("\"{name}\" behind a decision that comes later")));
            }
            let after = states.get(i + 1).map(Vec::len);
            let known = |next: &Option<u32>| next.is_none_or(|next| after.is_none_or(|after| (next as usize) < after));
            if !level.iter().all(|row| row.len() == domain.len() + 1 && row.iter().all(known)) {
                return Err(wrong(format!("a state behind \"{name}\" that is not there, or not one for each option")));
            }
            tables.push((variable, domain.len(), level.clone()));
        }
        let size = states.iter().flatten().map(|row| row.len() as u64).sum();
        check_size("the number of entries of a table", size, MAX_TOTAL_OPTIONS)?;
        Ok(Automaton::new(tables, because.to_owned()))
    }

    /// For each of `nodes` the variable that decides what stands on it, if `choices` name one; empty if they name none.
    fn choices(
        &self,
        prefix: &str,
        choices: &[(u32, String)],
        nodes: &[u32],
        edges: &[Edge],
    ) -> Result<Vec<Option<usize>>, SpaceError> {
        let place = if prefix.is_empty() { "a path".to_owned() } else { format!("a path in {prefix}") };
        let wrong = |refers| Err(SpaceError::Reference { path: place.clone(), refers });
        if choices.is_empty() {
            return Ok(Vec::new());
        }
        let mut resolved: Vec<Option<usize>> = vec![None; nodes.len()];
        for (node, name) in choices {
            let Ok(place) = nodes.binary_search(node) else {
                return wrong(format!("node {node}, which no edge touches"));
            };
            let Some(variable) = self.resolve(prefix, name) else {
                let hint = suggest::hint(name, self.by_path.keys().map(String::as_str));
                return wrong(format!("\"{name}\", which is no decision{hint}"));
            };
            if !matches!(self.variables[variable].domain, Domain::Choice { .. }) {
                return wrong(format!("\"{name}\", which is no choice"));
            }
            let graphs = self.graphs.iter();
            let mut taken = graphs.flat_map(|graph| graph.variables()).chain(edges.iter().map(|edge| edge.variable));
            if resolved[place].is_some() || resolved.contains(&Some(variable)) || taken.any(|taken| taken == variable) {
                return wrong(format!(
                    "\"{name}\" for node {node}: a node carries one choice, which has no other place"
                ));
            }
            resolved[place] = Some(variable);
        }
        Ok(resolved)
    }

    /// The edges of `what` with their variables and with nodes numbered from 0, and the numbers that these had, ascending.
    fn edges(
        &self,
        prefix: &str,
        what: &str,
        edges: &[(u32, u32, String)],
        closed_by: &str,
    ) -> Result<(Vec<Edge>, Vec<u32>), SpaceError> {
        let place = if prefix.is_empty() { what.to_owned() } else { format!("{what} in {prefix}") };
        let wrong = |refers| SpaceError::Reference { path: place.clone(), refers };
        let mut nodes: Vec<u32> = edges.iter().flat_map(|&(from, to, _)| [from, to]).collect();
        nodes.sort_unstable();
        nodes.dedup();
        check_size(&format!("the number of nodes of {place}"), nodes.len() as u64, MAX_NODES as u64)?;
        if nodes.is_empty() {
            return Err(wrong("no edge".to_owned()));
        }
        let node = |n: &u32| nodes.binary_search(n).expect("every end of an edge is in the list");
        let mut resolved = Vec::new();
        for (from, to, name) in edges {
            if from == to {
                return Err(wrong(format!("an edge from node {from} to itself")));
            }
            let Some(variable) = self.resolve(prefix, name) else {
                let hint = suggest::hint(name, self.by_path.keys().map(String::as_str));
                return Err(wrong(format!("\"{name}\", which is no decision{hint}")));
            };
            let domain = &self.variables[variable].domain;
            if !matches!(domain, Domain::Choice { .. }) {
                return Err(wrong(format!("\"{name}\", which is no choice")));
            }
            let closed = domain.index_of(&Value::Choice(closed_by.to_owned()));
            resolved.push(Edge { variable, from: node(from), to: node(to), closed });
        }
        if resolved.iter().all(|edge| edge.closed.is_none()) {
            return Err(wrong(format!("\"{closed_by}\", which none of its decisions has as an option")));
        }
        Ok((resolved, nodes))
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

#[derive(Default)]
struct Size {
    slots: u64,
    options: u64,
}

impl Size {
    fn add(&mut self, other: &Size, times: u64) {
        self.slots = self.slots.saturating_add(other.slots.saturating_mul(times));
        self.options = self.options.saturating_add(other.options.saturating_mul(times));
    }
}

/// Checks every decision where it is declared, before any is copied, and counts what spreading out would make.
fn measure(prefix: &str, decisions: &[Decision], depth: u64) -> Result<Size, SpaceError> {
    check_size("the depth of nested groups", depth, MAX_DEPTH)?;
    let mut size = Size::default();
    let mut names = std::collections::BTreeSet::new();
    for decision in decisions {
        check_name(&decision.name)?;
        let path = join(prefix, &decision.name);
        if !names.insert(&decision.name) {
            return Err(SpaceError::Duplicate { path });
        }
        match &decision.kind {
            Kind::Group { body } => size.add(&measure_body(&path, body, depth)?, 1),
            Kind::Repeat { low, high, body } => {
                if low > high || *high == 0 {
                    return Err(SpaceError::NoOption { path, why: format!("it repeats {low} to {high} times") });
                }
                let numbers = (high - low).saturating_add(1);
                let mut all = Size { slots: 1, options: numbers };
                all.add(&measure_body(&path, body, depth)?, *high);
                check_size(&format!("the number of decisions of \"{path}\""), all.slots, MAX_SLOTS)?;
                check_size(&format!("the number of options of \"{path}\""), numbers, MAX_OPTIONS)?;
                size.add(&all, 1);
            }
            leaf => {
                let options = check_leaf(&path, leaf)?;
                check_size(&format!("the number of options of \"{path}\""), options, MAX_OPTIONS)?;
                match leaf {
                    Kind::Subset { .. } => size.add(&Size { slots: 1, options: 2 }, options),
                    _ => size.add(&Size { slots: 1, options }, 1),
                }
            }
        }
    }
    Ok(size)
}

fn measure_body(path: &str, body: &Scope, depth: u64) -> Result<Size, SpaceError> {
    if body.decisions.is_empty() {
        return Err(SpaceError::NoOption { path: path.to_owned(), why: "nothing is in it".to_owned() });
    }
    measure(path, &body.decisions, depth + 1)
}

/// The number of options of a decision that is no scope.
fn check_leaf(path: &str, kind: &Kind) -> Result<u64, SpaceError> {
    let none = |why: String| Err(SpaceError::NoOption { path: path.to_owned(), why });
    match kind {
        Kind::Choice { options } => {
            check_options(path, options)?;
            Ok(options.len() as u64)
        }
        Kind::Integer { low, high, step } => {
            if low > high {
                return none(format!("it runs from {low} to {high}"));
            }
            if *step < 1 {
                return none(format!("its step is {step}, and 1 is the smallest"));
            }
            let count = (i128::from(*high) - i128::from(*low)) / i128::from(*step) + 1;
            Ok(u64::try_from(count).unwrap_or(u64::MAX))
        }
        Kind::Float { low, high, scale, steps } => {
            // Written so that a bound that is no number is refused too.
            let bounded = low.is_finite() && high.is_finite() && (high - low).is_finite() && low < high;
            if !bounded {
                return none(format!("it runs from {low:?} to {high:?}"));
            }
            if *scale == Scale::Log && *low <= 0.0 {
                return none(format!("a logarithmic scale cannot start at {low:?}"));
            }
            match steps {
                Some(0 | 1) => none("a range has at least 2 steps".to_owned()),
                Some(steps) if u64::from(*steps) <= MAX_OPTIONS => {
                    if domain::levels(*low, *high, *scale, *steps).is_sorted_by(|a, b| a < b) {
                        Ok(u64::from(*steps))
                    } else {
                        none(format!("{steps} steps from {low:?} to {high:?} differ by less than 9 digits"))
                    }
                }
                Some(steps) => Ok(u64::from(*steps)),
                None if domain::levels(*low, *high, *scale, REAL_LEVELS).is_sorted_by(|a, b| a < b) => {
                    Ok(u64::from(REAL_LEVELS))
                }
                None => none(format!("{low:?} and {high:?} differ by less than 9 digits")),
            }
        }
        Kind::Subset { options, min, max } => {
            check_options(path, options)?;
            if min > max || *max as usize > options.len() || *max == 0 {
                return none(format!("{min} to {max} of {} cannot be chosen", options.len()));
            }
            Ok(options.len() as u64)
        }
        Kind::Repeat { .. } | Kind::Group { .. } => unreachable!("scopes are measured by their bodies"),
    }
}

fn check_options(path: &str, options: &[String]) -> Result<(), SpaceError> {
    if options.is_empty() {
        return Err(SpaceError::NoOption { path: path.to_owned(), why: "it lists none".to_owned() });
    }
    check_size(&format!("the number of options of \"{path}\""), options.len() as u64, MAX_OPTIONS)?;
    let mut seen = std::collections::BTreeSet::new();
    for option in options {
        let wrong = |why: &str| SpaceError::Name { name: option.clone(), why: why.to_owned() };
        if option.is_empty() {
            return Err(wrong("an option has at least one character"));
        }
        if option.chars().any(|c| c.is_whitespace() || c.is_control() || ",={}+\"".contains(c)) {
            return Err(wrong("options hold no space, comma, equals sign, plus, brace or quote"));
        }
        if !matches!(Value::parse(option), Value::Choice(_)) {
            return Err(wrong("an option is a name; for numbers take an integer or float, or a name such as \"x4\""));
        }
        if !seen.insert(option) {
            return Err(SpaceError::DuplicateOption { path: path.to_owned(), option: option.clone() });
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), SpaceError> {
    if !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        return Ok(());
    }
    let why = "names hold letters, digits, \"_\" and \"-\", at least one".to_owned();
    Err(SpaceError::Name { name: name.to_owned(), why })
}

fn check_size(what: &str, size: u64, limit: u64) -> Result<(), SpaceError> {
    if size <= limit { Ok(()) } else { Err(SpaceError::TooLarge { what: what.to_owned(), size, limit }) }
}

/// The values of a decision that has been checked.
fn domain(kind: &Kind) -> Domain {
    match kind {
        Kind::Choice { options } => Domain::Choice { options: options.clone() },
        Kind::Integer { low, high, step } => {
            let count = (i128::from(*high) - i128::from(*low)) / i128::from(*step) + 1;
            Domain::Integer {
                low: *low,
                step: *step,
                count: usize::try_from(count).expect("checked against the limit"),
            }
        }
        Kind::Float { low, high, scale, steps: Some(steps) } => {
            Domain::Grid { levels: domain::levels(*low, *high, *scale, *steps) }
        }
        Kind::Float { low, high, scale, steps: None } => Domain::Real(domain::Range::new(*low, *high, *scale)),
        Kind::Subset { options, min, max } => {
            Domain::Subset { options: options.clone(), min: *min as usize, max: *max as usize }
        }
        Kind::Repeat { low, high, .. } => Domain::Integer {
            low: i64::try_from(*low).expect("checked against the limit of slots"),
            step: 1,
            count: usize::try_from(high - low + 1).expect("checked against the limit of slots"),
        },
        Kind::Group { .. } => unreachable!("a group chooses nothing"),
    }
}
