//! How often each sequence of operations leads from the input of a cell to its output: what a cell computes, whatever its
//! edges are called.

use std::collections::BTreeMap;

use nas_core::SearchSpace;
use nas_core::space::{CellEdge, CellGraph};

/// Paths of a cell that are followed whole. Where there are more, parts of them are counted.
const MAX_PATHS: f64 = 4096.0;
/// Operations of a part of a path.
const PART: usize = 4;
/// Sequences that have a number each. Where there are more they are hashed.
const MAX_SEQUENCES: u64 = 256;
/// Numbers that hashed sequences share.
const HASHED: usize = 128;

/// Path counts of one cell (after White, Neiswanger and Savani, 2021, with counts, and without operations that do nothing).
///
/// Where the nodes carry the operations, a path has those of its nodes. A closed edge breaks its paths; `skip…` and
/// `identity…` on an edge are no operations, so that cells which compute the same are alike.
/// Beyond 4096 paths their parts of up to four edges are counted, those that lie between input and output; beyond 256 possible
/// sequences each is added to or taken from one of 128 numbers, by its hash.
#[derive(Debug, Clone)]
pub(super) struct PathCounts {
    nodes: usize,
    /// By node.
    leaving: Vec<Vec<Edge>>,
    operations: u64,
    dimensions: usize,
    hashed: bool,
    parts: bool,
}

#[derive(Debug, Clone)]
struct Edge {
    to: usize,
    slot: usize,
    /// By option.
    does: Vec<Does>,
    /// What stands on the node it enters: the slot, and the operation of each option.
    node: Option<(usize, Vec<u64>)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Nothing,
    Closes,
    /// The number of an operation, from 1.
    Operation(u64),
}

impl PathCounts {
    /// For `cell` of `space`; none when its edges do not all lead from lower to higher nodes, so that a path might turn back.
    pub(super) fn new(space: &SearchSpace, cell: &CellGraph) -> Option<Self> {
        if cell.nodes < 2 || cell.edges.iter().any(|edge| edge.from >= edge.to || edge.to >= cell.nodes) {
            return None;
        }
        let mut operations: BTreeMap<&str, u64> = BTreeMap::new();
        let mut leaving = vec![Vec::new(); cell.nodes];
        for edge in &cell.edges {
            let options = space.slots()[edge.slot].options.iter().enumerate();
            let does = options.map(|(option, name)| {
                let next = operations.len() as u64 + 1;
                if edge.closed == Some(option) {
                    Does::Closes
                } else if name.starts_with("skip") || name.starts_with("identity") || !cell.choices.is_empty() {
                    Does::Nothing
                } else {
                    Does::Operation(*operations.entry(name).or_insert(next))
                }
            });
            let does = does.collect();
            let node = cell.choices.get(edge.to).copied().flatten().map(|slot| {
                let numbers = space.slots()[slot].options.iter().map(|name| {
                    let next = operations.len() as u64 + 1;
                    *operations.entry(name).or_insert(next)
                });
                (slot, numbers.collect())
            });
            leaving[edge.from].push(Edge { to: edge.to, slot: edge.slot, does, node });
        }
        // Backwards from the output: paths to it from each node, and the longest one's edges.
        let (mut paths, mut longest) = (vec![0.0; cell.nodes], vec![0; cell.nodes]);
        paths[cell.nodes - 1] = 1.0;
        for node in (0..cell.nodes - 1).rev() {
            for edge in leaving[node].iter().filter(|edge| paths[edge.to] > 0.0).cloned().collect::<Vec<Edge>>() {
                paths[node] += paths[edge.to];
                longest[node] = longest[node].max(longest[edge.to] + 1);
            }
        }
        let parts = paths[0] > MAX_PATHS;
        let operations = operations.len() as u64;
        let sequences = sequences(operations, if parts { PART } else { longest[0] });
        let hashed = sequences > MAX_SEQUENCES;
        let dimensions = if hashed { HASHED } else { sequences as usize };
        Some(PathCounts { nodes: cell.nodes, leaving, operations, dimensions, hashed, parts })
    }

