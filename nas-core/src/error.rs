//! Everything a user can get wrong, and everything that can go wrong around a study.

use std::path::PathBuf;

use crate::architecture::Value;

/// An architecture that does not hold what is asked of it, or does not belong to a space.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// The decision is not in the architecture.
    #[error("the architecture has no decision \"{path}\"")]
    Absent {
        /// The decision's path.
        path: String,
    },
    /// The decision holds a value of another kind.
    #[error("decision \"{path}\" is \"{value}\" where {expected} is needed")]
    Kind {
        /// The decision's path.
        path: String,
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        value: String,
    },
    /// The value is no option of the decision.
    #[error("decision \"{path}\" has no option \"{value}\"; options: {options}")]
    Option {
        /// The decision's path.
        path: String,
        /// What was given.
        value: String,
        /// What may be given.
        options: String,
    },
    /// The space has no such decision, or a condition closes it.
    #[error("the space \"{space}\" has no open decision \"{path}\"{hint}")]
    Unknown {
        /// The space's name.
        space: String,
        /// The path given.
        path: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// A requirement of the space is not met.
    #[error("the architecture breaks a requirement of the space: {requirement}")]
    Requirement {
        /// The requirement in words.
        requirement: String,
    },
    /// The value is right but not written as the space writes it.
    #[error("decision \"{path}\" is written \"{value}\" and should be \"{canonical}\"")]
    Form {
        /// The decision's path.
        path: String,
        /// What was given.
        value: String,
        /// The canonical form.
        canonical: String,
    },
    /// The text gives a decision two values.
    #[error("the decision \"{path}\" is given twice")]
    Twice {
        /// The decision's path.
        path: String,
    },
    /// A walk was asked to choose an option that no architecture with the choices so far has.
    #[error("at \"{slot}\" option {option} cannot be chosen; options that can: {allowed}")]
    Masked {
        /// The slot, or what stands in its place after the last one.
        slot: String,
        /// The option's number.
        option: usize,
        /// The numbers that may be chosen.
        allowed: String,
    },
    /// There are more or fewer tokens than slots.
    #[error("there are {tokens} tokens for the space's {slots} slots")]
    Length {
        /// How many tokens there are.
        tokens: usize,
        /// How many slots the space has.
        slots: usize,
    },
    /// The token is none of its slot's.
    #[error("at \"{slot}\" there is no token {token}: {why}")]
    Token {
        /// The slot, or the decision.
        slot: String,
        /// The token.
        token: String,
        /// What the slot has, or what closes it.
        why: String,
    },
    /// No architecture that keeps to the space's limits is known ahead, or this one does not.
    #[error("the architecture breaks the limits of the space: {limits}")]
    Limits {
        /// The limits.
        limits: String,
    },
    /// The text is no architecture.
    #[error("\"{text}\" is no decision of the form path=value")]
    Syntax {
        /// The piece that could not be read.
        text: String,
    },
}

impl ArchitectureError {
    pub(crate) fn kind(path: &str, expected: &'static str, value: &Value) -> Self {
        ArchitectureError::Kind { path: path.to_owned(), expected, value: value.to_string() }
    }
}

