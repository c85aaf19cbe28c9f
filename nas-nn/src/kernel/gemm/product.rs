//! Blocks of a product: which matrix is read by elements and which by vectors, what is packed, and in what order.

use std::ops::Range;

use super::super::vector::{Job, Vector};
use super::pack;
use super::tile::{Start, Strip, high, wide};

/// A block of the depth is at most this long: a panel of the right matrix stays in the first cache.
const DEPTH: usize = 256;
/// Rows of the left matrix that pass by the panels together, whole tiles of them: their block stays in the second cache.
const fn block<V: Vector>() -> usize {
    128 / high::<V>() * high::<V>()
}

/// Vectors of the right matrix's rows that they pass by: these panels stay in the second cache too.
const VECTORS: usize = 30;

/// `c = start + a · b`. All strides are from one row to the next and from one column to the next.
#[derive(Clone, Copy)]
pub(super) struct Product {
    /// Rows, columns, depth.
    pub(super) size: [usize; 3],
    pub(super) a: *const f32,
    pub(super) a_strides: [usize; 2],
    pub(super) b: *const f32,
    pub(super) b_strides: [usize; 2],
    pub(super) c: *mut f32,
    pub(super) c_strides: [usize; 2],
    pub(super) start: Start,
}

/// As many rows pay for copying panels whose elements lie side by side in a row already. What wide vectors read, they read fast
/// enough from the second cache; narrow panels far apart fall on the same lines of the first.
fn rows_that_pack<V: Vector>(depth: usize) -> usize {
    if V::LANES < 16 && depth >= 32 { 32 } else { 512 }
}

impl Job for Product {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let upright = self.plain();
        let turned = upright.transposed();
        // SAFETY: passed on to the caller.
        unsafe {
            if turned.cost::<V>() >= upright.cost::<V>() {
                upright.blocks::<V>();
            } else if let Start::Bias(bias) = self.start {
                // The bias belongs to rows now.
                let [m, n, _] = self.size;
                for i in 0..m {
                    for j in 0..n {
                        *self.c.add(i * self.c_strides[0] + j * self.c_strides[1]) = *bias.add(j);
                    }
                }
                Product { start: Start::Output, ..turned }.blocks::<V>();
            } else {
                turned.blocks::<V>();
            }
        }
    }
}

impl Product {
    /// The same product with stride 1 where there is but one row or column.
    fn plain(mut self) -> Product {
        let [m, n, k] = self.size;
        let all = [(&mut self.a_strides, [m, k]), (&mut self.b_strides, [k, n]), (&mut self.c_strides, [m, n])];
        for (strides, [rows, columns]) in all {
            if columns == 1 {
                strides[1] = 1;
            }
            if rows == 1 {
                strides[0] = 1;
            }
        }
        self
    }

    /// The transposed product, cᵀ = bᵀ aᵀ: the same sums in the same order.
    fn transposed(self) -> Product {
        let ([m, n, k], flip) = (self.size, |[x, y]: [usize; 2]| [y, x]);
        Product {
            size: [n, m, k],
            a: self.b,
            a_strides: flip(self.b_strides),
            b: self.a,
            b_strides: flip(self.a_strides),
            c_strides: flip(self.c_strides),
            ..self
        }
    }

    /// About how many half cycles it takes: multiplications of vectors, and elements that are moved.
    fn cost<V: Vector>(&self) -> usize {
        let [m, n, k] = self.size;
        let moved = |elements: usize, strides: [usize; 2]| match strides {
            [_, 1] => 0,
            [1, _] => elements / 2,
            _ => elements * 2,
        };
        let left = if self.packs_left() { moved(m * k, self.a_strides) } else { 0 };
        let output = moved(m * n, self.c_strides) * k.div_ceil(DEPTH);
        n.div_ceil(V::LANES) * m * k + left + moved(k * n, self.b_strides) + output
    }

    /// Whether the left matrix is packed: tiles read it by rows or by columns as it lies.
    fn packs_left(&self) -> bool {
        !self.a_strides.contains(&1)
    }

    /// All blocks, one after the other.
    ///
    /// # Safety
    /// The instruction set of `V`, and matrices with these elements, those of the output distinct and apart from the others.
    #[inline(always)]
    unsafe fn blocks<V: Vector>(self) {
        let [m, _, k] = self.size;
        let plan = Plan::new::<V>(&self);
        pack::with_buffer(
            plan.left_len + plan.right_len + plan.output_len,
            #[inline(always)]
            |buffer| {
                let mut l = 0;
                loop {
                    let depth = l..k.min(l + plan.depth);
                    for first in (0..plan.panels).step_by(plan.together) {
                        let panels = first..plan.panels.min(first + plan.together);
                        // SAFETY: passed on to the caller; the buffer is as long as planned.
                        unsafe {
                            if plan.packs_right {
                                plan.pack_right::<V>(&self, depth.clone(), panels.clone(), buffer);
                            }
                            for i in (0..m).step_by(block::<V>()) {
                                let rows = i..m.min(i + block::<V>());
                                plan.rows::<V>(&self, rows, depth.clone(), panels.clone(), buffer);
                            }
                        }
                    }
                    l = depth.end;
                    if l >= k {
                        break;
                    }
                }
            },
        );
    }
}

