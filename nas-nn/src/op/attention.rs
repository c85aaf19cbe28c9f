//! Scaled dot-product attention (Vaswani et al., 2017) of several heads, fused: no score outlives its head.

use super::sequence::mistake_of_lengths;
use super::{Backward, Forward, Keeps, Op, Space};
use crate::graph::{Shape, Var};
use crate::kernel::{self, gemm};

/// The settings of an attention; [`Var::attention`] and [`Var::self_attention`] apply it.
///
/// ```
/// use nas_nn::{Graph, op::Attention};
///
/// let graph = Graph::new();
/// let x = graph.input("x", &[10, 32]); // ten steps of 32 features
/// let y = x.self_attention(Attention::new(4).causal());
/// assert_eq!(y.shape().to_string(), "[N, 10, 32]");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Attention<'g> {
    heads: usize,
    causal: bool,
    lengths: Option<Var<'g>>,
}

impl<'g> Attention<'g> {
    /// `heads` heads, each over its share of the features; every query sees every key.
    pub fn new(heads: usize) -> Self {
        Attention { heads, causal: false, lengths: None }
    }

    /// Query t sees the keys up to t.
    #[must_use]
    pub fn causal(self) -> Self {
        Attention { causal: true, ..self }
    }

    /// Only the first `lengths` keys of an example are seen: an input of class numbers, one an example.
    #[must_use]
    pub fn lengths(self, lengths: Var<'g>) -> Self {
        Attention { lengths: Some(lengths), ..self }
    }
}

/// Inputs: q [queries, width], k and v [keys, width], or all three side by side in one [steps, 3 width]; then lengths, if any.
#[derive(Debug, Clone, Copy)]
struct Attend {
    heads: usize,
    causal: bool,
    packed: bool,
    lengths: bool,
}

/// Where one head's part of an operand lies: of input `input`, from `offset` on, rows `stride` apart.
#[derive(Clone, Copy)]
struct Part {
    input: usize,
    offset: usize,
    stride: usize,
}

struct Geometry {
    queries: usize,
    keys: usize,
    width: usize,
    /// Features of a head.
    head: usize,
}

impl Attend {
    fn geometry(&self, x: &[Shape]) -> Geometry {
        let width = x[0].dims()[1] / if self.packed { 3 } else { 1 };
        let queries = x[0].dims()[0];
        let keys = if self.packed { queries } else { x[1].dims()[0] };
        Geometry { queries, keys, width, head: width / self.heads }
    }

    /// q, k and v of head `head` of example `example`.
    fn parts(&self, geo: &Geometry, example: usize, head: usize) -> [Part; 3] {
        [0, 1, 2].map(|which| {
            let rows = if which == 0 { geo.queries } else { geo.keys };
            let (input, stride, start) =
                if self.packed { (0, 3 * geo.width, which * geo.width) } else { (which, geo.width, 0) };
            Part { input, offset: example * rows * stride + start + head * geo.head, stride }
        })
    }

    /// The number of keys that query `query` sees.
    fn seen(&self, geo: &Geometry, lengths: Option<&[f32]>, example: usize, query: usize) -> usize {
        let length = lengths.map_or(geo.keys, |lengths| lengths[example] as usize);
        if self.causal { length.min(query + 1) } else { length }
    }

    fn lengths_input(&self) -> usize {
        if self.packed { 1 } else { 3 }
    }
}

impl Op for Attend {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn variant(&self) -> String {
        format!("{} heads", self.heads)
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let operands = if self.packed { 1 } else { 3 };
        if x[..operands].iter().any(|x| x.rank() != 2 || x.is_empty() || !x.is_batched()) {
            let shapes: Vec<String> = x[..operands].iter().map(ToString::to_string).collect();
            return Err(format!("needs [steps, features] of every example, got {}", shapes.join(", ")));
        }
        let parts = if self.packed { 3 } else { 1 };
        let features = x[0].dims()[1];
        if self.heads == 0 || !features.is_multiple_of(self.heads.saturating_mul(parts)) {
            return Err(format!("{} features do not divide into {} heads", features / parts, self.heads));
        }
        if !self.packed && (x[1] != x[2] || x[1].dims()[1] != features) {
            return Err(format!("queries {} do not fit keys {} and values {}", x[0], x[1], x[2]));
        }
        if self.lengths && *x[self.lengths_input()] != Shape::batched(&[]) {
            return Err(format!("needs one length an example, got {}", x[self.lengths_input()]));
        }
        Ok(x[0].with(&[x[0].dims()[0], features / parts]))
    }

    fn madds(&self, x: &[&Shape], y: &Shape) -> u64 {
        let keys = if self.packed { x[0].dims()[0] } else { x[1].dims()[0] };
        2 * (y.len() * keys) as u64
    }

    fn differentiates(&self, input: usize) -> bool {
        input < self.lengths_input()
    }

