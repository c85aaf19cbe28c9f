//! Recurrent networks whose cell is searched (ENAS: Pham et al., 2018; DARTS: Liu et al., 2019).
//!
//! The cell is a graph of nodes. Node 0 reads the step x (a character or numbers) and the last state h through gates c of its own,
//! c · f(W x + U h) + (1 − c) · h, and every other node one node before it, n: c · f(W n) + (1 − c) · n, each with its matrices and its
//! activation f. The new state, which is also the output, is the mean of the nodes that no other reads (ENAS) or of all
//! (DARTS). All steps share the weights.
//!
//! A draw that is even over the whole space has nearly always the most nodes, because they make the most cells.

use nas_core::{Architecture, SearchSpace, Value};

use super::sequence::{self, Answer, Sequence};
use super::{Family, FamilyError, Task, one_of};
use crate::graph::Var;
use crate::init::Init;
use crate::op::Activation;
use crate::train::Recipe;

/// The family `rnn_cell`.
#[derive(Debug, Clone, Copy)]
pub struct RnnCell;

const LEARNING_RATE: f32 = 1e-2;

/// The most nodes, which a space file may not exceed either: the graph has all of them for every character.
const MOST_NODES: usize = 12;

impl Family for RnnCell {
    fn name(&self) -> &'static str {
        "rnn_cell"
    }

    fn describe(&self) -> &'static str {
        "texts and series: one searched recurrent cell, its nodes, their predecessors and activations (ENAS, DARTS)"
    }

    fn usual_task(&self) -> Task {
        sequence::USUAL
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let sequence = Sequence::of(self.name(), task)?;
        let space = SearchSpace::builder(self.name()).integer("width", 32..=64).step(16);
        let space = sequence.decide_embedding(space, 48).group("cell", |mut cell| {
            cell = cell.integer("nodes", 2..=MOST_NODES as i64);
            for node in 0..MOST_NODES as i64 {
                let present = node + 1..=MOST_NODES as i64;
                if node > 1 {
                    cell = cell.integer(&format!("from-{node}"), 0..=node - 1).when("nodes", present.clone());
                }
                cell = cell.choice(&format!("activation-{node}"), ["tanh", "relu", "sigmoid", "identity"]);
                // There are always two.
                if node > 1 {
                    cell = cell.when("nodes", present);
                }
            }
            cell.choice("output", ["loose_ends", "all"])
        });
        Ok(sequence.decide_answer(space).float("dropout", 0.0..=0.3).steps(4).build()?)
    }

    /// A recurrent highway network (Zilly et al., 2017): a chain of three nodes with hyperbolic tangents.
    fn default_architecture(&self) -> Architecture {
        let mut architecture = Architecture::new()
            .with("width", Value::Integer(64))
            .with("embedding", Value::Integer(32))
            .with("cell.nodes", Value::Integer(3))
            .with("cell.from-2", Value::Integer(1))
            .with("cell.output", "loose_ends".into())
            .with("output", "own".into())
            .with("readout", "mean".into())
            .with("dropout", Value::Float(0.0));
        (0..3).for_each(|node| architecture.set(&format!("cell.activation-{node}"), "tanh".into()));
        architecture
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let sequence = Sequence::of(self.name(), task)?;
        let cell = Cell::of(architecture)?;
        let embedding = architecture.size("embedding")?;
        let dropout = architecture.float("dropout")? as f32;
        let answer = Answer::of(self.name(), architecture, sequence)?;

        let reading = sequence.read(inputs[0], embedding, Init::Normal { std: 0.1 });
        let x = reading.features.dropout(dropout);
        let x = x.scope("cell", |x| cell.unroll(x)).dropout(dropout);
        Ok(x.scope("head", |x| answer.scores(x, &reading)))
    }

    fn search_recipe(&self) -> Recipe {
        sequence::search_recipe(LEARNING_RATE)
    }

    fn final_recipe(&self) -> Recipe {
        sequence::final_recipe(LEARNING_RATE)
    }
}

/// A node: the node it reads, none for the first, and its activation.
struct Node {
    from: Option<usize>,
    activation: Activation,
}

struct Cell {
    width: usize,
    nodes: Vec<Node>,
    /// The nodes whose mean is the new state.
    ends: Vec<usize>,
}

