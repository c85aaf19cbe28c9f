//! The search as a decision process: a state is a prefix of choices, an action an option that is not masked, an episode an
//! architecture. The only reward comes at the end, when somebody has trained it.

use nas_core::{ArchitectureError, Rng, SearchSpace, Tokens};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// One choice that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The slot: the place of the decision among all the space has.
    pub slot: usize,
    /// The option chosen; of a continuous number its bin.
    pub option: usize,
    /// Which options could be chosen.
    pub mask: &'a [bool],
}

impl Choice<'_> {
    /// The entropy, in nats, if every option that could be chosen were as likely: the most it can be.
    pub fn even_entropy(&self) -> f64 {
        (self.mask.iter().filter(|&&open| open).count() as f64).ln()
    }
}

/// A whole architecture, choice by choice. Slots that a condition closed do not occur.
///
/// Episodes of a dozen choices are held in place, without an allocation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Episode {
    tokens: Tokens,
    steps: SmallVec<[Step; 12]>,
    /// The masks of all choices, one after the other.
    masks: SmallVec<[bool; 64]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Step {
    slot: u16,
    option: u16,
    /// Where its mask ends.
    end: u32,
}

/// An episode as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    tokens: Tokens,
    steps: Vec<Step>,
    masks: Vec<bool>,
}

impl From<Episode> for Written {
    fn from(episode: Episode) -> Self {
        let Episode { tokens, steps, masks } = episode;
        Written { tokens, steps: steps.into_vec(), masks: masks.into_vec() }
    }
}

impl From<Written> for Episode {
    fn from(written: Written) -> Self {
        let Written { tokens, steps, masks } = written;
        Episode { tokens, steps: steps.into(), masks: masks.into() }
    }
}

impl Episode {
    /// What was chosen.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// How many choices there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there was nothing to choose.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Choice `t`, counted from 0.
    ///
    /// # Panics
    /// When there are not as many.
    pub fn choice(&self, t: usize) -> Choice<'_> {
        let start = t.checked_sub(1).map_or(0, |before| self.steps[before].end as usize);
        let Step { slot, option, end } = self.steps[t];
        Choice { slot: slot.into(), option: option.into(), mask: &self.masks[start..end as usize] }
    }

    /// The choices in order.
    pub fn choices(&self) -> impl ExactSizeIterator<Item = Choice<'_>> {
        (0..self.len()).map(|t| self.choice(t))
    }

    /// The entropy, in nats, of all choices together if every option that could be chosen were as likely.
    pub fn even_entropy(&self) -> f64 {
        self.choices().map(|choice| choice.even_entropy()).sum()
    }

    fn push(&mut self, slot: usize, option: usize, mask: &[bool]) {
        let small = "a space has at most 10,000 slots of 10,000 options";
        self.masks.extend_from_slice(mask);
        self.steps.push(Step {
            slot: u16::try_from(slot).expect(small),
            option: u16::try_from(option).expect(small),
            end: u32::try_from(self.masks.len()).expect("a space has at most a million options"),
        });
    }
}

/// A space as an environment.
#[derive(Debug, Clone)]
pub struct Environment {
    space: SearchSpace,
    /// The number of options of every slot.
    arity: Vec<usize>,
    /// ln of the probability of every architecture, when they can be counted.
    even: Option<f64>,
}

impl Environment {
    /// The environment of `space`.
    pub fn new(space: SearchSpace) -> Self {
        let arity = space.slots().iter().map(|slot| slot.options.len()).collect();
        // How many architectures keep to limits is not known.
        let even = space.cardinality().finite().filter(|_| !space.is_limited()).map(|count| {
            let shift = count.bits().saturating_sub(64);
            let leading = u64::try_from(count >> shift).expect("64 bits are left");
            -((leading as f64).ln() + shift as f64 * std::f64::consts::LN_2)
        });
        Environment { space, arity, even }
    }

    /// The space.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// The number of options of every slot.
    pub fn arity(&self) -> &[usize] {
        &self.arity
    }

    /// An episode in which `choose` names an option for every slot and mask. Continuous numbers are drawn evenly from the
    /// bin that it names.
    ///
    /// # Errors
    /// When `choose` names an option that is masked, or what was drawn breaks the space's limits, as
    /// [`Walk::choose`](nas_core::space::Walk::choose) tells.
    pub fn episode(
        &self,
        rng: &mut Rng,
        mut choose: impl FnMut(usize, &[bool], &mut Rng) -> usize,
    ) -> Result<Episode, ArchitectureError> {
        let mut walk = self.space.walk();
        let mut episode = Episode::default();
        while let Some(slot) = walk.slot_index() {
            let option = choose(slot, walk.mask(), rng);
            episode.push(slot, option, walk.mask());
            walk.choose_within(option, rng)?;
        }
        episode.tokens = walk.tokens().clone();
        Ok(episode)
    }

