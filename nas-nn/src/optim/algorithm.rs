//! Optimizers by name, for search spaces and recipes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Adam, Lamb, Optimizer, RmsProp, Sgd};

/// An optimizer, by name: what a search space chooses.
///
/// ```
/// use nas_nn::optim::{Algorithm, Settings};
///
/// let algorithm: Algorithm = "adamw".parse()?;
/// assert_eq!(algorithm, Algorithm::AdamW);
/// let settings = Settings { decay_only_matrices: true, ..Settings::of(algorithm, 1e-3) };
/// assert_eq!(settings.weight_decay, 0.01);
/// let mut optimizer = settings.build();
/// optimizer.set_learning_rate(1e-4);
/// # Ok::<(), nas_nn::optim::UnknownAlgorithm>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// [`Sgd`] with Nesterov momentum.
    Sgd,
    /// [`Adam`], the decay through the gradient.
    Adam,
    /// [`Adam`] with decoupled decay.
    AdamW,
    /// [`RmsProp`].
    RmsProp,
    /// [`Lamb`].
    Lamb,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Sgd, Algorithm::Adam, Algorithm::AdamW, Algorithm::RmsProp, Algorithm::Lamb];

    /// Its name: `sgd`, `adam`, `adamw`, `rmsprop` or `lamb`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sgd => "sgd",
            Algorithm::Adam => "adam",
            Algorithm::AdamW => "adamw",
            Algorithm::RmsProp => "rmsprop",
            Algorithm::Lamb => "lamb",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no optimizer has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no optimizer \"{name}\"; there are {}", Algorithm::ALL.map(Algorithm::name).join(", "))]
pub struct UnknownAlgorithm {
    /// What was asked for.
    pub name: String,
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or_else(|| UnknownAlgorithm { name: name.to_owned() })
    }
}

/// What all optimizers have in common; the rest is as published.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Which one.
    pub algorithm: Algorithm,
    /// η.
    pub learning_rate: f32,
    /// μ of SGD and RMSprop; β₁ of the others.
    pub momentum: f32,
    /// λ.
    pub weight_decay: f32,
    /// Whether tensors of less than two axes (biases, gains of norms) do not decay.
    pub decay_only_matrices: bool,
}

impl Settings {
    /// The usual ones: momentum 0.9 but for RMSprop, which has none; weight decay 0.01 for AdamW and LAMB, none for the
    /// others; every tensor decays.
    pub fn of(algorithm: Algorithm, learning_rate: f32) -> Self {
        let momentum = if algorithm == Algorithm::RmsProp { 0.0 } else { 0.9 };
        let weight_decay = if matches!(algorithm, Algorithm::AdamW | Algorithm::Lamb) { 0.01 } else { 0.0 };
        Settings { algorithm, learning_rate, momentum, weight_decay, decay_only_matrices: false }
    }

