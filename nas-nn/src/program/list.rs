//! Lists of what an operation reads and writes: short ones on the stack, longer ones in memory that the program keeps.
//!
//! A list borrows from the arena for one step, so it cannot be kept itself; its memory can. It is lent to the list and comes
//! back, emptied, when the list goes.

use std::ops::{Deref, DerefMut};

use smallvec::SmallVec;

use crate::kernel::crew::MAX_PARTS;
use crate::op::Grad;

/// So many items stand on the stack.
pub(crate) const SHORT: usize = 8;

/// A list of `T`s. Its memory is that of a list of `K`s, the same items as if they were borrowed for ever.
pub(crate) struct List<'a, T, K> {
    items: SmallVec<[T; SHORT]>,
    /// Where the memory of a long list goes back to.
    room: Option<&'a mut Vec<K>>,
}

/// Values to read.
pub(crate) type Values<'a> = List<'a, &'a [f32], &'static [f32]>;
/// Values of which some may be missing.
pub(crate) type Kept<'a> = List<'a, Option<&'a [f32]>, Option<&'static [f32]>>;
/// Stretches of memory to write, each until it is taken.
pub(crate) type Writable<'a> = List<'a, Option<&'a mut [f32]>, Option<&'static mut [f32]>>;
/// Gradients to write, each until it is taken.
pub(crate) type Grads<'a> = List<'a, Option<Grad<'a>>, Option<Grad<'static>>>;

impl<'a, T, K> List<'a, T, K> {
    /// The list of `items`, in `room` if they are many.
    pub(crate) fn of(items: impl ExactSizeIterator<Item = T>, room: &'a mut Vec<K>) -> Self {
        if items.len() <= SHORT {
            return List { items: items.collect(), room: None };
        }
        let mut memory: Vec<T> = emptied(std::mem::take(room));
        memory.extend(items);
        List { items: SmallVec::from_vec(memory), room: Some(room) }
    }
}

impl<T, K> Drop for List<'_, T, K> {
    fn drop(&mut self) {
        if let Some(room) = &mut self.room {
            **room = emptied(std::mem::take(&mut self.items).into_vec());
        }
    }
}

impl<T, K> Deref for List<'_, T, K> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T, K> DerefMut for List<'_, T, K> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

/// An empty vector of `B`s in the memory of one of `A`s, types of one size: collecting a vector's own items takes its memory, of
/// which the tests of allocations make sure.
fn emptied<A, B>(mut list: Vec<A>) -> Vec<B> {
    const { assert!(size_of::<A>() == size_of::<B>(), "the same items") };
    list.clear();
    list.into_iter().map(|_| unreachable!("it is empty")).collect()
}

/// The memory of all lists that a program makes in a step.
pub(super) struct Rooms {
    pub(super) parts: Vec<Option<&'static mut [f32]>>,
    pub(super) param_parts: Vec<Option<&'static mut [f32]>>,
    pub(super) shared: Vec<&'static [f32]>,
    pub(super) inputs: Vec<&'static [f32]>,
    pub(super) kept: Vec<Option<&'static [f32]>>,
    pub(super) grads: Vec<Option<Grad<'static>>>,
    pub(super) in_parts: PartRooms,
}

/// The memory of the lists of a step in parts: one list for all parts, the others for each.
#[derive(Default)]
pub(super) struct PartRooms {
    pub(super) fixed: Vec<Option<Grad<'static>>>,
    pub(super) inputs: [Vec<&'static [f32]>; MAX_PARTS],
    pub(super) kept: [Vec<Option<&'static [f32]>>; MAX_PARTS],
    pub(super) grads: [Vec<Option<Grad<'static>>>; MAX_PARTS],
}

impl Rooms {
    /// Room for lists of up to `longest` items, of one part at a time.
    pub(super) fn new(longest: usize) -> Box<Self> {
        let mut rooms = Box::new(Rooms {
            parts: room(longest),
            param_parts: room(longest),
            shared: room(longest),
            inputs: room(longest),
            kept: room(longest),
            grads: room(longest),
            in_parts: PartRooms { fixed: room(longest), ..PartRooms::default() },
        });
        rooms.in_parts.reserve(1, longest);
        rooms
    }
}

impl PartRooms {
    /// Room for that many parts at once, each with lists of up to `longest` items.
    pub(super) fn reserve(&mut self, parts: usize, longest: usize) {
        for part in 0..parts {
            self.inputs[part] = room(longest);
            self.kept[part] = room(longest);
            self.grads[part] = room(longest);
        }
    }
}

/// An empty vector with room for `longest` items, if they do not fit the stack.
fn room<T>(longest: usize) -> Vec<T> {
    Vec::with_capacity(if longest > SHORT { longest } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_keep_their_memory() {
        let values = [1.0, 2.0, 3.0];
        let mut room = Vec::<&'static [f32]>::new();
        let mut places = Vec::new();
        for len in [9, 20, 0, 8, 20, 15, 9] {
            let list = List::of((0..len).map(|i| &values[..i % 3]), &mut room);
            assert!(list.iter().map(|x| x.len()).eq((0..len).map(|i| i % 3)));
            drop(list);
            assert!(room.is_empty());
            places.push((room.as_ptr(), room.capacity()));
        }
        assert!(places[0].1 >= 9 && places[1].1 >= 20);
        assert!(places[1..].iter().all(|place| *place == places[1]), "{places:?}");
    }
}
