//! A network with every copy, branch and option spelled out, and every reference resolved: what is built and checked.

use std::collections::BTreeMap;

use nas_core::space::hint;
use nas_core::{SearchSpace, Value};

use super::kind::{Key, Kind, Setting, Wants};
use super::lower::branch_name;
use super::syntax::{Attribute, Block, Body, Mistake};

type Result<T> = std::result::Result<T, Mistake>;

/// More layers than anybody trains here; a file that asks for more is refused instead of being spelled out.
const MOST_PIECES: usize = 4000;

/// A network and the decisions that it looks at.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
    /// The space's decisions in the order of its slots.
    pub(super) decisions: Vec<Decision>,
}

/// A decision of the space as a network sees it.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) path: String,
    /// What each option stands for; of a continuous number, where its levels begin and end.
    pub(super) settings: Vec<Setting>,
    /// Whether a condition may close it.
    pub(super) closable: bool,
    /// Whether a table may look at it: it is neither continuous nor a set.
    pub(super) listed: bool,
}

/// A block, or a copy of one.
#[derive(Debug)]
pub(super) struct Piece {
    /// The scope of its parameters.
    pub(super) name: String,
    /// Its path, for people.
    pub(super) path: String,
    /// Where it stands in the file.
    pub(super) at: Vec<String>,
    /// Its place in the order in which pieces are met.
    pub(super) number: usize,
    /// The last number of what it holds.
    pub(super) last: usize,
    pub(super) when: Option<Condition>,
    pub(super) skip: Option<Source>,
    pub(super) content: Content,
}

/// A decision and the options that open a piece.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) decision: usize,
    pub(super) open: Vec<Setting>,
}

/// What a piece is made of.
#[derive(Debug)]
pub(super) enum Content {
    Layer(&'static Kind, Vec<(&'static Key, Source)>),
    Chain(Vec<Piece>),
    /// As many of the pieces as the number says.
    Copies(Source, Vec<Piece>),
    Branches(Source, Vec<Vec<Piece>>),
    /// The piece of that name.
    OneOf(usize, Vec<Piece>),
}

/// Where a setting comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Fixed(Setting),
    Decided(usize),
}

impl Piece {
    /// Names every decision that it looks at.
    pub(super) fn look(&self, see: &mut dyn FnMut(usize)) {
        let mut sources: Vec<&Source> = self.skip.iter().collect();
        self.when.iter().for_each(|condition| see(condition.decision));
        match &self.content {
            Content::Layer(_, settings) => sources.extend(settings.iter().map(|(_, source)| source)),
            Content::Chain(pieces) => pieces.iter().for_each(|piece| piece.look(see)),
            Content::OneOf(decision, pieces) => {
                see(*decision);
                pieces.iter().for_each(|piece| piece.look(see));
            }
            Content::Copies(times, pieces) => {
                sources.push(times);
                pieces.iter().for_each(|piece| piece.look(see));
            }
            Content::Branches(how, branches) => {
                sources.push(how);
                branches.iter().flatten().for_each(|piece| piece.look(see));
            }
        }
        for source in sources {
            if let Source::Decided(decision) = source {
                see(*decision);
            }
        }
    }
}

impl Plan {
    /// Spells out `blocks`, whose decisions are those of `space`.
    pub(super) fn new(blocks: &[Block], space: &SearchSpace) -> Result<Self> {
        let mut decisions: Vec<Decision> = Vec::new();
        for (i, slot) in space.slots().iter().enumerate() {
            if decisions.last().is_some_and(|last| last.path == slot.decision) {
                continue; // another member of the same set
            }
            let (set, continuous) = (slot.path != slot.decision, space.is_continuous(i));
            let texts = slot.options.iter().flat_map(|option| match option.split_once("..") {
                Some((low, high)) if continuous => vec![low, high],
                _ => vec![option.as_str()],
            });
            decisions.push(Decision {
                path: slot.decision.clone(),
                settings: texts.map(Setting::of_option).collect(),
                closable: !space.opened_by(i).is_empty(),
                listed: !set && !continuous,
            });
        }
        let by_path = decisions.iter().enumerate().map(|(i, decision)| (decision.path.clone(), i)).collect();
        let mut spread = Spread { decisions: &decisions, by_path, number: 0 };
        let pieces = spread.chain(blocks, "")?;
        Ok(Plan { pieces, decisions })
    }
}

struct Spread<'a> {
    decisions: &'a [Decision],
    by_path: BTreeMap<String, usize>,
    number: usize,
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn below(block: &Block, key: &str) -> Vec<String> {
    block.at.iter().cloned().chain([key.to_owned()]).collect()
}

