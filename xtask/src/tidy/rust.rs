//! Rules for Rust files: what comes first, what is left undone, where `unsafe` may stand, what the engine may name.

use super::lexer::{self, Line};
use super::{Problem, words};

/// Lines a file may have: one that grows past what a sitting can read holds two things.
const LONGEST: usize = 600;

/// The one place of `unsafe`.
const KERNEL: &str = "nas-nn/src/kernel/";

/// The parts of nas-nn that can be used without nas-core.
const ENGINE: [&str; 6] = ["graph", "op", "kernel", "program", "optim", "layer"];

/// The parts of nas-nn that know what an architecture, its limits, a trial or the goal of a search is.
const SEARCH: [&str; 6] = ["costs", "family", "network", "evaluator", "proxy", "task"];

/// What any part of nas-nn outside the engine may take from nas-core: randomness, which has one root, and the record of
/// figures.
const COMMON: [&str; 4] = ["Seed", "Purpose", "Rng", "Metrics"];

/// Every rule, for one file.
pub(super) fn check(file: &str, source: &str) -> Vec<Problem> {
    // What a program wrote (it says so at the top) is judged by the program.
    if source.lines().take(5).any(|line| line.contains(concat!("@", "generated"))) {
        return Vec::new();
    }
    let lines = lexer::split(source);
    let mut problems = Vec::new();
    if !source.starts_with("//!") {
        problems.push(Problem::new(file, 1, "the first line does not say what is in the file: start with //!"));
    }
    if lines.len() > LONGEST && !file.split('/').any(|folder| folder == "tests") {
        let message = format!("{} lines; over {LONGEST} a file holds two things: split it", lines.len());
        problems.push(Problem::new(file, LONGEST + 1, message));
    }
    problems.extend(unfinished(file, &lines));
    problems.extend(unsafe_code(file, &lines));
    problems.extend(nas_core(file, &lines));
    problems.extend(gradient(file, &lines));
    problems
}

/// Work that is missing.
fn unfinished(file: &str, lines: &[Line]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        for name in ["todo", "unimplemented", "dbg"] {
            if words(&line.code, name).any(|at| line.code[at + name.len()..].starts_with('!')) {
                problems.push(Problem::new(file, i + 1, format!("{name}! is left")));
            }
        }
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            if words(&line.comment, mark).next().is_some() {
                problems.push(Problem::new(file, i + 1, format!("{mark} is left: do it, or file it")));
            }
        }
    }
    problems
}

/// `unsafe` stands in the kernels only, each with its reason.
fn unsafe_code(file: &str, lines: &[Line]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(at) = words(&line.code, "unsafe").next() else { continue };
        if !file.starts_with(KERNEL) {
            problems.push(Problem::new(file, i + 1, format!("unsafe outside {KERNEL}")));
            continue;
        }
        let after = line.code[at + "unsafe".len()..].trim_start();
        let (reason, wanted) = if after.starts_with("fn") || after.starts_with("extern") || after.starts_with("trait") {
            ("# Safety", "a documented `# Safety` section: what a caller must see to")
        } else {
            ("SAFETY:", "a `// SAFETY:` comment above it: why it is sound")
        };
        // A type `unsafe fn(…)` promises nothing by itself.
        if after.starts_with("fn(") || has_reason(lines, i, reason) {
            continue;
        }
        if after.starts_with("fn") && contract_is_a_traits(lines, i) {
            continue;
        }
        problems.push(Problem::new(file, i + 1, format!("unsafe without {wanted}")));
    }
    problems
}

/// Whether the method in line `i` stands in a trait that documents `# Safety` for all its methods, or implements a trait,
/// whose contract is then its own.
fn contract_is_a_traits(lines: &[Line], i: usize) -> bool {
    let indent = |line: &Line| line.code.len() - line.code.trim_start().len();
    let own = indent(&lines[i]);
    let outer = (0..i).rev().find(|&j| !lines[j].code.trim().is_empty() && indent(&lines[j]) < own);
    outer.is_some_and(|j| {
        let code = lines[j].code.trim();
        let implements = code.starts_with("impl") && code.contains(" for ");
        let declares = code.contains("trait ") && has_reason(lines, j, "# Safety");
        implements || declares
    })
}

/// Whether `reason` is in a comment of line `i`, above it, or above the statement that goes on in it.
fn has_reason(lines: &[Line], i: usize, reason: &str) -> bool {
    if lines[i].comment.contains(reason) {
        return true;
    }
    for line in lines[..i].iter().rev() {
        if line.comment.contains(reason) {
            return true;
        }
        let code = line.code.trim();
        let comment_or_attribute = code.is_empty() && !line.comment.is_empty() || code.starts_with("#[");
        let goes_on = !code.is_empty() && !code.ends_with([';', '{', '}']);
        if !comment_or_attribute && !goes_on {
            return false;
        }
    }
    false
}

