//! The best episodes seen, each once.

use nas_core::Origin;
use nas_core::strategy::State;
use serde::{Deserialize, Serialize};

use super::Figures;
use crate::environment::Episode;
use crate::policy::Policy;

/// A queue of the best episodes, the best first; of equals the earlier one. Nothing stands in it twice.
#[derive(Debug, Clone)]
pub struct Queue {
    capacity: usize,
    entries: Vec<Entry>,
}

/// An episode in a [`Queue`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The number of its trial.
    pub number: u64,
    /// The episode.
    pub episode: Episode,
    /// What it was worth.
    pub reward: f64,
    /// Whether it is of the study that this one was warm-started from, so that its number and reward are of that one.
    pub source: bool,
}

impl Entry {
    /// The origin of what is an edit of it.
    pub fn edited(&self) -> Origin {
        if self.source { Origin::Source { trial: self.number } } else { Origin::Mutation { parent: self.number } }
    }
}

impl Queue {
    /// For up to `capacity` episodes.
    pub fn new(capacity: usize) -> Self {
        Queue { capacity, entries: Vec::with_capacity(capacity + 1) }
    }

    /// Makes room for more episodes, or drops the worst.
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.entries.truncate(capacity);
    }

    /// Takes an episode in, if it is among the best and not in already; `true` when it is.
    pub fn push(&mut self, number: u64, episode: &Episode, reward: f64) -> bool {
        if !reward.is_finite() {
            return false;
        }
        self.entries.retain(|entry| !entry.source || entry.episode.tokens() != episode.tokens());
        self.insert(Entry { number, episode: episode.clone(), reward, source: false })
    }

    /// Takes in an episode of the study that this one was warm-started from, if it is among its best. They all come after
    /// this study's own, which drive them out.
    pub fn push_source(&mut self, number: u64, episode: &Episode, reward: f64) -> bool {
        reward.is_finite() && self.insert(Entry { number, episode: episode.clone(), reward, source: true })
    }

    fn insert(&mut self, new: Entry) -> bool {
        if self.entries.iter().any(|entry| entry.episode.tokens() == new.episode.tokens()) {
            return false;
        }
        let before = |entry: &Entry| match (entry.source, new.source) {
            (false, true) => true,
            (true, false) => false,
            _ => entry.reward >= new.reward,
        };
        let at = self.entries.partition_point(before);
        if at >= self.capacity {
            return false;
        }
        self.entries.insert(at, new);
        self.entries.truncate(self.capacity);
        true
    }

    /// Fits `policy` to the episodes by `epochs` steps down −(1/|Q|) Σ log π − `ent_coef` · H, which `figures` take note of; nothing
    /// when there is no episode or no step.
    pub(crate) fn fit(
        &self,
        policy: &mut dyn Policy,
        epochs: usize,
        ent_coef: f64,
        max_grad_norm: f64,
        figures: &mut Figures,
    ) {
        let batch: Vec<&Episode> = self.entries.iter().map(|entry| &entry.episode).collect();
        if batch.is_empty() {
            return;
        }
        let ones = vec![1.0; batch.iter().map(|episode| episode.len()).sum()];
        for _ in 0..epochs {
            figures.updated(&policy.update(&batch, &ones, ent_coef, max_grad_norm), &batch);
        }
    }

    /// Shows its state.
    pub fn state(&mut self, state: &mut State) {
        state.field("capacity", &mut self.capacity);
        state.field("entries", &mut self.entries);
    }

    /// The entries, the best first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::testing::{cube, episodes};

    #[test]
    fn holds_the_best_each_once() {
        let all = episodes(&Environment::new(cube(2, 3)));
        let mut queue = Queue::new(3);
        let told = [(0, 1.0, true), (1, 3.0, true), (0, 1.0, false), (2, 1.0, true), (3, 2.0, true), (4, 0.5, false)];
        for (number, (which, reward, taken)) in (0..).zip(told) {
            assert_eq!(queue.push(number, &all[which], reward), taken, "trial {number}");
        }
        assert!(!queue.push(9, &all[8], f64::NAN));
        let numbers = |queue: &Queue| queue.entries().iter().map(|entry| entry.number).collect::<Vec<_>>();
        assert_eq!(numbers(&queue), [1, 4, 0]);
        queue.resize(2);
        assert_eq!(numbers(&queue), [1, 4]);
    }

    #[test]
    fn own_episodes_drive_out_those_of_the_source() {
        let all = episodes(&Environment::new(cube(2, 3)));
        let mut queue = Queue::new(3);
        for (number, reward) in [(0, 90.0), (1, 99.0), (2, 95.0), (3, 94.0)] {
            queue.push_source(number, &all[number as usize], reward);
        }
        let numbers = |queue: &Queue| queue.entries().iter().map(|e| (e.source, e.number)).collect::<Vec<_>>();
        assert_eq!(numbers(&queue), [(true, 1), (true, 2), (true, 3)]);
        // The source's second best, tried here, is this study's own.
        assert!(queue.push(0, &all[2], 0.5) && queue.push(1, &all[7], 0.6));
        assert_eq!(numbers(&queue), [(false, 1), (false, 0), (true, 1)]);
        assert_eq!(queue.entries()[2].edited(), Origin::Source { trial: 1 });
        assert!(queue.push(2, &all[8], 0.1) && !queue.push_source(5, &all[5], 1e9));
        assert_eq!(numbers(&queue), [(false, 1), (false, 0), (false, 2)]);
    }
}
