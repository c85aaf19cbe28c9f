//! Planning: which steps run, how long every value lives, and where it stands in the arena.

use std::sync::Arc;

use smallvec::SmallVec;

use super::arena::{Cuts, Region};
use super::feed::Input;
use super::fuse::fuse;
use super::limits::{check_total, check_values};
use super::parts;
use super::pass_on::pass_on;
use super::place::place;
use super::profile::Pass;
use super::rows::{self, Table};
use super::step::{BackwardPlan, ForwardPlan, GradPlace, GradTarget, Place, Step};
use super::work::{Rates, Worker};
use crate::error::GraphError;
use crate::graph::{Graph, Kind, Node, Shape, Var};
use crate::op::{Mode, Op, Space};
use crate::params::Layout;

/// Everything a program will do and hold, decided before anything is allocated.
#[derive(Debug)]
pub struct Plan {
    mode: Mode,
    batch: usize,
    layout: Layout,
    inputs: Vec<Input>,
    steps: Vec<Step>,
    /// Indices into `steps`, in the order gradients flow.
    backward: Vec<usize>,
    outputs: Vec<(Region, Shape)>,
    loss: Option<Region>,
    loss_grad: Region,
    tables: Vec<Table>,
    floats: usize,
    /// Floats of everything that has memory, if nothing shared it.
    unshared: usize,
}

impl Plan {
    /// The plan of a training program; see [`Program::train`](crate::Program::train).
    ///
    /// # Errors
    /// The graph's first mistake, or a loss that is no single number.
    pub fn train(graph: &Graph, loss: Var<'_>, outputs: &[Var<'_>], batch: usize) -> Result<Self, GraphError> {
        graph.check()?;
        if loss.shape() != Shape::fixed(&[]) {
            return Err(GraphError::Loss { shape: loss.shape().to_string() });
        }
        Planner::new(graph, Some(loss), outputs, batch)?.plan()
    }

    /// The plan of a program that only evaluates; see [`Program::eval`](crate::Program::eval).
    ///
    /// # Errors
    /// The graph's first mistake.
    pub fn eval(graph: &Graph, outputs: &[Var<'_>], batch: usize) -> Result<Self, GraphError> {
        graph.check()?;
        Planner::new(graph, None, outputs, batch)?.plan()
    }

    /// Bytes the program will hold: the arena and, in training, the gradients of the parameters. The parameters
    /// themselves and the optimizer's moments are apart.
    pub fn bytes(&self) -> u64 {
        let grads = if self.mode == Mode::Train { self.layout.len() } else { 0 };
        4 * (self.floats + grads) as u64
    }

    /// How many values the input called `name` takes for each example; nothing when nobody reads it.
    pub fn input_len(&self, name: &str) -> Option<usize> {
        self.inputs.iter().find(|input| input.name == name).map(|input| input.shape.len())
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    pub(crate) fn floats(&self) -> usize {
        self.floats
    }

    pub(crate) fn unshared(&self) -> usize {
        self.unshared
    }

    pub(crate) fn output(&self, i: usize) -> &(Region, Shape) {
        &self.outputs[i]
    }

    pub(crate) fn loss(&self) -> Option<Region> {
        self.loss
    }

    pub(super) fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub(crate) fn loss_grad(&self) -> Region {
        self.loss_grad
    }

    pub(crate) fn forward_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// The most items of a list that a step makes.
    pub(super) fn longest_list(&self) -> usize {
        self.steps.iter().map(Step::longest_list).max().unwrap_or(0)
    }

    /// The steps in the order gradients flow, with their places among the forward steps.
    pub(crate) fn backward_steps(&self) -> impl Iterator<Item = (usize, &Step)> {
        self.backward.iter().map(|&i| (i, &self.steps[i]))
    }

    /// The numbers of the steps in the order gradients flow.
    pub(crate) fn backward_order(&self) -> &[usize] {
        &self.backward
    }
}

/// Regions start at multiples of this many floats: a cache line.
pub(super) const ALIGN: usize = 16;

/// A value that needs memory from one moment to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) floats: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Life {
    fn new(floats: usize, at: usize) -> Self {
        Life { floats, from: at, to: at }
    }

    fn reach(&mut self, moment: usize) {
        self.from = self.from.min(moment);
        self.to = self.to.max(moment);
    }
}

