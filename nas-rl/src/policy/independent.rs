//! A table of logits: every decision on its own.

use rand::RngExt as _;

use super::adam::Adam;
use super::{Policy, Update, clip, masked_softmax};
use crate::environment::{Choice, Environment, Episode};
use nas_core::Rng;
use nas_core::strategy::State;

/// Independent logits l\[slot\]\[option\], zero at the start: exactly even (the policy of TuNAS, Bender et al., 2020).
///
/// Its gradients are closed forms: ∂ log π(a) / ∂lₖ = 1\[k = a\] − pₖ and ∂H / ∂lₖ = −pₖ (ln pₖ + H).
#[derive(Debug, Clone)]
pub struct Independent {
    logits: Vec<f64>,
    adam: Adam,
    /// Where each slot's logits begin, and where the last one's end.
    first: Vec<usize>,
    /// Of the slots with nothing masked, brought up to date when parameters have changed: pₖ and ln pₖ like the logits, and
    /// H of every slot.
    p: Vec<f64>,
    log_p: Vec<f64>,
    entropy: Vec<f64>,
    stale: bool,
    gradient: Vec<f64>,
    /// The same for a slot with masked options.
    masked: Vec<f64>,
}

impl Independent {
    /// For the slots of `environment`, updated by Adam with `learning_rate`.
    pub fn new(environment: &Environment, learning_rate: f64) -> Self {
        let mut first = vec![0];
        first.extend(environment.arity().iter().scan(0, |end, &arity| {
            *end += arity;
            Some(*end)
        }));
        let count = first[first.len() - 1];
        Independent {
            logits: vec![0.0; count],
            adam: Adam::new(learning_rate, count),
            p: vec![0.0; count],
            log_p: vec![0.0; count],
            entropy: vec![0.0; first.len() - 1],
            stale: true,
            gradient: vec![0.0; count],
            masked: Vec::new(),
            first,
        }
    }

    /// The same with logits drawn from a normal distribution of that standard deviation.
    #[must_use]
    pub fn with_normal_logits(mut self, deviation: f64, rng: &mut Rng) -> Self {
        for logit in &mut self.logits {
            // Box and Muller; 1 − u is never 0.
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            *logit = deviation * radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
        }
        self.stale = true;
        self
    }

    fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        for (slot, ends) in self.first.windows(2).enumerate() {
            let at = ends[0]..ends[1];
            let logits = &self.logits[at.clone()];
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let p = &mut self.p[at.clone()];
            p.iter_mut().zip(logits).for_each(|(p, x)| *p = (x - max).exp());
            let sum: f64 = p.iter().sum();
            let (inverse, ln_sum) = (1.0 / sum, max + sum.ln());
            let mut entropy = 0.0;
            for ((p, log_p), x) in p.iter_mut().zip(&mut self.log_p[at]).zip(logits) {
                *p *= inverse;
                *log_p = x - ln_sum;
                entropy -= *p * *log_p;
            }
            self.entropy[slot] = entropy;
        }
    }

    /// Adds one choice's part of the gradient, and gives log π of it and its entropy.
    fn add(&mut self, choice: &Choice<'_>, advantage: f64, ent_coef: f64) -> (f64, f64) {
        let Choice { slot, option, mask } = *choice;
        let at = self.first[slot]..self.first[slot + 1];
        let gradient = &mut self.gradient[at.clone()];
        let free = mask.iter().all(|&open| open);
        let logits = &self.logits[at.clone()];
        let normaliser = if free { 0.0 } else { masked_softmax(logits, mask, &mut self.masked) };
        let p = if free { &self.p[at.clone()] } else { &self.masked[..] };
        let log_p = |k: usize| match mask[k] {
            _ if free => self.log_p[at.start + k],
            true => logits[k] - normaliser,
            false => 0.0,
        };
        let entropy = if free { self.entropy[slot] } else { -(0..p.len()).map(|k| p[k] * log_p(k)).sum::<f64>() };
        for (k, g) in gradient.iter_mut().enumerate() {
            *g += p[k] * (advantage + ent_coef * (log_p(k) + entropy));
        }
        gradient[option] -= advantage;
        (log_p(option), entropy)
    }
}

impl Policy for Independent {
    fn name(&self) -> &'static str {
        "independent"
    }

    fn begin(&mut self) {
        self.refresh();
    }

    fn probabilities(&mut self, slot: usize, mask: &[bool], out: &mut Vec<f64>) {
        self.refresh();
        let at = self.first[slot]..self.first[slot + 1];
        if mask.iter().all(|&open| open) {
            out.clear();
            out.extend_from_slice(&self.p[at]);
        } else {
            masked_softmax(&self.logits[at], mask, out);
        }
    }

    fn follow(&mut self, _: usize, _: usize) {}

    fn gradient(&mut self, batch: &[&Episode], advantages: &[f64], ent_coef: f64) -> Update {
        self.refresh();
        self.gradient.fill(0.0);
        let share = 1.0 / batch.len().max(1) as f64;
        let mut update = Update::default();
        let mut advantages = advantages.iter();
        let mut steps = 0;
        for choice in batch.iter().flat_map(|episode| episode.choices()) {
            let advantage = *advantages.next().expect("there is an advantage for every choice");
            let (log_prob, entropy) = self.add(&choice, share * advantage, share * ent_coef);
            update.policy_loss -= share * advantage * log_prob;
            update.entropy += entropy;
            steps += 1;
        }
        update.entropy /= f64::from(steps.max(1));
        update.grad_norm = self.gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        update
    }

    fn step(&mut self, mut update: Update, max_grad_norm: f64) -> Update {
        clip(&mut self.gradient, update.grad_norm, max_grad_norm);
        update.skipped = !update.grad_norm.is_finite();
        if !update.skipped {
            self.adam.step(&mut self.logits, &self.gradient);
            self.stale = true;
        }
        update
    }

    fn last_gradient(&self) -> Vec<f64> {
        self.gradient.clone()
    }

    fn parameters(&self) -> Vec<f64> {
        self.logits.clone()
    }

    fn set_parameters(&mut self, parameters: &[f64]) {
        self.logits.copy_from_slice(parameters);
        self.stale = true;
    }

    fn state(&mut self, state: &mut State) {
        state.fixed("logits", &mut self.logits);
        state.field("adam", &mut self.adam);
        self.stale = true;
    }

    fn soften(&mut self, factor: f64) {
        self.logits.iter_mut().for_each(|logit| *logit *= factor);
        self.stale = true;
    }
}
