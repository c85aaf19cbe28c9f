//! Means, spreads and the plain verdict on two groups of figures.

/// A mean and a sample standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) n: usize,
    pub(crate) mean: f64,
    /// Zero for a single figure.
    pub(crate) sd: f64,
}

impl Summary {
    /// Of `figures`; nothing when there are none.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let n = figures.len();
        if n == 0 {
            return None;
        }
        let mean = figures.iter().sum::<f64>() / n as f64;
        let squares: f64 = figures.iter().map(|x| (x - mean).powi(2)).sum();
        let sd = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
        Some(Summary { n, mean, sd })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.n == 1 { write!(f, "{:.4}", self.mean) } else { write!(f, "{:.4} ± {:.4}", self.mean, self.sd) }
    }
}

/// The difference of two means with the half width of its 95 % interval (Welch, 1947).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Difference {
    pub(crate) mean: f64,
    pub(crate) half_width: f64,
}

impl Difference {
    /// `a` minus `b`; nothing when one of them has fewer than two figures.
    pub(crate) fn of(a: &Summary, b: &Summary) -> Option<Self> {
        if a.n < 2 || b.n < 2 {
            return None;
        }
        let (va, vb) = (a.sd.powi(2) / a.n as f64, b.sd.powi(2) / b.n as f64);
        let spread = va + vb;
        let freedom = if spread == 0.0 {
            (a.n + b.n - 2) as f64
        } else {
            spread.powi(2) / (va.powi(2) / (a.n - 1) as f64 + vb.powi(2) / (b.n - 1) as f64)
        };
        Some(Difference { mean: a.mean - b.mean, half_width: student(freedom) * spread.sqrt() })
    }

    /// Whether the interval lies above zero.
    pub(crate) fn is_above(&self) -> bool {
        self.mean - self.half_width > 0.0
    }
}

/// The 97.5 % quantile of Student's t: Cornish–Fisher's expansion, within 1 % from 3 degrees of freedom; exact for 1, 2.
fn student(freedom: f64) -> f64 {
    const Z: f64 = 1.959_964;
    // Between whole numbers of few degrees the larger quantile is taken.
    if freedom < 2.0 {
        return 12.706;
    }
    if freedom < 3.0 {
        return 4.303;
    }
    let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
    let first = (z3 + Z) / 4.0 / freedom;
    let second = (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / 96.0 / freedom.powi(2);
    let third = (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / 384.0 / freedom.powi(3);
    Z + first + second + third
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_by_hand() {
        let summary = Summary::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((summary.mean, summary.sd, summary.n), (2.0, 1.0, 3));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn quantiles_of_student() {
        for (freedom, expected) in
            [(1.0, 12.706), (2.0, 4.303), (3.0, 3.182), (5.0, 2.571), (10.0, 2.228), (100.0, 1.984)]
        {
            assert!((student(freedom) - expected).abs() < 0.01 * expected, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn groups_that_are_the_same_show_no_difference() {
        let a = Summary::of(&[0.1, 0.2, 0.3]).unwrap();
        assert!(!Difference::of(&a, &a).unwrap().is_above());
        let b = Summary::of(&[0.8, 0.9, 0.85]).unwrap();
        assert!(Difference::of(&b, &a).unwrap().is_above());
    }
}
