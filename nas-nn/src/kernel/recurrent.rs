//! The gates of recurrent layers, one step of several sequences at a time: rows of gates beside each other, activated where
//! they stand, and their gradients.

use super::math::{sigmoid, tanh};
use super::simd::dispatch;

/// `x = f(x + b)`.
#[inline(always)]
fn activate(x: &mut [f32], b: &[f32], f: impl Fn(f32) -> f32) {
    for (x, b) in x.iter_mut().zip(b) {
        *x = f(*x + b);
    }
}

/// The quarters, or other equal parts, of a row.
#[inline(always)]
fn parts<const N: usize>(row: &[f32]) -> [&[f32]; N] {
    let units = row.len() / N;
    std::array::from_fn(|i| &row[i * units..(i + 1) * units])
}

/// One step of an LSTM (Hochreiter & Schmidhuber, 1997) for one row: `gates` are i, f, g, o before their bias and
/// activation and are replaced by the activated ones, `c` is the old cell and becomes the new one, `h` the new output.
///
/// c′ = σ(f) c + σ(i) tanh(g), h = σ(o) tanh(c′).
///
/// # Panics
/// When the gates are not four for each cell.
pub fn lstm_row(gates: &mut [f32], bias: &[f32], c: &mut [f32], h: &mut [f32]) {
    let units = c.len();
    assert!(
        gates.len() == 4 * units && bias.len() == 4 * units && h.len() == units,
        "four gates for each of {units} cells"
    );
    dispatch(
        #[inline(always)]
        || {
            let (input_forget, rest) = gates.split_at_mut(2 * units);
            let (candidate, output) = rest.split_at_mut(units);
            activate(input_forget, &bias[..2 * units], sigmoid);
            activate(candidate, &bias[2 * units..3 * units], tanh);
            activate(output, &bias[3 * units..], sigmoid);
            let [i, f, g, o] = parts::<4>(gates);
            next_cell(c, i, f, g);
            for ((h, &c), &o) in h.iter_mut().zip(&*c).zip(o) {
                *h = o * tanh(c);
            }
        },
    );
}

#[inline(always)]
fn next_cell(c: &mut [f32], i: &[f32], f: &[f32], g: &[f32]) {
    for (((c, &i), &f), &g) in c.iter_mut().zip(i).zip(f).zip(g) {
        *c = f * *c + i * g;
    }
}

/// The gradient of [`lstm_row`]: from the activated `gates`, the old cell `before` (zeros if there is none), the new one
/// `after` and the gradient `dh` of the output to `dgates`; `dc` is the gradient by the new cell and becomes that by the old one.
///
/// With t = tanh c′ and d = dc′ + dh o (1 − t²): do = dh t, df = d c, di = d g, dg = d i, dc = d f; each gate then through
/// its activation.
///
/// # Panics
/// When the slices do not fit each other.
pub fn lstm_row_backward(
    gates: &[f32],
    before: Option<&[f32]>,
    after: &[f32],
    dh: &[f32],
    dc: &mut [f32],
    dgates: &mut [f32],
) {
    let units = dc.len();
    assert!(gates.len() == 4 * units && dgates.len() == 4 * units, "four gates for each of {units} cells");
    assert!(after.len() == units && dh.len() == units && before.is_none_or(|c| c.len() == units), "{units} cells");
    dispatch(
        #[inline(always)]
        || {
            let [i, f, g, o] = parts::<4>(gates);
            let (di, rest) = dgates.split_at_mut(units);
            let (df, rest) = rest.split_at_mut(units);
            let (dg, d_o) = rest.split_at_mut(units);
            through_output(d_o, dc, o, after, dh);
            through_pair(di, i, g, dc, |i, g, d| d * g * i * (1.0 - i));
            through_pair(dg, i, g, dc, |i, g, d| d * i * (1.0 - g * g));
            match before {
                Some(c) => through_pair(df, f, c, dc, |f, c, d| d * c * f * (1.0 - f)),
                None => df.fill(0.0),
            }
            for (dc, f) in dc.iter_mut().zip(f) {
                *dc *= f;
            }
        },
    );
}

#[inline(always)]
fn through_output(d_o: &mut [f32], dc: &mut [f32], o: &[f32], after: &[f32], dh: &[f32]) {
    for ((((d_o, dc), &o), &c), &dh) in d_o.iter_mut().zip(dc).zip(o).zip(after).zip(dh) {
        let t = tanh(c);
        *dc += dh * o * (1.0 - t * t);
        *d_o = dh * t * o * (1.0 - o);
    }
}

