//! Networks from files: what fits is what can be built, decisions have the paths a person expects, and mistakes are named.

use std::collections::BTreeSet;

use nas_core::{Purpose, Seed};

use super::*;
use crate::family::{model, outline};
use crate::optim::Adam;
use crate::{Feed, Graph, Params, Program};

const IMAGES: Task = Task::Image { channels: 2, height: 9, width: 7, classes: 3 };
const TEXT: Task = Task::Text { vocabulary: 20, steps: 12 };

fn family(file: &str) -> Blocks {
    Blocks::new(Blocks::read(file).unwrap()).unwrap()
}

/// Checks that the space for `task` has just the architectures of the file's space that can be built, and returns how many these
/// are.
#[track_caller]
fn check_fits(file: &str, task: &Task) -> usize {
    let family = family(file);
    let builds = |architecture: &Architecture| outline(&family, architecture, task).is_ok();
    let wanted: BTreeSet<String> =
        family.space.enumerate().filter(builds).map(|architecture| architecture.to_string()).collect();
    let all = family.space.cardinality().to_string();
    if wanted.is_empty() {
        let error = family.space(task).unwrap_err();
        assert!(matches!(error, FamilyError::Block { .. }), "{error}");
        return 0;
    }
    let space = family.space(task).unwrap();
    let found: BTreeSet<String> = space.enumerate().map(|architecture| architecture.to_string()).collect();
    assert_eq!(found, wanted, "of {all}");
    assert_eq!(space.cardinality().to_string().replace(',', ""), wanted.len().to_string());
    // The space stands by itself: it is read again with its requirement, and made for the same task again.
    assert_eq!(SearchSpace::from_toml(&space.to_toml()).unwrap(), space);
    assert_eq!(Blocks::new(space.clone()).unwrap().space(task).unwrap(), space);
    wanted.len()
}

#[test]
fn poolings_of_a_small_image() {
    let file = r#"
        name = "s"
        [[network]]
        block = "max_pool"
        repeat = { from = 0, to = 5 }
        kernel = { choose = [2, 3, 5] }
        stride = { choose = [1, 2] }
        padding = { choose = ["valid", "same"] }
    "#;
    assert!(check_fits(file, &IMAGES) > 1000);
}

#[test]
fn branches_fit_each_other() {
    let file = r#"
        name = "s"
        [[decision]]
        name = "stride"
        kind = "integer"
        low = 1
        high = 3
        [[network]]
        branches = [
            [{ block = "conv", width = 4, kernel = 3, stride = "$stride" }],
            [{ block = "avg_pool", kernel = { choose = [2, 3] }, stride = { choose = [1, 2] }, padding = "same" }],
        ]
        join = { choose = ["add", "concat"] }
        skip = { choose = [true, false] }
        [[network]]
        block = "conv"
        width = 6
        groups = { choose = [2, 3] }
        padding = "valid"
        kernel = "$stride"
    "#;
    assert!(check_fits(file, &IMAGES) > 0);
}

#[test]
fn heads_and_groups_divide_widths() {
    let file = r#"
        name = "s"
        [[decision]]
        name = "width"
        kind = "choice"
        options = ["x6", "x8", "x9"]
        [[network]]
        block = "conv"
        width = "$width"
        groups = { choose = [1, 2] }
        [[network]]
        block = "norm"
        kind = { choose = ["batch", "group", "layer"] }
        groups = 3
        [[network]]
        block = "tokens"
        [[network]]
        name = "mix"
        repeat = { from = 1, to = 2 }
        one_of = [
            { block = "attention", heads = { choose = [2, 3, 4] } },
            { block = "gru", width = { choose = [6, 8] } },
            { block = "linear", width = "$width" },
        ]
    "#;
    assert!(check_fits(file, &IMAGES) > 100);
}

