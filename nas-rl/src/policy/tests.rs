//! What every policy promises: probabilities, gradients, invariances.

use nas_core::{Purpose, Seed};

use super::*;
use crate::testing::{conditional, cube, episodes, first_open};

/// All policies as they begin.
fn fresh(environment: &Environment) -> Vec<Box<dyn Policy>> {
    let mut rng = Seed::new(3).stream(Purpose::Test, 0);
    vec![
        Box::new(Independent::new(environment, 0.1)),
        Box::new(Lstm::new(environment, 0.01, &mut rng)),
        Box::new(Transformer::new(environment, 0.01, &mut rng)),
        Box::new(Graph::new(environment, 0.01, &mut rng)),
    ]
}

/// All policies, with random parameters.
fn policies(environment: &Environment) -> Vec<Box<dyn Policy>> {
    let mut rng = Seed::new(3).stream(Purpose::Test, 1);
    let mut policies = fresh(environment);
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

/// Compares `gradient` with central differences of `f`: for every parameter or, of many, some hundred of them, as far as
/// single precision allows, and along the gradient itself, where rounding weighs little.
fn check_gradient(policy: &mut dyn Policy, gradient: &[f64], mut f: impl FnMut(&mut dyn Policy) -> f64) {
    let exact = policy.name() == "independent";
    let (h, tolerance) = if exact { (1e-3, 1e-8) } else { (4e-2, 1e-3) };
    let largest = gradient.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    let parameters = policy.parameters();
    // The derivative along a direction: of four points, so that a step may be long.
    let mut along = |policy: &mut dyn Policy, direction: &dyn Fn(usize) -> f64, h: f64| {
        let mut at = |x: f64| {
            let moved: Vec<f64> = parameters.iter().enumerate().map(|(i, p)| p + x * direction(i)).collect();
            policy.set_parameters(&moved);
            f(policy)
        };
        let (near, far) = (at(h) - at(-h), at(2.0 * h) - at(-2.0 * h));
        (8.0 * near - far) / (12.0 * h)
    };
    for i in (0..gradient.len()).step_by(gradient.len() / 150 + 1) {
        let difference = along(policy, &|j| f64::from(u8::from(i == j)), h);
        let off = (gradient[i] - difference).abs();
        assert!(off < tolerance * largest, "{} {i}: {} {difference}", policy.name(), gradient[i]);
    }
    let slope = along(policy, &|i| gradient[i] / norm, 4e-3);
    assert!((slope / norm - 1.0).abs() < 1e-4, "{}: {slope} {norm}", policy.name());
    policy.set_parameters(&parameters);
}

/// The probabilities of episodes.
fn probabilities(policy: &mut dyn Policy, episodes: &[Episode]) -> Vec<f64> {
    let mut log_probs = Vec::new();
    policy.log_probs(&episodes.iter().collect::<Vec<_>>(), &mut log_probs);
    let mut left = &log_probs[..];
    let mut of = |episode: &Episode| {
        let (own, others) = left.split_at(episode.len());
        left = others;
        own.iter().sum::<f64>().exp()
    };
    episodes.iter().map(&mut of).collect()
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
    for policy in &mut fresh(&environment) {
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
            let size = score(&mut **policy, &all[..1], |_| 1.0, |_, _| 1.0).iter().fold(0.0_f64, |m, x| m.max(x.abs()));
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
                probabilities(policy, &all).iter().enumerate().map(|(i, p)| p * reward(i)).sum()
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
fn other_names_of_the_options_give_the_same_gradient() {
    let environment = Environment::new(cube(2, 4));
    let renamed = |option: usize| [2, 0, 3, 1][option];
    let all = episodes(&environment);
    let gradient = |rename: bool| {
        let mut policy = Independent::new(&environment, 0.1);
        let logits = [0.3, -0.2, 0.9, 0.1, -0.5, 0.4, 0.0, 0.7];
        let mut parameters = logits;
        if rename {
            (0..8).for_each(|i| parameters[i / 4 * 4 + renamed(i % 4)] = logits[i]);
        }
        policy.set_parameters(&parameters);
        let tokens = [1, 3].map(|option| if rename { renamed(option) as u16 } else { option as u16 });
        let episode = all.iter().find(|episode| episode.tokens()[..] == tokens).unwrap();
        policy.gradient(&[episode], &[0.7, -0.3], 0.2);
        policy.last_gradient()
    };
    let (plain, other) = (gradient(false), gradient(true));
    assert!((0..8).all(|i| (plain[i] - other[i / 4 * 4 + renamed(i % 4)]).abs() < 1e-15), "{plain:?} {other:?}");
}

#[test]
fn other_names_of_the_options_give_networks_the_same_gradient() {
    let environment = Environment::new(cube(2, 4));
    let renamed = |i: usize| i / 4 * 4 + [2, 0, 3, 1][i % 4];
    let all = episodes(&environment);
    // Where the rows of what is read stand, and how wide they are; the head is last, a row of 32 and a bias each.
    for (policy, (start, width)) in policies(&environment).iter_mut().skip(1).zip([(128, 128), (32, 32), (0, 32)]) {
        let plain = policy.parameters();
        let (head, biases) = (plain.len() - 8 * 33, plain.len() - 8);
        let rename = |from: &[f64]| {
            let mut to = from.to_vec();
            for (start, width) in [(start, width), (head, 32), (biases, 1)] {
                for i in 0..8 {
                    let row = |i: usize| start + i * width..start + (i + 1) * width;
                    to[row(renamed(i))].copy_from_slice(&from[row(i)]);
                }
            }
            to
        };
        let mut gradient = |parameters: &[f64], tokens: [usize; 2]| {
            policy.set_parameters(parameters);
            let episode = all.iter().find(|e| e.choices().map(|c| c.option).eq(tokens)).unwrap();
            policy.gradient(&[episode], &[0.7, -0.3], 0.2);
            policy.last_gradient()
        };
        let (expected, other) =
            (rename(&gradient(&plain, [1, 3])), gradient(&rename(&plain), [renamed(1), renamed(3)]));
        assert!(expected.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(expected != gradient(&plain, [1, 3]), "the names matter without their weights");
    }
}

#[test]
fn what_was_decided_matters_to_networks() {
    for space in [cube(3, 5), conditional()] {
        let environment = Environment::new(space);
        for policy in policies(&environment).iter_mut().skip(1) {
            let mut last = std::collections::BTreeSet::new();
            for episode in &episodes(&environment) {
                let mut log_probs = Vec::new();
                policy.log_probs(&[episode], &mut log_probs);
                last.insert(log_probs[log_probs.len() - 1].to_bits());
            }
            assert!(last.len() > 5, "{}: independent logits have {} at most", policy.name(), last.len());
        }
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
                let Sampled { episode, log_prob: said } = edit(&mut **policy, &environment, parent, &mut rng).unwrap();
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
