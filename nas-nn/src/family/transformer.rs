//! Transformers: attention and feed-forward blocks. On texts they are causal language models, on series classifiers that see all steps.
//!
//! A block adds what it finds to what it reads. The norm stands before each sublayer (pre: x + f(norm(x)), with a last norm before the head)
//! or behind each sum (post: norm(x + f(x)); Vaswani et al., 2017). Positions are learned vectors, rotations of queries and keys (Su et
//! al., 2021), or nothing at all: on texts the causal mask alone tells places apart (Haviv et al., 2022).

use nas_core::{Architecture, SearchSpace, Value};

use super::sequence::{self, Answer, Sequence};
use super::{Family, FamilyError, Task, one_of};
use crate::graph::Var;
use crate::init::Init;
use crate::layer::learned_positions;
use crate::op::{Activation, Attention};
use crate::train::Recipe;

/// The family `transformer`.
#[derive(Debug, Clone, Copy)]
pub struct Transformer;

const LEARNING_RATE: f32 = 3e-3;

/// The most blocks, which a space file may not exceed.
const DEEPEST: usize = 16;

/// The base of the rotations' angles.
const ROTARY_BASE: f32 = 10_000.0;

impl Family for Transformer {
    fn name(&self) -> &'static str {
        "transformer"
    }

    fn describe(&self) -> &'static str {
        "texts and series: Transformers; depth, width, heads, feed-forward, norms, activation, positions, how the answer is made"
    }

    fn usual_task(&self) -> Task {
        sequence::USUAL
    }

    fn space(&self, task: &Task) -> Result<SearchSpace, FamilyError> {
        let sequence = Sequence::of(self.name(), task)?;
        let space = SearchSpace::builder(self.name())
            .integer("depth", 1..=4)
            .integer("width", 32..=128)
            .step(32)
            .integer("heads", 2..=4)
            .step(2)
            .integer("feed_forward", 1..=4)
            .choice("norm_place", ["pre", "post"])
            .choice("norm", ["layer", "rms"])
            .choice("activation", ["relu", "gelu", "silu"])
            .choice("positions", ["learned", "rotary", "none"]);
        Ok(sequence.decide_answer(space).float("dropout", 0.0..=0.3).steps(4).build()?)
    }

    /// Two pre-norm blocks of 96 features with four heads and learned positions, as GPT-2 is built.
    fn default_architecture(&self) -> Architecture {
        Architecture::new()
            .with("depth", Value::Integer(2))
            .with("width", Value::Integer(96))
            .with("heads", Value::Integer(4))
            .with("feed_forward", Value::Integer(4))
            .with("norm_place", "pre".into())
            .with("norm", "layer".into())
            .with("activation", "gelu".into())
            .with("positions", "learned".into())
            .with("output", "own".into())
            .with("readout", "mean".into())
            .with("dropout", Value::Float(0.0))
    }

    fn build<'g>(&self, architecture: &Architecture, task: &Task, inputs: &[Var<'g>]) -> Result<Var<'g>, FamilyError> {
        let sequence = Sequence::of(self.name(), task)?;
        let depth = architecture.size("depth")?;
        if depth == 0 || depth > DEEPEST {
            return Err(FamilyError::Task(format!("depth is {depth}; transformer stacks 1 to {DEEPEST} blocks")));
        }
        let block = Block::of(architecture, sequence)?;
        let answer = Answer::of(self.name(), architecture, sequence)?;

        // Rows of length 1: tied, they then give logits of about unit size for normed features.
        let std = 1.0 / (block.width.max(1) as f32).sqrt();
        let reading = sequence.read(inputs[0], block.width, Init::Normal { std });
        let mut x = reading.features;
        if !block.causal {
            x = x.scope("steps", |x| x.linear(block.width));
        }
        if block.positions == "learned" {
            x = learned_positions(x, x.dim(0));
        }
        x = x.dropout(block.dropout);
        for number in 0..depth {
            x = x.scope(&format!("block{number}"), |x| block.build(x));
        }
        Ok(x.scope("head", |x| {
            let x = if block.pre { block.norm(x) } else { x };
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

/// What all blocks of a network have in common.
struct Block<'a> {
    width: usize,
    heads: usize,
    /// Hidden features of the feed-forward sublayer.
    wide: usize,
    pre: bool,
    rms: bool,
    activation: Activation,
    positions: &'a str,
    /// Whether no step sees a later one.
    causal: bool,
    dropout: f32,
}

impl<'a> Block<'a> {
    fn of(architecture: &'a Architecture, sequence: Sequence) -> Result<Self, FamilyError> {
        let (width, heads) = (architecture.size("width")?, architecture.size("heads")?);
        let positions = one_of("transformer", architecture, "positions", &["learned", "rotary", "none"])?;
        let mistake = |why: &str| {
            Err(FamilyError::Task(format!("transformer cannot have {heads} heads at a width of {width}: {why}")))
        };
        if heads == 0 || !width.is_multiple_of(heads) {
            return mistake("the width must divide evenly among them");
        }
        if positions == "rotary" && !(width / heads).is_multiple_of(2) {
            return mistake("rotary positions turn pairs, so each needs an even number of features");
        }
        let activation = architecture.choice("activation")?;
        Ok(Block {
            width,
            heads,
            wide: width.saturating_mul(architecture.size("feed_forward")?),
            pre: one_of("transformer", architecture, "norm_place", &["pre", "post"])? == "pre",
            rms: one_of("transformer", architecture, "norm", &["layer", "rms"])? == "rms",
            activation: activation.parse().map_err(|e| FamilyError::Task(format!("transformer: {e}")))?,
            positions,
            causal: sequence.is_causal(),
            dropout: architecture.float("dropout")? as f32,
        })
    }

    fn build<'g>(&self, x: Var<'g>) -> Var<'g> {
        let x = self.sublayer(x, |x| self.attention(x));
        self.sublayer(x, |x| x.linear(self.wide).activation(self.activation).linear(self.width))
    }

    fn sublayer<'g>(&self, x: Var<'g>, layer: impl FnOnce(Var<'g>) -> Var<'g>) -> Var<'g> {
        if self.pre {
            x + layer(self.norm(x)).dropout(self.dropout)
        } else {
            self.norm(x + layer(x).dropout(self.dropout))
        }
    }

    fn norm<'g>(&self, x: Var<'g>) -> Var<'g> {
        if self.rms { x.rms_norm() } else { x.layer_norm() }
    }

    /// Rotations turn queries and keys, so there they come apart first; the parameters are the same.
    fn attention<'g>(&self, x: Var<'g>) -> Var<'g> {
        let attention = Attention::new(self.heads);
        let attention = if self.causal { attention.causal() } else { attention };
        if self.positions != "rotary" {
            return x.self_attention(attention);
        }
        let (steps, width) = (x.dim(0), self.width);
        x.scope("self_attention", |x| {
            let all = x.linear(3 * width);
            let part = |which: usize| all.slice(1, which * width, (which + 1) * width);
            let turned = |which: usize| {
                let heads = part(which).reshape(&[steps, self.heads, width / self.heads]);
                heads.rotary(ROTARY_BASE).reshape(&[steps, width])
            };
            turned(0).attention(turned(1), part(2), attention).linear(width)
        })
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::{Feed, Graph, Params, Program};

    const TASK: Task = Task::Text { vocabulary: 20, steps: 12 };

    /// The default with these options.
    fn with(options: &[(&str, &str)]) -> Architecture {
        let all = Transformer.default_architecture();
        options.iter().fold(all, |architecture, &(path, option)| architecture.with(path, option.into()))
    }

    fn parameters(architecture: &Architecture) -> u64 {
        let graph = Graph::new();
        Transformer.build(architecture, &TASK, &[TASK.inputs()[0].input(&graph)]).unwrap();
        graph.check().unwrap();
        graph.cost().parameters
    }

    #[test]
    fn parameters_by_hand() {
        let norm = 2 * 96;
        let attention = 96 * 3 * 96 + 3 * 96 + 96 * 96 + 96;
        let block = 2 * norm + attention + 96 * 384 + 384 + 384 * 96 + 96;
        let own = 20 * 96 + 12 * 96 + 2 * block + norm + 96 * 20 + 20;
        assert_eq!(parameters(&with(&[])), own);
        assert_eq!(parameters(&with(&[("output", "tied")])), own - 96 * 20 - 20);
        assert_eq!(parameters(&with(&[("positions", "rotary")])), own - 12 * 96);
        assert_eq!(parameters(&with(&[("positions", "none")])), own - 12 * 96);
        // Behind every sum stands a norm already.
        assert_eq!(parameters(&with(&[("norm_place", "post")])), own - norm);
        assert_eq!(parameters(&with(&[("norm", "rms")])), own - 5 * 96);
    }

    /// The last logits for characters and for the same with two of them, not the last, exchanged. One block without positions cannot
    /// tell them apart: the last query sees a set.
    #[test]
    fn positions_tell_an_order() {
        let last = |positions: &str| {
            let graph = Graph::new();
            let architecture = with(&[("positions", positions)]).with("depth", Value::Integer(1));
            let answer = Transformer.build(&architecture, &TASK, &[TASK.inputs()[0].input(&graph)]).unwrap();
            let params = Params::init(&graph, &mut Seed::new(1).stream(Purpose::Init, 0));
            let mut program = Program::eval(&graph, &[answer], 1).unwrap();
            let mut characters: Vec<f32> = (0..12).map(|i| ((i * 5) % 20) as f32).collect();
            let mut run = |characters: &[f32]| {
                program.run(&Feed::new(1).with("characters", characters), &params).unwrap();
                program.output(0)[11 * 20..].to_vec()
            };
            let before = run(&characters);
            characters.swap(2, 7);
            let after = run(&characters);
            before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(last("none") < 1e-5, "{}", last("none"));
        for positions in ["learned", "rotary"] {
            assert!(last(positions) > 1e-4, "{positions}: {}", last(positions));
        }
    }

    #[test]
    fn what_cannot_be_built() {
        let says = |architecture: &Architecture| {
            let graph = Graph::new();
            let built = Transformer.build(architecture, &TASK, &[TASK.inputs()[0].input(&graph)]);
            built.map(|_| ()).unwrap_err().to_string()
        };
        let at_width = "transformer cannot have";
        let uneven =
            |heads: i32| format!("{at_width} {heads} heads at a width of 96: the width must divide evenly among them");
        for heads in [0, 5] {
            assert_eq!(says(&with(&[]).with("heads", heads.into())), uneven(heads));
        }
        let odd = "rotary positions turn pairs, so each needs an even number of features";
        let turned = with(&[("positions", "rotary")]).with("heads", 32.into());
        assert_eq!(says(&turned), format!("{at_width} 32 heads at a width of 96: {odd}"));
        assert_eq!(says(&with(&[("norm", "batch")])), "transformer has no \"batch\" for \"norm\"; options: layer, rms");
        assert!(says(&with(&[("activation", "sine")])).starts_with("transformer: there is no activation \"sine\""));
        let deep = with(&[]).with("depth", Value::Integer(17));
        assert_eq!(says(&deep), "depth is 17; transformer stacks 1 to 16 blocks");
    }
}
