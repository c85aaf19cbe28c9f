//! From rewards to advantages: how good a trial was among all that were seen.

use nas_core::strategy::State;

/// How rewards are shaped before they are compared with what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shaping {
    /// 2u − 1, where u is the share of all rewards seen that lie below (ties count half): between −1 and 1, the same under any
    /// monotone change of the reward.
    Rank,
    /// The reward as it is; a failure counts as the worst reward seen.
    Raw,
}

/// All rewards seen, and their shaped values.
#[derive(Debug, Clone)]
pub struct Rewards {
    shaping: Shaping,
    /// Ascending; failures are −∞.
    sorted: Vec<f64>,
}

impl Rewards {
    /// Nothing seen yet.
    pub fn new(shaping: Shaping) -> Self {
        Rewards { shaping, sorted: Vec::new() }
    }

    /// Shows its state.
    pub fn state(&mut self, state: &mut State) {
        state.bits("rewards", &mut self.sorted);
    }

    /// Takes note of a reward; nothing, or a number that is not finite, is a failure.
    pub fn push(&mut self, reward: Option<f64>) {
        let reward = clean(reward);
        let at = self.sorted.partition_point(|&r| r < reward);
        self.sorted.insert(at, reward);
    }

    /// The shaped value of a reward among all that were seen, it included; always finite.
    pub fn shape(&self, reward: Option<f64>) -> f64 {
        let reward = clean(reward);
        match self.shaping {
            Shaping::Rank => {
                let below = self.sorted.partition_point(|&r| r < reward);
                let ties = self.sorted[below..].partition_point(|&r| r <= reward);
                let n = self.sorted.len().max(1) as f64;
                2.0 * (below as f64 + 0.5 * ties as f64) / n - 1.0
            }
            Shaping::Raw if reward.is_finite() => reward,
            Shaping::Raw => self.sorted.iter().copied().find(|r| r.is_finite()).unwrap_or(0.0),
        }
    }
}

/// Generalised advantage estimates of an episode whose only reward comes at its end (Schulman et al., 2016), appended to
/// `out`: Aₜ = Σₖ (γλ)ᵏ δₜ₊ₖ with δₜ = rₜ + γ V(sₜ₊₁) − V(sₜ), and V = 0 after the last of `values`.
///
/// With γ = λ = 1 that is `reward` − V(sₜ).
pub fn gae(values: &[f64], reward: f64, gamma: f64, gae_lambda: f64, out: &mut Vec<f64>) {
    let start = out.len();
    out.resize(start + values.len(), 0.0);
    let (mut next, mut advantage, mut reward) = (0.0, 0.0, reward);
    for (value, out) in values.iter().zip(&mut out[start..]).rev() {
        let delta = reward + gamma * next - value;
        advantage = delta + gamma * gae_lambda * advantage;
        *out = advantage;
        (next, reward) = (*value, 0.0);
    }
}

fn clean(reward: Option<f64>) -> f64 {
    reward.filter(|r| r.is_finite()).unwrap_or(f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewards(shaping: Shaping, all: &[Option<f64>]) -> Rewards {
        let mut rewards = Rewards::new(shaping);
        all.iter().for_each(|&r| rewards.push(r));
        rewards
    }

    #[test]
    fn ranks_by_hand() {
        let rewards = rewards(Shaping::Rank, &[Some(1.0), Some(3.0), None, Some(3.0), Some(f64::NAN)]);
        assert_eq!(rewards.shape(None), -0.6);
        assert!((rewards.shape(Some(1.0)) - 0.0).abs() < 1e-12);
        assert!((rewards.shape(Some(3.0)) - 0.6).abs() < 1e-12);
    }

    #[test]
    fn ranks_do_not_see_monotone_changes() {
        let values = [0.2, 0.9, 0.5, 0.5, 0.1];
        let plain = rewards(Shaping::Rank, &values.map(Some));
        let changed = rewards(Shaping::Rank, &values.map(|x| Some((9.0_f64 * x).exp() - 4.0)));
        for x in values {
            assert_eq!(plain.shape(Some(x)), changed.shape(Some((9.0_f64 * x).exp() - 4.0)));
        }
    }

    #[test]
    fn advantages_of_four_steps_by_hand() {
        let estimate = |gamma, lambda| {
            let mut out = vec![9.0];
            gae(&[0.5, 0.25, 1.0, 0.75], 2.0, gamma, lambda, &mut out);
            out
        };
        assert_eq!(estimate(1.0, 1.0), [9.0, 1.5, 1.75, 1.0, 1.25]);
        // Temporal differences alone.
        assert_eq!(estimate(1.0, 0.0), [9.0, -0.25, 0.75, -0.25, 1.25]);
        let deltas = [0.9 * 0.25 - 0.5, 0.9 * 1.0 - 0.25, 0.9 * 0.75 - 1.0, 2.0 - 0.75];
        let expected = [3, 2, 1, 0].map(|k| (3 - k..4).rev().fold(0.0, |a, t| deltas[t] + 0.9 * 0.5 * a));
        assert!(estimate(0.9, 0.5)[1..].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn raw_failures_are_the_worst_seen() {
        let rewards = rewards(Shaping::Raw, &[Some(1.0), None, Some(-3.0)]);
        assert_eq!((rewards.shape(Some(1.0)), rewards.shape(None)), (1.0, -3.0));
        assert_eq!(Rewards::new(Shaping::Raw).shape(None), 0.0);
    }
}
