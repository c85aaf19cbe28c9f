//! Requirements listed as an automaton: after each decision, the state it leads to, or that nothing completes it.

/// What several decisions must meet together, option by option.
#[derive(Debug)]
pub(super) struct Automaton {
    /// Ascending.
    levels: Vec<Level>,
    text: String,
}

/// One variable of an [`Automaton`].
#[derive(Debug)]
struct Level {
    variable: usize,
    options: usize,
    /// By state, and in it by option, closed being the last: the state that follows.
    next: Vec<u32>,
    /// By option: a number that options with the same successors share.
    classes: Vec<u32>,
}

/// The state that nothing leaves.
const DEAD: u32 = u32::MAX;

/// What is known of an automaton after some of its variables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    decided: usize,
    state: u32,
}

/// A variable, its number of options, and by state the successors of each of its options and of its being closed.
pub(super) type Table = (usize, usize, Vec<Vec<Option<u32>>>);

impl Automaton {
    /// What `tables`, ascending by variable, say. Their states are known to be there and their rows to be complete.
    pub(super) fn new(tables: Vec<Table>, text: String) -> Self {
        let levels = tables.into_iter().map(|(variable, options, states)| {
            let next: Vec<u32> = states.iter().flatten().map(|next| next.unwrap_or(DEAD)).collect();
            let mut known = std::collections::BTreeMap::new();
            let class = |option| {
                let column: Vec<u32> = next.iter().skip(option).step_by(options + 1).copied().collect();
                let fresh = known.len() as u32;
                *known.entry(column).or_insert(fresh)
            };
            let classes = (0..options).map(class).collect();
            Level { variable, options, next, classes }
        });
        Automaton { levels: levels.collect(), text }
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().map(|level| level.variable)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn start(&self) -> Reached {
        Reached { decided: 0, state: 0 }
    }

    /// Takes note that `variable` has that option, or is closed.
    pub(super) fn decide(&self, reached: &mut Reached, variable: usize, option: Option<usize>) {
        let Some(level) = self.levels.get(reached.decided).filter(|level| level.variable == variable) else { return };
        reached.decided += 1;
        if reached.state != DEAD {
            let place = reached.state as usize * (level.options + 1) + option.unwrap_or(level.options);
            reached.state = level.next[place];
        }
    }

    pub(super) fn is_broken(&self, reached: Reached) -> bool {
        reached.state == DEAD
    }

    /// Adds a word that is equal for states from which the same choices meet it.
    pub(super) fn key(&self, reached: Reached, key: &mut Vec<u64>) {
        key.push(reached.state.into());
    }

    /// A number that options of `variable` share when it cannot tell them apart.
    pub(super) fn class(&self, variable: usize, option: usize) -> Option<u32> {
        let level = self.levels.binary_search_by_key(&variable, |level| level.variable).ok()?;
        self.levels[level].classes.get(option).copied()
    }
}

#[cfg(test)]
mod tests {
    use crate::SearchSpace;
    use crate::space::Requirement;

    /// Two numbers of 1 to 3 and a switch whose sum may be up to `most`; 7 states are enough.
    fn sums(most: u32) -> SearchSpace {
        let next = |sum: u32, more: u32| Some(sum + more).filter(|&sum| sum <= most);
        let row = |sum: u32| (1..=3).map(|n| next(sum, n)).chain([next(sum, 0)]).collect::<Vec<_>>();
        let switch = |sum: u32| vec![next(sum, 0), next(sum, 1), next(sum, 0)];
        SearchSpace::builder("sums")
            .integer("a", 1..=3)
            .choice("free", ["x", "y"])
            .integer("b", 1..=3)
            .when("free", ["y"])
            .choice("more", ["no", "yes"])
            .require(Requirement::Table {
                decisions: vec!["a".to_owned(), "b".to_owned(), "more".to_owned()],
                states: vec![vec![row(0)], (0..=most).map(row).collect(), (0..=most).map(switch).collect()],
                because: format!("the sum is at most {most}"),
            })
            .build()
            .unwrap()
    }

    #[test]
    fn exactly_what_it_lists() {
        for most in [1, 2, 3, 4, 5, 7] {
            let space = sums(most);
            let all: Vec<String> = space.enumerate().map(|architecture| architecture.to_string()).collect();
            let mut expected = Vec::new();
            for a in 1..=3_u32 {
                for b in 0..=3_u32 {
                    for (more, n) in [("no", 0), ("yes", 1)] {
                        if a + b + n <= most {
                            let b = if b == 0 { "free=x".to_owned() } else { format!("b={b},free=y") };
                            expected.push(format!("a={a},{b},more={more}"));
                        }
                    }
                }
            }
            let [mut sorted, mut wanted] = [all.clone(), expected];
            sorted.sort();
            wanted.sort();
            assert_eq!(sorted, wanted);
            assert_eq!(space.cardinality().to_string(), all.len().to_string());
            assert_eq!(SearchSpace::from_toml(&space.to_toml()).unwrap(), space);
        }
    }

    #[test]
    fn options_that_nothing_has_are_known() {
        assert_eq!(sums(2).dead_options(), [vec![2], vec![], vec![1, 2], vec![]]);
        assert_eq!(sums(7).dead_options(), [const { Vec::<usize>::new() }; 4]);
        // Nothing opens it.
        let never = SearchSpace::builder("s")
            .choice("a", ["x", "y"])
            .choice("b", ["none", "x"])
            .choice("c", ["z"])
            .when("b", ["none"])
            .require_path([(0, 1, "b")], "none")
            .build()
            .unwrap();
        assert_eq!(never.dead_options(), [vec![], vec![0], vec![0]]);
    }

    #[test]
    fn what_breaks_it_is_refused_by_its_reason() {
        let error = sums(3).parse("a=3,free=y,b=2,more=no").unwrap_err().to_string();
        assert_eq!(error, "the architecture breaks a requirement of the space: the sum is at most 3");
    }
}
