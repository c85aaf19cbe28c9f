//! Bad input of the engine: each mistake is one error with the place and the numbers, never a panic, and changes nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod graphs;
mod random;
mod values;
mod weights;
