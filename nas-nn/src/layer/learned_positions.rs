//! Learned positions: a trained vector is added at every position.

use crate::graph::Var;
use crate::init::Init;

/// This sequence [positions, width] of up to `length` positions plus the first rows of `learned_positions.weight`
/// [length, width], drawn from N(0, 0.02²) (as BERT and GPT-2 do).
///
/// ```
/// use nas_nn::{Graph, layer::learned_positions};
///
/// let graph = Graph::new();
/// let y = learned_positions(graph.input("x", &[12, 8]), 32);
/// assert_eq!(y.shape().dims(), [12, 8]);
/// assert_eq!(graph.cost().parameters, 32 * 8);
/// ```
pub fn learned_positions(x: Var<'_>, length: usize) -> Var<'_> {
    if x.is_poisoned() {
        return x;
    }
    let shape = x.shape();
    let &[positions, width] = shape.dims() else {
        return x.mistake("learned_positions", format!("needs a sequence [positions, width], got {shape}"));
    };
    if positions > length {
        let message = format!("{shape} has {positions} positions and the table {length}");
        return x.mistake("learned_positions", message);
    }
    x.scope("learned_positions", |x| {
        let table = x.parameter("weight", &[length, width], Init::Normal { std: 0.02 });
        x + if positions == length { table } else { table.slice(0, 0, positions) }
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
        gradcheck(&[&[3, 2]], |v| learned_positions(v[0], 3));
        gradcheck(&[&[2, 4]], |v| learned_positions(v[0], 5).linear(2));
    }

    #[test]
    fn rows_of_the_table_are_added_to_every_example() {
        let graph = Graph::new();
        let y = learned_positions(graph.input("x", &[2, 2]), 3);
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let table = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0];
        params.set("learned_positions.weight", &[3, 2], &table).unwrap();
        let mut program = Program::eval(&graph, &[y], 2).unwrap();
        program.run(&Feed::new(2).with("x", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), &params).unwrap();
        assert_eq!(program.output(0), [11.0, 22.0, 33.0, 44.0, 15.0, 26.0, 37.0, 48.0]);
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize]| {
            let graph = Graph::new();
            learned_positions(graph.input("x", dims), 4);
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(&[5, 2]), "learned_positions: [N, 5, 2] has 5 positions and the table 4");
        assert_eq!(says(&[5]), "learned_positions: needs a sequence [positions, width], got [N, 5]");
    }
}
