//! A table of logits that imitates the best architectures found: the policy of priority-queue training, in closed form.

use nas_core::space::Walk;
use nas_core::{ArchitectureError, Rng, SearchSpace, Tokens};
use rand::RngExt as _;

/// Independent logits, zero at the start, trained to make a queue of the best architectures likely (Abolafia, Norouzi, Shen,
/// Zhao and Le, 2018).
///
/// An update descends `−(1/|Q|) Σ_{a ∈ Q} ln π(a) − β H` by Adam, with H the entropy of the steps that those architectures
/// take. With `p` the probabilities of a step's open options and `a` the option taken,
/// `∂ ln π / ∂θₖ = 1[k = a] − pₖ` and `∂H / ∂θₖ = −pₖ (ln pₖ + H)`; masked options and closed slots have no part in it.
#[derive(Debug, Clone)]
pub struct QueuePolicy {
    /// How many of the best are imitated, at least 1; default 5.
    pub queue_size: usize,
    /// Adam's learning rate; default 0.1.
    pub learning_rate: f64,
    /// Weight β of the entropy; default 0.1.
    pub ent_coef: f64,
    /// Steps of Adam after each observation; default 5.
    pub update_epochs: usize,
    /// The probability that a token is drawn evenly instead; default 0.1.
    pub token_noise: f64,
    space: SearchSpace,
    /// Where the logits of each slot begin, and behind the last one their number.
    starts: Vec<usize>,
    logits: Vec<f64>,
    adam: Adam,
    /// The best so far, the best first.
    queue: Vec<Elite>,
    entropy: f64,
    room: Vec<f64>,
}

/// A member of the queue.
#[derive(Debug, Clone)]
pub(super) struct Elite {
    pub(super) trial: u64,
    pub(super) tokens: Tokens,
    reward: f64,
    /// Its open slots: the option taken, and the mask of the options that were open.
    steps: Vec<(usize, usize, Vec<bool>)>,
}

