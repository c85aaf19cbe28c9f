//! Matrix products whose rows are shared among a crew.

use smallvec::SmallVec;

use super::crew::{self, MAX_PARTS};
use super::gemm as whole;

/// Multiply-adds that are worth a part of their own: 20 µs of a good core.
const PART: usize = 1 << 20;
/// Parts begin at multiples of so many rows.
const ROWS: usize = 16;

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
pub fn gemm(
    size: [usize; 3],
    a: &[f32],
    a_strides: [usize; 2],
    b: &[f32],
    b_strides: [usize; 2],
    beta: f32,
    c: &mut [f32],
    c_strides: [usize; 2],
) {
    let [_, n, k] = size;
    by_rows(size, (a, a_strides[0]), (c, c_strides), |rows, a, c| {
        whole::gemm([rows, n, k], a, a_strides, b, b_strides, beta, c, c_strides);
    });
}

/// `c = a · b + bias`, the bias of n elements on every row; otherwise as [`gemm`].
///
/// # Panics
/// As [`gemm`], and when the bias has not n elements.
#[allow(clippy::too_many_arguments)]
pub fn gemm_bias(
    size: [usize; 3],
    a: &[f32],
    a_strides: [usize; 2],
    b: &[f32],
    b_strides: [usize; 2],
    bias: Option<&[f32]>,
    c: &mut [f32],
    c_strides: [usize; 2],
) {
    let [_, n, k] = size;
    by_rows(size, (a, a_strides[0]), (c, c_strides), |rows, a, c| {
        whole::gemm_bias([rows, n, k], a, a_strides, b, b_strides, bias, c, c_strides);
    });
}

/// Has `product` computed for all rows, or for some at a time with the `a` and `c` that begin there.
///
/// What a row is does not depend on the rows that are computed with it, so the parts may depend on the threads.
fn by_rows(
    [m, n, k]: [usize; 3],
    (mut a, a_row): (&[f32], usize),
    (mut c, [row, column]): (&mut [f32], [usize; 2]),
    product: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) {
    let parts = (m / ROWS).min(m.saturating_mul(n).saturating_mul(k) / PART).min(crew::threads()).min(MAX_PARTS);
    // Only rows that lie one after the other can be handed out.
    if parts < 2 || row <= (n - 1) * column || c.len() <= (m - 1) * row + (n - 1) * column {
        return product(m, a, c);
    }
    let mut jobs = SmallVec::<[(&[f32], &mut [f32], usize); MAX_PARTS]>::new();
    let mut left = m;
    for others in (0..parts).rev() {
        let share = (left / (others + 1)).next_multiple_of(ROWS);
        let rows = if others == 0 { left } else { share.min((left - others * ROWS) / ROWS * ROWS) };
        let (mine, rest) = c.split_at_mut(if others == 0 { c.len() } else { rows * row });
        jobs.push((a, mine, rows));
        (a, c, left) = (a.get(rows * a_row..).unwrap_or_default(), rest, left - rows);
    }
    crew::each(&mut jobs, |(a, c, rows)| product(*rows, a, c));
}

#[cfg(test)]
mod tests {
    use super::super::testing::values;
    use super::*;

    /// The same bits for any number of threads, whichever operand is transposed.
    #[test]
    fn rows_do_not_depend_on_the_threads() {
        for ([m, n, k], beta) in [
            ([33, 512, 128], 0.0),
            ([512, 96, 130], 1.0),
            ([47, 300, 2000], 0.0),
            ([600, 160, 160], 1.0),
            ([128, 50, 1050], 1.0),
        ] {
            for transposed in [[false, false], [false, true], [true, false]] {
                let strides = |t: bool, rows: usize, columns: usize| if t { [1, rows] } else { [columns, 1] };
                let (sa, sb) = (strides(transposed[0], m, k), strides(transposed[1], k, n));
                let (a, b, start) = (values(m * k, 1), values(k * n, 2), values(m * (n + 3), 3));
                let run = |threads: usize| {
                    let mut c = start.clone();
                    let mut crew = crew::Crew::new(threads).unwrap();
                    crew.lead(|| gemm([m, n, k], &a, sa, &b, sb, beta, &mut c, [n + 3, 1]));
                    c
                };
                let alone = run(1);
                for threads in [2, 3, 8] {
                    assert!(run(threads) == alone, "{m}×{n}×{k} {transposed:?}, {threads} threads");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "matrix a")]
    fn lengths_are_checked_with_threads() {
        let (a, b, mut c) = (vec![0.0; 512 * 128 - 1], vec![0.0; 128 * 128], vec![0.0; 512 * 128]);
        let mut crew = crew::Crew::new(3).unwrap();
        crew.lead(|| gemm([512, 128, 128], &a, [128, 1], &b, [128, 1], 0.0, &mut c, [128, 1]));
    }
}