#[test]
fn conditions_and_depths_that_are_referred_to() {
    let file = r#"
        name = "s"
        [[decision]]
        name = "kind"
        kind = "choice"
        options = ["small", "large"]
        [[decision]]
        name = "depth"
        kind = "integer"
        low = 0
        high = 3
        [[network]]
        block = "max_pool"
        when = { decision = "kind", is = ["small"] }
        kernel = { choose = [2, 4] }
        [[network]]
        name = "stage"
        repeat = "$depth"
        block = "conv"
        width = 4
        kernel = { choose = [1, 4] }
        padding = "valid"
        [[network]]
        choose = "$kind"
        one_of = [{ name = "small", block = "flatten" }, { name = "large", block = "global_pool" }]
    "#;
    let count = check_fits(file, &IMAGES);
    assert!(count > 10, "{count}");
    let family = family(file);
    let space = &family.space;
    // What a closed decision is said to be does not open its block.
    let large = space.parse("kind=large,depth=0").unwrap();
    let said = large.clone().with("max_pool.kernel", Value::Integer(2));
    assert_eq!(outline(&family, &said, &IMAGES), outline(&family, &large, &IMAGES));
    let paths: Vec<&str> = space.slots().iter().map(|slot| slot.path.as_str()).collect();
    let expected = ["kind", "depth", "max_pool.kernel", "stage.0.kernel", "stage.1.kernel", "stage.2.kernel"];
    assert_eq!(paths, expected);
}

#[test]
fn what_is_not_for_text_is_left_out_of_text() {
    let file = r#"
        name = "s"
        [[network]]
        block = "embedding"
        width = 8
        [[network]]
        name = "op"
        repeat = { from = 1, to = 2 }
        one_of = [
            { block = "conv", width = 8, kernel = { choose = [3, 13] }, stride = { choose = [1, 2] } },
            { block = "max_pool" },
            { block = "attention", heads = { choose = [2, 3] } },
            { block = "norm", kind = { choose = ["batch", "rms"] } },
            { block = "lstm", width = 4 },
        ]
    "#;
    // A convolution of 3, two heads, an RMS norm and, in the last place or alone, a width of 4 that has no three heads either.
    assert_eq!(check_fits(file, &TEXT), 4 + 4 * 4);
    assert_eq!(check_fits(file, &IMAGES), 0);
}

/// Every block for text that there is.
const LANGUAGE_MODEL: &str = r#"
    name = "language_model"
    [[decision]]
    name = "width"
    kind = "integer"
    low = 8
    high = 24
    step = 8
    [[network]]
    block = "embedding"
    width = "$width"
    [[network]]
    block = "positions"
    [[network]]
    name = "layer"
    repeat = { from = 1, to = 3 }
    skip = { choose = [true, false] }
    [[network.blocks]]
    block = "norm"
    kind = { choose = ["layer", "rms"] }
    [[network.blocks]]
    name = "mix"
    one_of = [
        { block = "attention", heads = { choose = [1, 2, 4, 5] } },
        { block = "lstm", width = { choose = [8, 12, 20] } },
        { block = "gru", width = "$width" },
        { block = "conv", width = "$width", kernel = { from = 2, to = 4 } },
        { block = "identity" },
    ]
    [[network.blocks]]
    branches = [
        [{ block = "linear", width = "$width", activation = "gelu" }, { block = "dropout", rate = { from = 0.0, to = 0.2 } }],
        [{ block = "linear", width = 16, norm = "layer" }],
    ]
    join = { choose = ["add", "concat"] }
"#;

#[test]
fn no_place_sees_a_later_character() {
    let space = family(LANGUAGE_MODEL).space(&TEXT).unwrap();
    let family = Blocks::new(space.clone()).unwrap();
    let mut rng = Seed::new(2).stream(Purpose::Test, 0);
    for _ in 0..30 {
        let architecture = space.sample(&mut rng);
        let graph = Graph::new();
        let answer = family.build(&architecture, &TEXT, &[TEXT.inputs()[0].input(&graph)]).unwrap();
        let params = Params::init(&graph, &mut Seed::new(1).stream(Purpose::Init, 0));
        let mut program = Program::eval(&graph, &[answer], 1).unwrap();
        let mut logits = |last: f32| {
            let mut characters: Vec<f32> = (0..12).map(|i| (i % 7) as f32).collect();
            characters[11] = last;
            program.run(&Feed::new(1).with("characters", &characters), &params).unwrap();
            program.output(0).to_vec()
        };
        let (a, b) = (logits(3.0), logits(19.0));
        assert!(a[..11 * 20] == b[..11 * 20], "{architecture} sees what comes");
        assert!(a[11 * 20..] != b[11 * 20..], "{architecture} does not see what is");
    }
}

#[test]
fn two_hundred_language_models_train_a_step() {
    let characters: Vec<f32> = (0..24).map(|i| ((i * 13) % 20) as f32).collect();
    check_two_hundred(&family(LANGUAGE_MODEL), &TEXT, &[("characters", &characters), ("next", &characters)]);
}

