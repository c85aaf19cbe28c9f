//! Cells: choices that stand on the edges of a graph, by the slots of a space.

use super::program::{Cell, Program};
use super::walk::Slot;

/// A graph whose edges, or nodes, carry what some slots choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellGraph {
    /// The number of nodes; 0 is the input, the last one the output.
    pub nodes: usize,
    /// The edges in the order of their slots.
    pub edges: Vec<CellEdge>,
    /// By node the slot that chooses what stands on it, if one does; empty where nodes carry nothing.
    pub choices: Vec<Option<usize>>,
}

/// An edge of a [`CellGraph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellEdge {
    /// The node it leaves.
    pub from: usize,
    /// The node it enters.
    pub to: usize,
    /// The slot that chooses the operation on it.
    pub slot: usize,
    /// The option that removes it, if the slot has it.
    pub closed: Option<usize>,
}

/// The cells of a space by slots: a choice is one slot.
pub(super) fn graphs(program: &Program, slots: &[Slot]) -> Vec<CellGraph> {
    let slot = |variable| slots.partition_point(|slot: &Slot| slot.variable < variable);
    let graph = |cell: &Cell| {
        let mut edges: Vec<CellEdge> = cell
            .edges
            .iter()
            .map(|edge| CellEdge { from: edge.from, to: edge.to, slot: slot(edge.variable), closed: edge.closed })
            .collect();
        edges.sort_by_key(|edge| edge.slot);
        CellGraph { nodes: cell.nodes, edges, choices: cell.choices.iter().map(|choice| choice.map(slot)).collect() }
    };
    program.cells.iter().map(graph).collect()
}

#[cfg(test)]
mod tests {
    use crate::SearchSpace;
    use crate::space::testing;

    fn space() -> SearchSpace {
        let ops = ["skip", "none", "conv"];
        SearchSpace::builder("s")
            .subset("before", ["a", "b"])
            .repeat("cells", 1..=2, |cell| {
                let cell = cell.choice("x", ops).choice("y", ["conv", "skip"]).choice("z", ops);
                cell.cell([(4, 7, "y"), (2, 4, "x"), (2, 7, "z")], "none")
            })
            .build()
            .unwrap()
    }

    #[test]
    fn declared_in_a_repeat() {
        let space = space();
        assert_eq!(space.cells().len(), 2);
        let second = &space.cells()[1];
        let edges: Vec<_> =
            second.edges.iter().map(|e| (e.from, e.to, &*space.slots()[e.slot].path, e.closed)).collect();
        let expected = [(0, 1, "cells.1.x", Some(1)), (1, 2, "cells.1.y", None), (0, 2, "cells.1.z", Some(1))];
        assert_eq!((second.nodes, edges), (3, expected.to_vec()));
        // Nothing is required: 4 subsets and 18 or 18² cells.
        assert_eq!(space.cardinality().to_string(), "1,368");
    }

    #[test]
    fn round_trips() {
        let space = space();
        let text = space.to_toml();
        assert_eq!(SearchSpace::from_toml(&text).unwrap(), space, "{text}");
        let json = serde_json::to_string(&space).unwrap();
        assert_eq!(serde_json::from_str::<SearchSpace>(&json).unwrap(), space, "{json}");
        let text = "name = \"s\"\ncell = [{ edges = [[0, 1, \"a\"]], closed_by = \"none\" }]\n\
                    decision = [{ name = \"a\", kind = \"choice\", options = [\"none\", \"conv\"] }]\n";
        assert_eq!(SearchSpace::from_toml(text).unwrap().cells()[0].edges.len(), 1);
    }

    #[test]
    fn of_a_requirement() {
        let space = testing::cell(&["none", "skip"]);
        let [cell] = space.cells() else { panic!("one cell") };
        assert_eq!((cell.nodes, cell.edges.len(), cell.edges[5].slot), (4, 6, 5));
        assert!(cell.choices.is_empty());
    }

    #[test]
    fn of_nodes_that_carry_choices() {
        let builder = SearchSpace::builder("s").choice("x", ["p", "q"]).choice("a", ["out", "in"]).choice("b", ["in"]);
        let space = builder.require_path([(0, 1, "a"), (1, 2, "b")], "out").nodes([(1, "x")]).build().unwrap();
        assert_eq!(space.cells()[0].choices, [None, Some(0), None]);
    }

    #[test]
    fn mistakes() {
        let builder = || SearchSpace::builder("s").choice("a", ["none", "x"]).integer("n", 1..=2);
        let error = |builder: crate::space::SpaceBuilder| builder.build().unwrap_err().to_string();
        assert_eq!(error(builder().cell([(0, 1, "n")], "none")), "\"a cell\" refers to \"n\", which is no choice");
        assert_eq!(
            error(builder().cell([(0, 1, "a")], "zero")),
            "\"a cell\" refers to \"zero\", which none of its decisions has as an option"
        );
    }
}
