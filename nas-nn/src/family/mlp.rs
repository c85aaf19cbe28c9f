//! Multi-layer perceptrons for tables: numbers and embedded categories, then fully connected layers.
//!
//! The learning rate and the weight decay are decisions too: on tables they matter as much as the layers do.

use nas_core::{Architecture, SearchSpace, Value};

use super::{Family, FamilyError, Task, one_of};
use crate::graph::Var;
use crate::init::Init;
use crate::op::Activation;
use crate::optim::Algorithm;
use crate::task::Answer;
use crate::train::Recipe;

/// The family `mlp`.
#[derive(Debug, Clone, Copy)]
pub struct Mlp;

/// The most layers, which a space file may not exceed.
const DEEPEST: usize = 16;
/// The narrowest layer of a network that narrows.
const NARROWEST: usize = 4;

/// How layers follow one another, and what stands in them before the activation.
const FORMS: [&str; 3] = ["straight", "residual", "narrowing"];
const NORMS: [&str; 3] = ["none", "batch", "layer"];

impl Family for Mlp {
    fn name(&self) -> &'static str {
        "mlp"
    }

    fn describe(&self) -> &'static str {
        "tables: depth, width, residual or narrowing layers, norm, activation, dropout, embeddings, learning rate, weight decay"
    }

    fn usual_task(&self) -> Task {
        Task::Table { numbers: 6, categories: vec![8; 8], answer: Answer::Class { classes: 2 } }
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let (categories, _) = table_task(self.name(), task)?;
        let space = SearchSpace::builder(self.name())
            .integer("depth", 1..=4)
            .integer("width", 32..=256)
            .step(32)
            .choice("form", FORMS)
            .when("depth", [2, 3, 4])
            .choice("activation", ["relu", "silu", "gelu", "tanh"])
            .choice("norm", NORMS)
            .float("dropout", 0.0..=0.5)
            .steps(6)
            .float("learning_rate", 5e-4..=8e-3)
            .log()
            .steps(5)
            .float("weight_decay", 1e-3..=1.0)
            .log()
            .steps(4);
        let space = if categories.is_empty() { space } else { space.integer("embedding", 2..=10).step(2) };
        Ok(space.build()?)
    }

    /// Two layers of 128, ReLU, a little dropout.
    fn default_architecture(&self) -> Architecture {
        Architecture::new()
            .with("depth", Value::Integer(2))
            .with("width", Value::Integer(128))
            .with("form", Value::Choice("straight".to_owned()))
            .with("activation", Value::Choice("relu".to_owned()))
            .with("norm", Value::Choice("none".to_owned()))
            .with("dropout", Value::Float(0.1))
            .with("learning_rate", Value::Float(2e-3))
            .with("weight_decay", Value::Float(1e-2))
            .with("embedding", Value::Integer(4))
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let (categories, answer) = table_task(self.name(), task)?;
        let depth = architecture.size("depth")?;
        if depth == 0 || depth > DEEPEST {
            return Err(FamilyError::Task(format!("depth is {depth}; mlp stacks 1 to {DEEPEST} layers")));
        }
        let width = architecture.size("width")?;
        let form = if depth > 1 { one_of(self.name(), architecture, "form", &FORMS)? } else { FORMS[0] };
        let activation: Activation =
            architecture.choice("activation")?.parse().map_err(|e| FamilyError::Task(format!("activation: {e}")))?;
        let norm = one_of(self.name(), architecture, "norm", &NORMS)?;
        let dropout = architecture.float("dropout")? as f32;

        let embedded = match inputs.last() {
            Some(last) if !categories.is_empty() => {
                let embedding = architecture.size("embedding")?;
                // Small, so that a category that was never seen says little.
                let table = last.embedding_table(categories.iter().sum(), embedding, Init::Normal { std: 0.1 });
                Some(last.embedding_in(table).flatten())
            }
            _ => None,
        };
        let numbers = inputs.first().filter(|_| embedded.is_none() || inputs.len() > 1).copied();
        let mut x = match (numbers, embedded) {
            (Some(numbers), Some(embedded)) => numbers.concat(&[embedded], 0),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Err(FamilyError::Task("mlp needs a column beside the target".to_owned())),
        };
        for layer in 0..depth {
            let units = if form == "narrowing" { (width >> layer).max(NARROWEST) } else { width };
            x = x.scope(&format!("layer{layer}"), |x| {
                let y = x.linear(units);
                let y = match norm {
                    "batch" => y.batch_norm(),
                    "layer" => y.layer_norm(),
                    _ => y,
                };
                let y = y.activation(activation).dropout(dropout);
                if form == "residual" && layer > 0 { x + y } else { y }
            });
        }
        Ok(x.scope("head", |x| x.linear(answer.units())))
    }

    fn search_recipe(&self) -> Recipe {
        Recipe { epochs: 10, ..self.final_recipe() }
    }

    fn final_recipe(&self) -> Recipe {
        Recipe {
            epochs: 30,
            batch: 64,
            optimizer: Algorithm::AdamW,
            learning_rate: 2e-3,
            weight_decay: 1e-2,
            warmup: 0.05,
            max_grad_norm: 1.0,
            ..Recipe::default()
        }
    }
}

