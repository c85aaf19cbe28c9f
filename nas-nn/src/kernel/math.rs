//! Elementary functions of `f32` without branches or tables, so that loops over them vectorise, and the activations made
//! of them with their derivatives.
//!
//! They use no fused multiply-add and no library call: the same bits on every machine. The stated errors are tested
//! against `f64` over a dense range.

/// 1.5 · 2²³: adding it to a number below 2²² leaves that number, rounded to an integer, in the low bits.
const ROUND: f32 = 12_582_912.0;

/// eˣ, relative error below 2e-7 where the result is a normal number. Above 88.73 infinite, far below 0 zero; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // NaN passes both comparisons unchanged.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts keeps r exact (Cody and Waite).
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let whole = shifted - ROUND;
    let r = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let y = exp_tail(r) + 1.0;
    // 2ⁿ in two factors: n may lie outside the exponents of one.
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// eʳ − 1 for |r| ≤ ln 2 / 2, by the minimax polynomial of Cephes' expf.
#[inline(always)]
fn exp_tail(r: f32) -> f32 {
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    p * r * r + r
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// eˣ − 1, relative error below 3e-7, near zero too.
#[inline(always)]
pub fn exp_m1(x: f32) -> f32 {
    let near = exp_tail(x);
    let far = exp(x) - 1.0;
    if x.abs() < 0.34 { near } else { far }
}

/// ln(1 + y) for y from 0 to 1, relative error below 3e-7.
#[inline(always)]
fn ln_1p_of_unit(y: f32) -> f32 {
    // 2 artanh z with z = y / (2 + y) ≤ 1/3: the series to z¹⁵, whose rest is below 2e-9 of the sum.
    let z = y / (2.0 + y);
    let q = z * z;
    let p = 1.0 / 15.0;
    let p = p * q + 1.0 / 13.0;
    let p = p * q + 1.0 / 11.0;
    let p = p * q + 1.0 / 9.0;
    let p = p * q + 1.0 / 7.0;
    let p = p * q + 1.0 / 5.0;
    let p = p * q + 1.0 / 3.0;
    let twice = 2.0 * z;
    twice * q * p + twice
}

/// ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|), relative error below 5e-7 where the result is a normal number.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    relu(x) + ln_1p_of_unit(exp(-x.abs()))
}

/// 1 / (1 + e⁻ˣ), absolute error below 1.5e-7.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// tanh x, absolute error below 2e-7, and relative error below 4e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    // Small arguments: Cephes' tanhf polynomial, because 1 - 2 / (e²ˣ + 1) cancels.
    let z = x * x;
    let p = -5.704_988_7e-3;
    let p = p * z + 2.063_909e-2;
    let p = p * z - 5.373_971e-2;
    let p = p * z + 1.333_144_2e-1;
    let p = p * z - 3.333_328e-1;
    let small = p * z * x + x;
    let large = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
    if a < 0.625 { small } else { large }
}

/// The error function, absolute error below 5e-7.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    // Rational approximation on [-4, 4], beyond which erf rounds to ±1 (the coefficients Eigen and XLA use).
    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    let z = x * x;
    let p = -2.726_142_3e-10;
    let p = p * z + 2.770_681_4e-8;
    let p = p * z - 2.101_024e-6;
    let p = p * z - 5.692_506_5e-5;
    let p = p * z - 7.349_906_5e-4;
    let p = p * z - 2.954_6e-3;
    let p = p * z - 1.609_603_3e-2;
    let q = -1.456_606_5e-5;
    let q = q * z - 2.133_740_6e-4;
    let q = q * z - 1.682_827e-3;
    let q = q * z - 7.373_329e-3;
    let q = q * z - 1.426_473_9e-2;
    let y = x * p / q;
    // Rounding overshoots near ±4.
    let y = if y > 1.0 { 1.0 } else { y };
    if y < -1.0 { -1.0 } else { y }
}

/// max(x, 0).
#[inline(always)]
pub fn relu(x: f32) -> f32 {
    // Written so that NaN stays NaN: a diverged network must not look healthy.
    if x < 0.0 { 0.0 } else { x }
}

/// d relu / dx, 0 at 0.
#[inline(always)]
pub fn relu_derivative(x: f32) -> f32 {
    if x > 0.0 { 1.0 } else { 0.0 }
}

/// min(max(x, 0), 6).
#[inline(always)]
pub fn relu6(x: f32) -> f32 {
    let x = relu(x);
    if x > 6.0 { 6.0 } else { x }
}

