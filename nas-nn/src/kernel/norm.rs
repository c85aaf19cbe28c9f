//! Work per channel of [batch, channels, inner] tensors: their shape, sums, affine functions.

use super::simd::dispatch;
use super::sum::{Runs, sum_runs};

/// The shape of a tensor with channels: [batch, channels, inner], where `inner` is height · width (1 after a linear layer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Examples.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Elements of one channel of one example, contiguous.
    pub inner: usize,
}

impl Channels {
    /// Elements of the whole tensor.
    pub fn len(&self) -> usize {
        self.batch * self.channels * self.inner
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the planes of channel `c` lie, example by example.
    #[inline(always)]
    pub(super) fn planes(self, c: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (0..self.batch).map(move |b| {
            let start = (b * self.channels + c) * self.inner;
            start..start + self.inner
        })
    }

    /// The same planes, for sums.
    fn runs(self, c: usize) -> Runs {
        Runs { first: c * self.inner, count: self.batch, apart: self.channels * self.inner, len: self.inner }
    }

    #[track_caller]
    pub(super) fn check(&self, tensors: &[usize], vectors: &[usize]) {
        assert!(tensors.iter().all(|&n| n == self.len()), "tensors of {tensors:?} elements for {self:?}");
        assert!(vectors.iter().all(|&n| n == self.channels), "channel vectors of {vectors:?} elements for {self:?}");
    }

    /// Elements of one channel.
    pub(super) fn per_channel(&self) -> f64 {
        (self.batch * self.inner) as f64
    }
}

/// `y = scale[c] x + shift[c]`: batch normalisation with fixed statistics.
///
/// # Panics
/// When a slice does not fit `shape`.
pub fn channel_affine(shape: &Channels, x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
    shape.check(&[x.len(), y.len()], &[scale.len(), shift.len()]);
    dispatch(
        #[inline(always)]
        || {
            for c in 0..shape.channels {
                let (a, b) = (scale[c], shift[c]);
                for plane in shape.planes(c) {
                    for (y, &x) in y[plane.clone()].iter_mut().zip(&x[plane]) {
                        *y = a * x + b;
                    }
                }
            }
        },
    );
}

/// `y += bias[c]`.
///
/// # Panics
/// When a slice does not fit `shape`.
pub fn add_to_channels(shape: &Channels, bias: &[f32], y: &mut [f32]) {
    shape.check(&[y.len()], &[bias.len()]);
    dispatch(
        #[inline(always)]
        || {
            for (c, &b) in bias.iter().enumerate() {
                for plane in shape.planes(c) {
                    for y in &mut y[plane] {
                        *y += b;
                    }
                }
            }
        },
    );
}

/// `y[c] = Σ x` over batch and inner (`+=` with `accumulate`): the gradient of a channel bias.
///
/// # Panics
/// When a slice does not fit `shape`.
pub fn channel_sums(shape: &Channels, x: &[f32], y: &mut [f32], accumulate: bool) {
    shape.check(&[x.len()], &[y.len()]);
    for (c, y) in y.iter_mut().enumerate() {
        let total = sum_runs(x, shape.runs(c)) as f32;
        *y = if accumulate { *y + total } else { total };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_helpers() {
        let s = Channels { batch: 2, channels: 2, inner: 2 };
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let mut y = [0.0; 8];
        channel_affine(&s, &x, &[2.0, -1.0], &[0.0, 10.0], &mut y);
        assert_eq!(y, [2.0, 4.0, 7.0, 6.0, 10.0, 12.0, 3.0, 2.0]);
        let mut sums = [100.0; 2];
        channel_sums(&s, &x, &mut sums, false);
        assert_eq!(sums, [14.0, 22.0]);
        channel_sums(&s, &x, &mut sums, true);
        assert_eq!(sums, [28.0, 44.0]);
        add_to_channels(&s, &[1.0, 2.0], &mut y);
        assert_eq!(y, [3.0, 5.0, 9.0, 8.0, 11.0, 13.0, 5.0, 4.0]);
    }
}
