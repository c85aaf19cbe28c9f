//! The cells of NAS-Bench-101 (Ying et al., ICML 2019): which there are, when two are the same, and how they are named.
//!
//! A cell is a directed acyclic graph of at most 7 vertices, input and output among them, and at most 9 edges; every vertex
//! between carries one of three operations. Two cells are the same when one is the other with its vertices renumbered, and
//! what does not lie on a way from input to output does not count.

mod enumerate;
mod records;

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use crate::space::SpaceBuilder;
use crate::{Architecture, ArchitectureError, SearchSpace};

pub use enumerate::cells;
pub use records::read_records;

/// The most vertices of a cell, input and output among them.
pub const MAX_VERTICES: usize = 7;

/// The most edges of a cell.
pub const MAX_EDGES: u32 = 9;

/// The operations, in the order that the published hashes number them.
pub const OPERATIONS: [&str; 3] = ["conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"];

/// A cell: an upper triangular adjacency matrix and an operation for every inner vertex.
///
/// ```
/// use nas_core::benchmark::nasbench101::Cell;
///
/// let diamond = Cell::new(&[[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]].concat(), &[0, 2]).expect("a cell");
/// let turned = Cell::new(&[[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]].concat(), &[2, 0]).expect("a cell");
/// assert_eq!(diamond.hash(), turned.hash());
/// assert!(diamond.is_valid());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cell {
    vertices: u8,
    /// Bit `w` of entry `v`: the edge from `v` to `w`.
    out: [u8; MAX_VERTICES],
    /// The operation of every vertex; those of input and output are zero.
    operations: [u8; MAX_VERTICES],
}

impl Cell {
    /// The cell with that matrix (row by row, 0 or 1) and the operations of its inner vertices, as indices into
    /// [`OPERATIONS`]. None when the sizes do not fit or exceed 7 vertices, the matrix is not upper triangular, or an
    /// operation is none.
    pub fn new(matrix: &[u8], operations: &[u8]) -> Option<Cell> {
        let vertices = operations.len() + 2;
        if vertices > MAX_VERTICES || matrix.len() != vertices * vertices {
            return None;
        }
        let mut cell = Cell { vertices: vertices as u8, out: [0; MAX_VERTICES], operations: [0; MAX_VERTICES] };
        for (v, row) in matrix.chunks_exact(vertices).enumerate() {
            for (w, &edge) in row.iter().enumerate() {
                if edge > 1 || edge == 1 && w <= v {
                    return None;
                }
                cell.out[v] |= edge << w;
            }
        }
        for (place, &operation) in cell.operations[1..].iter_mut().zip(operations) {
            if usize::from(operation) >= OPERATIONS.len() {
                return None;
            }
            *place = operation;
        }
        Some(cell)
    }

    /// The space that a search walks: 21 edges that are `out` or `in` and the operations of 5 inner vertices. Most of its
    /// 2²¹ · 3⁵ architectures are no valid cell, and many are the same one.
    ///
    /// # Panics
    /// Never: the space is the same every time, and tested.
    pub fn space() -> SearchSpace {
        decisions(SearchSpace::builder("nas-bench-101")).build().expect("the space is sound")
    }

    /// Declares the same decisions, with what makes a cell: input and output are connected and there are at most 9 edges.
    ///
    /// Isomorphic cells have one [key](SearchSpace::key), as they have one [hash](Self::hash), so that no strategy pays for
    /// a cell twice. Every cell of the benchmark can be drawn; how often depends on the number of ways to write it.
    ///
    /// ```
    /// use nas_core::SearchSpace;
    /// use nas_core::benchmark::nasbench101::Cell;
    ///
    /// let space = SearchSpace::builder("net").integer("width", 1..=4).group("cell", Cell::declare).build()?;
    /// assert_eq!(space.slots()[1].path, "cell.edge-0-1");
    /// assert_eq!(space.cardinality().to_string(), "557,436,168 (5.6e8)");
    /// # Ok::<(), nas_core::SpaceError>(())
    /// ```
    pub fn declare(builder: SpaceBuilder) -> SpaceBuilder {
        let edges = edges().map(|(v, w)| (v as u32, w as u32, edge_name(v, w)));
        let nodes = (1..MAX_VERTICES - 1).map(|v| (v as u32, operation_name(v)));
        decisions(builder).require_path(edges, "out").at_most(MAX_EDGES).nodes(nodes)
    }