    /// The length of the vector.
    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The slots it looks at.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        let edges = self.leaving.iter().flatten();
        edges.flat_map(|edge| [Some(edge.slot), edge.node.as_ref().map(|(slot, _)| *slot)]).flatten()
    }

    /// Adds the counts of the cell that `tokens` choose to `counts`.
    pub(super) fn add(&self, tokens: &[u16], counts: &mut [f32]) {
        if self.parts {
            let alive = self.alive(tokens);
            for node in (0..self.nodes).filter(|node| alive >> node & 1 == 1) {
                self.follow(tokens, node, 0, PART, alive, counts);
            }
        } else {
            self.follow(tokens, 0, 0, usize::MAX, u64::MAX, counts);
        }
    }

    /// Follows the paths of up to `left` edges from `node`, where the sequence so far is `code`.
    fn follow(&self, tokens: &[u16], node: usize, code: u64, left: usize, alive: u64, counts: &mut [f32]) {
        if self.parts || node + 1 == self.nodes {
            self.count(code, counts);
        }
        if left == 0 {
            return;
        }
        for edge in self.leaving[node].iter().filter(|edge| alive >> edge.to & 1 == 1) {
            let code = match edge.chosen(tokens) {
                Does::Closes => continue,
                Does::Nothing => code,
                Does::Operation(operation) => self.then(code, operation),
            };
            let code = edge.entered(tokens).map_or(code, |operation| self.then(code, operation));
            self.follow(tokens, edge.to, code, left - 1, alive, counts);
        }
    }

    /// The code of a sequence and one more operation. Without hashing it is its number: all sequences by length, then in order.
    fn then(&self, code: u64, operation: u64) -> u64 {
        if self.hashed {
            (code ^ operation).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        } else {
            code * self.operations + operation
        }
    }

    fn count(&self, code: u64, counts: &mut [f32]) {
        if !self.hashed {
            counts[code as usize] += 1.0;
            return;
        }
        let hash = (code ^ code >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let sign = if hash >> 56 & 1 == 1 { -1.0 } else { 1.0 };
        counts[(hash >> 57) as usize] += sign;
    }

    /// The nodes on some path from the input to the output, as bits.
    fn alive(&self, tokens: &[u16]) -> u64 {
        let open = |edge: &&Edge| edge.chosen(tokens) != Does::Closes;
        let (mut reached, mut reaching) = (1_u64, 1 << (self.nodes - 1));
        for node in 0..self.nodes {
            if reached >> node & 1 == 1 {
                self.leaving[node].iter().filter(open).for_each(|edge| reached |= 1 << edge.to);
            }
        }
        for node in (0..self.nodes).rev() {
            if self.leaving[node].iter().filter(open).any(|edge| reaching >> edge.to & 1 == 1) {
                reaching |= 1 << node;
            }
        }
        reached & reaching
    }
}

impl Edge {
    fn chosen(&self, tokens: &[u16]) -> Does {
        // A closed decision has no option: nothing stands on its edge.
        self.does.get(usize::from(tokens[self.slot])).copied().unwrap_or(Does::Closes)
    }

    /// The operation on the node it enters, if there is one.
    fn entered(&self, tokens: &[u16]) -> Option<u64> {
        let (slot, numbers) = self.node.as_ref()?;
        numbers.get(usize::from(tokens[*slot])).copied()
    }
}

/// How many sequences of up to `length` operations there are, or more than any limit.
fn sequences(operations: u64, length: usize) -> u64 {
    let (mut all, mut of_length) = (1_u64, 1_u64);
    for _ in 0..length.min(64) {
        of_length = of_length.saturating_mul(operations);
        all = all.saturating_add(of_length);
    }
    all
}

