//! The two passes of a program: every step with its stretches of the arena, forward and back.

use std::time::Instant;

use super::arena::{self, cut};
use super::list::{Grads, Kept, Values};
use super::profile::Pass;
use super::step::{GradPlace, Place};
use super::{Program, parts};
use crate::graph::Shape;
use crate::kernel::crew;
use crate::op::{Backward, Forward, Grad, Update};
use crate::params::Params;

impl Program {
    pub(super) fn forward(&mut self, inputs: &[&[f32]], batch: usize, values: &[f32], mut states: States<'_>) {
        self.batch = batch;
        let (mode, planned, threads) = (self.plan.mode(), self.plan.batch(), crew::threads());
        if let Some(clocks) = &mut self.clocks {
            clocks.count(Pass::Forward);
        }
        for (number, step) in self.plan.forward_steps().enumerate() {
            let begin = self.clocks.as_ref().map(|_| Instant::now());
            let rooms = &mut *self.rooms;
            let mut parts = cut(&mut self.arena, &step.forward.cuts, &mut rooms.parts);
            let output = parts.take(step.forward.output, step.shape.elements(batch));
            let saved = parts.take(step.forward.saved, step.saved.floats(batch));
            let scratch = parts.take(step.forward.scratch, step.forward.scratch_floats);
            let parts = parts.share(&mut rooms.shared);
            let sources = Sources { parts, fed: inputs, values, batch };
            let operands = step.forward.inputs.iter().zip(&step.shapes).map(|(place, shape)| sources.get(place, shape));
            let operands = Values::of(operands, &mut rooms.inputs);
            let mut update = None;
            if matches!(states, States::Train(_)) && !step.states.is_empty() {
                update = Some(step.states.clone());
            }
            let saved_again: &[f32] = {
                let at = Forward {
                    batch,
                    mode,
                    shapes: &step.shapes,
                    shape: &step.shape,
                    inputs: &operands,
                    output,
                    saved: &mut *saved,
                    scratch,
                    states: &states.get()[step.states.clone()],
                    rng: (!step.by_example).then_some(&mut self.rng),
                };
                let [size, _] = step.part_sizes(batch, planned, threads);
                if size < batch {
                    parts::forward(&*step.op, at, size, &mut self.spare, &mut rooms.in_parts);
                } else {
                    step.op.forward(at);
                }
                saved
            };
            if let (Some(range), States::Train(states)) = (update, &mut states) {
                let states = &mut states[range];
                step.op.update(Update { batch, shapes: &step.shapes, saved: saved_again, states });
            }
            if let (Some(clocks), Some(begin)) = (&mut self.clocks, begin) {
                clocks.add(Pass::Forward, number, begin);
            }
        }
    }

    pub(super) fn backward(&mut self, inputs: &[&[f32]], batch: usize, params: &Params) {
        let loss_grad = self.plan.loss_grad();
        if loss_grad.len == 0 {
            // No parameter reaches the loss: all gradients are zero.
            return;
        }
        self.arena[loss_grad.start] = 1.0;
        let (planned, threads) = (self.plan.batch(), crew::threads());
        if let Some(clocks) = &mut self.clocks {
            clocks.count(Pass::Backward);
        }
        for (number, step) in self.plan.backward_steps() {
            let begin = self.clocks.as_ref().map(|_| Instant::now());
            let back = step.backward.as_ref().expect("backward steps have a backward plan");
            let rooms = &mut *self.rooms;
            // Gone after the gradients, which are lent for no longer than what is read beside them.
            let (sources, kept);
            let mut parts = cut(&mut self.arena, &back.cuts, &mut rooms.parts);
            let mut param_parts = cut(&mut self.grads, &back.param_cuts, &mut rooms.param_parts);
            let scratch = parts.take(back.scratch, back.scratch_floats);
            let grads = back.grads.iter().zip(&step.shapes).map(|(grad, shape)| {
                grad.as_ref().map(|grad| match grad.place {
                    GradPlace::Arena(part) => Grad::new(parts.take(Some(part), shape.elements(batch)), grad.fresh),
                    GradPlace::Param(part) => {
                        Grad::new(param_parts.take(Some(part), shape.elements(batch)), grad.fresh)
                    }
                })
            });
            let grads = Grads::of(grads, &mut rooms.grads);
            let parts = parts.share(&mut rooms.shared);
            let keeps = step.op.keeps();
            sources = Sources { parts, fed: inputs, values: &params.values, batch };
            let operands = back.inputs.iter().zip(&step.shapes).enumerate();
            let operands = operands.map(|(i, (place, shape))| keeps.input(i).then(|| sources.get(place, shape)));
            kept = Kept::of(operands, &mut rooms.kept);
            let parts = &sources.parts;
            let at = Backward {
                batch,
                shapes: &step.shapes,
                shape: &step.shape,
                grad: parts.get(back.grad, step.shape.elements(batch)),
                saved: parts.get(back.saved, step.saved.floats(batch)),
                scratch,
                inputs: &kept,
                output: keeps.output().then(|| parts.get(back.output, step.shape.elements(batch))),
                grads,
            };
            let [_, size] = step.part_sizes(batch, planned, threads);
            if size < batch {
                parts::backward(&*step.op, at, size, back.sums, &mut self.spare, &mut rooms.in_parts);
            } else {
                step.op.backward(at);
            }
            if let (Some(clocks), Some(begin)) = (&mut self.clocks, begin) {
                clocks.add(Pass::Backward, number, begin);
            }
        }
    }
}

