//! The state of a strategy at one moment: taken, stored anywhere, and given back to a fresh one that goes on the same.

use std::fmt;
use std::hash::Hasher as _;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::space::KeySet;
use crate::{SearchSpace, Strategy};

/// Why there is no snapshot, or why it does not fit. Whoever was to be restored is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A part of the strategy does not show its state.
    #[error("{part} keeps no snapshots")]
    Unsupported {
        /// What it is.
        part: String,
    },
    /// It is of another strategy.
    #[error("the snapshot is of the strategy \"{stored}\", not of \"{asked}\"")]
    Strategy {
        /// Whose it is.
        stored: String,
        /// Who was to be restored.
        asked: String,
    },
    /// It is of another space.
    #[error("the snapshot is of another space, {difference}")]
    Space {
        /// Where the spaces first differ.
        difference: String,
    },
    /// It is not what was stored, or of a strategy with other settings.
    #[error("the snapshot is damaged: {why}")]
    Damaged {
        /// What was found.
        why: String,
    },
}

/// All that a strategy has learned, counted and keeps in mind, with the seed of its random streams. A strategy that was built
/// in the same way and is [restored](Self::restore) makes the same proposals from there on, bit for bit. What it last
/// [said](Strategy::diagnostics) is not part of it.
///
/// It is JSON by `Display` and `FromStr`, or whatever else `serde` writes, with a checksum. Settings such as learning rates are
/// not part of it.
///
/// ```
/// use nas_core::strategy::{Evolution, Observed, Snapshot, Strategy as _};
/// use nas_core::{SearchSpace, Seed};
///
/// let space = SearchSpace::builder("s").integer("width", 1..=64).build()?;
/// let mut evolution = Evolution::new(space.clone(), Seed::new(1));
/// for number in 0..30 {
///     let Some(proposal) = evolution.propose()? else { break };
///     let (tokens, origin) = (proposal.tokens, proposal.origin);
///     let reward = Some(f64::from(tokens[0]));
///     evolution.observe(&Observed { number, tokens, reward, origin })?;
/// }
/// let text = Snapshot::of(&mut evolution)?.to_string();
///
/// let mut again = Evolution::new(space, Seed::new(0));
/// text.parse::<Snapshot>()?.restore(&mut again)?;
/// assert_eq!(evolution.propose()?, again.propose()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Snapshot {
    strategy: String,
    space: Option<SearchSpace>,
    state: Map<String, Value>,
}

/// A snapshot as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    strategy: String,
    checksum: String,
    space: Option<SearchSpace>,
    state: Map<String, Value>,
}

impl Snapshot {
    /// The state of `strategy` now. Nothing about it changes.
    ///
    /// # Errors
    /// When a part of it does not show its state.
    pub fn of(strategy: &mut dyn Strategy) -> Result<Self, SnapshotError> {
        let mut state = State::new(Map::new(), None, false);
        strategy.state(&mut state);
        let State { fields, space, error, .. } = state;
        match error {
            Some(error) => Err(error),
            None => Ok(Snapshot { strategy: strategy.name().to_owned(), space, state: fields }),
        }
    }

    /// The name of the strategy that it is of.
    pub fn strategy(&self) -> &str {
        &self.strategy
    }

    /// Brings `strategy` to this state, whatever it did before.
    ///
    /// # Errors
    /// When it is another strategy, has another space, or other settings; then it is as before.
    pub fn restore(&self, strategy: &mut dyn Strategy) -> Result<(), SnapshotError> {
        if self.strategy != strategy.name() {
            let (stored, asked) = (self.strategy.clone(), strategy.name().to_owned());
            return Err(SnapshotError::Strategy { stored, asked });
        }
        let before = Self::of(strategy)?;
        self.write(strategy).inspect_err(|_| {
            before.write(strategy).expect("a strategy takes its own state back");
        })
    }

    fn write(&self, strategy: &mut dyn Strategy) -> Result<(), SnapshotError> {
        let mut state = State::new(self.state.clone(), self.space.clone(), true);
        strategy.state(&mut state);
        state.error.map_or(Ok(()), Err)
    }

    fn checksum(strategy: &str, space: Option<&SearchSpace>, state: &Map<String, Value>) -> String {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(strategy.as_bytes());
        hasher.write(space.map(SearchSpace::to_toml).unwrap_or_default().as_bytes());
        hasher.write(Value::Object(state.clone()).to_string().as_bytes());
        format!("{:016x}", hasher.finish())
    }
}