/// The categories and the answer of a task with a table, which is all that `family` is for.
pub(super) fn table_task<'t>(family: &str, task: &'t Task) -> Result<(&'t [usize], Answer), FamilyError> {
    match task {
        Task::Table { categories, answer, .. } => Ok((categories, *answer)),
        other => Err(FamilyError::Task(format!("{family} is for tables, and the data is {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use nas_core::Seed;

    use super::*;
    use crate::Network;
    use crate::data::{Column, Dataset, Kind, Schema, Table, Values};
    use crate::family;

    fn task(numbers: usize, categories: &[usize], answer: Answer) -> Task {
        Task::Table { numbers, categories: categories.to_vec(), answer }
    }

    fn parameters(architecture: &Architecture, task: &Task) -> u64 {
        family::outline(&Mlp, architecture, task).unwrap().1.parameters
    }

    #[test]
    fn parameters_by_hand() {
        let default = Mlp.default_architecture();
        let layers = |inputs: u64, units: u64| (inputs + 1) * 128 + 129 * 128 + 129 * units;
        let mixed = task(3, &[5, 2], Answer::Class { classes: 4 });
        assert_eq!(parameters(&default, &mixed), 7 * 4 + layers(3 + 2 * 4, 4));
        assert_eq!(parameters(&default, &task(3, &[], Answer::Number)), layers(3, 1));
        assert_eq!(parameters(&default, &task(0, &[5], Answer::Number)), 5 * 4 + layers(4, 1));
        let narrowing = default.with("form", Value::Choice("narrowing".to_owned())).with("width", Value::Integer(6));
        assert_eq!(parameters(&narrowing, &task(3, &[], Answer::Number)), 4 * 6 + 7 * 4 + 5);
    }

    #[test]
    fn options_that_are_none_are_named() {
        let says = |path: &str| {
            let architecture = Mlp.default_architecture().with(path, "other".into());
            family::outline(&Mlp, &architecture, &Mlp.usual_task()).unwrap_err().to_string()
        };
        assert_eq!(says("form"), "mlp has no \"other\" for \"form\"; options: straight, residual, narrowing");
        assert_eq!(says("norm"), "mlp has no \"other\" for \"norm\"; options: none, batch, layer");
        assert!(says("activation").starts_with("activation: there is no activation \"other\""));
    }

    /// y = 100 + 10 · (x if the side is left, −x if it is right), or whether it is above 100.
    fn rows(classes: bool) -> Dataset {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let names = vec!["left".to_owned(), "right".to_owned()];
        let x: Vec<f64> = (0..64).map(|i| f64::from(i % 32) - 15.5).collect();
        let y = |i: usize| if i < 32 { 100.0 + 10.0 * x[i] } else { 100.0 - 10.0 * x[i] };
        Dataset::Table(Table {
            schema: Schema {
                columns: vec![
                    column("side", Kind::Categories { names }),
                    column("x", Kind::Numbers { missing: false }),
                ],
                target: "y".to_owned(),
                classes: classes.then(|| vec!["below".to_owned(), "above".to_owned()]),
            },
            target: match classes {
                true => Values::Categories((0..64).map(|i| u32::from(y(i) > 100.0)).collect()),
                false => Values::Numbers((0..64).map(y).collect()),
            },
            columns: vec![Values::Categories((0..64).map(|i| 1 + i / 32).collect()), Values::Numbers(x)],
        })
    }

    fn trained(data: &Dataset) -> Network {
        let recipe = Recipe { epochs: 150, batch: 16, ..Mlp.final_recipe() };
        let family = std::sync::Arc::new(Mlp);
        let architecture = Mlp.default_architecture().with("dropout", Value::Float(0.0));
        Network::train(family, &architecture, data, &recipe, Seed::new(1), Default::default(), &mut ()).unwrap()
    }

    #[test]
    fn the_default_learns_numbers_in_their_unit() {
        let data = rows(false);
        let network = trained(&data);
        let metrics = network.evaluate(&data).unwrap().metrics;
        let get = |name: &str| metrics.get(name).unwrap();
        // The standard deviation of the target is 92.
        assert!(get("rmse") < 10.0 && get("mae") <= get("rmse") && get("r2") > 0.98, "{metrics:?}");
        let answers = network.predict(&data).unwrap();
        let Dataset::Table(Table { target: Values::Numbers(target), .. }) = &data else { panic!("no numbers") };
        let squares = answers.iter().zip(target).map(|(row, y)| (f64::from(row[0]) - y).powi(2)).sum::<f64>();
        assert!(((squares / 64.0).sqrt() - get("rmse")).abs() < 1e-3);
    }

    #[test]
    fn the_default_learns_classes() {
        let data = rows(true);
        let network = trained(&data);
        assert!(network.evaluate(&data).unwrap().metrics.get("accuracy").unwrap() > 0.95);
        let folder = tempfile::tempdir().unwrap();
        network.save(&folder.path().join("net")).unwrap();
        let loaded = Network::load(&folder.path().join("net")).unwrap();
        assert_eq!(loaded.predict(&data).unwrap(), network.predict(&data).unwrap());
        let Dataset::Table(mut other) = data else { panic!("no table") };
        other.schema.columns[1].name = "z".to_owned();
        let error = loaded.evaluate(&Dataset::Table(other)).unwrap_err().to_string();
        assert_eq!(error, "the columns of the data are not those that the network was trained on");
    }
}