/// A space that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// The space has no decision.
    #[error(
        "the space \"{space}\" has no decision: it needs a [[decision]] or, in a [[network]], a value such as \
         {{ choose = [8, 16] }}"
    )]
    Empty {
        /// The space's name.
        space: String,
    },
    /// Two decisions have one path.
    #[error("the decision \"{path}\" stands twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// Two options of a decision have one name.
    #[error("the option \"{option}\" of \"{path}\" stands twice")]
    DuplicateOption {
        /// The decision's path.
        path: String,
        /// The option.
        option: String,
    },
    /// A decision without options, with an empty range, or with a range that is no range.
    #[error("the decision \"{path}\" has no option: {why}")]
    NoOption {
        /// The path.
        path: String,
        /// The numbers.
        why: String,
    },
    /// A condition or requirement names something that is not there or comes later.
    #[error("\"{path}\" refers to {refers}")]
    Reference {
        /// The decision or requirement.
        path: String,
        /// What it refers to and what is wrong with that.
        refers: String,
    },
    /// More decisions or options than the limit.
    #[error("the space is too large to hold: {what} is {size}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A name with characters that paths cannot hold.
    #[error("\"{name}\" is no name: {why}")]
    Name {
        /// The name given.
        name: String,
        /// What names may hold.
        why: String,
    },
    /// No architecture meets the requirements.
    #[error("no architecture of the space \"{space}\" meets its requirement: {requirement}")]
    Impossible {
        /// The space's name.
        space: String,
        /// The requirement in words.
        requirement: String,
    },
    /// A limit on something that architectures are not known to cost.
    #[error("nothing is known of \"{figure}\", which \"max-{figure}\" limits{hint}; limits: {known}")]
    Figure {
        /// The figure.
        figure: String,
        /// A suggestion, or nothing.
        hint: String,
        /// The limits that there are.
        known: String,
    },
    /// No architecture was found that keeps to the limits.
    #[error("no architecture of the space \"{space}\" keeps to the limits; the cheapest has {figures}: {cheapest}")]
    Limits {
        /// The space's name.
        space: String,
        /// What the cheapest costs, and the limits.
        figures: String,
        /// The cheapest architecture.
        cheapest: String,
    },
    /// No architecture could be built to tell what it costs.
    #[error("no architecture of the space \"{space}\" could be built: {why}")]
    Costs {
        /// The space's name.
        space: String,
        /// What was wrong with the first.
        why: String,
    },
    /// A key or refinement that a decision of this kind does not take.
    #[error("the decision \"{path}\" is {} {kind} and takes no \"{key}\"", article(kind))]
    Key {
        /// The decision.
        path: String,
        /// Its kind.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// An error in a text, with its line and column.
    #[error("{place}{error}")]
    At {
        /// `line 3, column 5: `.
        place: String,
        /// What is wrong there.
        error: Box<SpaceError>,
    },
    /// The TOML text is no space; the message names line and column.
    #[error("{0}")]
    Toml(String),
}

impl SpaceError {
    /// The path of the decision that it is about, if it is about one.
    pub fn path(&self) -> Option<&str> {
        match self {
            SpaceError::Duplicate { path }
            | SpaceError::DuplicateOption { path, .. }
            | SpaceError::NoOption { path, .. }
            | SpaceError::Reference { path, .. }
            | SpaceError::Key { path, .. } => Some(path),
            // What is too large is a decision's when its path is named.
            SpaceError::TooLarge { what, .. } => what.split('"').nth(1),
            SpaceError::At { error, .. } => error.path(),
            _ => None,
        }
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// What can go wrong around a study.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A space that cannot be used.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// An architecture that does not fit.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// There is a study already.
    #[error("there is a study already at {path}")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// There is no study.
    #[error("there is no study at {path}")]
    NotFound {
        /// Where.
        path: PathBuf,
    },
    /// The study's file is damaged or not a study.
    #[error("the study at {path} is damaged: {why}")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Another process has the study open for writing.
    #[error("the study at {path} is in use by another process")]
    Locked {
        /// Where.
        path: PathBuf,
    },
    /// The study was made for something else: another space, objective or strategy.
    #[error("the study belongs to another {what}: it has {stored}, asked for {asked}")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What the study has.
        stored: String,
        /// What was asked for.
        asked: String,
    },
    /// A replay proposed something else than what is stored, so going on would not be the same study.
    #[error("trial {trial} cannot be replayed: stored {stored}, proposed {proposed}")]
    Replay {
        /// The trial's number.
        trial: u64,
        /// The stored architecture.
        stored: String,
        /// What the strategy proposes.
        proposed: String,
    },
    /// Reading or writing failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was done: `writing`, `opening`.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A strategy cannot go on.
    #[error("the strategy cannot go on: {0}")]
    Strategy(String),
    /// A strategy that cannot begin with what another study found.
    #[error(
        "the strategy \"{strategy}\" cannot be warm-started: it learns nothing that another study could begin with"
    )]
    Cold {
        /// Its name.
        strategy: String,
    },
    /// A study that another one cannot begin with.
    #[error("{0}")]
    WarmStart(String),
    /// A snapshot that does not fit.
    #[error(transparent)]
    Snapshot(#[from] crate::strategy::SnapshotError),
    /// A budget that is no budget.
    #[error("{0}")]
    Budget(String),
    /// A reward that cannot be computed: weights or targets that are none.
    #[error("{0}")]
    Objective(String),
    /// An evaluator that cannot evaluate anything.
    #[error("{0}")]
    Evaluator(String),
}
