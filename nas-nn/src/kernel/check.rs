//! Checks of what is fed: the first number that a program must not see.

use super::simd::dispatch;

/// Numbers looked at before it is asked whether one was wrong.
const BLOCK: usize = 512;

/// The place of the first number of `x` that is infinite or NaN.
pub fn find_non_finite(x: &[f32]) -> Option<usize> {
    // The exponent of those is all ones.
    const EXPONENT: u32 = f32::INFINITY.to_bits();
    find(x, |x| x.to_bits() & EXPONENT == EXPONENT)
}

/// The place of the first number of `x` that is none of 0, 1, …, `classes` − 1.
pub fn find_non_class(x: &[f32], classes: usize) -> Option<usize> {
    // Rounding up to what single precision can hold lets no number in between through.
    let end = classes as f32;
    find(x, |x| !(x >= 0.0 && x < end && x.trunc() == x))
}

/// The first place where `wrong` holds: a block at a time, without a branch inside.
fn find(x: &[f32], wrong: impl Fn(f32) -> bool) -> Option<usize> {
    dispatch(
        #[inline(always)]
        || {
            for (number, block) in x.chunks(BLOCK).enumerate() {
                let found = block.iter().fold(0_u32, |found, &x| found | u32::from(wrong(x)));
                if found != 0 {
                    return block.iter().position(|&x| wrong(x)).map(|place| number * BLOCK + place);
                }
            }
            None
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::values;
    use super::*;

    #[test]
    fn the_first_that_is_not_finite() {
        on_every_simd(|simd| {
            for n in [0, 1, 17, BLOCK, 3 * BLOCK + 5] {
                let mut x = values(n, 1);
                assert_eq!(find_non_finite(&x), None, "{simd}");
                for place in [0, n / 2, n.saturating_sub(1)].into_iter().filter(|&place| place < n).rev() {
                    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
                        x[place] = wrong;
                        assert_eq!(find_non_finite(&x), Some(place), "{simd}");
                    }
                }
            }
            assert_eq!(find_non_finite(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE, -0.0, 1e-45]), None, "{simd}");
        });
    }

    #[test]
    fn the_first_that_is_no_class() {
        on_every_simd(|simd| {
            let mut x: Vec<f32> = (0..2 * BLOCK + 3).map(|i| (i % 7) as f32).collect();
            assert_eq!(find_non_class(&x, 7), None, "{simd}");
            assert_eq!(find_non_class(&x, 6), Some(6), "{simd}");
            for wrong in [-1.0, 7.0, 0.5, 6.999, 1e-40, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e9] {
                x[BLOCK + 9] = wrong;
                assert_eq!(find_non_class(&x, 7), Some(BLOCK + 9), "{simd} {wrong}");
            }
            assert_eq!(find_non_class(&[-0.0, 16_777_215.0], 1 << 24), None, "{simd}");
            assert_eq!(find_non_class(&[16_777_216.0], 1 << 24), Some(0), "{simd}");
        });
    }
}
