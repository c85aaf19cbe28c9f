//! A plan as a table: every step with what was fused into it, where its memory stands and how long, and its expected time.

use std::fmt;

use serde::Serialize;

use super::arena::Region;
use super::plan::Plan;
use super::profile::Pass;
use super::work::Rates;

/// Memory from one moment to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Where it begins in the arena, in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub bytes: usize,
    /// The first pass that uses it: the number of the step, and which of its passes.
    pub from: (usize, Pass),
    /// The last one; nothing when it is an output or the loss and stays.
    pub to: Option<(usize, Pass)>,
}

/// A step of a [`Table`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The operation: `conv2d`.
    pub op: &'static str,
    /// Its path in the graph.
    pub path: String,
    /// The paths of the operations that were fused into it.
    pub fused: Vec<String>,
    /// The shape of what it yields.
    pub shape: String,
    /// The output.
    pub output: Option<Held>,
    /// The gradient by the output. Several steps may share one.
    pub gradient: Option<Held>,
    /// What the forward pass saves for the backward pass.
    pub saved: Option<Held>,
    /// Working memory of the forward and of the backward pass.
    pub scratch: [Option<Held>; 2],
    /// Trainable numbers it reads.
    pub parameters: usize,
    /// Multiply-adds of the forward pass.
    pub madds: f64,
    /// Bytes read and written by the forward and the backward pass, each value once.
    pub bytes: [f64; 2],
    /// Seconds that the forward and the backward pass should take by the [`Rates`].
    pub seconds: [f64; 2],
}

/// A [`Plan`] step by step; printed, a table for people.
///
/// Times are the roofline's: operations or bytes at the given rates, whichever takes longer. Small steps take longer than
/// that, since calls and loops that are not full cost too, and steps whose values are still in a cache may take less.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// Examples in a batch.
    pub batch: usize,
    /// The steps in the order of the forward pass.
    pub steps: Vec<Row>,
    /// Bytes of the arena.
    pub arena: usize,
    /// Bytes that all values, gradients and working memory take together if nothing shares memory.
    pub unshared: usize,
    /// Bytes of the parameters' gradients, which stand beside the arena.
    pub gradients: usize,
    /// What a core is expected to do.
    pub rates: Rates,
}

impl Plan {
    /// Everything the program will do and hold, step by step, with the time it should take at these rates.
    pub fn table(&self, rates: Rates) -> Table {
        let steps = self.forward_steps().map(|step| {
            let work = [Pass::Forward, Pass::Backward].map(|pass| step.work(pass, self.batch()));
            let [output, gradient, saved, scratch, back_scratch] =
                step.memory.map(|memory| memory.map(|(region, from, to)| Held::new(region, from, to)));
            Row {
                op: step.op.name(),
                path: step.path.clone(),
                fused: step.fused.clone(),
                shape: step.shape.to_string(),
                output,
                gradient,
                saved,
                scratch: [scratch, back_scratch],
                parameters: step.parameters(),
                madds: work[0].flops / 2.0,
                bytes: work.map(|work| work.bytes),
                seconds: work.map(|work| work.seconds(rates)),
            }
        });
        let steps = steps.collect();
        let gradients = self.bytes() as usize - 4 * self.floats();
        let (arena, unshared) = (4 * self.floats(), 4 * self.unshared());
        Table { batch: self.batch(), steps, arena, unshared, gradients, rates }
    }
}

