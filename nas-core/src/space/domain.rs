//! The values of one decision: their numbering, their text, and the bridge between a value and its number.

use num_bigint::BigUint;

use super::description::Scale;
use crate::architecture::Value;
use crate::error::ArchitectureError;

/// Levels of a continuous number where a policy needs finitely many.
pub(super) const REAL_LEVELS: u32 = 16;

/// What an open decision can be.
#[derive(Debug)]
pub(super) enum Domain {
    Choice { options: Vec<String> },
    Integer { low: i64, step: i64, count: usize },
    Grid { levels: Vec<f64> },
    Real { low: f64, high: f64, scale: Scale, levels: Vec<f64> },
    Subset { options: Vec<String>, min: usize, max: usize },
}

/// What an open decision is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pick {
    /// The option, number or level with that index.
    Option(usize),
    /// A continuous number.
    Real(f64),
    /// The indices of a subset's members, ascending.
    Members(Vec<usize>),
}

impl Pick {
    /// The index that conditions look at; continuous numbers and subsets, which none may name, count as one.
    pub(super) fn index(&self) -> usize {
        match self {
            Pick::Option(index) => *index,
            Pick::Real(_) | Pick::Members(_) => 0,
        }
    }
}

/// Evenly spaced levels with both bounds, rounded to 9 digits so that they are short and the same on every machine.
pub(super) fn levels(low: f64, high: f64, scale: Scale, count: u32) -> Vec<f64> {
    let last = count - 1;
    let inner = |i: u32| {
        let part = f64::from(i) / f64::from(last);
        let x = match scale {
            Scale::Linear => low + (high - low) * part,
            Scale::Log => (low.ln() + (high.ln() - low.ln()) * part).exp(),
        };
        format!("{x:.8e}").parse().expect("a formatted number reads back")
    };
    (0..count)
        .map(|i| {
            if i == 0 {
                low
            } else if i == last {
                high
            } else {
                inner(i)
            }
        })
        .collect()
}

impl Domain {
    /// How many options there are to number; of a subset its possible members.
    pub(super) fn len(&self) -> usize {
        match self {
            Domain::Choice { options } | Domain::Subset { options, .. } => options.len(),
            Domain::Integer { count, .. } => *count,
            Domain::Grid { levels } | Domain::Real { levels, .. } => levels.len(),
        }
    }

    /// How many values it has; of a continuous number its levels.
    pub(super) fn count(&self) -> BigUint {
        match self {
            Domain::Subset { options, min, max } => (*min..=*max).map(|size| binomial(options.len(), size)).sum(),
            _ => self.len().into(),
        }
    }

    pub(super) fn is_continuous(&self) -> bool {
        matches!(self, Domain::Real { .. })
    }

    /// The text of option `index`.
    pub(super) fn name(&self, index: usize) -> String {
        match self {
            Domain::Subset { options, .. } => options[index].clone(),
            _ => self.value(&Pick::Option(index)).to_string(),
        }
    }

    pub(super) fn value(&self, pick: &Pick) -> Value {
        match (self, pick) {
            (Domain::Choice { options }, Pick::Option(i)) => Value::Choice(options[*i].clone()),
            (Domain::Integer { low, step, .. }, Pick::Option(i)) => Value::Integer(nth_integer(*low, *step, *i)),
            (Domain::Grid { levels } | Domain::Real { levels, .. }, Pick::Option(i)) => Value::Float(levels[*i]),
            (Domain::Real { .. }, Pick::Real(x)) => Value::Float(*x),
            (Domain::Subset { options, .. }, Pick::Members(members)) => {
                Value::Subset(members.iter().map(|&i| options[i].clone()).collect())
            }
            _ => unreachable!("a pick belongs to the domain that made it"),
        }
    }

    /// The index of a value that a condition may name.
    pub(super) fn index_of(&self, value: &Value) -> Option<usize> {
        match (self, value) {
            (Domain::Choice { options }, Value::Choice(name)) => options.iter().position(|o| o == name),
            (Domain::Integer { low, step, count }, Value::Integer(n)) => {
                let (offset, step) = (i128::from(*n) - i128::from(*low), i128::from(*step));
                usize::try_from(offset / step).ok().filter(|index| offset % step == 0 && index < count)
            }
            _ => None,
        }
    }

