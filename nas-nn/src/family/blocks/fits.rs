//! Which choices fit together: found ahead of any draw, as a table that the space requires.
//!
//! A network is run without a graph, decision by decision in the order of the space. Two ways through the first decisions from
//! which the rest goes on alike, because the forms of all values still needed and all decisions still looked at are equal, are one
//! state. So the states are few where a brute search would be over all architectures, and the table is exact: it ends just where
//! the network cannot be built.

use std::collections::{BTreeMap, BTreeSet};

use fnv::FnvHashMap;
use nas_core::space::Requirement;

use super::kind::{Kind, Setting};
use super::plan::{Content, Piece, Plan, Source};
use super::run::{Decided, Flow, Halt, Run, Setup, decides};
use super::syntax::Mistake;

/// Runs of a network without a graph: a second or less.
const MOST_RUNS: usize = 200_000;

/// A row of the table: by option the state that follows, and last that of a closed decision.
type Row = Vec<Option<u32>>;

/// The requirement that only what fits is drawn, `because` in words; none when everything does.
///
/// # Errors
/// A [`Mistake`] at the block where the last way ends when no architecture fits; or that there are too many combinations.
pub(super) fn requirement(
    plan: &Plan,
    setup: Setup,
    start: Flow<'static>,
    because: &str,
) -> Result<Option<Requirement>, FitError> {
    let mut uses = Uses { widths: setup.widths, last: BTreeMap::new() };
    plan.pieces.iter().for_each(|piece| uses.piece(piece));
    let order: Vec<usize> = uses.last.keys().copied().collect();
    if let Some(&decision) = order.iter().find(|&&decision| !plan.decisions[decision].listed) {
        return Err(FitError::Unlisted(plan.decisions[decision].path.clone()));
    }
    let mut search = Search { plan, setup, start, order: &order, last: &uses.last, runs: 0, furthest: None };
    let levels = search.levels()?;
    let Some(levels) = pruned(levels) else {
        let mistake = search.furthest.map(|(_, mistake)| mistake);
        let nothing = || Mistake { at: vec!["network".to_owned()], message: "no architecture fits".to_owned() };
        return Err(FitError::Nothing(mistake.unwrap_or_else(nothing)));
    };
    let closable: Vec<bool> = order.iter().map(|&decision| plan.decisions[decision].closable).collect();
    let (kept, states) = reduced(levels, &closable);
    if states.is_empty() {
        return Ok(None);
    }
    let decisions = kept.into_iter().map(|level| plan.decisions[order[level]].path.clone()).collect();
    Ok(Some(Requirement::Table { decisions, states, because: because.to_owned() }))
}

/// Why there is no table.
#[derive(Debug)]
pub(super) enum FitError {
    /// No architecture fits; this is what ended the one that came furthest.
    Nothing(Mistake),
    /// A size is a continuous number or a set.
    Unlisted(String),
    /// More combinations matter than are looked at.
    TooMany,
}

/// The decisions that matter to what fits, each with the last place that looks at it.
struct Uses {
    widths: bool,
    last: BTreeMap<usize, usize>,
}

impl Uses {
    fn note(&mut self, source: &Source, place: usize) {
        if let Source::Decided(decision) = source {
            let last = self.last.entry(*decision).or_insert(place);
            *last = place.max(*last);
        }
    }

    fn piece(&mut self, piece: &Piece) {
        let entry = 2 * piece.number;
        if let Some(condition) = &piece.when {
            self.note(&Source::Decided(condition.decision), entry);
        }
        piece.skip.iter().for_each(|skip| self.note(skip, entry));
        match &piece.content {
            Content::Layer(kind, sources) => self.layer(kind, sources, entry),
            Content::Chain(pieces) => pieces.iter().for_each(|piece| self.piece(piece)),
            Content::OneOf(decision, pieces) => {
                self.note(&Source::Decided(*decision), entry);
                pieces.iter().for_each(|piece| self.piece(piece));
            }
            Content::Copies(times, copies) => {
                // Once the last copy has begun the number is told by that.
                self.note(times, copies.last().map_or(entry, |last| 2 * last.number - 1));
                copies.iter().for_each(|piece| self.piece(piece));
            }
            Content::Branches(how, branches) => {
                self.note(how, 2 * piece.last + 1);
                branches.iter().flatten().for_each(|piece| self.piece(piece));
            }
        }
    }

