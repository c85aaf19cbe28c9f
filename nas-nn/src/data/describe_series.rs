//! Time series in numbers, and their problems.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::{Series, SeriesPreparation};

/// The most channels that are shown to people.
const SHOWN: usize = 40;

/// Time series in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesReport {
    /// Where they came from.
    pub source: String,
    /// Numbers at every step.
    pub channels: usize,
    /// Steps, to which recordings of other lengths were stretched or shortened.
    pub steps: usize,
    /// The classes, with the training and test series of each.
    pub classes: Vec<(String, usize, usize)>,
    /// Mean and standard deviation of the training values, by channel.
    pub values: Vec<(f32, f32)>,
    /// What may spoil a result, in sentences.
    pub problems: Vec<String>,
}

pub(super) fn describe_series(source: &str, train: &Series, test: &Series) -> SeriesReport {
    let SeriesPreparation { mean, std } = SeriesPreparation::fit(train);
    let counts = train.class_counts().into_iter().zip(test.class_counts());
    let classes: Vec<(String, usize, usize)> =
        train.class_names.iter().cloned().zip(counts).map(|(name, (train, test))| (name, train, test)).collect();
    let mut problems = Vec::new();
    for (name, _, _) in classes.iter().filter(|(_, _, test)| *test == 0) {
        problems.push(format!("class \"{name}\" has no test series, so nothing is said of it"));
    }
    let bits = |series: &Series, i: usize| -> Vec<u32> { series.series(i).iter().map(|x| x.to_bits()).collect() };
    let seen: HashSet<Vec<u32>> = (0..train.len()).map(|i| bits(train, i)).collect();
    if seen.len() < train.len() {
        problems.push(format!("{} training series stand there more than once", train.len() - seen.len()));
    }
    let leaked = (0..test.len()).filter(|&i| seen.contains(&bits(test, i))).count();
    if leaked > 0 {
        problems.push(format!("{leaked} test series are training series too: the score flatters"));
    }
    for (channel, _) in (1..).zip(&std).filter(|(channel, _)| constant(train, channel - 1)) {
        problems.push(format!("channel {channel} never varies"));
    }
    SeriesReport {
        source: source.to_owned(),
        channels: train.channels,
        steps: train.steps,
        classes,
        values: mean.into_iter().zip(std).collect(),
        problems,
    }
}

fn constant(series: &Series, channel: usize) -> bool {
    let mut values = (0..series.len()).flat_map(|i| &series.series(i)[channel * series.steps..][..series.steps]);
    let first = values.next();
    values.all(|x| Some(x) == first)
}

impl fmt::Display for SeriesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (train, test): (usize, usize) =
            self.classes.iter().fold((0, 0), |(a, b), (_, train, test)| (a + train, b + test));
        let SeriesReport { source, channels, steps, .. } = self;
        writeln!(f, "{source}: {train} training and {test} test series of {channels} channels and {steps} steps")?;
        for (channel, (mean, std)) in (1..).zip(self.values.iter().take(SHOWN)) {
            writeln!(f, "channel {channel}: mean {mean:.4}, standard deviation {std:.4}")?;
        }
        if self.values.len() > SHOWN {
            writeln!(f, "… and {} channels more", self.values.len() - SHOWN)?;
        }
        let width = self.classes.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).max(5);
        writeln!(f, "\n{:<width$}  {:>8}  {:>6}", "class", "training", "test")?;
        self.classes.iter().try_for_each(|(name, train, test)| writeln!(f, "{name:<width$}  {train:>8}  {test:>6}"))
    }
}
