//! The TOML form of a space, and what is wrong with a text that is none, by line and column.

use serde::{Deserialize, Serialize};

use super::description::{Cell, Decision, Description, Kind, Requirement, Scale, Scope, When};
use super::suggest;
use crate::error::SpaceError;

/// A decision with every key that some kind takes: flat, so that a wrong key has a place in the text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDecision {
    name: String,
    kind: RawKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<Scale>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Vec<Decision>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    require: Option<Vec<Requirement>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cell: Option<Vec<Cell>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Choice,
    Integer,
    Float,
    Subset,
    Repeat,
    Group,
}

impl RawKind {
    fn name(self) -> &'static str {
        match self {
            RawKind::Choice => "choice",
            RawKind::Integer => "integer",
            RawKind::Float => "float",
            RawKind::Subset => "subset",
            RawKind::Repeat => "repeat",
            RawKind::Group => "group",
        }
    }

    /// The keys it takes besides `name`, `kind` and `when`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            RawKind::Choice => &["options"],
            RawKind::Integer => &["low", "high", "step"],
            RawKind::Float => &["low", "high", "scale", "steps"],
            RawKind::Subset => &["options", "min", "max"],
            RawKind::Repeat => &["low", "high", "decision", "require", "cell"],
            RawKind::Group => &["decision", "require", "cell"],
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Integer(i64),
    Float(f64),
}

impl RawDecision {
    fn new(name: String, kind: RawKind, when: Option<When>) -> Self {
        RawDecision {
            name,
            kind,
            options: None,
            low: None,
            high: None,
            step: None,
            scale: None,
            steps: None,
            min: None,
            max: None,
            when,
            decision: None,
            require: None,
            cell: None,
        }
    }

    fn check_keys(&self) -> Result<(), SpaceError> {
        let given = [
            ("options", self.options.is_some()),
            ("low", self.low.is_some()),
            ("high", self.high.is_some()),
            ("step", self.step.is_some()),
            ("scale", self.scale.is_some()),
            ("steps", self.steps.is_some()),
            ("min", self.min.is_some()),
            ("max", self.max.is_some()),
            ("decision", self.decision.is_some()),
            ("require", self.require.is_some()),
            ("cell", self.cell.is_some()),
        ];
        match given.iter().find(|(key, given)| *given && !self.kind.keys().contains(key)) {
            Some((key, _)) => {
                Err(SpaceError::Key { path: self.name.clone(), kind: self.kind.name(), key: (*key).to_owned() })
            }
            None => Ok(()),
        }
    }

    fn missing(&self, key: &str) -> SpaceError {
        SpaceError::Toml(format!("the {} \"{}\" needs \"{key}\"", self.kind.name(), self.name))
    }

    fn options(&mut self) -> Result<Vec<String>, SpaceError> {
        self.options.take().ok_or_else(|| self.missing("options"))
    }

    fn bound(&self, key: &str, bound: Option<Number>) -> Result<Number, SpaceError> {
        bound.ok_or_else(|| self.missing(key))
    }

    fn whole(&self, key: &str, bound: Option<Number>) -> Result<i64, SpaceError> {
        match self.bound(key, bound)? {
            Number::Integer(n) => Ok(n),
            Number::Float(x) => Err(SpaceError::Toml(format!(
                "\"{key}\" of the {} \"{}\" is {x:?}, not a whole number",
                self.kind.name(),
                self.name
            ))),
        }
    }

    fn times(&self, key: &str, bound: Option<Number>) -> Result<u64, SpaceError> {
        let n = self.whole(key, bound)?;
        u64::try_from(n)
            .map_err(|_| SpaceError::NoOption { path: self.name.clone(), why: format!("\"{key}\" is {n}, below zero") })
    }

    fn real(&self, key: &str, bound: Option<Number>) -> Result<f64, SpaceError> {
        Ok(match self.bound(key, bound)? {
            Number::Integer(n) => n as f64,
            Number::Float(x) => x,
        })
    }

    fn body(&mut self) -> Result<Scope, SpaceError> {
        let decisions = self.decision.take().ok_or_else(|| self.missing("decision"))?;
        let (require, cells) = (self.require.take().unwrap_or_default(), self.cell.take().unwrap_or_default());
        Ok(Scope { decisions, require, cells })
    }
}

