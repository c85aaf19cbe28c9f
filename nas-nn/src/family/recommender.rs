//! Recommenders: embedded users, items and other categories, how they meet, and a tower of fully connected layers; for ratings and clicks.
//!
//! Every column of categories is a field, a trained vector for each category, and all columns of numbers together are one more. Beside the
//! network stand the biases of all categories, its term of first order: that some users rate higher and some items are better liked is
//! most of what ratings say. Tables of numbers alone are served too, without anything to recommend.

use nas_core::{Architecture, SearchSpace, Value};

use super::mlp::table_task;
use super::{Family, FamilyError, Task, one_of};
use crate::graph::Var;
use crate::init::Init;
use crate::layer;
use crate::op::{Activation, Attention};
use crate::optim::Algorithm;
use crate::task::Answer;
use crate::train::Recipe;

/// The family `recommender`.
#[derive(Debug, Clone, Copy)]
pub struct Recommender;

/// The most layers of a tower and of a cross network, which a space file may not exceed.
const DEEPEST: usize = 16;
/// The narrowest layer of a tower that narrows.
const NARROWEST: usize = 4;
/// Heads of attention.
const HEADS: usize = 2;

/// How fields meet.
const INTERACTIONS: [&str; 5] = ["concatenation", "product", "factorization_machine", "cross", "attention"];
/// How the layers of a tower follow one another.
const FORMS: [&str; 2] = ["straight", "narrowing"];
/// Whether a plain tower has biases of categories beside it, as all others do.
const BIASES: [&str; 2] = ["yes", "none"];

impl Family for Recommender {
    fn name(&self) -> &'static str {
        "recommender"
    }

    fn describe(&self) -> &'static str {
        "ratings and clicks: embeddings, how they meet (concatenation, products, factorisation machine, cross network, attention), a tower"
    }

    fn usual_task(&self) -> Task {
        Task::Table { numbers: 0, categories: vec![1000, 500], answer: Answer::Number }
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        table_task(self.name(), task)?;
        let space = SearchSpace::builder(self.name())
            .integer("embedding", 8..=40)
            .step(8)
            .choice("interaction", INTERACTIONS)
            .integer("cross", 1..=3)
            .when("interaction", ["cross"])
            .choice("biases", BIASES)
            .when("interaction", ["concatenation"])
            .integer("depth", 0..=3)
            .integer("width", 32..=128)
            .step(32)
            .when("depth", [1, 2, 3])
            .choice("form", FORMS)
            .when("depth", [2, 3])
            .choice("activation", ["relu", "silu", "gelu", "tanh"])
            .when("depth", [1, 2, 3])
            .float("dropout", 0.0..=0.5)
            .steps(6)
            .float("learning_rate", 5e-4..=8e-3)
            .log()
            .steps(5)
            .float("weight_decay", 3e-3..=3.0)
            .log()
            .steps(7);
        Ok(space.build()?)
    }

    /// A factorisation machine beside a narrowing tower of two layers (DeepFM; Guo et al., 2017). Dropout and weight decay are strong: most
    /// users and items are seen a few times.
    fn default_architecture(&self) -> Architecture {
        Architecture::new()
            .with("embedding", Value::Integer(32))
            .with("interaction", Value::Choice("factorization_machine".to_owned()))
            .with("depth", Value::Integer(2))
            .with("width", Value::Integer(64))
            .with("form", Value::Choice("narrowing".to_owned()))
            .with("activation", Value::Choice("relu".to_owned()))
            .with("dropout", Value::Float(0.4))
            .with("learning_rate", Value::Float(2e-3))
            .with("weight_decay", Value::Float(0.3))
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let (categories, answer) = table_task(self.name(), task)?;
        let units = answer.units();
        let width = architecture.size("embedding")?;
        let interaction = one_of(self.name(), architecture, "interaction", &INTERACTIONS)?;
        // A space file may leave them out, as spaces do where they are a matter of course.
        let has_biases =
            architecture.get("biases").is_none() || one_of(self.name(), architecture, "biases", &BIASES)? == "yes";
        let dropout = architecture.float("dropout")? as f32;

        let ids = inputs.last().filter(|_| !categories.is_empty()).copied();
        let numbers = inputs.first().filter(|_| ids.is_none() || inputs.len() > 1).copied();
        let count = categories.iter().sum();
        let embedded = ids.map(|ids| {
            // Small, so that a category that was never seen says little.
            ids.embedding_in(ids.embedding_table(count, width, Init::Normal { std: 0.1 }))
        });
        let measured = numbers.map(|x| x.scope("numbers", |x| x.linear(width)).reshape(&[1, width]));
        let fields = match (embedded, measured) {
            (Some(embedded), Some(measured)) => embedded.concat(&[measured], 0),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Err(FamilyError::Task("recommender needs a column beside the target".to_owned())),
        };

        let seen = match interaction {
            "product" => fields.flatten().concat(&[products(fields)], 0),
            "cross" => {
                let first = fields.flatten();
                let layers = bounded(architecture, "cross", 1)?;
                (0..layers).fold(first, |x, _| layer::cross(x, first))
            }
            "attention" => fields.scope("fields", |x| x + x.self_attention(Attention::new(HEADS)).relu()).flatten(),
            _ => fields.flatten(),
        };
        let tower = tower(self.name(), architecture, seen.dropout(dropout), dropout)?;
        let mut result = tower.scope("head", |x| x.linear(units));
        if interaction == "factorization_machine" {
            let pairs = fields.factorization_machine().reshape(&[1]);
            // A number is their sum; how far it speaks for each class is learned.
            result = result
                + match answer {
                    Answer::Number => pairs,
                    Answer::Class { .. } => pairs.at(result).scope("pairs", |x| x.linear(units)),
                };
        }
        if has_biases {
            if let Some(ids) = ids {
                let bias = ids.scope("biases", |ids| {
                    ids.embedding_in(ids.embedding_table(count, units, Init::ZEROS)).sum_axis(0)
                });
                result = result + bias;
            }
            if let Some(numbers) = numbers {
                result = result + numbers.scope("slopes", |x| x.linear(units));
            }
        }
        Ok(result)
    }

    fn search_recipe(&self) -> Recipe {
        Recipe { epochs: 5, ..self.final_recipe() }
    }

    fn final_recipe(&self) -> Recipe {
        Recipe {
            epochs: 8,
            batch: 256,
            optimizer: Algorithm::AdamW,
            learning_rate: 2e-3,
            weight_decay: 0.3,
            warmup: 0.05,
            max_grad_norm: 1.0,
            ..Recipe::default()
        }
    }
}

