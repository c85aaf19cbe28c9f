//! The values of one decision: their numbering, their text, and the bridge between a value and its number.

use num_bigint::BigUint;

use super::description::Scale;
use crate::architecture::Value;
use crate::error::ArchitectureError;

/// Levels of a continuous number where finitely many are needed, and bins that a policy tells apart.
pub(super) const REAL_LEVELS: u32 = 16;
/// Equal steps of a continuous number's scale: a multiple of 15 and of 16, so that levels and bins begin on steps, and
/// few enough that their places leave a number of 16 bits over for closed slots.
pub(super) const REAL_STEPS: usize = 65_520;
pub(super) const STEPS_PER_LEVEL: usize = REAL_STEPS / (REAL_LEVELS as usize - 1);
const STEPS_PER_BIN: usize = REAL_STEPS / REAL_LEVELS as usize;

/// What an open decision can be.
#[derive(Debug)]
pub(super) enum Domain {
    Choice { options: Vec<String> },
    Integer { low: i64, step: i64, count: usize },
    Grid { levels: Vec<f64> },
    Real(Range),
    Subset { options: Vec<String>, min: usize, max: usize },
}

/// What an open decision is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pick {
    /// The option, number or level with that index; of a continuous number its place in steps.
    Option(usize),
    /// A continuous number, which may lie between two steps.
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
        nine_digits(x)
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

fn nine_digits(x: f64) -> f64 {
    format!("{x:.8e}").parse().expect("a formatted number reads back")
}

/// The numbers between two bounds, reached by [`REAL_STEPS`] equal steps of a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    low: f64,
    high: f64,
    scale: Scale,
    /// Whether neighbouring steps still differ when rounded to 9 digits. Otherwise the range is narrow.
    short: bool,
}

impl Range {
    pub(super) fn new(low: f64, high: f64, scale: Scale) -> Self {
        let step = match scale {
            Scale::Linear => (high - low) / low.abs().max(high.abs()),
            Scale::Log => high.ln() - low.ln(),
        };
        Range { low, high, scale, short: step / REAL_STEPS as f64 > 2e-8 }
    }

    /// The number `place` steps above the lower bound; rounded to 9 digits, like levels, where that keeps steps apart.
    fn value(&self, place: usize) -> f64 {
        let Range { low, high, scale, short } = *self;
        if place == 0 || place >= REAL_STEPS {
            return if place == 0 { low } else { high };
        }
        let part = place as f64 / REAL_STEPS as f64;
        match scale {
            Scale::Linear if short => nine_digits(low + (high - low) * part),
            Scale::Log if short => nine_digits((low.ln() + (high.ln() - low.ln()) * part).exp()),
            Scale::Linear => (low + (high - low) * part).clamp(low, high),
            // The logarithms of near bounds would cancel.
            Scale::Log => (low * ((high / low).ln() * part).exp()).clamp(low, high),
        }
    }

    /// The nearest place.
    fn place(&self, x: f64) -> usize {
        let Range { low, high, scale, short } = *self;
        let part = match scale {
            Scale::Linear => (x - low) / (high - low),
            Scale::Log if short => (x.ln() - low.ln()) / (high.ln() - low.ln()),
            Scale::Log => (x / low).ln() / (high / low).ln(),
        };
        (part.clamp(0.0, 1.0) * REAL_STEPS as f64).round() as usize
    }
}

impl Domain {
    /// How many options there are to number; of a subset its possible members.
    pub(super) fn len(&self) -> usize {
        match self {
            Domain::Choice { options } | Domain::Subset { options, .. } => options.len(),
            Domain::Integer { count, .. } => *count,
            Domain::Grid { levels } => levels.len(),
            Domain::Real(_) => REAL_LEVELS as usize,
        }
    }

    /// How many values it has; of a continuous number its levels.
    pub(super) fn count(&self) -> BigUint {
        match self {
            Domain::Subset { .. } => self.sizes().into_iter().flatten().sum(),
            _ => self.len().into(),
        }
    }

    /// Of a subset, how many there are of each size, from the smallest.
    pub(super) fn sizes(&self) -> Option<Vec<BigUint>> {
        match self {
            Domain::Subset { options, min, max } => {
                Some((*min..=*max).map(|size| binomial(options.len(), size)).collect())
            }
            _ => None,
        }
    }

    pub(super) fn is_continuous(&self) -> bool {
        matches!(self, Domain::Real(_))
    }

    /// The text of option `index`; of a continuous number its bin.
    pub(super) fn name(&self, index: usize) -> String {
        match self {
            Domain::Subset { options, .. } => options[index].clone(),
            Domain::Real(range) => {
                let short = |bin: usize| format!("{:.2e}", range.value(bin * STEPS_PER_BIN)).parse::<f64>();
                let [low, high] = [index, index + 1].map(|bin| short(bin).expect("a formatted number reads back"));
                format!("{low:?}..{high:?}")
            }
            _ => self.value(&Pick::Option(index)).to_string(),
        }
    }