impl Cell {
    fn of(architecture: &Architecture) -> Result<Self, FamilyError> {
        let (width, count) = (architecture.size("width")?, architecture.size("cell.nodes")?);
        if count == 0 || count > MOST_NODES {
            return Err(FamilyError::Task(format!("cell.nodes is {count}; a cell has 1 to {MOST_NODES} nodes")));
        }
        let mut nodes = Vec::with_capacity(count);
        for number in 0..count {
            let from = match number {
                0 => None,
                1 => Some(0),
                _ => Some(architecture.size(&format!("cell.from-{number}"))?),
            };
            if let Some(from) = from.filter(|&from| from >= number) {
                let message = format!("cell.from-{number} is {from}; node {number} reads one of 0 to {}", number - 1);
                return Err(FamilyError::Task(message));
            }
            let path = format!("cell.activation-{number}");
            let activation = architecture.choice(&path)?;
            let activation = activation.parse().map_err(|e| FamilyError::Task(format!("{path}: {e}")))?;
            nodes.push(Node { from, activation });
        }
        let all = one_of("rnn_cell", architecture, "cell.output", &["loose_ends", "all"])? == "all";
        let ends = (0..count).filter(|&node| all || nodes.iter().all(|other| other.from != Some(node))).collect();
        Ok(Cell { width, nodes, ends })
    }

