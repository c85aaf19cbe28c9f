//! Networks that a space file describes itself: blocks in rows, branches and repeats, whose numbers may be decisions.

mod fits;
mod form;
mod kind;
mod layer;
mod lower;
mod plan;
mod run;
mod syntax;
#[cfg(test)]
mod tests;

use nas_core::space::{SpaceBuilder, place};
use nas_core::{Architecture, SearchSpace, SpaceError, Value};

use super::{Family, FamilyError, Task, families};
use crate::graph::Var;
use crate::init::Init;
use crate::task::Field;
use crate::train::Recipe;
use fits::FitError;
use form::Form;
use kind::Setting;
use plan::{Content, Piece, Plan, Source};
use run::{Decided, Flow, Halt, Run, Setup};
use syntax::Mistake;

/// The family `blocks`: the networks that a space describes under `[[network]]`.
///
/// ```
/// use nas_nn::family::{Blocks, Family, Task};
///
/// let file = r#"
///     name = "three_convolutions"
///
///     [[network]]
///     block = "conv"
///     repeat = 3
///     width = { choose = [8, 16] }
///     kernel = { choose = [3, 5] }
///     activation = "relu"
///
///     [[network]]
///     block = "max_pool"
///     repeat = { from = 0, to = 9 }
/// "#;
/// let family = Blocks::new(Blocks::read(file)?)?;
/// let space = family.space(&Task::Image { channels: 1, height: 28, width: 28, classes: 10 })?;
/// assert_eq!(space.slots()[0].path, "conv.0.width");
/// // 4³ convolutions, and 28 pixels can be halved at most four times.
/// assert_eq!(space.cardinality().to_string(), "320");
/// # Ok::<(), nas_nn::family::FamilyError>(())
/// ```
pub struct Blocks {
    space: SearchSpace,
    plan: Plan,
}

/// How the reason of the table begins that is made for a task.
const FITS: &str = "every block fits";

/// The features of a column of categories beside numbers, which no block embeds.
const CATEGORY_WIDTH: usize = 4;

impl Blocks {
    /// The networks that `space` describes.
    ///
    /// # Errors
    /// When it describes none, or refers to decisions that it has not.
    pub fn new(space: SearchSpace) -> Result<Self, FamilyError> {
        let network = space.network().ok_or_else(|| {
            FamilyError::Task(format!("the space \"{}\" describes no network under [[network]]", space.name()))
        })?;
        let blocks = syntax::read(network)?;
        let plan = Plan::new(&blocks, &space)?;
        Ok(Blocks { space, plan })
    }

    /// The space in the TOML text `file`. Decisions that its network makes where it needs them are declared: the space's own
    /// TOML form has them by name, and says the same.
    ///
    /// # Errors
    /// When the text is no space or its network is none, by line and column.
    pub fn read(file: &str) -> Result<SearchSpace, FamilyError> {
        let mut blocks = Vec::new();
        Self::lowered(file, &mut blocks).map_err(|error| match error.located(file) {
            // A decision that stands in the network is declared nowhere else.
            FamilyError::Space(error) if !matches!(error, SpaceError::At { .. } | SpaceError::Toml(_)) => {
                let at = error.path().and_then(|path| syntax::find(&blocks, path));
                match at.map(|at| place(file, &at)).filter(|place| !place.is_empty()) {
                    Some(place) => FamilyError::Space(SpaceError::At { place, error: Box::new(error) }),
                    None => FamilyError::Space(error),
                }
            }
            other => other,
        })
    }

    /// What `file` declares, with the decisions of its network, which is left in `blocks` as it is written.
    fn lowered(file: &str, blocks: &mut Vec<syntax::Block>) -> Result<SearchSpace, FamilyError> {
        let mut builder = SpaceBuilder::from_toml(file)?;
        if let Some(network) = builder.written_network() {
            *blocks = syntax::read(network)?;
            let mut lowered = blocks.clone();
            let decisions = lower::lower(&mut lowered, builder.decisions())?;
            builder = decisions.into_iter().fold(builder, SpaceBuilder::declare).network(syntax::write(&lowered));
        }
        let space = builder.build()?;
        if space.network().is_some() {
            Blocks::new(space.clone())?;
        }
        Ok(space)
    }

