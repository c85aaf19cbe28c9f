//! The written form of a network: what stands under `[[network]]`, read, checked and written again.

use nas_core::Value;
use nas_core::space::{Kind as Choice, Scale, When, hint};
use serde_json::{Map, Value as Json, json};

use super::kind::{KINDS, Key, Kind, Setting, Wants};

/// A mistake in a network: where it stands (keys and numbers of list items, from the outside in), and what it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mistake {
    pub(super) at: Vec<String>,
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, Mistake>;

/// A block, or several under one name.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) name: String,
    /// Where it stands in the file.
    pub(super) at: Vec<String>,
    pub(super) repeat: Option<Attribute>,
    pub(super) skip: Option<Attribute>,
    pub(super) when: Option<When>,
    pub(super) body: Body,
}

/// What a block is made of.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// One layer, with a value for each key that the file gives.
    Layer(&'static Kind, Vec<(&'static Key, Attribute)>),
    /// One after the other.
    Chain(Vec<Block>),
    /// Side by side, then joined.
    Branches(Attribute, Vec<Vec<Block>>),
    /// One of several; the decision that tells which is made when the network is read.
    OneOf(Option<Attribute>, Vec<Block>),
}

/// A literal, a decision by name, or a decision that is made right here.
#[derive(Debug, Clone)]
pub(super) enum Attribute {
    Literal(Setting),
    Reference(String),
    Inline(Choice),
}

/// How branches are joined.
pub(super) const JOINS: Wants = Wants::Name(&["add", "concat"]);
/// Names that blocks in a block cannot have, for its own decisions have them.
const OWN: [&str; 4] = ["block", "join", "skip", "repeat"];
/// Blocks in blocks: more would be more than spaces nest groups.
const DEEPEST: usize = 8;

/// Reads a network.
pub(super) fn read(network: &Json) -> Result<Vec<Block>> {
    chain(network, &["network".to_owned()], 0)
}

fn fail<T>(at: &[String], message: impl Into<String>) -> Result<T> {
    Err(Mistake { at: at.to_vec(), message: message.into() })
}

fn below(at: &[String], key: &str) -> Vec<String> {
    at.iter().cloned().chain([key.to_owned()]).collect()
}

fn chain(json: &Json, at: &[String], depth: usize) -> Result<Vec<Block>> {
    let Json::Array(items) = json else { return fail(at, "blocks are a list of tables") };
    if items.is_empty() {
        return fail(at, "there is no block");
    }
    if depth > DEEPEST {
        return fail(at, format!("blocks stand in blocks up to {DEEPEST} deep"));
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let at = below(at, &i.to_string());
        let mut block = block(item, &at, depth)?;
        if block.name.is_empty() {
            block.name = free_name(&blocks, &block.body);
        } else if blocks.iter().any(|other| other.name == block.name) {
            return fail(&below(&at, "name"), format!("the name \"{}\" stands twice", block.name));
        }
        if depth > 0 && OWN.contains(&block.name.as_str()) {
            return fail(&below(&at, "name"), format!("no block can be called \"{}\"", block.name));
        }
        blocks.push(block);
    }
    Ok(blocks)
}

/// The kind's name, with a number from the second one on.
fn free_name(before: &[Block], body: &Body) -> String {
    let kind = match body {
        Body::Layer(kind, _) => kind.name,
        Body::Chain(_) => "blocks",
        Body::Branches(..) => "branches",
        Body::OneOf(..) => "one_of",
    };
    let taken = |name: &str| before.iter().any(|block| block.name == name);
    let numbered = (2..).map(|n| format!("{kind}{n}"));
    let mut names = std::iter::once(kind.to_owned()).chain(numbered);
    names.find(|name| !taken(name)).expect("there are more numbers than blocks")
}

