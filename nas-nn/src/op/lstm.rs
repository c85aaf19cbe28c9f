//! A long short-term memory (Hochreiter & Schmidhuber, 1997) over a whole sequence, fused.

use super::sequence::{Sequence, gather, mistake_of_lengths, repeat, weight_gradient};
use super::{Backward, Forward, Grad, Keeps, Op, Space};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel::{self, gemm};

/// The settings of an LSTM layer; [`Var::lstm`] and [`Var::lstm_with_state`] apply it.
///
/// ```
/// use nas_nn::{Graph, op::Lstm};
///
/// let graph = Graph::new();
/// let tokens = graph.classes("tokens", 65, &[64]);
/// let hidden = tokens.embedding(65, 128).lstm(Lstm::new(256));
/// assert_eq!(hidden.shape().to_string(), "[N, 64, 256]");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Lstm<'g> {
    units: usize,
    initial: Option<(Var<'g>, Var<'g>)>,
    lengths: Option<Var<'g>>,
}

impl<'g> Lstm<'g> {
    /// `units` cells that start at zero.
    pub fn new(units: usize) -> Self {
        Lstm { units, initial: None, lengths: None }
    }

    /// Starts with these outputs and cells, one number a unit each: those of the stretch before.
    #[must_use]
    pub fn initial(self, h: Var<'g>, c: Var<'g>) -> Self {
        Lstm { initial: Some((h, c)), ..self }
    }

    /// Only the first `lengths` steps of an example count, an input of class numbers, one an example; after them its state
    /// stays as it is, and so do the outputs.
    #[must_use]
    pub fn lengths(self, lengths: Var<'g>) -> Self {
        Lstm { lengths: Some(lengths), ..self }
    }
}

/// Inputs: x [steps, width], weights of the input [width, 4 units] and of the output before [units, 4 units], a bias of each [4 units]; then h
/// and c [units] to start with, and lengths, if any. Gates stand in the order i, f, g, o. Output: [steps, units], and with
/// `carry` one row more, the last cells.
#[derive(Debug, Clone, Copy)]
struct LstmLayer {
    units: usize,
    sequence: Sequence,
    carry: bool,
}

/// Steps whose weight gradients are one product.
const TOGETHER: usize = 8;

impl LstmLayer {
    /// Saved gates and cells of `batch` examples, step by step.
    fn split<'a>(&self, saved: &'a [f32], steps: usize, batch: usize) -> (&'a [f32], &'a [f32]) {
        saved.split_at(steps * batch * 4 * self.units)
    }

    fn rows_of_output(&self, steps: usize) -> usize {
        steps + usize::from(self.carry)
    }
}

