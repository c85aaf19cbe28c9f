//! Graphs whose nodes carry choices: what is the same under another numbering has the same key.

use smallvec::{SmallVec, smallvec};

use super::Tokens;
use super::requirement::Edge;
use super::tokens::Layout;

/// A graph by the variables that decide its edges and what stands on its nodes.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) edges: Vec<Edge>,
    /// By node, from the first to the last.
    pub(super) choices: Vec<Option<usize>>,
}

/// Nodes held in place; larger graphs allocate.
const NODES: usize = 16;

impl Graph {
    /// The variables that decide it.
    pub(super) fn variables(&self) -> impl Iterator<Item = usize> {
        self.edges.iter().map(|edge| edge.variable).chain(self.choices.iter().copied().flatten())
    }

    /// A number that is equal for tokens whose graphs differ in nothing but the numbers of their nodes. What lies on no way
    /// from the first node to the last does not count.
    ///
    /// The refinement by which NAS-Bench-101 (Ying et al., 2019) tells its cells apart: every node starts from its degrees
    /// and its choice and is hashed with the hashes of its neighbours as many times as there are nodes. Large graphs may share
    /// a number though they differ.
    pub(super) fn hash(&self, tokens: &Tokens, layout: &Layout) -> u128 {
        let token = |variable: usize| tokens[layout.slots(variable).start];
        let nodes = self.choices.len();
        let mut out: SmallVec<[u64; NODES]> = smallvec![0; nodes];
        let mut into = out.clone();
        for edge in &self.edges {
            let option = token(edge.variable);
            if option != Tokens::CLOSED && edge.closed != Some(option.into()) {
                out[edge.from] |= 1 << edge.to;
                into[edge.to] |= 1 << edge.from;
            }
        }
        let kept = reached(&out, 0) & reached(&into, nodes - 1);
        let mut hashes: SmallVec<[u128; NODES]> = smallvec![0; nodes];
        for node in bits(kept) {
            (out[node], into[node]) = (out[node] & kept, into[node] & kept);
            let label = match node {
                0 => 0,
                _ if node == nodes - 1 => 1,
                // A node without a choice is as one whose choice is closed.
                _ => 2 + u128::from(self.choices[node].map_or(Tokens::CLOSED, token)),
            };
            let degrees = u128::from(out[node].count_ones()) << 32 | u128::from(into[node].count_ones()) << 64;
            hashes[node] = mix(START, degrees | label);
        }
        for _ in 0..kept.count_ones() {
            let before = hashes.clone();
            for node in bits(kept) {
                let hash = mix(mix_sorted(START, into[node], &before), u128::MAX);
                hashes[node] = mix(mix_sorted(hash, out[node], &before), before[node]);
            }
        }
        mix_sorted(START, kept, &hashes)
    }
}

/// The key of tokens of a space with such graphs: their hashes, and all slots that are in none of them.
pub(super) fn key(graphs: &[Graph], others: &[usize], tokens: &Tokens, layout: &Layout) -> u128 {
    let others = others.iter().fold(START, |hash, &slot| mix(hash, tokens[slot].into()));
    graphs.iter().fold(others, |hash, graph| mix(hash, graph.hash(tokens, layout)))
}

/// The slots that are in none of the graphs.
pub(super) fn others(graphs: &[Graph], layout: &Layout) -> Vec<usize> {
    let mut others: Vec<usize> = (0..layout.radices().len()).collect();
    let inside: Vec<usize> = graphs.iter().flat_map(Graph::variables).flat_map(|v| layout.slots(v)).collect();
    others.retain(|slot| !inside.contains(slot));
    others
}

/// The nodes to which edges lead from `start`, itself included.
fn reached(next: &[u64], start: usize) -> u64 {
    let mut reached = 1 << start;
    loop {
        let more = bits(reached).fold(reached, |set, node| set | next[node]);
        if more == reached {
            return reached;
        }
        reached = more;
    }
}

