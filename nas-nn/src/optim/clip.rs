//! Clipping of gradients.

use super::Rows;
use super::span::each_live;
use crate::kernel;

/// Shortens `grads` to the norm `limit` if they are longer, as one vector; their norm before.
///
/// Gradients that are not finite are left as they are: their norm says so.
///
/// # Panics
/// When `limit` is negative or NaN.
pub fn clip_norm(grads: &mut [f32], limit: f32) -> f32 {
    clip_norm_of(grads, &[], limit)
}

/// The same where only these rows of `tables` are not zero.
pub(crate) fn clip_norm_of(grads: &mut [f32], tables: &[Rows], limit: f32) -> f32 {
    // A negative limit would turn the gradients round.
    assert!(limit >= 0.0, "gradients are clipped to a norm of 0 or more, not {limit}");
    let mut squares = 0.0;
    each_live(0..grads.len(), tables, |at| squares += kernel::sum_squares(&grads[at]));
    let norm = squares.sqrt() as f32;
    if norm.is_finite() && norm > limit {
        each_live(0..grads.len(), tables, |at| kernel::scale(limit / norm, &mut grads[at]));
    }
    norm
}

/// Brings every gradient into [−`limit`, `limit`]; the largest magnitude before.
///
/// Gradients that are not finite are left as they are, all of them: the magnitude says so, NaN when one is NaN.
///
/// # Panics
/// When `limit` is negative or NaN.
pub fn clip_value(grads: &mut [f32], limit: f32) -> f32 {
    clip_value_of(grads, &[], limit)
}

/// The same where only these rows of `tables` are not zero.
pub(crate) fn clip_value_of(grads: &mut [f32], tables: &[Rows], limit: f32) -> f32 {
    assert!(limit >= 0.0, "gradients are clipped to a magnitude of 0 or more, not {limit}");
    let mut largest = 0.0_f32;
    // A NaN stays.
    each_live(0..grads.len(), tables, |at| {
        let magnitude = kernel::max_magnitude(&grads[at]);
        if magnitude > largest || magnitude.is_nan() {
            largest = magnitude;
        }
    });
    if largest.is_finite() && largest > limit {
        each_live(0..grads.len(), tables, |at| kernel::map_in_place(&mut grads[at], |g| g.max(-limit).min(limit)));
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ones_are_shortened() {
        let mut grads = [3.0, 4.0];
        assert_eq!(clip_norm(&mut grads, 10.0), 5.0);
        assert_eq!(grads, [3.0, 4.0]);
        assert_eq!(clip_norm(&mut grads, 1.0), 5.0);
        assert!((grads[0] - 0.6).abs() < 1e-6 && (grads[1] - 0.8).abs() < 1e-6);
        assert!(clip_norm(&mut [f32::NAN], 1.0).is_nan());
    }

    #[test]
    fn large_ones_are_cut() {
        let mut grads = [3.0, -4.0, 0.5, -0.25];
        assert_eq!(clip_value(&mut grads, 4.0), 4.0);
        assert_eq!(grads, [3.0, -4.0, 0.5, -0.25]);
        assert_eq!(clip_value(&mut grads, 0.5), 4.0);
        assert_eq!(grads, [0.5, -0.5, 0.5, -0.25]);
        assert_eq!(clip_value(&mut [], 1.0), 0.0);
    }

    #[test]
    fn what_is_not_finite_stays() {
        let mut grads = [3.0, f32::NEG_INFINITY];
        assert_eq!(clip_value(&mut grads, 1.0), f32::INFINITY);
        assert_eq!(grads, [3.0, f32::NEG_INFINITY]);
        let mut grads = [f32::NAN, 3.0, f32::INFINITY];
        assert!(clip_value(&mut grads, 1.0).is_nan());
        assert!(grads[0].is_nan() && grads[1..] == [3.0, f32::INFINITY]);
    }

    #[test]
    #[should_panic(expected = "a norm of 0 or more, not -1")]
    fn a_negative_norm_is_refused() {
        clip_norm(&mut [1.0], -1.0);
    }

    #[test]
    #[should_panic(expected = "a norm of 0 or more, not NaN")]
    fn a_norm_that_is_none_is_refused() {
        clip_norm(&mut [1.0], f32::NAN);
    }

    #[test]
    #[should_panic(expected = "0 or more, not -1")]
    fn a_negative_limit_is_refused() {
        clip_value(&mut [1.0], -1.0);
    }
}
