//! How vectors of outputs read a plane as it lies: addresses are sums, and masks hide what is padding.
//!
//! A vector holds outputs of one row, or of several whole rows where a row is short. A *group* is the rows it covers, a
//! *piece* the columns. The lanes that a tap reads are those its column allows and those its row allows, so two small tables
//! of masks serve all planes.

use super::super::Conv2d;
use super::super::scratch::Scratch;

/// What a vector of outputs reads through a tap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Neighbours: stride 1.
    All,
    /// Every second element: stride 2. Each half of a vector has an address of its own.
    Even,
    /// Neighbours, each for two lanes: the input gradient of stride 2.
    Twice,
}

/// A plane's vectors and taps.
pub(super) struct Walk<'a> {
    /// Taps down and across.
    pub(super) taps: [usize; 2],
    pub(super) groups: usize,
    pub(super) pieces: usize,
    /// Elements of the source to the first group's first tap, and on to the next group, piece and row of taps.
    pub(super) start: isize,
    pub(super) next_group: usize,
    pub(super) next_piece: usize,
    pub(super) next_row: usize,
    /// From the first half of a vector to the second, with [`Reads::Even`].
    pub(super) half: usize,
    /// Rows of a group; 1 with whole rows in one piece or rows in several.
    pub(super) rows: usize,
    /// [row of taps][group] and [piece][column of taps]: masks of the two halves.
    pub(super) down: &'a [[u32; 2]],
    pub(super) across: &'a [[u32; 2]],
    /// [group] and [piece]: the lanes that are outputs.
    pub(super) group_lanes: &'a [u32],
    pub(super) piece_lanes: &'a [u32],
    /// Elements of the target to the first group, and on to the next group, piece and row of a group.
    pub(super) to: usize,
    pub(super) to_group: usize,
    pub(super) to_piece: usize,
    pub(super) to_row: usize,
    /// Lanes from one row of a group to the next.
    pub(super) apart: usize,
}

/// Elements of scratch that the tables of one walk take at most, for outputs of `size`.
pub(super) fn tables(geo: &Conv2d, [height, width]: [usize; 2]) -> usize {
    let pieces = width.div_ceil(4) + 1;
    2 * height * geo.kernel[0] + 2 * pieces * (geo.kernel[1] + 1) + height + pieces
}

/// The bits below `n`.
fn below(n: usize) -> u32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

/// The lanes for which `f` is true.
fn lanes_where(lanes: usize, f: impl Fn(usize) -> bool) -> u32 {
    (0..lanes).filter(|&l| f(l)).fold(0, |mask, l| mask | 1 << l)
}

/// Whether `i` is an index below `n`.
fn inside(i: isize, n: usize) -> bool {
    usize::try_from(i).is_ok_and(|i| i < n)
}

