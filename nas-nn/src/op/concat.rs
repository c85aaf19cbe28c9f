//! Values side by side along one axis.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};

#[derive(Debug)]
struct Concat {
    axis: usize,
}

/// Blocks of one value, and the length of each, when everything before `axis` is the block's number.
fn blocks(x: &Shape, axis: usize, batch: usize) -> (usize, usize) {
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
                let dx = dx.sum();
                for i in 0..count {
                    for (dx, g) in dx[i * len..][..len].iter_mut().zip(&at.grad[i * width + from..]) {
                        *dx += g;
                    }
                }
            }
            from += len;
        }
    }
}

#[derive(Debug)]
struct Slice {
    axis: usize,
    start: usize,
    end: usize,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let mut dims = x[0].dims().to_vec();
        if self.axis >= dims.len() || self.start >= self.end || self.end > dims[self.axis] {
            return Err(format!("{}..{} is no part of axis {} of {}", self.start, self.end, self.axis, x[0]));
        }
        dims[self.axis] = self.end - self.start;
        Ok(x[0].with(&dims))
    }

    fn forward(&self, at: Forward<'_>) {
        let (count, width) = blocks(&at.shapes[0], self.axis, at.batch);
        let (_, len) = blocks(at.shape, self.axis, at.batch);
        let from = self.start * (len / (self.end - self.start));
        for i in 0..count {
            at.output[i * len..][..len].copy_from_slice(&at.inputs[0][i * width + from..][..len]);
        }
    }

    /// The gradient stands where the part stood.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (count, width) = blocks(&at.shapes[0], self.axis, at.batch);
        let (_, len) = blocks(at.shape, self.axis, at.batch);
        let from = self.start * (len / (self.end - self.start));
        let dx = dx.sum();
        for i in 0..count {
            for (dx, g) in dx[i * width + from..][..len].iter_mut().zip(&at.grad[i * len..]) {
                *dx += g;
            }
        }
    }
}

impl<'g> Var<'g> {
    /// This value and `others` along `axis`.
    pub fn concat(self, others: &[Var<'g>], axis: usize) -> Var<'g> {
        self.apply(Concat { axis }, others)
    }

    /// The part `start..end` of `axis`.
    pub fn slice(self, axis: usize, start: usize, end: usize) -> Var<'g> {
        self.apply(Slice { axis, start, end }, &[])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;

    #[test]
    fn concat_gradients() {
        gradcheck(&[&[2, 3], &[2, 1], &[2, 2]], |v| v[0].concat(&v[1..], 1));
        gradcheck(&[&[2, 3], &[1, 3]], |v| v[0].concat(&v[1..], 0));
        gradcheck(&[&[3]], |v| v[0].concat(&[v[0], v[0]], 0));
    }

    #[test]
    fn slice_gradients() {
        gradcheck(&[&[4, 3]], |v| v[0].slice(0, 1, 3));
        gradcheck(&[&[2, 5, 2]], |v| v[0].slice(1, 2, 5) + v[0].slice(1, 0, 3));
    }
}