/// What is packed, and how large blocks are.
struct Plan {
    /// Of a block. All products of a depth have the same blocks, hence the same sums, whatever their rows and columns.
    depth: usize,
    /// Vectors of a row of the right matrix, divided as evenly as may be into panels.
    vectors: usize,
    panels: usize,
    /// Panels that are packed before rows pass by.
    together: usize,
    packs_right: bool,
    /// Elements of the buffer: a block of the left matrix, panels of the right one, sums that are written transposed.
    left_len: usize,
    right_len: usize,
    output_len: usize,
}

impl Plan {
    #[inline(always)]
    fn new<V: Vector>(product: &Product) -> Plan {
        let [m, n, k] = product.size;
        let wide = wide::<V>(m);
        let depth = k.div_ceil(k.div_ceil(DEPTH).max(1));
        let vectors = n.div_ceil(V::LANES);
        let panels = vectors.div_ceil(wide);
        let together = if m > block::<V>() { (VECTORS / wide).min(panels) } else { 1 };
        // Masks are slow where they are no instructions.
        let must = product.b_strides[1] != 1 || (V::LANES == 4 && !n.is_multiple_of(V::LANES));
        let packs_right = must || (m >= rows_that_pack::<V>(depth) && panels > 1);
        let rows = m.min(block::<V>()).next_multiple_of(high::<V>());
        Plan {
            depth,
            vectors,
            panels,
            together,
            packs_right,
            left_len: if product.packs_left() { rows * depth } else { 0 },
            right_len: if packs_right { together * wide * V::LANES * depth } else { 0 },
            output_len: if product.c_strides[1] == 1 { 0 } else { rows * wide * V::LANES },
        }
    }

    /// The vector that panel `p` begins with.
    fn first(&self, p: usize) -> usize {
        p * (self.vectors / self.panels) + p.min(self.vectors % self.panels)
    }

    /// The columns of panel `p` of `n` columns.
    fn columns<V: Vector>(&self, p: usize, n: usize) -> Range<usize> {
        self.first(p) * V::LANES..n.min(self.first(p + 1) * V::LANES)
    }

    /// Where panel `p` is packed, of those from `first` on.
    fn panel<V: Vector>(&self, p: usize, first: usize, depth: usize, buffer: *mut f32) -> *mut f32 {
        buffer.wrapping_add(self.left_len + (self.first(p) - self.first(first)) * V::LANES * depth)
    }

    /// # Safety
    /// As for `Product::blocks`, and a buffer as long as planned.
    #[inline(always)]
    unsafe fn pack_right<V: Vector>(
        &self,
        product: &Product,
        depth: Range<usize>,
        panels: Range<usize>,
        buffer: *mut f32,
    ) {
        let Product { size: [_, n, _], b, b_strides, .. } = *product;
        for p in panels.clone() {
            let columns = self.columns::<V>(p, n);
            let from = b.wrapping_add(depth.start * b_strides[0] + columns.start * b_strides[1]);
            let to = self.panel::<V>(p, panels.start, depth.len(), buffer);
            // SAFETY: the panel lies inside the matrix, and its vectors inside the buffer.
            unsafe { pack::right::<V>(from, b_strides, [depth.len(), columns.len()], to) }
        }
    }

    /// A block of rows by some panels.
    ///
    /// # Safety
    /// As for `Product::blocks`, and a buffer as long as planned.
    #[inline(always)]
    unsafe fn rows<V: Vector>(
        &self,
        product: &Product,
        rows: Range<usize>,
        depth: Range<usize>,
        panels: Range<usize>,
        buffer: *mut f32,
    ) {
        let Product { size: [_, n, _], a, a_strides, b, b_strides, c, c_strides, start } = *product;
        let (high, from) = (high::<V>(), a.wrapping_add(rows.start * a_strides[0] + depth.start * a_strides[1]));
        let (a, a_strides) = if product.packs_left() {
            // SAFETY: the block lies inside the matrix, and its tiles inside the buffer.
            unsafe { pack::left(from, a_strides, [rows.len(), depth.len()], high, buffer) }
            (buffer.cast_const(), [1, high, high * depth.len()])
        } else {
            (from, [a_strides[0], a_strides[1], high * a_strides[0]])
        };
        let start = if depth.start == 0 { start } else { Start::Output };
        let (turned, add) = (self.output_len > 0, matches!(start, Start::Output));
        for p in panels.clone() {
            let (columns, vectors) = (self.columns::<V>(p, n), self.first(p + 1) - self.first(p));
            let (b, b_stride) = if self.packs_right {
                (self.panel::<V>(p, panels.start, depth.len(), buffer).cast_const(), vectors * V::LANES)
            } else {
                (b.wrapping_add(depth.start * b_strides[0] + columns.start), b_strides[0])
            };
            let to = c.wrapping_add(rows.start * c_strides[0] + columns.start * c_strides[1]);
            let sums = buffer.wrapping_add(self.left_len + self.right_len);
            let strip = Strip {
                depth: depth.len(),
                a,
                a_strides,
                b,
                b_stride,
                c: if turned { sums } else { to },
                c_strides: if turned { [V::LANES, rows.len() * V::LANES] } else { [c_strides[0], V::LANES] },
                last: columns.len() - (vectors - 1) * V::LANES,
                padded: self.packs_right,
                start: if turned && add { Start::Zero } else { start.at(columns.start) },
            };
            // SAFETY: the strip lies inside the matrices or the buffer, and the sums have distinct places in the output.
            unsafe {
                strip.run::<V>(rows.len(), vectors);
                if turned {
                    pack::output::<V>(sums, [rows.len(), columns.len()], to, c_strides, add);
                }
            }
        }
    }
}