fn block(json: &Json, at: &[String], depth: usize) -> Result<Block> {
    let Json::Object(table) = json else { return fail(at, "a block is a table, such as { block = \"conv\" }") };
    let (keys, takes) = (["block", "blocks", "branches", "one_of"], "block, blocks, branches or one_of");
    let mut given = keys.iter().filter(|key| table.contains_key(**key));
    let (Some(&form), None) = (given.next(), given.next()) else {
        if let Some((key, near)) = table.keys().find_map(|key| Some((key, near(key, keys)?))) {
            return fail(&below(at, key), format!("unknown key \"{key}\"{near}"));
        }
        return fail(at, format!("a block has one of the keys {takes}"));
    };
    let mut known = vec!["name", "repeat", "skip", "when", form];
    let inside = below(at, form);
    let body = match form {
        "block" => {
            let kind = kind(&table[form], &inside)?;
            known.extend(kind.keys.iter().map(|key| key.name));
            Body::Layer(kind, layer(kind, table, at, &known)?)
        }
        "blocks" => Body::Chain(chain(&table[form], &inside, depth + 1)?),
        "branches" => {
            known.push("join");
            branches(table, at, &inside, depth)?
        }
        _ => {
            known.push("choose");
            one_of(table, at, &inside, depth)?
        }
    };
    check_keys(table, at, &known)?;
    let name = match table.get("name") {
        None => String::new(),
        Some(Json::String(name)) if is_name(name) => name.clone(),
        Some(other) => {
            let why = "names hold letters, digits, \"_\" and \"-\", and are no number";
            return fail(&below(at, "name"), format!("{other} is no name: {why}"));
        }
    };
    let attribute =
        |key: &str, wants| table.get(key).map(|json| attribute(json, key, wants, &below(at, key))).transpose();
    Ok(Block {
        name,
        at: at.to_vec(),
        repeat: attribute("repeat", Wants::Times)?,
        skip: attribute("skip", Wants::Flag)?,
        when: table.get("when").map(|json| when(json, &below(at, "when"))).transpose()?,
        body,
    })
}

/// Letters, digits and the like, but no number, which copies of a repeat are called by.
fn is_name(name: &str) -> bool {
    let legal = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    legal && !name.is_empty() && name.parse::<f64>().is_err()
}

fn near<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    Some(hint(given, known)).filter(|hint| !hint.is_empty())
}

fn check_keys(table: &Map<String, Json>, at: &[String], known: &[&str]) -> Result<()> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let near = near(key, known.iter().copied()).unwrap_or_else(|| format!("; known: {}", known.join(", ")));
    fail(&below(at, key), format!("unknown key \"{key}\"{near}"))
}

fn kind(json: &Json, at: &[String]) -> Result<&'static Kind> {
    let names = || KINDS.iter().map(|kind| kind.name);
    let Json::String(name) = json else {
        return fail(at, format!("a block's kind is a name: {}", names().collect::<Vec<_>>().join(", ")));
    };
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let near =
            near(name, names()).unwrap_or_else(|| format!("; kinds: {}", names().collect::<Vec<_>>().join(", ")));
        Mistake { at: at.to_vec(), message: format!("there is no block \"{name}\"{near}") }
    })
}

fn layer(
    kind: &'static Kind,
    table: &Map<String, Json>,
    at: &[String],
    known: &[&str],
) -> Result<Vec<(&'static Key, Attribute)>> {
    check_keys(table, at, known)?;
    let mut attributes = Vec::new();
    for key in kind.keys {
        match table.get(key.name) {
            Some(json) => attributes.push((key, attribute(json, key.name, key.wants, &below(at, key.name))?)),
            None if key.needed => return fail(at, format!("a {} needs \"{}\"", kind.name, key.name)),
            None => {}
        }
    }
    Ok(attributes)
}

fn branches(table: &Map<String, Json>, at: &[String], inside: &[String], depth: usize) -> Result<Body> {
    let Json::Array(items) = &table["branches"] else { return fail(inside, "branches are a list of lists of blocks") };
    if items.len() < 2 {
        return fail(inside, "there are two branches or more");
    }
    let each = items.iter().enumerate().map(|(i, item)| chain(item, &below(inside, &i.to_string()), depth + 1));
    let branches = each.collect::<Result<Vec<_>>>()?;
    let join = match table.get("join") {
        Some(json) => attribute(json, "join", JOINS, &below(at, "join"))?,
        None => Attribute::Literal(Setting::Name("add".to_owned())),
    };
    Ok(Body::Branches(join, branches))
}

fn one_of(table: &Map<String, Json>, at: &[String], inside: &[String], depth: usize) -> Result<Body> {
    let options = chain(&table["one_of"], inside, depth + 1)?;
    let chosen = match table.get("choose") {
        None => None,
        Some(Json::String(text)) if text.starts_with('$') => Some(Attribute::Reference(text[1..].to_owned())),
        Some(other) => return fail(&below(at, "choose"), format!("{other} is no decision; write \"$name\"")),
    };
    Ok(Body::OneOf(chosen, options))
}

