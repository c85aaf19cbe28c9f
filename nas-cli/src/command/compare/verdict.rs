//! What paired searches say: the difference with its interval, two tests, and one plain sentence.

use nas_rl::statistics::{PairedT, pairs_needed, sign_flip};
use serde::Serialize;

use crate::statistics::Unit;

/// How sure an interval is, and how sure it should be to see a difference that is there.
const LEVEL: f64 = 0.95;
const POWER: f64 = 0.8;

/// What the comparison of two agents came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finding {
    /// The agent is better than the reference.
    Better,
    Worse,
    /// There is no evidence of either.
    Nothing,
}

/// An agent against the reference, in one measure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    pub(super) agent: String,
    pub(super) reference: String,
    pub(super) finding: Finding,
    /// Pairs of searches with the same seed.
    pub(super) pairs: usize,
    /// By how much the agent is better, in the mean.
    pub(super) difference: f64,
    /// Half of the interval's width.
    pub(super) half_width: f64,
    /// How sure the interval is: all verdicts of a measure hold together with 95 % (Bonferroni).
    pub(super) level: f64,
    /// The paired t-test, two-sided; none when all differences are equal.
    pub(super) p_t: Option<f64>,
    /// The exact sign-flip test, two-sided.
    pub(super) p_sign_flip: f64,
    /// Pairs that would show `visible` with 80 % probability.
    pub(super) pairs_needed: Option<u64>,
    /// The difference worth seeing: a point, or that found here.
    pub(super) visible: f64,
    pub(super) sentence: String,
}

impl Verdict {
    /// Of `differences`, each the agent's score less the reference's with the same seed, more being better; `together` verdicts
    /// are given at once. None of fewer than two pairs.
    ///
    /// The paired t-test decides, whose interval is told. It takes differences as normal, which means of the best of many are
    /// nearly; the sign-flip test stands beside it and takes nothing for granted, but finds nothing in fewer than six pairs.
    /// Where all differences are equal, t has no spread to judge by, and the sign-flip test decides.
    pub(super) fn new(
        (agent, reference): (&str, &str),
        differences: &[f64],
        together: usize,
        unit: Unit,
        measure: &str,
    ) -> Option<Self> {
        let level = 1.0 - (1.0 - LEVEL) / together.max(1) as f64;
        let t = PairedT::new(differences, level)?;
        let p_sign_flip = sign_flip(differences);
        let p_t = Some(t.two_sided).filter(|p| !p.is_nan());
        let is_sure = p_t.unwrap_or(p_sign_flip) < 1.0 - level;
        let finding = match t.mean {
            mean if is_sure && mean > 0.0 => Finding::Better,
            mean if is_sure && mean < 0.0 => Finding::Worse,
            _ => Finding::Nothing,
        };
        let visible = if unit == Unit::Points { 0.01 } else { t.mean.abs() };
        let mut verdict = Verdict {
            agent: agent.to_owned(),
            reference: reference.to_owned(),
            finding,
            pairs: t.n,
            difference: t.mean,
            half_width: t.half_width,
            level,
            p_t,
            p_sign_flip,
            pairs_needed: pairs_needed(t.deviation, visible, level, POWER),
            visible,
            sentence: String::new(),
        };
        verdict.sentence = verdict.say(unit, measure);
        Some(verdict)
    }

    /// Seeds that are lacking to see the difference worth seeing.
    pub(super) fn lacking(&self) -> u64 {
        self.pairs_needed.unwrap_or(0).saturating_sub(self.pairs as u64)
    }

