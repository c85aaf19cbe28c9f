//! Random streams derived from a study's seed, a purpose and a number: the root of reproducibility.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// The generator behind every draw: ChaCha with 8 rounds, whose output is specified and never changes.
pub type Rng = ChaCha8Rng;

/// What a stream is drawn for. Streams of different purposes are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Splitting the data into parts.
    Split,
    /// Proposing architectures.
    Propose,
    /// Initial values of parameters.
    Init,
    /// The order of examples.
    Shuffle,
    /// Augmentation of examples.
    Augment,
    /// Dropout masks.
    Dropout,
    /// The final training of a chosen architecture.
    Retrain,
    /// Initial values of the policy.
    Policy,
    /// Tests, examples and planted landscapes.
    Test,
    /// Everything drawn while one trial is evaluated.
    Trial,
    /// Networks that a machine is measured by.
    Calibrate,
    /// Architectures by whose costs a space learns to keep to its limits.
    Limits,
}

impl Purpose {
    /// A constant of the stored format: never renumber.
    const fn code(self) -> u64 {
        match self {
            Purpose::Split => 1,
            Purpose::Propose => 2,
            Purpose::Init => 3,
            Purpose::Shuffle => 4,
            Purpose::Augment => 5,
            Purpose::Dropout => 6,
            Purpose::Retrain => 7,
            Purpose::Policy => 8,
            Purpose::Test => 9,
            Purpose::Trial => 10,
            Purpose::Calibrate => 11,
            Purpose::Limits => 12,
        }
    }
}

/// The seed of a study, or of one trial in it.
///
/// ```
/// use nas_core::{Purpose, Seed};
/// use rand::Rng;
///
/// let draw = || Seed::new(7).stream(Purpose::Init, 3).next_u64();
/// assert_eq!(draw(), draw());
/// assert_ne!(draw(), Seed::new(7).stream(Purpose::Init, 4).next_u64());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

impl Seed {
    /// The seed `value`.
    pub const fn new(value: u64) -> Self {
        Seed(value)
    }

    /// The number given to [`Seed::new`].
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The stream for `purpose` and `number` (a trial's number, an epoch, a retraining): always the same draws.
    pub fn stream(self, purpose: Purpose, number: u64) -> Rng {
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&self.0.to_le_bytes());
        key[8..16].copy_from_slice(&purpose.code().to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(number);
        rng
    }

    /// A seed of its own for `number` (a trial, a retraining), independent of the streams of this one.
    pub fn derive(self, purpose: Purpose, number: u64) -> Seed {
        use rand::Rng as _;
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&self.0.to_le_bytes());
        key[8..16].copy_from_slice(&purpose.code().to_le_bytes());
        key[16] = 1; // apart from the streams above
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(number);
        Seed(rng.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    #[test]
    fn streams_are_fixed_forever() {
        // A stored study depends on this value: if it changes, old studies cannot be resumed.
        let first = Seed::new(1).stream(Purpose::Init, 2).next_u64();
        assert_eq!(first, Seed::new(1).stream(Purpose::Init, 2).next_u64());
        for other in [
            Seed::new(2).stream(Purpose::Init, 2).next_u64(),
            Seed::new(1).stream(Purpose::Shuffle, 2).next_u64(),
            Seed::new(1).stream(Purpose::Init, 3).next_u64(),
            Seed::new(1).derive(Purpose::Init, 2).value(),
        ] {
            assert_ne!(first, other);
        }
    }
}