fn when(json: &Json, at: &[String]) -> Result<When> {
    serde_json::from_value(json.clone())
        .map_err(|_| Mistake {
            at: at.to_vec(), message: "a condition is { decision = \"…\", is = […] }".to_owned()
        })
}

/// The value of the key `name`.
fn attribute(json: &Json, name: &str, wants: Wants, at: &[String]) -> Result<Attribute> {
    match json {
        Json::String(text) if text.starts_with('$') => Ok(Attribute::Reference(text[1..].to_owned())),
        Json::Object(table) if table.contains_key("choose") => {
            check_keys(table, at, &["choose"])?;
            choose(&table["choose"], name, wants, &below(at, "choose")).map(Attribute::Inline)
        }
        Json::Object(table) => range(table, name, wants, at).map(Attribute::Inline),
        other => literal(other, name, wants, at).map(Attribute::Literal),
    }
}

fn literal(json: &Json, name: &str, wants: Wants, at: &[String]) -> Result<Setting> {
    let setting = match json {
        Json::Bool(on) => Some(Setting::Name(if *on { "on" } else { "off" }.to_owned())),
        Json::String(text) => Some(Setting::Name(text.clone())),
        Json::Number(n) => n.as_i64().map(Setting::Number).or_else(|| n.as_f64().map(Setting::Real)),
        _ => None,
    };
    match setting {
        Some(setting) if wants.admits(&setting) => Ok(setting),
        _ => {
            let or = "or a decision: \"$name\", { choose = […] }, { from = …, to = … }";
            let near = match (wants, json) {
                (Wants::Name(names), Json::String(text)) => hint(text, names.iter().copied()),
                _ => String::new(),
            };
            fail(at, format!("\"{name}\" cannot be {json}; it is {}, {or}{near}", wants.describe()))
        }
    }
}

/// A decision among listed values.
fn choose(json: &Json, name: &str, wants: Wants, at: &[String]) -> Result<Choice> {
    let Json::Array(items) = json else { return fail(at, "choose is followed by a list of options") };
    if items.is_empty() {
        return fail(at, "there is no option");
    }
    let options = items.iter().enumerate().map(|(i, item)| literal(item, name, wants, &below(at, &i.to_string())));
    let options = options.collect::<Result<Vec<_>>>()?;
    let numbers: Option<Vec<i64>> = options.iter().map(Setting::number).collect();
    if let Some(numbers) = numbers.filter(|_| wants != Wants::Rate) {
        let step = numbers.get(1).map_or(1, |second| second - numbers[0]);
        if step > 0 && numbers.windows(2).all(|pair| pair[1] - pair[0] == step) {
            return Ok(Choice::Integer { low: numbers[0], high: numbers[numbers.len() - 1], step });
        }
    }
    let names = options.into_iter().map(|option| match option {
        Setting::Name(name) => name,
        // An option's name is no number, so numbers that keep no step are written with an x.
        Setting::Number(n) => format!("x{n}"),
        Setting::Real(x) => format!("x{x:?}"),
    });
    Ok(Choice::Choice { options: names.collect() })
}

/// A decision in a range of numbers.
fn range(table: &Map<String, Json>, name: &str, wants: Wants, at: &[String]) -> Result<Choice> {
    check_keys(table, at, &["from", "to", "step", "steps", "scale"])?;
    let (Some(from), Some(to)) = (table.get("from"), table.get("to")) else {
        return fail(at, "a decision is { choose = […] } or { from = …, to = … }");
    };
    for (key, json) in [("from", from), ("to", to)] {
        // How often a block repeats is judged by the space, which counts what the copies make together.
        if wants != Wants::Times || json.as_u64().is_none() {
            literal(json, name, wants, &below(at, key))?;
        }
    }
    if let (Some(low), Some(high), false) = (from.as_i64(), to.as_i64(), wants == Wants::Rate) {
        check_keys(table, at, &["from", "to", "step"])?;
        let step = match table.get("step") {
            None => 1,
            Some(json) => match json.as_i64().filter(|&step| step >= 1) {
                Some(step) => step,
                None => return fail(&below(at, "step"), format!("the step is {json}; it is 1 or more")),
            },
        };
        return Ok(Choice::Integer { low, high, step });
    }
    check_keys(table, at, &["from", "to", "steps", "scale"])?;
    let (Some(low), Some(high)) = (from.as_f64(), to.as_f64()) else { return fail(at, "from and to are numbers") };
    let scale = match table.get("scale").map(|scale| scale.as_str()) {
        None | Some(Some("linear")) => Scale::Linear,
        Some(Some("log")) => Scale::Log,
        Some(_) => return fail(&below(at, "scale"), "a scale is linear or log"),
    };
    let steps = match table.get("steps") {
        None => None,
        Some(json) => match json.as_u64().and_then(|steps| u32::try_from(steps).ok()) {
            Some(steps) => Some(steps),
            None => return fail(&below(at, "steps"), format!("there are {json} steps; 2 or more are a range")),
        },
    };
    Ok(Choice::Float { low, high, scale, steps })
}