    /// The pick that means `value`. A subset's members may come in any order; a whole number may stand for a real one.
    pub(super) fn pick(&self, path: &str, value: &Value) -> Result<Pick, ArchitectureError> {
        let no_option = || ArchitectureError::Option {
            path: path.to_owned(),
            value: value.to_string(),
            options: self.options_text(),
        };
        match (self, value) {
            (Domain::Choice { .. }, Value::Choice(_)) | (Domain::Integer { .. }, Value::Integer(_)) => {
                self.index_of(value).map(Pick::Option).ok_or_else(no_option)
            }
            (Domain::Grid { .. } | Domain::Real { .. }, Value::Integer(n)) => self.pick(path, &Value::Float(*n as f64)),
            (Domain::Grid { levels }, Value::Float(x)) => {
                levels.iter().position(|level| level == x).map(Pick::Option).ok_or_else(no_option)
            }
            (Domain::Real { low, high, .. }, Value::Float(x)) => {
                if x >= low && x <= high {
                    Ok(Pick::Real(*x))
                } else {
                    Err(no_option())
                }
            }
            (Domain::Subset { options, min, max }, Value::Subset(names)) => {
                let mut members = Vec::with_capacity(names.len());
                for name in names {
                    members.push(options.iter().position(|o| o == name).ok_or_else(no_option)?);
                }
                members.sort_unstable();
                members.dedup();
                let fits = members.len() == names.len() && (*min..=*max).contains(&members.len());
                if fits { Ok(Pick::Members(members)) } else { Err(no_option()) }
            }
            _ => Err(ArchitectureError::kind(path, self.kind(), value)),
        }
    }

    /// The value that `text` means.
    pub(super) fn parse(&self, path: &str, text: &str) -> Result<Value, ArchitectureError> {
        let syntax = |expected| ArchitectureError::Kind { path: path.to_owned(), expected, value: text.to_owned() };
        match self {
            Domain::Choice { .. } => Ok(Value::Choice(text.to_owned())),
            Domain::Integer { .. } => text.parse().map(Value::Integer).map_err(|_| syntax(self.kind())),
            Domain::Grid { .. } | Domain::Real { .. } => match text.parse::<f64>() {
                Ok(x) if x.is_finite() => Ok(Value::Float(x)),
                _ => Err(syntax(self.kind())),
            },
            Domain::Subset { .. } => match Value::parse(text) {
                subset @ Value::Subset(_) => Ok(subset),
                _ => Err(syntax(self.kind())),
            },
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Domain::Choice { .. } => "the name of an option",
            Domain::Integer { .. } => "a whole number",
            Domain::Grid { .. } | Domain::Real { .. } => "a number",
            Domain::Subset { .. } => "a subset such as {a+b}",
        }
    }

    /// The options in words: all of them, or the rule when they are many.
    pub(super) fn options_text(&self) -> String {
        const SHOWN: usize = 24;
        let list = |names: &[String]| {
            let more = names.len().saturating_sub(SHOWN);
            let shown = names[..names.len() - more].join(", ");
            if more == 0 { shown } else { format!("{shown} and {more} more") }
        };
        match self {
            Domain::Choice { options } => list(options),
            Domain::Integer { low, step, count } if *count > SHOWN => {
                let by = if *step == 1 { String::new() } else { format!(" in steps of {step}") };
                format!("{low} to {}{by}", nth_integer(*low, *step, count - 1))
            }
            Domain::Real { low, high, .. } => format!("{low:?} to {high:?}"),
            Domain::Subset { options, min, max } => format!("{min} to {max} different ones of {}", list(options)),
            Domain::Integer { .. } | Domain::Grid { .. } => {
                list(&(0..self.len()).map(|i| self.name(i)).collect::<Vec<_>>())
            }
        }
    }

    /// The value with that number, counted from zero below [`count`](Self::count).
    pub(super) fn unrank(&self, rank: &BigUint) -> Pick {
        match self {
            Domain::Subset { options, min, max } => Pick::Members(nth_subset(options.len(), *min, *max, rank)),
            _ => Pick::Option(usize::try_from(rank).expect("a rank is below the number of options")),
        }
    }

    /// The nearest level of a continuous number, on its scale.
    pub(super) fn level(&self, pick: &Pick) -> usize {
        match (self, pick) {
            (Domain::Real { levels, scale, .. }, Pick::Real(x)) => {
                let at = |x: f64| if *scale == Scale::Log { x.ln() } else { x };
                let off = |level: f64| (at(level) - at(*x)).abs();
                (0..levels.len()).min_by(|&a, &b| off(levels[a]).total_cmp(&off(levels[b]))).expect("there are levels")
            }
            _ => pick.index(),
        }
    }