    fn keeps(&self) -> Keeps {
        match (self.packed, self.lengths) {
            (true, false) => Keeps::inputs(&[0]),
            (true, true) => Keeps::inputs(&[0, 1]),
            (false, false) => Keeps::inputs(&[0, 1, 2]),
            (false, true) => Keeps::inputs(&[0, 1, 2, 3]),
        }
    }

    /// The logarithm of each softmax's denominator: the scores themselves are computed again.
    fn saved(&self, _: &[&Shape], y: &Shape) -> Space {
        Space::per_example(self.heads * y.dims()[0])
    }

    /// The scores and their gradients of one head.
    fn scratch(&self, x: &[&Shape], y: &Shape, _: usize) -> usize {
        let keys = if self.packed { x[0].dims()[0] } else { x[1].dims()[0] };
        2 * y.dims()[0] * keys
    }

    /// The scores of one head, and a row for what is not saved.
    fn scratch_eval(&self, x: &[&Shape], y: &Shape, _: usize) -> usize {
        let keys = if self.packed { x[0].dims()[0] } else { x[1].dims()[0] };
        y.dims()[0] * (keys + 1)
    }

    fn by_example(&self) -> bool {
        true
    }

    /// softmax(q kᵀ / √head) v.
    fn forward(&self, at: Forward<'_>) {
        let geo = self.geometry(at.shapes);
        let Geometry { queries, keys, width, head } = geo;
        let lengths = self.lengths.then(|| at.inputs[self.lengths_input()]);
        let scale = 1.0 / (head as f32).sqrt();
        let (scores, spare) = at.scratch.split_at_mut(queries * keys);
        for example in 0..at.batch {
            for h in 0..self.heads {
                let [q, k, v] = self.parts(&geo, example, h).map(|p| (&at.inputs[p.input][p.offset..], p.stride));
                gemm([queries, keys, head], q.0, [q.1, 1], k.0, [1, k.1], 0.0, scores, [keys, 1]);
                let row = (example * self.heads + h) * queries;
                let log_sums =
                    if at.saved.is_empty() { &mut spare[..queries] } else { &mut at.saved[row..row + queries] };
                let seen = |query| self.seen(&geo, lengths, example, query);
                kernel::attention_softmax(keys, scale, scores, log_sums, seen);
                let y = &mut at.output[example * queries * width + h * head..];
                gemm([queries, head, keys], scores, [keys, 1], v.0, [v.1, 1], 0.0, y, [width, 1]);
            }
        }
    }

    /// With the scores' softmax P: dv = Pᵀ dy, dP = dy vᵀ, dS = P ⊙ (dP − rows' Σ dP ⊙ P) / √head, dq = dS k, dk = dSᵀ q.
    fn backward(&self, mut at: Backward<'_>) {
        let geo = self.geometry(at.shapes);
        let Geometry { queries, keys, width, head } = geo;
        let lengths = self.lengths.then(|| at.input(self.lengths_input()));
        let scale = 1.0 / (head as f32).sqrt();
        let mut grads = [0, 1, 2].map(|i| if i < self.lengths_input() { at.grad_input(i) } else { None });
        let mut grads = [0, 1, 2].map(|i| grads[i].take().map(super::Grad::parts));
        let (p, ds) = at.scratch.split_at_mut(queries * keys);
        let ds = &mut ds[..queries * keys];
        let inputs = [0, 1, 2].map(|i| if i < self.lengths_input() { at.inputs[i] } else { None });
        for example in 0..at.batch {
            for h in 0..self.heads {
                let parts = self.parts(&geo, example, h);
                let [q, k, v] = parts.map(|part| {
                    let values = inputs[part.input].expect("queries, keys and values are kept");
                    (&values[part.offset..], part.stride)
                });
                gemm([queries, keys, head], q.0, [q.1, 1], k.0, [1, k.1], 0.0, p, [keys, 1]);
                let log_sums = &at.saved[(example * self.heads + h) * queries..][..queries];
                kernel::attention_softmax_again(keys, scale, p, log_sums, |query| {
                    self.seen(&geo, lengths, example, query)
                });
                let dy = &at.grad[example * queries * width + h * head..];
                gemm([queries, keys, head], dy, [width, 1], v.0, [1, v.1], 0.0, ds, [keys, 1]);
                kernel::attention_softmax_backward(keys, scale, p, ds);
                let mut write = |which: usize, rows: usize, a: &[f32], a_strides: [usize; 2], b: (&[f32], usize)| {
                    let part = parts[which];
                    if let Some((to, add)) = &mut grads[part.input] {
                        let (to, inner) = (&mut to[part.offset..], if which == 0 { keys } else { queries });
                        let beta = if *add { 1.0 } else { 0.0 };
                        gemm([rows, head, inner], a, a_strides, b.0, [b.1, 1], beta, to, [part.stride, 1]);
                    }
                };
                write(0, queries, ds, [keys, 1], k);
                write(1, keys, ds, [1, keys], q);
                write(2, keys, p, [1, keys], (dy, width));
            }
        }
    }
}

