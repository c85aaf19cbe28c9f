//! Exact counting: how many ways each partial architecture can be completed.
//!
//! Completions of a subtree of the [`Forest`] depend on little: which conditions on ancestors hold, and how far the
//! requirements that reach into it are. They are counted once for each such context, and each count is a sum over
//! classes of options of products over children.
//!
//! A context and the class of an option determine the contexts of the children. So the contexts are the nodes of a graph,
//! numbered here, and drawing, changing and walking follow their numbers without looking at a condition again.

use fnv::FnvHashMap;
use num_bigint::BigUint;

use super::domain::Pick;
use super::forest::{Class, Forest, State, check_work};
use super::program::Program;
use super::weights::{self, Weights};
use crate::Rng;
use crate::error::SpaceError;

/// Steps that a stored context counts for, which bounds the memory to some 100 MB.
const NODE_WORK: usize = 16;
/// Stands for the children of a branch that nothing completes.
const NONE: u32 = u32::MAX;

/// Completions of a subtree in one context.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// Whether the variable at the subtree's root is open.
    pub(super) open: bool,
    /// Its first branch: one for each class of options, or one that goes on after a closed variable.
    first: u32,
    branches: u32,
}

/// All counted contexts, in flat lists. Nodes and branches go by their numbers.
#[derive(Debug)]
pub(super) struct Diagram {
    pub(super) forest: Forest,
    nodes: Vec<Node>,
    /// By node: its completions.
    totals: Vec<BigUint>,
    /// By branch: completions that choose an option of its class.
    weights: Vec<BigUint>,
    /// By branch: where the weights so far end on the scale of a 64-bit draw.
    thresholds: Vec<u64>,
    /// By branch: where its children's nodes stand in `children`, or [`NONE`].
    below: Vec<u32>,
    children: Vec<u32>,
    /// By variable: the nodes of roots, and anything elsewhere.
    start: Vec<u32>,
    /// By variable: of a subset, how many there are of each size.
    sizes: Vec<Option<Weights>>,
    total: BigUint,
}

impl Diagram {
    /// Counts everything. With `reals_once`, a continuous number counts as one value instead of by its levels.
    pub(super) fn new(program: &Program, reals_once: bool) -> Result<Self, SpaceError> {
        let forest = Forest::new(program)?;
        let sizes = program.variables.iter().map(|variable| variable.domain.sizes().map(Weights::new)).collect();
        let count = program.variables.len();
        let mut diagram = Diagram {
            forest,
            nodes: Vec::new(),
            totals: Vec::new(),
            weights: Vec::new(),
            thresholds: Vec::new(),
            below: Vec::new(),
            children: Vec::new(),
            start: vec![0; count],
            sizes,
            total: BigUint::ZERO,
        };
        let known = vec![FnvHashMap::default(); count];
        let mut counter = Counter { program, reals_once, work: 0, known };
        let mut state = diagram.forest.start(program);
        let (total, nodes) = counter.product(&mut diagram, None, &mut state)?;
        for (&root, node) in diagram.forest.roots.iter().zip(nodes) {
            diagram.start[root] = node;
        }
        diagram.total = total;
        Ok(diagram)
    }

    /// The number of architectures.
    pub(super) fn total(&self) -> &BigUint {
        &self.total
    }

    /// The nodes of the variables before any is decided: right for the roots, to be set by [`go`](Self::go) for others.
    pub(super) fn start(&self) -> &[u32] {
        &self.start
    }

    pub(super) fn node(&self, node: u32) -> Node {
        self.nodes[node as usize]
    }

    /// The branch that goes on after a closed variable.
    pub(super) fn closed(&self, node: Node) -> usize {
        node.first as usize
    }

    /// The branch of an option of an open variable, or of a subset's or continuous number's token.
    pub(super) fn branch(&self, node: Node, variable: usize, option: usize) -> usize {
        let class = self.forest.places[variable].class_of.get(option).copied().unwrap_or(0);
        node.first as usize + class
    }

    /// The branches of an open variable, in the order of the classes.
    pub(super) fn branches(&self, node: Node) -> std::ops::Range<usize> {
        node.first as usize..(node.first + node.branches) as usize
    }

    /// Whether an architecture exists that goes on with that branch.
    pub(super) fn allows(&self, branch: usize) -> bool {
        self.below[branch] != NONE
    }

    /// By branch: the completions.
    pub(super) fn weights(&self) -> &[BigUint] {
        &self.weights
    }

    /// The options of a branch's class; none: all values of the domain.
    pub(super) fn options(&self, node: Node, variable: usize, branch: usize) -> Option<&[usize]> {
        self.forest.places[variable].classes[self.class(node, branch)].listed()
    }

