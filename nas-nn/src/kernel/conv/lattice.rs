//! Where things lie when an image is packed for the direct kernels.
//!
//! A packed image has a border of zeros, so that no window needs a test, and for a stride s its pixels are sorted into s
//! phases an axis, so that neighbouring outputs read neighbouring elements. Then a convolution is, for every output position
//! q of the flattened plane, Σ w[k] · packed[q + tap[k]] with one table of taps. Rows are `pitch` apart; the zeros that end
//! a row and those that begin the next are the same where both are needed.

use super::Conv2d;
use super::vector::{Job, NOWHERE, Vector, lanes, launch};

/// One axis of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// Padding before the first element.
    pub(super) before: usize,
}

/// The input elements of an axis with index ≡ `residue` − before (mod stride): they see the same taps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    pub(super) residue: usize,
    /// Element i of the class is input `stride · (first + i) + residue − before`.
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Axis {
    pub(super) fn of(geo: &Conv2d) -> [Axis; 2] {
        let output = geo.output();
        [0, 1].map(|axis| Axis {
            input: [geo.height, geo.width][axis],
            output: output[axis],
            kernel: geo.kernel[axis],
            stride: geo.stride[axis],
            dilation: geo.dilation[axis],
            before: geo.padding[axis],
        })
    }

    /// Output o reads, through tap t, element `o + shift(t)` of phase `residue(t)`.
    pub(super) fn shift(self, t: usize) -> usize {
        t * self.dilation / self.stride
    }

    pub(super) fn residue(self, t: usize) -> usize {
        t * self.dilation % self.stride
    }

    /// Elements of a phase that some window reads.
    fn extent(self) -> usize {
        self.output + self.shift(self.kernel - 1)
    }

    /// The residues that occur, smallest first.
    pub(super) fn residues(self) -> impl Iterator<Item = usize> {
        (0..self.stride).filter(move |&r| (0..self.kernel).any(|t| self.residue(t) == r))
    }

    /// The number of the phase of residue `r`.
    pub(super) fn phase(self, r: usize) -> usize {
        self.residues().take_while(|&other| other < r).count()
    }

    pub(super) fn class(self, residue: usize) -> Class {
        let first = self.before.saturating_sub(residue).div_ceil(self.stride);
        let end = (self.input + self.before).saturating_sub(residue).div_ceil(self.stride);
        Class { residue, first, count: end.saturating_sub(first) }
    }

    /// The taps that elements of a class see.
    pub(super) fn taps(self, class: Class) -> impl Iterator<Item = usize> {
        (0..self.kernel).filter(move |&t| self.residue(t) == class.residue)
    }
}

/// The layout of a packed image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lattice {
    pub(super) rows: usize,
    columns: usize,
    pub(super) pitch: usize,
    /// Elements of one plane.
    pub(super) plane: usize,
    /// Phases down and across; each is a plane.
    pub(super) phases: [usize; 2],
}

/// Elements behind the last plane that a vector at its end may touch.
const SLACK: usize = 32;

impl Lattice {
    /// For reading windows of the input.
    pub(super) fn of_input([y, x]: [Axis; 2]) -> Lattice {
        let columns = x.extent();
        let mut shared = columns - x.output;
        for r in x.residues() {
            let leading = x.before.saturating_sub(r).div_ceil(x.stride);
            let end = (x.input + x.before).saturating_sub(r).div_ceil(x.stride);
            shared = shared.min(leading).min(columns.saturating_sub(end));
        }
        let pitch = columns - shared;
        Lattice {
            rows: y.extent(),
            columns,
            pitch,
            plane: y.extent() * pitch,
            phases: [y.residues().count(), x.residues().count()],
        }
    }

    /// For reading, at every input element, the outputs that used it; with the source index of the packed element (0, 0).
    pub(super) fn of_output([y, x]: [Axis; 2]) -> (Lattice, [isize; 2]) {
        let bounds = |axis: Axis| {
            let (mut low, mut high, mut widest) = (isize::MAX, isize::MIN, 0);
            for class in axis.residues().map(|r| axis.class(r)).filter(|class| class.count > 0) {
                for t in axis.taps(class) {
                    let start = class.first as isize - axis.shift(t) as isize;
                    low = low.min(start);
                    high = high.max(start + class.count as isize - 1);
                }
                widest = widest.max(class.count);
            }
            if low > high { (0, 0, 0) } else { (low, (high - low + 1) as usize, widest) }
        };
        let ((top, rows, _), (left, columns, widest)) = (bounds(y), bounds(x));
        let leading = (-left).max(0) as usize;
        let trailing = (left + columns as isize - x.output as isize).max(0) as usize;
        let shared = leading.min(trailing).min(columns - widest);
        let pitch = columns - shared;
        (Lattice { rows, columns, pitch, plane: rows * pitch, phases: [1, 1] }, [top, left])
    }