/// d relu6 / dx, 0 at 0 and at 6.
#[inline(always)]
pub fn relu6_derivative(x: f32) -> f32 {
    if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 }
}

/// x where positive, `slope` x elsewhere.
#[inline(always)]
pub fn leaky_relu(x: f32, slope: f32) -> f32 {
    if x > 0.0 { x } else { slope * x }
}

/// d leaky_relu / dx, `slope` at 0.
#[inline(always)]
pub fn leaky_relu_derivative(x: f32, slope: f32) -> f32 {
    if x > 0.0 { 1.0 } else { slope }
}

/// x where positive, `alpha` (eˣ − 1) elsewhere.
#[inline(always)]
pub fn elu(x: f32, alpha: f32) -> f32 {
    // The exponential of what is not used must not overflow into the selection.
    let below = alpha * exp_m1(if x > 0.0 { 0.0 } else { x });
    if x > 0.0 { x } else { below }
}

/// x · sigmoid(x) (swish).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// d silu / dx = s + x s (1 − s) with s = sigmoid(x).
#[inline(always)]
pub fn silu_derivative(x: f32) -> f32 {
    let s = sigmoid(x);
    s + x * s * (1.0 - s)
}

/// x Φ(x), by the error function.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// d gelu / dx = Φ(x) + x φ(x).
#[inline(always)]
pub fn gelu_derivative(x: f32) -> f32 {
    const INV_SQRT_2_PI: f32 = 0.398_942_3;
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)) + x * INV_SQRT_2_PI * exp(-0.5 * x * x)
}

/// √(2/π), of the tanh form of GELU.
const SQRT_2_OVER_PI: f32 = 0.797_884_6;

/// x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))): the approximation of GELU that GPT-2 made common.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
}

/// d gelu_tanh / dx.
#[inline(always)]
pub fn gelu_tanh_derivative(x: f32) -> f32 {
    let t = tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x));
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * SQRT_2_OVER_PI * (1.0 + 0.134_145 * x * x)
}

/// relu6(x + 3) / 6.
#[inline(always)]
pub fn hard_sigmoid(x: f32) -> f32 {
    relu6(x + 3.0) * (1.0 / 6.0)
}

/// x · hard_sigmoid(x).
#[inline(always)]
pub fn hard_swish(x: f32) -> f32 {
    x * hard_sigmoid(x)
}

/// d hard_swish / dx: 0 up to −3, 1 from 3, x/3 + 1/2 between.
#[inline(always)]
pub fn hard_swish_derivative(x: f32) -> f32 {
    let inner = x * (1.0 / 3.0) + 0.5;
    let upper = if x >= 3.0 { 1.0 } else { inner };
    if x <= -3.0 { 0.0 } else { upper }
}

#[cfg(test)]
mod tests {
    use super::super::map::map;
    use super::super::simd::on_every_simd;
    use super::*;

    /// Points of [-limit, limit], dense near zero too.
    fn range(limit: f32) -> Vec<f32> {
        let mut x: Vec<f32> = (-200_000..=200_000).map(|i| i as f32 * (limit / 200_000.0)).collect();
        x.extend((-3000..=3000).map(|i| i as f32 * 1e-5));
        x
    }

    #[track_caller]
    fn check(limit: f32, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, absolute: f64, relative: f64) {
        let x = range(limit);
        let mut y = vec![0.0; x.len()];
        on_every_simd(|simd| {
            map(&x, &mut y.clone(), &f);
            let mut out = vec![0.0; x.len()];
            map(&x, &mut out, &f);
            for (&x, &y) in x.iter().zip(&out) {
                let e = exact(f64::from(x));
                let error = (f64::from(y) - e).abs();
                assert!(error <= absolute && error <= relative * e.abs() + 1e-38, "{simd}: f({x}) = {y}, not {e}");
                assert_eq!(y.to_bits(), f(x).to_bits(), "{simd}: the vectorised loop differs at {x}");
            }
        });
        map(&x, &mut y, &f);
        assert!(f(f32::NAN).is_nan());
    }

