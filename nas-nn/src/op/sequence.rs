//! What recurrent layers over whole sequences share: their inputs, masks by length, and weight gradients of several steps.

use smallvec::SmallVec;

use super::Keeps;
use crate::graph::{Shape, Var};
use crate::kernel::gemm;

/// Which inputs of a recurrent layer are states to start with and lengths; x and the weights come before them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sequence {
    /// The first state.
    pub(super) initial: Option<usize>,
    /// The lengths.
    pub(super) lengths: Option<usize>,
    /// The number of states.
    states: usize,
}

impl Sequence {
    /// Appends states and lengths to the weights, which x will stand before.
    pub(super) fn new<'g>(inputs: &mut Vec<Var<'g>>, states: &[Var<'g>], lengths: Option<Var<'g>>) -> Self {
        let initial = (!states.is_empty()).then_some(inputs.len() + 1);
        inputs.extend(states);
        let place = lengths.map(|lengths| {
            inputs.push(lengths);
            inputs.len()
        });
        Sequence { initial, lengths: place, states: states.len() }
    }

    /// The number of steps, if everything fits `units` with `gates` gates each.
    pub(super) fn check(&self, x: &[&Shape], units: usize, gates: usize) -> Result<usize, String> {
        let &[steps, width] = x[0].dims() else {
            return Err(format!("needs [steps, width] of every example, got {}", x[0]));
        };
        if steps * width == 0 || !x[0].is_batched() {
            return Err(format!("needs [steps, width] of every example, got {}", x[0]));
        }
        if units == 0 {
            return Err("needs one unit or more".to_owned());
        }
        debug_assert_eq!(x[1].dims(), [width, gates * units], "the layer makes its own weights");
        for i in self.initial.into_iter().flat_map(|first| first..first + self.states) {
            if *x[i] != Shape::batched(&[units]) {
                return Err(format!("needs a state of {units} units of every example, got {}", x[i]));
            }
        }
        match self.lengths {
            Some(i) if *x[i] != Shape::batched(&[]) => Err(format!("needs one length an example, got {}", x[i])),
            _ => Ok(steps),
        }
    }

    /// x, the weights, states and lengths, and the outputs.
    pub(super) fn keeps(&self) -> Keeps {
        let states = self.initial.into_iter().flat_map(|first| first..first + self.states);
        let which: SmallVec<[usize; 8]> = (0..3).chain(states).chain(self.lengths).collect();
        Keeps::inputs(&which).and_output()
    }

    /// Whether step `t` of an example is within its length.
    pub(super) fn counts(&self, inputs: &[&[f32]], example: usize, t: usize) -> bool {
        self.lengths.is_none_or(|i| (t as f32) < inputs[i][example])
    }

    /// The same in the backward pass.
    pub(super) fn counts_again(&self, inputs: &[Option<&[f32]>], example: usize, t: usize) -> bool {
        self.lengths.is_none_or(|i| (t as f32) < inputs[i].expect("lengths are kept")[example])
    }
}

/// What is wrong with `lengths` of the sequence `x`, which only the graph can tell: they must be numbers of steps.
pub(super) fn mistake_of_lengths(x: Var<'_>, lengths: Option<Var<'_>>) -> Option<String> {
    let (limit, lengths) = (x.dim(0), lengths?);
    if lengths.classes().is_some_and(|classes| classes <= limit + 1) {
        return None;
    }
    let found = lengths.numbers();
    Some(format!("needs lengths of 0 to {limit} from an input of {} classes, got {found}", limit + 1))
}

/// Gathers a row for each of `count` steps and `n` examples, zeros where there is none.
pub(super) fn gather<'a>(
    [count, n, width]: [usize; 3],
    row: impl Fn(usize, usize) -> Option<&'a [f32]>,
    into: &mut [f32],
) {
    for i in 0..count {
        for example in 0..n {
            let into = &mut into[(i * n + example) * width..][..width];
            match row(i, example) {
                Some(row) => into.copy_from_slice(row),
                None => into.fill(0.0),
            }
        }
    }
}

/// `dw += xᵀ dy` over all rows, or `=` the first time.
pub(super) fn weight_gradient(x: &[f32], dy: &[f32], [ins, outs]: [usize; 2], dw: &mut Option<(&mut [f32], bool)>) {
    if let Some((dw, add)) = dw {
        let beta = if *add { 1.0 } else { 0.0 };
        gemm([ins, outs, dy.len() / outs], x, [1, ins], dy, [outs, 1], beta, dw, [outs, 1]);
        *add = true;
    }
}

/// Writes at `place` of `outputs`, step `t`, the output of the step before: a sequence that has ended.
pub(super) fn repeat(outputs: &mut [f32], units: usize, place: usize, t: usize, initial: Option<&[f32]>) {
    if t > 0 {
        outputs.copy_within(place - units..place, place);
    } else {
        match initial {
            Some(h) => outputs[place..place + units].copy_from_slice(&h[..units]),
            None => outputs[place..place + units].fill(0.0),
        }
    }
}
