//! Limits are kept, and masks are exact where they can be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use crate::space::{Costs, Limits, Tokens, testing};
use crate::strategy::Unseen;
use crate::{Architecture, Purpose, Rng, SearchSpace, Seed, SpaceError};

/// A number from 0 to 99 for a decision and its value.
fn share(path: &str, value: &str, salt: u64) -> u64 {
    let hash = path
        .bytes()
        .chain(value.bytes())
        .fold(salt + 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 33) % 100
}

/// Costs of every kind, from the shares of an architecture's decisions.
struct Tables {
    salt: u64,
}

impl Tables {
    fn cost(&self, figure: &str, architecture: &Architecture) -> u64 {
        let shares = |salt: u64| {
            // A subset costs what its members do.
            architecture.iter().flat_map(move |(path, value)| {
                let text = value.to_string();
                let members: Vec<String> = text.trim_matches(['{', '}']).split('+').map(str::to_owned).collect();
                members.into_iter().map(move |member| if member.is_empty() { 0 } else { share(path, &member, salt) })
            })
        };
        match figure {
            "sum" => 10 + shares(self.salt).sum::<u64>(),
            "other" => 10 + shares(self.salt + 1).sum::<u64>(),
            // Larger factors always cost more, so that the cheapest rest does not depend on what was chosen.
            "product" => shares(self.salt).map(|share| 1 + share / 25).product(),
            // Nothing about the whole follows from its parts.
            _ => share(&architecture.to_string(), "", self.salt),
        }
    }
}

impl Costs for Tables {
    fn figures(&self) -> &[&'static str] {
        &["sum", "other", "product", "noise"]
    }

    fn costs(&self, architecture: &Architecture, figures: &[&str]) -> Result<Vec<u64>, String> {
        Ok(figures.iter().map(|figure| self.cost(figure, architecture)).collect())
    }
}

fn stream(number: u64) -> Rng {
    Seed::new(7).stream(Purpose::Test, number)
}

/// The cost that a part of all architectures does not exceed.
fn quantile(space: &SearchSpace, tables: &Tables, figure: &str, part: f64) -> u64 {
    let mut costs: Vec<u64> = space.enumerate().map(|a| tables.cost(figure, &a)).collect();
    costs.sort_unstable();
    costs[((costs.len() - 1) as f64 * part) as usize]
}

fn limited(space: &SearchSpace, salt: u64, limits: &[(&str, f64)]) -> SearchSpace {
    let tables = Tables { salt };
    let limits = limits
        .iter()
        .fold(Limits::new(), |limits, &(figure, part)| limits.with(figure, quantile(space, &tables, figure, part)));
    space.limited(limits, Arc::new(tables)).unwrap()
}

/// Masks against the list of all architectures, for limits that nearly all, some and only the cheapest keep to.
fn check_exact(space: &SearchSpace, figure: &str) {
    for (salt, part) in [(1, 0.0), (2, 0.05), (3, 0.3), (4, 0.7), (5, 1.0)] {
        testing::check_masks(&limited(space, salt, &[(figure, part)]));
    }
}

#[test]
fn masks_of_sums_are_exact() {
    check_exact(&testing::conditional(), "sum");
    check_exact(&testing::cube(), "sum");
    check_exact(&testing::cell(&["none", "skip", "conv"]), "sum");
}

#[test]
fn masks_of_products_are_exact_where_decisions_are_independent() {
    check_exact(&testing::cube(), "product");
}

#[test]
fn masks_of_long_ranges() {
    let space = SearchSpace::builder("s").integer("a", 1..=200).choice("b", ["x", "y"]).build().unwrap();
    struct Line;
    impl Costs for Line {
        fn figures(&self) -> &[&'static str] {
            &["line"]
        }
        fn costs(&self, architecture: &Architecture, _: &[&str]) -> Result<Vec<u64>, String> {
            let a = architecture.size("a").unwrap() as u64;
            Ok(vec![3 * a + if architecture.choice("b") == Ok("x") { 40 } else { 0 }])
        }
    }
    let limited = space.limited(Limits::new().with("line", 300), Arc::new(Line)).unwrap();
    let walk = limited.walk();
    assert_eq!(walk.mask().iter().filter(|&&open| open).count(), 100);
    assert_eq!(limited.cheapest().unwrap().to_string(), "a=1,b=y");
    testing::check_masks(&limited);
}

