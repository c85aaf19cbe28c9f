//! Architectures one decision away from another.

use rand::RngExt as _;
use smallvec::SmallVec;

use super::domain::{Domain, Pick};
use super::limited::Fill;
use super::sample::NODES;
use super::weights::Weights;
use super::{Inner, SearchSpace, Tokens};
use crate::{Architecture, Rng};

/// Decisions that a search for a completion may make before it gives up. Only requirements over many newly opened
/// decisions, most of the others kept closed, come near.
const MAX_STEPS: usize = 100_000;

/// Other values of a subset or a continuous number that are drawn until one keeps to the limits.
const LIMITED_TRIES: usize = 16;

/// The nodes of all variables for some tokens.
type Nodes = SmallVec<[u32; NODES]>;

impl SearchSpace {
    /// `architecture` with one decision changed: a uniformly drawn open decision gets another value, decisions which
    /// that opens are drawn, decisions which it closes are dropped, and requirements stay met.
    ///
    /// A subset gains or loses one member (or swaps one, when its size is fixed); a continuous number is drawn anew.
    /// Decisions that `architecture` lacks, or holds with a value the space does not have, are drawn first, so an
    /// architecture of another version of the space is repaired. In a space of one architecture that one is returned.
    pub fn mutate(&self, architecture: &Architecture, rng: &mut Rng) -> Architecture {
        let wanted = self.wanted(architecture);
        let Some(base) = self.complete(&self.tokens_of(&wanted), &mut Source::Random(rng)) else {
            return self.sample(rng);
        };
        let (tokens, changed) = self.changed(&base, rng);
        self.encode(&self.picks_like(&tokens, &wanted, changed))
    }

    /// As [`mutate`](Self::mutate), for tokens: without counting, and without allocating while slots and decisions fit in place.
    pub fn mutate_tokens(&self, tokens: &Tokens, rng: &mut Rng) -> Tokens {
        if !self.is_free() {
            return self.changed(tokens, rng).0;
        }
        let layout = &self.inner.layout;
        let mut tokens = tokens.clone();
        if !layout.changeable().is_empty() {
            let slot = layout.changeable()[rng.random_range(0..layout.changeable().len())];
            // One of the others: those from the present one on move up by one.
            let other = rng.random_range(0..layout.radices()[slot] - 1) as u16;
            tokens.set(slot, other + u16::from(other >= tokens[slot]));
        }
        tokens
    }

    /// `base` with one decision changed, if any can be, and which. What is no architecture of the space is repaired first.
    fn changed(&self, base: &Tokens, rng: &mut Rng) -> (Tokens, Option<usize>) {
        let Some(at) = self.nodes_of(base) else {
            let repaired = self.complete(base, &mut Source::Random(rng));
            return self.changed(&repaired.unwrap_or_else(|| self.sample_tokens(rng)), rng);
        };
        let Inner { program, layout, .. } = &*self.inner;
        let open = (0..program.variables.len()).filter(|&v| base[layout.slots(v).start] != Tokens::CLOSED);
        let mut open: SmallVec<[usize; NODES]> = open.collect();
        while !open.is_empty() {
            let variable = open.swap_remove(rng.random_range(0..open.len()));
            if let Some(tokens) = self.changed_at(variable, base, &at, rng) {
                return (tokens, Some(variable));
            }
        }
        if self.keeps_limits(base) { (base.clone(), None) } else { (self.sample_tokens(rng), None) }
    }

    /// `base` with another value of an open variable, drawn from those that can be.
    fn changed_at(&self, variable: usize, base: &Tokens, at: &Nodes, rng: &mut Rng) -> Option<Tokens> {
        let slots = self.inner.layout.slots(variable);
        let now = base[slots.start];
        // Nothing depends on subsets and continuous numbers but what they cost.
        let tries = if self.is_limited() { LIMITED_TRIES } else { 1 };
        let kept = |tokens: &Tokens| self.keeps_limits(tokens);
        match &self.inner.program.variables[variable].domain {
            Domain::Subset { min, max, .. } => {
                let change = |_| {
                    let mut tokens = base.clone();
                    changed_members(tokens.slots_mut(slots.clone()), *min, *max, rng).then_some(tokens)
                };
                (0..tries).filter_map(change).find(kept)
            }
            Domain::Real(_) => {
                let change = |_| {
                    let mut tokens = base.clone();
                    let other = rng.random_range(0..self.inner.layout.radices()[slots.start] - 1) as u16;
                    tokens.set(slots.start, other + u16::from(other >= now));
                    tokens
                };
                (0..tries).map(change).find(kept)
            }
            domain => {
                let mut others: SmallVec<[u16; 32]> = (0..domain.len() as u16).filter(|&token| token != now).collect();
                while !others.is_empty() {
                    let other = others.swap_remove(rng.random_range(0..others.len()));
                    let changed = self.kept_with(base, at, variable, &[other], &mut Source::Random(rng));
                    if changed.is_some() {
                        return changed;
                    }
                }
                None
            }
        }
    }

