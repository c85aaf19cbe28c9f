//! Where values stand: those that live at the same time apart, others on the same memory.

use super::plan::{ALIGN, Life};

/// A life with its memory.
struct Placed {
    start: usize,
    end: usize,
    from: usize,
    to: usize,
}

/// A start for every life so that lives that meet in time do not meet in memory, and the floats it takes.
///
/// Largest first, each at the lowest place that is free all its life.
pub(super) fn place(lives: &[Life]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lives.len()).filter(|&i| lives[i].floats > 0).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lives[i].floats), lives[i].from));
    let mut starts = vec![0; lives.len()];
    let mut floats = 0;
    // Placed lives by start, so that the gaps between those that meet in time come in order: side by side, because every life
    // looks at all of them, and recurrent networks have thousands.
    let mut placed: Vec<Placed> = Vec::with_capacity(order.len());
    for i in order {
        let life = lives[i];
        let size = life.floats.next_multiple_of(ALIGN);
        let mut start = 0;
        for other in &placed {
            if other.to < life.from || life.to < other.from {
                continue;
            }
            if other.start >= start + size {
                break;
            }
            start = start.max(other.end);
        }
        let end = start + size;
        starts[i] = start;
        floats = floats.max(end);
        let at = placed.partition_point(|other| other.start <= start);
        placed.insert(at, Placed { start, end, from: life.from, to: life.to });
    }
    (starts, floats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_that_meet_do_not_share_memory() {
        let life = |floats, from, to| Life { floats, from, to };
        let lives = [life(100, 0, 3), life(50, 2, 5), life(100, 4, 6), life(10, 0, 6), life(0, 0, 9)];
        let (starts, floats) = place(&lives);
        for (i, a) in lives.iter().enumerate() {
            for (j, b) in lives.iter().enumerate().filter(|&(j, _)| j != i) {
                let in_time = a.from <= b.to && b.from <= a.to;
                let in_memory = starts[i] < starts[j] + b.floats && starts[j] < starts[i] + a.floats;
                assert!(!(in_time && in_memory) || a.floats * b.floats == 0, "{i} and {j}");
            }
        }
        assert!(floats < 100 + 50 + 100 + 10, "the first and the third share memory");
    }
}
