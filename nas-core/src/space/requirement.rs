//! Requirements while an architecture is being decided. Of a path: which nodes reach which over the edges chosen so far.

use super::automaton::{Automaton, Reached};

/// What an architecture must meet as a whole.
#[derive(Debug)]
pub(super) enum Restriction {
    /// A path leads through a graph.
    Path(PathRequirement),
    /// An automaton does not end before the decisions do.
    Table(Automaton),
}

/// What is known of a restriction after some of its variables.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// Of a path.
    Path(PathState),
    /// Of an automaton.
    Table(Reached),
}

impl Restriction {
    /// The variables that decide about it, ascending, some more than once.
    pub(super) fn variables(&self) -> Vec<usize> {
        match self {
            Restriction::Path(path) => path.edges().iter().map(|edge| edge.variable).collect(),
            Restriction::Table(automaton) => automaton.variables().collect(),
        }
    }

    pub(super) fn first_variable(&self) -> Option<usize> {
        match self {
            Restriction::Path(path) => path.edges().first().map(|edge| edge.variable),
            Restriction::Table(automaton) => automaton.variables().next(),
        }
    }

    /// What it requires, in words.
    pub(super) fn text(&self) -> &str {
        match self {
            Restriction::Path(path) => path.text(),
            Restriction::Table(automaton) => automaton.text(),
        }
    }

    pub(super) fn start(&self) -> Progress {
        match self {
            Restriction::Path(path) => Progress::Path(path.start()),
            Restriction::Table(automaton) => Progress::Table(automaton.start()),
        }
    }

    /// Takes note that `variable` has that option, or is closed.
    pub(super) fn decide(&self, progress: &mut Progress, variable: usize, option: Option<usize>) {
        match (self, progress) {
            (Restriction::Path(path), Progress::Path(state)) => path.decide(state, variable, option),
            (Restriction::Table(automaton), Progress::Table(reached)) => automaton.decide(reached, variable, option),
            _ => unreachable!("progress is that of its restriction"),
        }
    }

    /// Whether nothing that is still to be decided can meet it.
    pub(super) fn is_broken(&self, progress: &Progress) -> bool {
        match (self, progress) {
            (Restriction::Path(path), Progress::Path(state)) => path.is_broken(state),
            (Restriction::Table(automaton), Progress::Table(reached)) => automaton.is_broken(*reached),
            _ => unreachable!("progress is that of its restriction"),
        }
    }

    /// Adds words that are equal for progress from which the same choices meet it.
    pub(super) fn key(&self, progress: &Progress, key: &mut Vec<u64>) {
        match (self, progress) {
            (Restriction::Path(path), Progress::Path(state)) => path.key(state, key),
            (Restriction::Table(automaton), Progress::Table(reached)) => automaton.key(*reached, key),
            _ => unreachable!("progress is that of its restriction"),
        }
    }

    /// Adds numbers that are equal for options of `variable` which it cannot tell apart.
    pub(super) fn see(&self, variable: usize, option: usize, seen: &mut Vec<u32>) {
        match self {
            Restriction::Path(path) => {
                let edges = path.edges().iter().filter(|edge| edge.variable == variable);
                seen.extend(edges.map(|edge| u32::from(edge.closed != Some(option))));
            }
            Restriction::Table(automaton) => seen.extend(automaton.class(variable, option)),
        }
    }
}

/// An edge between two numbered nodes, and the variable that decides what stands on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) variable: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    /// The option that removes the edge, if the variable has it.
    pub(super) closed: Option<usize>,
}

/// A path from the first to the last node over edges that are there.
#[derive(Debug)]
pub(super) struct PathRequirement {
    /// In order of the variables.
    edges: Vec<Edge>,
    nodes: usize,
    /// The most edges that may be there.
    most: Option<u32>,
    /// By the number of decided edges, as bits: the nodes that edges still to come leave, and the last one.
    left: Vec<u64>,
    /// By the number of decided edges, as bits: the nodes that edges still to come enter.
    entered: Vec<u64>,
    text: String,
}

/// More nodes do not fit the bits of a word.
pub(super) const MAX_NODES: usize = 64;

/// What is known of a requirement after some of its edges.
#[derive(Debug, Clone)]
pub(super) struct PathState {
    /// Row `i` has bit `j` when node `j` is reached from node `i`.
    reach: Vec<u64>,
    decided: usize,
    /// The edges that are there.
    present: u32,
    /// Whether some edge's variable is open, so that there is anything to require.
    open: bool,
}

