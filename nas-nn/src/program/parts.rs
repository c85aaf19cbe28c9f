//! One step in parts: some of its examples at a time, one part after the other or on the threads of a crew.
//!
//! Where parts only write what is their own, their size may depend on the number of threads. A gradient that is a sum over
//! examples is another matter: it is a sum over parts, in their order, so their size is planned once and kept to with any
//! number of threads, one included.

use smallvec::SmallVec;

use super::list::{Grads, Kept, PartRooms, Values};
use super::step::Step;
use super::work::Rates;
use crate::graph::Shape;
use crate::kernel::axpy;
use crate::kernel::crew::{self, MAX_PARTS};
use crate::op::{Backward, Forward, Grad, Op};

/// Less work is not worth handing to another thread.
const SECONDS: f64 = 20e-6;
/// Less work is no part of its own where a single thread has to keep to the parts too: what every call costs must not show, nor
/// that a convolution finds its first images of a part outside the cache (a tenth of its time at 100 µs).
const PLANNED_SECONDS: f64 = 250e-6;
/// Small images are worked on side by side, so many in a vector.
const IMAGES: usize = 16;
/// The most parts of a sum over examples.
const MOST: usize = 8;
/// By how much a part's work must exceed that of adding its sums up.
const WORTH: f64 = 32.0;

/// Examples in a part of a backward pass that takes `seconds` for `batch` of them and yields `floats` sums over examples.
pub(super) fn planned(batch: usize, seconds: f64, floats: usize) -> usize {
    // Written, read and added to the first part's, from the second-level cache.
    let adding = 12.0 * floats as f64 / (2.0 * Rates::TYPICAL.bytes);
    let parts = (seconds / PLANNED_SECONDS.max(WORTH * adding)) as usize;
    batch.div_ceil(parts.clamp(1, MOST)).next_multiple_of(IMAGES).min(batch)
}

impl Step {
    /// Examples in a part of the forward and of the backward pass of `batch` examples, `planned` being those of the plan.
    pub(super) fn part_sizes(&self, batch: usize, planned: usize, threads: usize) -> [usize; 2] {
        if !self.by_example {
            return [batch; 2];
        }
        let free = |seconds: f64| batch.div_ceil(free_parts(seconds, batch, planned, threads));
        let Some(back) = &self.backward else { return [free(self.seconds), batch] };
        let backward = back.part.map_or_else(|| free(back.seconds), |part| part.min(batch));
        // What was saved is read as it was written.
        let forward = if self.saved.floats(1) > 0 { backward } else { free(self.seconds) };
        [forward, backward]
    }

    /// The most parts of the forward and of the backward pass of up to `batch` examples, those of the plan. A smaller batch may
    /// have more than the whole: on eight threads ten examples are five parts of two, eight are eight of one.
    pub(super) fn most_parts(&self, batch: usize, threads: usize) -> [usize; 2] {
        if !self.by_example {
            return [1; 2];
        }
        let free = |seconds: f64| free_parts(seconds, batch, batch, threads);
        let Some(back) = &self.backward else { return [free(self.seconds), 1] };
        let backward = back.part.map_or_else(|| free(back.seconds), |part| batch.div_ceil(part));
        [if self.saved.floats(1) > 0 { backward } else { free(self.seconds) }, backward]
    }

    /// Floats of `spare` memory that either pass takes to run in parts on several threads.
    pub(super) fn spare(&self, batch: usize, threads: usize) -> [usize; 2] {
        let parts = self.most_parts(batch, threads);
        // A part works in no more than a whole batch does.
        let forward = (self.forward.scratch_floats, 0);
        let backward = self.backward.as_ref().map_or((0, 0), |back| {
            let sums = if parts[1] > 1 { back.sums } else { 0 };
            (back.scratch_floats - sums, sums)
        });
        let of_parts = |parts: usize, (scratch, sums): (usize, usize)| {
            if parts < 2 { 0 } else { parts * scratch + (parts - 1) * sums }
        };
        [of_parts(parts[0], forward), of_parts(parts[1], backward)]
    }
}

/// The parts worth making of `batch` examples where their size is free; the whole `planned` batch takes `seconds`.
fn free_parts(seconds: f64, batch: usize, planned: usize, threads: usize) -> usize {
    let seconds = seconds * batch as f64 / planned as f64;
    ((seconds / SECONDS) as usize).clamp(1, threads.min(MAX_PARTS).min(batch))
}