impl From<Snapshot> for Stored {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { strategy, space, state } = snapshot;
        Stored { checksum: Snapshot::checksum(&strategy, space.as_ref(), &state), strategy, space, state }
    }
}

impl TryFrom<Stored> for Snapshot {
    type Error = SnapshotError;

    fn try_from(stored: Stored) -> Result<Self, SnapshotError> {
        let Stored { strategy, checksum, space, state } = stored;
        let found = Snapshot::checksum(&strategy, space.as_ref(), &state);
        if found == checksum {
            return Ok(Snapshot { strategy, space, state });
        }
        Err(SnapshotError::Damaged { why: format!("its checksum is {found} and should be {checksum}") })
    }
}

/// The snapshot as JSON, from which it is parsed.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        serde_json::from_str(text).map_err(|e| SnapshotError::Damaged { why: e.to_string() })
    }
}

/// A walk over all that a strategy knows, either to read it or to write it: every part names each of its fields once, for
/// both. After the first mistake nothing more is written.
///
/// ```
/// use nas_core::strategy::State;
///
/// struct Counter {
///     seen: Vec<u64>,
///     best: Option<f64>,
/// }
///
/// impl Counter {
///     fn state(&mut self, state: &mut State) {
///         state.field("seen", &mut self.seen);
///         state.field("best", &mut self.best);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct State {
    fields: Map<String, Value>,
    space: Option<SearchSpace>,
    restoring: bool,
    error: Option<SnapshotError>,
}

impl State {
    fn new(fields: Map<String, Value>, space: Option<SearchSpace>, restoring: bool) -> Self {
        State { fields, space, restoring, error: None }
    }

    /// Whether fields are being written; otherwise they are read.
    pub fn is_restoring(&self) -> bool {
        self.restoring
    }

    /// A field with finite numbers.
    pub fn field<T: Serialize + DeserializeOwned>(&mut self, name: &'static str, field: &mut T) {
        if self.error.is_some() {
            return;
        }
        if !self.restoring {
            match serde_json::to_value(field) {
                Ok(value) => drop(self.fields.insert(name.to_owned(), value)),
                Err(e) => self.fail(format!("\"{name}\" cannot be written: {e}")),
            }
            return;
        }
        match self.fields.remove(name).map(serde_json::from_value) {
            Some(Ok(value)) => *field = value,
            Some(Err(e)) => self.fail(format!("\"{name}\" cannot be read: {e}")),
            None => self.fail(format!("it has no \"{name}\"")),
        }
    }

    /// A field with as many numbers as the settings say.
    pub fn fixed<T: Serialize + DeserializeOwned>(&mut self, name: &'static str, field: &mut Vec<T>) {
        let expected = field.len();
        let mut stored = Vec::new();
        if !self.restoring {
            return self.field(name, field);
        }
        self.field(name, &mut stored);
        if self.error.is_none() && stored.len() != expected {
            self.fail(format!("\"{name}\" has {} numbers and the strategy {expected}", stored.len()));
        }
        if self.error.is_none() {
            *field = stored;
        }
    }

    /// A field with numbers that need not be finite, such as the rewards of failures.
    pub fn bits(&mut self, name: &'static str, field: &mut Vec<f64>) {
        let mut bits: Vec<u64> = field.iter().map(|x| x.to_bits()).collect();
        self.field(name, &mut bits);
        if self.writes() {
            *field = bits.into_iter().map(f64::from_bits).collect();
        }
    }

    /// A field with keys of architectures.
    pub fn keys(&mut self, name: &'static str, field: &mut KeySet) {
        let mut halves: Vec<[u64; 2]> = field.iter().map(|&key| [(key >> 64) as u64, key as u64]).collect();
        halves.sort_unstable();
        self.field(name, &mut halves);
        if self.writes() {
            *field = halves.into_iter().map(|[high, low]| (u128::from(high) << 64) | u128::from(low)).collect();
        }
    }