impl Op for LstmLayer {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let steps = self.sequence.check(x, self.units, 4)?;
        Ok(x[0].with(&[self.rows_of_output(steps), self.units]))
    }

    fn madds(&self, x: &[&Shape], _: &Shape) -> u64 {
        (x[0].dims()[0] * 4 * self.units * (x[0].dims()[1] + self.units)) as u64
    }

    fn differentiates(&self, input: usize) -> bool {
        Some(input) != self.sequence.lengths
    }

    fn keeps(&self) -> Keeps {
        self.sequence.keeps()
    }

    /// The activated gates and the cells of every step.
    fn saved(&self, x: &[&Shape], _: &Shape) -> Space {
        Space::per_example(x[0].dims()[0] * 5 * self.units)
    }

    /// Gates of a few steps with what went into them, and a state.
    fn scratch(&self, x: &[&Shape], _: &Shape, batch: usize) -> usize {
        let (together, width) = (TOGETHER.min(x[0].dims()[0]), x[0].dims()[1]);
        together * batch * (5 * self.units + width) + (2 * batch + 4) * self.units
    }

    /// The sum of the biases, and the gates and cells of one step.
    fn scratch_eval(&self, _: &[&Shape], _: &Shape, batch: usize) -> usize {
        (5 * batch + 4) * self.units
    }

    /// c′ = σ(f) c + σ(i) tanh(g), h = σ(o) tanh(c′), with [i f g o] = x W + b + h R + b′.
    fn forward(&self, at: Forward<'_>) {
        let (units, n) = (self.units, at.batch);
        let [steps, width] = [at.shapes[0].dims()[0], at.shapes[0].dims()[1]];
        let [x, w, r] = [0, 1, 2].map(|i| at.inputs[i]);
        let (bias, scratch) = at.scratch.split_at_mut(4 * units);
        kernel::zip(at.inputs[3], at.inputs[4], bias, |a, b| a + b);
        let initial = self.sequence.initial.map(|i| (at.inputs[i], at.inputs[i + 1]));
        let row = self.rows_of_output(steps) * units;
        let (mut gates, mut cells) = if at.saved.is_empty() {
            scratch[..n * 5 * units].split_at_mut(n * 4 * units)
        } else {
            at.saved.split_at_mut(steps * n * 4 * units)
        };
        let one_step = gates.len() == n * 4 * units;
        for t in 0..steps {
            if t > 0 && !one_step {
                gates = &mut std::mem::take(&mut gates)[n * 4 * units..];
                let (before, now) = std::mem::take(&mut cells).split_at_mut(n * units);
                now[..n * units].copy_from_slice(before);
                cells = now;
            } else if t == 0 {
                match initial {
                    Some((_, c)) => cells[..n * units].copy_from_slice(c),
                    None => cells[..n * units].fill(0.0),
                }
            }
            let gates = &mut gates[..n * 4 * units];
            gemm(
                [n, 4 * units, width],
                &x[t * width..],
                [steps * width, 1],
                w,
                [4 * units, 1],
                0.0,
                gates,
                [4 * units, 1],
            );
            let before =
                if t > 0 { Some((&at.output[(t - 1) * units..], row)) } else { initial.map(|(h, _)| (h, units)) };
            if let Some((h, apart)) = before {
                gemm([n, 4 * units, units], h, [apart, 1], r, [4 * units, 1], 1.0, gates, [4 * units, 1]);
            }
            for example in 0..n {
                let place = example * row + t * units;
                if self.sequence.counts(at.inputs, example, t) {
                    let gates = &mut gates[example * 4 * units..][..4 * units];
                    let c = &mut cells[example * units..][..units];
                    kernel::lstm_row(gates, bias, c, &mut at.output[place..][..units]);
                } else {
                    repeat(at.output, units, place, t, initial.map(|(h, _)| &h[example * units..]));
                }
            }
        }
        if self.carry {
            for (y, c) in at.output.chunks_exact_mut(row).zip(cells.chunks_exact(units)) {
                y[steps * units..].copy_from_slice(c);
            }
        }
    }

    /// Step by step backwards: dG from dh and dc, dx = dG Wᵀ, dh = dG Rᵀ; for a few steps together dW = xᵀ dG, dR = hᵀ dG,
    /// db = db′ = Σ dG.
    fn backward(&self, mut at: Backward<'_>) {
        let (units, n) = (self.units, at.batch);
        let [steps, width] = [at.shapes[0].dims()[0], at.shapes[0].dims()[1]];
        let mut grads: smallvec::SmallVec<[Option<Grad<'_>>; 8]> =
            (0..at.grads.len()).map(|i| at.grad_input(i)).collect();
        let mut dx = grads[0].take().map(Grad::parts);
        let [mut dw, mut dr] = [1, 2].map(|i| grads[i].take().map(Grad::parts));
        let mut biases = [3, 4].map(|i| grads[i].take().map(Grad::parts));
        let [x, w, r] = [0, 1, 2].map(|i| at.input(i));
        let initial = self.sequence.initial.map(|i| (at.input(i), at.input(i + 1)));
        let (gates, cells) = self.split(at.saved, steps, n);
        let (h, row) = (at.output(), self.rows_of_output(steps) * units);

        let together = TOGETHER.min(steps);
        let (dgates, rest) = at.scratch.split_at_mut(together * n * 4 * units);
        let (hs, rest) = rest.split_at_mut(together * n * units);
        let (xs, rest) = rest.split_at_mut(together * n * width);
        let (dh, rest) = rest.split_at_mut(n * units);
        let dc = &mut rest[..n * units];
        dh.fill(0.0);
        dc.fill(0.0);
        if self.carry {
            for (dc, g) in dc.chunks_exact_mut(units).zip(at.grad.chunks_exact(row)) {
                dc.copy_from_slice(&g[steps * units..]);
            }
        }
        for t in (0..steps).rev() {
            let dgates_now = &mut dgates[t % together * n * 4 * units..][..n * 4 * units];
            for example in 0..n {
                let state = example * units..(example + 1) * units;
                kernel::axpy(1.0, &at.grad[example * row + t * units..][..units], &mut dh[state.clone()]);
                let dgates = &mut dgates_now[example * 4 * units..][..4 * units];
                if !self.sequence.counts_again(at.inputs, example, t) {
                    dgates.fill(0.0);
                    continue;
                }
                let of_step = |t: usize| &cells[(t * n + example) * units..][..units];
                let before = if t > 0 { Some(of_step(t - 1)) } else { initial.map(|(_, c)| &c[state.clone()]) };
                let gates = &gates[(t * n + example) * 4 * units..][..4 * units];
                kernel::lstm_row_backward(
                    gates,
                    before,
                    of_step(t),
                    &dh[state.clone()],
                    &mut dc[state.clone()],
                    dgates,
                );
                dh[state].fill(0.0);
            }
            if t > 0 || initial.is_some() {
                gemm([n, units, 4 * units], dgates_now, [4 * units, 1], r, [1, 4 * units], 1.0, dh, [units, 1]);
            }
            if let Some((dx, add)) = &mut dx {
                let (beta, dx) = (if *add { 1.0 } else { 0.0 }, &mut dx[t * width..]);
                gemm(
                    [n, width, 4 * units],
                    dgates_now,
                    [4 * units, 1],
                    w,
                    [1, 4 * units],
                    beta,
                    dx,
                    [steps * width, 1],
                );
            }
            if t % together == 0 {
                let count = together.min(steps - t);
                // What lies beyond a length may be no number, and 0 · NaN is none.
                let counted = |i: usize, example: usize| {
                    let counts = self.sequence.counts_again(at.inputs, example, t + i);
                    counts.then(|| &x[(example * steps + t + i) * width..][..width])
                };
                gather([count, n, width], counted, xs);
                let before = |i: usize, example: usize| match (t + i).checked_sub(1) {
                    Some(t) => Some(&h[example * row + t * units..][..units]),
                    None => initial.map(|(h, _)| &h[example * units..][..units]),
                };
                gather([count, n, units], before, hs);
                let dgates = &dgates[..count * n * 4 * units];
                weight_gradient(&xs[..count * n * width], dgates, [width, 4 * units], &mut dw);
                weight_gradient(&hs[..count * n * units], dgates, [units, 4 * units], &mut dr);
                for (db, add) in biases.iter_mut().flatten() {
                    kernel::column_sums(dgates, db, *add);
                    *add = true;
                }
            }
        }
        if let Some(first) = self.sequence.initial {
            for (i, state) in [(first, &*dh), (first + 1, &*dc)] {
                match grads[i].take().map(Grad::parts) {
                    Some((to, true)) => kernel::axpy(1.0, state, to),
                    Some((to, false)) => to.copy_from_slice(state),
                    None => {}
                }
            }
        }
    }
}

