//! The exponential, element by element.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct Exp;

impl Op for Exp {
    fn name(&self) -> &'static str {
        "exp"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        Ok(x[0].clone())
    }

    fn keeps(&self) -> Keeps {
        Keeps::OUTPUT
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        kernel::map(at.inputs[0], at.output, kernel::exp);
    }

    /// dy/dx = y.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        match dx.parts() {
            (dx, true) => kernel::zip_add(at.grad, at.output(), dx, |g, y| g * y),
            (dx, false) => kernel::zip(at.grad, at.output(), dx, |g, y| g * y),
        }
    }
}

impl<'g> Var<'g> {
    /// eˣ.
    pub fn exp(self) -> Var<'g> {
        self.apply(Exp, &[])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;

    #[test]
    fn gradient() {
        gradcheck(&[&[2, 3]], |v| v[0].exp());
        gradcheck(&[&[4]], |v| v[0].exp() + v[0].scale(0.5).exp());
    }
}