    /// `parent` with another choice at `slot`. `choose` names an option for every slot, its mask, and the option that the
    /// parent has there: none at `slot`, and where the parent has none or may no longer have it. Where it names the
    /// parent's, the parent's token is kept.
    ///
    /// # Errors
    /// As [`episode`](Self::episode).
    pub fn edit(
        &self,
        parent: &Tokens,
        slot: usize,
        rng: &mut Rng,
        mut choose: impl FnMut(usize, &[bool], Option<usize>, &mut Rng) -> usize,
    ) -> Result<Episode, ArchitectureError> {
        let mut walk = self.space.walk_to(parent);
        let mut episode = Episode::default();
        while let Some(at) = walk.slot_index() {
            let token = parent[at];
            let own = (at != slot && token != Tokens::CLOSED).then(|| self.space.option(at, token));
            let own = own.filter(|&option| walk.mask()[option]);
            let option = choose(at, walk.mask(), own, rng);
            episode.push(at, option, walk.mask());
            if own == Some(option) { walk.choose_token(token)? } else { walk.choose_within(option, rng)? }
        }
        episode.tokens = walk.tokens().clone();
        Ok(episode)
    }

    /// ln of the probability that [`SearchSpace::sample`] draws this episode. Continuous numbers have no probability, and under
    /// limits nobody knows it; then that of an even choice at every step.
    pub fn even_log_prob(&self, episode: &Episode) -> f64 {
        self.even.unwrap_or_else(|| -episode.even_entropy())
    }

    /// The episode that yields `tokens`.
    ///
    /// # Errors
    /// When they are none of the space's.
    pub fn replay(&self, tokens: &Tokens) -> Result<Episode, ArchitectureError> {
        if tokens.len() != self.arity.len() {
            return Err(ArchitectureError::Length { tokens: tokens.len(), slots: self.arity.len() });
        }
        let mut walk = self.space.walk_to(tokens);
        let mut episode = Episode::default();
        while let Some(slot) = walk.slot_index() {
            episode.push(slot, self.space.option(slot, tokens[slot]), walk.mask());
            walk.choose_token(tokens[slot])?;
        }
        // A token in a slot that the others close.
        if let Some(slot) = (0..tokens.len()).find(|&slot| walk.tokens()[slot] != tokens[slot]) {
            let path = self.space.slots()[slot].path.clone();
            return Err(ArchitectureError::Token {
                slot: path,
                token: tokens[slot].to_string(),
                why: "a condition closes it".to_owned(),
            });
        }
        episode.tokens = tokens.clone();
        Ok(episode)
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;
    use crate::testing::{conditional, cube, episodes, first_open};

    fn rng() -> Rng {
        Seed::new(1).stream(Purpose::Test, 0)
    }

    #[test]
    fn episodes_replay() {
        let environment = Environment::new(conditional());
        let mut lengths = std::collections::BTreeSet::new();
        for episode in episodes(&environment) {
            assert_eq!(environment.replay(episode.tokens()).unwrap(), episode);
            assert!(episode.choices().all(|choice| choice.mask[choice.option]));
            assert!(episode.choices().all(|choice| choice.mask.len() == environment.arity()[choice.slot]));
            lengths.insert(episode.len());
        }
        assert!(lengths.len() > 1, "closed slots are skipped");
    }

    #[test]
    fn tokens_in_closed_slots_are_refused() {
        let environment = Environment::new(conditional());
        let episode = environment.episode(&mut rng(), |_, mask, _| first_open(mask)).unwrap();
        let mut tokens = episode.tokens().clone();
        assert_eq!(tokens[1], Tokens::CLOSED);
        tokens.set(1, 0);
        let error = environment.replay(&tokens).unwrap_err().to_string();
        assert_eq!(error, "at \"depth\" there is no token 0: a condition closes it");
    }

    #[test]
    fn even_draws_have_equal_probabilities() {
        let environment = Environment::new(conditional());
        let total: f64 = episodes(&environment).iter().map(|episode| environment.even_log_prob(episode).exp()).sum();
        assert!((total - 1.0).abs() < 1e-12, "{total}");

        let large = Environment::new(cube(200, 5));
        let episode = large.episode(&mut rng(), |_, _, _| 0).unwrap();
        assert!((large.even_log_prob(&episode) + 200.0 * 5_f64.ln()).abs() < 1e-9);

        let space = SearchSpace::builder("s").float("x", 0.0..=1.0).choice("a", ["p", "q"]).build().unwrap();
        let infinite = Environment::new(space);
        let episode = infinite.episode(&mut rng(), |_, _, _| 0).unwrap();
        assert!((infinite.even_log_prob(&episode) + 32_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn continuous_numbers_are_drawn_inside_their_bin() {
        let environment = Environment::new(SearchSpace::builder("s").float("x", 0.0..=1.0).build().unwrap());
        let mut rng = rng();
        let draw = |_| environment.episode(&mut rng, |_, _, _| 5).unwrap();
        let drawn: std::collections::BTreeSet<u16> = (0..50).map(draw).map(|episode| episode.tokens()[0]).collect();
        assert!(drawn.len() > 40 && drawn.iter().all(|token| (20_475..24_570).contains(token)), "{drawn:?}");
    }

    #[test]
    fn masked_options_cannot_be_chosen() {
        let environment = Environment::new(conditional());
        assert!(environment.episode(&mut rng(), |_, _, _| 99).is_err());
    }
}
