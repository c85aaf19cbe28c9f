//! Chains of layers with skip connections: the macro search spaces of Zoph & Le (2017) and ENAS (Pham et al., 2018).
//!
//! A network is a stem, 3 to 8 layers and a head (mean, linear). Every layer decides its operation, its number of filters and
//! which of the layers before it join its own output. After each third of the layers the image is halved and the number of
//! filters doubled.
//!
//! A layer works on the layer before it, as in ENAS. What skips to it is concatenated with its output and a 1×1 convolution
//! brings the sum of channels back to its filters. Addition would need layers of one width, and here widths are searched.
//! A skip across the end of a third is halved by max pooling, once for all layers that read it.

use nas_core::{Architecture, SearchSpace, Value};

use super::skeleton::{self, DEEPEST, STEMS};
use super::{Family, FamilyError, Task, image_task};
use crate::graph::Var;
use crate::op::Conv2d;
use crate::train::Recipe;

/// The family `cnn_macro`.
#[derive(Debug, Clone, Copy)]
pub struct CnnMacro;

const OPERATIONS: [&str; 6] = ["conv3x3", "conv5x5", "sep_conv3x3", "sep_conv5x5", "max_pool3x3", "avg_pool3x3"];

/// Layers of the default space.
const FEWEST: usize = 3;
const MOST: usize = 8;

fn layer(number: usize) -> String {
    format!("layer{number}")
}

impl Family for CnnMacro {
    fn name(&self) -> &'static str {
        "cnn_macro"
    }

    fn describe(&self) -> &'static str {
        "convolutional networks layer by layer: depth, operations, widths and skip connections (the macro space of ENAS)"
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let [_, height, width, _] = image_task(self.name(), task)?;
        skeleton::check_size(self.name(), height, width)?;
        let mut space =
            SearchSpace::builder(self.name()).choice("stem", STEMS).integer("depth", FEWEST as i64..=MOST as i64);
        for number in 0..MOST {
            space = space.group(&layer(number), |decisions| {
                let decisions = decisions.choice("op", OPERATIONS).integer("width", 8..=20).step(4);
                if number == 0 { decisions } else { decisions.subset("skips", (0..number).map(layer)) }
            });
            if number >= FEWEST {
                space = space.when("depth", number as i64 + 1..=MOST as i64);
            }
        }
        Ok(space.build()?)
    }

    /// Six 3×3 convolutions of 16, 32 and 64 filters, every second one bridged by a skip.
    fn default_architecture(&self) -> Architecture {
        let mut architecture =
            Architecture::new().with("stem", Value::Choice("conv3x3_s2".to_owned())).with("depth", Value::Integer(6));
        for number in 0..6 {
            let layer_name = layer(number);
            architecture.set(&format!("{layer_name}.op"), "conv3x3".into());
            architecture.set(&format!("{layer_name}.width"), Value::Integer(16));
            if number > 0 {
                let skips = if number % 2 == 1 { vec![layer(number - 1)] } else { Vec::new() };
                architecture.set(&format!("{layer_name}.skips"), Value::Subset(skips));
            }
        }
        architecture
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let [_, _, _, classes] = image_task(self.name(), task)?;
        let depth = architecture.size("depth")?;
        if !(1..=DEEPEST).contains(&depth) {
            return Err(FamilyError::Task(format!("depth is {depth}; cnn_macro chains 1 to {DEEPEST} layers")));
        }
        let width = architecture.size(&format!("{}.width", layer(0)))?;
        let mut stem = Kept { value: skeleton::stem(architecture.choice("stem")?, width, inputs[0])?.relu(), third: 0 };
        let mut layers: Vec<Kept<'g>> = Vec::with_capacity(depth);
        for number in 0..depth {
            let third = number * 3 / depth;
            let name = layer(number);
            let operation = architecture.choice(&format!("{name}.op"))?;
            let filters = architecture.size(&format!("{name}.width"))?.saturating_mul(1 << third);
            let x = layers.last_mut().unwrap_or(&mut stem).at(third);
            let skips: Vec<Var<'g>> =
                skips(architecture, number)?.into_iter().map(|from| layers[from].at(third)).collect();
            if !OPERATIONS.contains(&operation) {
                let message = format!("\"{name}.op\" is \"{operation}\"; operations: {}", OPERATIONS.join(", "));
                return Err(FamilyError::Task(message));
            }
            let value = x.scope(&name, |x| {
                let y = apply(x, operation, filters);
                if skips.is_empty() {
                    return y;
                }
                y.concat(&skips, 0).scope("join", |x| x.conv2d(filters, 1).batch_norm().relu())
            });
            layers.push(Kept { value, third });
        }
        let last = layers[depth - 1].value;
        Ok(last.scope("head", |x| x.global_avg_pool().linear(classes)))
    }

    fn search_recipe(&self) -> Recipe {
        skeleton::search_recipe()
    }

    fn final_recipe(&self) -> Recipe {
        skeleton::final_recipe()
    }
}

