//! Policies: a distribution over the options of a slot, given the choices before it.

mod adam;
mod anchors;
mod graph;
mod independent;
mod layers;
mod lstm;
mod marginals;
mod network;
mod transformer;

use nas_core::strategy::State;
use nas_core::{ArchitectureError, Rng};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, Episode};

/// Draws that break the limits of the space in a row before one that keeps to them is taken from elsewhere.
const REDRAWS: usize = 64;

pub use graph::Graph;
pub use independent::Independent;
pub use lstm::Lstm;
pub use marginals::marginals;
pub use network::Networked;
pub use transformer::Transformer;

/// What an update of a policy did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Update {
    /// −mean Σ A log π, without the entropy.
    pub policy_loss: f64,
    /// The mean entropy of an open step, in nats, before the update.
    pub entropy: f64,
    /// The norm of the gradient before it was shortened.
    pub grad_norm: f64,
    /// Whether the update was left out because something was not finite.
    pub skipped: bool,
}

/// A policy π(option | prefix) that can be drawn from and differentiated.
///
/// An episode is walked along by [`begin`](Self::begin), then [`probabilities`](Self::probabilities) and
/// [`follow`](Self::follow) for every choice; nothing is allocated on the way.
pub trait Policy: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Goes to the start of an episode.
    fn begin(&mut self);

    /// Writes the probability of every option of `slot` after the choices followed: masked ones have exactly zero, and all
    /// add up to one.
    fn probabilities(&mut self, slot: usize, mask: &[bool], out: &mut Vec<f64>);

    /// Goes on after that choice.
    fn follow(&mut self, slot: usize, option: usize);

    /// Appends ln π of every choice of every episode of `batch` to `out`.
    fn log_probs(&mut self, batch: &[&Episode], out: &mut Vec<f64>) {
        let mut p = Vec::new();
        for episode in batch {
            self.begin();
            for choice in episode.choices() {
                self.probabilities(choice.slot, choice.mask, &mut p);
                out.push(p[choice.option].ln());
                self.follow(choice.slot, choice.option);
            }
        }
    }

    /// Works out the gradient, at the present parameters, of −mean Σₜ Aₜ log π(aₜ) − `ent_coef` · mean Σₜ Hₜ, where the mean is
    /// over the episodes of `batch`, `advantages` has one A for every choice of every episode in order, and H is the entropy of
    /// a step's distribution. Closed steps and masked options weigh nothing. [`step`](Self::step) takes it.
    fn gradient(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64) -> Update;

    /// Takes one step along the last gradient, shortened to the norm `max_grad_norm`. A gradient that is not finite changes
    /// nothing. Returns `update`, which says so.
    fn step(&mut self, update: Update, max_grad_norm: f64) -> Update;

    /// The last gradient, one number for every parameter.
    fn last_gradient(&self) -> Vec<f64>;

    /// All parameters.
    fn parameters(&self) -> Vec<f64>;

    /// Sets all parameters.
    ///
    /// # Panics
    /// When there are more or fewer than the policy has.
    fn set_parameters(&mut self, parameters: &[f64]);

    /// Multiplies all logits by `factor`: below 1 it makes the policy more even, without a change of its order.
    fn soften(&mut self, factor: f64);

    /// Shows `state` all that updates change, the optimizer's included, for a snapshot of the search.
    fn state(&mut self, state: &mut State) {
        state.unsupported(&format!("the policy \"{}\"", self.name()));
    }

    /// One update: [`gradient`](Self::gradient) and [`step`](Self::step).
    fn update(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64, max_grad_norm: f64) -> Update {
        let update = self.gradient(batch, advantages, ent_coef);
        self.step(update, max_grad_norm)
    }
}

/// An episode and what its policy thought of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// The episode.
    pub episode: Episode,
    /// ln π of all its choices.
    #[serde(with = "nas_core::strategy::bits")]
    pub log_prob: f64,
}

/// An episode drawn from `policy`; each choice is replaced by an even draw with probability `noise`.
///
/// # Errors
/// Never for a policy that keeps to the masks.
pub fn sample(
    policy: &mut dyn Policy,
    environment: &Environment,
    noise: f64,
    rng: &mut Rng,
) -> Result<Sampled, ArchitectureError> {
    let mut p = Vec::new();
    let drawn = until_kept(|| {
        let mut log_prob = 0.0;
        policy.begin();
        let episode = environment.episode(rng, |slot, mask, rng| {
            policy.probabilities(slot, mask, &mut p);
            let option = if noise > 0.0 && rng.random::<f64>() < noise { draw_open(mask, rng) } else { draw(&p, rng) };
            log_prob += p[option].ln();
            policy.follow(slot, option);
            option
        })?;
        Ok(Sampled { episode, log_prob })
    })?;
    match drawn {
        Some(sampled) => Ok(sampled),
        None => {
            let episode = environment.replay(&environment.space().sample_tokens(rng))?;
            let log_prob = log_prob(policy, &episode);
            Ok(Sampled { episode, log_prob })
        }
    }
}

