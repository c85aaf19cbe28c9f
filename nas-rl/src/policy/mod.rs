//! Policies: a distribution over the options of a slot, given the choices before it.

mod adam;
mod independent;

mod lstm;
mod recurrent;

use nas_core::{ArchitectureError, Rng};
use rand::RngExt as _;

use crate::environment::{Environment, Episode};

pub use independent::Independent;
pub use lstm::Lstm;

/// What an update of a policy did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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

/// A policy π(option | prefix) that can be drawn from and differentiated.
///
/// An episode is walked along by [`begin`](Self::begin), then [`probabilities`](Self::probabilities) and
/// [`follow`](Self::follow) for every choice; nothing is allocated on the way.
pub trait Policy: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Goes to the start of an episode.
    fn begin(&mut self);

    /// Writes the probability of every option of `slot` after the choices followed: masked ones have exactly zero, and all
    /// add up to one.
    fn probabilities(&mut self, slot: usize, mask: &[bool], out: &mut Vec<f64>);

    /// Goes on after that choice.
    fn follow(&mut self, slot: usize, option: usize);

    /// Appends ln π of every choice of every episode of `batch` to `out`.
    fn log_probs(&mut self, batch: &[&Episode], out: &mut Vec<f64>) {
        let mut p = Vec::new();
        for episode in batch {
            self.begin();
            for choice in episode.choices() {
                self.probabilities(choice.slot, choice.mask, &mut p);
                out.push(p[choice.option].ln());
                self.follow(choice.slot, choice.option);
            }
        }
    }

    /// Works out the gradient, at the present parameters, of −mean Σₜ Aₜ log π(aₜ) − `ent_coef` · mean Σₜ Hₜ, where the mean is
    /// over the episodes of `batch`, `advantages` has one A for every choice of every episode in order, and H is the entropy of
    /// a step's distribution. Closed steps and masked options weigh nothing. [`step`](Self::step) takes it.
    fn gradient(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64) -> Update;

    /// Takes one step along the last gradient, shortened to the norm `max_grad_norm`. A gradient that is not finite changes
    /// nothing. Returns `update`, which says so.
    fn step(&mut self, update: Update, max_grad_norm: f64) -> Update;

    /// The last gradient, one number for every parameter.
    fn last_gradient(&self) -> Vec<f64>;

    /// All parameters.
    fn parameters(&self) -> Vec<f64>;

    /// Sets all parameters.
    ///
    /// # Panics
    /// When there are more or fewer than the policy has.
    fn set_parameters(&mut self, parameters: &[f64]);

    /// Multiplies all logits by `factor`: below 1 it makes the policy more even, without a change of its order.
    fn soften(&mut self, factor: f64);

    /// One update: [`gradient`](Self::gradient) and [`step`](Self::step).
    fn update(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64, max_grad_norm: f64) -> Update {
        let update = self.gradient(batch, advantages, ent_coef);
        self.step(update, max_grad_norm)
    }
}

/// An episode and what its policy thought of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The episode.
    pub episode: Episode,
    /// ln π of all its choices.
    pub log_prob: f64,
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
) -> Result<Sampled, ArchitectureError> {
    let (mut p, mut log_prob) = (Vec::new(), 0.0);
    policy.begin();
    let episode = environment.episode(rng, |slot, mask, rng| {
        policy.probabilities(slot, mask, &mut p);
        let option = if noise > 0.0 && rng.random::<f64>() < noise { draw_open(mask, rng) } else { draw(&p, rng) };
        log_prob += p[option].ln();
        policy.follow(slot, option);
        option
    })?;
    Ok(Sampled { episode, log_prob })
}

/// `parent` with one choice changed, drawn evenly among those that can be: to what `policy` draws there, or, when that is what
/// it was, to another option, each as likely. What the change opens is drawn from the policy.
///
/// # Errors
/// Never for a policy that keeps to the masks.
pub fn edit(
    policy: &mut dyn Policy,
    environment: &Environment,
    parent: &Episode,
    rng: &mut Rng,
) -> Result<Sampled, ArchitectureError> {
    let free = |t: &usize| parent.choice(*t).mask.iter().filter(|&&open| open).count() > 1;
    let count = (0..parent.len()).filter(free).count();
    let at = (count > 0).then(|| rng.random_range(0..count)).and_then(|at| (0..parent.len()).filter(free).nth(at));
    let Some(changed) = at.map(|t| parent.choice(t)) else {
        let log_prob = log_prob(policy, parent);
        return Ok(Sampled { episode: parent.clone(), log_prob });
    };
    let (mut p, mut log_prob) = (Vec::new(), 0.0);
    policy.begin();
    let episode = environment.edit(parent.tokens(), changed.slot, rng, |slot, mask, own, rng| {
        policy.probabilities(slot, mask, &mut p);
        let option = own.unwrap_or_else(|| {
            let option = draw(&p, rng);
            if slot != changed.slot || option != changed.option {
                return option;
            }
            // One of the others: some option is open beside it.
            let mut others = mask.to_vec();
            others[option] = false;
            draw_open(&others, rng)
        });
        log_prob += p[option].ln();
        policy.follow(slot, option);
        option
    })?;
    Ok(Sampled { episode, log_prob })
}

