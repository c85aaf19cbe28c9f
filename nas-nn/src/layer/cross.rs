//! The cross layer of a deep and cross network.

use crate::graph::Var;

/// x₀ ⊙ (W x + b) + x (DCN-v2; Wang et al., 2021, eq. 1) for values x and x₀ of one shape [.., width]: each layer raises the
/// degree of the products of features by one. `x0` is the input of the first layer.
///
/// ```
/// use nas_nn::{Graph, layer::cross};
///
/// let graph = Graph::new();
/// let x0 = graph.input("features", &[24]);
/// let y = cross(cross(x0, x0), x0);
/// assert_eq!(y.shape().dims(), [24]);
/// assert_eq!(graph.parameters()[2].path, "cross_2.linear.weight");
/// ```
pub fn cross<'g>(x: Var<'g>, x0: Var<'g>) -> Var<'g> {
    if x.shape() != x0.shape() && !x.is_poisoned() && !x0.is_poisoned() {
        return x.mistake("cross", format!("needs two values of one shape, got {} and {}", x.shape(), x0.shape()));
    }
    x.scope("cross", |x| x0.at(x) * x.linear(x.last()) + x)
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[3], &[3]], |v| cross(v[0], v[1]));
        gradcheck(&[&[2, 4]], |v| cross(cross(v[0], v[0]), v[0]));
    }

    #[test]
    fn a_value_by_hand() {
        let graph = Graph::new();
        let y = cross(graph.input("x", &[2]), graph.input("x0", &[2]));
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        params.set("cross.linear.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        params.set("cross.linear.bias", &[2], &[0.5, -1.0]).unwrap();
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.0, 2.0]).with("x0", &[10.0, -1.0]), &params).unwrap();
        // W x + b = (1 + 6 + 0.5, 2 + 8 − 1).
        assert_eq!(program.output(0), [75.0 + 1.0, -9.0 + 2.0]);
    }

    #[test]
    fn shapes_are_not_broadcast() {
        let graph = Graph::new();
        cross(graph.input("x", &[3]), graph.input("x0", &[1]));
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "cross: needs two values of one shape, got [N, 3] and [N, 1]");
    }
}
