//! Another order of axes.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

/// Input: x [..]. Axis `a` of the output is axis `axes[a]` of the input.
#[derive(Debug)]
struct Permute {
    axes: Vec<usize>,
    /// The order that undoes it.
    inverse: Vec<usize>,
}

/// Whether `axes` holds every number below `rank` once.
fn is_permutation(axes: &[usize], rank: usize) -> bool {
    axes.len() == rank && (0..rank).all(|a| axes.contains(&a))
}

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if !is_permutation(&self.axes, x[0].rank()) {
            let rank = x[0].rank();
            return Err(format!("{:?} does not list each of the {rank} axes of {} once", self.axes, x[0]));
        }
        let dims: Vec<usize> = self.axes.iter().map(|&a| x[0].dims()[a]).collect();
        Ok(x[0].with(&dims))
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let x = &at.shapes[0];
        kernel::permute(x.copies(at.batch), x.dims(), &self.axes, at.inputs[0], at.output, false);
    }

    /// The gradient in the old order.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        kernel::permute(at.shape.copies(at.batch), at.shape.dims(), &self.inverse, at.grad, dx, add);
    }
}

impl<'g> Var<'g> {
    /// The same numbers with axis `axes[i]` (without the batch) as axis i.
    ///
    /// No memory moves when the axes of more than one element keep their order.
    pub fn permute(self, axes: &[usize]) -> Var<'g> {
        let shape = self.shape();
        if is_permutation(axes, shape.rank()) {
            let long = axes.iter().filter(|&&a| shape.dims()[a] > 1);
            if long.is_sorted() {
                let dims: Vec<usize> = axes.iter().map(|&a| shape.dims()[a]).collect();
                return self.reshape(&dims);
            }
        }
        let mut inverse = vec![0; axes.len()];
        for (i, &a) in axes.iter().enumerate().filter(|(_, a)| **a < axes.len()) {
            inverse[a] = i;
        }
        self.apply(Permute { axes: axes.to_vec(), inverse }, &[])
    }

    /// The last two axes swapped.
    pub fn transpose(self) -> Var<'g> {
        if self.is_poisoned() {
            return self;
        }
        let rank = self.shape().rank();
        if rank < 2 {
            return self.mistake("transpose", format!("needs two axes, got {}", self.shape()));
        }
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.rotate_right(1);
        axes[..rank - 1].rotate_left(1);
        self.permute(&axes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Init, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3]], |v| v[0].transpose());
        gradcheck(&[&[2, 3, 4]], |v| v[0].permute(&[2, 0, 1]));
        gradcheck(&[&[3, 2, 4]], |v| v[0].permute(&[1, 0, 2]));
        gradcheck(&[&[3, 17]], |v| v[0].transpose() + v[0].reshape(&[17, 3]));
        gradcheck(&[&[1, 4]], |v| v[0].transpose() + v[0].reshape(&[4, 1]).scale(0.5));
    }

    #[test]
    fn gradients_of_fixed_values() {
        gradcheck(&[&[3, 2]], |v| v[0] + v[0].parameter("table", &[2, 3], Init::Normal { std: 1.0 }).transpose());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(
            (dims, axes) in (1_usize..5).prop_flat_map(|rank| {
                (prop::collection::vec(1_usize..4, rank), Just((0..rank).collect::<Vec<_>>()).prop_shuffle())
            }),
        ) {
            gradcheck(&[&dims], |v| v[0].permute(&axes));
        }
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let x = graph.input("x", &[2, 3, 1]);
        let (y, z) = (x.permute(&[2, 1, 0]), x.reshape(&[2, 3]).transpose());
        assert_eq!((y.shape().to_string(), z.shape().to_string()), ("[N, 1, 3, 2]".to_owned(), "[N, 3, 2]".to_owned()));
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y, z], 2).unwrap();
        let x: Vec<f32> = (0..12_u8).map(f32::from).collect();
        program.run(&Feed::new(2).with("x", &x), &params).unwrap();
        let expected = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0];
        assert_eq!(program.output(0), expected);
        assert_eq!(program.output(1), expected);
    }

    #[test]
    fn what_keeps_its_order_moves_no_memory() {
        let graph = Graph::new();
        let x = graph.input("x", &[1, 4, 1, 3]).relu();
        let bytes = |y| Program::eval(&graph, &[y], 2).unwrap().plan().bytes();
        assert_eq!(bytes(x.permute(&[1, 3, 0, 2])), bytes(x));
        assert!(bytes(x.permute(&[3, 1, 0, 2])) > bytes(x));
    }

    #[test]
    fn mistakes_name_the_axes() {
        let says = |axes: &[usize]| {
            let graph = Graph::new();
            graph.input("x", &[2, 3]).permute(axes);
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(&[1, 1]), "permute: [1, 1] does not list each of the 2 axes of [N, 2, 3] once");
        assert_eq!(says(&[0, 2]), "permute: [0, 2] does not list each of the 2 axes of [N, 2, 3] once");
        assert_eq!(says(&[0]), "permute: [0] does not list each of the 2 axes of [N, 2, 3] once");
        let graph = Graph::new();
        graph.input("x", &[4]).transpose();
        assert_eq!(graph.check().unwrap_err().to_string(), "transpose: needs two axes, got [N, 4]");
    }
}
