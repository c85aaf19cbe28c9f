//! Tables of which a batch names few rows: only those rows of their gradients are cleared, added to and walked.
//!
//! Between two steps the other rows are zeros, so whoever reads the gradients sees what a dense pass would have left.

use std::ops::Range;

use smallvec::SmallVec;

use crate::graph::{Kind, Node};
use crate::optim::Rows;
use crate::params::Layout;

/// How many times as many rows as a batch can name a table must have: walking rows costs more than walking neighbours.
const SPARSE: usize = 4;

/// A table that only its rows' readers use, and where their names are fed.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The parameter's node.
    pub(super) node: usize,
    /// Where it stands among the parameters.
    pub(super) range: Range<usize>,
    width: usize,
    /// The numbers of the inputs that name rows.
    feeds: SmallVec<[usize; 2]>,
    /// The most rows that a batch can name.
    named: usize,
}

/// The tables among the parameters that are worth it. `contributors` are, for every node, those that add to its gradient;
/// `feeds` are the numbers of the inputs.
pub(super) fn tables(
    nodes: &[Node],
    contributors: &[Vec<usize>],
    feeds: &[usize],
    layout: &Layout,
    batch: usize,
) -> Vec<Table> {
    let table = |(node, value): (usize, &Node)| {
        let (Kind::Parameter(parameter), &[count, width]) = (&value.kind, value.shape.dims()) else { return None };
        let names: Option<SmallVec<[usize; 2]>> =
            contributors[node].iter().map(|&reader| names(nodes, &nodes[reader], node)).collect();
        let names = names.filter(|names| !names.is_empty())?;
        let named = names.iter().map(|&input| nodes[input].shape.elements(batch)).sum();
        let feeds = names.iter().map(|&input| feeds[input]).collect();
        let table = Table { node, range: layout.range(*parameter), width, feeds, named };
        (count / SPARSE >= named).then_some(table)
    };
    nodes.iter().enumerate().filter_map(table).collect()
}

/// The input that names the rows of `table` which `reader` reads, if that is all it reads of it.
fn names(nodes: &[Node], reader: &Node, table: usize) -> Option<usize> {
    let Kind::Op(op) = &reader.kind else { return None };
    let mut uses = (0..reader.inputs.len()).filter(|&k| reader.inputs[k].index() == table);
    let (Some(table), None) = (uses.next(), uses.next()) else { return None };
    let input = reader.inputs[op.names_rows(table)?].index();
    matches!(nodes[input].kind, Kind::Input { .. }).then_some(input)
}

/// No rows yet of any table, with room for those of a batch.
pub(super) fn none(tables: &[Table]) -> Vec<Rows> {
    let rows =
        |table: &Table| Rows { range: table.range.clone(), width: table.width, rows: Vec::with_capacity(table.named) };
    tables.iter().map(rows).collect()
}

/// Makes `grads` zero at the rows noted, and forgets them.
pub(super) fn clear(noted: &mut [Rows], grads: &mut [f32]) {
    for table in noted {
        let grads = &mut grads[table.range.clone()];
        for row in table.rows.drain(..) {
            grads[row as usize * table.width..][..table.width].fill(0.0);
        }
    }
}