/// How a backward pass is cut into parts.
struct BackwardCut {
    seconds: f64,
    part: Option<usize>,
    sums: usize,
}

/// The moment of an op's forward pass is its node's number; backward passes follow in reverse.
struct Planner {
    nodes: Vec<Node>,
    mode: Mode,
    batch: usize,
    layout: Layout,
    outputs: Vec<usize>,
    loss: Option<usize>,
    /// Whether the node takes part in what was asked for.
    used: Vec<bool>,
    /// Whether a gradient flows into the node.
    active: Vec<bool>,
    /// The node whose memory this node's value is.
    root: Vec<usize>,
}

impl Planner {
    fn new(graph: &Graph, loss: Option<Var<'_>>, outputs: &[Var<'_>], batch: usize) -> Result<Self, GraphError> {
        if batch == 0 {
            return Err(GraphError::NoBatch);
        }
        if loss.is_none() && outputs.is_empty() {
            return Err(GraphError::NoOutput);
        }
        let ours = |v: Var<'_>| match v.node() {
            Some(id) if std::ptr::eq(v.graph(), graph) => Ok(id.index()),
            _ => Err(GraphError::Foreign),
        };
        // A value that no op computes has no memory of its own in the arena: copy it.
        let computed = |v: Var<'_>| -> Result<usize, GraphError> {
            let id = ours(v)?;
            let in_arena = graph.with_nodes(|nodes| is_computed(nodes, id));
            Ok(if in_arena { id } else { v.copy().id().index() })
        };
        let loss = loss.map(computed).transpose()?;
        let mut wanted = Vec::new();
        for &output in outputs {
            wanted.push(computed(output)?);
        }
        let mut nodes = graph.with_nodes(<[Node]>::to_vec);
        let kept: Vec<usize> = wanted.iter().chain(&loss).copied().collect();
        fuse(&mut nodes, &kept);
        let n = nodes.len();
        let mode = if loss.is_some() { Mode::Train } else { Mode::Eval };

        let mut used = vec![false; n];
        for &node in wanted.iter().chain(&loss) {
            used[node] = true;
        }
        for i in (0..n).rev().filter(|&i| used[i]).collect::<Vec<_>>() {
            mark(&nodes, &mut used, i);
        }
        let root = (0..n).map(|i| root_of(&nodes, i)).collect();

        let mut needs = vec![false; n];
        for (i, node) in nodes.iter().enumerate() {
            needs[i] = match &node.kind {
                Kind::Parameter(_) => true,
                Kind::Op(op) => node.inputs.iter().enumerate().any(|(k, x)| op.differentiates(k) && needs[x.index()]),
                _ => false,
            };
        }
        let mut active = vec![false; n];
        if let Some(loss) = loss {
            active[loss] = needs[loss];
        }
        for i in (0..n).rev() {
            if let (true, Kind::Op(op)) = (active[i], &nodes[i].kind) {
                for (k, x) in nodes[i].inputs.iter().enumerate() {
                    active[x.index()] |= op.differentiates(k) && needs[x.index()];
                }
            }
        }
        Ok(Planner { layout: Layout::of(graph), nodes, mode, batch, outputs: wanted, loss, used, active, root })
    }

    /// Used ops that do work, by node.
    fn ops(&self) -> impl DoubleEndedIterator<Item = (usize, &Node, &Arc<dyn Op>)> {
        self.nodes.iter().enumerate().filter_map(|(i, node)| match &node.kind {
            Kind::Op(op) if self.used[i] && !op.is_view() => Some((i, node, op)),
            _ => None,
        })
    }

    fn backward_moment(&self, node: usize) -> usize {
        backward_moment(self.nodes.len(), node)
    }

    /// For every node that owns memory, the ops whose backward pass adds to its gradient, the first to run first.
    fn contributors(&self) -> Vec<Vec<usize>> {
        let mut contributors = vec![Vec::new(); self.nodes.len()];
        for (i, node, op) in self.ops().rev().filter(|(i, ..)| self.active[*i]) {
            for (k, x) in node.inputs.iter().enumerate() {
                let root = self.root[x.index()];
                if op.differentiates(k) && self.active[root] {
                    contributors[root].push(i);
                }
            }
        }
        contributors
    }

    fn is_in_arena(&self, node: usize) -> bool {
        matches!(self.nodes[self.root[node]].kind, Kind::Op(_))
    }

    fn shapes<'a>(&'a self, node: &Node) -> SmallVec<[&'a Shape; 4]> {
        node.inputs.iter().map(|x| &self.nodes[x.index()].shape).collect()
    }

    fn saved(&self, node: &Node, op: &dyn Op) -> Space {
        if self.mode == Mode::Train { op.saved(&self.shapes(node), &node.shape) } else { Space::NONE }
    }

    fn worker<'a>(&'a self, node: &'a Node, op: &'a dyn Op, shapes: &'a [&'a Shape]) -> Worker<'a> {
        Worker { op, shapes, shape: &node.shape, saved: self.saved(node, op), batch: self.batch }
    }

    /// How the backward pass of an active op is cut into parts.
    fn cut(&self, node: &Node, op: &dyn Op) -> BackwardCut {
        let shapes = self.shapes(node);
        let wanted = |k: usize| op.differentiates(k) && self.active[self.root[node.inputs[k].index()]];
        let seconds = self.worker(node, op, &shapes).backward(wanted).seconds(Rates::TYPICAL);
        let fixed = (0..shapes.len()).filter(|&k| wanted(k) && !shapes[k].is_batched());
        let sums = fixed.map(|k| shapes[k].len()).sum();
        if !self.is_by_example(node, op) || sums == 0 {
            return BackwardCut { seconds, part: None, sums: 0 };
        }
        BackwardCut { seconds, part: Some(parts::planned(self.batch, seconds, sums)), sums }
    }

    /// Working memory of an active op's backward pass, which is `whole` where the batch is not cut.
    fn back_scratch(&self, node: &Node, op: &dyn Op, whole: usize) -> usize {
        let BackwardCut { part, sums, .. } = self.cut(node, op);
        let cut = part.filter(|&part| part < self.batch);
        cut.map_or(whole, |part| op.scratch(&self.shapes(node), &node.shape, part) + sums)
    }

    fn is_by_example(&self, node: &Node, op: &dyn Op) -> bool {
        op.by_example() && node.shape.is_batched() && self.saved(node, op).once == 0
    }

    fn plan(self) -> Result<Plan, GraphError> {
        check_values(&self.nodes, &self.used, self.batch)?;
        let n = self.nodes.len();
        let end = 2 * n + 1;
        let none = Life::new(0, 0);
        let passed = pass_on(&self.nodes, &self.root, &self.contributors());
        let mut values = vec![none; n];
        let mut grads = vec![none; n];
        let mut saved = vec![none; n];
        let mut scratch = vec![none; n];
        let mut back_scratch = vec![none; n];
        for (i, node, op) in self.ops() {
            let back = self.backward_moment(i);
            values[i] = Life::new(node.shape.elements(self.batch), i);
            let floats = match self.mode {
                Mode::Train => op.scratch(&self.shapes(node), &node.shape, self.batch),
                Mode::Eval => op.scratch_eval(&self.shapes(node), &node.shape, self.batch),
            };
            scratch[i] = Life::new(floats, i);
            saved[i] = Life::new(self.saved(node, &**op).floats(self.batch), i);
            if self.active[i] {
                back_scratch[i] = Life::new(self.back_scratch(node, &**op, floats), back);
                saved[i].reach(back);
                if passed[i] == i {
                    grads[i] = Life::new(node.shape.elements(self.batch), back);
                }
                if op.keeps().output() {
                    values[i].reach(back);
                }
            }
        }
        for (i, node, op) in self.ops() {
            let back = self.backward_moment(i);
            for (k, x) in node.inputs.iter().enumerate() {
                let root = self.root[x.index()];
                if !self.is_in_arena(root) {
                    continue;
                }
                values[root].reach(i);
                if self.active[i] && op.keeps().input(k) {
                    values[root].reach(back);
                }
                if self.active[i] && op.differentiates(k) && self.active[root] {
                    grads[passed[root]].reach(back);
                }
            }
            if self.active[i] {
                grads[passed[i]].reach(back);
                if op.keeps().output() {
                    values[i].reach(back);
                }
            }
        }
        for &output in self.outputs.iter().chain(&self.loss) {
            values[self.root[output]].reach(end);
        }
        if let Some(loss) = self.loss {
            // The gradient 1 is written before the backward passes begin.
            grads[self.root[loss]].reach(n);
        }

        let lives: Vec<Life> =
            [&values, &grads, &saved, &scratch, &back_scratch].into_iter().flatten().copied().collect();
        check_total(&self.nodes, self.batch, &lives.iter().map(|life| life.floats).collect::<Vec<_>>())?;
        let (starts, floats) = place(&lives);
        let region = |kind: usize, i: usize| Region { start: starts[kind * n + i], len: lives[kind * n + i].floats };
        // A gradient stands where it was passed on from.
        let region = |kind: usize, i: usize| region(kind, if kind == 1 { passed[i] } else { i });
        let unshared = lives.iter().map(|life| life.floats.next_multiple_of(ALIGN)).sum();
        let memory = |kind: usize, i: usize| {
            let life = lives[kind * n + if kind == 1 { passed[i] } else { i }];
            (region(kind, i), life.from, life.to)
        };
        let mut plan = self.build(&region, &passed, &memory, floats)?;
        plan.unshared = unshared;
        Ok(plan)
    }

    /// Turns regions into steps. Kinds of regions: 0 values, 1 gradients, 2 saved, 3 scratch, 4 scratch of backward.
    fn build(
        self,
        region: &dyn Fn(usize, usize) -> Region,
        passed: &[usize],
        memory: &dyn Fn(usize, usize) -> (Region, usize, usize),
        floats: usize,
    ) -> Result<Plan, GraphError> {
        let mut inputs = Vec::new();
        let mut feeds = vec![0; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            if let (Kind::Input { name, classes }, true) = (&node.kind, self.used[i]) {
                feeds[i] = inputs.len();
                inputs.push(Input { name: name.clone(), shape: node.shape.clone(), classes: *classes });
            }
        }
        let place_of = |x: usize, cuts: &Cuts| match &self.nodes[self.root[x]].kind {
            Kind::Input { .. } => Place::Feed(feeds[self.root[x]]),
            Kind::Parameter(p) => Place::Param(self.layout.range(*p)),
            Kind::Constant(values) => Place::Constant(Arc::clone(values)),
            Kind::Op(_) => Place::Arena(cuts.part(region(0, self.root[x]))),
        };
        let value_regions = |node: &Node, wanted: &dyn Fn(usize) -> bool| -> Vec<Region> {
            let inputs = node.inputs.iter().enumerate().filter(|(k, _)| wanted(*k));
            let roots = inputs.map(|(_, x)| self.root[x.index()]).filter(|&x| self.is_in_arena(x));
            roots.map(|x| region(0, x)).collect()
        };

        let mut steps = Vec::new();
        let mut step_of = vec![usize::MAX; self.nodes.len()];
        for (i, node, op) in self.ops() {
            let own = [region(0, i), region(2, i), region(3, i)];
            let cuts = Cuts::new(value_regions(node, &|_| true).into_iter().chain(own));
            let forward = ForwardPlan {
                inputs: node.inputs.iter().map(|x| place_of(x.index(), &cuts)).collect(),
                output: cuts.part(own[0]),
                saved: cuts.part(own[1]),
                scratch: cuts.part(own[2]),
                scratch_floats: own[2].len,
                cuts,
            };
            let shapes = self.shapes(node);
            let seconds = self.worker(node, &**op, &shapes).forward().seconds(Rates::TYPICAL);
            step_of[i] = steps.len();
            steps.push(Step {
                path: node.path.clone(),
                op: Arc::clone(op),
                shapes: shapes.into_iter().cloned().collect(),
                shape: node.shape.clone(),
                states: node.states.clone(),
                saved: self.saved(node, &**op),
                by_example: self.is_by_example(node, &**op),
                seconds,
                forward,
                backward: None,
                fused: node.fused.clone(),
                memory: [const { None }; 5],
            });
        }
        // Moments become passes of steps.
        let n = self.nodes.len();
        let pass = |moment: usize| match moment {
            m if m < n => Some((step_of[m], Pass::Forward)),
            // The loss's gradient is written before all backward passes, of which the loss's is the first.
            m if m == n => self.loss.map(|loss| (step_of[self.root[loss]], Pass::Backward)),
            m if m <= 2 * n => Some((step_of[2 * n - m], Pass::Backward)),
            _ => None,
        };
        for (i, ..) in self.ops() {
            steps[step_of[i]].memory = std::array::from_fn(|kind| {
                let (region, from, to) = memory(kind, i);
                (region.len > 0).then(|| Some((region, pass(from)?, pass(to)))).flatten()
            });
        }

        let mut backward = Vec::new();
        let mut arrived = vec![false; self.nodes.len()];
        let tables = rows::tables(&self.nodes, &self.contributors(), &feeds, &self.layout, self.batch);
        // Their gradients are zeros before every pass.
        tables.iter().for_each(|table| arrived[table.node] = true);
        if let Some(loss) = self.loss {
            arrived[self.root[loss]] = true;
        }
        for (i, node, op) in self.ops().rev() {
            if !self.active[i] {
                continue;
            }
            let keeps = op.keeps();
            let own = [region(0, i), region(1, i), region(2, i), region(4, i)];
            let output = keeps.output().then_some(own[0]);
            let mut target = |k: usize| {
                let root = self.root[node.inputs[k].index()];
                let here = passed[root] == passed[i] && passed[root] != root;
                if here && op.differentiates(k) {
                    // It was passed on: it is there already.
                    arrived[root] = true;
                    return None;
                }
                (op.differentiates(k) && self.active[root]).then_some(root)
            };
            let targets: SmallVec<[Option<usize>; 4]> = (0..node.inputs.len()).map(&mut target).collect();
            let param = |x: usize| match self.nodes[x].kind {
                Kind::Parameter(p) => {
                    let range = self.layout.range(p);
                    Some(Region { start: range.start, len: range.len() })
                }
                _ => None,
            };
            let roots = || targets.iter().copied().flatten();
            let grad_regions = roots().filter(|&x| param(x).is_none()).map(|x| region(1, x));
            let values = value_regions(node, &|k| keeps.input(k));
            let all = values.into_iter().chain(output).chain(own[1..].iter().copied()).chain(grad_regions);
            let cuts = Cuts::new(all);
            let param_cuts = Cuts::new(roots().filter_map(param));
            let grads = targets.iter().map(|&target| {
                let root = target?;
                let fresh = !std::mem::replace(&mut arrived[root], true);
                let place = match param(root) {
                    Some(region) => GradPlace::Param(param_cuts.part(region)?),
                    None => GradPlace::Arena(cuts.part(region(1, root))?),
                };
                Some(GradTarget { place, fresh })
            });
            let grads = grads.collect();
            let BackwardCut { seconds, part, sums, .. } = self.cut(node, &**op);
            let plan = BackwardPlan {
                inputs: node.inputs.iter().map(|x| place_of(x.index(), &cuts)).collect(),
                output: output.and_then(|region| cuts.part(region)),
                grad: cuts.part(own[1]),
                saved: cuts.part(own[2]),
                scratch: cuts.part(own[3]),
                scratch_floats: own[3].len,
                grads,
                seconds,
                part,
                sums,
                cuts,
                param_cuts,
            };
            steps[step_of[i]].backward = Some(plan);
            backward.push(step_of[i]);
        }

        let outputs = self.outputs.iter().map(|&x| (region(0, self.root[x]), self.nodes[x].shape.clone())).collect();
        let loss = self.loss.map(|x| region(0, self.root[x]));
        let loss_grad = self.loss.map_or(Region { start: 0, len: 0 }, |x| region(1, self.root[x]));
        let Planner { mode, batch, layout, .. } = self;
        let unshared = 0;
        Ok(Plan { mode, batch, layout, inputs, steps, backward, outputs, loss, loss_grad, tables, floats, unshared })
    }
}

/// When the backward pass of node `node` of `n` runs: after all forward passes, in reverse.
pub(super) fn backward_moment(n: usize, node: usize) -> usize {
    2 * n - node
}

/// The node whose memory the value of node `i` is.
pub(crate) fn root_of(nodes: &[Node], mut i: usize) -> usize {
    while let Kind::Op(op) = &nodes[i].kind {
        if !op.is_view() {
            break;
        }
        i = nodes[i].inputs[0].index();
    }
    i
}

fn is_computed(nodes: &[Node], i: usize) -> bool {
    matches!(nodes[root_of(nodes, i)].kind, Kind::Op(_))
}

/// Marks everything node `i` is computed from.
fn mark(nodes: &[Node], used: &mut [bool], i: usize) {
    let mut open = vec![i];
    while let Some(i) = open.pop() {
        for x in &nodes[i].inputs {
            if !std::mem::replace(&mut used[x.index()], true) {
                open.push(x.index());
            }
        }
    }
}
