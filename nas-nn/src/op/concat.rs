//! Values side by side along one axis.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};

#[derive(Debug)]
struct Concat {
    axis: usize,
}

/// Blocks of one value, and the length of each, when everything before `axis` is the block's number.
pub(super) fn blocks(x: &Shape, axis: usize, batch: usize) -> (usize, usize) {
    let dims = x.dims();
    (x.copies(batch) * dims[..axis].iter().product::<usize>(), dims[axis..].iter().product())
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let mut dims = x[0].dims().to_vec();
        if self.axis >= dims.len() {
            return Err(format!("there is no axis {} in {}", self.axis, x[0]));
        }
        for other in &x[1..] {
            let fits = other.is_batched() == x[0].is_batched()
                && other.rank() == dims.len()
                && (0..dims.len()).all(|i| i == self.axis || other.dims()[i] == dims[i]);
            if !fits {
                return Err(format!("{} and {other} differ beside axis {}", x[0], self.axis));
            }
            dims[self.axis] += other.dims()[self.axis];
        }
        Ok(x[0].with(&dims))
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let (count, width) = blocks(at.shape, self.axis, at.batch);
        let mut from = 0;
        for (x, shape) in at.inputs.iter().zip(at.shapes) {
            let (_, len) = blocks(shape, self.axis, at.batch);
            for i in 0..count {
                at.output[i * width + from..][..len].copy_from_slice(&x[i * len..][..len]);
            }
            from += len;
        }
    }

    /// Each input's stretch of the gradient.
    fn backward(&self, mut at: Backward<'_>) {
        let (count, width) = blocks(at.shape, self.axis, at.batch);
        let mut from = 0;
        for (k, shape) in at.shapes.iter().enumerate() {
            let (_, len) = blocks(shape, self.axis, at.batch);
            if let Some(dx) = at.grad_input(k) {
                let (dx, add) = dx.parts();
                for i in 0..count {
                    let (dx, g) = (&mut dx[i * len..][..len], &at.grad[i * width + from..][..len]);
                    if add {
                        dx.iter_mut().zip(g).for_each(|(dx, g)| *dx += g);
                    } else {
                        dx.copy_from_slice(g);
                    }
                }
            }
            from += len;
        }
    }
}

impl<'g> Var<'g> {
    /// This value and `others` along `axis`.
    pub fn concat(self, others: &[Var<'g>], axis: usize) -> Var<'g> {
        self.apply(Concat { axis }, others)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn concat_gradients() {
        gradcheck(&[&[2, 3], &[2, 1], &[2, 2]], |v| v[0].concat(&v[1..], 1));
        gradcheck(&[&[2, 3], &[1, 3]], |v| v[0].concat(&v[1..], 0));
        gradcheck(&[&[3]], |v| v[0].concat(&[v[0], v[0]], 0));
    }

    #[test]
    fn gradients_that_add_up() {
        gradcheck(&[&[2, 3], &[2, 1]], |v| v[0].concat(&v[1..], 1).slice(1, 0, 3) + v[0]);
    }

    #[test]
    fn values_stand_side_by_side() {
        let graph = Graph::new();
        let y = graph.input("a", &[2, 1]).concat(&[graph.input("b", &[2, 2])], 1);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], 2).unwrap();
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [10.0, 11.0, 20.0, 21.0, 30.0, 31.0, 40.0, 41.0]);
        program.run(&Feed::new(2).with("a", &a).with("b", &b), &params).unwrap();
        assert_eq!(program.output(0), [1.0, 10.0, 11.0, 2.0, 20.0, 21.0, 3.0, 30.0, 31.0, 4.0, 40.0, 41.0]);
    }

    #[test]
    fn mistakes_name_the_shapes() {
        let says = |dims: &[usize], axis: usize| {
            let graph = Graph::new();
            graph.input("a", &[2, 3]).concat(&[graph.input("b", dims)], axis);
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(&[2, 4], 0), "concat: [N, 2, 3] and [N, 2, 4] differ beside axis 0");
        assert_eq!(says(&[2], 1), "concat: [N, 2, 3] and [N, 2] differ beside axis 1");
        assert_eq!(says(&[2, 3], 2), "concat: there is no axis 2 in [N, 2, 3]");
    }
}