    fn say(&self, unit: Unit, measure: &str) -> String {
        let (agent, reference) = (plain(&self.agent), plain(&self.reference));
        let width = unit.amount(self.half_width);
        let by = format!("{} ± {width}{}", unit.amount(self.difference.abs()), unit.name());
        let p = |p: f64| if p < 0.001 { "below 0.001".to_owned() } else { format!("{p:.3}") };
        let t = self.p_t.map_or_else(|| "none".to_owned(), p);
        let tests = format!("{measure}; {} pairs, p of t {t}, of sign flips {}", self.pairs, p(self.p_sign_flip));
        match self.finding {
            Finding::Better => format!("{agent} beats {reference} by {by} ({tests})."),
            Finding::Worse => format!("{agent} is worse than {reference} by {by} ({tests})."),
            Finding::Nothing => {
                let sign = if self.difference < 0.0 { "-" } else { "+" };
                let more = match (unit, self.lacking()) {
                    _ if self.difference == 0.0 && self.half_width == 0.0 => {
                        " Every pair came to the same score: searches of more trials would tell more.".to_owned()
                    }
                    (Unit::Points, 0) => " A difference of 1 point would probably have been seen.".to_owned(),
                    (Unit::Points, n) => format!(" {n} more seeds would be needed to see a difference of 1 point."),
                    (Unit::Plain, 0) => String::new(),
                    (Unit::Plain, n) => {
                        format!(" {n} more seeds would be needed to see a difference as large as this.")
                    }
                };
                format!("There is no evidence that {agent} differs from {reference}: {sign}{by} ({tests}).{more}")
            }
        }
    }
}

/// An agent's name in a sentence.
fn plain(agent: &str) -> &str {
    if agent == "random" { "random search" } else { agent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(differences: &[f64], together: usize, unit: Unit) -> Verdict {
        Verdict::new(("pqt", "random"), differences, together, unit, "best accuracy after 30 trials").unwrap()
    }

    /// Mean 0.02, deviation 0.01: half the width is 2.5706 · 0.01 / √6, t is 4.899 with five degrees.
    #[test]
    fn six_pairs_by_hand() {
        let found = verdict(&[0.01, 0.02, 0.03, 0.01, 0.02, 0.03], 1, Unit::Points);
        assert_eq!(found.finding, Finding::Better);
        let deviation = (4.0 * 0.01_f64.powi(2) / 5.0).sqrt();
        assert!((found.half_width - 2.570_582 * deviation / 6_f64.sqrt()).abs() < 1e-8);
        assert!((found.p_sign_flip - 2.0 / 64.0).abs() < 1e-12);
        let expected = "pqt beats random search by 2.0 ± 0.9 points (best accuracy after 30 trials; 6 pairs, p of t 0.003, of \
                        sign flips 0.031).";
        assert_eq!(found.sentence, expected);
        let turned = verdict(&[-0.01, -0.02, -0.03, -0.01, -0.02, -0.03], 1, Unit::Points);
        assert!(turned.sentence.starts_with("pqt is worse than random search by 2.0 ± 0.9 points"));
    }

    #[test]
    fn no_evidence_says_what_would_be_needed() {
        let found = verdict(&[0.02, -0.02, 0.03, -0.01], 1, Unit::Points);
        assert_eq!(found.finding, Finding::Nothing);
        let needed = pairs_needed(found.half_width / 3.182_446 * 2.0, 0.01, 0.95, 0.8).unwrap();
        assert_eq!(found.lacking(), needed - 4);
        let text = format!(" {} more seeds would be needed to see a difference of 1 point.", needed - 4);
        assert!(found.sentence.contains("random search: +0.5 ± 3.8 points") && found.sentence.ends_with(&text));
        let close = verdict(&[0.001, -0.001, 0.001, -0.001, 0.0, 0.0], 1, Unit::Points);
        assert!(close.sentence.ends_with("A difference of 1 point would probably have been seen."));
    }

    #[test]
    fn several_verdicts_at_once_are_surer() {
        let differences = [0.1, 0.5, 0.9, 0.2];
        let (one, four) = (verdict(&differences, 1, Unit::Plain), verdict(&differences, 4, Unit::Plain));
        assert!((one.level - 0.95).abs() < 1e-12 && (four.level - 0.9875).abs() < 1e-12);
        assert!(four.half_width > 1.5 * one.half_width);
        assert_eq!((one.p_t.map(|p| p < 0.1), four.finding), (Some(true), Finding::Nothing));
    }

    #[test]
    fn equal_differences_are_judged_by_their_signs() {
        assert_eq!(verdict(&[0.01; 5], 1, Unit::Points).finding, Finding::Nothing);
        assert_eq!(verdict(&[0.01; 6], 1, Unit::Points).finding, Finding::Better);
        let none = verdict(&[0.0; 6], 1, Unit::Plain);
        assert_eq!((none.finding, none.pairs_needed), (Finding::Nothing, None));
        assert!(
            none.sentence.contains("+0.0000 ± 0.0000")
                && none.sentence.contains("p of t none, of sign flips 1.000). Every pair came to the same score: ")
        );
    }
}