    /// The cell, unpruned, of an architecture whose decisions [`declare`](Self::declare) made in the group `prefix`; in no
    /// group if it is empty.
    ///
    /// # Errors
    /// When a decision is missing or holds something else.
    pub fn of(architecture: &Architecture, prefix: &str) -> Result<Cell, ArchitectureError> {
        let option = |name: String, options: &[&str]| -> Result<u8, ArchitectureError> {
            let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            let chosen = architecture.choice(&path)?;
            let place = options.iter().position(|&option| option == chosen);
            place.map(|place| place as u8).ok_or_else(|| ArchitectureError::Option {
                path,
                value: chosen.to_owned(),
                options: options.join(", "),
            })
        };
        let mut cell = Cell { vertices: MAX_VERTICES as u8, out: [0; MAX_VERTICES], operations: [0; MAX_VERTICES] };
        for (v, w) in edges() {
            cell.out[v] |= option(edge_name(v, w), &EDGE)? << w;
        }
        for v in 1..MAX_VERTICES - 1 {
            cell.operations[v] = option(operation_name(v), &OPERATIONS)?;
        }
        Ok(cell)
    }

    /// Sets the decisions of [`declare`](Self::declare) in the group `prefix` to this cell.
    pub fn write(&self, architecture: &mut Architecture, prefix: &str) {
        let path = |name: String| if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let tokens = self.tokens();
        for ((v, w), &edge) in edges().zip(&tokens) {
            architecture.set(&path(edge_name(v, w)), EDGE[usize::from(edge)].into());
        }
        for (v, &operation) in (1..MAX_VERTICES - 1).zip(&tokens[edges().count()..]) {
            architecture.set(&path(operation_name(v)), OPERATIONS[usize::from(operation)].into());
        }
    }

    /// The cell of an architecture of [`space`](Self::space), unpruned; none if the tokens are of another space.
    pub fn from_tokens(tokens: &[u16]) -> Option<Cell> {
        const EDGES: usize = MAX_VERTICES * (MAX_VERTICES - 1) / 2;
        let mut cell = Cell { vertices: MAX_VERTICES as u8, out: [0; MAX_VERTICES], operations: [0; MAX_VERTICES] };
        if tokens.len() != EDGES + MAX_VERTICES - 2 {
            return None;
        }
        let (edges, operations) = tokens.split_at(EDGES);
        for ((v, w), &edge) in self::edges().zip(edges) {
            if edge > 1 {
                return None;
            }
            cell.out[v] |= (edge as u8) << w;
        }
        for (place, &operation) in cell.operations[1..].iter_mut().zip(operations) {
            if usize::from(operation) >= OPERATIONS.len() {
                return None;
            }
            *place = operation as u8;
        }
        Some(cell)
    }

    /// The tokens of the cell in [`space`](Self::space): its inner vertices come first, and vertices that it lacks are
    /// without edges.
    pub fn tokens(&self) -> Vec<u16> {
        let last = usize::from(self.vertices) - 1;
        // The output is the last vertex of the space.
        let place = |v: usize| if v == last { MAX_VERTICES - 1 } else { v };
        let mut out = [0_u8; MAX_VERTICES];
        for (v, w) in self.edges() {
            out[place(v)] |= 1 << place(w);
        }
        let edges = edges().map(|(v, w)| u16::from(out[v] >> w & 1));
        let inner = |v: usize| if v < last { u16::from(self.operations[v]) } else { 0 };
        edges.chain((1..MAX_VERTICES - 1).map(inner)).collect()
    }

    /// How many vertices it has, input and output among them.
    pub fn vertices(&self) -> usize {
        self.vertices.into()
    }

