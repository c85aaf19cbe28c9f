//! Architectures as vectors whose distances mean something: paths of cells, options, numbers on their scale.

use std::collections::{BTreeMap, BTreeSet};

use nas_core::space::{Decision, Kind};
use nas_core::{Purpose, SearchSpace, Seed};

use super::paths::{self, PathCounts};

/// The mean squared distance of two random architectures that vectors are scaled to: what NAS-Bench-201's path counts have
/// unscaled, so that the length scales found there mean the same everywhere.
const SPREAD: f64 = 5.0;
/// How much further the ends of a range of numbers are apart than 0 and 1: then two random numbers are as far apart as two
/// random options of five.
const RANGE: f32 = 3.0;
/// Architectures drawn to find the spread.
const DRAWS: usize = 128;
/// The token of the upper bound of a continuous number.
const CONTINUOUS: f32 = 65_520.0;

/// The vectors of a space's architectures.
///
/// Cells count their paths ([`SearchSpace::cells`], or edges recognised by names such as `0-1`). Of other slots, an option is
/// a 1 among zeros, and a number its place between its bounds; a closed slot is all zeros. The copies of a repeat stand one
/// after another, and once more summed up, so that the same layers in another order are not far. All is scaled by one
/// factor.
///
/// ```
/// use nas_core::SearchSpace;
/// use nas_rl::surrogate::Features;
///
/// let space = SearchSpace::builder("s").choice("op", ["conv", "pool", "skip"]).integer("width", 1..=64).build()?;
/// let features = Features::new(&space);
/// let mut vector = vec![0.0; features.dimensions()];
/// features.write(&space.tokens(&space.parse("op=pool,width=64")?)?, &mut vector);
/// assert!(vector[0] == 0.0 && vector[1] > 0.0 && vector[3] > vector[1]);
/// # Ok::<(), nas_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Features {
    cells: Vec<PathCounts>,
    slots: Vec<Encoding>,
    /// For each group of slots that copies of a repeat share: which, and how long their vectors are.
    copies: Vec<(Vec<usize>, usize)>,
    dimensions: usize,
    scale: f32,
}

/// How the token of a slot becomes numbers.
#[derive(Debug, Clone, Copy)]
struct Encoding {
    slot: usize,
    kind: Code,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Code {
    /// So many options in no order.
    Options(usize),
    /// A number, whose largest token is this; and a 1 beside it when it can be closed and is not.
    Number { last: f32, closable: bool },
}

impl Code {
    fn dimensions(self) -> usize {
        match self {
            Code::Options(options) => options,
            Code::Number { closable, .. } => 1 + usize::from(closable),
        }
    }

    /// Adds the numbers of an open slot's token to `out`; of a closed one's nothing.
    fn add(self, token: u16, out: &mut [f32]) {
        match self {
            Code::Options(options) if usize::from(token) < options => out[usize::from(token)] += 1.0,
            Code::Number { last, closable } if f32::from(token) <= last => {
                out[0] += RANGE * (f32::from(token) / last - 0.5);
                if closable {
                    out[1] += 1.0;
                }
            }
            _ => {}
        }
    }
}

impl Features {
    /// Vectors by all that is known of the space.
    pub fn new(space: &SearchSpace) -> Self {
        let cells = paths::cells(space);
        let cells: Vec<PathCounts> = cells.iter().filter_map(|cell| PathCounts::new(space, cell)).collect();
        Self::with(space, cells, true)
    }

    /// Vectors with every token as a 1 among zeros, for comparison: no paths, no order of numbers (a continuous one has
    /// 16 bins), no sums over copies.
    pub fn one_hot(space: &SearchSpace) -> Self {
        Self::with(space, Vec::new(), false)
    }

    fn with(space: &SearchSpace, cells: Vec<PathCounts>, structured: bool) -> Self {
        let mut declared = Vec::new();
        describe(space.decisions(), "", false, &mut declared);
        let in_cells: BTreeSet<usize> = cells.iter().flat_map(PathCounts::slots).collect();
        let mut slots = Vec::new();
        let mut copies: BTreeMap<&str, (Vec<usize>, usize)> = BTreeMap::new();
        for (slot, (pattern, code)) in declared.iter().enumerate() {
            if in_cells.contains(&slot) {
                continue;
            }
            let kind = if structured { *code } else { Code::Options(space.slots()[slot].options.len()) };
            let (members, _) = copies.entry(pattern.as_str()).or_insert((Vec::new(), kind.dimensions()));
            members.push(slots.len());
            slots.push(Encoding { slot, kind });
        }
        let copies: Vec<(Vec<usize>, usize)> =
            copies.into_values().filter(|(members, _)| structured && members.len() > 1).collect();
        let dimensions = cells.iter().map(PathCounts::dimensions).sum::<usize>()
            + slots.iter().map(|encoding| encoding.kind.dimensions()).sum::<usize>()
            + copies.iter().map(|(_, dimensions)| dimensions).sum::<usize>();
        let mut features = Features { cells, slots, copies, dimensions, scale: 1.0 };
        let spread = features.spread(space);
        if spread > 0.0 {
            features.scale = (SPREAD / spread).sqrt() as f32;
        }
        features
    }