/// The products of all pairs of fields [fields, width], number by number, summed over the pairs: ½ ((Σ v)² − Σ v²), `width` numbers
/// (the pooling of neural factorisation machines; He & Chua, 2017). Of two fields it is their product.
fn products(fields: Var<'_>) -> Var<'_> {
    let sum = fields.sum_axis(0);
    (sum * sum - (fields * fields).sum_axis(0)).scale(0.5)
}

/// The layers that `architecture` stacks on `x`; `x` itself if it stacks none.
fn tower<'g>(family: &str, architecture: &Architecture, mut x: Var<'g>, dropout: f32) -> Result<Var<'g>, FamilyError> {
    let depth = bounded(architecture, "depth", 0)?;
    if depth == 0 {
        return Ok(x);
    }
    let width = architecture.size("width")?;
    let form = if depth > 1 { one_of(family, architecture, "form", &FORMS)? } else { FORMS[0] };
    let activation: Activation =
        architecture.choice("activation")?.parse().map_err(|e| FamilyError::Task(format!("activation: {e}")))?;
    for number in 0..depth {
        let units = if form == "narrowing" { (width >> number).max(NARROWEST) } else { width };
        x = x.scope(&format!("layer{number}"), |x| x.linear(units).activation(activation).dropout(dropout));
    }
    Ok(x)
}

