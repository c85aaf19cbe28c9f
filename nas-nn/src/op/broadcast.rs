//! Broadcasting, once for all element-by-element ops of two values: shape rule, loop, and its transpose.

use crate::graph::Shape;
use crate::kernel;

/// The shape of `a ∘ b`: sizes are aligned at the last axis and must be equal or 1; a fixed value meets every example.
pub(crate) fn shape(a: &Shape, b: &Shape) -> Result<Shape, String> {
    let rank = a.rank().max(b.rank());
    let size = |s: &Shape, axis: usize| (axis + s.rank()).checked_sub(rank).map_or(1, |i| s.dims()[i]);
    let mut dims = smallvec::SmallVec::<[usize; 4]>::new();
    for axis in 0..rank {
        let (x, y) = (size(a, axis), size(b, axis));
        if x != y && x != 1 && y != 1 {
            return Err(format!("the shapes {a} and {b} do not fit together"));
        }
        dims.push(if x == 1 { y } else { x });
    }
    let batched = a.is_batched() || b.is_batched();
    Ok(if batched { Shape::batched(&dims) } else { Shape::fixed(&dims) })
}

/// How to walk `x` while walking all elements of `y` in order.
pub(crate) struct Walk {
    /// Sizes of `y`, the batch first.
    sizes: smallvec::SmallVec<[usize; 6]>,
    /// Steps in `x` for each axis; 0 where it is repeated.
    strides: smallvec::SmallVec<[usize; 6]>,
    /// Whether `x` is walked one to one.
    pub(crate) same: bool,
    /// Whether `x` as a whole is repeated: a bias under every row, a table under every example.
    repeated: bool,
}

impl Walk {
    pub(crate) fn new(x: &Shape, y: &Shape, batch: usize) -> Self {
        let mut sizes = smallvec::SmallVec::new();
        let mut strides = smallvec::SmallVec::new();
        sizes.push(y.copies(batch));
        strides.push(if x.is_batched() { x.len() } else { 0 });
        for (axis, &size) in y.dims().iter().enumerate() {
            let own = (axis + x.rank()).checked_sub(y.rank());
            let stride = own.filter(|&i| x.dims()[i] != 1).map_or(0, |i| x.dims()[i + 1..].iter().product());
            sizes.push(size);
            strides.push(stride);
        }
        let same = x.is_batched() == y.is_batched() && x.dims() == y.dims();
        // Sizes of 1 in front change nothing; after the first larger one all must be equal.
        let own = &x.dims()[x.dims().iter().take_while(|&&n| n == 1).count()..];
        // Short ones are not worth a loop of their own each.
        let repeated = (!x.is_batched() || same) && y.dims().ends_with(own) && x.len() >= 8;
        Walk { sizes, strides, same, repeated }
    }

    /// Calls `f` with the place in `y` and the place in `x`, for all elements of `y` in order.
    pub(crate) fn each(&self, mut f: impl FnMut(usize, usize)) {
        let rank = self.sizes.len();
        let (last, step) = (self.sizes[rank - 1], self.strides[rank - 1]);
        let total: usize = self.sizes.iter().product();
        let mut index = smallvec::SmallVec::<[usize; 6]>::from_elem(0, rank);
        let (mut at_y, mut at_x) = (0, 0);
        while at_y < total {
            for i in 0..last {
                f(at_y + i, at_x + i * step);
            }
            at_y += last;
            for axis in (0..rank - 1).rev() {
                index[axis] += 1;
                at_x += self.strides[axis];
                if index[axis] < self.sizes[axis] {
                    break;
                }
                at_x -= self.strides[axis] * self.sizes[axis];
                index[axis] = 0;
            }
        }
    }
}

/// y = f(a, b), with both broadcast to y.
pub(crate) fn zip(at: super::Forward<'_>, f: impl Fn(f32, f32) -> f32) {
    let [a, b] = [0, 1].map(|i| (at.inputs[i], Walk::new(&at.shapes[i], at.shape, at.batch)));
    let y = at.output;
    if a.1.same && b.1.same {
        return kernel::zip(a.0, b.0, y, f);
    }
    if a.1.same && b.1.repeated {
        for (y, a) in y.chunks_exact_mut(b.0.len()).zip(a.0.chunks_exact(b.0.len())) {
            kernel::zip(a, b.0, y, &f);
        }
        return;
    }
    a.1.each(|i, j| y[i] = a.0[j]);
    b.1.each(|i, j| y[i] = f(y[i], b.0[j]));
}

/// Adds `factor` · g to the gradient of input `i`, each at the place that was broadcast there.
pub(crate) fn unzip(at: &mut super::Backward<'_>, input: usize, g: &[f32], factor: f32) {
    let Some(dx) = at.grad_input(input) else { return };
    let walk = Walk::new(&at.shapes[input], at.shape, at.batch);
    if !walk.same {
        let dx = dx.sum();
        if walk.repeated {
            for g in g.chunks_exact(dx.len()) {
                kernel::axpy(factor, g, dx);
            }
            return;
        }
        return walk.each(|i, j| dx[j] += factor * g[i]);
    }
    match dx.parts() {
        (dx, true) => kernel::axpy(factor, g, dx),
        (dx, false) => kernel::map(g, dx, |g| factor * g),
    }
}

/// `x` broadcast to `y`: what the derivative of a product or quotient reads.
pub(crate) fn expand(x: &[f32], from: &Shape, to: &Shape, batch: usize, into: &mut [f32]) {
    Walk::new(from, to, batch).each(|i, j| into[i] = x[j]);
}
