//! What is measured: the workloads that engines are compared on. Criterion's benchmarks are in `benches/`, the program that is
//! measured beside PyTorch in `src/bin`; `cargo xtask bench` runs both.

pub mod workloads;
