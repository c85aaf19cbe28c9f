//! Exact counting: how many ways each partial architecture can be completed.
//!
//! Variables that a condition or requirement ties together are ordered into a forest, in which every variable lies below
//! all those it depends on and brothers are independent once their ancestors are decided (the elimination tree of
//! sparse factorisation). Completions of a subtree then depend on little: which conditions on ancestors hold, and how
//! far the requirements that reach into it are. They are counted once for each such context, and each count is a sum
//! over options of products over children. Options that no other variable can tell apart are counted together.
//!
//! With the counts at hand, uniform sampling, numbering and masks are one look-up a decision.

use std::collections::BTreeMap;

use fnv::FnvHashMap;
use num_bigint::BigUint;

use super::domain::Pick;
use super::program::Program;
use super::requirement::PathState;
use crate::error::SpaceError;

/// Steps of counting: about a second. Conditions that need more tie too much together.
const MAX_WORK: u64 = 10_000_000;
/// Steps that a stored context counts for, which bounds the memory to some 100 MB.
const NODE_WORK: usize = 16;
/// Variables in a row that depend on each other: the depth of recursion.
const MAX_CHAIN: usize = 512;

/// What is decided so far, as far as conditions and requirements can tell.
#[derive(Debug, Clone)]
pub(super) struct State {
    truth: Vec<bool>,
    paths: Vec<PathState>,
}

/// Options of one variable that no other variable can tell apart.
#[derive(Debug)]
enum Class {
    /// All values of the domain.
    All,
    /// These options.
    Listed(Vec<usize>),
}

#[derive(Debug)]
struct Place {
    children: Vec<usize>,
    /// The conditions of this subtree's variables, as far as they are about ancestors: each holds when all of its
    /// predicates do, and which of them fail makes no difference.
    conditions: Vec<Vec<usize>>,
    /// Requirements with edges both above and in this subtree.
    requirements: Vec<usize>,
    /// Requirements with an edge that this variable decides.
    edges: Vec<usize>,
    classes: Vec<Class>,
    /// The class of each option; empty when there is one class.
    class_of: Vec<usize>,
}

/// Completions of a subtree in one context.
#[derive(Debug)]
pub(super) struct Node {
    /// Whether the variable at the subtree's root is open.
    pub(super) open: bool,
    total: BigUint,
    /// By class: completions that choose an option of it.
    pub(super) weights: Vec<BigUint>,
}

#[derive(Debug)]
pub(super) struct Diagram {
    places: Vec<Place>,
    roots: Vec<usize>,
    nodes: Vec<FnvHashMap<Box<[u64]>, Node>>,
    total: BigUint,
}

impl Diagram {
    /// Counts everything. With `reals_once`, a continuous number counts as one value instead of by its levels.
    pub(super) fn new(program: &Program, reals_once: bool) -> Result<Self, SpaceError> {
        let (places, roots) = forest(program)?;
        let nodes = places.iter().map(|_| FnvHashMap::default()).collect();
        let mut diagram = Diagram { places, roots, nodes, total: BigUint::default() };
        let mut counter = Counter { program, reals_once, work: 0 };
        let mut state = diagram.start(program);
        diagram.total = counter.product(&mut diagram, None, &mut state)?;
        Ok(diagram)
    }

    /// The number of architectures.
    pub(super) fn total(&self) -> &BigUint {
        &self.total
    }

    /// Nothing decided.
    pub(super) fn start(&self, program: &Program) -> State {
        State {
            truth: vec![false; program.predicates.len()],
            paths: program.requirements.iter().map(|requirement| requirement.start()).collect(),
        }
    }

    /// Whether the variable's conditions hold.
    pub(super) fn is_open(&self, program: &Program, state: &State, variable: usize) -> bool {
        program.variables[variable].conditions.iter().all(|&predicate| state.truth[predicate])
    }

    /// Takes note that a variable has that option, or is closed. Variables are decided parents first.
    pub(super) fn decide(&self, program: &Program, state: &mut State, variable: usize, option: Option<usize>) {
        for &predicate in &program.about[variable] {
            state.truth[predicate] = program.predicates[predicate].holds(option);
        }
        for &requirement in &self.places[variable].edges {
            program.requirements[requirement].decide(&mut state.paths[requirement], variable, option);
        }
    }

