//! Another order of axes: runs that stay together are copied, all else is transposed in squares of vectors.

use super::simd::dispatch;
use super::vector::{Job, Vector, launch};

/// The most axes a permutation may have, beside the copies.
const AXES: usize = 8;

/// An axis of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Axis {
    size: usize,
    /// The distance of its elements in the input.
    from: usize,
    /// The distance of its elements in the output.
    to: usize,
}

/// The axes of the output, without those of one element and with neighbours that stay neighbours as one.
struct Axes {
    list: [Axis; AXES + 1],
    len: usize,
}

impl Axes {
    fn new(copies: usize, dims: &[usize], axes: &[usize]) -> Axes {
        let mut strides = [1; AXES];
        for a in (1..dims.len()).rev() {
            strides[a - 1] = strides[a] * dims[a];
        }
        let whole: usize = dims.iter().product();
        let mut result = Axes { list: [Axis::default(); AXES + 1], len: 0 };
        result.push(copies, whole);
        for &a in axes {
            result.push(dims[a], strides[a]);
        }
        if result.len == 0 {
            result.list[0] = Axis { size: 1, from: 1, to: 1 };
            result.len = 1;
        }
        let mut to = 1;
        for axis in result.list[..result.len].iter_mut().rev() {
            axis.to = to;
            to *= axis.size;
        }
        result
    }

    fn push(&mut self, size: usize, from: usize) {
        if size == 1 {
            return;
        }
        if let Some(last) = self.list[..self.len].last_mut()
            && last.from == from * size
        {
            (last.size, last.from) = (last.size * size, from);
            return;
        }
        self.list[self.len] = Axis { size, from, to: 0 };
        self.len += 1;
    }

    fn remove(&mut self, at: usize) -> Axis {
        let axis = self.list[at];
        self.list.copy_within(at + 1..self.len, at);
        self.len -= 1;
        axis
    }

    /// Calls `f` with the places in input and output of every index of these axes, in the output's order.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        let axes = &self.list[..self.len];
        let (mut index, mut from, mut to) = ([0; AXES + 1], 0, 0);
        'all: loop {
            f(from, to);
            for (index, axis) in index.iter_mut().zip(axes).rev() {
                (*index, from, to) = (*index + 1, from + axis.from, to + axis.to);
                if *index < axis.size {
                    continue 'all;
                }
                (*index, from, to) = (0, from - axis.size * axis.from, to - axis.size * axis.to);
            }
            return;
        }
    }
}

/// Axis `a` of `y` is axis `axes[a]` of `x`, whose sizes are `dims`, in each of `copies` tensors that follow each other. `y` is
/// overwritten, or added to with `accumulate`.
///
/// # Panics
/// When there are more than eight axes, `axes` is no permutation of them, or a slice does not have the size.
pub fn permute(copies: usize, dims: &[usize], axes: &[usize], x: &[f32], y: &mut [f32], accumulate: bool) {
    let each_once = (0..dims.len()).all(|a| axes.contains(&a));
    assert!(dims.len() <= AXES && axes.len() == dims.len() && each_once, "{axes:?} is no permutation of {dims:?}");
    let len = copies * dims.iter().product::<usize>();
    assert!(x.len() == len && y.len() == len, "{} and {} elements for {copies} of {dims:?}", x.len(), y.len());
    if len == 0 {
        return;
    }
    let mut outer = Axes::new(copies, dims, axes);
    let last = outer.remove(outer.len - 1);
    if last.from == 1 {
        return runs(&outer, last.size, x, y, accumulate);
    }
    // The one axis whose elements are neighbours in the input: its distance there is the smallest.
    let at = outer.list[..outer.len].iter().position(|axis| axis.from == 1);
    let first = outer.remove(at.expect("of several axes one has neighbours in the input"));
    // SAFETY: the axes are those of tensors of `len` elements, and both slices have that length.
    unsafe { launch(Squares { outer, first, last, x: x.as_ptr(), y: y.as_mut_ptr(), accumulate }) }
}

fn runs(outer: &Axes, len: usize, x: &[f32], y: &mut [f32], accumulate: bool) {
    dispatch(
        #[inline(always)]
        || {
            outer.each(|from, to| {
                let (x, y) = (&x[from..from + len], &mut y[to..to + len]);
                if accumulate {
                    for (y, x) in y.iter_mut().zip(x) {
                        *y += x;
                    }
                } else {
                    y.copy_from_slice(x);
                }
            });
        },
    );
}

struct Squares {
    outer: Axes,
    /// Neighbours in the input.
    first: Axis,
    /// Neighbours in the output.
    last: Axis,
    x: *const f32,
    y: *mut f32,
    accumulate: bool,
}