    /// Its edges, from and to, in order.
    pub fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        let (n, out) = (self.vertices(), self.out);
        (0..n).flat_map(move |v| (v + 1..n).filter(move |w| out[v] >> w & 1 == 1).map(move |w| (v, w)))
    }

    /// The names of its inner vertices' operations.
    pub fn operations(&self) -> impl Iterator<Item = &'static str> {
        self.operations
            .into_iter()
            .take(self.vertices() - 1)
            .skip(1)
            .map(|operation| OPERATIONS[usize::from(operation)])
    }

    /// What is left when every vertex is dropped that lies on no way from input to output; none if nothing leads there.
    pub fn pruned(&self) -> Option<Cell> {
        let n = self.vertices();
        let mut forward = 1_u8;
        for v in 0..n {
            if forward >> v & 1 == 1 {
                forward |= self.out[v];
            }
        }
        let mut backward = 1_u8 << (n - 1);
        for v in (0..n).rev() {
            if self.out[v] & backward != 0 {
                backward |= 1 << v;
            }
        }
        let kept = forward & backward;
        if kept & 1 == 0 || kept >> (n - 1) & 1 == 0 {
            return None;
        }
        let mut cell = Cell { vertices: 0, out: [0; MAX_VERTICES], operations: [0; MAX_VERTICES] };
        for v in (0..n).filter(|v| kept >> v & 1 == 1) {
            let place = usize::from(cell.vertices);
            cell.operations[place] = self.operations[v];
            for (next, w) in (0..n).filter(|w| kept >> w & 1 == 1).enumerate() {
                cell.out[place] |= (self.out[v] >> w & 1) << next;
            }
            cell.vertices += 1;
        }
        // Input and output have no operation, whatever stood there.
        (cell.operations[0], cell.operations[usize::from(cell.vertices) - 1]) = (0, 0);
        Some(cell)
    }

    /// Whether the benchmark has it: input and output are connected, and what is left after pruning has at most 9 edges.
    pub fn is_valid(&self) -> bool {
        self.pruned().is_some_and(|cell| cell.edge_count() <= MAX_EDGES)
    }

    fn edge_count(&self) -> u32 {
        self.out.iter().map(|row| row.count_ones()).sum()
    }

    /// The published name of the cell: an MD5 that is the same for isomorphic cells. Prune first, as the benchmark does.
    ///
    /// Every vertex starts from its degrees and operation and is hashed with its neighbours' hashes as many times as there
    /// are vertices; the sorted hashes are hashed once more.
    pub fn hash(&self) -> String {
        let n = self.vertices();
        let into = |w: usize| (0..n).fold(0_u8, |set, v| set | (self.out[v] >> w & 1) << v);
        let mut text = String::with_capacity(34 * (MAX_VERTICES + 1));
        let mut hashes = [[0_u8; 32]; MAX_VERTICES];
        for (v, hash) in hashes.iter_mut().enumerate().take(n) {
            let label = match v {
                0 => -1,
                v if v == n - 1 => -2,
                v => i32::from(self.operations[v]),
            };
            text.clear();
            let degrees = (self.out[v].count_ones(), into(v).count_ones());
            write!(text, "({}, {}, {label})", degrees.0, degrees.1).expect("writing to memory");
            *hash = md5(text.as_bytes());
        }
        let mut bytes = Vec::with_capacity(34 * (MAX_VERTICES + 1));
        for _ in 0..n {
            let before = hashes;
            let sorted = |set: u8, bytes: &mut Vec<u8>| {
                let mut near = [[0; 32]; MAX_VERTICES];
                let mut count = 0;
                for (w, hash) in before.iter().enumerate().take(n) {
                    if set >> w & 1 == 1 {
                        near[count] = *hash;
                        count += 1;
                    }
                }
                near[..count].sort_unstable();
                bytes.extend_from_slice(near[..count].as_flattened());
                bytes.push(b'|');
            };
            for v in 0..n {
                bytes.clear();
                sorted(into(v), &mut bytes);
                sorted(self.out[v], &mut bytes);
                bytes.extend_from_slice(&before[v]);
                hashes[v] = md5(&bytes);
            }
        }
        hashes[..n].sort_unstable();
        // The published code hashes a printed list.
        bytes.clear();
        for (v, hash) in hashes[..n].iter().enumerate() {
            bytes.extend_from_slice(if v == 0 { b"['" } else { b", '" });
            bytes.extend_from_slice(hash);
            bytes.push(b'\'');
        }
        bytes.push(b']');
        md5(&bytes).iter().map(|&byte| char::from(byte)).collect()
    }
}