impl TryFrom<RawDecision> for Decision {
    type Error = SpaceError;

    fn try_from(mut raw: RawDecision) -> Result<Self, SpaceError> {
        raw.check_keys()?;
        let kind = match raw.kind {
            RawKind::Choice => Kind::Choice { options: raw.options()? },
            RawKind::Integer => Kind::Integer {
                low: raw.whole("low", raw.low)?,
                high: raw.whole("high", raw.high)?,
                step: raw.step.unwrap_or(1),
            },
            RawKind::Float => Kind::Float {
                low: raw.real("low", raw.low)?,
                high: raw.real("high", raw.high)?,
                scale: raw.scale.unwrap_or_default(),
                steps: raw.steps,
            },
            RawKind::Subset => {
                let options = raw.options()?;
                let all = u32::try_from(options.len()).unwrap_or(u32::MAX);
                Kind::Subset { options, min: raw.min.unwrap_or(0), max: raw.max.unwrap_or(all) }
            }
            RawKind::Repeat => {
                Kind::Repeat { low: raw.times("low", raw.low)?, high: raw.times("high", raw.high)?, body: raw.body()? }
            }
            RawKind::Group => Kind::Group { body: raw.body()? },
        };
        Ok(Decision { name: raw.name, kind, when: raw.when })
    }
}

impl From<Decision> for RawDecision {
    fn from(decision: Decision) -> Self {
        let Decision { name, kind, when } = decision;
        let raw = |kind| RawDecision::new(name, kind, when);
        fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
            if items.is_empty() { None } else { Some(items) }
        }
        match kind {
            Kind::Choice { options } => RawDecision { options: Some(options), ..raw(RawKind::Choice) },
            Kind::Integer { low, high, step } => RawDecision {
                low: Some(Number::Integer(low)),
                high: Some(Number::Integer(high)),
                step: Some(step),
                ..raw(RawKind::Integer)
            },
            Kind::Float { low, high, scale, steps } => RawDecision {
                low: Some(Number::Float(low)),
                high: Some(Number::Float(high)),
                scale: Some(scale),
                steps,
                ..raw(RawKind::Float)
            },
            Kind::Subset { options, min, max } => {
                RawDecision { options: Some(options), min: Some(min), max: Some(max), ..raw(RawKind::Subset) }
            }
            // A built space has counts far below the largest i64; an unbuilt one saturates.
            Kind::Repeat { low, high, body } => RawDecision {
                low: Some(Number::Integer(i64::try_from(low).unwrap_or(i64::MAX))),
                high: Some(Number::Integer(i64::try_from(high).unwrap_or(i64::MAX))),
                decision: Some(body.decisions),
                require: some(body.require),
                cell: some(body.cells),
                ..raw(RawKind::Repeat)
            },
            Kind::Group { body } => RawDecision {
                decision: Some(body.decisions),
                require: some(body.require),
                cell: some(body.cells),
                ..raw(RawKind::Group)
            },
        }
    }
}

/// A requirement with every key that some kind takes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequirement {
    kind: RawRequirementKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    edges: Option<Vec<(u32, u32, String)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<(u32, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<Vec<String>>,
    /// A state that nothing leaves is −1: TOML has no empty value.
    #[serde(skip_serializing_if = "Option::is_none")]
    states: Option<Vec<Vec<Vec<i64>>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawRequirementKind {
    Path,
    Table,
}

impl RawRequirement {
    fn new(kind: RawRequirementKind) -> Self {
        RawRequirement {
            kind,
            edges: None,
            closed_by: None,
            most: None,
            nodes: Vec::new(),
            decisions: None,
            states: None,
            because: None,
        }
    }

    /// The first key given that belongs to the other kind.
    fn foreign(&self) -> Option<&'static str> {
        let path = [
            ("edges", self.edges.is_some()),
            ("closed_by", self.closed_by.is_some()),
            ("most", self.most.is_some()),
            ("nodes", !self.nodes.is_empty()),
        ];
        let table = [
            ("decisions", self.decisions.is_some()),
            ("states", self.states.is_some()),
            ("because", self.because.is_some()),
        ];
        let foreign = if self.kind == RawRequirementKind::Path { &table[..] } else { &path[..] };
        foreign.iter().find(|(_, given)| *given).map(|(key, _)| *key)
    }
}

