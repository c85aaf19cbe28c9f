//! Which tensor stands where among the parameters, for the rules that differ by tensor.

use std::ops::Range;

use crate::Params;

/// One tensor in the flat buffer of the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where it stands.
    pub range: Range<usize>,
    /// The number of its axes: 1 for biases and the gains of norms, 2 and more for weights.
    pub rank: usize,
}

impl Span {
    /// The trainable tensors of `params`, in order and without gaps.
    pub fn of(params: &Params) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut start = 0;
        // The states come behind the parameters and belong to no optimizer.
        for tensor in params.tensors() {
            if start == params.len() {
                break;
            }
            let end = start + tensor.values.len();
            spans.push(Span { range: start..end, rank: tensor.dims.len() });
            start = end;
        }
        spans
    }

    /// # Panics
    /// When the spans do not follow each other from 0 to `len`.
    pub(super) fn check(spans: &[Span], len: usize) {
        let mut end = 0;
        for Span { range, .. } in spans {
            assert!(
                range.start == end && range.end >= end,
                "a tensor stands at {range:?}, the one before ends at {end}"
            );
            end = range.end;
        }
        assert_eq!(end, len, "the tensors end elsewhere than the parameters");
    }
}

/// The rows of a table that have a gradient; that of all others is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Where the table stands among the parameters.
    pub range: Range<usize>,
    /// Numbers of a row.
    pub width: usize,
    /// The rows, each once and in order.
    pub rows: Vec<u32>,
}

/// Calls `f` with the stretches of `within` that have a gradient, in order: everything but the rows that `tables`, which lie in
/// it whole or not at all, do not list.
pub(super) fn each_live(within: Range<usize>, tables: &[Rows], mut f: impl FnMut(Range<usize>)) {
    let mut start = within.start;
    for Rows { range, width, rows } in tables {
        if range.start < within.start || range.end > within.end {
            continue;
        }
        f(start..range.start);
        for &row in rows {
            let from = range.start + row as usize * width;
            f(from..from + width);
        }
        start = range.end;
    }
    f(start..within.end);
}

/// Calls `f` with every stretch of neighbours that decay alike and the decay they have: `decay`, or 0 for tensors of less
/// than two axes when `only_matrices`.
///
/// # Panics
/// When the spans do not follow each other from 0 to `len`.
pub(super) fn by_decay(
    spans: &[Span],
    len: usize,
    decay: f32,
    only_matrices: bool,
    mut f: impl FnMut(Range<usize>, f32),
) {
    Span::check(spans, len);
    if !only_matrices || decay == 0.0 {
        return f(0..len, decay);
    }
    for alike in spans.chunk_by(|a, b| (a.rank >= 2) == (b.rank >= 2)) {
        let (first, last) = (&alike[0], &alike[alike.len() - 1]);
        f(first.range.start..last.range.end, if first.rank >= 2 { decay } else { 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::Graph;

    fn span(range: Range<usize>, rank: usize) -> Span {
        Span { range, rank }
    }

    #[test]
    fn the_spans_of_a_network() {
        let graph = Graph::new();
        let _ = graph.input("x", &[2, 4, 4]).conv2d(3, 3).batch_norm().relu().global_avg_pool().linear(5);
        let params = Params::init(&graph, &mut crate::Rng::seed_from_u64(0));
        let spans = Span::of(&params);
        Span::check(&spans, params.len());
        // The weights of the convolution, gain and offset of the norm, weight and bias; not the running statistics.
        let expected = [(54, 4), (3, 1), (3, 1), (15, 2), (5, 1)];
        let found: Vec<(usize, usize)> = spans.iter().map(|s| (s.range.len(), s.rank)).collect();
        assert_eq!(found, expected);
        assert!(params.tensors().count() > spans.len());
    }

    #[test]
    fn a_network_without_parameters_has_no_spans() {
        let graph = Graph::new();
        let _ = graph.input("x", &[2]).relu();
        assert_eq!(Span::of(&Params::init(&graph, &mut crate::Rng::seed_from_u64(0))), []);
    }

    #[test]
    fn neighbours_that_decay_alike_are_one_stretch() {
        let spans = [span(0..4, 2), span(4..10, 4), span(10..12, 1), span(12..13, 0), span(13..19, 2)];
        let stretches = |decay, only_matrices| {
            let mut found = Vec::new();
            by_decay(&spans, 19, decay, only_matrices, |range, decay| found.push((range, decay)));
            found
        };
        assert_eq!(stretches(0.1, true), [(0..10, 0.1), (10..13, 0.0), (13..19, 0.1)]);
        assert_eq!(stretches(0.1, false), [(0..19, 0.1)]);
        assert_eq!(stretches(0.0, true), [(0..19, 0.0)]);
    }

    #[test]
    #[should_panic(expected = "a tensor stands at 5..6, the one before ends at 4")]
    fn gaps_are_refused() {
        Span::check(&[span(0..4, 2), span(5..6, 1)], 6);
    }

    #[test]
    #[should_panic(expected = "the tensors end elsewhere than the parameters")]
    fn parameters_without_a_tensor_are_refused() {
        Span::check(&[span(0..4, 2)], 5);
    }
}
