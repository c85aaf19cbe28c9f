//! Matrix products, by the `gemm` crate, with bounds checked; few rows by a transposed matrix have a kernel of their own.

use super::row_dots::{self, RowDots};

/// `c = beta * c + a · b` for `a` of m×k, `b` of k×n and `c` of m×n elements.
///
/// `*_strides` are the distances in elements from one row to the next and from one column to the next: `[k, 1]` is a
/// row-major `a`, `[1, m]` its transpose stored row-major. With `beta` 0, `c` is not read, so it may hold anything.
/// Large products follow the processor, not `NAS_SIMD`.
///
/// # Panics
/// When a matrix reaches beyond its slice, or two elements of `c` are the same.
#[allow(clippy::too_many_arguments)]
pub(super) fn gemm(
    [m, n, k]: [usize; 3],
    a: &[f32],
    a_strides: [usize; 2],
    b: &[f32],
    b_strides: [usize; 2],
    beta: f32,
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
    if is_rows_by_rows(a_strides, b_strides, c_strides) && row_dots::serves([m, n, k]) {
        let dots = RowDots {
            size: [m, n, k],
            a: a.as_ptr(),
            a_stride: a_strides[0],
            b: b.as_ptr(),
            b_stride: b_strides[1],
            c: c.as_mut_ptr(),
            c_stride: row,
            beta,
        };
        // SAFETY: every row lies inside its slice (checked above), and `c` is exclusively borrowed.
        return unsafe { dots.run() };
    }
    // SAFETY: every address lies inside its slice (checked above), and the elements of `c` are distinct and exclusively borrowed.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c_strides[1] as isize,
            c_strides[0] as isize,
            beta != 0.0,
            a.as_ptr(),
            a_strides[1] as isize,
            a_strides[0] as isize,
            b.as_ptr(),
            b_strides[1] as isize,
            b_strides[0] as isize,
            beta,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn is_rows_by_rows(a_strides: [usize; 2], b_strides: [usize; 2], c_strides: [usize; 2]) -> bool {
    a_strides[1] == 1 && b_strides[0] == 1 && c_strides[1] == 1
}

/// How many rows a part of a product must have so that its sums run in the whole's order.
pub(super) fn fewest_rows(
    [m, n, k]: [usize; 3],
    a_strides: [usize; 2],
    b_strides: [usize; 2],
    c_strides: [usize; 2],
) -> usize {
    /// Fewer use the registers badly.
    const ROWS: usize = 16;
    /// With no more rows and columns the crate takes longer blocks of k.
    const SMALL: usize = 64;
    let other = is_rows_by_rows(a_strides, b_strides, c_strides)
        && row_dots::serves([ROWS, n, k])
        && !row_dots::serves([m, n, k]);
    if other {
        row_dots::MAX_ROWS + 1
    } else if n <= SMALL && m > SMALL {
        SMALL + 1
    } else {
        ROWS
    }
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
    use super::super::testing::{assert_close, values};
    use super::*;

    fn check(m: usize, n: usize, k: usize, transposed: [bool; 3], beta: f32) {
        let strides = |t: bool, rows: usize, columns: usize| if t { [1, rows] } else { [columns, 1] };
        let (sa, sb, sc) = (strides(transposed[0], m, k), strides(transposed[1], k, n), strides(transposed[2], m, n));
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        let mut c = if beta == 0.0 { vec![f32::NAN; m * n] } else { values(m * n, 3) };
        let mut expected = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                let sum: f64 =
                    (0..k).map(|l| f64::from(a[i * sa[0] + l * sa[1]]) * f64::from(b[l * sb[0] + j * sb[1]])).sum();
                let at = i * sc[0] + j * sc[1];
                expected[at] = sum as f32 + if beta == 0.0 { 0.0 } else { beta * c[at] };
            }
        }
        gemm([m, n, k], &a, sa, &b, sb, beta, &mut c, sc);
        assert_close(&c, &expected, 1e-5 * (k as f32).sqrt().max(1.0));
    }

    #[test]
    fn every_orientation() {
        for flags in 0..8 {
            let transposed = [flags & 1 > 0, flags & 2 > 0, flags & 4 > 0];
            for (m, n, k) in [
                (1, 1, 1),
                (3, 10, 7),
                (64, 10, 128),
                (17, 33, 50),
                (1, 9, 4),
                (5, 1, 8),
                (4, 4, 0),
                (3, 7, 100),
                (9, 13, 133),
            ] {
                check(m, n, k, transposed, 0.0);
                check(m, n, k, transposed, 1.0);
                check(m, n, k, transposed, -0.5);
            }
        }
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
}
