//! What is known of a limited space: costs that were told, and which options go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fnv::FnvHashMap;
use smallvec::SmallVec;

use super::fill::Fill;
use super::found;
use crate::Rng;
use crate::error::SpaceError;
use crate::space::edit::Source;
use crate::space::limits::{Costs, Limits};
use crate::space::{SearchSpace, Tokens, Walk};

/// Architectures whose costs are remembered, and prefixes whose options are: some 100 MB at most.
const MOST_COSTS: usize = 300_000;
const MOST_PREFIXES: usize = 50_000;
/// The smallest share of a space that is drawn from by refusing what breaks a limit.
const REFUSED: f64 = 1.0 / 16.0;
/// Even draws before an architecture is drawn decision by decision, and such draws before the cheapest is taken.
const DRAWS: usize = 256;
const WALKS: usize = 32;

/// The figures that are limited, in the order of the limits; none when the architecture cannot be built.
pub(super) type Figures = Option<SmallVec<[u64; 3]>>;

/// What is known of an option after the choices before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// No architecture is known that goes on with it and keeps to the limits.
    Masked,
    /// These tokens go on with it and seem to keep to the limits.
    Kept(Tokens),
    /// Even the dearest known that go on with it seem to keep to the limits.
    Free,
}

/// Keeps a space to its limits. All that it says is a function of the space, the limits and the costs; what it remembers only
/// saves time.
pub(in crate::space) struct Guard {
    costs: Arc<dyn Costs>,
    figures: Vec<String>,
    /// By figure.
    most: Vec<u64>,
    known: Mutex<FnvHashMap<Tokens, Figures>>,
    verdicts: Mutex<FnvHashMap<Tokens, Arc<[Verdict]>>>,
    /// Completions that are cheap: over all limits together, then each.
    pub(super) cheap: Vec<Fill>,
    /// Completions that are dear, by figure.
    pub(super) dear: Vec<Fill>,
    cheapest: Tokens,
    /// The dearest architectures, by figure.
    pub(super) dearest: Vec<Tokens>,
    /// Whether even they keep to the limits.
    free: bool,
    /// Whether enough of the space keeps to the limits to draw evenly.
    even: bool,
    /// The variables that seem to cost nothing, whatever they are.
    idle: Vec<usize>,
}

impl Guard {
    /// Finds the cheapest and the dearest of `space`, which is without limits.
    pub(super) fn new(space: &SearchSpace, limits: &Limits, costs: Arc<dyn Costs>) -> Result<Self, SpaceError> {
        if let Some((figure, _)) = limits.iter().find(|(figure, _)| !costs.figures().contains(figure)) {
            let known = costs.figures();
            let hint = crate::space::suggest::hint(figure, known.iter().copied());
            let known: Vec<String> = known.iter().map(|figure| format!("max-{figure}")).collect();
            return Err(SpaceError::Figure { figure: figure.to_owned(), hint, known: known.join(", ") });
        }
        let (figures, most) = limits.iter().map(|(figure, most)| (figure.to_owned(), most)).unzip();
        let mut guard = Guard {
            costs,
            figures,
            most,
            known: Mutex::default(),
            verdicts: Mutex::default(),
            cheap: Vec::new(),
            dear: Vec::new(),
            cheapest: Tokens::default(),
            dearest: Vec::new(),
            free: false,
            even: false,
            idle: Vec::new(),
        };
        let examples = found::examples(&guard, space)?;
        guard.even = examples.share >= REFUSED;
        guard.cheap = found::cheap(&guard, space, &examples);
        guard.cheapest = found::cheapest(&guard, space, &examples);
        if !guard.keeps(space, &guard.cheapest) {
            return Err(guard.nothing_fits(space));
        }
        guard.dear = found::dear(space, &examples);
        guard.dearest = found::dearest(&guard, space, &examples);
        guard.idle = found::idle(&guard, space, &examples);
        guard.free = guard.keeps_all(space, &[]);
        Ok(guard)
    }

    /// By figure.
    pub(super) fn most(&self) -> &[u64] {
        &self.most
    }