    /// As [`with`](Self::with), under the limits: when they are broken, what the change opens is as cheap as can be.
    fn kept_with(
        &self,
        base: &Tokens,
        at: &Nodes,
        variable: usize,
        own: &[u16],
        source: &mut Source<'_>,
    ) -> Option<Tokens> {
        let changed = self.with(base, at, variable, own, source)?;
        let Some(guard) = self.guard() else { return Some(changed) };
        let keeps = |tokens: &Tokens| guard.seems_to_keep(self, tokens) && guard.keeps(self, tokens);
        let cheap = || self.with(base, at, variable, own, &mut Source::Best(guard.cheaply())).filter(keeps);
        if keeps(&changed) { Some(changed) } else { cheap() }
    }

    /// `base` with these tokens of an open variable: below it, decisions that this opens come from `source`. None if there
    /// is no such architecture.
    fn with(&self, base: &Tokens, at: &Nodes, variable: usize, own: &[u16], source: &mut Source<'_>) -> Option<Tokens> {
        let Inner { diagram, layout, .. } = &*self.inner;
        let node = diagram.node(at[variable]);
        let slots = layout.slots(variable);
        let [old, new] = [base[slots.start], own[0]].map(|token| diagram.branch(node, variable, token.into()));
        if !diagram.allows(new) {
            return None;
        }
        let mut tokens = base.clone();
        tokens.slots_mut(slots).copy_from_slice(own);
        if new == old {
            return Some(tokens); // no other decision can tell
        }
        let mut search = Search { inner: &self.inner, wanted: base, source, tokens, at: at.clone(), steps: 0 };
        diagram.go(variable, new, &mut search.at);
        search.below(Some(variable)).then_some(search.tokens)
    }

    /// All architectures one decision away: for each open decision in the space's order, each other value in order, as
    /// far as the requirements allow it.
    ///
    /// Decisions that a change opens get their first possible value. A subset gains or loses one member (or swaps one,
    /// when its size is fixed); a continuous number moves to each of its 16 levels. `architecture` is repaired as in
    /// [`mutate`](Self::mutate), but with first values.
    pub fn neighbours(&self, architecture: &Architecture) -> Vec<Architecture> {
        let wanted = self.wanted(architecture);
        let base = self.repaired(&self.tokens_of(&wanted));
        let picks = self.picks_like(&base, &wanted, None);
        let around = self.around(&base, &picks);
        around.map(|(variable, tokens)| self.encode(&self.picks_like(&tokens, &picks, Some(variable)))).collect()
    }

    /// As [`neighbours`](Self::neighbours), for tokens.
    pub fn neighbour_tokens(&self, tokens: &Tokens) -> Vec<Tokens> {
        if !self.is_free() {
            let base = if self.nodes_of(tokens).is_some() { tokens.clone() } else { self.repaired(tokens) };
            return self.around(&base, &self.picks(&base)).map(|(_, tokens)| tokens).collect();
        }
        let mut neighbours = Vec::new();
        for (slot, &now) in tokens.iter().enumerate() {
            let domain = &self.inner.program.variables[self.inner.slots[slot].variable].domain;
            for other in domain.representatives().map(|token| token as u16).filter(|&token| token != now) {
                let mut near = tokens.clone();
                near.set(slot, other);
                neighbours.push(near);
            }
        }
        neighbours
    }

    /// The architecture of wanted tokens and first values elsewhere, or the first of all if there is none.
    fn repaired(&self, wanted: &Tokens) -> Tokens {
        let base = self.complete(wanted, &mut Source::First);
        let base = base.or_else(|| self.complete(&Tokens::closed(wanted.len()), &mut Source::First));
        base.expect("a space with architectures completes the empty one")
    }

    /// All tokens that differ from `base`, whose picks are given, in one decision and what that opens or closes; and which
    /// decision that is.
    fn around(&self, base: &Tokens, picks: &[Option<Pick>]) -> impl Iterator<Item = (usize, Tokens)> {
        let Inner { program, layout, .. } = &*self.inner;
        let at = self.nodes_of(base).expect("the base is an architecture of the space");
        let open = picks.iter().enumerate().filter_map(|(variable, now)| now.as_ref().map(|now| (variable, now)));
        open.flat_map(move |(variable, now)| {
            let domain = &program.variables[variable].domain;
            let own = |other: &Pick| -> SmallVec<[u16; 1]> {
                let subset = matches!(domain, Domain::Subset { .. });
                (0..layout.slots(variable).len()).map(|member| domain.token(other, subset.then_some(member))).collect()
            };
            let others = alternatives(domain, now);
            let with =
                others.iter().filter_map(|other| self.kept_with(base, &at, variable, &own(other), &mut Source::First));
            with.map(|tokens| (variable, tokens)).collect::<Vec<_>>()
        })
    }

