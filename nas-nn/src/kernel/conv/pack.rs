//! Moving images between their plain planes and the packed ones.

use super::super::vector::{Job, NOWHERE, Vector, lanes, launch};
use super::lattice::{Axis, Lattice};

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
    unsafe { launch(Pack { source, size, channels, packed: packed.as_mut_ptr(), lattice, axes, origin }) }
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

impl Job for Pack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
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
    ///
    /// # Safety
    ///
    /// The instruction set of `V`; source and packed images as large as the lattice says.
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
    assert!(
        count <= lanes() && last + lanes() <= channel && channels * channel <= packed.len(),
        "a place beyond its image"
    );
    // SAFETY: every element of `images` and every place is inside, as just checked.
    unsafe { launch(Interleave { images, image, count, channels, places, packed: packed.as_mut_ptr(), channel }) }
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
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
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
pub(super) fn deinterleave(planes: &[f32], images: &mut [f32], image: usize, count: usize, add: bool) {
    let elements = planes.len() / lanes();
    assert!(count <= lanes() && planes.len().is_multiple_of(lanes()), "not whole vectors");
    assert!(count > 0 && (count - 1) * image + elements <= images.len(), "planes beyond their image");
    // SAFETY: every vector of `planes` and every element of the images is inside, as just checked.
    unsafe { launch(Deinterleave { planes, images: images.as_mut_ptr(), image, count, add }) }
}

struct Deinterleave<'a> {
    planes: &'a [f32],
    images: *mut f32,
    image: usize,
    count: usize,
    add: bool,
}

impl Job for Deinterleave<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
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