    /// For output gradients at the positions of `input`, in whole vectors; without a gap where one vector is one position
    /// of several images.
    pub(super) fn of_gradient(input: &Lattice, [y, x]: [Axis; 2], unit: usize) -> Lattice {
        let pitch = if unit == 1 { input.pitch } else { x.output };
        let plane = (y.output * pitch).next_multiple_of(if unit == 1 { 16 } else { 1 });
        Lattice { rows: y.output, columns: x.output, pitch, plane, phases: [1, 1] }
    }

    /// Elements of the planes of one channel.
    pub(super) fn channel(&self) -> usize {
        self.plane * self.phases[0] * self.phases[1]
    }

    /// Elements of `unit` packed images, a multiple of 16.
    pub(super) fn image(&self, channels: usize, unit: usize) -> usize {
        (unit * (channels * self.channel() + 2 * self.pitch) + SLACK).next_multiple_of(16)
    }
}

/// `LANES` or fewer output positions that one vector computes.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Span {
    /// The first one, as an offset in the packed plane.
    pub(super) start: u32,
    /// Which of them are outputs and not the gap between rows.
    pub(super) mask: u32,
    /// How many outputs came before.
    pub(super) output: u32,
}

/// The most spans that [`write_spans`] makes, for any instruction set.
pub(super) fn max_spans(rows: usize, columns: usize) -> usize {
    rows * columns.div_ceil(4)
}

/// Covers `rows` of `columns` outputs that are `pitch` apart with spans of at most `lanes`; returns the used part of `spans`.
pub(super) fn write_spans(spans: &mut [Span], rows: usize, columns: usize, pitch: usize, lanes: usize) -> &[Span] {
    let (mut count, mut position, mut output) = (0, 0, 0);
    while output < rows * columns {
        if position % pitch >= columns {
            position += pitch - position % pitch;
        }
        let mut mask = 0u32;
        for lane in 0..lanes {
            let at = position + lane;
            mask |= u32::from(at % pitch < columns && at / pitch < rows) << lane;
        }
        spans[count] = Span { start: position as u32, mask, output: output as u32 };
        count += 1;
        output += mask.count_ones() as usize;
        position += lanes;
    }
    &spans[..count]
}

/// Packs the channels of one image of `size`: only the elements that come from the source are written, the zeros must be
/// there already. With `axes` the pixels go to their phases; without, packed (0, 0) is source `origin`.
pub(super) fn pack(
    source: &[f32],
    size: [usize; 2],
    packed: &mut [f32],
    lattice: &Lattice,
    axes: Option<[Axis; 2]>,
    origin: [isize; 2],
) {
    let channels = source.len() / (size[0] * size[1]);
    assert!(channels * lattice.channel() <= packed.len(), "a packed image that does not fit");
    // SAFETY: `Pack` writes within the channels of `lattice`, which fit.
    unsafe { launch(&Pack { source, size, channels, packed: packed.as_mut_ptr(), lattice, axes, origin }) }
}

struct Pack<'a> {
    source: &'a [f32],
    size: [usize; 2],
    channels: usize,
    packed: *mut f32,
    lattice: &'a Lattice,
    axes: Option<[Axis; 2]>,
    origin: [isize; 2],
}

/// How one source plane becomes one packed plane: packed (j, i) is source (j · stride + offset) on each axis.
struct Mapping {
    stride: [usize; 2],
    offset: [isize; 2],
}

impl Job for Pack<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(&self) {
        let Some([y, x]) = self.axes else {
            // SAFETY: passed on.
            return unsafe { self.planes::<V>(0, [1, 1], self.origin) };
        };
        let mut plane = 0;
        for ry in y.residues() {
            for rx in x.residues() {
                let offset = [ry as isize - y.before as isize, rx as isize - x.before as isize];
                // SAFETY: a channel has as many planes as there are pairs of residues.
                unsafe { self.planes::<V>(plane, [y.stride, x.stride], offset) }
                plane += 1;
            }
        }
    }
}

impl Pack<'_> {
    /// Packs plane number `plane` of every channel: packed (j, i) is source (j · stride + offset) on each axis.
    #[inline(always)]
    unsafe fn planes<V: Vector>(&self, plane: usize, stride: [usize; 2], offset: [isize; 2]) {
        let [rows, columns] = [0, 1].map(|axis| {
            let len = [self.lattice.rows, self.lattice.columns][axis];
            source_range(self.size[axis], stride[axis], offset[axis], len)
        });
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        let place = |axis: usize, i: usize| (i * stride[axis]).wrapping_add_signed(offset[axis]);
        let start = place(0, rows.start) * self.size[1] + place(1, columns.start);
        let target = plane * self.lattice.plane + rows.start * self.lattice.pitch + columns.start;
        for c in 0..self.channels {
            // SAFETY: the ranges keep both sides inside: columns below `pitch` on the packed side (what lies beyond is
            // zeros shared with the next row), rows and columns of the source on the other.
            unsafe {
                let mut from = self.source.as_ptr().add(c * self.size[0] * self.size[1] + start);
                let mut to = self.packed.add(c * self.lattice.channel() + target);
                for _ in rows.clone() {
                    V::gather(from, stride[1], to, columns.len());
                    from = from.wrapping_add(stride[0] * self.size[1]);
                    to = to.wrapping_add(self.lattice.pitch);
                }
            }
        }
    }
}