/// Running statistics: changed by training, read by everything else.
pub(super) enum States<'a> {
    Train(&'a mut [Vec<f32>]),
    Keep(&'a [Vec<f32>]),
}

impl States<'_> {
    fn get(&self) -> &[Vec<f32>] {
        match self {
            States::Train(states) => states,
            States::Keep(states) => states,
        }
    }
}

/// Everything that operands are read from.
struct Sources<'a> {
    parts: arena::Shared<'a>,
    fed: &'a [&'a [f32]],
    values: &'a [f32],
    batch: usize,
}

impl Sources<'_> {
    fn get<'s>(&'s self, place: &'s Place, shape: &Shape) -> &'s [f32] {
        match place {
            Place::Feed(input) => self.fed[*input],
            Place::Param(range) => &self.values[range.clone()],
            Place::Constant(constant) => constant,
            Place::Arena(part) => self.parts.get(*part, shape.elements(self.batch)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::op::Op;
    use crate::optim::Adam;
    use crate::{Feed, Graph, Rng};

    const WHOLE: u8 = 0;
    const FORWARD: u8 = 1;
    const BACKWARD: u8 = 2;

    /// A copy of its input that panics once, in one part of a pass, when it is told to.
    #[derive(Debug)]
    struct Fragile(Arc<AtomicU8>);

    impl Fragile {
        fn meet(&self, pass: u8) {
            let met = self.0.compare_exchange(pass, WHOLE, Ordering::SeqCst, Ordering::SeqCst);
            assert!(met.is_err(), "it broke in pass {pass}");
        }
    }

    impl Op for Fragile {
        fn name(&self) -> &'static str {
            "fragile"
        }

        fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
            Ok(inputs[0].clone())
        }

        /// So many that threads share it.
        fn madds(&self, _: &[&Shape], _: &Shape) -> u64 {
            1 << 30
        }

        fn by_example(&self) -> bool {
            true
        }

        fn forward(&self, at: Forward<'_>) {
            self.meet(FORWARD);
            at.output.copy_from_slice(at.inputs[0]);
        }

        fn backward(&self, mut at: Backward<'_>) {
            self.meet(BACKWARD);
            let Some(dx) = at.grad_input(0) else { return };
            dx.sum().iter_mut().zip(at.grad).for_each(|(dx, g)| *dx += g);
        }
    }

    /// After a panic in any pass the next step is as good as if nothing had been, on as many threads.
    #[test]
    fn a_panic_costs_a_step_and_nothing_else() {
        let batch = 24;
        let graph = Graph::new();
        let broken = Arc::new(AtomicU8::new(WHOLE));
        let word = graph.classes("word", 1000, &[]).embedding(1000, 8);
        let hidden = (graph.input("x", &[8]).linear(8) + word).apply(Fragile(Arc::clone(&broken)), &[]);
        let loss = hidden.tanh().linear(3).cross_entropy(graph.class("y", 3));
        let x: Vec<f32> = (0..batch * 8).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let words: Vec<f32> = (0..batch).map(|i| (i * 41 % 1000) as f32).collect();
        let y: Vec<f32> = (0..batch).map(|i| (i % 3) as f32).collect();
        let feed = Feed::new(batch).with("x", &x).with("word", &words).with("y", &y);
        for threads in [1, 3] {
            let mut params = Params::init(&graph, &mut Rng::seed_from_u64(5));
            let (mut twin_params, mut adam, mut twin_adam) = (params.clone(), Adam::new(0.01), Adam::new(0.01));
            let [mut program, mut twin] = [(); 2].map(|()| Program::train(&graph, loss, &[], batch).unwrap());
            program.set_threads(threads).unwrap();
            for round in 0..20 {
                for pass in [FORWARD, BACKWARD] {
                    let what = format!("pass {pass} of round {round} on {threads} threads");
                    broken.store(pass, Ordering::SeqCst);
                    let step = AssertUnwindSafe(|| program.step(&feed, &mut params, &mut adam));
                    let panic = catch_unwind(step).unwrap_err();
                    assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("it broke in pass {pass}"), "{what}");
                    assert_eq!(program.threads(), threads, "{what}");
                    assert_eq!(params, twin_params, "{what}");
                    let found = program.step(&feed, &mut params, &mut adam).unwrap();
                    let expected = twin.step(&feed, &mut twin_params, &mut twin_adam).unwrap();
                    assert_eq!(found, expected, "{what}");
                    assert_eq!(params, twin_params, "{what}");
                    assert_eq!(program.grads(), twin.grads(), "{what}");
                }
                // Nothing is left of what was accumulated before.
                program.accumulate(&feed, &mut params).unwrap();
                broken.store(BACKWARD, Ordering::SeqCst);
                catch_unwind(AssertUnwindSafe(|| program.accumulate(&feed, &mut params))).unwrap_err();
                program.accumulate(&feed, &mut params).unwrap();
                twin.gradients(&feed, &mut twin_params).unwrap();
                assert_eq!(program.grads(), twin.grads(), "accumulated in round {round} on {threads} threads");
                // The update ends the accumulation.
                program.update(&mut params, &mut adam).unwrap();
                twin.update(&mut twin_params, &mut twin_adam).unwrap();
            }
        }
    }
}
