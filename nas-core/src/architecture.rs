//! What was chosen: one option for every open decision of a space.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ArchitectureError;

/// One decided value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A real number, always finite.
    Float(f64),
    /// The name of an option.
    Choice(String),
    /// Names of options, in the order the space lists them.
    Subset(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(n) => write!(f, "{n}"),
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Choice(name) => f.write_str(name),
            Value::Subset(names) => write!(f, "{{{}}}", names.join("+")),
        }
    }
}

impl Value {
    /// The value that `text` shows, as [`Display`](fmt::Display) writes it: a whole number, a finite number, a subset in
    /// braces, or else the name of an option.
    pub(crate) fn parse(text: &str) -> Value {
        if let Ok(n) = text.parse() {
            return Value::Integer(n);
        }
        if let Ok(x) = text.parse::<f64>()
            && x.is_finite()
        {
            return Value::Float(x);
        }
        match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some("") => Value::Subset(Vec::new()),
            Some(names) => Value::Subset(names.split('+').map(str::to_owned).collect()),
            None => Value::Choice(text.to_owned()),
        }
    }
}

impl From<&str> for Value {
    fn from(name: &str) -> Self {
        Value::Choice(name.to_owned())
    }
}

impl From<String> for Value {
    fn from(name: String) -> Self {
        Value::Choice(name)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Integer(n)
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Value::Integer(n.into())
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Value::Float(x)
    }
}

/// One option for every open decision of a [`SearchSpace`](crate::SearchSpace), by the decision's path.
///
/// Decisions that a condition closes are absent, so two architectures that describe the same network are equal.
/// In JSON it is an object from path to value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Architecture {
    values: BTreeMap<String, Value>,
}

impl Architecture {
    /// An architecture without decisions.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same architecture with the decision at `path` set to `value`.
    #[must_use]
    pub fn with(mut self, path: &str, value: Value) -> Self {
        self.set(path, value);
        self
    }

    /// Sets the decision at `path`.
    pub fn set(&mut self, path: &str, value: Value) {
        self.values.insert(path.to_owned(), value);
    }

    /// The value at `path`, if that decision is open.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.values.get(path)
    }

    /// All decisions in order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(path, value)| (path.as_str(), value))
    }

    /// The number of decisions.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no decision.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The option chosen at `path`.
    ///
    /// # Errors
    /// When the decision is absent or holds no option name.
    pub fn choice(&self, path: &str) -> Result<&str, ArchitectureError> {
        match self.expect(path)? {
            Value::Choice(name) => Ok(name),
            other => Err(ArchitectureError::kind(path, "a choice", other)),
        }
    }

    /// The whole number chosen at `path`.
    ///
    /// # Errors
    /// When the decision is absent or holds no whole number.
    pub fn integer(&self, path: &str) -> Result<i64, ArchitectureError> {
        match self.expect(path)? {
            Value::Integer(n) => Ok(*n),
            other => Err(ArchitectureError::kind(path, "a whole number", other)),
        }
    }

    /// The whole number chosen at `path` as a size.
    ///
    /// # Errors
    /// When the decision is absent or holds no number of zero or above.
    pub fn size(&self, path: &str) -> Result<usize, ArchitectureError> {
        usize::try_from(self.integer(path)?)
            .map_err(|_| ArchitectureError::kind(path, "a number of zero or above", &self.values[path]))
    }

    /// The number chosen at `path`.
    ///
    /// # Errors
    /// When the decision is absent or holds no number.
    pub fn float(&self, path: &str) -> Result<f64, ArchitectureError> {
        match self.expect(path)? {
            Value::Float(x) => Ok(*x),
            Value::Integer(n) => Ok(*n as f64),
            other => Err(ArchitectureError::kind(path, "a number", other)),
        }
    }

    /// The options chosen at `path`.
    ///
    /// # Errors
    /// When the decision is absent or holds no subset.
    pub fn subset(&self, path: &str) -> Result<&[String], ArchitectureError> {
        match self.expect(path)? {
            Value::Subset(names) => Ok(names),
            other => Err(ArchitectureError::kind(path, "a subset", other)),
        }
    }

    fn expect(&self, path: &str) -> Result<&Value, ArchitectureError> {
        self.values.get(path).ok_or_else(|| ArchitectureError::Absent { path: path.to_owned() })
    }

    /// A hash of the canonical text that is the same on every machine and in every version.
    pub fn stable_hash(&self) -> u64 {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(self.to_string().as_bytes());
        hasher.finish()
    }
}