    /// The length of a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Writes the vector of the architecture that `tokens` choose to `out`.
    ///
    /// # Panics
    /// When `out` is not as long as the vectors are, or there are fewer tokens than slots.
    pub fn write(&self, tokens: &[u16], out: &mut [f32]) {
        assert_eq!(out.len(), self.dimensions, "a vector of another length");
        out.fill(0.0);
        let mut rest = &mut *out;
        let mut next = |dimensions: usize| {
            let (block, after) = std::mem::take(&mut rest).split_at_mut(dimensions);
            rest = after;
            block
        };
        for cell in &self.cells {
            cell.add(tokens, next(cell.dimensions()));
        }
        for Encoding { slot, kind } in &self.slots {
            kind.add(tokens[*slot], next(kind.dimensions()));
        }
        for (members, dimensions) in &self.copies {
            let block = next(*dimensions);
            for &member in members {
                let Encoding { slot, kind } = self.slots[member];
                kind.add(tokens[slot], block);
            }
        }
        out.iter_mut().for_each(|x| *x *= self.scale);
    }

    /// The mean squared distance of two random architectures: twice the variance, over all numbers.
    fn spread(&self, space: &SearchSpace) -> f64 {
        let mut rng = Seed::new(0).stream(Purpose::Propose, 0);
        let (mut sums, mut squares) = (vec![0.0; self.dimensions], 0.0);
        let mut vector = vec![0.0; self.dimensions];
        for _ in 0..DRAWS {
            self.write(&space.sample_tokens(&mut rng), &mut vector);
            for (sum, &x) in sums.iter_mut().zip(&vector) {
                *sum += f64::from(x);
                squares += f64::from(x * x);
            }
        }
        let n = DRAWS as f64;
        let means: f64 = sums.iter().map(|sum| (sum / n).powi(2)).sum();
        2.0 * (squares / n - means) * n / (n - 1.0)
    }
}

/// For every slot, in order, its path with `*` for the numbers of copies, and what its tokens are.
fn describe(decisions: &[Decision], prefix: &str, closable: bool, slots: &mut Vec<(String, Code)>) {
    for Decision { name, kind, when } in decisions {
        let path = format!("{prefix}{name}");
        let closable = closable || when.is_some();
        let number = |last: f32| Code::Number { last: last.max(1.0), closable };
        match kind {
            Kind::Choice { options } => slots.push((path, Code::Options(options.len()))),
            Kind::Integer { low, high, step } => {
                slots.push((path, number(((i128::from(*high) - i128::from(*low)) / i128::from(*step)) as f32)));
            }
            Kind::Float { steps, .. } => {
                slots.push((path, number(steps.map_or(CONTINUOUS, |steps| (steps - 1) as f32))));
            }
            Kind::Subset { options, .. } => {
                slots.extend(options.iter().map(|option| (format!("{path}[{option}]"), Code::Options(2))));
            }
            Kind::Group { body } => describe(&body.decisions, &format!("{path}."), closable, slots),
            Kind::Repeat { low, high, body } => {
                slots.push((path.clone(), number((high - low) as f32)));
                // Copies are summed up, so those that are always there are described as the others.
                let closable = closable || high > low;
                for _ in 0..*high {
                    describe(&body.decisions, &format!("{path}.*."), closable, slots);
                }
            }
            _ => unreachable!("every kind of decision has its features"),
        }
    }
}

#[cfg(test)]
mod tests {
    use nas_core::Tokens;

    use super::*;
    use crate::testing::{benchmark_cell, conditional, cube};

    fn vector(features: &Features, tokens: &[u16]) -> Vec<f32> {
        let mut vector = vec![f32::NAN; features.dimensions()];
        features.write(tokens, &mut vector);
        vector
    }

    fn distance(features: &Features, a: &[u16], b: &[u16]) -> f32 {
        vector(features, a).iter().zip(vector(features, b)).map(|(a, b)| (a - b) * (a - b)).sum()
    }

