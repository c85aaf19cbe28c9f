//! The cells of NAS-Bench-101 as networks that train, in a skeleton whose stem, width and depth are searched too.
//!
//! The cell (Ying et al., ICML 2019) is a graph of up to 7 vertices and 9 edges. An inner vertex adds what comes in and applies its
//! operation: 3×3 or 1×1 convolution with batch normalisation and ReLU, or 3×3 max pooling. The output joins the channels
//! of the vertices that lead to it. What comes from the cell's input passes a 1×1 convolution of its own, and is added at the
//! output. The output's channels are shared out among the vertices that lead there, as the published code does it.
//!
//! The skeleton, with the published one's parts but small: stem, cells, pooling, cells, pooling, cells, then mean, linear.
//! A pooling halves the image, and the first cell behind it doubles the channels. The published networks have three cells
//! in a stage, 128 channels and a stem that keeps the image's size.

use nas_core::benchmark::nasbench101::Cell;
use nas_core::{Architecture, SearchSpace, Value};

use super::{Family, FamilyError, Task, image_task, skeleton};
use crate::graph::Var;
use crate::layer::conv_bn_relu;
use crate::train::Recipe;

/// The family `nasbench101`.
#[derive(Debug, Clone, Copy)]
pub struct NasBench101;

impl Family for NasBench101 {
    fn name(&self) -> &'static str {
        "nasbench101"
    }

    fn describe(&self) -> &'static str {
        "convolutional networks of one searched cell of up to 7 vertices and 9 edges (NAS-Bench-101)"
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let [_, height, width, _] = image_task(self.name(), task)?;
        skeleton::check_size(self.name(), height, width)?;
        let space = SearchSpace::builder(self.name())
            .choice("stem", skeleton::STEMS)
            .integer("width", 8..=20)
            .step(4)
            .integer("depth", 1..=2)
            .group("cell", Cell::declare)
            .build()?;
        Ok(space)
    }

    /// A residual network: two 3×3 convolutions beside a projection, at half resolution.
    fn default_architecture(&self) -> Architecture {
        let matrix = [[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]];
        let cell = Cell::new(&matrix.concat(), &[0, 0]).expect("four vertices, two operations");
        let mut architecture = Architecture::new()
            .with("stem", Value::Choice("conv3x3_s2".to_owned()))
            .with("width", Value::Integer(16))
            .with("depth", Value::Integer(1));
        cell.write(&mut architecture, "cell");
        architecture
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let [_, _, _, classes] = image_task(self.name(), task)?;
        let width = architecture.size("width")?;
        let depth = architecture.size("depth")?;
        skeleton::check_depth(self.name(), depth)?;
        let Some(cell) = Cell::of(architecture, "cell")?.pruned() else {
            return Err(FamilyError::Task("no way leads through the cell".to_owned()));
        };
        let mut x = skeleton::stem(architecture.choice("stem")?, width, inputs[0])?.relu();
        for stage in 0..3 {
            if stage > 0 {
                x = skeleton::halved(x);
            }
            for block in 0..depth {
                x = x.scope(&format!("stage{stage}.cell{block}"), |x| build_cell(&cell, x, width << stage));
            }
        }
        Ok(x.scope("head", |x| x.global_avg_pool().linear(classes)))
    }

    fn search_recipe(&self) -> Recipe {
        skeleton::search_recipe()
    }

    fn final_recipe(&self) -> Recipe {
        skeleton::final_recipe()
    }
}

/// The channels of a pruned cell's vertices: `compute_vertex_channels` of the published code.
///
/// Vertices that lead to the output share its channels equally; the first of them take what is left over. Any other has
/// as many as the largest that it leads to, so that channels never grow on the way.
fn channels(cell: &Cell, input: usize, output: usize) -> Vec<usize> {
    let last = cell.vertices() - 1;
    let leads = |from: usize, to: usize| cell.edges().any(|edge| edge == (from, to));
    let mut channels = vec![0; cell.vertices()];
    (channels[0], channels[last]) = (input, output);
    let feeding: Vec<usize> = (1..last).filter(|&v| leads(v, last)).collect();
    for (place, &v) in feeding.iter().enumerate() {
        channels[v] = output / feeding.len() + usize::from(place < output % feeding.len());
    }
    for v in (1..last).rev().filter(|v| !feeding.contains(v)) {
        channels[v] = (v + 1..last).filter(|&w| leads(v, w)).map(|w| channels[w]).max().unwrap_or(0);
    }
    channels
}

