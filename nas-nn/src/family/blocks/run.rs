//! A network run over its plan: with a graph, which builds it, or without, which tells whether it fits.

use super::form::{self, Form, Sizes};
use super::kind::{Kind, Setting};
use super::layer;
use super::plan::{Content, Piece, Source};
use super::syntax::Mistake;
use crate::graph::Var;

/// Who answers what was decided.
pub(super) trait Decided {
    /// The setting of a decision.
    fn setting(&self, decision: usize) -> Result<Setting, Halt>;
}

/// Why a run ends before the network does.
#[derive(Debug)]
pub(super) enum Halt {
    /// A piece does not fit; its number tells how far the run came.
    Misfit(usize, Mistake),
    /// The decision is closed.
    Closed(usize),
    /// The decision is not made yet.
    Waits,
}

/// A value of a network, with its place in a graph unless only its form matters.
#[derive(Clone, Copy)]
pub(super) struct Flow<'g> {
    pub(super) form: Form,
    pub(super) var: Option<Var<'g>>,
}

/// What a network is run for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// Whether nothing may see later steps.
    pub(super) causal: bool,
    /// Numbers of the answer; of each step's, in a causal network.
    pub(super) units: usize,
    /// Different characters.
    pub(super) vocabulary: usize,
    /// Whether widths matter to what fits.
    pub(super) widths: bool,
}

/// A run on the way.
pub(super) struct Run<'a, D> {
    pub(super) decided: &'a D,
    pub(super) setup: Setup,
    /// Where it is: twice a piece's number, or behind the last piece of one that it joins.
    pub(super) at: usize,
    /// What is kept for later: forms of skipped inputs and of finished branches.
    pub(super) live: Vec<u64>,
}

impl<'a, D: Decided> Run<'a, D> {
    pub(super) fn new(decided: &'a D, setup: Setup) -> Self {
        Run { decided, setup, at: 0, live: Vec::new() }
    }

