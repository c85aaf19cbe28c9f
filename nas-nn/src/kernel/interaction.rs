//! Interactions of the fields of a recommender, example by example: factorisation machine and pairwise dot products.

use super::simd::dispatch;

/// Products that are added up side by side.
const LANES: usize = 16;

/// `y = Σ_{i>j} ⟨vᵢ, vⱼ⟩` for each example of `fields` vectors of `width`: half the square of the sum less the sum of the
/// squares (Rendle, 2010, lemma 3.1), added up as ⟨vᵢ, v₀ + … + vᵢ₋₁⟩, which does not cancel. `scratch` has 2 `width`.
///
/// # Panics
/// When the lengths do not fit.
pub fn factorization_machine_forward([fields, width]: [usize; 2], x: &[f32], scratch: &mut [f32], y: &mut [f32]) {
    assert_eq!(x.len(), fields * width * y.len(), "the values are not {} examples of {fields} x {width}", y.len());
    let (sum, products) = scratch[..2 * width].split_at_mut(width);
    dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(fields * width).zip(y) {
                sum.fill(0.0);
                products.fill(0.0);
                for v in x.chunks_exact(width) {
                    for ((product, sum), &v) in products.iter_mut().zip(&mut *sum).zip(v) {
                        *product += v * *sum;
                        *sum += v;
                    }
                }
                *y = super::sum::sum(products);
            }
        },
    );
}

/// `dvᵢ = dy (Σ v − vᵢ)` (`+=` with `accumulate`). `scratch` has `width`.
///
/// # Panics
/// When the lengths do not fit.
pub fn factorization_machine_backward(
    [fields, width]: [usize; 2],
    x: &[f32],
    dy: &[f32],
    scratch: &mut [f32],
    dx: &mut [f32],
    accumulate: bool,
) {
    assert_eq!(x.len(), fields * width * dy.len(), "the values are not {} examples of {fields} x {width}", dy.len());
    assert_eq!(x.len(), dx.len(), "the gradient's length is not the values'");
    let sum = &mut scratch[..width];
    dispatch(
        #[inline(always)]
        || {
            let size = fields * width;
            for ((x, dx), &g) in x.chunks_exact(size).zip(dx.chunks_exact_mut(size)).zip(dy) {
                if !accumulate {
                    dx.fill(0.0);
                }
                sum.fill(0.0);
                for v in x.chunks_exact(width) {
                    for (sum, &v) in sum.iter_mut().zip(v) {
                        *sum += v;
                    }
                }
                for (v, dv) in x.chunks_exact(width).zip(dx.chunks_exact_mut(width)) {
                    for ((dv, &v), &sum) in dv.iter_mut().zip(v).zip(&*sum) {
                        *dv += g * (sum - v);
                    }
                }
            }
        },
    );
}

/// `y = ⟨vᵢ, vⱼ⟩` for i > j, in the order (1, 0), (2, 0), (2, 1), …, for each example of `fields` vectors of `width`.
/// `scratch` is as long as
/// [`dot_interaction_scratch`] says.
///
/// # Panics
/// When the lengths do not fit.
pub fn dot_interaction_forward([fields, width]: [usize; 2], x: &[f32], scratch: &mut [f32], y: &mut [f32]) {
    let pairs = check(fields, width, x.len(), y.len());
    let row = fields.next_multiple_of(LANES);
    let across = &mut scratch[..width * row];
    across.fill(0.0);
    dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(fields * width).zip(y.chunks_exact_mut(pairs)) {
                // Transposed, the products of a vector with those before it stand side by side.
                for (i, v) in x.chunks_exact(width).enumerate() {
                    for (across, &v) in across.chunks_exact_mut(row).zip(v) {
                        across[i] = v;
                    }
                }
                let mut at = 0;
                for (i, v) in x.chunks_exact(width).enumerate() {
                    for (block, y) in y[at..at + i].chunks_mut(LANES).enumerate() {
                        let mut products = [0.0; LANES];
                        for (across, &v) in across.chunks_exact(row).zip(v) {
                            for l in 0..LANES {
                                products[l] += v * across[block * LANES + l];
                            }
                        }
                        y.copy_from_slice(&products[..y.len()]);
                    }
                    at += i;
                }
            }
        },
    );
}

/// Floats of working memory of [`dot_interaction_forward`].
pub fn dot_interaction_scratch([fields, width]: [usize; 2]) -> usize {
    fields.next_multiple_of(LANES) * width
}

