//! Squeeze and excitation: channels weighted by what the whole image holds.

use crate::graph::Var;

/// x ⊙ s(x), a weight between 0 and 1 for every channel (Hu et al., 2018): the average of each channel, a linear layer to
/// channels / `reduction` (rounded up), ReLU, a linear layer back, and the hard sigmoid of MobileNetV3 (Howard et al., 2019).
///
/// ```
/// use nas_nn::{Graph, layer::squeeze_excite};
///
/// let graph = Graph::new();
/// let y = squeeze_excite(graph.input("image", &[16, 8, 8]), 4);
/// assert_eq!(y.shape().dims(), [16, 8, 8]);
/// assert_eq!(graph.parameters()[0].dims, [16, 4]);
/// ```
pub fn squeeze_excite(x: Var<'_>, reduction: usize) -> Var<'_> {
    if x.is_poisoned() {
        return x;
    }
    if x.shape().dims().len() != 3 || reduction == 0 {
        let message =
            format!("needs [channels, height, width] and a reduction from 1, got {} and {reduction}", x.shape());
        return x.mistake("squeeze_excite", message);
    }
    let channels = x.dim(0);
    x.scope("squeeze_excite", |x| {
        let weight = x.global_avg_pool().linear(channels.div_ceil(reduction)).relu().linear(channels).hard_sigmoid();
        x * weight.reshape(&[channels, 1, 1])
    })
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[4, 3, 2]], |v| squeeze_excite(v[0], 2));
        gradcheck(&[&[3, 1, 1]], |v| squeeze_excite(v[0], 4));
    }

    #[test]
    fn a_value_by_hand() {
        let graph = Graph::new();
        let y = squeeze_excite(graph.input("x", &[2, 1, 2]), 2);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        params.set("squeeze_excite.linear.weight", &[2, 1], &[1.0, 0.5]).unwrap();
        params.set("squeeze_excite.linear_2.weight", &[1, 2], &[1.0, -2.0]).unwrap();
        params.set("squeeze_excite.linear.bias", &[1], &[0.0]).unwrap();
        params.set("squeeze_excite.linear_2.bias", &[2], &[0.0, 0.0]).unwrap();
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.0, 3.0, -2.0, 0.0]), &params).unwrap();
        // Averages 2 and −1 give 1.5 in the middle; weights are (1.5 + 3) / 6 and (3 − 3) / 6.
        assert_eq!(program.output(0), [0.75, 2.25, 0.0, 0.0]);
    }

    #[test]
    fn vectors_have_no_image_to_squeeze() {
        let graph = Graph::new();
        squeeze_excite(graph.input("x", &[3]), 4);
        let message = graph.check().unwrap_err().to_string();
        assert!(message.starts_with("squeeze_excite: needs [channels, height, width]"), "{message}");
    }
}
