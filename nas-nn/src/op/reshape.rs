//! The same elements under other sizes: no memory moves.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};

#[derive(Debug)]
struct Reshape(Vec<usize>);

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let y = x[0].with(&self.0);
        if y.is_sane() && y.len() == x[0].len() {
            return Ok(y);
        }
        Err(format!("{} has {} elements and cannot become {:?}", x[0], x[0].len(), self.0))
    }

    fn is_view(&self) -> bool {
        true
    }

    fn forward(&self, _: Forward<'_>) {
        unreachable!("a view has no pass of its own");
    }

    fn backward(&self, _: Backward<'_>) {
        unreachable!("a view has no pass of its own");
    }
}

impl<'g> Var<'g> {
    /// The same elements with other sizes (of one example, if batched).
    pub fn reshape(self, dims: &[usize]) -> Var<'g> {
        self.apply(Reshape(dims.to_vec()), &[])
    }

    /// All elements of an example in one axis.
    pub fn flatten(self) -> Var<'g> {
        self.reshape(&[self.shape().len()])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;

    #[test]
    fn gradient() {
        gradcheck(&[&[2, 6]], |v| v[0].reshape(&[3, 4]));
        gradcheck(&[&[2, 6]], |v| v[0].flatten() + v[0].reshape(&[12]).scale(0.5));
        gradcheck(&[&[2, 6]], |v| v[0].flatten() * v[0].scale(2.0).reshape(&[12]));
    }
}