impl Held {
    fn new(region: Region, from: (usize, Pass), to: Option<(usize, Pass)>) -> Self {
        Held { offset: 4 * region.start, bytes: 4 * region.len, from, to }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = |(step, pass): (usize, Pass)| match pass {
            Pass::Forward => format!("{step}"),
            Pass::Backward => format!("{step}'"),
        };
        let to = self.to.map_or_else(|| "end".to_owned(), moment);
        write!(f, "{} at {}, {}–{to}", size(self.bytes), size(self.offset), moment(self.from))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rates { flops, bytes } = self.rates;
        let line = |f: &mut fmt::Formatter<'_>, cells: [String; 9]| {
            let [number, op, shape, output, other, parameters, madds, moved, time] = cells;
            let row = format!(
                "{number:>4} {op:<24} {shape:<16} {output:<28} {other:<30} {parameters:>10} {madds:>8} {moved:>15} {time:>15}"
            );
            writeln!(f, "{}", row.trim_end())
        };
        let head = ["step", "operation", "yields", "output", "gradient, saved, scratch", "parameters", "madds"];
        let head: Vec<String> = head.into_iter().chain(["moves", "µs"]).map(str::to_owned).collect();
        writeln!(
            f,
            "Batches of {}. A backward pass is marked '; memory: size at offset, from step to step.",
            self.batch
        )?;
        line(f, head.try_into().expect("nine columns"))?;
        for (number, row) in self.steps.iter().enumerate() {
            let pair = |[a, b]: [f64; 2], text: &dyn Fn(f64) -> String| {
                if b > 0.0 { format!("{} + {}", text(a), text(b)) } else { text(a) }
            };
            let others = [("g", &row.gradient), ("s", &row.saved), ("w", &row.scratch[0]), ("w'", &row.scratch[1])];
            let mut others = others.into_iter().filter_map(|(name, place)| Some(format!("{name} {}", place.as_ref()?)));
            line(
                f,
                [
                    number.to_string(),
                    row.op.to_owned(),
                    row.shape.clone(),
                    row.output.as_ref().map_or_else(String::new, Held::to_string),
                    others.next().unwrap_or_default(),
                    if row.parameters > 0 { row.parameters.to_string() } else { String::new() },
                    if row.madds > 0.0 { short(row.madds) } else { String::new() },
                    pair(row.bytes, &|bytes| size(bytes as usize)),
                    pair(row.seconds, &|seconds| format!("{:.1}", 1e6 * seconds)),
                ],
            )?;
            // What does not fit beside it stands below: the path, and the rest of the memory.
            let fused: Vec<String> = row.fused.iter().map(|path| format!("+ {path}")).collect();
            let mut below = std::iter::once(row.path.clone()).chain(fused);
            loop {
                let (name, other) = (below.next(), others.next());
                if name.is_none() && other.is_none() {
                    break;
                }
                let cell = |text: Option<String>| text.unwrap_or_default();
                let row = format!("     {:<70} {}", cell(name), cell(other));
                writeln!(f, "{}", row.trim_end())?;
            }
        }
        let total: f64 = self.steps.iter().flat_map(|row| row.seconds).sum();
        writeln!(
            f,
            "\nArena {} ({} if nothing shared memory), gradients of parameters {}.",
            size(self.arena),
            size(self.unshared),
            size(self.gradients)
        )?;
        write!(
            f,
            "Expected {:.3} ms a step on one thread: at {:.0} GFLOP/s or {:.1} GB/s, whichever takes longer, step by step.",
            1e3 * total,
            flops / 1e9,
            bytes / 1e9
        )
    }
}

/// Bytes for people.
fn size(bytes: usize) -> String {
    match bytes as f64 {
        b if b < 1024.0 => format!("{b} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.1} K", b / 1024.0),
        b => format!("{:.1} M", b / 1024.0 / 1024.0),
    }
}

/// A count for people.
fn short(n: f64) -> String {
    match n {
        n if n < 1e3 => format!("{n:.0}"),
        n if n < 1e6 => format!("{:.1}k", n / 1e3),
        n if n < 1e9 => format!("{:.1}M", n / 1e6),
        n => format!("{:.1}G", n / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;

    fn table() -> Table {
        let graph = Graph::new();
        let x = graph.input("x", &[2, 8, 8]);
        let y = x.conv2d(4, 3).batch_norm().relu().tanh().global_avg_pool();
        let loss = y.linear(3).cross_entropy(graph.class("y", 3));
        Plan::train(&graph, loss, &[], 4).unwrap().table(Rates::TYPICAL)
    }

    #[test]
    fn rows_say_what_a_step_does_and_holds() {
        let table = table();
        let ops: Vec<&str> = table.steps.iter().map(|row| row.op).collect();
        assert_eq!(ops, ["conv2d", "batch_norm+act", "tanh", "global_avg_pool", "linear", "cross_entropy"]);
        let [conv, norm, tanh] = [0, 1, 2].map(|i| &table.steps[i]);
        assert_eq!(conv.parameters, 4 * 2 * 9);
        assert_eq!(conv.madds, (4 * 64 * 4 * 2 * 9) as f64);
        assert_eq!(norm.fused, ["relu"]);
        let output = conv.output.as_ref().unwrap();
        assert_eq!(output.bytes, 4 * 4 * 4 * 64);
        // The norm reads the convolution's output again in its backward pass.
        assert_eq!((output.from, output.to), ((0, Pass::Forward), Some((1, Pass::Backward))));
        assert_eq!(tanh.output.as_ref().unwrap().to, Some((2, Pass::Backward)));
        assert_eq!(table.steps[5].output.as_ref().unwrap().to, None, "the loss stays");
        assert!(norm.saved.is_some() && tanh.saved.is_none());
        assert!(table.arena < table.unshared && table.gradients > 0);
    }

    #[test]
    fn places_lie_in_the_arena_and_those_that_meet_are_apart() {
        let table = table();
        let n = table.steps.len();
        let moment = |(step, pass): (usize, Pass)| if pass == Pass::Forward { step } else { 2 * n - step };
        let places: Vec<&Held> = (table.steps.iter())
            .flat_map(|row| [&row.output, &row.gradient, &row.saved, &row.scratch[0], &row.scratch[1]])
            .flatten()
            .collect();
        for (i, a) in places.iter().enumerate() {
            assert!(a.offset + a.bytes <= table.arena);
            for b in &places[..i] {
                let end = |p: &Held| p.to.map_or(2 * n + 1, moment);
                let in_time = moment(a.from) <= end(b) && moment(b.from) <= end(a);
                let in_memory = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
                assert!(!(in_time && in_memory), "{a} and {b}");
            }
        }
    }

    #[test]
    fn printed() {
        let text = table().to_string();
        for part in ["+ relu", "conv2d", "4.0 K at", "Arena", "Expected", "100 GFLOP/s or 10.0 GB/s"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
