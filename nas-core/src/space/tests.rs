//! What a space promises as a whole: counts, round trips, errors, limits.

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::{Purpose, Rng, Seed, Value};

fn rng(number: u64) -> Rng {
    Seed::new(1).stream(Purpose::Test, number)
}

/// Every architecture of the values that its decisions could have, by trying all of them: an independent count.
fn brute_force(space: &SearchSpace) -> BTreeSet<String> {
    let variables = &space.inner.program.variables;
    let mut all = vec![Architecture::new()];
    for variable in variables {
        let count = u32::try_from(variable.domain.count()).unwrap();
        let values: Vec<_> =
            (0..count).map(|rank| variable.domain.value(&variable.domain.unrank(&rank.into()))).collect();
        all = all
            .iter()
            .flat_map(|a| {
                let open = values.iter().map(|value| a.clone().with(&variable.path, value.clone()));
                open.chain([a.clone()]).collect::<Vec<_>>()
            })
            .collect();
    }
    all.iter().filter(|a| space.validate(a).is_ok()).map(ToString::to_string).collect()
}

/// How many candidates [`brute_force`] would try.
fn candidates(space: &SearchSpace) -> BigUint {
    space.inner.program.variables.iter().map(|variable| variable.domain.count() + 1_u32).product()
}

#[track_caller]
fn check_count(space: &SearchSpace) {
    let expected = brute_force(space);
    let listed: Vec<String> = space.enumerate().map(|a| a.to_string()).collect();
    assert_eq!(listed.len(), expected.len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(space.cardinality(), &Cardinality::Finite(expected.len().into()));
    assert_eq!(space.nth(&expected.len().into()), None);
}

#[test]
fn count_of_conditions_repeats_and_subsets() {
    // (1 + 3) stems · (1 + 4 + 4² · 2) blocks with heads, where a block is one of conv · 2, pool, skip
    assert_eq!(testing::conditional().cardinality().as_u64(), Some(4 * 37));
    check_count(&testing::conditional());
}

#[test]
fn count_of_nas_bench_201_without_dead_cells() {
    let ops = ["none", "skip", "conv1x1", "conv3x3", "pool3x3"];
    let space = testing::cell(&ops);
    // Live cells are counted here by the paths written out: 0-3, 0-1-3, 0-2-3, 0-1-2-3.
    let mut live = 0_u64;
    for cell in 0..5_u32.pow(6) {
        let on = |edge: u32| !(cell / 5_u32.pow(edge)).is_multiple_of(5);
        let [e01, e02, e12, e03, e13, e23] = [0, 1, 2, 3, 4, 5].map(on);
        live += u64::from(e03 || (e01 && e13) || (e02 && e23) || (e01 && e12 && e23));
    }
    assert_eq!(space.cardinality().as_u64(), Some(live));
    assert_eq!(space.enumerate().map(|a| a.to_string()).collect::<BTreeSet<_>>().len() as u64, live);
}

#[test]
fn continuous_numbers_make_it_infinite_unless_never_open() {
    let builder = || SearchSpace::builder("s").choice("a", ["none", "x"]);
    let open = builder().float("lr", 0.0..=1.0).when("a", ["none"]).build().unwrap();
    assert_eq!(open.cardinality(), &Cardinality::Infinite);
    let closed = builder().float("lr", 0.0..=1.0).when("a", ["none"]).require_path([(0, 1, "a")], "none").build();
    assert_eq!(closed.unwrap().cardinality().as_u64(), Some(1));
}

#[test]
fn large_spaces_are_counted_exactly_and_soon() {
    let start = Instant::now();
    let ops = ["a", "b", "c", "d"];
    let space = SearchSpace::builder("deep").repeat("blocks", 1..=100, |b| b.choice("x", ops).choice("y", ops)).build();
    let expected: BigUint = (1..=100).map(|n| BigUint::from(16_u32).pow(n)).sum();
    assert_eq!(space.unwrap().cardinality(), &Cardinality::Finite(expected));
    let flat = (0..5000).fold(SearchSpace::builder("flat"), |b, i| b.choice(&format!("c{i}"), ops)).build().unwrap();
    assert_eq!(flat.cardinality(), &Cardinality::Finite(BigUint::from(4_u32).pow(5000)));
    flat.validate(&flat.sample(&mut rng(0))).unwrap();
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn twenty_one_edges_are_counted() {
    // The upper triangle of seven nodes, two options each: as many graphs as subsets, less those without a path.
    let pairs: Vec<(u32, u32, String)> = (0..7).flat_map(|j| (0..j).map(move |i| (i, j, format!("{i}-{j}")))).collect();
    let builder = pairs.iter().fold(SearchSpace::builder("dag"), |b, (.., name)| b.choice(name, ["none", "edge"]));
    let space = builder.require_path(pairs.clone(), "none").build().unwrap();
    let mut live = 0_u64;
    for graph in 0..1_u32 << pairs.len() {
        let mut reached = 1_u8;
        for (bit, (i, j, _)) in pairs.iter().enumerate() {
            // Edges are in order of their ends, so all into `i` come before those out of it.
            if graph & 1 << bit != 0 && reached & 1 << i != 0 {
                reached |= 1 << j;
            }
        }
        live += u64::from(reached & 1 << 6 != 0);
    }
    assert_eq!(space.cardinality().as_u64(), Some(live));
}

#[track_caller]
fn check_space_error(builder: SpaceBuilder, message: &str) {
    assert_eq!(builder.build().unwrap_err().to_string(), message);
}

fn builder() -> SpaceBuilder {
    SearchSpace::builder("s")
}

#[test]
fn no_decision() {
    let says = "the space \"s\" has no decision: it needs a [[decision]] or, in a [[network]], a value such as { choose = [8, 16] }";
    check_space_error(builder(), says);
    check_space_error(builder().group("g", |g| g), "the decision \"g\" has no option: nothing is in it");
}

#[test]
fn two_of_a_name() {
    let inner = builder().group("g", |g| g.choice("a", ["x"]).integer("a", 1..=2));
    check_space_error(inner, "the decision \"g.a\" stands twice");
    check_space_error(builder().choice("a", ["x", "y", "x"]), "the option \"x\" of \"a\" stands twice");
}

#[test]
fn nothing_to_choose() {
    let none: [&str; 0] = [];
    check_space_error(builder().choice("a", none), "the decision \"a\" has no option: it lists none");
    #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
    let reversed = builder().integer("n", 3..=1);
    check_space_error(reversed, "the decision \"n\" has no option: it runs from 3 to 1");
    let step = builder().integer("n", 1..=3).step(0);
    check_space_error(step, "the decision \"n\" has no option: its step is 0, and 1 is the smallest");
    check_space_error(builder().float("x", 0.5..=0.5), "the decision \"x\" has no option: it runs from 0.5 to 0.5");
    check_space_error(
        builder().float("x", 0.5..=f64::NAN),
        "the decision \"x\" has no option: it runs from 0.5 to NaN",
    );
    check_space_error(
        builder().float("x", -f64::MAX..=f64::MAX),
        "the decision \"x\" has no option: it runs from -1.7976931348623157e308 to 1.7976931348623157e308",
    );
    check_space_error(
        builder().float("x", 0.0..=1.0).log(),
        "the decision \"x\" has no option: a logarithmic scale cannot start at 0.0",
    );
    check_space_error(
        builder().float("x", 0.0..=1.0).steps(1),
        "the decision \"x\" has no option: a range has at least 2 steps",
    );
    check_space_error(
        builder().float("x", 1.0..=1.0 + 1e-10).steps(3),
        "the decision \"x\" has no option: 3 steps from 1.0 to 1.0000000001 differ by less than 9 digits",
    );
    check_space_error(
        builder().subset("a", ["x", "y"]).between(1..=3),
        "the decision \"a\" has no option: 1 to 3 of 2 cannot be chosen",
    );
    check_space_error(
        builder().repeat("r", 0..=0, |r| r.choice("a", ["x"])),
        "the decision \"r\" has no option: it repeats 0 to 0 times",
    );
}

#[test]
fn references_that_lead_nowhere() {
    check_space_error(
        builder().choice("stem", ["x"]).choice("b", ["y"]).when("stme", ["x"]),
        "\"b\" refers to \"stme\", which is no earlier decision; did you mean \"stem\"?",
    );
    check_space_error(
        builder().choice("b", ["y"]).when("later", ["x"]).choice("later", ["x"]),
        "\"b\" refers to \"later\", which is declared later; conditions look back: move \"later\" before it",
    );
    check_space_error(
        builder().choice("a", ["x", "y"]).choice("b", ["y"]).when("a", ["z"]),
        "\"b\" refers to \"z\", which \"a\" cannot be; options: x, y",
    );
    check_space_error(
        builder().choice("a", ["x", "y"]).choice("b", ["y"]).when::<&str>("a", []),
        "\"b\" refers to no value of \"a\"",
    );
    check_space_error(
        builder().float("a", 0.0..=1.0).choice("b", ["y"]).when("a", [0.5]),
        "\"b\" refers to \"a\"; conditions look at choices, integers and repeats only",
    );
}

#[test]
fn requirements_that_lead_nowhere() {
    let ops = ["none", "x"];
    let two = || builder().choice("a", ops).choice("b", ops).integer("n", 1..=2);
    check_space_error(two().require_path([(0, 1, "c")], "none"), "\"a path\" refers to \"c\", which is no decision");
    check_space_error(two().require_path([(0, 1, "n")], "none"), "\"a path\" refers to \"n\", which is no choice");
    check_space_error(two().require_path([(1, 1, "a")], "none"), "\"a path\" refers to an edge from node 1 to itself");
    check_space_error(two().require_path::<&str>([], "none"), "\"a path\" refers to no edge");
    check_space_error(
        two().require_path([(0, 1, "a")], "zero"),
        "\"a path\" refers to \"zero\", which none of its decisions has as an option",
    );
}

#[test]
fn requirement_that_nothing_meets() {
    check_space_error(
        builder().choice("a", ["none"]).choice("b", ["none", "x"]).require_path([(0, 1, "a"), (1, 2, "b")], "none"),
        "no architecture of the space \"s\" meets its requirement: edges not chosen \"none\" must lead from node 0 to \
         node 2; the edges are 0-1 \"a\", 1-2 \"b\"",
    );
}

#[test]
fn names_that_are_none() {
    let names = "names hold letters, digits, \"_\" and \"-\", at least one";
    check_space_error(SearchSpace::builder(""), &format!("\"\" is no name: {names}"));
    check_space_error(builder().choice("a.b", ["x"]), &format!("\"a.b\" is no name: {names}"));
    let signs = "options hold no space, comma, equals sign, plus, brace or quote";
    check_space_error(builder().choice("a", ["x+y"]), &format!("\"x+y\" is no name: {signs}"));
    check_space_error(builder().choice("a", [""]), "\"\" is no name: an option has at least one character");
    let number = "an option is a name; for numbers take an integer or float, or a name such as \"x4\"";
    check_space_error(builder().choice("a", ["1e3"]), &format!("\"1e3\" is no name: {number}"));
}

#[test]
fn too_large_is_refused_at_once() {
    let start = Instant::now();
    let large = |what: &str, size: u64, limit: u64| {
        format!("the space is too large to hold: {what} is {size}, the limit is {limit}")
    };
    check_space_error(
        builder().repeat("r", 1..=1_000_000_000, |r| r.choice("a", ["x", "y"])),
        &large("the number of decisions of \"r\"", 1_000_000_001, 10_000),
    );
    check_space_error(
        builder().repeat("r", 0..=u64::MAX, |r| r.repeat("q", 1..=u64::MAX, |q| q.choice("a", ["x", "y"]))),
        &large("the number of decisions of \"r.q\"", u64::MAX, 10_000),
    );
    check_space_error(
        builder().integer("n", i64::MIN..=i64::MAX),
        &large("the number of options of \"n\"", u64::MAX, 10_000),
    );
    check_space_error(
        builder().float("x", 0.0..=1.0).steps(u32::MAX),
        &large("the number of options of \"x\"", u32::MAX.into(), 10_000),
    );
    check_space_error(
        builder().repeat("r", 1..=200, |r| r.integer("n", 1..=10_000)),
        &large("the number of options of all decisions", 2_000_200, 1_000_000),
    );
    let deep = (0..16).fold(builder().choice("a", ["x"]), |inner, _| builder().group("g", |_| inner));
    check_space_error(deep, &large("the depth of nested groups", 17, 16));
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
}

#[test]
fn tangled_conditions_are_refused() {
    let start = Instant::now();
    // Forty free choices, each of which a later decision asks about together with the next: a chain, which is fine …
    let options = ["x", "y"];
    let free = (0..40).fold(builder(), |b, i| b.choice(&format!("c{i}"), options));
    // … until nested groups tie all of them to one decision.
    let tie = |from: usize, to: usize, inner: SpaceBuilder| {
        (from..to).fold(inner, |inner, i| builder().group("g", |_| inner).when(&format!("c{i}"), ["x"]))
    };
    let close = (0..40).step_by(13).fold(free, |b, from| {
        let inner = tie(from, (from + 13).min(40), builder().choice("leaf", options));
        b.group(&format!("t{from}"), |_| inner)
    });
    assert!(close.build().is_ok());
    let long = (0..600).fold(builder().choice("c0", options), |b, i| {
        b.choice(&format!("c{}", i + 1), options).when(&format!("c{i}"), ["x"])
    });
    let error = long.build().unwrap_err().to_string();
    assert!(error.contains("the longest chain of decisions that depend on one another is 601"), "{error}");
    // Edges between far nodes, in an order that keeps all reachability open: more than the budget of counting.
    let pairs: Vec<(u32, u32, String)> =
        (0..13).flat_map(|i| (0..13).map(move |j| (1 + i, 20 + j, format!("{i}-{j}")))).collect();
    let dense = pairs.iter().fold(builder(), |b, (.., name)| b.choice(name, ["none", "x"]));
    let ends = (0..13).flat_map(|i| [(0, 1 + i, format!("in{i}")), (20 + i, 40, format!("out{i}"))]);
    let dense = (0..13).fold(dense, |b, i| b.choice(&format!("in{i}"), options).choice(&format!("out{i}"), options));
    let error = dense.require_path(pairs.into_iter().chain(ends), "none").build().unwrap_err().to_string();
    assert!(error.contains("the combinations of decisions that conditions and requirements name"), "{error}");
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[track_caller]
fn check_parse_error(space: &SearchSpace, text: &str, message: &str) {
    assert_eq!(space.parse(text).unwrap_err().to_string(), message);
}

#[test]
fn architectures_that_do_not_fit() {
    let space = testing::conditional();
    let check = |text: &str, message: &str| check_parse_error(&space, text, message);
    check("stme=small", "the space \"conditional\" has no open decision \"stme\"; did you mean \"stem\"?");
    check("stem=small", "the architecture has no decision \"blocks\"");
    check("stem=smal,blocks=0", "decision \"stem\" has no option \"smal\"; options: small, large");
    check("stem=small,blocks=3", "decision \"blocks\" has no option \"3\"; options: 0, 1, 2");
    check("stem=small,blocks=two", "decision \"blocks\" is \"two\" where a whole number is needed");
    check(
        "stem=small,blocks=0,blocks.0.op=conv",
        "the space \"conditional\" has no open decision \"blocks.0.op\"; \"blocks=0\" closes it",
    );
    check(
        "stem=large,extras={p+q},blocks=0",
        "decision \"extras\" has no option \"{p+q}\"; options: 0 to 1 different ones of p, q",
    );
    check("stem=large,extras=p,blocks=0", "decision \"extras\" is \"p\" where a subset such as {a+b} is needed");
    check("stem", "\"stem\" is no decision of the form path=value");
    check("stem=large,stem=large", "the decision \"stem\" is given twice");
    let cell = testing::cell(&["none", "skip"]);
    check_parse_error(
        &cell,
        "cell.0-1=skip,cell.0-2=none,cell.1-2=none,cell.0-3=none,cell.1-3=none,cell.2-3=skip",
        "the architecture breaks a requirement of the space: in \"cell\" edges not chosen \"none\" must lead from node \
         0 to node 3; the edges are 0-1 \"0-1\", 0-2 \"0-2\", 1-2 \"1-2\", 0-3 \"0-3\", 1-3 \"1-3\", 2-3 \"2-3\"",
    );
}

#[test]
fn closed_with_what_opens_it() {
    let space = builder()
        .choice("a", ["x", "y"])
        .choice("b", ["x", "y"])
        .when("a", ["x"])
        .choice("c", ["x", "y"])
        .when("b", ["x"])
        .build()
        .unwrap();
    check_parse_error(
        &space,
        "a=y,c=x",
        "the space \"s\" has no open decision \"c\"; \"b\", which opens it, is closed itself",
    );
}

#[test]
fn canonical_puts_right_what_validate_refuses() {
    let space = builder()
        .choice("a", ["x", "y"])
        .choice("b", ["x", "y"])
        .when("a", ["x"])
        .subset("s", ["p", "q"])
        .float("f", 1.0..=2.0)
        .steps(2)
        .build()
        .unwrap();
    let given = Architecture::new()
        .with("a", "y".into())
        .with("b", "x".into())
        .with("s", Value::Subset(vec!["q".to_owned(), "p".to_owned()]))
        .with("f", 1.into());
    assert!(matches!(space.validate(&given), Err(ArchitectureError::Unknown { .. })));
    let canonical = space.canonical(&given).unwrap();
    assert_eq!(canonical.to_string(), "a=y,f=1.0,s={p+q}");
    assert_eq!(space.validate(&canonical), Ok(()));
    assert_eq!(space.parse("s={q+p}, a=y, f=1").unwrap(), canonical);
    let reordered = canonical.clone().with("s", Value::Subset(vec!["q".to_owned(), "p".to_owned()]));
    assert_eq!(
        space.validate(&reordered).unwrap_err().to_string(),
        "decision \"s\" is written \"{q+p}\" and should be \"{p+q}\""
    );
    let missing = Architecture::new().with("a", 3.into());
    let error = space.validate(&missing).unwrap_err().to_string();
    assert_eq!(error, "decision \"a\" is \"3\" where the name of an option is needed");
}

#[test]
fn neighbours_are_all_that_differ_in_one_decision() {
    let space = testing::cell(&["none", "skip", "conv"]);
    let at = space.nth(&77_u32.into()).unwrap();
    let differs = |a: &Architecture| a.iter().zip(at.iter()).filter(|(x, y)| x.1 != y.1).count();
    let expected: BTreeSet<_> = space.enumerate().filter(|a| differs(a) == 1).map(|a| a.to_string()).collect();
    let neighbours: Vec<_> = space.neighbours(&at).iter().map(ToString::to_string).collect();
    assert_eq!(neighbours.len(), expected.len());
    assert_eq!(neighbours.into_iter().collect::<BTreeSet<_>>(), expected);
    let mut rng = rng(4);
    let mutated: BTreeSet<_> = (0..500).map(|_| space.mutate(&at, &mut rng).to_string()).collect();
    assert_eq!(mutated, expected);
}

#[test]
fn neighbours_open_and_close_decisions() {
    let space = testing::conditional();
    let texts = |text: &str| -> Vec<String> {
        space.neighbours(&space.parse(text).unwrap()).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        texts("stem=large,extras={q},blocks=0"),
        [
            "blocks=0,stem=small",
            "blocks=0,extras={},stem=large",
            "blocks=1,blocks.0.op=conv,blocks.0.width=1,extras={q},stem=large",
            "blocks=2,blocks.0.op=conv,blocks.0.width=1,blocks.1.op=conv,blocks.1.width=1,extras={q},head=mean,stem=large",
        ]
    );
}

#[test]
fn numbers_between_two_steps_stay_as_they_are_given() {
    let space = builder().float("x", 0.0..=1.0).choice("a", ["p", "q"]).build().unwrap();
    let given = Architecture::new().with("x", 0.123_456_789.into()).with("a", "p".into());
    let mut rng = rng(0);
    let (mut kept, mut drawn) = (0, 0);
    for _ in 0..50 {
        let mutated = space.mutate(&given, &mut rng);
        match mutated.choice("a").unwrap() {
            "q" => kept += u32::from(mutated.float("x").unwrap() == 0.123_456_789),
            _ => drawn += u32::from(mutated.float("x").unwrap() != 0.123_456_789),
        }
    }
    assert_eq!(kept + drawn, 50);
    assert!(kept > 10 && drawn > 10, "{kept} {drawn}");
    // A level is a neighbour of a number that shares its step but not its value.
    let near = Architecture::new().with("x", 0.000_001.into()).with("a", "p".into());
    let neighbours = space.neighbours(&near);
    assert_eq!(neighbours.len(), 16 + 1);
    assert_eq!(neighbours[0].float("x").unwrap(), 0.0);
    assert_eq!(neighbours[16].to_string(), "a=q,x=1e-6");
}

#[test]
fn tokens_of_another_space_are_repaired() {
    let space = testing::conditional();
    let mut rng = rng(2);
    // A subset is open that the stem closes; a block lacks its width.
    let broken = Tokens::from(&[0, 1, 0, 1, 0, Tokens::CLOSED, Tokens::CLOSED, Tokens::CLOSED, Tokens::CLOSED][..]);
    assert!(space.architecture(&broken).is_err());
    for _ in 0..20 {
        let mutated = space.mutate_tokens(&broken, &mut rng);
        space.architecture(&mutated).unwrap();
    }
    assert!(space.neighbour_tokens(&broken).iter().all(|near| space.architecture(near).is_ok()));
}

#[test]
fn an_only_architecture_stays() {
    let space = builder().choice("a", ["x"]).subset("s", ["p"]).between(1..=1).build().unwrap();
    let only = space.nth(&BigUint::ZERO).unwrap();
    assert_eq!(space.mutate(&only, &mut rng(0)), only);
    assert!(space.neighbours(&only).is_empty());
}

#[test]
fn a_newly_opened_cell_fits_what_is_kept() {
    // Opening `b` must not draw none for it while the kept `c` is none.
    let ops = ["none", "skip"];
    let space = builder()
        .choice("a", ["off", "on"])
        .choice("b", ops)
        .when("a", ["on"])
        .choice("c", ops)
        .when("a", ["on"])
        .require_path([(0, 1, "b"), (0, 1, "c")], "none")
        .build()
        .unwrap();
    let wanted = Architecture::new().with("a", "on".into()).with("c", "none".into());
    let mut rng = rng(0);
    for _ in 0..50 {
        space.validate(&space.mutate(&wanted, &mut rng)).unwrap();
    }
    let off = Architecture::new().with("a", "off".into()).with("c", "none".into());
    let neighbours = space.neighbours(&off);
    assert_eq!(neighbours.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a=on,b=none,c=skip"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn toml_and_json_give_the_space_back(space in testing::spaces()) {
        let text = space.to_toml();
        let read = SearchSpace::from_toml(&text).unwrap();
        prop_assert_eq!(&read, &space);
        prop_assert_eq!(read.to_toml(), text);
        let json = serde_json::to_string(&space).unwrap();
        prop_assert_eq!(&serde_json::from_str::<SearchSpace>(&json).unwrap(), &space);
    }

    #[test]
    fn counts_are_exact(space in testing::spaces()) {
        prop_assume!(candidates(&space) < 20_000_u32.into());
        check_count(&space);
    }

    #[test]
    fn samples_are_valid_and_survive_every_form(space in testing::spaces(), number in any::<u64>()) {
        let mut rng = rng(number);
        for _ in 0..4 {
            let sample = space.sample(&mut rng);
            prop_assert_eq!(space.validate(&sample), Ok(()));
            prop_assert_eq!(&space.canonical(&sample).unwrap(), &sample);
            prop_assert_eq!(&space.parse(&sample.to_string()).unwrap(), &sample);
            prop_assert_eq!(&sample.to_string().parse::<Architecture>().unwrap(), &sample);
            let mut walk = space.walk();
            for (slot, option) in space.actions(&sample).unwrap() {
                prop_assert_eq!(walk.next().unwrap().slot, slot);
                walk.choose(option).unwrap();
            }
            prop_assert_eq!(&walk.finish().unwrap(), &sample);
        }
    }

    #[test]
    fn walks_at_random_end_in_the_space(space in testing::spaces(), number in any::<u64>()) {
        use rand::RngExt as _;
        let mut rng = rng(number);
        let mut walk = space.walk();
        while let Some(step) = walk.next() {
            let allowed: Vec<usize> = (0..step.mask.len()).filter(|&i| step.mask[i]).collect();
            walk.choose(allowed[rng.random_range(0..allowed.len())]).unwrap();
        }
        prop_assert_eq!(space.validate(&walk.finish().unwrap()), Ok(()));
    }

    #[test]
    fn edits_stay_in_the_space(space in testing::spaces(), number in any::<u64>()) {
        let mut rng = rng(number);
        let sample = space.sample(&mut rng);
        let neighbours = space.neighbours(&sample);
        for near in &neighbours {
            prop_assert_eq!(space.validate(near), Ok(()));
            prop_assert_ne!(near, &sample);
        }
        let distinct: BTreeSet<String> = neighbours.iter().map(ToString::to_string).collect();
        prop_assert_eq!(distinct.len(), neighbours.len());
        let mutated = space.mutate(&sample, &mut rng);
        prop_assert_eq!(space.validate(&mutated), Ok(()));
        prop_assert_eq!(mutated == sample, neighbours.is_empty());
    }
}
