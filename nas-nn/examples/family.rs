//! A family of networks of your own in Rust: patches of an image, each mapped by the same layers, searched by a study.

use std::sync::{Arc, atomic::AtomicBool};

use nas_core::strategy::RandomSearch;
use nas_core::{Architecture, Budget, MemoryStorage, Purpose, SearchSpace, Seed, Study, StudyRecord, Trial, Value};
use nas_nn::data::demo::fashion_mnist_mini;
use nas_nn::family::{Family, FamilyError, Task};
use nas_nn::op::{Activation, Conv2d};
use nas_nn::optim::Algorithm;
use nas_nn::train::Recipe;
use nas_nn::{ChildTrainer, Var};

/// A patch is a token; tokens share residual layers and are averaged in the end.
struct Patches;

impl Family for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn describe(&self) -> &'static str {
        "residual layers over the patches of an image"
    }

    fn space(&self, _: &Task) -> Result<SearchSpace, FamilyError> {
        let space = SearchSpace::builder("patches").integer("patch", 2..=7).integer("width", 16..=64).step(16);
        Ok(space.integer("depth", 1..=3).choice("activation", ["relu", "silu"]).build()?)
    }

    /// What the winner has to beat.
    fn default_architecture(&self) -> Architecture {
        let numbers = [("patch", 4), ("width", 32), ("depth", 1)];
        let architecture = Architecture::new().with("activation", "relu".into());
        numbers.into_iter().fold(architecture, |architecture, (path, n)| architecture.with(path, Value::Integer(n)))
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let (patch, width) = (architecture.size("patch")?, architecture.size("width")?);
        let activation: Activation =
            architecture.choice("activation")?.parse().map_err(|e| FamilyError::Task(format!("patches: {e}")))?;
        let mut x = inputs[0].scope("patches", |x| x.conv(Conv2d::new(width, patch).stride(patch).padding([0; 4])));
        for layer in 0..architecture.size("depth")? {
            let mix = |x: Var<'g>| x.conv2d(width, 1).batch_norm().activation(activation);
            x = x + x.scope(&format!("layer{layer}"), mix);
        }
        let classes = task.target().classes.ok_or_else(|| FamilyError::Task("patches are classified".to_owned()))?;
        Ok(x.global_avg_pool().linear(classes))
    }

    fn search_recipe(&self) -> Recipe {
        Recipe { epochs: 2, ..self.final_recipe() }
    }

    fn final_recipe(&self) -> Recipe {
        Recipe { epochs: 20, batch: 32, optimizer: Algorithm::AdamW, learning_rate: 3e-3, ..Recipe::default() }
    }
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (data, seed) = (fashion_mnist_mini()?, Seed::new(1));
    let (train, validation) = data.train.split(0.2, &mut seed.stream(Purpose::Split, 0))?;
    let (family, task) = (Arc::new(Patches), train.task());
    let space = family.space(&task)?;
    let strategy = Box::new(RandomSearch::new(space.clone(), seed)); // or nas_rl::strategy("pqt-surrogate", …)
    let record = StudyRecord {
        space,
        objective: task.objective(),
        seed,
        strategy: "random".to_owned(),
        lag: StudyRecord::LAG,
        early_stopping: None,
        warm_start: None,
        configuration: serde_json::Value::Null,
    };
    let recipe = family.search_recipe();
    let trainer = ChildTrainer::new(family, task, train, validation, recipe, 1 << 30);
    let mut study = Study::create(record, strategy, Arc::new(MemoryStorage::new()))?;
    study.run(&trainer, &Budget::trials(4), 2, &(), &AtomicBool::new(false))?;
    let best = study.best().ok_or("no trial succeeded")?;
    println!("{}: accuracy {:.3}", best.architecture, Trial::reward(best).unwrap_or_default());
    Ok(())
}
