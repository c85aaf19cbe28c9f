//! One column of a table, as few bytes as hold its published decimals exactly.

use serde::{Deserialize, Serialize};

/// The most decimals that are stored as whole numbers.
const MAX_DECIMALS: u32 = 9;

/// The largest whole number behind a value: every difference of two is an `f64`.
const MAX_WHOLE: f64 = (1_u64 << 52) as f64;

/// The largest denominator that is tried for averages.
const MAX_DENOMINATOR: u32 = 2000;

/// How the codes of a column become values. A code of all ones is a value that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Encoding {
    /// `(offset + step · code) / 10^decimals`.
    Decimal { decimals: u32, offset: i64, step: i64 },
    /// `code / denominator`, rounded to `decimals`: averages over a few runs, which were published rounded.
    Fraction { decimals: u32, denominator: u32 },
    /// The value itself; a missing one is NaN.
    Float,
}

/// The stored numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Codes {
    Short(Vec<u16>),
    Long(Vec<u32>),
    Float(Vec<f64>),
}

/// Values in their stored form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) encoding: Encoding,
    pub(super) codes: Codes,
}

impl Encoding {
    /// What is wrong with it, if it was read from a file that is not to be trusted.
    pub(super) fn mistake(&self) -> Option<String> {
        let bound = 1_i64 << 53;
        match *self {
            Encoding::Decimal { decimals, .. } | Encoding::Fraction { decimals, .. } if decimals > MAX_DECIMALS => {
                Some(format!("{decimals} decimals, at most {MAX_DECIMALS} can be"))
            }
            Encoding::Decimal { offset, step, .. }
                if offset.unsigned_abs() > bound.unsigned_abs() || !(1..=bound).contains(&step) =>
            {
                Some(format!("offset {offset} and step {step} are out of range"))
            }
            Encoding::Fraction { denominator: 0, .. } => Some("the denominator is zero".to_owned()),
            _ => None,
        }
    }

    /// The value of `code`.
    fn value(&self, code: u32) -> f64 {
        match *self {
            Encoding::Decimal { decimals, offset, step } => {
                let whole = i128::from(offset) + i128::from(step) * i128::from(code);
                whole as f64 / scale(decimals)
            }
            Encoding::Fraction { decimals, denominator } => {
                let (numerator, denominator) = (u64::from(code) * 10_u64.pow(decimals), u64::from(denominator));
                ((2 * numerator + denominator) / (2 * denominator)) as f64 / scale(decimals)
            }
            Encoding::Float => f64::NAN,
        }
    }
}

impl Column {
    /// The smallest form that gives every value back as it is. NaN means missing.
    pub(super) fn encode(values: &[f64]) -> Column {
        let Some((decimals, wholes)) = wholes(values) else {
            return Column { encoding: Encoding::Float, codes: Codes::Float(values.to_vec()) };
        };
        let known = || wholes.iter().flatten().copied();
        let (low, high) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
        let step = known().fold(0, |step, whole| gcd(step, whole.abs_diff(low))).max(1) as i64;
        let last = low.abs_diff(high) / step.unsigned_abs();
        let decimal = Encoding::Decimal { decimals, offset: low, step };
        if last < u64::from(u16::MAX) {
            let code = |whole: i64| (whole.abs_diff(low) / step.unsigned_abs()) as u16;
            let codes = wholes.iter().map(|whole| whole.map_or(u16::MAX, code)).collect();
            return Column { encoding: decimal, codes: Codes::Short(codes) };
        }
        if let Some(column) = fraction(values, &wholes, decimals) {
            return column;
        }
        if last < u64::from(u32::MAX) {
            let code = |whole: i64| (whole.abs_diff(low) / step.unsigned_abs()) as u32;
            let codes = wholes.iter().map(|whole| whole.map_or(u32::MAX, code)).collect();
            return Column { encoding: decimal, codes: Codes::Long(codes) };
        }
        Column { encoding: Encoding::Float, codes: Codes::Float(values.to_vec()) }
    }

    /// All values; NaN where one is missing.
    pub(super) fn decode(&self) -> Vec<f64> {
        let value = |code: u32, missing: bool| if missing { f64::NAN } else { self.encoding.value(code) };
        match &self.codes {
            Codes::Short(codes) => codes.iter().map(|&code| value(code.into(), code == u16::MAX)).collect(),
            Codes::Long(codes) => codes.iter().map(|&code| value(code, code == u32::MAX)).collect(),
            Codes::Float(values) => values.clone(),
        }
    }

    /// The same column with row `order[i]` at place `i`.
    pub(super) fn reorder(&self, order: &[usize]) -> Column {
        let codes = match &self.codes {
            Codes::Short(codes) => Codes::Short(order.iter().map(|&i| codes[i]).collect()),
            Codes::Long(codes) => Codes::Long(order.iter().map(|&i| codes[i]).collect()),
            Codes::Float(values) => Codes::Float(order.iter().map(|&i| values[i]).collect()),
        };
        Column { encoding: self.encoding, codes }
    }
}