impl<'a> Walk<'a> {
    /// Stride 1: output (y, x) meets source (y + t − before) on each axis in tap t.
    pub(super) fn all(
        source: [usize; 2],
        target: [usize; 2],
        before: [isize; 2],
        taps: [usize; 2],
        lanes: usize,
        scratch: &mut Scratch<'a>,
    ) -> Walk<'a> {
        let ([h, w], [oh, ow]) = (source, target);
        let rows = if w == ow && 2 * ow <= lanes { (lanes / ow).min(oh) } else { 1 };
        let walk = Walk::empty(taps, [oh.div_ceil(rows), if rows > 1 { 1 } else { ow.div_ceil(lanes) }], rows);
        let walk = Walk {
            start: -before[0] * w as isize - before[1],
            next_group: rows * w,
            next_piece: lanes,
            next_row: w,
            to_group: rows * ow,
            to_piece: lanes,
            to_row: ow,
            apart: ow,
            ..walk
        };
        let (row, column) = (|l: usize| l / ow, |l: usize| l % ow);
        walk.with_tables(
            scratch,
            lanes,
            |group, t| {
                let first = (group * rows + t) as isize - before[0];
                let used = |row: usize| row < rows && inside(first + row as isize, h);
                [if rows == 1 { below(if used(0) { 32 } else { 0 }) } else { lanes_where(lanes, |l| used(row(l))) }; 2]
            },
            |piece, t| {
                let first = (piece * lanes + t) as isize - before[1];
                let used = |x: usize| piece * lanes + x < ow && inside(first + x as isize, w);
                [lanes_where(lanes, |l| used(if rows == 1 { l } else { column(l) })); 2]
            },
            |group| if rows == 1 { u32::MAX } else { below(rows.min(oh - group * rows) * ow) },
            |piece| if rows == 1 { below(lanes.min(ow - piece * lanes)) } else { u32::MAX },
        )
    }

    /// Stride 2: output (y, x) meets source (2 y + t − before) on each axis in tap t.
    pub(super) fn even(
        source: [usize; 2],
        target: [usize; 2],
        before: [isize; 2],
        taps: [usize; 2],
        lanes: usize,
        scratch: &mut Scratch<'a>,
    ) -> Walk<'a> {
        let ([h, w], [oh, ow], middle) = (source, target, lanes / 2);
        let rows = if ow <= middle { 2 } else { 1 };
        let walk = Walk::empty(taps, [oh.div_ceil(rows), if rows > 1 { 1 } else { ow.div_ceil(lanes) }], rows);
        let walk = Walk {
            start: -before[0] * w as isize - before[1],
            next_group: 2 * rows * w,
            next_piece: 2 * lanes,
            next_row: w,
            half: if rows > 1 { 2 * w } else { lanes },
            to_group: rows * ow,
            to_piece: lanes,
            to_row: ow,
            apart: middle,
            ..walk
        };
        walk.with_tables(
            scratch,
            lanes,
            |group, t| {
                let used = |half: usize| {
                    let y = group * rows + if rows > 1 { half } else { 0 };
                    y < oh && inside((2 * y + t) as isize - before[0], h)
                };
                [0, 1].map(|half| if used(half) { u32::MAX } else { 0 })
            },
            |piece, t| {
                let first = (2 * piece * lanes + t) as isize - before[1];
                let of = |half: usize| lanes_where(lanes, |l| inside(first + (half + l) as isize, w));
                [of(0), of(if rows > 1 { 0 } else { lanes })]
            },
            |group| {
                let rows_here = rows.min(oh - group * rows);
                if rows == 1 { u32::MAX } else { (0..rows_here).fold(0, |mask, r| mask | below(ow) << (r * middle)) }
            },
            |piece| if rows == 1 { below(lanes.min(ow - piece * lanes)) } else { u32::MAX },
        )
    }

    /// The input gradient of stride 2 in the rows of one parity: target (2 m + parity, 2 n + p) meets source
    /// (m + row + u, n + column + t) in tap (u, t), for either parity p. `first` are `row` and `column`.
    pub(super) fn twice(
        source: [usize; 2],
        target: [usize; 2],
        parity: usize,
        first: [isize; 2],
        taps: [usize; 2],
        lanes: usize,
        scratch: &mut Scratch<'a>,
    ) -> Walk<'a> {
        let ([oh, ow], [h, w], middle) = (source, target, lanes / 2);
        let count = (h - parity).div_ceil(2);
        let rows = if w == 2 * ow && 2 * w <= lanes { (lanes / w).min(count) } else { 1 };
        let walk = Walk::empty(taps, [count.div_ceil(rows), if rows > 1 { 1 } else { w.div_ceil(lanes) }], rows);
        let walk = Walk {
            start: first[0] * ow as isize + first[1],
            next_group: rows * ow,
            next_piece: middle,
            next_row: ow,
            to: parity * w,
            to_group: 2 * rows * w,
            to_piece: lanes,
            to_row: 2 * w,
            apart: w,
            ..walk
        };
        walk.with_tables(
            scratch,
            lanes,
            |group, t| {
                let first = (group * rows + t) as isize + first[0];
                let used = |row: usize| row < rows && inside(first + row as isize, oh);
                [lanes_where(middle, |l| used(if rows == 1 { 0 } else { l / ow })); 2]
            },
            |piece, t| {
                let used = |n: usize| inside((piece * middle + n + t) as isize + first[1], ow);
                [lanes_where(middle, |l| used(if rows == 1 { l } else { l % ow })); 2]
            },
            |group| if rows == 1 { u32::MAX } else { below(rows.min(count - group * rows) * w) },
            |piece| if rows == 1 { below(lanes.min(w - piece * lanes)) } else { u32::MAX },
        )
    }

    fn empty(taps: [usize; 2], [groups, pieces]: [usize; 2], rows: usize) -> Walk<'a> {
        Walk {
            taps,
            groups,
            pieces,
            start: 0,
            next_group: 0,
            next_piece: 0,
            next_row: 0,
            half: 0,
            rows,
            down: &[],
            across: &[],
            group_lanes: &[],
            piece_lanes: &[],
            to: 0,
            to_group: 0,
            to_piece: 0,
            to_row: 0,
            apart: 0,
        }
    }

    /// Writes the tables: the lanes that (group, row of taps) and (piece, column of taps) allow, and those that are outputs.
    fn with_tables(
        self,
        scratch: &mut Scratch<'a>,
        lanes: usize,
        down: impl Fn(usize, usize) -> [u32; 2],
        across: impl Fn(usize, usize) -> [u32; 2],
        group: impl Fn(usize) -> u32,
        piece: impl Fn(usize) -> u32,
    ) -> Walk<'a> {
        let of_row = scratch.pairs(self.taps[0] * self.groups);
        for (i, masks) in of_row.iter_mut().enumerate() {
            *masks = down(i % self.groups, i / self.groups);
        }
        let of_column = scratch.pairs(self.pieces * self.taps[1]);
        for (i, masks) in of_column.iter_mut().enumerate() {
            *masks = across(i / self.taps[1], i % self.taps[1]);
        }
        let (group_lanes, piece_lanes) = (scratch.indices(self.groups), scratch.indices(self.pieces));
        group_lanes.iter_mut().enumerate().for_each(|(i, mask)| *mask = group(i) & below(lanes));
        piece_lanes.iter_mut().enumerate().for_each(|(i, mask)| *mask = piece(i) & below(lanes));
        Walk { down: of_row, across: of_column, group_lanes, piece_lanes, ..self }
    }
}
