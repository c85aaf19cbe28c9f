//! Architectures one decision away from another.

use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use super::diagram::{Diagram, State};
use super::domain::{Domain, Pick};
use super::program::Program;
use super::sample::below;
use super::{SearchSpace, Tokens};
use crate::{Architecture, Rng};

/// Decisions that a search for a completion may make before it gives up. Only requirements over many newly opened
/// decisions, most of the others kept closed, come near.
const MAX_STEPS: usize = 100_000;

impl SearchSpace {
    /// `architecture` with one decision changed: a uniformly drawn open decision gets another value, decisions which
    /// that opens are drawn, decisions which it closes are dropped, and requirements stay met.
    ///
    /// A subset gains or loses one member (or swaps one, when its size is fixed); a continuous number is drawn anew.
    /// Decisions that `architecture` lacks, or holds with a value the space does not have, are drawn first, so an
    /// architecture of another version of the space is repaired. In a space of one architecture that one is returned.
    pub fn mutate(&self, architecture: &Architecture, rng: &mut Rng) -> Architecture {
        let wanted = self.wanted(architecture);
        match self.complete(&wanted, Source::Random(rng)) {
            Some(base) => self.encode(&self.changed(base, rng)),
            None => self.sample(rng),
        }
    }

    /// As [`mutate`](Self::mutate), for tokens of this space: of a free space without counting, and without allocating
    /// while its slots fit in place.
    pub fn mutate_tokens(&self, tokens: &Tokens, rng: &mut Rng) -> Tokens {
        if !self.is_free() {
            return self.tokens_of(&self.changed(self.picks(tokens), rng));
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

    /// `base` with one decision changed, if any can be.
    fn changed(&self, base: Vec<Option<Pick>>, rng: &mut Rng) -> Vec<Option<Pick>> {
        let mut open: Vec<usize> = (0..base.len()).filter(|&variable| base[variable].is_some()).collect();
        open.shuffle(rng);
        for variable in open {
            let domain = &self.inner.program.variables[variable].domain;
            let Some(now) = &base[variable] else { continue };
            for other in drawn_alternatives(domain, now, rng) {
                let mut wanted = base.clone();
                wanted[variable] = Some(other);
                if let Some(picks) = self.complete(&wanted, Source::Random(rng)) {
                    return picks;
                }
            }
        }
        base
    }

    /// All architectures one decision away: for each open decision in the space's order, each other value in order, as
    /// far as the requirements allow it.
    ///
    /// Decisions that a change opens get their first possible value. A subset gains or loses one member (or swaps one,
    /// when its size is fixed); a continuous number moves to each of its 16 levels. `architecture` is repaired as in
    /// [`mutate`](Self::mutate), but with first values.
    pub fn neighbours(&self, architecture: &Architecture) -> Vec<Architecture> {
        let wanted = self.wanted(architecture);
        let nothing = vec![None; wanted.len()];
        let base = self.complete(&wanted, Source::First).or_else(|| self.complete(&nothing, Source::First));
        let base = base.expect("a space with architectures completes the empty one");
        self.around(&base).map(|picks| self.encode(&picks)).collect()
    }

    /// As [`neighbours`](Self::neighbours), for tokens of this space.
    pub fn neighbour_tokens(&self, tokens: &Tokens) -> Vec<Tokens> {
        if !self.is_free() {
            return self.around(&self.picks(tokens)).map(|picks| self.tokens_of(&picks)).collect();
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

    /// All picks that differ from `base` in one decision and what that opens or closes.
    fn around(&self, base: &[Option<Pick>]) -> impl Iterator<Item = Vec<Option<Pick>>> {
        let open = base.iter().enumerate().filter_map(|(variable, now)| now.as_ref().map(|now| (variable, now)));
        let others = open.flat_map(|(variable, now)| {
            let others = alternatives(&self.inner.program.variables[variable].domain, now);
            others.into_iter().map(move |other| (variable, other))
        });
        others.filter_map(|(variable, other)| {
            let mut wanted = base.to_vec();
            wanted[variable] = Some(other);
            self.complete(&wanted, Source::First)
        })
    }

    /// What the architecture says about each variable, as far as the space understands it.
    fn wanted(&self, architecture: &Architecture) -> Vec<Option<Pick>> {
        let variables = self.inner.program.variables.iter();
        let pick = |path: &str, domain: &Domain| architecture.get(path).and_then(|v| domain.pick(path, v).ok());
        variables.map(|variable| pick(&variable.path, &variable.domain)).collect()
    }

    /// An architecture with the wanted values wherever they are open and values from `source` elsewhere, if there is one.
    fn complete(&self, wanted: &[Option<Pick>], source: Source<'_>) -> Option<Vec<Option<Pick>>> {
        let (program, diagram) = (&self.inner.program, &self.inner.diagram);
        let picks = vec![None; wanted.len()];
        let mut search = Search { program, diagram, wanted, source, picks, steps: 0 };
        search.below(None, &mut diagram.start(program)).then_some(search.picks)
    }
}

/// Where values come from that nobody asked for.
enum Source<'a> {
    First,
    Random(&'a mut Rng),
}

/// Goes down the forest, where brothers are independent, and back up only along what depends on each other.
struct Search<'a> {
    program: &'a Program,
    diagram: &'a Diagram,
    wanted: &'a [Option<Pick>],
    source: Source<'a>,
    picks: Vec<Option<Pick>>,
    steps: usize,
}

impl Search<'_> {
    fn below(&mut self, parent: Option<usize>, state: &mut State) -> bool {
        let diagram = self.diagram;
        diagram.below(parent).iter().all(|&variable| self.variable(variable, state))
    }

    fn variable(&mut self, variable: usize, state: &mut State) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return false;
        }
        let (program, diagram) = (self.program, self.diagram);
        let Some(node) = diagram.node(program, state, variable) else { return false };
        let saved = diagram.save(state, variable);
        if !node.open {
            self.picks[variable] = None;
            diagram.decide(program, state, variable, None);
            return self.below(Some(variable), state) || {
                diagram.restore(state, variable, &saved);
                false
            };
        }
        let mut classes: Vec<usize> = (0..node.weights.len()).filter(|&c| node.weights[c].bits() > 0).collect();
        loop {
            let pick = match &self.wanted[variable] {
                Some(pick) if diagram.allows(node, variable, pick.index()) => pick.clone(),
                Some(_) => return false,
                None if classes.is_empty() => return false,
                None => self.draw(variable, &node.weights, &mut classes),
            };
            diagram.decide(program, state, variable, Some(pick.index()));
            self.picks[variable] = Some(pick);
            if self.below(Some(variable), state) {
                return true;
            }
            diagram.restore(state, variable, &saved);
            if self.wanted[variable].is_some() || self.steps > MAX_STEPS {
                return false;
            }
        }
    }