    fn every_kind() -> SearchSpace {
        SearchSpace::builder("every_kind")
            .choice("stem", ["conv3x3", "conv5x5"])
            .integer("width", 16..=64)
            .step(16)
            .when("stem", ["conv5x5"])
            .float("lr", 1e-4..=0.1)
            .log()
            .subset("augment", ["flip", "crop", "cutout"])
            .repeat("blocks", 1..=3, |block| block.choice("op", ["a", "b"]).integer("expand", 2..=4).when("op", ["b"]))
            .build()
            .unwrap()
    }

    #[test]
    fn random_architectures_are_as_far_apart_in_every_space() {
        let mut rng = Seed::new(7).stream(Purpose::Test, 0);
        for space in [benchmark_cell(), cube(20, 5), conditional(), every_kind()] {
            for features in [Features::new(&space), Features::one_hot(&space)] {
                let mut draw = || space.sample_tokens(&mut rng);
                let total: f32 = (0..2000).map(|_| distance(&features, &draw(), &draw())).sum();
                let mean = f64::from(total / 2000.0);
                assert!((0.8 * SPREAD..1.25 * SPREAD).contains(&mean), "{}: {mean}", space.name());
            }
        }
    }

    #[test]
    fn cells_that_compute_the_same_are_equal() {
        let space = benchmark_cell();
        let features = Features::new(&space);
        assert_eq!(features.dimensions(), 40);
        // 0→1→3 or 0→2→3 with the same two operations.
        assert_eq!(distance(&features, &[2, 0, 0, 0, 3, 0], &[0, 2, 0, 0, 0, 3]), 0.0);
        assert_eq!(Features::one_hot(&space).dimensions(), 30);
        assert!(distance(&Features::one_hot(&space), &[2, 0, 0, 0, 3, 0], &[0, 2, 0, 0, 0, 3]) > 0.0);
    }

    #[test]
    fn unscaled_counts_of_the_benchmark_have_the_spread() {
        let features = Features::new(&benchmark_cell());
        assert!((0.9..1.1).contains(&features.scale), "{}", features.scale);
    }

    #[test]
    fn numbers_are_as_far_apart_as_on_their_scale() {
        let space = every_kind();
        let features = Features::new(&space);
        let tokens = |text: &str| space.tokens(&space.parse(text).unwrap()).unwrap();
        let with = |lr: &str, width: u32| {
            tokens(&format!("augment={{}},blocks=1,blocks.0.op=a,lr={lr},stem=conv5x5,width={width}"))
        };
        let between = |a: &Tokens, b: &Tokens| distance(&features, a, b).sqrt();
        let (low, middle, high) = (with("1e-4", 16), with("1e-3", 16), with("0.1", 16));
        assert!((between(&low, &high) / between(&low, &middle) - 3.0).abs() < 1e-3);
        let ratio = between(&with("0.1", 16), &with("0.1", 64)) / between(&with("0.1", 16), &with("0.1", 32));
        assert!((ratio - 3.0).abs() < 1e-3);
        let whole = between(&low, &high) / features.scale;
        assert!((whole - RANGE).abs() < 1e-3, "both ends of the range are {whole} apart");
    }

    #[test]
    fn closed_slots_are_zeros() {
        let space = every_kind();
        let features = Features::new(&space);
        let small = vector(
            &features,
            &space.tokens(&space.parse("augment={},blocks=1,blocks.0.op=a,lr=1e-4,stem=conv3x3").unwrap()).unwrap(),
        );
        // After the two options of the stem come the width and its mark.
        assert_eq!(small[2..4], [0.0, 0.0]);
        assert_eq!(small.iter().filter(|x| !x.is_finite()).count(), 0);
    }

    #[test]
    fn layers_in_another_order_are_nearer_than_other_layers() {
        let space = every_kind();
        let features = Features::new(&space);
        let with = |ops: [&str; 3]| {
            let block = |(i, op): (usize, &&str)| {
                format!(
                    "blocks.{i}.op={op}{}",
                    if *op == "b" { format!(",blocks.{i}.expand=2") } else { String::new() }
                )
            };
            let blocks: Vec<String> = ops.iter().enumerate().map(block).collect();
            space
                .tokens(
                    &space.parse(&format!("augment={{}},blocks=3,{},lr=1e-4,stem=conv3x3", blocks.join(","))).unwrap(),
                )
                .unwrap()
        };
        let (aab, aba, bbb) = (with(["a", "a", "b"]), with(["a", "b", "a"]), with(["b", "b", "b"]));
        assert!(distance(&features, &aab, &aba) < distance(&features, &aab, &bbb));
        assert!(distance(&features, &aab, &aba) > 0.0);
    }
}
