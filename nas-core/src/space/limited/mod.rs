//! Spaces under limits: only what keeps to them is drawn, and options that lead nowhere else are masked.
//!
//! Costs are asked of whole architectures, one after the other, and remembered. An option stays open when a completion is
//! known that keeps to the limits. Candidates are the completion that [estimates](estimate) say is cheapest, found over all
//! conditions and requirements at once, and the best that was known before the option was chosen. So masks are exact for a
//! limit on a cost that is a sum of independent parts; of another cost an option may be masked whose completions would have to be
//! searched for. Where even the dearest completions keep to the limits, nothing below is asked but what the whole costs.

mod estimate;
mod fill;
mod found;
mod guard;
mod way;

use std::sync::Arc;

use super::limits::{Costs, Limits};
use super::{SearchSpace, Tokens};
use crate::Architecture;
use crate::error::SpaceError;

pub(super) use fill::Fill;
pub(super) use guard::Guard;
pub(super) use way::{Way, broken};

/// Limits that were declared, and who sees that they are kept.
pub(super) struct Limited {
    pub(super) limits: Limits,
    /// None as long as nobody has told what architectures cost.
    pub(super) guard: Option<Guard>,
}

static NO_LIMITS: Limits = Limits::NONE;

impl SearchSpace {
    /// The limits that were declared or set.
    pub fn limits(&self) -> &Limits {
        self.limited.as_ref().map_or(&NO_LIMITS, |limited| &limited.limits)
    }

    /// This space under `limits` instead of its own, by what `costs` tells: draws, mutations, neighbours and walks then keep to
    /// them. A space whose limits were only declared, in a file or a study, does not keep to them before.
    ///
    /// What does not change: [`cardinality`](Self::cardinality), [`nth`](Self::nth), keys, and which tokens are an
    /// [`architecture`](Self::architecture). Draws are even while one in sixteen of all architectures keeps to the limits;
    /// otherwise they are made decision by decision among what is open. For limits on one cost that is a sum of independent
    /// parts, an option is masked exactly when no architecture with it keeps to them; for others, also when none was found.
    ///
    /// The costs of a few times as many architectures as there are options are asked for at once, and of some for each draw.
    ///
    /// # Errors
    /// [`SpaceError::Figure`] when a limit is on a figure that `costs` does not have, [`SpaceError::Limits`] when no architecture
    /// was found that keeps to them, with the cheapest that was; [`SpaceError::Costs`] when none could be built.
    pub fn limited(&self, limits: Limits, costs: Arc<dyn Costs>) -> Result<SearchSpace, SpaceError> {
        let base = self.unlimited();
        if limits.is_empty() {
            return Ok(base);
        }
        let guard = Guard::new(&base, &limits, costs)?;
        Ok(base.under(Some(Limited { limits, guard: Some(guard) })))
    }

    /// This space without limits.
    #[must_use]
    pub fn unlimited(&self) -> SearchSpace {
        SearchSpace::from_inner(Arc::clone(&self.inner))
    }

    /// Whether it keeps to limits: they are [set](Self::limited), not only declared.
    pub fn is_limited(&self) -> bool {
        self.guard().is_some()
    }

    /// Whether `tokens`, of an architecture of this space, keep to its limits. Without limits all do.
    pub fn keeps_limits(&self, tokens: &Tokens) -> bool {
        self.guard().is_none_or(|guard| guard.keeps(self, tokens))
    }

    /// The cheapest architecture that is known, when limits are set: that with the smallest sum of its costs as shares of their
    /// limits.
    pub fn cheapest(&self) -> Option<Architecture> {
        self.guard().map(|guard| self.encode(&self.picks(guard.cheapest())))
    }

    pub(super) fn guard(&self) -> Option<&Guard> {
        self.limited.as_ref()?.guard.as_ref()
    }
}

#[cfg(test)]
mod tests;