    /// What [`decide`](Self::decide) would overwrite for good.
    pub(super) fn save(&self, state: &State, variable: usize) -> Vec<PathState> {
        self.places[variable].edges.iter().map(|&requirement| state.paths[requirement].clone()).collect()
    }

    pub(super) fn restore(&self, state: &mut State, variable: usize, saved: &[PathState]) {
        for (&requirement, path) in self.places[variable].edges.iter().zip(saved) {
            state.paths[requirement].clone_from(path);
        }
    }

    /// The first requirement that can no longer be met.
    pub(super) fn broken(&self, program: &Program, state: &State) -> Option<usize> {
        (0..state.paths.len()).find(|&i| program.requirements[i].is_broken(&state.paths[i]))
    }

    /// The roots of the forest, or a variable's children.
    pub(super) fn below(&self, variable: Option<usize>) -> &[usize] {
        variable.map_or(&self.roots, |variable| &self.places[variable].children)
    }

    /// What is known of a variable's subtree in a state that some architecture passes through.
    pub(super) fn node(&self, program: &Program, state: &State, variable: usize) -> Option<&Node> {
        self.node_by(program, state, variable, &mut Vec::new())
    }

    /// As [`node`](Self::node), with a buffer for the key.
    pub(super) fn node_by(
        &self,
        program: &Program,
        state: &State,
        variable: usize,
        key: &mut Vec<u64>,
    ) -> Option<&Node> {
        key.clear();
        self.write_key(program, state, variable, key);
        self.nodes[variable].get(key.as_slice())
    }

    /// Forgets all decisions.
    pub(super) fn reset(&self, program: &Program, state: &mut State) {
        state.truth.fill(false);
        program.requirements.iter().zip(&mut state.paths).for_each(|(requirement, path)| requirement.reset(path));
    }

    /// Whether an architecture exists that goes on with that option.
    pub(super) fn allows(&self, node: &Node, variable: usize, option: usize) -> bool {
        let class = self.places[variable].class_of.get(option).copied().unwrap_or(0);
        node.weights.get(class).is_some_and(|weight| *weight > BigUint::ZERO)
    }

    /// The options of a class; none: all values of the domain.
    pub(super) fn options(&self, variable: usize, class: usize) -> Option<&[usize]> {
        match &self.places[variable].classes[class] {
            Class::All => None,
            Class::Listed(options) => Some(options),
        }
    }

    /// Architecture `rank`, counted from 0 below [`total`](Self::total), as a pick for every open variable.
    pub(super) fn unrank(&self, program: &Program, rank: BigUint) -> Vec<Option<Pick>> {
        let mut state = self.start(program);
        let mut picks = vec![None; program.variables.len()];
        self.unrank_below(program, None, rank, &mut state, &mut picks);
        picks
    }

    fn unrank_below(
        &self,
        program: &Program,
        parent: Option<usize>,
        mut rank: BigUint,
        state: &mut State,
        picks: &mut Vec<Option<Pick>>,
    ) {
        for &variable in self.below(parent) {
            let node = self.node(program, state, variable).expect("ranks below the total stay on counted contexts");
            let mut inner = &rank % &node.total;
            rank /= &node.total;
            let mut option = None;
            if node.open {
                let mut class = 0;
                while inner >= node.weights[class] {
                    inner -= &node.weights[class];
                    class += 1;
                }
                let pick = match self.options(variable, class) {
                    None => {
                        let domain = &program.variables[variable].domain;
                        let count = domain.count();
                        let pick = domain.unrank(&(&inner % &count));
                        inner /= count;
                        pick
                    }
                    Some(options) => {
                        let at = usize::try_from(&inner % options.len()).expect("below the number of options");
                        inner /= options.len();
                        Pick::Option(options[at])
                    }
                };
                option = Some(pick.index());
                picks[variable] = Some(pick);
            }
            self.decide(program, state, variable, option);
            self.unrank_below(program, Some(variable), inner, state, picks);
        }
    }

    fn key(&self, program: &Program, state: &State, variable: usize) -> Vec<u64> {
        let mut key = Vec::with_capacity(self.places[variable].conditions.len().div_ceil(64));
        self.write_key(program, state, variable, &mut key);
        key
    }

