//! What each option adds to a cost, estimated from examples by least squares.
//!
//! A cost that is a sum of independent parts is estimated exactly. Of any other the estimate says which options tend to be
//! cheap and which dear.

use crate::space::Tokens;
use crate::space::domain::{Domain, REAL_LEVELS, STEPS_PER_LEVEL};
use crate::space::program::Program;
use crate::space::tokens::Layout;

/// Numbers with more values than this are estimated at that many of them, and along straight lines between.
const KNOTS: usize = 16;
/// Knots of a continuous number.
const REAL_KNOTS: usize = 4;
/// Added that are estimated: solving for them takes their cube. Decisions beyond weigh nothing.
const MOST_WEIGHTS: usize = 600;

/// Where a variable's weights stand, and how a token becomes a place between them.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: usize,
    /// None: it is left out.
    knots: usize,
    /// Tokens from one value to the next.
    step: usize,
    /// From the first value to the last, in values.
    reach: usize,
}

/// The decisions of a space as the columns of a linear model.
#[derive(Debug)]
pub(super) struct Columns {
    spans: Vec<Span>,
    count: usize,
}

/// What each option adds, by column.
#[derive(Debug, Clone)]
pub(super) struct Added(Vec<f64>);

impl Columns {
    pub(super) fn new(program: &Program) -> Self {
        let mut count = 1; // the first is what every architecture costs
        let spans = program.variables.iter().map(|variable| {
            let values = variable.domain.len();
            let (knots, step) = match variable.domain {
                Domain::Choice { .. } | Domain::Subset { .. } => (values, 1),
                Domain::Integer { .. } | Domain::Grid { .. } => (values.min(KNOTS), 1),
                Domain::Real(_) => (REAL_KNOTS.min(REAL_LEVELS as usize), STEPS_PER_LEVEL),
            };
            let knots = if count + knots <= MOST_WEIGHTS { knots } else { 0 };
            let span = Span { first: count, knots, step, reach: values.saturating_sub(1) };
            count += knots;
            span
        });
        let spans = spans.collect();
        Columns { spans, count }
    }

    /// How many examples the weights need.
    pub(super) fn examples(&self) -> usize {
        self.count + self.count / 4 + 16
    }

    /// The columns of a token, with how far it is at each.
    fn of_token(&self, variable: usize, token: u16) -> impl Iterator<Item = (usize, f64)> + use<> {
        let Span { first, knots, step, reach } = self.spans[variable];
        let place = if knots < 2 || reach == 0 {
            0.0
        } else {
            f64::from(token) / step as f64 * (knots - 1) as f64 / reach as f64
        };
        let below = (place as usize).min(knots.saturating_sub(1));
        let part = place - below as f64;
        let columns = [(below, 1.0 - part), (below + 1, part)];
        columns.into_iter().filter(move |&(knot, part)| knot < knots && part > 1e-9).map(move |(k, p)| (first + k, p))
    }

    /// The columns of an architecture.
    fn row(&self, program: &Program, layout: &Layout, tokens: &Tokens) -> Vec<(usize, f64)> {
        let mut row = vec![(0, 1.0)];
        for (variable, Span { first, knots, .. }) in self.spans.iter().enumerate() {
            let own = &tokens[layout.slots(variable)];
            if matches!(program.variables[variable].domain, Domain::Subset { .. }) {
                row.extend((0..own.len().min(*knots)).filter(|&member| own[member] == 1).map(|m| (first + m, 1.0)));
            } else if own[0] != Tokens::CLOSED {
                row.extend(self.of_token(variable, own[0]));
            }
        }
        row
    }

    /// The weights that fit the costs of these architectures best.
    pub(super) fn fit(&self, program: &Program, layout: &Layout, examples: &[(Tokens, f64)]) -> Added {
        let n = self.count;
        let scale = examples.iter().map(|(_, cost)| cost.abs()).fold(1.0, f64::max);
        let mut matrix = vec![0.0; n * n];
        let mut right = vec![0.0; n];
        for (tokens, cost) in examples {
            let row = self.row(program, layout, tokens);
            for &(i, a) in &row {
                right[i] += a * cost / scale;
                row.iter().for_each(|&(j, b)| matrix[i * n + j] += a * b);
            }
        }
        // Options that only occur together cannot be told apart: the smallest weights are taken.
        let ridge = 1e-9 * examples.len() as f64;
        (0..n).for_each(|i| matrix[i * n + i] += ridge);
        solve(&mut matrix, &mut right);
        right.iter_mut().for_each(|weight| *weight *= scale);
        Added(right)
    }

    /// What a token of a variable adds.
    pub(super) fn weight(&self, weights: &Added, variable: usize, token: u16) -> f64 {
        self.of_token(variable, token).map(|(column, part)| part * weights.0[column]).sum()
    }

    /// What a member of a subset adds.
    pub(super) fn member_weight(&self, weights: &Added, variable: usize, member: usize) -> f64 {
        let Span { first, knots, .. } = self.spans[variable];
        if member < knots { weights.0[first + member] } else { 0.0 }
    }
}

impl Added {
    /// Other weights added, each times a factor.
    pub(super) fn sum<'a>(parts: impl IntoIterator<Item = (&'a Added, f64)>) -> Added {
        let mut sum = Vec::new();
        for (part, factor) in parts {
            sum.resize(part.0.len(), 0.0);
            sum.iter_mut().zip(&part.0).for_each(|(sum, weight)| *sum += factor * weight);
        }
        Added(sum)
    }
}

/// Solves for `right` by Cholesky's decomposition of a symmetric positive matrix.
fn solve(matrix: &mut [f64], right: &mut [f64]) {
    let n = right.len();
    for i in 0..n {
        for j in 0..=i {
            let (above, own) = matrix.split_at_mut(i * n);
            let dot: f64 = match above.get(j * n..j * n + j) {
                Some(other) => own[..j].iter().zip(other).map(|(a, b)| a * b).sum(),
                None => own[..j].iter().map(|a| a * a).sum(),
            };
            let rest = own[j] - dot;
            own[j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / above[j * n + j] };
        }
    }
    for i in 0..n {
        let dot: f64 = (0..i).map(|j| matrix[i * n + j] * right[j]).sum();
        right[i] = (right[i] - dot) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|j| matrix[j * n + i] * right[j]).sum();
        right[i] = (right[i] - dot) / matrix[i * n + i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves() {
        let mut matrix = vec![4.0, 2.0, 0.4, 2.0, 5.0, 1.0, 0.4, 1.0, 3.0];
        let mut right: Vec<f64> = [(4.0 - 2.0 + 1.2), (2.0 - 5.0 + 3.0), (0.4 - 1.0 + 9.0)].to_vec();
        solve(&mut matrix, &mut right);
        assert!(right.iter().zip([1.0, -1.0, 3.0]).all(|(x, expected)| (x - expected).abs() < 1e-12), "{right:?}");
    }
}
