//! Recurrent networks: a stack of layers of LSTM, GRU or minimal gated units that read characters or the steps of a series.
//!
//! Layers of the same width may be bridged (x + layer(x)), and the last matrix may be the embedding's (weight tying; Press & Wolf, 2017).

use nas_core::{Architecture, SearchSpace, Value};

use super::sequence::{self, Answer, Sequence};
use super::{Family, FamilyError, Task, one_of};
use crate::graph::Var;
use crate::init::Init;
use crate::layer::minimal_gated_unit;
use crate::op::{Gru, Lstm};
use crate::train::Recipe;

/// The family `rnn`.
#[derive(Debug, Clone, Copy)]
pub struct Rnn;

const LEARNING_RATE: f32 = 1.6e-2;

/// The most layers, which a space file may not exceed.
const DEEPEST: usize = 16;

/// Cells: long short-term memory, gated recurrent unit, minimal gated unit.
const CELLS: [&str; 3] = ["lstm", "gru", "minimal"];

/// How a series is read: from its beginning, or also from its end by cells of their own (Schuster & Paliwal, 1997).
const DIRECTIONS: [&str; 2] = ["forward", "both"];

impl Family for Rnn {
    fn name(&self) -> &'static str {
        "rnn"
    }

    fn describe(&self) -> &'static str {
        "texts and series: LSTM, GRU or minimal cells, depth, widths, direction, bridges, norm, how the answer is made, dropout"
    }

    fn usual_task(&self) -> Task {
        sequence::USUAL
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let sequence = Sequence::of(self.name(), task)?;
        let space = SearchSpace::builder(self.name())
            .choice("cell", CELLS)
            .integer("depth", 1..=3)
            .integer("width", 32..=128)
            .step(16);
        let space = sequence
            .decide_embedding(space, 64)
            .choice("bridges", ["none", "residual"])
            .when("depth", [2, 3])
            .choice("norm", ["none", "layer"]);
        let space = if sequence.is_causal() { space } else { space.choice("direction", DIRECTIONS) };
        Ok(sequence.decide_answer(space).float("dropout", 0.0..=0.3).steps(4).build()?)
    }

    /// One layer of 96 LSTM cells.
    fn default_architecture(&self) -> Architecture {
        Architecture::new()
            .with("cell", Value::Choice("lstm".to_owned()))
            .with("depth", Value::Integer(1))
            .with("width", Value::Integer(96))
            .with("embedding", Value::Integer(32))
            .with("norm", Value::Choice("none".to_owned()))
            .with("output", Value::Choice("own".to_owned()))
            .with("readout", Value::Choice("mean".to_owned()))
            .with("direction", Value::Choice("forward".to_owned()))
            .with("dropout", Value::Float(0.1))
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let sequence = Sequence::of(self.name(), task)?;
        let depth = architecture.size("depth")?;
        if depth == 0 || depth > DEEPEST {
            return Err(FamilyError::Task(format!("depth is {depth}; rnn stacks 1 to {DEEPEST} layers")));
        }
        let (width, embedding) = (architecture.size("width")?, architecture.size("embedding")?);
        let dropout = architecture.float("dropout")? as f32;
        let is = |path: &str, options: [&str; 2]| {
            one_of(self.name(), architecture, path, &options).map(|chosen| chosen == options[1])
        };
        let cell = one_of(self.name(), architecture, "cell", &CELLS)?;
        let bridged = depth > 1 && is("bridges", ["none", "residual"])?;
        // A text is read forwards: later characters are not known.
        let both = !sequence.is_causal() && is("direction", DIRECTIONS)?;
        let normed = is("norm", ["none", "layer"])?;
        let answer = Answer::of(self.name(), architecture, sequence)?;

        let reading = sequence.read(inputs[0], embedding, Init::Normal { std: 0.1 });
        let mut x = reading.features;
        for layer in 0..depth {
            x = x.scope(&format!("layer{layer}"), |x| {
                let y = if normed && layer > 0 { x.layer_norm() } else { x };
                let forwards = unroll(cell, y, width);
                let y = if both { forwards.concat(&[unroll(cell, y.reverse(), width).reverse()], 1) } else { forwards };
                let y = y.dropout(dropout);
                if bridged && layer > 0 { x + y } else { y }
            });
        }
        Ok(x.scope("head", |x| {
            let x = if normed { x.layer_norm() } else { x };
            answer.scores(x, &reading)
        }))
    }

    fn search_recipe(&self) -> Recipe {
        sequence::search_recipe(LEARNING_RATE)
    }

    fn final_recipe(&self) -> Recipe {
        sequence::final_recipe(LEARNING_RATE)
    }
}

/// The states of `width` cells over x [steps, features].
fn unroll<'g>(cell: &str, x: Var<'g>, width: usize) -> Var<'g> {
    match cell {
        "lstm" => x.lstm(Lstm::new(width)),
        "gru" => x.gru(Gru::new(width)),
        _ => minimal_gated_unit(x, width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;

    const TASK: Task = Task::Text { vocabulary: 20, steps: 12 };

    #[test]
    fn tied_and_own_outputs_by_hand() {
        let parameters = |output: &str| {
            let graph = Graph::new();
            let input = TASK.inputs()[0].input(&graph);
            let architecture = Rnn.default_architecture().with("output", Value::Choice(output.to_owned()));
            Rnn.build(&architecture, &TASK, &[input]).unwrap();
            graph.check().unwrap();
            graph.cost().parameters
        };
        let (table, cells) = (20 * 32, 4 * 96 * (32 + 96) + 2 * 4 * 96);
        assert_eq!(parameters("own"), table + cells + 96 * 20 + 20);
        assert_eq!(parameters("tied"), table + cells + 96 * 32 + 32);
    }

    #[test]
    fn options_that_are_none_are_named() {
        for (path, options) in [("cell", "lstm, gru, minimal"), ("norm", "none, layer"), ("output", "own, tied")] {
            let graph = Graph::new();
            let architecture = Rnn.default_architecture().with(path, Value::Choice("other".to_owned()));
            let error = Rnn.build(&architecture, &TASK, &[TASK.inputs()[0].input(&graph)]).unwrap_err().to_string();
            assert_eq!(error, format!("rnn has no \"other\" for \"{path}\"; options: {options}"));
        }
    }
}
