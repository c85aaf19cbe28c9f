//! What the architectures of a space may cost at most, and who knows what they cost.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Architecture;

/// Tells what architectures cost before anything runs.
///
/// ```
/// use std::sync::Arc;
///
/// use nas_core::space::{Costs, Limits};
/// use nas_core::{Architecture, SearchSpace, Seed, Purpose};
///
/// /// The area of a box.
/// struct Area;
///
/// impl Costs for Area {
///     fn figures(&self) -> &[&'static str] {
///         &["area"]
///     }
///
///     fn costs(&self, architecture: &Architecture, _: &[&str]) -> Result<Vec<u64>, String> {
///         let side = |name| architecture.size(name).map_err(|e| e.to_string());
///         Ok(vec![(side("width")? * side("height")?) as u64])
///     }
/// }
///
/// let space = SearchSpace::builder("box").integer("width", 1..=9).integer("height", 2..=9).build()?;
/// let space = space.limited(Limits::new().with("area", 6), Arc::new(Area))?;
/// let mut walk = space.walk();
/// assert_eq!(walk.mask(), [true, true, true, false, false, false, false, false, false]); // 4 × 2 is more
/// walk.choose(1)?; // width = 2
/// assert_eq!(walk.mask(), [true, true, false, false, false, false, false, false]);
/// let drawn = space.sample(&mut Seed::new(1).stream(Purpose::Test, 0));
/// assert!(drawn.size("width")? * drawn.size("height")? <= 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Costs: Send + Sync {
    /// The names of the figures that there are.
    fn figures(&self) -> &[&'static str];

    /// The figures called `figures`, in their order: always the same for an architecture. Only [`figures`](Self::figures) are
    /// asked for.
    ///
    /// # Errors
    /// Why the architecture cannot be built. It then keeps to no limit.
    fn costs(&self, architecture: &Architecture, figures: &[&str]) -> Result<Vec<u64>, String>;
}

/// The most that architectures may cost, by the names of the figures of [`Costs`].
///
/// In TOML a table with a key `max-NAME` for each, whose values are numbers, or texts as [`amount`](Self::amount) reads them:
///
/// ```
/// use nas_core::SearchSpace;
///
/// let space = SearchSpace::from_toml(r#"
///     name = "small"
///     limits = { max-params = 20_000, max-memory = "64M" }
///     decision = [{ name = "op", kind = "choice", options = ["conv", "skip"] }]
/// "#)?;
/// assert_eq!(space.limits().to_string(), "max-memory 67108864, max-params 20000");
/// # Ok::<(), nas_core::SpaceError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits(BTreeMap<String, u64>);

impl Limits {
    /// The figure whose amounts are bytes.
    pub const MEMORY: &'static str = "memory";

    pub(super) const NONE: Limits = Limits(BTreeMap::new());

    /// No limit.
    pub fn new() -> Self {
        Limits::NONE
    }

    /// These limits and one more, or another one for that figure.
    #[must_use]
    pub fn with(mut self, figure: &str, most: u64) -> Self {
        self.0.insert(figure.to_owned(), most);
        self
    }

    /// The limit of a figure.
    pub fn get(&self, figure: &str) -> Option<u64> {
        self.0.get(figure).copied()
    }

