//! What networks cost, for the limits of a search space.

use std::sync::Arc;

use nas_core::Architecture;
use nas_core::space::{Costs, Limits};

use crate::Plan;
use crate::family::{self, Family, Task};
use crate::graph::Graph;
use crate::train::Recipe;

/// What the networks of a family cost, read off their graphs: `params`, `madds` (multiply-adds for one example) and `memory`
/// (bytes to train it). They are the metrics `parameters`, `madds` and `memory` of
/// [`ChildTrainer`](crate::evaluator::ChildTrainer) to the last digit.
///
/// ```
/// use std::sync::Arc;
///
/// use nas_core::space::Limits;
/// use nas_core::{Purpose, Seed};
/// use nas_nn::costs::NetworkCosts;
/// use nas_nn::family::{CnnCell, Family as _};
///
/// let task = CnnCell.usual_task();
/// let costs = NetworkCosts::new(Arc::new(CnnCell), task.clone(), CnnCell.search_recipe(), 6000);
/// let space = CnnCell.space(&task)?.limited(Limits::new().with("params", 40_000), Arc::new(costs))?;
/// let small = space.sample(&mut Seed::new(1).stream(Purpose::Propose, 0));
/// assert!(nas_nn::family::outline(&CnnCell, &small, &task)?.1.parameters <= 40_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NetworkCosts {
    family: Arc<dyn Family>,
    task: Task,
    recipe: Recipe,
    examples: usize,
}

impl NetworkCosts {
    /// The number of parameters.
    pub const PARAMS: &'static str = "params";
    /// Multiply-adds for one example.
    pub const MADDS: &'static str = "madds";
    /// Bytes that training holds.
    pub const MEMORY: &'static str = Limits::MEMORY;

    /// The costs of `family`'s networks for `task`, trained by `recipe` on so many examples.
    pub fn new(family: Arc<dyn Family>, task: Task, recipe: Recipe, examples: usize) -> Self {
        NetworkCosts { family, task, recipe, examples }
    }
}

impl Costs for NetworkCosts {
    fn figures(&self) -> &[&'static str] {
        &[Self::PARAMS, Self::MADDS, Self::MEMORY]
    }

    fn costs(&self, architecture: &Architecture, figures: &[&str]) -> Result<Vec<u64>, String> {
        let graph = Graph::new();
        let model =
            family::model(&graph, &*self.family, architecture, &self.task, 0.0).map_err(|error| error.to_string())?;
        let cost = graph.cost();
        let figure = |name: &&str| match *name {
            Self::PARAMS => Ok(cost.parameters),
            Self::MADDS => Ok(cost.madds),
            Self::MEMORY => {
                let recipe = family::tuned(architecture, &self.recipe).map_err(|error| error.to_string())?;
                let batch = recipe.batch.min(self.examples);
                let plan = Plan::train(&graph, model.loss, &[], batch).map_err(|error| error.to_string())?;
                Ok(crate::evaluator::memory(cost, &plan))
            }
            other => Err(format!("networks have no figure \"{other}\"")),
        };
        figures.iter().map(figure).collect()
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed, Tokens};
    use rand::RngExt as _;

    use super::*;
    use crate::evaluator::training_cost;

    #[test]
    fn the_figures_of_a_trial() {
        for family in family::families() {
            let task = family.usual_task();
            let architecture = family.default_architecture();
            let batch = family.search_recipe().batch.min(16);
            let expected = training_cost(&*family, &architecture, &task, batch).unwrap();
            let costs = NetworkCosts::new(Arc::clone(&family), task, family.search_recipe(), 16);
            let told = costs.costs(&architecture, costs.figures()).unwrap();
            assert_eq!(told, [expected.cost.parameters, expected.cost.madds, expected.memory], "{}", family.name());
        }
    }

    /// Draws of every family under limits that a part of its networks keeps to, by draws and by walks.
    fn check_draws(draws: u64, kinds: &[&[(&'static str, f64)]]) {
        for family in family::families() {
            let task = family.usual_task();
            let space = family.space(&task).unwrap();
            let mut rng = Seed::new(2).stream(Purpose::Propose, 0);
            let costs =
                Arc::new(NetworkCosts::new(Arc::clone(&family), task.clone(), family.search_recipe(), usize::MAX));
            let cost = |architecture: &Architecture, figure: &str| costs.costs(architecture, &[figure]).unwrap()[0];
            for kind in kinds {
                let limit = |limits: Limits, &(figure, part): &(&str, f64)| {
                    let mut all: Vec<u64> = (0..24).map(|_| cost(&space.sample(&mut rng), figure)).collect();
                    all.sort_unstable();
                    limits.with(figure, all[(23.0 * part) as usize])
                };
                let limits = kind.iter().fold(Limits::new(), limit);
                let limited = space.limited(limits.clone(), Arc::clone(&costs) as Arc<dyn Costs>).unwrap();
                let check = |tokens: &Tokens| {
                    let architecture = space.architecture(tokens).unwrap();
                    for (figure, most) in limits.iter() {
                        assert!(cost(&architecture, figure) <= most, "{}: {figure} of {architecture}", family.name());
                    }
                };
                for number in 0..draws {
                    let mut rng = Seed::new(number).stream(Purpose::Propose, 1);
                    let tokens = limited.sample_tokens(&mut rng);
                    check(&tokens);
                    check(&limited.mutate_tokens(&tokens, &mut rng));
                    let mut walk = limited.walk();
                    while let Some(step) = walk.next() {
                        let open: Vec<usize> = (0..step.mask.len()).filter(|&option| step.mask[option]).collect();
                        // When limits turn out to be broken the walk begins again.
                        _ = walk.choose(open[rng.random_range(0..open.len())]);
                    }
                    check(walk.tokens());
                }
            }
        }
    }

    #[test]
    fn no_draw_of_any_family_breaks_a_limit() {
        check_draws(30, &[&[("params", 0.3)], &[("params", 0.6), ("madds", 0.6)]]);
    }

    #[test]
    #[ignore = "a minute; run by `cargo xtask ci`"]
    fn thousands_of_draws_break_no_limit() {
        check_draws(400, &[&[("params", 0.1)], &[("madds", 0.5)], &[("params", 0.5), ("madds", 0.5)]]);
    }

    #[test]
    fn memory_is_kept_to() {
        let family = family::family("rnn").unwrap();
        let task = family.usual_task();
        let costs = NetworkCosts::new(Arc::clone(&family), task.clone(), family.search_recipe(), 1000);
        let space =
            family.space(&task).unwrap().limited(Limits::new().with("memory", 4 << 20), Arc::new(costs)).unwrap();
        let mut rng = Seed::new(2).stream(Purpose::Propose, 0);
        let batch = family.search_recipe().batch.min(1000);
        for _ in 0..40 {
            let cost = training_cost(&*family, &space.sample(&mut rng), &task, batch).unwrap();
            assert!(cost.memory <= 4 << 20, "{}", cost.memory);
        }
    }

    #[test]
    fn what_cannot_be_built_has_no_figures() {
        let family = family::family("cnn_cell").unwrap();
        let costs = NetworkCosts::new(Arc::clone(&family), family.usual_task(), family.search_recipe(), 16);
        let unknown = Architecture::new().with("stem", "conv9x9".into());
        assert!(costs.costs(&unknown, &["params"]).unwrap_err().contains("conv9x9"));
        assert!(costs.costs(&family.default_architecture(), &["price"]).unwrap_err().contains("price"));
    }
}
