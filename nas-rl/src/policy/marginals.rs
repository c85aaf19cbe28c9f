//! How likely a policy is to choose each option, whatever it chose before.

use nas_core::{ArchitectureError, Rng};

use super::{Policy, draw};
use crate::environment::Environment;

/// Episodes that are averaged over.
const EPISODES: usize = 256;

/// The probability of every option of every slot, slot by slot; a slot's figures add up to the probability that it is open.
///
/// They are averages, over episodes drawn from `policy`, of its distribution at each step: exact where no choice depends
/// on those before it, and otherwise within 0.03 or so.
///
/// # Errors
/// Never for a policy that keeps to the masks.
pub fn marginals(
    policy: &mut dyn Policy,
    environment: &Environment,
    rng: &mut Rng,
) -> Result<Vec<Vec<f64>>, ArchitectureError> {
    let mut sums: Vec<Vec<f64>> = environment.arity().iter().map(|&options| vec![0.0; options]).collect();
    let mut p = Vec::new();
    for _ in 0..EPISODES {
        policy.begin();
        let drawn = environment.episode(rng, |slot, mask, rng| {
            policy.probabilities(slot, mask, &mut p);
            sums[slot].iter_mut().zip(&p).for_each(|(sum, p)| *sum += p / EPISODES as f64);
            let option = draw(&p, rng);
            policy.follow(slot, option);
            option
        });
        // What breaks the space's limits in the end was chosen all the same.
        drawn
            .map_or_else(|e| if matches!(e, ArchitectureError::Limits { .. }) { Ok(()) } else { Err(e) }, |_| Ok(()))?;
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::policy::{Independent, log_prob};
    use crate::testing::{conditional, cube, episodes};

    fn draws() -> Rng {
        Seed::new(5).stream(Purpose::Test, 0)
    }

    #[test]
    fn exact_where_choices_are_independent() {
        let environment = Environment::new(cube(3, 4));
        let mut policy = Independent::new(&environment, 0.1);
        let logits: Vec<f64> = (0..12).map(|i| f64::from(i % 5)).collect();
        policy.set_parameters(&logits);
        for (row, logits) in marginals(&mut policy, &environment, &mut draws()).unwrap().iter().zip(logits.chunks(4)) {
            let sum: f64 = logits.iter().map(|x| x.exp()).sum();
            assert!(row.iter().zip(logits).all(|(p, x)| (p - x.exp() / sum).abs() < 1e-12));
        }
    }

    #[test]
    fn near_the_enumerated_ones_where_slots_close() {
        let environment = Environment::new(conditional());
        let mut policy = Independent::new(&environment, 0.1);
        let uneven: Vec<f64> = (0..policy.parameters().len()).map(|i| (i * 7 % 5) as f64 * 0.3).collect();
        policy.set_parameters(&uneven);
        let mut exact: Vec<Vec<f64>> = environment.arity().iter().map(|&n| vec![0.0; n]).collect();
        for episode in episodes(&environment) {
            let p = log_prob(&mut policy, &episode).exp();
            episode.choices().for_each(|choice| exact[choice.slot][choice.option] += p);
        }
        let estimated = marginals(&mut policy, &environment, &mut draws()).unwrap();
        for (row, exact) in estimated.iter().zip(&exact) {
            assert!(row.iter().zip(exact).all(|(a, b)| (a - b).abs() < 0.06), "{row:?} {exact:?}");
        }
    }
}