/// The network as it is written: what [`read`] reads again.
pub(super) fn write(blocks: &[Block]) -> Json {
    blocks.iter().map(write_block).collect()
}

fn write_block(block: &Block) -> Json {
    let mut table = Map::new();
    table.insert("name".to_owned(), json!(block.name));
    let mut put = |key: &str, attribute: Option<&Attribute>| {
        if let Some(attribute) = attribute {
            table.insert(key.to_owned(), write_attribute(attribute));
        }
    };
    put("repeat", block.repeat.as_ref());
    put("skip", block.skip.as_ref());
    match &block.body {
        Body::Layer(_, attributes) => attributes.iter().for_each(|(key, attribute)| put(key.name, Some(attribute))),
        Body::Branches(join, _) => put("join", Some(join)),
        Body::OneOf(chosen, _) => put("choose", chosen.as_ref()),
        Body::Chain(_) => {}
    }
    if let Some(when) = &block.when {
        let is: Vec<Json> = when.is.iter().map(write_value).collect();
        table.insert("when".to_owned(), json!({"decision": when.decision, "is": is}));
    }
    let (key, body) = match &block.body {
        Body::Layer(kind, _) => ("block", json!(kind.name)),
        Body::Chain(blocks) => ("blocks", write(blocks)),
        Body::Branches(_, branches) => ("branches", branches.iter().map(|branch| write(branch)).collect()),
        Body::OneOf(_, blocks) => ("one_of", write(blocks)),
    };
    table.insert(key.to_owned(), body);
    Json::Object(table)
}

fn write_value(value: &Value) -> Json {
    serde_json::to_value(value).expect("a value is a number, a name or a list of names")
}

fn write_attribute(attribute: &Attribute) -> Json {
    match attribute {
        Attribute::Reference(name) => json!(format!("${name}")),
        Attribute::Literal(Setting::Number(n)) => json!(n),
        Attribute::Literal(Setting::Real(x)) => json!(x),
        Attribute::Literal(Setting::Name(name)) if name == "on" || name == "off" => json!(name == "on"),
        Attribute::Literal(Setting::Name(name)) => json!(name),
        Attribute::Inline(_) => unreachable!("decisions are declared before a network is written"),
    }
}

/// Where the decision at that path is made: the path's names are those of blocks and, last, a key.
pub(super) fn find(blocks: &[Block], path: &str) -> Option<Vec<String>> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let copy = |name: &str| name.parse::<u64>().is_ok();
    let Some(block) = blocks.iter().find(|block| block.name == name) else {
        // Copies and branches are scopes without a block of their own.
        return rest.filter(|_| copy(name) || name.starts_with("branch")).and_then(|rest| find(blocks, rest));
    };
    let mut rest = rest;
    while let Some((first, more)) = rest.and_then(|rest| rest.split_once('.')).filter(|(first, _)| copy(first)) {
        debug_assert!(copy(first));
        rest = Some(more);
    }
    let Some(rest) = rest.filter(|rest| !copy(rest)) else {
        return Some(if block.repeat.is_some() { below(&block.at, "repeat") } else { block.at.clone() });
    };
    match &block.body {
        Body::Chain(blocks) | Body::OneOf(_, blocks) => find(blocks, rest),
        Body::Branches(_, branches) => {
            let all: Vec<Block> = branches.iter().flatten().cloned().collect();
            find(&all, rest)
        }
        Body::Layer(..) => None,
    }
    .or_else(|| Some(below(&block.at, rest)))
}
