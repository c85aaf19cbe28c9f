//! Matrix products of any orientation and size.
//!
//! Tiles of sums stay in registers while rows of vectors of one matrix and single elements of the other pass by (`tile`). A
//! transposed matrix is packed into panels first, and the one of both that is smaller: the product or its transpose is computed
//! (`product`). What lies in rows is read as it lies, which small products live on; only many rows pay for panels (Goto and
//! van de Geijn, 2008). Each sum adds its terms in order, in blocks that depend on the depth alone, so a product by parts of
//! its rows or columns has the same bits.

mod pack;
mod product;
mod tile;

use self::product::Product;
use self::tile::Start;
use super::vector::launch;

/// `c = beta * c + a · b` for `a` of m×k, `b` of k×n and `c` of m×n elements; the size is [m, n, k].
///
/// `*_strides` are the distances in elements from one row to the next and from one column to the next: `[k, 1]` is a
/// row-major `a`, `[1, m]` its transpose stored row-major. With `beta` 0, `c` is not read, so it may hold anything.
///
/// A thread keeps a buffer for packed panels, which grows to about half a megabyte at most.
///
/// # Panics
/// When a matrix reaches beyond its slice, or two elements of `c` are the same.
#[allow(clippy::too_many_arguments)]
pub(super) fn gemm(
    size: [usize; 3],
    a: &[f32],
    a_strides: [usize; 2],
    b: &[f32],
    b_strides: [usize; 2],
    beta: f32,
    c: &mut [f32],
    c_strides: [usize; 2],
) {
    multiply(size, a, a_strides, b, b_strides, (beta, None), c, c_strides);
}

/// `c = a · b + bias`, the bias of n elements on every row; otherwise as [`gemm`].
///
/// # Panics
/// As [`gemm`], and when the bias has not n elements.
#[allow(clippy::too_many_arguments)]
pub(super) fn gemm_bias(
    size: [usize; 3],
    a: &[f32],
    a_strides: [usize; 2],
    b: &[f32],
    b_strides: [usize; 2],
    bias: Option<&[f32]>,
    c: &mut [f32],
    c_strides: [usize; 2],
) {
    multiply(size, a, a_strides, b, b_strides, (0.0, bias), c, c_strides);
}

#[allow(clippy::too_many_arguments)]
fn multiply(
    [m, n, k]: [usize; 3],
    a: &[f32],
    a_strides: [usize; 2],
    b: &[f32],
    b_strides: [usize; 2],
    (beta, bias): (f32, Option<&[f32]>),
    c: &mut [f32],
    c_strides: [usize; 2],
) {
    if m == 0 || n == 0 {
        return;
    }
    check_bounds("a", a.len(), [m, k], a_strides);
    check_bounds("b", b.len(), [k, n], b_strides);
    check_bounds("c", c.len(), [m, n], c_strides);
    let [row, column] = c_strides;
    let distinct = match (m, n) {
        (1, 1) => true,
        (1, _) => column > 0,
        (_, 1) => row > 0,
        _ => (column > 0 && row > (n - 1) * column) || (row > 0 && column > (m - 1) * row),
    };
    assert!(distinct, "elements of c overlap: strides {c_strides:?}");
    let start = match bias {
        Some(bias) => {
            assert_eq!(bias.len(), n, "a bias of {} elements for {n} columns", bias.len());
            Start::Bias(bias.as_ptr())
        }
        None if beta == 0.0 => Start::Zero,
        None => Start::Output,
    };
    if beta != 0.0 && beta != 1.0 {
        for i in 0..m {
            for j in 0..n {
                c[i * row + j * column] *= beta;
            }
        }
    }
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    let product = Product { size: [m, n, k], a, a_strides, b, b_strides, c, c_strides, start };
    // SAFETY: every address lies inside its slice (checked above), and the elements of `c` are distinct and exclusively borrowed.
    unsafe { launch(product) }
}

