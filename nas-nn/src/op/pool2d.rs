//! Pooling of images: the maximum or the average of windows.

use super::conv2d::{room, short};
use super::{Backward, Forward, Op, Space};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct Pool2d {
    maximum: bool,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Pool2d {
    /// By how much the window can move along `size` pixels, if it fits.
    fn room(&self, size: usize) -> Option<usize> {
        room(size, [self.padding; 2], self.kernel, 1)
    }

    fn geometry(&self, x: &Shape, batch: usize) -> kernel::Pool2d {
        let dims = x.dims();
        kernel::Pool2d {
            batch: x.copies(batch),
            channels: dims[0],
            height: dims[1],
            width: dims[2],
            kernel: [self.kernel; 2],
            stride: [dims[1], dims[2]].map(|size| short(self.stride, self.room(size))),
            padding: [self.padding; 4],
        }
    }
}

impl Op for Pool2d {
    fn name(&self) -> &'static str {
        if self.maximum { "max_pool2d" } else { "avg_pool2d" }
    }

    fn variant(&self) -> String {
        format!("{0}x{0} /{1}", self.kernel, self.stride)
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let [channels, height, width] = x[0].image()?;
        if self.kernel == 0 || self.stride == 0 || self.padding >= self.kernel {
            let Pool2d { kernel, stride, padding, .. } = self;
            return Err(format!(
                "a kernel of {kernel}, a stride of {stride} and a padding of {padding}: the first two start at 1, and the \
                 padding is below the kernel"
            ));
        }
        if [height, width].iter().any(|&size| size == 0 || self.room(size).is_none()) {
            return Err(format!("a window of {} does not fit {height}×{width} pixels", self.kernel));
        }
        let [h, w] = self.geometry(x[0], 1).output();
        Ok(x[0].with(&[channels, h, w]))
    }

    fn saved(&self, _: &[&Shape], y: &Shape) -> Space {
        saved(self.maximum, y)
    }

    fn scratch_eval(&self, _: &[&Shape], y: &Shape, batch: usize) -> usize {
        scratch_eval(self.maximum, y, batch)
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        forward(self.maximum, &self.geometry(&at.shapes[0], at.batch), at);
    }

    fn backward(&self, at: Backward<'_>) {
        backward(self.maximum, &self.geometry(&at.shapes[0], at.batch), at);
    }
}

/// For a maximum, which place of the window it was.
pub(super) fn saved(maximum: bool, y: &Shape) -> Space {
    if maximum { Space::per_example(y.len()) } else { Space::NONE }
}

/// In evaluation nothing is saved, but the kernel still notes the places.
pub(super) fn scratch_eval(maximum: bool, y: &Shape, batch: usize) -> usize {
    if maximum { y.elements(batch) } else { 0 }
}

/// The maximum or the average of each window.
pub(super) fn forward(maximum: bool, geometry: &kernel::Pool2d, at: Forward<'_>) {
    let Forward { inputs, output, saved, scratch, .. } = at;
    if !maximum {
        kernel::avg_pool2d_forward(geometry, inputs[0], output);
        return;
    }
    let places = if saved.is_empty() { scratch } else { saved };
    let places = &mut places[..output.len()];
    kernel::max_pool2d_forward(geometry, inputs[0], output, places);
}

/// Each window's gradient goes to its maximum, or evenly to its elements.
pub(super) fn backward(maximum: bool, geometry: &kernel::Pool2d, mut at: Backward<'_>) {
    let Some(dx) = at.grad_input(0) else { return };
    let (dx, add) = dx.parts();
    if maximum {
        kernel::max_pool2d_backward(geometry, &at.saved[..at.grad.len()], at.grad, dx, add);
    } else {
        kernel::avg_pool2d_backward(geometry, at.grad, dx, add);
    }
}

