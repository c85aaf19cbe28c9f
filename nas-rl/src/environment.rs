//! The search as a decision process: a state is a prefix of choices, an action an option that is not masked, an episode an
//! architecture. The only reward comes at the end, when somebody has trained it.

use nas_core::{ArchitectureError, SearchSpace, Tokens};

/// One choice that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The slot: the place of the decision among all the space has.
    pub slot: usize,
    /// The option chosen.
    pub option: usize,
    /// Which options could be chosen.
    pub mask: Vec<bool>,
}

impl Choice {
    /// The entropy, in nats, if every option that could be chosen were as likely: the most it can be.
    pub fn even_entropy(&self) -> f64 {
        (self.mask.iter().filter(|&&open| open).count() as f64).ln()
    }
}

/// A whole architecture, choice by choice. Slots that a condition closed do not occur.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// What was chosen.
    pub tokens: Tokens,
    /// How.
    pub choices: Vec<Choice>,
}

/// A space as an environment.
#[derive(Debug, Clone)]
pub struct Environment {
    space: SearchSpace,
    /// The number of options of every slot.
    arity: Vec<usize>,
}

impl Environment {
    /// The environment of `space`.
    pub fn new(space: SearchSpace) -> Self {
        let arity = space.slots().iter().map(|slot| slot.options.len()).collect();
        Environment { space, arity }
    }

    /// The space.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// The number of options of every slot.
    pub fn arity(&self) -> &[usize] {
        &self.arity
    }

    /// An episode in which `choose` names an option for every (prefix, slot, mask).
    ///
    /// # Errors
    /// When `choose` names an option that is masked.
    pub fn episode(
        &self,
        mut choose: impl FnMut(&[Choice], usize, &[bool]) -> usize,
    ) -> Result<Episode, ArchitectureError> {
        let mut walk = self.space.walk();
        let mut choices = Vec::new();
        while let Some(step) = walk.next() {
            let option = choose(&choices, step.slot, &step.mask);
            walk.choose(option)?;
            choices.push(Choice { slot: step.slot, option, mask: step.mask });
        }
        Ok(Episode { tokens: walk.tokens().clone(), choices })
    }

    /// ln of the probability that [`SearchSpace::sample`] draws this episode. Continuous numbers have no probability; where
    /// there are any, that of an even choice at every step.
    pub fn even_log_prob(&self, episode: &Episode) -> f64 {
        match self.space.cardinality().finite() {
            Some(count) => {
                let shift = count.bits().saturating_sub(64);
                let leading = u64::try_from(count >> shift).expect("64 bits are left");
                -((leading as f64).ln() + shift as f64 * std::f64::consts::LN_2)
            }
            None => -episode.choices.iter().map(Choice::even_entropy).sum::<f64>(),
        }
    }

    /// The episode that yields `tokens`.
    ///
    /// # Errors
    /// When they are none of the space's.
    pub fn replay(&self, tokens: &Tokens) -> Result<Episode, ArchitectureError> {
        let mut walk = self.space.walk();
        let mut choices = Vec::new();
        while let Some(step) = walk.next() {
            let Some(&token) = tokens.get(step.slot) else {
                return Err(ArchitectureError::Length { tokens: tokens.len(), slots: self.arity.len() });
            };
            walk.choose_token(token)?;
            choices.push(Choice { slot: step.slot, option: self.space.option(step.slot, token), mask: step.mask });
        }
        if walk.tokens() != tokens {
            return Err(ArchitectureError::Length { tokens: tokens.len(), slots: self.arity.len() });
        }
        Ok(Episode { tokens: tokens.clone(), choices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::conditional;

    #[test]
    fn episodes_replay() {
        let environment = Environment::new(conditional());
        let mut lengths = std::collections::BTreeSet::new();
        for architecture in environment.space().enumerate() {
            let tokens = environment.space().tokens(&architecture).unwrap();
            let episode = environment.replay(&tokens).unwrap();
            assert_eq!(episode.tokens, tokens);
            assert!(episode.choices.iter().all(|choice| choice.mask[choice.option]));
            lengths.insert(episode.choices.len());
        }
        assert!(lengths.len() > 1, "closed slots are skipped");
    }

    #[test]
    fn even_draws_have_equal_probabilities() {
        let environment = Environment::new(conditional());
        let mut total = 0.0;
        for architecture in environment.space().enumerate() {
            total += {
                let tokens = environment.space().tokens(&architecture).unwrap();
                environment.even_log_prob(&environment.replay(&tokens).unwrap()).exp()
            };
        }
        assert!((total - 1.0).abs() < 1e-12, "{total}");

        let large = Environment::new(crate::testing::cube(200, 5));
        let episode = large.episode(|_, _, _| 0).unwrap();
        assert!((large.even_log_prob(&episode) + 200.0 * 5_f64.ln()).abs() < 1e-9);

        let space = SearchSpace::builder("s").float("x", 0.0..=1.0).choice("a", ["p", "q"]).build().unwrap();
        let infinite = Environment::new(space);
        let episode = infinite.episode(|_, _, _| 0).unwrap();
        assert!((infinite.even_log_prob(&episode) + 32_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn masked_options_cannot_be_chosen() {
        let environment = Environment::new(conditional());
        assert!(environment.episode(|_, _, _| 99).is_err());
    }
}