impl Spread<'_> {
    fn chain(&mut self, blocks: &[Block], scope: &str) -> Result<Vec<Piece>> {
        blocks.iter().map(|block| self.block(block, scope)).collect()
    }

    /// A piece without content, which takes the next number.
    fn piece(&mut self, block: &Block, name: &str, path: &str) -> Result<Piece> {
        self.number += 1;
        if self.number > MOST_PIECES {
            let message = format!("all copies together are more than {MOST_PIECES} blocks, the limit");
            return Err(Mistake { at: block.at.clone(), message });
        }
        Ok(Piece {
            name: name.to_owned(),
            path: path.to_owned(),
            at: block.at.clone(),
            number: self.number,
            last: self.number,
            when: None,
            skip: None,
            content: Content::Chain(Vec::new()),
        })
    }

    fn block(&mut self, block: &Block, scope: &str) -> Result<Piece> {
        let path = join(scope, &block.name);
        let mut piece = self.piece(block, &block.name, &path)?;
        if let Some(when) = &block.when {
            let at = below(block, "when");
            let decision = self.resolve(&when.decision, scope, &at)?;
            let open = when.is.iter().map(|value| match value {
                Value::Integer(n) => Setting::Number(*n),
                other => Setting::of_option(&other.to_string()),
            });
            let open: Vec<Setting> = open.collect();
            let Decision { settings, listed, .. } = &self.decisions[decision];
            if let Some(other) = open.iter().find(|setting| *listed && !settings.contains(setting)) {
                let known: Vec<String> = settings.iter().map(ToString::to_string).collect();
                let message = format!("\"{}\" cannot be {other}; options: {}", when.decision, known.join(", "));
                return Err(Mistake { at, message });
            }
            piece.when = Some(Condition { decision, open });
        }
        match &block.repeat {
            None => self.fill(block, &path, &mut piece)?,
            Some(times) => {
                let times = self.source(times, Wants::Times, scope, &below(block, "repeat"))?;
                let most = match &times {
                    Source::Fixed(setting) => setting.number(),
                    Source::Decided(decision) => {
                        self.decisions[*decision].settings.iter().filter_map(Setting::number).max()
                    }
                };
                let mut copies = Vec::new();
                for i in 0..most.unwrap_or(0) {
                    let path = format!("{path}.{i}");
                    let mut copy = self.piece(block, &i.to_string(), &path)?;
                    self.fill(block, &path, &mut copy)?;
                    copies.push(copy);
                }
                piece.content = Content::Copies(times, copies);
            }
        }
        piece.last = self.number;
        Ok(piece)
    }

    /// What stands in a piece whose decisions are at `path`.
    fn fill(&mut self, block: &Block, path: &str, piece: &mut Piece) -> Result<()> {
        if let Some(skip) = &block.skip {
            piece.skip = Some(self.source(skip, Wants::Flag, path, &below(block, "skip"))?);
        }
        piece.content = match &block.body {
            Body::Layer(kind, attributes) => {
                let mut sources = Vec::new();
                for (key, attribute) in attributes {
                    sources.push((*key, self.source(attribute, key.wants, path, &below(block, key.name))?));
                }
                Content::Layer(kind, sources)
            }
            Body::Chain(blocks) => Content::Chain(self.chain(blocks, path)?),
            Body::Branches(how, branches) => {
                let how = self.source(how, super::syntax::JOINS, path, &below(block, "join"))?;
                let mut all = Vec::new();
                for (i, branch) in branches.iter().enumerate() {
                    all.push(self.chain(branch, &join(path, &branch_name(i)))?);
                }
                Content::Branches(how, all)
            }
            Body::OneOf(chosen, options) => {
                let Some(Attribute::Reference(name)) = chosen else {
                    let message = "its choice is not declared: networks are read by `read`".to_owned();
                    return Err(Mistake { at: block.at.clone(), message });
                };
                let decision = self.resolve(name, path, &block.at)?;
                let known = |setting: &Setting| match setting {
                    Setting::Name(name) => options.iter().any(|option| option.name == *name),
                    _ => false,
                };
                if let Some(other) = self.decisions[decision].settings.iter().find(|setting| !known(setting)) {
                    let names: Vec<&str> = options.iter().map(|option| option.name.as_str()).collect();
                    let message =
                        format!("\"${name}\" may be {other}, which is none of its blocks {}", names.join(", "));
                    return Err(Mistake { at: below(block, "choose"), message });
                }
                Content::OneOf(decision, self.chain(options, path)?)
            }
        };
        piece.last = self.number;
        Ok(())
    }

    fn source(&self, attribute: &Attribute, wants: Wants, scope: &str, at: &[String]) -> Result<Source> {
        let name = match attribute {
            Attribute::Literal(setting) => return Ok(Source::Fixed(setting.clone())),
            Attribute::Reference(name) => name,
            Attribute::Inline(_) => {
                let message = "its decision is not declared: networks are read by `read`".to_owned();
                return Err(Mistake { at: at.to_vec(), message });
            }
        };
        let decision = self.resolve(name, scope, at)?;
        let settings = &self.decisions[decision].settings;
        if let Some(other) = settings.iter().find(|setting| !wants.admits(setting)) {
            let message = format!("\"${name}\" may be {other}; it must be {}", wants.describe());
            return Err(Mistake { at: at.to_vec(), message });
        }
        Ok(Source::Decided(decision))
    }

    /// The decision called `name` in `scope` or, failing that, in the scopes around it.
    fn resolve(&self, name: &str, scope: &str, at: &[String]) -> Result<usize> {
        let mut around = scope;
        loop {
            if let Some(&decision) = self.by_path.get(&join(around, name)) {
                return Ok(decision);
            }
            if around.is_empty() {
                let known = self.decisions.iter().map(|decision| decision.path.as_str());
                let message = format!("there is no decision \"{name}\"{}", hint(name, known));
                return Err(Mistake { at: at.to_vec(), message });
            }
            around = around.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }
}
