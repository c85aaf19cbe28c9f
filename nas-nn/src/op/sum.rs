//! Sums and means: over everything, over the batch, over one axis.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};

/// Over what is summed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Over {
    /// All elements of all examples: the result is one fixed number.
    Everything,
    /// The examples: the result is fixed.
    Batch,
    /// That axis: it is dropped.
    Axis(usize),
}

#[derive(Debug)]
struct Sum {
    over: Over,
    mean: bool,
}

impl Sum {
    /// How the input is cut: outer blocks, summed elements, inner elements kept apart.
    fn cut(&self, x: &Shape, batch: usize) -> (usize, usize, usize) {
        match self.over {
            Over::Everything => (1, x.elements(batch), 1),
            Over::Batch => (1, x.copies(batch), x.len()),
            Over::Axis(axis) => {
                let dims = x.dims();
                let outer: usize = dims[..axis].iter().product();
                (x.copies(batch) * outer, dims[axis], dims[axis + 1..].iter().product())
            }
        }
    }

    fn factor(&self, n: usize) -> f32 {
        if self.mean { 1.0 / n.max(1) as f32 } else { 1.0 }
    }
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        if self.mean { "mean" } else { "sum" }
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        match self.over {
            Over::Everything => Ok(Shape::fixed(&[])),
            Over::Batch => Ok(Shape::fixed(x[0].dims())),
            Over::Axis(axis) if axis < x[0].rank() => {
                let mut dims = x[0].dims().to_vec();
                dims.remove(axis);
                Ok(x[0].with(&dims))
            }
            Over::Axis(axis) => Err(format!("there is no axis {axis} in {}", x[0])),
        }
    }

    fn forward(&self, at: Forward<'_>) {
        let (outer, n, inner) = self.cut(&at.shapes[0], at.batch);
        let factor = f64::from(self.factor(n));
        for o in 0..outer {
            for i in 0..inner {
                let terms = (0..n).map(|k| f64::from(at.inputs[0][(o * n + k) * inner + i]));
                at.output[o * inner + i] = (factor * terms.sum::<f64>()) as f32;
            }
        }
    }

    /// dy/dx = 1, or 1/n for a mean.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (_, n, inner) = self.cut(&at.shapes[0], at.batch);
        let factor = self.factor(n);
        for (block, dx) in dx.sum().chunks_exact_mut((n * inner).max(1)).enumerate() {
            for (i, dx) in dx.iter_mut().enumerate() {
                *dx += factor * at.grad[block * inner + i % inner];
            }
        }
    }
}

impl<'g> Var<'g> {
    /// The sum of all elements of all examples.
    pub fn sum(self) -> Var<'g> {
        self.apply(Sum { over: Over::Everything, mean: false }, &[])
    }

    /// The mean of all elements of all examples.
    pub fn mean(self) -> Var<'g> {
        self.apply(Sum { over: Over::Everything, mean: true }, &[])
    }

    /// The mean over the batch, element by element.
    pub fn batch_mean(self) -> Var<'g> {
        self.apply(Sum { over: Over::Batch, mean: true }, &[])
    }

    /// The sum over the batch, element by element.
    pub fn batch_sum(self) -> Var<'g> {
        self.apply(Sum { over: Over::Batch, mean: false }, &[])
    }

    /// The sum along `axis`, which is dropped.
    pub fn sum_axis(self, axis: usize) -> Var<'g> {
        self.apply(Sum { over: Over::Axis(axis), mean: false }, &[])
    }

    /// The mean along `axis`, which is dropped.
    pub fn mean_axis(self, axis: usize) -> Var<'g> {
        self.apply(Sum { over: Over::Axis(axis), mean: true }, &[])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 3]], |v| v[0].sum());
        gradcheck(&[&[2, 3]], |v| v[0].mean());
        gradcheck(&[&[2, 3]], |v| v[0].batch_mean());
        gradcheck(&[&[2, 3]], |v| v[0].batch_sum());
        for axis in 0..3 {
            gradcheck(&[&[2, 3, 4]], |v| v[0].sum_axis(axis));
            gradcheck(&[&[2, 3, 4]], |v| v[0].mean_axis(axis));
        }
    }
}