impl Job for Squares {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Squares { outer, first, last, x, y, accumulate } = self;
        let mut square = [0.0_f32; 16 * 16];
        outer.each(|from, to| {
            for j in (0..last.size).step_by(V::LANES) {
                let rows = (last.size - j).min(V::LANES);
                for i in (0..first.size).step_by(V::LANES) {
                    let columns = (first.size - i).min(V::LANES);
                    // SAFETY: the caller vouches for the tensors, indices stay below the sizes of the axes, and no
                    // vector has more than 16 lanes.
                    unsafe {
                        let (x, y) = (x.add(from + j * last.from + i), y.add(to + i * first.to + j));
                        for r in 0..rows {
                            let row = x.add(r * last.from);
                            let v = if columns == V::LANES { V::load(row) } else { V::load_first(row, columns) };
                            v.store(square.as_mut_ptr().add(r * V::LANES));
                        }
                        V::deinterleave(square.as_ptr(), rows, y, first.to, columns, accumulate);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::simd::on_every_simd;
    use super::super::testing::values;
    use super::*;

    /// The place in the input of every element of the output, by the definition.
    fn places(copies: usize, dims: &[usize], axes: &[usize]) -> Vec<usize> {
        let whole: usize = dims.iter().product();
        let place = |at: usize| {
            let (mut rest, mut index) = (at % whole, vec![0; dims.len()]);
            for &a in axes.iter().rev() {
                index[a] = rest % dims[a];
                rest /= dims[a];
            }
            at / whole * whole + index.iter().zip(dims).fold(0, |at, (i, d)| at * d + i)
        };
        (0..copies * whole).map(place).collect()
    }

    fn check(copies: usize, dims: &[usize], axes: &[usize]) {
        let places = places(copies, dims, axes);
        let (x, start) = (values(places.len(), 1), values(places.len(), 2));
        let expected: Vec<f32> = places.iter().map(|&at| x[at]).collect();
        let added: Vec<f32> = start.iter().zip(&expected).map(|(s, e)| s + e).collect();
        on_every_simd(|simd| {
            let (mut y, mut sum) = (vec![f32::NAN; x.len()], start.clone());
            permute(copies, dims, axes, &x, &mut y, false);
            permute(copies, dims, axes, &x, &mut sum, true);
            assert_eq!((&y, &sum), (&expected, &added), "{simd} {copies} {dims:?} {axes:?}");
        });
    }

    #[test]
    fn swaps_of_two_axes() {
        for (rows, columns) in [(1, 5), (16, 16), (33, 18), (7, 40), (64, 3)] {
            check(1, &[rows, columns], &[1, 0]);
            check(3, &[rows, columns], &[1, 0]);
            check(2, &[rows, columns, 5], &[1, 0, 2]);
            check(2, &[3, rows, columns], &[0, 2, 1]);
            check(2, &[rows, 3, columns], &[2, 1, 0]);
        }
        check(2, &[20, 2, 3, 17], &[3, 1, 2, 0]);
    }

    #[test]
    fn few_elements() {
        check(1, &[], &[]);
        check(5, &[], &[]);
        check(1, &[1, 1], &[1, 0]);
        check(0, &[2, 3], &[1, 0]);
        check(2, &[2, 0, 3], &[2, 0, 1]);
        check(2, &[2; 8], &[7, 5, 3, 1, 0, 2, 4, 6]);
    }

    #[test]
    fn neighbours_that_stay_neighbours_are_one_axis() {
        let axes = Axes::new(4, &[5, 1, 6, 7], &[0, 2, 1, 3]);
        assert_eq!(axes.list[..axes.len], [Axis { size: 4 * 5 * 6 * 7, from: 1, to: 1 }]);
        let axes = Axes::new(4, &[5, 6, 2, 3], &[1, 0, 2, 3]);
        let expected =
            [(4, 180, 180), (6, 6, 30), (5, 36, 6), (6, 1, 1)].map(|(size, from, to)| Axis { size, from, to });
        assert_eq!(axes.list[..axes.len], expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_order(
            copies in 1_usize..4,
            (dims, axes) in (1_usize..5).prop_flat_map(|rank| {
                let axes = Just((0..rank).collect::<Vec<_>>()).prop_shuffle();
                (prop::collection::vec(prop_oneof![1_usize..4, 15_usize..19], rank), axes)
            }),
        ) {
            check(copies, &dims, &axes);
        }
    }

    #[test]
    #[should_panic(expected = "[0, 0] is no permutation of [2, 3]")]
    fn axes_are_checked() {
        permute(1, &[2, 3], &[0, 0], &[0.0; 6], &mut [0.0; 6], false);
    }
}