    /// The fields of a part, under a name of their own.
    pub fn part(&mut self, name: &'static str, walk: impl FnOnce(&mut State)) {
        let mut inner = Map::new();
        if self.restoring {
            self.field(name, &mut inner);
        }
        std::mem::swap(&mut inner, &mut self.fields);
        walk(self);
        std::mem::swap(&mut inner, &mut self.fields);
        if !self.restoring {
            self.field(name, &mut inner);
        }
    }

    /// The space that everything is of.
    pub fn space(&mut self, space: &SearchSpace) {
        match &self.space {
            Some(stored) => {
                if let Some(difference) = space.difference(stored) {
                    self.error.get_or_insert(SnapshotError::Space { difference });
                }
            }
            None if self.restoring => self.fail("it has no space".to_owned()),
            None => self.space = Some(space.clone()),
        }
    }

    /// Says that a part does not show its state.
    pub fn unsupported(&mut self, part: &str) {
        self.error.get_or_insert(SnapshotError::Unsupported { part: part.to_owned() });
    }

    /// Says what is wrong with a field that was read.
    pub fn fail(&mut self, why: String) {
        self.error.get_or_insert(SnapshotError::Damaged { why });
    }

    /// Whether what was read is to be kept.
    pub fn writes(&self) -> bool {
        self.restoring && self.error.is_none()
    }
}

/// A number that need not be finite, written as its bits: `#[serde(with = "nas_core::strategy::bits")]`.
pub mod bits {
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes the bits.
    ///
    /// # Errors
    /// What the serializer says.
    pub fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(x.to_bits())
    }

    /// Reads the bits.
    ///
    /// # Errors
    /// What the deserializer says.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::testing::run;
    use crate::strategy::{Evolution, RandomSearch};
    use crate::{Error, Observed, Proposal, Seed};

    /// Keeps nothing.
    struct Forgetful;

    impl Strategy for Forgetful {
        fn name(&self) -> &'static str {
            "forgetful"
        }

        fn propose(&mut self) -> Result<Option<Proposal>, Error> {
            Ok(None)
        }

        fn observe(&mut self, _: &Observed) -> Result<(), Error> {
            Ok(())
        }
    }

    fn space() -> SearchSpace {
        SearchSpace::builder("s").choice("a", ["x", "y", "z"]).integer("n", 1..=40).build().unwrap()
    }

    #[test]
    fn who_keeps_none_says_so() {
        let error = Snapshot::of(&mut Forgetful).unwrap_err();
        assert_eq!(error.to_string(), "the strategy \"forgetful\" keeps no snapshots");
    }

    #[test]
    fn failures_and_all_else_come_back_as_they_were() {
        let mut search = Evolution::new(space(), Seed::new(7));
        run(&mut search, &space(), 45, 4, |text| (!text.contains('x')).then_some(text.len() as f64));
        let snapshot = Snapshot::of(&mut search).unwrap();
        let text = snapshot.to_string();
        assert_eq!(text.parse::<Snapshot>().unwrap(), snapshot);
        let mut again = Evolution::new(space(), Seed::new(0));
        snapshot.restore(&mut again).unwrap();
        assert_eq!(Snapshot::of(&mut again).unwrap(), snapshot);
        assert_eq!(search.diagnostics(), again.diagnostics());
    }

    #[test]
    fn fields_of_another_kind_are_refused() {
        let mut random = RandomSearch::new(space(), Seed::new(7));
        let mut snapshot = Snapshot::of(&mut random).unwrap();
        snapshot.state.insert("proposed".to_owned(), Value::from("many"));
        let error = snapshot.restore(&mut random).unwrap_err().to_string();
        assert!(error.starts_with("the snapshot is damaged: \"proposed\" cannot be read: "), "{error}");
        snapshot.state.remove("seed");
        let error = snapshot.restore(&mut random).unwrap_err().to_string();
        assert_eq!(error, "the snapshot is damaged: it has no \"seed\"");
    }

    #[test]
    fn fixed_fields_keep_their_length() {
        let mut state = State::new(Map::new(), None, false);
        state.fixed("weights", &mut vec![1.0, 2.0]);
        let mut state = State::new(state.fields, None, true);
        let mut weights = vec![0.0; 3];
        state.fixed("weights", &mut weights);
        assert_eq!(weights, [0.0; 3]);
        let said = state.error.unwrap().to_string();
        assert_eq!(said, "the snapshot is damaged: \"weights\" has 2 numbers and the strategy 3");
    }
}
