//! Rotation of pairs of numbers by angles of their position.

use super::simd::dispatch;

/// The sizes of a rotation: values [.., positions, heads, 2 · half] and a table [2, positions, half] of cosines, then sines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotary {
    /// Positions of an example.
    pub positions: usize,
    /// Vectors at a position, which are rotated alike.
    pub heads: usize,
    /// Pairs in a vector: numbers i and i + half.
    pub half: usize,
}

/// `y = x` with each pair (a, b) rotated by ±θ: (a cos θ − b sin θ, a sin θ + b cos θ); backwards when `inverse`. `+=` with
/// `accumulate`.
///
/// # Panics
/// When the lengths do not fit.
pub fn rotate(sizes: Rotary, table: &[f32], x: &[f32], y: &mut [f32], inverse: bool, accumulate: bool) {
    let Rotary { positions, heads, half } = sizes;
    let place = heads * 2 * half;
    assert!(place > 0 && x.len().is_multiple_of(positions * place), "{} values do not fit {sizes:?}", x.len());
    assert_eq!(x.len(), y.len(), "input and output have different lengths");
    assert_eq!(table.len(), 2 * positions * half, "the table does not fit {sizes:?}");
    let (cosines, sines) = table.split_at(positions * half);
    let sign = if inverse { -1.0 } else { 1.0 };
    dispatch(
        #[inline(always)]
        || {
            for (i, (x, y)) in x.chunks_exact(place).zip(y.chunks_exact_mut(place)).enumerate() {
                if !accumulate {
                    y.fill(0.0);
                }
                let row = i % positions * half;
                let (cosines, sines) = (&cosines[row..row + half], &sines[row..row + half]);
                for (x, y) in x.chunks_exact(2 * half).zip(y.chunks_exact_mut(2 * half)) {
                    let ((a, b), (y_a, y_b)) = (x.split_at(half), y.split_at_mut(half));
                    for k in 0..half {
                        let (cos, sin) = (cosines[k], sign * sines[k]);
                        y_a[k] += a[k] * cos - b[k] * sin;
                        y_b[k] += a[k] * sin + b[k] * cos;
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    #[test]
    fn every_set_rotates_forth_and_back() {
        for (positions, heads, half) in [(1, 1, 1), (5, 3, 4), (4, 2, 19), (7, 1, 32)] {
            let sizes = Rotary { positions, heads, half };
            let x = values(2 * positions * heads * 2 * half, 1);
            let angles: Vec<f64> = values(positions * half, 2).iter().map(|&a| 3.0 * f64::from(a)).collect();
            let table: Vec<f32> =
                angles.iter().map(|a| a.cos()).chain(angles.iter().map(|a| a.sin())).map(|v| v as f32).collect();
            let mut expected = vec![0.0; x.len()];
            for (v, (x, y)) in x.chunks(2 * half).zip(expected.chunks_mut(2 * half)).enumerate() {
                for k in 0..half {
                    let (sin, cos) = angles[v / heads % positions * half + k].sin_cos();
                    let (a, b) = (f64::from(x[k]), f64::from(x[half + k]));
                    y[k] = (a * cos - b * sin) as f32;
                    y[half + k] = (a * sin + b * cos) as f32;
                }
            }
            on_every_simd(|_| {
                let mut y = vec![f32::NAN; x.len()];
                rotate(sizes, &table, &x, &mut y, false, false);
                assert_close(&y, &expected, 1e-6);
                let mut back = vec![1.0; x.len()];
                rotate(sizes, &table, &y, &mut back, true, true);
                let more: Vec<f32> = x.iter().map(|x| x + 1.0).collect();
                assert_close(&back, &more, 2e-6);
            });
        }
    }
}
