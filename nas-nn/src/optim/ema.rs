//! A moving mean of the weights.

use crate::error::GraphError;
use crate::{Params, kernel};

/// The exponential moving mean of a network's parameters over its training: often better than the last ones (Polyak &
/// Juditsky, 1992; with exponential weights as in Tarvainen & Valpola, 2017).
///
/// s ← d s + (1 − d) p, corrected for its start at zero as Adam's moments are: s / (1 − dᵗ). It is kept corrected, by
/// s ← s + (p − s) (1 − d) / (1 − dᵗ). Running statistics are averaged along. Costs a copy of the parameters.
///
/// ```
/// use nas_nn::{Feed, Graph, Params, Program, optim::{Ema, Sgd}};
/// use rand_chacha::rand_core::SeedableRng;
///
/// let graph = Graph::new();
/// let y = graph.input("x", &[1]).linear(1);
/// let mut params = Params::init(&graph, &mut nas_nn::Rng::seed_from_u64(1));
/// let mut program = Program::train(&graph, y.sum(), &[], 2)?;
/// let (mut sgd, mut ema) = (Sgd::new(0.1), Ema::new(0.99, &params));
/// for _ in 0..10 {
///     program.step(&Feed::new(2).with("x", &[1.0, 2.0]), &mut params, &mut sgd)?;
///     ema.update(&params)?;
/// }
/// let mut eval = Program::eval(&graph, &[y], 2)?;
/// eval.run(&Feed::new(2).with("x", &[3.0, 4.0]), ema.params())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ema {
    decay: f32,
    updates: u64,
    mean: Params,
}

impl Ema {
    /// A mean that begins with `params` and forgets all but the share `decay` of itself at an update: 0.999 is common,
    /// less for short trainings.
    ///
    /// # Panics
    /// When `decay` is not in [0, 1).
    pub fn new(decay: f32, params: &Params) -> Self {
        assert!((0.0..1.0).contains(&decay), "the decay of a moving mean is 0 or more and below 1, not {decay}");
        Ema { decay, updates: 0, mean: params.clone() }
    }

    /// Takes `params` in. After the first update the mean is just them.
    ///
    /// # Errors
    /// When they are of another graph; nothing is changed then.
    pub fn update(&mut self, params: &Params) -> Result<(), GraphError> {
        self.mean.layout().check(params.layout())?;
        self.updates += 1;
        if self.updates == 1 {
            self.mean.values.copy_from_slice(&params.values);
            self.mean.states.iter_mut().zip(&params.states).for_each(|(mean, state)| mean.copy_from_slice(state));
            return Ok(());
        }
        let decay = f64::from(self.decay);
        let share = ((1.0 - decay) / (1.0 - decay.powf(self.updates as f64))) as f32;
        kernel::approach(share, &params.values, &mut self.mean.values);
        for (mean, state) in self.mean.states.iter_mut().zip(&params.states) {
            kernel::approach(share, state, mean);
        }
        Ok(())
    }

    /// The mean, to evaluate or store; the parameters of the start before the first update.
    pub fn params(&self) -> &Params {
        &self.mean
    }

    /// Exchanges the mean and `params`, without a copy: for code that wants the mean where the parameters are. A second
    /// exchange undoes it; an update between the two would mix them up.
    ///
    /// # Errors
    /// When they are of another graph; nothing is changed then.
    pub fn swap(&mut self, params: &mut Params) -> Result<(), GraphError> {
        self.mean.layout().check(params.layout())?;
        std::mem::swap(&mut self.mean, params);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::Graph;

    fn params(outputs: usize) -> Params {
        let graph = Graph::new();
        let _ = graph.input("x", &[3]).linear(outputs).batch_norm();
        Params::init(&graph, &mut crate::Rng::seed_from_u64(7))
    }

    proptest! {
        #[test]
        fn the_mean_is_the_corrected_one(decay in 0.0_f32..0.9999, steps in 1_usize..30) {
            let mut params = params(2);
            let mut ema = Ema::new(decay, &params);
            let d = f64::from(decay);
            let (mut sums, mut state_sum) = (vec![0.0; params.len()], 0.0);
            for t in 1..=steps {
                for (i, p) in params.values_mut().iter_mut().enumerate() {
                    *p = ((t * 31 + i * 17) % 23) as f32 / 11.0 - 1.0;
                }
                params.states[0][1] = t as f32 / 30.0;
                sums.iter_mut().zip(params.values()).for_each(|(s, p)| *s = d * *s + (1.0 - d) * f64::from(*p));
                state_sum = d * state_sum + (1.0 - d) * f64::from(params.states[0][1]);
                ema.update(&params).unwrap();
                let correction = 1.0 - d.powi(t as i32);
                for (found, sum) in ema.params().values().iter().zip(&sums) {
                    prop_assert!((f64::from(*found) - sum / correction).abs() < 2e-5, "{found}, {}", sum / correction);
                }
                let state = f64::from(ema.params().states[0][1]);
                prop_assert!((state - state_sum / correction).abs() < 2e-5);
            }
        }
    }

    #[test]
    fn three_updates_by_hand() {
        let mut params = params(1);
        let mut ema = Ema::new(0.5, &params);
        assert_eq!(ema.params(), &params);
        for (value, mean) in [(8.0, 8.0), (2.0, 4.0), (1.0, 16.0 / 7.0)] {
            // (0.5·8·0.5 + 0.5·2) / 0.75 = 4, and (0.125·8 + 0.25·2 + 0.5·1) / 0.875 = 16/7.
            params.values_mut().fill(value);
            ema.update(&params).unwrap();
            ema.params().values().iter().for_each(|&m| assert_abs_diff_eq!(m, mean, epsilon = 1e-6));
        }
    }

    #[test]
    fn two_swaps_change_nothing() {
        let mut params = params(2);
        let mut ema = Ema::new(0.9, &params);
        params.values_mut().fill(3.0);
        let (p, e) = (params.clone(), ema.clone());
        ema.swap(&mut params).unwrap();
        assert_eq!((&params, ema.params()), (e.params(), &p));
        ema.swap(&mut params).unwrap();
        assert_eq!((params, ema), (p, e));
    }

    #[test]
    fn parameters_of_another_graph_are_refused() {
        let mut ema = Ema::new(0.9, &params(2));
        let before = ema.clone();
        let error = ema.update(&params(3)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the parameters belong to another graph: expected 6 tensors of 16 numbers, got 6 of 24; the first difference: \
             expected \"linear.weight\" [3, 2], got \"linear.weight\" [3, 3]"
        );
        assert_eq!(ema.swap(&mut params(3)), Err(error));
        assert_eq!(ema, before);
    }

    #[test]
    #[should_panic(expected = "below 1, not 1")]
    fn a_mean_that_never_moves_is_refused() {
        let _ = Ema::new(1.0, &params(1));
    }
}