#[test]
fn two_hundred_of_the_example_train_a_step() {
    let task = Task::Image { channels: 1, height: 12, width: 12, classes: 3 };
    let pixels: Vec<f32> = (0..2 * 144).map(|i| (i % 11) as f32 / 11.0).collect();
    check_two_hundred(&Blocks::example(), &task, &[("image", &pixels), ("label", &[0.0, 2.0])]);
}

/// Checks that 200 random networks and the default compile, have as many parameters as are counted, and train a step on two examples.
#[track_caller]
fn check_two_hundred(family: &Blocks, task: &Task, fields: &[(&'static str, &[f32])]) {
    let space = family.space(task).unwrap();
    let family = Blocks::new(space.clone()).unwrap();
    space.validate(&family.default_architecture()).unwrap();
    let mut rng = Seed::new(1).stream(Purpose::Test, 0);
    let random: Vec<Architecture> = (0..200).map(|_| space.sample(&mut rng)).collect();
    for architecture in random.into_iter().chain([family.default_architecture()]) {
        let graph = Graph::new();
        let model = model(&graph, &family, &architecture, task, 0.0).unwrap();
        let mut params = Params::init(&graph, &mut Seed::new(1).stream(Purpose::Init, 0));
        assert_eq!(params.len() as u64, graph.cost().parameters, "{architecture}");
        let mut program = Program::train(&graph, model.loss, &[], 2).unwrap();
        let feed = fields.iter().fold(Feed::new(2), |feed, (name, values)| feed.with(name, values));
        let loss = program.step(&feed, &mut params, &mut Adam::new(1e-3)).unwrap();
        assert!(loss.is_finite() && params.is_finite(), "{architecture}: {loss}");
    }
}

#[test]
fn parameters_by_hand_and_by_path() {
    let family = family(
        r#"
        name = "s"
        [[decision]]
        name = "unused"
        kind = "choice"
        options = ["a"]
        [[decision]]
        name = "flip"
        kind = "choice"
        options = ["yes"]
        [[network]]
        name = "stage"
        repeat = 2
        skip = true
        [[network.blocks]]
        block = "conv"
        width = 5
        norm = "batch"
    "#,
    );
    assert_eq!(family.unused(), ["unused"]);
    let graph = Graph::new();
    let input = IMAGES.inputs()[0].input(&graph);
    family.build(&family.default_architecture(), &IMAGES, &[input]).unwrap();
    graph.check().unwrap();
    let paths: Vec<String> = graph.parameters().into_iter().map(|parameter| parameter.path).collect();
    let first = ["stage.0.conv.conv2d.weight", "stage.0.conv.batch_norm.weight", "stage.0.conv.batch_norm.bias"];
    assert_eq!(paths[..3], first);
    // The first copy's input has two channels, so it is projected; the second's has five already.
    let expected = (5 * 2 * 9 + 10) + 2 * 5 + (5 * 5 * 9 + 10) + 5 * 3 + 3;
    assert_eq!(graph.cost().parameters, expected);
}

#[test]
fn series_begin_as_steps() {
    let field = Field { name: "series", dims: vec![3, 10], classes: None };
    let form = first_form(std::slice::from_ref(&field), false).unwrap();
    assert_eq!(form, Form::Sequence { steps: 10, width: Some(3) });
    let graph = Graph::new();
    assert_eq!(first_value(&[field.input(&graph)], &[field], form).shape().dims(), [10, 3]);
}

#[test]
fn rows_of_tables_begin_as_vectors() {
    let fields = [
        Field { name: "numbers", dims: vec![3], classes: None },
        Field { name: "categories", dims: vec![2], classes: Some(7) },
    ];
    let form = first_form(&fields, false).unwrap();
    assert_eq!(form, Form::Vector { width: Some(3 + 2 * CATEGORY_WIDTH) });
    let graph = Graph::new();
    let inputs: Vec<Var<'_>> = fields.iter().map(|field| field.input(&graph)).collect();
    assert_eq!(first_value(&inputs, &fields, form).shape().dims(), [11]);
    assert_eq!(first_value(&inputs[..1], &fields[..1], first_form(&fields[..1], false).unwrap()).shape().dims(), [3]);
    graph.check().unwrap();
    assert!(first_form(&[], false).is_err());
}

#[test]
fn decisions_are_declared_where_they_stand() {
    let space = family(LANGUAGE_MODEL).space;
    let slots: Vec<String> = space.slots().iter().map(|slot| format!("{}:{}", slot.path, slot.options.len())).collect();
    let first = "width:3 layer:3 layer.0.skip:2 layer.0.norm.kind:2 layer.0.mix.block:5 layer.0.mix.attention.heads:4 \
                 layer.0.mix.lstm.width:3 layer.0.mix.conv.kernel:3 layer.0.branches.join:2 \
                 layer.0.branches.branch0.dropout.rate:16 layer.1.skip:2";
    assert!(slots.join(" ").starts_with(first), "{}", slots.join(" "));
    let text = space.to_toml();
    assert_eq!(Blocks::read(&text).unwrap(), space, "{text}");
    // Numbers at even distances are a whole number, others are named.
    assert_eq!(space.slots()[6].options, ["x8", "x12", "x20"]);
}

#[track_caller]
fn check_mistake(network: &str, at: &str, message: &str) {
    let error = Blocks::read(&format!("name = \"s\"\n{network}")).unwrap_err();
    let FamilyError::Block { at: found, message: says, .. } = &error else { panic!("{error}") };
    assert_eq!((found.join(".").as_str(), says.as_str()), (at, message));
}

#[test]
fn mistakes_are_named_where_they_stand() {
    let one = |block: &str| {
        format!("network = [{{ {block} }}]\ndecision = [{{ name = \"n\", kind = \"integer\", low = 1, high = 9000 }}]")
    };
    check_mistake(&one("block = \"conf\""), "network.0.block", "there is no block \"conf\"; did you mean \"conv\"?");
    check_mistake(&one("block = \"conv\""), "network.0", "a conv needs \"width\"");
    check_mistake(
        &one("block = \"conv\", widht = 3"),
        "network.0.widht",
        "unknown key \"widht\"; did you mean \"width\"?",
    );
    check_mistake(&one("blok = \"conv\""), "network.0.blok", "unknown key \"blok\"; did you mean \"block\"?");
    check_mistake(
        &one("block = \"conv\", width = 5000"),
        "network.0.width",
        "\"width\" cannot be 5000; it is a whole number from 1 to 4096, or a decision: \"$name\", { choose = […] }, \
         { from = …, to = … }",
    );
    check_mistake(&one("block = \"conv\", width = \"$m\""), "network.0.width", "there is no decision \"m\"");
    check_mistake(
        "network = [{ block = \"flatten\", when = { decision = \"n\", is = [7] } }]\n\
         decision = [{ name = \"n\", kind = \"integer\", low = 1, high = 2 }]",
        "network.0.when",
        "\"n\" cannot be 7; options: 1, 2",
    );
    check_mistake(
        &one("block = \"conv\", width = \"$n\""),
        "network.0.width",
        "\"$n\" may be 4097; it must be a whole number from 1 to 4096",
    );
    check_mistake(
        &one("block = \"flatten\", repeat = \"$n\""),
        "network.0.repeat",
        "\"$n\" does not say how often: that is a whole number from 0 to 256",
    );
    check_mistake(
        &one("block = \"conv\", width = { choose = [8, \"x\"] }"),
        "network.0.width.choose.1",
        "\"width\" cannot be \"x\"; it is a whole number from 1 to 4096, or a decision: \"$name\", { choose = […] }, \
         { from = …, to = … }",
    );
    check_mistake(
        &one("name = \"3\", block = \"flatten\""),
        "network.0.name",
        "\"3\" is no name: names hold letters, digits, \"_\" and \"-\", and are no number",
    );
    check_mistake(
        &one("branches = [[{ block = \"flatten\" }]]"),
        "network.0.branches",
        "there are two branches or more",
    );
    check_mistake(
        &one("choose = \"$n\", one_of = [{ block = \"flatten\" }]"),
        "network.0.choose",
        "\"$n\" may be 1, which is none of its blocks flatten",
    );
    check_mistake(
        &one("block = \"flatten\", repeat = 300"),
        "network.0.repeat",
        "\"repeat\" cannot be 300; it is a whole number from 0 to 256, or a decision: \"$name\", { choose = […] }, { from = …, to = … }",
    );
    let many = "blocks = [{ blocks = [{ block = \"flatten\" }], repeat = 100 }], repeat = 100";
    check_mistake(
        &one(many),
        "network.0.blocks.0.blocks.0",
        "all copies together are more than 4000 blocks, the limit",
    );
    check_mistake(
        "network = [{ name = \"a\", block = \"flatten\" }, { name = \"a\", block = \"flatten\" }]",
        "network.1.name",
        "the name \"a\" stands twice",
    );
}

#[test]
fn a_network_that_never_fits_is_named_where_it_ends() {
    let pools = "name = \"s\"\nnetwork = [{ block = \"max_pool\", repeat = 9 }]\n\
                 decision = [{ name = \"n\", kind = \"integer\", low = 1, high = 2 }]";
    let Err(FamilyError::Block { at, message, .. }) = family(pools).space(&IMAGES) else { panic!("it fits") };
    assert_eq!(at, ["network", "0"]);
    assert_eq!(
        message,
        "no network fits images 2×9×7 in 3 classes: \"max_pool.2\" does not fit: a kernel of 2 is larger than an image of \
         2×1 pixels"
    );
    let behind = "name = \"s\"\nnetwork = [{ block = \"head\" }, { block = \"linear\", width = { choose = [1, 2] } }]";
    let error = family(behind).space(&IMAGES).unwrap_err().to_string();
    assert!(error.ends_with("\"linear\" does not fit: nothing stands behind the head"), "{error}");
}

#[test]
fn mistakes_have_a_line_and_a_column() {
    let check = |network: &str, says: &str| {
        let error = Blocks::read(&format!("name = \"s\"\n{network}")).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    };
    check("[[network]]\nblock = \"conf\"\n", "line 3, column 1: there is no block \"conf\"");
    check("[[network]]\nblock = \"conv\"\nwidth = 0", "line 4, column 1: \"width\" cannot be 0");
    check("[[network]]\nblock = \"conv\"\nwidth = { choose = [8,\n  -3] }", "line 5, column 3: \"width\" cannot be -3");
    check(
        "[[network]]\nname = \"many\"\nrepeat = { from = 1, to = 1000000000 }\n[[network.blocks]]\nblock = \"conv\"\nwidth = { choose = [1, 2] }",
        "line 4, column 1: the space is too large to hold: the number of decisions of \"many\" is 1000000001",
    );
    check(
        "[[network]]\nblock = \"flatten\"\nrepeat = { from = 1, to = 1000000000 }",
        "line 4, column 1: the space is too large to hold: the number of options of \"flatten\" is 1000000000",
    );
    check(
        "[[network]]\nname = \"b\"\nrepeat = 2\n[[network.blocks]]\nblock = \"dropout\"\nrate = { from = 0.1, to = 0.1 }",
        "line 7, column 1: the decision \"b.0.dropout.rate\" has no option",
    );
    check("[[network]]\nblock = \"flatten\"\n", "line 1, column 1: the space \"s\" has no decision");
}

#[test]
fn a_million_options_are_too_many() {
    let options: Vec<String> = (0..40_000).map(|i| (i % 4000 + 1).to_string()).collect();
    let says = |key: &str| {
        let file = format!("name = \"s\"\n[[network]]\nblock = \"conv\"\nwidth = {{ {key} }}");
        Blocks::read(&file).unwrap_err().to_string()
    };
    let bound = says("from = 1, to = 1000000");
    assert!(bound.starts_with("line 4, column 21: \"width\" cannot be 1000000"), "{bound}");
    let listed = says(&format!("choose = [{}]", options.join(",")));
    let many = "line 4, column 1: the space is too large to hold: the number of options of \"conv.width\" is 40000, the limit is 10000";
    assert_eq!(listed, many);
}

#[test]
fn what_cannot_be_looked_ahead_is_refused() {
    let continuous = r#"
        name = "s"
        [[decision]]
        name = "rate"
        kind = "float"
        low = 0.0
        high = 1.0
        [[network]]
        block = "flatten"
        when = { decision = "rate", is = [0.5] }
    "#;
    let error = family(continuous).space(&IMAGES).unwrap_err().to_string();
    assert!(error.starts_with("the decision \"rate\" decides about shapes"), "{error}");
    // Seven widths of ten options, of which the last is looked at first.
    let mut tangled = "name = \"s\"\n".to_owned();
    for i in 0..7 {
        tangled += &format!("[[decision]]\nname = \"w{i}\"\nkind = \"integer\"\nlow = 1\nhigh = 10\n");
    }
    for i in (0..7).rev() {
        tangled += &format!("[[network]]\nblock = \"conv\"\nwidth = \"$w{i}\"\ngroups = {}\n", 1 + i % 2);
    }
    let error = family(&tangled).space(&IMAGES).unwrap_err().to_string();
    assert!(error.starts_with("which blocks fit depends on too many combinations"), "{error}");
}
