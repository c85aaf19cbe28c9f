//! How parameters start.

use rand::RngExt as _;
use rand_distr::{Distribution as _, StandardNormal};

use crate::Rng;

/// The distribution a parameter is drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// The same value everywhere.
    Constant(f32),
    /// Evenly from -bound to bound.
    Uniform {
        /// The largest magnitude.
        bound: f32,
    },
    /// Normal around zero.
    Normal {
        /// The standard deviation.
        std: f32,
    },
}

impl Init {
    /// All zeros.
    pub const ZEROS: Init = Init::Constant(0.0);
    /// All ones.
    pub const ONES: Init = Init::Constant(1.0);

    /// Normal with variance 2 / fan_in, which keeps the size of activations through ReLU (He et al., 2015, eq. 10).
    pub fn he(fan_in: usize) -> Init {
        Init::Normal { std: (2.0 / fan_in.max(1) as f32).sqrt() }
    }

    /// Even up to 1 / √fan_in.
    pub fn fan_in(fan_in: usize) -> Init {
        Init::Uniform { bound: 1.0 / (fan_in.max(1) as f32).sqrt() }
    }

    /// Fills `values` from `rng`.
    pub fn fill(self, values: &mut [f32], rng: &mut Rng) {
        match self {
            Init::Constant(value) => values.fill(value),
            Init::Uniform { bound } => {
                for value in values {
                    *value = rng.random_range(-bound..=bound);
                }
            }
            Init::Normal { std } => {
                for value in values {
                    let normal: f32 = StandardNormal.sample(rng);
                    *value = std * normal;
                }
            }
        }
    }
}