    /// The paths of decisions that no block looks at and that are [none of the training](super::TRAINING_DECISIONS), so that they would be
    /// searched in vain.
    pub fn unused(&self) -> Vec<&str> {
        let mut looked_at = std::collections::BTreeSet::new();
        self.plan.pieces.iter().for_each(|piece| piece.look(&mut |decision| _ = looked_at.insert(decision)));
        let all = self.plan.decisions.iter().enumerate();
        let unused = all.filter(|(i, _)| !looked_at.contains(i)).map(|(_, decision)| decision.path.as_str());
        unused.filter(|path| !super::TRAINING_DECISIONS.contains(path)).collect()
    }

    /// The space that is shown as an example: a residual network for images.
    pub fn example() -> Self {
        let read = Blocks::read(include_str!("example.toml")).and_then(Blocks::new);
        read.expect("the example is read in a test")
    }

    /// What the network is run for, and the form it begins with.
    fn setup(&self, task: &Task) -> Result<(Setup, Form), FamilyError> {
        let inputs = task.inputs();
        let target = task.target();
        let causal = matches!(task, Task::Text { .. });
        let units = target.classes.unwrap_or_else(|| target.len());
        let vocabulary = inputs.iter().find_map(|field| field.classes).unwrap_or(0);
        let setup = Setup { causal, units, vocabulary, widths: self.plan.pieces.iter().any(divides_widths) };
        Ok((
            setup,
            first_form(&inputs, causal)
                .map_err(|why| FamilyError::Task(format!("blocks: {why}, and the data is {task}")))?,
        ))
    }

    /// Whether some layer embeds characters, as only networks for text do.
    fn has_embedding(&self) -> bool {
        fn embeds(piece: &Piece) -> bool {
            match &piece.content {
                Content::Layer(kind, _) => kind.name == "embedding",
                Content::Chain(pieces) | Content::Copies(_, pieces) | Content::OneOf(_, pieces) => {
                    pieces.iter().any(embeds)
                }
                Content::Branches(_, branches) => branches.iter().flatten().any(embeds),
            }
        }
        self.plan.pieces.iter().any(embeds)
    }
}

/// Whether some layer divides features among groups or heads, so that widths decide about what fits.
fn divides_widths(piece: &Piece) -> bool {
    let one = |source: &Source| matches!(source, Source::Fixed(Setting::Number(1)));
    match &piece.content {
        Content::Layer(kind, sources) => match kind.name {
            "attention" => true,
            "conv" => sources.iter().any(|(key, source)| key.name == "groups" && !one(source)),
            "norm" => sources.iter().any(|(key, source)| {
                key.name == "kind" && !matches!(source, Source::Fixed(Setting::Name(name)) if name != "group")
            }),
            _ => false,
        },
        Content::Chain(pieces) | Content::Copies(_, pieces) | Content::OneOf(_, pieces) => {
            pieces.iter().any(divides_widths)
        }
        Content::Branches(_, branches) => branches.iter().flatten().any(divides_widths),
    }
}

/// The form that a network begins with.
fn first_form(inputs: &[Field], causal: bool) -> Result<Form, String> {
    match inputs {
        [Field { dims, classes: None, .. }] if dims.len() == 3 => {
            Ok(Form::Image { channels: Some(dims[0]), height: dims[1], width: dims[2] })
        }
        [Field { dims, classes: None, .. }] if dims.len() == 2 => {
            Ok(Form::Sequence { steps: dims[1], width: Some(dims[0]) })
        }
        [Field { dims, classes: Some(_), .. }] if causal && dims.len() == 1 => Ok(Form::Classes { steps: dims[0] }),
        fields if !fields.is_empty() && fields.iter().all(|field| field.dims.len() == 1) => {
            let width = |field: &Field| field.len() * if field.classes.is_some() { CATEGORY_WIDTH } else { 1 };
            Ok(Form::Vector { width: Some(fields.iter().map(width).sum()) })
        }
        _ => Err("a network begins with an image, a series, characters or the columns of a table".to_owned()),
    }
}

/// The value that a network begins with. Series [channels, steps] are turned into steps of features; the columns of a table stand side by
/// side, categories as few learned features each.
fn first_value<'g>(inputs: &[Var<'g>], fields: &[Field], form: Form) -> Var<'g> {
    match form {
        Form::Sequence { .. } => return inputs[0].transpose(),
        Form::Vector { .. } => {}
        _ => return inputs[0],
    }
    let columns = inputs.iter().zip(fields).map(|(&input, field)| match field.classes {
        Some(classes) => {
            let table = input.embedding_table(classes, CATEGORY_WIDTH, Init::Normal { std: 0.1 });
            input.embedding_in(table).flatten()
        }
        None => input,
    });
    let columns: Vec<Var<'g>> = columns.collect();
    if columns.len() == 1 { columns[0] } else { columns[0].concat(&columns[1..], 0) }
}

