//! A network with its parameters: trained, evaluated, used, saved and loaded.

use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nas_core::{Architecture, Metrics, Purpose, SearchSpace, Seed};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Normalize, Preparation, SeriesPreparation, Text};
use crate::error::ModelError;
use crate::family::{self, Family, FamilyError, Task};
use crate::file;
use crate::graph::{Cost, Graph};
use crate::train::{self, Evaluation, Listener, Recipe, TrainError, TrainOptions};
use crate::{Feed, Params, Program, Rng};

/// A network that a family built, with its parameters and everything needed to use it on new data.
///
/// It is saved as two files: `NAME.safetensors` with the weights, which every framework reads, and `NAME.json` with the rest.
pub struct Network {
    family: Arc<dyn Family>,
    about: About,
    params: Params,
    threads: usize,
}

/// Everything about a network but its weights: the contents of its JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The version of this file's form: 2.
    pub version: u32,
    /// The family's name.
    pub family: String,
    /// The space that describes the networks of the family, if it is made from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<SearchSpace>,
    /// What it is for.
    pub task: Task,
    /// What was built.
    pub architecture: Architecture,
    /// The names of the target's classes, in order.
    pub classes: Vec<String>,
    /// How examples are prepared; fitted on the training data.
    pub preparation: Preparation,
    /// The recipe it was trained by, with what its architecture decides of it.
    pub recipe: Recipe,
    /// The seed of its training.
    pub seed: Seed,
    /// What was measured of it.
    pub metrics: Metrics,
    /// A hash of the weights file, so that the two files are known to belong together.
    #[serde(default)]
    pub weights: String,
}

const VERSION: u32 = 3;

impl About {
    /// # Errors
    /// What does not fit the task, in words.
    fn check(&self) -> Result<(), String> {
        match (&self.task, &self.preparation) {
            (Task::Image { channels, .. }, Preparation::Images(Normalize { mean, std })) => {
                let usable = mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 0.0);
                if mean.len() != *channels || std.len() != *channels || !usable {
                    return Err(format!("its normalisation does not fit {channels} channels: {mean:?}, {std:?}"));
                }
            }
            (Task::Text { vocabulary, .. }, Preparation::Text { alphabet }) => {
                let found = alphabet.chars().count();
                if found != *vocabulary {
                    return Err(format!("its alphabet has {found} characters and its task {vocabulary}"));
                }
            }
            (Task::Series { channels, .. }, Preparation::Series(SeriesPreparation { mean, std })) => {
                let usable = mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 0.0);
                if mean.len() != *channels || std.len() != *channels || !usable {
                    return Err(format!("its standardisation does not fit {channels} channels: {mean:?}, {std:?}"));
                }
            }
            (task @ Task::Table { .. }, Preparation::Table(preparation)) => {
                preparation.check(task)?;
                if preparation.schema.classes.as_ref().unwrap_or(&Vec::new()) != &self.classes {
                    return Err("its classes are not those of its columns".to_owned());
                }
            }
            (task, preparation) => return Err(format!("its preparation is not for {task}: {preparation:?}")),
        }
        let classes = self.task.target().classes.unwrap_or(0);
        if self.classes.len() != classes {
            return Err(format!("it names {} classes and has {classes}", self.classes.len()));
        }
        Ok(())
    }
}

impl Network {
    /// A network freshly trained on `data` by `recipe`.
    ///
    /// # Errors
    /// When the architecture cannot be built ([`NetworkError::Family`]) or training ends early ([`NetworkError::Train`]).
    pub fn train(
        family: Arc<dyn Family>,
        architecture: &Architecture,
        data: &Dataset,
        recipe: &Recipe,
        seed: Seed,
        options: TrainOptions,
        listener: &mut dyn Listener,
    ) -> Result<Self, NetworkError> {
        let (task, preparation) = (data.task(), data.prepare());
        let recipe = &family::tuned(architecture, recipe)?;
        let graph = Graph::new();
        let model = family::model(&graph, &*family, architecture, &task, recipe.label_smoothing)?;
        let mut params = Params::init(&graph, &mut seed.stream(Purpose::Init, 0));
        let loss = model.loss;
        let loss = train::train(&graph, loss, &mut params, data, &preparation, recipe, seed, options, listener)?;
        let about = About {
            version: VERSION,
            family: family.name().to_owned(),
            space: family.description().cloned(),
            task,
            architecture: architecture.clone(),
            classes: data.class_names(),
            preparation,
            recipe: recipe.clone(),
            seed,
            metrics: Metrics::new().with("train_loss", f64::from(loss)),
            weights: String::new(),
        };
        Ok(Network { family, about, params, threads: options.threads })
    }