    /// The value that lies at `part` (from 0 to 1) of a continuous number's range.
    pub(super) fn real(&self, part: f64) -> Option<Pick> {
        let Domain::Real { low, high, scale, .. } = self else { return None };
        let x = match scale {
            Scale::Linear => low + (high - low) * part,
            Scale::Log => (low.ln() + (high.ln() - low.ln()) * part).exp(),
        };
        Some(Pick::Real(x.clamp(*low, *high)))
    }
}

/// Number `index` of `low`, `low + step`, …, without overflow on the way.
fn nth_integer(low: i64, step: i64, index: usize) -> i64 {
    let n = i128::from(low) + i128::from(step) * index as i128;
    i64::try_from(n).expect("every number of the range is below its upper bound")
}

/// How many subsets of `size` there are of `n`.
fn binomial(n: usize, size: usize) -> BigUint {
    let mut count = BigUint::from(1_u32);
    for i in 0..size.min(n - size) {
        count = count * (n - i) / (i + 1);
    }
    count
}

/// Subset `rank` of all those of `n` with `min` to `max` members: by size, then those with early members first.
fn nth_subset(n: usize, min: usize, max: usize, rank: &BigUint) -> Vec<usize> {
    let mut rank = rank.clone();
    let mut size = min;
    let mut count = binomial(n, size);
    while rank >= count && size < max {
        rank -= &count;
        size += 1;
        count = binomial(n, size);
    }
    let mut members = Vec::with_capacity(size);
    // `count` stays the number of ways to choose the `needed` missing members among those from `i` on.
    let mut needed = size;
    for i in 0..n {
        if needed == 0 {
            break;
        }
        let left = n - i;
        let with = &count * needed / left;
        if rank < with {
            members.push(i);
            needed -= 1;
            count = with;
        } else {
            rank -= &with;
            count -= with;
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_numbered_without_gaps() {
        for n in 1..=6_usize {
            for min in 0..=n {
                for max in min..=n {
                    let options = (0..n).map(|i| format!("o{i}")).collect();
                    let domain = Domain::Subset { options, min, max };
                    let count = u32::try_from(domain.count()).unwrap();
                    let mut seen = std::collections::BTreeSet::new();
                    for rank in 0..count {
                        let Pick::Members(members) = domain.unrank(&rank.into()) else { panic!("no subset") };
                        assert!((min..=max).contains(&members.len()) && members.is_sorted());
                        seen.insert(members);
                    }
                    let expected = (0..1_u32 << n).filter(|m| (min..=max).contains(&(m.count_ones() as usize))).count();
                    assert_eq!((count as usize, seen.len()), (expected, expected), "{n} {min} {max}");
                }
            }
        }
    }

    #[test]
    fn levels_are_short_and_keep_the_bounds() {
        assert_eq!(levels(0.0, 0.5, Scale::Linear, 6), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!(levels(1e-4, 1e-1, Scale::Log, 4), [1e-4, 1e-3, 1e-2, 1e-1]);
        assert_eq!(levels(1e-3, 1e-2, Scale::Log, 3), [1e-3, 0.00316227766, 1e-2]);
    }

    #[test]
    fn nearest_level_on_a_log_scale() {
        let domain = Domain::Real { low: 1e-4, high: 1.0, scale: Scale::Log, levels: levels(1e-4, 1.0, Scale::Log, 5) };
        assert_eq!(domain.level(&Pick::Real(0.002)), 1); // 0.001 is nearer by ratio, though 0.01 … by difference not
        assert_eq!(domain.level(&Pick::Real(0.05)), 3); // by difference 0.01 would be nearer
    }

    #[test]
    fn whole_numbers_at_the_edge_of_the_type() {
        let domain = Domain::Integer { low: i64::MIN, step: i64::MAX, count: 3 };
        assert_eq!(domain.index_of(&Value::Integer(-1)), Some(1));
        assert_eq!(domain.value(&Pick::Option(2)), Value::Integer(i64::MAX - 1));
        assert_eq!(domain.index_of(&Value::Integer(i64::MAX - 1)), Some(2)); // the difference is no i64
        assert_eq!(domain.index_of(&Value::Integer(0)), None);
    }
}
