//! Arenas that outlive their program: the memory of one child serves the next on the same thread.
//!
//! Touching fresh memory for the first time costs more than a third of a training step's time; a search compiles thousands
//! of programs, one after the other on each thread. One arena a thread is kept, the largest that is not too large to be left lying.

use std::cell::Cell;

/// Floats of the largest arena that is kept: 256 MiB.
const LARGEST: usize = 64 << 20;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Whether the system gives so many bytes at once. Asked for only where it may be too many: `vec!` would end the process.
/// What is given and not touched costs nothing.
pub(super) fn is_given(bytes: u64) -> bool {
    let Ok(bytes) = usize::try_from(bytes) else { return false };
    bytes / size_of::<f32>() <= LARGEST || Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// An arena of `floats` floats or more that holds anything.
///
/// A kept one is taken if it is large enough and not more than four times too large, for it counts as memory of its program.
pub(super) fn take(floats: usize) -> Vec<f32> {
    let kept = KEPT.try_with(Cell::take).unwrap_or_default();
    if kept.len() >= floats && kept.len() / 4 <= floats {
        return kept;
    }
    // What does not fit goes before the new one comes.
    drop(kept);
    vec![0.0; floats]
}

/// Keeps `arena` for the next program of this thread, if it is the larger one.
pub(super) fn give(arena: Vec<f32>) {
    // Nothing is kept when the thread ends.
    let _ = KEPT.try_with(|slot| {
        let kept = slot.take();
        slot.set(if arena.len() <= LARGEST && arena.len() >= kept.len() { arena } else { kept });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_kept_and_fits() {
        give(vec![1.0; 100]);
        give(vec![2.0; 50]);
        assert_eq!(take(80), vec![1.0; 100], "the larger one was kept");
        assert_eq!(take(80), vec![0.0; 80], "it was taken");
        give(vec![1.0; 100]);
        assert_eq!(take(10), vec![0.0; 10], "far too large for ten");
        give(vec![1.0; 100]);
        assert_eq!(take(200), vec![0.0; 200], "too small");
        give(Vec::new());
        assert!(take(0).is_empty());
    }
}
