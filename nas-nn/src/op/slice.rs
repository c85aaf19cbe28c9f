//! A part of a value along one axis.

use super::concat::blocks;
use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};

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

    fn by_example(&self) -> bool {
        true
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
    /// The part `start..end` of `axis`.
    pub fn slice(self, axis: usize, start: usize, end: usize) -> Var<'g> {
        self.apply(Slice { axis, start, end }, &[])
    }
}

#[cfg(test)]
mod tests {
    use crate::Graph;
    use crate::testing::gradcheck;

    #[test]
    fn gradients() {
        gradcheck(&[&[4, 3]], |v| v[0].slice(0, 1, 3));
        gradcheck(&[&[2, 5, 2]], |v| v[0].slice(1, 2, 5) + v[0].slice(1, 0, 3));
    }

    #[test]
    fn parts_that_are_none() {
        let says = |axis, start, end| {
            let graph = Graph::new();
            graph.input("x", &[2, 3]).slice(axis, start, end);
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(1, 1, 4), "slice: 1..4 is no part of axis 1 of [N, 2, 3]");
        assert_eq!(says(1, 2, 2), "slice: 2..2 is no part of axis 1 of [N, 2, 3]");
        assert_eq!(says(2, 0, 1), "slice: 0..1 is no part of axis 2 of [N, 2, 3]");
    }
}
