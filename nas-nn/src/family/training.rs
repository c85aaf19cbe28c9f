//! Decisions of the training, which any space may hold beside those of the network, or instead of them: hyper-parameters are searched like
//! everything else.

use nas_core::Architecture;

use super::FamilyError;
use crate::train::Recipe;

/// The names of the decisions of the training: `optimizer` (`sgd`, `adam`, `adamw`, `rmsprop`, `lamb`), `learning_rate`, `momentum`,
/// `weight_decay`, `batch` (examples in a step), `warmup` (a share of all steps), `label_smoothing`, `max_grad_norm`, and of images
/// `shift` and `cutout` (pixels) and `flip` (`yes` or `no`).
///
/// They are those of [`Recipe`] and stand outside all groups. What a space does not decide is the family's recipe.
pub const TRAINING_DECISIONS: [&str; 11] = [
    "optimizer",
    "learning_rate",
    "momentum",
    "weight_decay",
    "batch",
    "warmup",
    "label_smoothing",
    "max_grad_norm",
    "shift",
    "cutout",
    "flip",
];

/// The most examples in a step.
const LARGEST_BATCH: usize = 65_536;
/// The most pixels by which an image is changed.
const LARGEST_CHANGE: usize = 1_024;

/// `recipe` with what `architecture` decides of it, the [decisions of the training](TRAINING_DECISIONS).
///
/// # Errors
/// When such a decision is of another kind, or its value is none that a training can take.
pub fn tuned(architecture: &Architecture, recipe: &Recipe) -> Result<Recipe, FamilyError> {
    let number = |path: &str, usual: f32, bound: Bound| -> Result<f32, FamilyError> {
        if architecture.get(path).is_none() {
            return Ok(usual);
        }
        let value = architecture.float(path)?;
        let (holds, range) = match bound {
            Bound::Positive => (value > 0.0 && value <= 1e6, "above 0, up to 1000000"),
            Bound::NotNegative => ((0.0..=1e6).contains(&value), "0 to 1000000"),
            Bound::Share => ((0.0..1.0).contains(&value), "0 up to, not including, 1"),
        };
        if holds { Ok(value as f32) } else { Err(FamilyError::Task(format!("{path} is {value}; it must be {range}"))) }
    };
    let count = |path: &str, usual: usize, least: usize, most: usize| -> Result<usize, FamilyError> {
        if architecture.get(path).is_none() {
            return Ok(usual);
        }
        let value = architecture.size(path)?;
        let message = || FamilyError::Task(format!("{path} is {value}; it must be {least} to {most}"));
        if (least..=most).contains(&value) { Ok(value) } else { Err(message()) }
    };
    let mut tuned = recipe.clone();
    if architecture.get("optimizer").is_some() {
        let name = architecture.choice("optimizer")?;
        tuned.optimizer = name.parse().map_err(|e| FamilyError::Task(format!("optimizer: {e}")))?;
    }
    tuned.learning_rate = number("learning_rate", recipe.learning_rate, Bound::Positive)?;
    tuned.momentum = number("momentum", recipe.momentum, Bound::Share)?;
    tuned.weight_decay = number("weight_decay", recipe.weight_decay, Bound::NotNegative)?;
    tuned.batch = count("batch", recipe.batch, 1, LARGEST_BATCH)?;
    tuned.warmup = number("warmup", recipe.warmup, Bound::Share)?;
    tuned.label_smoothing = number("label_smoothing", recipe.label_smoothing, Bound::Share)?;
    tuned.max_grad_norm = number("max_grad_norm", recipe.max_grad_norm, Bound::Positive)?;
    tuned.augment.shift = count("shift", recipe.augment.shift, 0, LARGEST_CHANGE)?;
    tuned.augment.cutout = count("cutout", recipe.augment.cutout, 0, LARGEST_CHANGE)?;
    if architecture.get("flip").is_some() {
        tuned.augment.flip = match architecture.choice("flip")? {
            "yes" => true,
            "no" => false,
            other => return Err(FamilyError::Task(format!("flip is \"{other}\"; it must be yes or no"))),
        };
    }
    Ok(tuned)
}

/// What a number may be.
#[derive(Clone, Copy)]
enum Bound {
    Positive,
    NotNegative,
    Share,
}

#[cfg(test)]
mod tests {
    use nas_core::Value;

    use super::*;
    use crate::optim::Algorithm;

    fn architecture(decisions: &[(&str, Value)]) -> Architecture {
        decisions.iter().fold(Architecture::new(), |all, (path, value)| all.with(path, value.clone()))
    }

    #[test]
    fn what_is_not_decided_is_the_recipe() {
        let recipe = Recipe { learning_rate: 0.3, ..Recipe::default() };
        assert_eq!(tuned(&architecture(&[("width", Value::Integer(3))]), &recipe), Ok(recipe));
    }

    #[test]
    fn every_decision_is_taken() {
        let choice = |name: &str| Value::Choice(name.to_owned());
        let all: [(&str, Value); 11] = [
            ("optimizer", choice("rmsprop")),
            ("learning_rate", Value::Float(0.5)),
            ("momentum", Value::Float(0.25)),
            ("weight_decay", Value::Float(0.0)),
            ("batch", Value::Integer(8)),
            ("warmup", Value::Float(0.125)),
            ("label_smoothing", Value::Float(0.0625)),
            ("max_grad_norm", Value::Integer(2)),
            ("shift", Value::Integer(3)),
            ("cutout", Value::Integer(4)),
            ("flip", choice("yes")),
        ];
        assert_eq!(all.each_ref().map(|(path, _)| *path), TRAINING_DECISIONS);
        let recipe = tuned(&architecture(&all), &Recipe::default()).unwrap();
        assert_eq!(recipe.optimizer, Algorithm::RmsProp);
        let numbers = [recipe.learning_rate, recipe.momentum, recipe.weight_decay, recipe.warmup];
        assert_eq!(numbers, [0.5, 0.25, 0.0, 0.125]);
        assert_eq!([recipe.label_smoothing, recipe.max_grad_norm], [0.0625, 2.0]);
        assert_eq!([recipe.batch, recipe.augment.shift, recipe.augment.cutout], [8, 3, 4]);
        assert!(recipe.augment.flip);
    }

    #[test]
    fn values_that_no_training_takes_are_named() {
        let says = |path: &str, value: Value| {
            tuned(&architecture(&[(path, value)]), &Recipe::default()).unwrap_err().to_string()
        };
        assert_eq!(says("learning_rate", Value::Float(0.0)), "learning_rate is 0; it must be above 0, up to 1000000");
        assert_eq!(says("momentum", Value::Float(1.0)), "momentum is 1; it must be 0 up to, not including, 1");
        assert_eq!(says("batch", Value::Integer(0)), "batch is 0; it must be 1 to 65536");
        assert!(says("optimizer", "adma".into()).starts_with("optimizer: there is no optimizer \"adma\""));
        assert_eq!(says("flip", "maybe".into()), "flip is \"maybe\"; it must be yes or no");
        assert!(says("batch", "many".into()).contains("batch"));
    }
}
