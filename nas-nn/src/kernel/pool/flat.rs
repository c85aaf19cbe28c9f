//! Pooling with stride 1 of planes that fit in a buffer on the stack: the plane is copied with its border, and each tap of
//! the window is one shift of the whole plane as one long row. The border's columns at the end of a row and at the beginning of
//! the next are the same where both are needed; sums that straddle rows are computed and dropped.

use super::super::simd::dispatch;
use super::{Pool2d, larger};

/// Elements of the buffers: a plane of 40×40 with its border.
const ROOM: usize = 2048;

pub(super) struct Flat {
    /// Rows and columns of what is read, and of what is computed.
    from: [usize; 2],
    to: [usize; 2],
    kernel: [usize; 2],
    /// Border above and left of what is read.
    before: [usize; 2],
    pitch: usize,
    /// The position in the long row after the last one computed.
    len: usize,
}

impl Flat {
    /// For the forward pass: windows of the input.
    pub(super) fn of_input(geo: &Pool2d) -> Option<Flat> {
        let [top, left, bottom, right] = geo.padding;
        Flat::new(geo, geo.input_size(), geo.output(), [top, left], [bottom, right])
    }

    /// For the backward pass: at every input element, the outputs that used it; tap t of the window is then at place
    /// `kernel − 1 − t`.
    pub(super) fn of_output(geo: &Pool2d) -> Option<Flat> {
        let [top, left, bottom, right] = geo.padding;
        let [y, x] = geo.kernel.map(|k| k - 1);
        Flat::new(geo, geo.output(), geo.input_size(), [y - top, x - left], [y - bottom, x - right])
    }

    fn new(geo: &Pool2d, from: [usize; 2], to: [usize; 2], before: [usize; 2], after: [usize; 2]) -> Option<Flat> {
        let shared = before[1].min(after[1]);
        let pitch = from[1] + before[1] + after[1] - shared;
        let len = (to[0] - 1) * pitch + to[1];
        let room = (from[0] + before[0] + after[0]) * pitch + shared;
        let fits = room.max(len + (geo.kernel[0] - 1) * pitch + geo.kernel[1]) <= ROOM;
        (geo.stride == [1, 1] && fits).then_some(Flat { from, to, kernel: geo.kernel, before, pitch, len })
    }

    /// Copies a plane into its border.
    #[inline(always)]
    fn load(&self, plane: &[f32], buffer: &mut [f32; ROOM]) {
        for (j, row) in plane.chunks_exact(self.from[1]).enumerate() {
            let start = (self.before[0] + j) * self.pitch + self.before[1];
            for (to, &x) in buffer[start..start + row.len()].iter_mut().zip(row) {
                *to = x;
            }
        }
    }

    /// The rows of a computed plane, without the gaps.
    #[inline(always)]
    fn store(&self, buffer: &[f32; ROOM], plane: &mut [f32], add: bool) {
        for (j, row) in plane.chunks_exact_mut(self.to[1]).enumerate() {
            let from = &buffer[j * self.pitch..j * self.pitch + row.len()];
            for (to, &x) in row.iter_mut().zip(from) {
                *to = if add { *to + x } else { x };
            }
        }
    }

    /// The shift of each place of the window, in order.
    #[inline(always)]
    fn shifts(&self) -> impl Iterator<Item = usize> {
        let ([rows, columns], pitch) = (self.kernel, self.pitch);
        (0..rows).flat_map(move |y| (0..columns).map(move |x| y * pitch + x))
    }