/// Whatever the costs are: nothing that is drawn, changed or walked to breaks a limit, and what keeps to them can be followed.
fn check_kept(space: &SearchSpace, limits: &[(&str, f64)], salt: u64) {
    let limited = limited(space, salt, limits);
    let all: BTreeSet<Tokens> = limited.enumerate().map(|a| limited.tokens(&a).unwrap()).collect();
    assert!(!all.is_empty() && !limited.is_free());
    let mut rng = stream(salt);
    for _ in 0..20 {
        let tokens = limited.sample_tokens(&mut rng);
        assert!(all.contains(&tokens), "{tokens}");
        assert!(all.contains(&limited.mutate_tokens(&tokens, &mut rng)));
        assert!(all.contains(&limited.tokens(&limited.mutate(&Architecture::new(), &mut rng)).unwrap()));
        let near: Vec<Tokens> = limited.neighbour_tokens(&tokens);
        assert!(near.iter().all(|tokens| all.contains(tokens)));
        // What is near without limits and keeps to them is near under them too.
        let base = space.neighbour_tokens(&tokens);
        assert!(base.iter().filter(|tokens| all.contains(tokens)).all(|tokens| near.contains(tokens)));
        let mut walk = limited.walk();
        while let Some(step) = walk.next() {
            let open: Vec<usize> = (0..step.mask.len()).filter(|&option| step.mask[option]).collect();
            let option = open[rng.random_range(0..open.len())];
            if walk.choose(option).is_err() {
                assert_eq!(walk.slot_index(), limited.walk().slot_index());
            }
        }
        assert!(all.contains(walk.tokens()));
    }
    for tokens in &all {
        let mut walk = limited.walk_to(tokens);
        while let Some(slot) = walk.slot_index() {
            walk.choose_token(tokens[slot]).unwrap();
        }
        assert_eq!(walk.tokens(), tokens);
    }
    let mut unseen = Unseen::new(limited.clone());
    let mut drawn = BTreeSet::new();
    while let Some(tokens) = unseen.draw(&mut rng).unwrap() {
        assert!(all.contains(&tokens) && drawn.insert(tokens));
    }
    assert!(!drawn.is_empty());
    if limits.len() == 1 && limits[0].0 == "sum" {
        assert_eq!(drawn, all);
    }
}