/// ln π of a whole episode.
pub fn log_prob(policy: &mut dyn Policy, episode: &Episode) -> f64 {
    let mut log_probs = Vec::new();
    policy.log_probs(&[episode], &mut log_probs);
    log_probs.iter().sum()
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

/// An option that can be chosen, each as likely.
pub(crate) fn draw_open(mask: &[bool], rng: &mut Rng) -> usize {
    let open = mask.iter().filter(|&&open| open).count();
    let at = rng.random_range(0..open);
    (0..mask.len()).filter(|&i| mask[i]).nth(at).expect("at least one option is open")
}

/// exp(x − max) / Σ over the options that `mask` allows, zero elsewhere, written to `out`; the logarithm of Σ exp x.
fn masked_softmax(logits: &[f64], mask: &[bool], out: &mut Vec<f64>) -> f64 {
    let open = || logits.iter().zip(mask).filter(|(_, open)| **open).map(|(x, _)| *x);
    let max = open().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = open().map(|x| (x - max).exp()).sum();
    out.clear();
    out.extend(logits.iter().zip(mask).map(|(x, open)| if *open { (x - max).exp() / sum } else { 0.0 }));
    max + sum.ln()
}

/// Shortens a gradient of that norm to `limit`.
fn clip(gradient: &mut [f64], norm: f64, limit: f64) {
    if norm.is_finite() && norm > limit {
        gradient.iter_mut().for_each(|g| *g *= limit / norm);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::testing::{conditional, cube, episodes, first_open};

    /// Both policies, with random parameters.
    fn policies(environment: &Environment) -> Vec<Box<dyn Policy>> {
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        let mut policies: Vec<Box<dyn Policy>> =
            vec![Box::new(Independent::new(environment, 0.1)), Box::new(Lstm::new(environment, 0.01, &mut rng))];
        for policy in &mut policies {
            let parameters: Vec<f64> = policy.parameters().iter().map(|x| x + rng.random_range(-0.5..0.5)).collect();
            policy.set_parameters(&parameters);
        }
        policies
    }

    /// How far a policy's own arithmetic is from the exact one: double precision, or single.
    fn precision(policy: &dyn Policy) -> f64 {
        if policy.name() == "independent" { 1e-12 } else { 1e-5 }
    }

    /// The gradient of Σᵢ p(i) Σₜ A(i, t) log π.
    fn score(
        policy: &mut dyn Policy,
        episodes: &[Episode],
        p: impl Fn(usize) -> f64,
        advantage: impl Fn(usize, usize) -> f64,
    ) -> Vec<f64> {
        let mut total = vec![0.0; policy.parameters().len()];
        for (i, episode) in episodes.iter().enumerate() {
            let advantages: Vec<f64> = (0..episode.len()).map(|t| advantage(i, t)).collect();
            policy.gradient(&[episode], &advantages, 0.0);
            // The loss is −A log π.
            total.iter_mut().zip(policy.last_gradient()).for_each(|(t, g)| *t -= p(i) * g);
        }
        total
    }

    /// Compares `gradient` with central differences of `f`, for every parameter or, of many, every 17th.
    fn check_gradient(policy: &mut dyn Policy, gradient: &[f64], mut f: impl FnMut(&mut dyn Policy) -> f64) {
        let exact = policy.name() == "independent";
        let (h, tolerance) = if exact { (1e-5, 1e-6) } else { (1e-2, 2e-3) };
        let largest = gradient.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        let parameters = policy.parameters();
        for i in (0..gradient.len()).step_by(if gradient.len() > 100 { 17 } else { 1 }) {
            let mut at = |x: f64| {
                let mut moved = parameters.clone();
                moved[i] = x;
                policy.set_parameters(&moved);
                (policy.parameters()[i], f(policy))
            };
            let ((high, above), (low, below)) = (at(parameters[i] + h), at(parameters[i] - h));
            let difference = (above - below) / (high - low);
            let off = (gradient[i] - difference).abs();
            assert!(off < tolerance * largest, "{} {i}: {} {difference}", policy.name(), gradient[i]);
        }
        policy.set_parameters(&parameters);
    }

    #[test]
    fn probabilities_add_up_to_one() {
        for space in [cube(3, 5), conditional()] {
            let environment = Environment::new(space);
            for policy in &mut policies(&environment) {
                let total: f64 = episodes(&environment).iter().map(|e| log_prob(&mut **policy, e).exp()).sum();
                assert!((total - 1.0).abs() < 10.0 * precision(&**policy), "{}: {total}", policy.name());
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
            let update = policy.gradient(&[episode], &[1.0; 3], 0.0);
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
                let limit = precision(&**policy) * size.max(1.0);
                assert!(expected.iter().all(|x| x.abs() < limit), "{}: {expected:?}", policy.name());
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
                    let prefix = all[i].choices().take(t);
                    0.3 + 0.1 * t as f64 - 0.2 * prefix.map(|c| c.option as f64).sum::<f64>()
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
    fn a_baseline_lowers_the_variance() {
        let environment = Environment::new(cube(3, 5));
        let all = episodes(&environment);
        let reward = |i: usize| 3.0 + ((i * 37) % 101) as f64 / 101.0;
        let mut policy = policies(&environment).remove(0);
        let p: Vec<f64> = all.iter().map(|e| log_prob(&mut *policy, e).exp()).collect();
        let mean_reward: f64 = (0..all.len()).map(|i| p[i] * reward(i)).sum();
        let mut square = |baseline: f64| -> f64 {
            let of = |i: usize| {
                policy.gradient(&[&all[i]], &[reward(i) - baseline; 3], 0.0);
                p[i] * policy.last_gradient().iter().map(|g| g * g).sum::<f64>()
            };
            (0..all.len()).map(of).sum()
        };
        // The mean gradient is the same, so less mean square is less variance.
        assert!(square(mean_reward) < 0.1 * square(0.0));
    }

    #[test]
    fn the_entropy_has_its_gradient() {
        let environment = Environment::new(conditional());
        for episode in episodes(&environment).iter().step_by(7) {
            for policy in &mut policies(&environment) {
                let update = policy.gradient(&[episode], &vec![0.0; episode.len()], 1.0);
                let gradient: Vec<f64> = policy.last_gradient().iter().map(|g| -g).collect();
                // By the distributions of the steps taken.
                let entropy = |policy: &mut dyn Policy| -> f64 {
                    let (mut total, mut p) = (0.0, Vec::new());
                    policy.begin();
                    for choice in episode.choices() {
                        policy.probabilities(choice.slot, choice.mask, &mut p);
                        total -= p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
                        policy.follow(choice.slot, choice.option);
                    }
                    total
                };
                let mean = entropy(&mut **policy) / episode.len() as f64;
                assert!((update.entropy - mean).abs() < 1e-5, "{update:?}");
                check_gradient(&mut **policy, &gradient, entropy);
            }
        }
    }

    #[test]
    fn sampling_scoring_and_learning_see_the_same_probabilities() {
        for space in [cube(3, 5), conditional()] {
            let environment = Environment::new(space);
            let all = episodes(&environment);
            let mut rng = Seed::new(3).stream(Purpose::Test, 1);
            for policy in &mut policies(&environment) {
                for _ in 0..2 {
                    for i in 0..all.len() {
                        // In an order in which little of what was read before can be used again.
                        let episode = &all[i * 41 % all.len()];
                        let update = policy.gradient(&[episode], &vec![1.0; episode.len()], 0.0);
                        let scored = log_prob(&mut **policy, episode);
                        assert!((update.policy_loss + scored).abs() < 1e-4, "{}: {scored} {update:?}", policy.name());
                        let sampled = sample(&mut **policy, &environment, 0.1, &mut rng).unwrap();
                        let scored = log_prob(&mut **policy, &sampled.episode);
                        assert!((sampled.log_prob - scored).abs() < 1e-4, "{}: {scored} {sampled:?}", policy.name());
                    }
                    // What was read before an update is forgotten.
                    policy.update(&[&all[0]], &vec![1.0; all[0].len()], 0.0, 10.0);
                }
            }
        }
    }

    #[test]
    fn closed_forms_of_the_independent_policy() {
        // d log π / d l_k = 1[k = a] − p_k and dH / d l_k = −p_k (ln p_k + H).
        let environment = Environment::new(cube(1, 4));
        let mut policy = Independent::new(&environment, 0.1);
        policy.set_parameters(&[0.3, -0.2, 0.9, 0.1]);
        let mut p = Vec::new();
        policy.probabilities(0, &[true; 4], &mut p);
        let h: f64 = -p.iter().map(|p| p * p.ln()).sum::<f64>();
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        let episode = environment.episode(&mut rng, |_, _, _| 2).unwrap();
        let update = policy.gradient(&[&episode], &[1.0], 0.0);
        let log_gradient = policy.last_gradient();
        policy.gradient(&[&episode], &[0.0], 1.0);
        let entropy_gradient = policy.last_gradient();
        assert!((update.entropy - h).abs() < 1e-12);
        for k in 0..4 {
            let expected = f64::from(u8::from(k == 2)) - p[k];
            assert!((-log_gradient[k] - expected).abs() < 1e-12);
            let expected = -p[k] * (p[k].ln() + h);
            assert!((-entropy_gradient[k] - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn a_shift_of_a_steps_logits_changes_nothing() {
        let environment = Environment::new(conditional());
        let mut policy = policies(&environment).remove(0);
        let all = episodes(&environment);
        let before: Vec<f64> = all.iter().map(|e| log_prob(&mut *policy, e)).collect();
        let mut parameters = policy.parameters();
        parameters[..environment.arity()[0]].iter_mut().for_each(|x| *x += 3.0);
        policy.set_parameters(&parameters);
        for (episode, before) in all.iter().zip(before) {
            assert!((log_prob(&mut *policy, episode) - before).abs() < 1e-12);
        }
    }

    #[test]
    fn the_order_of_a_batch_changes_nothing() {
        let environment = Environment::new(conditional());
        let all = episodes(&environment);
        for policy in &mut policies(&environment) {
            let mut gradient = |order: [usize; 3]| {
                let batch = order.map(|i| &all[i]);
                let advantages: Vec<f64> = order.iter().flat_map(|&i| vec![i as f64; all[i].len()]).collect();
                policy.gradient(&batch, &advantages, 0.1);
                policy.last_gradient()
            };
            let (one, other) = (gradient([0, 5, 9]), gradient([9, 0, 5]));
            assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    #[test]
    fn softening_keeps_the_order_and_ends_even() {
        let environment = Environment::new(cube(3, 5));
        let mut rng = Seed::new(3).stream(Purpose::Test, 2);
        for policy in &mut policies(&environment) {
            let first = |policy: &mut dyn Policy| {
                let mut p = Vec::new();
                policy.begin();
                policy.probabilities(0, &[true; 5], &mut p);
                p
            };
            let sharp = first(&mut **policy);
            policy.soften(0.5);
            let soft = first(&mut **policy);
            // p^½ up to a factor.
            for k in 0..5 {
                let expected = (sharp[k] / sharp[0]).sqrt();
                assert!((soft[k] / soft[0] - expected).abs() < 1e-5, "{}: {soft:?} {sharp:?}", policy.name());
            }
            policy.soften(0.0);
            let sampled = sample(&mut **policy, &environment, 0.0, &mut rng).unwrap();
            assert!((sampled.log_prob + 3.0 * 5_f64.ln()).abs() < 1e-6);
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let environment = Environment::new(cube(2, 3));
        let episode =
            environment.episode(&mut Seed::new(1).stream(Purpose::Test, 0), |_, mask, _| first_open(mask)).unwrap();
        for policy in &mut policies(&environment) {
            let before = policy.parameters();
            assert!(policy.update(&[&episode], &[f64::NAN, 1.0], 0.0, 10.0).skipped, "{}", policy.name());
            assert_eq!(policy.parameters(), before);
            assert!(!policy.update(&[&episode], &[1.0, 1.0], 0.0, 10.0).skipped);
            assert_ne!(policy.parameters(), before);
        }
    }

    #[test]
    fn edits_change_one_choice_and_what_it_opens() {
        for space in [cube(3, 5), conditional()] {
            let environment = Environment::new(space);
            let mut rng = Seed::new(3).stream(Purpose::Test, 3);
            for policy in &mut policies(&environment) {
                for parent in &episodes(&environment) {
                    let Sampled { episode, log_prob: said } =
                        edit(&mut **policy, &environment, parent, &mut rng).unwrap();
                    assert_eq!(environment.replay(episode.tokens()).unwrap(), episode);
                    assert!((log_prob(&mut **policy, &episode) - said).abs() < 1e-4);
                    let differing = |(a, b): &(&u16, &u16)| a != b;
                    let changed = parent.tokens().iter().zip(episode.tokens().iter()).filter(differing).count();
                    // `kind` opens or closes `depth`; in the path a closed edge may force the ones after it.
                    assert!((1..=3).contains(&changed), "{:?} {:?}", parent.tokens(), episode.tokens());
                }
            }
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let mut rng = Seed::new(1).stream(Purpose::Test, 1);
        let (mut counts, mut open) = ([0; 4], [0; 4]);
        for _ in 0..10_000 {
            counts[draw(&[0.0, 0.2, 0.5, 0.3], &mut rng)] += 1;
            open[draw_open(&[true, false, true, true], &mut rng)] += 1;
        }
        assert_eq!((counts[0], open[1]), (0, 0));
        for (count, p) in counts.iter().zip([0.0, 0.2, 0.5, 0.3]) {
            assert!((f64::from(*count) - 10_000.0 * p).abs() < 200.0, "{counts:?}");
        }
        assert!([0, 2, 3].iter().all(|&i| (f64::from(open[i]) - 3_333.0).abs() < 200.0), "{open:?}");
    }
}