    /// The answer of the network: that of `pieces`, with a head behind them if there is none.
    pub(super) fn network<'g>(&mut self, pieces: &[Piece], x: Flow<'g>) -> Result<Flow<'g>, Halt> {
        let x = self.chain(pieces, x)?;
        if x.form == Form::Answer {
            return Ok(x);
        }
        let misfit = |message: String| {
            let last = pieces.last();
            let at = last.map_or_else(Vec::new, |piece| piece.at.clone());
            Halt::Misfit(last.map_or(0, |piece| piece.last) + 1, Mistake { at, message })
        };
        if matches!(x.form, Form::Classes { .. }) {
            return Err(misfit(format!("the network ends with {}: it needs an embedding", x.form)));
        }
        let var = x.var.map(|var| var.scope("head", |var| layer::head(var, x.form, "mean", self.setup)));
        Ok(Flow { form: Form::Answer, var })
    }

    fn chain<'g>(&mut self, pieces: &[Piece], x: Flow<'g>) -> Result<Flow<'g>, Halt> {
        pieces.iter().try_fold(x, |x, piece| self.piece(piece, x))
    }

    fn piece<'g>(&mut self, piece: &Piece, x: Flow<'g>) -> Result<Flow<'g>, Halt> {
        self.at = 2 * piece.number;
        let kept = self.live.len();
        // What a run that halts here leaves is what its rest depends on.
        self.live.extend(x.form.words());
        let opens = match &piece.when {
            None => true,
            Some(condition) => match self.decided.setting(condition.decision) {
                Ok(setting) => condition.open.contains(&setting),
                Err(Halt::Closed(_)) => false,
                Err(other) => return Err(other),
            },
        };
        let skips = opens && self.flag(piece.skip.as_ref())?;
        if !opens {
            self.live.truncate(kept);
            return Ok(x);
        }
        if !skips {
            self.live.truncate(kept);
        }
        let y = within(&piece.name, x, |x| self.content(piece, x))?;
        self.live.truncate(kept);
        if !skips {
            return Ok(y);
        }
        let form = form::joined(&[y.form, x.form], false)
            .map_err(|message| misfit(piece, piece.last, &format!("it is skipped over, but {message}")))?;
        let sum = |y: Var<'g>, x: Var<'g>| y + if y.shape() == x.shape() { x } else { layer::project(x, form) };
        Ok(Flow { form, var: y.var.zip(x.var).map(|(y, x)| sum(y, x)) })
    }

    fn flag(&mut self, source: Option<&Source>) -> Result<bool, Halt> {
        source.map_or(Ok(false), |source| Ok(self.setting(source)? == Setting::Name("on".to_owned())))
    }

    fn setting(&self, source: &Source) -> Result<Setting, Halt> {
        match source {
            Source::Fixed(setting) => Ok(setting.clone()),
            Source::Decided(decision) => self.decided.setting(*decision),
        }
    }

    fn content<'g>(&mut self, piece: &Piece, x: Flow<'g>) -> Result<Flow<'g>, Halt> {
        let kept = self.live.len();
        let y = match &piece.content {
            Content::Layer(kind, sources) => {
                self.live.extend(x.form.words());
                self.layer(piece, kind, sources, x)?
            }
            Content::Chain(pieces) => self.chain(pieces, x)?,
            Content::Copies(times, copies) => {
                self.live.extend(x.form.words());
                let times = self.setting(times)?.number().unwrap_or(0);
                self.live.truncate(kept);
                self.chain(&copies[..copies.len().min(usize::try_from(times).unwrap_or(0))], x)?
            }
            Content::OneOf(decision, pieces) => {
                self.live.extend(x.form.words());
                let chosen = self.decided.setting(*decision)?;
                self.live.truncate(kept);
                let named = |piece: &&Piece| Setting::Name(piece.name.clone()) == chosen;
                match pieces.iter().find(named) {
                    Some(chosen) => self.piece(chosen, x)?,
                    None => return Err(misfit(piece, piece.number, &format!("it has no block {chosen}"))),
                }
            }
            Content::Branches(how, branches) => {
                self.live.push(piece.number as u64);
                self.live.extend(x.form.words());
                let mut all = Vec::with_capacity(branches.len());
                for (i, branch) in branches.iter().enumerate() {
                    let y = within(&super::lower::branch_name(i), x, |x| self.chain(branch, x))?;
                    self.live.extend(y.form.words());
                    all.push(y);
                }
                self.at = 2 * piece.last + 1;
                let concat = self.setting(how)? == Setting::Name("concat".to_owned());
                join(&all, concat).map_err(|message| misfit(piece, piece.last, &message))?
            }
        };
        self.live.truncate(kept);
        Ok(y)
    }

    fn layer<'g>(
        &self,
        piece: &Piece,
        kind: &'static Kind,
        sources: &[(&'static super::kind::Key, Source)],
        x: Flow<'g>,
    ) -> Result<Flow<'g>, Halt> {
        let settings = layer::Settings::new(kind, |key| {
            let source = sources.iter().find(|(own, _)| own.name == key.name);
            // Without a graph only what decides about forms is asked for.
            match source {
                Some((_, source)) if x.var.is_some() || decides(kind, key.name, self.setup.widths) => {
                    self.setting(source).map(Some)
                }
                Some(_) => Ok(None),
                None => Ok(key.default.map(Setting::of_option)),
            }
        })?;
        let sizes: Sizes<'_> = settings.sizes(x.form);
        let form = form::after(kind, &sizes, x.form, self.setup.causal)
            .map_err(|message| misfit(piece, piece.number, &message))?;
        Ok(Flow { form, var: x.var.map(|var| layer::build(kind, &settings, var, x.form, form, self.setup)) })
    }
}

/// Whether the key of a kind decides about what fits; widths do only where something divides them.
pub(super) fn decides(kind: &Kind, key: &str, widths: bool) -> bool {
    match (kind.name, key) {
        (_, "width" | "heads" | "groups") => widths,
        (_, "kernel" | "stride" | "padding" | "norm") | ("norm", "kind") => true,
        _ => false,
    }
}

fn misfit(piece: &Piece, number: usize, message: &str) -> Halt {
    Halt::Misfit(
        number,
        Mistake { at: piece.at.clone(), message: format!("\"{}\" does not fit: {message}", piece.path) },
    )
}

/// What `inside` makes of `x` in a scope of the graph, if there is one.
fn within<'g>(
    name: &str,
    x: Flow<'g>,
    inside: impl FnOnce(Flow<'g>) -> Result<Flow<'g>, Halt>,
) -> Result<Flow<'g>, Halt> {
    let Some(var) = x.var else { return inside(x) };
    let mut result = None;
    let out = var.scope(name, |var| {
        let y = inside(Flow { var: Some(var), ..x });
        let out = y.as_ref().ok().and_then(|y| y.var).unwrap_or(var);
        result = Some(y);
        out
    });
    let y = result.expect("a scope calls what stands in it")?;
    Ok(Flow { var: Some(out), ..y })
}

fn join<'g>(all: &[Flow<'g>], concat: bool) -> Result<Flow<'g>, String> {
    let forms: Vec<Form> = all.iter().map(|flow| flow.form).collect();
    let form = form::joined(&forms, concat)?;
    let vars: Option<Vec<Var<'g>>> = all.iter().map(|flow| flow.var).collect();
    let var = vars.map(|vars| if concat { layer::concat(&vars, form) } else { layer::add(&vars, form) });
    Ok(Flow { form, var })
}
