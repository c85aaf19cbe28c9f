//! Decisions that a network makes where it needs them, declared in the space and referred to by name.

use nas_core::Value;
use nas_core::space::{Decision, Kind as Choice, Scope, When, hint};

use super::kind::{MOST, Setting, Wants};
use super::syntax::{Attribute, Block, Body, Mistake};

type Result<T> = std::result::Result<T, Mistake>;

/// Takes the decisions out of `blocks`, which refer to them from then on; `declared` are those of the file.
pub(super) fn lower(blocks: &mut [Block], declared: &[Decision]) -> Result<Vec<Decision>> {
    chain(blocks, &[declared])
}

/// The decisions of blocks in a row; `around` are those of the scopes around, from the outside in.
fn chain(blocks: &mut [Block], around: &[&[Decision]]) -> Result<Vec<Decision>> {
    let mut own: Vec<Decision> = Vec::new();
    for block in blocks {
        let scopes: Vec<&[Decision]> = around.iter().copied().chain([own.as_slice()]).collect();
        let more = one(block, &scopes)?;
        own.extend(more);
    }
    Ok(own)
}

/// The decision, a group or repeat unless it only counts, that holds those of a block; none if it makes none.
fn one(block: &mut Block, around: &[&[Decision]]) -> Result<Option<Decision>> {
    let mut body: Vec<Decision> = Vec::new();
    if let Some(skip) = &mut block.skip {
        body.extend(declare(skip, "skip"));
    }
    match &mut block.body {
        Body::Layer(_, attributes) => {
            for (key, attribute) in attributes {
                body.extend(declare(attribute, key.name));
            }
        }
        Body::Chain(blocks) => {
            let inside: Vec<&[Decision]> = around.iter().copied().chain([body.as_slice()]).collect();
            let more = chain(blocks, &inside)?;
            body.extend(more);
        }
        Body::Branches(join, branches) => {
            body.extend(declare(join, "join"));
            for (i, branch) in branches.iter_mut().enumerate() {
                let inside: Vec<&[Decision]> = around.iter().copied().chain([body.as_slice()]).collect();
                let decisions = chain(branch, &inside)?;
                body.extend(group(&branch_name(i), decisions, None));
            }
        }
        Body::OneOf(chosen, options) => {
            let fresh = chosen.is_none();
            let reference = match chosen.get_or_insert_with(|| Attribute::Reference("block".to_owned())) {
                Attribute::Reference(name) => name.clone(),
                Attribute::Literal(_) | Attribute::Inline(_) => unreachable!("the syntax reads a reference here"),
            };
            if fresh {
                let names = options.iter().map(|option| option.name.clone()).collect();
                body.push(decision("block", Choice::Choice { options: names }));
            }
            for option in options {
                let inside: Vec<&[Decision]> = around.iter().copied().chain([body.as_slice()]).collect();
                let opened = When { decision: reference.clone(), is: vec![Value::Choice(option.name.clone())] };
                // An option with a condition of its own would need two on one decision.
                if option.when.is_some() {
                    let message = format!("\"{}\" is an option, which has no condition of its own", option.name);
                    return Err(Mistake { at: option.at.clone(), message });
                }
                let mut held = one(option, &inside)?;
                if let Some(held) = &mut held {
                    held.when = Some(opened);
                }
                body.extend(held);
            }
        }
    }
    let name = block.name.clone();
    let copies = |count: usize, opened: &dyn Fn(usize) -> Option<When>| -> Vec<Decision> {
        (0..count).filter_map(|copy| group(&copy.to_string(), body.clone(), opened(copy))).collect()
    };
    let held = match block.repeat.take() {
        None => group(&name, body, None),
        Some(Attribute::Literal(times)) => {
            let count = usize::try_from(times.number().unwrap_or(0)).expect("the syntax reads no negative number");
            block.repeat = Some(Attribute::Literal(times));
            group(&name, copies(count, &|_| None), None)
        }
        Some(Attribute::Inline(times)) => {
            block.repeat = Some(Attribute::Reference(name.clone()));
            Some(decision(&name, repeated(block, &times, body)?))
        }
        Some(Attribute::Reference(reference)) => {
            let counts = counts(&reference, around)
                .map_err(|message| Mistake { at: [&block.at[..], &["repeat".to_owned()]].concat(), message })?;
            let most = counts.iter().map(|(n, _)| *n).max().unwrap_or(0);
            let opened = |copy: usize| {
                let is = counts.iter().filter(|(n, _)| *n > copy as i64).map(|(_, value)| value.clone()).collect();
                Some(When { decision: reference.clone(), is })
            };
            let count = usize::try_from(most).expect("counts are checked to be 0 or more");
            let held = group(&name, copies(count, &opened), None);
            block.repeat = Some(Attribute::Reference(reference));
            held
        }
    };
    Ok(held.map(|held| Decision { when: block.when.clone().or(held.when.clone()), ..held }))
}