#[inline(always)]
fn through_pair(to: &mut [f32], a: &[f32], b: &[f32], d: &[f32], f: impl Fn(f32, f32, f32) -> f32) {
    for (((to, &a), &b), &d) in to.iter_mut().zip(a).zip(b).zip(d) {
        *to = f(a, b, d);
    }
}

/// One step of a gated recurrent unit (Cho et al., 2014; the variant of cuDNN and PyTorch) for one row. `gates` are the
/// input's products r, z, n and become the activated ones; `recurrent` are those of the old output `before` (zeros if there is none), of which the
/// last part becomes R_n h + b. `h` is the new output.
///
/// r = σ(W_r x + R_r h + b), z likewise, n = tanh(W_n x + b + r (R_n h + b′)), h′ = (1 − z) n + z h.
///
/// # Panics
/// When the gates are not three for each unit.
pub fn gru_row(
    gates: &mut [f32],
    recurrent: &mut [f32],
    bias: &[f32],
    recurrent_bias: &[f32],
    before: Option<&[f32]>,
    h: &mut [f32],
) {
    let units = h.len();
    assert!(gates.len() == 3 * units && recurrent.len() == 3 * units, "three gates for each of {units} units");
    assert!(bias.len() == 3 * units && recurrent_bias.len() == 3 * units, "three biases for each of {units} units");
    assert!(before.is_none_or(|h| h.len() == units), "{units} units");
    dispatch(
        #[inline(always)]
        || {
            activate(recurrent, recurrent_bias, |x| x);
            let (reset_update, candidate) = gates.split_at_mut(2 * units);
            for ((x, &b), &r) in reset_update.iter_mut().zip(bias).zip(&*recurrent) {
                *x = sigmoid(*x + b + r);
            }
            for (((n, &b), &r), &q) in
                candidate.iter_mut().zip(&bias[2 * units..]).zip(&*reset_update).zip(&recurrent[2 * units..])
            {
                *n = tanh(*n + b + r * q);
            }
            let z = &reset_update[units..];
            match before {
                Some(before) => through_pair(h, z, candidate, before, |z, n, h| (1.0 - z) * n + z * h),
                None => through_pair(h, z, candidate, candidate, |z, n, _| (1.0 - z) * n),
            }
        },
    );
}

