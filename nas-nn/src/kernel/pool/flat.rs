//! Pooling with stride 1 of planes that fit in a buffer on the stack: the plane is copied with its border, and each tap of
//! the window is one shift of the whole plane as one long row. The border's columns at the end of a row and at the beginning of
//! the next are the same where both are needed; sums that straddle rows are computed and dropped.

use super::super::vector::{Job, Vector, launch};
use super::Pool2d;

/// Elements of the buffers: a plane of 40×40 with its border.
const ROOM: usize = 2048;
/// Elements of the largest window.
const TAPS: usize = 49;

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
    /// Where each place of the window lies, seen from the position.
    shifts: [u32; TAPS],
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
        let reach = len.next_multiple_of(16) + (geo.kernel[0] - 1) * pitch + geo.kernel[1];
        let [rows, columns] = geo.kernel;
        if geo.stride != [1, 1] || room.max(reach) > ROOM || rows * columns > TAPS {
            return None;
        }
        let mut shifts = [0; TAPS];
        for (t, shift) in shifts[..rows * columns].iter_mut().enumerate() {
            *shift = (t / columns * pitch + t % columns) as u32;
        }
        Some(Flat { from, to, kernel: geo.kernel, before, pitch, len, shifts })
    }

    /// One over the number of elements in the window of each output, or of each output that is read in the backward pass.
    fn shares(geo: &Pool2d) -> [f32; ROOM] {
        let mut shares = [0.0; ROOM];
        let [oh, ow] = geo.output();
        for oy in 0..oh {
            for ox in 0..ow {
                shares[oy * ow + ox] = 1.0 / (geo.covered(0, oy) * geo.covered(1, ox)) as f32;
            }
        }
        shares
    }

    /// `y` and `tap` of [`max_pool2d_forward`](super::max_pool2d_forward).
    pub(super) fn max(&self, x: &[f32], y: &mut [f32], tap: &mut [f32]) {
        // SAFETY: `Flat` says where planes lie, and the slices are whole planes of one number.
        unsafe { launch(Max { flat: self, planes: self.planes(x, y), x, y, tap }) }
    }

    /// Adds to `dx` each output's gradient at its tap.
    pub(super) fn max_backward(&self, tap: &[f32], dy: &[f32], dx: &mut [f32]) {
        // SAFETY: as above.
        unsafe { launch(MaxBackward { flat: self, planes: self.planes(dy, dx), tap, dy, dx }) }
    }

    /// `y` = the average of each window.
    pub(super) fn average(&self, geo: &Pool2d, x: &[f32], y: &mut [f32]) {
        let shares = Flat::shares(geo);
        // SAFETY: as above.
        unsafe {
            launch(Sum { flat: self, planes: self.planes(x, y), before: None, after: Some(&shares), x, y, add: false })
        }
    }

    /// `dx` = the sum of the shares of the outputs that used each element.
    pub(super) fn average_backward(&self, geo: &Pool2d, dy: &[f32], dx: &mut [f32], add: bool) {
        let shares = Flat::shares(geo);
        // SAFETY: as above.
        unsafe {
            launch(Sum {
                flat: self,
                planes: self.planes(dy, dx),
                before: Some(&shares),
                after: None,
                x: dy,
                y: dx,
                add,
            })
        }
    }

    fn planes(&self, from: &[f32], to: &[f32]) -> usize {
        let (read, written) = (self.from[0] * self.from[1], self.to[0] * self.to[1]);
        assert!(from.len() / read == to.len() / written && from.len().is_multiple_of(read), "not whole planes");
        to.len() / written
    }

    /// Copies plane `i` into its border, element by element times `scale`.
    ///
    /// # Safety
    ///
    /// The instruction set of `V`, and a plane number below the planes of `x`.
    #[inline(always)]
    unsafe fn load<V: Vector>(&self, x: &[f32], i: usize, scale: Option<&[f32; ROOM]>, buffer: &mut [f32; ROOM]) {
        let [rows, columns] = self.from;
        // SAFETY: the caller vouches for the plane; `new` checked that its rows fit in the buffer.
        unsafe {
            for j in 0..rows {
                let from = x.as_ptr().add((i * rows + j) * columns);
                let to = buffer.as_mut_ptr().add((self.before[0] + j) * self.pitch + self.before[1]);
                for at in (0..columns).step_by(V::LANES) {
                    let n = (columns - at).min(V::LANES);
                    let v = V::load_first(from.add(at), n);
                    let v = if let Some(scale) = scale {
                        v.mul(V::load_first(scale.as_ptr().add(j * columns + at), n))
                    } else {
                        v
                    };
                    v.store_first(to.add(at), n);
                }
            }
        }
    }

    /// Copies the rows of a computed plane, without the gaps, to plane `i`, element by element times `scale`.
    ///
    /// # Safety
    ///
    /// The instruction set of `V`, and a plane number below the planes of the target.
    #[inline(always)]
    unsafe fn store<V: Vector>(
        &self,
        buffer: &[f32; ROOM],
        y: &mut [f32],
        i: usize,
        scale: Option<&[f32; ROOM]>,
        add: bool,
    ) {
        let [rows, columns] = self.to;
        // SAFETY: as above.
        unsafe {
            for j in 0..rows {
                let from = buffer.as_ptr().add(j * self.pitch);
                let to = y.as_mut_ptr().add((i * rows + j) * columns);
                for at in (0..columns).step_by(V::LANES) {
                    let n = (columns - at).min(V::LANES);
                    let v = V::load_first(from.add(at), n);
                    let v = if let Some(scale) = scale {
                        v.mul(V::load_first(scale.as_ptr().add(j * columns + at), n))
                    } else {
                        v
                    };
                    let v = if add { v.add(V::load_first(to.add(at), n)) } else { v };
                    v.store_first(to.add(at), n);
                }
            }
        }
    }

    fn shifts(&self) -> &[u32] {
        &self.shifts[..self.kernel[0] * self.kernel[1]]
    }
}