fn check_bounds(name: &str, len: usize, size: [usize; 2], strides: [usize; 2]) {
    if size[0] == 0 || size[1] == 0 {
        return;
    }
    let last = (size[0] - 1) * strides[0] + (size[1] - 1) * strides[1];
    assert!(last < len, "matrix {name} of {size:?} with strides {strides:?} needs {} elements, got {len}", last + 1);
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    /// The strides of a matrix of `rows` by `columns`, or of its transpose, with `gap` more between its rows.
    fn strides(transposed: bool, [rows, columns]: [usize; 2], gap: usize) -> [usize; 2] {
        if transposed { [1, rows + gap] } else { [columns + gap, 1] }
    }

    fn check([m, n, k]: [usize; 3], transposed: [bool; 3], gap: usize, beta: f32, bias: bool) {
        let sa = strides(transposed[0], [m, k], gap);
        let sb = strides(transposed[1], [k, n], gap);
        let sc = strides(transposed[2], [m, n], gap);
        let (a, b) = (values((m + gap) * (k + gap), 1), values((k + gap) * (n + gap), 2));
        let bias = bias.then(|| values(n, 4));
        let start = values((m + gap) * (n + gap), 3);
        let (mut c, mut expected) = (start.clone(), start.clone());
        for i in 0..m {
            for j in 0..n {
                let at = i * sc[0] + j * sc[1];
                let sum: f64 =
                    (0..k).map(|l| f64::from(a[i * sa[0] + l * sa[1]]) * f64::from(b[l * sb[0] + j * sb[1]])).sum();
                expected[at] = sum as f32 + bias.as_ref().map_or(beta * start[at], |bias| bias[j]);
                if beta == 0.0 {
                    c[at] = f32::NAN;
                }
            }
        }
        if bias.is_some() {
            gemm_bias([m, n, k], &a, sa, &b, sb, bias.as_deref(), &mut c, sc);
        } else {
            gemm([m, n, k], &a, sa, &b, sb, beta, &mut c, sc);
        }
        assert_close(&c, &expected, 1e-5 * (k as f32).sqrt().max(1.0));
    }

    /// All orientations, with and without gaps, a bias, and what was there.
    fn check_all(size: [usize; 3]) {
        on_every_simd(|_| {
            for flags in 0..8 {
                let transposed = [flags & 1 > 0, flags & 2 > 0, flags & 4 > 0];
                for gap in [0, 3] {
                    check(size, transposed, gap, 0.0, false);
                    check(size, transposed, gap, 1.0, false);
                    check(size, transposed, gap, 0.0, true);
                }
                check(size, transposed, 1, -0.5, false);
            }
        });
    }

    #[test]
    fn every_orientation() {
        for size in [[1, 1, 1], [3, 10, 7], [64, 10, 128], [17, 33, 50], [1, 9, 4], [5, 1, 8], [4, 4, 0], [9, 13, 133]]
        {
            check_all(size);
        }
    }

    #[test]
    fn every_tile() {
        for m in 1..=16 {
            for vectors in 1..=7 {
                check_all([m, 16 * vectors - m % 3, 5]);
            }
        }
    }

    #[test]
    fn blocks_of_depth_rows_and_columns() {
        for size in [[7, 20, 300], [20, 7, 513], [130, 50, 40], [50, 130, 260], [140, 500, 9]] {
            check_all(size);
        }
        on_every_simd(|_| check([515, 501, 261], [false; 3], 0, 0.0, true));
    }

    #[test]
    fn matrices_that_are_neither_rows_nor_columns() {
        on_every_simd(|_| {
            let [m, n, k] = [11, 18, 21];
            let [a, b, start] = [3 * m * k, 3 * k * n, 3 * m * n].map(|len| values(len, len as u64));
            let mut c = start.clone();
            gemm([m, n, k], &a, [3 * k, 3], &b, [3 * n, 3], 1.0, &mut c, [3 * n, 3]);
            for (at, (&c, &start)) in c.iter().zip(&start).enumerate() {
                let (i, j) = (at / (3 * n), at % (3 * n) / 3);
                let sum: f32 = (0..k).map(|l| a[3 * (i * k + l)] * b[3 * (l * n + j)]).sum();
                assert_close(&[c], &[if at % 3 == 0 { start + sum } else { start }], 1e-5);
            }
        });
    }

    /// Threads divide rows, batches are of any size: no element may depend on that.
    #[test]
    fn parts_have_the_bits_of_the_whole() {
        on_every_simd(|_| {
            let [m, n, k] = [150, 70, 290];
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            for transposed in [[false, false], [false, true], [true, false], [true, true]] {
                let (sa, sb) = (strides(transposed[0], [m, k], 0), strides(transposed[1], [k, n], 0));
                let (mut whole, mut parts) = (vec![0.0; m * n], vec![0.0; m * n]);
                gemm([m, n, k], &a, sa, &b, sb, 0.0, &mut whole, [n, 1]);
                for (rows, columns) in [(1, 70), (7, 32), (64, 1), (150, 13)] {
                    for i in (0..m).step_by(rows) {
                        for j in (0..n).step_by(columns) {
                            let size = [rows.min(m - i), columns.min(n - j), k];
                            let to = &mut parts[i * n + j..];
                            gemm(size, &a[i * sa[0]..], sa, &b[j * sb[1]..], sb, 0.0, to, [n, 1]);
                        }
                    }
                    assert_eq!(whole, parts, "{transposed:?} by {rows} rows and {columns} columns");
                }
            }
        });
    }

    #[test]
    #[should_panic(expected = "matrix b")]
    fn too_short() {
        gemm([2, 2, 2], &[0.0; 4], [2, 1], &[0.0; 3], [2, 1], 0.0, &mut [0.0; 4], [2, 1]);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn overlapping_output() {
        gemm([2, 2, 2], &[0.0; 4], [2, 1], &[0.0; 4], [2, 1], 0.0, &mut [0.0; 4], [1, 1]);
    }

    #[test]
    #[should_panic(expected = "a bias of 3 elements for 2 columns")]
    fn bias_of_another_length() {
        let bias = [0.0; 3];
        gemm_bias([2, 2, 2], &[0.0; 4], [2, 1], &[0.0; 4], [2, 1], Some(&bias), &mut [0.0; 4], [2, 1]);
    }
}