    pub(super) fn value(&self, pick: &Pick) -> Value {
        match (self, pick) {
            (Domain::Choice { options }, Pick::Option(i)) => Value::Choice(options[*i].clone()),
            (Domain::Integer { low, step, .. }, Pick::Option(i)) => Value::Integer(nth_integer(*low, *step, *i)),
            (Domain::Grid { levels }, Pick::Option(i)) => Value::Float(levels[*i]),
            (Domain::Real(range), Pick::Option(place)) => Value::Float(range.value(*place)),
            (Domain::Real(_), Pick::Real(x)) => Value::Float(*x),
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
            (Domain::Grid { .. } | Domain::Real(_), Value::Integer(n)) => self.pick(path, &Value::Float(*n as f64)),
            (Domain::Grid { levels }, Value::Float(x)) => {
                levels.iter().position(|level| level == x).map(Pick::Option).ok_or_else(no_option)
            }
            (Domain::Real(Range { low, high, .. }), Value::Float(x)) => {
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
            Domain::Grid { .. } | Domain::Real(_) => match text.parse::<f64>() {
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
            Domain::Grid { .. } | Domain::Real(_) => "a number",
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
            Domain::Real(Range { low, high, .. }) => format!("{low:?} to {high:?}"),
            Domain::Subset { options, min, max } => format!("{min} to {max} different ones of {}", list(options)),
            Domain::Integer { .. } | Domain::Grid { .. } => {
                list(&(0..self.len()).map(|i| self.name(i)).collect::<Vec<_>>())
            }
        }
    }

    /// The value with that number, counted from zero below [`count`](Self::count).
    pub(super) fn unrank(&self, rank: &BigUint) -> Pick {
        let index = || usize::try_from(rank).expect("a rank is below the number of options");
        match self {
            Domain::Subset { options, min, max } => Pick::Members(nth_subset(options.len(), *min, *max, rank)),
            Domain::Real(_) => Pick::Option(index() * STEPS_PER_LEVEL),
            _ => Pick::Option(index()),
        }
    }

    /// How many tokens a slot of this domain has.
    pub(super) fn tokens(&self) -> usize {
        match self {
            Domain::Subset { .. } => 2,
            Domain::Real(_) => REAL_STEPS + 1,
            _ => self.len(),
        }
    }

    /// The token of what was picked; of a subset's slot, whether `member` is in.
    pub(super) fn token(&self, pick: &Pick, member: Option<usize>) -> u16 {
        let token = match (self, pick) {
            (_, Pick::Members(members)) => usize::from(member.is_some_and(|member| members.contains(&member))),
            (Domain::Real(range), Pick::Real(x)) => range.place(*x),
            _ => pick.index(),
        };
        u16::try_from(token).expect("a slot has fewer tokens than a word has values")
    }

    /// The option that a token belongs to: of a continuous number its bin.
    pub(super) fn option(&self, token: u16) -> usize {
        match self {
            Domain::Real(_) => (usize::from(token) / STEPS_PER_BIN).min(REAL_LEVELS as usize - 1),
            _ => token.into(),
        }
    }

    /// The tokens of an option: one, or those of a bin.
    pub(super) fn within(&self, option: usize) -> std::ops::Range<u16> {
        let token = |at: usize| u16::try_from(at).expect("a slot has fewer tokens than a word has values");
        match self {
            Domain::Real(_) => {
                let last = usize::from(option + 1 == REAL_LEVELS as usize);
                token(option * STEPS_PER_BIN)..token((option + 1) * STEPS_PER_BIN + last)
            }
            _ => token(option)..token(option + 1),
        }
    }

    /// The values that stand for all of it: every option, of a continuous number its levels.
    pub(super) fn representatives(&self) -> impl Iterator<Item = usize> {
        let step = if self.is_continuous() { STEPS_PER_LEVEL } else { 1 };
        (0..self.len()).map(move |i| i * step)
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
    fn places_bins_and_levels_of_a_log_scale() {
        let domain = Domain::Real(Range::new(1e-4, 1.0, Scale::Log));
        let token = |x: f64| domain.token(&Pick::Real(x), None);
        assert_eq!([1e-4, 1e-3, 1e-2, 1.0].map(token), [0, 16_380, 32_760, 65_520]);
        assert_eq!(domain.value(&Pick::Option(16_380)), Value::Float(1e-3));
        assert_eq!([0, 4_094, 4_095, 61_425, 65_520].map(|token| domain.option(token)), [0, 0, 1, 15, 15]);
        assert_eq!((domain.within(0), domain.within(15)), (0..4_095, 61_425..65_521));
        assert_eq!(domain.name(8), "0.01..0.0178");
        assert_eq!(domain.unrank(&3_u32.into()), Pick::Option(3 * 4_368));
    }

    #[test]
    fn every_place_has_a_value_of_its_own() {
        let narrow = 1.0 + 2e-7;
        for (low, high, scale) in [
            (0.0, 1.5, Scale::Linear),
            (-3.0, 1e9, Scale::Linear),
            (1.0, narrow, Scale::Linear),
            (1e300, 1.1e300, Scale::Log),
            (1e-300, 1e300, Scale::Log),
            (1.0, narrow, Scale::Log),
        ] {
            let domain = Domain::Real(Range::new(low, high, scale));
            for place in (0..=REAL_STEPS).step_by(7) {
                let Value::Float(x) = domain.value(&Pick::Option(place)) else { panic!("no number") };
                assert!((low..=high).contains(&x));
                assert_eq!(usize::from(domain.token(&Pick::Real(x), None)), place, "{x:?} of {low:?} to {high:?}");
            }
        }
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
