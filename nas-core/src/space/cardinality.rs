//! The exact number of architectures of a space.

use std::fmt;

use num_bigint::BigUint;

/// How many architectures a space has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cardinality {
    /// Exactly that many.
    Finite(BigUint),
    /// Some decision is a continuous number.
    Infinite,
}

impl Cardinality {
    /// The number, if it is finite.
    pub fn finite(&self) -> Option<&BigUint> {
        match self {
            Cardinality::Finite(count) => Some(count),
            Cardinality::Infinite => None,
        }
    }

    /// The number, if it is finite and fits 64 bits.
    pub fn as_u64(&self) -> Option<u64> {
        self.finite().and_then(|count| u64::try_from(count).ok())
    }
}

/// The digits in groups, `46,656`; beyond a million the rounded power of ten too, `15,625,000 (1.6e7)`; beyond 30 digits
/// only that.
impl fmt::Display for Cardinality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cardinality::Finite(count) = self else { return f.pad("infinite") };
        let digits = count.to_string();
        if digits.len() > 30 {
            return f.pad(&rounded(&digits));
        }
        let mut text = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        if digits.len() > 7 {
            text.push_str(&format!(" ({})", rounded(&digits)));
        }
        f.pad(&text)
    }
}

/// Two digits and the power of ten.
fn rounded(digits: &str) -> String {
    let lead: u32 = digits[..3].parse().expect("three decimal digits");
    let (tenths, power) = match (lead + 5) / 10 {
        100 => (10, digits.len()),
        tenths => (tenths, digits.len() - 1),
    };
    format!("{}.{}e{power}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(digits: &str, text: &str) {
        assert_eq!(Cardinality::Finite(digits.parse().unwrap()).to_string(), text);
    }

    #[test]
    fn grouped_and_rounded() {
        check("0", "0");
        check("999", "999");
        check("46656", "46,656");
        check("1234567", "1,234,567");
        check("15625000", "15,625,000 (1.6e7)");
        check("99960000", "99,960,000 (1.0e8)");
        check("1234567890123456789012345678901", "1.2e30");
        assert_eq!(Cardinality::Infinite.to_string(), "infinite");
    }
}
