//! The identity, with memory of its own: how a value enters one op twice.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};

#[derive(Debug)]
struct Copy;

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        Ok(x[0].clone())
    }

    fn passes_gradient(&self, _: usize, _: &[&Shape], _: &Shape) -> bool {
        true
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        at.output.copy_from_slice(at.inputs[0]);
    }

    /// dy/dx = 1.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        match dx.parts() {
            (dx, true) => crate::kernel::axpy(1.0, at.grad, dx),
            (dx, false) => dx.copy_from_slice(at.grad),
        }
    }
}

impl<'g> Var<'g> {
    /// The same value in memory of its own.
    pub(crate) fn copy(self) -> Var<'g> {
        self.apply(Copy, &[])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;

    #[test]
    fn gradient() {
        gradcheck(&[&[2, 3]], |v| v[0].copy());
    }
}
