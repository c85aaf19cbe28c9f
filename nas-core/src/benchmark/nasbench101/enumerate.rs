//! Every cell of NAS-Bench-101, one of each kind.

use fnv::FnvHashSet;

use super::{Cell, MAX_VERTICES, OPERATIONS};

/// One cell for every class of isomorphic ones with at most `vertices` vertices and `edges` edges, by its published hash, in
/// the order in which the authors' program finds them. With 7 and 9 it is the whole benchmark, which takes a minute.
///
/// # Panics
/// When there are more than 7 vertices.
pub fn cells(vertices: usize, edges: u32) -> Vec<(String, Cell)> {
    assert!(vertices <= MAX_VERTICES, "a cell has at most {MAX_VERTICES} vertices, not {vertices}");
    let mut found: FnvHashSet<String> = FnvHashSet::default();
    let mut cells = Vec::new();
    for n in 2..=vertices {
        let pairs: Vec<(usize, usize)> = (1..n).flat_map(|w| (0..w).map(move |v| (v, w))).collect();
        for bits in 0..1_u32 << pairs.len() {
            if bits.count_ones() > edges {
                continue;
            }
            let mut cell = Cell { vertices: n as u8, out: [0; MAX_VERTICES], operations: [0; MAX_VERTICES] };
            for (i, &(v, w)) in pairs.iter().enumerate() {
                cell.out[v] |= ((bits >> i & 1) as u8) << w;
            }
            if !is_full(&cell) {
                continue;
            }
            let inner = n as u32 - 2;
            for labels in 0..OPERATIONS.len().pow(inner) {
                let mut rest = labels;
                for place in cell.operations[1..n - 1].iter_mut().rev() {
                    *place = (rest % OPERATIONS.len()) as u8;
                    rest /= OPERATIONS.len();
                }
                let hash = cell.hash();
                if found.insert(hash.clone()) {
                    cells.push((hash, cell));
                }
            }
        }
    }
    cells
}

/// Whether every vertex but the output leads on and every vertex but the input is led to: nothing can be pruned.
fn is_full(cell: &Cell) -> bool {
    let n = cell.vertices();
    let reached = cell.out[..n].iter().fold(1, |reached, row| reached | row);
    cell.out[..n - 1].iter().all(|&row| row != 0) && u32::from(reached) == (1 << n) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_five_vertices() {
        // Counted apart from this code, by the published program's rule: 1, 7, 91 and 2,532 in all.
        let counts: Vec<usize> = (2..=5).map(|n| cells(n, 9).len()).collect();
        assert_eq!(counts, [1, 7, 91, 2_532]);
    }

    #[test]
    fn found_cells_are_valid_and_different() {
        let cells = cells(4, 9);
        for (i, (hash, cell)) in cells.iter().enumerate() {
            assert!(cell.is_valid() && cell.pruned() == Some(*cell) && cell.hash() == *hash);
            assert!(cells[..i].iter().all(|(other, _)| other != hash));
        }
    }

    /// The published number of cells. Half a minute, so only `cargo xtask ci` runs it: `cargo test -p nas-core --lib -- --ignored`.
    #[test]
    #[ignore = "half a minute; run by `cargo xtask ci`"]
    fn the_whole_benchmark_has_423_624_cells() {
        let cells = cells(7, 9);
        assert_eq!(cells.len(), 423_624);
        let first = cells.iter().map(|(hash, _)| hash.as_str()).min();
        assert_eq!(first, Some("00005c142e6f48ac74fdcf73e3439874"));
    }
}
