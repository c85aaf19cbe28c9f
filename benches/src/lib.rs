//! Empty: the benchmarks are in `benches/`, run by `cargo xtask bench`.