    /// The states [steps, width] after every step of x [steps, features].
    fn unroll<'g>(&self, x: Var<'g>) -> Var<'g> {
        let (width, steps) = (self.width, x.dim(0));
        let gates = 2 * width;
        // One product for the characters of all steps, gates and values side by side.
        let all = x.scope("input", |x| x.linear(gates));
        if all.is_poisoned() {
            return all;
        }
        let matrix = |name: &str| x.parameter(name, &[width, gates], Init::fan_in(width));
        // The first step has no state to read.
        let hidden = (steps > 1).then(|| matrix("hidden"));
        let matrices: Vec<Var<'g>> = (1..self.nodes.len()).map(|number| matrix(&format!("node{number}"))).collect();

        let (mut state, mut states) = (None, Vec::with_capacity(steps));
        for step in 0..steps {
            let own = all.slice(0, step, step + 1).reshape(&[gates]);
            let mut nodes: Vec<Var<'g>> = Vec::with_capacity(self.nodes.len());
            for (number, node) in self.nodes.iter().enumerate() {
                let (from, sums) = match node.from {
                    None => (state, state.zip(hidden).map_or(own, |(h, hidden): (Var<'g>, _)| own + h.matmul(hidden))),
                    Some(from) => (Some(nodes[from]), nodes[from].matmul(matrices[number - 1])),
                };
                nodes.push(highway(from, sums, node.activation, width));
            }
            let sum = self.ends.iter().map(|&end| nodes[end]).reduce(|sum, node| sum + node);
            let sum = sum.expect("the last node is read by none");
            let mean = if self.ends.len() > 1 { sum.scale(1.0 / self.ends.len() as f32) } else { sum };
            state = Some(mean);
            states.push(mean.reshape(&[1, width]));
        }
        match states.split_first() {
            Some((first, rest)) if !rest.is_empty() => first.concat(rest, 0),
            Some((only, _)) => *only,
            None => x.mistake("rnn_cell", "needs one or more steps".to_owned()),
        }
    }
}

/// c · f(v) + (1 − c) · n for `sums`, the gates before their sigmoid and then v; n is zero if there is none.
fn highway<'g>(from: Option<Var<'g>>, sums: Var<'g>, activation: Activation, width: usize) -> Var<'g> {
    let (gate, value) = (sums.slice(0, 0, width).sigmoid(), sums.slice(0, width, 2 * width).activation(activation));
    match from {
        Some(from) => from + gate * (value - from),
        None => gate * value,
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::{Feed, Graph, Params, Program};

    const TASK: Task = Task::Text { vocabulary: 20, steps: 12 };

    /// A cell of nodes 1, 2, … that read these.
    fn reading(from: &[i64], output: &str) -> Architecture {
        let nodes = from.len() as i64 + 1;
        let mut architecture = RnnCell.default_architecture().with("cell.nodes", Value::Integer(nodes));
        architecture.set("cell.output", output.into());
        for (number, &from) in (1..).zip(from) {
            architecture.set(&format!("cell.from-{number}"), Value::Integer(from));
            architecture.set(&format!("cell.activation-{number}"), "relu".into());
        }
        architecture
    }

    #[test]
    fn ends_by_hand() {
        let ends = |from: &[i64], output: &str| Cell::of(&reading(from, output)).unwrap().ends;
        assert_eq!(ends(&[0, 1, 1, 2], "loose_ends"), [3, 4]);
        assert_eq!(ends(&[0, 0, 0], "loose_ends"), [1, 2, 3]);
        assert_eq!(ends(&[0, 1, 2], "loose_ends"), [3]);
        assert_eq!(ends(&[0, 1, 2], "all"), [0, 1, 2, 3]);
    }

    #[test]
    fn parameters_by_hand() {
        let parameters = |architecture: &Architecture| {
            let graph = Graph::new();
            RnnCell.build(architecture, &TASK, &[TASK.inputs()[0].input(&graph)]).unwrap();
            graph.check().unwrap();
            graph.cost().parameters
        };
        // Shared by all steps: as many for any window.
        let cell = |nodes: u64| 32 * 128 + 128 + nodes * 64 * 128;
        let default = RnnCell.default_architecture();
        assert_eq!(parameters(&default), 20 * 32 + cell(3) + 64 * 20 + 20);
        assert_eq!(parameters(&default.with("output", "tied".into())), 20 * 32 + cell(3) + 64 * 32 + 32);
        assert_eq!(parameters(&reading(&[0, 0, 1, 3], "all")), 20 * 32 + cell(5) + 64 * 20 + 20);
    }

    /// Two steps of a cell of one feature, against the equations.
    #[test]
    fn states_by_the_equations() {
        let graph = Graph::new();
        let relu = Node { from: Some(0), activation: Activation::Relu };
        let identity = Node { from: Some(0), activation: Activation::Identity };
        let first = Node { from: None, activation: Activation::Tanh };
        let cell = Cell { width: 1, nodes: vec![first, relu, identity], ends: vec![1, 2] };
        let states = cell.unroll(graph.input("x", &[2, 1]));
        let mut params = Params::init(&graph, &mut nas_core::Seed::new(1).stream(nas_core::Purpose::Init, 0));
        for (path, dims, values) in [
            ("input.linear.weight", &[1, 2][..], [0.5, -0.8]),
            ("input.linear.bias", &[2], [0.1, 0.3]),
            ("hidden", &[1, 2], [0.7, 1.1]),
            ("node1", &[1, 2], [-0.4, 0.9]),
            ("node2", &[1, 2], [0.6, -1.2]),
        ] {
            params.set(path, dims, &values).unwrap();
        }
        let mut program = Program::eval(&graph, &[states], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.5, -2.0]), &params).unwrap();

        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut h = 0.0;
        for (x, found) in [1.5, -2.0].into_iter().zip(program.output(0)) {
            let gate = sigmoid(0.5 * x + 0.1 + 0.7 * h);
            let zero = gate * (-0.8 * x + 0.3 + 1.1 * h).tanh() + (1.0 - gate) * h;
            let gate = sigmoid(-0.4 * zero);
            let one = gate * (0.9 * zero).max(0.0) + (1.0 - gate) * zero;
            let gate = sigmoid(0.6 * zero);
            let two = gate * (-1.2 * zero) + (1.0 - gate) * zero;
            h = f64::midpoint(one, two);
            assert_abs_diff_eq!(f64::from(*found), h, epsilon = 1e-6);
        }
    }

    #[test]
    fn what_cannot_be_built() {
        let says = |architecture: &Architecture| {
            let graph = Graph::new();
            let built = RnnCell.build(architecture, &TASK, &[TASK.inputs()[0].input(&graph)]);
            built.map(|_| ()).unwrap_err().to_string()
        };
        let later = reading(&[0, 2], "all");
        assert_eq!(says(&later), "cell.from-2 is 2; node 2 reads one of 0 to 1");
        let many = RnnCell.default_architecture().with("cell.nodes", Value::Integer(13));
        assert_eq!(says(&many), "cell.nodes is 13; a cell has 1 to 12 nodes");
        let sine = RnnCell.default_architecture().with("cell.activation-1", "sine".into());
        assert!(says(&sine).starts_with("cell.activation-1: there is no activation \"sine\""));
        let last = RnnCell.default_architecture().with("cell.output", "last".into());
        assert_eq!(says(&last), "rnn_cell has no \"last\" for \"cell.output\"; options: loose_ends, all");
    }
}
