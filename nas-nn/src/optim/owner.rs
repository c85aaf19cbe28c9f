//! Whose state an optimizer has: that of one network cannot be used for another.

use serde::{Deserialize, Serialize};

use crate::error::{Difference, FeedError};
use crate::params::Layout;

/// The network that an optimizer's state belongs to; none before the first update by a [`Program`](crate::Program).
///
/// ```
/// use nas_nn::{Feed, Graph, Params, Program, optim::Adam};
/// use rand_chacha::rand_core::SeedableRng;
///
/// let mut adam = Adam::new(1e-3);
/// let mut step = |name: &str| {
///     let graph = Graph::new();
///     let loss = graph.input("x", &[3]).scope(name, |x| x.linear(2)).sum();
///     let mut params = Params::init(&graph, &mut nas_nn::Rng::seed_from_u64(1));
///     let mut program = Program::train(&graph, loss, &[], 1).unwrap();
///     program.step(&Feed::new(1).with("x", &[1.0; 3]), &mut params, &mut adam)
/// };
/// step("head")?;
/// step("head")?;
/// let error = step("neck").unwrap_err().to_string();
/// assert!(error.contains(r#"expected "head.linear.weight" [3, 2], got "neck.linear.weight" [3, 2]"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Owner(Option<Known>);

/// A network by its trainable tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    id: u64,
    tensors: Vec<(String, Vec<usize>)>,
}

impl Owner {
    /// Whether it is of no network yet.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it may be used for the network with `layout`.
    ///
    /// # Errors
    /// When it belongs to another.
    pub(crate) fn check(&self, layout: &Layout) -> Result<(), FeedError> {
        match &self.0 {
            Some(known) if known.id != layout.trainable_id() => {
                let own = known.tensors.iter().map(|(path, dims)| (&**path, &**dims));
                Err(FeedError::Optimizer(Box::new(Difference::between(own, layout.trainable()))))
            }
            _ => Ok(()),
        }
    }

    /// Belongs to the network with `layout` from now on.
    pub(crate) fn claim(&mut self, layout: &Layout) {
        let tensors = || layout.trainable().map(|(path, dims)| (path.to_owned(), dims.to_vec())).collect();
        self.0.get_or_insert_with(|| Known { id: layout.trainable_id(), tensors: tensors() });
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::optim::{Adam, Algorithm, Optimizer, Settings, Sgd};
    use crate::{Feed, Graph, Params, Program, Rng};

    /// A step with a network of one layer from 4 values to `units` under `name`; the parameters before, if it fails.
    fn step(name: &str, units: usize, optimizer: &mut dyn Optimizer) -> Result<Params, String> {
        let graph = Graph::new();
        let loss = graph.input("x", &[4]).scope(name, |x| x.linear_no_bias(units)).sum();
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(1));
        let before = params.clone();
        let mut program = Program::train(&graph, loss, &[], 1).unwrap();
        let stepped = program.step(&Feed::new(1).with("x", &[1.0; 4]), &mut params, optimizer);
        assert_eq!(params == before, stepped.is_err(), "an error changes nothing, a step does");
        stepped.map(|_| params).map_err(|error| error.to_string())
    }

    #[test]
    fn the_state_of_another_network_is_refused() {
        for algorithm in Algorithm::ALL {
            let mut settings = Settings::of(algorithm, 0.1);
            settings.momentum = 0.9;
            let mut optimizer = settings.build();
            step("a", 3, &mut *optimizer).unwrap();
            let (text, first) =
                ("the optimizer's state belongs to another network; this one needs its own: ", "the first");
            // As many numbers under another name, and other sizes.
            for (name, units, count) in [("b", 3, 12), ("a", 5, 20)] {
                assert_eq!(
                    step(name, units, &mut *optimizer).unwrap_err(),
                    format!(
                        "{text}expected 1 tensors of 12 numbers, got 1 of {count}; {first} difference: expected \
                         \"a.linear.weight\" [4, 3], got \"{name}.linear.weight\" [4, {units}]"
                    ),
                    "{algorithm}"
                );
            }
            step("a", 3, &mut *optimizer).unwrap();
        }
    }

    #[test]
    fn without_a_state_any_network_will_do() {
        let mut sgd = Sgd::new(0.1);
        sgd.momentum = 0.0;
        for (name, units) in [("a", 3), ("b", 3), ("a", 5)] {
            step(name, units, &mut sgd).unwrap();
        }
    }

    #[test]
    fn a_stored_state_knows_its_network() {
        let mut adam = Adam::new(0.1);
        assert!(!serde_json::to_string(&adam).unwrap().contains("owner"), "nothing to say yet");
        step("a", 3, &mut adam).unwrap();
        let mut stored: Adam = serde_json::from_str(&serde_json::to_string(&adam).unwrap()).unwrap();
        assert!(step("b", 3, &mut stored).is_err());
        assert_eq!(step("a", 3, &mut stored), step("a", 3, &mut adam));
        assert!(step("b", 3, &mut adam.clone()).is_err());
    }
}