/// The canonical text: `path=value` in order of the paths, separated by commas.
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (path, value)) in self.values.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{path}={value}")?;
        }
        Ok(())
    }
}

/// Reads the canonical text. A value's kind is read off its form, which no option of a space can imitate.
impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(text: &str) -> Result<Self, ArchitectureError> {
        let mut architecture = Architecture::new();
        for (path, value) in pairs(text)? {
            architecture.set(path, Value::parse(value));
        }
        Ok(architecture)
    }
}

/// The pieces `path=value` of a text, no path twice; spaces around them do not count.
pub(crate) fn pairs(text: &str) -> Result<BTreeMap<&str, &str>, ArchitectureError> {
    let mut pairs = BTreeMap::new();
    if text.trim().is_empty() {
        return Ok(pairs);
    }
    for piece in text.split(',').map(str::trim) {
        let (path, value) = piece.split_once('=').map(|(path, value)| (path.trim(), value.trim())).unwrap_or_default();
        if path.is_empty() || value.is_empty() {
            return Err(ArchitectureError::Syntax { text: piece.to_owned() });
        }
        if pairs.insert(path, value).is_some() {
            return Err(ArchitectureError::Twice { path: path.to_owned() });
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_roundtrip(text: &str) {
        let architecture: Architecture = text.parse().unwrap();
        assert_eq!(architecture.to_string(), text);
        let json = serde_json::to_string(&architecture).unwrap();
        assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap(), architecture, "{json}");
    }

    #[track_caller]
    fn check_error(text: &str, message: &str) {
        assert_eq!(text.parse::<Architecture>().unwrap_err().to_string(), message);
    }

    #[test]
    fn round_trips() {
        check_roundtrip("");
        check_roundtrip("op=conv3x3");
        check_roundtrip("a=-3,b=0.1,c=1.0,d=1e-7,e=1e300,f={},g={x},h={x+y},i.0.j=none");
    }

    #[test]
    fn no_pairs() {
        check_error("op", "\"op\" is no decision of the form path=value");
        check_error("a=1,,b=2", "\"\" is no decision of the form path=value");
        check_error("a=", "\"a=\" is no decision of the form path=value");
        check_error("a=1,a=2", "the decision \"a\" is given twice");
    }

    #[test]
    fn asked_for_what_is_not_there() {
        let architecture: Architecture = "op=conv,depth=-2,rate=0.5,set={a}".parse().unwrap();
        assert_eq!(architecture.choice("op"), Ok("conv"));
        assert_eq!(architecture.integer("depth"), Ok(-2));
        assert_eq!(architecture.float("depth"), Ok(-2.0));
        assert_eq!(architecture.subset("set").unwrap(), ["a"]);
        let errors = [
            (architecture.choice("stem").unwrap_err(), "the architecture has no decision \"stem\""),
            (architecture.choice("depth").unwrap_err(), "decision \"depth\" is \"-2\" where a choice is needed"),
            (architecture.integer("rate").unwrap_err(), "decision \"rate\" is \"0.5\" where a whole number is needed"),
            (
                architecture.size("depth").unwrap_err(),
                "decision \"depth\" is \"-2\" where a number of zero or above is needed",
            ),
            (architecture.float("op").unwrap_err(), "decision \"op\" is \"conv\" where a number is needed"),
            (architecture.subset("op").unwrap_err(), "decision \"op\" is \"conv\" where a subset is needed"),
        ];
        for (error, message) in errors {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn hash_of_the_text_never_changes() {
        // FNV-1a of "a=x,b=2", worked out apart from this code: stored studies depend on it.
        let architecture = Architecture::new().with("b", 2.into()).with("a", "x".into());
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in b"a=x,b=2" {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        assert_eq!(architecture.stable_hash(), hash);
    }
}