#[derive(Debug, Clone, Default)]
struct Adam {
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl QueuePolicy {
    /// For `space`, even over the options of every slot.
    pub fn new(space: SearchSpace) -> Self {
        let mut starts = vec![0];
        for slot in space.slots() {
            starts.push(starts[starts.len() - 1] + slot.options.len());
        }
        let count = starts[starts.len() - 1];
        let adam = Adam { first: vec![0.0; count], second: vec![0.0; count], steps: 0 };
        QueuePolicy {
            queue_size: 5,
            learning_rate: 0.1,
            ent_coef: 0.1,
            update_epochs: 5,
            token_noise: 0.1,
            space,
            starts,
            logits: vec![0.0; count],
            adam,
            queue: Vec::new(),
            entropy: 1.0,
            room: Vec::new(),
        }
    }

    /// The logits of `slot`, one for each of its options.
    pub fn logits(&self, slot: usize) -> &[f64] {
        &self.logits[self.starts[slot]..self.starts[slot + 1]]
    }

    /// The entropy along the queue's architectures at the last update, over what it would be if all were even; 1 before.
    pub fn normalized_entropy(&self) -> f64 {
        self.entropy
    }

    /// The best architectures so far, the best first.
    pub(super) fn elites(&self) -> &[Elite] {
        &self.queue
    }

    /// Draws an architecture by way of `walk`, which it leaves at the end.
    ///
    /// # Errors
    /// Never, as walks offer only what can be completed.
    pub(super) fn sample(&mut self, walk: &mut Walk<'_>, rng: &mut Rng) -> Result<Tokens, ArchitectureError> {
        walk.reset();
        while let Some(slot) = walk.slot_index() {
            let even = self.token_noise > 0.0 && rng.random_bool(self.token_noise);
            let option = self.draw(slot, walk.mask(), even, rng);
            walk.choose_within(option, rng)?;
        }
        Ok(walk.tokens().clone())
    }

    /// `elite` with one open slot drawn again: by the policy, or evenly from the others when that changes nothing. What the
    /// change opens is drawn by the policy, as is what it makes impossible.
    ///
    /// # Errors
    /// Never, as walks offer only what can be completed.
    pub(super) fn edit(
        &mut self,
        elite: usize,
        walk: &mut Walk<'_>,
        rng: &mut Rng,
    ) -> Result<Tokens, ArchitectureError> {
        walk.reset();
        let steps = &self.queue[elite].steps;
        let changeable = steps.iter().filter(|(.., mask)| mask.iter().filter(|&&open| open).count() > 1);
        let count = changeable.clone().count();
        let changed =
            changeable.clone().nth(rng.random_range(0..count.max(1))).map(|&(slot, option, _)| (slot, option));
        while let Some(slot) = walk.slot_index() {
            let token = self.queue[elite].tokens[slot];
            match changed {
                Some((at, old)) if at == slot => {
                    let mut option = self.draw(slot, walk.mask(), false, rng);
                    if option == old {
                        let others = || walk.mask().iter().enumerate().filter(|&(i, &open)| open && i != old);
                        let other = rng.random_range(0..others().count().max(1));
                        option = others().nth(other).map_or(old, |(i, _)| i);
                    }
                    walk.choose_within(option, rng)?;
                }
                _ => {
                    let kept = token != Tokens::CLOSED && walk.mask()[self.space.option(slot, token)];
                    if kept {
                        walk.choose_token(token)?;
                    } else {
                        let option = self.draw(slot, walk.mask(), false, rng);
                        walk.choose_within(option, rng)?;
                    }
                }
            }
        }
        Ok(walk.tokens().clone())
    }

    /// An open option of `slot`: by the policy, or evenly.
    fn draw(&mut self, slot: usize, mask: &[bool], even: bool, rng: &mut Rng) -> usize {
        let logits = &self.logits[self.starts[slot]..self.starts[slot + 1]];
        self.room.clear();
        if even {
            self.room.extend(mask.iter().map(|&open| f64::from(u8::from(open))));
        } else {
            softmax(logits, mask, &mut self.room);
        }
        let total: f64 = self.room.iter().sum();
        let mut left = rng.random::<f64>() * total;
        let mut last = 0;
        for (option, &p) in self.room.iter().enumerate().filter(|&(_, &p)| p > 0.0) {
            last = option;
            left -= p;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Takes note of a finished trial, and trains on the queue. Failures and what is in the queue already change nothing in
    /// the queue.
    ///
    /// # Errors
    /// When `tokens` are none of the space's.
    pub(super) fn observe(
        &mut self,
        trial: u64,
        tokens: &Tokens,
        reward: Option<f64>,
    ) -> Result<(), ArchitectureError> {
        if let Some(reward) = reward.filter(|reward| !reward.is_nan())
            && self.queue.iter().all(|elite| elite.tokens != *tokens)
        {
            let place = self.queue.partition_point(|elite| elite.reward >= reward);
            if place < self.queue_size.max(1) {
                let steps = self.steps(tokens)?;
                self.queue.insert(place, Elite { trial, tokens: tokens.clone(), reward, steps });
                self.queue.truncate(self.queue_size.max(1));
            }
        }
        for _ in 0..self.update_epochs {
            self.update();
        }
        Ok(())
    }

    fn steps(&self, tokens: &Tokens) -> Result<Vec<(usize, usize, Vec<bool>)>, ArchitectureError> {
        let mut walk = self.space.walk();
        let mut steps = Vec::new();
        while let Some(slot) = walk.slot_index() {
            steps.push((slot, self.space.option(slot, tokens[slot]), walk.mask().to_vec()));
            walk.choose_token(tokens[slot])?;
        }
        Ok(steps)
    }

    /// The gradient of what is maximised, by logit.
    fn gradient(&mut self) -> Vec<f64> {
        let mut gradient = vec![0.0; self.logits.len()];
        let weight = 1.0 / self.queue.len().max(1) as f64;
        let (mut entropy, mut even) = (0.0, 0.0);
        for (slot, option, mask) in self.queue.iter().flat_map(|elite| &elite.steps) {
            let (start, end) = (self.starts[*slot], self.starts[slot + 1]);
            self.room.clear();
            softmax(&self.logits[start..end], mask, &mut self.room);
            let log = |p: f64| if p > 0.0 { p.ln() } else { 0.0 };
            let of_step: f64 = self.room.iter().map(|&p| -p * log(p)).sum();
            entropy += of_step;
            even += (mask.iter().filter(|&&open| open).count() as f64).ln();
            for (g, &p) in gradient[start..end].iter_mut().zip(&self.room) {
                *g -= weight * (p + self.ent_coef * p * (log(p) + of_step));
            }
            gradient[start + option] += weight;
        }
        self.entropy = if even > 0.0 { entropy / even } else { 1.0 };
        gradient
    }

    fn update(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let gradient = self.gradient();
        self.adam.ascend(&gradient, self.learning_rate, &mut self.logits);
    }
}

impl Adam {
    /// Adam (Kingma and Ba, 2015) with its usual decays, uphill.
    fn ascend(&mut self, gradient: &[f64], learning_rate: f64, values: &mut [f64]) {
        let [beta1, beta2, eps] = [0.9_f64, 0.999_f64, 1e-8];
        self.steps = self.steps.saturating_add(1);
        let [correction1, correction2] = [beta1, beta2].map(|beta| 1.0 - beta.powi(self.steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, g), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            *first += (1.0 - beta1) * (g - *first);
            *second += (1.0 - beta2) * (g * g - *second);
            *value += learning_rate * (*first / correction1) / ((*second / correction2).sqrt() + eps);
        }
    }
}

/// Appends the probabilities of the open options to `out`, zero for the others.
fn softmax(logits: &[f64], mask: &[bool], out: &mut Vec<f64>) {
    let open = |(logit, open): (&f64, &bool)| if *open { *logit } else { f64::NEG_INFINITY };
    let top = logits.iter().zip(mask).map(open).fold(f64::NEG_INFINITY, f64::max);
    out.extend(logits.iter().zip(mask).map(|pair| libm::exp(open(pair) - top)));
    let total: f64 = out.iter().sum();
    out.iter_mut().for_each(|p| *p /= total);
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::testing::{conditional, cube};

    fn filled(space: &SearchSpace, number: u64) -> QueuePolicy {
        let mut rng = Seed::new(1).stream(Purpose::Test, number);
        let mut policy = QueuePolicy::new(space.clone());
        policy.update_epochs = 0;
        for trial in 0..9 {
            policy.observe(trial, &space.sample_tokens(&mut rng), Some(rng.random())).unwrap();
        }
        policy.logits.iter_mut().for_each(|logit| *logit = rng.random_range(-1.0..1.0));
        policy
    }

    /// What an update climbs, by definition.
    fn objective(policy: &QueuePolicy) -> f64 {
        let mut sum = 0.0;
        for elite in &policy.queue {
            for (slot, option, mask) in &elite.steps {
                let mut p = Vec::new();
                softmax(policy.logits(*slot), mask, &mut p);
                let entropy: f64 = p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum();
                sum += p[*option].ln() + policy.ent_coef * entropy;
            }
        }
        sum / policy.queue.len() as f64
    }

    #[test]
    fn gradient_equals_central_differences() {
        for space in [cube(4, 3), conditional()] {
            let mut policy = filled(&space, 0);
            policy.ent_coef = 0.3;
            let gradient = policy.gradient();
            for (i, g) in gradient.into_iter().enumerate() {
                let mut at = |step: f64| {
                    let before = policy.logits[i];
                    policy.logits[i] = before + step;
                    let value = objective(&policy);
                    policy.logits[i] = before;
                    value
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((g - difference).abs() < 1e-8 * difference.abs().max(1.0), "{g} {difference}");
            }
        }
    }

    #[test]
    fn the_queue_holds_the_best_once() {
        let space = cube(3, 3);
        let mut policy = QueuePolicy::new(space);
        let row = |n: u16| Tokens::from(&[n / 9, n / 3 % 3, n % 3][..]);
        for n in [3_u16, 9, 1, 9, 12, 7, 20, 2, 11] {
            policy.observe(n.into(), &row(n), Some(n.into())).unwrap();
        }
        policy.observe(100, &row(26), None).unwrap();
        policy.observe(101, &row(25), Some(f64::NAN)).unwrap();
        assert_eq!(policy.elites().iter().map(|elite| elite.trial).collect::<Vec<_>>(), [20, 12, 11, 9, 7]);
    }

    #[test]
    fn the_policy_comes_to_draw_the_best_and_keeps_its_entropy() {
        let space = cube(5, 4);
        let mut policy = QueuePolicy::new(space.clone());
        let best = Tokens::from(&[1_u16, 2, 3, 0, 1][..]);
        for trial in 0..40 {
            policy.observe(trial, &best, Some(1.0)).unwrap();
        }
        let mut walk = space.walk();
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        let tokens: Vec<Tokens> = (0..400).map(|_| policy.sample(&mut walk, &mut rng).unwrap()).collect();
        let equal =
            tokens.iter().flat_map(|t| t.iter().zip(best.iter())).filter(|(a, b)| a == b).count() as f64 / 2000.0;
        assert!((0.75..0.98).contains(&equal), "{equal} of the tokens are the best one's");
        assert!((0.02..0.6).contains(&policy.normalized_entropy()), "{}", policy.normalized_entropy());
    }

    #[test]
    fn edits_change_one_token_and_stay_in_the_space() {
        let space = cube(5, 4);
        let mut policy = filled(&space, 3);
        let mut rng = Seed::new(2).stream(Purpose::Test, 0);
        let mut walk = space.walk();
        for i in 0..50 {
            let edit = policy.edit(i % 5, &mut walk, &mut rng).unwrap();
            let changed = edit.iter().zip(policy.queue[i % 5].tokens.iter()).filter(|(a, b)| a != b).count();
            assert_eq!(changed, 1);
        }
        let space = conditional();
        let mut policy = filled(&space, 4);
        let mut walk = space.walk();
        for i in 0..200 {
            let elite = i % policy.queue.len();
            let edit = policy.edit(elite, &mut walk, &mut rng).unwrap();
            assert!(space.architecture(&edit).is_ok());
            let sample = policy.sample(&mut walk, &mut rng).unwrap();
            assert!(space.architecture(&sample).is_ok());
        }
    }
}