    fn layer(&mut self, kind: &Kind, sources: &[(&'static super::kind::Key, Source)], place: usize) {
        for (key, source) in sources {
            if decides(kind, key.name, self.widths) {
                self.note(source, place);
            }
        }
    }
}

/// The first decisions of the order, as far as they are made.
struct Prefix<'a> {
    plan: &'a Plan,
    /// By decision: its place in the order.
    place: &'a FnvHashMap<usize, usize>,
    /// By place: the option; none: closed.
    made: &'a [Option<u16>],
}

impl Decided for Prefix<'_> {
    fn setting(&self, decision: usize) -> Result<Setting, Halt> {
        let place =
            self.place.get(&decision).expect("the order holds every decision that a run without a graph asks for");
        match self.made.get(*place) {
            None => Err(Halt::Waits),
            Some(None) => Err(Halt::Closed(decision)),
            Some(Some(option)) => Ok(self.plan.decisions[decision].settings[usize::from(*option)].clone()),
        }
    }
}

struct Search<'a> {
    plan: &'a Plan,
    setup: Setup,
    start: Flow<'static>,
    order: &'a [usize],
    last: &'a BTreeMap<usize, usize>,
    runs: usize,
    /// How far a run came that did not fit, and why it ended.
    furthest: Option<(usize, Mistake)>,
}

impl Search<'_> {
    /// For each decision of the order, the rows of its states. A first state that fits nothing has a row without successors.
    fn levels(&mut self) -> Result<Vec<Vec<Row>>, FitError> {
        let place: FnvHashMap<usize, usize> =
            self.order.iter().enumerate().map(|(i, &decision)| (decision, i)).collect();
        let mut levels = Vec::with_capacity(self.order.len());
        let Some(first) = self.run(&place, &[])? else {
            return Ok(vec![vec![vec![None]]]);
        };
        let mut states: Vec<(Vec<u64>, Vec<Option<u16>>)> = vec![(first, Vec::new())];
        for &decision in self.order {
            let options = self.plan.decisions[decision].settings.len() as u16;
            let mut known: FnvHashMap<Vec<u64>, u32> = FnvHashMap::default();
            let mut next: Vec<(Vec<u64>, Vec<Option<u16>>)> = Vec::new();
            let mut rows = Vec::with_capacity(states.len());
            for (_, made) in &states {
                let closed = self.plan.decisions[decision].closable.then_some(None);
                let choices = (0..options).map(Some).chain(closed);
                let mut row: Row = Vec::with_capacity(usize::from(options) + 1);
                for choice in choices {
                    let mut made = made.clone();
                    made.push(choice);
                    let state = self.run(&place, &made)?.map(|signature| {
                        *known.entry(signature.clone()).or_insert_with(|| {
                            next.push((signature, made));
                            next.len() as u32 - 1
                        })
                    });
                    row.push(state);
                }
                row.resize(usize::from(options) + 1, None);
                rows.push(row);
            }
            levels.push(rows);
            states = next;
        }
        Ok(levels)
    }

    /// What the rest depends on after the first decisions; none if they do not fit.
    fn run(&mut self, place: &FnvHashMap<usize, usize>, made: &[Option<u16>]) -> Result<Option<Vec<u64>>, FitError> {
        self.runs += 1;
        if self.runs > MOST_RUNS {
            return Err(FitError::TooMany);
        }
        let prefix = Prefix { plan: self.plan, place, made };
        let mut run = Run::new(&prefix, self.setup);
        match run.network(&self.plan.pieces, self.start) {
            Ok(_) => Ok(Some(vec![u64::MAX])),
            Err(Halt::Waits) => {
                let mut signature = vec![run.at as u64];
                signature.append(&mut run.live);
                for (decision, option) in self.order.iter().zip(made) {
                    if self.last[decision] >= run.at {
                        signature.push(option.map_or(u64::MAX, u64::from));
                    }
                }
                Ok(Some(signature))
            }
            Err(Halt::Misfit(far, mistake)) => {
                if self.furthest.as_ref().is_none_or(|(furthest, _)| far > *furthest) {
                    self.furthest = Some((far, mistake));
                }
                Ok(None)
            }
            Err(Halt::Closed(decision)) => {
                if self.furthest.is_none() {
                    let path = &self.plan.decisions[decision].path;
                    let message = format!("the decision \"{path}\" is closed where the network needs it");
                    self.furthest = Some((0, Mistake { at: vec!["network".to_owned()], message }));
                }
                Ok(None)
            }
        }
    }
}