impl PathRequirement {
    pub(super) fn new(mut edges: Vec<Edge>, nodes: usize, most: Option<u32>, text: String) -> Self {
        edges.sort_by_key(|edge| edge.variable);
        let to_come = |bits: u64, node: fn(&Edge) -> usize| -> Vec<u64> {
            let from = |decided: usize| edges[decided..].iter().fold(bits, |bits, edge| bits | 1 << node(edge));
            (0..=edges.len()).map(from).collect()
        };
        let left = to_come(1 << (nodes - 1), |edge| edge.from);
        let entered = to_come(0, |edge| edge.to);
        PathRequirement { edges, nodes, most, left, entered, text }
    }

    pub(super) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn start(&self) -> PathState {
        PathState { reach: (0..self.nodes).map(|i| 1 << i).collect(), decided: 0, present: 0, open: false }
    }

    /// Takes note that `variable` has that option, or is closed.
    pub(super) fn decide(&self, state: &mut PathState, variable: usize, option: Option<usize>) {
        while let Some(edge) = self.edges.get(state.decided).filter(|edge| edge.variable == variable) {
            state.decided += 1;
            state.open |= option.is_some();
            if option.is_some() && option != edge.closed {
                state.present += 1;
                let reached = state.reach[edge.to];
                for row in &mut state.reach {
                    if *row & 1 << edge.from != 0 {
                        *row |= reached;
                    }
                }
            }
        }
    }

    fn is_met(&self, state: &PathState) -> bool {
        state.reach[0] & 1 << (self.nodes - 1) != 0
    }

    /// Whether there are too many edges, or all are decided and there is no path.
    pub(super) fn is_broken(&self, state: &PathState) -> bool {
        self.most.is_some_and(|most| state.present > most)
            || state.decided == self.edges.len() && state.open && !self.is_met(state)
    }

    /// Adds words that are equal for states from which the same choices meet it.
    ///
    /// A path to come goes from node to node over what is reached already, and otherwise by edges to come. So it matters
    /// which nodes that such an edge leaves are reached from the first node, and which more from those that such an edge
    /// enters.
    pub(super) fn key(&self, state: &PathState, key: &mut Vec<u64>) {
        if let Some(most) = self.most {
            let to_come = (self.edges.len() - state.decided) as u32;
            key.push(most.saturating_sub(state.present).min(to_come).into());
        }
        if self.is_met(state) {
            key.push(u64::MAX); // the flag's word below is 0 or 1
            return;
        }
        key.push(state.open.into());
        let (left, entered) = (self.left[state.decided], self.entered[state.decided]);
        key.push(state.reach[0] & left);
        let more = left & !state.reach[0];
        key.extend((1..self.nodes).filter(|i| entered & 1 << i != 0).map(|i| state.reach[i] & more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The four nodes of a NAS-Bench-201 cell; option 0 removes an edge.
    fn cell() -> PathRequirement {
        let pairs = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];
        let edge = |(variable, (from, to))| Edge { variable, from, to, closed: Some(0) };
        PathRequirement::new(pairs.into_iter().enumerate().map(edge).collect(), 4, None, String::new())
    }

    #[track_caller]
    fn check(options: [Option<usize>; 6], broken: bool) {
        let cell = cell();
        let mut state = cell.start();
        for (variable, option) in options.into_iter().enumerate() {
            assert!(!cell.is_broken(&state));
            cell.decide(&mut state, variable, option);
        }
        assert_eq!(cell.is_broken(&state), broken);
    }

    #[test]
    fn direct_edge() {
        check([Some(0), Some(0), Some(0), Some(1), Some(0), Some(0)], false);
    }

    #[test]
    fn longest_path_known_before_its_first_edge_is() {
        check([Some(1), Some(0), Some(1), Some(0), Some(0), Some(1)], false);
    }

    #[test]
    fn dead() {
        check([Some(1), Some(1), Some(1), Some(0), Some(0), Some(0)], true);
        check([Some(0), Some(0), Some(1), Some(0), Some(1), Some(1)], true);
    }

    #[test]
    fn too_many_edges() {
        let pairs = [(0, 1), (0, 1), (0, 1)].into_iter().enumerate();
        let edges = pairs.map(|(variable, (from, to))| Edge { variable, from, to, closed: Some(0) }).collect();
        let requirement = PathRequirement::new(edges, 2, Some(2), String::new());
        let mut state = requirement.start();
        for (variable, broken) in [false, false, true].into_iter().enumerate() {
            requirement.decide(&mut state, variable, Some(1));
            assert_eq!(requirement.is_broken(&state), broken);
        }
    }

    #[test]
    fn nothing_is_required_of_a_closed_cell() {
        check([None; 6], false);
        check([None, None, None, None, None, Some(1)], true);
    }
}