/// `dvᵢ = Σ_{j≠i} dyᵢⱼ vⱼ` (`+=` with `accumulate`).
///
/// # Panics
/// When the lengths do not fit.
pub fn dot_interaction_backward([fields, width]: [usize; 2], x: &[f32], dy: &[f32], dx: &mut [f32], accumulate: bool) {
    let pairs = check(fields, width, x.len(), dy.len());
    assert_eq!(x.len(), dx.len(), "the gradient's length is not the values'");
    dispatch(
        #[inline(always)]
        || {
            let size = fields * width;
            for ((x, dx), dy) in x.chunks_exact(size).zip(dx.chunks_exact_mut(size)).zip(dy.chunks_exact(pairs)) {
                if !accumulate {
                    dx.fill(0.0);
                }
                let mut at = 0;
                for i in 1..fields {
                    let (before, own) = dx.split_at_mut(i * width);
                    let (own, v) = (&mut own[..width], &x[i * width..][..width]);
                    let others = x.chunks_exact(width).zip(before.chunks_exact_mut(width));
                    for ((other, d_other), &g) in others.zip(&dy[at..at + i]) {
                        for (((own, d_other), &v), &other) in own.iter_mut().zip(d_other).zip(v).zip(other) {
                            *own += g * other;
                            *d_other += g * v;
                        }
                    }
                    at += i;
                }
            }
        },
    );
}

/// The number of pairs, after checking the lengths.
#[track_caller]
fn check(fields: usize, width: usize, x: usize, y: usize) -> usize {
    assert!(fields > 1 && width > 0, "{fields} fields of {width} have no pairs");
    let pairs = fields * (fields - 1) / 2;
    assert_eq!(x / (fields * width) * pairs, y, "not {pairs} products for each example of {fields} x {width}");
    assert!(x.is_multiple_of(fields * width), "{x} values are not whole examples of {fields} x {width}");
    pairs
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    const EXAMPLES: usize = 3;

    fn product(x: &[f32], width: usize, i: usize, j: usize) -> f64 {
        (0..width).map(|d| f64::from(x[i * width + d]) * f64::from(x[j * width + d])).sum()
    }

    /// dx = start + Σ over pairs of g · the other, in f64.
    fn gradient(sizes: [usize; 2], x: &[f32], start: f64, g: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let [fields, width] = sizes;
        let mut dx = vec![start; x.len()];
        for n in 0..EXAMPLES {
            let first = n * fields * width;
            let mut pair = 0;
            for i in 0..fields {
                for j in 0..i {
                    for d in 0..width {
                        let (a, b) = (first + i * width + d, first + j * width + d);
                        dx[a] += f64::from(g(n, pair)) * f64::from(x[b]);
                        dx[b] += f64::from(g(n, pair)) * f64::from(x[a]);
                    }
                    pair += 1;
                }
            }
        }
        dx.iter().map(|&x| x as f32).collect()
    }

    #[test]
    fn all_pairs_by_formula() {
        for sizes in [[2, 1], [3, 4], [7, 16], [26, 19]] {
            let [fields, width] = sizes;
            let pairs = fields * (fields - 1) / 2;
            let x = values(EXAMPLES * fields * width, 1);
            let dy = values(EXAMPLES * pairs, 2);
            let mut expected = Vec::new();
            for x in x.chunks(fields * width) {
                for i in 0..fields {
                    expected.extend((0..i).map(|j| product(x, width, i, j) as f32));
                }
            }
            let sums: Vec<f32> = expected.chunks(pairs).map(|products| products.iter().sum()).collect();
            let dsum = &dy[..EXAMPLES];
            on_every_simd(|_| {
                let mut scratch = vec![f32::NAN; dot_interaction_scratch(sizes)];
                let mut y = vec![f32::NAN; EXAMPLES * pairs];
                dot_interaction_forward(sizes, &x, &mut scratch, &mut y);
                assert_close(&y, &expected, 2e-6);
                let mut y = vec![f32::NAN; EXAMPLES];
                factorization_machine_forward(sizes, &x, &mut scratch, &mut y);
                assert_close(&y, &sums, 4e-6);
                for (accumulate, start) in [(false, 0.0), (true, 5.0)] {
                    let before = if accumulate { 5.0 } else { f32::NAN };
                    let mut dx = vec![before; x.len()];
                    dot_interaction_backward(sizes, &x, &dy, &mut dx, accumulate);
                    assert_close(&dx, &gradient(sizes, &x, start, |n, pair| dy[n * pairs + pair]), 4e-6);
                    let mut dx = vec![before; x.len()];
                    factorization_machine_backward(sizes, &x, dsum, &mut scratch, &mut dx, accumulate);
                    assert_close(&dx, &gradient(sizes, &x, start, |n, _| dsum[n]), 4e-6);
                }
            });
        }
    }
}