impl<'g> Var<'g> {
    /// The outputs [steps, units] of an LSTM over this sequence [steps, width].
    ///
    /// Its parameters are `lstm.input` [width, 4 units], `lstm.hidden` [units, 4 units] and the biases of both, `lstm.bias` and
    /// `lstm.hidden_bias`, as elsewhere; the gates stand in the order i, f, g, o. All start uniform within 1/√units.
    pub fn lstm(self, lstm: Lstm<'g>) -> Var<'g> {
        self.lstm_layer(lstm, false)
    }

    /// The same with the last output and cells, one number a unit each: what the next stretch of a long sequence starts with.
    pub fn lstm_with_state(self, lstm: Lstm<'g>) -> (Var<'g>, (Var<'g>, Var<'g>)) {
        let steps = self.dim(0);
        let all = self.lstm_layer(lstm, true);
        let row = |from: usize| all.slice(0, from, from + 1).reshape(&[lstm.units]);
        (all.slice(0, 0, steps), (row(steps.saturating_sub(1)), row(steps)))
    }

    fn lstm_layer(self, lstm: Lstm<'g>, carry: bool) -> Var<'g> {
        let Lstm { units, initial, lengths } = lstm;
        self.scope("lstm", |x| {
            if let Some(message) = mistake_of_lengths(x, lengths) {
                return x.mistake("lstm", message);
            }
            let (init, gates) = (Init::fan_in(units), units.saturating_mul(4));
            let matrices = [("input", vec![x.last(), gates]), ("hidden", vec![units, gates])];
            let weights = matrices.into_iter().chain([("bias", vec![gates]), ("hidden_bias", vec![gates])]);
            let mut inputs: Vec<Var<'g>> = weights.map(|(name, dims)| x.parameter(name, &dims, init)).collect();
            let states = initial.map_or(vec![], |(h, c)| vec![h, c]);
            let sequence = Sequence::new(&mut inputs, &states, lengths);
            x.apply(LstmLayer { units, sequence, carry }, &inputs)
        })
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::optim::Sgd;
    use crate::testing::{HOLE, gradcheck, gradcheck_fed, with_holes};
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[3, 2]], |v| v[0].lstm(Lstm::new(3)));
        // More steps than go into one product, and a width of one.
        gradcheck(&[&[11, 1]], |v| v[0].lstm(Lstm::new(2)));
        gradcheck(&[&[2, 2], &[3], &[3]], |v| {
            let (y, (h, c)) = v[0].lstm_with_state(Lstm::new(3).initial(v[1], v[2]));
            y.sum_axis(0) + h.scale(0.5) + c
        });
        gradcheck(&[&[3, 2]], |v| v[0].scale(0.5) + v[0].lstm(Lstm::new(2)).lstm(Lstm::new(2)));
    }