    /// Evaluates and predicts on `threads` threads from now on; otherwise on as many as it was trained on, or on one if
    /// it was loaded. The results are the same.
    pub fn set_threads(&mut self, threads: usize) {
        self.threads = threads;
    }

    /// Everything about it but its weights.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Notes a figure, which is saved with it.
    pub fn note(&mut self, metric: &str, value: f64) {
        self.about.metrics.set(metric, value);
    }

    /// Parameters and multiply-adds.
    ///
    /// # Errors
    /// When the family no longer builds this architecture.
    pub fn cost(&self) -> Result<Cost, FamilyError> {
        let graph = Graph::new();
        family::model(&graph, &*self.family, &self.about.architecture, &self.about.task, 0.0)?;
        Ok(graph.cost())
    }

    /// How good it is on `data`.
    ///
    /// # Errors
    /// When the examples or classes are not what it was trained on.
    pub fn evaluate(&self, data: &Dataset) -> Result<Evaluation, NetworkError> {
        self.check(data)?;
        if let (Task::Image { classes, .. }, Dataset::Images(images)) = (&self.about.task, data)
            && let Some(label) = images.labels.iter().find(|&&label| label as usize >= *classes)
        {
            return Err(NetworkError::Data(format!(
                "the data has the label {label}, the network knows {classes} classes"
            )));
        }
        let graph = Graph::new();
        let net = family::model(&graph, &*self.family, &self.about.architecture, &self.about.task, 0.0)?;
        Ok(train::evaluate(&graph, net.answer, &self.params, data, &self.about.preparation, self.threads)?)
    }

    /// The class probabilities of every target, one row a target; or the number that is answered, in the target's unit.
    ///
    /// # Errors
    /// When the examples are not of the size it was trained on.
    pub fn predict(&self, data: &Dataset) -> Result<Vec<Vec<f32>>, NetworkError> {
        self.check(data)?;
        let graph = Graph::new();
        let net = family::model(&graph, &*self.family, &self.about.architecture, &self.about.task, 0.0)?;
        let flat = train::predict(&graph, net.answer, &self.params, data, &self.about.preparation, self.threads)?;
        Ok(flat.chunks_exact(self.about.classes.len().max(1)).map(<[f32]>::to_vec).collect())
    }

