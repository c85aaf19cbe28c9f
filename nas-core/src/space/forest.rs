//! The order in which an architecture is decided, and what has to be remembered on the way.
//!
//! Variables that a condition or requirement ties together are ordered into a forest, in which every variable lies below
//! all those it depends on and brothers are independent once their ancestors are decided (the elimination tree of
//! sparse factorisation). Options that no other variable can tell apart form a class.

use std::collections::BTreeMap;

use super::program::Program;
use super::requirement::Progress;
use crate::error::SpaceError;

/// Steps of counting: about a second. Conditions that need more tie too much together.
const MAX_WORK: u64 = 10_000_000;
/// Variables in a row that depend on each other: the depth of recursion.
const MAX_CHAIN: usize = 512;

/// What is decided so far, as far as conditions and requirements can tell.
#[derive(Debug, Clone)]
pub(super) struct State {
    truth: Vec<bool>,
    pub(super) progress: Vec<Progress>,
}

/// Options of one variable that no other variable can tell apart.
#[derive(Debug)]
pub(super) enum Class {
    /// All values of the domain.
    All,
    /// These options.
    Listed(Vec<usize>),
}

impl Class {
    /// The options; none: all values of the domain.
    pub(super) fn listed(&self) -> Option<&[usize]> {
        match self {
            Class::All => None,
            Class::Listed(options) => Some(options),
        }
    }
}

/// Where a variable stands in the forest.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) children: Vec<usize>,
    /// The conditions of this subtree's variables, as far as they are about ancestors: each holds when all of its
    /// predicates do, and which of them fail makes no difference.
    conditions: Vec<Vec<usize>>,
    /// Requirements with variables both above and in this subtree.
    requirements: Vec<usize>,
    /// Requirements that this variable decides about.
    pub(super) edges: Vec<usize>,
    pub(super) classes: Vec<Class>,
    /// The class of each option; empty when there is one class.
    pub(super) class_of: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Forest {
    pub(super) places: Vec<Place>,
    pub(super) roots: Vec<usize>,
}

impl Forest {
    pub(super) fn new(program: &Program) -> Result<Self, SpaceError> {
        let (places, roots) = order(program)?;
        Ok(Forest { places, roots })
    }

    /// Nothing decided.
    pub(super) fn start(&self, program: &Program) -> State {
        State {
            truth: vec![false; program.predicates.len()],
            progress: program.requirements.iter().map(|requirement| requirement.start()).collect(),
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
            program.requirements[requirement].decide(&mut state.progress[requirement], variable, option);
        }
    }

    /// What [`decide`](Self::decide) would overwrite for good.
    pub(super) fn save(&self, state: &State, variable: usize) -> Vec<Progress> {
        self.places[variable].edges.iter().map(|&requirement| state.progress[requirement].clone()).collect()
    }

    pub(super) fn restore(&self, state: &mut State, variable: usize, saved: &[Progress]) {
        for (&requirement, progress) in self.places[variable].edges.iter().zip(saved) {
            state.progress[requirement].clone_from(progress);
        }
    }

    /// The first requirement that can no longer be met.
    pub(super) fn broken(&self, program: &Program, state: &State) -> Option<usize> {
        (0..state.progress.len()).find(|&i| program.requirements[i].is_broken(&state.progress[i]))
    }

    /// The roots, or a variable's children.
    pub(super) fn below(&self, variable: Option<usize>) -> &[usize] {
        variable.map_or(&self.roots, |variable| &self.places[variable].children)
    }

    /// Words that are equal for states from which the variable's subtree can be completed in the same ways.
    pub(super) fn key(&self, program: &Program, state: &State, variable: usize) -> Vec<u64> {
        let place = &self.places[variable];
        let mut key = Vec::with_capacity(place.conditions.len().div_ceil(64));
        for conditions in place.conditions.chunks(64) {
            let holds = |condition: &Vec<usize>| condition.iter().all(|&predicate| state.truth[predicate]);
            let bits = conditions.iter().enumerate().map(|(i, condition)| u64::from(holds(condition)) << i);
            key.push(bits.fold(0, |word, bit| word | bit));
        }
        for &requirement in &place.requirements {
            program.requirements[requirement].key(&state.progress[requirement], &mut key);
        }
        key
    }
}

/// Refuses a space whose counting takes too long.
pub(super) fn check_work(work: u64) -> Result<(), SpaceError> {
    if work <= MAX_WORK {
        return Ok(());
    }
    let what = "the combinations of decisions that conditions and requirements name".to_owned();
    Err(SpaceError::TooLarge { what, size: work, limit: MAX_WORK })
}

/// Orders the variables into the forest: their places and the roots.
fn order(program: &Program) -> Result<(Vec<Place>, Vec<usize>), SpaceError> {
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
        let mut tied = requirement.variables();
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
        // A requirement whose first variable is here has nothing decided above.
        requirements.retain(|&r| program.requirements[r].first_variable() != Some(variable));
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
        let about = program.about[variable].iter();
        let holds = |&predicate: &usize| u32::from(program.predicates[predicate].holds(Some(option)));
        let mut seen: Vec<u32> = about.map(holds).collect();
        edges.iter().for_each(|&r| program.requirements[r].see(variable, option, &mut seen));
        let class = *known.entry(seen).or_insert(classes.len());
        if class == classes.len() {
            classes.push(Vec::new());
        }
        classes[class].push(option);
        class_of.push(class);
    }
    (classes.into_iter().map(Class::Listed).collect(), class_of)
}
