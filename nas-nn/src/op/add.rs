//! Sum and difference of two values, broadcast.

use super::{Backward, Forward, Op, broadcast};
use crate::graph::{Shape, Var};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        broadcast::shape(x[0], x[1])
    }

    fn passes_gradient(&self, input: usize, x: &[&Shape], y: &Shape) -> bool {
        x[input] == y
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        broadcast::zip(at, |a, b| a + b);
    }

    /// dy/da = dy/db = 1.
    fn backward(&self, mut at: Backward<'_>) {
        let g = at.grad;
        broadcast::unzip(&mut at, 0, g, 1.0);
        broadcast::unzip(&mut at, 1, g, 1.0);
    }
}

#[derive(Debug)]
struct Sub;

impl Op for Sub {
    fn name(&self) -> &'static str {
        "sub"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        broadcast::shape(x[0], x[1])
    }

    fn passes_gradient(&self, input: usize, x: &[&Shape], y: &Shape) -> bool {
        input == 0 && x[0] == y
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        broadcast::zip(at, |a, b| a - b);
    }

    /// dy/da = 1, dy/db = −1.
    fn backward(&self, mut at: Backward<'_>) {
        let g = at.grad;
        broadcast::unzip(&mut at, 0, g, 1.0);
        broadcast::unzip(&mut at, 1, g, -1.0);
    }
}

impl<'g> std::ops::Add for Var<'g> {
    type Output = Var<'g>;

    /// `a + b`, broadcast.
    fn add(self, b: Var<'g>) -> Var<'g> {
        self.apply(Add, &[b])
    }
}

impl<'g> std::ops::Sub for Var<'g> {
    type Output = Var<'g>;

    /// `a - b`, broadcast.
    fn sub(self, b: Var<'g>) -> Var<'g> {
        self.apply(Sub, &[b])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::gradcheck;

    #[test]
    fn sum_gradient() {
        gradcheck(&[&[2, 3], &[2, 3]], |v| v[0] + v[1]);
    }

    #[test]
    fn broadcast_gradients() {
        gradcheck(&[&[2, 3], &[1, 3]], |v| v[0] - v[1]);
        gradcheck(&[&[3], &[4, 2, 3]], |v| v[0] + v[1]);
        // Values that are repeated as a whole.
        gradcheck(&[&[2, 9]], |v| v[0] + v[0].parameter("row", &[9], crate::Init::ONES));
        gradcheck(&[&[2, 9]], |v| v[0] - v[0].parameter("table", &[1, 2, 9], crate::Init::ONES).reshape(&[2, 9]));
        gradcheck(&[&[2, 3]], |v| v[0] - v[0].parameter("b", &[2, 1], crate::Init::ONES));
    }

    #[test]
    fn twice_the_same_value() {
        gradcheck(&[&[2, 3]], |v| v[0] + v[0]);
    }
}