/// The decisions of an architecture.
struct Made<'a> {
    plan: &'a Plan,
    architecture: &'a Architecture,
}

impl Decided for Made<'_> {
    fn setting(&self, decision: usize) -> Result<Setting, Halt> {
        match self.architecture.get(&self.plan.decisions[decision].path) {
            None => Err(Halt::Closed(decision)),
            Some(Value::Integer(n)) => Ok(Setting::Number(*n)),
            Some(Value::Float(x)) => Ok(Setting::Real(*x)),
            Some(other) => Ok(Setting::of_option(&other.to_string())),
        }
    }
}

impl From<Mistake> for FamilyError {
    fn from(Mistake { at, message }: Mistake) -> Self {
        FamilyError::Block { place: String::new(), at, message }
    }
}

impl Family for Blocks {
    fn name(&self) -> &'static str {
        "blocks"
    }

    fn describe(&self) -> &'static str {
        "networks of blocks that a space file describes, for any data; this one is an example to begin with"
    }

    /// That of the first built-in family whose data the network fits.
    fn usual_task(&self) -> Task {
        let tasks: Vec<Task> = families().iter().map(|family| family.usual_task()).collect();
        // Where none fits, the one that says best why not.
        let meant = |task: &&Task| matches!(task, Task::Text { .. }) == self.has_embedding();
        let usual = tasks.iter().find(|task| self.space(task).is_ok()).or_else(|| tasks.iter().find(meant));
        usual.unwrap_or(&tasks[0]).clone()
    }

    fn description(&self) -> Option<&SearchSpace> {
        Some(&self.space)
    }

    /// The space of the file, with a requirement that what does not fit `task` is never drawn.
    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let (setup, form) = self.setup(task)?;
        let because = format!("{FITS} {task}");
        let start = Flow { form, var: None };
        let fits = fits::requirement(&self.plan, setup, start, &because).map_err(|error| match error {
            FitError::Nothing(Mistake { at, message }) => {
                FamilyError::from(Mistake { at, message: format!("no network fits {task}: {message}") })
            }
            FitError::Unlisted(path) => FamilyError::Task(format!(
                "the decision \"{path}\" decides about shapes, so it cannot be a set or a continuous number; list its options"
            )),
            FitError::TooMany => FamilyError::Task(
                "which blocks fit depends on too many combinations of decisions; give fewer options to the sizes that meet"
                    .to_owned(),
            ),
        })?;
        let builder = self.space.to_builder().without_tables(FITS);
        Ok(fits.into_iter().fold(builder, SpaceBuilder::require).build()?)
    }

    /// The first option of every decision that still fits: what a file lists first is its control.
    fn default_architecture(&self) -> Architecture {
        let mut walk = self.space.walk();
        while let Some(first) = walk.mask().iter().position(|&allowed| allowed) {
            walk.choose(first).expect("the mask allows it");
        }
        walk.finish().expect("a walk ends when there is nothing left to choose")
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let (setup, form) = self.setup(task)?;
        // Conditions ask whether a decision is open, so what a closed one is said to be must not count.
        let architecture = &self.space.canonical(architecture)?;
        let made = Made { plan: &self.plan, architecture };
        let var = first_value(inputs, &task.inputs(), form);
        let answer = Run::new(&made, setup).network(&self.plan.pieces, Flow { form, var: Some(var) });
        answer.map(|answer| answer.var.expect("a run with a graph yields a value of it")).map_err(|halt| match halt {
            Halt::Misfit(_, mistake) => mistake.into(),
            Halt::Closed(decision) => {
                nas_core::ArchitectureError::Absent { path: self.plan.decisions[decision].path.clone() }.into()
            }
            Halt::Waits => unreachable!("an architecture waits for nothing"),
        })
    }

    fn search_recipe(&self) -> Recipe {
        Recipe { epochs: 3, ..self.final_recipe() }
    }

    /// AdamW with a warm-up and clipped gradients, which trains networks with and without norms.
    fn final_recipe(&self) -> Recipe {
        // Texts are few long windows, images many small examples.
        let (epochs, batch) = if self.has_embedding() { (12, 16) } else { (30, 32) };
        Recipe {
            epochs,
            batch,
            optimizer: crate::optim::Algorithm::AdamW,
            learning_rate: 3e-3,
            weight_decay: 1e-2,
            warmup: 0.1,
            max_grad_norm: 1.0,
            ..Recipe::default()
        }
    }
}