    /// The completions that are cheapest over all limits.
    pub(in crate::space) fn cheaply(&self) -> &Fill {
        &self.cheap[0]
    }

    pub(super) fn cheapest(&self) -> &Tokens {
        &self.cheapest
    }

    pub(super) fn is_free(&self) -> bool {
        self.free
    }

    /// The limited figures of an architecture.
    pub(super) fn figures(&self, space: &SearchSpace, tokens: &Tokens) -> Figures {
        if let Some(figures) = locked(&self.known).get(tokens) {
            return figures.clone();
        }
        let figures = self.told(space, tokens).ok();
        let mut known = locked(&self.known);
        if known.len() >= MOST_COSTS {
            known.clear();
        }
        known.insert(tokens.clone(), figures.clone());
        figures
    }

    /// The limited figures, or why there are none.
    pub(super) fn told(&self, space: &SearchSpace, tokens: &Tokens) -> Result<SmallVec<[u64; 3]>, String> {
        let names: SmallVec<[&str; 3]> = self.figures.iter().map(String::as_str).collect();
        let told = self.costs.costs(&space.encode(&space.picks(tokens)), &names)?;
        match told.len() == names.len() {
            true => Ok(SmallVec::from_vec(told)),
            false => Err(format!("{} costs were told where {} were asked for", told.len(), names.len())),
        }
    }

    /// Whether an architecture keeps to the limits.
    pub(in crate::space) fn keeps(&self, space: &SearchSpace, tokens: &Tokens) -> bool {
        let figures = self.figures(space, tokens);
        figures.is_some_and(|figures| figures.iter().zip(&self.most).all(|(figure, most)| figure <= most))
    }

    /// Whether an architecture seems to keep to the limits: it is judged by another that differs in what seems to cost nothing,
    /// so that few are asked for. What is proposed is judged by itself in the end.
    pub(in crate::space) fn seems_to_keep(&self, space: &SearchSpace, tokens: &Tokens) -> bool {
        if self.idle.is_empty() {
            return self.keeps(space, tokens);
        }
        let mut wanted = tokens.clone();
        for &variable in &self.idle {
            wanted.slots_mut(space.inner.layout.slots(variable)).fill(Tokens::CLOSED);
        }
        match space.complete(&wanted, &mut Source::Best(self.cheaply())) {
            Some(like) => self.keeps(space, &like),
            None => self.keeps(space, tokens),
        }
    }

    /// By how much costs break the limits, and what they are, both as shares of the limits. Less is better.
    pub(super) fn excess(&self, figures: &Figures) -> (f64, f64) {
        let Some(figures) = figures else { return (f64::INFINITY, f64::INFINITY) };
        let shares = || figures.iter().zip(&self.most).map(|(&figure, &most)| figure as f64 / most as f64);
        (shares().map(|share| (share - 1.0).max(0.0)).sum(), shares().sum())
    }

    /// Whether the dearest that go on with `prefix` seem to keep to the limits.
    fn keeps_all(&self, space: &SearchSpace, prefix: &[u16]) -> bool {
        self.dear.iter().all(|fill| self.seems_to_keep(space, &space.inner.filled(prefix, fill)))
            && self.dear.iter().zip(&self.dearest).all(|(fill, tokens)| {
                let like = self.like(space, prefix, tokens, fill);
                like.is_some_and(|tokens| self.seems_to_keep(space, &tokens))
            })
    }

    /// `prefix` and then what `tokens` have where that is open, and the best elsewhere; none if there is no such architecture.
    fn like(&self, space: &SearchSpace, prefix: &[u16], tokens: &Tokens, fill: &Fill) -> Option<Tokens> {
        let mut wanted = tokens.clone();
        wanted.slots_mut(0..prefix.len()).copy_from_slice(prefix);
        // A subset that is half decided: its other members are those of the best.
        if let Some(slot) = space.inner.slots.get(prefix.len()).filter(|slot| slot.member.is_some_and(|at| at > 0)) {
            let slots = space.inner.layout.slots(slot.variable);
            if wanted[slots.start] != Tokens::CLOSED {
                fill.decide(&space.inner, slot.variable, 0, prefix.len(), &mut wanted);
            }
        }
        space.complete(&wanted, &mut Source::Best(fill))
    }