/// The output of a pruned cell, with that many channels, for its input `x`.
fn build_cell<'g>(cell: &Cell, x: Var<'g>, output: usize) -> Var<'g> {
    let channels = channels(cell, x.dim(0), output);
    let last = cell.vertices() - 1;
    let leads = |from: usize, to: usize| cell.edges().any(|edge| edge == (from, to));
    let project = |to: usize| x.scope(&format!("project{to}"), |x| conv_bn_relu(x, channels[to], 1));
    let mut vertices: Vec<Var<'g>> = vec![x];
    for (v, operation) in (1..last).zip(cell.operations()) {
        // Of a vertex with more channels the first are taken.
        let part = |&from: &usize| {
            let value = vertices[from];
            if value.dim(0) > channels[v] { value.slice(0, 0, channels[v]) } else { value }
        };
        let inner: Vec<Var<'g>> = (1..v).filter(|&from| leads(from, v)).map(|from| part(&from)).collect();
        let sum = inner.into_iter().chain(leads(0, v).then(|| project(v))).reduce(|sum, value| sum + value);
        let sum = sum.expect("every vertex of a pruned cell is led to");
        vertices.push(sum.scope(&format!("vertex{v}"), |x| match operation {
            "conv3x3-bn-relu" => conv_bn_relu(x, channels[v], 3),
            "conv1x1-bn-relu" => conv_bn_relu(x, channels[v], 1),
            _ => x.max_pool2d_with(3, 1, 1),
        }));
    }
    let feeding: Vec<Var<'g>> = (1..last).filter(|&v| leads(v, last)).map(|v| vertices[v]).collect();
    let joined =
        feeding.split_first().map(|(first, others)| if others.is_empty() { *first } else { first.concat(others, 0) });
    match joined {
        None => project(last),
        Some(joined) if leads(0, last) => joined + project(last),
        Some(joined) => joined,
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::{Feed, Graph, Params, Program};

    const TASK: Task = Task::Image { channels: 1, height: 28, width: 28, classes: 10 };

    /// A cell of the edges, with 3×3 convolutions.
    fn cell(vertices: usize, edges: &[(usize, usize)]) -> Cell {
        let mut matrix = vec![0; vertices * vertices];
        edges.iter().for_each(|&(from, to)| matrix[from * vertices + to] = 1);
        Cell::new(&matrix, &vec![0; vertices - 2]).unwrap()
    }

    /// The channels as the published `compute_vertex_channels` works them out, by hand.
    #[test]
    fn channels_by_the_published_rule() {
        assert_eq!(channels(&cell(2, &[(0, 1)]), 3, 8), [3, 8]);
        // The inception-like cell: four vertices lead to the output, and 3 only to 4.
        let inception = [(0, 1), (0, 2), (0, 3), (0, 5), (1, 6), (2, 6), (3, 4), (4, 6), (5, 6)];
        assert_eq!(channels(&cell(7, &inception), 64, 128), [64, 32, 32, 32, 32, 32, 128]);
        // 30 = 4 · 7 + 2: the first two take one more.
        assert_eq!(channels(&cell(7, &inception), 16, 30), [16, 8, 8, 7, 7, 7, 30]);
        // 1 leads to 2 and 3 and has as many as the larger. The way from the input to the output takes no share.
        let fork = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (0, 4)];
        assert_eq!(channels(&cell(5, &fork), 4, 5), [4, 3, 3, 2, 5]);
        // 1 leads to the output and to 2: it has its share and no more, though 2 has as many.
        assert_eq!(channels(&cell(4, &[(0, 1), (1, 2), (1, 3), (2, 3)]), 8, 9), [8, 5, 4, 9]);
        // The largest is passed on backwards through a chain.
        let chain = [(0, 1), (1, 2), (2, 4), (0, 3), (3, 4)];
        assert_eq!(channels(&cell(5, &chain), 8, 7), [8, 4, 4, 3, 7]);
    }

    #[test]
    fn parameters_of_the_default_by_hand() {
        let graph = Graph::new();
        NasBench101.build(&NasBench101.default_architecture(), &TASK, &[graph.input("image", &[1, 28, 28])]).unwrap();
        graph.check().unwrap();
        let conv = |from: u64, to: u64, kernel: u64| from * to * kernel * kernel + 2 * to;
        // Projections of the input to vertex 1 and to the output; two convolutions.
        let cell = |from: u64, to: u64| 2 * conv(from, to, 1) + 2 * conv(to, to, 3);
        let expected = conv(1, 16, 3) + cell(16, 16) + cell(16, 32) + cell(32, 64) + 64 * 10 + 10;
        assert_eq!(expected, 104_122);
        assert_eq!(graph.cost().parameters, expected);
        // 14, 7 and 4 pixels: an odd side is halved upwards.
        let parts = graph.parts();
        let sides: Vec<usize> =
            parts.iter().filter(|part| part.path.starts_with("stage")).map(|part| part.shape.dims()[1]).collect();
        assert_eq!(sides, [14, 7, 4]);
    }

    #[test]
    fn five_hundred_cells_build() {
        let space = NasBench101.space(&TASK).unwrap();
        space.validate(&NasBench101.default_architecture()).unwrap();
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        for _ in 0..500 {
            let architecture = space.sample(&mut rng);
            let graph = Graph::new();
            let logits = NasBench101.build(&architecture, &TASK, &[graph.input("image", &[1, 28, 28])]).unwrap();
            graph.check().unwrap();
            assert_eq!(logits.shape().dims(), [10], "{architecture}");
        }
    }

    #[test]
    fn gradients_reach_every_parameter() {
        let space = NasBench101.space(&TASK).unwrap();
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        let images: Vec<f32> = (0..2 * 784).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        for _ in 0..25 {
            let architecture = space.sample(&mut rng);
            let graph = Graph::new();
            let logits = NasBench101.build(&architecture, &TASK, &[graph.input("image", &[1, 28, 28])]).unwrap();
            let loss = logits.cross_entropy(graph.class("label", 10));
            let mut params = Params::init(&graph, &mut crate::Rng::seed_from_u64(1));
            assert_eq!(params.len() as u64, graph.cost().parameters);
            let mut program = Program::train(&graph, loss, &[], 2).unwrap();
            let feed = Feed::new(2).with("image", &images).with("label", &[3.0, 7.0]);
            assert!(program.gradients(&feed, &mut params).unwrap().is_finite());
            let mut at = 0;
            for parameter in graph.parameters() {
                let len = parameter.dims.iter().product::<usize>();
                let own = &program.grads()[at..at + len];
                at += len;
                assert!(own.iter().all(|g| g.is_finite()), "{} of {architecture}", parameter.path);
                assert!(own.iter().any(|&g| g != 0.0), "{} of {architecture}", parameter.path);
            }
        }
    }

    /// A written network: a fork whose second branch is narrower than what it reads.
    #[test]
    fn wide_values_are_cut() {
        let fork = cell(5, &[(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (0, 4)]);
        let graph = Graph::new();
        let y = build_cell(&fork, graph.input("x", &[4, 6, 6]), 5);
        graph.check().unwrap();
        assert_eq!(y.shape().dims(), [5, 6, 6]);
        let conv = |from: u64, to: u64, kernel: u64| from * to * kernel * kernel + 2 * to;
        let inner = conv(4, 3, 1) + conv(3, 3, 3) + conv(3, 3, 3) + conv(2, 2, 3);
        assert_eq!(graph.cost().parameters, inner + conv(4, 5, 1));
    }

    #[test]
    fn what_cannot_be_built() {
        let build = |architecture: &Architecture, task: &Task| {
            let graph = Graph::new();
            NasBench101
                .build(architecture, task, &[graph.input("image", &[1, 28, 28])])
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        let cut =
            NasBench101.default_architecture().with("cell.edge-2-6", "out".into()).with("cell.edge-0-6", "out".into());
        assert_eq!(build(&cut, &TASK), "no way leads through the cell");
        let deep = NasBench101.default_architecture().with("depth", 33.into());
        assert_eq!(build(&deep, &TASK), "depth is 33; nasbench101 stacks up to 32 cells in a stage");
        let other = NasBench101.default_architecture().with("cell.op-1", "conv5x5".into());
        assert!(build(&other, &TASK).contains("options: conv3x3-bn-relu, conv1x1-bn-relu, maxpool3x3"));
        let small = Task::Image { channels: 1, height: 7, width: 28, classes: 2 };
        assert!(NasBench101.space(&small).is_err());
        for (height, width) in [(8, 8), (9, 31), (33, 10)] {
            let task = Task::Image { channels: 3, height, width, classes: 4 };
            let graph = Graph::new();
            let input = graph.input("image", &[3, height, width]);
            NasBench101.build(&NasBench101.default_architecture(), &task, &[input]).unwrap();
            graph.check().unwrap();
        }
    }
}
