//! Pooling of sequences: the maximum or the average of windows; the kernel of the 2-D one on images of height 1.

use super::{Backward, Forward, Op, Space, conv1d, conv2d, pool2d};
use crate::graph::{Shape, Var};
use crate::kernel;

/// Input: x [channels, length].
#[derive(Debug)]
struct Pool1d {
    maximum: bool,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Pool1d {
    /// By how much the window can move along `length` elements, if it fits.
    fn room(&self, length: usize) -> Option<usize> {
        conv2d::room(length, [self.padding; 2], self.kernel, 1)
    }

    fn geometry(&self, x: &Shape, batch: usize) -> kernel::Pool2d {
        kernel::Pool2d {
            batch: x.copies(batch),
            channels: x.dims()[0],
            height: 1,
            width: x.dims()[1],
            kernel: [1, self.kernel],
            stride: [1, conv2d::short(self.stride, self.room(x.dims()[1]))],
            padding: [0, self.padding, 0, self.padding],
        }
    }
}

impl Op for Pool1d {
    fn name(&self) -> &'static str {
        if self.maximum { "max_pool1d" } else { "avg_pool1d" }
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let [channels, length] = conv1d::sequence(x[0])?;
        let Pool1d { kernel, stride, padding, .. } = *self;
        if kernel == 0 || stride == 0 || padding >= kernel {
            return Err(format!(
                "a kernel of {kernel}, a stride of {stride} and a padding of {padding}: the first two start at 1, and the \
                 padding is below the kernel"
            ));
        }
        if length == 0 || self.room(length).is_none() {
            return Err(format!("a window of {kernel} does not fit a length of {length} padded by {padding}"));
        }
        Ok(x[0].with(&[channels, self.geometry(x[0], 1).output()[1]]))
    }

    fn saved(&self, _: &[&Shape], y: &Shape) -> Space {
        pool2d::saved(self.maximum, y)
    }

    fn scratch_eval(&self, _: &[&Shape], y: &Shape, batch: usize) -> usize {
        pool2d::scratch_eval(self.maximum, y, batch)
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        pool2d::forward(self.maximum, &self.geometry(&at.shapes[0], at.batch), at);
    }

    fn backward(&self, at: Backward<'_>) {
        pool2d::backward(self.maximum, &self.geometry(&at.shapes[0], at.batch), at);
    }
}

impl<'g> Var<'g> {
    /// The largest number of each window of `kernel` elements of [channels, length]; windows do not overlap.
    pub fn max_pool1d(self, kernel: usize) -> Var<'g> {
        self.max_pool1d_with(kernel, kernel, 0)
    }

    /// The largest number of each window of `kernel` elements of [channels, length], every `stride` elements; `padding`
    /// elements before and after are never it.
    pub fn max_pool1d_with(self, kernel: usize, stride: usize, padding: usize) -> Var<'g> {
        self.apply(Pool1d { maximum: true, kernel, stride, padding }, &[])
    }

    /// The average of each window of `kernel` elements of [channels, length], every `stride` elements; `padding` elements
    /// before and after are not counted.
    pub fn avg_pool1d(self, kernel: usize, stride: usize, padding: usize) -> Var<'g> {
        self.apply(Pool1d { maximum: false, kernel, stride, padding }, &[])
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
        gradcheck(&[&[2, 6]], |v| v[0].max_pool1d(2));
        gradcheck(&[&[3, 7]], |v| v[0].max_pool1d_with(3, 1, 1) + v[0]);
        gradcheck(&[&[2, 9]], |v| v[0].max_pool1d_with(3, 2, 2) + v[0].avg_pool1d(3, 2, 2));
        gradcheck(&[&[1, 5]], |v| v[0].avg_pool1d(3, 1, 1) + v[0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(
            channels in 1_usize..4, length in 1_usize..20, kernel in 1_usize..5, stride in 1_usize..4,
            padding in 0_usize..4,
        ) {
            prop_assume!(padding < kernel && length + 2 * padding >= kernel);
            gradcheck(&[&[channels, length]], |v| v[0].avg_pool1d(kernel, stride, padding));
        }
    }

    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let x = graph.input("x", &[2, 3]);
        let outputs = [x.max_pool1d(2), x.max_pool1d_with(2, 1, 1), x.avg_pool1d(3, 2, 1)];
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &outputs, 1).unwrap();
        program.run(&Feed::new(1).with("x", &[-1.0, -3.0, -5.0, 4.0, 2.0, 6.0]), &params).unwrap();
        assert_eq!(program.output(0), [-1.0, 4.0]);
        assert_eq!(program.output(1), [-1.0, -1.0, -3.0, -5.0, 4.0, 4.0, 6.0, 6.0]);
        assert_eq!(program.output(2), [-2.0, -4.0, 3.0, 4.0]);
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize], [kernel, stride, padding]: [usize; 3]| {
            let graph = Graph::new();
            graph.input("x", dims).avg_pool1d(kernel, stride, padding);
            graph.check().unwrap_err().to_string()
        };
        assert_eq!(says(&[2, 2], [3, 1, 0]), "avg_pool1d: a window of 3 does not fit a length of 2 padded by 0");
        assert_eq!(says(&[2, 0], [1, 1, 0]), "avg_pool1d: a window of 1 does not fit a length of 0 padded by 0");
        assert_eq!(says(&[2, 2, 2], [2, 1, 0]), "avg_pool1d: needs a sequence [channels, length], got [N, 2, 2, 2]");
        assert!(says(&[2, 2], [2, 1, 2]).contains("the padding is below the kernel"));
        assert!(says(&[2, 2], [usize::MAX, 1, usize::MAX - 1]).contains("does not fit"));
    }
}