/// The engine of nas-nn never mentions nas-core but for the generator's type; the rest takes randomness and
/// figures only, except the parts made for searches.
fn nas_core(file: &str, lines: &[Line]) -> Vec<Problem> {
    let Some(path) = file.strip_prefix("nas-nn/src/") else { return Vec::new() };
    let part = path.split('/').next().expect("a split has a first part").trim_end_matches(".rs");
    if SEARCH.contains(&part) {
        return Vec::new();
    }
    let tests = lines.iter().position(|line| line.code.trim() == "#[cfg(test)]").unwrap_or(lines.len());
    let mut problems = Vec::new();
    let code: Vec<&str> = lines.iter().map(|line| line.code.as_str()).collect();
    for (i, line) in code.iter().enumerate() {
        for at in words(line, "nas_core") {
            let allowed: &[&str] = if ENGINE.contains(&part) && i < tests { &["Rng"] } else { &COMMON };
            // A list of names may go on over lines.
            let rest = [&[&line[at + "nas_core".len()..]], &code[i + 1..]].concat().join(" ");
            let names = taken(&rest);
            if names.is_empty() || names.iter().any(|name| !allowed.contains(&name.as_str())) {
                let message = format!("only {} of nas_core may be named here", allowed.join(", "));
                problems.push(Problem::new(file, i + 1, message));
            }
        }
    }
    problems
}

/// The names taken from a crate by what follows its name: `::A`, `::{A, B as C}`. None when it is something else.
fn taken(rest: &str) -> Vec<String> {
    let Some(path) = rest.strip_prefix("::") else { return Vec::new() };
    let first = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    match path.strip_prefix('{') {
        Some(list) => {
            let list = list.split('}').next().expect("a split has a first part");
            list.split(',').map(first).filter(|name| !name.is_empty()).collect()
        }
        None => vec![first(path)],
    }
}

/// Every op's derivative is compared with differences.
fn gradient(file: &str, lines: &[Line]) -> Vec<Problem> {
    if !file.starts_with("nas-nn/src/op/") {
        return Vec::new();
    }
    let Some(op) = lines.iter().position(|line| line.code.contains("impl Op for")) else { return Vec::new() };
    let tested = lines.iter().any(|line| {
        words(&line.code, "gradcheck").chain(words(&line.code, "gradcheck_fed")).any(|at| !is_import(&line.code, at))
    });
    let excused = lines.iter().any(|line| line.comment.contains("// no gradient:"));
    if tested || excused {
        return Vec::new();
    }
    vec![Problem::new(file, op + 1, "no gradcheck of this op; `// no gradient: why` if it has none")]
}