    /// `length` characters that follow `text`, each drawn from what the network expects after up to a window of characters before;
    /// `temperature` 0 always takes the likeliest. Characters that it does not know are not drawn.
    ///
    /// # Errors
    /// When the network is not for text, or the temperature is negative or not finite.
    pub fn continue_text(
        &self,
        text: &str,
        length: usize,
        temperature: f32,
        seed: Seed,
    ) -> Result<String, NetworkError> {
        let (Task::Text { vocabulary, steps }, Preparation::Text { alphabet }) =
            (&self.about.task, &self.about.preparation)
        else {
            return Err(NetworkError::Data(format!("the network is for {}, it continues no text", self.about.task)));
        };
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(NetworkError::Data(format!("the temperature is {temperature}; it must be 0 or more")));
        }
        let graph = Graph::new();
        let net = family::model(&graph, &*self.family, &self.about.architecture, &self.about.task, 0.0)?;
        let mut program = Program::eval(&graph, &[net.answer], 1).map_err(TrainError::from)?;
        let alphabet: Vec<char> = alphabet.chars().collect();
        let mut characters = Text::encode(&alphabet, text);
        let begin = characters.len();
        if characters.is_empty() {
            characters.push(0);
        }
        let mut rng = seed.stream(Purpose::Propose, 0);
        for _ in 0..length {
            // No later character is seen at a place, so what stands behind the last one does not matter.
            let seen = &characters[characters.len().saturating_sub(*steps)..];
            let mut window = vec![0.0; *steps];
            window.iter_mut().zip(seen).for_each(|(x, &character)| *x = character as f32);
            program.run(&Feed::new(1).with("characters", &window), &self.params).map_err(TrainError::from)?;
            let logits = &program.output(0)[(seen.len() - 1) * vocabulary..][1..*vocabulary];
            characters.push(1 + draw(logits, temperature, &mut rng) as u32);
        }
        let new = if begin == 0 { 1 } else { begin };
        Ok(characters[new..].iter().map(|&character| alphabet[character as usize]).collect())
    }

    /// Whether the data's examples are of the form the network was trained on.
    fn check(&self, data: &Dataset) -> Result<(), NetworkError> {
        if let (Dataset::Table(table), Preparation::Table(preparation)) = (data, &self.about.preparation)
            && table.schema != preparation.schema
        {
            let message = "the columns of the data are not those that the network was trained on";
            return Err(NetworkError::Data(message.to_owned()));
        }
        let (found, trained) = (data.task(), &self.about.task);
        if found.inputs() == trained.inputs() {
            return Ok(());
        }
        let message = match (&found, trained) {
            (Task::Image { channels: c, height: h, width: w, .. }, Task::Image { channels, height, width, .. }) => {
                format!("the images are {c}×{h}×{w}, the network was trained on {channels}×{height}×{width}")
            }
            _ => format!("the data is {found}, the network was trained on {trained}"),
        };
        Err(NetworkError::Data(message))
    }

    /// Writes `path` with the endings `.safetensors` and `.json`. Each file appears whole or not at all.
    ///
    /// # Errors
    /// When a file exists already or cannot be written, or a weight is not finite.
    pub fn save(&self, path: &Path) -> Result<PathBuf, ModelError> {
        let (weights, json) = files(path);
        file::check_new(&weights)?;
        let bytes = self.params.to_safetensors(&weights)?;
        let about = About { weights: hash(&bytes), ..self.about.clone() };
        let text = serde_json::to_string_pretty(&about).expect("plain data is JSON");
        // The weights come last: a model exists when they do, and a description left alone by a crash is replaced.
        file::write(&json, text.as_bytes())?;
        file::write(&weights, &bytes)?;
        Ok(weights)
    }

    /// Reads what [`Network::save`] wrote; `path` may be either file, or their common name without the ending.
    ///
    /// # Errors
    /// When a file is missing, damaged, of another version, or the two do not belong together.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let (weights, json) = files(path);
        let bad = |path: &Path, why: String| ModelError::Damaged { path: path.to_owned(), why };
        let text = file::read(&json)?;
        let about: About = serde_json::from_slice(&text).map_err(|e| bad(&json, e.to_string()))?;
        if about.version != VERSION {
            return Err(bad(&json, format!("it has version {}, this program reads {VERSION}", about.version)));
        }
        let bytes = file::read(&weights)?;
        if hash(&bytes) != about.weights {
            let why = format!("its weights are not those that {} describes", json.display());
            return Err(bad(&weights, why));
        }
        let family = about.space.as_ref().map_or_else(|| family::family(&about.family), family::of);
        let family = family.map_err(|e| bad(&json, e.to_string()))?;
        let graph = Graph::new();
        family::model(&graph, &*family, &about.architecture, &about.task, 0.0)
            .map_err(|e| bad(&json, e.to_string()))?;
        about.check().map_err(|why| bad(&json, why))?;
        let params = Params::from_safetensors(&graph, &bytes, &weights)?;
        Ok(Network { family, about, params, threads: 1 })
    }
}

/// A class drawn from the softmax of `logits` / `temperature`; the likeliest for 0.
fn draw(logits: &[f32], temperature: f32, rng: &mut Rng) -> usize {
    let likeliest = train::best(logits);
    if temperature == 0.0 {
        return likeliest;
    }
    let weight = |logit: f32| f64::from((logit - logits[likeliest]) / temperature).exp();
    let mut at = rng.random::<f64>() * logits.iter().map(|&logit| weight(logit)).sum::<f64>();
    for (class, &logit) in logits.iter().enumerate() {
        at -= weight(logit);
        if at < 0.0 {
            return class;
        }
    }
    likeliest
}

/// What can go wrong with a network in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// It cannot be built.
    #[error(transparent)]
    Family(#[from] FamilyError),
    /// Training ended early.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The data is not what it was trained on.
    #[error("{0}")]
    Data(String),
}

/// The weights file of the model that `path` names, with or without an ending.
pub fn weights_path(path: &Path) -> PathBuf {
    files(path).0
}

fn files(path: &Path) -> (PathBuf, PathBuf) {
    let known = path.extension().is_some_and(|e| e == "safetensors" || e == "json");
    let stem = if known { path.with_extension("") } else { path.to_owned() };
    let with = |ending: &str| {
        let mut name = stem.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    (with(".safetensors"), with(".json"))
}

fn hash(bytes: &[u8]) -> String {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}