impl TryFrom<RawRequirement> for Requirement {
    type Error = SpaceError;

    fn try_from(raw: RawRequirement) -> Result<Self, SpaceError> {
        if let Some(key) = raw.foreign() {
            let kind = if raw.kind == RawRequirementKind::Path { "path" } else { "table" };
            return Err(SpaceError::Toml(format!("a requirement of the kind \"{kind}\" takes no \"{key}\"")));
        }
        let missing = |key: &str| SpaceError::Toml(format!("missing key \"{key}\""));
        match raw.kind {
            RawRequirementKind::Path => Ok(Requirement::Path {
                edges: raw.edges.ok_or_else(|| missing("edges"))?,
                closed_by: raw.closed_by.ok_or_else(|| missing("closed_by"))?,
                most: raw.most,
                nodes: raw.nodes,
            }),
            RawRequirementKind::Table => {
                let state = |n: i64| match n {
                    -1 => Ok(None),
                    n => u32::try_from(n).map(Some).map_err(|_| SpaceError::Toml(format!("{n} is no state"))),
                };
                let row = |row: Vec<i64>| row.into_iter().map(state).collect::<Result<_, _>>();
                let level = |rows: Vec<Vec<i64>>| rows.into_iter().map(row).collect::<Result<_, _>>();
                let states = raw.states.ok_or_else(|| missing("states"))?;
                Ok(Requirement::Table {
                    decisions: raw.decisions.ok_or_else(|| missing("decisions"))?,
                    states: states.into_iter().map(level).collect::<Result<_, _>>()?,
                    because: raw.because.ok_or_else(|| missing("because"))?,
                })
            }
        }
    }
}

impl From<Requirement> for RawRequirement {
    fn from(requirement: Requirement) -> Self {
        match requirement {
            Requirement::Path { edges, closed_by, most, nodes } => RawRequirement {
                edges: Some(edges),
                closed_by: Some(closed_by),
                most,
                nodes,
                ..RawRequirement::new(RawRequirementKind::Path)
            },
            Requirement::Table { decisions, states, because } => {
                let row = |row: Vec<Option<u32>>| row.into_iter().map(|n| n.map_or(-1, i64::from)).collect();
                let level = |rows: Vec<Vec<Option<u32>>>| rows.into_iter().map(row).collect();
                RawRequirement {
                    decisions: Some(decisions),
                    states: Some(states.into_iter().map(level).collect()),
                    because: Some(because),
                    ..RawRequirement::new(RawRequirementKind::Table)
                }
            }
        }
    }
}

/// The longest text that is read, in bytes.
const MAX_TEXT: usize = 1 << 18;

/// Reads the TOML form.
pub(super) fn from_toml(text: &str) -> Result<Description, SpaceError> {
    if text.len() > MAX_TEXT {
        let what = "the text, in bytes,".to_owned();
        return Err(SpaceError::TooLarge { what, size: text.len() as u64, limit: MAX_TEXT as u64 });
    }
    toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| place(text, span.start)).unwrap_or_default();
        SpaceError::Toml(format!("{place}{}", reword(error.message())))
    })
}

/// Writes the TOML form.
pub(super) fn to_toml(description: &Description) -> String {
    toml::to_string(description).expect("a description is strings, numbers, lists and tables with string keys")
}

/// `line 3, column 5: ` for a byte offset.
pub(super) fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: ")
}

/// Serde's message on one line, in this crate's words, with the nearest name that would have been right.
fn reword(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let rest = |given: &str, quoted: &mut dyn Iterator<Item = &str>, what: &str| {
        let known: Vec<&str> = quoted.collect();
        let mut hint = suggest::hint(given, known.iter().copied());
        if hint.is_empty() {
            hint = format!("; known: {}", known.join(", "));
        }
        format!("unknown {what} \"{given}\"{hint}")
    };
    let what =
        [("unknown field", "key"), ("unknown variant", "value")].into_iter().find(|(o, _)| message.starts_with(o));
    match (what, quoted.next()) {
        (Some((_, what)), Some(given)) => rest(given, &mut quoted, what),
        _ if message.starts_with("missing field") => message.replace("field", "key").replace('`', "\""),
        _ => message.lines().map(str::trim).collect::<Vec<_>>().join(" ").replace('`', "\""),
    }
}

