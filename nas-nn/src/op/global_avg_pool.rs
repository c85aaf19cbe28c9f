//! The average over a whole image, channel by channel.

use super::{Backward, Forward, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

#[derive(Debug)]
struct GlobalAvgPool;

impl Op for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        match x[0].image()? {
            [channels, height, width] if height * width > 0 => Ok(x[0].with(&[channels])),
            _ => Err(format!("needs an image with pixels, got {}", x[0])),
        }
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        let inner = at.shapes[0].dims()[1] * at.shapes[0].dims()[2];
        kernel::global_avg_pool_forward(inner, at.inputs[0], at.output);
    }

    /// dy/dx = 1 / pixels.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        let inner = at.shapes[0].dims()[1] * at.shapes[0].dims()[2];
        kernel::global_avg_pool_backward(inner, at.grad, dx, add);
    }
}

impl<'g> Var<'g> {
    /// The average of every channel: `[channels, height, width]` → `[channels]`.
    pub fn global_avg_pool(self) -> Var<'g> {
        self.apply(GlobalAvgPool, &[])
    }
}

#[cfg(test)]
mod tests {
    use crate::Graph;
    use crate::testing::gradcheck;

    #[test]
    fn gradients() {
        gradcheck(&[&[3, 3, 4]], |v| v[0].global_avg_pool());
        gradcheck(&[&[2, 1, 1]], |v| v[0].global_avg_pool() + v[0].flatten());
    }

    #[test]
    fn no_pixels_have_no_average() {
        let graph = Graph::new();
        graph.input("x", &[3, 0, 4]).global_avg_pool();
        let text = graph.check().unwrap_err().to_string();
        assert_eq!(text, "global_avg_pool: needs an image with pixels, got [N, 3, 0, 4]");
    }
}
