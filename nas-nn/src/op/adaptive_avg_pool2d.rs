//! Average pooling of images to a given size.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};
use crate::kernel::{self, AdaptivePool2d};

/// Input: x [channels, height, width]. Output: [channels, output].
#[derive(Debug)]
struct AdaptiveAvgPool2d {
    output: [usize; 2],
}

impl AdaptiveAvgPool2d {
    fn geometry(&self, x: &Shape, batch: usize) -> AdaptivePool2d {
        let dims = x.dims();
        AdaptivePool2d { planes: x.copies(batch) * dims[0], input: [dims[1], dims[2]], output: self.output }
    }
}

impl Op for AdaptiveAvgPool2d {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let [channels, height, width] = x[0].image()?;
        let [h, w] = self.output;
        // Windows are found by products of both sizes.
        let countable =
            |n: usize, m: usize| n > 0 && m > 0 && m.checked_add(1).is_some_and(|m| m.checked_mul(n).is_some());
        if !countable(height, h) || !countable(width, w) {
            return Err(format!("an image of {height}×{width} pixels cannot become one of {h}×{w}"));
        }
        Ok(x[0].with(&[channels, h, w]))
    }

    /// A row of the input.
    fn scratch(&self, x: &[&Shape], _: &Shape, _: usize) -> usize {
        x[0].dims()[2]
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let geometry = self.geometry(&at.shapes[0], at.batch);
        kernel::adaptive_avg_pool2d_forward(&geometry, at.inputs[0], at.output, at.scratch);
    }

    /// Each window's gradient goes evenly to its pixels.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        let geometry = self.geometry(&at.shapes[0], at.batch);
        kernel::adaptive_avg_pool2d_backward(&geometry, at.grad, dx, add, at.scratch);
    }
}

impl<'g> Var<'g> {
    /// The averages of `height` × `width` windows that together cover the image, whatever its size.
    ///
    /// Window i of an axis of n pixels in m windows reaches from ⌊i n / m⌋ to ⌈(i + 1) n / m⌉, PyTorch's rule: windows overlap
    /// where m does not divide n.
    pub fn adaptive_avg_pool2d(self, height: usize, width: usize) -> Var<'g> {
        self.apply(AdaptiveAvgPool2d { output: [height, width] }, &[])
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
        gradcheck(&[&[2, 4, 6]], |v| v[0].adaptive_avg_pool2d(2, 3));
        gradcheck(&[&[2, 5, 7]], |v| v[0].adaptive_avg_pool2d(3, 2));
        gradcheck(&[&[1, 2, 3]], |v| v[0].adaptive_avg_pool2d(3, 5));
        gradcheck(&[&[2, 3, 3]], |v| v[0].adaptive_avg_pool2d(3, 3) + v[0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(
            channels in 1_usize..3, height in 1_usize..8, width in 1_usize..8, h in 1_usize..5, w in 1_usize..5,
        ) {
            gradcheck(&[&[channels, height, width]], |v| v[0].adaptive_avg_pool2d(h, w));
        }
    }

    /// Five columns in three windows: 0..2, 1..4, 3..5.
    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let y = graph.input("x", &[1, 2, 5]).adaptive_avg_pool2d(1, 3);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 6.0, 9.0, 12.0, 15.0];
        program.run(&Feed::new(1).with("x", &x), &params).unwrap();
        assert_eq!(program.output(0), [3.0, 6.0, 9.0]);
    }

    #[test]
    fn one_window_is_the_global_average() {
        let graph = Graph::new();
        let x = graph.input("x", &[2, 3, 5]);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[x.adaptive_avg_pool2d(1, 1), x.global_avg_pool()], 2).unwrap();
        let values: Vec<f32> = (0..60_u8).map(|i| f32::from(i * 37 % 61) / 7.0).collect();
        program.run(&Feed::new(2).with("x", &values), &params).unwrap();
        approx::assert_abs_diff_eq!(program.output(0), program.output(1), epsilon = 1e-5);
    }

    #[test]
    fn mistakes_name_the_sizes() {
        let says = |dims: &[usize], h: usize, w: usize| {
            let graph = Graph::new();
            graph.input("x", dims).adaptive_avg_pool2d(h, w);
            graph.check().unwrap_err().to_string()
        };
        let text = says(&[3, 4, 4], 0, 2);
        assert_eq!(text, "adaptive_avg_pool2d: an image of 4×4 pixels cannot become one of 0×2");
        let text = says(&[3, 0, 4], 1, 1);
        assert_eq!(text, "adaptive_avg_pool2d: an image of 0×4 pixels cannot become one of 1×1");
        let text = says(&[3, 4], 1, 1);
        assert_eq!(text, "adaptive_avg_pool2d: needs an image [channels, height, width], got [N, 3, 4]");
        assert!(says(&[3, 4, 4], usize::MAX, 1).contains("cannot become"));
    }
}