    /// A new optimizer with these settings.
    pub fn build(&self) -> Box<dyn Optimizer> {
        let Settings { algorithm, learning_rate, momentum, weight_decay, decay_only_matrices } = *self;
        match algorithm {
            Algorithm::Sgd => {
                let mut sgd = Sgd::new(learning_rate);
                (sgd.momentum, sgd.weight_decay) = (momentum, weight_decay);
                sgd.decay_only_matrices = decay_only_matrices;
                Box::new(sgd)
            }
            Algorithm::Adam | Algorithm::AdamW => {
                let mut adam = Adam::new(learning_rate);
                (adam.beta1, adam.weight_decay) = (momentum, weight_decay);
                adam.decoupled = algorithm == Algorithm::AdamW;
                adam.decay_only_matrices = decay_only_matrices;
                Box::new(adam)
            }
            Algorithm::RmsProp => {
                let mut rms = RmsProp::new(learning_rate);
                (rms.momentum, rms.weight_decay) = (momentum, weight_decay);
                rms.decay_only_matrices = decay_only_matrices;
                Box::new(rms)
            }
            Algorithm::Lamb => {
                let mut lamb = Lamb::new(learning_rate);
                (lamb.beta1, lamb.weight_decay) = (momentum, weight_decay);
                lamb.decay_only_matrices = decay_only_matrices;
                Box::new(lamb)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::super::testing::{tensors, values};
    use super::*;
    use crate::{Feed, Graph, Params, Program};

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
            assert_eq!(serde_json::to_string(&algorithm).unwrap(), format!("\"{algorithm}\""));
        }
        assert_eq!(
            "adagrad".parse::<Algorithm>().unwrap_err().to_string(),
            "there is no optimizer \"adagrad\"; there are sgd, adam, adamw, rmsprop, lamb"
        );
    }

    /// Five steps of what `settings` build are those of `direct`.
    #[track_caller]
    fn check_same(settings: Settings, mut direct: impl Optimizer) {
        let mut built = settings.build();
        let (mut found, mut expected) = (values(0), values(0));
        for t in 1..=5 {
            built.update(&mut found, &values(t), &tensors());
            direct.update(&mut expected, &values(t), &tensors());
        }
        assert_eq!(found, expected, "{settings:?}");
    }

    #[test]
    fn the_usual_settings_are_those_of_the_constructors() {
        check_same(Settings::of(Algorithm::Sgd, 0.1), Sgd::new(0.1));
        check_same(Settings::of(Algorithm::Adam, 0.1), Adam::new(0.1));
        check_same(Settings::of(Algorithm::AdamW, 0.1), Adam::adamw(0.1, 0.01));
        check_same(Settings::of(Algorithm::RmsProp, 0.1), RmsProp::new(0.1));
        check_same(Settings::of(Algorithm::Lamb, 0.1), Lamb::new(0.1));
    }

    #[test]
    fn settings_arrive() {
        let set = |algorithm| Settings {
            momentum: 0.5,
            weight_decay: 0.3,
            decay_only_matrices: true,
            ..Settings::of(algorithm, 0.1)
        };
        let (mut sgd, mut adam) = (Sgd::new(0.1), Adam::new(0.1));
        (sgd.momentum, sgd.weight_decay) = (0.5, 0.3);
        (adam.beta1, adam.weight_decay) = (0.5, 0.3);
        let mut adamw = Adam::adamw(0.1, 0.3);
        adamw.beta1 = 0.5;
        let (mut rms, mut lamb) = (RmsProp::new(0.1), Lamb::new(0.1));
        (rms.momentum, rms.weight_decay) = (0.5, 0.3);
        (lamb.beta1, lamb.weight_decay) = (0.5, 0.3);
        check_same(set(Algorithm::Sgd), sgd.decay_only_matrices());
        check_same(set(Algorithm::Adam), adam.decay_only_matrices());
        check_same(set(Algorithm::AdamW), adamw.decay_only_matrices());
        check_same(set(Algorithm::RmsProp), rms.decay_only_matrices());
        check_same(set(Algorithm::Lamb), lamb.decay_only_matrices());
    }

    #[test]
    fn every_one_learns_exclusive_or() {
        let graph = Graph::new();
        let hidden = graph.input("x", &[2]).linear(8).tanh();
        let loss = hidden.linear(2).cross_entropy(graph.class("y", 2));
        let (xs, ys) = ([0., 0., 0., 1., 1., 0., 1., 1.], [0., 1., 1., 0.]);
        let feed = Feed::new(4).with("x", &xs).with("y", &ys);
        for algorithm in Algorithm::ALL {
            let mut params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
            let mut program = Program::train(&graph, loss, &[], 4).unwrap();
            let rate = if algorithm == Algorithm::Sgd { 0.2 } else { 0.02 };
            let mut optimizer = Settings::of(algorithm, rate).build();
            let first = program.step(&feed, &mut params, &mut *optimizer).unwrap();
            let last = (0..300).map(|_| program.step(&feed, &mut params, &mut *optimizer).unwrap()).last().unwrap();
            assert!(last < 0.1 && first > 0.4, "{algorithm}: from {first} to {last}");
        }
    }

    #[test]
    fn a_program_spares_biases_and_norms_of_decay() {
        let graph = Graph::new();
        // The gradient of everything is zero: what changes, decays.
        let loss = graph.input("x", &[3]).linear(4).batch_norm().linear(2).sum();
        let feed = [0.0; 6];
        for algorithm in Algorithm::ALL {
            let mut params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
            params.values_mut().iter_mut().for_each(|p| *p += 2.0);
            let before = params.clone();
            let mut program = Program::train(&graph, loss.scale(0.0), &[], 2).unwrap();
            let settings = Settings { weight_decay: 0.1, decay_only_matrices: true, ..Settings::of(algorithm, 0.1) };
            let feed = Feed::new(2).with("x", &feed);
            program.step(&feed, &mut params, &mut *settings.build()).unwrap();
            for (now, then) in params.tensors().zip(before.tensors()).take(6) {
                let spared = now.dims.len() < 2;
                assert_eq!(now.values == then.values, spared, "{algorithm}: {}", now.path);
                if !spared {
                    let shrunk = now.values.iter().zip(then.values).all(|(now, then)| now.abs() < then.abs());
                    assert!(shrunk, "{algorithm}: {}", now.path);
                }
            }
        }
    }
}
