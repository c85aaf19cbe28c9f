//! A plane copied to a pitch that the kernels know when they are compiled, with rows of zeros where there is padding.
//!
//! For stride 2 the elements of even and odd rows and columns lie in planes of their own, called phases, so that outputs
//! beside each other read elements beside each other. There are no columns of zeros: masks hide what a column of taps
//! reads beyond a row. One layout and its masks serve all planes of a pass.

use super::super::super::vector::Vector;
use super::super::scratch::Scratch;

/// Where one phase of an axis lies.
#[derive(Clone, Copy, Default)]
struct Phase {
    /// Its first element in the source; the others are a step apart.
    first: usize,
    count: usize,
    /// How many elements of the phase are padding before that.
    padded: usize,
}

impl Phase {
    /// Phase `residue` of `n` elements that `before` elements of padding precede.
    fn of(n: usize, before: usize, step: usize, residue: usize) -> Phase {
        let first = (residue + step - before % step) % step;
        Phase { first, count: n.saturating_sub(first).div_ceil(step), padded: (first + before) / step }
    }
}

/// The layout of a copied plane.
#[derive(Clone, Copy)]
pub(super) struct Sheet {
    /// Elements of a row of the source, and of the copy.
    width: usize,
    pub(super) pitch: usize,
    /// The stride: 1 or 2.
    step: usize,
    down: [Phase; 2],
    across: [Phase; 2],
    /// Rows of zeros above all phases, beside the padding.
    above: usize,
    /// Elements of one phase, and of all.
    pub(super) phase: usize,
    pub(super) len: usize,
}

impl Sheet {
    /// For planes of `size` with so much padding before, read at steps of `step`: phases have `above` more rows above, and
    /// `rows` in all.
    pub(super) fn new(
        size: [usize; 2],
        before: [usize; 2],
        step: usize,
        pitch: usize,
        above: usize,
        rows: usize,
    ) -> Sheet {
        let phases = |axis: usize| [0, 1].map(|r| Phase::of(size[axis], before[axis], step, r % step));
        let (down, across, phase) = (phases(0), phases(1), rows * pitch);
        Sheet { width: size[1], pitch, step, down, across, above, phase, len: step * step * phase }
    }

    /// Copies a plane; what is zero in the copy stays.
    ///
    /// # Safety
    /// The instruction set of `V`, the plane, and room for the copy.
    #[inline(always)]
    pub(super) unsafe fn fill<V: Vector>(&self, from: *const f32, to: *mut f32) {
        // SAFETY: passed on to the caller; the rows and columns of the phases exist on both sides.
        unsafe {
            if self.step == 1 && self.width == self.pitch {
                let n = self.down[0].count * self.width;
                let (to, mut at) = (to.add((self.above + self.down[0].padded) * self.pitch), 0);
                while at + V::LANES <= n {
                    V::load(from.wrapping_add(at)).store(to.wrapping_add(at));
                    at += V::LANES;
                }
                if at < n {
                    V::load_first(from.wrapping_add(at), n - at).store_first(to.wrapping_add(at), n - at);
                }
                return;
            }
            for (y, down) in self.down[..self.step].iter().enumerate() {
                for (x, across) in self.across[..self.step].iter().enumerate() {
                    let from = from.wrapping_add(down.first * self.width + across.first);
                    let row = self.above + down.padded;
                    let to = to.wrapping_add((y * self.step + x) * self.phase + row * self.pitch);
                    let mut at = 0;
                    while at < across.count {
                        let here = (across.count - at).min(V::LANES);
                        let (mut from, mut to) = (from.wrapping_add(at * self.step), to.wrapping_add(at));
                        if self.step == 1 {
                            for _ in 0..down.count {
                                V::load_first(from, here).store_first(to, here);
                                (from, to) = (from.wrapping_add(self.width), to.wrapping_add(self.pitch));
                            }
                        } else {
                            for _ in 0..down.count {
                                V::load_strided(from, 2, here).store_first(to, here);
                                (from, to) = (from.wrapping_add(2 * self.width), to.wrapping_add(self.pitch));
                            }
                        }
                        at += V::LANES;
                    }
                }
            }
        }
    }
}

/// Which elements of a sheet the outputs meet.
#[derive(Clone, Copy)]
pub(super) struct Taps<'a> {
    /// Taps down and across.
    pub(super) size: [usize; 2],
    /// From an output's place to that of its first tap, in each phase of columns.
    pub(super) start: [isize; 2],
    /// [piece][column of taps]: the lanes that read an element of the row.
    pub(super) masks: &'a [u32],
    /// Rows and columns of outputs.
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Masks that outputs of `columns` need on any instruction set, for so many columns of taps.
pub(super) fn mask_count(columns: usize, taps: usize) -> usize {
    columns.div_ceil(4) * taps
}

impl<'a> Taps<'a> {
    /// Output (y, x) of `outputs` meets, in tap (u, t), the element step · (y, x) + (u, t) of the padded source. `shift` is
    /// what is to be added to its row and column, where a sheet serves taps of several kinds.
    pub(super) fn new(
        sheet: &Sheet,
        size: [usize; 2],
        outputs: [usize; 2],
        shift: [isize; 2],
        lanes: usize,
        scratch: &mut Scratch<'a>,
    ) -> Taps<'a> {
        let [rows, columns] = outputs;
        let column = |t: usize| (t / sheet.step) as isize - sheet.across[t % sheet.step].padded as isize + shift[1];
        let masks = scratch.indices(columns.div_ceil(lanes) * size[1]);
        for (i, mask) in masks.iter_mut().enumerate() {
            let (piece, t) = (i / size[1], i % size[1]);
            let inside = |lane: usize| {
                let x = (piece * lanes + lane) % sheet.pitch;
                let source = x as isize + column(t);
                x < columns && usize::try_from(source).is_ok_and(|x| x < sheet.across[t % sheet.step].count)
            };
            *mask = (0..lanes).filter(|&lane| inside(lane)).fold(0, |mask, lane| mask | 1 << lane);
        }
        let row = (sheet.above as isize + shift[0]) * sheet.pitch as isize;
        let start = [0, 1].map(|phase| row - sheet.across[phase].padded as isize + shift[1]);
        Taps { size, start, masks, rows, columns }
    }
}
