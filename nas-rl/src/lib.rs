//! Policy-gradient controllers.
/// x
pub fn strategy(name: &str, space: &nas_core::SearchSpace, seed: nas_core::Seed) -> Result<Box<dyn nas_core::Strategy>, String> {
    match name {
        "evolution" => Ok(Box::new(nas_core::strategy::Evolution::new(space.clone(), seed))),
        _ => Ok(Box::new(nas_core::strategy::RandomSearch::new(space.clone(), seed))),
    }
}