    /// erf by its Taylor series for small and the continued fraction of erfc for large arguments.
    fn erf_f64(x: f64) -> f64 {
        let a = x.abs();
        let value = if a < 2.5 {
            let (mut term, mut sum) = (a, a);
            for n in 1..80 {
                term *= -a * a / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        } else {
            let fraction = (1..120).rev().fold(a, |tail, n| a + f64::from(n) / 2.0 / tail);
            1.0 - (-a * a).exp() / fraction * std::f64::consts::FRAC_2_SQRT_PI / 2.0
        };
        value.copysign(x)
    }

    #[test]
    fn exponential() {
        check(87.0, exp, f64::exp, f64::INFINITY, 2e-7);
        assert_eq!(exp(89.0), f32::INFINITY);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!((f64::from(exp(88.5)) / 88.5f64.exp() - 1.0).abs() < 2e-7);
        assert!(exp(-95.0) > 0.0, "small results are subnormal, not zero");
    }

    #[test]
    fn sigmoids() {
        check(30.0, sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 1.5e-7, 4e-7);
        assert_eq!((sigmoid(-1e9), sigmoid(1e9)), (0.0, 1.0));
    }

    #[test]
    fn exponential_less_one() {
        check(87.0, exp_m1, f64::exp_m1, f64::INFINITY, 3e-7);
        assert_eq!((exp_m1(f32::NEG_INFINITY), exp_m1(0.0), exp_m1(f32::INFINITY)), (-1.0, 0.0, f32::INFINITY));
    }

    #[test]
    fn softplus_and_elu() {
        check(87.0, softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), f64::INFINITY, 5e-7);
        assert_eq!((softplus(f32::NEG_INFINITY), softplus(f32::INFINITY)), (0.0, f32::INFINITY));
        let exact = |x: f64| if x > 0.0 { x } else { 0.7 * x.exp_m1() };
        check(87.0, |x| elu(x, 0.7), exact, f64::INFINITY, 4e-7);
    }

    #[test]
    fn hyperbolic_tangent() {
        check(20.0, tanh, f64::tanh, 2e-7, 4e-7);
        assert_eq!((tanh(f32::NEG_INFINITY), tanh(f32::INFINITY)), (-1.0, 1.0));
    }

    #[test]
    fn error_function() {
        check(6.0, erf, erf_f64, 5e-7, 1e-6);
    }

    #[test]
    fn smooth_activations() {
        check(10.0, silu, |x| x / (1.0 + (-x).exp()), 2e-6, 1e30);
        check(10.0, gelu, |x| 0.5 * x * (1.0 + erf_f64(x / 2f64.sqrt())), 3e-6, 1e30);
        let inner = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
        check(10.0, gelu_tanh, |x| 0.5 * x * (1.0 + inner(x).tanh()), 3e-6, 1e30);
    }

    /// Derivatives against central differences in f64 of the same formula.
    #[track_caller]
    fn check_derivative(f: impl Fn(f64) -> f64, derivative: impl Fn(f32) -> f32) {
        for i in -600..600 {
            let x = i as f32 * 0.01 + 0.003;
            let h = 1e-4;
            let numeric = (f(f64::from(x) + h) - f(f64::from(x) - h)) / (2.0 * h);
            assert!((f64::from(derivative(x)) - numeric).abs() < 2e-6, "at {x}: {} not {numeric}", derivative(x));
        }
    }

    #[test]
    fn derivatives() {
        check_derivative(|x| x.max(0.0), relu_derivative);
        check_derivative(|x| x.clamp(0.0, 6.0), relu6_derivative);
        check_derivative(|x| x.max(0.1 * x), |x| leaky_relu_derivative(x, 0.1));
        check_derivative(|x| x / (1.0 + (-x).exp()), silu_derivative);
        check_derivative(|x| 0.5 * x * (1.0 + erf_f64(x / 2f64.sqrt())), gelu_derivative);
        let inner = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
        check_derivative(|x| 0.5 * x * (1.0 + inner(x).tanh()), gelu_tanh_derivative);
        check_derivative(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0, hard_swish_derivative);
    }

    #[test]
    fn piecewise_activations() {
        assert_eq!([-1.0, 0.5, 7.0].map(relu), [0.0, 0.5, 7.0]);
        assert_eq!([-1.0, 0.5, 7.0].map(relu6), [0.0, 0.5, 6.0]);
        assert_eq!([-1.0, 2.0].map(|x| leaky_relu(x, 0.25)), [-0.25, 2.0]);
        assert_eq!([-4.0, 0.0, 4.0].map(hard_sigmoid), [0.0, 0.5, 1.0]);
        assert_eq!([-4.0, 0.0, 4.0].map(hard_swish), [0.0, 0.0, 4.0]);
        assert!(relu(f32::NAN).is_nan() && relu6(f32::NAN).is_nan());
    }
}
