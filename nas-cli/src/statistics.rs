//! Means, spreads and the plain verdict on two groups of figures.

use nas_core::Objective;
use nas_rl::statistics::student_quantile;

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

/// The share of `n` draws that `count` are, as a 95 % interval (Wilson, 1927).
pub(crate) fn share_interval(count: usize, n: usize) -> (f64, f64) {
    let (z, n) = (1.959_964, n as f64);
    let share = count as f64 / n;
    let centre = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let end = |x: f64| (x / (1.0 + z * z / n)).clamp(0.0, 1.0);
    (end(centre - spread), end(centre + spread))
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
        Some(Difference { mean: a.mean - b.mean, half_width: student_quantile(0.975, freedom) * spread.sqrt() })
    }

    /// Whether the interval lies above zero.
    pub(crate) fn is_above(&self) -> bool {
        self.mean - self.half_width > 0.0
    }
}

/// How differences are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Accuracies in points, hundredths.
    Points,
    /// As they are.
    Plain,
}

impl Unit {
    /// That of a study's metric.
    pub(crate) fn of(objective: &Objective) -> Self {
        if objective.metric == "accuracy" { Unit::Points } else { Unit::Plain }
    }

    /// A difference of scores.
    pub(crate) fn amount(self, difference: f64) -> String {
        match self {
            Unit::Points => format!("{:.1}", 100.0 * difference),
            Unit::Plain => format!("{difference:.4}"),
        }
    }

    /// What follows the amount.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Points => " points",
            Unit::Plain => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let close = |(a, b): (f64, f64), (x, y): (f64, f64)| (a - x).abs() < 1e-4 && (b - y).abs() < 1e-4;
        assert!(close(share_interval(0, 200), (0.0, 0.01885)));
        assert!(close(share_interval(50, 200), (0.19508, 0.31434)));
        assert!(close(share_interval(200, 200), (0.98115, 1.0)));
    }

    #[test]
    fn a_summary_by_hand() {
        let summary = Summary::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((summary.mean, summary.sd, summary.n), (2.0, 1.0, 3));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn groups_that_are_the_same_show_no_difference() {
        let a = Summary::of(&[0.1, 0.2, 0.3]).unwrap();
        assert!(!Difference::of(&a, &a).unwrap().is_above());
        let b = Summary::of(&[0.8, 0.9, 0.85]).unwrap();
        assert!(Difference::of(&b, &a).unwrap().is_above());
    }
}
