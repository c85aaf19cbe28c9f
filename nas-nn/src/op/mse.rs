//! The mean squared difference of two values.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};

#[derive(Debug)]
struct Mse;

impl Op for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        if x[0] != x[1] || x[0].is_empty() {
            return Err(format!("needs two values of one shape, got {} and {}", x[0], x[1]));
        }
        Ok(Shape::fixed(&[]))
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    fn forward(&self, at: Forward<'_>) {
        let squares = at.inputs[0].iter().zip(at.inputs[1]).map(|(a, b)| f64::from(a - b).powi(2));
        at.output[0] = (squares.sum::<f64>() / at.inputs[0].len() as f64) as f32;
    }

    /// dy/da = 2 (a − b) / n = −dy/db.
    fn backward(&self, mut at: Backward<'_>) {
        let (a, b) = (at.input(0), at.input(1));
        let factor = 2.0 * at.grad[0] / a.len() as f32;
        for (i, sign) in [(0, factor), (1, -factor)] {
            if let Some(dx) = at.grad_input(i) {
                crate::kernel::zip_add(a, b, dx.sum(), |a, b| sign * (a - b));
            }
        }
    }
}

impl<'g> Var<'g> {
    /// The mean of the squared differences to `target`: one number.
    pub fn mse(self, target: Var<'g>) -> Var<'g> {
        self.apply(Mse, &[target])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;

    #[test]
    fn gradient() {
        gradcheck(&[&[2, 3], &[2, 3]], |v| v[0].mse(v[1]));
    }
}