/// The output of a layer, at the size of the third of the network that last read it.
struct Kept<'g> {
    value: Var<'g>,
    third: usize,
}

impl<'g> Kept<'g> {
    /// The output at the size of `third`.
    fn at(&mut self, third: usize) -> Var<'g> {
        while self.third < third {
            self.value = skeleton::halved(self.value);
            self.third += 1;
        }
        self.value
    }
}

/// The layers that skip to layer `number`. The first layer has none and need not say so.
fn skips(architecture: &Architecture, number: usize) -> Result<Vec<usize>, FamilyError> {
    if number == 0 {
        return Ok(Vec::new());
    }
    let path = format!("{}.skips", layer(number));
    let names: Vec<String> = (0..number).map(layer).collect();
    let find = |chosen: &String| {
        names.iter().position(|name| name == chosen).ok_or_else(|| {
            FamilyError::Task(format!("\"{path}\" holds \"{chosen}\"; layers before it: {}", names.join(", ")))
        })
    };
    architecture.subset(&path)?.iter().map(find).collect()
}

/// The operation called `operation`, then batch normalisation and ReLU. Pooling follows a 1×1 convolution, as in ENAS, which
/// sets the number of channels.
fn apply<'g>(x: Var<'g>, operation: &str, filters: usize) -> Var<'g> {
    let separable = |kernel: usize| {
        let channels = x.dim(0);
        let x = x.conv(Conv2d::new(channels, kernel).groups(channels));
        x.conv2d(filters, 1).batch_norm().relu()
    };
    let pointwise = || x.conv2d(filters, 1).batch_norm().relu();
    match operation {
        "conv3x3" => x.conv2d(filters, 3).batch_norm().relu(),
        "conv5x5" => x.conv2d(filters, 5).batch_norm().relu(),
        "sep_conv3x3" => separable(3),
        "sep_conv5x5" => separable(5),
        "max_pool3x3" => pointwise().max_pool2d_with(3, 1, 1),
        _ => pointwise().avg_pool2d(3, 1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;

    const TASK: Task = Task::Image { channels: 1, height: 28, width: 28, classes: 10 };

    fn build(changes: &[(&str, Value)]) -> Result<Vec<String>, String> {
        let mut architecture = CnnMacro.default_architecture();
        for (path, value) in changes {
            architecture.set(path, value.clone());
        }
        let graph = Graph::new();
        let built = CnnMacro.build(&architecture, &TASK, &[graph.input("image", &[1, 28, 28])]);
        built.map_err(|error| error.to_string())?;
        graph.check().map_err(|error| error.to_string())?;
        let joins = graph.parameters().into_iter().filter(|p| p.path.contains("join.conv2d"));
        Ok(joins.map(|p| format!("{} {:?}", p.path, p.dims)).collect())
    }

    fn skips_of(names: &[&str]) -> Value {
        Value::Subset(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn skips_are_concatenated() {
        // Layers 0 and 1 have 16 filters, 2 and 3 have 32, 4 and 5 have 64.
        let joins = build(&[("layer4.skips", skips_of(&["layer0", "layer3"]))]).unwrap();
        let expected = [
            "layer1.join.conv2d.weight [16, 32, 1, 1]",
            "layer3.join.conv2d.weight [32, 64, 1, 1]",
            "layer4.join.conv2d.weight [64, 112, 1, 1]",
            "layer5.join.conv2d.weight [64, 128, 1, 1]",
        ];
        assert_eq!(joins, expected);
    }

    #[test]
    fn a_chain_shorter_than_three_is_a_network() {
        build(&[("depth", Value::Integer(1))]).unwrap();
        build(&[("depth", Value::Integer(2))]).unwrap();
    }

    /// Depth d has 3 stems, 24 layers to the power of d and a skip or not for every pair of layers.
    #[test]
    fn layers_beyond_the_depth_do_not_exist() {
        let space = CnnMacro.space(&TASK).unwrap();
        let count = |depth: u32| 3 * 24_u128.pow(depth) * (1 << (depth * (depth - 1) / 2));
        let expected: u128 = (3..=8).map(count).sum();
        assert_eq!(space.cardinality().finite().unwrap().to_string(), expected.to_string());
    }

    #[test]
    fn mistakes_name_the_decision() {
        let later = build(&[("layer2.skips", skips_of(&["layer2"]))]).unwrap_err();
        assert_eq!(later, "\"layer2.skips\" holds \"layer2\"; layers before it: layer0, layer1");
        let operation = build(&[("layer1.op", "conv9x9".into())]).unwrap_err();
        assert!(
            operation.starts_with("\"layer1.op\" is \"conv9x9\"; operations: conv3x3, conv5x5, sep"),
            "{operation}"
        );
        for depth in [0, 33] {
            let depth = build(&[("depth", Value::Integer(depth))]).unwrap_err();
            assert!(depth.ends_with("cnn_macro chains 1 to 32 layers"), "{depth}");
        }
        assert_eq!(
            build(&[("depth", Value::Integer(7))]).unwrap_err(),
            "the architecture has no decision \"layer6.op\""
        );
    }
}