/// The cells that a space declares; where it declares none, those whose edges are choices in one scope named by their
/// nodes: `0-1`, `0-2`, `1-2`, with `none` closing them.
pub(crate) fn cells(space: &SearchSpace) -> Vec<CellGraph> {
    if !space.cells().is_empty() {
        return space.cells().to_vec();
    }
    let mut scopes: BTreeMap<&str, Vec<CellEdge>> = BTreeMap::new();
    for (slot, declared) in space.slots().iter().enumerate() {
        let (scope, name) = declared.path.rsplit_once('.').unwrap_or(("", &declared.path));
        if let Some((from, to)) = name.split_once('-')
            && let (Ok(from), Ok(to)) = (from.parse::<u8>(), to.parse::<u8>())
            && declared.options.len() > 1
        {
            let closed = declared.options.iter().position(|option| option == "none");
            scopes.entry(scope).or_default().push(CellEdge { from: from.into(), to: to.into(), slot, closed });
        }
    }
    let graph = |mut edges: Vec<CellEdge>| {
        let mut nodes: Vec<usize> = edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let number = |node| nodes.binary_search(&node).expect("every end of an edge is in the list");
        edges.iter_mut().for_each(|edge| (edge.from, edge.to) = (number(edge.from), number(edge.to)));
        CellGraph { nodes: nodes.len(), edges, choices: Vec::new() }
    };
    scopes.into_values().filter(|edges| edges.len() > 1).map(graph).filter(|cell| cell.nodes <= 64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::benchmark_cell;

    fn counts(paths: &PathCounts, tokens: &[u16]) -> Vec<f32> {
        let mut counts = vec![0.0; paths.dimensions()];
        paths.add(tokens, &mut counts);
        counts
    }

    fn only(space: &SearchSpace) -> PathCounts {
        let cells = cells(space);
        let [cell] = cells.as_slice() else { panic!("one cell") };
        PathCounts::new(space, cell).unwrap()
    }

    /// The options are none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3 on the edges 01, 02, 12, 03, 13, 23.
    #[test]
    fn of_a_cell_of_the_benchmark() {
        let paths = only(&benchmark_cell());
        assert_eq!(paths.dimensions(), 1 + 3 + 9 + 27);
        let counts = counts(&paths, &[2, 0, 3, 1, 3, 4]);
        // 0→3 is a skip; 0→1→3 is 1x1, 3x3; 0→1→2→3 is 1x1, 3x3, pool; 0→2 is closed.
        let expected = [(0, 1.0), (4 + 1, 1.0), (4 + 9 + 3 + 2, 1.0)];
        for (i, count) in counts.iter().enumerate() {
            let right = expected.iter().find(|(at, _)| *at == i).map_or(0.0, |(_, count)| *count);
            assert_eq!(*count, right, "sequence {i} of {counts:?}");
        }
    }

    /// A cell of NAS-Bench-101: what stands on the nodes is what a path does, under any numbering.
    #[test]
    fn of_nodes_that_carry_the_operations() {
        let edges = [(0, 1, "a"), (0, 2, "b"), (1, 3, "c"), (2, 3, "d"), (0, 3, "e")];
        let space = SearchSpace::builder("s").choice("x", ["conv", "pool"]).choice("y", ["conv", "pool"]);
        let space = edges.iter().fold(space, |space, (.., edge)| space.choice(edge, ["out", "in"]));
        let space = space.require_path(edges, "out").nodes([(1, "x"), (2, "y")]).build().unwrap();
        let paths = only(&space);
        assert_eq!(paths.slots().collect::<std::collections::BTreeSet<_>>().len(), 7);
        let dimensions = 1 + 2 + 4;
        assert_eq!(paths.dimensions(), dimensions);
        // Nothing at all by the direct edge; conv by 1, pool by 2.
        assert_eq!(counts(&paths, &[0, 1, 1, 1, 1, 1, 1])[..3], [1.0, 1.0, 1.0]);
        assert_eq!(counts(&paths, &[1, 0, 1, 1, 1, 1, 1])[..3], [1.0, 1.0, 1.0]);
        assert_eq!(counts(&paths, &[1, 1, 1, 1, 1, 0, 0])[..3], [0.0, 0.0, 1.0]);
    }

    #[test]
    fn of_the_whole_benchmark() {
        let paths = only(&benchmark_cell());
        let mut distinct = std::collections::BTreeSet::new();
        for rank in 0..15_625_u32 {
            let tokens: Vec<u16> = (0..6).map(|edge| (rank / 5_u32.pow(edge) % 5) as u16).collect();
            distinct.insert(counts(&paths, &tokens).iter().map(|&count| count as u8).collect::<Vec<u8>>());
        }
        assert_eq!(distinct.len(), 4_120);
    }

    /// Every path of a larger cell, found by trying every subset of its nodes.
    #[test]
    fn whole_paths_are_all_counted() {
        let nodes = 7;
        let pairs: Vec<(u32, u32)> = (0..nodes).flat_map(|to| (0..to).map(move |from| (from, to))).collect();
        let names: Vec<String> = pairs.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        let ops = ["none", "skip", "conv", "pool", "shuffle"];
        let space = names.iter().fold(SearchSpace::builder("s"), |b, name| b.choice(name, ops)).build().unwrap();
        let paths = only(&space);
        assert!(paths.hashed && !paths.parts);
        for seed in 0..20_u64 {
            let tokens: Vec<u16> = (0..21_u64).map(|i| ((seed * 7919 + i * i * 31 + i) % 11 % 5) as u16).collect();
            let mut expected = vec![0.0; paths.dimensions()];
            for inner in 0..1_u32 << (nodes - 2) {
                let mut way = vec![0];
                way.extend((1..nodes - 1).filter(|node| inner >> (node - 1) & 1 == 1));
                way.push(nodes - 1);
                let mut code = Some(0);
                for pair in way.windows(2) {
                    let slot = pairs.iter().position(|&p| p == (pair[0], pair[1])).unwrap();
                    code = match tokens[slot] {
                        0 => None,
                        1 => code,
                        op => code.map(|code| paths.then(code, u64::from(op) - 1)),
                    };
                }
                code.inspect(|&code| paths.count(code, &mut expected));
            }
            assert_eq!(counts(&paths, &tokens), expected);
        }
    }

    #[test]
    fn parts_of_paths_lie_between_input_and_output() {
        let nodes = 16_u32;
        let edges: Vec<(u32, u32, String)> =
            (0..nodes).flat_map(|to| (0..to).map(move |from| (from, to, format!("e{from}to{to}")))).collect();
        let builder = edges.iter().fold(SearchSpace::builder("s"), |b, (.., name)| b.choice(name, ["none", "conv"]));
        let space = builder.cell(edges.clone(), "none").build().unwrap();
        let paths = only(&space);
        assert!(paths.parts && !paths.hashed && paths.dimensions() == 5);
        // A chain of three edges to the output, and one edge that leads nowhere.
        let chain = [(0, 5), (5, 6), (6, 15), (2, 3)];
        let tokens: Vec<u16> = edges.iter().map(|&(from, to, _)| u16::from(chain.contains(&(from, to)))).collect();
        // By length: four nodes, three edges, two pairs, the whole; the edge 2→3 is in none.
        assert_eq!(counts(&paths, &tokens), [4.0, 3.0, 2.0, 1.0, 0.0]);
    }

    #[test]
    fn closed_decisions_close_their_edges() {
        let space = SearchSpace::builder("s")
            .choice("wide", ["yes", "no"])
            .choice("a", ["none", "conv"])
            .choice("b", ["none", "conv"])
            .when("wide", ["yes"])
            .cell([(0, 1, "a"), (0, 1, "b")], "none")
            .build()
            .unwrap();
        let paths = only(&space);
        assert_eq!(counts(&paths, &[0, 1, 1]), [0.0, 2.0]);
        assert_eq!(counts(&paths, &[1, 1, u16::MAX]), [0.0, 1.0]);
    }

    #[test]
    fn a_cell_that_turns_back_has_no_counts() {
        let space = SearchSpace::builder("s").choice("a", ["none", "x"]).choice("b", ["none", "x"]);
        let space = space.cell([(0, 1, "a"), (1, 0, "b")], "none").build().unwrap();
        assert!(PathCounts::new(&space, &space.cells()[0]).is_none());
    }
}
