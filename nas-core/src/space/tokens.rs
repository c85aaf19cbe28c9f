//! Architectures as short rows of numbers: what strategies and policies compute with.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::domain::{Domain, Pick};
use super::program::Program;
use super::{Inner, SearchSpace, Slot, graph};
use crate::Architecture;
use crate::error::ArchitectureError;

/// An architecture as one number for every slot of its space: the option chosen, or [`CLOSED`](Self::CLOSED).
///
/// Of a subset there is a slot for every option, 0 for `out` and 1 for `in`. The token of a continuous number is its place
/// in 65,520 equal steps of its scale, of which [`SearchSpace::option`] tells the policy's bin. Up to 24 slots are held
/// in place, without an allocation. Equal architectures have equal tokens; they are ordered slot by slot.
///
/// ```
/// use nas_core::SearchSpace;
///
/// let space = SearchSpace::builder("s")
///     .choice("op", ["skip", "conv"]).integer("width", 1..=64).when("op", ["conv"]).build()?;
/// let tokens = space.tokens(&space.parse("op=conv,width=8")?)?;
/// assert_eq!(tokens[..], [1, 7]);
/// assert_eq!(space.architecture(&tokens)?.to_string(), "op=conv,width=8");
/// assert_eq!(space.tokens(&space.parse("op=skip")?)?.to_string(), "0 -");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tokens(SmallVec<[u16; 24]>);

impl Tokens {
    /// Stands in a slot that a condition closes.
    pub const CLOSED: u16 = u16::MAX;

    /// Sets the token of a slot.
    ///
    /// # Panics
    /// When there is no such slot.
    pub fn set(&mut self, slot: usize, token: u16) {
        self.0[slot] = token;
    }

    /// The slots that are open, each with its token.
    pub fn open(&self) -> impl Iterator<Item = (usize, u16)> {
        self.0.iter().copied().enumerate().filter(|&(_, token)| token != Self::CLOSED)
    }

    /// As many closed slots.
    pub(super) fn closed(slots: usize) -> Self {
        Tokens(SmallVec::from_elem(Self::CLOSED, slots))
    }

    pub(super) fn slots_mut(&mut self, slots: std::ops::Range<usize>) -> &mut [u16] {
        &mut self.0[slots]
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn push(&mut self, token: u16) {
        self.0.push(token);
    }
}

impl Deref for Tokens {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        &self.0
    }
}

impl From<&[u16]> for Tokens {
    fn from(tokens: &[u16]) -> Self {
        Tokens(SmallVec::from_slice(tokens))
    }
}

impl FromIterator<u16> for Tokens {
    fn from_iter<I: IntoIterator<Item = u16>>(tokens: I) -> Self {
        Tokens(tokens.into_iter().collect())
    }
}

/// A list of numbers.
impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|tokens| Tokens(SmallVec::from_vec(tokens)))
    }
}

/// The tokens with spaces between, a dash for a closed slot.
impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &token) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            if token == Self::CLOSED { write!(f, "{space}-")? } else { write!(f, "{space}{token}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({self})")
    }
}

/// Hashes keys of [`SearchSpace::key`], which are spread well enough for one multiplication.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u128(u128::from(byte));
        }
    }

    fn write_u128(&mut self, key: u128) {
        let folded = (key as u64) ^ ((key >> 64) as u64).rotate_left(29) ^ self.0;
        let product = u128::from(folded) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

/// A set of keys.
pub type KeySet = HashSet<u128, BuildHasherDefault<KeyHasher>>;
/// Something for each of some keys.
pub type KeyMap<V> = HashMap<u128, V, BuildHasherDefault<KeyHasher>>;

/// What is known of the slots' tokens beforehand.
pub(super) struct Layout {
    /// Whether slots neither close nor depend on each other.
    free: bool,
    /// The tokens that each slot has while it is open.
    radices: Vec<u32>,
    /// The slots with anything to choose.
    changeable: Vec<usize>,
    /// By slot: 1 when it can be closed.
    closable: Vec<u32>,
    /// By variable its first slot, then the number of slots.
    first: Vec<usize>,
    /// With graphs that have no numbers: the slots that are in none.
    others: Vec<usize>,
    packing: Packing,
}

/// How tokens become a key.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Packing {
    /// A number of mixed radix, in 64 bits.
    Word,
    /// A number of mixed radix, in 128 bits.
    Double,
    /// A hash: the number would be too large.
    Hash,
    /// A hash of graphs whose nodes have no numbers, and of what else there is.
    Graphs,
}