/// A number of layers.
fn bounded(architecture: &Architecture, path: &str, least: usize) -> Result<usize, FamilyError> {
    let layers = architecture.size(path)?;
    if (least..=DEEPEST).contains(&layers) {
        return Ok(layers);
    }
    Err(FamilyError::Task(format!("{path} is {layers}; recommender stacks {least} to {DEEPEST} layers")))
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::family;
    use crate::{Feed, Graph, Params, Program};

    fn task(numbers: usize, categories: &[usize], answer: Answer) -> Task {
        Task::Table { numbers, categories: categories.to_vec(), answer }
    }

    fn with(decisions: &[(&str, Value)]) -> Architecture {
        let narrow = Recommender.default_architecture().with("embedding", 16.into());
        decisions.iter().fold(narrow, |all, (path, value)| all.with(path, value.clone()))
    }

    fn parameters(decisions: &[(&str, Value)], task: &Task) -> u64 {
        family::outline(&Recommender, &with(decisions), task).unwrap().1.parameters
    }

    #[test]
    fn parameters_by_hand() {
        let ratings = task(0, &[10, 5], Answer::Number);
        let embedded = 15 * 16 + 15;
        let tower = 33 * 64 + 65 * 32 + 33;
        assert_eq!(parameters(&[], &ratings), embedded + tower);
        assert_eq!(parameters(&[("depth", 0.into())], &ratings), embedded + 33);
        let interaction = |name: &str| ("interaction", Value::from(name));
        let plain = [interaction("concatenation"), ("biases", "none".into())];
        assert_eq!(parameters(&plain, &ratings), 15 * 16 + tower);
        assert_eq!(parameters(&[interaction("product")], &ratings), embedded + tower + 16 * 64);
        assert_eq!(parameters(&[interaction("cross"), ("cross", 2.into())], &ratings), embedded + tower + 2 * 33 * 32);
        assert_eq!(parameters(&[interaction("attention")], &ratings), embedded + tower + 17 * 48 + 17 * 16);
        // Numbers are a field and have slopes; classes have a bias each, and a weight for the pairs.
        let clicks = task(3, &[10, 5], Answer::Class { classes: 2 });
        let tower = 49 * 64 + 65 * 32 + 33 * 2;
        assert_eq!(parameters(&[], &clicks), 15 * 16 + 15 * 2 + 4 * 16 + tower + 4 * 2 + 2 * 2);
    }

    /// The answer of a factorisation machine without a tower for two ids.
    #[test]
    fn a_value_by_hand() {
        let graph = Graph::new();
        let task = task(0, &[2, 2], Answer::Number);
        let architecture = with(&[("depth", 0.into()), ("embedding", 2.into())]);
        let answer = Recommender.build(&architecture, &task, &[task.inputs()[0].input(&graph)]).unwrap();
        let mut params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
        params.set("embedding.weight", &[4, 2], &[0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 5.0]).unwrap();
        params.set("biases.embedding.weight", &[4, 1], &[0.0, 0.25, 0.0, 0.5]).unwrap();
        params.set("head.linear.weight", &[4, 1], &[100.0, 0.0, 0.0, 10.0]).unwrap();
        params.set("head.linear.bias", &[1], &[1000.0]).unwrap();
        let mut program = Program::eval(&graph, &[answer], 1).unwrap();
        program.run(&Feed::new(1).with("categories", &[1.0, 3.0]), &params).unwrap();
        assert_eq!(program.output(0), [1.0 * 3.0 + 2.0 * 5.0 + 0.75 + 100.0 + 50.0 + 1000.0]);
    }

    #[test]
    fn products_of_two_fields_are_their_product() {
        let graph = Graph::new();
        let (two, three) = (products(graph.input("two", &[2, 2])), products(graph.input("three", &[3, 1])));
        let params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
        let mut program = Program::eval(&graph, &[two, three], 1).unwrap();
        let feed = Feed::new(1).with("two", &[2.0, 3.0, 5.0, 7.0]).with("three", &[2.0, 3.0, 4.0]);
        program.run(&feed, &params).unwrap();
        assert_eq!((program.output(0), program.output(1)), (&[10.0, 21.0][..], &[6.0 + 8.0 + 12.0][..]));
    }

    #[test]
    fn options_that_are_none_are_named() {
        let says = |path: &str, value: Value| {
            family::outline(&Recommender, &with(&[(path, value)]), &Recommender.usual_task()).unwrap_err().to_string()
        };
        assert_eq!(
            says("interaction", "hope".into()),
            "recommender has no \"hope\" for \"interaction\"; options: concatenation, product, factorization_machine, cross, attention"
        );
        assert_eq!(
            says("form", "wide".into()),
            "recommender has no \"wide\" for \"form\"; options: straight, narrowing"
        );
        assert_eq!(says("depth", 17.into()), "depth is 17; recommender stacks 0 to 16 layers");
        assert!(says("activation", "other".into()).starts_with("activation: there is no activation \"other\""));
    }
}
