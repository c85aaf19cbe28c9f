//! Policies: a distribution over the options of a slot, given the choices before it.

mod independent;
mod learner;
mod lstm;

use nas_core::{ArchitectureError, Rng};
use rand::RngExt as _;

use crate::environment::{Choice, Environment, Episode};

pub use independent::Independent;
pub use lstm::Lstm;

/// An episode, and for each of its choices how much better than expected it went.
#[derive(Debug, Clone)]
pub struct Weighted<'a> {
    /// The episode.
    pub episode: &'a Episode,
    /// A, one for each choice: positive makes it likelier.
    pub advantages: Vec<f32>,
}

/// What an update of a policy did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// −mean Σ A log π, without the entropy.
    pub policy_loss: f64,
    /// The mean entropy of an open step, in nats, before the update.
    pub entropy: f64,
    /// The norm of the gradient before it was shortened.
    pub grad_norm: f64,
    /// Whether the update was left out because something was not finite.
    pub skipped: bool,
}

/// A policy π(option | prefix), as a differentiable program of `nas-nn`.
pub trait Policy: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The probability of every option of `slot` after `prefix`; masked ones have exactly zero, and all add up to one.
    fn distribution(&mut self, prefix: &[Choice], slot: usize, mask: &[bool]) -> Vec<f64>;

    /// The gradient, at the present parameters, of −mean Σ A log π − `ent_coef` · mean H, and the parts of that loss.
    ///
    /// H is the entropy of a step's distribution, averaged over the open steps of an episode; closed steps weigh nothing.
    fn gradient(&mut self, batch: &[Weighted<'_>], ent_coef: f32) -> (Vec<f32>, Update);

    /// One update by that gradient, shortened to the norm `max_grad_norm`. Parameters that would no longer be finite are
    /// left as they were.
    fn update(&mut self, batch: &[Weighted<'_>], ent_coef: f32, max_grad_norm: f32) -> Update;

    /// All parameters.
    fn parameters(&self) -> &[f32];

    /// All parameters, to change.
    fn parameters_mut(&mut self) -> &mut [f32];
}

/// An episode drawn from `policy`; each choice is replaced by an even draw with probability `noise`.
///
/// # Errors
/// Never for a policy that keeps to the masks.
pub fn sample(
    policy: &mut dyn Policy,
    environment: &Environment,
    noise: f64,
    rng: &mut Rng,
) -> Result<Episode, ArchitectureError> {
    environment.episode(|prefix, slot, mask| {
        if noise > 0.0 && rng.random::<f64>() < noise {
            let open: Vec<usize> = (0..mask.len()).filter(|&i| mask[i]).collect();
            return open[rng.random_range(0..open.len())];
        }
        draw(&policy.distribution(prefix, slot, mask), rng)
    })
}

/// ln π of a whole episode.
pub fn log_prob(policy: &mut dyn Policy, episode: &Episode) -> f64 {
    let choices = &episode.choices;
    let step = |i: usize| policy.distribution(&choices[..i], choices[i].slot, &choices[i].mask)[choices[i].option].ln();
    (0..choices.len()).map(step).sum()
}

/// An index drawn by its probability.
fn draw(probabilities: &[f64], rng: &mut Rng) -> usize {
    let mut rest = rng.random::<f64>();
    let mut last = 0;
    for (i, &p) in probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        last = i;
        if rest < p {
            break;
        }
        rest -= p;
    }
    last
}

/// exp(x − max) / Σ over the options that `mask` allows, in double precision.
fn masked_softmax(logits: impl Iterator<Item = f32>, mask: &[bool]) -> Vec<f64> {
    let logits: Vec<f64> = logits.map(f64::from).collect();
    let open = || logits.iter().zip(mask).filter(|(_, open)| **open).map(|(x, _)| *x);
    let max = open().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = open().map(|x| (x - max).exp()).sum();
    logits.iter().zip(mask).map(|(x, open)| if *open { (x - max).exp() / sum } else { 0.0 }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::testing::{conditional, cube};

    /// Both policies, with random parameters.
    fn policies(environment: &Environment) -> Vec<Box<dyn Policy>> {
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        let mut policies: Vec<Box<dyn Policy>> =
            vec![Box::new(Independent::new(environment, 0.1)), Box::new(Lstm::new(environment, 0.01, &mut rng))];
        for policy in &mut policies {
            for x in policy.parameters_mut() {
                *x += rng.random_range(-0.5..0.5);
            }
        }
        policies
    }

    fn episodes(environment: &Environment) -> Vec<Episode> {
        crate::testing::episodes(environment)
    }

    /// The same advantage for every choice.
    fn weighted(episode: &Episode, advantage: f32) -> Weighted<'_> {
        Weighted { episode, advantages: vec![advantage; episode.choices.len()] }
    }

    /// The gradient of Σᵢ p(i) Σₜ A(i, t) log π by the policy's own program.
    fn score(
        policy: &mut dyn Policy,
        episodes: &[Episode],
        p: impl Fn(usize) -> f64,
        advantage: impl Fn(usize, usize) -> f64,
    ) -> Vec<f64> {
        let mut total = vec![0.0; policy.parameters().len()];
        for (i, episode) in episodes.iter().enumerate() {
            let advantages = (0..episode.choices.len()).map(|t| advantage(i, t) as f32).collect();
            let (gradient, _) = policy.gradient(&[Weighted { episode, advantages }], 0.0);
            // The loss is −A log π.
            total.iter_mut().zip(gradient).for_each(|(t, g)| *t -= p(i) * f64::from(g));
        }
        total
    }

    /// Compares `gradient` with central differences of `f`, for every parameter or, of many, every 17th.
    fn check_gradient(policy: &mut dyn Policy, gradient: &[f64], mut f: impl FnMut(&mut dyn Policy) -> f64) {
        let h = 1e-2_f32;
        let largest = gradient.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        for i in (0..gradient.len()).step_by(if gradient.len() > 100 { 17 } else { 1 }) {
            let x = policy.parameters()[i];
            policy.parameters_mut()[i] = x + h;
            let above = f(policy);
            policy.parameters_mut()[i] = x - h;
            let below = f(policy);
            policy.parameters_mut()[i] = x;
            let exact = (above - below) / f64::from((x + h) - (x - h));
            assert!((gradient[i] - exact).abs() < 2e-3 * largest, "{} {i}: {} {exact}", policy.name(), gradient[i]);
        }
    }

    #[test]
    fn probabilities_add_up_to_one() {
        for space in [cube(3, 5), conditional()] {
            let environment = Environment::new(space);
            for policy in &mut policies(&environment) {
                let total: f64 = episodes(&environment).iter().map(|e| log_prob(&mut **policy, e).exp()).sum();
                assert!((total - 1.0).abs() < 1e-5, "{}: {total}", policy.name());
            }
        }
    }

    #[test]
    fn fresh_policies_are_even() {
        let environment = Environment::new(cube(3, 5));
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        let mut fresh: [Box<dyn Policy>; 2] =
            [Box::new(Independent::new(&environment, 0.1)), Box::new(Lstm::new(&environment, 0.01, &mut rng))];
        for policy in &mut fresh {
            for episode in episodes(&environment) {
                assert!((log_prob(&mut **policy, &episode) + 3.0 * 5_f64.ln()).abs() < 1e-6);
            }
            let episode = &episodes(&environment)[0];
            let (_, update) = policy.gradient(&[weighted(episode, 1.0)], 0.0);
            assert!((update.entropy - 5_f64.ln()).abs() < 1e-6, "{update:?}");
            assert!((update.policy_loss - 3.0 * 5_f64.ln()).abs() < 1e-5, "{update:?}");
        }
    }

    #[test]
    fn the_expected_score_is_zero() {
        for space in [cube(3, 5), conditional()] {
            let environment = Environment::new(space);
            let all = episodes(&environment);
            for policy in &mut policies(&environment) {
                let p: Vec<f64> = all.iter().map(|e| log_prob(&mut **policy, e).exp()).collect();
                let expected = score(&mut **policy, &all, |i| p[i], |_, _| 1.0);
                let size =
                    score(&mut **policy, &all[..1], |_| 1.0, |_, _| 1.0).iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                assert!(expected.iter().all(|x| x.abs() < 1e-5 * size.max(1.0)), "{}: {expected:?}", policy.name());
            }
        }
    }

    #[test]
    fn reinforce_is_the_gradient_of_the_expected_reward() {
        for space in [cube(3, 5), conditional()] {
            let environment = Environment::new(space);
            let all = episodes(&environment);
            let reward = |i: usize| ((i * 37) % 101) as f64 / 101.0;
            for policy in &mut policies(&environment) {
                let p: Vec<f64> = all.iter().map(|e| log_prob(&mut **policy, e).exp()).collect();
                let reinforce = score(&mut **policy, &all, |i| p[i], |i, _| reward(i));
                check_gradient(&mut **policy, &reinforce, |policy| {
                    all.iter().enumerate().map(|(i, e)| log_prob(policy, e).exp() * reward(i)).sum()
                });
                // A value of the choices so far leaves the mean alone.
                let value = |i: usize, t: usize| {
                    let prefix = &all[i].choices[..t];
                    0.3 + 0.1 * t as f64 - 0.2 * prefix.iter().map(|c| c.option as f64).sum::<f64>()
                };
                let with_value = score(&mut **policy, &all, |i| p[i], |i, t| reward(i) - value(i, t));
                let largest = reinforce.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                for (plain, with_value) in reinforce.iter().zip(with_value) {
                    assert!((plain - with_value).abs() < 1e-4 * largest, "{plain} {with_value}");
                }
            }
        }
    }

    #[test]
    fn the_entropy_has_its_gradient() {
        let environment = Environment::new(conditional());
        for episode in episodes(&environment).iter().step_by(7) {
            for policy in &mut policies(&environment) {
                let (gradient, update) = policy.gradient(&[weighted(episode, 0.0)], 1.0);
                // By the distributions of the steps taken.
                let entropy = |policy: &mut dyn Policy| -> f64 {
                    let steps = episode.choices.iter().enumerate().map(|(t, choice)| {
                        let p = policy.distribution(&episode.choices[..t], choice.slot, &choice.mask);
                        -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
                    });
                    steps.sum::<f64>() / episode.choices.len() as f64
                };
                assert!((update.entropy - entropy(&mut **policy)).abs() < 1e-5, "{update:?}");
                let gradient: Vec<f64> = gradient.iter().map(|g| -f64::from(*g)).collect();
                check_gradient(&mut **policy, &gradient, entropy);
            }
        }
    }

    #[test]
    fn sampling_and_learning_see_the_same_probabilities() {
        for space in [cube(3, 5), conditional()] {
            let environment = Environment::new(space);
            let all = episodes(&environment);
            for policy in &mut policies(&environment) {
                for _ in 0..2 {
                    for i in 0..all.len() {
                        // In an order in which little of what was read before can be used again.
                        let episode = &all[i * 41 % all.len()];
                        let (_, update) = policy.gradient(&[weighted(episode, 1.0)], 0.0);
                        let log_prob = log_prob(&mut **policy, episode);
                        assert!(
                            (update.policy_loss + log_prob).abs() < 1e-4,
                            "{}: {log_prob} {update:?}",
                            policy.name()
                        );
                    }
                    // What was read before an update is forgotten.
                    policy.update(&[weighted(&all[0], 1.0)], 0.0, 10.0);
                }
            }
        }
    }

    #[test]
    fn closed_forms_of_the_independent_policy() {
        // d log π / d l_k = 1[k = a] − p_k and dH / d l_k = −p_k (ln p_k + H).
        let environment = Environment::new(cube(1, 4));
        let mut policy = Independent::new(&environment, 0.1);
        policy.parameters_mut().copy_from_slice(&[0.3, -0.2, 0.9, 0.1]);
        let p = policy.distribution(&[], 0, &[true; 4]);
        let h: f64 = -p.iter().map(|p| p * p.ln()).sum::<f64>();
        let episode = environment.episode(|_, _, _| 2).unwrap();
        let (log_gradient, update) = policy.gradient(&[weighted(&episode, 1.0)], 0.0);
        let (entropy_gradient, _) = policy.gradient(&[weighted(&episode, 0.0)], 1.0);
        assert!((update.entropy - h).abs() < 1e-6);
        for k in 0..4 {
            let expected = f64::from(u8::from(k == 2)) - p[k];
            assert!((f64::from(-log_gradient[k]) - expected).abs() < 1e-6);
            let expected = -p[k] * (p[k].ln() + h);
            assert!((f64::from(-entropy_gradient[k]) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let mut rng = Seed::new(1).stream(Purpose::Test, 1);
        let mut counts = [0; 4];
        for _ in 0..10_000 {
            counts[draw(&[0.0, 0.2, 0.5, 0.3], &mut rng)] += 1;
        }
        assert_eq!(counts[0], 0);
        for (count, p) in counts.iter().zip([0.0, 0.2, 0.5, 0.3]) {
            assert!((f64::from(*count) - 10_000.0 * p).abs() < 200.0, "{counts:?}");
        }
    }
}
