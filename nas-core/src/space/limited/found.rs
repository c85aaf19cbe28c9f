//! The cheapest and the dearest architectures of a space: estimated from examples, then bettered decision by decision.

use smallvec::SmallVec;

use super::estimate::{Added, Columns};
use super::fill::Fill;
use super::guard::{Figures, Guard};
use crate::error::SpaceError;
use crate::space::domain::Domain;
use crate::space::edit::Source;
use crate::space::program::Test;
use crate::space::{SearchSpace, Tokens};
use crate::{Purpose, Rng, Seed};

/// All architectures are examples when there are no more.
const FEW: u64 = 256;
/// Examples at most, however many options there are.
const MOST_EXAMPLES: usize = 768;
/// Examples that each option is in, if it can be.
const EACH: usize = 2;
/// Times that every decision is looked at to better an architecture, and its other values that are tried.
const SWEEPS: usize = 3;
const VALUES: usize = 16;

/// Architectures with their costs.
pub(super) struct Examples {
    columns: Columns,
    all: Vec<(Tokens, SmallVec<[u64; 3]>)>,
    /// By figure.
    added: Vec<Added>,
    /// How much of the space keeps to the limits.
    pub(super) share: f64,
}

/// Draws examples and estimates by them what each option adds.
pub(super) fn examples(guard: &Guard, space: &SearchSpace) -> Result<Examples, SpaceError> {
    let (program, layout) = (&space.inner.program, &space.inner.layout);
    let columns = Columns::new(program);
    let mut rng = Seed::new(0).stream(Purpose::Limits, 0);
    let few = space.cardinality().as_u64().is_some_and(|count| count <= FEW);
    let even: Vec<Tokens> = if few {
        space.enumerate().map(|architecture| space.tokens(&architecture).expect("it is of the space")).collect()
    } else {
        (0..columns.examples().min(MOST_EXAMPLES)).map(|_| space.draw(&mut rng)).collect()
    };
    let share = even.iter().filter(|tokens| guard.keeps(space, tokens)).count() as f64 / even.len() as f64;
    let rare = rare(space, &even, &mut rng);
    let costs = |tokens: Tokens| guard.figures(space, &tokens).map(|figures| (tokens, figures));
    let all: Vec<_> = even.iter().cloned().chain(rare).filter_map(costs).collect();
    if all.is_empty() {
        let why = guard.told(space, &even[0]).err().unwrap_or_default();
        return Err(SpaceError::Costs { space: space.name().to_owned(), why });
    }
    let fit = |figure: usize| {
        let costs: Vec<(Tokens, f64)> = all.iter().map(|(t, figures)| (t.clone(), figures[figure] as f64)).collect();
        columns.fit(program, layout, &costs)
    };
    let added = (0..guard.most().len()).map(fit).collect();
    Ok(Examples { columns, all, added, share })
}

/// Architectures with the options that the given ones hardly have.
fn rare(space: &SearchSpace, given: &[Tokens], rng: &mut Rng) -> Vec<Tokens> {
    let inner = &space.inner;
    let mut more = Vec::new();
    for (variable, of) in inner.program.variables.iter().enumerate() {
        let slot = inner.layout.slots(variable).start;
        if matches!(of.domain, Domain::Subset { .. } | Domain::Real(_)) {
            continue;
        }
        let values = of.domain.len();
        for option in (0..values).step_by(values.div_ceil(VALUES)) {
            let option = option as u16;
            let count = given.iter().filter(|tokens| tokens[slot] == option).count();
            for _ in count..EACH {
                if more.len() >= MOST_EXAMPLES {
                    return more;
                }
                let mut wanted = Tokens::closed(inner.slots.len());
                wanted.set(slot, option);
                open(space, variable, &mut wanted);
                more.extend(space.complete(&wanted, &mut Source::Random(rng)));
            }
        }
    }
    more
}

/// Asks for what opens a variable.
fn open(space: &SearchSpace, variable: usize, wanted: &mut Tokens) {
    let program = &space.inner.program;
    for &predicate in &program.variables[variable].conditions {
        let predicate = &program.predicates[predicate];
        let slot = space.inner.layout.slots(predicate.target).start;
        let now = Some(usize::from(wanted[slot])).filter(|_| wanted[slot] != Tokens::CLOSED);
        if !predicate.holds(now) {
            let option = match &predicate.test {
                Test::Among(options) => options[0],
                Test::AtLeast(least) => *least,
            };
            wanted.set(slot, option as u16);
        }
        open(space, predicate.target, wanted);
    }
}

