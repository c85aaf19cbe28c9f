//! The search as a decision process: a state is a prefix of choices, an action an option that is not masked, an episode an
//! architecture. The only reward comes at the end, when somebody has trained it.

use nas_core::{Architecture, ArchitectureError, SearchSpace};

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

/// A whole architecture, choice by choice. Slots that a condition closed do not occur.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// What was chosen.
    pub architecture: Architecture,
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
        Ok(Episode { architecture: walk.finish()?, choices })
    }

    /// The episode that yields `architecture`.
    ///
    /// # Errors
    /// When it is no architecture of the space.
    pub fn replay(&self, architecture: &Architecture) -> Result<Episode, ArchitectureError> {
        let actions = self.space.actions(architecture)?;
        let mut actions = actions.into_iter();
        self.episode(|_, _, _| actions.next().map_or(usize::MAX, |(_, option)| option))
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
            let episode = environment.replay(&architecture).unwrap();
            assert_eq!(episode.architecture, architecture);
            assert!(episode.choices.iter().all(|choice| choice.mask[choice.option]));
            lengths.insert(episode.choices.len());
        }
        assert!(lengths.len() > 1, "closed slots are skipped");
    }

    #[test]
    fn masked_options_cannot_be_chosen() {
        let environment = Environment::new(conditional());
        assert!(environment.episode(|_, _, _| 99).is_err());
    }
}
