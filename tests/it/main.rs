//! Tests that cross crates or run the `nas` binary: one test binary, so everything is linked once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod ends;
mod errors;
mod images;
mod nas;
mod study;
mod tour;
mod usage;