/// The completions that are cheapest: over the sum of costs as shares of their limits, and then for each cost.
pub(super) fn cheap(guard: &Guard, space: &SearchSpace, examples: &Examples) -> Vec<Fill> {
    let Examples { columns, added, .. } = examples;
    let shares = added.iter().zip(guard.most()).map(|(added, &most)| (added, 1.0 / most as f64));
    let all = Added::sum(shares);
    let each = added.iter().take(if added.len() > 1 { added.len() } else { 0 });
    std::iter::once(&all).chain(each).map(|added| Fill::new(&space.inner, columns, added, 1.0)).collect()
}

/// The completions that are dearest, by figure.
pub(super) fn dear(space: &SearchSpace, examples: &Examples) -> Vec<Fill> {
    examples.added.iter().map(|added| Fill::new(&space.inner, &examples.columns, added, -1.0)).collect()
}

/// The architecture that breaks the limits least, and of those that break none the cheapest.
pub(super) fn cheapest(guard: &Guard, space: &SearchSpace, examples: &Examples) -> Tokens {
    let excess = |figures: &Figures| guard.excess(figures);
    let filled = guard.cheap.iter().map(|fill| space.inner.filled(&[], fill));
    let known = examples.all.iter().map(|(tokens, _)| tokens.clone());
    best(guard, space, filled.chain(known), &guard.cheap[0], excess)
}

/// The architecture with the highest cost, by figure.
pub(super) fn dearest(guard: &Guard, space: &SearchSpace, examples: &Examples) -> Vec<Tokens> {
    let dearest = |(figure, fill): (usize, &Fill)| {
        // One that cannot be built is no bound.
        let less = |figures: &Figures| figures.as_ref().map_or((1.0, 0.0), |figures| (-(figures[figure] as f64), 0.0));
        let known = examples.all.iter().map(|(tokens, _)| tokens.clone());
        best(guard, space, std::iter::once(space.inner.filled(&[], fill)).chain(known), fill, less)
    };
    guard.dear.iter().enumerate().map(dearest).collect()
}

/// The variables that cost nothing: whatever they are at the cheapest, the dearest and a drawn architecture, no figure changes.
pub(super) fn idle(guard: &Guard, space: &SearchSpace, examples: &Examples) -> Vec<usize> {
    let drawn = examples.all.first().map(|(tokens, _)| tokens);
    let bases: Vec<&Tokens> = guard.dearest.iter().chain([guard.cheapest()]).chain(drawn).collect();
    let is_idle = |&variable: &usize| {
        let slot = space.inner.layout.slots(variable).start;
        let mut open = bases.iter().filter(|base| base[slot] != Tokens::CLOSED).peekable();
        open.peek().is_some()
            && open.all(|base| {
                let figures = guard.figures(space, base);
                let others = space.others(base, variable, VALUES, &mut Source::Best(guard.cheaply()));
                others.iter().all(|tokens| guard.figures(space, tokens) == figures)
            })
    };
    (0..space.inner.program.variables.len()).filter(is_idle).collect()
}

/// The best of some architectures, changed one decision after the other as long as that makes it better, which is less.
fn best(
    guard: &Guard,
    space: &SearchSpace,
    starts: impl Iterator<Item = Tokens>,
    fill: &Fill,
    worth: impl Fn(&Figures) -> (f64, f64),
) -> Tokens {
    let worth = |tokens: &Tokens| worth(&guard.figures(space, tokens));
    let mut scored = starts.map(|tokens| (worth(&tokens), tokens));
    let first = scored.next().expect("there is a start");
    let (mut least, mut now) = scored.fold(first, |best, next| if next.0 < best.0 { next } else { best });
    for _ in 0..SWEEPS {
        let before = least;
        for variable in 0..space.inner.program.variables.len() {
            for tokens in space.others(&now, variable, VALUES, &mut Source::Best(fill)) {
                let own = worth(&tokens);
                if own < least {
                    (least, now) = (own, tokens);
                }
            }
        }
        if least == before {
            break;
        }
    }
    now
}