impl<'g> Var<'g> {
    /// The largest number of each `kernel`×`kernel` window; windows do not overlap.
    pub fn max_pool2d(self, kernel: usize) -> Var<'g> {
        self.max_pool2d_with(kernel, kernel, 0)
    }

    /// The largest number of each `kernel`×`kernel` window, every `stride` pixels; `padding` pixels around are never it.
    pub fn max_pool2d_with(self, kernel: usize, stride: usize, padding: usize) -> Var<'g> {
        self.apply(Pool2d { maximum: true, kernel, stride, padding }, &[])
    }

    /// The average of each `kernel`×`kernel` window, every `stride` pixels; `padding` pixels around are not counted.
    pub fn avg_pool2d(self, kernel: usize, stride: usize, padding: usize) -> Var<'g> {
        self.apply(Pool2d { maximum: false, kernel, stride, padding }, &[])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[2, 4, 6]], |v| v[0].max_pool2d(2));
        gradcheck(&[&[1, 7, 7]], |v| v[0].max_pool2d(3) + v[0].avg_pool2d(3, 3, 0));
        gradcheck(&[&[2, 5, 4]], |v| v[0].avg_pool2d(3, 1, 1));
        gradcheck(&[&[2, 7, 5]], |v| v[0].avg_pool2d(3, 2, 1));
        gradcheck(&[&[2, 4, 4]], |v| v[0].avg_pool2d(1, 2, 0));
        gradcheck(&[&[2, 7, 5]], |v| v[0].max_pool2d_with(3, 2, 1));
        gradcheck(&[&[1, 4, 6]], |v| v[0].max_pool2d_with(3, 1, 1) + v[0]);
    }

    #[test]
    fn gradients_that_add_up() {
        gradcheck(&[&[2, 4, 4]], |v| v[0].avg_pool2d(3, 1, 1) + v[0]);
        gradcheck(&[&[1, 5, 4]], |v| v[0].max_pool2d(2).avg_pool2d(2, 1, 1) + v[0].slice(1, 0, 3).slice(2, 0, 3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_average_gradients(
            channels in 1_usize..3, height in 1_usize..8, width in 1_usize..8,
            kernel in 1_usize..4, stride in 1_usize..4, padding in 0_usize..3,
        ) {
            prop_assume!(padding < kernel && height + 2 * padding >= kernel && width + 2 * padding >= kernel);
            gradcheck(&[&[channels, height, width]], |v| v[0].avg_pool2d(kernel, stride, padding));
        }
    }

    #[test]
    fn padding_is_not_counted() {
        let graph = Graph::new();
        let x = graph.input("x", &[1, 2, 2]);
        let outputs = [x.avg_pool2d(3, 1, 1), x.max_pool2d_with(2, 1, 1)];
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &outputs, 1).unwrap();
        program.run(&Feed::new(1).with("x", &[-1.0, -2.0, -3.0, -6.0]), &params).unwrap();
        assert_eq!(program.output(0), [-3.0; 4]);
        assert_eq!(program.output(1), [-1.0, -1.0, -2.0, -1.0, -1.0, -2.0, -3.0, -3.0, -6.0]);
    }

    #[test]
    fn windows_that_do_not_fit() {
        let says = |build: fn(&Graph)| {
            let graph = Graph::new();
            build(&graph);
            graph.check().unwrap_err().to_string()
        };
        let text = says(|g| _ = g.input("x", &[1, 2, 2]).max_pool2d(3));
        assert_eq!(text, "max_pool2d: a window of 3 does not fit 2×2 pixels");
        let text = says(|g| _ = g.input("x", &[1, 2, 2]).avg_pool2d(2, 1, 2));
        assert_eq!(
            text,
            "avg_pool2d: a kernel of 2, a stride of 1 and a padding of 2: the first two start at 1, and the \
                          padding is below the kernel"
        );
        let text = says(|g| _ = g.input("x", &[4]).max_pool2d(2));
        assert_eq!(text, "max_pool2d: needs an image [channels, height, width], got [N, 4]");
    }
}