/// The name of the scope of a branch.
pub(super) fn branch_name(number: usize) -> String {
    format!("branch{number}")
}

fn decision(name: &str, kind: Choice) -> Decision {
    Decision { name: name.to_owned(), kind, when: None }
}

fn group(name: &str, decisions: Vec<Decision>, when: Option<When>) -> Option<Decision> {
    let body = Scope { decisions, ..Scope::default() };
    let holds = !body.decisions.is_empty();
    holds.then(|| Decision { when, ..decision(name, Choice::Group { body }) })
}

/// The decision of an attribute that makes one, which the attribute then refers to.
fn declare(attribute: &mut Attribute, name: &str) -> Option<Decision> {
    let Attribute::Inline(kind) = attribute else { return None };
    let declared = decision(name, kind.clone());
    *attribute = Attribute::Reference(name.to_owned());
    Some(declared)
}

/// How often `block` is there, with the decisions of each copy.
fn repeated(block: &Block, times: &Choice, body: Vec<Decision>) -> Result<Choice> {
    let at = [&block.at[..], &["repeat".to_owned()]].concat();
    let &Choice::Integer { low, high, step: 1 } = times else {
        let message = "how often a block repeats is a range: { from = 1, to = 4 }, or \"$name\"".to_owned();
        return Err(Mistake { at, message });
    };
    if body.is_empty() {
        return Ok(Choice::Integer { low, high, step: 1 });
    }
    let negative = |_| Mistake { at: at.clone(), message: format!("it repeats {low} to {high} times") };
    let [low, high] = [u64::try_from(low).map_err(negative)?, u64::try_from(high).map_err(negative)?];
    Ok(Choice::Repeat { low, high, body: Scope { decisions: body, ..Scope::default() } })
}

/// The numbers that the decision called `name` may be, each with its value.
fn counts(name: &str, around: &[&[Decision]]) -> std::result::Result<Vec<(i64, Value)>, String> {
    let Some(found) = around.iter().rev().find_map(|scope| find(scope, name)) else {
        let known = around.iter().flat_map(|scope| scope.iter()).map(|decision| decision.name.as_str());
        return Err(format!("\"${name}\" is no earlier decision{}", hint(name, known)));
    };
    let numbers: Vec<(i64, Value)> = match &found.kind {
        Choice::Integer { low, high, step } if *step > 0 && high - low <= MOST * step => {
            let count = (high - low) / step + 1;
            (0..count).map(|i| low + i * step).map(|n| (n, Value::Integer(n))).collect()
        }
        Choice::Repeat { low, high, .. } if *high <= MOST as u64 => {
            (*low as i64..=*high as i64).map(|n| (n, Value::Integer(n))).collect()
        }
        Choice::Choice { options } => {
            let number = |option: &String| Some((Setting::of_option(option).number()?, Value::Choice(option.clone())));
            options.iter().filter_map(number).collect()
        }
        _ => Vec::new(),
    };
    let admitted = numbers.iter().all(|(n, _)| Wants::Times.admits(&Setting::Number(*n)));
    if numbers.is_empty() || !admitted {
        return Err(format!("\"${name}\" does not say how often: that is {}", Wants::Times.describe()));
    }
    Ok(numbers)
}

/// The decision called `name`, a path through groups.
fn find<'a>(scope: &'a [Decision], name: &str) -> Option<&'a Decision> {
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let found = scope.iter().find(|decision| decision.name == first)?;
    match (rest, &found.kind) {
        (None, _) => Some(found),
        (Some(rest), Choice::Group { body }) => find(&body.decisions, rest),
        (Some(_), _) => None,
    }
}
