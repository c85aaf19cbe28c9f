//! Gradients that are passed on: the gradient by a term of a sum is the gradient by the sum, so it needs no memory and no
//! copy of its own.
//!
//! A value's gradient may stand in the buffer of the gradient it is passed on from if nobody spoils it: others only read
//! the buffer, and the one value that more gradients are added to gets them after all others have been read.

use super::plan::backward_moment;
use crate::graph::{Kind, Node, Shape};

/// What stands in one buffer.
#[derive(Clone, Copy, Default)]
struct Shared {
    /// The last moment at which a value that nobody adds to is read.
    read_until: usize,
    /// The first moment at which something is added.
    written_from: Option<usize>,
}

/// For every node the node in whose gradient's buffer its own gradient stands: itself, or the sum it was passed on from.
/// `contributors` are, for every node that owns memory, the nodes whose backward pass adds to its gradient, the first to run first.
pub(super) fn pass_on(nodes: &[Node], root: &[usize], contributors: &[Vec<usize>]) -> Vec<usize> {
    let n = nodes.len();
    let mut buffer: Vec<usize> = (0..n).collect();
    let mut shared = vec![Shared::default(); n];
    for i in (0..n).rev() {
        let Kind::Op(op) = &nodes[i].kind else { continue };
        let shapes: smallvec::SmallVec<[&Shape; 4]> = nodes[i].inputs.iter().map(|x| &nodes[x.index()].shape).collect();
        let passes = (0..shapes.len()).filter(|&k| op.passes_gradient(k, &shapes, &nodes[i].shape));
        let mut terms: smallvec::SmallVec<[(usize, Option<usize>); 4]> = passes
            .map(|k| root[nodes[i].inputs[k].index()])
            .filter(|&x| contributors[x].first() == Some(&i) && matches!(nodes[x].kind, Kind::Op(_)))
            .map(|x| (x, contributors[x].get(1).map(|&next| backward_moment(n, next))))
            .collect();
        // Those that are only read come first, so that the one that is written knows how long.
        terms.sort_unstable_by_key(|&(x, written)| (written.is_some(), x));
        let of = buffer[root[i]];
        for (x, written) in terms {
            let read = backward_moment(n, x);
            let state = &mut shared[of];
            match written {
                None if state.written_from.is_none_or(|from| read < from) => {
                    state.read_until = state.read_until.max(read);
                }
                Some(from) if state.written_from.is_none() && state.read_until < from => {
                    state.written_from = Some(from);
                }
                _ => continue,
            }
            buffer[x] = of;
        }
    }
    buffer
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;
    use crate::{Graph, Plan};

    #[test]
    fn gradients_of_sums_in_every_arrangement() {
        gradcheck(&[&[3], &[3]], |v| v[0].tanh() + v[1].tanh());
        gradcheck(&[&[3], &[3]], |v| (v[0].tanh() + v[1].sigmoid()).exp() + v[0].tanh());
        // A value that is a term and is read again, before and after.
        gradcheck(&[&[3]], |v| {
            let x = v[0].tanh();
            let y = x + x.exp();
            y + x.sigmoid() + y.exp()
        });
        // Both terms are read again.
        gradcheck(&[&[3], &[3]], |v| {
            let (x, y) = (v[0].tanh(), v[1].tanh());
            (x + y).exp() + x * y
        });
        // Sums of sums, one of which is used twice.
        gradcheck(&[&[3], &[3]], |v| {
            let (x, y) = (v[0].tanh(), v[1].tanh());
            let z = x + y;
            (z + x.exp()) + (z + y.sigmoid()) - z.exp()
        });
        gradcheck(&[&[4, 3]], |v| {
            let x = v[0].linear(3).tanh();
            x.batch_norm() + (x + x.linear(3).batch_norm()).sigmoid()
        });
    }

    #[test]
    fn a_sum_takes_no_memory_for_its_terms_gradients() {
        let floats = |terms: usize| {
            let graph = Graph::new();
            let x = graph.input("x", &[1000]);
            let w = x.parameter("w", &[1000], crate::Init::ONES);
            let mut sum = x * w;
            for _ in 1..terms {
                sum = sum + x * w;
            }
            Plan::train(&graph, sum.sum(), &[], 4).unwrap().bytes() / 4
        };
        // The products, the sums as they run, and one gradient.
        assert!(floats(8) < floats(2) + 1000 * 4, "{} and {}", floats(8), floats(2));
    }
}