struct Max<'a> {
    flat: &'a Flat,
    planes: usize,
    x: &'a [f32],
    y: &'a mut [f32],
    tap: &'a mut [f32],
}

impl Job for Max<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut padded = [f32::NEG_INFINITY; ROOM];
        let (mut largest, mut number) = ([0.0; ROOM], [0.0; ROOM]);
        for i in 0..self.planes {
            // SAFETY: passed on to the caller; `new` left room for a vector after the last position.
            unsafe {
                self.flat.load::<V>(self.x, i, None, &mut padded);
                for q in (0..self.flat.len).step_by(V::LANES) {
                    let (mut best, mut tap) = (V::splat(f32::NEG_INFINITY), V::splat(-1.0));
                    let mut t = V::splat(0.0);
                    for &shift in self.flat.shifts() {
                        let x = V::load(padded.as_ptr().add(q + shift as usize));
                        (best, tap) = x.larger(t, best, tap);
                        t = t.add(V::splat(1.0));
                    }
                    best.store(largest.as_mut_ptr().add(q));
                    tap.store(number.as_mut_ptr().add(q));
                }
                self.flat.store::<V>(&largest, self.y, i, None, false);
                self.flat.store::<V>(&number, self.tap, i, None, false);
            }
        }
    }
}

struct MaxBackward<'a> {
    flat: &'a Flat,
    planes: usize,
    tap: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Job for MaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (mut padded, mut number, mut sums) = ([0.0; ROOM], [-1.0; ROOM], [0.0; ROOM]);
        let last = (self.flat.shifts().len() - 1) as f32;
        for i in 0..self.planes {
            // SAFETY: passed on to the caller; `new` left room for a vector after the last position.
            unsafe {
                self.flat.load::<V>(self.dy, i, None, &mut padded);
                self.flat.load::<V>(self.tap, i, None, &mut number);
                for q in (0..self.flat.len).step_by(V::LANES) {
                    let (mut sum, mut t) = (V::splat(0.0), V::splat(last));
                    for &shift in self.flat.shifts() {
                        let dy = V::load(padded.as_ptr().add(q + shift as usize));
                        let number = V::load(number.as_ptr().add(q + shift as usize));
                        sum = sum.add(dy.where_equal(number, t));
                        t = t.sub(V::splat(1.0));
                    }
                    sum.store(sums.as_mut_ptr().add(q));
                }
                self.flat.store::<V>(&sums, self.dx, i, None, true);
            }
        }
    }
}

struct Sum<'a> {
    flat: &'a Flat,
    planes: usize,
    /// Factors of what is read and of what is computed.
    before: Option<&'a [f32; ROOM]>,
    after: Option<&'a [f32; ROOM]>,
    x: &'a [f32],
    y: &'a mut [f32],
    add: bool,
}

impl Job for Sum<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (mut padded, mut sums) = ([0.0; ROOM], [0.0; ROOM]);
        for i in 0..self.planes {
            // SAFETY: passed on to the caller; `new` left room for a vector after the last position.
            unsafe {
                self.flat.load::<V>(self.x, i, self.before, &mut padded);
                for q in (0..self.flat.len).step_by(V::LANES) {
                    let mut sum = V::splat(0.0);
                    for &shift in self.flat.shifts() {
                        sum = sum.add(V::load(padded.as_ptr().add(q + shift as usize)));
                    }
                    sum.store(sums.as_mut_ptr().add(q));
                }
                self.flat.store::<V>(&sums, self.y, i, self.after, self.add);
            }
        }
    }
}