/// Runs the forward pass in parts of `size` examples. `spare` is the working memory of all parts together where they run
/// at once.
pub(super) fn forward(op: &dyn Op, at: Forward<'_>, size: usize, spare: &mut [f32], rooms: &mut PartRooms) {
    let Forward { batch, mode, shapes, shape, inputs, mut output, mut saved, scratch, states, .. } = at;
    let parts = batch.div_ceil(size);
    let (wave, scratch) = if crew::threads() > 1 { (parts, spare) } else { (1, scratch) };
    assert!(wave <= MAX_PARTS, "{wave} parts at once");
    let (own, saved_each) = (scratch.len() / wave, saved.len() / batch);
    for first in (0..parts).step_by(wave) {
        let mut scratch = &mut *scratch;
        let mut lists = SmallVec::<[Values<'_>; MAX_PARTS]>::new();
        for (part, room) in (first..(first + wave).min(parts)).zip(&mut rooms.inputs) {
            let (from, count) = range(part, size, batch);
            lists.push(Values::of(inputs.iter().zip(shapes).map(|(x, shape)| examples(x, shape, from, count)), room));
        }
        let mut jobs = SmallVec::<[Option<Forward<'_>>; MAX_PARTS]>::new();
        for (part, inputs) in (first..).zip(&lists) {
            let (_, count) = range(part, size, batch);
            jobs.push(Some(Forward {
                batch: count,
                mode,
                shapes,
                shape,
                inputs,
                output: front(&mut output, shape.elements(count)),
                saved: front(&mut saved, saved_each * count),
                scratch: front(&mut scratch, own),
                states,
                rng: None,
            }));
        }
        crew::each(&mut jobs, |job| op.forward(job.take().expect("a part runs once")));
    }
}

/// Runs the backward pass in parts of `size` examples. The first part's sums go where they belong; those of the others
/// stand behind the working memory, `sums` floats a part, and are added in order.
pub(super) fn backward(
    op: &dyn Op,
    at: Backward<'_>,
    size: usize,
    sums: usize,
    spare: &mut [f32],
    rooms: &mut PartRooms,
) {
    let Backward { batch, shapes, shape, grad, saved, scratch, inputs, output, mut grads } = at;
    let parts = batch.div_ceil(size);
    // How many run at once, and their memory.
    let (wave, memory) = if crew::threads() > 1 { (parts, spare) } else { (1, scratch) };
    assert!(wave <= MAX_PARTS, "{wave} parts at once");
    let others = if wave == 1 { 1 } else { parts - 1 };
    let (scratch, partial) = memory.split_at_mut(memory.len() - others * sums);
    let (own, saved_each) = (scratch.len() / wave, saved.len() / batch);
    let PartRooms { fixed: fixed_room, kept: kept_rooms, grads: grad_rooms, .. } = rooms;
    // What is left of them in `grads` says only that they are wanted.
    let fixed = grads.iter_mut().zip(shapes).map(|(grad, shape)| match grad {
        Some(grad) if !shape.is_batched() => Some(grad.front(shape.len())),
        _ => None,
    });
    let mut fixed = Grads::of(fixed, fixed_room);
    for first in (0..parts).step_by(wave) {
        {
            let (mut scratch, mut partial) = (&mut *scratch, &mut *partial);
            let mut lists = SmallVec::<[Kept<'_>; MAX_PARTS]>::new();
            for (part, room) in (first..(first + wave).min(parts)).zip(&mut *kept_rooms) {
                let (from, count) = range(part, size, batch);
                let kept = inputs.iter().zip(shapes).map(|(x, shape)| x.map(|x| examples(x, shape, from, count)));
                lists.push(Kept::of(kept, room));
            }
            let mut whole = fixed.iter_mut();
            let mut jobs = SmallVec::<[Option<Backward<'_>>; MAX_PARTS]>::new();
            for ((part, inputs), room) in (first..).zip(&lists).zip(&mut *grad_rooms) {
                let (from, count) = range(part, size, batch);
                let grads = grads.iter_mut().zip(shapes).map(|(grad, shape)| {
                    let whole = if part == 0 { whole.next().and_then(Option::as_mut) } else { None };
                    let grad = grad.as_mut()?;
                    Some(match whole {
                        _ if shape.is_batched() => grad.front(shape.elements(count)),
                        Some(whole) => whole.again(),
                        None => Grad::new(front(&mut partial, shape.len()), true),
                    })
                });
                jobs.push(Some(Backward {
                    grads: Grads::of(grads, room),
                    batch: count,
                    shapes,
                    shape,
                    grad: examples(grad, shape, from, count),
                    saved: &saved[from * saved_each..][..count * saved_each],
                    scratch: front(&mut scratch, own),
                    inputs,
                    output: output.map(|y| examples(y, shape, from, count)),
                }));
            }
            crew::each(&mut jobs, |job| op.backward(job.take().expect("a part runs once")));
        }
        let mut partial = &*partial;
        for _ in first.max(1)..(first + wave).min(parts) {
            for (sum, shape) in fixed.iter_mut().zip(shapes) {
                if let Some(sum) = sum {
                    let (part, rest) = partial.split_at(shape.len());
                    axpy(1.0, part, sum.again().parts().0);
                    partial = rest;
                }
            }
        }
    }
}

/// The first example of a part and how many it has.
fn range(part: usize, size: usize, batch: usize) -> (usize, usize) {
    (part * size, size.min(batch - part * size))
}

/// The values of `count` examples from number `from` on; all of them where they exist once.
fn examples<'a>(x: &'a [f32], shape: &Shape, from: usize, count: usize) -> &'a [f32] {
    if shape.is_batched() { &x[from * shape.len()..][..count * shape.len()] } else { x }
}

/// Takes the first `len` elements off.
fn front<'a>(of: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (front, rest) = std::mem::take(of).split_at_mut(len);
    *of = rest;
    front
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::op::{Attention, Conv2d, Gru, Lstm};
    use crate::optim::{Adam, Optimizer, Sgd};
    use crate::{Feed, Graph, Params, Program, Rng, Var};

    /// Ops whose steps ran in parts, once with two threads.
    type Cut = Vec<&'static str>;

    /// Trains with 1, 2, 3 and 8 threads: the same bits in the losses, parameters, running statistics and outputs, of
    /// whole and of smaller batches. Returns the ops that two threads work on in parts.
    #[track_caller]
    fn check(
        batch: usize,
        classes: Option<(usize, &[usize])>,
        dims: &[usize],
        net: impl for<'g> Fn(Var<'g>) -> Var<'g>,
    ) -> Cut {
        let graph = Graph::new();
        let x = match classes {
            Some((classes, dims)) => graph.classes("x", classes, dims),
            None => graph.input("x", dims),
        };
        let logits = net(x);
        let last = logits.last();
        let rest = logits.shape().dims()[..logits.shape().rank() - 1].to_vec();
        let loss = logits.cross_entropy(graph.classes("y", last, &rest));
        let len = x.shape().len();
        let value = |i: usize| match classes {
            Some((classes, _)) => (i * 7 % classes) as f32,
            None => ((i * 37 % 101) as f32 / 50.0 - 1.0) * if i.is_multiple_of(3) { 1.0 } else { 0.3 },
        };
        let values: Vec<f32> = (0..batch * len).map(value).collect();
        let labels: Vec<f32> = (0..batch * rest.iter().product::<usize>()).map(|i| (i % last) as f32).collect();
        let run = |threads: usize, optimizer: &mut dyn Optimizer| {
            let mut params = Params::init(&graph, &mut Rng::seed_from_u64(5));
            let mut program = Program::train(&graph, loss, &[logits], batch).unwrap();
            program.set_rng(Rng::seed_from_u64(7));
            program.set_threads(threads).unwrap();
            assert_eq!(program.threads(), threads);
            let mut bits = Vec::new();
            for n in [batch, batch - 3, batch / 2, batch] {
                let feed = Feed::new(n).with("x", &values[..n * len]).with("y", &labels[..n * labels.len() / batch]);
                bits.push(program.step(&feed, &mut params, optimizer).unwrap().to_bits());
                bits.extend(program.output(0).iter().map(|x| x.to_bits()));
            }
            let mut eval = Program::eval(&graph, &[logits], batch).unwrap();
            eval.set_threads(threads).unwrap();
            eval.run(&Feed::new(batch).with("x", &values), &params).unwrap();
            bits.extend(eval.output(0).iter().map(|x| x.to_bits()));
            bits.extend(params.values().iter().map(|x| x.to_bits()));
            bits.extend(params.states.iter().flatten().map(|x| x.to_bits()));
            assert!(params.values().iter().all(|x| x.is_finite()));
            bits
        };
        for optimizer in 0..2 {
            let with = |threads: usize| match optimizer {
                0 => run(threads, &mut Sgd::new(0.05)),
                _ => run(threads, &mut Adam::new(1e-3)),
            };
            let alone = with(1);
            for threads in [2, 3, 8] {
                assert!(alone == with(threads), "other bits with {threads} threads");
            }
        }
        let program = Program::train(&graph, loss, &[], batch).unwrap();
        let steps = program.plan().forward_steps();
        let cut = steps.filter(|step| step.part_sizes(batch, batch, 2).iter().any(|&size| size < batch));
        let mut cut: Cut = cut.map(|step| step.op.name()).collect();
        cut.sort_unstable();
        cut.dedup();
        cut
    }

    #[test]
    fn convolutional_networks() {
        let cut = check(96, None, &[3, 28, 28], |x| {
            let x = x.conv2d(16, 3).batch_norm().relu();
            let y = x.conv(Conv2d::new(32, 3).stride(2).bias(true)).silu();
            let y = y.conv(Conv2d::new(32, 5).groups(32)).group_norm(4).relu().dropout(0.2);
            let y = y.conv2d(64, 1).batch_norm() + y.conv2d(64, 3).batch_norm();
            let y = y.gelu().max_pool2d(2) + y.avg_pool2d(2, 2, 0);
            (y * y.sigmoid()).global_avg_pool().linear(10)
        });
        for op in ["conv2d", "group_norm", "silu", "mul", "sigmoid"] {
            assert!(cut.contains(&op), "{op} is not among {cut:?}");
        }
    }

    #[test]
    fn recurrent_networks() {
        let cut = check(35, Some((50, &[30])), &[], |x| {
            let x = x.embedding(50, 96);
            (x.lstm(Lstm::new(128)) + x.gru(Gru::new(128))).linear(50)
        });
        assert!(cut.contains(&"add"), "{cut:?}");
    }

    #[test]
    fn transformers() {
        let cut = check(96, Some((64, &[48])), &[], |x| {
            let mut x = x.embedding(64, 128);
            for _ in 0..2 {
                x = x + x.layer_norm().self_attention(Attention::new(4).causal());
                x = x + x.rms_norm().linear(512).gelu().linear(128);
            }
            x.layer_norm().linear(64)
        });
        for op in ["attention", "layer_norm", "rms_norm", "gelu"] {
            assert!(cut.contains(&op), "{op} is not among {cut:?}");
        }
    }

    /// The sums over parts are the gradient: against whole batches that are too small to be cut.
    #[test]
    fn sums_over_parts_are_the_gradient() {
        let graph = Graph::new();
        let y = graph.input("x", &[8, 16, 16]).conv(Conv2d::new(24, 3).bias(true));
        let y = y.group_norm(2).silu().conv2d(16, 3) * graph.parameter("factor", &[16, 1, 1], crate::Init::ONES);
        let loss = y.global_avg_pool().linear(4).cross_entropy(graph.class("y", 4));
        let values: Vec<f32> = (0..192 * 2048).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let labels: Vec<f32> = (0..192).map(|i| (i % 4) as f32).collect();
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(5));
        let mut whole = Program::train(&graph, loss, &[], 192).unwrap();
        let cut = whole.plan().backward_steps().filter(|(_, step)| step.part_sizes(192, 192, 1)[1] < 192);
        assert!(cut.count() >= 4, "the convolutions, the norm and the product");
        whole.gradients(&Feed::new(192).with("x", &values).with("y", &labels), &mut params).unwrap();
        let mut single = Program::train(&graph, loss, &[], 1).unwrap();
        for (x, y) in values.chunks(2048).zip(labels.chunks(1)) {
            single.accumulate(&Feed::new(1).with("x", x).with("y", y), &mut params).unwrap();
        }
        let largest = single.grads().iter().fold(0.0_f32, |m, g| m.max(g.abs()));
        for (a, b) in whole.grads().iter().zip(single.grads()) {
            assert!((a - b).abs() <= 1e-5 * largest.max(1e-3), "{a} and {b}");
        }
    }

    #[test]
    fn no_threads_are_an_error() {
        let graph = Graph::new();
        let y = graph.input("x", &[2]).tanh();
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        assert!(program.set_threads(0).is_err());
        assert_eq!(program.threads(), 1);
    }

    /// Attention takes the same working memory for every part, however few its examples.
    #[test]
    fn smaller_batches_may_have_more_parts() {
        let graph = Graph::new();
        let x = graph.input("x", &[64, 32]);
        let y = x.self_attention(Attention::new(2));
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(5));
        let values: Vec<f32> = (0..17 * 64 * 32).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        for (batch, threads) in [(10, 8), (17, 16)] {
            let programs = || [Program::eval(&graph, &[y], batch), Program::train(&graph, y.sum(), &[y], batch)];
            let [mut one, mut many] = [programs(), programs()].map(|both| both.map(Result::unwrap));
            many.iter_mut().for_each(|program| program.set_threads(threads).unwrap());
            for fed in (1..=batch).rev() {
                let feed = Feed::new(fed).with("x", &values[..fed * 64 * 32]);
                for (one, many) in one.iter_mut().zip(&mut many) {
                    one.run(&feed, &params).unwrap();
                    many.run(&feed, &params).unwrap();
                    assert_eq!(one.output(0), many.output(0), "{fed} of {batch} on {threads}");
                }
                one[1].gradients(&feed, &mut params).unwrap();
                many[1].gradients(&feed, &mut params).unwrap();
                assert_eq!(one[1].grads(), many[1].grads(), "{fed} of {batch} on {threads}");
            }
        }
    }
}