/// The places of the bits that are set, ascending.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        place
    })
}

const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// Adds a word to a hash: an odd multiplication carries bits up, the shift brings them down.
fn mix(hash: u128, word: u128) -> u128 {
    let product = (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    product ^ product >> 67
}

/// Adds the hashes of a set of nodes, which have no order.
fn mix_sorted(hash: u128, set: u64, hashes: &[u128]) -> u128 {
    let mut near: SmallVec<[u128; NODES]> = bits(set).map(|node| hashes[node]).collect();
    near.sort_unstable();
    near.into_iter().fold(hash, mix)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crate::benchmark::nasbench101::{self, Cell};
    use crate::{Purpose, SearchSpace, Seed};

    fn space() -> SearchSpace {
        Cell::declare(SearchSpace::builder("cells")).build().unwrap()
    }

    #[test]
    fn every_small_cell_has_a_key_of_its_own() {
        let space = space();
        let cells = nasbench101::cells(5, nasbench101::MAX_EDGES);
        let keys: BTreeSet<u128> = cells.iter().map(|(_, cell)| space.key(&cell.tokens()[..].into())).collect();
        assert_eq!((cells.len(), keys.len()), (2_532, 2_532));
    }

    /// Of cells that are drawn and changed without end, just those have one key that have one published hash.
    #[test]
    fn keys_are_equal_where_the_published_hashes_are() {
        let space = space();
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        let mut hashes = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for _ in 0..200 {
            let mut tokens = space.sample_tokens(&mut rng);
            for _ in 0..20 {
                let hash = Cell::from_tokens(&tokens).unwrap().pruned().unwrap().hash();
                let key = space.key(&tokens);
                assert_eq!(*keys.entry(hash.clone()).or_insert(key), key);
                assert_eq!(*hashes.entry(key).or_insert_with(|| hash.clone()), hash);
                tokens = space.mutate_tokens(&tokens, &mut rng);
            }
        }
        assert!((400..3600).contains(&hashes.len()), "{} different cells of 4000", hashes.len());
        assert_eq!(space.tokens_of_key(0), None);
    }

    #[test]
    fn other_decisions_count() {
        let edges = [(0, 1, "a"), (1, 2, "b")];
        let space = SearchSpace::builder("s").integer("width", 1..=3).choice("x", ["p", "q"]);
        let space = edges.iter().fold(space, |space, (.., edge)| space.choice(edge, ["out", "in"]));
        let space = space.require_path(edges, "out").nodes([(1, "x")]).build().unwrap();
        let keys: BTreeSet<u128> = space.enumerate().map(|a| space.key(&space.tokens(&a).unwrap())).collect();
        assert_eq!((space.cardinality().as_u64(), keys.len()), (Some(6), 6));
    }

    #[test]
    fn mistakes() {
        let builder =
            || SearchSpace::builder("s").choice("a", ["out", "in"]).choice("x", ["p", "q"]).integer("n", 1..=2);
        let check = |nodes: &[(u32, &str)], message: &str| {
            let edges = [(0, 1, "a")];
            let error = builder().require_path(edges, "out").nodes(nodes.iter().copied()).build().unwrap_err();
            assert_eq!(error.to_string(), message);
        };
        check(&[(2, "x")], "\"a path\" refers to node 2, which no edge touches");
        check(&[(0, "y")], "\"a path\" refers to \"y\", which is no decision");
        check(&[(0, "n")], "\"a path\" refers to \"n\", which is no choice");
        let twice = |node| format!("\"a path\" refers to {node}: a node carries one choice, which has no other place");
        check(&[(0, "x"), (1, "x")], &twice("\"x\" for node 1"));
        check(&[(0, "a")], &twice("\"a\" for node 0"));
    }

    #[test]
    fn written_and_read() {
        let space = space();
        let text = space.to_toml();
        assert!(text.contains("most = 9"), "{text}");
        assert_eq!(SearchSpace::from_toml(&text).unwrap(), space);
    }
}
