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

    fn by_example(&self) -> bool {
        true
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
            let (bound, gates) = (Init::fan_in(units), units.saturating_mul(4));
            let from_input = x.matmul(x.parameter("input", &[x.last(), gates], bound));
            let from_hidden = h.at(x).matmul(x.parameter("hidden", &[units, gates], bound));
            let gates = from_input + from_hidden + x.parameter("bias", &[gates], bound);
            gates.apply(LstmGates, &[c])
        });
        (both.slice(0, 0, units), both.slice(0, units, units.saturating_mul(2)))
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(width in 1_usize..5, units in 1_usize..5) {
            gradcheck(&[&[width], &[units], &[units]], |v| {
                let (h, c) = v[0].lstm_cell((v[1], v[2]), units);
                h + c.scale(0.5)
            });
        }
    }

    /// One step of one example in f64, gate by gate; the weights are columns i, f, g, o.
    fn step(x: &[f32], h: &[f32], c: &[f32], [input, hidden, bias]: [&[f32]; 3]) -> (Vec<f64>, Vec<f64>) {
        let units = h.len();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let product = |v: &[f32], w: &[f32], column: usize| -> f64 {
            v.iter().enumerate().map(|(row, &v)| f64::from(v) * f64::from(w[row * 4 * units + column])).sum()
        };
        let gate = |k: usize| product(x, input, k) + product(h, hidden, k) + f64::from(bias[k]);
        (0..units)
            .map(|u| {
                let [i, f, g, o] = [0, 1, 2, 3].map(|k| gate(k * units + u));
                let next = sigmoid(f) * f64::from(c[u]) + sigmoid(i) * g.tanh();
                (sigmoid(o) * next.tanh(), next)
            })
            .unzip()
    }

    #[test]
    fn values_by_formula() {
        let (batch, width, units) = (3, 5, 4);
        let graph = Graph::new();
        let state = (graph.input("h", &[units]), graph.input("c", &[units]));
        let (h, c) = graph.input("x", &[width]).lstm_cell(state, units);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(4));
        let draw = |n: usize, seed: u64| {
            let mut values = vec![0.0; n];
            Init::Normal { std: 2.0 }.fill(&mut values, &mut Rng::seed_from_u64(seed));
            values
        };
        let (x, h0, c0) = (draw(batch * width, 1), draw(batch * units, 2), draw(batch * units, 3));
        // With and without what is saved for the backward pass.
        let loss = (h + c).sum();
        for mut program in
            [Program::eval(&graph, &[h, c], batch).unwrap(), Program::train(&graph, loss, &[h, c], batch).unwrap()]
        {
            program.run(&Feed::new(batch).with("x", &x).with("h", &h0).with("c", &c0), &params).unwrap();
            let weights = ["input", "hidden", "bias"].map(|w| params.get(&format!("lstm_cell.{w}")).unwrap().values);
            for n in 0..batch {
                let row = |v: &'_ [f32], width: usize| v[n * width..][..width].to_vec();
                let (h, c) = step(&row(&x, width), &row(&h0, units), &row(&c0, units), weights);
                for u in 0..units {
                    assert_abs_diff_eq!(f64::from(program.output(0)[n * units + u]), h[u], epsilon = 1e-5);
                    assert_abs_diff_eq!(f64::from(program.output(1)[n * units + u]), c[u], epsilon = 1e-5);
                }
            }
        }
    }

    #[test]
    fn saturated_gates_stay_finite() {
        let graph = Graph::new();
        let y = graph.input("gates", &[4]).apply(LstmGates, &[graph.input("c", &[1])]);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], 2).unwrap();
        // Everything is let through; then all is forgotten.
        let gates = [1e4, 1e4, 1e4, 1e4, -1e4, -1e4, -1e4, -1e4];
        program.run(&Feed::new(2).with("gates", &gates).with("c", &[0.5, 0.5]), &params).unwrap();
        let y = program.output(0);
        assert_abs_diff_eq!(y[0], 1.5_f32.tanh(), epsilon = 1e-6);
        assert_abs_diff_eq!(y[1], 1.5, epsilon = 1e-6);
        assert_abs_diff_eq!(y[2..], [0.0, 0.0], epsilon = 1e-6);
    }

    #[test]
    fn a_state_of_another_width_is_a_mistake() {
        let graph = Graph::new();
        let state = (graph.input("h", &[3]), graph.input("c", &[2]));
        let _ = graph.input("x", &[2]).lstm_cell(state, 3);
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "lstm_cell.lstm_gates: needs four gates for every cell, got [N, 12] and [N, 2]");
    }
}