#[test]
fn any_costs_are_kept() {
    for (salt, part) in [(1, 0.02), (2, 0.3), (3, 0.9)] {
        for space in [testing::conditional(), testing::cell(&["none", "skip"]), testing::cube()] {
            check_kept(&space, &[("sum", part)], salt);
            check_kept(&space, &[("product", part)], salt);
            check_kept(&space, &[("noise", part)], salt);
            check_kept(&space, &[("sum", 0.6), ("other", 0.6)], salt);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_space(space in testing::spaces(), part in 0.0..1.0_f64, salt in 0..1000_u64) {
        if space.cardinality().as_u64().is_some_and(|count| count <= 400) {
            testing::check_masks(&limited(&space, salt, &[("sum", part)]));
            check_kept(&space, &[("noise", part)], salt);
        }
    }
}

#[test]
fn even_draws() {
    let space = limited(&testing::conditional(), 3, &[("sum", 0.4)]);
    let all: Vec<Tokens> = space.enumerate().map(|a| space.tokens(&a).unwrap()).collect();
    let mut rng = stream(0);
    let mut counts = vec![0_u32; all.len()];
    for _ in 0..200 * all.len() {
        let drawn = space.sample_tokens(&mut rng);
        counts[all.iter().position(|tokens| *tokens == drawn).unwrap()] += 1;
    }
    let statistic: f64 = counts.iter().map(|&n| (f64::from(n) - 200.0).powi(2) / 200.0).sum();
    // Three standard deviations above the mean of the distribution.
    let freedom = (all.len() - 1) as f64;
    assert!(statistic < freedom + 3.0 * (2.0 * freedom).sqrt(), "{statistic} of {freedom}");
}

#[test]
fn the_same_draws_however_they_are_made() {
    let space = testing::conditional();
    let [one, two] = [0, 1].map(|_| limited(&space, 3, &[("noise", 0.3)]));
    // The other one knows much already.
    (0..100).for_each(|i| drop(two.sample_tokens(&mut stream(i))));
    for walk in [one.walk(), two.walk()] {
        assert_eq!(walk.mask(), one.walk().mask());
    }
    let draws = |space: &SearchSpace| (0..50).map(|i| space.sample_tokens(&mut stream(i))).collect::<Vec<_>>();
    assert_eq!(draws(&one), draws(&two));
}

#[test]
fn nothing_fits() {
    let space = testing::cube();
    let limits = Limits::new().with("sum", 9);
    let Err(SpaceError::Limits { cheapest, figures, .. }) = space.limited(limits, Arc::new(Tables { salt: 1 })) else {
        panic!("every sum is 10 or more");
    };
    let least = quantile(&space, &Tables { salt: 1 }, "sum", 0.0);
    assert_eq!(figures, format!("sum {least} (max-sum is 9)"));
    assert_eq!(Tables { salt: 1 }.cost("sum", &space.parse(&cheapest).unwrap()), least);
}

#[test]
fn limits_of_what_is_not_known() {
    let limits = Limits::new().with("smu", 9);
    let error = testing::cube().limited(limits, Arc::new(Tables { salt: 1 })).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing is known of \"smu\", which \"max-smu\" limits; did you mean \"sum\"?; limits: max-sum, max-other, \
         max-product, max-noise"
    );
}

#[test]
fn architectures_that_cannot_be_built_are_masked() {
    /// An odd size cannot be built.
    struct Even;
    impl Costs for Even {
        fn figures(&self) -> &[&'static str] {
            &["size"]
        }
        fn costs(&self, architecture: &Architecture, _: &[&str]) -> Result<Vec<u64>, String> {
            let size = architecture.size("size").map_err(|e| e.to_string())? as u64;
            if size % 2 == 1 { Err(format!("{size} is odd")) } else { Ok(vec![size]) }
        }
    }
    let space = |high| SearchSpace::builder("s").integer("size", 1..=high).build().unwrap();
    let limited = space(9).limited(Limits::new().with("size", 6), Arc::new(Even)).unwrap();
    assert_eq!(limited.walk().mask(), [false, true, false, true, false, true, false, false, false]);
    let error = space(1).limited(Limits::new().with("size", 6), Arc::new(Even)).unwrap_err();
    assert_eq!(error.to_string(), "no architecture of the space \"s\" could be built: 1 is odd");
}

#[test]
fn declared_limits_are_written_and_not_kept_to() {
    let text = "name = \"s\"\n\n[limits]\nmax-sum = 20\n\n[[decision]]\nname = \"a\"\nkind = \"choice\"\noptions = [\"p\", \"q\"]\n";
    let space = SearchSpace::from_toml(text).unwrap();
    assert_eq!((space.to_toml().as_str(), space.is_limited()), (text, false));
    let limited = space.limited(Limits::new().with("sum", 500), Arc::new(Tables { salt: 1 })).unwrap();
    assert!(limited.is_limited() && limited != space && limited.to_toml().contains("max-sum = 500"));
    assert_eq!(limited.unlimited().to_toml(), text.replace("[limits]\nmax-sum = 20\n\n", ""));
    assert!(limited.limited(Limits::new(), Arc::new(Tables { salt: 1 })).unwrap().limits().is_empty());
}

#[track_caller]
fn check_toml(limits: &str, message: &str) {
    let text =
        format!("name = \"s\"\n[limits]\n{limits}\n[[decision]]\nname = \"a\"\nkind = \"choice\"\noptions = [\"p\"]\n");
    assert_eq!(SearchSpace::from_toml(&text).unwrap_err().to_string(), message);
}

#[test]
fn limits_that_are_none() {
    check_toml("max-sum = 0", "line 2, column 1: \"max-sum\" is 0; it must be above zero");
    check_toml("max-sum = -1", "line 2, column 1: \"max-sum\" is -1; it must be above zero");
    check_toml(
        "max-sum = \"12Q\"",
        "line 2, column 1: \"max-sum\" is \"12Q\"; \"Q\" is no unit; write 500k, 2M or 1.5G",
    );
    check_toml("max-sum = 1.5", "line 3, column 11: expected a whole number, or a text such as \"500k\"");
    check_toml("sum = 5", "line 2, column 1: \"sum\" is no limit; a limit is called max-params or the like");
}

#[test]
fn what_costs_nothing_is_not_asked_for_again() {
    /// The size alone, and how often somebody asked.
    struct Size(AtomicUsize);
    impl Costs for Size {
        fn figures(&self) -> &[&'static str] {
            &["size"]
        }
        fn costs(&self, architecture: &Architecture, _: &[&str]) -> Result<Vec<u64>, String> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(vec![architecture.size("size").map_err(|e| e.to_string())? as u64])
        }
    }
    // The size comes last, so that every choice before it has to look ahead.
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let builder = names.iter().fold(SearchSpace::builder("s"), |b, name| b.choice(name, ["p", "q", "r"]));
    let space = builder.integer("size", 1..=9).build().unwrap();
    let costs = Arc::new(Size(AtomicUsize::new(0)));
    let limited = space.limited(Limits::new().with("size", 4), Arc::clone(&costs) as Arc<dyn Costs>).unwrap();
    costs.0.store(0, Ordering::Relaxed);
    let mut rng = stream(1);
    let mut walk = limited.walk();
    for _ in 0..100 {
        while let Some(step) = walk.next() {
            assert_eq!(step.mask.iter().filter(|&&open| open).count(), if step.slot < 8 { 3 } else { 4 });
            walk.choose([0, 1, 2][rng.random_range(0..3)]).unwrap();
        }
        walk.reset();
    }
    let asked = costs.0.load(Ordering::Relaxed);
    assert!(asked <= 100, "asked {asked} times for 100 architectures");
}
