//! A gated recurrent unit (Cho et al., 2014) over a whole sequence, fused; the variant of cuDNN and PyTorch, in which the reset
//! gate follows the recurrent product.

use super::sequence::{Sequence, gather, mistake_of_lengths, repeat, weight_gradient};
use super::{Backward, Forward, Grad, Keeps, Op, Space};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel::{self, gemm};

/// The settings of a GRU layer; [`Var::gru`] and [`Var::gru_with_state`] apply it.
///
/// ```
/// use nas_nn::{Graph, op::Gru};
///
/// let graph = Graph::new();
/// let series = graph.input("series", &[50, 3]);
/// let last = series.gru(Gru::new(32)).slice(0, 49, 50);
/// assert_eq!(last.shape().to_string(), "[N, 1, 32]");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Gru<'g> {
    units: usize,
    initial: Option<Var<'g>>,
    lengths: Option<Var<'g>>,
}

impl<'g> Gru<'g> {
    /// `units` units that start at zero.
    pub fn new(units: usize) -> Self {
        Gru { units, initial: None, lengths: None }
    }

    /// Starts with this output, one number a unit: the last one of the stretch before.
    #[must_use]
    pub fn initial(self, h: Var<'g>) -> Self {
        Gru { initial: Some(h), ..self }
    }

    /// Only the first `lengths` steps of an example count, an input of class numbers, one an example; after them the output
    /// stays as it is.
    #[must_use]
    pub fn lengths(self, lengths: Var<'g>) -> Self {
        Gru { lengths: Some(lengths), ..self }
    }
}

/// Inputs: x [steps, width], weights of the input [width, 3 units] and of the output before [units, 3 units], a bias of each [3 units]; then h [units]
/// to start with, and lengths, if any. Gates stand in the order r, z, n.
#[derive(Debug, Clone, Copy)]
struct GruLayer {
    units: usize,
    sequence: Sequence,
}

/// Steps whose weight gradients are one product.
const TOGETHER: usize = 8;