    /// A value of one of the classes, which is then tried no more.
    fn draw(&mut self, variable: usize, weights: &[num_bigint::BigUint], classes: &mut Vec<usize>) -> Pick {
        let domain = &self.program.variables[variable].domain;
        match &mut self.source {
            Source::First => match self.diagram.options(variable, classes.remove(0)) {
                Some(options) => Pick::Option(options[0]),
                None => domain.unrank(&num_bigint::BigUint::ZERO),
            },
            Source::Random(rng) => {
                let mut rank = below(&classes.iter().map(|&class| &weights[class]).sum(), rng);
                let mut at = 0;
                while rank >= weights[classes[at]] {
                    rank -= &weights[classes[at]];
                    at += 1;
                }
                match self.diagram.options(variable, classes.remove(at)) {
                    Some(options) => Pick::Option(options[rng.random_range(0..options.len())]),
                    None => domain.draw(rng).unwrap_or_else(|| domain.unrank(&below(&domain.count(), rng))),
                }
            }
        }
    }
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

/// Other values in random order; of subsets and continuous numbers, which nothing else depends on, just one.
fn drawn_alternatives(domain: &Domain, now: &Pick, rng: &mut Rng) -> Vec<Pick> {
    match (domain, now) {
        (Domain::Subset { options, min, max }, Pick::Members(members)) => {
            let absent: Vec<usize> = (0..options.len()).filter(|i| !members.contains(i)).collect();
            let removals = if members.len() > *min { members.len() } else { 0 };
            let additions = if members.len() < *max { absent.len() } else { 0 };
            if removals + additions > 0 {
                let at = rng.random_range(0..removals + additions);
                let removed = (at < removals).then(|| members[at]);
                let added = (at >= removals).then(|| absent[at - removals]);
                vec![changed(members, removed, added)]
            } else if !absent.is_empty() {
                let removed = members[rng.random_range(0..members.len())];
                vec![changed(members, Some(removed), Some(absent[rng.random_range(0..absent.len())]))]
            } else {
                Vec::new()
            }
        }
        (Domain::Real(_), _) => {
            let now = domain.token(now, None);
            std::iter::from_fn(|| domain.draw(rng)).find(|other| domain.token(other, None) != now).into_iter().collect()
        }
        _ => {
            let mut others: Vec<Pick> = (0..domain.len()).map(Pick::Option).filter(|other| other != now).collect();
            others.shuffle(rng);
            others
        }
    }
}

fn changed(members: &[usize], removed: Option<usize>, added: Option<usize>) -> Pick {
    let mut members: Vec<usize> = members.iter().copied().filter(|&i| Some(i) != removed).chain(added).collect();
    members.sort_unstable();
    Pick::Members(members)
}
