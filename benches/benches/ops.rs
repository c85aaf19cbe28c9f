//! The kernels under a training step: convolution in all three passes, matrix products, batch norm, pooling.

#![allow(missing_docs)] // criterion_group! makes public functions without documents

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nas_nn::kernel::{
    BatchNormBackward, BatchNormForward, Channels, Conv2d, Pool2d, avg_pool2d_backward, avg_pool2d_forward,
    batch_norm_backward, batch_norm_forward, conv2d_backward_input, conv2d_backward_weight, conv2d_forward,
    conv2d_scratch, gemm, max_pool2d_backward, max_pool2d_forward,
};

const BATCH: usize = 32;

/// Numbers between −1 and 1, the same every time.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + 13) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn layer(channels: usize, filters: usize, size: usize, kernel: usize, stride: usize) -> Conv2d {
    Conv2d {
        batch: BATCH,
        channels,
        height: size,
        width: size,
        filters,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 4],
        dilation: [1; 2],
        groups: 1,
    }
}

fn conv(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv");
    let depthwise = Conv2d { groups: 32, ..layer(32, 32, 14, 3, 1) };
    let layers = [
        ("stem 1-16 3x3/2 28", layer(1, 16, 28, 3, 2)),
        ("16-16 3x3 14", layer(16, 16, 14, 3, 1)),
        ("16-32 3x3/2 14", layer(16, 32, 14, 3, 2)),
        ("32-32 3x3 7", layer(32, 32, 7, 3, 1)),
        ("64-64 3x3 4", layer(64, 64, 4, 3, 1)),
        ("16-16 3x3 32", layer(16, 16, 32, 3, 1)),
        ("32-32 1x1 14", layer(32, 32, 14, 1, 1)),
        ("depthwise 32 3x3 14", depthwise),
    ];
    for (name, geometry) in layers {
        // Two operations a multiply-add, so that the rate reads as FLOP/s.
        group.throughput(Throughput::Elements(2 * geometry.multiply_adds()));
        let (x, w, dy) = (values(geometry.input_len()), values(geometry.weight_len()), values(geometry.output_len()));
        let mut scratch = vec![0.0; conv2d_scratch(&geometry)];
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        group.bench_function(BenchmarkId::new("forward", name), |b| {
            b.iter(|| conv2d_forward(&geometry, &x, &w, &mut y, &mut scratch));
        });
        group.bench_function(BenchmarkId::new("input gradient", name), |b| {
            b.iter(|| conv2d_backward_input(&geometry, &w, &dy, &mut dx, false, &mut scratch));
        });
        group.bench_function(BenchmarkId::new("weight gradient", name), |b| {
            b.iter(|| conv2d_backward_weight(&geometry, &x, &dy, &mut dw, false, &mut scratch));
        });
    }
    group.finish();
}

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    let mut bench = |[m, n, k]: [usize; 3], transposed: [bool; 2], what: &str| {
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        let (a, b, mut c) = (values(m * k), values(k * n), values(m * n));
        let a_strides = if transposed[0] { [1, m] } else { [k, 1] };
        let b_strides = if transposed[1] { [1, k] } else { [n, 1] };
        group.bench_function(format!("{m}x{n}x{k}{what}"), |bench| {
            bench.iter(|| gemm([m, n, k], &a, a_strides, &b, b_strides, 0.0, &mut c, [n, 1]));
        });
    };
    for size in [[64, 64, 64], [256, 256, 256], [64, 10, 128], [32, 1024, 256]] {
        bench(size, [false, false], "");
    }
    // Gradients: of the input by the transposed weights, of the weights from the transposed input.
    for size in [[64, 128, 128], [32, 256, 1024], [2048, 128, 512]] {
        bench(size, [false, true], " input gradient");
    }
    for size in [[128, 128, 64], [128, 512, 2048]] {
        bench(size, [true, false], " weight gradient");
    }
    group.finish();
}

fn batch_norm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch norm");
    for (channels, size) in [(16, 14), (64, 4)] {
        let shape = Channels { batch: BATCH, channels, inner: size * size };
        group.throughput(Throughput::Elements(shape.len() as u64));
        let (x, dy, gamma) = (values(shape.len()), values(shape.len()), values(channels));
        let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
        let (mut y, mut dx, mut dgamma, mut dbeta) = (x.clone(), x.clone(), gamma.clone(), gamma.clone());
        let name = format!("{channels} channels {size}x{size}");
        let relu = |x: f32| if x < 0.0 { 0.0 } else { x };
        group.bench_function(BenchmarkId::new("with relu forward", &name), |b| {
            b.iter(|| {
                let (x, gamma, beta, mean, variance, y) =
                    (&x[..], &gamma[..], &gamma[..], &mut mean[..], &mut variance[..], &mut y[..]);
                let at = BatchNormForward { shape, epsilon: 1e-5, x, gamma, beta, residual: None, mean, variance, y };
                batch_norm_forward(at, relu);
            });
        });
        group.bench_function(BenchmarkId::new("with relu backward", &name), |b| {
            b.iter(|| {
                let at = BatchNormBackward {
                    shape,
                    epsilon: 1e-5,
                    x: &x,
                    gamma: &gamma,
                    beta: &gamma,
                    mean: &mean,
                    variance: &variance,
                    y: None,
                    dy: &dy,
                    dx: Some((&mut dx, false)),
                    dresidual: None,
                    dgamma: &mut dgamma,
                    dbeta: &mut dbeta,
                };
                batch_norm_backward(at, |x| if x > 0.0 { 1.0 } else { 0.0 });
            });
        });
    }
    group.finish();
}

fn pooling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pooling");
    let pool = |kernel: usize, stride: usize, padding: usize| Pool2d {
        batch: BATCH,
        channels: 16,
        height: 14,
        width: 14,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 4],
    };
    let (average, maximum) = (pool(3, 1, 1), pool(2, 2, 0));
    let x = values(average.input_len());
    let (mut y, mut dx) = (values(average.output_len()), x.clone());
    group.bench_function("average 3x3 forward", |b| b.iter(|| avg_pool2d_forward(&average, &x, &mut y)));
    group.bench_function("average 3x3 backward", |b| b.iter(|| avg_pool2d_backward(&average, &y, &mut dx, false)));
    let (mut y, mut place) = (values(maximum.output_len()), values(maximum.output_len()));
    group.bench_function("maximum 2x2 forward", |b| {
        b.iter(|| max_pool2d_forward(&maximum, &x, &mut y, &mut place));
    });
    group.bench_function("maximum 2x2 backward", |b| {
        b.iter(|| max_pool2d_backward(&maximum, &place, &y, &mut dx, false));
    });
    group.finish();
}

criterion_group!(benches, conv, products, batch_norm, pooling);
criterion_main!(benches);