#[cfg(test)]
mod tests {
    use crate::SearchSpace;
    use crate::space::testing;

    #[track_caller]
    fn check_error(text: &str, message: &str) {
        assert_eq!(SearchSpace::from_toml(text).unwrap_err().to_string(), message);
    }

    #[test]
    fn every_kind_round_trips() {
        let space = testing::every_kind();
        let text = space.to_toml();
        let read = SearchSpace::from_toml(&text).unwrap();
        assert_eq!(read, space, "{text}");
        assert_eq!(read.to_toml(), text);
        let json = serde_json::to_string(&space).unwrap();
        assert_eq!(serde_json::from_str::<SearchSpace>(&json).unwrap(), space, "{json}");
    }

    #[test]
    fn as_a_person_writes_it() {
        let text = r#"
            name = "small"
            decision = [
                { name = "stem", kind = "choice", options = ["conv3x3", "conv5x5"] },
                { name = "width", kind = "integer", low = 8, high = 32, step = 8, when = { decision = "stem", is = ["conv5x5"] } },
                { name = "rate", kind = "float", low = 0, high = 1, steps = 3 },
                { name = "blocks", kind = "repeat", low = 1, high = 2, decision = [{ name = "op", kind = "choice", options = ["a", "b"] }] },
            ]
        "#;
        let space = SearchSpace::from_toml(text).unwrap();
        assert_eq!(space.cardinality().to_string(), "90"); // (1 + 4) · 3 · (2 + 4)
    }

    #[test]
    fn unknown_key() {
        check_error(
            "name = \"s\"\n\n[[decision]]\nname = \"op\"\nkind = \"choice\"\noptoins = [\"a\"]\n",
            "line 6, column 1: unknown key \"optoins\"; did you mean \"options\"?",
        );
        check_error(
            "name = \"s\"\ncolour = 3\n",
            "line 2, column 1: unknown key \"colour\"; known: name, limits, decision, require, cell, network",
        );
    }

    #[test]
    fn unknown_kind() {
        check_error(
            "name = \"s\"\n[[decision]]\nname = \"op\"\nkind = \"choise\"\n",
            "line 4, column 8: unknown value \"choise\"; did you mean \"choice\"?",
        );
    }

    #[test]
    fn key_of_another_kind() {
        check_error(
            "name = \"s\"\n[[decision]]\nname = \"op\"\nkind = \"choice\"\noptions = [\"a\"]\nlow = 1\n",
            "line 2, column 1: the decision \"op\" is a choice and takes no \"low\"",
        );
    }

    #[test]
    fn missing_key() {
        check_error("name = \"s\"\n[[decision]]\nkind = \"choice\"\n", "line 2, column 1: missing key \"name\"");
        check_error(
            "name = \"s\"\n[[decision]]\nname = \"n\"\nkind = \"integer\"\nlow = 1\n",
            "line 2, column 1: the integer \"n\" needs \"high\"",
        );
    }

    #[test]
    fn no_toml() {
        let error = SearchSpace::from_toml("name = \"s\"\ndecision = [").unwrap_err().to_string();
        assert!(error.starts_with("line 2, column "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn negative_and_broken_counts() {
        check_error(
            "name = \"s\"\n[[decision]]\nname = \"r\"\nkind = \"repeat\"\nlow = -1\nhigh = 2\ndecision = []\n",
            "line 2, column 1: the decision \"r\" has no option: \"low\" is -1, below zero",
        );
        check_error(
            "name = \"s\"\n[[decision]]\nname = \"n\"\nkind = \"integer\"\nlow = 1.5\nhigh = 2\n",
            "line 2, column 1: \"low\" of the integer \"n\" is 1.5, not a whole number",
        );
    }
}
