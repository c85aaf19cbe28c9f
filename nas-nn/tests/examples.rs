//! The examples run.

#[path = "../examples/cnn.rs"]
mod cnn;
#[path = "../examples/family.rs"]
mod family;
#[path = "../examples/lstm.rs"]
mod lstm;
#[path = "../examples/transformer.rs"]
mod transformer;

#[test]
fn a_cnn() -> Result<(), Box<dyn std::error::Error>> {
    cnn::main()
}

#[test]
fn a_family() -> Result<(), Box<dyn std::error::Error>> {
    family::main()
}

#[test]
fn an_lstm() -> Result<(), Box<dyn std::error::Error>> {
    lstm::main()
}

#[test]
fn a_transformer() -> Result<(), Box<dyn std::error::Error>> {
    transformer::main()
}
