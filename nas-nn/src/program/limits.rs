//! How large a program may be planned: sizes beyond are a mistake, and counting with them would overflow.

use crate::error::GraphError;
use crate::graph::{LARGEST, Node};

/// The most numbers of a value for a whole batch (4 TiB): what an op saves or works in is a small multiple.
const LARGEST_FOR_BATCH: usize = LARGEST << 10;
/// What everything together may take if nothing shared its memory: 256 TiB, more than a process can address.
const MOST_FLOATS: usize = 1 << 46;

/// Refuses a batch for which a value that is used is too large to count with.
pub(super) fn check_values(nodes: &[Node], used: &[bool], batch: usize) -> Result<(), GraphError> {
    let fits = |node: &Node| batch <= LARGEST && node.shape.elements(batch) <= LARGEST_FOR_BATCH;
    match nodes.iter().zip(used).find(|(node, used)| **used && !fits(node)) {
        Some((node, _)) => Err(too_large(node, batch)),
        None => Ok(()),
    }
}

/// Refuses a batch for which all `floats` together are too many. They are those of the nodes in order, any number of times.
pub(super) fn check_total(nodes: &[Node], batch: usize, floats: &[usize]) -> Result<(), GraphError> {
    if floats.iter().fold(0_usize, |sum, &floats| sum.saturating_add(floats)) <= MOST_FLOATS {
        return Ok(());
    }
    let largest = (0..floats.len()).max_by_key(|&i| floats[i]).unwrap_or_default();
    Err(too_large(&nodes[largest % nodes.len()], batch))
}

fn too_large(node: &Node, batch: usize) -> GraphError {
    GraphError::Batch { path: node.path.clone(), shape: node.shape.to_string(), batch }
}
