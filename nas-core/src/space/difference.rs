//! Whether two spaces have the same architectures, and where they first differ.

use super::SearchSpace;

impl SearchSpace {
    /// The first thing in which `other` differs, in words; none when both are declared equally. Their names do not matter.
    ///
    /// ```
    /// use nas_core::SearchSpace;
    ///
    /// let space = |ops: &[&str]| SearchSpace::builder("s").choice("op", ops.iter().copied()).build();
    /// let (small, large) = (space(&["conv", "pool"])?, space(&["conv", "pool", "skip"])?);
    /// assert_eq!(small.difference(&small), None);
    /// assert_eq!(small.difference(&large).unwrap(), "\"op\" chooses among conv, pool and there among conv, pool, skip");
    /// # Ok::<(), nas_core::SpaceError>(())
    /// ```
    pub fn difference(&self, other: &SearchSpace) -> Option<String> {
        let (own, there) = (self.slots(), other.slots());
        for (a, b) in own.iter().zip(there) {
            if a.path != b.path {
                return Some(format!("\"{}\" is \"{}\" there", a.path, b.path));
            }
            if a.options != b.options {
                let [a_options, b_options] = [&a.options, &b.options].map(|options| options.join(", "));
                return Some(format!("\"{}\" chooses among {a_options} and there among {b_options}", a.path));
            }
        }
        if let Some(more) = own.get(there.len()) {
            return Some(format!("\"{}\" is not there", more.path));
        }
        if let Some(more) = there.get(own.len()) {
            return Some(format!("\"{}\" is only there", more.path));
        }
        let (own, there) = (&self.inner.description, &other.inner.description);
        let differing = own.decision.iter().zip(&there.decision).find(|(a, b)| a != b);
        if let Some((decision, _)) = differing {
            return Some(format!("\"{}\" is declared otherwise there", decision.name));
        }
        if own.require != there.require {
            return Some("the requirements of the whole space differ".to_owned());
        }
        (own.decision.len() != there.decision.len() || own.cell != there.cell)
            .then(|| "the cells that are declared differ".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::SearchSpace;
    use crate::space::SpaceBuilder;

    fn space(build: impl FnOnce(SpaceBuilder) -> SpaceBuilder) -> SearchSpace {
        build(SearchSpace::builder("s").choice("a", ["x", "y"])).build().unwrap()
    }

    #[track_caller]
    fn check(a: &SearchSpace, b: &SearchSpace, expected: &str) {
        assert_eq!(a.difference(b).unwrap(), expected);
        assert_eq!((a.difference(a), b.difference(b)), (None, None));
    }

    #[test]
    fn the_first_difference_is_named() {
        let (short, long) = (space(|b| b), space(|b| b.integer("n", 1..=2)));
        check(&short, &long, "\"n\" is only there");
        check(&long, &short, "\"n\" is not there");
        check(&long, &space(|b| b.integer("m", 1..=2)), "\"n\" is \"m\" there");
        check(&long, &space(|b| b.integer("n", 1..=3)), "\"n\" chooses among 1, 2 and there among 1, 2, 3");
        check(&long, &space(|b| b.integer("n", 1..=2).when("a", ["x"])), "\"n\" is declared otherwise there");
        let path = |b: SpaceBuilder| b.choice("b", ["x", "y"]);
        let required = space(|b| path(b).require_path([(0, 1, "a"), (1, 2, "b")], "x"));
        check(&space(path), &required, "the requirements of the whole space differ");
    }

    #[test]
    fn names_do_not_matter() {
        let named = |name| SearchSpace::builder(name).choice("a", ["x", "y"]).build().unwrap();
        assert_eq!(named("one").difference(&named("two")), None);
    }
}