fn scale(decimals: u32) -> f64 {
    10_u64.pow(decimals) as f64
}

/// The fewest decimals that write every value exactly, and the values as whole numbers of the last one.
fn wholes(values: &[f64]) -> Option<(u32, Vec<Option<i64>>)> {
    (0..=MAX_DECIMALS).find_map(|decimals| {
        let scale = scale(decimals);
        let whole = |&value: &f64| {
            if value.is_nan() {
                return Some(None);
            }
            let whole = (value * scale).round();
            // A whole number over a power of ten is the very number that the decimal text means, and no negative zero.
            let same = (whole / scale).to_bits() == (value + 0.0).to_bits();
            (same && whole.abs() <= MAX_WHOLE).then_some(Some(whole as i64))
        };
        values.iter().map(whole).collect::<Option<Vec<_>>>().map(|wholes| (decimals, wholes))
    })
}

/// The column as short multiples of one fraction, if it is averages of that kind.
fn fraction(values: &[f64], wholes: &[Option<i64>], decimals: u32) -> Option<Column> {
    let high = wholes.iter().flatten().max()?;
    if wholes.iter().flatten().any(|&whole| whole < 0) {
        return None;
    }
    let fits = |denominator: &u32| (*high as f64) * f64::from(*denominator) < scale(decimals) * f64::from(u16::MAX - 1);
    (1..=MAX_DENOMINATOR).take_while(fits).find_map(|denominator| {
        let encoding = Encoding::Fraction { decimals, denominator };
        let code = |&value: &f64| {
            if value.is_nan() {
                return Some(u16::MAX);
            }
            let code = (value * f64::from(denominator)).round() as u16;
            (encoding.value(code.into()) == value).then_some(code)
        };
        let codes = values.iter().map(code).collect::<Option<Vec<u16>>>()?;
        Some(Column { encoding, codes: Codes::Short(codes) })
    })
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(values: &[f64], encoding: Encoding) {
        let column = Column::encode(values);
        assert_eq!(column.encoding, encoding);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&column.decode()), bits(values));
    }

    #[test]
    fn decimals_with_a_step() {
        check(&[73_306.0, 101_306.0, 316_346.0], Encoding::Decimal { decimals: 0, offset: 73_306, step: 1120 });
        check(&[0.25, 0.5, f64::NAN, 0.75], Encoding::Decimal { decimals: 2, offset: 25, step: 25 });
        check(&[-1.5], Encoding::Decimal { decimals: 1, offset: -15, step: 1 });
        check(&[], Encoding::Decimal { decimals: 0, offset: 0, step: 1 });
    }

    #[test]
    fn averages_over_three_runs_of_ten_thousand_images() {
        // Thirds of 0.01 over the whole range, rounded to four decimals: too many steps of 0.0001 for two bytes.
        let values: Vec<f64> = (0..30_000).map(|third| (f64::from(third) / 300.0 * 1e4).round() / 1e4).collect();
        check(&values, Encoding::Fraction { decimals: 4, denominator: 300 });
    }

    #[test]
    fn four_bytes_where_two_do_not_do() {
        let values = [0.0, 0.000_01, 90.123_47];
        check(&values, Encoding::Decimal { decimals: 5, offset: 0, step: 1 });
        assert!(matches!(Column::encode(&values).codes, Codes::Long(_)));
    }

    #[test]
    fn what_no_decimal_writes_is_kept_whole() {
        check(&[std::f64::consts::PI, -0.0, f64::INFINITY, 1e300], Encoding::Float);
    }

    #[test]
    fn encodings_from_outside_are_held_to_their_bounds() {
        let decimal = |decimals, offset, step| Encoding::Decimal { decimals, offset, step }.mistake();
        assert!(decimal(4, 0, 1).is_none() && decimal(10, 0, 1).is_some());
        assert!(
            decimal(4, i64::MAX, 1).is_some() && decimal(4, i64::MIN + 1, 1).is_some() && decimal(4, 0, 0).is_some()
        );
        assert!(Encoding::Fraction { decimals: 4, denominator: 0 }.mistake().is_some());
        // The largest of everything still computes.
        let most = Encoding::Decimal { decimals: 9, offset: 1 << 53, step: 1 << 53 };
        assert!(most.mistake().is_none() && most.value(u32::MAX).is_finite());
        let most = Encoding::Fraction { decimals: 9, denominator: u32::MAX };
        assert!(most.mistake().is_none() && most.value(u32::MAX).is_finite());
    }

    proptest! {
        #[test]
        fn every_value_comes_back(values in proptest::collection::vec(
            prop_oneof![
                3 => (0..4_u32, -2_000_000..2_000_000_i32).prop_map(|(d, n)| f64::from(n) / scale(d)),
                1 => any::<f64>(),
                1 => Just(f64::NAN),
            ],
            0..40,
        )) {
            for (value, back) in values.iter().zip(Column::encode(&values).decode()) {
                prop_assert!(value.to_bits() == back.to_bits() || value.is_nan() && back.is_nan());
            }
        }
    }
}
