//! Ratings made from a seed, for there are none that a program may hold: users and items with biases, tastes and noise.

use std::collections::HashSet;
use std::fmt::Write as _;

use nas_core::{Purpose, Seed};
use rand::RngExt as _;

use crate::Rng;

const USERS: usize = 400;
const ITEMS: usize = 300;
const RATINGS: usize = 20_000;

/// Who rates, or what is rated.
struct Entity {
    bias: f64,
    tastes: [f64; 2],
}

/// Nearly normal with variance 1: twelve even draws. Sums and products only, so that every machine has the same.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| f64::from(rng.random_range(0..1 << 20)) / f64::from(1 << 20)).sum::<f64>() - 6.0
}

fn entities(count: usize, spread: f64, rng: &mut Rng) -> Vec<Entity> {
    (0..count).map(|_| Entity { bias: spread * normal(rng), tastes: [normal(rng), normal(rng)] }).collect()
}

/// One of `count`, the first ones more often: the square of an even draw.
fn popular(count: usize, rng: &mut Rng) -> usize {
    let at = rng.random_range(0..1_u64 << 20);
    ((at * at * count as u64) >> 40) as usize
}

/// A CSV file of ratings from 0.5 to 5, and the RMSE of the ratings without their noise: what a network that knows everybody's tastes would
/// have.
pub(super) fn generate() -> (String, f64) {
    let mut rng = Seed::new(0).stream(Purpose::Split, 2);
    let users = entities(USERS, 0.4, &mut rng);
    let items = entities(ITEMS, 0.4, &mut rng);
    let mut csv = "user_id,item_id,rating\n".to_owned();
    let (mut seen, mut squares) = (HashSet::new(), 0.0);
    while seen.len() < RATINGS {
        let (user, item) = (popular(USERS, &mut rng), popular(ITEMS, &mut rng));
        if !seen.insert((user, item)) {
            continue;
        }
        let (u, i) = (&users[user], &items[item]);
        let taste = 0.4 * (u.tastes[0] * i.tastes[0] + u.tastes[1] * i.tastes[1]);
        let expected = (3.5 + u.bias + i.bias + taste).clamp(0.5, 5.0);
        let rating = ((2.0 * (expected + 0.6 * normal(&mut rng))).round() / 2.0).clamp(0.5, 5.0);
        squares += (rating - expected) * (rating - expected);
        writeln!(csv, "{},{},{rating:.1}", user + 1, item + 1).expect("a text takes what is written");
    }
    (csv, (squares / RATINGS as f64).sqrt())
}