    /// The number of a branch's class.
    pub(super) fn class(&self, node: Node, branch: usize) -> usize {
        branch - node.first as usize
    }

    /// Decides a variable: sets the nodes of its children.
    #[inline]
    pub(super) fn go(&self, variable: usize, branch: usize, at: &mut [u32]) {
        let children = &self.forest.places[variable].children;
        if !children.is_empty() {
            let nodes = &self.children[self.below[branch] as usize..][..children.len()];
            children.iter().zip(nodes).for_each(|(&child, &node)| at[child] = node);
        }
    }

    /// A branch of an open node, drawn by its completions.
    #[inline]
    pub(super) fn draw(&self, node: Node, rng: &mut Rng) -> usize {
        let branches = self.branches(node);
        if node.branches == 1 {
            return branches.start;
        }
        branches.start + weights::draw(&self.thresholds[branches.clone()], &self.weights[branches], rng)
    }

    /// By node the branch with the least sum over what is open in it, when the best of a class of a variable's options
    /// weighs `weight(variable, class)`.
    pub(super) fn least(&self, weight: impl Fn(usize, usize) -> f64) -> Vec<u32> {
        // Whose node it is, of those that are reached.
        let mut variables = vec![NONE; self.nodes.len()];
        let mut pending: Vec<(usize, u32)> = self.forest.roots.iter().map(|&root| (root, self.start[root])).collect();
        while let Some((variable, node)) = pending.pop() {
            if std::mem::replace(&mut variables[node as usize], variable as u32) == NONE {
                let open = self.branches(self.nodes[node as usize]).filter(|&branch| self.allows(branch));
                pending.extend(open.flat_map(|branch| self.below(variable, branch)));
            }
        }
        let mut sums = vec![f64::INFINITY; self.nodes.len()];
        let mut least = vec![0; self.nodes.len()];
        // A node is numbered after all that lies below it.
        for (i, node) in self.nodes.iter().enumerate().filter(|&(i, _)| variables[i] != NONE) {
            let variable = variables[i] as usize;
            for (class, branch) in self.branches(*node).enumerate().filter(|&(_, branch)| self.allows(branch)) {
                let own = if node.open { weight(variable, class) } else { 0.0 };
                let sum = own + self.below(variable, branch).map(|(_, node)| sums[node as usize]).sum::<f64>();
                if sum < sums[i] || sums[i] == f64::INFINITY {
                    (sums[i], least[i]) = (sum, branch as u32);
                }
            }
        }
        least
    }

    /// The variables below one and their nodes, when it takes that branch.
    fn below(&self, variable: usize, branch: usize) -> impl Iterator<Item = (usize, u32)> {
        let children = &self.forest.places[variable].children;
        let start = if children.is_empty() { 0 } else { self.below[branch] as usize };
        children.iter().copied().zip(self.children[start..start + children.len()].iter().copied())
    }

    /// The size of a subset, drawn by how many there are of each.
    pub(super) fn draw_size(&self, variable: usize, rng: &mut Rng) -> usize {
        self.sizes[variable].as_ref().map_or(0, |sizes| sizes.draw(rng))
    }

    /// By variable and class of options: whether some architecture has one of these options.
    pub(super) fn alive(&self) -> Vec<Vec<bool>> {
        let places = &self.forest.places;
        let mut alive: Vec<Vec<bool>> = places.iter().map(|place| vec![false; place.classes.len()]).collect();
        let mut seen = vec![false; self.nodes.len()];
        let mut pending: Vec<(usize, u32)> = self.forest.roots.iter().map(|&root| (root, self.start[root])).collect();
        while let Some((variable, number)) = pending.pop() {
            if std::mem::replace(&mut seen[number as usize], true) {
                continue;
            }
            let node = self.node(number);
            for (class, branch) in self.branches(node).enumerate().filter(|&(_, branch)| self.allows(branch)) {
                if node.open {
                    alive[variable][class] = true;
                }
                let children = &places[variable].children;
                let nodes = &self.children[self.below[branch] as usize..][..children.len()];
                pending.extend(children.iter().copied().zip(nodes.iter().copied()));
            }
        }
        alive
    }

    /// Architecture `rank`, counted from 0 below [`total`](Self::total), as a pick for every open variable.
    pub(super) fn unrank(&self, program: &Program, rank: BigUint) -> Vec<Option<Pick>> {
        let mut at = self.start.clone();
        let mut picks = vec![None; program.variables.len()];
        self.unrank_below(program, None, rank, &mut at, &mut picks);
        picks
    }