/// The levels without states from which nothing fits; none if the first is one.
fn pruned(mut levels: Vec<Vec<Row>>) -> Option<Vec<Vec<Row>>> {
    for level in (0..levels.len()).rev() {
        let (before, behind) = levels.split_at_mut(level);
        let rows = &behind[0];
        let dead: BTreeSet<u32> =
            (0..rows.len() as u32).filter(|&state| rows[state as usize].iter().all(Option::is_none)).collect();
        let Some(before) = before.last_mut() else {
            return if dead.contains(&0) { None } else { Some(levels) };
        };
        for next in before.iter_mut().flatten() {
            if next.is_some_and(|state| dead.contains(&state)) {
                *next = None;
            }
        }
    }
    Some(levels)
}

/// The fewest states that say the same, and the levels that say anything: one whose options all lead from a state to the same is
/// left out.
fn reduced(mut levels: Vec<Vec<Row>>, closable: &[bool]) -> (Vec<usize>, Vec<Vec<Row>>) {
    let mut kept: Vec<usize> = (0..levels.len()).collect();
    for level in (0..levels.len()).rev() {
        // States with equal rows are one.
        let mut known: BTreeMap<Row, u32> = BTreeMap::new();
        let mut fresh: Vec<Row> = Vec::new();
        let mut renamed: Vec<u32> = Vec::new();
        for row in &levels[level] {
            let state = *known.entry(row.clone()).or_insert_with(|| {
                fresh.push(row.clone());
                fresh.len() as u32 - 1
            });
            renamed.push(state);
        }
        let through: Option<Vec<u32>> = fresh.iter().map(|row| only(row, closable[level])).collect();
        if let Some(through) = &through {
            renamed.iter_mut().for_each(|state| *state = through[*state as usize]);
        }
        if level > 0 {
            levels[level - 1].iter_mut().flatten().flatten().for_each(|state| *state = renamed[*state as usize]);
        }
        match through {
            Some(_) => {
                levels.remove(level);
                kept.remove(level);
            }
            None => levels[level] = fresh,
        }
    }
    // Leaving a level out may leave states that nothing leads to.
    let mut reached: Vec<u32> = vec![0];
    for level in &mut levels {
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        let mut rows: Vec<Row> = reached.iter().map(|&state| level[state as usize].clone()).collect();
        let mut next = Vec::new();
        for state in rows.iter_mut().flatten().flatten() {
            *state = *numbers.entry(*state).or_insert_with(|| {
                next.push(*state);
                next.len() as u32 - 1
            });
        }
        *level = rows;
        reached = next;
    }
    (kept, levels)
}

/// The state that every option of a row leads to, and a closed decision if it is `closable`, when it is one.
fn only(row: &Row, closable: bool) -> Option<u32> {
    let looked_at = row.len() - usize::from(!closable);
    let first = row.first().copied().flatten()?;
    row[..looked_at].iter().all(|next| *next == Some(first)).then_some(first)
}