impl Layout {
    pub(super) fn new(program: &Program, slots: &[Slot]) -> Self {
        let variables = || slots.iter().map(|slot| &program.variables[slot.variable]);
        let radices: Vec<u32> = variables().map(|variable| variable.domain.tokens() as u32).collect();
        let closable: Vec<u32> = variables().map(|variable| u32::from(!variable.conditions.is_empty())).collect();
        let subset = variables().any(|variable| matches!(variable.domain, Domain::Subset { .. }));
        let free = !subset && program.requirements.is_empty() && closable.iter().all(|&closable| closable == 0);
        let mut digits = radices.iter().zip(&closable).map(|(radix, closable)| u128::from(radix + closable));
        let size = digits.try_fold(1_u128, |size, digits| size.checked_mul(digits));
        let packing = match size {
            _ if !program.graphs.is_empty() => Packing::Graphs,
            Some(size) if u64::try_from(size).is_ok() => Packing::Word,
            Some(_) => Packing::Double,
            None => Packing::Hash,
        };
        let changeable = (0..radices.len()).filter(|&slot| radices[slot] > 1).collect();
        let first = (0..=program.variables.len()).map(|v| slots.partition_point(|slot| slot.variable < v)).collect();
        let mut layout = Layout { free, radices, changeable, closable, first, others: Vec::new(), packing };
        layout.others = graph::others(&program.graphs, &layout);
        layout
    }

    /// Whether any tokens below the radices are an architecture, limits aside.
    pub(super) fn is_free(&self) -> bool {
        self.free
    }

    pub(super) fn radices(&self) -> &[u32] {
        &self.radices
    }

    /// The slots of a variable: one, or of a subset one for each option.
    pub(super) fn slots(&self, variable: usize) -> std::ops::Range<usize> {
        self.first[variable]..self.first[variable + 1]
    }

    pub(super) fn changeable(&self) -> &[usize] {
        &self.changeable
    }
}

impl SearchSpace {
    /// Whether its decisions neither close nor depend on each other, none is a subset and it keeps to no limits, so that any
    /// tokens below the slots' numbers are an architecture. Drawing and changing tokens is then fastest.
    pub fn is_free(&self) -> bool {
        self.free
    }

    /// The tokens of `architecture`; a continuous number by its nearest step.
    ///
    /// # Errors
    /// When it is no architecture of this space; see [`validate`](Self::validate).
    pub fn tokens(&self, architecture: &Architecture) -> Result<Tokens, ArchitectureError> {
        Ok(self.tokens_of(&self.valid(architecture)?))
    }

    /// The architecture of `tokens`. The value of a continuous number is rounded to 9 digits, as its levels are.
    ///
    /// # Errors
    /// When they are none of this space's: too few or many, an unknown option, an open decision without a token or a closed one
    /// with one, too many or few members of a subset, a requirement that is broken.
    pub fn architecture(&self, tokens: &Tokens) -> Result<Architecture, ArchitectureError> {
        Ok(self.encode(&self.decode_tokens(tokens)?))
    }

    /// A number that tells `tokens` from all others of this space: equal for equal architectures, and for those that
    /// [`nodes`](super::SpaceBuilder::nodes) make one.
    ///
    /// Without such it is exact while the space has fewer than 2¹²⁸ rows of tokens, and of a [free](Self::is_free) space without
    /// continuous numbers the rank of [`nth`](Self::nth); otherwise a hash of 128 bits.
    ///
    /// # Panics
    /// In debug builds, when there are not as many tokens as slots.
    pub fn key(&self, tokens: &Tokens) -> u128 {
        let Layout { radices, closable, packing, .. } = &self.inner.layout;
        debug_assert_eq!(tokens.len(), radices.len());
        // A closed slot's digit follows those of the options.
        let digits = || {
            let slots = tokens.iter().zip(radices.iter().zip(closable)).rev();
            slots.map(|(&token, (&radix, &closable))| {
                (if token == Tokens::CLOSED { radix } else { u32::from(token) }, radix + closable)
            })
        };
        match packing {
            Packing::Word => digits().fold(0_u64, |key, (digit, base)| key * u64::from(base) + u64::from(digit)).into(),
            Packing::Double => digits().fold(0_u128, |key, (digit, base)| key * u128::from(base) + u128::from(digit)),
            Packing::Graphs => {
                let Inner { program, layout, .. } = &*self.inner;
                graph::key(&program.graphs, &layout.others, tokens, layout)
            }
            // FNV-1a with 16 bits at a time.
            Packing::Hash => tokens.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, &token| {
                (hash ^ u128::from(token)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
            }),
        }
    }

    /// The tokens whose [`key`](Self::key) is `key`; none when there are none, or keys are hashes.
    pub fn tokens_of_key(&self, mut key: u128) -> Option<Tokens> {
        let Layout { radices, closable, packing, .. } = &self.inner.layout;
        if matches!(packing, Packing::Hash | Packing::Graphs) {
            return None;
        }
        let mut tokens = Tokens::default();
        for (&radix, &closable) in radices.iter().zip(closable) {
            let base = u128::from(radix + closable);
            let digit = (key % base) as u32;
            key /= base;
            tokens.push(if digit == radix { Tokens::CLOSED } else { digit as u16 });
        }
        (key == 0 && self.decode_tokens(&tokens).is_ok()).then_some(tokens)
    }

