//! Empty: the tests that cross crates or run the binary are in `it/`.