    #[test]
    fn gradients_of_sequences_of_several_lengths() {
        gradcheck_fed(&[&[4, 2], &[3], &[3]], &[(5, &[], &[4.0, 2.0, 0.0])], |v| {
            let (y, (_, c)) = v[0].lstm_with_state(Lstm::new(3).initial(v[1], v[2]).lengths(v[3]));
            y.sum_axis(0) + c + v[0].sum_axis(0).linear(3)
        });
    }

    /// The same as the cell, step after step.
    #[test]
    fn it_is_the_cell_unrolled() {
        let (batch, steps, width, units) = (3, 5, 2, 4);
        let graph = Graph::new();
        let x = graph.input("x", &[steps, width]);
        let zero = graph.input("zero", &[units]);
        let fused = x.lstm(Lstm::new(units));
        let mut state = (zero, zero);
        let mut outputs = Vec::new();
        for t in 0..steps {
            let x = x.slice(0, t, t + 1).reshape(&[width]);
            let next = std::cell::Cell::new(state);
            let _ = x.shared("cell", |x| {
                next.set(x.lstm_cell(state, units));
                next.get().0
            });
            state = next.get();
            outputs.push(state.0.reshape(&[1, units]));
        }
        let unrolled = outputs[0].concat(&outputs[1..], 0);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        params.get_mut("lstm.hidden_bias").unwrap().fill(0.0);
        for name in ["input", "hidden", "bias"] {
            let values = params.get(&format!("lstm.{name}")).unwrap().values.to_vec();
            params.get_mut(&format!("cell.lstm_cell.{name}")).unwrap().copy_from_slice(&values);
        }
        let mut program = Program::eval(&graph, &[fused, unrolled], batch).unwrap();
        let x: Vec<f32> = (0..batch * steps * width).map(|i| (i as f32 * 0.7).sin()).collect();
        // A smaller batch than compiled for, too.
        for n in [batch, 2] {
            let feed = Feed::new(n).with("x", &x[..n * steps * width]);
            program.run(&feed.with("zero", &[0.0; 12][..n * units]), &params).unwrap();
            assert_abs_diff_eq!(program.output(0), program.output(1), epsilon = 1e-6);
        }
    }

    /// Truncated back-propagation: the state of one stretch is fed to the next, and gradients stop between them.
    #[test]
    fn a_state_is_carried_from_stretch_to_stretch() {
        let (units, steps) = (4, 6);
        let build = |steps: usize| {
            let graph = Graph::new();
            let (h, c) = (graph.input("h", &[units]), graph.input("c", &[units]));
            let (y, state) = graph.input("x", &[steps, 1]).lstm_with_state(Lstm::new(units).initial(h, c));
            let loss = y.linear(1).mse(graph.input("target", &[steps, 1]));
            let params = Params::init(&graph, &mut Rng::seed_from_u64(1));
            let program = Program::train(&graph, loss, &[y, state.0, state.1], 1).unwrap();
            (params, program)
        };
        let x: Vec<f32> = (0..steps).map(|i| (i as f32).sin()).collect();
        let zeros = vec![0.0; units];
        let (params, mut whole) = build(steps);
        let feed = |n| Feed::new(1).with("x", &x[..n]).with("target", &x[..n]);
        whole.run(&feed(steps).with("h", &zeros).with("c", &zeros), &params).unwrap();
        let (mut params, mut half) = build(steps / 2);
        half.run(&feed(steps / 2).with("h", &zeros).with("c", &zeros), &params).unwrap();
        let (h, c) = (half.output(1).to_vec(), half.output(2).to_vec());
        let second =
            Feed::new(1).with("x", &x[steps / 2..]).with("target", &x[steps / 2..]).with("h", &h).with("c", &c);
        half.run(&second, &params).unwrap();
        assert_abs_diff_eq!(half.output(0)[..], whole.output(0)[steps / 2 * units..], epsilon = 1e-6);
        let mut sgd = Sgd::new(0.1);
        let first = half.step(&second, &mut params, &mut sgd).unwrap();
        let last = (0..20).map(|_| half.step(&second, &mut params, &mut sgd).unwrap()).last().unwrap();
        assert!(last < first);
    }