impl Op for GruLayer {
    fn name(&self) -> &'static str {
        "gru"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let steps = self.sequence.check(x, self.units, 3)?;
        Ok(x[0].with(&[steps, self.units]))
    }

    fn madds(&self, x: &[&Shape], _: &Shape) -> u64 {
        (x[0].dims()[0] * 3 * self.units * (x[0].dims()[1] + self.units)) as u64
    }

    fn differentiates(&self, input: usize) -> bool {
        Some(input) != self.sequence.lengths
    }

    fn keeps(&self) -> Keeps {
        self.sequence.keeps()
    }

    /// The activated gates of every step, and R_n h + b′.
    fn saved(&self, x: &[&Shape], _: &Shape) -> Space {
        Space::per_example(x[0].dims()[0] * 4 * self.units)
    }

    /// Gates of a few steps with what went into them, and a state.
    fn scratch(&self, x: &[&Shape], _: &Shape, batch: usize) -> usize {
        let (together, width) = (TOGETHER.min(x[0].dims()[0]), x[0].dims()[1]);
        together * batch * (7 * self.units + width) + batch * self.units
    }

    /// Both products of one step.
    fn scratch_eval(&self, _: &[&Shape], _: &Shape, batch: usize) -> usize {
        6 * batch * self.units
    }

    /// r = σ(W_r x + R_r h + b), z likewise, n = tanh(W_n x + b + r (R_n h + b′)), h′ = (1 − z) n + z h.
    fn forward(&self, at: Forward<'_>) {
        let (units, n) = (self.units, at.batch);
        let [steps, width] = [at.shapes[0].dims()[0], at.shapes[0].dims()[1]];
        let [x, w, r, bias, product_bias] = [0, 1, 2, 3, 4].map(|i| at.inputs[i]);
        let initial = self.sequence.initial.map(|i| at.inputs[i]);
        let (gates, row) = (3 * units, steps * units);
        let (recurrent, spare) = at.scratch.split_at_mut(n * gates);
        for t in 0..steps {
            let (now, kept) = if at.saved.is_empty() {
                (&mut spare[..n * gates], None)
            } else {
                let (all, products) = at.saved.split_at_mut(steps * n * gates);
                (&mut all[t * n * gates..][..n * gates], Some(&mut products[t * n * units..][..n * units]))
            };
            gemm([n, gates, width], &x[t * width..], [steps * width, 1], w, [gates, 1], 0.0, now, [gates, 1]);
            match if t > 0 { Some((&at.output[(t - 1) * units..], row)) } else { initial.map(|h| (h, units)) } {
                Some((h, apart)) => gemm([n, gates, units], h, [apart, 1], r, [gates, 1], 0.0, recurrent, [gates, 1]),
                None => recurrent.fill(0.0),
            }
            for example in 0..n {
                let place = example * row + t * units;
                let start = initial.map(|h| &h[example * units..][..units]);
                if !self.sequence.counts(at.inputs, example, t) {
                    repeat(at.output, units, place, t, start);
                    continue;
                }
                let (done, to) = at.output.split_at_mut(place);
                let before = if t > 0 { Some(&done[place - units..]) } else { start };
                let [now, recurrent] = [&mut *now, &mut *recurrent].map(|all| &mut all[example * gates..][..gates]);
                kernel::gru_row(now, recurrent, bias, product_bias, before, &mut to[..units]);
            }
            if let Some(kept) = kept {
                for (kept, recurrent) in kept.chunks_exact_mut(units).zip(recurrent.chunks_exact(gates)) {
                    kept.copy_from_slice(&recurrent[2 * units..]);
                }
            }
        }
    }

    /// Step by step backwards: dG and dQ, the gradients by the two products, from dh; dx = dG Wᵀ, dh = dh z + dQ Rᵀ; for a few steps together
    /// dW = xᵀ dG, dR = hᵀ dQ and the biases' sums.
    fn backward(&self, mut at: Backward<'_>) {
        let (units, n) = (self.units, at.batch);
        let [steps, width] = [at.shapes[0].dims()[0], at.shapes[0].dims()[1]];
        let (gates, row, together) = (3 * units, steps * units, TOGETHER.min(steps));
        let mut grads: smallvec::SmallVec<[Option<Grad<'_>>; 8]> =
            (0..at.grads.len()).map(|i| at.grad_input(i)).collect();
        let mut dx = grads[0].take().map(Grad::parts);
        let [mut dw, mut dr, mut db, mut dq_bias] = [1, 2, 3, 4].map(|i| grads[i].take().map(Grad::parts));
        let [x, w, r, h] = [at.input(0), at.input(1), at.input(2), at.output()];
        let initial = self.sequence.initial.map(|i| at.input(i));
        let (activated, products) = at.saved.split_at(steps * n * gates);
        let (dgates, rest) = at.scratch.split_at_mut(together * n * gates);
        let (dproducts, rest) = rest.split_at_mut(together * n * gates);
        let (hs, rest) = rest.split_at_mut(together * n * units);
        let (xs, rest) = rest.split_at_mut(together * n * width);
        let dh = &mut rest[..n * units];
        dh.fill(0.0);
        let before = |t: usize, example: usize| match t.checked_sub(1) {
            Some(t) => Some(&h[example * row + t * units..][..units]),
            None => initial.map(|h| &h[example * units..][..units]),
        };
        for t in (0..steps).rev() {
            let slot = t % together * n * gates;
            let [dg, dq] = [&mut *dgates, &mut *dproducts].map(|all| &mut all[slot..][..n * gates]);
            for example in 0..n {
                let dh = &mut dh[example * units..][..units];
                kernel::axpy(1.0, &at.grad[example * row + t * units..][..units], dh);
                let [dg, dq] = [&mut *dg, &mut *dq].map(|all| &mut all[example * gates..][..gates]);
                if !self.sequence.counts_again(at.inputs, example, t) {
                    dg.fill(0.0);
                    dq.fill(0.0);
                    continue;
                }
                let place = t * n + example;
                let (activated, products) = (&activated[place * gates..][..gates], &products[place * units..][..units]);
                kernel::gru_row_backward(activated, products, before(t, example), dh, dg, dq);
            }
            if t > 0 || initial.is_some() {
                gemm([n, units, gates], dq, [gates, 1], r, [1, gates], 1.0, dh, [units, 1]);
            }
            if let Some((dx, add)) = &mut dx {
                let (beta, dx) = (if *add { 1.0 } else { 0.0 }, &mut dx[t * width..]);
                gemm([n, width, gates], dg, [gates, 1], w, [1, gates], beta, dx, [steps * width, 1]);
            }
            if t % together == 0 {
                let count = together.min(steps - t);
                // What lies beyond a length may be no number, and 0 · NaN is none.
                let counted = |i: usize, example: usize| {
                    let counts = self.sequence.counts_again(at.inputs, example, t + i);
                    counts.then(|| &x[(example * steps + t + i) * width..][..width])
                };
                gather([count, n, width], counted, xs);
                gather([count, n, units], |i, example| before(t + i, example), hs);
                let [dg, dq] = [&*dgates, &*dproducts].map(|all| &all[..count * n * gates]);
                weight_gradient(&xs[..count * n * width], dg, [width, gates], &mut dw);
                weight_gradient(&hs[..count * n * units], dq, [units, gates], &mut dr);
                for (bias, sums) in [(&mut db, dg), (&mut dq_bias, dq)] {
                    if let Some((bias, add)) = bias {
                        kernel::column_sums(sums, bias, *add);
                        *add = true;
                    }
                }
            }
        }
        if let Some(first) = self.sequence.initial {
            match grads[first].take().map(Grad::parts) {
                Some((to, true)) => kernel::axpy(1.0, dh, to),
                Some((to, false)) => to.copy_from_slice(dh),
                None => {}
            }
        }
    }
}

