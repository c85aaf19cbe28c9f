//! Tests that cross crates or run the `nas` binary: one test binary, so everything is linked once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bench;
mod compare;
mod ends;
mod errors;
#[cfg(unix)]
mod external;
mod goals;
mod images;
mod limits;
mod nas;
mod ratings;
mod series;
mod spaces;
mod study;
mod tables;
mod tour;
mod training;
mod usage;
