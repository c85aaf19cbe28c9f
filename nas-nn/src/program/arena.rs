//! One buffer, handed out as disjoint parts: some to write, the rest to read.

use smallvec::SmallVec;

use super::list::{Values, Writable};

/// A stretch of the arena, in floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Region {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// The number of a part in a list of cuts; nothing for an empty one.
pub(crate) type Part = Option<u16>;

/// Where to cut the arena for one step, decided when it is planned: ascending and disjoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts(SmallVec<[Region; 8]>);

impl Cuts {
    /// Cuts that yield all of `regions`, equal ones once.
    pub(crate) fn new(regions: impl IntoIterator<Item = Region>) -> Self {
        let mut cuts: SmallVec<[Region; 8]> = regions.into_iter().filter(|r| r.len > 0).collect();
        cuts.sort_unstable();
        cuts.dedup();
        assert!(cuts.windows(2).all(|w| w[0].start + w[0].len <= w[1].start), "regions overlap: {cuts:?}");
        Cuts(cuts)
    }

    /// The part that is `region`.
    pub(crate) fn part(&self, region: Region) -> Part {
        let found = self.0.iter().position(|&cut| cut == region);
        found.map(|i| u16::try_from(i).expect("an op has fewer than 2^16 values"))
    }

    /// The number of parts.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Parts of the arena, all still writable.
pub(crate) struct Parts<'a>(Writable<'a>);

/// Parts of the arena, readable.
pub(crate) struct Shared<'a>(Values<'a>);

/// Cuts `arena` into the parts that `cuts` names, listed in `room`.
pub(crate) fn cut<'a>(arena: &'a mut [f32], cuts: &Cuts, room: &'a mut Vec<Option<&'static mut [f32]>>) -> Parts<'a> {
    let mut rest = arena;
    let mut at = 0;
    let parts = cuts.0.iter().map(|region| {
        let (_, tail) = std::mem::take(&mut rest).split_at_mut(region.start - at);
        let (part, tail) = tail.split_at_mut(region.len);
        rest = tail;
        at = region.start + region.len;
        Some(part)
    });
    Parts(Writable::of(parts, room))
}

impl<'a> Parts<'a> {
    /// The first `len` floats of a part, to write. Each part can be taken once.
    pub(crate) fn take(&mut self, part: Part, len: usize) -> &'a mut [f32] {
        match part {
            Some(part) => &mut self.0[usize::from(part)].take().expect("a step writes a part once")[..len],
            None => &mut [],
        }
    }

    /// What was not taken, to read, listed in `room`.
    pub(crate) fn share(mut self, room: &'a mut Vec<&'static [f32]>) -> Shared<'a> {
        Shared(Values::of(self.0.iter_mut().map(|part| part.take().map_or(&[][..], |part| &*part)), room))
    }
}

impl<'a> Shared<'a> {
    /// The first `len` floats of a part.
    pub(crate) fn get(&self, part: Part, len: usize) -> &'a [f32] {
        part.map_or(&[], |part| &self.0[usize::from(part)][..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_asked_for() {
        let mut arena: Vec<f32> = (0..10_u8).map(f32::from).collect();
        let (a, b) = (Region { start: 6, len: 2 }, Region { start: 1, len: 3 });
        let cuts = Cuts::new([a, b, a, Region { start: 9, len: 0 }]);
        let (mut room, mut shared_room) = (Vec::new(), Vec::new());
        let mut parts = cut(&mut arena, &cuts, &mut room);
        assert_eq!(parts.take(cuts.part(b), 2), [1.0, 2.0]);
        let shared = parts.share(&mut shared_room);
        assert_eq!(shared.get(cuts.part(a), 2), [6.0, 7.0]);
        assert!(shared.get(None, 0).is_empty());
    }
}
