//! What a walk in a limited space carries with it.

use std::sync::Arc;

use super::guard::{Guard, Verdict};
use crate::error::ArchitectureError;
use crate::space::{SearchSpace, Tokens};

/// How a walk knows that it will keep to the limits.
#[derive(Debug, Clone)]
enum Hold {
    /// Even the dearest architectures ahead keep to them, as far as is known.
    Free,
    /// By an architecture ahead that does.
    Kept(Tokens),
}

/// The part of a walk that keeps it to the limits.
#[derive(Debug, Clone)]
pub(in crate::space) struct Way {
    /// An architecture that shall be reached, whatever is known else.
    target: Option<Tokens>,
    hold: Hold,
    /// Whether the walk is where only its target led: what is known there is no function of the choices.
    led: bool,
    /// What is known of the options of the next slot; empty where everything is free.
    verdicts: Arc<[Verdict]>,
}

impl Way {
    /// At the first slot. A `target` that breaks the limits is none.
    pub(in crate::space) fn new(space: &SearchSpace, guard: &Guard, target: Option<&Tokens>) -> Self {
        let target = target.filter(|target| target.len() == space.slots().len() && guard.keeps(space, target)).cloned();
        let mut way = Way { target, hold: Hold::Free, led: false, verdicts: Arc::default() };
        way.reset(guard);
        way
    }

    pub(in crate::space) fn reset(&mut self, guard: &Guard) {
        self.hold = if guard.is_free() { Hold::Free } else { Hold::Kept(guard.cheapest().clone()) };
        self.led = false;
    }

    /// Masks the options of the next slot that lead to no architecture which keeps to the limits.
    pub(in crate::space) fn restrict(
        &mut self,
        space: &SearchSpace,
        guard: &Guard,
        prefix: &Tokens,
        mask: &mut [bool],
    ) {
        let slot = prefix.len();
        let Hold::Kept(near) = &self.hold else {
            self.verdicts = Arc::default();
            return;
        };
        self.verdicts = if self.led {
            guard.verdicts(space, prefix, slot, near, mask)
        } else {
            guard.known_verdicts(space, prefix, slot, near, mask)
        };
        for (open, verdict) in mask.iter_mut().zip(&*self.verdicts) {
            *open &= *verdict != Verdict::Masked;
        }
        if let Some(target) = self.target.as_ref().filter(|target| target.starts_with(prefix)) {
            let option = space.option(slot, target[slot]);
            if self.verdicts.get(option) == Some(&Verdict::Masked) {
                mask[option] = true;
            }
        }
    }

    /// Takes note that `option` was chosen, with which the walk has come to `prefix`.
    ///
    /// # Errors
    /// When no architecture is known any more that keeps to the limits: at the end of what was free and is not, or after a
    /// continuous number that costs more than others of its bin.
    pub(in crate::space) fn take(
        &mut self,
        space: &SearchSpace,
        guard: &Guard,
        option: usize,
        prefix: &Tokens,
    ) -> Result<(), ArchitectureError> {
        if let Hold::Kept(_) = self.hold {
            let slot = prefix.len() - 1;
            self.hold = match self.verdicts.get(option) {
                Some(Verdict::Free) => Hold::Free,
                Some(Verdict::Kept(tokens)) if tokens[slot] == prefix[slot] => Hold::Kept(tokens.clone()),
                Some(Verdict::Kept(tokens)) => {
                    let found = guard.completion(space, prefix, tokens);
                    Hold::Kept(found.ok_or_else(|| broken(space))?)
                }
                _ => {
                    let target = self.target.as_ref().filter(|target| target.starts_with(prefix));
                    self.led = true;
                    Hold::Kept(target.ok_or_else(|| broken(space))?.clone())
                }
            };
        }
        Ok(())
    }
}

/// That no architecture that keeps to the limits can be reached any more.
#[cold]
pub(in crate::space) fn broken(space: &SearchSpace) -> ArchitectureError {
    ArchitectureError::Limits { limits: space.limits().to_string() }
}