impl<'g> Var<'g> {
    /// The outputs [steps, units] of a GRU over this sequence [steps, width].
    ///
    /// Its parameters are `gru.input` [width, 3 units], `gru.hidden` [units, 3 units], `gru.bias` and `gru.hidden_bias`, the
    /// gates in the order r, z, n; all start uniform within 1/√units.
    pub fn gru(self, gru: Gru<'g>) -> Var<'g> {
        let Gru { units, initial, lengths } = gru;
        self.scope("gru", |x| {
            if let Some(message) = mistake_of_lengths(x, lengths) {
                return x.mistake("gru", message);
            }
            let (init, gates) = (Init::fan_in(units), units.saturating_mul(3));
            let matrices = [("input", vec![x.last(), gates]), ("hidden", vec![units, gates])];
            let weights = matrices.into_iter().chain([("bias", vec![gates]), ("hidden_bias", vec![gates])]);
            let mut inputs: Vec<Var<'g>> = weights.map(|(name, dims)| x.parameter(name, &dims, init)).collect();
            let states: Vec<Var<'g>> = initial.into_iter().collect();
            let sequence = Sequence::new(&mut inputs, &states, lengths);
            x.apply(GruLayer { units, sequence }, &inputs)
        })
    }

    /// The same with the last output, one number a unit: what the next stretch of a long sequence starts with.
    pub fn gru_with_state(self, gru: Gru<'g>) -> (Var<'g>, Var<'g>) {
        let steps = self.dim(0);
        let all = self.gru(gru);
        // The output of a sequence that has ended stays, so the last row is the last output of every length.
        (all, all.slice(0, steps.saturating_sub(1), steps).reshape(&[gru.units]))
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::{HOLE, gradcheck, gradcheck_fed, with_holes};
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[3, 2]], |v| v[0].gru(Gru::new(3)));
        gradcheck(&[&[11, 1]], |v| v[0].gru(Gru::new(2)));
        gradcheck(&[&[2, 2], &[3]], |v| v[0].gru(Gru::new(3).initial(v[1])).sum_axis(0) + v[1]);
        gradcheck(&[&[3, 2], &[3]], |v| {
            let (y, h) = v[0].gru_with_state(Gru::new(3).initial(v[1]));
            y.sum_axis(0) + h.scale(0.5)
        });
        gradcheck_fed(&[&[4, 2], &[3]], &[(5, &[], &[4.0, 2.0, 0.0])], |v| {
            v[0].gru(Gru::new(3).initial(v[1]).lengths(v[2])).sum_axis(0) + v[0].sum_axis(0).linear(3)
        });
    }

    /// The equations in f64.
    #[test]
    fn values_by_formula() {
        let (batch, steps, width, units) = (2, 3, 2, 3);
        let graph = Graph::new();
        let y = graph.input("x", &[steps, width]).gru(Gru::new(units));
        let params = Params::init(&graph, &mut Rng::seed_from_u64(5));
        let x: Vec<f32> = (0..batch * steps * width).map(|i| (i as f32 * 1.3).cos()).collect();
        let loss = y.sum();
        for mut program in
            [Program::eval(&graph, &[y], batch).unwrap(), Program::train(&graph, loss, &[y], batch).unwrap()]
        {
            program.run(&Feed::new(batch).with("x", &x), &params).unwrap();
            let weight = |name: &str, i: usize| f64::from(params.get(&format!("gru.{name}")).unwrap().values[i]);
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            for example in 0..batch {
                let mut h = vec![0.0; units];
                for t in 0..steps {
                    let x = |i: usize| f64::from(x[(example * steps + t) * width + i]);
                    let input = |k: usize, u: usize| -> f64 {
                        let at = k * units + u;
                        (0..width).map(|i| x(i) * weight("input", i * 3 * units + at)).sum::<f64>() + weight("bias", at)
                    };
                    let hidden = |h: &[f64], k: usize, u: usize| -> f64 {
                        let at = k * units + u;
                        let products = (0..units).map(|i| h[i] * weight("hidden", i * 3 * units + at));
                        products.sum::<f64>() + weight("hidden_bias", at)
                    };
                    h = (0..units)
                        .map(|u| {
                            let r = sigmoid(input(0, u) + hidden(&h, 0, u));
                            let z = sigmoid(input(1, u) + hidden(&h, 1, u));
                            let n = (input(2, u) + r * hidden(&h, 2, u)).tanh();
                            (1.0 - z) * n + z * h[u]
                        })
                        .collect();
                    for (u, &expected) in h.iter().enumerate() {
                        let found = program.output(0)[(example * steps + t) * units + u];
                        assert_abs_diff_eq!(f64::from(found), expected, epsilon = 1e-6);
                    }
                }
            }
        }
    }

    /// One stretch after the other, each starting with the state of the one before, is the whole; short ones end early.
    #[test]
    fn a_state_is_carried_from_stretch_to_stretch() {
        let (units, steps) = (3, 6);
        let x: Vec<f32> = (0..2 * steps).map(|i| (i as f32).sin()).collect();
        let run = |x: &[f32], h: &[f32], length: usize| {
            let graph = Graph::new();
            let steps = x.len() / 2;
            let (h0, lengths) = (graph.input("h", &[units]), graph.class("lengths", steps + 1));
            let (y, h1) = graph.input("x", &[steps, 2]).gru_with_state(Gru::new(units).initial(h0).lengths(lengths));
            let params = Params::init(&graph, &mut Rng::seed_from_u64(1));
            let mut program = Program::eval(&graph, &[y, h1], 1).unwrap();
            let feed = Feed::new(1).with("x", x).with("h", h);
            program.run(&feed.with("lengths", &[length as f32]), &params).unwrap();
            (program.output(0).to_vec(), program.output(1).to_vec())
        };
        let zeros = vec![0.0; units];
        let (whole, last) = run(&x, &zeros, steps);
        let (_, half) = run(&x[..steps], &zeros, steps / 2);
        let (second, end) = run(&x[steps..], &half, steps / 2);
        assert_abs_diff_eq!(second[..], whole[steps / 2 * units..], epsilon = 1e-6);
        assert_abs_diff_eq!(end[..], last[..], epsilon = 1e-6);
        assert_eq!(run(&x, &zeros, steps / 2).1, half);
        assert_eq!(run(&x, &half, 0).1, half);
    }

    #[test]
    fn beyond_a_length_may_stand_anything() {
        let graph = Graph::new();
        let lengths = graph.class("lengths", 5);
        let loss = with_holes(graph.input("x", &[4, 2])).gru(Gru::new(3).lengths(lengths)).sum();
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

    #[test]
    fn mistakes_name_the_numbers() {
        let graph = Graph::new();
        let _ = graph.input("x", &[2, 4]).gru(Gru::new(3).initial(graph.input("h", &[2])));
        let text = graph.check().unwrap_err().to_string();
        assert_eq!(text, "gru: needs a state of 3 units of every example, got [N, 2]");
    }
}