/// The packed elements below `len` of an axis that have a source: packed i is source `i · stride + offset`.
fn source_range(source: usize, stride: usize, offset: isize, len: usize) -> std::ops::Range<usize> {
    let first = if offset < 0 { offset.unsigned_abs().div_ceil(stride) } else { 0 };
    let end = (source as isize - offset).max(0) as usize;
    first..end.div_ceil(stride).min(len).max(first)
}

/// Covers the outputs of [`write_spans`] one by one, each a vector of `unit` images; `output` gives each one's place.
pub(super) fn write_unit_spans(
    spans: &mut [Span],
    [rows, columns]: [usize; 2],
    pitch: usize,
    unit: usize,
    output: impl Fn(usize, usize) -> usize,
) -> &[Span] {
    for j in 0..rows {
        for i in 0..columns {
            spans[j * columns + i] = Span {
                start: ((j * pitch + i) * unit) as u32,
                mask: u32::MAX >> (32 - unit),
                output: (output(j, i) * unit) as u32,
            };
        }
    }
    &spans[..rows * columns]
}

/// Where the elements of a source plane go in a packed channel of `unit` images, as [`pack`] would place them.
pub(super) fn write_places(
    places: &mut [u32],
    size: [usize; 2],
    lattice: &Lattice,
    axes: Option<[Axis; 2]>,
    origin: [isize; 2],
    unit: usize,
) {
    places.fill(NOWHERE);
    let mut plane = |number: usize, stride: [usize; 2], offset: [isize; 2]| {
        for j in source_range(size[0], stride[0], offset[0], lattice.rows) {
            for i in source_range(size[1], stride[1], offset[1], lattice.columns) {
                let y = (j * stride[0]).wrapping_add_signed(offset[0]);
                let x = (i * stride[1]).wrapping_add_signed(offset[1]);
                places[y * size[1] + x] = (unit * (number * lattice.plane + j * lattice.pitch + i)) as u32;
            }
        }
    };
    let Some([y, x]) = axes else { return plane(0, [1, 1], origin) };
    for (ny, ry) in y.residues().enumerate() {
        for (nx, rx) in x.residues().enumerate() {
            let offset = [ry as isize - y.before as isize, rx as isize - x.before as isize];
            plane(ny * lattice.phases[1] + nx, [y.stride, x.stride], offset);
        }
    }
}

/// Packs the channels of several images, at most a vector's lanes, into vectors with one image a lane. `places` say where
/// each element of a plane goes in its channel of `channel` elements.
pub(super) fn interleave(images: &[f32], image: usize, places: &[u32], packed: &mut [f32], channel: usize) {
    let (count, channels) = (images.len() / image, image / places.len());
    let last = places.iter().filter(|&&place| place != NOWHERE).max().map_or(0, |&place| place as usize);
    assert!(count <= lanes() && last + lanes() <= channel && channels * channel <= packed.len(), "a place beyond its image");
    // SAFETY: every element of `images` and every place is inside, as just checked.
    unsafe { launch(&Interleave { images, image, count, channels, places, packed: packed.as_mut_ptr(), channel }) }
}

struct Interleave<'a> {
    images: &'a [f32],
    image: usize,
    count: usize,
    channels: usize,
    places: &'a [u32],
    packed: *mut f32,
    channel: usize,
}

impl Job for Interleave<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(&self) {
        let plane = self.places.len();
        for c in 0..self.channels {
            for (i, places) in self.places.chunks(V::LANES).enumerate() {
                // SAFETY: passed on to the caller.
                unsafe {
                    let from = self.images.as_ptr().add(c * plane + i * V::LANES);
                    let to = self.packed.add(c * self.channel);
                    V::interleave(from, self.image, self.count, places.len(), to, places.as_ptr());
                }
            }
        }
    }
}

/// Takes planes of vectors with one image a lane apart: `images` starts at the planes' place in the first image.
pub(super) fn deinterleave(
    planes: &[f32],
    images: &mut [f32],
    image: usize,
    count: usize,
    add: bool,
) {
    let elements = planes.len() / lanes();
    assert!(count <= lanes() && planes.len().is_multiple_of(lanes()), "not whole vectors");
    assert!(count > 0 && (count - 1) * image + elements <= images.len(), "planes beyond their image");
    // SAFETY: every vector of `planes` and every element of the images is inside, as just checked.
    unsafe { launch(&Deinterleave { planes, images: images.as_mut_ptr(), image, count, add }) }
}

struct Deinterleave<'a> {
    planes: &'a [f32],
    images: *mut f32,
    image: usize,
    count: usize,
    add: bool,
}

impl Job for Deinterleave<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(&self) {
        // Planes follow each other in the vectors and in the images, so they are one run of elements.
        for (i, vectors) in self.planes.chunks(V::LANES * V::LANES).enumerate() {
            // SAFETY: passed on to the caller.
            unsafe {
                let to = self.images.add(i * V::LANES);
                V::deinterleave(vectors.as_ptr(), vectors.len() / V::LANES, to, self.image, self.count, self.add);
            }
        }
    }
}
