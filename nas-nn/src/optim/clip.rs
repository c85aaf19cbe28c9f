//! Clipping of gradients.

use crate::kernel;

/// Shortens `grads` to the norm `limit` if they are longer, as one vector; their norm before.
///
/// Gradients that are not finite are left as they are: their norm says so.
pub fn clip_norm(grads: &mut [f32], limit: f32) -> f32 {
    let norm = kernel::sum_squares(grads).sqrt() as f32;
    if norm.is_finite() && norm > limit {
        kernel::scale(limit / norm, grads);
    }
    norm
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
}