    /// An architecture that goes on with `prefix` and seems to keep to the limits, if one is found; `near` went on with it but
    /// for its last choice.
    pub(super) fn completion(&self, space: &SearchSpace, prefix: &[u16], near: &Tokens) -> Option<Tokens> {
        let keeps = |tokens: &Tokens| self.seems_to_keep(space, tokens);
        let filled = |fill| space.inner.filled(prefix, fill);
        let first = filled(&self.cheap[0]);
        if keeps(&first) {
            return Some(first);
        }
        let near = self.like(space, prefix, near, &self.cheap[0]).filter(keeps);
        near.or_else(|| self.cheap[1..].iter().map(filled).find(keeps))
    }

    /// What is known of each option of `slot` that the space allows, after `prefix`, with which `near` goes on and keeps to the
    /// limits.
    pub(super) fn verdicts(
        &self,
        space: &SearchSpace,
        prefix: &[u16],
        slot: usize,
        near: &Tokens,
        mask: &[bool],
    ) -> Arc<[Verdict]> {
        let variable = &space.inner.program.variables[space.inner.slots[slot].variable];
        let mut extended: SmallVec<[u16; 32]> = SmallVec::from_slice(prefix);
        extended.resize(slot + 1, Tokens::CLOSED);
        let verdict = |(option, &open): (usize, &bool)| {
            if !open {
                return Verdict::Masked;
            }
            let tokens = match space.inner.slots[slot].member {
                Some(_) => option as u16..option as u16 + 1,
                None => variable.domain.within(option),
            };
            let own = tokens.contains(&near[slot]);
            extended[slot] = if own { near[slot] } else { tokens.start + (tokens.end - tokens.start) / 2 };
            if self.keeps_all(space, &extended) {
                return Verdict::Free;
            }
            let kept = if own { Some(near.clone()) } else { self.completion(space, &extended, near) };
            kept.map_or(Verdict::Masked, Verdict::Kept)
        };
        mask.iter().enumerate().map(verdict).collect()
    }

    /// As [`verdicts`](Self::verdicts), remembered: `near` must be a function of `prefix`.
    pub(super) fn known_verdicts(
        &self,
        space: &SearchSpace,
        prefix: &Tokens,
        slot: usize,
        near: &Tokens,
        mask: &[bool],
    ) -> Arc<[Verdict]> {
        if let Some(verdicts) = locked(&self.verdicts).get(prefix) {
            return Arc::clone(verdicts);
        }
        let new = self.verdicts(space, prefix, slot, near, mask);
        let mut verdicts = locked(&self.verdicts);
        if verdicts.len() >= MOST_PREFIXES {
            verdicts.clear();
        }
        verdicts.insert(prefix.clone(), Arc::clone(&new));
        new
    }

    /// An architecture that keeps to the limits: see [`SearchSpace::limited`].
    pub(in crate::space) fn sample(&self, space: &SearchSpace, rng: &mut Rng) -> Tokens {
        if self.even {
            let keeps = |tokens: &Tokens| self.seems_to_keep(space, tokens) && self.keeps(space, tokens);
            let drawn = (0..DRAWS).map(|_| space.draw(rng)).find(keeps);
            if let Some(tokens) = drawn {
                return tokens;
            }
        }
        let mut walk = Walk::new(space, None);
        (0..WALKS).find_map(|_| walk.draw(rng)).unwrap_or_else(|| self.cheapest.clone())
    }

    fn nothing_fits(&self, space: &SearchSpace) -> SpaceError {
        let figures = self.figures(space, &self.cheapest).unwrap_or_default();
        let figures = self.figures.iter().zip(figures).zip(&self.most);
        let figures = figures.map(|((name, figure), most)| format!("{name} {figure} (max-{name} is {most})"));
        SpaceError::Limits {
            space: space.name().to_owned(),
            cheapest: space.encode(&space.picks(&self.cheapest)).to_string(),
            figures: figures.collect::<Vec<_>>().join(", "),
        }
    }
}

/// What a thread that panicked has left is whole: entries are written at once.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
