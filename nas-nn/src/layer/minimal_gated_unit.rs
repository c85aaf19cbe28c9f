//! The minimal gated unit: a recurrent cell with one gate.

use crate::graph::Var;
use crate::init::Init;

/// The states [steps, `units`] of a minimal gated unit (Zhou et al., 2016) over the sequence x [steps, features], which starts from zero: a
/// third fewer parameters than a gated recurrent unit.
///
/// f = σ(W_f x + U_f h + b_f), v = tanh(W_v x + U_v (f ⊙ h) + b_v), h ← h + f ⊙ (v − h).
///
/// ```
/// use nas_nn::{Graph, layer::minimal_gated_unit};
///
/// let graph = Graph::new();
/// let y = minimal_gated_unit(graph.input("x", &[12, 4]), 8);
/// assert_eq!(y.shape().dims(), [12, 8]);
/// assert_eq!(graph.cost().parameters, 2 * (4 + 8 + 1) * 8);
/// ```
pub fn minimal_gated_unit(x: Var<'_>, units: usize) -> Var<'_> {
    if x.is_poisoned() {
        return x;
    }
    if x.shape().dims().len() != 2 || x.dim(0) == 0 || units == 0 {
        let message = format!("needs [steps, features] and a unit, got {} and {units}", x.shape());
        return x.mistake("minimal_gated_unit", message);
    }
    x.scope("minimal_gated_unit", |x| {
        // One product for the inputs of all steps, gates and values side by side.
        let inputs = x.scope("input", |x| x.linear(2 * units));
        if inputs.is_poisoned() {
            return inputs;
        }
        // The first step has no state to read.
        let matrix = |name: &str| (x.dim(0) > 1).then(|| x.parameter(name, &[units, units], Init::fan_in(units)));
        let matrices = matrix("gate").zip(matrix("value"));
        let (mut state, mut states): (Option<Var<'_>>, Vec<Var<'_>>) = (None, Vec::with_capacity(x.dim(0)));
        for step in 0..x.dim(0) {
            let input = inputs.slice(0, step, step + 1).flatten();
            let (gate, value) = (input.slice(0, 0, units), input.slice(0, units, 2 * units));
            let next = match state.zip(matrices) {
                None => gate.sigmoid() * value.tanh(),
                Some((h, (gates, values))) => {
                    let gate = (gate + h.matmul(gates)).sigmoid();
                    let value = (value + (gate * h).matmul(values)).tanh();
                    h + gate * (value - h)
                }
            };
            states.push(next.reshape(&[1, units]));
            state = Some(next);
        }
        match states.split_first() {
            Some((first, rest)) if !rest.is_empty() => first.concat(rest, 0),
            _ => states[0],
        }
    })
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[3, 2]], |v| minimal_gated_unit(v[0], 2));
    }

    /// Two steps of a unit of one feature, against the equations.
    #[test]
    fn states_by_the_equations() {
        let graph = Graph::new();
        let y = minimal_gated_unit(graph.input("x", &[2, 1]), 1);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut set = |path: &str, dims: &[usize], values: &[f32]| {
            params.set(&format!("minimal_gated_unit.{path}"), dims, values).unwrap();
        };
        set("input.linear.weight", &[1, 2], &[0.5, -0.8]);
        set("input.linear.bias", &[2], &[0.1, 0.3]);
        set("gate", &[1, 1], &[0.7]);
        set("value", &[1, 1], &[1.1]);
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.5, -2.0]), &params).unwrap();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut h = 0.0;
        for (x, found) in [1.5, -2.0].into_iter().zip(program.output(0)) {
            let f = sigmoid(0.5 * x + 0.1 + 0.7 * h);
            let v = (-0.8 * x + 0.3 + 1.1 * f * h).tanh();
            h += f * (v - h);
            assert_abs_diff_eq!(f64::from(*found), h, epsilon = 1e-6);
        }
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let graph = Graph::new();
        minimal_gated_unit(graph.input("x", &[5]), 4);
        let message = graph.check().unwrap_err().to_string();
        assert_eq!(message, "minimal_gated_unit: needs [steps, features] and a unit, got [N, 5] and 4");
    }
}