/// The gradient of [`gru_row`]: from the activated `gates`, `products` = R_n h + b′, the old output `before` and the gradient `dh` of the new one
/// to the gradients by the input's products, `dgates`, and by the old output's, `drecurrent`; `dh` becomes what reaches the old output directly.
///
/// With dn = dh (1 − z) (1 − n²): dz = dh (h − n) z (1 − z), dr = dn q r (1 − r), dq = dn r.
///
/// # Panics
/// When the slices do not fit each other.
pub fn gru_row_backward(
    gates: &[f32],
    products: &[f32],
    before: Option<&[f32]>,
    dh: &mut [f32],
    dgates: &mut [f32],
    drecurrent: &mut [f32],
) {
    let units = dh.len();
    assert!(gates.len() == 3 * units && dgates.len() == 3 * units, "three gates for each of {units} units");
    assert!(drecurrent.len() == 3 * units && products.len() == units, "three gates for each of {units} units");
    assert!(before.is_none_or(|h| h.len() == units), "{units} units");
    dispatch(
        #[inline(always)]
        || {
            let [r, z, n] = parts::<3>(gates);
            let (dr, rest) = dgates.split_at_mut(units);
            let (dz, dn) = rest.split_at_mut(units);
            through_pair(dn, z, n, dh, |z, n, d| d * (1.0 - z) * (1.0 - n * n));
            match before {
                Some(h) => {
                    through_pair(dz, n, h, dh, |n, h, d| d * (h - n));
                    for (dz, z) in dz.iter_mut().zip(z) {
                        *dz *= z * (1.0 - z);
                    }
                }
                None => through_pair(dz, z, n, dh, |z, n, d| -d * n * z * (1.0 - z)),
            }
            through_pair(dr, r, products, dn, |r, q, d| d * q * r * (1.0 - r));
            drecurrent[..2 * units].copy_from_slice(&dgates[..2 * units]);
            for ((to, &dn), &r) in drecurrent[2 * units..].iter_mut().zip(&dgates[2 * units..]).zip(r) {
                *to = dn * r;
            }
            for (dh, z) in dh.iter_mut().zip(z) {
                *dh *= z;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::simd::on_every_simd;
    use super::super::testing::{assert_close, values};
    use super::*;

    fn sigmoid64(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// (c′, h) of one unit in f64.
    fn lstm([i, f, g, o]: [f64; 4], c: f64) -> (f64, f64) {
        let next = sigmoid64(f) * c + sigmoid64(i) * g.tanh();
        (next, sigmoid64(o) * next.tanh())
    }

    #[test]
    fn lstm_rows() {
        for units in [1, 7, 16, 50] {
            let (gates, bias) = (values(4 * units, 1), values(4 * units, 2));
            let (c, dh, dc) = (values(units, 3), values(units, 4), values(units, 5));
            let pre = |u: usize| [0, 1, 2, 3].map(|k| f64::from(gates[k * units + u]) + f64::from(bias[k * units + u]));
            on_every_simd(|_| {
                let (mut activated, mut next, mut h) = (gates.clone(), c.clone(), vec![f32::NAN; units]);
                lstm_row(&mut activated, &bias, &mut next, &mut h);
                let (mut dgates, mut dbefore) = (vec![f32::NAN; 4 * units], dc.clone());
                lstm_row_backward(&activated, Some(&c), &next, &dh, &mut dbefore, &mut dgates);
                for u in 0..units {
                    let loss = |gates: [f64; 4], c: f64| {
                        let (next, h) = lstm(gates, c);
                        f64::from(dc[u]) * next + f64::from(dh[u]) * h
                    };
                    let (gates, c) = (pre(u), f64::from(c[u]));
                    let (expected, output) = lstm(gates, c);
                    assert_close(&[next[u], h[u]], &[expected as f32, output as f32], 2e-6);
                    for k in 0..4 {
                        let shifted =
                            |h: f64| loss(std::array::from_fn(|j| gates[j] + if j == k { h } else { 0.0 }), c);
                        let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                        assert_close(&[dgates[k * units + u]], &[slope as f32], 1e-5);
                    }
                    let slope = (loss(gates, c + 1e-5) - loss(gates, c - 1e-5)) / 2e-5;
                    assert_close(&[dbefore[u]], &[slope as f32], 1e-5);
                }
            });
        }
    }

    /// h′ of one unit in f64 from the input's and the old output's products.
    fn gru(x: [f64; 3], q: [f64; 3], h: f64) -> f64 {
        let (r, z) = (sigmoid64(x[0] + q[0]), sigmoid64(x[1] + q[1]));
        (1.0 - z) * (x[2] + r * q[2]).tanh() + z * h
    }

    #[test]
    fn gru_rows() {
        for units in [1, 7, 16, 50] {
            let (gates, bias) = (values(3 * units, 1), values(3 * units, 2));
            let (products, product_bias) = (values(3 * units, 6), values(3 * units, 7));
            let (h, dh) = (values(units, 3), values(units, 4));
            let sum = |a: &[f32], b: &[f32], u: usize| {
                [0, 1, 2].map(|k| f64::from(a[k * units + u]) + f64::from(b[k * units + u]))
            };
            for before in [Some(&h[..]), None] {
                on_every_simd(|_| {
                    let (mut activated, mut recurrent, mut next) =
                        (gates.clone(), products.clone(), vec![f32::NAN; units]);
                    gru_row(&mut activated, &mut recurrent, &bias, &product_bias, before, &mut next);
                    let (mut dgates, mut drecurrent) = (vec![f32::NAN; 3 * units], vec![f32::NAN; 3 * units]);
                    let mut direct = dh.clone();
                    let products_of_n = &recurrent[2 * units..];
                    gru_row_backward(&activated, products_of_n, before, &mut direct, &mut dgates, &mut drecurrent);
                    for u in 0..units {
                        let (x, q) = (sum(&gates, &bias, u), sum(&products, &product_bias, u));
                        let h = before.map_or(0.0, |h| f64::from(h[u]));
                        assert_close(&[next[u]], &[gru(x, q, h) as f32], 2e-6);
                        let slope = |f: &dyn Fn(f64) -> f64| ((f(1e-5) - f(-1e-5)) / 2e-5 * f64::from(dh[u])) as f32;
                        for k in 0..3 {
                            let plus =
                                |a: [f64; 3], d: f64| std::array::from_fn(|j| a[j] + if j == k { d } else { 0.0 });
                            assert_close(&[dgates[k * units + u]], &[slope(&|d| gru(plus(x, d), q, h))], 1e-5);
                            assert_close(&[drecurrent[k * units + u]], &[slope(&|d| gru(x, plus(q, d), h))], 1e-5);
                        }
                        assert_close(&[direct[u]], &[slope(&|d| gru(x, q, h + d))], 1e-5);
                    }
                });
            }
        }
    }
}