impl<'g> Var<'g> {
    /// What these queries [queries, width] find among `keys` and `values`, both [keys, width]: [queries, width].
    pub fn attention(self, keys: Var<'g>, values: Var<'g>, attention: Attention<'g>) -> Var<'g> {
        let Attention { heads, causal, lengths } = attention;
        if let Some(message) = mistake_of_lengths(keys, lengths) {
            return self.mistake("attention", message);
        }
        let op = Attend { heads, causal, packed: false, lengths: lengths.is_some() };
        match lengths {
            Some(lengths) => self.apply(op, &[keys, values, lengths]),
            None => self.apply(op, &[keys, values]),
        }
    }

    /// The same with queries, keys and values side by side: from [steps, 3 width] to [steps, width].
    pub fn attention_packed(self, attention: Attention<'g>) -> Var<'g> {
        let Attention { heads, causal, lengths } = attention;
        if let Some(message) = mistake_of_lengths(self, lengths) {
            return self.mistake("attention", message);
        }
        let op = Attend { heads, causal, packed: true, lengths: lengths.is_some() };
        match lengths {
            Some(lengths) => self.apply(op, &[lengths]),
            None => self.apply(op, &[]),
        }
    }

    /// Self-attention of [steps, width]: one product makes queries, keys and values, `self_attention.linear`, and another,
    /// `self_attention.linear_2`, mixes the heads.
    pub fn self_attention(self, attention: Attention<'g>) -> Var<'g> {
        let width = self.last();
        self.scope("self_attention", |x| x.linear(width.saturating_mul(3)).attention_packed(attention).linear(width))
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::{gradcheck, gradcheck_fed};
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[3, 4], &[5, 4], &[5, 4]], |v| v[0].attention(v[1], v[2], Attention::new(2)));
        gradcheck(&[&[4, 9]], |v| v[0].attention_packed(Attention::new(1).causal()));
        gradcheck(&[&[3, 4]], |v| v[0].self_attention(Attention::new(2).causal()) + v[0]);
    }

    #[test]
    fn gradients_of_examples_of_several_lengths() {
        let lengths: (usize, &[usize], &[f32]) = (5, &[], &[4.0, 1.0, 0.0]);
        gradcheck_fed(&[&[4, 12]], &[lengths], |v| {
            v[0].attention_packed(Attention::new(2).causal().lengths(v[1])) + v[0].slice(1, 0, 4)
        });
        gradcheck_fed(&[&[2, 3], &[4, 3], &[4, 3]], &[lengths], |v| {
            v[0].attention(v[1], v[2], Attention::new(3).lengths(v[3]))
        });
    }

    /// The definition in f64, one head at a time.
    #[test]
    fn values_by_formula() {
        let (batch, steps, width, heads) = (2, 5, 6, 2);
        let graph = Graph::new();
        let [q, k, v] = ["q", "k", "v"].map(|name| graph.input(name, &[steps, width]));
        let y = q.attention(k, v, Attention::new(heads).causal());
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let draw = |seed: u64| {
            let mut values = vec![0.0; batch * steps * width];
            Init::Normal { std: 1.5 }.fill(&mut values, &mut Rng::seed_from_u64(seed));
            values
        };
        let [q, k, v] = [1, 2, 3].map(draw);
        let mut program = Program::eval(&graph, &[y], batch).unwrap();
        program.run(&Feed::new(batch).with("q", &q).with("k", &k).with("v", &v), &params).unwrap();
        let head = width / heads;
        let at = |x: &[f32], n: usize, t: usize, f: usize| f64::from(x[(n * steps + t) * width + f]);
        for n in 0..batch {
            for t in 0..steps {
                for h in 0..heads {
                    let score = |s: usize| {
                        let dot: f64 = (h * head..(h + 1) * head).map(|f| at(&q, n, t, f) * at(&k, n, s, f)).sum();
                        (dot / (head as f64).sqrt()).exp()
                    };
                    let total: f64 = (0..=t).map(score).sum();
                    for f in h * head..(h + 1) * head {
                        let expected: f64 = (0..=t).map(|s| score(s) / total * at(&v, n, s, f)).sum();
                        let found = f64::from(program.output(0)[(n * steps + t) * width + f]);
                        assert_abs_diff_eq!(found, expected, epsilon = 1e-5);
                    }
                }
            }
        }
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |build: fn(&Graph)| {
            let graph = Graph::new();
            build(&graph);
            graph.check().unwrap_err().to_string()
        };
        let text = says(|g| _ = g.input("x", &[4, 10]).self_attention(Attention::new(3)));
        assert_eq!(text, "self_attention.attention: 10 features do not divide into 3 heads");
        let text = says(|g| _ = g.input("x", &[4]).attention_packed(Attention::new(1)));
        assert_eq!(text, "attention: needs [steps, features] of every example, got [N, 4]");
        let text = says(|g| {
            let k = g.input("k", &[3, 6]);
            _ = g.input("q", &[2, 4]).attention(k, k.relu(), Attention::new(2));
        });
        assert_eq!(text, "attention: queries [N, 2, 4] do not fit keys [N, 3, 6] and values [N, 3, 6]");
    }
}