/// The options of an edge, in the order of the matrix' numbers.
const EDGE: [&str; 2] = ["out", "in"];

/// The edges that a cell can have, from and to, in the order of the decisions.
fn edges() -> impl Iterator<Item = (usize, usize)> {
    (1..MAX_VERTICES).flat_map(|w| (0..w).map(move |v| (v, w)))
}

fn edge_name(v: usize, w: usize) -> String {
    format!("edge-{v}-{w}")
}

fn operation_name(v: usize) -> String {
    format!("op-{v}")
}

fn decisions(builder: SpaceBuilder) -> SpaceBuilder {
    let builder = edges().fold(builder, |builder, (v, w)| builder.choice(&edge_name(v, w), EDGE));
    (1..MAX_VERTICES - 1).fold(builder, |builder, v| builder.choice(&operation_name(v), OPERATIONS))
}

/// The MD5 of `bytes` in hexadecimal digits.
fn md5(bytes: &[u8]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 32];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(Md5::digest(bytes)) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use crate::{Purpose, Seed};
    use rand::RngExt as _;

    /// The first cell of the published file, in the order of the hashes.
    fn first() -> Cell {
        let matrix: Vec<u8> = b"0100110001000000010010000010000001000000010000000".iter().map(|b| b - b'0').collect();
        Cell::new(&matrix, &[0, 2, 0, 0, 1]).unwrap()
    }

    fn random(rng: &mut Rng) -> Cell {
        let tokens =
            Cell::space().slots().iter().map(|slot| rng.random_range(0..slot.options.len() as u16)).collect::<Vec<_>>();
        Cell::from_tokens(&tokens).unwrap()
    }

    #[test]
    fn published_hashes() {
        assert_eq!(first().hash(), "00005c142e6f48ac74fdcf73e3439874");
        // Worked out apart from this code, by the published recipe.
        assert_eq!(Cell::new(&[0, 1, 0, 0], &[]).unwrap().hash(), "043721b9c7fe8c5fad811d47d83132ec");
        assert_eq!(Cell::new(&[0, 1, 0, 0, 0, 1, 0, 0, 0], &[2]).unwrap().hash(), "53cee42601ad14d661bb6878031d6acb");
        let inception = [
            [0, 1, 1, 1, 0, 1, 0],
            [0, 0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 1, 0, 0],
            [0, 0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0, 0],
        ];
        let inception = Cell::new(&inception.concat(), &[1, 0, 0, 0, 2]).unwrap();
        assert_eq!(inception.hash(), "28cfc7874f6d200472e1a9dcd8650aa0");
    }

    #[test]
    fn renumbered_cells_are_the_same() {
        // 0 → 1 → 4, 0 → 2 → 3 → 4 with operations 0 | 1, 2 and its other numberings.
        let edges = |pairs: &[(usize, usize)]| {
            let mut matrix = [0; 25];
            pairs.iter().for_each(|&(v, w)| matrix[5 * v + w] = 1);
            matrix
        };
        let a = Cell::new(&edges(&[(0, 1), (0, 2), (1, 4), (2, 3), (3, 4)]), &[0, 1, 2]).unwrap();
        let b = Cell::new(&edges(&[(0, 1), (0, 3), (1, 2), (2, 4), (3, 4)]), &[1, 2, 0]).unwrap();
        let c = Cell::new(&edges(&[(0, 1), (0, 2), (1, 3), (2, 4), (3, 4)]), &[1, 0, 2]).unwrap();
        assert_eq!(a.hash(), b.hash());
        assert_eq!(a.hash(), c.hash());
        // The same graph with operations elsewhere is another cell, also when only the order along a way differs.
        let d = Cell::new(&edges(&[(0, 1), (0, 2), (1, 3), (2, 4), (3, 4)]), &[2, 0, 1]).unwrap();
        assert_ne!(a.hash(), d.hash());
    }

    #[test]
    fn pruning_drops_what_leads_nowhere() {
        // 1 has no way out and 2 no way in.
        let matrix = [[0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]];
        let cell = Cell::new(&matrix.concat(), &[0, 2]).unwrap();
        assert_eq!(cell.pruned(), Cell::new(&[0, 1, 0, 0], &[]));
        let cut = Cell::new(&[[0, 1, 0], [0, 0, 0], [0, 0, 0]].concat(), &[0]).unwrap();
        assert_eq!((cut.pruned(), cut.is_valid()), (None, false));
        assert_eq!(first().pruned(), Some(first()));
    }

    #[test]
    fn ten_edges_are_too_many() {
        let full: Vec<u8> = (0..5).flat_map(|v| (0..5).map(move |w| u8::from(w > v))).collect();
        let cell = Cell::new(&full, &[0, 0, 0]).unwrap();
        assert_eq!((cell.edge_count(), cell.is_valid()), (10, false));
        assert!(first().is_valid());
    }

    #[test]
    fn what_is_no_cell() {
        assert_eq!(Cell::new(&[0, 1, 0], &[]), None); // not square
        assert_eq!(Cell::new(&[0, 1, 1, 0], &[]), None); // not upper triangular
        assert_eq!(Cell::new(&[0, 2, 0, 0], &[]), None); // not 0 or 1
        assert_eq!(Cell::new(&[0, 1, 0, 0, 0, 1, 0, 0, 0], &[3]), None); // no such operation
        assert_eq!(Cell::new(&[0; 64], &[0; 6]), None); // too many vertices
        assert_eq!(Cell::from_tokens(&[0; 25]), None);
        assert_eq!(Cell::from_tokens(&[2; 26]), None);
    }

    #[test]
    fn tokens_and_cells() {
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        let mut seen = 0;
        for _ in 0..500 {
            let Some(cell) = random(&mut rng).pruned() else { continue };
            let back = Cell::from_tokens(&cell.tokens()).unwrap();
            assert_eq!(back.pruned(), Some(cell));
            seen += 1;
        }
        assert!(seen > 300);
        assert_eq!(Cell::space().cardinality().as_u64(), Some((1 << 21) * 243));
    }

    #[test]
    fn declared_cells_are_valid_and_all_there() {
        let space = Cell::declare(SearchSpace::builder("cells")).build().unwrap();
        // Counted by trying all: at most 9 edges, and a way from input to output.
        let mut matrices = 0_u64;
        for bits in (0..1_u32 << 21).filter(|bits| bits.count_ones() <= MAX_EDGES) {
            let mut reached = 1_u8;
            for (i, (v, w)) in edges().enumerate() {
                reached |= (((bits >> i) as u8 & reached >> v) & 1) << w;
            }
            matrices += u64::from(reached >> 6 & 1);
        }
        assert_eq!(space.cardinality().as_u64(), Some(matrices * 243));
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        for _ in 0..200 {
            let tokens = space.sample_tokens(&mut rng);
            let cell = Cell::from_tokens(&tokens).unwrap();
            assert!(cell.is_valid());
            let mut architecture = Architecture::new();
            cell.write(&mut architecture, "");
            assert_eq!(space.tokens(&architecture).unwrap(), tokens);
            assert_eq!(Cell::of(&architecture, ""), Ok(cell));
        }
        let architecture = space.architecture(&space.sample_tokens(&mut rng)).unwrap();
        assert!(Cell::of(&architecture, "cell").unwrap_err().to_string().contains("cell.edge-0-1"));
    }

    #[test]
    fn any_numbering_has_the_same_hash() {
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        let mut compared = 0;
        while compared < 200 {
            let Some(cell) = random(&mut rng).pruned() else { continue };
            // Swap neighbours that no edge joins: the matrix stays upper triangular.
            let n = cell.vertices();
            let joined: Vec<(usize, usize)> = cell.edges().collect();
            let Some(v) = (1..n.saturating_sub(2)).find(|&v| !joined.contains(&(v, v + 1))) else { continue };
            let place = |x: usize| {
                if x == v {
                    v + 1
                } else if x == v + 1 {
                    v
                } else {
                    x
                }
            };
            let mut matrix = vec![0; n * n];
            joined.iter().for_each(|&(a, b)| matrix[place(a) * n + place(b)] = 1);
            let operations: Vec<u8> = (1..n - 1).map(|x| cell.operations[place(x)]).collect();
            assert_eq!(Cell::new(&matrix, &operations).unwrap().hash(), cell.hash());
            compared += 1;
        }
    }
}