/// Notes the rows that a batch of `inputs` names, beside those noted before, each once and in order.
pub(super) fn note(tables: &[Table], noted: &mut [Rows], inputs: &[&[f32]]) {
    for (table, noted) in tables.iter().zip(noted) {
        for &feed in &table.feeds {
            noted.rows.extend(inputs[feed].iter().map(|&row| row as u32));
        }
        noted.rows.sort_unstable();
        noted.rows.dedup();
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::optim::{Adam, Optimizer, Sgd};
    use crate::{Feed, Graph, Init, Params, Plan, Program, Rng, Var};

    const COUNT: usize = 100;
    const BATCH: usize = 4;

    /// A network over two tables, one of which is read by two inputs; with `dense` all of both is read.
    fn network(graph: &Graph, dense: bool) -> Var<'_> {
        let (user, item, other) = (graph.class("user", COUNT), graph.class("item", COUNT), graph.class("other", COUNT));
        let users = user.scope("users", |user| user.embedding_table(COUNT, 3, Init::Normal { std: 1.0 }));
        let items = item.scope("items", |item| item.embedding_table(COUNT, 2, Init::Normal { std: 1.0 }));
        let fields = [item.embedding_in(items), other.embedding_in(items)];
        let loss = user.embedding_in(users).concat(&fields, 0).linear(4).tanh().linear(1).sum();
        if dense { loss + (users.sum() + items.sum()).scale(0.0) } else { loss }
    }

    /// A batch of up to [`BATCH`] examples; its rows differ from step to step.
    fn batch(step: usize) -> [Vec<f32>; 3] {
        let size = BATCH - step % 2;
        [7, 13, 29].map(|factor| (0..size).map(|i| ((step * factor + i * i * 3) % COUNT) as f32).collect())
    }

    fn feed(batch: &[Vec<f32>; 3]) -> Feed<'_> {
        let [user, item, other] = batch;
        Feed::new(user.len()).with("user", user).with("item", item).with("other", other)
    }

    fn start(dense: bool) -> (Program, Params) {
        let graph = Graph::new();
        let loss = network(&graph, dense);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(3));
        let program = Program::train(&graph, loss, &[], BATCH).unwrap();
        assert_eq!(program.plan().tables().len(), if dense { 0 } else { 2 });
        (program, params)
    }

    /// Whether steps of all kinds, dense and by rows, are the same bits.
    #[track_caller]
    fn check(optimizer: impl Optimizer + Clone) {
        let [(mut dense, mut dense_params), (mut rows, mut params)] = [true, false].map(start);
        let (mut dense_optimizer, mut optimizer) = (optimizer.clone(), optimizer);
        for step in 0..12 {
            let batches = [batch(step), batch(step + 50)];
            for (i, batch) in batches[..1 + step % 3 / 2].iter().enumerate() {
                let run = |program: &mut Program, params: &mut Params| {
                    let feed = feed(batch);
                    if i == 0 { program.gradients(&feed, params) } else { program.accumulate(&feed, params) }
                };
                assert_eq!(run(&mut dense, &mut dense_params), run(&mut rows, &mut params), "step {step}");
            }
            assert_eq!(dense.grads(), rows.grads(), "step {step}");
            if step % 4 == 3 {
                assert_eq!(dense.clip_value(0.01), rows.clip_value(0.01));
            }
            dense.update(&mut dense_params, &mut dense_optimizer).unwrap();
            rows.update(&mut params, &mut optimizer).unwrap();
            assert_eq!(dense_params.values(), params.values(), "step {step}");
        }
    }

    #[test]
    fn rows_have_the_bits_of_the_whole() {
        for (momentum, weight_decay) in [(0.0, 0.0), (0.9, 0.0), (0.0, 0.1)] {
            let mut sgd = Sgd::new(0.1);
            (sgd.momentum, sgd.weight_decay) = (momentum, weight_decay);
            check(sgd);
        }
        check(Adam::new(0.01));
    }

    #[test]
    fn norms_are_those_of_the_whole() {
        let [(mut dense, mut dense_params), (mut rows, mut params)] = [true, false].map(start);
        for step in 0..3 {
            let batch = batch(step);
            dense.gradients(&feed(&batch), &mut dense_params).unwrap();
            rows.gradients(&feed(&batch), &mut params).unwrap();
            let (expected, found) = (dense.clip(0.1), rows.clip(0.1));
            assert!(expected > 0.1 && (expected - found).abs() < 1e-6 * expected, "{expected} and {found}");
            for (expected, found) in dense.grads().iter().zip(rows.grads()) {
                assert!((expected - found).abs() <= 1e-6 * expected.abs(), "{expected} and {found}");
            }
        }
    }

    #[test]
    fn lazy_adam_leaves_other_rows_alone() {
        let [(mut program, mut params), (mut dense, mut dense_params)] = [false, true].map(start);
        let (mut lazy, mut adam) = (Adam::new(0.01), Adam::new(0.01));
        lazy.lazy = true;
        let step = |program: &mut Program, params: &mut Params, adam: &mut Adam, row: f32| {
            let rows = [row; BATCH];
            let feed = Feed::new(BATCH).with("user", &rows).with("item", &rows).with("other", &rows);
            program.step(&feed, params, adam).unwrap();
            params.get("users.embedding.weight").unwrap().values.to_vec()
        };
        let before = params.get("users.embedding.weight").unwrap().values.to_vec();
        let first = step(&mut program, &mut params, &mut lazy, 5.0);
        // The first step is Adam's: rows without a gradient stay where they are.
        assert_eq!(first, step(&mut dense, &mut dense_params, &mut adam, 5.0));
        assert!((0..COUNT * 3).all(|i| (first[i] != before[i]) == (i / 3 == 5)));
        let second = step(&mut program, &mut params, &mut lazy, 8.0);
        assert!((0..COUNT * 3).all(|i| (second[i] != first[i]) == (i / 3 == 8)));
        // Adam moves on what it remembers.
        assert_ne!(step(&mut dense, &mut dense_params, &mut adam, 8.0)[15..18], first[15..18]);
    }

    #[test]
    fn only_large_tables_read_by_rows_count() {
        let count = |build: fn(&Graph) -> Var<'_>| {
            let graph = Graph::new();
            Plan::train(&graph, build(&graph), &[], BATCH).unwrap().tables().len()
        };
        assert_eq!(count(|g| g.class("x", 16).embedding(16, 2).sum()), 1);
        assert_eq!(count(|g| g.class("x", 15).embedding(15, 2).sum()), 0);
        // Two readers of one sequence each name as many rows together.
        assert_eq!(count(|g| g.classes("x", 31, &[2]).embedding(31, 2).sum()), 0);
        // Tied to a product that reads all of it.
        assert_eq!(
            count(|g| {
                let x = g.class("x", 50);
                let table = x.embedding_table(50, 2, Init::ONES);
                x.embedding_in(table).linear_tied(table).sum()
            }),
            0
        );
        // Behind a view its rows are others.
        assert_eq!(
            count(|g| {
                let x = g.class("x", 50);
                x.embedding_in(g.parameter("t", &[25, 4], Init::ONES).reshape(&[50, 2])).sum()
            }),
            0
        );
    }
}