/// What is drawn until it keeps to the space's limits, which masks do not always foresee; none when it is too rare.
fn until_kept<T>(mut draw: impl FnMut() -> Result<T, ArchitectureError>) -> Result<Option<T>, ArchitectureError> {
    for _ in 0..REDRAWS {
        match draw() {
            Err(ArchitectureError::Limits { .. }) => {}
            drawn => return drawn.map(Some),
        }
    }
    Ok(None)
}

/// `parent` with one choice changed, drawn evenly among those that can be: to what `policy` draws there, or, when that is what
/// it was, to another option, each as likely. What the change opens is drawn from the policy.
///
/// # Errors
/// Never for a policy that keeps to the masks.
pub fn edit(
    policy: &mut dyn Policy,
    environment: &Environment,
    parent: &Episode,
    rng: &mut Rng,
) -> Result<Sampled, ArchitectureError> {
    let free = |t: &usize| parent.choice(*t).mask.iter().filter(|&&open| open).count() > 1;
    let count = (0..parent.len()).filter(free).count();
    let at = (count > 0).then(|| rng.random_range(0..count)).and_then(|at| (0..parent.len()).filter(free).nth(at));
    let Some(changed) = at.map(|t| parent.choice(t)) else {
        let log_prob = log_prob(policy, parent);
        return Ok(Sampled { episode: parent.clone(), log_prob });
    };
    let mut p = Vec::new();
    let edited = until_kept(|| {
        let mut log_prob = 0.0;
        policy.begin();
        let episode = environment.edit(parent.tokens(), changed.slot, rng, |slot, mask, own, rng| {
            policy.probabilities(slot, mask, &mut p);
            let option = own.unwrap_or_else(|| {
                let option = draw(&p, rng);
                if slot != changed.slot || option != changed.option {
                    return option;
                }
                // One of the others: some option is open beside it.
                let mut others = mask.to_vec();
                others[option] = false;
                draw_open(&others, rng)
            });
            log_prob += p[option].ln();
            policy.follow(slot, option);
            option
        })?;
        Ok(Sampled { episode, log_prob })
    })?;
    Ok(edited.unwrap_or_else(|| Sampled { episode: parent.clone(), log_prob: log_prob(policy, parent) }))
}

/// ln π of a whole episode.
pub fn log_prob(policy: &mut dyn Policy, episode: &Episode) -> f64 {
    let mut log_probs = Vec::new();
    policy.log_probs(&[episode], &mut log_probs);
    log_probs.iter().sum()
}

/// An index drawn by its probability.
fn draw(probabilities: &[f64], rng: &mut Rng) -> usize {
    let mut rest = rng.random::<f64>();
    let mut last = 0;
    for (i, &p) in probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        last = i;
        if rest < p {
            break;
        }
        rest -= p;
    }
    last
}

/// An option that can be chosen, each as likely.
pub(crate) fn draw_open(mask: &[bool], rng: &mut Rng) -> usize {
    let open = mask.iter().filter(|&&open| open).count();
    let at = rng.random_range(0..open);
    (0..mask.len()).filter(|&i| mask[i]).nth(at).expect("at least one option is open")
}

/// exp(x − max) / Σ over the options that `mask` allows, zero elsewhere, written to `out`; the logarithm of Σ exp x.
fn masked_softmax(logits: &[f64], mask: &[bool], out: &mut Vec<f64>) -> f64 {
    let open = logits.iter().zip(mask).filter(|(_, open)| **open).map(|(x, _)| *x);
    let max = open.fold(f64::NEG_INFINITY, f64::max);
    out.clear();
    out.extend(logits.iter().zip(mask).map(|(x, open)| if *open { (x - max).exp() } else { 0.0 }));
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|p| *p /= sum);
    max + sum.ln()
}

/// Shortens a gradient of that norm to `limit`.
fn clip(gradient: &mut [f64], norm: f64, limit: f64) {
    if norm.is_finite() && norm > limit {
        gradient.iter_mut().for_each(|g| *g *= limit / norm);
    }
}

#[cfg(test)]
mod tests;