    fn write_key(&self, program: &Program, state: &State, variable: usize, key: &mut Vec<u64>) {
        let place = &self.places[variable];
        for conditions in place.conditions.chunks(64) {
            let holds = |condition: &Vec<usize>| condition.iter().all(|&predicate| state.truth[predicate]);
            let bits = conditions.iter().enumerate().map(|(i, condition)| u64::from(holds(condition)) << i);
            key.push(bits.fold(0, |word, bit| word | bit));
        }
        for &requirement in &place.requirements {
            program.requirements[requirement].key(&state.paths[requirement], key);
        }
    }
}

struct Counter<'a> {
    program: &'a Program,
    reals_once: bool,
    work: u64,
}

impl Counter<'_> {
    fn spend(&mut self, work: usize) -> Result<(), SpaceError> {
        self.work += work as u64;
        check_work(self.work)
    }

    fn product(
        &mut self,
        diagram: &mut Diagram,
        parent: Option<usize>,
        state: &mut State,
    ) -> Result<BigUint, SpaceError> {
        let mut product = BigUint::from(1_u32);
        // Small factors are gathered in a word first: they are most, and a big product is slow to multiply.
        let mut small = 1_u64;
        for i in 0..diagram.below(parent).len() {
            let child = diagram.below(parent)[i];
            let key = self.count(diagram, child, state)?;
            let total = &diagram.nodes[child][key.as_slice()].total;
            match u64::try_from(total) {
                Ok(0) => return Ok(BigUint::ZERO),
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
        Ok(product * small)
    }

    /// Counts the subtree at `variable` unless it is known, and returns the key it is known under.
    fn count(&mut self, diagram: &mut Diagram, variable: usize, state: &mut State) -> Result<Vec<u64>, SpaceError> {
        self.spend(1)?;
        let program = self.program;
        let key = diagram.key(program, state, variable);
        if diagram.nodes[variable].contains_key(key.as_slice()) {
            return Ok(key);
        }
        let open = diagram.is_open(program, state, variable);
        let classes = if open { diagram.places[variable].classes.len() } else { 0 };
        self.spend(NODE_WORK + classes.max(1) * (1 + program.about[variable].len() + key.len()))?;
        let saved = diagram.save(state, variable);
        let reals_once = self.reals_once;
        let mut complete = |diagram: &mut Diagram, state: &mut State, option| {
            diagram.decide(program, state, variable, option);
            let broken = diagram.places[variable].edges.iter();
            let completions = if broken.copied().any(|r| program.requirements[r].is_broken(&state.paths[r])) {
                BigUint::ZERO
            } else {
                self.product(diagram, Some(variable), state)?
            };
            diagram.restore(state, variable, &saved);
            Ok(completions)
        };
        let mut weights = Vec::with_capacity(classes);
        for class in 0..classes {
            let (option, count) = match &diagram.places[variable].classes[class] {
                Class::Listed(options) => (options[0], options.len().into()),
                Class::All => {
                    let domain = &program.variables[variable].domain;
                    let once = reals_once && domain.is_continuous();
                    (0, if once { 1_u32.into() } else { domain.count() })
                }
            };
            weights.push(complete(diagram, state, Some(option))? * count);
        }
        let total = if open { weights.iter().sum() } else { complete(diagram, state, None)? };
        diagram.nodes[variable].insert(key.clone().into_boxed_slice(), Node { open, total, weights });
        Ok(key)
    }
}

fn check_work(work: u64) -> Result<(), SpaceError> {
    if work <= MAX_WORK {
        return Ok(());
    }
    let what = "the combinations of decisions that conditions and requirements name".to_owned();
    Err(SpaceError::TooLarge { what, size: work, limit: MAX_WORK })
}

/// Orders the variables into the forest.
fn forest(program: &Program) -> Result<(Vec<Place>, Vec<usize>), SpaceError> {
    let count = program.variables.len();
    let mut later: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut tie = |variables: &[usize]| {
        // A chain ties them all: eliminating the last links those before it.
        for pair in variables.windows(2) {
            later[pair[0]].push(pair[1]);
        }
    };
    for variable in 0..count {
        let mut tied = targets(program, variable);
        tied.push(variable);
        tie(&tied);
    }
    let mut edges: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (i, requirement) in program.requirements.iter().enumerate() {
        let mut tied: Vec<usize> = requirement.edges().iter().map(|edge| edge.variable).collect();
        tied.dedup();
        tie(&tied);
        for variable in tied {
            edges[variable].push(i);
        }
    }

    let mut root: Vec<usize> = (0..count).collect();
    let mut parent = vec![None; count];
    for variable in (0..count).rev() {
        for &other in &later[variable] {
            let top = find(&mut root, other);
            if top != variable {
                parent[top] = Some(variable);
                root[top] = variable;
            }
        }
    }
    let mut depth = vec![1; count];
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut roots = Vec::new();
    for variable in 0..count {
        match parent[variable] {
            Some(above) => {
                depth[variable] = depth[above] + 1;
                children[above].push(variable);
            }
            None => roots.push(variable),
        }
    }
    let deepest = depth.iter().copied().max().unwrap_or(0);
    if deepest > MAX_CHAIN {
        let what = "the longest chain of decisions that depend on one another".to_owned();
        return Err(SpaceError::TooLarge { what, size: deepest as u64, limit: MAX_CHAIN as u64 });
    }

    let mut work = 0;
    let mut places = Vec::with_capacity(count);
    for variable in 0..count {
        let about = program.about[variable].len() + edges[variable].len();
        work += (program.variables[variable].domain.len() as u64).saturating_mul(about as u64);
        check_work(work)?;
        let (classes, class_of) = classes(program, variable, &edges[variable]);
        places.push(Place {
            children: std::mem::take(&mut children[variable]),
            conditions: Vec::new(),
            requirements: Vec::new(),
            edges: std::mem::take(&mut edges[variable]),
            classes,
            class_of,
        });
    }
    // Children stand behind their parents, so going backwards meets them first.
    for variable in (0..count).rev() {
        let mut conditions = vec![program.variables[variable].conditions.clone()];
        conditions[0].sort_unstable();
        let mut requirements = places[variable].edges.clone();
        for &child in &places[variable].children {
            for condition in &places[child].conditions {
                let above = condition.iter().copied().filter(|&p| program.predicates[p].target != variable);
                conditions.push(above.collect());
            }
            requirements.extend(&places[child].requirements);
        }
        conditions.retain(|condition| !condition.is_empty());
        conditions.sort_unstable();
        conditions.dedup();
        // A requirement whose first edge is here has nothing decided above.
        requirements.retain(|&r| program.requirements[r].edges()[0].variable != variable);
        requirements.sort_unstable();
        requirements.dedup();
        work += requirements.len() as u64 + conditions.iter().map(|condition| condition.len() as u64).sum::<u64>();
        check_work(work)?;
        places[variable].conditions = conditions;
        places[variable].requirements = requirements;
    }
    Ok((places, roots))
}

/// The variables that decide whether this one is open, ascending.
fn targets(program: &Program, variable: usize) -> Vec<usize> {
    let conditions = program.variables[variable].conditions.iter();
    let mut targets: Vec<usize> = conditions.map(|&predicate| program.predicates[predicate].target).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// The representative of a set, halving paths on the way.
fn find(root: &mut [usize], mut at: usize) -> usize {
    while root[at] != at {
        root[at] = root[root[at]];
        at = root[at];
    }
    at
}

/// Groups a variable's options by what others can see of them.
fn classes(program: &Program, variable: usize, edges: &[usize]) -> (Vec<Class>, Vec<usize>) {
    if program.about[variable].is_empty() && edges.is_empty() {
        return (vec![Class::All], Vec::new());
    }
    let mut known = BTreeMap::new();
    let mut classes: Vec<Vec<usize>> = Vec::new();
    let mut class_of = Vec::new();
    for option in 0..program.variables[variable].domain.len() {
        let seen = program.about[variable].iter().map(|&predicate| program.predicates[predicate].holds(Some(option)));
        let edges = edges.iter().flat_map(|&r| program.requirements[r].edges());
        let kept = edges.filter(|edge| edge.variable == variable).map(|edge| edge.closed != Some(option));
        let class = *known.entry(seen.chain(kept).collect::<Vec<bool>>()).or_insert(classes.len());
        if class == classes.len() {
            classes.push(Vec::new());
        }
        classes[class].push(option);
        class_of.push(class);
    }
    (classes.into_iter().map(Class::Listed).collect(), class_of)
}
