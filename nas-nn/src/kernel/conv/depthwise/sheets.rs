//! A plane copied once for each kernel column, so that all a column reads lies in the order of the outputs.
//!
//! Row r of the *sheet* of kernel column t holds, side by side, the elements that the outputs of a row meet in column t, and
//! zeros where those are padding; rows that a stride skips between outputs are sorted apart into phases. Then a tap is one
//! offset for all outputs of a plane, rows follow each other without a gap, and no vector loses a lane to a border.

use super::super::super::vector::Vector;
use super::super::lattice::Axis;
use super::super::pack::source_range;
use super::MAX_KERNEL;

/// Floats of the first-level cache that the sheets of one strip of a plane may fill.
const CACHE: usize = 6 * 1024;
/// Vectors of outputs that hide the latency of their sums.
const ENOUGH: usize = 8;

/// What one kernel column reads of a plane.
#[derive(Clone, Copy, Default)]
pub(super) struct Sheet {
    /// Where it begins in the sheets of a plane.
    pub(super) start: usize,
    /// Elements of a row.
    pub(super) width: usize,
    /// The first element of a row with a source, and how many have one.
    skip: usize,
    count: usize,
    /// The source's column of the first.
    from: usize,
}

/// How planes become sheets.
pub(super) struct Sheets {
    /// One for each kernel column.
    columns: [Sheet; MAX_KERNEL],
    kernel: usize,
    /// The source's row that comes first in each phase.
    origins: [isize; MAX_KERNEL],
    phases: usize,
    /// Height and width of the source, and its steps between neighbours in a sheet.
    size: [usize; 2],
    stride: [usize; 2],
    /// Rows of a phase.
    pub(super) rows: usize,
    /// Rows of outputs that the sheets serve at once, at most, and of the whole plane.
    pub(super) strip: usize,
    outputs: usize,
    /// Planes of several images that are worked on together: 1, 2, 4 or 8.
    pub(super) group: usize,
    /// Elements of the sheets of one plane, a multiple of 16.
    pub(super) len: usize,
}

impl Sheets {
    /// Of the input: for the outputs, and for the weight gradient.
    pub(super) fn of_input([y, x]: [Axis; 2], batch: usize, lanes: usize) -> Sheets {
        let columns = (0..x.kernel).map(|t| ((t * x.dilation) as isize - x.before as isize, x.output));
        let origins = y.residues().map(|r| r as isize - y.before as isize);
        let reach = y.shift(y.kernel - 1);
        Sheets::new([y.input, x.input], [y.stride, x.stride], columns, origins, [y.output, reach], [batch, lanes])
    }

    /// Of the output gradient: for the input gradient. Outputs are the input elements of a class (see [`Axis::class`]).
    pub(super) fn of_gradient([y, x]: [Axis; 2], batch: usize, lanes: usize) -> Sheets {
        let columns = (0..x.kernel).map(|t| {
            let class = x.class(x.residue(t));
            (class.first as isize - x.shift(t) as isize, class.count)
        });
        let (low, high) = first_rows(y);
        let rows = y.residues().map(|r| y.class(r).count).max().unwrap_or(0);
        let reach = (high - low) as usize;
        Sheets::new([y.output, x.output], [1, 1], columns, [low].into_iter(), [rows, reach], [batch, lanes])
    }

    /// `columns`: the source's column of element 0, and the elements of a row, of each kernel column. `outputs` rows read
    /// `reach` rows more than they are.
    fn new(
        size: [usize; 2],
        stride: [usize; 2],
        columns: impl Iterator<Item = (isize, usize)>,
        origins: impl Iterator<Item = isize>,
        [outputs, reach]: [usize; 2],
        [batch, lanes]: [usize; 2],
    ) -> Sheets {
        let mut sheets = Sheets {
            columns: [Sheet::default(); MAX_KERNEL],
            kernel: 0,
            origins: [0; MAX_KERNEL],
            phases: 0,
            size,
            stride,
            rows: 0,
            strip: 1,
            outputs,
            group: 1,
            len: 0,
        };
        for origin in origins {
            sheets.origins[sheets.phases] = origin;
            sheets.phases += 1;
        }
        let mut width = 0;
        for (first, columns) in columns {
            let range = source_range(size[1], stride[1], first, columns);
            let from = (range.start * stride[1]).wrapping_add_signed(first);
            let count = range.len();
            sheets.columns[sheets.kernel] = Sheet { start: 0, width: columns, skip: range.start, count, from };
            sheets.kernel += 1;
            width += columns;
        }
        // As many strips as the cache asks for, equally high.
        let rows = (CACHE / (width * sheets.phases).max(1)).saturating_sub(reach).max(1);
        sheets.strip = outputs.div_ceil(outputs.div_ceil(rows).max(1)).max(1);
        sheets.rows = sheets.strip + reach;
        for column in &mut sheets.columns[..sheets.kernel] {
            column.start = sheets.len;
            sheets.len += (sheets.phases * sheets.rows * column.width).next_multiple_of(16);
        }
        if sheets.strip >= outputs {
            let widest = sheets.columns.iter().map(|column| column.width).max().unwrap_or(0);
            let vectors = (sheets.strip * widest).div_ceil(lanes).max(1);
            while sheets.group * vectors < ENOUGH && 2 * sheets.group <= batch && 2 * sheets.group * sheets.len <= CACHE
            {
                sheets.group *= 2;
            }
        }
        sheets
    }

