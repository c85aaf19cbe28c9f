//! Product of two values, broadcast; product with a constant.

use super::{Backward, Forward, Keeps, Op, broadcast};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct Mul;

impl Op for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        broadcast::shape(x[0], x[1])
    }

    fn madds(&self, _: &[&Shape], output: &Shape) -> u64 {
        output.len() as u64
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    fn scratch(&self, x: &[&Shape], output: &Shape, batch: usize) -> usize {
        if x[0] == x[1] { 0 } else { output.elements(batch) }
    }

    fn by_example(&self) -> bool {
        true
    }

    fn scratch_eval(&self, _: &[&Shape], _: &Shape, _: usize) -> usize {
        0
    }

    fn forward(&self, at: Forward<'_>) {
        broadcast::zip(at, |a, b| a * b);
    }

    /// dy/da = b, dy/db = a.
    fn backward(&self, mut at: Backward<'_>) {
        let g = at.grad;
        let alike = at.shapes[0] == at.shapes[1];
        for (i, other) in [(0, 1), (1, 0)] {
            if alike {
                let Some(dx) = at.grad_input(i) else { continue };
                let x = at.input(other);
                match dx.parts() {
                    (dx, true) => kernel::zip_add(g, x, dx, |g, x| g * x),
                    (dx, false) => kernel::zip(g, x, dx, |g, x| g * x),
                }
                continue;
            }
            let scratch = std::mem::take(&mut at.scratch);
            let product = &mut scratch[..g.len()];
            broadcast::expand(at.input(other), &at.shapes[other], at.shape, at.batch, product);
            product.iter_mut().zip(g).for_each(|(x, g)| *x *= g);
            broadcast::unzip(&mut at, i, product, 1.0);
            at.scratch = scratch;
        }
    }
}

#[derive(Debug)]
struct Scale(f32);

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        Ok(x[0].clone())
    }

    fn madds(&self, _: &[&Shape], output: &Shape) -> u64 {
        output.len() as u64
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        kernel::map(at.inputs[0], at.output, |x| self.0 * x);
    }

    /// dy/dx = the constant.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        match dx.parts() {
            (dx, true) => kernel::axpy(self.0, at.grad, dx),
            (dx, false) => kernel::map(at.grad, dx, |g| self.0 * g),
        }
    }
}

impl<'g> std::ops::Mul for Var<'g> {
    type Output = Var<'g>;

    /// `a * b`, element by element, broadcast.
    fn mul(self, b: Var<'g>) -> Var<'g> {
        self.apply(Mul, &[b])
    }
}

impl<'g> Var<'g> {
    /// `factor · x`.
    pub fn scale(self, factor: f32) -> Var<'g> {
        self.apply(Scale(factor), &[])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;

    #[test]
    fn gradient() {
        gradcheck(&[&[2, 3], &[2, 3]], |v| v[0] * v[1]);
        gradcheck(&[&[2, 3], &[3]], |v| v[0] * v[1]);
        gradcheck(&[&[4]], |v| v[0] * v[0]);
    }

    #[test]
    fn scale_gradient() {
        gradcheck(&[&[2, 3]], |v| v[0].scale(-1.5));
    }
}
