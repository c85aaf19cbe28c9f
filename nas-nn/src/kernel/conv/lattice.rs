//! Where things lie when an image is packed for the direct kernels.
//!
//! A packed image has a border of zeros, so that no window needs a test, and for a stride s its pixels are sorted into s
//! phases an axis, so that neighbouring outputs read neighbouring elements. Then a convolution is, for every output position
//! q of the flattened plane, Σ w[k] · packed[q + tap[k]] with one table of taps. Rows are `pitch` apart; the zeros that end
//! a row and those that begin the next are the same where both are needed.

use super::Conv2d;

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
    pub(super) columns: usize,
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

/// How many spans [`write_spans`] makes.
pub(super) fn count_spans(rows: usize, columns: usize, pitch: usize, lanes: usize) -> usize {
    let (mut count, mut position) = (0, 0);
    while position < rows * pitch {
        if position % pitch < columns {
            (count, position) = (count + 1, position + lanes);
        } else {
            position = position.next_multiple_of(pitch);
        }
    }
    count
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
