//! The completion of an architecture that is best by weights, over all that it leaves open.

use smallvec::SmallVec;

use super::estimate::{Added, Columns};
use crate::space::domain::Domain;
use crate::space::sample::NODES;
use crate::space::{Inner, Tokens};

/// The best choices of a space by weights.
#[derive(Debug)]
pub(in crate::space) struct Fill {
    /// By node.
    branches: Vec<u32>,
    /// By variable and class: the token. Of a subset any.
    tokens: Vec<Vec<u16>>,
    /// By variable: of a subset what each member weighs.
    members: Vec<Vec<f64>>,
}

impl Fill {
    /// The choices of the smallest sum of weights, times `sign`.
    pub(super) fn new(inner: &Inner, columns: &Columns, added: &Added, sign: f64) -> Self {
        let program = &inner.program;
        let (mut tokens, mut members, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (variable, place) in inner.diagram.forest.places.iter().enumerate() {
            let domain = &program.variables[variable].domain;
            let Domain::Subset { options, min, max } = domain else {
                let weight = |token: u16| sign * columns.weight(added, variable, token);
                let best = |tokens: &mut dyn Iterator<Item = usize>| {
                    let weighed = tokens.map(|token| (token as u16, weight(token as u16)));
                    weighed.reduce(|best, next| if next.1 < best.1 { next } else { best }).expect("a class has options")
                };
                let classes = place.classes.iter().map(|class| match class.listed() {
                    Some(options) => best(&mut options.iter().copied()),
                    None => best(&mut domain.representatives()),
                });
                let (own, own_weights): (Vec<u16>, Vec<f64>) = classes.unzip();
                tokens.push(own);
                members.push(Vec::new());
                weights.push(own_weights);
                continue;
            };
            let weight = |member| sign * columns.member_weight(added, variable, member);
            let own: Vec<f64> = (0..options.len()).map(weight).collect();
            let mut chosen = vec![0; own.len()];
            choose_members(&own, &mut chosen, 0, *min, *max);
            weights.push(vec![own.iter().zip(&chosen).map(|(weight, &is_in)| weight * f64::from(is_in)).sum()]);
            tokens.push(vec![0]);
            members.push(own);
        }
        let branches = inner.diagram.least(|variable, class| weights[variable][class]);
        Fill { branches, tokens, members }
    }

    /// The best branch of an open node.
    pub(in crate::space) fn branch(&self, node: u32) -> usize {
        self.branches[node as usize] as usize
    }

    /// Sets the slots of an open variable, from number `from` on, to the best of a class.
    pub(in crate::space) fn decide(
        &self,
        inner: &Inner,
        variable: usize,
        class: usize,
        from: usize,
        tokens: &mut Tokens,
    ) {
        let slots = inner.layout.slots(variable);
        match inner.program.variables[variable].domain {
            Domain::Subset { min, max, .. } => {
                let decided = from.saturating_sub(slots.start);
                choose_members(&self.members[variable], tokens.slots_mut(slots), decided, min, max);
            }
            _ => tokens.set(slots.start, self.tokens[variable][class]),
        }
    }
}

impl Inner {
    /// The first tokens of an architecture with the best of the rest.
    pub(super) fn filled(&self, prefix: &[u16], fill: &Fill) -> Tokens {
        let Inner { program, diagram, layout, .. } = self;
        let mut at: SmallVec<[u32; NODES]> = SmallVec::from_slice(diagram.start());
        let mut tokens = Tokens::closed(layout.radices().len());
        tokens.slots_mut(0..prefix.len()).copy_from_slice(prefix);
        for variable in 0..program.variables.len() {
            let node = diagram.node(at[variable]);
            let slots = layout.slots(variable);
            let branch = if !node.open {
                diagram.closed(node)
            } else if slots.end <= prefix.len() {
                diagram.branch(node, variable, tokens[slots.start].into())
            } else {
                let branch = fill.branch(at[variable]);
                fill.decide(self, variable, diagram.class(node, branch), prefix.len(), &mut tokens);
                branch
            };
            diagram.go(variable, branch, &mut at);
        }
        tokens
    }
}

/// Chooses the members of a subset from number `decided` on: those that must be and those that gain, the best first.
fn choose_members(weights: &[f64], chosen: &mut [u16], decided: usize, min: usize, max: usize) {
    let mut count = chosen[..decided].iter().filter(|&&token| token == 1).count();
    chosen[decided..].fill(0);
    let mut order: SmallVec<[usize; 16]> = (decided..weights.len()).collect();
    order.sort_by(|&a, &b| weights[a].total_cmp(&weights[b]));
    for member in order {
        if count < min || count < max && weights[member] < 0.0 {
            chosen[member] = 1;
            count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(start: &[u16], decided: usize, (min, max): (usize, usize), expected: &[u16]) {
        let mut chosen = start.to_vec();
        choose_members(&[0.5, -1.0, -3.0, 2.0], &mut chosen, decided, min, max);
        assert_eq!(chosen, expected);
    }

    #[test]
    fn members() {
        check(&[0; 4], 0, (0, 4), &[0, 1, 1, 0]);
        check(&[0; 4], 0, (0, 1), &[0, 0, 1, 0]);
        check(&[0; 4], 0, (3, 4), &[1, 1, 1, 0]);
        check(&[1, 0, 0, 0], 2, (1, 2), &[1, 0, 1, 0]);
        check(&[0, 0, 0, 0], 3, (1, 2), &[0, 0, 0, 1]);
    }
}