    /// `base`, an architecture, with up to `most` other values of a variable, evenly spread.
    pub(super) fn others(&self, base: &Tokens, variable: usize, most: usize, source: &mut Source<'_>) -> Vec<Tokens> {
        let Some(now) = self.pick(variable, base) else { return Vec::new() };
        let at = self.nodes_of(base).expect("the base is an architecture of the space");
        let domain = &self.inner.program.variables[variable].domain;
        let subset = matches!(domain, Domain::Subset { .. });
        let others = alternatives(domain, &now);
        let spread = others.iter().step_by(others.len().div_ceil(most).max(1)).chain(others.last());
        let own = |other: &Pick| -> SmallVec<[u16; 1]> {
            let slots = self.inner.layout.slots(variable).len();
            (0..slots).map(|member| domain.token(other, subset.then_some(member))).collect()
        };
        spread.filter_map(|other| self.with(base, &at, variable, &own(other), source)).collect()
    }

    /// What the architecture says about each variable, as far as the space understands it.
    fn wanted(&self, architecture: &Architecture) -> Vec<Option<Pick>> {
        let variables = self.inner.program.variables.iter();
        let pick = |path: &str, domain: &Domain| architecture.get(path).and_then(|v| domain.pick(path, v).ok());
        variables.map(|variable| pick(&variable.path, &variable.domain)).collect()
    }

    /// The picks of tokens, with continuous numbers as they stand in `given` where the step is the same, but for the
    /// variable that was `changed`.
    fn picks_like(&self, tokens: &Tokens, given: &[Option<Pick>], changed: Option<usize>) -> Vec<Option<Pick>> {
        let mut picks = self.picks(tokens);
        for (variable, (pick, given)) in picks.iter_mut().zip(given).enumerate() {
            if let (Some(Pick::Option(place)), Some(real @ Pick::Real(_))) = (&*pick, given)
                && Some(variable) != changed
                && self.inner.program.variables[variable].domain.token(real, None) == *place as u16
            {
                *pick = Some(real.clone());
            }
        }
        picks
    }

    /// The nodes of all variables for these tokens; none if they are no architecture's.
    fn nodes_of(&self, tokens: &Tokens) -> Option<Nodes> {
        let Inner { program, diagram, layout, .. } = &*self.inner;
        let mut at = Nodes::from_slice(diagram.start());
        for variable in 0..program.variables.len() {
            let node = diagram.node(at[variable]);
            let token = tokens[layout.slots(variable).start];
            let branch = match (node.open, token == Tokens::CLOSED) {
                (true, false) => diagram.branch(node, variable, token.into()),
                (false, true) => diagram.closed(node),
                _ => return None,
            };
            if !diagram.allows(branch) {
                return None;
            }
            diagram.go(variable, branch, &mut at);
        }
        Some(at)
    }

    /// An architecture with the wanted tokens wherever they are open and values from `source` elsewhere, if there is one.
    pub(super) fn complete(&self, wanted: &Tokens, source: &mut Source<'_>) -> Option<Tokens> {
        let at = Nodes::from_slice(self.inner.diagram.start());
        let tokens = Tokens::closed(wanted.len());
        let mut search = Search { inner: &self.inner, wanted, source, tokens, at, steps: 0 };
        search.below(None).then_some(search.tokens)
    }
}