    /// `y` and `tap` of [`max_pool2d_forward`](super::max_pool2d_forward).
    pub(super) fn max(&self, x: &[f32], y: &mut [f32], tap: &mut [f32]) {
        let mut padded = [f32::NEG_INFINITY; ROOM];
        let (mut best, mut number) = ([0.0; ROOM], [0.0; ROOM]);
        let ([h, w], [oh, ow]) = (self.from, self.to);
        dispatch(
            #[inline(always)]
            || {
                let outputs = y.chunks_exact_mut(oh * ow).zip(tap.chunks_exact_mut(oh * ow));
                for (x, (y, tap)) in x.chunks_exact(h * w).zip(outputs) {
                    self.load(x, &mut padded);
                    best[..self.len].fill(f32::NEG_INFINITY);
                    number[..self.len].fill(-1.0);
                    for (t, shift) in self.shifts().enumerate() {
                        let x = &padded[shift..shift + self.len];
                        for ((best, number), &x) in best[..self.len].iter_mut().zip(&mut number[..self.len]).zip(x) {
                            larger(best, number, x, t as f32);
                        }
                    }
                    self.store(&best, y, false);
                    self.store(&number, tap, false);
                }
            },
        );
    }

    /// Adds to `dx` each output's gradient at its tap.
    pub(super) fn max_backward(&self, tap: &[f32], dy: &[f32], dx: &mut [f32]) {
        let (mut padded, mut number, mut sum) = ([0.0; ROOM], [-1.0; ROOM], [0.0; ROOM]);
        let ([oh, ow], [h, w]) = (self.from, self.to);
        dispatch(
            #[inline(always)]
            || {
                let outputs = dy.chunks_exact(oh * ow).zip(tap.chunks_exact(oh * ow));
                for (dx, (dy, tap)) in dx.chunks_exact_mut(h * w).zip(outputs) {
                    self.load(dy, &mut padded);
                    self.load(tap, &mut number);
                    sum[..self.len].fill(0.0);
                    let last = self.kernel[0] * self.kernel[1] - 1;
                    for (t, shift) in self.shifts().enumerate() {
                        let (dy, number) = (&padded[shift..shift + self.len], &number[shift..shift + self.len]);
                        let wanted = (last - t) as f32;
                        for ((sum, &dy), &number) in sum[..self.len].iter_mut().zip(dy).zip(number) {
                            *sum += if number == wanted { dy } else { 0.0 };
                        }
                    }
                    self.store(&sum, dx, true);
                }
            },
        );
    }

    /// `y` = the sum of each window.
    pub(super) fn sum(&self, x: &[f32], y: &mut [f32], add: bool) {
        self.sum_scaled(x, None, y, add);
    }

    /// `dx` = the sum of the shares of the outputs that used each element.
    pub(super) fn sum_shares(&self, geo: &Pool2d, dy: &[f32], dx: &mut [f32], add: bool) {
        let mut shares = [0.0; ROOM];
        let [oh, ow] = self.from;
        for (i, share) in shares[..oh * ow].iter_mut().enumerate() {
            *share = 1.0 / (geo.covered(0, i / ow) * geo.covered(1, i % ow)) as f32;
        }
        self.sum_scaled(dy, Some(&shares[..oh * ow]), dx, add);
    }

    /// The sum over each window of `x`, element by element times `scale`.
    #[inline(always)]
    fn sum_scaled(&self, x: &[f32], scale: Option<&[f32]>, y: &mut [f32], add: bool) {
        let (mut padded, mut scaled, mut sum) = ([0.0; ROOM], [0.0; ROOM], [0.0; ROOM]);
        let ([h, w], [oh, ow]) = (self.from, self.to);
        dispatch(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(h * w).zip(y.chunks_exact_mut(oh * ow)) {
                    if let Some(scale) = scale {
                        for ((scaled, &x), &scale) in scaled.iter_mut().zip(x).zip(scale) {
                            *scaled = x * scale;
                        }
                        self.load(&scaled[..h * w], &mut padded);
                    } else {
                        self.load(x, &mut padded);
                    }
                    sum[..self.len].fill(0.0);
                    for shift in self.shifts() {
                        for (sum, &x) in sum[..self.len].iter_mut().zip(&padded[shift..shift + self.len]) {
                            *sum += x;
                        }
                    }
                    self.store(&sum, y, add);
                }
            },
        );
    }
}
