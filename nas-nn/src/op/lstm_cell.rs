//! One step of a long short-term memory (Hochreiter & Schmidhuber, 1997), after the products: the fused gates.

use super::{Backward, Forward, Keeps, Op, Space};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel::{sigmoid, tanh};

/// Inputs: gates before their activations [4 U], in the order i, f, g, o, and the cell c [U]. Output: [h, c′], 2 U.
#[derive(Debug)]
struct LstmGates;

impl Op for LstmGates {
    fn name(&self) -> &'static str {
        "lstm_gates"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        match (x[0].dims(), x[1].dims()) {
            (&[gates], &[units]) if gates == 4 * units && x[0].is_batched() && x[1].is_batched() => {
                Ok(x[0].with(&[2 * units]))
            }
            _ => Err(format!("needs four gates for every cell, got {} and {}", x[0], x[1])),
        }
    }

    fn madds(&self, _: &[&Shape], y: &Shape) -> u64 {
        2 * y.len() as u64
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[1])
    }

    /// i, f, g, o and tanh c′.
    fn saved(&self, x: &[&Shape], _: &Shape) -> Space {
        Space::per_example(5 * x[1].len())
    }

    /// c′ = σ(f) c + σ(i) tanh(g); h = σ(o) tanh(c′).
    fn forward(&self, at: Forward<'_>) {
        let units = at.shapes[1].len();
        let mut saved = at.saved.chunks_exact_mut(5 * units);
        let rows = at.inputs[0].chunks_exact(4 * units).zip(at.inputs[1].chunks_exact(units));
        for ((gates, c), y) in rows.zip(at.output.chunks_exact_mut(2 * units)) {
            let mut kept = saved.next();
            for u in 0..units {
                let [i, f, g, o] = [0, 1, 2, 3].map(|k| gates[k * units + u]);
                let (i, f, g, o) = (sigmoid(i), sigmoid(f), tanh(g), sigmoid(o));
                let next = f * c[u] + i * g;
                let t = tanh(next);
                y[u] = o * t;
                y[units + u] = next;
                if let Some(kept) = &mut kept {
                    for (k, value) in [i, f, g, o, t].into_iter().enumerate() {
                        kept[k * units + u] = value;
                    }
                }
            }
        }
    }

    /// With t = tanh c′ and dc = dc′ + dh o (1 − t²): do = dh t, df = dc c, di = dc g, dg = dc i, and dc f goes to c; each
    /// gate then through its activation.
    fn backward(&self, mut at: Backward<'_>) {
        let units = at.shapes[1].len();
        let mut dgates = at.grad_input(0).map(super::Grad::sum);
        let mut dcell = at.grad_input(1).map(super::Grad::sum);
        let c = at.input(1);
        for (row, (grad, kept)) in at.grad.chunks_exact(2 * units).zip(at.saved.chunks_exact(5 * units)).enumerate() {
            for u in 0..units {
                let [i, f, g, o, t] = [0, 1, 2, 3, 4].map(|k| kept[k * units + u]);
                let (dh, dnext) = (grad[u], grad[units + u]);
                let dc = dnext + dh * o * (1.0 - t * t);
                if let Some(dgates) = &mut dgates {
                    let dgates = &mut dgates[row * 4 * units..][..4 * units];
                    dgates[u] += dc * g * i * (1.0 - i);
                    dgates[units + u] += dc * c[row * units + u] * f * (1.0 - f);
                    dgates[2 * units + u] += dc * i * (1.0 - g * g);
                    dgates[3 * units + u] += dh * t * o * (1.0 - o);
                }
                if let Some(dcell) = &mut dcell {
                    dcell[row * units + u] += dc * f;
                }
            }
        }
    }
}

impl<'g> Var<'g> {
    /// One step of an LSTM of `units` cells: from this input and the state (h, c) to the next state.
    ///
    /// Its parameters are `lstm_cell.input` [in, 4 units], `lstm_cell.hidden` [units, 4 units] and `lstm_cell.bias`; call
    /// it within [`Var::shared`] to unroll it over a sequence.
    pub fn lstm_cell(self, state: (Var<'g>, Var<'g>), units: usize) -> (Var<'g>, Var<'g>) {
        let (h, c) = state;
        let both = self.scope("lstm_cell", |x| {
            let bound = Init::fan_in(units);
            let from_input = x.matmul(x.parameter("input", &[x.last(), 4 * units], bound));
            let from_hidden = h.matmul(x.parameter("hidden", &[units, 4 * units], bound));
            let gates = from_input + from_hidden + x.parameter("bias", &[4 * units], bound);
            gates.apply(LstmGates, &[c])
        });
        (both.slice(0, 0, units), both.slice(0, units, 2 * units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gradcheck;

    #[test]
    fn gradients() {
        gradcheck(&[&[12], &[3]], |v| v[0].apply(LstmGates, &[v[1]]));
        gradcheck(&[&[4], &[3], &[3]], |v| {
            let (h, c) = v[0].lstm_cell((v[1], v[2]), 3);
            h + c.scale(0.5)
        });
    }

    #[test]
    fn two_steps_share_their_weights() {
        gradcheck(&[&[2], &[3], &[3]], |v| {
            let mut state = (v[1], v[2]);
            for _ in 0..2 {
                let (h, c) = (std::cell::Cell::new(None), state);
                let _ = v[0].shared("lstm", |x| {
                    let next = x.lstm_cell(c, 3);
                    h.set(Some(next));
                    next.0
                });
                state = h.get().unwrap();
            }
            state.0
        });
    }
}