    fn unrank_below(
        &self,
        program: &Program,
        parent: Option<usize>,
        mut rank: BigUint,
        at: &mut [u32],
        picks: &mut Vec<Option<Pick>>,
    ) {
        for &variable in self.forest.below(parent) {
            let node = self.node(at[variable]);
            let total = &self.totals[at[variable] as usize];
            let mut inner = &rank % total;
            rank /= total;
            let mut branch = self.closed(node);
            if node.open {
                while inner >= self.weights[branch] {
                    inner -= &self.weights[branch];
                    branch += 1;
                }
                let pick = match self.options(node, variable, branch) {
                    None => {
                        let domain = &program.variables[variable].domain;
                        let count = domain.count();
                        let pick = domain.unrank(&(&inner % &count));
                        inner /= count;
                        pick
                    }
                    Some(options) => {
                        let option = usize::try_from(&inner % options.len()).expect("below the number of options");
                        inner /= options.len();
                        Pick::Option(options[option])
                    }
                };
                picks[variable] = Some(pick);
            }
            self.go(variable, branch, at);
            self.unrank_below(program, Some(variable), inner, at, picks);
        }
    }
}

struct Counter<'a> {
    program: &'a Program,
    reals_once: bool,
    work: u64,
    /// By variable: the node of each context.
    known: Vec<FnvHashMap<Box<[u64]>, u32>>,
}

impl Counter<'_> {
    fn spend(&mut self, work: usize) -> Result<(), SpaceError> {
        self.work += work as u64;
        check_work(self.work)
    }

    /// The completions of all that lies below `parent`, and the children's nodes unless there is no completion.
    fn product(
        &mut self,
        diagram: &mut Diagram,
        parent: Option<usize>,
        state: &mut State,
    ) -> Result<(BigUint, Vec<u32>), SpaceError> {
        let mut product = BigUint::from(1_u32);
        // Small factors are gathered in a word first: they are most, and a big product is slow to multiply.
        let mut small = 1_u64;
        let count = diagram.forest.below(parent).len();
        let mut nodes = Vec::with_capacity(count);
        for i in 0..count {
            let child = diagram.forest.below(parent)[i];
            let node = self.count(diagram, child, state)?;
            nodes.push(node);
            let total = &diagram.totals[node as usize];
            match u64::try_from(total) {
                Ok(0) => return Ok((BigUint::ZERO, Vec::new())),
                Ok(factor) => match small.checked_mul(factor) {
                    Some(both) => small = both,
                    None => {
                        product *= small;
                        small = factor;
                    }
                },
                Err(_) => product *= total,
            }
        }
        Ok((product * small, nodes))
    }

    /// Counts the subtree at `variable` unless it is known, and returns its node.
    fn count(&mut self, diagram: &mut Diagram, variable: usize, state: &mut State) -> Result<u32, SpaceError> {
        self.spend(1)?;
        let program = self.program;
        let key = diagram.forest.key(program, state, variable);
        if let Some(&node) = self.known[variable].get(key.as_slice()) {
            return Ok(node);
        }
        let open = diagram.forest.is_open(program, state, variable);
        let classes = if open { diagram.forest.places[variable].classes.len() } else { 0 };
        self.spend(NODE_WORK + classes.max(1) * (1 + program.about[variable].len() + key.len()))?;
        let saved = diagram.forest.save(state, variable);
        let mut branches = Vec::with_capacity(classes.max(1));
        for class in 0..classes.max(1) {
            let (option, count) = match &diagram.forest.places[variable].classes[class] {
                _ if !open => (None, 1_u32.into()),
                Class::Listed(options) => (Some(options[0]), options.len().into()),
                Class::All => {
                    let domain = &program.variables[variable].domain;
                    let once = self.reals_once && domain.is_continuous();
                    (Some(0), if once { 1_u32.into() } else { domain.count() })
                }
            };
            diagram.forest.decide(program, state, variable, option);
            let mut reached = diagram.forest.places[variable].edges.iter();
            let (completions, nodes) = if reached.any(|&r| program.requirements[r].is_broken(&state.progress[r])) {
                (BigUint::ZERO, Vec::new())
            } else {
                self.product(diagram, Some(variable), state)?
            };
            diagram.forest.restore(state, variable, &saved);
            branches.push((completions * count, nodes));
        }
        let total: BigUint = branches.iter().map(|(weight, _)| weight).sum();
        let first = diagram.weights.len();
        for (weight, nodes) in branches {
            let below = if weight == BigUint::ZERO { NONE } else { diagram.children.len() as u32 };
            diagram.below.push(below);
            diagram.children.extend(nodes);
            diagram.weights.push(weight);
        }
        diagram.thresholds.extend(weights::thresholds(&diagram.weights[first..], &total));
        let branches = (diagram.weights.len() - first) as u32;
        let node = diagram.nodes.len() as u32;
        diagram.nodes.push(Node { open, first: first as u32, branches });
        diagram.totals.push(total);
        self.known[variable].insert(key.into_boxed_slice(), node);
        Ok(node)
    }
}
