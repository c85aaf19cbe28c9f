//! Where in a TOML text the thing stands that an error is about.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::SpaceError;

/// `line 3, column 5: ` for what stands at `at` in a TOML text: keys and the numbers of list items, from the outside in. Where the
/// text does not go that deep it is the innermost place that is there; empty when there is none.
pub fn place(text: &str, at: &[String]) -> String {
    let Ok(table) = DeTable::parse(text) else { return String::new() };
    let mut found = None;
    let mut inside: Option<&DeValue<'_>> = None;
    for step in at {
        let next = match inside {
            None => entry(table.get_ref(), step),
            Some(DeValue::Table(table)) => entry(table, step),
            Some(DeValue::Array(items)) => {
                step.parse::<usize>().ok().and_then(|i| items.get(i)).map(|item| (item.span().start, item))
            }
            Some(_) => None,
        };
        let Some((start, value)) = next else { break };
        found = Some(start);
        inside = Some(value.get_ref());
    }
    found.map(|offset| super::text::place(text, offset)).unwrap_or_default()
}

/// The value of a key and where it starts, or the key itself for tables, whose values start anywhere.
fn entry<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<(usize, &'a Spanned<DeValue<'i>>)> {
    let (name, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
    let start = if matches!(value.get_ref(), DeValue::Array(_)) { value.span().start } else { name.span().start };
    Some((start, value))
}

/// The same error with line and column of the decision of `text` that it is about, if it is about one.
pub fn locate(text: &str, error: SpaceError) -> SpaceError {
    let about = error.path().is_some()
        || matches!(error, SpaceError::Name { .. } | SpaceError::Empty { .. } | SpaceError::Impossible { .. });
    if !about || matches!(error, SpaceError::Toml(_) | SpaceError::At { .. }) {
        return error;
    }
    let place = DeTable::parse(text).ok().and_then(|table| offset(table.get_ref(), &error));
    match place {
        Some(offset) => SpaceError::At { place: super::text::place(text, offset), error: Box::new(error) },
        None => error,
    }
}

fn offset(table: &DeTable<'_>, error: &SpaceError) -> Option<usize> {
    if let SpaceError::Name { name, .. } = error {
        return string(&DeValue::Table(table.clone()), name);
    }
    if let SpaceError::Empty { .. } | SpaceError::Impossible { .. } = error {
        return entry(table, "name").map(|(start, _)| start);
    }
    let steps: Vec<&str> = error.path()?.split('.').collect();
    // The second of two is the one too many.
    let last = matches!(error, SpaceError::Duplicate { .. });
    let decision = decision(table, &steps, last)?;
    let key = match error {
        SpaceError::Reference { .. } => "when",
        SpaceError::DuplicateOption { .. } => "options",
        SpaceError::Key { key, .. } => key,
        _ => "name",
    };
    entry(decision, key).or_else(|| entry(decision, "name")).map(|(start, _)| start)
}

/// The declaration of the decision at that path, whose numbers of copies are passed over.
fn decision<'a, 'i>(table: &'a DeTable<'i>, steps: &[&str], last: bool) -> Option<&'a DeTable<'i>> {
    let (_, declared) = entry(table, "decision")?;
    let declared = declared.get_ref().as_array()?;
    let step = steps.first()?;
    let mut named = declared
        .iter()
        .filter_map(|item| item.get_ref().as_table())
        .filter(|table| entry(table, "name").is_some_and(|(_, name)| name.get_ref().as_str() == Some(step)));
    let found = if last && steps.len() == 1 { named.next_back() } else { named.next() };
    match found {
        Some(found) if steps.len() == 1 => Some(found),
        Some(found) => decision(found, &steps[1..], last),
        None if step.parse::<u64>().is_ok() => decision(table, &steps[1..], last),
        None => None,
    }
}

/// Where the text `wanted` stands as a value.
fn string(value: &DeValue<'_>, wanted: &str) -> Option<usize> {
    let below = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::String(text) => (text.as_ref() == wanted).then(|| value.span().start),
        other => string(other, wanted),
    };
    match value {
        DeValue::Array(items) => items.iter().find_map(below),
        DeValue::Table(table) => table.values().filter_map(below).min(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::SearchSpace;

    #[track_caller]
    fn check(text: &str, message: &str) {
        let error = SearchSpace::from_toml(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn errors_found_behind_the_syntax_have_a_place() {
        check("name = \"s\"\n", "line 1, column 1: the space \"s\" has no decision");
        let two = "name = \"s\"\ndecision = [\n{ name = \"a\", kind = \"choice\", options = [\"x\", \"y\"] },\n  ";
        let with = |more: &str| format!("{two}{more}\n]");
        check(
            &with("{ name = \"a\", kind = \"choice\", options = [\"x\"] }"),
            "line 4, column 5: the decision \"a\" stands twice",
        );
        check(
            &with("{ name = \"b\", kind = \"choice\", options = [\"x\", \"x\"] }"),
            "line 4, column 44: the option \"x\"",
        );
        check(
            &with("{ name = \"b\", kind = \"choice\", options = [\"x\"], when = { decision = \"c\", is = [\"x\"] } }"),
            "line 4, column 51: \"b\" refers to \"c\", which is no earlier decision",
        );
        check(
            &with("{ name = \"b\", kind = \"choice\", options = [\"x y\"] }"),
            "line 4, column 45: \"x y\" is no name",
        );
        check(
            &with("{ name = \"b\", kind = \"integer\", low = 0, high = 1000000 }"),
            "line 4, column 5: the space is too large to hold: the number of options of \"b\" is 1000001",
        );
        let inner = "{ name = \"c\", kind = \"integer\", low = 2, high = 1 }";
        check(
            &with(&format!("{{ name = \"b\", kind = \"repeat\", low = 1, high = 2, decision = [\n {inner}] }}")),
            "line 5, column 4: the decision \"b.c\" has no option",
        );
        let inner = inner.replace("low = 2", "low = 1").replace("high = 1", "high = 2");
        check(
            &with(&format!(
                "{{ name = \"b\", kind = \"repeat\", low = 1, high = 1000000000, decision = [\n {inner}] }}"
            )),
            "line 4, column 5: the space is too large to hold: the number of decisions of \"b\" is 1000000001",
        );
    }

    #[test]
    fn conditions_that_look_forward_or_in_circles() {
        let decision = |name: &str, on: &str| {
            format!(
                "[[decision]]\nname = \"{name}\"\nkind = \"choice\"\noptions = [\"x\"]\nwhen = {{ decision = \"{on}\", is = [\"x\"] }}\n"
            )
        };
        let free = "[[decision]]\nname = \"free\"\nkind = \"choice\"\noptions = [\"x\"]\n";
        let name = "name = \"s\"\n";
        check(
            &format!("{name}{}{free}", decision("a", "free")),
            "line 6, column 1: \"a\" refers to \"free\", which is declared later; conditions look back: move \"free\" before it",
        );
        check(
            &format!("{name}{}{}", decision("a", "b"), decision("b", "a")),
            "line 6, column 1: \"a\" refers to \"b\", which itself waits for \"a\": a cycle",
        );
        check(&format!("{name}{free}{}", decision("a", "a")), "line 10, column 1: \"a\" refers to itself: a cycle");
    }

    #[test]
    fn a_text_without_end_is_not_read() {
        let text = format!("name = \"s\"\n{}", "# much ado\n".repeat(100_000));
        check(&text, "the space is too large to hold: the text, in bytes, is");
    }
}