    /// The option of `slot` that a token belongs to: the token itself, or the bin of a continuous number.
    ///
    /// # Panics
    /// When the space has no such slot.
    pub fn option(&self, slot: usize, token: u16) -> usize {
        self.inner.program.variables[self.inner.slots[slot].variable].domain.option(token)
    }

    /// Whether different tokens can have one key.
    pub(crate) fn merges(&self) -> bool {
        self.inner.layout.packing == Packing::Graphs
    }

    /// How many rows of tokens a free space has, if they can be counted; see [`key`](Self::key).
    pub(crate) fn free_count(&self) -> Option<u128> {
        let Layout { radices, packing, .. } = &self.inner.layout;
        (self.free && *packing != Packing::Hash).then(|| radices.iter().map(|&radix| u128::from(radix)).product())
    }

    pub(super) fn tokens_of(&self, picks: &[Option<Pick>]) -> Tokens {
        let program = &self.inner.program;
        let slots = self.inner.slots.iter();
        slots
            .map(|slot| match &picks[slot.variable] {
                None => Tokens::CLOSED,
                Some(pick) => program.variables[slot.variable].domain.token(pick, slot.member),
            })
            .collect()
    }

    /// The picks of tokens that are of this space.
    pub(super) fn picks(&self, tokens: &Tokens) -> Vec<Option<Pick>> {
        (0..self.inner.program.variables.len()).map(|variable| self.pick(variable, tokens)).collect()
    }

    /// The pick of a variable by tokens of this space.
    pub(super) fn pick(&self, variable: usize, tokens: &Tokens) -> Option<Pick> {
        let own = &tokens[self.inner.layout.slots(variable)];
        let first = own.first().copied().filter(|&token| token != Tokens::CLOSED)?;
        Some(match self.inner.program.variables[variable].domain {
            Domain::Subset { .. } => Pick::Members((0..own.len()).filter(|&member| own[member] == 1).collect()),
            _ => Pick::Option(first.into()),
        })
    }

