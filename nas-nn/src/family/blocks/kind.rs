//! The kinds of layers that a network of blocks is made of, and the keys that each takes.

use crate::op::Activation;

/// What the value of a key may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wants {
    /// A whole number of features: 1 to [`WIDEST`].
    Width,
    /// A whole number of pixels, steps, groups or heads: 1 to [`MOST`].
    Count,
    /// A share of values: from 0 to below 1.
    Rate,
    /// One of these names.
    Name(&'static [&'static str]),
    /// An activation by its name.
    Activation,
    /// `true` or `false`; as an option of a decision `on` or `off`.
    Flag,
    /// How often a block is there: 0 to [`MOST`].
    Times,
}

/// The most features of a value.
pub(super) const WIDEST: i64 = 4096;
/// The most of what is counted.
pub(super) const MOST: i64 = 256;

/// A key of a kind.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) wants: Wants,
    /// What stands there when the file says nothing; none: the key is needed, or has a meaning of its own when it is left out.
    pub(super) default: Option<&'static str>,
    pub(super) needed: bool,
}

const fn needs(name: &'static str, wants: Wants) -> Key {
    Key { name, wants, default: None, needed: true }
}

const fn takes(name: &'static str, wants: Wants, default: &'static str) -> Key {
    Key { name, wants, default: Some(default), needed: false }
}

const fn may(name: &'static str, wants: Wants) -> Key {
    Key { name, wants, default: None, needed: false }
}

/// A kind of layer.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) keys: &'static [Key],
}

const PADDINGS: Wants = Wants::Name(&["same", "valid"]);
/// Norms of a `norm` block.
pub(super) const NORMS: &[&str] = &["batch", "layer", "rms", "group"];
const NORM_AFTER: Key = takes("norm", Wants::Name(&["none", "batch", "layer", "rms"]), "none");
const ACTIVATION_AFTER: Key = may("activation", Wants::Activation);
const POOL: &[Key] =
    &[takes("kernel", Wants::Count, "2"), may("stride", Wants::Count), takes("padding", PADDINGS, "valid")];

/// All kinds, in the order in which documents name them.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "conv",
        keys: &[
            needs("width", Wants::Width),
            takes("kernel", Wants::Count, "3"),
            takes("stride", Wants::Count, "1"),
            takes("groups", Wants::Count, "1"),
            takes("padding", PADDINGS, "same"),
            NORM_AFTER,
            ACTIVATION_AFTER,
        ],
    },
    Kind { name: "max_pool", keys: POOL },
    Kind { name: "avg_pool", keys: POOL },
    Kind { name: "global_pool", keys: &[] },
    Kind { name: "flatten", keys: &[] },
    Kind { name: "tokens", keys: &[] },
    Kind { name: "linear", keys: &[needs("width", Wants::Width), NORM_AFTER, ACTIVATION_AFTER] },
    Kind { name: "lstm", keys: &[needs("width", Wants::Width)] },
    Kind { name: "gru", keys: &[needs("width", Wants::Width)] },
    Kind { name: "attention", keys: &[takes("heads", Wants::Count, "1")] },
    Kind { name: "embedding", keys: &[needs("width", Wants::Width)] },
    Kind { name: "positions", keys: &[] },
    Kind { name: "norm", keys: &[may("kind", Wants::Name(NORMS)), takes("groups", Wants::Count, "8")] },
    Kind { name: "activation", keys: &[takes("kind", Wants::Activation, "relu")] },
    Kind { name: "dropout", keys: &[takes("rate", Wants::Rate, "0.1")] },
    Kind { name: "identity", keys: &[] },
    Kind { name: "head", keys: &[takes("pool", Wants::Name(&["mean", "flatten"]), "mean")] },
];

/// A number or name as a block is built with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Setting {
    /// A whole number.
    Number(i64),
    /// A real number.
    Real(f64),
    /// A name.
    Name(String),
}

impl Setting {
    /// The setting that `option` stands for: `x8` is 8, where no number can be an option's name.
    pub(super) fn of_option(option: &str) -> Setting {
        let digits = option.strip_prefix('x').unwrap_or(option);
        if let Ok(n) = digits.parse() {
            return Setting::Number(n);
        }
        match digits.parse::<f64>() {
            Ok(x) if x.is_finite() => Setting::Real(x),
            _ => Setting::Name(option.to_owned()),
        }
    }

    /// The whole number; none if it is something else.
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Setting::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// The number, whole or not.
    pub(super) fn real(&self) -> Option<f64> {
        match self {
            Setting::Number(n) => Some(*n as f64),
            Setting::Real(x) => Some(*x),
            Setting::Name(_) => None,
        }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Setting::Number(n) => write!(f, "{n}"),
            Setting::Real(x) => write!(f, "{x:?}"),
            Setting::Name(name) => write!(f, "\"{name}\""),
        }
    }
}

impl Wants {
    /// Whether `setting` is one of these.
    pub(super) fn admits(self, setting: &Setting) -> bool {
        match (self, setting) {
            (Wants::Width, Setting::Number(n)) => (1..=WIDEST).contains(n),
            (Wants::Count, Setting::Number(n)) => (1..=MOST).contains(n),
            (Wants::Times, Setting::Number(n)) => (0..=MOST).contains(n),
            (Wants::Rate, setting) => setting.real().is_some_and(|x| (0.0..1.0).contains(&x)),
            (Wants::Name(names), Setting::Name(name)) => names.contains(&name.as_str()),
            (Wants::Activation, Setting::Name(name)) => name.parse::<Activation>().is_ok(),
            (Wants::Flag, Setting::Name(name)) => name == "on" || name == "off",
            _ => false,
        }
    }

    /// What it may be, in words.
    pub(super) fn describe(self) -> String {
        match self {
            Wants::Width => format!("a whole number from 1 to {WIDEST}"),
            Wants::Count => format!("a whole number from 1 to {MOST}"),
            Wants::Times => format!("a whole number from 0 to {MOST}"),
            Wants::Rate => "a number from 0 to below 1".to_owned(),
            Wants::Name(names) => format!("one of {}", names.join(", ")),
            Wants::Activation => {
                let names: Vec<&str> = Activation::ALL.iter().map(|activation| activation.name()).collect();
                format!("one of {}", names.join(", "))
            }
            Wants::Flag => "true or false".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_admitted() {
        for kind in KINDS {
            for key in kind.keys {
                let default = key.default.map(Setting::of_option);
                assert!(default.as_ref().is_none_or(|default| key.wants.admits(default)), "{}.{}", kind.name, key.name);
            }
        }
    }

    #[test]
    fn options_that_stand_for_numbers() {
        assert_eq!(Setting::of_option("x8"), Setting::Number(8));
        assert_eq!(Setting::of_option("12"), Setting::Number(12));
        assert_eq!(Setting::of_option("x0.5"), Setting::Real(0.5));
        assert_eq!(Setting::of_option("same"), Setting::Name("same".to_owned()));
        assert_eq!(Setting::of_option("xnan"), Setting::Name("xnan".to_owned()));
    }
}
