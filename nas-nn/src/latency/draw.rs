//! Random networks of every family, for data of many sizes.

use std::sync::Arc;

use nas_core::{Architecture, Purpose, Seed};
use rand::RngExt as _;

use crate::Rng;
use crate::family::{self, Family, Task};

/// A network that is not built yet.
pub(super) struct Drawn {
    pub(super) family: Arc<dyn Family>,
    pub(super) architecture: Architecture,
    pub(super) task: Task,
}

/// `count` networks, of every family in turn, one for the family's usual task and one for a task like it.
pub(super) fn networks(count: usize) -> impl Iterator<Item = Drawn> {
    let mut rng = Seed::new(0).stream(Purpose::Calibrate, 0);
    let families = family::families();
    (0..count).map(move |i| {
        let family = Arc::clone(&families[i % families.len()]);
        let usual = family.usual_task();
        let wanted = if (i / families.len()).is_multiple_of(2) { usual.clone() } else { like(&usual, &mut rng) };
        // Not every family serves every size.
        let (space, task) = match family.space(&wanted) {
            Ok(space) => (space, wanted),
            Err(_) => (family.space(&usual).expect("a family serves its usual task"), usual),
        };
        let architecture = space.sample(&mut rng);
        Drawn { family, architecture, task }
    })
}

/// A task of another size.
fn like(task: &Task, rng: &mut Rng) -> Task {
    let mut other = task.clone();
    if let Task::Image { channels, height, width, classes } = &mut other {
        *channels = if rng.random::<bool>() { 1 } else { 3 };
        (*height, *width) = (rng.random_range(12..=40), rng.random_range(12..=40));
        *classes = rng.random_range(2..=100);
    }
    if let Task::Text { vocabulary, steps } = &mut other {
        (*vocabulary, *steps) = (rng.random_range(30..=200), rng.random_range(16..=128));
    }
    other
}
