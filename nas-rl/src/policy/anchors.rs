//! Which options of a slot are about an earlier step: where anchor-point attention (Zoph & Le, 2017, § 3.3) applies.

use nas_core::SearchSpace;

use crate::surrogate::cells;

/// An option that is the likelier, or the less likely, the better what it refers to matches the present step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Anchor {
    /// The option.
    pub(super) option: usize,
    /// 1 if it takes what it refers to, −1 if it does without.
    pub(super) sign: f32,
    /// It refers to the first step of this slot or a later one: to what was known when everything before was decided.
    pub(super) from: usize,
}

/// The anchors of every slot.
///
/// A choice on an edge of a cell refers to the node which the edge leaves: its state is that after the last edge into that
/// node, and of the cell's input that before the first edge. The option that removes the edge does without it.
pub(super) fn anchors(space: &SearchSpace) -> Vec<Vec<Anchor>> {
    let mut anchors = vec![Vec::new(); space.slots().len()];
    for cell in cells(space) {
        let first = cell.edges.iter().map(|edge| edge.slot).min().unwrap_or(0);
        for edge in &cell.edges {
            let Some(option) = edge.closed.filter(|_| space.slots()[edge.slot].options.len() > 1) else { continue };
            let into = cell.edges.iter().filter(|other| other.to == edge.from && other.slot < edge.slot);
            let from = into.map(|other| other.slot + 1).max().unwrap_or(first);
            anchors[edge.slot].push(Anchor { option, sign: -1.0, from });
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{benchmark_cell, conditional, cube};

    #[test]
    fn edges_refer_to_the_node_they_leave() {
        // 0-1, 0-2, 1-2, 0-3, 1-3, 2-3: node 1 is known after slot 0, node 2 after slot 2.
        let of = |space: &SearchSpace| -> Vec<Vec<(usize, f32, usize)>> {
            let plain = |slot: Vec<Anchor>| slot.iter().map(|a| (a.option, a.sign, a.from)).collect();
            anchors(space).into_iter().map(plain).collect()
        };
        let expected = [0, 0, 1, 0, 1, 3].map(|from| vec![(0, -1.0, from)]);
        assert_eq!(of(&benchmark_cell()), expected);
        let expected = [vec![], vec![], vec![(0, -1.0, 2)], vec![(0, -1.0, 3)], vec![(0, -1.0, 2)]];
        assert_eq!(of(&conditional()), expected);
        assert_eq!(of(&cube(3, 5)), vec![vec![]; 3]);
    }
}