    fn decode_tokens(&self, tokens: &Tokens) -> Result<Vec<Option<Pick>>, ArchitectureError> {
        let Inner { program, diagram, slots, layout, .. } = &*self.inner;
        let forest = &diagram.forest;
        if tokens.len() != slots.len() {
            return Err(ArchitectureError::Length { tokens: tokens.len(), slots: slots.len() });
        }
        for (slot, (&token, &radix)) in slots.iter().zip(tokens.iter().zip(layout.radices())) {
            if token != Tokens::CLOSED && u32::from(token) >= radix {
                let slot = slot.path.clone();
                return Err(ArchitectureError::Token {
                    slot,
                    token: token.to_string(),
                    why: format!("it has {radix}"),
                });
            }
        }
        let picks = self.picks(tokens);
        let mut state = forest.start(program);
        let mut at = 0;
        for (i, (variable, pick)) in program.variables.iter().zip(&picks).enumerate() {
            let of_variable = slots[at..].iter().take_while(|slot| slot.variable == i).count();
            let own = &tokens[at..at + of_variable];
            at += of_variable;
            let open = forest.is_open(program, &state, i);
            if open && own.contains(&Tokens::CLOSED) {
                return Err(ArchitectureError::Absent { path: variable.path.clone() });
            }
            if let (false, Some(&token)) = (open, own.iter().find(|&&token| token != Tokens::CLOSED)) {
                let why = "a condition closes it".to_owned();
                return Err(ArchitectureError::Token { slot: variable.path.clone(), token: token.to_string(), why });
            }
            if let (Domain::Subset { min, max, .. }, Some(Pick::Members(members))) = (&variable.domain, pick)
                && !(*min..=*max).contains(&members.len())
            {
                let (slot, token) = (variable.path.clone(), format!("set of {}", members.len()));
                return Err(ArchitectureError::Token { slot, token, why: format!("it has {min} to {max} members") });
            }
            forest.decide(program, &mut state, i, pick.as_ref().map(Pick::index));
        }
        match forest.broken(program, &state) {
            Some(i) => Err(ArchitectureError::Requirement { requirement: program.requirements[i].text().to_owned() }),
            None => Ok(picks),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::space::testing;
    use crate::{Purpose, Seed};

    #[test]
    fn the_key_of_a_free_space_is_its_rank() {
        let space = SearchSpace::builder("s").choice("a", ["p", "q", "r"]).integer("n", 1..=5).choice("b", ["x", "y"]);
        let space = space.build().unwrap();
        assert!(space.is_free());
        for (rank, architecture) in space.enumerate().enumerate() {
            let tokens = space.tokens(&architecture).unwrap();
            assert_eq!(space.key(&tokens), rank as u128);
            assert_eq!(space.tokens_of_key(rank as u128), Some(tokens));
        }
        assert_eq!(space.tokens_of_key(30), None);
    }

    #[test]
    fn keys_too_large_to_pack_are_hashed_and_differ() {
        let space =
            (0..60).fold(SearchSpace::builder("s"), |b, i| b.choice(&format!("c{i}"), ["a", "b", "c", "d", "e"]));
        let space = space.build().unwrap();
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        let mut keys = BTreeSet::new();
        let tokens = space.sample_tokens(&mut rng);
        for near in space.neighbour_tokens(&tokens) {
            keys.insert(space.key(&near));
            keys.extend(space.neighbour_tokens(&near).iter().map(|next| space.key(next)));
        }
        // One change, two changes in different slots, and none.
        assert_eq!(keys.len(), 60 * 4 + 60 * 59 / 2 * 16 + 1);
        assert_eq!(space.tokens_of_key(0), None);
    }

    #[track_caller]
    fn check_error(space: &SearchSpace, tokens: &[u16], message: &str) {
        assert_eq!(space.architecture(&tokens.into()).unwrap_err().to_string(), message);
    }

    #[test]
    fn tokens_that_do_not_fit() {
        const SHUT: u16 = Tokens::CLOSED;
        let space = testing::conditional();
        let slots: Vec<&str> = space.slots().iter().map(|slot| slot.path.as_str()).collect();
        assert_eq!(slots[..4], ["stem", "extras[p]", "extras[q]", "blocks"]);
        check_error(&space, &[0], "there are 1 tokens for the space's 9 slots");
        let closed = [SHUT; 5];
        let with = |first: [u16; 4]| [&first[..], &closed[..]].concat();
        assert_eq!(
            space.architecture(&with([0, SHUT, SHUT, 0])[..].into()).unwrap().to_string(),
            "blocks=0,stem=small"
        );
        check_error(&space, &with([2, SHUT, SHUT, 0]), "at \"stem\" there is no token 2: it has 2");
        check_error(&space, &with([SHUT, SHUT, SHUT, 0]), "the architecture has no decision \"stem\"");
        check_error(&space, &with([0, 0, SHUT, 0]), "at \"extras\" there is no token 0: a condition closes it");
        check_error(&space, &with([1, 0, SHUT, 0]), "the architecture has no decision \"extras\"");
        check_error(&space, &with([1, 1, 1, 0]), "at \"extras\" there is no token set of 2: it has 0 to 1 members");
        let cell = testing::cell(&["none", "skip"]);
        assert!(cell.architecture(&[0_u16; 6][..].into()).unwrap_err().to_string().contains("breaks a requirement"));
    }

    #[test]
    fn continuous_numbers_keep_their_precision() {
        let space = SearchSpace::builder("s").float("lr", 1e-4..=0.1).log().choice("a", ["x", "y"]).build().unwrap();
        assert!(space.is_free());
        let mut rng = Seed::new(1).stream(Purpose::Test, 0);
        for _ in 0..200 {
            let tokens = space.sample_tokens(&mut rng);
            let architecture = space.architecture(&tokens).unwrap();
            assert_eq!(space.tokens(&architecture).unwrap(), tokens);
            assert!(architecture.to_string().len() < 24, "{architecture}");
        }
        // What a user gives lies between two steps, and stands for the nearer one.
        let given = space.parse("a=x,lr=0.00123456789").unwrap();
        let near = space.architecture(&space.tokens(&given).unwrap()).unwrap();
        assert!((near.float("lr").unwrap() / 0.001_234_567_89 - 1.0).abs() < 6e-5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn tokens_and_architectures_are_the_same(space in testing::spaces(), number in any::<u64>()) {
            let mut rng = Seed::new(number).stream(Purpose::Test, 0);
            for _ in 0..4 {
                let tokens = space.sample_tokens(&mut rng);
                let architecture = space.architecture(&tokens).unwrap();
                prop_assert_eq!(space.validate(&architecture), Ok(()));
                prop_assert_eq!(&space.tokens(&architecture).unwrap(), &tokens);
                if let Some(back) = space.tokens_of_key(space.key(&tokens)) {
                    prop_assert_eq!(&back, &tokens);
                }
                let near: BTreeSet<String> =
                    space.neighbour_tokens(&tokens).iter().map(|t| space.architecture(t).unwrap().to_string()).collect();
                let neighbours = space.neighbours(&architecture).iter().map(ToString::to_string).collect();
                prop_assert_eq!(&near, &neighbours);
                let mutated = space.architecture(&space.mutate_tokens(&tokens, &mut rng)).unwrap();
                prop_assert_eq!(near.is_empty(), mutated == architecture);
            }
        }
    }
}