    /// Each figure with its limit, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(figure, &most)| (figure.as_str(), most))
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads an amount of a figure: a whole number, or a number with k, M, G or T behind it, which are powers of 1000; for
    /// [`MEMORY`](Self::MEMORY) they are powers of 1024 and `B` or `iB` may follow.
    ///
    /// ```
    /// use nas_core::space::Limits;
    ///
    /// assert_eq!(Limits::amount("params", "1.5M"), Ok(1_500_000));
    /// assert_eq!(Limits::amount("memory", "64MiB"), Ok(64 << 20));
    /// assert_eq!(Limits::amount("params", "12Q").unwrap_err(), "\"Q\" is no unit; write 500k, 2M or 1.5G");
    /// ```
    ///
    /// # Errors
    /// Why it is none: no number, an unknown unit, zero, below zero, or more than 64 bits hold.
    pub fn amount(figure: &str, text: &str) -> Result<u64, String> {
        let form = "write 500k, 2M or 1.5G";
        let text = text.trim();
        let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '_')).unwrap_or(text.len());
        let (number, unit) = (text[..end].replace('_', ""), text[end..].trim());
        let bytes = figure == Self::MEMORY;
        let prefix = if bytes { unit.trim_end_matches("iB").trim_end_matches('B') } else { unit };
        let power = match prefix {
            "" => 0,
            "k" | "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            _ => return Err(format!("\"{unit}\" is no unit; {form}")),
        };
        let scale = if bytes { 1024_u64 } else { 1000 }.pow(power);
        let zero = || "it must be above zero".to_owned();
        // Whole numbers are read exactly.
        if let Ok(whole) = number.parse::<u64>() {
            let amount = whole.checked_mul(scale).ok_or("that is more than 64 bits hold")?;
            return if amount == 0 { Err(zero()) } else { Ok(amount) };
        }
        let number: f64 = number.parse().map_err(|_| form.to_owned())?;
        let amount = number * scale as f64;
        if amount < 1.0 {
            return Err(zero());
        }
        if amount >= u64::MAX as f64 { Err("that is more than 64 bits hold".to_owned()) } else { Ok(amount as u64) }
    }
}

/// `max-madds 1000000, max-params 20000`.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (figure, most)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}max-{figure} {most}")?;
        }
        Ok(())
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(figure, most)| (format!("max-{figure}"), most)))
    }
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LimitsVisitor)
    }
}

struct LimitsVisitor;

impl<'de> Visitor<'de> for LimitsVisitor {
    type Value = Limits;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of limits such as max-params = 20000")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Limits, A::Error> {
        let mut limits = Limits::new();
        while let Some(key) = map.next_key::<String>()? {
            let Some(figure) = key.strip_prefix("max-").filter(|figure| !figure.is_empty()) else {
                return Err(de::Error::custom(format!(
                    "\"{key}\" is no limit; a limit is called max-params or the like"
                )));
            };
            let most = match map.next_value()? {
                Amount::Number(most @ 1..) => Ok(most as u64),
                Amount::Number(below) => Err(format!("\"{key}\" is {below}; it must be above zero")),
                Amount::Text(text) => {
                    Limits::amount(figure, &text).map_err(|why| format!("\"{key}\" is \"{text}\"; {why}"))
                }
            };
            limits = limits.with(figure, most.map_err(de::Error::custom)?);
        }
        Ok(limits)
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or a text such as \"500k\"")]
enum Amount {
    Number(i64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(figure: &str, text: &str, amount: u64) {
        assert_eq!(Limits::amount(figure, text), Ok(amount), "{text}");
    }

    #[track_caller]
    fn check_error(text: &str, why: &str) {
        assert_eq!(Limits::amount("params", text).unwrap_err(), why, "{text}");
    }

    #[test]
    fn amounts() {
        check("params", "12", 12);
        check("params", "20_000", 20_000);
        check("params", "500k", 500_000);
        check("params", "1.5 M", 1_500_000);
        check("madds", "2G", 2_000_000_000);
        check("memory", "1G", 1 << 30);
        check("memory", "1.5KiB", 1536);
        check("params", "18446744073709551615", u64::MAX);
    }

    #[test]
    fn amounts_that_are_none() {
        check_error("0", "it must be above zero");
        check_error("-1", "it must be above zero");
        check_error("0.5", "it must be above zero");
        check_error("12Q", "\"Q\" is no unit; write 500k, 2M or 1.5G");
        check_error("64MiB", "\"MiB\" is no unit; write 500k, 2M or 1.5G");
        check_error("many", "\"many\" is no unit; write 500k, 2M or 1.5G");
        check_error("", "write 500k, 2M or 1.5G");
        check_error("1.2.3k", "write 500k, 2M or 1.5G");
        check_error("99999999999T", "that is more than 64 bits hold");
        check_error("NaN", "\"NaN\" is no unit; write 500k, 2M or 1.5G");
    }

    #[test]
    fn written_and_read() {
        let limits = Limits::new().with("params", 20_000).with("madds", 1);
        let json = serde_json::to_string(&limits).unwrap();
        assert_eq!(json, r#"{"max-madds":1,"max-params":20000}"#);
        assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), limits);
    }
}