/// Whether the word at `at` is only brought into scope.
fn is_import(code: &str, at: usize) -> bool {
    code.trim_start().starts_with("use ") && !code[at..].contains('(')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the problems that contain `message`.
    #[track_caller]
    fn check_found(file: &str, source: &str, message: &str, expected: &[usize]) {
        let problems = check(file, source);
        let found: Vec<usize> =
            problems.iter().filter(|problem| problem.message.contains(message)).map(|problem| problem.line).collect();
        assert_eq!(found, expected, "{problems:#?}");
    }

    #[track_caller]
    fn check_clean(file: &str, source: &str) {
        assert_eq!(check(file, source), []);
    }

    #[test]
    fn first_line() {
        check_clean("a.rs", "//! What is in it.\n");
        check_found("a.rs", "// What is in it.\n", "first line", &[1]);
        check_found("a.rs", "", "first line", &[1]);
    }

    #[test]
    fn length() {
        let lines = |n: usize| format!("//! Long.\n{}", "\n".repeat(n - 1));
        check_clean("a.rs", &lines(LONGEST));
        check_found("a.rs", &lines(LONGEST + 1), "split it", &[LONGEST + 1]);
        check_clean("nas-cli/tests/a.rs", &lines(LONGEST + 1));
        check_clean("a.rs", &lines(LONGEST + 1).replacen('.', concat!(". @", "generated"), 1));
    }

    #[test]
    fn work_left_undone() {
        for call in ["todo!()", "unimplemented!(\"x\")", "dbg!(x)"] {
            check_found("a.rs", &format!("//! A.\nfn f() {{ {call} }}\n"), "is left", &[2]);
        }
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            check_found("a.rs", &format!("//! A.\nlet x = 1; // {mark}: more\n"), "is left", &[2]);
        }
        check_clean("a.rs", "//! Says todo!() in words.\nlet x = \"todo!()\"; // a to-do list, dbg!\nlet todo = !x;\n");
    }

    #[test]
    fn unsafe_in_the_kernels_only() {
        let source = "//! A.\n// SAFETY: yes\nunsafe { f() }\n";
        check_clean("nas-nn/src/kernel/a.rs", source);
        check_found("nas-nn/src/op/a.rs", source, "unsafe outside", &[3]);
        check_clean("nas-nn/src/op/a.rs", "//! unsafe in words\n#![forbid(unsafe_code)]\nlet x = \"unsafe {\";\n");
    }

    #[test]
    fn unsafe_has_a_reason() {
        let file = "nas-nn/src/kernel/a.rs";
        check_found(file, "//! A.\nlet a = 1;\nunsafe { f() }\n", "SAFETY", &[3]);
        check_found(file, "//! A.\n// SAFETY: the one below\nlet a = 1;\nunsafe { f() }\n", "SAFETY", &[4]);
        check_clean(file, "//! A.\n// SAFETY: long,\n// and longer\nlet a =\n    unsafe { f() };\n");
        check_clean(file, "//! A.\n// SAFETY: why\n#[inline]\nunsafe impl Send for A {}\n");
        check_clean(file, "//! A.\nlet a = unsafe { f() }; // SAFETY: why\n");
    }

    #[test]
    fn unsafe_functions_say_what_they_need() {
        let file = "nas-nn/src/kernel/a.rs";
        check_clean(file, "//! A.\n/// Adds.\n///\n/// # Safety\n/// AVX2.\n#[inline]\npub(crate) unsafe fn f() {}\n");
        check_found(file, "//! A.\n/// Adds.\nunsafe fn f() {}\n", "# Safety", &[3]);
        check_clean(file, "//! A.\ntype F = unsafe fn(*const f32);\n");
        check_clean(file, "//! A.\nimpl V for A {\n    unsafe fn f() {}\n}\n");
        check_found(file, "//! A.\nimpl A {\n    unsafe fn f() {}\n}\n", "# Safety", &[3]);
        check_clean(
            file,
            "//! A.\n/// V.\n///\n/// # Safety\n/// AVX2.\ntrait V {\n    /// F.\n    unsafe fn f();\n}\n",
        );
        check_found(file, "//! A.\n/// V.\ntrait V {\n    unsafe fn f();\n}\n", "# Safety", &[4]);
    }

    #[test]
    fn the_engine_names_only_the_generator() {
        let file = "nas-nn/src/op/a.rs";
        check_clean(file, "//! A.\nuse nas_core::Rng;\nfn f(rng: &mut nas_core::Rng) {} // nas_core::Trial\n");
        check_found(file, "//! A.\nuse nas_core::Trial;\n", "only Rng", &[2]);
        check_found(file, "//! A.\nuse nas_core::{Rng, Seed};\n", "only Rng", &[2]);
        check_found(file, "//! A.\nuse nas_core as core;\n", "only Rng", &[2]);
        check_found("nas-nn/src/graph.rs", "//! A.\nuse nas_core::*;\n", "only Rng", &[2]);
        check_clean(file, "//! A.\n#[cfg(test)]\nmod tests {\n    use nas_core::{Purpose, Seed};\n}\n");
        check_found(file, "//! A.\n#[cfg(test)]\nmod tests {\n    use nas_core::Study;\n}\n", "only Seed", &[4]);
    }

    #[test]
    fn the_rest_of_nas_nn_takes_randomness_and_figures() {
        for file in ["nas-nn/src/init.rs", "nas-nn/src/data/idx.rs", "nas-nn/src/train.rs"] {
            check_clean(file, "//! A.\nuse nas_core::{\n    Metrics, Purpose, Rng,\n    Seed,\n};\n");
            check_found(
                file,
                "//! A.\nuse nas_core::{\n    Purpose,\n    Trial,\n};\n",
                "only Seed, Purpose, Rng, Metrics",
                &[2],
            );
        }
        for file in
            ["nas-nn/src/family/mlp.rs", "nas-nn/src/evaluator.rs", "nas-nn/src/network.rs", "nas-rl/src/op/a.rs"]
        {
            check_clean(file, "//! A.\nuse nas_core::{Architecture, Trial};\n");
        }
    }

    #[test]
    fn every_op_checks_its_gradient() {
        let op = "//! A.\nimpl Op for A {}\n";
        let file = "nas-nn/src/op/a.rs";
        check_found(file, op, "gradcheck", &[2]);
        check_found(file, &format!("{op}use crate::testing::gradcheck;\n"), "gradcheck", &[2]);
        check_clean(file, &format!("{op}fn gradient() {{ gradcheck(&[], |v| v[0]); }}\n"));
        check_clean(file, &format!("{op}// no gradient: class numbers are no function of the parameters\n"));
        check_clean("nas-nn/src/op/mod.rs", "//! Ops.\npub trait Op {}\n");
    }
}