/// Where values come from that nobody asked for.
pub(super) enum Source<'a> {
    First,
    /// The best by weights.
    Best(&'a Fill),
    Random(&'a mut Rng),
}

/// Goes down the forest, where brothers are independent, and back up only along what depends on each other.
struct Search<'a, 'r> {
    inner: &'a Inner,
    wanted: &'a Tokens,
    source: &'a mut Source<'r>,
    tokens: Tokens,
    at: Nodes,
    steps: usize,
}

impl Search<'_, '_> {
    fn below(&mut self, parent: Option<usize>) -> bool {
        let inner = self.inner;
        inner.diagram.forest.below(parent).iter().all(|&variable| self.variable(variable))
    }

    fn variable(&mut self, variable: usize) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return false;
        }
        let Inner { diagram, layout, .. } = self.inner;
        let node = diagram.node(self.at[variable]);
        let slots = layout.slots(variable);
        let wanted = &self.wanted[slots.clone()];
        if !node.open || wanted[0] != Tokens::CLOSED {
            let branch = if node.open {
                self.tokens.slots_mut(slots).copy_from_slice(wanted);
                diagram.branch(node, variable, wanted[0].into())
            } else {
                self.tokens.slots_mut(slots).fill(Tokens::CLOSED);
                diagram.closed(node)
            };
            return diagram.allows(branch) && self.go(variable, branch);
        }
        let mut untried: SmallVec<[usize; 16]> = diagram.branches(node).filter(|&b| diagram.allows(b)).collect();
        let all = untried.len();
        while !untried.is_empty() && self.steps <= MAX_STEPS {
            let place = match &mut *self.source {
                Source::First => 0,
                Source::Best(fill) => {
                    let best = fill.branch(self.at[variable]);
                    untried.iter().position(|&branch| branch == best).unwrap_or(0)
                }
                Source::Random(rng) if untried.len() == all => {
                    let drawn = diagram.draw(node, rng);
                    untried.iter().position(|&branch| branch == drawn).expect("what is drawn weighs something")
                }
                Source::Random(rng) => {
                    let weights = untried.iter().map(|&branch| diagram.weights()[branch].clone());
                    Weights::new(weights.collect()).draw(rng)
                }
            };
            let branch = untried.remove(place);
            self.choose(variable, diagram.class(node, branch), diagram.options(node, variable, branch));
            if self.go(variable, branch) {
                return true;
            }
        }
        false
    }

    fn go(&mut self, variable: usize, branch: usize) -> bool {
        self.inner.diagram.go(variable, branch, &mut self.at);
        self.below(Some(variable))
    }

    /// Sets the tokens of an open variable to one of the options of a class, or of all its values.
    fn choose(&mut self, variable: usize, class: usize, options: Option<&[usize]>) {
        let Inner { program, layout, .. } = self.inner;
        match &mut *self.source {
            Source::Best(fill) => fill.decide(self.inner, variable, class, 0, &mut self.tokens),
            Source::Random(rng) => self.inner.draw_within(variable, options, &mut self.tokens, rng),
            Source::First => {
                let own = self.tokens.slots_mut(layout.slots(variable));
                match program.variables[variable].domain {
                    Domain::Subset { min, .. } => {
                        own.iter_mut().enumerate().for_each(|(member, token)| *token = (member < min).into());
                    }
                    _ => own[0] = options.map_or(0, |options| options[0] as u16),
                }
            }
        }
    }
}

/// Adds or removes one member of a subset, each change as likely, or swaps one if its size is fixed. `false` if there is
/// nothing to change.
fn changed_members(tokens: &mut [u16], min: usize, max: usize, rng: &mut Rng) -> bool {
    let members = tokens.iter().filter(|&&token| token == 1).count();
    let absent = tokens.len() - members;
    let removals = if members > min { members } else { 0 };
    let additions = if members < max { absent } else { 0 };
    let nth = |tokens: &[u16], wanted: u16, n: usize| {
        let mut places = (0..tokens.len()).filter(|&place| tokens[place] == wanted);
        places.nth(n).expect("there are more of them")
    };
    if removals + additions > 0 {
        let at = rng.random_range(0..removals + additions);
        let place = if at < removals { nth(tokens, 1, at) } else { nth(tokens, 0, at - removals) };
        tokens[place] ^= 1;
        return true;
    }
    if members == 0 || absent == 0 {
        return false;
    }
    let removed = nth(tokens, 1, rng.random_range(0..members));
    let added = nth(tokens, 0, rng.random_range(0..absent));
    tokens.swap(removed, added);
    true
}

/// The other values one change away, in order.
fn alternatives(domain: &Domain, now: &Pick) -> Vec<Pick> {
    match (domain, now) {
        (Domain::Subset { options, min, max }, Pick::Members(members)) => {
            let absent: Vec<usize> = (0..options.len()).filter(|i| !members.contains(i)).collect();
            let mut all = Vec::new();
            if members.len() > *min {
                all.extend(members.iter().map(|&out| changed(members, Some(out), None)));
            }
            if members.len() < *max {
                all.extend(absent.iter().map(|&new| changed(members, None, Some(new))));
            }
            if min == max {
                let swaps = members.iter().flat_map(|&out| absent.iter().map(move |&new| (out, new)));
                all.extend(swaps.map(|(out, new)| changed(members, Some(out), Some(new))));
            }
            all
        }
        _ => {
            let others = domain.representatives().map(Pick::Option);
            others.filter(|other| domain.value(other) != domain.value(now)).collect()
        }
    }
}

fn changed(members: &[usize], removed: Option<usize>, added: Option<usize>) -> Pick {
    let mut members: Vec<usize> = members.iter().copied().filter(|&i| Some(i) != removed).chain(added).collect();
    members.sort_unstable();
    Pick::Members(members)
}