    #[test]
    fn beyond_a_length_may_stand_anything() {
        let graph = Graph::new();
        let lengths = graph.class("lengths", 5);
        let loss = with_holes(graph.input("x", &[4, 2])).lstm(Lstm::new(3).lengths(lengths)).sum();
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(2));
        let mut program = Program::train(&graph, loss, &[], 2).unwrap();
        let mut gradients = |beyond: f32| {
            let mut x: Vec<f32> = (0..16).map(|i| (i as f32).sin()).collect();
            x[6..8].fill(beyond);
            program.gradients(&Feed::new(2).with("x", &x).with("lengths", &[3.0, 4.0]), &mut params).unwrap();
            program.grads().to_vec()
        };
        assert_eq!(gradients(HOLE), gradients(0.0));
    }

    /// A smaller batch than compiled for has the gradients of a program of its own, for full and broken groups of steps.
    #[test]
    fn smaller_batches() {
        for steps in [1, 8, 11] {
            let graph = Graph::new();
            let lengths = graph.class("lengths", steps + 1);
            let y = graph.input("x", &[steps, 2]).lstm(Lstm::new(3).lengths(lengths));
            let loss = (y * y).sum();
            let mut params = Params::init(&graph, &mut Rng::seed_from_u64(2));
            let mut gradients = |compiled: usize, fed: usize| {
                let x: Vec<f32> = (0..fed * steps * 2).map(|i| (i as f32 * 0.7).sin()).collect();
                let lengths: Vec<f32> = (0..fed).map(|i| (5 * i % (steps + 1)) as f32).collect();
                let mut program = Program::train(&graph, loss, &[], compiled).unwrap();
                program.gradients(&Feed::new(fed).with("x", &x).with("lengths", &lengths), &mut params).unwrap();
                program.grads().to_vec()
            };
            assert_eq!(gradients(7, 3), gradients(3, 3), "{steps} steps");
        }
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |build: fn(&Graph)| {
            let graph = Graph::new();
            build(&graph);
            graph.check().unwrap_err().to_string()
        };
        let text = says(|g| _ = g.input("x", &[4]).lstm(Lstm::new(3)));
        assert_eq!(text, "lstm: needs [steps, width] of every example, got [N, 4]");
        let text = says(|g| _ = g.input("x", &[2, 4]).lstm(Lstm::new(0)));
        assert_eq!(text, "lstm: needs one unit or more");
        let text = says(|g| {
            let h = g.input("h", &[2]);
            _ = g.input("x", &[2, 4]).lstm(Lstm::new(3).initial(h, h));
        });
        assert_eq!(text, "lstm: needs a state of 3 units of every example, got [N, 2]");
        let text = says(|g| _ = g.input("x", &[2, 4]).lstm(Lstm::new(3).lengths(g.classes("l", 3, &[2]))));
        assert_eq!(text, "lstm: needs one length an example, got [N, 2]");
        let needs = "lstm: needs lengths of 0 to 2 from an input of 3 classes, got";
        let text = says(|g| _ = g.input("x", &[2, 4]).lstm(Lstm::new(3).lengths(g.class("l", 4))));
        assert_eq!(text, format!("{needs} 4 classes"));
        let text = says(|g| _ = g.input("x", &[2, 4]).lstm(Lstm::new(3).lengths(g.input("l", &[]))));
        assert_eq!(text, format!("{needs} [N] of other numbers"));
    }
}
