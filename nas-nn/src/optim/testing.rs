//! What the tests of the optimizers share: four tensors, five gradients, and the comparison with a rule in `f64`.

use super::{Optimizer, Span};

/// A matrix, a vector, the weights of a convolution and a vector.
pub(super) fn tensors() -> Vec<Span> {
    let mut start = 0;
    let tensors = [(37, 2), (5, 1), (36, 4), (3, 1)].map(|(len, rank)| {
        start += len;
        Span { range: start - len..start, rank }
    });
    tensors.to_vec()
}

/// Values in [−1, 1] that look irregular; other ones for another `seed`.
pub(super) fn values(seed: usize) -> Vec<f32> {
    (0..81).map(|i| ((i * 37 + seed * 53 + i * i * seed) % 101) as f32 / 50.0 - 1.0).collect()
}

/// The learning rate of step `t`, from 1: it changes, as under a schedule.
fn learning_rate(t: i32) -> f64 {
    0.05 / f64::from(t)
}

/// One tensor in `f64`: its parameters, what its gradient is, and two numbers of memory a parameter.
pub(super) struct Tensor {
    pub(super) matrix: bool,
    pub(super) p: Vec<f64>,
    pub(super) g: Vec<f64>,
    pub(super) memory: Vec<[f64; 2]>,
}

/// Five steps of `optimizer` are those of `rule`, which changes a tensor by step t, from 1, with the learning rate η.
#[track_caller]
pub(super) fn check_tensors(mut optimizer: impl Optimizer + Clone, rule: impl Fn(i32, f64, &mut Tensor)) {
    let spans = tensors();
    let mut values_now = values(0);
    let mut expected: Vec<Tensor> = spans
        .iter()
        .map(|span| Tensor {
            matrix: span.rank >= 2,
            p: values_now[span.range.clone()].iter().copied().map(f64::from).collect(),
            g: Vec::new(),
            memory: vec![[0.0; 2]; span.range.len()],
        })
        .collect();
    for t in 1..=5 {
        let grads = values(t as usize);
        optimizer.set_learning_rate(learning_rate(t) as f32);
        // A clone goes on as the original: what is remembered is in it.
        optimizer = optimizer.clone();
        optimizer.update(&mut values_now, &grads, &spans);
        for (tensor, span) in expected.iter_mut().zip(&spans) {
            tensor.g = grads[span.range.clone()].iter().copied().map(f64::from).collect();
            rule(t, learning_rate(t), tensor);
            for (i, (found, expected)) in values_now[span.range.clone()].iter().zip(&tensor.p).enumerate() {
                let close = (f64::from(*found) - expected).abs() <= 3e-6 * expected.abs().max(1.0);
                assert!(close, "step {t}, {span:?}, element {i}: {found} instead of {expected}");
            }
        }
    }
}

/// The same for a rule that knows no tensor: of step t, η, whether it stands in a matrix, parameter, gradient and memory
/// it makes the parameter.
#[track_caller]
pub(super) fn check(optimizer: impl Optimizer + Clone, rule: impl Fn(i32, f64, bool, f64, f64, &mut [f64; 2]) -> f64) {
    check_tensors(optimizer, |t, rate, tensor| {
        for ((p, &g), memory) in tensor.p.iter_mut().zip(&tensor.g).zip(&mut tensor.memory) {
            *p = rule(t, rate, tensor.matrix, *p, g, memory);
        }
    });
}