    /// What the kernel columns read, in their order.
    pub(super) fn columns(&self) -> &[Sheet] {
        &self.columns[..self.kernel]
    }

    /// The strips of output rows: first, and how many.
    pub(super) fn strips(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.outputs).step_by(self.strip).map(|first| (first, self.strip.min(self.outputs - first)))
    }

    /// Makes the sheets of the strip that begins with output row `first`.
    ///
    /// # Safety
    /// The instruction set of `V`; a plane of the source, and room for the sheets, which are zeros at the borders.
    #[inline(always)]
    pub(super) unsafe fn fill<V: Vector>(&self, first: usize, source: *const f32, sheets: *mut f32) {
        let [step, across] = self.stride;
        let [height, pitch] = self.size;
        for (phase, &origin) in self.origins[..self.phases].iter().enumerate() {
            let origin = origin + (first * step) as isize;
            let rows = source_range(height, step, origin, self.rows);
            for column in self.columns() {
                // SAFETY: `source_range` keeps rows and columns inside the source; the sheets have room for all phases.
                unsafe {
                    let to = sheets.add(column.start + phase * self.rows * column.width);
                    if self.strip < self.outputs {
                        // Where one strip has zeros, the last one had elements.
                        let [above, end] = [rows.start, rows.end].map(|row| row.min(self.rows) * column.width);
                        to.write_bytes(0, above);
                        to.add(end).write_bytes(0, self.rows * column.width - end);
                    }
                    if !rows.is_empty() && column.count > 0 {
                        let from = (rows.start * step).wrapping_add_signed(origin) * pitch + column.from;
                        let to = to.add(rows.start * column.width + column.skip);
                        let n = [rows.len(), column.count];
                        copy::<V>(source.add(from), [step * pitch, across], to, column.width, n);
                    }
                }
            }
        }
    }
}

/// The first rows of the output gradient, as (lowest, highest) row of the first elements of all classes and taps.
pub(super) fn first_rows(y: Axis) -> (isize, isize) {
    let (mut low, mut high) = (isize::MAX, isize::MIN);
    for class in y.residues().map(|r| y.class(r)).filter(|class| class.count > 0) {
        for t in y.taps(class) {
            let first = class.first as isize - y.shift(t) as isize;
            (low, high) = (low.min(first), high.max(first));
        }
    }
    if low > high { (0, 0) } else { (low, high) }
}

/// Copies `rows` of `n` elements that lie `stride` apart in the source to rows `pitch` apart.
///
/// # Safety
/// The instruction set of `V`, and both ranges.
#[inline(always)]
unsafe fn copy<V: Vector>(
    mut from: *const f32,
    stride: [usize; 2],
    mut to: *mut f32,
    pitch: usize,
    [rows, n]: [usize; 2],
) {
    // SAFETY: passed on to the caller; the last vector of a row overlaps the one before it.
    unsafe {
        if n > V::LANES && stride[1] == 1 {
            for _ in 0..rows {
                let mut at = 0;
                while at < n {
                    let here = at.min(n - V::LANES);
                    V::load(from.add(here)).store(to.add(here));
                    at = here + V::LANES;
                }
                (from, to) = (from.wrapping_add(stride[0]), to.wrapping_add(pitch));
            }
        } else if n > V::LANES {
            for _ in 0..rows {
                V::gather(from, stride[1], to, n);
                (from, to) = (from.wrapping_add(stride[0]), to.wrapping_add(pitch));
            }
        } else if stride[1] == 1 {
            for _ in 0..rows {
                V::load_first(from, n).store_first(to, n);
                (from, to) = (from.wrapping_add(stride[0]), to.wrapping_add(pitch));
            }
        } else {
            for _ in 0..rows {
                V::load_strided(from, stride[1], n).store_first(to, n);
                (from, to) = (from.wrapping_add(stride[0]), to.wrapping_add(pitch));
            }
        }
    }
}
