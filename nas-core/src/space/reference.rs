//! Why a condition's decision is not there: it is declared later, in a circle, or not at all.

use std::collections::BTreeMap;

use super::description::{Decision, Kind};

/// What is declared: by path, without the numbers of copies, the decision that each one's condition names.
#[derive(Debug, Default)]
pub(super) struct Declared(BTreeMap<String, Option<String>>);

impl Declared {
    pub(super) fn new(decisions: &[Decision]) -> Self {
        let mut declared = Declared::default();
        declared.add("", decisions);
        declared
    }

    fn add(&mut self, prefix: &str, decisions: &[Decision]) {
        for decision in decisions {
            let path = join(prefix, &decision.name);
            if let Kind::Repeat { body, .. } | Kind::Group { body } = &decision.kind {
                self.add(&path, &body.decisions);
            }
            self.0.insert(path, decision.when.as_ref().map(|when| when.decision.clone()));
        }
    }

    /// What the condition of `path` refers to by `name`, in words, if that is declared.
    pub(super) fn why(&self, path: &str, name: &str) -> Option<String> {
        let path = self.known(path)?;
        let target = self.resolve(&path, name)?;
        if target == path {
            return Some("itself: a cycle".to_owned());
        }
        let mut at = target.clone();
        // A chain of conditions is no longer than there are decisions.
        for _ in 0..self.0.len() {
            let Some(next) = self.0[&at].as_ref().and_then(|name| self.resolve(&at, name)) else { break };
            if next == path {
                return Some(format!("\"{name}\", which itself waits for \"{path}\": a cycle"));
            }
            at = next;
        }
        Some(format!("\"{name}\", which is declared later; conditions look back: move \"{name}\" before it"))
    }

    /// The declared path of a copy's.
    fn known(&self, path: &str) -> Option<String> {
        if self.0.contains_key(path) {
            return Some(path.to_owned());
        }
        let plain: Vec<&str> = path.split('.').filter(|step| step.parse::<u64>().is_err()).collect();
        Some(plain.join(".")).filter(|path| self.0.contains_key(path))
    }

    /// What `name` means beside the decision at `path`: the innermost match counts.
    fn resolve(&self, path: &str, name: &str) -> Option<String> {
        let mut scope = path;
        while !scope.is_empty() {
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
            let found = join(scope, name);
            if self.0.contains_key(&found) {
                return Some(found);
            }
        }
        None
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}
